//! The library's front: open a lake, export into it, and read its tables.
//!
//! Programs use these builders, whose settings cannot be wrong one by one. The result is an updated
//! lake with a [`Report`](crate::report::Report), or the rows of a snapshot.
//!
//! The command line uses the same builders, so that programs and the command line can do the same
//! things.

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
