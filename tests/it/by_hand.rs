//! Exports by hand: one call, one playlist, the numbers of a range; and what changed
//! since the last time they looked.

use std::sync::Arc;

use chrono::TimeDelta;
use clari_lake::internals::changes::{Changes, Point, changes};
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::ErrorKind;
use clari_lake::internals::lake::{Lake as Tables, Store};
use clari_lake::internals::quota::Limits;
use clari_lake::internals::report::Report;
use clari_lake::internals::simulator::Table;
use clari_lake::internals::status::{last_success, status};
use clari_lake::internals::verify::verify;
use serde_json::{Value, json};

use crate::support::{Canned, Lake, Run, Site, at, small};

/// The ids of calls whose details can be read, the oldest first.
fn ready(site: &Site) -> Vec<String> {
    let calls = site.workspace.calls_before(site.now, false);
    let ready = calls.iter().filter(|call| call["status"] == "POST_PROCESSING_DONE");
    ready.map(|call| call["id"].as_str().unwrap().to_owned()).collect()
}

/// P12: what is complete passes.
#[track_caller]
fn assert_sound(site: &Site) {
    let store = Arc::new(Store::open(&site.lake.location()).unwrap());
    let found = verify(&store, &Catalogue::built_in().unwrap()).unwrap();
    assert_eq!(found.findings, []);
}

fn requests(report: &Report, endpoint: &str) -> u64 {
    report.endpoints.iter().find(|it| it.endpoint == endpoint).unwrap().requests
}

/// P1: a call that the lake knows nothing of is read by its id, and once more when the call itself
/// comes, which may have changed since.
#[test]
fn a_call_is_read_by_its_id_into_an_empty_lake() {
    let site = Site::new(&small());
    let ids = ready(&site);
    let report = site.export().only(&["call_details"]).by_id(&[&ids[0]]).complete();
    assert_eq!(requests(&report, "call_details"), 1, "only that call");
    let rows = site.lake.rows("call_details");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].record["id"], json!(ids[0]));
    assert!(
        !site.lake.manifest("call_details").unwrap().schema_frozen,
        "one call freezes no schema"
    );
    assert_sound(&site);
    let report = site.calls_and_details().complete();
    site.assert_calls(site.now);
    let all = site.lake.rows("call_details").len() as u64;
    assert_eq!(requests(&report, "call_details"), all, "each once");
    let again = site.calls_and_details().complete();
    assert_eq!(requests(&again, "call_details"), 0);
}

/// P2, P4: it replaces that call's row and no other, and says what is not there.
#[test]
fn a_call_that_is_read_by_its_id_replaces_its_own_row() {
    let site = Site::exported();
    let ids = ready(&site);
    site.workspace.edit_silently(&ids[0], "title", json!("renamed"));
    site.workspace.edit_silently(&ids[1], "title", json!("renamed too"));
    let report = site.export().only(&["call_details"]).by_id(&[&ids[0], "nowhere"]).run();
    assert_eq!(requests(&report, "call_details"), 2);
    let [problem] = report.problems.as_slice() else { panic!("{:?}", report.problems) };
    assert!(problem.message.starts_with("id number 2 of 2: not found"), "{}", problem.message);
    assert!(site.lake.files_with("_manifest/runs", "nowhere").is_empty(), "P15: reports are kept");
    let [changed] = report.changed.as_slice() else { panic!("{:?}", report.changed) };
    assert_eq!((changed.inserted, changed.updated, changed.deleted), (0, 1, 0));
    let title = |id: &str| site.lake.row("call_details", id).record["title"].clone();
    assert_eq!(title(&ids[0]), json!("renamed"));
    assert_ne!(title(&ids[1]), json!("renamed too"));
}

/// P14: the calls of one playlist are replaced, and those of the others stay.
#[test]
fn a_playlist_is_read_by_its_id() {
    let site = Site::new(&small());
    let only = ["playlists", "playlist_calls"];
    site.export().only(&only).complete();
    let playlists = site.workspace.rows(Table::Playlists);
    let id = playlists[0]["id"].as_str().unwrap();
    let of = |rows: &[crate::support::Row], is_it: bool| {
        rows.iter().filter(|row| (row.parent.as_deref() == Some(id)) == is_it).count()
    };
    let before = site.lake.rows("playlist_calls");
    let tomorrow = site.now + TimeDelta::days(1);
    let report = site.export().only(&["playlist_calls"]).by_id(&[id]).at(tomorrow).complete();
    assert_eq!(report.endpoints.len(), 1, "the playlists themselves are not read again");
    let rows = site.rows_of_day("playlist_calls", tomorrow);
    assert_eq!(of(&rows, true), of(&before, true));
    assert_eq!(of(&rows, false), of(&before, false), "carried over");
    assert_sound(&site);
    let report = site.export().only(&["playlist_calls"]).by_id(&["none"]).at(tomorrow).run();
    assert!(report.problems[0].message.starts_with("the id: not found"), "{:?}", report.problems);
    assert_eq!(site.rows_of_day("playlist_calls", tomorrow).len(), before.len());
    site.export().only(&only).at(tomorrow).complete();
    let rows = site.rows_of_day("playlist_calls", tomorrow);
    assert_eq!(rows.len(), before.len());
}

