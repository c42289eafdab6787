//! The rate: requests evenly spaced, a little slower than allowed.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The part of the allowed rate that is used: the server's second is not ours.
const SHARE: f64 = 0.98;

/// Spaces requests out.
#[derive(Debug)]
pub(super) struct Throttle(Option<(DefaultDirectRateLimiter, DefaultClock)>);

impl Throttle {
    /// A throttle at `rate` requests a second; 0 lets everything through.
    pub(super) fn new(rate: f64) -> Self {
        let period = (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / (rate * SHARE)));
        let quota = period.and_then(Quota::with_period);
        Self(quota.map(|quota| {
            let limiter = RateLimiter::direct(quota.allow_burst(NonZeroU32::MIN));
            (limiter, DefaultClock::default())
        }))
    }

    /// Waits for the next slot.
    pub(super) async fn ready(&self) {
        let Some((limiter, clock)) = &self.0 else { return };
        while let Err(not_until) = limiter.check() {
            tokio::time::sleep(not_until.wait_time_from(clock.now())).await;
        }
    }
}
