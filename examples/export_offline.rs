//! The library from end to end, offline: a simulated workspace goes into a lake in the temporary
//! folder, and the rows of each table are printed.
//!
//! ```sh
//! cargo run --example export_offline
//! ```

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "here is where it is used")]

use std::error::Error;
use std::sync::Arc;

use chrono::Utc;
use clari_lake::clock::Clock;
use clari_lake::endpoint::Catalogue;
use clari_lake::fetch::{Client, ClientSettings, Stop};
use clari_lake::lake::Store;
use clari_lake::manifest::Granularity;
use clari_lake::pipeline::Export;
use clari_lake::plan::RunSettings;
use clari_lake::report::{Progress, Report};
use clari_lake::secret::Credentials;
use clari_lake::simulator::{Options, Server, Settings, Workspace};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The API: a made-up workspace, served on this machine until the server is dropped.
    let now = Utc::now();
    let settings = Settings::default();
    let credentials = Credentials::new(&settings.api_key, &settings.api_password)?;
    let options = Options { calls: 200, now, ..Options::default() };
    let server = Server::start(Workspace::generate(&options), settings)?;

    // The lake: a new folder. Whoever holds `stop` can end the run between two pages.
    let folder = std::env::temp_dir().join(format!("clari-lake-{}", std::process::id()));
    let stop = Stop::default();
    let base_url = server.base_url();
    let client = ClientSettings { base_url, rate: 0.0, ..ClientSettings::new(credentials) };
    let export = Export {
        client: Arc::new(Client::new(&client, stop.clone())?),
        store: Arc::new(Store::open(&folder.to_string_lossy())?),
        catalogue: Arc::new(Catalogue::built_in()?),
        settings: RunSettings::new(now),
        limits: None,
        max_time: None,
        granularity: Granularity::Day,
        include_private: false,
        concurrency: 16,
        progress: Arc::new(Progress::default()),
        stop,
        clock: Clock::system(),
        command: "export".to_owned(),
    };

    // The run: every endpoint that is on by default. What is missing is in the report, no error.
    let report = export.run(&export.catalogue.select(&[])?).await?;
    print(&report);
    std::fs::remove_dir_all(&folder)?;
    if report.complete { Ok(()) } else { Err("the export is not complete".into()) }
}

fn print(report: &Report) {
    for it in &report.endpoints {
        println!("{:20} {:6} rows in {:3} partitions", it.endpoint, it.rows, it.partitions);
    }
}
