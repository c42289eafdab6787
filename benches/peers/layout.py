"""Writes five years of call details in several layouts, and times five questions on each.

    layout.py LAKE WORK [--spark]

Times are DuckDB's CPU on one thread, the best of five; with `--spark` Spark's wall time on one core too, the
best of three, for the layouts that differ in their files. The files are pyarrow's, so that only the layout
differs; the first has the settings of this tool.
"""

import datetime
import glob
import pathlib
import shutil
import sys
import time

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

lake, work = sys.argv[1], pathlib.Path(sys.argv[2])
with_spark = "--spark" in sys.argv[3:]
DAYS, A_DAY = 5 * 365, 8
GROUP = 16 << 20
LONG = ("text", "phrase", "summary", "full_summary", "key_takeaways", "action_item", "reasoning", "extra_json")

files = sorted(glob.glob(f"{lake}/call_details/*/*.parquet"))
base = pa.concat_tables(pq.ParquetFile(it).read() for it in files)
begin = datetime.datetime(2021, 1, 1, tzinfo=datetime.timezone.utc)
columns = pq.ParquetFile(files[0]).schema
leaves = [columns.column(at) for at in range(len(columns))]


# Too few bytes to compress, and too few values for a dictionary.
FEW_BYTES, TOO_FEW = 256, 1024


def repeats(leaf):
    """Whether a large column of these is smaller with a dictionary."""
    logical = leaf.logical_type.type
    is_long = leaf.path.split(".")[-1] in LONG
    return not is_long and leaf.physical_type != "DOUBLE" and logical != "TIMESTAMP" and leaf.path != "id"


def is_listed(leaf):
    return ".list." in leaf.path


