"""Lakes of this tool, read by the engines of its users.

    engines.py BINARY FOLDER [SURPRISES] [SEED]

FOLDER does not exist yet. Says one line for each promise that holds, and exits 1 if any does not.
"""

import json
import math
import random
import sys
from pathlib import Path

import conversations
import read_lake
import read_sql
import surprises
import views
from promises import Promises, output
from workspace import environment


def read_views(binary, lake, spark, promises, about):
    """A lake by its SQL."""
    differ = read_sql.differences(binary, lake, spark)
    promises.check(f"{about}: the same tables and views in duckdb and spark", differ)
    missing = read_sql.unresolved(read_sql.open_duckdb(binary, lake))
    promises.check(f"{about}: every turn and hit, and whoever is known", missing)
    dates = views.some_dates(connection := read_sql.open_duckdb(binary, lake))
    if not read_sql.has_undated(connection):
        unpruned = views.unpruned(lambda query: views.scans_of_duckdb(connection, query), dates)
        promises.check(f"{about}: a date reads one file of each table, in duckdb", unpruned)
        unpruned = views.unpruned(lambda query: views.scans_of_spark(spark, query), dates[-1:])
        promises.check(f"{about}: a date reads one file of each table, in spark", unpruned)
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
    promises.check("people: moments are seconds or null", moments(connection))
    promises.check("people: bare addresses are people", bare_addresses(connection))
    promises.check("people: action items have their owners", owners(connection))
    promises.check("people: speakers talk as the JSON says", miscounted(connection, workspace))
    promises.check("people: a call is one row, a change is found", in_one_row(connection))
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
    if gone or len(undated) != 1 or undated[0][0] is None:
        yield f"{gone} turns of a deleted call; the undated call is {undated}"


def bare_addresses(connection):
    """The people of calls that have addresses instead of them."""
    query = ("select call_id, participant_kind, email from participants where call_id like 'bare%' and email is not null"
             " order by all")
    found = connection.execute(query).fetchall()
    expected = [("bare", "external", "cid@y.io"), ("bare", "joined", "cid@y.io"), ("bare", "user", "ann@x.io"),
                ("bare", "user", "bob@x.io"), ("bare and listed", "joined", "ann@x.io"),
                ("bare and listed", "user", "ann@x.io")]
    if found != expected:
        yield f"{found}, not {expected}"
    query = ("select internal_participants, external_participants from conversations where call_id = 'bare'")
    found = connection.execute(query).fetchall()
    if found != [(["ann@x.io", "bob@x.io", None], ["cid@y.io", None, None, None])]:
        yield found
    query = "select count(*) from turns where call_id = 'bare' and speaker_email = 'bob@x.io'"
    if connection.execute(query).fetchall() != [(1,)]:
        yield "Bob's turn is not his"


def moments(connection):
    """Seconds in summaries, whatever the API writes for them."""
    query = ("select start_seconds from topics_discussed where call_id = 'c0' and topic_index >= 3"
             " order by topic_index")
    found = [row[0] for row in connection.execute(query).fetchall()]
    expected = [seconds for _, seconds in conversations.MOMENTS]
    if found != expected:
        yield f"{found}, not {expected}"


def owners(connection):
    query = ("select action_item, owner_name, speaker_name, timeline, reasoning, start_seconds"
             " from action_items where call_id = 'c0' order by item_index")
    found = connection.execute(query).fetchall()
    expected = [("send", None, None, None, None, 10.0),
                ("call", "Ann", "Cid", "by Friday", "was asked", None), (None,) * 6]
    if found != expected:
        yield found


def miscounted(connection, workspace):
    """Speakers whose numbers are not those of a script over the API's JSON."""
    for call in ("c0", "c1", "chatty"):
        query = ("select person_id, talk_seconds, talk_share, turns, words, words_per_minute,"
                 " longest_monologue_seconds, questions, switches, interactivity from speaker_stats"
                 " where call_id = ?")
        found = {row[0]: row[1:] for row in connection.execute(query, [call]).fetchall()}
        expected = dict(conversations.speaker_stats(json.loads(workspace.details[call])))
        if set(found) != set(expected):
            yield f"{call}: speakers {set(found)}, not {set(expected)}"
            continue
        for person, numbers in expected.items():
            near = lambda one, other: one == other or None not in (one, other) and math.isclose(one, other, rel_tol=1e-9)
            if not all(map(near, found[person], numbers)):
                yield f"{call}, {person}: {found[person]}, not {numbers}"


def in_one_row(connection):
    calls = connection.execute("select count(*), count(distinct call_id) from conversations").fetchall()[0]
    current = connection.execute("select count(*) from calls_current").fetchall()[0][0]
    if calls != (current, current):
        yield f"{calls} rows and calls of {current}"
    query = ("select internal_participants, external_participants, organizer_name, action_items, next_steps,"
             " topics[1], turns, transcript from conversations where call_id = 'c0'")
    *found, transcript = connection.execute(query).fetchall()[0]
    expected = [["Ann", "bob@x.io"], ["cid@y.io", "Dee"], "Ann", ["send", "Ann: call", None],
                "send\nAnn: call (by Friday)", "price", 15]
    if found != expected:
        yield f"{found}, not {expected}"
    if transcript.split("\n")[:3] != ["Ann: hm", "Bob?: hm", "Cid: hm"]:
        yield transcript
    gone = connection.execute("select table_name, call_id from call_changes where change = 'deleted'").fetchall()
    if sorted(gone) != [("call_details", "c5"), ("calls", "c5")]:
        yield gone
    query = "select count(*) from call_changes where changed_at > now() + interval 1 day"
    if connection.execute(query).fetchall()[0][0]:
        yield "changes of tomorrow"


def main():
    binary, folder = str(Path(sys.argv[1]).absolute()), Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 2_000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
    promises = Promises()
    read_lake.read_demo(binary, folder / "demo", promises)
    unparsed = surprises.unparsed(folder / "demo")
    promises.check("demo: extra_json is JSON for DuckDB and Python", unparsed)
    spark = read_sql.spark_session()
    read_views(binary, folder / "demo", spark, promises, "demo")
    connection = read_sql.open_duckdb(binary, folder / "demo")
    older = views.read_though_older(connection)
    promises.check("demo: changes of later read no row group", older)
    promises.check("demo: no view is slower than by hand, in duckdb", views.slow_in_duckdb(connection))
    promises.check("demo: no view is slower than by hand, in spark", views.slow_in_spark(spark))
    read_conversations(binary, folder / "o'dd [lake] {x} $y *é", spark, promises)
    surprises.round_trip(binary, folder / "surprises", count, seed, promises)
    print(f"{promises.held} promises held, {promises.broken} broken")
    return 1 if promises.broken else 0


if __name__ == "__main__":
    sys.exit(main())
