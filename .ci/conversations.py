"""A small workspace in which everything happens that makes SQL over conversations hard."""

import datetime
import json

from workspace import Workspace

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
    ]
    summary = {"topics_discussed": [passage(), passage(start_timestamp="1e1"), None],
               "key_action_items": [{"action_item": "send", "start_timestamp": "00:10"}]}
    metrics = {"call_duration": "61", "total_speak_duration": 0.1, "talk_listen_ratio": 1}
    for number in range(6):
        record = {"id": f"c{number}", "time": days_ago(number / 2), "status": "POST_PROCESSING_DONE",
                  "metrics": metrics, **people}
        workspace.call(record)
        details = {**record, "transcript": transcript, "summary": summary}
        if number == 1:
            # The details know nobody; the list does.
            details |= {"users": [], "externalParticipants": None, "joinedParticipants": []}
        workspace.details[record["id"]] = json.dumps(details)
    undated = {"id": "undated", "time": "TBD", "status": "SCHEDULED", "users": []}
    workspace.calls["undated"] = (days_ago(1), days_ago(1), json.dumps(undated))
    return workspace


def remove(workspace, call):
    """Deletes a call, as the API does it: without a trace."""
    del workspace.calls[call]
    del workspace.details[call]


def grow(workspace):
    """Calls of a later month: with fields that nobody has seen, at the top, in structs, in lists."""
    for number in range(3):
        grown = {"id": f"g{number}", "time": days_ago(number / 3), "status": "POST_PROCESSING_DONE",
                 "mood": "good", "metrics": {"calm": 0.5, "call_duration": 60, "num_questions_asked": 1},
                 "users": [{"userId": "u1", "personId": 0, "team": 7}], "odd name": 1}
        workspace.call(grown)
        details = {**grown, "transcript": [turn(0, tone={"warm": True})]}
        workspace.details[grown["id"]] = json.dumps(details)
