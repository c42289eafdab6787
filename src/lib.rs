//! Exports a Clari Copilot workspace to a partitioned Parquet lake, exactly once.
//!
//! > **Plan** an endpoint's windows, **fetch** their pages, **decode** the records, **partition**
//! > the batches, **merge** them into the lake, **commit** the manifest, **report**.
//!
//! # Words
//!
//! An [`endpoint`] is one kind of record and how to ask for it, as data. It is asked for in
//! [windows](window) of time, each of which is read [page] by page. What comes is one row
//! per key, in the [partition] of its day: one Parquet object, replaced whole. The
//! [manifest] is the numbered, immutable record of truth: the watermark up to which
//! changes are complete, the coverage that is completely in the lake, the goal that was asked for,
//! and the partitions. Its index knows of each key its date and content hash.
//!
//! # Reading order
//!
//! 1. [`pipeline`]: the one room that joins the others, and reads like the sentence above.
//! 2. [`plan`], [`paginate`], [`retry`], [`decode`], [`partition`]: decisions, each a function of
//!    values; no clock, no network, no files.
//! 3. [`fetch`] and [`lake`]: the hands. `fetch` sends GET and nothing else; `lake` writes objects
//!    first and the manifest that names them last.
//! 4. [`verify`]: what can be checked from the lake alone; [`doctor`]: what the API and the store
//!    really offer.
//! 5. [`sql`]: the tables and views of a lake, as engines want to be told.
//! 6. [`simulator`]: the API, imitated with its traps. It shares no code with the exporter.
//!
//! # Example
//!
//! The library exports as the command does; `examples/export_offline.rs` runs the whole of it
//! against the simulator. A reply is decoded like this:
//!
//! ```
//! use std::sync::Arc;
//!
//! use clari_lake::decode::{Origin, RecordDecoder};
//! use clari_lake::endpoint::Catalogue;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let catalogue = Catalogue::built_in()?;
//! let calls = Arc::new(catalogue.find("calls")?.clone());
//! let schema = Arc::new(calls.schema());
//! let mut decoder = RecordDecoder::new(calls, schema, true, None);
//!
//! let reply = br#"{"calls": [{"id": "c1", "time": "2026-11-20T09:30:00.000Z", "mood": "good"}]}"#;
//! let decoded = decoder.decode(reply, &Origin::default())?;
//!
//! assert_eq!(decoded.rows.len(), 1);
//! // What has no column is kept beside the others, and counted.
//! assert_eq!(decoded.surprises.misfits["mood"], 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Floors
//!
//! Imports go down only. Words know nothing; decisions know words; hands know decisions; use cases
//! know hands; the command line knows all, and nothing knows it.

pub mod calendar;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod doctor;
pub mod endpoint;
pub mod error;
pub mod evolve;
pub mod fetch;
pub mod forecast;
pub mod lake;
pub mod manifest;
pub mod page;
pub mod paginate;
pub mod partition;
pub mod pipeline;
pub mod place;
pub mod plan;
pub mod quota;
pub mod report;
pub mod retry;
pub mod sample;
pub mod schema;
pub mod secret;
pub mod simulator;
pub mod span;
pub mod sql;
pub mod status;
pub mod verify;
pub mod window;
