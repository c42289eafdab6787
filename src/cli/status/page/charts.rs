//! The charts: bars, and paths of bars.
//!
//! Computes each bar's position, class and text from counts. Markup is in the template.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use super::super::super::output::number;
use crate::manifest::Queue;
use crate::status::{Run, TableStatus};

/// The width of a chart.
const WIDTH: u64 = 720;
/// The maximum height of a child table's bars.
const HEIGHT: u64 = 92;
/// The baseline of a child table's bars.
const GROUND: u64 = 100;
/// The maximum height of the runs' bars, and their baseline.
const RUN_HEIGHT: u64 = 54;
const RUN_GROUND: u64 = 60;

/// The meaning of a shade or pattern.
pub(super) struct Key {
    pub(super) class: &'static str,
    pub(super) meaning: String,
}

impl Key {
    pub(super) fn new(class: &'static str, meaning: &str) -> Self {
        Self { class, meaning: meaning.to_owned() }
    }
}

/// The progress of a child table's records.
pub(super) struct ChainChart {
    pub(super) title: String,
    pub(super) sentence: String,
    pub(super) alternative: String,
    pub(super) width: u64,
    pub(super) bars: Vec<StackedBar>,
    pub(super) labels: Vec<Label>,
    pub(super) legend: Vec<Key>,
}

/// The bar of one month.
pub(super) struct StackedBar {
    pub(super) x: u64,
    pub(super) width: u64,
    pub(super) title: String,
    pub(super) parts: Vec<Part>,
}

/// One segment of it.
pub(super) struct Part {
    pub(super) y: u64,
    pub(super) height: u64,
    pub(super) class: &'static str,
}

/// A label below the axis.
pub(super) struct Label {
    pub(super) x: u64,
    pub(super) name: String,
}

/// The bar of one run.
pub(super) struct RunBar {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) height: u64,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// The states of records that are looked up one by one: class, name, count.
fn states(queue: Queue) -> [(&'static str, &'static str, u64); 4] {
    [
        ("l3", "complete", queue.settled),
        ("p", "pending, requested in the next run", queue.pending),
        ("k", "parked, not complete yet", queue.parked),
        ("u", "unavailable, not requested any more", queue.unavailable),
    ]
}

impl ChainChart {
    /// The chart of a table; none if it has no such records.
    pub(super) fn new(table: &TableStatus) -> Option<Self> {
        let queue = table.queue.filter(|queue| total(*queue) > 0)?;
        let months = by_month(&table.queues);
        let most = months.values().map(|queue| total(*queue)).max().unwrap_or_default().max(1);
        let step = (WIDTH / months.len().max(1) as u64).clamp(2, 36);
        let bar = |(at, (month, queue)): (usize, (&NaiveDate, &Queue))| {
            stacked(at as u64 * step, step, *month, *queue, most)
        };
        let present = |(class, name, count): (&'static str, &str, u64)| {
            (count > 0).then(|| Key::new(class, &format!("{name}: {}", number(count))))
        };
        let sentence = sentence(queue);
        Some(Self {
            title: format!("{} by month", table.endpoint),
            alternative: format!("{} by month: {sentence}", table.endpoint),
            sentence,
            width: if step < 24 { step * months.len() as u64 } else { WIDTH },
            bars: months.iter().enumerate().map(bar).collect(),
            labels: labels(months.keys().copied(), step),
            legend: states(queue).into_iter().filter_map(present).collect(),
        })
    }
}

fn total(queue: Queue) -> u64 {
    queue.settled + queue.pending + queue.parked + queue.unavailable
}

fn sentence(queue: Queue) -> String {
    let all = total(queue);
    let percent = 100.0 * ratio(queue.settled, all);
    // Rounding never turns a part into 100 %.
    let percent = if queue.settled < all { (percent * 10.0).floor() / 10.0 } else { percent };
    format!("{} of {} are complete ({percent:.1}%).", number(queue.settled), number(all))
}

/// The sums per month, including months without any.
fn by_month(queues: &BTreeMap<String, Queue>) -> BTreeMap<NaiveDate, Queue> {
    let mut months: BTreeMap<NaiveDate, Queue> = BTreeMap::new();
    for (dt, queue) in queues {
        let month = dt.parse::<NaiveDate>().ok().and_then(|day| day.with_day(1));
        if let Some(month) = month.filter(|_| total(*queue) > 0) {
            *months.entry(month).or_default() += *queue;
        }
    }
    with_all_between(months)
}

/// The same months, with empty ones filled in between.
fn with_all_between<T: Default>(mut months: BTreeMap<NaiveDate, T>) -> BTreeMap<NaiveDate, T> {
    let ends = months.keys().next().copied().zip(months.keys().next_back().copied());
    let Some((mut month, last)) = ends else { return months };
    while month < last {
        months.entry(month).or_default();
        month = month + chrono::Months::new(1);
    }
    months
}