/// P12: an unreadable record that was requested by its id is named, even next to a readable one.
#[test]
fn p12_one_failing_id_among_others_is_reported() {
    let server = Canned::start(|target| match target.split_once("id=") {
        Some((_, "b")) => (500, json!({"message": "boom"})),
        Some((_, id)) => (200, json!({"call": {"id": id, "time": "2026-11-20T10:00:00Z"}})),
        None => (200, json!({"topics": []})),
    });
    let lake = Lake::new();
    let run = Run::new(server.base_url(), lake.location(), at("2026-11-23T12:00:00Z"));
    let report = run.only(&["call_details"]).by_id(&["a", "b"]).run();
    assert!(!report.complete && !report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(lake.rows("call_details").len(), 1);
}

/// P12: a run that read one parent says nothing of the others: its table is as old as before, and
/// an incomplete night is still the last one.
#[test]
fn p12_a_run_by_id_makes_no_table_fresh() {
    let site = Site::new(&small());
    site.export().complete();
    let store = Arc::new(Store::open(&site.lake.location()).unwrap());
    let catalogue = Catalogue::built_in().unwrap();
    let fresh_to = || {
        let at = site.now + TimeDelta::days(2);
        let found = status(&Tables::reader(&store, &catalogue), &Limits::default(), at).unwrap();
        let table = found.tables.iter().find(|it| it.endpoint == "playlist_calls");
        (table.unwrap().fresh_to, last_success(&store).unwrap())
    };
    let before = fresh_to();
    assert!(before.0.is_some() && before.1.is_some());
    let lists = site.workspace.rows(Table::Playlists);
    let tomorrow = site.now + TimeDelta::days(1);
    let by_id = site.export().only(&["playlist_calls"]).by_id(&[lists[0]["id"].as_str().unwrap()]);
    by_id.at(tomorrow).complete();
    assert_eq!(fresh_to(), before);
    site.export().only(&["playlist_calls"]).at(tomorrow).complete();
    assert!(fresh_to() > before);
    // Nor is a table that nothing else has filled.
    let lake = Lake::new();
    let run = Run::new(site.server.base_url(), lake.location(), site.now);
    run.only(&["playlist_calls"]).by_id(&[lists[0]["id"].as_str().unwrap()]).complete();
    let store = Arc::new(Store::open(&lake.location()).unwrap());
    let found = status(&Tables::reader(&store, &catalogue), &Limits::default(), site.now).unwrap();
    assert!(found.tables.iter().all(|it| it.fresh_to.is_none()), "{:?}", found.tables);
}

#[test]
fn an_endpoint_not_requested_by_id_is_refused_before_the_first_request() {
    let site = Site::new(&small());
    for (only, id) in [
        (&["users"][..], "a"),
        (&["call_details", "playlist_calls"], "a"),
        (&["call_details"], ".."),
    ] {
        let error = site.export().only(only).by_id(&[id]).attempt().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    assert!(site.server.requests().is_empty());
}

/// P2, P5: the numbers of a whole range are one row for each range, and of each user; the same range
/// again replaces them.
#[test]
fn the_numbers_of_a_range_are_rows_of_their_own() {
    let site = Site::new(&small());
    let only = ["aggregate_stats_range", "user_stats_range"];
    let (from, to) = (at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z"));
    let month = || site.export().only(&only).from(from).at(to);
    month().complete();
    let aggregate = site.lake.rows("aggregate_stats_range");
    assert_eq!(aggregate.len(), 1);
    assert_eq!(aggregate[0].parent.as_deref(), Some("2026-10-01/2026-10-31"));
    assert_eq!(aggregate[0].dt, "2026-10-01");
    let users = site.workspace.rows(Table::Users);
    assert_eq!(site.lake.rows("user_stats_range").len(), users.len());
    month().complete();
    assert_eq!(site.lake.rows("aggregate_stats_range").len(), 1, "P4: nothing new");
    // A user who is gone has no numbers any more, in the range that is requested again.
    site.export().only(&only).complete();
    let gone = users[0]["id"].as_str().unwrap();
    assert!(site.workspace.remove_row(Table::Users, gone));
    let report = month().complete();
    assert_eq!(report.changed.iter().map(|it| it.deleted).sum::<u64>(), 1);
    let rows = site.lake.rows("user_stats_range");
    assert_eq!(rows.len(), 2 * users.len() - 1);
    let last = rows.iter().filter(|row| row.parent != aggregate[0].parent);
    let last: Vec<_> = last.map(|row| row.parent.as_deref().unwrap()).collect();
    let day = |days: i64| (site.now - TimeDelta::days(days)).date_naive();
    assert_sound(&site);
    assert_eq!(last, vec![format!("{}/{}", day(30), day(0)); users.len()], "the last 30 days");
}

fn changed(changes: &Changes) -> Vec<(String, String, Option<u64>)> {
    let all = changes.changed.iter();
    all.map(|it| (it.endpoint.clone(), it.dt.clone(), it.inserted)).collect()
}

/// P12: what changed since a point is named over all runs, also by one that was not complete (B9).
#[test]
fn changes_are_merged_over_runs_that_failed() {
    let site = Site::new(&small());
    let store = Store::open(&site.lake.location()).unwrap();
    let since = |point: &Point| changes(&store, point).unwrap();
    let begun = Point::Time(site.now - TimeDelta::days(1));
    let first = site.calls_and_details().with_quota(60, 0.7).run();
    assert!(!first.complete && !first.changed.is_empty());
    let second = site.calls_and_details().complete();
    assert!(!second.changed.is_empty());
    let all = since(&begun);
    let mut expected: Vec<(String, String, u64)> = Vec::new();
    for it in first.changed.iter().chain(&second.changed) {
        let known = expected.iter_mut().find(|known| known.0 == it.endpoint && known.1 == it.dt);
        match known {
            Some(known) => known.2 += it.inserted,
            None => expected.push((it.endpoint.clone(), it.dt.clone(), it.inserted)),
        }
    }
    expected.sort();
    let expected: Vec<_> =
        expected.into_iter().map(|(table, dt, inserted)| (table, dt, Some(inserted))).collect();
    let mut found = changed(&all);
    found.sort();
    assert_eq!(found, expected);
    // What the first run changed is known from its report.
    let after_first = since(&Point::run(&first.run).unwrap());
    let mut found = changed(&after_first);
    found.sort();
    let mut of_second: Vec<_> = second
        .changed
        .iter()
        .map(|it| (it.endpoint.clone(), it.dt.clone(), Some(it.inserted)))
        .collect();
    of_second.sort();
    assert_eq!(found, of_second);
    // From one answer to the next nothing is missed and nothing comes twice.
    assert_eq!(changed(&since(&Point::Next(all.next.clone()))), []);
    let id = ready(&site).pop().unwrap();
    site.workspace.edit_silently(&id, "title", json!("renamed"));
    let third = site.calls_and_details().complete();
    assert!(!third.changed.is_empty());
    let news = since(&Point::Next(all.next));
    assert_eq!(news.changed.len(), third.changed.len());
    assert!(news.changed.iter().all(|it| it.inserted == Some(0) && it.updated == Some(1)));
}

/// P12: what a killed run wrote is named once the next run has recovered it, without counts.
#[test]
fn changes_name_partitions_of_a_killed_run() {
    let site = Site::exported();
    let store = Store::open(&site.lake.location()).unwrap();
    let next = changes(&store, &Point::Time(site.now)).unwrap().next;
    let id = ready(&site).pop().unwrap();
    site.workspace.edit_silently(&id, "title", json!("renamed"));
    let mut write = 1;
    // Killed after the object was replaced, and before the manifest.
    let dt = loop {
        let broken = site.export().only(&["calls"]).breaking_down_at(write, true).attempt();
        let dt = site.lake.row("calls", &id).dt;
        if broken.is_err() && site.lake.row("calls", &id).record["title"] == json!("renamed") {
            break dt;
        }
        write += 1;
        assert!(write < 40, "no write was the object's");
    };
    let before = changes(&store, &Point::Next(next.clone())).unwrap();
    let committed = before.changed.iter().any(|it| it.dt == dt);
    site.export().only(&["calls"]).complete();
    let after = changes(&store, &Point::Next(next)).unwrap();
    let found = after.changed.iter().find(|it| it.endpoint == "calls" && it.dt == dt).unwrap();
    assert!(committed || found.updated.is_none(), "{found:?}");
}

#[test]
fn an_unknown_run_is_refused() {
    let site = Site::exported();
    let store = Store::open(&site.lake.location()).unwrap();
    let error = changes(&store, &Point::run("20200101T000000Z-0000").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = serde_json::to_value(changes(&store, &Point::Time(site.now)).unwrap()).unwrap();
    assert!(matches!(&text["next"], Value::String(next) if next.contains("calls=")), "{text}");
}
