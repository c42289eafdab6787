//! Steps: a range is cut into windows along calendar boundaries.

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};

use super::task::Task;
use crate::calendar::TimeUnit;
use crate::manifest::Granularity;
use crate::window::{Window, day_of};

/// The length of a window before anything is known about its density.
const WINDOW: TimeDelta = TimeDelta::days(7);

/// A range in calendar steps, oldest first; the first step is the one that contains its beginning.
#[must_use]
pub fn steps(range: Window, step: TimeUnit) -> Vec<Window> {
    let mut steps = Vec::new();
    let mut from = step.floor(range.from);
    while from < range.to {
        let to = step.next(from).unwrap_or(range.to).min(range.to);
        steps.push(Window::new(from, to));
        from = to;
    }
    steps
}

/// The UTC day of an instant, in days since 1970.
#[must_use]
pub fn day(instant: DateTime<Utc>) -> i32 {
    day_of(instant.date_naive())
}

pub(super) fn days(range: Window, step: TimeUnit) -> Vec<Task> {
    let day = |window: Window| Task::Day { window, day: day(window.from) };
    steps(range, step).into_iter().map(day).collect()
}

/// A range in calendar steps, newest first, none of which begins before the range.
pub(super) fn clipped_steps(range: Window, step: TimeUnit) -> Vec<Window> {
    let clipped = |it: Window| Window::new(it.from.max(range.from), it.to);
    steps(range, step).into_iter().rev().map(clipped).collect()
}

/// The range in calendar windows, newest first: weeks of whole days, or months if partitions are
/// monthly, so that few windows fill a partition.
pub(super) fn pieces(range: Window, granularity: Granularity) -> Vec<Window> {
    let mut pieces = Vec::new();
    let mut to = range.to;
    while range.from < to {
        let begin = match granularity {
            Granularity::Day => (to - WINDOW).date_naive(),
            Granularity::Month => {
                let last = (to - TimeDelta::microseconds(1)).date_naive();
                last.with_day(1).unwrap_or(last)
            }
        };
        let begin = begin.and_time(NaiveTime::MIN).and_utc();
        let from = if begin < to { begin.max(range.from) } else { range.from };
        pieces.push(Window::new(from, to));
        to = from;
    }
    pieces
}

pub(super) fn non_empty(windows: Vec<Window>) -> Vec<Window> {
    windows.into_iter().filter(|window| !window.is_empty()).collect()
}

pub(super) fn whole_second(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(instant.timestamp(), 0).unwrap_or(instant)
}