fn stacked(x: u64, step: u64, month: NaiveDate, queue: Queue, most: u64) -> StackedBar {
    let mut top = GROUND;
    let mut parts = Vec::new();
    for (class, _, count) in states(queue).into_iter().filter(|(.., count)| *count > 0) {
        let height = (count * HEIGHT / most).max(1).min(top);
        top -= height;
        parts.push(Part { y: top, height, class });
    }
    let said = states(queue).into_iter().filter(|(.., count)| *count > 0);
    let short = |name: &'static str| name.split(',').next().unwrap_or(name);
    let said: Vec<_> =
        said.map(|(_, name, count)| format!("{} {}", number(count), short(name))).collect();
    let title = format!("{}: {}", month.format("%B %Y"), said.join(", "));
    StackedBar { x, width: step - (step / 5).max(1), title, parts }
}

/// The years below their Januaries; in a short chart, the months.
fn labels(months: impl Iterator<Item = NaiveDate>, step: u64) -> Vec<Label> {
    let by_year = step < 24;
    let months: Vec<_> = months.enumerate().collect();
    let wanted = months.iter().filter(|(at, month)| !by_year || *at == 0 || month.month() == 1);
    let mut labels: Vec<Label> = Vec::new();
    for (at, month) in wanted {
        let name = if by_year { month.format("%Y") } else { month.format("%b") };
        let x = *at as u64 * step;
        // Labels must not overlap: the later one is a January.
        labels.pop_if(|before| x - before.x < 30);
        labels.push(Label { x, name: name.to_string() });
    }
    labels
}

/// A table's rows by month as one path, and in words.
pub(super) fn spark(table: &TableStatus) -> (String, String) {
    let mut months: BTreeMap<NaiveDate, u64> = BTreeMap::new();
    for (dt, held) in &table.held {
        if let Some(month) = dt.parse::<NaiveDate>().ok().and_then(|day| day.with_day(1)) {
            *months.entry(month).or_default() += held.rows;
        }
    }
    let months = with_all_between(months);
    let most = months.values().copied().max().unwrap_or_default().max(1);
    let step = (144 / months.len().max(1) as u64).clamp(1, 12);
    let width = if step > 2 { step - 1 } else { step };
    let mut path = String::new();
    for (at, rows) in months.values().enumerate().filter(|(_, rows)| **rows > 0) {
        let height = (rows * 20 / most).max(1);
        path.push_str(&format!("M{} 22v-{height}h{width}v{height}z", at as u64 * step));
    }
    let ends = months.keys().next().zip(months.keys().next_back());
    let words = ends.map_or("no dated rows".to_owned(), |(first, last)| {
        let span = format!("{} to {}", first.format("%b %Y"), last.format("%b %Y"));
        format!("rows by month, {span}, at most {}", number(most))
    });
    (path, words)
}

/// The runs as bars, oldest first, and in words.
pub(super) fn runs(runs: &[Run], most_shown: usize) -> (Vec<RunBar>, String) {
    let most = runs.iter().map(|run| run.requests).max().unwrap_or_default().max(1);
    let first = most_shown.saturating_sub(runs.len());
    let bar = |(at, run): (usize, &Run)| {
        let height = (run.requests * RUN_HEIGHT / most).max(2);
        let outcome = if run.complete { "complete" } else { "incomplete" };
        let began = run.started_at.format("%Y-%m-%d %H:%M");
        RunBar {
            x: (first + at) as u64 * 24,
            y: RUN_GROUND - height,
            height,
            class: if run.complete { "l3" } else { "f" },
            title: format!(
                "{began}: {}, {outcome}, {} requests",
                run.command,
                number(run.requests)
            ),
        }
    };
    let bars = runs.iter().rev().enumerate().map(bar).collect();
    let failed = runs.iter().filter(|run| !run.complete).count();
    let words =
        format!("The requests of the last {} runs, of which {failed} were incomplete", runs.len());
    (bars, words)
}

/// `part / whole`, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a share to be shown")]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_without_records_appear_between_those_with() {
        let queue = |settled| Queue { settled, ..Queue::default() };
        let days = [("2025-11-03", 2), ("2025-11-09", 3), ("2026-02-01", 1), ("__HIVE__", 9)];
        let queues = days.map(|(dt, settled)| (dt.to_owned(), queue(settled))).into();
        let months: Vec<_> = by_month(&queues).values().map(|queue| queue.settled).collect();
        assert_eq!(months, [5, 0, 0, 1]);
    }

    #[test]
    fn an_incomplete_share_is_never_shown_as_a_hundred_percent() {
        let queue = Queue { settled: 99_999, pending: 1, ..Queue::default() };
        assert_eq!(sentence(queue), "99,999 of 100,000 are complete (99.9%).");
    }
}
