//! Checks: what was looked at, and how it was found.
//!
//! Enters: nothing. Leaves: the words of `doctor`. Never here: a secret, or how a check is made.

use serde::Serialize;

use crate::error::Error;

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Right, and worth knowing.
    Note,
    /// It may be better later, without anything being changed.
    Unavailable,
    /// It must be mended.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub subject: String,
    /// How it was found.
    pub verdict: Verdict,
    /// In words.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A check without advice.
    pub fn new(subject: &str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), verdict, message: message.into(), hint: None }
    }

    /// A check that ended in an error.
    #[must_use]
    pub fn failed(subject: &str, error: &Error) -> Self {
        let is_transient = error.kind().retryable();
        let verdict = if is_transient { Verdict::Unavailable } else { Verdict::Bad };
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(source) = cause {
            message.push_str(&format!(": {source}"));
            cause = source.source();
        }
        let hint = error.hint().map(str::to_owned);
        Self { hint, ..Self::new(subject, verdict, message) }
    }

    /// The same check with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
