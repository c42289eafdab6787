//! An export, offline: a simulated workspace goes into a lake in the temporary folder.
//!
//! ```sh
//! cargo run --example export_offline
//! ```

#![allow(clippy::print_stdout, reason = "here is where it is used")]

use clari_lake::{Lake, Simulator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The API: a made-up workspace on this machine. Yours is `Client::new(Credentials::new(..)?)`.
    let simulator = Simulator::start(200)?;
    let folder = std::env::temp_dir().join(format!("clari-lake-{}", std::process::id()));

    // The first run exports the last 30 days of every endpoint that is on by default.
    let lake = Lake::open(&folder.to_string_lossy()).await?;
    let report = lake.export(simulator.client()).without_quota().run().await?;
    for it in &report.endpoints {
        println!("{:20} {:6} rows in {:3} partitions", it.endpoint, it.rows, it.partitions);
    }

    // The next one requests what has changed since, here of two endpoints only.
    let export = lake.export(simulator.client()).endpoints(["calls", "users"]).without_quota();
    let report = export.run().await?;
    println!("again: {} requests, {} changed partitions", report.requests, report.changed.len());

    // An API that fails halfway is no error: the report names what is missing.
    for problem in &report.problems {
        println!("missing: {}: {}", problem.endpoint, problem.message);
    }
    std::fs::remove_dir_all(&folder)?;
    if report.complete { Ok(()) } else { Err("the export is not complete".into()) }
}
