"""Makes calls and their details: DIR/calls.ndjson and DIR/details.ndjson, a record a line.

    data.py DIR CALLS TURNS [talk|rich|lists]

Equal arguments give equal files, but for the dates: the calls are of the 30 days before today. The
text is a walk over a vocabulary in which some words follow others, which zstd takes to about a third,
as it does with transcripts.

talk   transcripts in plain English letters
rich   other scripts and escapes, annotations in most turns, a turn of 50 KB in a hundred calls, a
       summary of 1 MB in a thousand
lists  no details; calls with many columns, of which each call has few
"""

import datetime
import itertools
import json
import pathlib
import random
import sys

DAYS = 30
random.seed(7)
letters = "etaoinshrdlucmfwypvbgkjqxz"


def words(count):
    weights = [1 / (rank + 2) for rank in range(len(letters))]
    made = set()
    while len(made) < count:
        made.add("".join(random.choices(letters, weights, k=random.randint(2, 9))))
    return sorted(made)


VOCABULARY = words(5000)
ZIPF = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(VOCABULARY))))
AFTER = [random.choices(range(len(VOCABULARY)), cum_weights=ZIPF, k=24) for _ in VOCABULARY]


def text(count):
    at = random.randrange(len(VOCABULARY))
    said = []
    for step in random.choices(range(24), k=count):
        at = AFTER[at][step] if step else random.randrange(len(VOCABULARY))
        said.append(VOCABULARY[at])
    return " ".join(said).capitalize() + "."


def hexadecimal(length):
    return "%0*x" % (length, random.getrandbits(4 * length))


USERS = [(hexadecimal(24), f"{name}@example.com") for name in words(60)]


def call(at):
    people = random.sample(USERS, 2)
    joined = [{"name": text(2), "email": f"{random.choice(VOCABULARY)}@example.org", "phone": "", "personId": 2 + i}
              for i in range(random.randint(1, 4))]
    time = at.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (at.microsecond // 1000)
    length = random.randint(200, 3600)
    return {
        "id": hexadecimal(24), "source_id": hexadecimal(32), "title": text(5),
        "users": [{"userId": id, "userEmail": email, "isOrganizer": i == 0, "personId": i}
                  for i, (id, email) in enumerate(people)],
        "externalParticipants": joined, "joinedParticipants": joined[:2],
        "status": "POST_PROCESSING_DONE", "bot_not_join_reason": [], "type": "RECORDING",
        "time": time, "icaluid": hexadecimal(40), "calendar_id": hexadecimal(26), "recurring_event_id": None,
        "original_start_time": time, "last_modified_time": time, "audio_url": None, "video_url": None,
        "disposition": None, "deal_name": text(3), "deal_value": str(random.randint(1, 900) * 1000),
        "deal_close_date": None, "deal_stage_before_call": random.choice(["Discovery", "Proposal", "Legal"]),
        "account_name": text(2), "contact_names": [one["name"] for one in joined],
        "crm_info": {"source_crm": "SALESFORCE", "deal_id": hexadecimal(18), "account_id": hexadecimal(18),
                     "contact_ids": [hexadecimal(18) for _ in joined]},
        "bookmark_timestamps": [],
        "metrics": {
            "talk_listen_ratio": round(random.random(), 2), "num_questions_asked": random.randint(0, 30),
            "num_questions_asked_by_reps": random.randint(0, 20), "call_duration": length,
            "total_speak_duration": round(length * random.random(), 2),
            "longest_monologue_duration": round(random.random() * 90, 2),
            "longest_monologue_start_time": round(length * random.random(), 2),
            "engaging_questions": random.randint(0, 9),
            "categories": [{"name": name, "occurences": random.randint(1, 9), "phrases_matched": [],
                            "ai_detected": random.random() < 0.5} for name in random.sample(VOCABULARY[:40], 3)]},
        "call_review_page_url": "https://copilot.example.com/call/" + hexadecimal(24),
    }


def details(call, turns):
    transcript, at = [], 0.0
    for _ in range(random.randint(turns // 2, turns * 3 // 2)):
        said = text(random.randint(10, 75))
        end = round(at + len(said) / 15 + 0.01, 2)
        turn = {"text": said, "start": at, "end": end, "personId": random.randint(0, 4)}
        if random.random() < 0.2:
            turn["annotations"] = [{"label": "question", "phrase": said[:40]}]
        transcript.append(turn)
        at = round(end + 0.37, 2)
    stamp = lambda: str(random.randint(0, 3000))
    return call | {
        "transcript": transcript,
        "summary": {
            "full_summary": text(120),
            "topics_discussed": [{"name": text(2), "start_timestamp": stamp(), "end_timestamp": stamp(),
                                  "summary": text(40)} for _ in range(3)],
            "key_action_items": [{"action_item": text(14), "speaker_name": text(2), "start_timestamp": stamp(),
                                  "end_timestamp": stamp()} for _ in range(3)]},
        "competitor_sentiments": [{"competitor_name": text(1), "sentiment": "neutral", "reasoning": text(20),
                                   "personId": "1", "turn_start_time": stamp()}],
    }


FOREIGN = [*"äöüßéèñçø", "über", "façade", "mañana", "会議", "通話", "звонок", "встреча", "🙂", "\u201c", "\u2019"]


def enriched(call, turns):
    """Details as of calls in many languages, with what an analysis adds to each turn."""
    it = details(call, turns)
    for turn in it["transcript"]:
        said = turn["text"].split(" ")
        for at in range(0, len(said), 9):
            said[at] = random.choice(FOREIGN)
        turn["text"] = " ".join(said)
        if random.random() < 0.7:
            labels = random.sample(["question", "objection", "pricing", "next_step"], random.randint(1, 3))
            turn["annotations"] = [{"label": label, "phrase": turn["text"][:60], "score": round(random.random(), 3),
                                    "spans": [random.randint(0, 40), random.randint(41, 80)]} for label in labels]
    if random.random() < 0.01:
        it["transcript"][0]["text"] = text(9_000)
    if random.random() < 0.001:
        it["summary"]["full_summary"] = text(180_000)
    return it


CUSTOM = [f"custom_{name}" for name in VOCABULARY[:150]]


def sparse(call):
    """A call with a few of many fields that a workspace has added."""
    added = {}
    for name in random.sample(CUSTOM, random.randint(0, 9)):
        kind = CUSTOM.index(name) % 4
        added[name] = [text(2), random.randint(0, 10**6), random.random() < 0.5, {"value": text(1), "rank": 1}][kind]
    return call | added


def main(folder, count, turns, shape="talk"):
    folder = pathlib.Path(folder)
    made = {"talk": details, "rich": enriched, "lists": None}[shape]
    today = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    span = DAYS * 86_400_000 - 1
    # The first day of thirty is that of an export which begins today, at whatever hour.
    instants = sorted(random.randint(1, span) for _ in range(count))
    line = lambda it, ascii=True: json.dumps(it, separators=(",", ":"), ensure_ascii=ascii) + "\n"
    with (folder / "calls.ndjson").open("w") as calls, (folder / "details.ndjson").open("w") as all_details:
        for number, at in enumerate(instants):
            it = call(today - datetime.timedelta(days=DAYS) + datetime.timedelta(milliseconds=at))
            calls.write(line(it if made else sparse(it)))
            if made:
                # Half of the servers escape what is not ASCII.
                all_details.write(line(made(it, turns), number % 2 == 0))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
