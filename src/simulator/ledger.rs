//! Records what clients did: each request once, in the order of arrival, and each rule they broke.
//! The tests check against it. Header values are never recorded.

use super::faults::Fault;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A request that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When its head was read.
    pub at: Instant,
    /// Its method, such as `GET`.
    pub method: String,
    /// Its path, as sent.
    pub path: String,
    /// Its query, as sent, without the question mark.
    pub query: String,
    /// The status of the reply; 0 until it is known.
    pub status: u16,
    /// The fault the reply was given, if any.
    pub fault: Option<Fault>,
    number: u64,
}

/// How often clients broke a rule that a careful one never breaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Violations {
    /// A `limit` above 100.
    pub limit_over: u64,
    /// A `skip` above 10,000.
    pub skip_over: u64,
    /// A parameter that is missing or cannot be read.
    pub bad_value: u64,
    /// Any method but GET.
    pub non_get: u64,
    /// One or both credentials are missing.
    pub missing_headers: u64,
    /// Signed URLs of recordings were requested.
    pub media_asked: u64,
}

impl Violations {
    /// The total.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { limit_over, skip_over, bad_value, non_get, missing_headers, media_asked } = self;
        limit_over + skip_over + bad_value + non_get + missing_headers + media_asked
    }
}

/// The requests and violations of one server.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    requests: Vec<Request>,
    violations: Violations,
    received: u64,
}

impl Ledger {
    /// Records a request; the returned number identifies it when it is answered later.
    pub(super) fn receive(&self, method: &str, path: &str, query: &str) -> u64 {
        let mut pages = self.pages();
        pages.received += 1;
        let number = pages.received;
        pages.requests.push(Request {
            at: Instant::now(),
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            status: 0,
            fault: None,
            number,
        });
        number
    }

    pub(super) fn answer(&self, number: u64, status: u16, fault: Option<Fault>) {
        let mut pages = self.pages();
        // Searched from the end, where the request is, unless it was cleared.
        if let Some(request) = pages.requests.iter_mut().rev().find(|one| one.number == number) {
            request.status = status;
            request.fault = fault;
        }
    }

    pub(super) fn violate(&self, note: impl FnOnce(&mut Violations)) {
        note(&mut self.pages().violations);
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.pages().requests.clone()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.pages().requests.iter().filter(|request| request.path == path).count()
    }

    pub(super) fn violations(&self) -> Violations {
        self.pages().violations
    }

    pub(super) fn clear(&self) {
        let mut pages = self.pages();
        pages.requests.clear();
        pages.violations = Violations::default();
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
