//! `export`: what changed since the last run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::Exit;
use super::args::ExportArgs;
use super::output::{Printer, summary};
use super::progress::Display;
use super::settings::{Flags, Settings};
use crate::clock::{self, Clock};
use crate::error::{Error, ErrorKind};
use crate::fetch::{Client, Stop};
use crate::pipeline::Export;
use crate::plan::RunSettings;
use crate::report::{Progress, Report};

pub(super) fn run(args: &ExportArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), api: args.api.clone(), table: args.table.clone() };
    let settings = Settings::load(&args.files, &flags)?;
    let catalogue = Arc::new(settings.catalogue()?);
    catalogue.select(&args.endpoints)?;
    let store = Arc::new(settings.store()?);
    let stop = Stop::default();
    let now = frozen_now(args.to, clock::now())?;
    if args.from.is_some_and(|from| from >= now) {
        return Err(
            Error::new(ErrorKind::Config, "--from is not before the end of the range").into()
        );
    }
    let export = Export {
        client: Arc::new(Client::new(&settings.client()?, stop.clone())?),
        store,
        catalogue,
        settings: RunSettings { from: args.from, full: args.full, ..settings.run(now) },
        granularity: settings.partition_by.value,
        include_private: settings.include_private.value,
        concurrency: usize::from(settings.concurrency.value.0),
        progress: Arc::new(Progress::default()),
        stop,
        clock: Clock::system(),
        command: "export".to_owned(),
    };
    let (report, signal) = perform(&export, &args.endpoints, printer)?;
    conclude(&report, args.json, signal, printer)
}

/// Runs an export with a progress display, and stops it on a signal; which signal came, if any.
pub(super) fn perform(
    export: &Export,
    endpoints: &[String],
    printer: Printer,
) -> Result<(Report, Option<u8>)> {
    // Few threads: each keeps memory of its own, and two cores decode faster than any API answers.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()?;
    let signal = Arc::new(AtomicU8::new(0));
    let selected = export.catalogue.select(endpoints)?;
    let outcome = runtime.block_on(async {
        tokio::spawn(watch_signals(export.stop.clone(), Arc::clone(&signal), printer));
        let _display = Display::start(Arc::clone(&export.progress), printer);
        export.run(&selected).await
    });
    let signal = Some(signal.load(Ordering::Relaxed)).filter(|number| *number > 0);
    Ok((outcome?, signal))
}

/// Says how a run came out.
pub(super) fn conclude(
    report: &Report,
    json: bool,
    signal: Option<u8>,
    printer: Printer,
) -> Result<Exit> {
    if json {
        printer.data(&serde_json::to_string_pretty(report)?);
    } else {
        printer.note(&summary(report));
    }
    if printer.verbose {
        for endpoint in &report.endpoints {
            for (path, count) in &endpoint.misfits {
                printer.note(&format!("extra_json: {}.{path}: {count}", endpoint.endpoint));
            }
        }
    }
    for problem in report.problems.iter().take(20) {
        let window = problem.window.map(|window| format!(" {window}")).unwrap_or_default();
        printer.warn(&format!("incomplete: {}{window}: {}", problem.endpoint, problem.message));
    }
    Ok(match (signal, report.complete) {
        (Some(signal), _) => Exit::Signal(signal),
        (None, true) => Exit::Complete,
        (None, false) => {
            printer.note("\nhint: what was complete is in the lake; run the same command again");
            Exit::Incomplete
        }
    })
}

/// The instant from which a run counts, in whole seconds, which is what the API can be asked for.
fn frozen_now(to: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
    let end = to.unwrap_or(now);
    if end > now {
        let message = format!("--to {} is in the future", end.format("%Y-%m-%dT%H:%M:%SZ"));
        return Err(
            Error::new(ErrorKind::Config, message).with_hint("leave --to out to export up to now")
        );
    }
    Ok(DateTime::from_timestamp(end.timestamp(), 0).unwrap_or(end))
}

/// The first signal asks the run to stop, the second ends the process at once; both are safe.
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
            "stopping: finishing the page and committing what is whole (again to stop at once)",
        );
        stop.request();
    }
}
