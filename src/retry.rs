//! What to do after a failed request: retry, request less, or give up; and when failures are an
//! outage.
//!
//! Pure decisions: verdicts and delays from a status, the beginning of a body, the attempt's
//! number, a random number and the time elapsed. No clock is read and nothing waits here.

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
    /// 403: the credentials are wrong, or lack permission.
    Forbidden,
    /// 403 `Missing Authentication Token`, which is the gateway's answer for an unknown path.
    NoSuchPath,
    /// 404: not found.
    NotFound,
    /// 400 and the like: the request is wrong, and a retry would be too.
    Refused(u16),
    /// 502, 504 or no answer in time, as when a reply is too large.
    TooLarge,
    /// Not sent: the budget that pays for it is exhausted for now.
    Deferred,
    /// 200 with unexpected content: an error or an empty body.
    NoList,
    /// 200 with a page of HTML: a sign-in page, a proxy, or another server answers for the API.
    Page,
    /// The same body came twice and is not JSON: a record in it is broken.
    Garbled,
    /// The host's name does not resolve, or its certificate does not verify.
    Unreachable,
    /// The server failed, the connection broke, or the body was not JSON.
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

    /// Whether the same request may soon succeed.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::TooFast
                | Self::TooLarge
                | Self::Unreachable
                | Self::Broken
                | Self::NoList
                | Self::Page
        )
    }

    /// Whether a server that is not the API would answer like this to every request.
    #[must_use]
    pub fn may_be_another_servers(self) -> bool {
        matches!(self, Self::Page | Self::NotFound | Self::NoSuchPath | Self::Refused(300..=399))
    }

    /// Whether the answer settles the request and shows that the API works: 2xx, or 4xx other than
    /// 408 and 429. A redirect or an unreadable body settles nothing.
    #[must_use]
    pub fn settles(self) -> bool {
        match self {
            // In the last two cases the server works, but its answer is of no use.
            Self::Unauthorized
            | Self::Forbidden
            | Self::NoSuchPath
            | Self::NotFound
            | Self::NoList
            | Self::Garbled => true,
            Self::Refused(status) => matches!(status, 200..=299 | 400..=499),
            Self::TooFast
            | Self::QuotaSpent
            | Self::TooLarge
            | Self::Deferred
            | Self::Unreachable
            | Self::Page
            | Self::Broken => false,
        }
    }
}

/// The longest server-requested wait that is honored.
pub const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// The longest total of such waits in a run.
pub const MOST_WAITING: Duration = Duration::from_secs(60 * 60);

/// The waits that a server requested during a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// Until when nothing is sent, measured from the client's start.
    until: Duration,
    /// The total of all waits, counting each moment once.
    waited: Duration,
}

impl Waits {
    /// Records that at `now` the server requested a wait of this length, in a run with `left` to
    /// go; false when that is too long to wait.
    pub fn ask(&mut self, now: Duration, wait: Duration, left: Option<Duration>) -> bool {
        let until = now.saturating_add(wait);
        let more = until.saturating_sub(self.until.max(now));
        let waited = self.waited.saturating_add(more);
        let fits = left.is_none_or(|left| wait < left);
        if wait > LONGEST_WAIT || waited > MOST_WAITING || !fits {
            return false;
        }
        (self.until, self.waited) = (self.until.max(until), waited);
        true
    }
}

/// How many requests in a row may each be too large to be answered.
const MOST_TOO_LARGE: u32 = 3;
/// The same for pages, which are skipped: this many adjacent records may each be too large.
const MOST_TOO_LARGE_IN_LISTS: u32 = 12;

/// Whether the API answers, judging by the requests so far. Instants are measured from the client's
/// start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// When an answer last settled a request.
    settled_at: Option<Duration>,
    /// When the first request failed since.
    failing_since: Option<Duration>,
    /// How many requests in a row were given up since then because their replies seemed too large.
    too_large: u32,
}

impl Health {
    /// Records an answer that settles its request, whatever it says.
    pub fn settle(&mut self, now: Duration) {
        *self = Self { settled_at: Some(now), ..Self::default() };
    }

    /// Records a failed attempt. Only transient failures count, starting with the first one:
    /// waiting for a slot is not a failure.
    pub fn fail(&mut self, failure: Failure, now: Duration) {
        if failure.settles() {
            self.settle(now);
        } else if failure.is_transient() {
            self.failing_since.get_or_insert(now);
        }
    }

    /// Whether an answer has settled a request yet.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.settled_at.is_some()
    }

    /// Whether it is time to see if the server still answers a request that it has answered
    /// before: several replies in a row seemed too large, or it took long to see that.
    #[must_use]
    pub fn needs_proof(&self, now: Duration, limit: Duration) -> bool {
        let most = self.settled_at.map_or(MOST_TOO_LARGE, |_| MOST_TOO_LARGE_IN_LISTS);
        self.too_large * 2 >= most || self.is_out(now, limit / 6)
    }

    /// Whether requests have failed for long enough, with no answer settling one, that the run
    /// ends.
    #[must_use]
    pub fn is_out(&self, now: Duration, limit: Duration) -> bool {
        self.failing_since.is_some_and(|since| now.saturating_sub(since) >= limit)
    }

    /// Whether a request that began at `begun` and has no attempts left is still retried, because
    /// nothing else has been answered since either. A single reply may always be too large; several
    /// in a row are an outage, and so is the very first.
    ///
    /// In a list, a page that cannot be sent is skipped, so more of them are given up before that
    /// counts as an outage, even before anything was answered. An answer to any other request in
    /// between shows that it is none.
    pub fn tries_on(&mut self, failure: Failure, is_page: bool, begun: Duration) -> bool {
        let most = match (is_page, self.settled_at) {
            (true, Some(_)) => MOST_TOO_LARGE_IN_LISTS,
            (false, None) => 0,
            (true, None) | (false, Some(_)) => MOST_TOO_LARGE,
        };
        let is_alone = failure == Failure::TooLarge && {
            self.too_large += 1;
            self.too_large <= most
        };
        let nothing_since = self.settled_at.is_none_or(|settled_at| settled_at <= begun);
        failure.is_transient() && nothing_since && !is_alone
    }
}

