"""Engines that are asked once in a while: an older DuckDB, chDB and DataFusion.

    more_engines.py note BINARY LAKE FILE    what the lake says, as today's DuckDB reads it
    more_engines.py check LAKE FILE          whether these engines read the same

The first is run where today's DuckDB is installed, the second where the others are. Exits 1 when
any engine reads something else.
"""

import json
import sys
from pathlib import Path

import duckdb

from promises import Promises

MEASURES = {
    "rows": "count(*)",
    "ids": "count(distinct {key})",
    "with extra_json": "count(extra_json)",
    "last exported": "max({micros})",
}


def measures(name, key, micros, length):
    """What is asked of every table, in one engine's words."""
    asked = {what: of.format(key=key, micros=micros) for what, of in MEASURES.items()}
    if name == "call_details":
        asked["turns"] = f"sum({length})"
    return asked


def query(asked, source):
    columns = ", ".join(f"{of} as m{at}" for at, of in enumerate(asked.values()))
    return f"select {columns} from {source}"


def answer(asked, row):
    return {what: 0 if value in (None, "\\N") else int(value) for what, value in zip(asked, row)}


def glob(lake, name):
    return f"{Path(lake).absolute()}/{name}/*/*.parquet"


def by_duckdb(lake, name, key):
    asked = measures(name, key, "epoch_us(exported_at)", "len(transcript)")
    return answer(asked, duckdb.sql(query(asked, f"read_parquet('{glob(lake, name)}')")).fetchall()[0])


def by_chdb(lake, name, key):
    import chdb

    asked = measures(name, key, "toUnixTimestamp64Micro(exported_at)", "length(transcript)")
    # Counting columns that are null is standard SQL; a glob is its own.
    lines = str(chdb.query(query(asked, f"file('{glob(lake, name)}', 'Parquet')"), "TSV"))
    return answer(asked, lines.strip().split("\t"))


def by_datafusion(lake, name, key):
    import datafusion
    import pyarrow

    context = datafusion.SessionContext()
    dates = [("dt", pyarrow.string())]
    context.register_parquet("t", str(Path(lake).absolute() / name), table_partition_cols=dates)
    # It takes names to lower case unless they are quoted.
    asked = measures(name, f'"{key}"', "arrow_cast(exported_at, 'Int64')", "array_length(transcript)")
    batch = context.sql(query(asked, "t")).to_arrow_table()
    return answer(asked, [batch.column(at)[0].as_py() for at in range(len(asked))])


def views(statements):
    """Every view's rows, by the generated SQL."""
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    for statement in statements:
        connection.execute(statement)
    names = connection.execute(
        "select view_name from duckdb_views() where not internal order by 1"
    ).fetchall()
    for (name,) in names:
        # As text, since the versions hand over dates and structs as other kinds of objects.
        texts = connection.execute(f'select cast(columns(*) as varchar) from "{name}"').fetchall()
        yield name, [len(texts), sorted(repr(row) for row in texts)]


def note(binary, lake, file):
    import read_sql
    from promises import output

    keys = {it["name"]: it["key"][0] for it in output(binary, "endpoints", "--json")}
    objects = Path(lake).glob("*/dt=*/*.parquet")
    names = sorted({it.parent.parent.name for it in objects} & keys.keys())
    statements = read_sql.statements(binary, lake, "duckdb")
    noted = {
        "keys": {name: keys[name] for name in names},
        "tables": {name: by_duckdb(lake, name, keys[name]) for name in names},
        "statements": statements,
        "views": dict(views(statements)),
    }
    Path(file).write_text(json.dumps(noted))


def differences(lake, noted, engine):
    for name, key in noted["keys"].items():
        found = engine(lake, name, key)
        if found != noted["tables"][name]:
            yield f"{name}: {found}, not {noted['tables'][name]}"


def check(lake, file):
    noted = json.loads(Path(file).read_text())
    promises = Promises()
    where = f"{Path(lake).name}, by plain glob"
    promises.check(f"duckdb {duckdb.__version__}: {where}", differences(lake, noted, by_duckdb))
    promises.check(f"chdb: {where}", differences(lake, noted, by_chdb))
    promises.check(f"datafusion: {where}", differences(lake, noted, by_datafusion))
    found = dict(views(noted["statements"]))
    differ = [name for name, rows in noted["views"].items() if found.get(name) != rows]
    promises.check(f"duckdb {duckdb.__version__}: {Path(lake).name}, every view", differ)
    return 1 if promises.broken or not noted["views"] else 0


if __name__ == "__main__":
    if sys.argv[1] == "note":
        note(*sys.argv[2:5])
    else:
        sys.exit(check(*sys.argv[2:4]))
