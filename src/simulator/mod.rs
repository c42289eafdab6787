//! The embedded API simulator: a fictitious Clari Copilot workspace.
//!
//! [`Options`] define a [`Workspace`], which is the same for the same seed; [`Settings`] define how
//! its [`Api`] behaves, including every known or suspected pitfall of the real one; a ledger
//! records all requests. A [`Server`] serves it over HTTP on the loopback interface.
//!
//! Nothing is shared with the exporter, not a type and not a rule, since a simulator that shares
//! the exporter's code would agree with its mistakes. The simulator touches no files, contacts no
//! other host, and stores no credentials or header values.
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
