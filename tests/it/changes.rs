//! What changes at the source changes in the lake (P1), moves without a double (P2), and is
//! marked as gone only when it is (P11).

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::simulator::{Fault, Options, Workspace};
use serde_json::json;

use crate::support::{Run, Site, small};

/// A site whose calls are in the lake, and a run an hour later.
fn exported() -> (Site, DateTime<Utc>) {
    let site = Site::exported();
    let later = site.now + TimeDelta::hours(1);
    site.workspace.advance(site.now + TimeDelta::minutes(30));
    (site, later)
}

fn run(site: &Site) -> Run {
    site.calls_and_details()
}

/// Makes one change, runs an hour later, and compares everything.
#[track_caller]
fn assert_follows(change: impl FnOnce(&Site, DateTime<Utc>)) -> Site {
    let (site, later) = exported();
    change(&site, site.workspace.now());
    run(&site).at(later).complete();
    site.assert_calls(later);
    site
}

#[test]
fn a_change_of_status_is_found_however_old_the_call_is() {
    assert_follows(|site, now| {
        for (from, to) in [(30, 20), (3, 1)] {
            assert!(site.workspace.set_status(&site.a_call(from, to), "PROCESSED", now));
        }
    });
}

/// The first listing ends halfway; what it had seen by then changes before the next goes on.
#[test]
fn a_change_of_status_is_found_after_a_first_export_that_took_two_runs() {
    let site = Site::new(&small());
    let lists = || site.export().only(&["calls"]).with_concurrency(1);
    let api = site.server.clone();
    site.server.before("/calls", 2, move |_| api.fail_next("/calls", Fault::QuotaSpent, 1));
    assert!(!lists().run().complete);
    let call = site.a_call(13, 8);
    assert!(!site.lake.row("calls", &call).deleted, "the first run has listed it");
    let later = site.now + TimeDelta::hours(30);
    site.workspace.advance(later - TimeDelta::minutes(5));
    assert!(site.workspace.set_status(&call, "PROCESSED", site.workspace.now()));
    lists().at(later).complete();
    site.assert_list_is(&site.workspace.calls_before(later, false));
}

/// Changes that leave no trace are found once a month.
#[test]
fn a_silent_edit_before_the_lookback_is_found_when_a_month_has_passed() {
    let (site, later) = exported();
    let call = site.a_call(28, 15);
    assert!(site.workspace.edit_silently(&call, "title", json!("another title")));
    let month = site.now + TimeDelta::days(30);
    run(&site).monthly().at(later).complete();
    run(&site).monthly().at(month - TimeDelta::hours(1)).complete();
    assert_ne!(site.lake.row("calls", &call).record["title"], "another title");
    run(&site).monthly().at(month).complete();
    assert_eq!(site.lake.row("calls", &call).record["title"], "another title");
    // And not again the night after.
    site.server.clear();
    run(&site).monthly().at(month + TimeDelta::days(1)).complete();
    let after = site.server.count("/calls");
    run(&site).monthly().at(month + TimeDelta::days(1)).full().complete();
    assert!(site.server.count("/calls") - after > after, "{after} requests list a week");
}

#[test]
fn a_silent_edit_is_found_within_the_lookback() {
    assert_follows(|site, _| {
        let call = site.a_call(6, 1);
        assert!(site.workspace.edit_silently(&call, "title", json!("another title")));
        assert!(site.workspace.edit_silently(&call, "deal_value", json!({ "amount": [1, null] })));
    });
}

#[test]
fn a_silent_edit_before_the_lookback_is_found_by_a_full_run() {
    let (site, later) = exported();
    let call = site.a_call(28, 15);
    assert!(site.workspace.edit_silently(&call, "title", json!("another title")));
    run(&site).at(later).complete();
    assert_ne!(site.lake.row("calls", &call).record["title"], "another title");
    run(&site).at(later).full().complete();
    site.assert_calls(later);
}

#[test]
fn a_late_import_is_found_however_old_the_call_is() {
    assert_follows(|site, now| {
        for days in [60, 15, 2] {
            let mut call = site.workspace.call(&site.a_call(30, 10)).unwrap();
            call["id"] = json!(format!("late-{days}"));
            call["time"] = json!((now - TimeDelta::days(days)).to_rfc3339());
            call["last_modified_time"] = json!(now.to_rfc3339());
            call["transcript"] = json!([{ "text": "late", "start": 0, "end": 1.5, "personId": 0 }]);
            assert!(site.workspace.insert_call(call, false));
        }
    });
}

