//! Exports a Clari Copilot workspace to a partitioned Parquet lake, exactly and incrementally.
//!
//! This is the library behind the `clari-lake` command. A program that imports it needs five names:
//! [`Lake`], [`Client`], [`Export`], [`Report`] and [`Snapshot`]. All asynchronous functions run in
//! a Tokio runtime.
//!
//! # 1. A lake
//!
//! A [`Lake`] is a folder or a bucket with one table per endpoint:
//! `LAKE/calls/dt=2026-11-20/part-0.parquet`. Opening one writes nothing. An empty or new place is
//! a lake as soon as the first export commits.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> clari_lake::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let location = folder.path().to_str().unwrap();
//! use clari_lake::Lake;
//!
//! let lake = Lake::open(location).await?; // or "s3://bucket/lake", "gs://…", "az://…"
//! assert!(lake.tables().await?.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # 2. An export
//!
//! A [`Client`] says how to reach the API. An [`Export`] says what to request; its setters cannot
//! fail, and [`Export::run`] reports what is wrong. Without a setter it exports what changed since
//! the last run, of every endpoint that is on by default; the first run reaches back 30 days. Kill
//! it, re-run it, or run it twice: each record ends up in exactly one row.
//!
//! ```no_run
//! # async fn export(lake: clari_lake::Lake) -> clari_lake::Result<()> {
//! use clari_lake::{Client, Credentials};
//!
//! let client = Client::new(Credentials::new("key", "password")?).rate(5.0);
//! let report = lake
//!     .export(client)
//!     .endpoints(["calls", "call_details"])
//!     .from("2026-11-01T00:00:00Z".parse().unwrap())
//!     .run()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! The `Simulator` is a workspace to try this on, without credentials:
//!
#![cfg_attr(feature = "simulator", doc = "```")]
#![cfg_attr(not(feature = "simulator"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> clari_lake::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let lake = clari_lake::Lake::open(folder.path().to_str().unwrap()).await?;
//! use clari_lake::Simulator;
//!
//! let simulator = Simulator::start(50)?; // 50 calls, on this machine, until it is dropped
//! let export = lake.export(simulator.client()).endpoints(["calls"]).without_quota();
//! let report = export.run().await?;
//! assert!(report.complete);
//! # Ok(())
//! # }
//! ```
//!
//! # 3. A report
//!
//! An API that fails halfway is not an error. Everything complete is in the lake, and the [`Report`]
//! names the rest: [`Report::complete`] says whether anything is missing, [`Report::problems`]
//! gives the reasons, and [`Report::changed`] lists the partitions that downstream jobs must read
//! again. An [`Error`] means that there is no report; its [`ErrorKind`] says what to do: fix
//! something, or run again later.
//!
//! To end a run early, request a [`Stop`] that was given to [`Export::stop_on`]. To show how far it
//! is, read [`Export::progress`].
//!
//! # 4. A table
//!
//! A [`Table`] has snapshots. A [`Snapshot`] is the table as one commit left it: its schema, its
//! partitions, and its rows as a stream of Arrow batches. The crate [`arrow`] is re-exported, so
//! that both sides use the same version.
//!
#![cfg_attr(feature = "simulator", doc = "```")]
#![cfg_attr(not(feature = "simulator"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> clari_lake::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let lake = clari_lake::Lake::open(folder.path().to_str().unwrap()).await?;
//! # let simulator = clari_lake::Simulator::start(50)?;
//! # lake.export(simulator.client()).endpoints(["calls"]).without_quota().run().await?;
//! use futures::TryStreamExt;
//!
//! let calls = lake.table("calls")?.snapshot().await?;
//! assert_eq!(calls.schema().field(0).name(), "id");
//! let rows: u64 = calls.partitions().iter().map(|partition| partition.rows).sum();
//!
//! let (mut batches, mut read) = (calls.rows(), 0);
//! while let Some(batch) = batches.try_next().await? {
//!     read += batch.num_rows() as u64;
//! }
//! assert_eq!(read, rows);
//! # Ok(())
//! # }
//! ```
//!
//! You do not need this library to read a lake: a glob over the partitions is the table, for every
//! engine that reads Parquet.
//!
//! # 5. An endpoint
//!
//! An [`Endpoint`] is one kind of record and how to request it. It is a TOML file, not code. A
//! [`Catalogue`] holds the built-in endpoints and yours; a mistake in a file is reported with its
//! line and column before anything is requested.
//!
//! ```
//! use clari_lake::Catalogue;
//!
//! let notes = r#"
//! description = "Notes of calls"
//! path = "/notes"
//! records = "$.notes[*]"
//! key = ["id"]
//!
//! [dated]
//! by = "run"
//!
//! [[column]]
//! name = "id"
//! type = "string"
//! "#;
//! let endpoints = Catalogue::built_in()?.with_file("notes", notes)?;
//! assert!(endpoints.find("notes").is_ok());
//!
//! let wrong = Catalogue::built_in()?.with_file("notes", "description = 5").unwrap_err();
//! assert!(wrong.to_string().contains("line 1, column 15"));
//! # Ok::<(), clari_lake::Error>(())
//! ```
//!
//! [`Lake::open_with`] takes such a catalogue.
//!
//! # Examples
//!
//! `examples/` has three programs that run offline: `export_offline`, `read_table` and
//! `own_endpoint`.
//!
//! # Cargo features
//!
//! Both are on by default. `cli` is the program; without it, no argument parser, template engine or
//! progress bar is compiled. `simulator` is the simulated workspace and its HTTP server. A program
//! that only exports or reads can set `default-features = false`.
//!
//! # How it works
//!
//! **Plan** an endpoint's windows, **fetch** their pages, **decode** the records, **partition** the
//! batches, **merge** them into the lake, **commit** the manifest, **report**. `ARCHITECTURE.md`
//! is a guide to the modules. They are not part of this interface and change without notice.

