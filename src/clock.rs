//! The wall clock: the one place that asks what time it is.
//!
//! Enters: nothing. Leaves: instants. Never here: a decision that depends on them; the run's
//! `now` is taken once and passed on.

use chrono::{DateTime, Utc};

/// The present instant.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where it is asked")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The present instant in microseconds since 1970.
#[must_use]
pub fn now_micros() -> i64 {
    now().timestamp_micros()
}
