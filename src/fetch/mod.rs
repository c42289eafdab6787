//! Requests: GET only, at the agreed rate.
//!
//! Turns an endpoint's templates and their values, or a path and a query, into the body of a reply,
//! read by the caller, or an error. Requests never go to another host than the configured one, and
//! nothing that can be shown holds a secret.

mod address;
mod client;
mod envelope;
mod exchange;
mod gate;
mod requests;
mod secrets;
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
