//! The plan: what a run requests.
//!
//! It follows from an endpoint, its newest manifest, and the run's settings with their frozen
//! `now`, and consists of [`Task`]s and of the goal to commit before the first of them. It never
//! depends on what the API answers.

mod granularity;
pub mod queue;
mod steps;
mod task;

use std::borrow::Cow;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

pub use self::granularity::{ADVICE, Suited, suited};
use self::steps::{clipped_steps, days, non_empty, pieces, whole_second};
pub use self::steps::{day, steps};
pub use self::task::{Planned, Task};
use crate::calendar::TimeUnit;
use crate::config::{Deletes, FullRelist};
use crate::endpoint::{Dated, Endpoint, WindowParameters};
use crate::manifest::{Granularity, LostPartition, Manifest, Purpose};
use crate::partition::Partition;
use crate::span::Span;
use crate::window::{Coverage, Window, date_of, day_of};

/// What the user requested of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent choice")]
pub struct RunSettings {
    /// The run's reference time: when it began, or `--to`.
    pub now: DateTime<Utc>,
    /// Whether `now` was taken from this machine's clock, which replies may correct, rather than
    /// set by the user.
    pub by_clock: bool,
    /// `--from`: list again from this time on.
    pub from: Option<DateTime<Utc>>,
    /// How far back records are listed again, to find silent edits.
    pub lookback: TimeDelta,
    /// How far back the first run goes.
    pub first_range: TimeDelta,
    /// List all coverage again.
    pub full: bool,
    /// Complete this range, and what earlier backfills left unfinished, instead of an export.
    pub backfill: Option<Window>,
    /// Request again the records read by look-up whose parents are in the backfill's range.
    pub refetch: bool,
    /// `--id`: request the children of these parents, and nothing else.
    pub ids: Vec<String>,
    /// How often everything is listed again automatically.
    pub full_relist: FullRelist,
    /// What happens to rows whose records are gone.
    pub deletes: Deletes,
    /// At the end, add columns for what has accumulated in `extra_json`.
    pub evolve: bool,
}

impl RunSettings {
    /// A regular incremental export: the first one reaches back 30 days, later ones list the last 7
    /// days again.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            by_clock: false,
            from: None,
            lookback: TimeDelta::days(7),
            first_range: TimeDelta::days(30),
            full: false,
            full_relist: FullRelist::Never,
            deletes: Deletes::Mark,
            backfill: None,
            refetch: false,
            ids: Vec::new(),
            evolve: false,
        }
    }

    /// The same settings with the corrected time: if the run uses this machine's clock, every range
    /// that ended at the old time ends at the new one.
    #[must_use]
    pub fn corrected(&self, now: DateTime<Utc>) -> Self {
        if !self.by_clock {
            return self.clone();
        }
        let now = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
        let end = |window: Window| {
            let to = if window.to >= self.now { now } else { window.to.min(now) };
            Window::new(window.from, to)
        };
        Self { now, backfill: self.backfill.map(end), ..self.clone() }
    }
}

/// How far the scan for changes reaches back before the watermark.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// How long until everything is listed again.
const MONTH: TimeDelta = TimeDelta::days(30);

/// What a run requests from `endpoint`, whose newest manifest is `manifest`: first what changed and
/// what is new, then what backfills left unfinished, newest first.
#[must_use]
pub fn tasks(
    endpoint: &Endpoint,
    manifest: Option<&Manifest>,
    settings: &RunSettings,
) -> Vec<Planned> {
    let believed = believed(manifest, settings);
    let manifest = believed.as_deref();
    if endpoint.dated == Dated::Run {
        return if settings.backfill.is_some() { Vec::new() } else { snapshot(manifest, settings) };
    }
    let Some(window) = &endpoint.window else { return unwindowed(endpoint, manifest, settings) };
    if endpoint.is_of_ranges() {
        let task = Task::Range(range(window, settings));
        return vec![Planned { task, purpose: Purpose::Incremental }];
    }
    let granularity = manifest.map_or(Granularity::Day, |manifest| manifest.granularity);
    let incremental: Coverage = incremental(endpoint, manifest, settings).into_iter().collect();
    let left = left_of_backfills(manifest, &incremental, settings);
    let lists = |windows: &[Window]| -> Vec<Task> {
        let newest_first = windows.iter().rev().copied();
        if endpoint.dated == Dated::Window {
            let step = day_step(endpoint);
            let days = newest_first.flat_map(|window| days(window, step).into_iter().rev());
            days.map(|task| as_whole_as_known(endpoint, task, manifest)).collect()
        } else {
            let pieces = |range| match window.step {
                Some(step) => clipped_steps(range, step),
                None => pieces(range, granularity),
            };
            newest_first.flat_map(pieces).map(Task::List).collect()
        }
    };
    let incremental =
        modified(endpoint, manifest, settings).into_iter().chain(lists(incremental.windows()));
    let incremental = incremental.map(|task| Planned { task, purpose: Purpose::Incremental });
    let left = lists(left.windows()).into_iter();
    incremental.chain(left.map(|task| Planned { task, purpose: Purpose::Backfill })).collect()
}

