//! The clock: the source of the current time.
//!
//! Tests can set it. It makes no decisions that depend on the time; the command line takes the
//! run's `now` once and passes it on.
//!
//! A machine's clock may be wrong. Replies include the server's time, to the second. What a run
//! states about records is dated by the server's time ([`Clock::server_now`], [`Clock::asked_at`]),
//! as exactly as the replies allow. Everything else, such as slots of the rate, uses
//! [`Clock::now`], which is corrected only if the machine's clock is off by more than
//! [`TOLERANCE`], and only once.

mod offset;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

pub use self::offset::{Offset, Sighting};
use crate::manifest::CLOCKS_APART;

/// The current time, for the command line. All other code uses the [`Clock`] passed to it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where it is asked")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Tells the current time. A clone is the same clock.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use clari_lake::internals::clock::Clock;
///
/// let clock = Clock::stopped_at(DateTime::UNIX_EPOCH);
/// let same = clock.clone();
/// clock.set(clock.now() + TimeDelta::seconds(1));
/// assert_eq!(same.now_micros(), 1_000_000);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Clock {
    source: Source,
    replies: Arc<Mutex<Replies>>,
}

/// How far a clock may be off before it is corrected.
pub const TOLERANCE: TimeDelta = CLOCKS_APART;

/// A message about a wrong clock, which is this many seconds ahead of the API's (negative: behind).
pub(crate) fn describe_offset(ahead: i64) -> String {
    let (seconds, direction) = (ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
    format!(
        "this machine's clock is {seconds} s {direction} the API's; this run goes by the API's \
         clock: set this machine's, for instance with an NTP client"
    )
}

/// What replies have shown, shared between the clones of a clock.
#[derive(Debug, Default)]
struct Replies {
    offset: Offset,
    /// The correction added to the source once the clock was found to be off, in microseconds.
    correction: i64,
}

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    /// Microseconds since 1970, changed only by `set`.
    Stopped(Arc<AtomicI64>),
    /// The time that corresponds to this instant of tokio's clock.
    Running(DateTime<Utc>, Instant),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// A stopped clock, which moves only when it is [set](Self::set).
    #[must_use]
    pub fn stopped_at(now: DateTime<Utc>) -> Self {
        Self::of(Source::Stopped(Arc::new(AtomicI64::new(now.timestamp_micros()))))
    }

    /// A clock that starts at `now` and follows tokio's clock, which a test can pause and advance.
    #[must_use]
    pub fn running_from(now: DateTime<Utc>) -> Self {
        Self::of(Source::Running(now, Instant::now()))
    }

    fn of(source: Source) -> Self {
        Self { source, replies: Arc::default() }
    }

    /// Sets a stopped clock. Has no effect on any other clock.
    pub fn set(&self, now: DateTime<Utc>) {
        if let Source::Stopped(micros) = &self.source {
            micros.store(now.timestamp_micros(), Ordering::SeqCst);
        }
    }

    /// The current time, corrected if the clock was found to be off.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.uncorrected() + TimeDelta::microseconds(self.replies().correction)
    }

    /// The current time in microseconds since 1970.
    #[must_use]
    pub fn now_micros(&self) -> i64 {
        self.now().timestamp_micros()
    }

    /// The current time by the server's clock, as far as its replies have shown.
    #[must_use]
    pub fn server_now(&self) -> DateTime<Utc> {
        self.uncorrected() + TimeDelta::microseconds(self.replies().offset.correction())
    }

    /// The time by the server's clock this long ago, in microseconds since 1970.
    #[must_use]
    pub fn asked_at(&self, age: Duration) -> i64 {
        self.server_now().timestamp_micros().saturating_sub(micros(age))
    }

    /// Whether any reply has shown the server's time.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.replies().offset.is_known()
    }

    /// Takes in the `Date` of a reply that has just arrived, this long after its request was sent.
    /// Returns how far the clock is ahead, if that is detected now; from now on it is corrected.
    pub fn observe(&self, date: DateTime<Utc>, age: Duration) -> Option<TimeDelta> {
        let received = self.uncorrected().timestamp_micros();
        let sent = received.saturating_sub(micros(age));
        let date = date.timestamp_micros();
        let mut replies = self.replies();
        replies.offset.observe(Sighting { sent, received, date });
        let offset = replies.offset.correction();
        let is_off = (offset - replies.correction).abs() > micros_of(TOLERANCE);
        is_off.then(|| {
            let least = replies.offset.least();
            let before = std::mem::replace(&mut replies.correction, least);
            TimeDelta::microseconds(before - least)
        })
    }

    /// How far the clock was found to be ahead of the server's; it has been corrected by that.
    #[must_use]
    pub fn ahead(&self) -> Option<TimeDelta> {
        let correction = self.replies().correction;
        (correction != 0).then(|| TimeDelta::microseconds(-correction))
    }

    fn uncorrected(&self) -> DateTime<Utc> {
        match &self.source {
            Source::System => now(),
            Source::Stopped(micros) => {
                DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or_default()
            }
            Source::Running(since, begun) => {
                *since + TimeDelta::from_std(begun.elapsed()).unwrap_or_default()
            }
        }
    }

    fn replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn micros_of(time: TimeDelta) -> i64 {
    time.num_microseconds().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is off by no more than the tolerance is not corrected, but what a run states is
    /// still dated by the server; one that is further off is corrected, including all its clones.
    #[test]
    fn a_clock_is_corrected_when_it_is_off_by_more_than_the_tolerance() {
        let real = DateTime::UNIX_EPOCH + TimeDelta::days(400);
        let age = Duration::from_millis(30);
        for (ahead, is_off) in
            [(-50, false), (0, false), (50, false), (600, true), (-259_200, true)]
        {
            let local = real + TimeDelta::seconds(ahead);
            let clock = Clock::stopped_at(local);
            let same = clock.clone();
            let found = clock.observe(real, age);
            assert_eq!(found.is_some(), is_off, "{ahead}");
            assert_eq!(same.ahead(), found);
            assert!((same.server_now() - real).abs() <= TimeDelta::milliseconds(1_030), "{ahead}");
            let now = if is_off { real } else { local };
            assert!((same.now() - now).abs() <= TimeDelta::milliseconds(1_030), "{ahead}");
            assert_eq!(clock.observe(real, age), None, "found once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_clock_goes_with_tokios_and_a_stopped_one_does_not() {
        let running = Clock::running_from(DateTime::UNIX_EPOCH);
        let stopped = Clock::stopped_at(DateTime::UNIX_EPOCH);
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert_eq!(running.now(), DateTime::UNIX_EPOCH + TimeDelta::days(1));
        assert_eq!(stopped.now(), DateTime::UNIX_EPOCH);
    }
}
