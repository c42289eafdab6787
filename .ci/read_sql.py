"""Reads a lake by the SQL that `clari-lake sql` prints: in DuckDB, in Spark, and as Athena's text.

Every view must have the same rows and the same columns in DuckDB and in Spark.
"""

import datetime
import os
import warnings

import duckdb
import sqlglot

from promises import text

warnings.filterwarnings("ignore")


def spark_session():
    """The one Spark session of a whole run; it takes longer to start than to answer."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "UTC",
        "spark.log.level": "ERROR",
        # Athena's definitions are Hive's; a metastore in memory takes them.
        "spark.sql.warehouse.dir": "target/ci/warehouse",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:ms;create=true",
        "spark.driver.extraJavaOptions": "-Dderby.stream.error.file=target/ci/derby.log",
    }
    # With `local-cluster[...]` the executors are processes of their own.
    master = os.environ.get("SPARK_MASTER", "local[2]")
    builder = SparkSession.builder.master(master).enableHiveSupport()
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def statements(binary, lake, engine, *more):
    """The statements for an engine, split as a program without an SQL shell would split them."""
    printed = text(binary, "sql", str(lake), "--engine", engine, *more)
    pieces = printed.split(";")
    assert not pieces[-1].strip(), "something follows the last statement"
    return [piece.strip() for piece in pieces[:-1]]


def code(statement):
    return "\n".join(line for line in statement.splitlines() if not line.startswith("--")).strip()


def defined(statement):
    """The name of the table or view that a statement defines."""
    words = code(statement).split()
    word = words[words.index("view" if "view" in words[:6] else "table") + 1]
    return word.strip('`"')


def open_duckdb(binary, lake):
    connection = duckdb.connect()
    for statement in statements(binary, lake, "duckdb"):
        connection.execute(statement)
    return connection


def plain(value):
    """A value as it compares in any engine's Python."""
    if isinstance(value, dict):
        return tuple((name.lower(), plain(member)) for name, member in value.items())
    if isinstance(value, list):
        return tuple(plain(item) for item in value)
    if isinstance(value, datetime.datetime):
        return ("instant", value.timestamp() if value.tzinfo else value.isoformat())
    return repr(value)


def rows(table):
    """All rows of an Arrow table, in an order of their own."""
    return sorted((plain(row) for row in table.to_pylist()), key=repr)


def has_undated(connection):
    """Whether there are rows without a date, as in old lakes."""
    query = "select count(*) from (select dt from calls union all select dt from call_details) where dt is null"
    return connection.execute(query).fetchall()[0][0] > 0


def differences(binary, lake, spark):
    """Tables and views that DuckDB and Spark do not see alike; and that nothing is missing."""
    in_duckdb = open_duckdb(binary, lake)
    names = []
    for statement in statements(binary, lake, "spark"):
        spark.sql(statement)
        if not code(statement).startswith("set "):
            names.append(defined(statement))
    if names != [defined(it) for it in statements(binary, lake, "duckdb")]:
        yield "not the same tables and views"
    for name in names:
        one = in_duckdb.sql(f'select * from "{name}"').to_arrow_table()
        other = spark.table(name).toArrow()
        if one.column_names != other.column_names:
            yield f"{name}: columns {one.column_names} and {other.column_names}"
        elif rows(one) != rows(other):
            first = next((a, b) for a, b in zip(rows(one), rows(other)) if a != b)
            yield f"{name}: {one.num_rows} and {other.num_rows} rows; {first}"


def unresolved(connection):
    """What the views of conversations must say, asked of the tables themselves."""
    one = lambda query: connection.sql(query).fetchall()[0][0]
    living = "from call_details where deleted_at is null"
    turns = one(f"select coalesce(sum(len(transcript)), 0) {living}")
    if one("select count(*) from turns") != turns or not turns:
        yield f"{one('select count(*) from turns')} turns, and transcripts have {turns}"
    hits = one(
        f"select count(*) from (select unnest(t.annotations) from (select unnest(transcript) as t {living}))"
    )
    if one("select count(*) from tracker_hits") != hits:
        yield f"{one('select count(*) from tracker_hits')} hits, and turns have {hits}"
    # A number in one of the call's lists, in either table, is a known person.
    known = " union ".join(
        f"select id, unnest({people}).\"personId\" as person from {table} where deleted_at is null"
        for table in ("calls", "call_details")
        for people in ("users", '"externalParticipants"', '"joinedParticipants"')
    )
    lost = one(
        f"select count(*) from turns join ({known}) as k on k.id = call_id and k.person = person_id"
        " where speaker_kind = 'unknown'"
    )
    if lost:
        yield f"{lost} turns of a known person have no speaker"
    nameless = one(
        "select count(*) from turns join users_current as u on u.id = speaker_user_id"
        " where u.name is not null and speaker_name is null"
    )
    if nameless:
        yield f"{nameless} turns of a user have no name"
    if not one("select count(*) from turns where person_id = 0 and speaker_kind != 'unknown'"):
        yield "person 0 never speaks"


def unread_by_athena(binary, lake, spark):
    """Athena's text: all of it is SQL to sqlglot, its definitions also to Spark's Hive."""
    printed = statements(binary, lake, "athena", "--location", f"file://{lake.absolute()}")
    views = []
    for statement in printed:
        try:
            parsed = sqlglot.parse_one(statement, dialect="athena")
        except sqlglot.errors.ParseError as error:
            yield f"{defined(statement)}: {error}"
            continue
        if parsed.key == "command":
            yield f"{defined(statement)}: sqlglot has no idea of it"
        if " view " in code(statement).splitlines()[0]:
            views.append(defined(statement))
    known = [defined(it) for it in statements(binary, lake, "duckdb")]
    if set(views) - set(known) or "turns" not in views:
        yield f"views {views}"
    yield from unread_by_hive(printed, lake, spark)


def unread_by_hive(printed, lake, spark):
    spark.sql("create database if not exists athena")
    for statement in printed:
        if code(statement).startswith("create external table"):
            name = defined(statement)
            body = code(statement).replace(f"`{name}`", f"athena.`{name}`", 1)
            spark.sql(f"drop table if exists athena.`{name}`")
            spark.sql(body)
            if (lake / name).exists():
                spark.sql(f"msck repair table athena.`{name}`")
                # Athena's `dt` is a text.
                read = spark.sql(f"select * except (dt), cast(dt as date) as dt from athena.`{name}`")
                read = read.toArrow()
                if rows(read) != rows(spark.table(f"`{name}`").toArrow()):
                    yield f"{name}: other rows by Athena's definition"


def conversation_rows(connection):
    """What the views of conversations say."""
    names = ["participants", "speakers", "turns", "tracker_hits", "topics_discussed",
             "action_items", "daily_activity", "speaker_stats", "conversations"]
    return {it: rows(connection.sql(f"select * from {it}").to_arrow_table()) for it in names}
