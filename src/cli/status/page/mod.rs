//! The status page: a lake's status as one self-contained HTML file.
//!
//! Renders a status, a forecast and the changes of the schemas to HTML. The page has no scripts, no
//! external references, and no record values.

mod calendar;
mod charts;
mod quota;
#[cfg(test)]
mod tests;

use askama::Template;

use self::calendar::Calendar;
use self::charts::{ChainChart, RunBar};
use self::quota::QuotaChart;
use super::super::output::{number, size};
use super::words::{Words, covered, duration, minute, remarks};
use crate::forecast::Forecast;
use crate::lake::SchemaChange;
use crate::status::{RUNS, Run, Status, TableStatus};

/// The page.
#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    tool: &'static str,
    lake: String,
    now: String,
    now_iso: String,
    is_well: bool,
    headline: String,
    summary: String,
    grave: Vec<String>,
    notes: Vec<String>,
    figures: Vec<Figure>,
    calendar: Option<Calendar>,
    chains: Vec<ChainChart>,
    tables: Vec<TableRow>,
    total_rows: String,
    total_size: String,
    quota: QuotaChart,
    changes: Vec<ChangeRow>,
    evolvable: Vec<ChangeRow>,
    runs: Runs,
}

/// One of the figures at the top.
struct Figure {
    name: String,
    value: String,
    remark: String,
}

/// One table's row.
struct TableRow {
    name: String,
    remarks: Vec<String>,
    rows: String,
    size: String,
    share: String,
    spark: String,
    alternative: String,
    covered: String,
    fresh: String,
    fresh_class: &'static str,
}

/// Columns that changed, or could be added.
struct ChangeRow {
    when: String,
    table: String,
    lines: Vec<String>,
}

/// The last runs.
struct Runs {
    title: String,
    alternative: String,
    bars: Vec<RunBar>,
    rows: Vec<RunRow>,
}

/// One of them.
struct RunRow {
    day: String,
    minute: String,
    command: String,
    complete: bool,
    problems: Vec<String>,
    inserted: String,
    updated: String,
    requests: String,
    took: String,
}

/// The page of a lake; no table may be older than this many seconds.
///
/// # Errors
/// When the template cannot be rendered, which its types rule out.
pub(super) fn render(
    status: &Status,
    forecast: &Forecast,
    changes: &[(String, Vec<SchemaChange>)],
    max_age: i64,
) -> Result<String, askama::Error> {
    let words = Words::of(status, forecast, max_age);
    let sum = |of: fn(&TableStatus) -> u64| status.tables.iter().map(of).sum::<u64>();
    let main = main_table(status);
    let page = Page {
        tool: env!("CARGO_PKG_VERSION"),
        lake: status.lake.clone(),
        now: minute(status.now),
        now_iso: status.now.to_rfc3339(),
        is_well: words.grave.is_empty(),
        headline: words.headline,
        summary: words.summary,
        grave: words.grave,
        notes: words.notes,
        figures: figures(status),
        calendar: main
            .and_then(|table| Calendar::new(table, chained_to(status), &status.runs, status.now)),
        chains: status.tables.iter().filter_map(ChainChart::new).collect(),
        tables: status.tables.iter().map(|table| row(table, sum(|it| it.bytes), max_age)).collect(),
        total_rows: number(sum(|table| table.rows)),
        total_size: size(sum(|table| table.bytes)),
        quota: QuotaChart::new(status, forecast),
        changes: changes.iter().flat_map(|(table, changes)| changed(table, changes)).collect(),
        evolvable: status.tables.iter().filter_map(evolvable).collect(),
        runs: runs(&status.runs),
    };
    page.render()
}

/// The table that the calendar shows: the calls, or else the table with the most days.
fn main_table(status: &Status) -> Option<&TableStatus> {
    let calls = status.tables.iter().find(|table| table.endpoint == "calls");
    let dated = status.tables.iter().filter(|table| !table.coverage.is_empty());
    calls.or_else(|| dated.max_by_key(|table| table.held.len()))
}

