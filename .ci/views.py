"""Each view next to the query that an expert in the engine would write by hand.

    views.py BINARY LAKE [VIEW ...]

A view may take 1.5 times as long as its query. A condition on `dt` must read one file of each
table of events, in DuckDB by `explain analyze` and in Spark by the physical plan.

For Athena the same is argued from its documentation. With partition projection, "Athena uses
partition projection to calculate partition values and locations" and prunes by the conditions on
the partition column before it lists anything. Trino derives conditions through joins on equal
columns, through `union all`, and through grouping, windows and `unnest` where they keep `dt` as a
key; these are all that the views put between a table and its reader.
"""

import json
import sys
import time

# Newest snapshots, and all of them for the names of users; scorecards have dates of their own.
OTHER_DATES = ("users", "scorecards")
# What a query may take longer whatever it does, in seconds: two threads on a shared machine.
NOISE = {"duckdb": 0.1, "spark": 1.0}
RATIO = 1.5

EVENTS = ["calls_current", "call_details_current", "participants", "speakers", "turns",
          "tracker_hits", "topics_discussed", "action_items", "daily_activity", "speaker_stats",
          "conversations", "call_changes"]

LISTS = [
    ("user", "users", '"userId"', "null", '"userEmail"'),
    ("external", '"externalParticipants"', "null", "name", "email"),
    ("joined", '"joinedParticipants"', "null", "name", "email"),
]


def mentions(engine):
    """The people whom the details name, by hand: a select for each list."""
    for kind, people, user_id, name, email in LISTS:
        unnest = {
            "duckdb": f"select id, dt, unnest({people}) as p from call_details where deleted_at is null",
            "spark": f"select id, dt, explode({people.replace(chr(34), '`')}) as p"
                     " from call_details where deleted_at is null",
        }[engine]
        field = lambda it: it if it == "null" else "p." + it.replace('"', "")
        yield (f"select id, dt, '{kind}' as kind, p.personId as person, {field(user_id)} as user_id,"
               f" {field(name)} as name, {field(email)} as email from ({unnest}) as u")


def people(engine):
    named = ("select m.*, n.name as known from ({}) as m left join (select id as user_id,"
             " max_by(name, day) as name from users group by id) as n on n.user_id = m.user_id")
    return named.format(" union all ".join(mentions(engine)))


def speakers(engine):
    return ("select dt, id, person, min(kind) as kind, max(coalesce(name, known)) as name,"
            f" max(email) as email, max(user_id) as user_id from ({people(engine)}) as p"
            " where person is not null group by dt, id, person")


def turns(engine, more=""):
    unnest = {
        "duckdb": "select id, time, dt, unnest(transcript) as t,"
                  " generate_subscripts(transcript, 1) as place from call_details",
        "spark": "select id, time, dt, posexplode(transcript) as (place, t) from call_details",
    }[engine]
    end = "t.end" if engine == "duckdb" else "t.`end`"
    return (f"select id, time, dt, place, t.personId as person, t.start as start_s, {end} as end_s,"
            f" t.text as text{more} from ({unnest} where deleted_at is null) as u")


def with_speakers(engine, rows):
    return (f"select t.*, s.kind, s.name, s.email, s.user_id from ({rows}) as t left join"
            f" ({speakers(engine)}) as s on s.dt = t.dt and s.id = t.id and s.person = t.person")


def hits(engine):
    inner = turns(engine, ", t.annotations as annotations")
    unnest = {"duckdb": "unnest(annotations) as a, generate_subscripts(annotations, 1) as hit",
              "spark": "posexplode(annotations) as (hit, a)"}[engine]
    return f"select id, time, dt, place, person, start_s, end_s, {unnest} from ({inner}) as i"


def passages(engine, path):
    unnest = {"duckdb": f"unnest({path}) as p, generate_subscripts({path}, 1) as place",
              "spark": f"posexplode({path}) as (place, p)"}[engine]
    return f"select id, time, dt, {unnest} from call_details where deleted_at is null"


