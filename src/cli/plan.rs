//! `plan`: what a run would request, before it does.

use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::args::PlanArgs;
use super::exit::Exit;
use super::output::{Printer, align_numbers, counted, number, size, table};
use super::settings::{Flags, Settings};
use super::status::duration;
use crate::clock;
use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::forecast::{Counted, Forecast, forecast, windows};
use crate::lake::{Lake, with_parents};
use crate::library::range;
use crate::manifest::Granularity;
use crate::plan::RunSettings;
use crate::window::Window;

pub(super) fn run(args: &PlanArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags::new(args.lake.as_ref(), &args.table, &args.api, &args.quota);
    let settings = Settings::load(&args.files, &flags)?;
    let catalogue = settings.sized_catalogue(&args.endpoints)?;
    let store = Arc::new(settings.place(&catalogue)?);
    let now = range::end(None, clock::now())?;
    let chosen = catalogue.select(&args.endpoints)?;
    let lake = Lake::reader(&store, &catalogue).at_once();
    let endpoints = with_parents(&lake, &catalogue, &chosen, now.date_naive())?;
    let to = range::end(args.to, now)?;
    range::check(args.from, to)?;
    let backfill = args.from.map(|from| Window::new(from, to));
    let run = RunSettings { backfill, full: args.full, ..settings.run(now) };
    let counted = if args.offline {
        Counted::new()
    } else {
        count(&settings, &lake, &endpoints, &run, printer)?
    };
    let limits = settings.limits();
    let forecast = forecast(&lake, &endpoints, &run, &limits, &counted)?;
    if args.json {
        printer.data(&serde_json::to_string_pretty(&forecast)?);
    } else {
        printer.data(&text(&forecast, settings.partition_by.value));
    }
    Ok(Exit::Complete)
}

fn text(forecast: &Forecast, chosen: Granularity) -> String {
    let mut table = table();
    table.set_header(["endpoint", "windows", "records", "requests", "backfill", "size"]);
    let about = |is_guess: bool| if is_guess { "about " } else { "" };
    for of in &forecast.endpoints {
        table.add_row([
            of.endpoint.clone(),
            number(of.windows.len() as u64),
            of.records
                .map_or("unknown".to_owned(), |it| format!("{}{}", about(of.is_guess), number(it))),
            format!("{}{}", about(of.is_guess), number(of.requests)),
            number(of.requests_for_backfill),
            of.bytes.map_or("unknown".to_owned(), |bytes| format!("about {}", size(bytes))),
        ]);
    }
    align_numbers(&mut table, 1..=5);
    let advice = forecast.endpoints.iter().filter_map(|of| {
        let advice = of.suited()?.advice(&of.endpoint, chosen)?;
        Some(format!("\n{advice}"))
    });
    format!("{table}\n\n{}{}", summary(forecast), advice.collect::<String>())
}

fn summary(forecast: &Forecast) -> String {
    let about = if forecast.is_guess { "about " } else { "" };
    let incremental = forecast.requests - forecast.requests_for_backfill;
    let seconds = i64::try_from(forecast.seconds).unwrap_or(i64::MAX);
    let mut text = format!(
        "{about}{}, {} at the rate; {} of {} are left this week\n",
        counted(forecast.requests, "request"),
        duration(seconds),
        number(forecast.week_left),
        number(forecast.weekly_quota),
    );
    if forecast.requests_for_backfill > 0 {
        text.push_str(&format!(
            "{} of them from the backfills' share of {} per week, of which {} are left this week\n",
            number(forecast.requests_for_backfill),
            number(forecast.weekly_quota_for_backfill),
            number(forecast.week_left_for_backfill),
        ));
    }
    if incremental > forecast.week_left {
        text.push_str("this week's quota is too small: the rest follows next week\n");
    }
    let wait = (forecast.complete_at - forecast.now).num_seconds();
    if forecast.complete_at == DateTime::<Utc>::MAX_UTC {
        text.push_str("it never completes: the quota leaves no requests for it");
        return text;
    }
    let in_weeks =
        if wait >= 604_800 { format!(" ({:.1} weeks)", weeks(wait)) } else { String::new() };
    text.push_str(&format!(
        "complete by {}, in {}{in_weeks}, if it runs whenever the quota allows",
        forecast.complete_at.format("%A %Y-%m-%d %H:%M UTC"),
        duration(wait),
    ));
    text
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn weeks(seconds: i64) -> f64 {
    seconds as f64 / 604_800.0
}

/// Requests from the API how many records the windows hold, where one small request tells.
fn count(
    settings: &Settings,
    lake: &Lake,
    endpoints: &[&Endpoint],
    run: &RunSettings,
    printer: Printer,
) -> Result<Counted> {
    let chosen: Vec<String> = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let mut export = settings.export(run.clone(), "plan", &chosen)?;
    // Without a lake there is no ledger to pay from, and a plan creates neither.
    if lake.store().is_empty()? {
        export.limits = None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut counted = Counted::new();
    for endpoint in endpoints {
        let windows = windows(lake, endpoint, run)?;
        match runtime.block_on(export.count(endpoint, &windows)) {
            Ok(number) => counted.extend(number.map(|number| (endpoint.name.clone(), number))),
            Err(error) if error.kind() == ErrorKind::Denied => return Err(error.into()),
            Err(error) => printer.warn(&format!("not counted: {}: {error}", endpoint.name)),
        }
    }
    Ok(counted)
}
