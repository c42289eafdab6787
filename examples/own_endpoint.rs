//! An endpoint of your own, offline: a file says how to request it, and its records become a table.
//!
//! ```sh
//! cargo run --example own_endpoint
//! ```

#![allow(clippy::print_stdout, reason = "here is where it is used")]

use clari_lake::{Catalogue, Lake, Simulator};
use futures::TryStreamExt;

/// What `endpoints/seats.toml` would hold. `clari-lake sample --url URL --init FILE` drafts one from
/// a reply; schemas/README.md explains every key.
const SEATS: &str = r#"
description = "The seats of the workspace, and nothing else about their people"
path = "/users"
records = "$.users[*]"
key = ["id"]

[dated]
by = "run"

[[column]]
name = "id"
type = "string"

[columns]
email = "drop?"
name = "drop?"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A file that is wrong is an error here, with line and column, before anything is requested.
    let endpoints = Catalogue::built_in()?.with_file("seats", SEATS)?;
    let wrong = Catalogue::built_in()?.with_file("seats", "description = \"no path\"");
    println!("{}", wrong.err().map(|error| error.to_string()).unwrap_or_default());

    let folder = std::env::temp_dir().join(format!("clari-lake-{}", std::process::id()));
    let lake = Lake::open_with(&folder.to_string_lossy(), endpoints).await?;
    let simulator = Simulator::start(200)?;
    let export = lake.export(simulator.client()).endpoints(["seats"]).without_quota();
    let report = export.run().await?;
    println!("complete: {}, {} requests", report.complete, report.requests);

    let seats = lake.table("seats")?.snapshot().await?;
    let batches: Vec<_> = seats.rows().try_collect().await?;
    let rows: usize = batches.iter().map(arrow::record_batch::RecordBatch::num_rows).sum();
    println!("{rows} seats");
    std::fs::remove_dir_all(&folder)?;
    if report.complete { Ok(()) } else { Err("the export is not complete".into()) }
}
