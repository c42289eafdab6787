//! What to make of a failed request: again, smaller, or never.
//!
//! Enters: a status and the beginning of its body, the number of the attempt, a random number.
//! Leaves: a verdict and a delay. Never here: waiting, or the request itself.

use std::time::Duration;

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// 429: more requests in a second than the API takes.
    TooFast,
    /// 429: the week's quota is spent.
    QuotaSpent,
    /// 401: the credentials are missing.
    Unauthorized,
    /// 403: the credentials are wrong, or have no right to this.
    Forbidden,
    /// 403 `Missing Authentication Token`, which is how the gateway says that a path is none.
    NoSuchPath,
    /// 404: there is no such thing.
    NotFound,
    /// 400 and the like: the request is wrong, and will be wrong again.
    Refused(u16),
    /// 502, 504 or no answer in time, as for a reply that grew too large.
    TooLarge,
    /// Not sent: what pays for it is used up for now.
    Deferred,
    /// The server failed, the connection broke, or the body was no JSON.
    Broken,
}

impl Failure {
    /// What an answer other than success means; `body` is its beginning.
    #[must_use]
    pub fn of_status(status: u16, body: &str) -> Self {
        let says = |text: &str| body.to_ascii_lowercase().contains(text);
        match status {
            429 if says("limit exceeded") && !says("rate limit") => Self::QuotaSpent,
            429 => Self::TooFast,
            401 => Self::Unauthorized,
            403 if says("missing authentication token") => Self::NoSuchPath,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            408 | 502 | 504 => Self::TooLarge,
            500.. => Self::Broken,
            other => Self::Refused(other),
        }
    }

    /// Whether the same request may succeed in a moment.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::TooFast | Self::TooLarge | Self::Broken)
    }
}

/// How long and how often to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The delay before the second attempt; it doubles from there.
    pub first: Duration,
    /// No delay is longer.
    pub longest: Duration,
    /// How many attempts one request gets.
    pub attempts: u32,
    /// How many it gets when its reply seems too large, which time does not mend.
    pub attempts_too_large: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            attempts: 8,
            attempts_too_large: 4,
        }
    }
}

impl RetryPolicy {
    /// The delay after failed attempt number `attempt` (the first is 1), or `None` when there
    /// should be no other. `random` in `[0, 1)` takes up to half of the delay away, so that
    /// clients that failed together do not come back together.
    #[must_use]
    pub fn delay(&self, failure: Failure, attempt: u32, random: f64) -> Option<Duration> {
        let attempts = match failure {
            Failure::TooLarge => self.attempts_too_large,
            _ => self.attempts,
        };
        if !failure.is_transient() || attempt >= attempts {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << (attempt - 1).min(16));
        Some(doubled.min(self.longest).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_spent_quota_is_told_from_haste() {
        let of = |body| Failure::of_status(429, body);
        assert_eq!(of(r#"{"message":"Limit Exceeded"}"#), Failure::QuotaSpent);
        assert_eq!(of(r#"{"message":"Rate limit exceeded"}"#), Failure::TooFast);
        assert_eq!(of(r#"{"message":"Too Many Requests"}"#), Failure::TooFast);
        assert_eq!(of(""), Failure::TooFast);
    }

    #[test]
    fn what_will_not_change_is_never_asked_again() {
        for (status, body) in [(400, ""), (401, ""), (403, ""), (404, ""), (429, "Limit Exceeded")]
        {
            let failure = Failure::of_status(status, body);
            assert_eq!(RetryPolicy::default().delay(failure, 1, 0.0), None, "{status}");
        }
        assert_eq!(
            Failure::of_status(403, r#"{"message":"Missing Authentication Token"}"#),
            Failure::NoSuchPath
        );
    }

    proptest! {
        /// P7: delays are bounded and so are attempts.
        #[test]
        fn delays_are_bounded(attempt in 1u32..100, random in 0.0..1.0) {
            let policy = RetryPolicy::default();
            match policy.delay(Failure::Broken, attempt, random) {
                Some(delay) => {
                    prop_assert!(attempt < policy.attempts);
                    prop_assert!(delay <= policy.longest && delay >= policy.first / 2);
                }
                None => prop_assert!(attempt >= policy.attempts),
            }
        }
    }
}
