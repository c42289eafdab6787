//! Paging, filters, orders, and window boundaries.

use super::super::{BeyondCap, Dense, Options, Server, Settings, Table, Workspace};
use super::{at, get, ids, serve, small};
use chrono::Duration;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn everything(server: &Server, query: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut skip = Some(0);
    while let Some(at) = skip {
        let reply = get(server, &format!("/calls?{query}&skip={at}"));
        all.extend(ids(&reply));
        let pagination = &reply.json()["pagination"];
        skip = pagination["nextPageSkip"].as_u64();
        assert_eq!(pagination["hasMore"], skip.is_some());
        assert_eq!(pagination.as_object().unwrap().contains_key("nextPageSkip"), skip.is_some());
    }
    all
}

/// Neither a short page nor a null skip marks the last page.
#[test]
fn pages_tile_the_list_and_the_last_one_says_so() {
    let (workspace, server) = serve(&small(), Settings::default());
    let visible = workspace.calls_before(at("2030-01-01T00:00:00Z"), false);
    let oldest: Vec<&str> = visible.iter().map(|call| call["id"].as_str().unwrap()).collect();
    let newest: Vec<&str> = oldest.iter().rev().copied().collect();
    assert_eq!(everything(&server, "limit=7"), newest);
    assert_eq!(everything(&server, "limit=7&sortTime=asc"), oldest);
    let reply = get(&server, "/calls");
    assert_eq!(ids(&reply).len(), 25);
    assert_eq!(reply.json()["pagination"]["matched"], visible.len());
    let bare = get(&server, "/calls?includePagination=false").json();
    assert!(bare.get("pagination").is_none());
}

/// A window excludes or includes its edges, depending on the settings.
#[test]
fn window_edges_are_exclusive_or_inclusive_as_configured() {
    let workspace = Workspace::generate(&Options { calls: 0, scheduled: 0, ..small() });
    for second in 0..5 {
        let time = format!("2025-11-01T10:00:0{second}.000Z");
        workspace.insert_call(json!({ "id": second.to_string(), "time": time }), false);
    }
    let window = "/calls?filterTimeGt=2025-11-01T10:00:01Z&filterTimeLt=2025-11-01T10:00:03Z";
    let without = Server::start(workspace.clone(), Settings::default()).unwrap();
    assert_eq!(ids(&get(&without, window)), ["2"]);
    let settings = Settings { edges_inclusive: true, ..Settings::default() };
    let within = Server::start(workspace, settings).unwrap();
    assert_eq!(ids(&get(&within, window)), ["3", "2", "1"]);
}

/// Guards against silently losing the rest when paging past the cap.
#[test]
fn beyond_the_cap_there_are_three_ways_to_be_wrong() {
    let day = Dense { from: at("2025-11-03T00:00:00Z"), span: Duration::days(1), calls: 10_050 };
    let options = Options { calls: 0, dense: vec![day], private: 0.0, ..small() };
    let workspace = Workspace::generate(&options);
    let start = |beyond_cap| {
        Server::start(workspace.clone(), Settings { beyond_cap, ..Settings::default() }).unwrap()
    };
    let window = "/calls?filterTimeGt=2025-11-02T00:00:00Z&filterTimeLt=2025-11-05T00:00:00Z";
    let refuse = start(BeyondCap::Refuse);
    let last = get(&refuse, &format!("{window}&skip=10000"));
    assert_eq!(
        (ids(&last).len(), last.json()["pagination"]["matched"].as_u64()),
        (25, Some(10_050))
    );
    assert_eq!(get(&refuse, &format!("{window}&skip=10025")).status, 400);
    let clamp = get(&start(BeyondCap::Clamp), &format!("{window}&skip=10025"));
    assert_eq!(ids(&clamp), ids(&last));
    let empty = get(&start(BeyondCap::Empty), &format!("{window}&skip=10025")).json();
    assert_eq!(
        (empty["calls"].as_array().unwrap().len(), &empty["pagination"]["hasMore"]),
        (0, &json!(false))
    );
    assert_eq!(refuse.violations().skip_over, 1);
}

