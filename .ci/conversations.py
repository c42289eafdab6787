"""A small workspace in which everything happens that makes SQL over conversations hard."""

import datetime
import json
import re

from workspace import Workspace

# Moments as the API sends them, and the seconds that they are.
MOMENTS = [(12.3, 12.3), ("12.3", 12.3), ("NaN", None), ("00:12:34", 754.0), ("12:34.5", 754.5),
           (None, None), (0, 0.0), ("", None), ("12d", None), ("1:2:3:4", None), (" 7 ", None)]
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def days_ago(days):
    return (NOW - datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def turn(person, **more):
    return {"text": "hm", "start": 0.5, "end": 2, "personId": person, **more}


def passage(**more):
    return {"name": "price", "start_timestamp": "NaN", "end_timestamp": 12.5, **more}


def make():
    """Calls whose people are hard to find, one that will go, one without a readable time."""
    workspace = Workspace()
    workspace.users = [
        json.dumps({"id": "u1", "email": "ann@x.io", "name": "Ann"}),
        json.dumps({"id": "u2", "email": "bob@x.io", "name": None}),
    ]
    people = {
        "users": [{"userId": "u1", "userEmail": "ann@x.io", "personId": 0, "isOrganizer": True},
                  {"userId": "u2", "userEmail": "bob@x.io", "personId": "1"}],
        "externalParticipants": [{"email": "cid@y.io", "personId": 2}, {"name": "Dee"}],
        "joinedParticipants": [{"name": "Bob?", "personId": 1}, {"name": "Cid", "personId": 2},
                               {"name": "Guest", "personId": 3}],
    }
    transcript = [
        turn(0, annotations=[{"tracker": "t", "phrase": "hm", "category": "c"}, None]),
        turn("1"), turn(2), turn(3, annotations=[{"label": "l", "phrase": "hm"}]), turn(99),
        turn(None), turn("nobody"), None, "what?", {"text": 7},
        {"text": "Who is this? And why??", "start": 3, "end": 4.25}, turn(0, text=""), turn(0, text=None),
        turn(2, text="  backwards in\ttime ", start=9, end=3), turn(2, start=9.5, end=11),
    ]
    summary = {
        "topics_discussed": [passage(), passage(start_timestamp="1e1"), None,
                             *(passage(start_timestamp=it) for it, _ in MOMENTS)],
        "key_action_items": [
            {"action_item": "send", "start_timestamp": "00:10"},
            {"action_item": "call", "owner_name": "Ann", "speaker_name": "Cid", "timeline": "by Friday",
             "reasoning": "was asked"},
            None,
        ],
    }
    metrics = {"call_duration": "61", "total_speak_duration": 0.1, "talk_listen_ratio": 1}
    for number in range(6):
        record = {"id": f"c{number}", "time": days_ago(number / 2), "status": "POST_PROCESSING_DONE",
                  "metrics": metrics, **people}
        workspace.call(record)
        details = {**record, "transcript": transcript, "summary": summary}
        if number == 1:
            # Only the list names the person, not the details.
            details |= {"users": [], "externalParticipants": None, "joinedParticipants": []}
        workspace.details[record["id"]] = json.dumps(details)
    # Thousands of turns of one word.
    chatty = {"id": "chatty", "time": days_ago(1), "status": "POST_PROCESSING_DONE", **people}
    workspace.call(chatty)
    words = [turn(it % 3, text="so" if it % 5 else "so?", start=it, end=it + 0.1) for it in range(5_000)]
    workspace.details["chatty"] = json.dumps({**chatty, "transcript": words})
    # Addresses instead of people, which the list of calls has too; beside people, and alone.
    bare = {
        "users": ["ann@x.io", people["users"][1], "bob"],
        "externalParticipants": ["cid@y.io", "  ", None, 7],
        "joinedParticipants": ["cid@y.io"],
    }
    for call, lists in (("bare", bare), ("bare and listed", {"joinedParticipants": ["ann@x.io"]})):
        record = {"id": call, "time": days_ago(1), "status": "POST_PROCESSING_DONE", **lists}
        workspace.call({**record, "users": ["ann@x.io"]})
        workspace.details[call] = json.dumps({**record, "transcript": [turn(1)]})
    undated = {"id": "undated", "time": "TBD", "status": "SCHEDULED", "users": []}
    workspace.calls["undated"] = (days_ago(1), days_ago(1), json.dumps(undated))
    return workspace


def speaker_stats(details):
    """What `speaker_stats` has to say of a call, computed from the API's own JSON."""
    turns, person_before, run = [], None, -1
    for place, item in enumerate(details["transcript"]):
        item = item if isinstance(item, dict) else {}
        person = item.get("personId")
        person = int(person) if str(person).isdigit() else None
        text = item.get("text") if isinstance(item.get("text"), str) else ""
        start, end = item.get("start"), item.get("end")
        is_switch = place > 0 and person != person_before
        run += place == 0 or is_switch
        talked = end - start if start is not None and end is not None and end >= start else 0
        turns.append((person, run, is_switch, talked, text, start, end))
        person_before = person
    known = lambda column: [it[column] for it in turns if it[column] is not None]
    minutes = (max(known(6)) - min(known(5))) / 60
    total, switches = sum(it[3] for it in turns), sum(it[2] for it in turns)
    for person in {it[0] for it in turns}:
        own = [it for it in turns if it[0] == person]
        seconds = sum(it[3] for it in own)
        words = sum(len(it[4].split()) for it in own)
        runs = [sum(it[3] for it in own if it[1] == run) for run in {it[1] for it in own}]
        yield person, (
            seconds, seconds / total, len(own), words, words * 60 / seconds if seconds else None,
            max(runs), sum(len(re.findall("[?]+", it[4])) for it in own), sum(it[2] for it in own),
            switches / minutes,
        )


def remove(workspace, call):
    """Deletes a call, as the API does it: without a trace."""
    del workspace.calls[call]
    del workspace.details[call]


def grow(workspace):
    """Calls of a later month: with new fields, at the top, in structs, in lists."""
    for number in range(3):
        grown = {"id": f"g{number}", "time": days_ago(number / 3), "status": "POST_PROCESSING_DONE",
                 "mood": "good", "metrics": {"calm": 0.5, "call_duration": 60, "num_questions_asked": 1},
                 "users": [{"userId": "u1", "personId": 0, "team": 7}], "odd name": 1}
        workspace.call(grown)
        details = {**grown, "transcript": [turn(0, tone={"warm": True})]}
        workspace.details[grown["id"]] = json.dumps(details)
