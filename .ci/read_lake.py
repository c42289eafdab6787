"""Reads a lake as its users do: DuckDB, pyarrow and polars, by plain glob."""

import hashlib
import re

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

from promises import output

CALLS = "300"
INSTANT = pyarrow.timestamp("us", tz="UTC")
SCALARS = {
    "boolean": pyarrow.bool_(),
    "int64": pyarrow.int64(),
    "double": pyarrow.float64(),
    "string": pyarrow.string(),
    "timestamp": INSTANT,
}


class Table:
    """One table of the lake: what the catalogue and the run's report say of it."""

    def __init__(self, binary, lake, endpoint, rows):
        self.name = endpoint["name"]
        self.dated_by = endpoint["dated_by"]
        self.rows = rows
        self.folder = lake / self.name
        self.glob = str(self.folder / "*" / "*.parquet")
        self.files = sorted(self.folder.glob("*/*.parquet"))
        self.schema = output(binary, "schema", self.name, str(lake), "--json")
        # A snapshot table has each key once a day.
        self.key = endpoint["key"] + (["dt"] if self.dated_by == "day of the run" else [])

    def source(self):
        return f"read_parquet('{self.glob}', hive_partitioning = true)"


def tables_of(binary, lake, report):
    endpoints = {it["name"]: it for it in output(binary, "endpoints", "--json")}
    exported = [it for it in report["endpoints"] if it["outcome"] != "absent"]
    return [Table(binary, lake, endpoints[it["endpoint"]], it["rows"]) for it in exported]


def counts(table):
    """Rows, and distinct keys, as each engine counts them."""
    names = ", ".join(f'"{name}"' for name in table.key)
    keys = f"select count(*) from (select distinct {names} from {table.source()})"
    yield "duckdb", one(f"select count(*) from {table.source()}"), one(keys)
    frame = polars.scan_parquet(table.glob, hive_partitioning=True)
    rows = frame.select(polars.len()).collect().item()
    yield "polars", rows, frame.select(table.key).unique().select(polars.len()).collect().item()
    read = pyarrow.dataset.dataset(table.folder, format="parquet", partitioning="hive")
    groups = read.to_table(columns=table.key).group_by(table.key).aggregate([])
    yield "pyarrow", read.count_rows(), groups.num_rows


def one(query):
    return duckdb.sql(query).fetchall()[0][0]


def miscounts(tables):
    for table in tables:
        for engine, rows, keys in counts(table):
            if not rows == keys == table.rows:
                yield f"{engine}: {table.name}: {rows} rows, {keys} keys, reported {table.rows}"


def unread_folders(tables):
    """Folders that people read as they stand, and one date of each, as they filter."""
    for table in tables:
        folder, dates = str(table.folder), sorted(it.parent.name[len("dt="):] for it in table.files)
        last = dates[-1]
        expected = table.rows, one(f"select count(*) from {table.source()} where dt = '{last}'")
        only = [("dt", "=", last)]
        of_frame = polars.scan_parquet(folder, hive_partitioning=True)
        duck = f"read_parquet('{folder}/**/*.parquet')"
        found = {
            "pandas": (len(pandas.read_parquet(folder)), len(pandas.read_parquet(folder, filters=only))),
            "pyarrow": (
                pyarrow.parquet.read_table(folder).num_rows,
                pyarrow.parquet.read_table(folder, filters=only).num_rows,
            ),
            "polars": (
                of_frame.select(polars.len()).collect().item(),
                of_frame.filter(polars.col("dt").cast(str) == last).select(polars.len()).collect().item(),
            ),
            "duckdb": (one(f"select count(*) from {duck}"), one(f"select count(*) from {duck} where dt = '{last}'")),
        }
        for reader, counts in found.items():
            if counts != expected:
                yield f"{reader}: {table.name}: {counts} rows, not {expected}"


def misplaced(tables):
    for table in (it for it in tables if not it.dated_by.startswith("day of")):
        day = f"date '1970-01-01' + cast(epoch_us({table.dated_by}) // 86400000000 as integer)"
        count = one(f"select count(*) from {table.source()} where dt is distinct from {day}")
        if count:
            yield f"{table.name}: {count} rows whose dt is not the date of {table.dated_by}"


def arrow_type(column):
    """The Arrow type that a column's type is promised to have."""
    depth = column["type"].count("list<")
    name = re.sub(r"list<|>", "", column["type"])
    kind = SCALARS.get(name) or pyarrow.struct(
        [(field["name"], arrow_type(field)) for field in column["fields"]]
    )
    for _ in range(depth):
        kind = pyarrow.list_(pyarrow.field("element", kind))
    return kind


def mistyped(tables):
    for table in tables:
        expected = {it["name"]: arrow_type(it) for it in table.schema["columns"]}
        expected |= {"extra_json": pyarrow.string(), "exported_at": INSTANT}
        first = pyarrow.parquet.read_schema(table.files[0])
        for file in table.files:
            schema = pyarrow.parquet.read_schema(file)
            if schema.remove_metadata() != first.remove_metadata():
                yield f"{table.name}: {file.parent.name} has another schema than the others"
        for name, kind in expected.items():
            found = first.field(name).type if name in first.names else None
            if found != kind:
                yield f"{table.name}.{name}: {found}, not {kind}"