#[test]
fn p2_a_rescheduled_call_is_on_its_new_day_only() {
    assert_follows(|site, now| {
        let call = site.a_call(28, 20);
        assert!(site.workspace.reschedule(&call, now - TimeDelta::days(12), false));
    });
}

#[test]
fn p2_a_call_rescheduled_silently_within_the_lookback_is_on_its_new_day_only() {
    assert_follows(|site, now| {
        let call = site.a_call(6, 4);
        assert!(site.workspace.reschedule(&call, now - TimeDelta::days(2), true));
    });
}

#[test]
fn p11_a_call_rescheduled_silently_out_of_the_lookback_is_not_treated_as_deleted() {
    let (site, later) = exported();
    let call = site.a_call(6, 1);
    assert!(site.workspace.reschedule(&call, site.now - TimeDelta::days(20), true));
    run(&site).at(later).complete();
    assert!(!site.lake.row("calls", &call).deleted);
    run(&site).at(later).full().complete();
    site.assert_calls(later);
}

/// A call is in the lake once it has begun, so one that has not begun any more is not.
#[test]
fn a_call_rescheduled_into_the_future_is_removed_until_it_begins() {
    for silently in [false, true] {
        let (site, later) = exported();
        let call = site.a_call(6, 1);
        let moved = Clock::system().now() + TimeDelta::days(2);
        assert!(site.workspace.reschedule(&call, moved, silently));
        run(&site).at(later).complete();
        site.assert_calls(later);
        // Nor is it requested every night, or anything written.
        let before = site.lake.data();
        site.server.clear();
        run(&site).at(later).complete();
        assert!(site.lake.data() == before, "P4");
        assert_eq!(site.server.count("/call-details"), 0);
        run(&site).at(moved + TimeDelta::days(1)).complete();
        assert_eq!(site.lake.row("calls", &call).dt, moved.date_naive().to_string());
        assert!(!site.lake.row("call_details", &call).deleted);
    }
}

/// An export of last month says nothing of calls that moved to this month.
#[test]
fn p1_an_export_up_to_a_past_day_removes_nothing_that_later_runs_listed() {
    let (site, later) = exported();
    let call = site.a_call(12, 10);
    assert!(site.workspace.reschedule(&call, site.now - TimeDelta::days(8), true));
    run(&site).at(site.now - TimeDelta::days(9)).complete();
    assert_eq!(site.lake.row("calls", &call).dt, "2025-11-09");
    run(&site).at(later).full().complete();
    site.assert_calls(later);
}

#[test]
fn p11_a_call_that_was_unlisted_and_listed_again_is_marked_as_soon_as_it_is_deleted() {
    let (site, later) = exported();
    let call = site.a_call(6, 1);
    assert!(site.workspace.set_private(&call, true));
    run(&site).at(later).complete();
    assert!(site.workspace.set_private(&call, false));
    run(&site).at(later).complete();
    assert!(site.workspace.delete_call(&call));
    run(&site).at(later).complete();
    assert!(site.lake.row("calls", &call).deleted);
    site.assert_calls(later);
}

#[test]
fn p11_with_drop_a_deleted_call_is_removed_unless_the_source_has_it_again() {
    let (site, later) = exported();
    let call = site.a_call(6, 1);
    let record = site.workspace.details(&call).unwrap();
    assert!(site.workspace.delete_call(&call));
    let report = run(&site).at(later).dropping_deletes().complete();
    let gone = |table: &str| site.lake.rows(table).iter().all(|row| row.record["id"] != call);
    assert!(gone("calls") && gone("call_details"));
    let deleted = |report: &clari_lake::internals::report::Report| {
        report.endpoints.iter().map(|it| it.deleted).collect::<Vec<_>>()
    };
    assert_eq!(deleted(&report), [1, 1], "the report counts it in both tables");
    site.assert_calls(later);
    // And that is that: nothing is written or asked again, and `mark` brings nothing back.
    let before = site.lake.data();
    site.server.clear();
    run(&site).at(later).dropping_deletes().full().complete();
    run(&site).at(later).complete();
    assert!(site.lake.data() == before);
    assert_eq!(site.server.count("/call-details"), 0);
    assert!(site.workspace.insert_call(record, false));
    run(&site).at(later).dropping_deletes().complete();
    site.assert_calls(later);
    assert!(!gone("calls") && !gone("call_details"));
}

