//! `demo`: the whole job without credentials, in seconds.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use chrono::{DurationRound, TimeDelta};

use super::Exit;
use super::args::DemoArgs;
use super::export::{conclude, perform};
use super::output::{Printer, number, size};
use crate::clock::{self, Clock};
use crate::endpoint::Catalogue;
use crate::error::{Error, ErrorKind};
use crate::fetch::{Client, ClientSettings, Stop};
use crate::lake::Store;
use crate::manifest::Granularity;
use crate::pipeline::Export;
use crate::plan::RunSettings;
use crate::report::{Progress, Report};
use crate::secret::Credentials;
use crate::simulator::{Options, Server, Settings, Workspace};

pub(super) fn run(args: &DemoArgs, printer: Printer) -> Result<Exit> {
    let dir = args
        .dir
        .to_str()
        .ok_or_else(|| Error::new(ErrorKind::Config, "the folder's name is not UTF-8"))?;
    // Within an hour the same workspace comes out, so that a second demo finds nothing new.
    let (store, catalogue) = (Store::open(dir)?, Catalogue::built_in()?);
    store.check_place(&catalogue)?;
    let hour = TimeDelta::hours(1);
    let now = clock::now().duration_trunc(hour)?;
    let begun = Instant::now();
    let options = Options { seed: args.seed, calls: args.calls, now, ..Options::default() };
    printer.note(&format!("simulating a workspace of {} calls …", number(args.calls as u64)));
    let settings = Settings::default();
    let credentials = Credentials::new(&settings.api_key, &settings.api_password)?;
    let server = Server::start(Workspace::generate(&options), settings)?;
    let stop = Stop::default();
    let client = ClientSettings {
        base_url: server.base_url(),
        rate: 0.0,
        ..ClientSettings::new(credentials)
    };
    let export = Export {
        client: Arc::new(Client::new(&client, stop.clone())?),
        store: Arc::new(store),
        catalogue: Arc::new(catalogue),
        settings: RunSettings::new(now),
        limits: None,
        max_time: None,
        granularity: Granularity::Day,
        include_private: false,
        concurrency: 16,
        progress: Arc::new(Progress::default()),
        stop,
        clock: Clock::system(),
        command: "demo".to_owned(),
    };
    let (report, signal) = perform(&export, &[], printer)?;
    let exit = conclude(&report, args.json, signal, printer)?;
    if exit == Exit::Complete {
        printer.note(&next_steps(&report, dir, begun));
    }
    Ok(exit)
}

fn next_steps(report: &Report, dir: &str, begun: Instant) -> String {
    let rows = report.endpoints.iter().map(|it| it.rows).sum();
    let bytes = report.endpoints.iter().map(|it| it.bytes).sum();
    let seconds = begun.elapsed().as_secs_f64();
    format!(
        "\n{} rows in {} of Parquet from {} requests in {seconds:.1} seconds, in {dir}\n\n\
         Run it again: nothing is written that has not changed. Or ask DuckDB:\n\n  \
         duckdb -c \"select dt, count(*) as calls, round(avg(metrics.talk_listen_ratio), 2) as talk_ratio \
         from read_parquet('{dir}/calls/*/*.parquet', hive_partitioning = true) group by dt order by dt\"",
        number(rows),
        size(bytes),
        number(report.requests),
    )
}
