//! `simulate`: the embedded simulator as a server.

use std::time::Duration;

use anyhow::Result;

use super::args::SimulateArgs;
use super::exit::Exit;
use super::output::{Printer, number};
use crate::clock;
use crate::simulator::{BeyondCap, Faults, Options, Server, Settings, Workspace};

pub(super) fn run(args: &SimulateArgs, printer: Printer) -> Result<Exit> {
    let options = Options {
        seed: args.seed,
        calls: args.calls,
        days: args.days,
        now: clock::now(),
        oddities: args.oddities,
        arrivals_per_request: args.arrivals,
        ..Options::default()
    };
    let settings = Settings {
        port: args.port,
        latency: Duration::from_millis(args.latency),
        rate: args.rate,
        quota: args.quota,
        edges_inclusive: args.edges_inclusive,
        beyond_cap: match args.beyond_cap.as_str() {
            "clamp" => BeyondCap::Clamp,
            "empty" => BeyondCap::Empty,
            _ => BeyondCap::Refuse,
        },
        absent: args.absent.clone(),
        faults: Faults::all(args.seed, args.faults),
        ..Settings::default()
    };
    let credentials = (settings.api_key.clone(), settings.api_password.clone());
    let server = Server::start(Workspace::generate(&options), settings)?;
    printer.data(&format!(
        "{} calls over {} days at {}\n\n  \
         export CLARI_BASE_URL={} CLARI_API_KEY={} CLARI_API_PASSWORD={}\n  \
         clari-lake export ./lake --rate 0\n",
        number(args.calls as u64),
        args.days,
        server.base_url(),
        server.base_url(),
        credentials.0,
        credentials.1
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => return interrupted,
                _ = minute.tick() => server.workspace().advance(clock::now()),
            }
        }
    })?;
    server.shutdown();
    Ok(Exit::Complete)
}