def contents(rows, leaf):
    """How many values a leaf has about, and how many bytes they take."""
    values, count = rows, rows.num_rows
    for name in leaf.path.replace(".list.element", ".[]").split("."):
        if name == "[]":
            values = pc.list_flatten(values)
            count = max(count, len(values))
        elif isinstance(values, pa.Table):
            values = values[name].combine_chunks()
        else:
            values = pc.struct_field(values, name)
    filled = len(values) - values.null_count
    is_text = pa.types.is_string(values.type)
    size = (pc.sum(pc.binary_length(values)).as_py() or 0) + 4 * filled if is_text else 8 * filled
    return count, size + (count // 8 if filled else 0)


def as_this_tool(rows):
    """This tool's settings for an object of these rows."""
    known = {leaf.path: contents(rows, leaf) for leaf in leaves}
    bare = lambda leaf: known[leaf.path][1] <= FEW_BYTES
    return {
        "compression": {leaf.path: "none" if bare(leaf) else "zstd" for leaf in leaves},
        "compression_level": {leaf.path: 3 for leaf in leaves if not bare(leaf)},
        "use_dictionary": [it.path for it in leaves if repeats(it) and not bare(it) and known[it.path][0] > TOO_FEW],
        "write_statistics": [it.path for it in leaves if not is_listed(it)],
        "write_page_index": True,
        "data_page_size": 4 << 20,
        "bloom_filter_options": {"id": {"ndv": 10_000, "fpp": 0.01}},
    }


def day(number):
    """The rows of one day: others each day, with ids and times of their own."""
    at = number * A_DAY % base.num_rows
    rows = base.slice(at, A_DAY)
    start = begin + datetime.timedelta(days=number)
    times = [start + datetime.timedelta(minutes=90 * row) for row in range(rows.num_rows)]
    ids = [f"{number:06x}{id[6:]}" for id in rows["id"].to_pylist()]
    set_to = lambda table, name, values: table.set_column(table.schema.get_field_index(name), name, values)
    rows = set_to(rows, "id", pa.array(ids))
    return start.date(), set_to(rows, "time", pa.array(times, pa.timestamp("us", "UTC")))


def partitions(months):
    gathered, name = [], None
    for number in range(DAYS):
        date, rows = day(number)
        here = date.replace(day=1) if months else date
        if gathered and here != name:
            yield name, pa.concat_tables(gathered)
            gathered = []
        name = here
        gathered.append(rows)
    yield name, pa.concat_tables(gathered)


def write(folder, months=False, group=GROUP, shuffled=False, **options):
    for name, rows in partitions(months):
        if shuffled:
            rows = rows.take(pc.sort_indices(rows["id"]))
        path = folder / f"dt={name}"
        path.mkdir(parents=True)
        size = max(1, group * rows.num_rows // rows.nbytes)
        pq.write_table(rows, path / "part-0.parquet", row_group_size=size, **(as_this_tool(rows) | options))


ALL_ZSTD = {"compression": "zstd", "compression_level": 3}
LIKE_MANY = ALL_ZSTD | {"use_dictionary": [it.path for it in leaves if repeats(it)]}

LAYOUTS = {
    "this tool's: by day, 16 MB groups, zstd 3": {},
    "by month": {"months": True},
    "by month, 4 MB groups": {"months": True, "group": 4 << 20},
    "by month, 64 MB groups": {"months": True, "group": 64 << 20},
    "by month, not sorted by time": {"months": True, "shuffled": True},
    "few values like many": LIKE_MANY,
    "few values like many, statistics of lists": LIKE_MANY | {"write_statistics": True},
    "no page index": {"write_page_index": False},
    "dictionary on all columns": {"use_dictionary": True},
    "dictionary on none": {"use_dictionary": False},
    "pages of 1 MB": {"data_page_size": 1 << 20},
    "no bloom filter": {"bloom_filter_options": None},
    "zstd 1": ALL_ZSTD | {"compression_level": 1},
    "zstd 9": ALL_ZSTD | {"compression_level": 9},
}


def questions(files):
    source = f"read_parquet('{files}', hive_partitioning = true)"
    middle = begin + datetime.timedelta(days=DAYS // 2, minutes=90)
    date = middle.date()
    month = f"dt between date '{date.replace(day=1)}' and date '{date.replace(day=28)}'"
    span = f"time >= timestamptz '{date.replace(day=1)}' and time < timestamptz '{date.replace(day=28)}'"
    id = duckdb.sql(f"select id from {source} where time = timestamptz '{middle.isoformat()}'").fetchall()[0][0]
    on_day = f"time >= timestamptz '{date} 00:00+00' and time < timestamptz '{date} 00:00+00' + interval 1 day"
    by_dt = "dt = date '%s'" % (date.replace(day=1) if "/by_month" in files else date)
    return {
        "one day": f"select count(*), avg(metrics.call_duration) from {source} where {by_dt} and {on_day}",
        "one column, a year": f"select sum(metrics.talk_listen_ratio) from {source} where dt >= date '2024-01-01' and dt < date '2025-01-01'",
        "one call by id and dt": f"select transcript from {source} where id = '{id}' and {by_dt}",
        "one call by id": f"select transcript from {source} where id = '{id}'",
        "text, a month": f"select count(*) from (select unnest(transcript).text as text from {source} where {month} and {span}) where text like '%aa%ee%'",
        "five years": f"select count(*), sum(metrics.call_duration), max(len(transcript)) from {source}",
    }


def seconds(ask, of, rounds):
    """The best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        begun = of()
        ask()
        best = min(best, of() - begun)
    return best


def in_spark(question, files):
    """The same question in Spark's words, about a view."""
    source = f"read_parquet('{files}', hive_partitioning = true)"
    for ours, theirs in [
        (source, "details"),
        ("unnest(transcript).text", "explode(transcript.text)"),
        ("timestamptz", "timestamp"),
        ("00:00+00'", "00:00:00+00:00'"),
        ("+ interval 1 day", "+ interval '1' day"),
        ("len(", "size("),
    ]:
        question = question.replace(ours, theirs)
    return question


def spark_session():
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false", "spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": "1",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[1]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


spark = spark_session() if with_spark else None
print(f"duckdb {duckdb.__version__}, pyarrow {pa.__version__}; {DAYS * A_DAY:,} call details over {DAYS:,} days\n")
for number, (name, options) in enumerate(LAYOUTS.items()):
    folder = work / ("by_month" if options.get("months") else "by_day") / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.process_time()
    write(folder, **options)
    cpu = time.process_time() - begun
    size = sum(it.stat().st_size for it in folder.rglob("*.parquet")) / 1e6
    connection = duckdb.connect(config={"threads": 1})
    asked = questions(f"{folder}/*/*.parquet")
    if not number:
        print(f"| layout | MB | s to write | " + " | ".join(asked) + " |")
        print("|---" * (3 + len(asked)) + "|")
    ask = {name: (lambda it=it: connection.sql(it).fetchall()) for name, it in asked.items()}
    cells = [f"{seconds(it, time.process_time, 5) * 1000:.0f} ms" for it in ask.values()]
    print(f"| {name} | {size:.0f} | {cpu:.1f} | " + " | ".join(cells) + " |", flush=True)
    if spark and (not number or options.get("months")):
        spark.read.parquet(str(folder)).createOrReplaceTempView("details")
        words = [in_spark(it, f"{folder}/*/*.parquet") for it in asked.values()]
        ask = [lambda it=it: spark.sql(it).collect() for it in words]
        cells = [f"{seconds(it, time.perf_counter, 3) * 1000:.0f} ms" for it in ask]
        print(f"| the same in Spark {spark.version} | | | " + " | ".join(cells) + " |", flush=True)
    shutil.rmtree(folder)
