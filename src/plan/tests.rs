//! What a run requests, given an endpoint, its manifest and the settings.

use super::*;
use crate::endpoint::Catalogue;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn export(endpoint: &Endpoint, manifest: Option<&Manifest>, settings: &RunSettings) -> Vec<Task> {
    tasks(endpoint, manifest, settings).into_iter().map(|planned| planned.task).collect()
}

fn settings(now: &str) -> RunSettings {
    RunSettings::new(at(now))
}

fn manifest(endpoint: &Endpoint, covered: &[(&str, &str)]) -> Manifest {
    let mut manifest = Manifest::new(&endpoint.name, endpoint.schema(), Granularity::Day);
    let windows = covered.iter().map(|(from, to)| Window::new(at(from), at(to)));
    manifest.coverage = windows.collect();
    manifest.goal = manifest.coverage.clone();
    manifest
}

/// P1: the windows of a first run cover the last thirty days exactly.
#[test]
fn the_first_run_lists_the_last_thirty_days() {
    let catalogue = Catalogue::built_in().unwrap();
    let settings = settings("2026-11-23T12:00:00Z");
    let tasks = export(catalogue.find("calls").unwrap(), None, &settings);
    let covered: Coverage = tasks.iter().filter_map(Task::covers).collect();
    assert_eq!(covered.windows(), [Window::new(at("2026-10-24T12:00:00Z"), settings.now)]);
    assert_eq!(tasks.len(), 5);
}

/// P1: a run after a long pause lists the whole pause, not just the lookback.
#[test]
fn a_later_run_lists_from_the_end_of_coverage_or_the_lookback() {
    let catalogue = Catalogue::built_in().unwrap();
    let calls = catalogue.find("calls").unwrap();
    let mut old = manifest(calls, &[("2026-01-01T00:00:00Z", "2026-11-01T00:00:00Z")]);
    old.watermark = Some(at("2026-10-31T20:00:00Z"));
    let tasks = export(calls, Some(&old), &settings("2026-11-23T12:00:00Z"));
    let since = at("2026-10-31T19:00:00Z");
    assert_eq!(tasks[0], Task::Modified { since, before: at("2026-11-23T12:00:00Z") });
    let covered: Coverage = tasks.iter().filter_map(Task::covers).collect();
    let whole = Window::new(at("2026-11-01T00:00:00Z"), at("2026-11-23T12:00:00Z"));
    assert_eq!(covered.windows(), [whole]);
    let recent = manifest(calls, &[("2026-01-01T00:00:00Z", "2026-11-23T00:00:00Z")]);
    let tasks = export(calls, Some(&recent), &settings("2026-11-23T12:00:00Z"));
    let covered: Coverage = tasks.iter().filter_map(Task::covers).collect();
    assert_eq!(covered.windows()[0].from, at("2026-11-16T00:00:00Z"));
}

/// P3: what an interrupted run left of its goal is part of the next run's goal.
#[test]
fn an_incomplete_goal_is_completed() {
    let catalogue = Catalogue::built_in().unwrap();
    let calls = catalogue.find("calls").unwrap();
    let mut broken = manifest(calls, &[("2026-11-10T00:00:00Z", "2026-11-23T00:00:00Z")]);
    let whole = Window::new(at("2026-10-01T00:00:00Z"), at("2026-11-23T00:00:00Z"));
    broken.goal.add(whole);
    let tasks = export(calls, Some(&broken), &settings("2026-11-23T12:00:00Z"));
    let mut covered: Coverage = tasks.iter().filter_map(Task::covers).collect();
    broken.coverage.windows().iter().for_each(|window| covered.add(*window));
    assert!(covered.covers(whole));
}

