//! Checks: what was checked, and the result.
//!
//! The vocabulary of `doctor`. How each check is made is elsewhere.

use serde::Serialize;

use crate::error::Error;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Fine, but worth knowing.
    Note,
    /// May improve later without any change.
    Unavailable,
    /// Must be fixed.
    Bad,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub subject: String,
    /// The result.
    pub verdict: Verdict,
    /// The result in words.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A check without a hint.
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

    /// The same check with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