/// Calls with the same time keep their order.
#[test]
fn calls_of_one_instant_can_be_read_from_both_ends() {
    let instant = Dense { from: at("2025-11-03T10:00:00Z"), span: Duration::zero(), calls: 60 };
    let options = Options { calls: 0, scheduled: 0, dense: vec![instant], ..small() };
    let workspace = Workspace::generate(&options);
    let start = |ties_ascending| {
        Server::start(workspace.clone(), Settings { ties_ascending, ..Settings::default() })
            .unwrap()
    };
    let mut upwards = everything(&start(false), "limit=9&sortTime=asc");
    assert_eq!(everything(&start(true), "limit=9&sortTime=desc"), upwards);
    upwards.reverse();
    assert_eq!(everything(&start(false), "limit=9&sortTime=desc"), upwards);
}

/// Filters, including repeated keys, are not ignored.
#[test]
fn filters_agree_with_the_records() {
    let (workspace, server) = serve(&Options { calls: 400, ..small() }, Settings::default());
    let calls = workspace.calls_before(at("2030-01-01T00:00:00Z"), false);
    let expect = |query: &str, fits: &dyn Fn(&Value) -> bool| {
        let fitting = calls.iter().filter(|call| fits(call));
        let fitting: BTreeSet<&str> = fitting.map(|call| call["id"].as_str().unwrap()).collect();
        assert!(!fitting.is_empty(), "nothing to find by {query}");
        let found = everything(&server, &format!("limit=100&{query}"));
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), fitting, "{query}");
    };
    let among = |call: &Value, list: &str, key: &str, text: &str| {
        call[list].as_array().is_some_and(|rows| rows.iter().any(|row| row[key] == text))
    };
    expect("filterStatus=PROCESSED&filterStatus=SCHEDULED", &|call| {
        call["status"] == "PROCESSED" || call["status"] == "SCHEDULED"
    });
    expect("filterType=RECORDING", &|call| call["type"] == "RECORDING");
    expect("filterTopics=Small%20talk", &|call| {
        among(&call["metrics"], "categories", "name", "Small talk")
    });
    let email = calls[0]["users"][0]["userEmail"].as_str().unwrap();
    expect(&format!("filterUser={email}"), &|call| among(call, "users", "userEmail", email));
    let guest = calls[1]["externalParticipants"][0]["email"].as_str().unwrap();
    expect(&format!("filterAttendees={guest}"), &|call| {
        among(call, "externalParticipants", "email", guest)
    });
    let source = calls[2]["source_id"].as_str().unwrap();
    expect(&format!("filterSourceId={source}"), &|call| call["source_id"] == source);
    let modified = "2025-11-10T00:00:00.000";
    expect(&format!("filterModifiedGt={modified}Z"), &|call| {
        call["last_modified_time"].as_str().unwrap() > modified
    });
    let done = "POST_PROCESSING_DONE";
    expect(&format!("filterDurationGt=3000&filterStatus={done}"), &|call| {
        let duration = &call["metrics"]["call_duration"];
        let seconds = duration.as_u64().or_else(|| duration.as_str()?.parse().ok());
        call["status"] == done && seconds > Some(3_000)
    });
}

/// Private calls are neither listed nor counted unless requested.
#[test]
fn private_calls_are_listed_only_on_request() {
    let (workspace, server) = serve(&Options { private: 0.3, ..small() }, Settings::default());
    let all = workspace.call_count();
    let matched =
        |query: &str| get(&server, query).json()["pagination"]["matched"].as_u64().unwrap();
    assert_eq!(matched("/calls?includePrivate=true"), all as u64);
    assert!(matched("/calls") < all as u64);
    assert_eq!(matched("/calls"), matched("/calls?includePrivate=false"));
    assert_eq!(get(&server, "/calls?includePrivate=yes").status, 400);
}

/// An unreadable parameter is not silently ignored.
#[test]
fn unreadable_parameters_are_refused_and_counted() {
    let (_, server) = serve(&small(), Settings::default());
    let bad = [
        "/calls?limit=ten",
        "/calls?skip=-1",
        "/calls?filterTimeGt=yesterday",
        "/calls?sortTime=up",
        "/call-details",
        "/stats?from=2025-11-01",
        "/stats?from=2025-11-1&to=2025-11-02",
        "/get-deal?id=",
    ];
    for target in bad {
        assert_eq!(get(&server, target).status, 400, "{target}");
    }
    assert_eq!(server.violations().bad_value, bad.len() as u64);
    assert_eq!(get(&server, "/calls?limit=101").status, 400);
    assert_eq!(server.violations().limit_over, 1);
}

