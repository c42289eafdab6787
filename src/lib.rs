//! Exports a Clari Copilot workspace to a partitioned Parquet lake, exactly once.
//!
//! > **Plan** an endpoint's windows, **fetch** their pages, **decode** the records, **partition**
//! > the batches, **merge** them into the lake, **commit** the manifest, **report**.
//!
//! These pages tell the concepts in the order in which one needs the other. Everything up to 6 is
//! a value or a function of values and can be tried out as it stands here.
//!
//! # 1. An endpoint is data
//!
//! An [`endpoint`] is one kind of record and how to ask for it: path, key, what dates a row, how a
//! reply goes on, columns. It is a TOML file, built in or yours, that is right by construction once
//! it is an [`Endpoint`](endpoint::Endpoint). No endpoint has code of its own.
//!
//! ```
//! use clari_lake::endpoint::Catalogue;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let catalogue = Catalogue::built_in()?;
//! let calls = catalogue.find("calls")?;
//! assert_eq!((calls.path.as_str(), calls.key.as_slice()), ("/calls", &["id".to_owned()][..]));
//! # Ok(())
//! # }
//! ```
//!
//! # 2. Windows, and what they cover
//!
//! An API with pages cannot be asked for "everything since last night" in one piece, so it is asked
//! in [`window`]s `[from, to)`. A window is complete or it is not; there is no half of one and no
//! page number to remember. The windows that are complete are the **coverage**. What was asked for
//! is the **goal**. The difference between them is what is left to do, whoever was killed when.
//!
//! ```
//! use chrono::{TimeZone, Utc};
//! use clari_lake::window::{Coverage, Window};
//!
//! let november = |day| Utc.with_ymd_and_hms(2026, 11, day, 0, 0, 0).unwrap();
//! let goal = Window::new(november(1), november(8));
//! let mut coverage = Coverage::default();
//! coverage.add(Window::new(november(1), november(3)));
//! coverage.add(Window::new(november(6), november(8)));
//! assert_eq!(coverage.gaps(goal), [Window::new(november(3), november(6))]);
//! ```
//!
//! # 3. A plan asks nobody
//!
//! [`plan`] makes tasks of an endpoint, its newest [`manifest`] and the run's settings, whose `now`
//! stands still. The same three give the same tasks, so a run that died is planned again by what it
//! left in the lake, and by nothing else.
//!
//! ```
//! use chrono::{DateTime, Utc};
//! use clari_lake::endpoint::Catalogue;
//! use clari_lake::plan::{RunSettings, Task, tasks};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let catalogue = Catalogue::built_in()?;
//! let now: DateTime<Utc> = "2026-11-25T02:15:00Z".parse()?;
//! // No manifest yet: the first run lists 30 days, the newest first.
//! let planned = tasks(catalogue.find("calls")?, None, &RunSettings::new(now));
//! let Some(Task::List(newest)) = planned.first().map(|it| it.task) else { panic!("a list") };
//! assert_eq!(newest.to, now);
//! assert!(planned.len() > 4);
//! # Ok(())
//! # }
//! ```
//!
//! # 4. Pages are not trusted
//!
//! [`paginate`] is told of one [`page`] after the other and says which to ask for next, or that the
//! window is complete, or why it never will be. Pages overlap by a record, since records come and
//! go meanwhile; a server that repeats itself or leads in a circle is found out. What to make of a
//! request that fails is for [`retry`] to say, and how many are left for [`quota`].
//!
//! # 5. Decoding loses nothing
//!
//! [`decode`] makes columns of a reply's bytes. A value that has no column, or does not fit it, is
//! kept beside the others in `extra_json`; a record without a usable key goes to quarantine.
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
//! let mut decoder = RecordDecoder::new(calls, schema, true, Arc::default());
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
//! # 6. A partition is one object
//!
//! A row belongs to the [`partition`] of its day, and to no other: that is one Parquet object, which
//! is replaced whole. Rows are merged by key, and of two versions the one that was asked for later
//! stays. A row that says the same as before is not written, which a content hash tells.
//!
//! # 7. A commit is a manifest
//!
//! [`lake`] writes objects first, and the manifest that names them last, only if there is none of
//! that number yet. The [`manifest`] says the watermark up to which changes are complete, the
//! coverage, the goal, the schema and the partitions; beside it an index knows of each key its date
//! and hash. Readers need none of it: a glob over the partitions is the table.
//!
//! # 8. A run joins them
//!
//! [`pipeline`] is the one room that joins the others; [`fetch`] sends GET for it and nothing else;
//! [`report`] is what it leaves. `examples/export_offline.rs` runs all of it against the
//! [`simulator`], which imitates the API with its traps and shares no code with the exporter.
//!
//! # 9. A lake can be asked about
//!
//! [`status`]: whether all is well. [`verify`]: whether the lake keeps its promises. [`doctor`]:
//! what the API and the store really offer. [`forecast`]: what a run would take. [`evolve`]: columns
//! for what has gathered in `extra_json`. [`sql`]: tables and views, as engines want to be told.
//! [`sample`]: one reply of an endpoint, and what could be made of it.
//!
//! # Cargo features
//!
//! Both are on by default. `cli` is the program; without it, this is a library that compiles no
//! argument parser, tables, templates or progress bars, and has no [`sql`]. `simulator` is the
//! [`simulator`] and its HTTP server.
//!
//! # Floors
//!
//! Imports go down only. Words know nothing; decisions know words; hands know decisions; use cases
//! know hands; the command line knows all, and nothing knows it.

pub mod allocator;
pub mod calendar;
pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod commit_plan;
pub mod config;
pub mod decode;
pub mod doctor;
pub mod endpoint;
pub mod error;
pub mod evolve;
pub mod fetch;
pub mod forecast;
pub mod forget;
pub mod forgotten;
pub mod lake;
pub mod library;
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
pub mod row;
pub mod sample;
pub mod schema;
pub mod secret;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod span;
#[cfg(feature = "cli")]
pub mod sql;
pub mod status;
pub mod verify;
pub mod window;

pub use config::Deletes;
pub use endpoint::{Catalogue, Endpoint};
pub use error::{Error, ErrorKind, Result};
pub use fetch::Stop;
#[cfg(feature = "simulator")]
pub use library::Simulator;
pub use library::{Client, Export, Lake, Partition, Rows, Snapshot, Table};
pub use manifest::Granularity;
pub use report::Report;
pub use secret::{Credentials, Salt};
