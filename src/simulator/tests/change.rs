//! What changes together with a call, and what does not.

use super::super::{LONE_SURROGATE, Options, Settings, Table, Workspace};
use super::{at, get, ids, serve, small};
use chrono::Duration;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn finished(workspace: &Workspace) -> String {
    let done = |call: &&Value| call["status"] == "POST_PROCESSING_DONE";
    workspace.calls().iter().find(done).unwrap()["id"].as_str().unwrap().to_owned()
}

/// A silent edit does not change `last_modified_time`.
#[test]
fn only_a_status_moves_the_modified_time() {
    let (workspace, server) = serve(&small(), Settings::default());
    let id = finished(&workspace);
    let before = workspace.call(&id).unwrap();
    assert!(workspace.edit_silently(&id, "title", json!("Renamed")));
    let edited = workspace.call(&id).unwrap();
    assert_eq!(edited["title"], "Renamed");
    assert_eq!(edited["last_modified_time"], before["last_modified_time"]);
    let now = workspace.now() + Duration::hours(1);
    assert!(workspace.set_status(&id, "PROCESSED", now));
    let changed = get(&server, "/calls?filterModifiedGt=2025-11-20T12:30:00Z");
    assert_eq!(ids(&changed), [id.as_str()]);
    assert_eq!(changed.json()["calls"][0]["status"], "PROCESSED");
    assert_eq!(changed.json()["calls"][0]["title"], "Renamed");
    assert!(!workspace.set_status("unknown", "PROCESSED", now));
}

/// A call may move to another partition.
#[test]
fn a_rescheduled_call_leaves_its_window() {
    let (workspace, server) = serve(&small(), Settings::default());
    let id = finished(&workspace);
    let modified = workspace.call(&id).unwrap()["last_modified_time"].clone();
    assert!(workspace.reschedule(&id, at("2024-02-03T04:05:06Z"), true));
    let moved = get(&server, "/calls?filterTimeLt=2024-12-31").json();
    assert_eq!(moved["calls"][0]["time"], "2024-02-03T04:05:06.000Z");
    assert_eq!(moved["calls"][0]["last_modified_time"], modified);
    assert!(workspace.reschedule(&id, at("2024-02-03T04:05:06Z"), false));
    assert_ne!(workspace.call(&id).unwrap()["last_modified_time"], modified);
}

/// A call missing from the list need not be deleted.
#[test]
fn a_deleted_call_is_gone_and_a_private_one_only_hides() {
    let (workspace, server) = serve(&small(), Settings::default());
    let hidden = finished(&workspace);
    assert!(workspace.set_private(&hidden, true));
    let deleted = finished(&workspace);
    assert!(workspace.delete_call(&deleted));
    let listed: BTreeSet<String> = ids(&get(&server, "/calls?limit=100&skip=0"))
        .into_iter()
        .chain(ids(&get(&server, "/calls?limit=100&skip=100")))
        .collect();
    assert!(!listed.contains(&hidden) && !listed.contains(&deleted));
    assert_eq!(get(&server, &format!("/call-details?id={hidden}")).status, 200);
    assert_eq!(get(&server, &format!("/call-details?id={deleted}")).status, 404);
}

/// Details may be unavailable when the call is first listed.
#[test]
fn details_arrive_late_or_never() {
    let (workspace, server) = serve(&small(), Settings::default());
    let id = finished(&workspace);
    let transcript = |id: &str| {
        let reply = get(&server, &format!("/call-details?id={id}"));
        (reply.status == 200).then(|| reply.json()["call"]["transcript"].as_array().unwrap().len())
    };
    assert!(transcript(&id).unwrap() > 0);
    workspace.set_transcript_ready(&id, workspace.now() + Duration::hours(2));
    assert_eq!(transcript(&id), Some(0));
    workspace.advance(workspace.now() + Duration::hours(3));
    assert!(transcript(&id).unwrap() > 0);
    workspace.set_status(&id, "CALL_DID_NOT_HAPPEN", workspace.now());
    assert_eq!(transcript(&id), None);
}

/// A scheduled call does not stay scheduled once it was held.
#[test]
fn time_holds_the_calls_that_were_scheduled() {
    let (workspace, _server) = serve(&small(), Settings::default());
    let before = workspace.calls().len();
    workspace.advance(workspace.now() + Duration::days(30));
    let calls = workspace.calls();
    assert!(calls.len() > before + 5);
    assert!(calls.iter().all(|call| call["status"] != "SCHEDULED"));
}