/// The range that a run requests as a whole: that of `--from` and `--to`, or the last days.
fn range(window: &WindowParameters, settings: &RunSettings) -> Window {
    let unit = window.resolution();
    let asked = settings.backfill.unwrap_or_else(|| {
        Window::new(settings.from.unwrap_or(settings.now - settings.first_range), settings.now)
    });
    Window::new(unit.floor(asked.from), unit.ceil(asked.to.min(settings.now)))
}

/// What a run requests from an endpoint without windows: everything, until its changes can be
/// requested. It has no history that a backfill could request separately.
fn unwindowed(
    endpoint: &Endpoint,
    manifest: Option<&Manifest>,
    settings: &RunSettings,
) -> Vec<Planned> {
    if settings.backfill.is_some() {
        return Vec::new();
    }
    // Changes since then are only meaningful once everything was listed.
    let listed = manifest.is_some_and(|it| it.watermark.is_some());
    let modified = modified(endpoint, manifest, settings).filter(|_| listed);
    // What was lost is read again together with the rest.
    let has_lost = manifest.is_some_and(|it| it.lost.values().any(|lost| !lost.requested));
    let is_all = modified.is_none() || has_lost || lists_all(manifest, settings);
    let all = is_all.then_some(Task::All);
    let tasks = modified.into_iter().chain(all);
    tasks.map(|task| Planned { task, purpose: Purpose::Incremental }).collect()
}

/// What the run will have covered when it is complete; committed before its first request.
#[must_use]
pub fn goal(
    endpoint: &Endpoint,
    manifest: Option<&Manifest>,
    settings: &RunSettings,
) -> Vec<Window> {
    if endpoint.window.is_none() || endpoint.is_of_ranges() {
        return Vec::new();
    }
    let believed = believed(manifest, settings);
    let manifest = believed.as_deref();
    match settings.backfill {
        Some(window) => non_empty(vec![Window::new(window.from, window.to.min(settings.now))]),
        None => incremental(endpoint, manifest, settings),
    }
}

/// The part of a manifest that a run trusts: if the run uses the clock, nothing dated in the
/// future.
fn believed<'m>(
    manifest: Option<&'m Manifest>,
    settings: &RunSettings,
) -> Option<Cow<'m, Manifest>> {
    let now = settings.now;
    manifest.map(|it| if settings.by_clock { it.as_of(now) } else { Cow::Borrowed(it) })
}

/// The scan for changes, once there is something that can change.
fn modified(
    endpoint: &Endpoint,
    manifest: Option<&Manifest>,
    settings: &RunSettings,
) -> Option<Task> {
    let is_export = endpoint.modified.is_some() && settings.backfill.is_none();
    let known = manifest.filter(|_| is_export)?;
    // If the first listing took several runs, records listed in its first run may have changed
    // since.
    let since = known.watermark.or(known.begun_at)? - OVERLAP;
    Some(Task::Modified { since, before: settings.now })
}

/// Whether a run lists everything that the table covers: because the user requested it, or because
/// the last time was a month ago, which limits how long a silent edit goes unnoticed.
#[must_use]
pub fn lists_all(manifest: Option<&Manifest>, settings: &RunSettings) -> bool {
    let believed = believed(manifest, settings);
    let manifest = believed.as_deref();
    let is_due = |manifest: &Manifest| {
        let is_old = |last: DateTime<Utc>| settings.now - last >= MONTH;
        // An incomplete first export continues where it ended.
        manifest.schema_frozen && manifest.relisted_at.is_none_or(is_old)
    };
    let is_monthly = settings.full_relist == FullRelist::Monthly;
    // Rows without a date may belong to any window.
    let is_lost = |(dt, lost): (&String, &LostPartition)| {
        !lost.requested && dt.parse::<Partition>().is_ok_and(|it| it.date().is_none())
    };
    let has_lost = manifest.is_some_and(|it| it.lost.iter().any(is_lost));
    settings.full || has_lost || (is_monthly && manifest.is_some_and(is_due))
}

/// How much time one request covers where records are dated by windows: a day, or longer.
#[must_use]
pub fn day_step(endpoint: &Endpoint) -> TimeUnit {
    let step = endpoint.window.as_ref().and_then(|window| window.step);
    step.unwrap_or_default().max(TimeUnit::Day)
}

/// If a reply replaces a whole day, the request covers at least the part of the day that is already
/// covered: the first half of a day, as a run with a past `--to` would request it, says nothing
/// about the second half.
fn as_whole_as_known(endpoint: &Endpoint, task: Task, manifest: Option<&Manifest>) -> Task {
    let Task::Day { window, day } = task else { return task };
    let whole = day_step(endpoint).next(window.from).map(|next| Window::new(window.from, next));
    let Some((whole, manifest)) = whole.zip(manifest).filter(|_| endpoint.sums_up_days()) else {
        return task;
    };
    let known = manifest.coverage.common(whole).last().map_or(window.to, |known| known.to);
    Task::Day { window: Window::new(window.from, window.to.max(known)), day }
}

