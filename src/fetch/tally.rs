//! The tally: the outcomes of each endpoint's requests.
//!
//! Counts exchanges by endpoint and outcome; it holds no URLs or bodies.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::transport::{Break, Exchanged, Severed};
use crate::report::Answers;

/// Counts answers by endpoint.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, Answers>>);

impl Tally {
    pub(super) fn note(&self, endpoint: &str, answer: String) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(endpoint.to_owned()).or_default().entry(answer).or_default() += 1;
    }

    pub(super) fn of(&self, endpoint: &str) -> Answers {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.get(endpoint).cloned().unwrap_or_default()
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
        Break::NoSuchHost | Break::Untrusted | Break::NoConnection => "no_connection",
        Break::NoAnswer => "no_answer",
        Break::Torn => "torn",
        Break::Endless => "endless",
    }
}
