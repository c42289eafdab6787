//! `export`: what changed since the last run.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;

use super::args::{BackfillArgs, ExportArgs, ResultArgs};
use super::exit::Exit;
use super::output::{Printer, number, summary, write_file};
use super::progress::{Display, Pace};
use super::settings::{Flags, Origin, Settings};
use crate::clock;
use crate::endpoint::{Catalogue, Dated};
use crate::error::{Error, ErrorKind};
use crate::fetch::Stop;
use crate::lake::Store;
use crate::ledger::Ledger;
use crate::library::range;
use crate::manifest::Granularity;
use crate::pipeline::Export;
use crate::plan::RunSettings;
use crate::quota::Limits;
use crate::report::{EndpointReport, Metrics, Noted, Report};
use crate::status::last_success;
use crate::window::Window;

pub(super) fn run(args: &ExportArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags::new(args.lake.as_ref(), &args.table, &args.api, &args.quota);
    let settings = Settings::load(&args.files, &flags)?;
    let now = range::end(args.to, clock::now())?;
    range::check(args.from, now)?;
    let run = RunSettings {
        by_clock: args.to.is_none(),
        from: args.from,
        full: args.full,
        evolve: args.evolve || settings.evolve.value,
        ids: args.ids.clone(),
        ..settings.run(now)
    };
    perform_and_conclude(&settings, run, "export", &args.endpoints, &args.results, printer)
}

/// `backfill`: a history, newest first.
pub(super) fn backfill(args: &BackfillArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags::new(args.lake.as_ref(), &args.table, &args.api, &args.quota);
    let settings = Settings::load(&args.files, &flags)?;
    let now = range::end(None, clock::now())?;
    let to = range::end(args.to, now)?;
    range::check(Some(args.from), to)?;
    let window = Window::new(args.from, to);
    check_history(&settings.catalogue()?, &args.endpoints)?;
    let run = RunSettings {
        by_clock: true,
        backfill: Some(window),
        refetch: args.refetch,
        ..settings.run(now)
    };
    perform_and_conclude(&settings, run, "backfill", &args.endpoints, &args.results, printer)
}

/// A backfill of endpoints without a history would do nothing, and seem to have worked.
fn check_history(catalogue: &Catalogue, endpoints: &[String]) -> Result<(), Error> {
    let selected = catalogue.select(endpoints)?;
    let without = selected.iter().find(|it| it.dated == Dated::Run && endpoints.contains(&it.name));
    match without {
        Some(endpoint) => Err(Error::new(
            ErrorKind::Config,
            format!("{} has no history: each export takes a snapshot", endpoint.name),
        )
        .with_hint("leave it out of the backfill; `clari-lake export` reads it")),
        None => Ok(()),
    }
}

fn perform_and_conclude(
    settings: &Settings,
    run: RunSettings,
    command: &str,
    endpoints: &[String],
    results: &ResultArgs,
    printer: Printer,
) -> Result<Exit> {
    if let Some(file) = &results.metrics {
        check_folder(file)?;
    }
    let started_at = clock::now();
    let export = settings.export(run, command, endpoints)?;
    let ran = warn_of_demo(&export.store, printer)
        .map_err(anyhow::Error::from)
        .and_then(|()| perform(&export, endpoints, printer));
    let report = ran.as_ref().ok().map(|(report, _)| report.clone());
    if let Some(remark) = report.as_ref().and_then(|it| other_partitions(it, settings)) {
        printer.note(&remark);
    }
    let concluded =
        ran.and_then(|(report, signal)| conclude(&report, results.json, signal, printer));
    if let Some(file) = &results.metrics {
        let metrics = Metrics {
            command,
            exit: concluded.as_ref().map_or_else(Exit::of, |exit| *exit).code(),
            started_at: report.as_ref().map_or(started_at, |report| report.started_at),
            finished_at: export.clock.now(),
            last_success: last_success(&export.store).unwrap_or_default(),
            report: report.as_ref(),
        };
        // The run's outcome stands even if it cannot be reported.
        if let Err(error) = write_file(file, metrics.text().as_bytes()) {
            printer.error(&error.into());
        }
    }
    concluded
}

