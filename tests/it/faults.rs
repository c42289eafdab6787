//! P1, P12 under an API that fails: what fails in passing is in, what fails for good is said.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use clari_lake::internals::clock::Clock;
use clari_lake::internals::fetch::Get;
use clari_lake::internals::report::{Outcome, Report};
use clari_lake::internals::simulator::{Api, Fault, Faults, Options, Server, Settings};
use serde_json::json;

use crate::support::{Run, Site, received, small};

#[test]
fn p1_a_fifth_of_all_requests_may_fail_in_every_way_there_is() {
    let faults = Faults { details_missing: 0.0, ..Faults::all(1, 0.22) };
    let site = Site::with(&small(), Settings { faults, ..Settings::default() });
    let report = site.export().complete();
    let requests = site.server.requests();
    let failed = requests.iter().filter(|it| it.fault.is_some()).count();
    assert!(failed > requests.len() / 7, "{failed} of {}", requests.len());
    assert_eq!(report.requests, requests.len() as u64, "P7: every request is counted");
    site.assert_calls(site.now);
    assert_eq!(site.server.violations().total(), 0);
}

#[test]
fn a_missing_reply_is_requested_again() {
    let faults = Faults { stall_for: Duration::from_secs(30), ..Faults::default() };
    let site = Site::with(&small(), Settings { faults, ..Settings::default() });
    site.server.fail_next("/users", Fault::Stall, 1);
    site.server.fail_next("/calls", Fault::Stall, 1);
    let run = site.export().only(&["calls", "users"]);
    run.with_timeout(Duration::from_millis(400)).complete();
    site.assert_list_is(&site.workspace.calls_before(site.now, false));
}

/// P12: the ids that a run names as missing, oldest first; the message names them too.
fn named(report: &Report) -> Vec<String> {
    let missing = report.endpoints[1].queued.iter().filter(|it| it.reason.is_some());
    let ids: Vec<String> = missing.map(|it| it.id.clone()).rev().collect();
    for id in &ids {
        assert!(report.problems.iter().any(|it| it.message.contains(id)), "{:?}", report.problems);
    }
    ids
}

/// Section 6.7, P12: details that the API does not have are missing, each by its id, for two weeks.
/// Then they are unavailable, and runs are complete without them.
#[test]
fn details_that_are_never_found_are_missing_for_two_weeks() {
    let site = Site::exported();
    let call = site.a_call(3, 2);
    assert!(site.workspace.edit_silently(&call, "title", json!("another")));
    site.server.fail_next("/call-details", Fault::DetailsMissing, 1_000);
    let night = |days| site.calls_and_details().at(site.now + TimeDelta::days(days)).run();
    for days in 0..=14 {
        let report = night(days);
        assert!(!report.complete, "{days}");
        assert_eq!(named(&report), [call.as_str()], "{days}");
    }
    let after = (15..20).map(night).find(|it| it.complete).unwrap();
    let queue = after.endpoints[1].queue.unwrap();
    assert_eq!((queue.parked, queue.unavailable), (0, 1), "{:?}", after.problems);
}

/// Section 6.7: 404 where there should be details is put off, not hammered, and asked again when
/// the call changes.
#[test]
fn details_not_available_yet_are_parked_until_the_call_changes() {
    let site = Site::new(&small());
    let run = || site.calls_and_details().with_concurrency(1);
    site.server.fail_next("/call-details", Fault::DetailsMissing, 3);
    let report = run().run();
    assert!(!report.complete, "three are missing");
    assert_eq!(report.endpoints[1].queue.unwrap().parked, 3);
    let named = named(&report);
    site.server.clear();
    let again = run().run();
    assert_eq!(site.server.count("/call-details"), 0, "they are not due yet");
    assert!(!again.complete, "and still missing");
    assert_eq!(self::named(&again), named, "also in the partitions that this run has not compared");
    // The three newest were asked first.
    let known: Vec<_> = site.lake.rows("call_details").into_iter().map(|it| it.record).collect();
    let is_missing = |id: &String| !known.iter().any(|record| record["id"] == id.as_str());
    let ready = |id: &String| {
        site.workspace.details(id).is_some_and(|it| it["status"] == "POST_PROCESSING_DONE")
    };
    let missing: Vec<_> =
        site.ids(31, 0).into_iter().filter(|id| ready(id) && is_missing(id)).collect();
    assert_eq!(missing, named);
    for id in &missing {
        assert!(site.workspace.set_status(id, "PROCESSED", site.now));
    }
    let later = site.now + TimeDelta::minutes(1);
    run().at(later).complete();
    site.assert_calls(later);
}

/// Section 6.7: an empty transcript is not a failure, and is requested again later.
#[test]
fn a_late_transcript_is_parked_and_its_call_is_exported() {
    let options = Options { transcript_delay: TimeDelta::days(2), ..small() };
    let site = Site::new(&options);
    let run = || site.calls_and_details();
    let report = run().complete();
    let parked = report.endpoints[1].queue.unwrap().parked;
    assert!(parked > 0);
    site.assert_calls(site.now);
    site.server.clear();
    run().complete();
    assert_eq!(site.server.count("/call-details"), 0, "not due yet");
}

