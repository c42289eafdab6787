//! The lake: tables of partitions, and the manifests that say what is true of them.
//!
//! Enters: rows, and what a run has completed. Leaves: Parquet objects, each replaced whole, and
//! manifests. Never here: a request, a window's paging, or a cursor committed before its data.

mod index;
mod merge;
mod object;
mod store;
mod table;

pub use index::Index;
pub use store::Store;
pub use table::{Change, Committed, PartitionChange, SnapshotKeys, Table, newest_manifest};