mod allocator;
mod calendar;
mod changes;
mod check;
#[cfg(feature = "cli")]
mod cli;
mod clock;
mod commit_plan;
mod config;
mod decode;
mod doctor;
mod endpoint;
mod error;
mod evolve;
mod fetch;
mod forecast;
mod forget;
mod forgotten;
mod lake;
mod ledger;
mod library;
mod manifest;
mod page;
mod paginate;
mod partition;
mod pipeline;
mod place;
mod plan;
mod quota;
mod report;
mod retry;
mod row;
mod sample;
mod schema;
mod secret;
#[cfg(feature = "simulator")]
mod simulator;
mod span;
#[cfg(feature = "cli")]
mod sql;
mod status;
mod verify;
mod window;

pub use arrow;
pub use config::Deletes;
pub use error::{Error, ErrorKind, Result};
pub use fetch::Stop;
#[cfg(feature = "simulator")]
pub use library::Simulator;
pub use library::{Catalogue, Client, Endpoint, Export, Lake, Partition, Rows, Snapshot, Table};
pub use manifest::Granularity;
pub use report::{
    Answers, Changed, EndpointReport, Live, Outcome, Problem, Progress, Queue, QueueState, Queued,
    Report, Week,
};
pub use schema::Difference;
pub use secret::{Credentials, Salt};
pub use window::Window;

/// What this repository's program, tests and benchmarks use of the modules. It is not part of the
/// interface and changes without notice.
#[doc(hidden)]
pub mod internals {
    macro_rules! open {
        ($($room:ident)*) => {
            $(
                pub mod $room {
                    pub use crate::$room::*;
                }
            )*
        };
    }

    open! {
        allocator calendar changes check clock commit_plan config decode doctor endpoint error evolve
        fetch forecast forget forgotten lake ledger manifest page paginate partition pipeline place
        plan quota report retry row sample schema secret span status verify window
    }

    #[cfg(feature = "cli")]
    open! { cli sql }

    #[cfg(feature = "simulator")]
    open! { simulator }
}