def stats(engine):
    matches = {"duckdb": "len(regexp_extract_all(text, '{}'))",
               "spark": "regexp_count(text, '{}')"}[engine]
    monologues = (
        "select dt, id, person, run, sum(end_s - start_s) as seconds, sum(words) as words,"
        " sum(questions) as questions, count(*) as turns, min(start_s) as start_s,"
        " max(end_s) as end_s, max(switch) as switch from ("
        "select *, sum(switch) over (partition by dt, id order by place) as run from ("
        "select *, case when person is distinct from lag(person) over"
        " (partition by dt, id order by place) then 1 else 0 end as switch,"
        f" {matches.format('[^ ]+')} as words, {matches.format('[?]+')} as questions"
        f" from ({turns(engine)}) as a) as b) as c group by dt, id, person, run"
    )
    return (
        "select t.*, t.seconds / sum(t.seconds) over (partition by t.dt, t.id) as share,"
        " sum(t.switches) over (partition by t.dt, t.id) * 60 / (max(t.end_s) over"
        " (partition by t.dt, t.id) - min(t.start_s) over (partition by t.dt, t.id)) as pace,"
        " s.kind, s.name, s.email, s.user_id from ("
        "select dt, id, person, sum(seconds) as seconds, max(seconds) as longest, sum(words) as words,"
        " sum(questions) as questions, sum(turns) as turns, sum(switch) as switches,"
        f" min(start_s) as start_s, max(end_s) as end_s from ({monologues}) as d"
        f" group by dt, id, person) as t left join ({speakers(engine)}) as s"
        " on s.dt = t.dt and s.id = t.id and s.person = t.person"
    )


def conversations(engine):
    line = "coalesce(name, 'Unknown') || ': ' || text"
    text = {"duckdb": f"string_agg({line}, chr(10) order by place)",
            "spark": f"array_join(transform(array_sort(collect_list(struct(place, {line} as line))),"
                     " x -> x.line), '\\n')"}[engine]
    lists = {"duckdb": "list(coalesce(name, known, email)) filter (where kind = '{}')",
             "spark": "collect_list(coalesce(name, known, email)) filter (where kind = '{}')"}[engine]
    return (
        "select c.*, d.summary, p.users as internals, p.externals, t.transcript, s.total"
        " from calls as c left join call_details as d on d.dt = c.dt and d.id = c.id"
        f" left join (select dt, id, {lists.format('user')} as users, {lists.format('external')} as"
        f" externals from ({people(engine)}) as p group by dt, id) as p on p.dt = c.dt and p.id = c.id"
        f" left join (select dt, id, {text} as transcript from"
        f" ({with_speakers(engine, turns(engine))}) as t group by dt, id) as t"
        " on t.dt = c.dt and t.id = c.id left join (select call_id, sum(total_score) as total"
        " from scorecards group by call_id) as s on s.call_id = c.id where c.deleted_at is null"
    )


def daily(engine):
    size = {"duckdb": "len", "spark": "array_size"}[engine]
    names = ("users", "externalParticipants") if engine == "duckdb" else ("users", "`externalParticipants`")
    return (
        f"select c.dt, count(*) as calls, count(d.id) as details, sum(c.metrics.call_duration) as seconds,"
        f" sum({size}(d.transcript)) as turns, sum({size}(c.{names[0]})) as users,"
        f" sum({size}(c.{names[1]})) as externals from calls as c left join call_details as d"
        " on d.dt = c.dt and d.id = c.id where c.deleted_at is null group by c.dt"
    )


def by_hand(engine):
    """The queries, by view."""
    return {
        "participants": people(engine),
        "speakers": speakers(engine),
        "turns": with_speakers(engine, turns(engine)),
        "tracker_hits": with_speakers(engine, hits(engine)),
        "topics_discussed": passages(engine, "summary.topics_discussed"),
        "action_items": passages(engine, "summary.key_action_items"),
        "daily_activity": daily(engine),
        "speaker_stats": stats(engine),
        "conversations": conversations(engine),
    }


def whole(columns, relation):
    """A query that reads every value of `columns` and returns one row."""
    return f"select {', '.join(f'count({column})' for column in columns)} from {relation}"


def seconds(run):
    """The best of three runs."""
    best = float("inf")
    for _ in range(3):
        begun = time.monotonic()
        run()
        best = min(best, time.monotonic() - begun)
    return best


