//! A status in words, for the text and the page.
//!
//! Turns a status and its concerns into sentences, without tables or markup.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::super::output::{counted, number};
use crate::forecast::Forecast;
use crate::manifest::Granularity;
use crate::schema::Difference;
use crate::status::{Concern, Run, Status, TableStatus};
use crate::window::Window;

/// A status in sentences: whether all is well, and what the operator should know.
pub(super) struct Words {
    /// Whether all is well, in a few words.
    pub(super) headline: String,
    /// What the lake holds, and up to when.
    pub(super) summary: String,
    /// What is wrong.
    pub(super) grave: Vec<String>,
    /// What is good to know.
    pub(super) notes: Vec<String>,
}

impl Words {
    /// A status in sentences, where no table may be older than this many seconds.
    pub(super) fn of(status: &Status, forecast: &Forecast, max_age: i64) -> Self {
        let concerns = status.concerns(max_age);
        let (grave, notes): (Vec<_>, Vec<_>) = concerns.iter().partition(|it| it.is_grave());
        let said = |concerns: Vec<&Concern<'_>>| -> Vec<String> {
            concerns
                .into_iter()
                .map(|concern| sentence(concern, status, forecast, max_age))
                .collect()
        };
        let headline = match grave.len() {
            0 => "All is well.".to_owned(),
            1 => "One thing needs attention.".to_owned(),
            count => format!("{count} things need attention."),
        };
        Self { headline, summary: summary(status), grave: said(grave), notes: said(notes) }
    }
}

/// What the lake holds, and up to when.
fn summary(status: &Status) -> String {
    let rows = status.tables.iter().map(|table| table.rows).sum();
    let calls = status.tables.iter().find(|table| table.endpoint == "calls");
    let (count, of) = calls.map_or((rows, "rows"), |calls| (calls.rows, "calls"));
    let oldest = status.tables.iter().filter_map(|table| table.fresh_to).min();
    let to = calls.and_then(|calls| calls.fresh_to).or(oldest);
    let Some(to) = to else {
        return format!("{} {of}; no export has been complete yet.", number(count));
    };
    let age = duration((status.now - to).num_seconds());
    format!("{} {of}, complete to {}, {age} ago.", number(count), minute(to))
}

fn sentence(concern: &Concern<'_>, status: &Status, forecast: &Forecast, max_age: i64) -> String {
    match concern {
        Concern::Incomplete(run) => incomplete(run),
        Concern::Stale(table) => stale(table, max_age),
        Concern::Gap(table) => gap(table),
        Concern::QuotaSpent => {
            format!("this week's quota is spent; it renews {}", minute(status.week.renewed_at))
        }
        Concern::History(table) => {
            let seconds = table.left_for_backfill.iter().map(|it| (it.to - it.from).num_seconds());
            let left = duration(seconds.sum());
            let by = minute(forecast.complete_at);
            format!(
                "{}: {left} of history left to backfill, complete by about {by}",
                table.endpoint
            )
        }
        Concern::Pending(table, count) => {
            let them = if *count == 1 { "it" } else { "them" };
            format!("{table}: {} pending; the next run requests {them}", number(*count))
        }
        Concern::Unavailable(table, count) => {
            let they = if *count == 1 { "it is" } else { "they are" };
            let count = number(*count);
            format!("{table}: {count} had no content for 14 days, so {they} not requested any more")
        }
        Concern::Evolvable(table, differences) => evolvable(table, differences),
        Concern::NotFrozen(table) => {
            format!("{table}: the first export is not complete, so columns can still be added")
        }
    }
}

fn incomplete(run: &Run) -> String {
    let why = run.problems.first();
    let why = why.map(|it| format!(": {}: {}", it.endpoint, it.message)).unwrap_or_default();
    format!("the last {}, of {}, is incomplete{why}", run.command, minute(run.started_at))
}

fn stale(table: &TableStatus, max_age: i64) -> String {
    let Some(age) = table.age_seconds else { return format!("{}: never complete", table.endpoint) };
    format!("{}: {} old (limit: {})", table.endpoint, duration(age), duration(max_age))
}

