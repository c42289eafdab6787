"""Runs this tool and the others in turns, and prints, for each corpus, one table for files and one for exports.

    compare.py WORK BINARY REPLAY [--corpus talk,rich,lists] [--scale F] [--rounds N] [--data DIR] [--without TOOL;...]

The corpora are those of data.py; `--data` takes another, in any order.

CPU is user and system time of a process and its children, memory the largest resident set of one of
them. All figures are medians of the rounds; the ratio is to this tool's CPU.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).parent
OURS = "clari-lake"

# How many calls each corpus has, and how many turns a call, on average.
CORPORA = {"talk": (2_000, 120), "rich": (3_600, 40), "lists": (20_000, 0)}

parser = argparse.ArgumentParser()
parser.add_argument("work", type=pathlib.Path)
parser.add_argument("binary")
parser.add_argument("replay")
parser.add_argument("--corpus", default=",".join(CORPORA), help="which of the corpora, separated by commas")
parser.add_argument("--scale", type=float, default=1, help="so many times the calls of each corpus")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--data", type=pathlib.Path, help="a folder with calls.ndjson, and details.ndjson if there are any")
parser.add_argument("--without", default="", help="tools to leave out, separated by semicolons")
parser.add_argument("--only", choices=["files", "exports"])
settings = parser.parse_args()


def measure(command, env=None):
    """CPU seconds, wall seconds and MB of a process tree that must end well."""
    log = settings.work / "log"
    with log.open("wb") as out:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | (env or {}))
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    if status:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{log.read_text()[-3000:]}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "memory": usage.ru_maxrss / 1000}


def written(path):
    files = [path] if path.is_file() else [it for it in path.rglob("*") if it.is_file()]
    data = [it for it in files if it.suffix == ".parquet" and not {"_manifest", "state"} & set(it.parts)]
    return sum(it.stat().st_size for it in data) / 1e6


def outputs(tool):
    return settings.work / "out" / tool.replace(" ", "_").replace(",", "")


def fresh(tool):
    """A new folder. None is removed before the end: file systems are slow where files just went."""
    path = outputs(tool) / str(time.monotonic_ns())
    path.mkdir(parents=True)
    return path


def in_turns(tools, run):
    """The medians of each tool's measures, and the outputs of its last round."""
    rounds = {tool: [] for tool in tools}
    for _ in range(settings.rounds):
        for tool in tools:
            rounds[tool].append(run(tool))
    middle = lambda all_of: {key: statistics.median(it[key] for it in all_of) for key in all_of[0]}
    return {tool: middle(measures) for tool, measures in rounds.items()}


def job(tool, source, target):
    return [sys.executable, HERE / "jobs.py", tool, source, target]


def convert(data):
    names = {"call_details": "details", "calls": "calls"}

    def run(tool):
        out = fresh(tool)
        measures = []
        for table, name in ((table, names[table]) for table in tables_of(data)):
            source = data / f"{name}.ndjson"
            if tool == OURS:
                command = [settings.replay, table, source, out]
            else:
                command = job(tool, source, out / f"{table}.parquet")
            measures.append(measure(command))
        summed = {key: sum(it[key] for it in measures) for key in ("cpu", "wall")}
        return summed | {"memory": max(it["memory"] for it in measures), "written": written(out)}
    return run


def tables_of(data):
    details = data / "details.ndjson"
    return ["call_details", "calls"] if details.exists() and details.stat().st_size else ["calls"]


def export(address, since, tables):
    def run(tool):
        out = fresh(tool)
        counts = f"{address}/_counts"
        urllib.request.urlopen(counts).read()
        if tool == OURS:
            env = {"CLARI_API_KEY": "key", "CLARI_API_PASSWORD": "password", "CLARI_BASE_URL": address}
            endpoints = [it for table in tables for it in ("--endpoint", table)]
            command = [settings.binary, "export", out, *endpoints, "--from", since, "--rate", "0", "-q"]
            measured = measure(command, env)
        else:
            measured = measure(job(tool, address, out), {"RUNTIME__DLTHUB_TELEMETRY": "false", "TABLES": ",".join(tables)})
        asked = json.load(urllib.request.urlopen(counts))
        return measured | {"written": written(out), "requests": asked["requests"]}
    return run


