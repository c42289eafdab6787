"""What each of the others does, one job a process.

    jobs.py TOOL INPUT OUTPUT

Of files, INPUT is an NDJSON file and OUTPUT a Parquet file; of exports, they are the API's address and
a folder, and TABLES in the environment names the tables. All compress with zstd at level 3, as this tool does.
"""

import os
import sys

tool, source, target = sys.argv[1:]


def duckdb_copy(options=""):
    import duckdb

    # A line holds a whole call: the largest that the API sends has 6 MB.
    read = f"read_json('{source}', maximum_object_size=16777216{options})"
    duckdb.sql(f"copy (from {read}) to '{target}' (format parquet, compression zstd, compression_level 3)")


def polars():
    import polars

    polars.read_ndjson(source).write_parquet(target, compression="zstd", compression_level=3)


def pyarrow():
    import pyarrow.json
    import pyarrow.parquet

    # The default block is smaller than many a call.
    table = pyarrow.json.read_json(source, pyarrow.json.ReadOptions(block_size=64 << 20))
    pyarrow.parquet.write_table(table, target, compression="zstd", compression_level=3)


def dlt(nesting):
    import dlt
    from dlt.sources.rest_api import rest_api_source

    paged = {"type": "offset", "limit": 100, "offset_param": "skip", "limit_param": "limit",
             "total_path": None, "stop_after_empty_page": True}
    endpoint = {"path": "calls", "paginator": paged, "data_selector": "calls", "params": {"includePagination": "false"}}
    details = {"path": "call-details?id={resources.calls.id}", "paginator": "single_page", "data_selector": "call"}
    resources = [{"name": "calls", "primary_key": "id", "endpoint": endpoint}]
    if "call_details" in os.environ["TABLES"]:
        resources.append({"name": "call_details", "primary_key": "id", "parallelized": True, "endpoint": details})
    api = rest_api_source({"client": {"base_url": source}, "resources": resources}, max_table_nesting=nesting)
    pipeline = dlt.pipeline("compare", pipelines_dir=f"{target}/state", dataset_name="lake",
                            destination=dlt.destinations.filesystem(f"file://{target}"))
    pipeline.run(api, loader_file_format="parquet")


{
    "duckdb": duckdb_copy,
    "duckdb, sample_size=500": lambda: duckdb_copy(", sample_size=500"),
    "polars": polars,
    "pyarrow": pyarrow,
    "dlt": lambda: dlt(None),
    "dlt, max_table_nesting=0": lambda: dlt(0),
}[tool]()