fn gap(table: &TableStatus) -> String {
    let gaps = table.plain_gaps();
    let first = gaps.first().map(|gap| days(*gap)).unwrap_or_default();
    let more = if gaps.len() > 1 { format!(" and {} more", gaps.len() - 1) } else { String::new() };
    format!("{}: requested but missing: {first}{more}", table.endpoint)
}

/// What `evolve` would turn into columns.
fn evolvable(table: &str, differences: &[Difference]) -> String {
    let count = differences.len();
    let columns = if count == 1 { "a column" } else { "columns" };
    let first: Vec<_> = differences.iter().take(5).map(|it| it.path.as_str()).collect();
    let more = if count > 5 { format!(" and {} more", count - 5) } else { String::new() };
    format!("{table}: clari-lake evolve would add {columns} for {}{more}", first.join(", "))
}

/// A window as days if it is whole days, else in minutes.
fn days(window: Window) -> String {
    let is_midnight = |instant: DateTime<Utc>| instant.time() == NaiveTime::MIN;
    if !is_midnight(window.from) || !is_midnight(window.to) {
        return format!("{} to {}", minute(window.from), minute(window.to));
    }
    let (first, last) = (window.from.date_naive(), (window.to - TimeDelta::days(1)).date_naive());
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

/// The first and last covered day.
pub(super) fn covered(windows: &[Window]) -> String {
    match (windows.first(), windows.last()) {
        (Some(first), Some(last)) => {
            format!("{} to {}{}", first.from.date_naive(), minute(last.to), gaps(windows))
        }
        _ => String::new(),
    }
}

/// The first day that is covered, and the number of gaps after it.
pub(super) fn since(windows: &[Window]) -> String {
    let first = windows.first().map(|it| format!("{}{}", it.from.date_naive(), gaps(windows)));
    first.unwrap_or_default()
}

fn gaps(windows: &[Window]) -> String {
    match windows.len() {
        0 | 1 => String::new(),
        many => format!(", {}", counted(many as u64 - 1, "gap")),
    }
}

/// Remarks on a table besides its numbers.
pub(super) fn remarks(table: &TableStatus) -> Vec<String> {
    let mut remarks = Vec::new();
    if !table.gaps.is_empty() {
        let missing: i64 = table.gaps.iter().map(|gap| (gap.to - gap.from).num_seconds()).sum();
        remarks.push(format!("{} requested but missing", duration(missing)));
    }
    if let (Some(first), count) = (table.partial.first(), table.partial.len()) {
        let unit = if table.granularity == Granularity::Month { "month" } else { "day" };
        let plural = if count == 1 { "" } else { "s" };
        remarks.push(format!("{} partial {unit}{plural} since {first}", number(count as u64)));
    }
    if let Some(queue) = table.queue {
        for (count, what) in [
            (queue.pending, "pending"),
            (queue.parked, "parked"),
            (queue.unavailable, "unavailable"),
        ] {
            remarks.extend((count > 0).then(|| format!("{} {what}", number(count))));
        }
    }
    remarks.extend((!table.schema_frozen).then(|| "schema not frozen yet".to_owned()));
    remarks
}

pub(super) fn minute(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A number of seconds in readable form.
pub(in crate::cli) fn duration(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_whole_days_is_shown_in_days() {
        let said =
            |from: &str, to: &str| days(Window::new(from.parse().unwrap(), to.parse().unwrap()));
        assert_eq!(said("2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z"), "2026-11-10");
        assert_eq!(
            said("2026-11-10T00:00:00Z", "2026-11-13T00:00:00Z"),
            "2026-11-10 to 2026-11-12"
        );
        let minutes = "2026-11-10 00:00 UTC to 2026-11-10 06:30 UTC";
        assert_eq!(said("2026-11-10T00:00:00Z", "2026-11-10T06:30:00Z"), minutes);
    }

    #[test]
    fn durations_use_a_readable_unit() {
        let said: Vec<String> = [-1, 5, 300, 10_000, 200_000].map(duration).to_vec();
        assert_eq!(said, ["0 s", "5 s", "5 min", "2 h", "2 days"]);
    }
}
