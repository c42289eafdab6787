"""Five questions that people ask, put to what each of the tools wrote, by DuckDB on one thread.

    queries.py READER CALLS DETAILS DAY ID

CALLS and DETAILS are what DuckDB's read_parquet takes; without details, DETAILS is empty and what is
asked of them is left out. It prints, as JSON, the best time of each
question in milliseconds, and the answers.
"""

import json
import sys
import time

import duckdb

reader, calls, details, day, call_id = sys.argv[1:]

read = lambda path: f"read_parquet('{path}', hive_partitioning = true)"
# How each tool's output spells the same things.
hive = {
    "day": f"dt = date '{day}'", "talk": "metrics.talk_listen_ratio", "id": "id",
    "turns": f"(select id, dt, unnest(transcript).text as text from {read(details)})",
    "month": "true",
}
plain = hive | {
    "day": f"cast(cast(time as timestamp) as date) = date '{day}'",
    "turns": f"(select id, unnest(transcript).text as text from {read(details)})",
}
as_json = plain | {
    "talk": "cast(metrics->>'talk_listen_ratio' as double)",
    "turns": f"(select id, unnest(from_json(transcript, '[{{\"text\": \"VARCHAR\"}}]')).text as text from {read(details)})",
}
tables = plain | {
    "talk": "metrics__talk_listen_ratio",
    "turns": f"(select d.id, t.text from {read(details)} d join {read(details.replace('/call_details/', '/call_details__transcript/'))} t on t._dlt_parent_id = d._dlt_id)",
}
words = {"hive": hive, "plain": plain, "json": as_json, "tables": tables}[reader]

questions = {
    "one day": f"select count(*), round(avg({words['talk']}), 6) from {read(calls)} where {words['day']}",
    "one column": f"select round(sum({words['talk']}), 4) from {read(calls)}",
    "one call": f"select count(*), sum(length(text)) from {words['turns']} where id = '{call_id}'",
    "text search": f"select count(*), count(distinct id) from {words['turns']} where text like '%aa%ee%'",
    "all text": f"select count(*), sum(length(text)) from {words['turns']}",
}

if not details:
    questions = {name: questions[name] for name in ("one day", "one column")}

connection = duckdb.connect(config={"threads": 1})
times, answers = {}, {}
for name, question in questions.items():
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        answers[name] = connection.sql(question).fetchall()
        best = min(best, time.process_time() - begun)
    times[name] = best * 1000
print(json.dumps({"times": times, "answers": answers}, default=str))
