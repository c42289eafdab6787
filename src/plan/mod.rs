//! The plan: what a run requests.
//!
//! It follows from an endpoint, its newest manifest, and the run's settings with their frozen
//! `now`, and consists of [`Task`]s and of the goal to commit before the first of them. It never
//! depends on what the API answers.

mod granularity;
pub mod queue;
mod steps;
mod task;
#[cfg(test)]
mod tests;

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