def unindexed(tables):
    """Columns that a reader cannot skip parts of, and files that do not say how they are sorted."""
    for table in tables:
        for file in table.files:
            group = pyarrow.parquet.read_metadata(file)
            if not group.num_rows:
                continue
            group = group.row_group(0)
            columns = [group.column(at) for at in range(group.num_columns)]
            for column in columns:
                # Nothing is skipped because of values in a list, and a column of nothing but nulls has
                # no bounds to index.
                listed = ".list.element" in column.path_in_schema
                bounded = column.is_stats_set and column.statistics.has_min_max
                indexed = column.has_offset_index and (column.has_column_index or not bounded)
                # Only what holds next to nothing is stored as it is.
                small = column.compression == "ZSTD" or column.total_uncompressed_size < 2048
                if not (column.is_stats_set != listed and indexed and small):
                    yield f"{file}: {column.path_in_schema}"
            sorted_by = [columns[it.column_index].path_in_schema for it in group.sorting_columns]
            if not sorted_by:
                yield f"{file}: it does not say how it is sorted"


def unnested(details):
    """How many turns the transcripts have, in each engine; all equal and not zero."""
    turns = f"select unnest(transcript) as turn from {details.source()}"
    counted = {"duckdb": one(f"select count(turn.text) from ({turns})")}
    frame = polars.scan_parquet(details.glob).select(polars.col("transcript"))
    turn = frame.explode("transcript").select(polars.col("transcript").struct.field("text").count())
    counted["polars"] = turn.collect().item()
    lists = pyarrow.dataset.dataset(details.folder, format="parquet").to_table(["transcript"])
    texts = pyarrow.compute.list_flatten(lists["transcript"])
    texts = pyarrow.compute.struct_field(texts, "text")
    counted["pyarrow"] = len(texts) - texts.null_count
    if len(set(counted.values())) > 1 or not counted["duckdb"]:
        yield f"turns of transcripts: {counted}"


def digests(lake):
    """What every object of every table is, to the byte."""
    objects = (it for it in lake.glob("*/dt=*/*") if it.is_file())
    return {str(it.relative_to(lake)): hashlib.sha256(it.read_bytes()).hexdigest() for it in objects}


def rewritten(binary, lake, report):
    """Objects that a second run changed although the workspace had not."""
    for _ in range(2):
        before = digests(lake)
        again = output(binary, "demo", str(lake), "--calls", CALLS, "--json", "--quiet")
        # The demo's workspace stands still for an hour; in the next it is another.
        if again["now"] == report["now"]:
            break
        report = again
    after = digests(lake)
    names = sorted(before.keys() | after.keys())
    changed = [name for name in names if before.get(name) != after.get(name)]
    if again["changed"]:
        changed.append(f"the report names {len(again['changed'])} changes")
    return changed


def read_demo(binary, lake, promises):
    """The demo's lake, by plain glob."""
    report = output(binary, "demo", str(lake), "--calls", CALLS, "--json", "--quiet")
    tables = tables_of(binary, lake, report)
    details = next(table for table in tables if table.name == "call_details")
    print(f"{len(tables)} tables, {sum(it.rows for it in tables)} rows, {len(digests(lake))} objects")
    promises.check("every row once in duckdb, polars and pyarrow", miscounts(tables))
    promises.check("every folder as it stands, and by a date, in pandas, pyarrow, polars, duckdb", unread_folders(tables))
    promises.check("dt is the date of the record's own time", misplaced(tables))
    promises.check("one schema a table, of the promised types", mistyped(tables))
    promises.check("statistics, page index and sort order in every file", unindexed(tables))
    promises.check("transcripts unnest, alike in all three", unnested(details))
    promises.check("a run that finds nothing new writes nothing", rewritten(binary, lake, report))


def unseen(lake, spark):
    """What engines fail to see of new fields by plain glob, without being told to join schemas."""
    folder = lake / "calls"
    place = as_glob(folder)
    by_duckdb = f"select mood, metrics.calm, users[1].team from read_parquet('{place}') where id = 'g0'"
    seen = {"duckdb": duckdb.sql(by_duckdb).fetchall()[0]}
    frame = polars.scan_parquet(sorted(folder.glob("*/*.parquet")), glob=False)
    row = frame.filter(polars.col("id") == "g0").collect().to_dicts()[0]
    seen["polars"] = row["mood"], row["metrics"]["calm"], row["users"][0]["team"]
    read = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive")
    row = read.to_table(filter=pyarrow.compute.field("id") == "g0").to_pylist()[0]
    seen["pyarrow"] = row["mood"], row["metrics"]["calm"], row["users"][0]["team"]
    plain = "".join("\\" + it if it in "[]{}*?" else it for it in str(folder))
    row = spark.read.parquet(plain).where("id = 'g0'").toArrow().to_pylist()[0]
    seen["spark"] = row["mood"], row["metrics"]["calm"], row["users"][0]["team"]
    for engine, found in seen.items():
        if tuple(found) != ("good", 0.5, 7):
            yield f"{engine}: {found}"


def as_glob(folder):
    """A folder's objects as a glob for DuckDB: a wildcard in a name is itself in brackets."""
    plain = "".join(f"[{it}]" if it in "[*?" else it for it in str(folder))
    return plain.replace("'", "''") + "/*/*.parquet"
