//! `status`: what the lake holds, and how fresh it is.

use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::Exit;
use super::args::StatusArgs;
use super::output::{Printer, number, size};
use super::settings::{Flags, Settings};
use crate::clock;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::forecast::{Counted, Forecast, forecast};
use crate::status::{Run, Status, TableStatus, status};
use crate::window::Window;

pub(super) fn run(args: &StatusArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), quota: args.quota.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let store = Arc::new(settings.store()?);
    if store.tables()?.is_empty() {
        let message = format!("there is no lake at {}", store.location());
        return Err(Error::new(ErrorKind::Config, message).into());
    }
    let (catalogue, limits, now) = (settings.catalogue()?, settings.limits(), clock::now());
    let status = status(&store, &catalogue, &limits, now)?;
    let known = |endpoint: &&Endpoint| status.tables.iter().any(|it| it.endpoint == endpoint.name);
    let present: Vec<_> = catalogue.endpoints().iter().filter(known).collect();
    let next = settings.run(now);
    let forecast = forecast(&store, &catalogue, &present, &next, &limits, &Counted::new())?;
    if args.json {
        let mut json = serde_json::to_value(&status)?;
        json["goal"] = goal(&status, &forecast);
        printer.data(&serde_json::to_string_pretty(&json)?);
    } else {
        printer.data(&text(&status, &forecast));
    }
    let Some(max_age) = args.max_age else { return Ok(Exit::Complete) };
    let mut exit = Exit::Complete;
    for table in status.staler_than(max_age.delta().num_seconds()) {
        let age = table.age_seconds.map_or("never complete".to_owned(), |age| {
            format!("{} old, and may be {max_age}", duration(age))
        });
        printer.warn(&format!("stale: {}: {age}", table.endpoint));
        exit = Exit::Incomplete;
    }
    Ok(exit)
}

/// What is asked for and not there yet, and when it will be.
fn goal(status: &Status, forecast: &Forecast) -> serde_json::Value {
    let left = status.tables.iter().filter(|table| !table.gaps.is_empty());
    let left: Vec<_> = left.map(|it| json!({ "endpoint": it.endpoint, "left": it.gaps })).collect();
    json!({
        "left": left,
        "requests": forecast.requests,
        "requests_for_backfill": forecast.requests_for_backfill,
        "complete_at": forecast.complete_at,
    })
}

fn text(status: &Status, forecast: &Forecast) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["table", "rows", "partitions", "size", "covered", "fresh", ""]);
    for of in &status.tables {
        table.add_row([
            of.endpoint.clone(),
            number(of.rows),
            number(of.partitions),
            size(of.bytes),
            covered(&of.coverage),
            of.age_seconds
                .map_or("never complete".to_owned(), |age| format!("{} ago", duration(age))),
            remark(of),
        ]);
    }
    for column in 1..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let week = &status.week;
    let mut text = table.to_string();
    text.push_str(&format!(
        "\n\nquota: {} of {} requests spent since {}, {} of {} by backfills; renewed {}\n",
        number(week.spent),
        number(week.quota),
        week.begins,
        number(week.spent_on_backfill),
        number(week.backfill_quota),
        minute(week.renewed_at),
    ));
    if forecast.requests_for_backfill > 0 {
        text.push_str(&format!(
            "history: about {} requests to go, complete by about {}\n",
            number(forecast.requests_for_backfill),
            minute(forecast.complete_at),
        ));
    }
    for run in &status.runs {
        text.push_str(&format!("\n{}", line(run)));
    }
    text
}

/// The first and last day of what is covered.
fn covered(windows: &[Window]) -> String {
    match (windows.first(), windows.last()) {
        (Some(first), Some(last)) => {
            let holes = windows.len() - 1;
            let holes = if holes == 0 { String::new() } else { format!(", {holes} holes") };
            format!("{} to {}{holes}", first.from.date_naive(), minute(last.to))
        }
        _ => String::new(),
    }
}

fn remark(table: &TableStatus) -> String {
    let mut remarks = Vec::new();
    if !table.gaps.is_empty() {
        let missing: i64 = table.gaps.iter().map(|gap| (gap.to - gap.from).num_seconds()).sum();
        remarks.push(format!("{} asked for and not there", duration(missing)));
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
    remarks.extend((!table.settled).then(|| "schema not settled".to_owned()));
    remarks.join(", ")
}

fn line(run: &Run) -> String {
    let took = duration((run.finished_at - run.started_at).num_seconds());
    let outcome = if run.complete { "complete" } else { "incomplete" };
    let why = run.problems.first().map(|it| format!(": {}: {}", it.endpoint, it.message));
    format!(
        "{}  {:<9} {outcome}, {} requests in {took}{}",
        minute(run.started_at),
        run.command,
        number(run.requests),
        why.unwrap_or_default()
    )
}

fn minute(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A number of seconds as a person says it.
pub(super) fn duration(seconds: i64) -> String {
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
    fn durations_are_said_in_the_unit_that_fits() {
        let said: Vec<String> = [-1, 5, 300, 10_000, 200_000].map(duration).to_vec();
        assert_eq!(said, ["0 s", "5 s", "5 min", "2 h", "2 days"]);
    }
}
