//! `status`: what the lake holds, and how fresh it is, as text, as JSON and as a page.

mod page;
mod words;

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;

pub(super) use self::words::duration;
use self::words::{Words, minute, remarks, since};
use super::args::StatusArgs;
use super::exit::Exit;
use super::output::{Printer, align_numbers, counted, keep_names, number, size, table, write_file};
use super::settings::{Flags, Settings};
use crate::clock;
use crate::endpoint::Endpoint;
use crate::forecast::{Counted, Forecast, forecast};
use crate::lake::{Lake, Store, schema_changes};
use crate::status::{Run, Status, status};

/// A table older than a day and a half has missed a nightly run.
const MAX_AGE: i64 = 36 * 3_600;
/// How many runs the text lists.
const RUNS_IN_TEXT: usize = 10;

pub(super) fn run(args: &StatusArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), quota: args.quota.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let (catalogue, limits, now) = (settings.catalogue()?, settings.limits(), clock::now());
    let store = settings.present_lake(&catalogue)?;
    let lake = Lake::reader(&store, &catalogue).at_once();
    let status = status(&lake, &limits, now)?;
    let known = |endpoint: &&Endpoint| status.tables.iter().any(|it| it.endpoint == endpoint.name);
    let present: Vec<_> = catalogue.endpoints().iter().filter(known).collect();
    let next = settings.run(now);
    let forecast = forecast(&lake, &present, &next, &limits, &Counted::new())?;
    let max_age = args.max_age.map_or(MAX_AGE, |max_age| max_age.delta().num_seconds());
    let words = Words::of(&status, &forecast, max_age);
    if let Some(file) = &args.html {
        let page = html(&store, &status, &forecast, max_age)?;
        if file.as_os_str() == "-" {
            printer.data(page.trim_end());
        } else {
            write_file(file, page.as_bytes())?;
        }
    }
    if args.json {
        let mut json = serde_json::to_value(&status)?;
        json["goal"] = goal(&status, &forecast);
        json["well"] = words.grave.is_empty().into();
        json["concerns"] = [words.grave, words.notes].concat().into();
        printer.data(&serde_json::to_string_pretty(&json)?);
    } else if args.html.is_none() {
        printer.data(&text(&status, &words, &forecast));
    }
    let Some(max_age) = args.max_age else { return Ok(Exit::Complete) };
    let mut exit = Exit::Complete;
    for table in status.staler_than(max_age.delta().num_seconds()) {
        let age = table.age_seconds.map_or("never complete".to_owned(), |age| {
            format!("{} old (limit: {max_age})", duration(age))
        });
        printer.warn(&format!("stale: {}: {age}", table.endpoint));
        exit = Exit::Incomplete;
    }
    Ok(exit)
}

/// The page, with what it needs besides the status.
fn html(store: &Arc<Store>, status: &Status, forecast: &Forecast, max_age: i64) -> Result<String> {
    let mut changes = Vec::new();
    for table in &status.tables {
        changes
            .push((table.endpoint.clone(), schema_changes(store, &table.endpoint, &table.schema)?));
    }
    Ok(page::render(status, forecast, &changes, max_age)?)
}

/// What was requested and is missing, and when it will arrive.
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

fn text(status: &Status, words: &Words, forecast: &Forecast) -> String {
    let mut text = format!("{} {}\n", words.headline, words.summary);
    for concern in words.grave.iter().chain(&words.notes) {
        text.push_str(&format!("- {concern}\n"));
    }
    text.push('\n');
    text.push_str(&tables(status));
    text.push_str(&spent(status, forecast));
    for run in status.runs.iter().take(RUNS_IN_TEXT) {
        text.push_str(&format!("\n{}", line(run)));
    }
    text
}

fn tables(status: &Status) -> String {
    let mut table = table();
    table.set_header(["table", "rows", "partitions", "size", "since", "fresh"]);
    for of in &status.tables {
        table.add_row([
            of.endpoint.clone(),
            number(of.rows),
            number(of.partitions),
            size(of.bytes),
            since(&of.coverage),
            of.age_seconds.map_or("never".to_owned(), |age| format!("{} ago", duration(age))),
        ]);
    }
    align_numbers(&mut table, 1..=3);
    keep_names(&mut table);
    let remarks = status.tables.iter().map(|of| (of.endpoint.as_str(), remarks(of).join(", ")));
    let remarks = remarks.filter(|(_, remarks)| !remarks.is_empty());
    let lines = remarks.map(|(name, remarks)| format!("\n  {name}: {remarks}"));
    format!("{table}{}", lines.collect::<String>())
}

/// How much of the week's quota is used, and how much the backfill will use.
fn spent(status: &Status, forecast: &Forecast) -> String {
    let week = &status.week;
    let mut text = format!(
        "\n\nquota: {} of {} requests spent this week, {} of {} by backfills\n       renews {}\n",
        number(week.spent),
        number(week.quota),
        number(week.spent_on_backfill),
        number(week.backfill_quota),
        minute(week.renewed_at),
    );
    if week.unknown {
        text.push_str(
            "the quota ledger was lost this week, so more may be spent than shown: backfills wait \
             unless you pass --weekly-quota\n",
        );
    }
    if forecast.requests_for_backfill > 0 {
        text.push_str(&format!(
            "backfill: about {} left, complete by about {}\n",
            counted(forecast.requests_for_backfill, "request"),
            minute(forecast.complete_at),
        ));
    }
    text
}

fn line(run: &Run) -> String {
    let took = duration((run.finished_at - run.started_at).num_seconds());
    let outcome = if run.complete { "complete" } else { "incomplete" };
    let why = run.problems.first().map(|it| format!(": {}: {}", it.endpoint, it.message));
    format!(
        "{}  {:<9} {outcome}, {} in {took}{}",
        minute(run.started_at),
        run.command,
        counted(run.requests, "request"),
        why.unwrap_or_default()
    )
}
