//! The plan: what a run asks for.
//!
//! Enters: an endpoint, its newest manifest, and the run's settings with its frozen `now`.
//! Leaves: [`Task`]s, and the goal to commit before the first of them. Never here: a clock, a
//! request, or anything that depends on what the API answers.

pub mod queue;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::endpoint::{Dated, Endpoint};
use crate::manifest::Manifest;
use crate::span::Span;
use crate::window::Window;
use crate::window::day_of;

/// What the user asked of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// The instant from which everything counts: the run's begin, or `--to`.
    pub now: DateTime<Utc>,
    /// `--from`: list again from here on.
    pub from: Option<DateTime<Utc>>,
    /// How far back records are listed again, to find silent edits.
    pub lookback: TimeDelta,
    /// How far back the first run goes.
    pub first_range: TimeDelta,
    /// List all coverage again.
    pub full: bool,
}

impl RunSettings {
    /// An export as it is every night: the first reaches back 30 days, later ones list the last 7
    /// again.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        let (lookback, first_range) = (TimeDelta::days(7), TimeDelta::days(30));
        Self { now, from: None, lookback, first_range, full: false }
    }
}

/// One thing to ask for, independent of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// All records whose time is in the window.
    List(Window),
    /// All records with a time before `before` that changed since the instant.
    Modified {
        /// Changes before this are known.
        since: DateTime<Utc>,
        /// Only records that have begun by then.
        before: DateTime<Utc>,
    },
    /// The records of one day's window; `day` in days since 1970.
    Day {
        /// The day, or the part of it that has passed.
        window: Window,
        /// The day that dates them.
        day: i32,
    },
    /// Everything there is, as of this day; in days since 1970.
    Snapshot {
        /// The day that dates them.
        day: i32,
    },
}

impl Task {
    /// What is completely in the lake once the task is done.
    #[must_use]
    pub fn covers(&self) -> Option<Window> {
        match self {
            Self::List(window) | Self::Day { window, .. } => Some(*window),
            Self::Modified { .. } | Self::Snapshot { .. } => None,
        }
    }
}

/// How much the modified scan reaches back behind the watermark.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// How much time one window holds before anything is known of its density.
const WINDOW: TimeDelta = TimeDelta::days(7);

/// What an export asks of `endpoint`, whose newest manifest is `manifest`.
#[must_use]
pub fn export(
    endpoint: &Endpoint,
    manifest: Option<&Manifest>,
    settings: &RunSettings,
) -> Vec<Task> {
    if endpoint.dated == Dated::Run {
        return snapshot(manifest, settings);
    }
    let ranges = ranges(endpoint, manifest, settings);
    if endpoint.dated == Dated::Window {
        let mut days: Vec<Task> = ranges.into_iter().flat_map(days).collect();
        days.dedup();
        return days;
    }
    let modified = manifest.filter(|_| endpoint.modified.is_some()).and_then(|it| it.watermark);
    let modified =
        modified.map(|since| Task::Modified { since: since - OVERLAP, before: settings.now });
    let lists = ranges.into_iter().flat_map(pieces).map(Task::List);
    modified.into_iter().chain(lists).collect()
}

/// What the run will have covered when it is complete, to be committed before its first request.
#[must_use]
pub fn goal(
    endpoint: &Endpoint,
    manifest: Option<&Manifest>,
    settings: &RunSettings,
) -> Vec<Window> {
    match endpoint.dated {
        Dated::Run => Vec::new(),
        Dated::Field { .. } | Dated::Window => ranges(endpoint, manifest, settings),
    }
}

