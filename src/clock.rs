//! The clock: who says what time it is.
//!
//! Enters: nothing, or the instant that a test decides on. Leaves: instants. Never here: a decision
//! that depends on them; the run's `now` is taken once, at the street door, and passed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The present instant, for the street door; whoever is further in asks the [`Clock`] that it was
/// given.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where it is asked")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Says what time it is. A clone is the same clock.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use clari_lake::clock::Clock;
///
/// let clock = Clock::stopped_at(DateTime::UNIX_EPOCH);
/// let same = clock.clone();
/// clock.set(clock.now() + TimeDelta::seconds(1));
/// assert_eq!(same.now_micros(), 1_000_000);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    /// Microseconds since 1970, which only `set` moves.
    Stopped(Arc<AtomicI64>),
    /// What it was when tokio's clock said this.
    Running(DateTime<Utc>, Instant),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is [set](Self::set).
    #[must_use]
    pub fn stopped_at(now: DateTime<Utc>) -> Self {
        Self(Source::Stopped(Arc::new(AtomicI64::new(now.timestamp_micros()))))
    }

    /// A clock that says `now` now and goes on with tokio's, which a test can pause and advance.
    #[must_use]
    pub fn running_from(now: DateTime<Utc>) -> Self {
        Self(Source::Running(now, Instant::now()))
    }

    /// Sets a clock that stands still; every other goes its own way.
    pub fn set(&self, now: DateTime<Utc>) {
        if let Source::Stopped(micros) = &self.0 {
            micros.store(now.timestamp_micros(), Ordering::SeqCst);
        }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => now(),
            Source::Stopped(micros) => {
                DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or_default()
            }
            Source::Running(since, begun) => {
                *since + TimeDelta::from_std(begun.elapsed()).unwrap_or_default()
            }
        }
    }

    /// The present instant in microseconds since 1970.
    #[must_use]
    pub fn now_micros(&self) -> i64 {
        self.now().timestamp_micros()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_running_clock_goes_with_tokios_and_a_stopped_one_does_not() {
        let running = Clock::running_from(DateTime::UNIX_EPOCH);
        let stopped = Clock::stopped_at(DateTime::UNIX_EPOCH);
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert_eq!(running.now(), DateTime::UNIX_EPOCH + TimeDelta::days(1));
        assert_eq!(stopped.now(), DateTime::UNIX_EPOCH);
    }
}