def slow(engine, columns_of, execute, views=None, out=None):
    """Views that take longer than their query by hand, of all rows and of every value."""
    for view, query in by_hand(engine).items():
        if views and view not in views:
            continue
        times = []
        for relation in (view, f"({query}) as by_hand"):
            columns = columns_of(f"select * from {relation}")
            hashes = {"duckdb": "hash({})", "spark": "xxhash64({})"}[engine]
            quote = {"duckdb": '"', "spark": "`"}[engine]
            hashed = hashes.format(", ".join(quote + it + quote for it in columns))
            every = f"select max({hashed}) from {relation}"
            rows = f"select count(*) from {relation}"
            times.append([seconds(lambda: execute(it)) for it in (rows, every)])
        if out:
            (rows, every), (hand_rows, hand_every) = times
            out(f"       {engine} {view:17} rows {rows:6.2f} by hand {hand_rows:6.2f}"
                f"   values {every:6.2f} by hand {hand_every:6.2f}")
        for about, ours, theirs in zip(("rows", "values"), *times):
            if ours > RATIO * theirs + NOISE[engine]:
                yield f"{view}: {about} take {ours:.2f} s, by hand {theirs:.2f} s"


def slow_in_duckdb(connection, views=None, out=None):
    columns = lambda query: [row[0] for row in connection.execute(f"describe {query}").fetchall()]
    yield from slow("duckdb", columns, lambda query: connection.execute(query).fetchall(), views, out)


def slow_in_spark(spark, views=None, out=None):
    columns = lambda query: spark.sql(query).columns
    yield from slow("spark", columns, lambda query: spark.sql(query).collect(), views, out)


def table_of(path):
    """The table that a file, a folder or a glob belongs to."""
    return [part for part in path.rstrip("/").split("/") if "=" not in part and ".parquet" not in part][-1]


def parquet_scans(connection, query):
    """The scans of Parquet files in a plan that ran."""
    plan = connection.execute(f"explain (analyze, format json) {query}").fetchall()[0][1]
    found = []

    def walk(node):
        if isinstance(node, list):
            for member in node:
                walk(member)
        elif isinstance(node, dict):
            if node.get("name") == "READ_PARQUET":
                found.append(node)
            for member in node.values():
                walk(member)

    walk(json.loads(plan)["operator"])
    return found


def scans_of_duckdb(connection, query):
    """(table, files read) of every scan in a plan that ran."""
    for scan in parquet_scans(connection, query):
        about = scan["extra_info"]
        table = table_of(about.get("Filename(s)", "?").split(",")[0])
        yield table, int(about.get("Total Files Read", 0))


def read_though_older(connection):
    """Scans of `call_changes` that read row groups of which the statistics say that all is older."""
    query = "select * from call_changes where changed_at >= timestamptz '2999-01-01 00:00:00Z'"
    for scan in parquet_scans(connection, query):
        if scan["row_groups_scanned"]:
            yield scan["extra_info"]


def scans_of_spark(spark, query):
    """(table, files read) of every scan in a physical plan that ran."""
    frame = spark.sql(query)
    frame.collect()
    found = []

    def walk(plan):
        name = plan.nodeName()
        if name.startswith("AdaptiveSparkPlan"):
            return walk(plan.executedPlan())
        if name.startswith("Scan parquet"):
            root = plan.relation().location().rootPaths().head().toString()
            found.append((table_of(root), plan.metrics().apply("numFiles").value()))
        if "QueryStage" in name:
            walk(plan.plan())
        children = plan.children().iterator()
        while children.hasNext():
            walk(children.next())

    walk(frame._jdf.queryExecution().executedPlan())
    return found


def unpruned(scans, dates):
    """Views of which a condition on one `dt` reads more than that; `scans` runs a query."""
    for view in EVENTS:
        for date in dates:
            found = list(scans(f"select * from {view} where dt = '{date}'"))
            over = [it for it in found if it[0] not in OTHER_DATES and it[1] > 1]
            if over or not found:
                yield f"{view}, {date}: {found}"


def some_dates(connection):
    """The first, the fullest and the last date of details that are not all marked as deleted: of one
    that is, no file need be read."""
    query = """select dt, count(*) from call_details where dt is not null and deleted_at is null
        group by dt order by dt"""
    found = connection.execute(query).fetchall()
    return sorted({found[0][0], max(found, key=lambda it: it[1])[0], found[-1][0]})


def main():
    from pathlib import Path

    import read_sql

    binary, lake, views = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    connection = read_sql.open_duckdb(binary, lake)
    connection.execute("set threads = 2")
    spark = read_sql.spark_session()
    for statement in read_sql.statements(binary, lake, "spark"):
        spark.sql(statement)
    dates = some_dates(connection)
    problems = [
        *unpruned(lambda query: scans_of_duckdb(connection, query), dates),
        *unpruned(lambda query: scans_of_spark(spark, query), dates[:1]),
        *slow_in_duckdb(connection, views, print),
        *slow_in_spark(spark, views, print),
    ]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
