"""Exports into object stores and reads back from the servers themselves.

    read_stores.py BINARY WORK LOCATION...

The environment says how each server is reached. A simulated workspace is exported into a folder,
which is held against the API, and into every location, which is held against the folder; then
exporters race for each location, are killed and stopped at random, and it is held again. Says one
line for each promise, and exits 1 if any does not hold. The environment's secrets are canaries: no
output may show one.
"""

import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import duckdb
import polars
import pyarrow.dataset
import pyarrow.fs

CALLS = "250"
KEY = {"X-Api-Key": "demo-key", "X-Api-Password": "demo-password"}
CANARIES = [os.environ[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
SAS_CANARY = "canary%2Bsignature%3D"
TABLES = {"calls": "id", "call_details": "id", "users": "id"}
RACES = int(os.environ.get("RACES", "3"))

broken = 0
said = []


def check(promise, problems):
    """Says that a promise holds, or where it does not."""
    global broken
    broken += bool(problems)
    print(f"{'BROKEN' if problems else 'ok':6} {promise}", flush=True)
    for problem in problems[:10]:
        print(f"       {problem}")


class Tool:
    """The command, against one simulated workspace."""

    def __init__(self, binary, base_url):
        self.binary = binary
        self.environment = os.environ | {
            "CLARI_BASE_URL": base_url,
            "CLARI_API_KEY": KEY["X-Api-Key"],
            "CLARI_API_PASSWORD": KEY["X-Api-Password"],
        }

    def start(self, *arguments):
        command = [self.binary, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, env=self.environment, text=True)

    def finish(self, process, timeout=300):
        out, err = process.communicate(timeout=timeout)
        said.extend((out, err))
        return process.returncode, out, err

    def run(self, *arguments, **environment):
        self.environment |= environment
        return self.finish(self.start(*arguments))

    def export(self, location):
        return self.start("export", location, "--rate", "0", "--json", "--quiet")


def get(base_url, target):
    request = urllib.request.Request(base_url + target, headers=KEY)
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def source(base_url):
    """The ids of calls and users, as the API has them."""
    calls, skip = set(), 0
    while page := get(base_url, f"/calls?limit=100&skip={skip}")["calls"]:
        calls |= {call["id"] for call in page if call["time"] < time.strftime("%Y-%m-%dT%H:%M:%S")}
        skip += len(page)
    return {"calls": calls, "users": {user["id"] for user in get(base_url, "/users")["users"]}}


def polars_options(location):
    if location.startswith("s3://"):
        names = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_region": "AWS_REGION"}
        names |= {"aws_secret_access_key": "AWS_SECRET_ACCESS_KEY", "aws_endpoint_url": "AWS_ENDPOINT"}
        return {key: os.environ[name] for key, name in names.items()} | {"aws_allow_http": "true"}
    if location.startswith("az://"):
        return {"azure_storage_use_emulator": "true"}
    return {"google_service_account_key": os.environ["GOOGLE_SERVICE_ACCOUNT_KEY"]}


def by_polars(location, table):
    options = None if "://" not in location else polars_options(location)
    files = f"{location}/{table}/*/*.parquet"
    scan = polars.scan_parquet(files, hive_partitioning=True, storage_options=options)
    return scan.drop("exported_at").collect().sort(TABLES[table], "dt")


def arrow_filesystem(location):
    if location.startswith("s3://"):
        return pyarrow.fs.S3FileSystem(
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=os.environ["AWS_ENDPOINT"],
            region=os.environ["AWS_REGION"],
        )
    if location.startswith("az://"):
        return pyarrow.fs.AzureFileSystem(
            account_name="devstoreaccount1",
            account_key=os.environ["AZURITE_KEY"],
            blob_storage_authority=os.environ["AZURITE_BLOB_STORAGE_URL"].split("//")[1],
            blob_storage_scheme="http",
            dfs_storage_authority=os.environ["AZURITE_BLOB_STORAGE_URL"].split("//")[1],
            dfs_storage_scheme="http",
        )
    return None


def by_arrow(location, table):
    """Rows and distinct keys, counted by pyarrow and by DuckDB on top of it."""
    path = f"{location.split('://')[1]}/{table}"
    read = pyarrow.dataset.dataset(
        path, filesystem=arrow_filesystem(location), format="parquet", partitioning="hive"
    )
    key = TABLES[table]
    keys = duckdb.sql(f"select count(distinct {key}) from read").fetchall()[0][0]
    return read.count_rows(), keys


def by_wrangler(location, table, dt):
    """How many rows of one date awswrangler reads, by its filter on partitions."""
    import awswrangler
    import boto3

    awswrangler.config.s3_endpoint_url = os.environ["AWS_ENDPOINT"]
    return len(awswrangler.s3.read_parquet(
        f"{location}/{table}/", dataset=True, partition_filter=lambda it: it["dt"] == dt,
        boto3_session=boto3.Session(region_name=os.environ["AWS_REGION"]),
    ))


def settled(rows):
    """The rows of calls that ended a while ago: the transcript of a call stays empty for 20 minutes,
    and an empty one is requested again only later and later."""
    if "time" not in rows.columns:
        return rows
    ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=3)
    return rows.filter(polars.col("time").is_null() | (polars.col("time") < ago))


def differences(location, folder):
    """Where a location, read from its server, is not what the folder is."""
    for table in TABLES:
        expected, found = by_polars(str(folder), table), by_polars(location, table)
        if not settled(expected).equals(settled(found)):
            yield f"{table}: {found.height} rows, not equal to the folder's {expected.height}"
        if arrow_filesystem(location) and by_arrow(location, table) != (expected.height,) * 2:
            yield f"{table}: pyarrow and duckdb count {by_arrow(location, table)}"
        dt = expected["dt"].max()
        rows = expected.filter(polars.col("dt") == dt).height
        if location.startswith("s3://") and by_wrangler(location, table, str(dt)) != rows:
            yield f"{table}: awswrangler reads {by_wrangler(location, table, str(dt))} of {rows}"


def caught_up(tool, location, folder):
    """The differences that are left when both have exported all there is.

    The workspace lives on: what happens in it between two exports is no difference, and shows in
    one of two tries at most.
    """
    for _ in range(2):
        for lake in (str(folder), location):
            tool.finish(tool.export(lake))
        if not (found := list(differences(location, folder))):
            break
    return found


def exported(tool, location, folder):
    """An export, what the server has then, and another export that finds nothing new."""
    status, _, err = tool.finish(tool.export(location))
    yield from [f"export exits {status}: {err}"] if status else []
    yield from caught_up(tool, location, folder)
    again = [tool.finish(tool.export(location)) for _ in range(2)]
    if all(status or json.loads(out)["changed"] for status, out, _ in again):
        yield f"another export changes something, or says: {again[-1][2]}"
    yield from verified(tool, location)


def verified(tool, location):
    for command in ("verify", "doctor"):
        status, out, err = tool.run(command, location)
        if status:
            yield f"{command} exits {status}: {out}{err}"


def raced(tool, location, folder):
    """Two exporters from nothing: one is killed, one stopped while a third does the job."""
    first, second = tool.export(location), tool.export(location)
    time.sleep(random.uniform(0.3, 4))
    second.send_signal(signal.SIGSTOP)
    first.kill()
    tool.finish(first)
    status, _, err = tool.finish(tool.export(location))
    yield from [f"the third exits {status}: {err}"] if status else []
    second.send_signal(signal.SIGCONT)
    status, _, err = tool.finish(second)
    yield from [f"the one that was stopped exits {status}: {err}"] if status else []
    yield from caught_up(tool, location, folder)
    yield from verified(tool, location)


def refusals(tool, location):
    """Errors name the place and what is wrong with it, and end."""
    scheme, rest = location.split("://")
    missing = f"{scheme}://no-such-{rest.split('/')[0]}/lake"
    status, _, err = tool.run("export", missing, "--quiet")
    if status != 2 or f"no-such-{rest.split('/')[0]}" not in err:
        yield f"a bucket that does not exist: exit {status}: {err}"


def main():
    binary, work = str(Path(sys.argv[1]).absolute()), Path(sys.argv[2])
    locations = sys.argv[3:]
    shutil.rmtree(work, ignore_errors=True)
    port = random.randint(20000, 30000)
    simulator = subprocess.Popen(
        [binary, "simulate", "--port", str(port), "--calls", CALLS], stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(3)
        base_url = f"http://127.0.0.1:{port}"
        tool, folder = Tool(binary, base_url), work / "lake"
        status, _, err = tool.finish(tool.export(str(folder)))
        truth = source(base_url)
        wrong = [err] if status else []
        for table, ids in truth.items():
            found = set(by_polars(str(folder), table)[TABLES[table]])
            wrong += [f"{table}: {len(found ^ ids)} ids differ"] if found != ids else []
        check("a folder says what the API says", wrong)
        for location in locations:
            place = f"{location}/{random.randrange(1 << 32):08x}"
            check(f"{location} is what the folder is", list(exported(tool, place, folder)))
            for race in range(RACES):
                begun = time.monotonic()
                problems = list(raced(tool, f"{place}-race{race}", folder))
                spent = time.monotonic() - begun
                check(f"{location}: killed, stopped and woken exporters ({spent:.0f} s)", problems)
            check(f"{location}: a missing bucket is told", list(refusals(tool, location)))
        azure = {"AZURE_STORAGE_USE_EMULATOR": "false", "AZURE_STORAGE_ACCOUNT_NAME": "x"}
        azure |= {"AZURE_STORAGE_SAS_TOKEN": f"sv=2021-08-06&sig={SAS_CANARY}"}
        azure |= {"AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1/x", "AZURE_ALLOW_HTTP": "true"}
        status, _, err = tool.run("export", "az://c/lake", "--quiet", **azure)
        check("a store that is not there is told, and is no outage of ours", [err] * (status != 1))
        shown = [text for text in said if any(it in text for it in (*CANARIES, "canary"))]
        check("no output shows a secret or a signature", shown)
    finally:
        simulator.kill()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
