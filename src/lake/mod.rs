//! The lake: tables of partitions, and the manifests that say what is true of them.
//!
//! Enters: rows, and what a run has completed. Leaves: Parquet objects, each replaced whole, and
//! manifests. Never here: a request, a window's paging, or a cursor committed before its data.

mod adopt;
mod audit;
mod change;
mod index;
mod manifests;
mod merge;
mod object;
mod store;
mod table;

pub use audit::{Finding, audit, tables};
pub use change::{Change, Committed, PartitionChange, SnapshotKeys};
pub use index::Index;
pub use manifests::newest_manifest;
pub use store::{Breakdown, Store};
pub use table::Table;
