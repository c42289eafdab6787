//! `demo`: the whole workflow without credentials, in seconds.

use std::time::Instant;

use anyhow::Result;
use chrono::{DurationRound, TimeDelta};

use super::args::DemoArgs;
use super::exit::Exit;
use super::export::{conclude, perform};
use super::output::{Printer, counted, number, size};
use crate::clock;
use crate::endpoint::Catalogue;
use crate::error::{Error, ErrorKind};
use crate::lake::Store;
use crate::library::{Lake, Simulator};
use crate::report::Report;
use crate::simulator::Options;

pub(super) fn run(args: &DemoArgs, printer: Printer) -> Result<Exit> {
    let dir = args
        .dir
        .to_str()
        .ok_or_else(|| Error::new(ErrorKind::Config, "the folder's name is not UTF-8"))?;
    let (store, catalogue) = (Store::open(dir)?, Catalogue::built_in()?);
    store.check_place(&catalogue)?;
    check_own(&store, dir)?;
    // Within an hour the workspace is the same, so that a second demo finds nothing new.
    let now = clock::now().duration_trunc(TimeDelta::hours(1))?;
    let begun = Instant::now();
    printer.note(&format!("simulating a workspace with {} …", counted(args.calls as u64, "call")));
    let options = Options { seed: args.seed, calls: args.calls, now, ..Options::default() };
    let simulator = Simulator::of(&options)?;
    let lake = Lake::of(store, catalogue);
    let export =
        lake.export(simulator.client()).to(now).without_quota().command("demo").prepare()?;
    let (report, signal) = perform(&export, &[], printer)?;
    let exit = conclude(&report, args.json, signal, printer)?;
    if exit == Exit::Complete {
        printer.note(&next_steps(&report, dir, begun));
    }
    Ok(exit)
}

/// The demo's records are invented, so they must not get into a lake of real ones.
fn check_own(store: &Store, dir: &str) -> Result<(), Error> {
    let is_demo = |text: &Vec<u8>| {
        let report: serde_json::Result<serde_json::Value> = serde_json::from_slice(text);
        report.is_ok_and(|report| report["command"] == "demo")
    };
    let reports = store.reports(usize::MAX)?;
    // Tables without any report are those of a run that was killed.
    let is_killed = reports.is_empty() && !store.committed()?.is_empty();
    if !is_killed && reports.iter().all(is_demo) {
        return Ok(());
    }
    let message = format!("{dir} is a lake with an export, and the demo's records are invented");
    Err(Error::new(ErrorKind::Config, message).with_hint("name another folder for the demo"))
}

fn next_steps(report: &Report, dir: &str, begun: Instant) -> String {
    let rows = report.endpoints.iter().map(|it| it.rows).sum();
    let bytes = report.endpoints.iter().map(|it| it.bytes).sum();
    let seconds = begun.elapsed().as_secs_f64();
    format!(
        "\n{} rows in {} of Parquet from {} requests in {seconds:.1} seconds, in {dir}\n\n\
         Run it again: it writes nothing, because nothing changed. Or query it with DuckDB:\n\n  \
         duckdb -c \"select dt, count(*) as calls, round(avg(metrics.talk_listen_ratio), 2) as talk_ratio\n    \
         from read_parquet('{dir}/calls/*/*.parquet', hive_partitioning = true)\n    \
         group by dt order by dt\"",
        number(rows),
        size(bytes),
        number(report.requests),
    )
}
