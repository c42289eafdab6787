//! The lake: tables of partitions, and the manifests that say what is true of them.
//!
//! Enters: rows, and what a run has completed. Leaves: Parquet objects, each replaced whole, and
//! manifests. Never here: a request, a window's paging, or a cursor committed before its data.

mod adopt;
mod alive;
mod audit;
mod base;
mod chain;
mod change;
mod clear;
mod evolve;
mod forget;
mod freeze;
mod history;
mod index;
mod keys;
mod layout;
mod ledger;
mod manifests;
mod mend;
mod merge;
mod object;
mod piece;
mod presence;
mod store;
mod sweep;
mod table;
mod writing;

pub use audit::{Finding, audit};
pub use chain::{Chain, Link, with_parents};
pub use change::{Change, Committed, Mark, PartitionChange, Removal, SnapshotKeys, Tried};
pub use evolve::Wanted;
pub use forget::{Cleared, clear_forgotten};
pub use history::{SchemaChange, schema_changes};
pub use index::Known;
pub use keys::key_hash;
pub use ledger::Ledger;
pub use manifests::{manifest_at, newest_manifest};
pub use piece::Entries;
pub use presence::{Presence, PresentLake};
pub use store::{Breakdown, Observer, Store, token, unique_name};
pub use table::Table;
