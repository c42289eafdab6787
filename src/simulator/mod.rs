//! The embedded API simulator: a Clari Copilot workspace that never was.
//!
//! [`Options`] enter and become a [`Workspace`], equal for equal seeds;
//! [`Settings`] say how its [`Api`] behaves, with every trap that the real one is
//! known or feared to have; a ledger keeps who asked for what. A [`Server`]
//! serves it over HTTP on the loopback interface.
//!
//! What never happens here: nothing is shared with the exporter, not a type and
//! not a rule, since a simulator that shares the exporter's code agrees with its
//! mistakes. No file is touched, no other host is talked to, no credential or
//! header value is kept.
//!
//! ```no_run
//! use clari_lake::internals::simulator::{Options, Server, Settings, Workspace};
//!
//! let workspace = Workspace::generate(&Options { calls: 5_000, ..Options::default() });
//! let server = Server::start(workspace.clone(), Settings::default())?;
//! assert!(server.base_url().starts_with("http://127.0.0.1:"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod api;
mod birth;
mod catalogue;
mod change;
mod crm;
mod details;
mod faults;
mod gate;
mod index;
mod ledger;
mod listing;
mod options;
mod people;
mod query;
mod record;
mod reply;
mod routes;
mod server;
mod settings;
mod slot;
mod tables;
mod text;
mod words;
mod workspace;

#[cfg(test)]
mod tests;

pub use api::Api;
pub use faults::{Fault, Faults};
pub use ledger::{Request, Violations};
pub use options::{Dense, Options};
pub use server::Server;
pub use settings::{BeyondCap, Settings};
pub use tables::Table;
pub use text::LONE_SURROGATE;
pub use workspace::Workspace;