/// Adds days that were listed before and are not listed by these tasks, because the records they
/// aggregate have changed. If one request covers more than a day, its whole range is listed.
pub fn add_days(
    tasks: &mut Vec<Planned>,
    endpoint: &Endpoint,
    changed: &[i32],
    manifest: &Manifest,
) {
    let is_listed = |tasks: &[Planned], changed: i32| {
        tasks.iter().any(|it| matches!(it.task, Task::Day { day, .. } if day == changed))
    };
    let step = day_step(endpoint);
    let covered_to = manifest.coverage.end();
    for day in changed {
        let date = date_of(*day).map(|date| date.and_time(NaiveTime::MIN).and_utc());
        let from = date.map(|date| step.floor(date));
        let to = from.and_then(|from| step.next(from)).min(covered_to);
        let window = from.zip(to).map(|(from, to)| Window::new(from, to));
        let window = window.filter(|it| !it.is_empty() && manifest.coverage.covers(*it));
        let Some(window) = window else { continue };
        let first = steps::day(window.from);
        if !is_listed(tasks, first) {
            let task = Task::Day { window, day: first };
            tasks.push(Planned { task, purpose: Purpose::Incremental });
        }
    }
}

/// The ranges that an export lists: the re-list, what is missing from older goals, and the
/// requested range. A backfill leaves them to the next export.
fn incremental(
    endpoint: &Endpoint,
    manifest: Option<&Manifest>,
    settings: &RunSettings,
) -> Vec<Window> {
    let now = settings.now;
    if settings.backfill.is_some() {
        return Vec::new();
    }
    let Some(manifest) = manifest.filter(|it| !it.goal.is_empty() || !it.coverage.is_empty())
    else {
        let from = settings.from.unwrap_or(now - settings.first_range);
        return non_empty(vec![Window::new(whole_second(from), now)]);
    };
    let full = lists_all(Some(manifest), settings);
    let relist = if let (true, Some(first)) = (full, manifest.coverage.windows().first()) {
        first.from
    } else {
        let lookback = now - endpoint.lookback.map_or(settings.lookback, Span::delta);
        // If nothing is covered, the first export is still to come, whatever else was requested.
        let first = || now - settings.first_range;
        let goal_end = || manifest.goal.end().map_or(first(), |end| end.min(first()));
        manifest.coverage.end().unwrap_or_else(goal_end).min(lookback)
    };
    let missing = missing(manifest, now).into_iter().flat_map(|gap| manifest.backfill.gaps(gap));
    let asked = settings.from.map(|from| Window::new(from, now));
    // Whole days, so that a record missing from a complete list is recognized by its day.
    let relist = Window::new(relist.date_naive().and_time(NaiveTime::MIN).and_utc(), now);
    let all = missing.chain(asked).chain([relist]).filter(|window| !window.is_empty());
    all.collect::<Coverage>().windows().to_vec()
}

/// What backfills were requested to read that is neither covered nor listed by this export.
fn left_of_backfills(
    manifest: Option<&Manifest>,
    incremental: &Coverage,
    settings: &RunSettings,
) -> Coverage {
    let now = settings.now;
    let asked = settings.backfill.map(|window| Window::new(window.from, window.to.min(now)));
    let Some(manifest) = manifest else { return asked.into_iter().collect() };
    let asked = asked.into_iter().flat_map(|window| manifest.coverage.gaps(window));
    let left = missing(manifest, now).into_iter().flat_map(|gap| manifest.backfill.common(gap));
    left.chain(asked).flat_map(|window| incremental.gaps(window)).collect()
}

/// The requested windows that have begun and are not covered.
fn missing(manifest: &Manifest, now: DateTime<Utc>) -> Vec<Window> {
    let gaps = manifest.goal.windows().iter().flat_map(|goal| manifest.coverage.gaps(*goal));
    non_empty(gaps.map(|gap| Window::new(gap.from, gap.to.min(now))).collect())
}

fn snapshot(manifest: Option<&Manifest>, settings: &RunSettings) -> Vec<Planned> {
    let today = settings.now.date_naive();
    let newest = manifest.and_then(|it| it.partitions.keys().next_back().cloned());
    let newer = newest.is_some_and(|newest| newest > today.format("%Y-%m-%d").to_string());
    // A run with a past `--to` never writes a snapshot older than the newest one, which would show
    // today's state under a past date. If the run uses the clock, the newer snapshot was dated by a
    // wrong clock.
    if newer && !settings.by_clock {
        return Vec::new();
    }
    let task = Task::Snapshot { day: day_of(today) };
    vec![Planned { task, purpose: Purpose::Incremental }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Catalogue;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn export(
        endpoint: &Endpoint,
        manifest: Option<&Manifest>,
        settings: &RunSettings,
    ) -> Vec<Task> {
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
        let ends: Vec<_> =
            planned.iter().filter_map(|it| it.task.covers()).map(|it| it.to).collect();
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
}
