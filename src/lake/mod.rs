//! The lake: tables made of partitions, and the manifests that define their contents.
//!
//! [`Lake`] and [`Table`] are handles; a [`Snapshot`] is a table at one manifest. `commit_plan`
//! plans a [`Change`], and a transaction writes it: Parquet objects first, each replaced whole,
//! then the manifest that names them. A cursor is never committed before its data.

mod children;
mod commit;
mod erasure;
mod evolve;
mod handle;
mod index;
mod open;
mod presence;
mod recovery;
mod store;
mod table;

pub use children::{Children, ParentAndChild, with_parents};
pub use commit::{Change, Committed};
pub use erasure::list::{Cleared, clear_forgotten};
pub use evolve::Wanted;
pub use handle::{Lake, Table};
pub use index::keys::key_hash;
pub use index::{Found, LookedUp};
pub use open::open_all;
pub use presence::{Presence, PresentLake};
pub use recovery::audit::{Finding, audit};
pub use store::{Breakdown, Observer, Store, token, unique_name};
pub use table::history::{SchemaChange, Since, TableChanges, partition_changes, schema_changes};
pub use table::manifests::{manifest_at, newest_manifest};
pub use table::snapshot::Snapshot;
pub use table::transaction::PartitionChange;