/// P1: another run's goal with no coverage yet is no reason to list less than a first export
/// does.
#[test]
fn a_first_export_beside_another_lists_up_to_what_the_other_lists() {
    let catalogue = Catalogue::built_in().unwrap();
    let calls = catalogue.find("calls").unwrap();
    let mut beside = manifest(calls, &[]);
    beside.goal.add(Window::new(at("2026-09-14T00:00:00Z"), at("2026-10-20T00:00:00Z")));
    let tasks = export(calls, Some(&beside), &settings("2026-11-23T12:00:00Z"));
    let covered: Coverage = tasks.iter().filter_map(Task::covers).collect();
    let whole = Window::new(at("2026-09-14T00:00:00Z"), at("2026-11-23T12:00:00Z"));
    assert_eq!(covered.windows(), [whole]);
}

/// P1: whatever the step, the windows cover the range exactly, and each is within one step.
#[test]
fn steps_of_the_calendar_tile_a_range() {
    let range = Window::new(at("2026-01-30T10:30:00Z"), at("2026-03-02T05:00:00Z"));
    for (step, count) in [
        (TimeUnit::Hour, 739),
        (TimeUnit::Day, 32),
        (TimeUnit::Week, 6),
        (TimeUnit::Month, 3),
        (TimeUnit::Year, 1),
    ] {
        let pieces = clipped_steps(range, step);
        let covered: Coverage = pieces.iter().copied().collect();
        assert_eq!((covered.windows(), pieces.len()), (&[range][..], count), "{step:?}");
        let last = |it: &Window| it.to - TimeDelta::seconds(1);
        assert!(pieces.iter().all(|it| step.floor(it.from) == step.floor(last(it))));
    }
}

/// An endpoint without windows is read as a whole until its changes can be requested.
#[test]
fn without_windows_everything_is_requested_or_the_changes() {
    let text = "description = 'd'\npath = '/x'\nrecords = '$[*]'\nkey = ['id']\n\
        dated = { by = 'field', field = 'at' }\nmodified = { from = 'since', field = 'at' }\n\
        column = [{ name = 'id', type = 'string' }, { name = 'at', type = 'timestamp' }]";
    let endpoint = Endpoint::from_toml("x", text).unwrap();
    let mut settings = settings("2026-11-23T12:00:00Z");
    assert_eq!(export(&endpoint, None, &settings), [Task::All]);
    assert_eq!(goal(&endpoint, None, &settings), []);
    let mut known = manifest(&endpoint, &[]);
    known.watermark = Some(at("2026-11-20T00:00:00Z"));
    let (since, before) = (at("2026-11-19T23:00:00Z"), settings.now);
    let changed = Task::Modified { since, before };
    assert_eq!(export(&endpoint, Some(&known), &settings), [changed]);
    settings.full = true;
    assert_eq!(export(&endpoint, Some(&known), &settings), [changed, Task::All]);
}

/// P1: for a daily aggregate, a run never requests only half of what is known of a day, and if
/// a request covers more than a day, never one day of it alone.
#[test]
fn a_day_is_listed_as_far_as_it_is_known() {
    let catalogue = Catalogue::built_in().unwrap();
    let mut stats = catalogue.find("user_stats").unwrap().clone();
    let known = manifest(&stats, &[("2026-11-01T00:00:00Z", "2026-11-23T18:00:00Z")]);
    let past = settings("2026-11-22T09:00:00Z");
    let days = export(&stats, Some(&known), &past);
    let newest = days.first().and_then(Task::covers).unwrap();
    assert_eq!(newest, Window::new(at("2026-11-22T00:00:00Z"), at("2026-11-23T00:00:00Z")));
    let today = export(&stats, Some(&known), &settings("2026-11-23T09:00:00Z"));
    let newest = today.first().and_then(Task::covers).unwrap();
    assert_eq!(newest.to, at("2026-11-23T18:00:00Z"), "as far as it is covered");
    let changed = day_of(at("2026-11-05T00:00:00Z").date_naive());
    for (step, from, to) in [
        (TimeUnit::Day, "2026-11-05T00:00:00Z", "2026-11-06T00:00:00Z"),
        (TimeUnit::Month, "2026-11-01T00:00:00Z", "2026-11-23T18:00:00Z"),
    ] {
        stats.window.as_mut().unwrap().step = Some(step);
        let mut tasks = Vec::new();
        add_days(&mut tasks, &stats, &[changed, changed], &known);
        let windows: Vec<_> = tasks.iter().filter_map(|it| it.task.covers()).collect();
        assert_eq!(windows, [Window::new(at(from), at(to))], "{step:?}");
    }
}