/// Warns that the demo's records, which are invented, are in the same lake. The last report tells by
/// its command; a base URL would not, since servers move.
fn warn_of_demo(store: &Store, printer: Printer) -> Result<(), Error> {
    let is_demo = store.latest_report()?.is_some_and(|text| {
        let report: serde_json::Result<serde_json::Value> = serde_json::from_slice(&text);
        report.is_ok_and(|report| report["command"] == "demo")
    });
    if is_demo {
        printer.warn(
            "this lake holds the demo's records, which are invented; they stay beside those of \
             the export unless you name another folder",
        );
    }
    Ok(())
}

/// The tables that were created with another partition length than the one that was asked for.
fn other_partitions(report: &Report, settings: &Settings) -> Option<String> {
    let wanted = &settings.partition_by;
    let is_other = |it: &&EndpointReport| it.partitions > 0 && it.partition_by != wanted.value;
    let names: Vec<&str> =
        report.endpoints.iter().filter(is_other).map(|it| it.endpoint.as_str()).collect();
    let (asked, kept) = match wanted.value {
        Granularity::Month => ("month", "day"),
        _ => ("day", "month"),
    };
    (wanted.origin != Origin::Default && !names.is_empty()).then(|| {
        format!(
            "one partition per {kept}, as created: {}; partition_by = {asked} applies to new tables",
            names.join(", ")
        )
    })
}

/// Checks up front that the folder of a file to be written at the end exists.
fn check_folder(file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
    if folder.is_none_or(Path::is_dir) {
        return Ok(());
    }
    let message = format!("the folder of {} does not exist", file.display());
    Err(Error::new(ErrorKind::Config, message))
}

/// Runs an export with a progress display, and stops it on a signal; returns the signal, if any.
pub(super) fn perform(
    export: &Export,
    endpoints: &[String],
    printer: Printer,
) -> Result<(Report, Option<u8>)> {
    // Requests need one thread; two more decode and commit. Each thread has its own memory
    // overhead.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(2)
        .enable_all()
        .build()?;
    let signal = Arc::new(AtomicU8::new(0));
    let selected = export.catalogue.select(endpoints)?;
    let outcome = runtime.block_on(async {
        tokio::spawn(watch_signals(export.stop.clone(), Arc::clone(&signal), printer));
        let (progress, client) = (Arc::clone(&export.progress), Arc::clone(&export.client));
        let (store, limits) = (Arc::clone(&export.store), export.limits);
        let is_backfill = export.settings.backfill.is_some();
        // It is read beside the run, whose first requests need not wait for the ledger's folder.
        let pace = move || pace(store, limits, is_backfill);
        let _display = Display::start(progress, client, pace, printer);
        export.run(&selected).await
    });
    let signal = Some(signal.load(Ordering::Relaxed)).filter(|number| *number > 0);
    Ok((outcome?, signal))
}

/// The run's limits, for its display.
fn pace(store: Arc<Store>, limits: Option<Limits>, is_backfill: bool) -> Pace {
    let Some(limits) = limits else { return Pace { rate: 0.0, week_left: None } };
    // The run itself reports an unreadable ledger.
    let week = Ledger::new(store, "").week(&limits, clock::now()).ok();
    let left = week.map(|week| {
        if is_backfill {
            week.backfill_quota.saturating_sub(week.spent_on_backfill)
        } else {
            week.quota.saturating_sub(week.spent)
        }
    });
    Pace { rate: limits.rate, week_left: left }
}

