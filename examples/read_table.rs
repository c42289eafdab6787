//! Reading a table from Rust, offline: its columns, its partitions, and its rows as a stream of
//! Arrow batches.
//!
//! ```sh
//! cargo run --example read_table            # of a lake that is made and thrown away
//! cargo run --example read_table -- LAKE    # of yours
//! ```

#![allow(clippy::print_stdout, reason = "here is where it is used")]

use std::error::Error;

use arrow::array::AsArray;
use clari_lake::{Lake, Simulator};
use futures::TryStreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(location) = std::env::args().nth(1) {
        return read(&Lake::open(&location).await?).await;
    }
    let folder = std::env::temp_dir().join(format!("clari-lake-{}", std::process::id()));
    let lake = Lake::open(&folder.to_string_lossy()).await?;
    let simulator = Simulator::start(200)?;
    lake.export(simulator.client()).endpoints(["calls"]).without_quota().run().await?;
    read(&lake).await?;
    Ok(std::fs::remove_dir_all(&folder)?)
}

async fn read(lake: &Lake) -> Result<(), Box<dyn Error>> {
    let calls = lake.table("calls")?.snapshot().await?;
    println!("manifest {} of {}", calls.version(), calls.committed_at());
    for field in calls.schema().fields().iter().take(5) {
        println!("  {} {}", field.name(), field.data_type());
    }

    // A partition is one day; its rows are one object.
    let partitions = calls.partitions();
    let rows: u64 = partitions.iter().map(|partition| partition.rows).sum();
    println!("{rows} rows in {} partitions", partitions.len());

    // The newest day's titles. `rows()` without arguments reads all partitions.
    let newest = partitions.last().map(std::slice::from_ref).unwrap_or_default();
    let mut batches = calls.rows_of(newest);
    while let Some(batch) = batches.try_next().await? {
        let Some(titles) = batch.column_by_name("title") else { continue };
        for title in titles.as_string::<i32>().iter().flatten().take(3) {
            println!("  {title}");
        }
    }
    Ok(())
}
