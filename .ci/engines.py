"""Lakes of this tool, read by the engines of its users.

    engines.py BINARY FOLDER [SURPRISES] [SEED]

FOLDER does not exist yet. Says one line for each promise that holds, and exits 1 if any does not.
"""

import random
import sys
from pathlib import Path

import conversations
import read_lake
import read_sql
import surprises
from promises import Promises, output
from workspace import environment


def read_views(binary, lake, spark, promises, about):
    """A lake by its SQL."""
    differ = read_sql.differences(binary, lake, spark)
    promises.check(f"{about}: the same tables and views in duckdb and spark", differ)
    missing = read_sql.unresolved(read_sql.open_duckdb(binary, lake))
    promises.check(f"{about}: every turn and hit, and whoever is known", missing)
    unread = read_sql.unread_by_athena(binary, lake, spark)
    promises.check(f"{about}: athena's text is read by sqlglot and hive", unread)


def read_conversations(binary, lake, spark, promises):
    """A lake at an odd place, with people who are hard to find, and a call that is gone."""
    workspace = conversations.make()
    env = environment(workspace.serve())
    export = lambda: output(binary, "export", str(lake), "--rate", "0", "--quiet", "--json", env=env)
    export()
    conversations.remove(workspace, "c5")
    report = export()
    deleted = {it["endpoint"]: it["deleted"] for it in report["endpoints"] if it["deleted"]}
    unmarked = [] if deleted == {"calls": 1, "call_details": 1} else [deleted]
    promises.check("people: a deleted call is marked in both tables", unmarked)
    read_views(binary, lake, spark, promises, "people")
    connection = read_sql.open_duckdb(binary, lake)
    promises.check("people: who spoke is as it was made up", strangers(connection))
    read_grown(binary, lake, env, workspace, spark, promises)


def read_grown(binary, lake, env, workspace, spark, promises):
    """The same lake with new fields, before and after they get columns."""
    export = lambda *more: output(
        binary, "export", str(lake), "--rate", "0", "--quiet", "--json", *more, env=env
    )
    conversations.grow(workspace)
    told = {it["endpoint"]: it.get("evolvable", []) for it in export()["endpoints"]}
    paths = sorted(it["path"] for it in told["call_details"])
    expected = ["metrics.calm", "mood", "transcript[].tone", "users[].team"]
    promises.check("grown: the report says what evolve would add", [] if paths == expected else [told])
    read_views(binary, lake, spark, promises, "grown, not evolved")
    before = read_sql.conversation_rows(read_sql.open_duckdb(binary, lake))
    evolved = output(binary, "evolve", str(lake), "--json")["tables"]
    idle = [it for it in evolved if it["changes"] and not it["rewritten"] or it["outdated"]]
    promises.check("grown: evolve rewrites every partition of what it changes", idle)
    read_views(binary, lake, spark, promises, "evolved")
    after = read_sql.conversation_rows(read_sql.open_duckdb(binary, lake))
    promises.check("evolved: the views say what they said", [it for it in before if before[it] != after[it]])
    promises.check("evolved: new fields are columns to a plain glob", read_lake.unseen(lake, spark))
    promises.check("evolved: a run writes nothing", export("--evolve")["changed"])


def strangers(connection):
    """The speakers of one call, whose people are known here."""
    expected = {
        0: ("user", "Ann"),
        1: ("user", "Bob?"),
        2: ("external", "Cid"),
        3: ("joined", "Guest"),
        99: ("unknown", None),
        None: ("unknown", None),
    }
    for call in ("c0", "c1"):
        query = "select distinct person_id, speaker_kind, speaker_name from turns where call_id = ?"
        found = connection.execute(query, [call]).fetchall()
        found = {person: (kind, name) for person, kind, name in found}
        if found != expected:
            yield f"{call}: {found}"
    gone = connection.sql("select count(*) from turns where call_id = 'c5'").fetchall()[0][0]
    undated = connection.sql("select dt from calls_current where id = 'undated'").fetchall()
    if gone or undated != [(None,)]:
        yield f"{gone} turns of a deleted call; the undated call is {undated}"


def main():
    binary, folder = str(Path(sys.argv[1]).absolute()), Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 2_000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
    promises = Promises()
    read_lake.read_demo(binary, folder / "demo", promises)
    spark = read_sql.spark_session()
    read_views(binary, folder / "demo", spark, promises, "demo")
    read_conversations(binary, folder / "o'dd [lake] {x} $y *é", spark, promises)
    surprises.round_trip(binary, folder / "surprises", count, seed, promises)
    print(f"{promises.held} promises held, {promises.broken} broken")
    return 1 if promises.broken else 0


if __name__ == "__main__":
    sys.exit(main())