/// A day is one window, today's ends now, and no snapshot is dated before the newest.
#[test]
fn days_and_snapshots_follow_the_calendar() {
    let catalogue = Catalogue::built_in().unwrap();
    let scorecards = catalogue.find("scorecards").unwrap();
    let tasks = export(scorecards, None, &settings("2026-11-23T12:00:00Z"));
    assert_eq!(tasks.len(), 31);
    let last = tasks.first().and_then(Task::covers).unwrap();
    assert_eq!(last, Window::new(at("2026-11-23T00:00:00Z"), at("2026-11-23T12:00:00Z")));
    let users = catalogue.find("users").unwrap();
    let mut manifest = manifest(users, &[]);
    let entry = crate::manifest::PartitionEntry {
        object: String::new(),
        rows: 0,
        bytes: 0,
        etag: String::new(),
        sha256: String::new(),
        schema: String::new(),
    };
    manifest.partitions.insert("2026-11-22".to_owned(), entry);
    assert_eq!(export(users, Some(&manifest), &settings("2026-11-23T12:00:00Z")).len(), 1);
    assert_eq!(export(users, Some(&manifest), &settings("2026-11-21T12:00:00Z")).len(), 0);
}

fn covered_by(planned: &[Planned], purpose: Purpose) -> Coverage {
    let of = planned.iter().filter(|planned| planned.purpose == purpose);
    of.filter_map(|planned| planned.task.covers()).collect()
}

/// P7: a backfill requests its range except what is covered, newest first, and an export
/// continues with the rest, using the backfill's share.
#[test]
fn a_backfill_requests_uncovered_ranges_and_an_export_continues_it() {
    let catalogue = Catalogue::built_in().unwrap();
    let calls = catalogue.find("calls").unwrap();
    let now = "2026-11-23T12:00:00Z";
    let range = Window::new(at("2025-01-01T00:00:00Z"), at(now));
    let backfill = RunSettings { backfill: Some(range), ..settings(now) };
    let known = manifest(calls, &[("2026-10-01T00:00:00Z", now)]);
    let planned = tasks(calls, Some(&known), &backfill);
    assert!(covered_by(&planned, Purpose::Incremental).is_empty());
    let left = Window::new(range.from, at("2026-10-01T00:00:00Z"));
    assert_eq!(covered_by(&planned, Purpose::Backfill).windows(), [left]);
    let ends: Vec<_> = planned.iter().filter_map(|it| it.task.covers()).map(|it| it.to).collect();
    assert!(ends.is_sorted_by(|a, b| a > b), "the newest first");
    let mut stopped = known;
    stopped.goal.add(range);
    stopped.backfill.add(range);
    stopped.coverage.add(Window::new(at("2026-05-01T00:00:00Z"), at("2026-10-01T00:00:00Z")));
    let planned = tasks(calls, Some(&stopped), &settings(now));
    let left = Window::new(range.from, at("2026-05-01T00:00:00Z"));
    assert_eq!(covered_by(&planned, Purpose::Backfill).windows(), [left]);
    let relist = Window::new(at("2026-11-16T00:00:00Z"), at(now));
    assert_eq!(covered_by(&planned, Purpose::Incremental).windows(), [relist]);
}

/// The windows of a range cover it exactly, whatever its edges, and split a day or month only
/// at those edges.
#[test]
fn pieces_tile_their_range_along_the_calendar() {
    let range = Window::new(at("2024-02-03T10:30:00Z"), at("2026-11-23T12:00:01Z"));
    for (granularity, count) in [(Granularity::Day, 147), (Granularity::Month, 34)] {
        let pieces = pieces(range, granularity);
        assert_eq!(pieces.iter().copied().collect::<Coverage>().windows(), [range]);
        assert_eq!(pieces.len(), count);
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].from, pair[1].to);
            assert_eq!(pair[0].from.time(), NaiveTime::MIN);
        }
    }
}