/// P12: one record that never comes is that record's problem, also when it is the only one due;
/// the run ends in good time.
#[test]
fn details_that_are_too_large_for_good_are_parked_and_end_nothing_else() {
    let mut site = Site::exported();
    let settings = Settings { max_reply_bytes: 200_000, ..Settings::default() };
    site.server = Server::start(site.workspace.clone(), settings).unwrap();
    let call = site.a_call(6, 2);
    let long = "so much was said ".repeat(20_000);
    let turns = json!([{ "text": long, "start": 0, "end": 1, "personId": 0 }]);
    assert!(site.workspace.edit_silently(&call, "transcript", turns));
    assert!(site.workspace.edit_silently(&call, "title", json!("a long one")));
    let run = || site.calls_and_details().with_outage(Duration::from_secs(1));
    for expected in [(0, 1), (0, 1), (1, 0)] {
        // The API may just have been out, so the next run asks again.
        let report = run().run();
        assert!(!report.complete);
        let queue = report.endpoints[1].queue.unwrap();
        assert_eq!((queue.parked, queue.pending), expected, "{:?}", report.problems);
    }
    site.server.clear();
    run().run();
    assert_eq!(site.server.count("/call-details"), 0, "not due yet");
}

#[test]
fn a_missing_endpoint_is_absent_and_the_run_complete() {
    let absent =
        ["/teams", "/stats", "/stats/aggregate", "/playlists", "/accounts", "/opportunities"];
    let absent: Vec<String> = absent.map(str::to_owned).to_vec();
    let site = Site::with(&small(), Settings { absent, ..Settings::default() });
    let report = site.export().complete();
    let outcome = |name: &str| {
        report.endpoints.iter().find(|it| it.endpoint == name).map(|it| it.outcome).unwrap()
    };
    for name in ["teams", "user_stats", "aggregate_stats", "playlists", "accounts", "opportunities"]
    {
        assert_eq!(outcome(name), Outcome::Absent, "{name}");
        assert!(site.lake.manifest(name).is_none() && !site.lake.path().join(name).exists());
    }
    assert_eq!(outcome("users"), Outcome::Complete);
    site.assert_calls(site.now);
    assert!(site.server.count("/stats") == 1, "one request tells");
}

#[test]
fn an_endpoint_that_disappears_is_reported() {
    let site = Site::new(&small());
    site.export().only(&["users", "teams"]).complete();
    let absent = vec!["/teams".to_owned()];
    let settings = Settings { absent, ..Settings::default() };
    let server = Server::start(site.workspace.clone(), settings).unwrap();
    let now = site.now + TimeDelta::days(1);
    let run = Run::new(server.base_url(), site.lake.location(), now);
    let report = run.only(&["users", "teams"]).run();
    assert!(!report.complete);
    assert!(
        report.problems[0].message.contains("had the endpoint before"),
        "{:?}",
        report.problems
    );
    assert!(!site.rows_of_day("teams", site.now).is_empty(), "what was in stays");
}

/// P3, P12: an outage ends the run, safely, and the next one finishes the job.
#[test]
fn p3_an_outage_in_the_middle_leaves_a_lake_that_the_next_run_completes() {
    let site = Site::new(&Options { calls: 200, ..small() });
    site.server.fail_next("/call-details", Fault::Unavailable, 100_000);
    let report = site.export().with_outage(Duration::from_millis(300)).run();
    assert!(!report.complete);
    site.assert_coverage_is_true();
    let healthy = Settings::default();
    let server = Server::start(site.workspace.clone(), healthy).unwrap();
    Run::new(server.base_url(), site.lake.location(), site.now).complete();
    site.assert_calls(site.now);
}

/// A reply that is cut off where a bracket closes looks whole, and only among others it shows that
/// it is not.
#[test]
fn p1_a_reply_that_only_looks_whole_is_requested_again() {
    let site = Site::new(&small());
    let api = Api::new(site.workspace.clone(), Settings::default());
    let asked = AtomicUsize::new(0);
    let transport = move |get: Get| {
        let is_details = get.url.path().ends_with("/call-details");
        let (mut reply, _) = api.answer(&received(get));
        let nth = if is_details { asked.fetch_add(1, Ordering::Relaxed) } else { 1 };
        if nth % 3 == 0 && nth < 30 {
            let body = reply.body();
            let within = body[..body.len() - 1].iter().rposition(|byte| *byte == b'}');
            *reply.body_mut() = body.slice(..=within.unwrap());
        }
        std::future::ready(Ok(reply))
    };
    let run = Run::over(Arc::new(transport), site.lake.location(), &Clock::system());
    let report = run.only(&["calls", "call_details"]).at(site.now).complete();
    site.assert_calls(site.now);
    let details = site.lake.rows("call_details").len() as u64;
    assert_eq!(report.endpoints[1].requests, details + 10, "P7: each of them once more");
}

/// A reply that no parser takes and nothing repairs is missing alone, and comes when it is whole again.
#[test]
fn p1_p12_a_reply_that_is_never_text_blocks_no_other() {
    let site = Site::new(&small());
    let run = |is_broken: bool| {
        let api = Api::new(site.workspace.clone(), Settings::default());
        let first = Mutex::new(None);
        let transport = move |get: Get| {
            let target = get.url.to_string();
            let (mut reply, _) = api.answer(&received(get));
            let is_details = is_broken && target.contains("/call-details");
            if is_details && *first.lock().unwrap().get_or_insert(target.clone()) == target {
                // No repair knows what is missing between the two.
                let text = String::from_utf8_lossy(reply.body())
                    .replace("{\"call\":{", "{\"call\":{\"x\" 1,");
                *reply.body_mut() = text.into();
            }
            std::future::ready(Ok(reply))
        };
        let run = Run::over(Arc::new(transport), site.lake.location(), &Clock::system());
        run.only(&["calls", "call_details"]).at(site.now).quickly().run()
    };
    let report = run(true);
    let rows = site.lake.rows("call_details").len();
    assert!(!report.complete && rows > 60, "P12: {rows} rows");
    run(false);
    site.assert_calls(site.now);
    assert_eq!(site.lake.rows("call_details").len(), rows + 1);
}
