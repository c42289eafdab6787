//! The tally: the outcomes of each endpoint's requests.
//!
//! Counts exchanges by endpoint and outcome; it holds no URLs or bodies.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::transport::{Break, Exchanged, Severed};
use crate::report::Answers;

/// How many requests of an endpoint in a row may be answered with pages of HTML: a firewall may
/// dislike one of them, but hardly each.
const MOST_PAGES: u32 = 5;

/// Counts answers by endpoint.
#[derive(Debug, Default)]
pub(super) struct Tally {
    answers: Mutex<BTreeMap<String, Answers>>,
    /// How many requests were given up in a row because a page of HTML came.
    pages: Mutex<BTreeMap<String, u32>>,
}

impl Tally {
    pub(super) fn note(&self, endpoint: &str, answer: String) {
        let mut tally = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(endpoint.to_owned()).or_default().entry(answer).or_default() += 1;
    }

    pub(super) fn of(&self, endpoint: &str) -> Answers {
        let tally = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        tally.get(endpoint).cloned().unwrap_or_default()
    }

    /// Records that a request was given up because a page of HTML came.
    pub(super) fn note_page(&self, endpoint: &str) {
        *self.lock_pages().entry(endpoint.to_owned()).or_default() += 1;
    }

    /// Records that a reply was read.
    pub(super) fn note_read(&self, endpoint: &str) {
        self.lock_pages().remove(endpoint);
    }

    /// Whether an endpoint only ever gets pages of HTML, so that further requests are useless.
    pub(super) fn gets_pages(&self, endpoint: &str) -> bool {
        self.lock_pages().get(endpoint).is_some_and(|count| *count >= MOST_PAGES)
    }

    fn lock_pages(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of an exchange: its status, or how it broke off.
pub(super) fn answer(exchanged: Result<&Exchanged, &Severed>) -> String {
    match exchanged {
        Ok(reply) => reply.status().as_str().to_owned(),
        Err(severed) => how(severed.at).to_owned(),
    }
}

fn how(at: Break) -> &'static str {
    match at {
        Break::NoSuchHost | Break::Untrusted | Break::NoTls | Break::NoConnection => {
            "no_connection"
        }
        Break::NoAnswer => "no_answer",
        Break::Torn => "torn",
        Break::Endless => "endless",
    }
}
