//! Spending: every request is paid for from the lake's ledger before it is sent.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::blocking::blocking;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::fetch::{Allowance, Client, Refusal, Slot};
use crate::ledger::Ledger;
use crate::manifest::Purpose;
use crate::quota::{self, Claim, GivenBack, Limits, Unsent};

/// From now on, every request of `client` is paid for from the lake's ledger before it is sent. The
/// client must return what was paid for but not sent.
pub fn pay_from_ledger(client: &Client, ledger: Ledger, limits: Limits, clock: Clock) {
    client.allow(spending(ledger, limits, clock));
}

/// Pays for requests from the lake's ledger, within limits.
pub(super) fn spending(ledger: Ledger, limits: Limits, clock: Clock) -> Arc<dyn Allowance> {
    let (claimed, waits) = (AtomicU32::new(0), Mutex::default());
    Arc::new(Spending { ledger, limits, clock, claimed, waits })
}

/// Pays from a ledger, within limits.
struct Spending {
    ledger: Ledger,
    limits: Limits,
    clock: Clock,
    claimed: AtomicU32,
    waits: Mutex<Waits>,
}

/// Waits caused by other runs.
#[derive(Debug, Default)]
struct Waits {
    /// When the run's own newest slot ends.
    own_end: Option<DateTime<Utc>>,
    /// The longest wait that has been reported.
    said: TimeDelta,
}

/// The shortest wait that is reported. A run that is alone never waits this long.
const LONG: TimeDelta = TimeDelta::seconds(2);

impl Waits {
    /// How long the run waits for others before a slot, if that should be reported: the wait must
    /// be long, and twice as long as any reported before.
    fn note(&mut self, slot: &quota::Slot, now: DateTime<Utc>) -> Option<TimeDelta> {
        let since = self.own_end.map_or(now, |end| end.max(now));
        self.own_end = self.own_end.max(Some(slot.to));
        let wait = slot.from - since;
        let is_said = wait >= LONG && wait >= self.said * 2;
        is_said.then(|| {
            self.said = wait;
            wait
        })
    }
}

impl Spending {
    fn slot(&self, slot: quota::Slot) -> Slot {
        let now = self.clock.now();
        let wait = self.waits.lock().unwrap_or_else(PoisonError::into_inner).note(&slot, now);
        wait.inspect(|wait| say(*wait, slot.from));
        let from_now = |at: DateTime<Utc>| Instant::now() + (at - now).to_std().unwrap_or_default();
        Slot {
            requests: slot.requests,
            carried: slot.carried,
            week: slot.week(),
            from: from_now(slot.from),
            spacing: slot.spacing.to_std().unwrap_or_default(),
            week_ends: Some(from_now(slot.week_ends())),
        }
    }
}

impl Allowance for Spending {
    fn claim(&self, purpose: Purpose, unsent: Unsent) -> BoxFuture<'_, Result<Slot, Refusal>> {
        let claimed = self.claimed.fetch_add(1, Ordering::Relaxed);
        let (ledger, limits) = (self.ledger.clone(), self.limits.behind(claimed));
        let now = self.clock.now();
        Box::pin(async move {
            match blocking(move || ledger.claim(&limits, purpose, &unsent, now)).await {
                Ok(Claim::Block(_, slot)) => Ok(self.slot(slot)),
                Ok(Claim::Spent { limit, of_share, renewed_at }) => {
                    let whose = if of_share { "the backfill's" } else { "all" };
                    let error = spent(whose, limit, renewed_at, now);
                    Err(match purpose {
                        Purpose::Incremental => Refusal::Spent(error),
                        Purpose::Backfill => Refusal::Deferred(error),
                    })
                }
                Ok(Claim::Unknown { renewed_at }) => Err(Refusal::Deferred(unknown(renewed_at))),
                Ok(Claim::NextWeek(_)) => {
                    let message = "the ledger names no week whose slot is free";
                    Err(Refusal::Spent(Error::new(ErrorKind::Internal, message)))
                }
                Err(error) => Err(Refusal::Spent(error)),
            }
        })
    }

    fn give_back(&self, given_back: GivenBack) -> BoxFuture<'_, Result<(), Error>> {
        let (ledger, limits, now) = (self.ledger.clone(), self.limits, self.clock.now());
        let back = move || ledger.give_back(&limits, &given_back, now);
        Box::pin(blocking(back))
    }
}

/// Reports why a run sends nothing for a while.
fn say(wait: TimeDelta, until: DateTime<Utc>) {
    let (seconds, until) = (wait.num_seconds(), until.format("%H:%M:%S UTC"));
    tracing::warn!(
        "waiting {seconds} s, until {until}, for the rate limit: another run on this lake has \
         reserved the time before"
    );
}

fn spent(whose: &str, limit: u64, renewed_at: DateTime<Utc>, now: DateTime<Utc>) -> Error {
    let when = renewed_at.format("%A %Y-%m-%d %H:%M UTC");
    let hours = (renewed_at - now).num_hours();
    let message = format!(
        "{whose} {limit} requests for this week are spent; continue at {when} (in {hours} hours)"
    );
    Error::new(ErrorKind::Exhausted, message).with_hint(
        "run the same command again then, or raise --weekly-quota if the API allows more",
    )
}

fn unknown(renewed_at: DateTime<Utc>) -> Error {
    let when = renewed_at.format("%A %Y-%m-%d %H:%M UTC");
    let message = format!(
        "it is unknown how much of this week's quota is spent, because the lake's ledger was \
         lost; the backfill waits until {when}"
    );
    Error::new(ErrorKind::Exhausted, message)
        .with_hint("or pass what the API still allows this week as --weekly-quota")
}