/// An endpoint that returns everything may later return pages.
#[test]
fn whole_lists_can_turn_into_pages_that_say_so_or_do_not() {
    let options = Options { users: 60, ..small() };
    let (workspace, whole) = serve(&options, Settings::default());
    assert_eq!(get(&whole, "/users?skip=50").json()["users"].as_array().unwrap().len(), 60);
    let paged = Settings { paged_whole: Some(25), ..Settings::default() };
    let silent = Settings { paged_whole_silent: true, ..paged.clone() };
    let paged = Server::start(workspace.clone(), paged).unwrap();
    let first = get(&paged, "/users?limit=100").json();
    assert_eq!(
        (first["users"].as_array().unwrap().len(), &first["pagination"]["hasMore"]),
        (25, &json!(true))
    );
    assert_eq!(get(&paged, "/users?skip=50").json()["users"].as_array().unwrap().len(), 10);
    let silent = Server::start(workspace, silent).unwrap();
    assert!(get(&silent, "/users").json().get("pagination").is_none());
}

/// A scorecard's record does not contain its date.
#[test]
fn scorecards_are_filtered_by_a_time_they_do_not_contain() {
    let (workspace, server) =
        serve(&Options { scorecards: Some(130), ..small() }, Settings::default());
    let first = get(&server, "/scorecard").json();
    assert_eq!(
        (first["scorecards"].as_array().unwrap().len(), first["pagination"]["matched"].as_u64()),
        (50, Some(130))
    );
    let now = workspace.now().date_naive();
    let days =
        now.iter_days().skip(1).take(1).chain((0..40).map(|back| now - Duration::days(back)));
    let found: usize = days
        .map(|day| {
            let query = format!(
                "/scorecard?limit=100&filterTimeGt={}T23:59:59.999Z&filterTimeLt={day}",
                day - Duration::days(2)
            );
            let rows = get(&server, &query).json()["scorecards"].as_array().unwrap().clone();
            assert!(rows.iter().all(|row| !row.to_string().contains("2025-")));
            rows.len()
        })
        .sum();
    assert_eq!(found, 130);
}

/// An undocumented endpoint is available too.
#[test]
fn every_endpoint_answers_under_its_key() {
    let (workspace, server) = serve(&small(), Settings::default());
    let rows = |target: &str, key: &str| get(&server, target).json()[key].clone();
    for (target, key) in [
        ("/topics", "topics"),
        ("/v2/topics", "topics"),
        ("/teams", "teams"),
        ("/accounts", "accounts"),
        ("/scorecard-template", "scoreCardTemplates"),
        ("/opportunities", "opportunities"),
        ("/playlists", "playlists"),
        ("/stats?from=2025-11-03&to=2025-11-03", "stats"),
    ] {
        assert!(!rows(target, key).as_array().unwrap().is_empty(), "{target}");
    }
    let day = "/stats/aggregate?from=2025-11-03&to=2025-11-03";
    assert!(rows(day, "aggregate")["total_calls"].is_u64());
    let playlist = workspace.rows(Table::Playlists)[0]["id"].as_str().unwrap().to_owned();
    assert!(!rows(&format!("/playlists/{playlist}/calls"), "calls").as_array().unwrap().is_empty());
    assert_eq!(get(&server, "/playlists/none/calls").status, 404);
    let calls = workspace.calls();
    let crm =
        calls.iter().map(|call| &call["crm_info"]).find(|crm| crm["deal_id"].is_string()).unwrap();
    for (path, id) in [
        ("get-account", &crm["account_id"]),
        ("get-deal", &crm["deal_id"]),
        ("get-contact", &crm["contact_ids"][0]),
    ] {
        let found = get(&server, &format!("/{path}?id={}", id.as_str().unwrap())).json();
        assert_eq!(&found["crm_id"], id);
    }
    assert_eq!(get(&server, "/get-deal?id=none").status, 404);
}
