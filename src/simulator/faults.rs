//! Chooses faults by a request's target and how often it has been requested, so that a run fails in
//! the same way however its requests interleave. The faults are applied elsewhere.

use super::text::{generator, hash};
use std::time::Duration;

/// A way in which one request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// 429, too many requests; a retry succeeds.
    TooFast,
    /// 429, the quota is spent; a retry is pointless.
    QuotaSpent,
    /// 500.
    ServerError,
    /// 502 with an HTML body.
    BadGateway,
    /// 503.
    Unavailable,
    /// 504.
    GatewayTimeout,
    /// The connection closes after half of the body.
    Reset,
    /// Half of the JSON, with a matching content length.
    Truncated,
    /// 200 with a body that is not JSON.
    NotJson,
    /// 404 for the details of a call that exists.
    DetailsMissing,
    /// The reply is delayed by [`Faults::stall_for`].
    Stall,
}

/// The probability of each [`Fault`], from 0 to 1; zero by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// The seed of all random choices.
    pub seed: u64,
    /// 429, too many requests.
    pub too_fast: f64,
    /// 500.
    pub server_error: f64,
    /// 502.
    pub bad_gateway: f64,
    /// 503.
    pub unavailable: f64,
    /// 504.
    pub gateway_timeout: f64,
    /// A connection that closes in the middle of the body.
    pub reset: f64,
    /// JSON that ends too early.
    pub truncated: f64,
    /// A reply that is not JSON.
    pub not_json: f64,
    /// 404 for details that exist.
    pub details_missing: f64,
    /// A delayed reply.
    pub stall: f64,
    /// The delay of such a reply.
    pub stall_for: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 1,
            too_fast: 0.0,
            server_error: 0.0,
            bad_gateway: 0.0,
            unavailable: 0.0,
            gateway_timeout: 0.0,
            reset: 0.0,
            truncated: 0.0,
            not_json: 0.0,
            details_missing: 0.0,
            stall: 0.0,
            stall_for: Duration::from_secs(30),
        }
    }
}

impl Faults {
    /// Every kind of temporary fault except stalls, equally often; `share` in total.
    #[must_use]
    pub fn all(seed: u64, share: f64) -> Self {
        let each = share / 9.0;
        Self {
            seed,
            too_fast: each,
            server_error: each,
            bad_gateway: each,
            unavailable: each,
            gateway_timeout: each,
            reset: each,
            truncated: each,
            not_json: each,
            details_missing: each,
            ..Self::default()
        }
    }

    /// The fault of the `attempt`-th request for a target.
    pub(super) fn decide(&self, target: &str, attempt: u32) -> Option<Fault> {
        let table = [
            (self.too_fast, Fault::TooFast),
            (self.server_error, Fault::ServerError),
            (self.bad_gateway, Fault::BadGateway),
            (self.unavailable, Fault::Unavailable),
            (self.gateway_timeout, Fault::GatewayTimeout),
            (self.reset, Fault::Reset),
            (self.truncated, Fault::Truncated),
            (self.not_json, Fault::NotJson),
            (self.details_missing, Fault::DetailsMissing),
            (self.stall, Fault::Stall),
        ];
        let mut left = generator(self.seed ^ hash(target.as_bytes()), u64::from(attempt)).f64();
        for (probability, fault) in table {
            if left < probability {
                return Some(fault);
            }
            left -= probability;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failing test can be replayed.
    #[test]
    fn the_same_seed_fails_the_same_requests() {
        let faults = Faults::all(7, 0.5);
        let fate = |faults: &Faults| -> Vec<Option<Fault>> {
            (0..200).map(|attempt| faults.decide("/calls?skip=0", attempt)).collect()
        };
        assert_eq!(fate(&faults), fate(&faults.clone()));
        assert_ne!(fate(&faults), fate(&Faults::all(8, 0.5)));
    }

    /// Every listed kind of fault occurs.
    #[test]
    fn every_kind_of_fault_occurs_about_as_often_as_configured() {
        let faults = Faults { stall: 0.1, ..Faults::all(3, 0.9) };
        let mut counts = std::collections::BTreeMap::new();
        for attempt in 0..10_000 {
            *counts.entry(faults.decide("/users", attempt)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 10, "{counts:?}");
        assert!(counts.values().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