/// The ranges to list: the re-list, what is missing of older goals, and what was asked for.
fn ranges(endpoint: &Endpoint, manifest: Option<&Manifest>, settings: &RunSettings) -> Vec<Window> {
    let now = settings.now;
    let Some(manifest) = manifest.filter(|it| !it.goal.is_empty() || !it.coverage.is_empty())
    else {
        let from = settings.from.unwrap_or(now - settings.first_range);
        return non_empty(vec![Window::new(whole_second(from), now)]);
    };
    let relist = if let (true, Some(first)) = (settings.full, manifest.coverage.windows().first()) {
        first.from
    } else {
        let lookback = now - endpoint.lookback.map_or(settings.lookback, Span::delta);
        manifest.coverage.end().map_or(lookback, |end| end.min(lookback))
    };
    let goals = manifest.goal.windows().iter();
    let missing = goals.flat_map(|goal| manifest.coverage.gaps(*goal));
    let missing = missing.map(|gap| Window::new(gap.from, gap.to.min(now)));
    let asked = settings.from.map(|from| Window::new(from, now));
    // Whole days, so that what a complete list lacks is known by its day.
    let relist = Window::new(relist.date_naive().and_time(NaiveTime::MIN).and_utc(), now);
    let all = missing.chain(asked).chain([relist]).filter(|window| !window.is_empty());
    all.collect::<crate::window::Coverage>().windows().to_vec()
}

fn snapshot(manifest: Option<&Manifest>, settings: &RunSettings) -> Vec<Task> {
    let today = settings.now.date_naive();
    let newest = manifest.and_then(|it| it.partitions.keys().next_back().cloned());
    let newer = newest.is_some_and(|newest| newest > today.format("%Y-%m-%d").to_string());
    // A past `--to` never writes a snapshot behind the newest: it would show today's state as
    // that of a day gone by.
    if newer { Vec::new() } else { vec![Task::Snapshot { day: day_of(today) }] }
}

fn days(window: Window) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut date = window.from.date_naive();
    loop {
        let from = date.and_time(NaiveTime::MIN).and_utc();
        let Some(next) = date.succ_opt() else { return tasks };
        let to = next.and_time(NaiveTime::MIN).and_utc().min(window.to);
        if from >= to {
            return tasks;
        }
        tasks.push(Task::Day { window: Window::new(from, to), day: day_of(date) });
        date = next;
    }
}

fn pieces(range: Window) -> Vec<Window> {
    let mut pieces = Vec::new();
    let mut to = range.to;
    while range.from < to {
        let from = (to - WINDOW).max(range.from);
        pieces.push(Window::new(from, to));
        to = from;
    }
    pieces
}

fn non_empty(windows: Vec<Window>) -> Vec<Window> {
    windows.into_iter().filter(|window| !window.is_empty()).collect()
}

fn whole_second(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(instant.timestamp(), 0).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Catalogue;
    use crate::manifest::Granularity;
    use crate::window::Coverage;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
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

    /// P1: the windows of a first run tile the last thirty days exactly.
    #[test]
    fn the_first_run_lists_the_last_thirty_days() {
        let catalogue = Catalogue::built_in().unwrap();
        let settings = settings("2026-11-23T12:00:00Z");
        let tasks = export(catalogue.find("calls").unwrap(), None, &settings);
        let covered: Coverage = tasks.iter().filter_map(Task::covers).collect();
        assert_eq!(covered.windows(), [Window::new(at("2026-10-24T12:00:00Z"), settings.now)]);
        assert_eq!(tasks.len(), 5);
    }

    /// P1: a night after a long pause lists the pause, not just the lookback.
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

    /// P3: what an interrupted run left of its goal is part of the next one.
    #[test]
    fn an_unfinished_goal_is_finished() {
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

    /// A day is one window, today's ends now, and no snapshot is dated before the newest.
    #[test]
    fn days_and_snapshots_follow_the_calendar() {
        let catalogue = Catalogue::built_in().unwrap();
        let scorecards = catalogue.find("scorecards").unwrap();
        let tasks = export(scorecards, None, &settings("2026-11-23T12:00:00Z"));
        assert_eq!(tasks.len(), 31);
        let last = tasks.last().and_then(Task::covers).unwrap();
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
}
