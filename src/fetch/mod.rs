//! Requests: GET and nothing else, at the rate that was agreed.
//!
//! Enters: an endpoint's words and what to fill them with, or a path and a query. Leaves: the body
//! of a reply, read by the caller, or what is wrong. Never here: what a record is, which page or
//! window comes next, another host than the one that was named, or a secret in anything that can
//! be shown.

mod address;
mod client;
mod envelope;
mod exchange;
mod requests;
mod stop;
mod tally;
#[cfg(test)]
mod tests;
mod throttle;
mod transport;

pub use address::BASE_URL;
pub use client::{Client, ClientSettings};
pub use exchange::{FetchError, Reply, Request, Seen, Unreadable};
pub use requests::{Asked, first_page, headers, percent_encode, request};
pub use stop::Stop;
pub use throttle::{Allowance, Refusal, Slot};
pub use transport::{Break, Exchanged, Get, Severed, Transport};