/// The table of call details.
fn chained_to(status: &Status) -> Option<&TableStatus> {
    status.tables.iter().find(|table| table.endpoint == "call_details")
}

fn figures(status: &Status) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name: &str, value: String, remark: String| {
        figures.push(Figure { name: name.to_owned(), value, remark });
    };
    if let Some(main) = main_table(status) {
        let days = main.held.values().filter(|held| held.rows > 0).count() as u64;
        add(&main.endpoint, number(main.rows), format!("in {} partitions", number(days)));
        let fresh =
            main.age_seconds.map_or("never".to_owned(), |age| format!("{} ago", duration(age)));
        let to =
            main.fresh_to.map_or("not complete yet".to_owned(), |to| format!("to {}", minute(to)));
        add("complete as of", fresh, to);
    }
    if let Some((details, queue)) = chained_to(status).and_then(|it| Some((it, it.queue?))) {
        let open = queue.pending + queue.parked;
        let remark =
            if open == 0 { "none open".to_owned() } else { format!("{} open", number(open)) };
        add(&details.endpoint, number(queue.settled), remark);
    }
    let bytes = status.tables.iter().map(|table| table.bytes).sum();
    add("size", size(bytes), format!("{} tables", status.tables.len()));
    let percent = 100.0 * charts::ratio(status.week.spent, status.week.quota);
    add("week's quota", format!("{percent:.0}%"), format!("of {}", number(status.week.quota)));
    figures
}

fn row(table: &TableStatus, all_bytes: u64, max_age: i64) -> TableRow {
    let (spark, alternative) = charts::spark(table);
    let is_old = table.age_seconds.is_none_or(|age| age > max_age);
    let percent = 100.0 * charts::ratio(table.bytes, all_bytes);
    TableRow {
        name: table.endpoint.clone(),
        remarks: remarks(table),
        rows: number(table.rows),
        size: size(table.bytes),
        share: if percent >= 1.0 { format!("{percent:.0}%") } else { String::new() },
        spark,
        alternative,
        covered: covered(&table.coverage),
        fresh: table
            .age_seconds
            .map_or("never complete".to_owned(), |age| format!("{} ago", duration(age))),
        fresh_class: if is_old { " old" } else { "" },
    }
}

fn changed(table: &str, changes: &[SchemaChange]) -> Vec<ChangeRow> {
    let row = |change: &SchemaChange| ChangeRow {
        when: minute(change.committed_at),
        table: table.to_owned(),
        lines: change.differences.iter().map(ToString::to_string).collect(),
    };
    changes.iter().rev().map(row).collect()
}

fn evolvable(table: &TableStatus) -> Option<ChangeRow> {
    let lines: Vec<_> = table.evolvable.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| ChangeRow {
        when: String::new(),
        table: table.endpoint.clone(),
        lines,
    })
}

fn runs(runs: &[Run]) -> Runs {
    let (bars, alternative) = charts::runs(runs, RUNS);
    let title = match runs.len() {
        0 | 1 => "The last run".to_owned(),
        count => format!("The last {count} runs"),
    };
    Runs { title, alternative, bars, rows: runs.iter().map(run_row).collect() }
}

fn run_row(run: &Run) -> RunRow {
    /// How many of a run's problems are listed.
    const MAX_LISTED: usize = 3;
    let listed = run.problems.iter().take(MAX_LISTED);
    let mut problems: Vec<_> =
        listed.map(|it| format!("{}: {}", it.endpoint, it.message)).collect();
    let more = run.problems.len().saturating_sub(MAX_LISTED);
    problems.extend((more > 0).then(|| format!("and {} more", number(more as u64))));
    let (inserted, updated) = run.rows();
    RunRow {
        day: run.started_at.format("%Y-%m-%d").to_string(),
        minute: run.started_at.format("%H:%M").to_string(),
        command: run.command.clone(),
        complete: run.complete,
        problems,
        inserted: number(inserted),
        updated: number(updated),
        requests: number(run.requests),
        took: duration((run.finished_at - run.started_at).num_seconds()),
    }
}