#[test]
fn p11_a_deleted_call_is_marked_in_calls_and_in_call_details() {
    let (site, later) = exported();
    let call = site.a_call(6, 1);
    let record = site.lake.row("calls", &call).record;
    assert!(site.workspace.delete_call(&call));
    run(&site).at(later).complete();
    assert!(site.lake.row("calls", &call).deleted);
    assert!(site.lake.row("call_details", &call).deleted);
    assert_eq!(site.lake.row("calls", &call).record, record, "the row itself stays");
    site.assert_calls(later);
    // And that is that: nothing is written or asked again.
    let before = site.lake.data();
    site.server.clear();
    run(&site).at(later).complete();
    assert!(site.lake.data() == before);
    assert_eq!(site.server.count("/call-details"), 0);
}

#[test]
fn p11_a_call_deleted_before_the_lookback_is_marked_by_a_full_run_only() {
    let (site, later) = exported();
    let call = site.a_call(28, 15);
    assert!(site.workspace.delete_call(&call));
    run(&site).at(later).complete();
    assert!(!site.lake.row("calls", &call).deleted);
    run(&site).at(later).full().complete();
    assert!(site.lake.row("calls", &call).deleted);
    site.assert_calls(later);
}

#[test]
fn p11_nothing_is_marked_while_the_details_do_not_answer_404() {
    let (site, later) = exported();
    let call = site.a_call(6, 1);
    assert!(site.workspace.delete_call(&call));
    // What answers for the details is broken; the run cannot tell, and must not guess.
    site.server.fail_next("/call-details", Fault::ServerError, 100_000);
    run(&site).at(later).with_outage(std::time::Duration::from_millis(50)).run();
    assert!(!site.lake.row("calls", &call).deleted);
}

#[test]
fn p11_a_call_that_was_made_private_is_not_marked() {
    let (site, later) = exported();
    let call = site.a_call(6, 1);
    assert!(site.workspace.set_private(&call, true));
    run(&site).at(later).complete();
    assert!(!site.lake.row("calls", &call).deleted);
    assert!(!site.lake.row("call_details", &call).deleted);
    // Nor is it requested every night.
    site.server.clear();
    run(&site).at(later).complete();
    assert_eq!(site.server.count("/call-details"), 0);
}

#[test]
fn p11_a_deleted_call_that_comes_back_is_unmarked() {
    let (site, later) = exported();
    let call = site.a_call(6, 1);
    let record = site.workspace.details(&call).unwrap();
    assert!(site.workspace.delete_call(&call));
    run(&site).at(later).complete();
    assert!(site.lake.row("calls", &call).deleted);
    assert!(site.workspace.insert_call(record, false));
    run(&site).at(later).complete();
    assert!(!site.lake.row("calls", &call).deleted);
    assert!(!site.lake.row("call_details", &call).deleted);
    site.assert_calls(later);
}

/// P10: of two versions the later fetched wins; a page that was old when it came changes nothing.
#[test]
fn a_change_during_a_run_is_exported_by_the_next() {
    let site = Site::new(&Options { calls: 250, ..small() });
    let (first, second) = (site.a_call(6, 4), site.a_call(3, 1));
    let edit = move |workspace: &Workspace| {
        let now = workspace.now();
        assert!(workspace.set_status(&first, "PROCESSED", now));
        assert!(workspace.reschedule(&second, now - TimeDelta::days(10), false));
    };
    site.server.before("/calls", 2, edit);
    run(&site).run();
    run(&site).complete();
    site.assert_calls(site.now);
}

#[test]
fn many_runs_of_changes_end_with_the_sources_content() {
    let site = Site::exported();
    let mut now = site.now;
    for night in 1..=3 {
        now += TimeDelta::hours(24);
        site.workspace.advance(now - TimeDelta::hours(1));
        let ids = site.workspace.ids_before(now, false);
        let pick = |at: usize| ids[at * 7919 % ids.len()].as_str();
        let changed = now - TimeDelta::hours(1);
        site.workspace.set_status(pick(night), "POST_PROCESSING_DONE", changed);
        site.workspace.reschedule(pick(night + 10), now - TimeDelta::hours(30), false);
        site.workspace.edit_silently(pick(night + 20), "title", json!(format!("night {night}")));
        site.workspace.delete_call(pick(night + 30));
        run(&site).at(now).full().complete();
        site.assert_calls(now);
    }
}