/// How long and how often to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The delay before the second attempt; it doubles from there.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// How many attempts one request gets.
    pub attempts: u32,
    /// How many it gets when its reply seems too large, which does not improve with time.
    pub attempts_too_large: u32,
    /// How many it gets when its reply is whole but unexpected, which rarely improves with time.
    pub attempts_no_list: u32,
    /// How many it gets when its server was never reached and probably never will be.
    pub attempts_unreachable: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            attempts: 8,
            attempts_too_large: 4,
            attempts_no_list: 4,
            attempts_unreachable: 3,
        }
    }
}

impl RetryPolicy {
    /// The delay after failed attempt number `attempt` (the first is 1), or `None` when there
    /// should be no other. `random` in `[0, 1)` takes off up to half of the delay, so that clients
    /// that failed together do not retry together.
    #[must_use]
    pub fn delay(&self, failure: Failure, attempt: u32, random: f64) -> Option<Duration> {
        let attempts = match failure {
            Failure::TooLarge => self.attempts_too_large,
            Failure::NoList | Failure::Page => self.attempts_no_list,
            Failure::Unreachable => self.attempts_unreachable,
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
    fn a_spent_quota_differs_from_a_rate_limit() {
        let of = |body| Failure::of_status(429, body);
        assert_eq!(of(r#"{"message":"Limit Exceeded"}"#), Failure::QuotaSpent);
        assert_eq!(of(r#"{"message":"Rate limit exceeded"}"#), Failure::TooFast);
        assert_eq!(of(r#"{"message":"Too Many Requests"}"#), Failure::TooFast);
        assert_eq!(of(""), Failure::TooFast);
    }

    #[test]
    fn permanent_failures_are_never_retried() {
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

    /// Design 6.3: a run ends as an outage when nothing settles a request, whatever the answers
    /// say; every status either settles or does not.
    #[test]
    fn only_replies_that_settle_no_request_are_an_outage() {
        let limit = Duration::from_secs(120);
        for (status, body, settles) in [
            (200, "", true),
            (204, "", true),
            (301, "", false),
            (400, "", true),
            (401, "", true),
            (403, "", true),
            (403, "Missing Authentication Token", true),
            (404, "", true),
            (408, "", false),
            (410, "", true),
            (422, "", true),
            (429, "", false),
            (429, "Limit Exceeded", false),
            (500, "", false),
            (502, "", false),
            (503, "", false),
            (504, "", false),
        ] {
            let failure = Failure::of_status(status, body);
            assert_eq!(failure.settles(), settles, "{status} {body}");
            let mut health = Health::default();
            health.fail(Failure::TooLarge, Duration::ZERO);
            health.fail(failure, Duration::from_secs(60));
            assert_eq!(health.is_out(limit, limit), !settles, "{status} {body}");
        }
        let mut health = Health::default();
        health.fail(Failure::NotFound, Duration::ZERO);
        health.fail(Failure::Broken, limit);
        assert!(!health.is_out(limit + Duration::from_secs(119), limit), "counted from a failure");
        assert!(health.is_out(limit * 2, limit));
    }

    /// Design 6.3: 15 minutes a wait, an hour a run, and the time the run has left; overlapping
    /// waits count once.
    #[test]
    fn waits_are_kept_within_their_bounds() {
        let seconds = Duration::from_secs;
        let mut waits = Waits::default();
        assert!(waits.ask(seconds(0), seconds(900), None));
        assert!(waits.ask(seconds(10), seconds(890), None), "the same wait, heard of by another");
        assert!(!waits.ask(seconds(900), seconds(901), None));
        assert!(!waits.ask(seconds(900), seconds(100), Some(seconds(100))));
        for wait in 1..4 {
            assert!(waits.ask(seconds(900 * wait), seconds(900), None), "{wait}");
        }
        assert!(!waits.ask(seconds(3_600), seconds(1), None), "an hour is over");
    }

    /// A request is retried beyond its attempts only while nothing is answered; a reply that is
    /// always too large is given up, unless it is one of many.
    #[test]
    fn only_possible_outages_are_retried_beyond_the_attempts() {
        let (begun, later) = (Duration::from_secs(1), Duration::from_secs(2));
        assert!(Health::default().tries_on(Failure::TooLarge, false, begun), "the first of all");
        let mut health = Health::default();
        health.fail(Failure::NotFound, later);
        assert!(!health.tries_on(Failure::Broken, false, begun), "404 is an answer");
        assert!(health.tries_on(Failure::Broken, false, later));
        let tried: Vec<_> =
            (0..5).map(|_| health.tries_on(Failure::TooLarge, false, later)).collect();
        assert_eq!(tried, [false, false, false, true, true]);
        health.fail(Failure::Refused(400), later);
        assert!(!health.tries_on(Failure::TooLarge, false, later), "an answer in between");
        let given_up = |mut health: Health| {
            (0..20).take_while(|_| !health.tries_on(Failure::TooLarge, true, later)).count()
        };
        assert_eq!(given_up(Health::default()), 3, "the first records of all");
        assert_eq!(given_up(health), 11, "records in a row, after one other");
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