/// Signed URLs differ on every request, and so must not be stored.
#[test]
fn recordings_are_signed_for_each_reply_and_null_unless_requested() {
    let (workspace, server) = serve(&small(), Settings::default());
    let id = finished(&workspace);
    let plain = get(&server, &format!("/call-details?id={id}")).json();
    assert_eq!(plain["call"]["audio_url"], Value::Null);
    assert!(plain["call"].as_object().unwrap().contains_key("audio_url"));
    assert_eq!(server.violations().media_asked, 0);
    let url = || {
        get(&server, &format!("/call-details?id={id}&includeAudio=true")).json()["call"]["audio_url"].clone()
    };
    let first = url();
    assert!(first.as_str().unwrap().starts_with("https://"));
    assert_ne!(first, url());
    assert_eq!(server.violations().media_asked, 2);
}

/// Pages read while calls arrive are not a consistent snapshot.
#[test]
fn calls_arrive_and_vanish_while_they_are_listed_and_the_seed_says_which() {
    let run = |seed| {
        let options = Options { arrivals_per_request: 1.5, seed, ..small() };
        let (workspace, server) = serve(&options, Settings::default());
        let before: Vec<Value> = workspace.calls();
        for _ in 0..20 {
            get(&server, "/calls?limit=10");
        }
        let after = workspace.calls();
        let fresh = after.iter().filter(|call| !before.contains(call)).count();
        let gone = before.iter().filter(|call| !after.contains(call)).count();
        assert!(fresh > 8 && gone > 0, "{fresh} new, {gone} gone");
        assert!(after.last().unwrap()["time"].as_str() > before.last().unwrap()["time"].as_str());
        after
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

/// A page boundary can skip the row after one that moved up.
#[test]
fn a_call_can_leave_the_window_between_two_pages() {
    let (workspace, server) = serve(&small(), Settings::default());
    let first = ids(&get(&server, "/calls?limit=10"));
    let (left, behind) = (first[0].clone(), ids(&get(&server, "/calls?limit=1&skip=10")));
    server.before("/calls", 2, move |workspace| {
        assert!(workspace.delete_call(&left));
    });
    assert_eq!(ids(&get(&server, "/calls?limit=10")), first);
    let second = ids(&get(&server, "/calls?limit=10&skip=10"));
    assert!(!second.contains(&behind[0]));
    assert!(workspace.call(&first[0]).is_none() && workspace.call(&behind[0]).is_some());
}

/// Text may contain a lone surrogate, which is not valid UTF-8.
#[test]
fn strange_text_arrives_as_the_api_would_send_it() {
    let (workspace, server) = serve(&small(), Settings::default());
    let title = format!("a\0b{LONE_SURROGATE}");
    let call = json!({ "id": "odd/ id", "time": "2025-11-19T10:00:00+0000", "title": title, "transcript": [1] });
    assert!(workspace.insert_call(call, false));
    let details = get(&server, "/call-details?id=odd%2F+id").text();
    assert!(details.contains(r#""title":"a\u0000b\ud83d""#), "{details}");
    assert!(details.contains(r#""transcript":[1]"#));
    workspace.set_status("odd/ id", "PROCESSED", workspace.now());
    assert_eq!(workspace.call("odd/ id").unwrap()["time"], "2025-11-19T10:00:00+0000");
    let day = "/calls?filterTimeGt=2025-11-19T09:59:59Z&filterTimeLt=2025-11-19T10:00:01Z";
    let listed = get(&server, day).text();
    assert!(listed.contains("odd/ id") && !listed.contains(r#""transcript""#));
}

/// A table may change after it was read.
#[test]
fn rows_of_other_tables_come_and_go() {
    let (workspace, server) = serve(&small(), Settings::default());
    let count = || get(&server, "/users").json()["users"].as_array().unwrap().len();
    let before = count();
    workspace.insert_row(
        Table::Users,
        workspace.now(),
        json!({ "id": "new", "email": "n@x.example" }),
    );
    assert_eq!(count(), before + 1);
    assert!(workspace.remove_row(Table::Users, "new"));
    assert_eq!(count(), before);
}
