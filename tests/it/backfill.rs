//! P7 over runs: the week's quota, the backfill's share of it, and history that is asked for once.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::lake::Store;
use clari_lake::internals::ledger::Ledger;
use clari_lake::internals::manifest::Purpose;
use clari_lake::internals::quota::{FreePlaces, GivenBack, Limits, Unsent, week_of};
use clari_lake::internals::report::Report;
use clari_lake::internals::simulator::Options;

use crate::support::{Run, Site, small};

/// Half a year of calls.
fn history() -> Site {
    Site::new(&Options { calls: 400, days: 180, ..small() })
}

fn run(site: &Site) -> Run {
    site.calls_and_details()
}

fn from(site: &Site) -> DateTime<Utc> {
    site.now - TimeDelta::days(200)
}

/// How often each of a path's queries was sent.
fn asked(site: &Site, path: &str) -> HashMap<String, usize> {
    let mut asked = HashMap::new();
    for request in site.server.requests().into_iter().filter(|it| it.path == path) {
        *asked.entry(request.query).or_default() += 1;
    }
    asked
}

fn week(report: &Report) -> (u64, u64) {
    let week = report.week.as_ref().unwrap();
    (week.spent, week.spent_on_backfill)
}

#[test]
fn p1_p7_a_backfill_exports_history_and_requests_nothing_covered() {
    let site = history();
    run(&site).complete();
    site.server.clear();
    run(&site).backfilling(from(&site), site.now).complete();
    site.assert_calls(site.now);
    assert!(asked(&site, "/call-details").values().all(|count| *count == 1));
    let listed = site.server.count("/calls");
    assert!(listed <= 26, "the last thirty days are covered: {listed} pages");
    site.server.clear();
    let report = run(&site).backfilling(from(&site), site.now).complete();
    assert_eq!(report.requests, 0, "what is covered is never asked for again");
}

#[test]
fn p7_the_weekly_quota_is_never_exceeded() {
    let site = history();
    let mut reports = Vec::new();
    for round in 0..6 {
        let run = run(&site).with_quota(150, 0.5);
        let run = if round % 2 == 0 { run } else { run.backfilling(from(&site), site.now) };
        reports.push(run.run());
        let sent = site.server.requests().len() as u64;
        assert!(sent <= 150, "{sent} requests");
        assert!(week(reports.last().unwrap()).1 <= 75);
    }
    let last = reports.last().unwrap();
    assert!(!last.complete && last.requests == 0, "{last:#?}");
    assert!(last.problems.iter().any(|it| it.message.contains("continue at Sunday")), "{last:#?}");
    run(&site).backfilling(from(&site), site.now).complete();
    run(&site).complete();
    site.assert_calls(site.now);
    assert!(asked(&site, "/call-details").values().all(|count| *count == 1));
}

#[test]
fn p7_a_backfill_leaves_the_rest_of_the_week_to_exports_and_an_export_continues_it() {
    let site = history();
    let stopped = run(&site).with_quota(200, 0.3).backfilling(from(&site), site.now).run();
    assert!(!stopped.complete);
    // The one beside them told whether the credentials are right.
    assert_eq!(week(&stopped), (61, 60));
    site.workspace.advance(site.now + TimeDelta::hours(6));
    let later = site.workspace.now();
    let night = run(&site).at(later).with_quota(200, 0.3).run();
    assert!(!night.complete, "the history is not there yet");
    let manifest = site.lake.manifest("calls").unwrap();
    assert!(manifest.watermark.is_some() && manifest.coverage.end() == Some(later));
    run(&site).at(later).complete();
    site.assert_calls(later);
    assert!(asked(&site, "/call-details").values().all(|count| *count == 1));
}

#[test]
fn unsent_requests_are_returned_to_the_quota() {
    let site = history();
    let report = run(&site).complete();
    assert_eq!(week(&report).0, report.requests);
    let again = run(&site).complete();
    assert_eq!(week(&again).0, report.requests + again.requests);
}

#[test]
fn refetch_requests_details_of_a_range_again() {
    let site = history();
    run(&site).backfilling(from(&site), site.now).complete();
    let (begin, end) = (site.now - TimeDelta::days(60), site.now - TimeDelta::days(30));
    site.server.clear();
    let before = site.lake.data();
    run(&site).backfilling(begin, end).refetching().complete();
    let again = site.server.count("/call-details");
    assert!((20..150).contains(&again), "{again} of a month in six");
    assert_eq!(site.server.count("/calls"), 0);
    assert_eq!(site.lake.data(), before, "P4: the same content is not written");
    site.server.clear();
    run(&site).complete();
    assert_eq!(site.server.count("/call-details"), 0);
}

/// P1, P3: what changes between a run that died in the middle and the next one is found, although
/// the first had listed it already.
#[test]
fn p1_p3_a_killed_first_run_is_followed_by_a_scan_for_changes() {
    let site = Site::new(&small());
    let died = run(&site).with_quota(30, 1.0).run();
    assert!(!died.complete);
    let covered = site.lake.manifest("calls").unwrap().coverage;
    assert!(!covered.is_empty());
    let call = site.a_call(25, 12);
    let later = site.now + TimeDelta::days(5);
    site.workspace.advance(later);
    assert!(site.workspace.set_status(&call, "PROCESSED", later - TimeDelta::days(1)));
    run(&site).at(later).complete();
    site.assert_calls(later);
}

/// P7: an export does not request what a running backfill is about to request.
#[test]
fn p7_an_export_leaves_the_history_to_a_running_backfill() {
    let site = history();
    run(&site).with_quota(200, 0.3).backfilling(from(&site), site.now).run();
    let limits = Limits { rate: 0.0, ..Limits::default() };
    let store = Arc::new(Store::open(&site.lake.location()).unwrap());
    let other = Ledger::new(store, "the backfill");
    let now = Clock::system().now();
    other.claim(&limits, Purpose::Backfill, &Unsent::default(), now).unwrap();
    site.server.clear();
    let night = run(&site).run();
    assert_eq!(site.server.count("/call-details"), 0);
    assert!(
        night.problems.iter().any(|it| it.message.contains("a running backfill")),
        "{night:#?}"
    );
    let mut unsent = Unsent::default();
    unsent.add(week_of(now), 100);
    let purpose = Purpose::Backfill;
    let free = Some(FreePlaces { week: week_of(now), places: 100 });
    let given_back = GivenBack { purpose, unsent, free, ends: true };
    other.give_back(&limits, &given_back, now).unwrap();
    run(&site).complete();
    site.assert_calls(site.now);
}
