//! Spending: every request is paid from the lake's ledger before it is sent.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::table_run::blocking;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::fetch::{Allowance, Client, Refusal, Slot};
use crate::lake::Ledger;
use crate::manifest::Purpose;
use crate::quota::{self, Claim, Limits};

/// From here on every request of `client` is paid from the lake's ledger before it is sent. What is
/// paid and not sent is the client's to give back.
pub fn pay_from_ledger(client: &Client, ledger: Ledger, limits: Limits, clock: Clock) {
    let (claimed, begun) = (AtomicU32::new(0), Once::new());
    client.allow(Arc::new(Spending { ledger, limits, clock, claimed, begun }));
}

/// Pays from a ledger, within limits.
struct Spending {
    ledger: Ledger,
    limits: Limits,
    clock: Clock,
    claimed: AtomicU32,
    begun: Once,
}

/// A wait that the user is told of: where nobody else is at work there is none.
const LONG: TimeDelta = TimeDelta::seconds(2);

impl Spending {
    fn slot(&self, slot: quota::Slot) -> Slot {
        let wait = slot.from - self.clock.now();
        self.begun.call_once(|| say(wait));
        let wait = wait.to_std().unwrap_or_default();
        let spacing = slot.spacing.to_std().unwrap_or_default();
        Slot { requests: slot.requests, from: Instant::now() + wait, spacing }
    }
}

impl Allowance for Spending {
    fn claim(&self, purpose: Purpose, carried: u32) -> BoxFuture<'_, Result<Slot, Refusal>> {
        let claimed = self.claimed.fetch_add(1, Ordering::Relaxed);
        let (ledger, limits) = (self.ledger.clone(), self.limits.behind(claimed));
        let now = self.clock.now();
        Box::pin(async move {
            match blocking(move || ledger.claim(&limits, purpose, carried, now)).await {
                Ok(Claim::Block(_, slot)) => Ok(self.slot(slot)),
                Ok(Claim::Spent { limit, of_share, renewed_at }) => {
                    let whose = if of_share { "the backfill's" } else { "all" };
                    let error = spent(whose, limit, renewed_at, now);
                    Err(match purpose {
                        Purpose::Nightly => Refusal::Spent(error),
                        Purpose::Backfill => Refusal::Deferred(error),
                    })
                }
                Ok(Claim::Unknown { renewed_at }) => Err(Refusal::Deferred(unknown(renewed_at))),
                Err(error) => Err(Refusal::Spent(error)),
            }
        })
    }

    fn give_back(&self, purpose: Purpose, unused: u32) -> BoxFuture<'_, Result<(), Error>> {
        let (ledger, limits, now) = (self.ledger.clone(), self.limits, self.clock.now());
        Box::pin(blocking(move || ledger.give_back(&limits, purpose, unused, now)))
    }
}

/// Says why a run that has begun asks for nothing yet.
fn say(wait: TimeDelta) {
    if wait >= LONG {
        let seconds = wait.num_seconds();
        tracing::warn!(
            "the first request waits {seconds} s: until then another run has paid for what the rate \
             allows, one that is at work or was killed"
        );
    }
}

fn spent(whose: &str, limit: u64, renewed_at: DateTime<Utc>, now: DateTime<Utc>) -> Error {
    let when = renewed_at.format("%A %Y-%m-%d %H:%M UTC");
    let hours = (renewed_at - now).num_hours();
    let message = format!(
        "{whose} {limit} requests for this week are spent; go on from {when} (in {hours} hours)"
    );
    Error::new(ErrorKind::Exhausted, message).with_hint(
        "run the same command again then, or raise --weekly-quota if the API allows more",
    )
}

fn unknown(renewed_at: DateTime<Utc>) -> Error {
    let when = renewed_at.format("%A %Y-%m-%d %H:%M UTC");
    let message = format!(
        "what this week has taken of the quota is not known, since the lake's ledger was lost; the \
         history waits until {when}"
    );
    Error::new(ErrorKind::Exhausted, message)
        .with_hint("or give --weekly-quota, with what the API still allows this week")
}
