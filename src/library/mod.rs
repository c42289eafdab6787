//! The library's front: open a lake, export into it, and read its tables.
//!
//! Enters: a location, credentials, and settings that cannot be wrong one by one. Leaves: a lake
//! that is further on with a [`Report`](crate::report::Report), or the rows of a snapshot. Never
//! here: a decision, or a setting that only the command line can make.
//!
//! The command line goes through the same builders, so what a program can do and what the command
//! line can do do not drift apart.

mod catalogue;
mod client;
mod export;
mod lake;
pub(crate) mod range;
#[cfg(feature = "simulator")]
mod simulator;
mod table;

pub use self::catalogue::{Catalogue, Endpoint};
pub use self::client::Client;
pub use self::export::Export;
pub use self::lake::Lake;
#[cfg(feature = "simulator")]
pub use self::simulator::Simulator;
pub use self::table::{Partition, Rows, Snapshot, Table};
