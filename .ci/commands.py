"""Runs the commands of the pages: `commands.py BINARY [PAGE...]`.

Each page has a folder of its own, with a lake that was exported once, and the demo's lake. Its
shell blocks run in their order, then its SQL, then the commands in its text and tables that name
`./lake`. Not run here: builds and installations, and commands on a bucket, which the tests parse
(`src/cli/docs.rs`).
"""
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import duckdb

binary, pages = sys.argv[1], [pathlib.Path(it) for it in sys.argv[2:]]
pages = pages or [*map(pathlib.Path, ("README.md", "schemas/README.md", "examples/README.md")),
                  *sorted(pathlib.Path("docs").glob("*.md"))]
work = pathlib.Path(tempfile.mkdtemp(prefix="clari-lake-pages-"))
NOT_RUN = re.compile(r"(cargo|pipx|docker|aws|clari-lake simulate)\b|.*\b(s3|gs|az)://")
# Pages name folders of a whole machine; here they are below one folder.
ROOTS = re.compile(r"(?<=[ =])/(etc|run|usr|var)/")


def clari_lake(*args):
    return subprocess.run([binary, *args], check=True, capture_output=True, text=True, cwd=work).stdout


def prepare():
    """The two lakes, a `duckdb` command, credentials in files, and the ids that replace made-up ones."""
    (work / "bin").mkdir()
    (work / "bin/clari-lake").symlink_to(binary)
    shim = work / "bin/duckdb"
    shim.write_text(f"#!{sys.executable}\nimport sys, duckdb\n"
                    "text = sys.argv[2] if sys.argv[1:2] == ['-c'] else sys.stdin.read()\n"
                    "print(duckdb.connect().execute(text).fetchall())\n")
    shim.chmod(0o755)
    secrets = work / "run/secrets"
    secrets.mkdir(parents=True)
    (secrets / "clari-key").write_text(os.environ["CLARI_API_KEY"])
    (secrets / "clari-password").write_text(os.environ["CLARI_API_PASSWORD"])
    for folder in ("etc/bash_completion.d", "usr/local/share/man", "var/lib/node_exporter"):
        (work / folder).mkdir(parents=True)
    (work / "clari-lake.toml").write_text("rate = 0\n")
    clari_lake("export", "lake", "--quiet")
    clari_lake("demo", "clari-demo", "--quiet")

    def one(select, table):
        glob = work / "lake" / table / "*/*.parquet"
        return duckdb.sql(f"select {select} from '{glob}' limit 1").fetchall()[0][0]

    history = datetime.date.today() - datetime.timedelta(days=60)
    return {"5f1c0a2e": one("id", "call_details"), "5f3a9c…": one("id", "calls"),
            "--id 77": "--id " + one("playlist_id", "playlist_calls"),
            "ann.lee@example.com": one("email", "users"), "2023-01-01": str(history)}


def parts(page):
    """A page's shell blocks, SQL blocks and inline commands on `./lake`."""
    found = {"sh": [], "console": [], "sql": []}
    fenced = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.S | re.M)
    for language, block in fenced.findall(page):
        if language in found:
            found[language].append(block)
    rest = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.S | re.M)
    inline = re.findall(r"`(clari-lake [^`]*\./lake\b[^`]*)`", rest)
    shell = found["sh"] + ["\n".join(re.findall(r"^\$ (.*)", it, re.M)) for it in found["console"]]
    return shell, found["sql"], inline


def run(page, stand_ins):
    shell, sql, inline = parts(page.read_text())
    folder = work / "pages" / re.sub(r"\W", "-", str(page))
    for lake in ("lake", "clari-demo"):
        shutil.copytree(work / lake, folder / lake)
    shutil.copy(work / "clari-lake.toml", folder)
    environment = os.environ | {"PATH": f"{work / 'bin'}:{os.environ['PATH']}"}
    count, failures = 0, []
    if sql:
        sql_text = subprocess.check_output([binary, "sql", "lake", "--engine", "duckdb"], cwd=folder, text=True)
        sql = ["duckdb <<'EOF'\n" + sql_text + it + "\nEOF" for it in sql]
    for block in shell + sql + inline:
        block = block.replace("cargo run -- demo", "clari-lake demo")
        lines = [it for it in block.splitlines() if it.strip() and not NOT_RUN.match(it)]
        block = ROOTS.sub(rf"{work}/\1/", "\n".join(lines))
        for made_up, real in stand_ins.items():
            block = block.replace(made_up, real)
        if not block:
            continue
        count += 1
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment,
                              capture_output=True, text=True, timeout=120)
        if done.returncode:
            shown = block if len(block) < 600 else block[-600:]
            failures.append(f"{page}: exit {done.returncode}\n{shown}\n{done.stdout[-600:]}{done.stderr[-1500:]}")
    return count, failures


def main():
    server = subprocess.Popen([binary, "simulate", "--port", "0", "--calls", "300"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in server.stdout:
            if "export CLARI_" in line:
                os.environ.update(it.split("=", 1) for it in line.split()[1:])
                break
        stand_ins = prepare()
        total, failed = 0, []
        for page in pages:
            count, failures = run(page, stand_ins)
            total += count
            failed += failures
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(work, ignore_errors=True)
    print("\n\n".join(failed), file=sys.stderr)
    print(f"{total} blocks and commands of {len(pages)} pages were run, {len(failed)} failed")
    return 1 if failed else 0


sys.exit(main())