/// Reports how a run ended.
pub(super) fn conclude(
    report: &Report,
    json: bool,
    signal: Option<u8>,
    printer: Printer,
) -> Result<Exit> {
    if json {
        printer.data(&serde_json::to_string_pretty(report)?);
    } else if printer.is_for_people() {
        printer.note(&summary(report));
        if let Some(ahead) = report.clock_off_seconds {
            printer.warn(&clock::describe_offset(ahead));
        }
    }
    if printer.verbose {
        for endpoint in &report.endpoints {
            for (path, count) in &endpoint.misfits {
                printer.note(&format!("extra_json: {}.{path}: {count}", endpoint.endpoint));
            }
        }
    }
    for endpoint in &report.endpoints {
        for remark in odd_records(&endpoint.undated, &endpoint.same_key) {
            printer.warn(&format!("{}: {remark}", endpoint.endpoint));
        }
        if let Some(remark) = numeric_keys(&endpoint.numbers_as_text) {
            printer.note(&format!("{}: {remark}", endpoint.endpoint));
        }
        if !endpoint.too_wide.is_empty() {
            let paths: Vec<&str> = endpoint.too_wide.iter().take(5).map(String::as_str).collect();
            printer.note(&format!(
                "{}: {} stays in extra_json: its names look like data, or the table would have too \
                 many columns",
                endpoint.endpoint,
                paths.join(", ")
            ));
        }
    }
    for endpoint in report.endpoints.iter().filter(|endpoint| !endpoint.evolvable.is_empty()) {
        printer.note(&evolvable(endpoint));
    }
    for problem in report.problems.iter().take(20) {
        let window = problem.window.map(|window| format!(" {window}")).unwrap_or_default();
        printer.warn(&format!("incomplete: {}{window}: {}", problem.endpoint, problem.message));
    }
    tell_machines(report);
    Ok(match (signal, report.complete) {
        (Some(signal), _) => Exit::Signal(signal),
        (None, true) => Exit::Complete,
        (None, false) => {
            let hint = if report.by_id {
                "everything found is in the lake; check the other ids"
            } else {
                "everything complete is in the lake; run the same command again"
            };
            printer.note(&format!("\nhint: {hint}"));
            Exit::Incomplete
        }
    })
}

/// Oddities of records that are in the lake nevertheless.
pub(super) fn odd_records(undated: &Noted, same_key: &Noted) -> Vec<String> {
    let mut remarks = Vec::new();
    let count = |noted: &Noted| match noted.records {
        1 => "1 record has".to_owned(),
        records => format!("{} records have", number(records)),
    };
    if !undated.is_none() {
        let is_number = undated.example.contains("is a number");
        let advice = if is_number {
            "; for a number of seconds, milliseconds or microseconds since 1970, use the type \
             epoch_seconds, epoch_millis or epoch_micros"
        } else {
            ""
        };
        let has = count(undated);
        remarks.push(format!("{has} no readable date, for example {}{advice}", undated.example));
    }
    if !same_key.is_none() {
        remarks.push(format!(
            "{} the same key as a different record of the same list, for example {}: check that \
             `key` identifies a record",
            count(same_key),
            same_key.example
        ));
    }
    remarks
}

/// What to know about fields of the key that are numbers in columns of strings.
pub(super) fn numeric_keys(columns: &BTreeSet<String>) -> Option<String> {
    let names: Vec<_> = columns.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} came as a number and is stored as a string of its digits, as declared; for a \
             column of numbers, declare it as int64 before the table is created",
            names.join(", ")
        )
    })
}

/// A summary of the run, as the log's last event.
fn tell_machines(report: &Report) {
    let Report { complete, requests, run, command, .. } = report;
    let sum = |of: fn(&EndpointReport) -> u64| report.endpoints.iter().map(of).sum::<u64>();
    let (inserted, updated) = (sum(|it| it.inserted), sum(|it| it.updated));
    tracing::info!(run, command, complete, requests, inserted, updated, "run ended");
}

/// What `evolve` would add to a table, in a few words.
fn evolvable(endpoint: &EndpointReport) -> String {
    let paths = endpoint.evolvable.iter().map(|difference| difference.path.as_str());
    let first: Vec<_> = paths.take(5).collect();
    let more = endpoint.evolvable.len() - first.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let name = &endpoint.endpoint;
    format!("{name}: `clari-lake evolve` would add columns for {}{more}", first.join(", "))
}

/// The first signal requests a stop, the second ends the process at once; both are safe.
async fn watch_signals(stop: Stop, number: Arc<AtomicU8>, printer: Printer) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        let received = tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
        };
        if number.swap(received, Ordering::Relaxed) > 0 {
            std::process::exit(128 + i32::from(received));
        }
        printer.note(
            "stopping: finishing the current page and committing complete work (press again to \
             stop at once)",
        );
        stop.request();
    }
}