def questions(tool, first, tables):
    """The times of the queries on what the tool wrote last."""
    out = max(outputs(tool).iterdir())
    where = lambda table, files: str(out / files.format(table=table))
    if tool == OURS:
        reader, files = "hive", "{table}/*/*.parquet"
    elif "nesting" in tool:
        reader, files = "json", "lake/{table}/*.parquet"
    elif tool.startswith("dlt"):
        reader, files = "tables", "lake/{table}/*.parquet"
    else:
        reader, files = "plain", "{table}.parquet"
    details = where("call_details", files) if "call_details" in tables else ""
    command = [sys.executable, HERE / "queries.py", reader, where("calls", files), details, first["time"][:10], first["id"]]
    said = subprocess.run(command, capture_output=True, text=True)
    if said.returncode:
        sys.exit(f"the queries of {tool} failed:\n{said.stderr[-3000:]}")
    return json.loads(said.stdout)


def table(title, measures, first, tables):
    asked = {tool: questions(tool, first, tables) for tool in measures}
    answers = asked[OURS]["answers"]
    for tool, it in asked.items():
        if it["answers"] != answers:
            print(f"{tool} answers {it['answers']}, {OURS} {answers}", file=sys.stderr)
    ours = measures[OURS]
    print(f"\n{title}\n")
    requests = "requests" in ours
    names = list(asked[OURS]["times"])
    heads = ["", "CPU s", "ratio", "wall s", "peak MB", *(["requests"] if requests else []), "MB written", *names]
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for tool, it in measures.items():
        cells = [tool, f"{it['cpu']:.2f}", f"{ours['cpu'] / it['cpu']:.2f}", f"{it['wall']:.2f}", f"{it['memory']:.0f}"]
        cells += [f"{it['requests']:,.0f}"] if requests else []
        cells += [f"{it['written']:.1f}", *(f"{asked[tool]['times'][name]:.1f} ms" for name in names)]
        print("| " + " | ".join(cells) + " |", flush=True)


def generated(corpus):
    """The folder of a corpus, which is made once a day."""
    calls, turns = CORPORA[corpus]
    calls = int(calls * settings.scale)
    data = settings.work / f"{corpus}-{calls}-{turns}-{time.strftime('%F')}"
    if not (data / "calls.ndjson").exists():
        data.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, HERE / "data.py", data, str(calls), str(turns), corpus], check=True)
    return data


def compare(name, data):
    shutil.rmtree(settings.work / "out", ignore_errors=True)
    tables = tables_of(data)
    with (data / "calls.ndjson").open() as lines:
        first = min((json.loads(line) for line in lines), key=lambda call: call["time"])
    size = lambda file: (data / file).stat().st_size / 1e6 if (data / file).exists() else 0
    print(f"\n## {name}: {size('calls.ndjson'):.1f} MB of calls, {size('details.ndjson'):.1f} MB of details; medians of {settings.rounds} rounds")
    without = settings.without.split(";")
    if settings.only != "exports":
        tools = [OURS, "duckdb", "duckdb, sample_size=500", "polars", "pyarrow"]
        measures = in_turns([it for it in tools if it not in without], convert(data))
        table("Files: NDJSON to Parquet", measures, first, tables)
    if settings.only != "files":
        server = subprocess.Popen([sys.executable, HERE / "server.py", data], stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().strip()
            tools = [OURS, "dlt, max_table_nesting=0", "dlt"]
            measures = in_turns([it for it in tools if it not in without], export(address, first["time"][:10], tables))
            table("Exports: the API over loopback to Parquet", measures, first, tables)
        finally:
            server.terminate()


def main():
    settings.work.mkdir(parents=True, exist_ok=True)
    versions = ", ".join(f"{it} {importlib.metadata.version(it)}" for it in ("duckdb", "polars", "pyarrow", "dlt"))
    ours = subprocess.run([settings.binary, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{ours}, {versions}, Python {platform.python_version()}; {os.cpu_count()} cores, {time.strftime('%F')}")
    if settings.data:
        return compare(settings.data.name, settings.data)
    for corpus in settings.corpus.split(","):
        compare(corpus, generated(corpus))


main()
