//! Blocks: the consecutive entries of a week's ledger.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::limits::{Limits, MOST_IN_BLOCK};
use super::week::{renewed_at, week_of};
use crate::manifest::Purpose;

/// Paid requests, and the time in which they may be sent. A slot is within one week: that of the
/// ledger that pays for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// How many requests.
    pub requests: u32,
    /// How many of them were already paid for by the same week.
    pub carried: u32,
    /// When the first may be sent.
    pub from: DateTime<Utc>,
    /// The time between two requests.
    pub spacing: TimeDelta,
    /// When the next slot begins; equal to `from` if there is no rate.
    pub to: DateTime<Utc>,
}

impl Slot {
    /// The slot of `requests` that begins at `from`; `carried` of them were already paid for.
    #[must_use]
    pub fn new(requests: u32, carried: u32, from: DateTime<Utc>, spacing: TimeDelta) -> Self {
        let length = i32::try_from(requests).map_or(TimeDelta::MAX, |count| spacing * count);
        Self { requests, carried, from, spacing, to: from + length }
    }

    /// The week whose ledger pays for it.
    #[must_use]
    pub fn week(&self) -> NaiveDate {
        week_of(self.from)
    }

    /// When that week ends: what has not been sent by then must be paid for again.
    #[must_use]
    pub fn week_ends(&self) -> DateTime<Utc> {
        renewed_at(self.from)
    }
}

/// Requests that were paid for but not sent, by the week that paid for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsent(BTreeMap<NaiveDate, u32>);

impl Unsent {
    /// Adds requests that this week paid for.
    pub fn add(&mut self, week: NaiveDate, requests: u32) {
        if requests > 0 {
            *self.0.entry(week).or_default() += requests;
        }
    }

    /// Removes requests that are going to be sent after all.
    pub fn remove(&mut self, week: NaiveDate, requests: u32) {
        if let Some(left) = self.0.get_mut(&week) {
            *left = left.saturating_sub(requests);
        }
        self.0.retain(|_, left| *left > 0);
    }

    /// Removes what earlier weeks paid for, since it cannot be sent in this week.
    #[must_use]
    pub fn take_before(&mut self, week: NaiveDate) -> Self {
        let later = self.0.split_off(&week);
        Self(std::mem::replace(&mut self.0, later))
    }

    /// How many requests this week paid for.
    #[must_use]
    pub fn of(&self, week: NaiveDate) -> u32 {
        self.0.get(&week).copied().unwrap_or_default()
    }

    /// The weeks, and how many requests each of them paid for.
    pub fn iter(&self) -> impl Iterator<Item = (NaiveDate, u32)> {
        self.0.iter().map(|(week, requests)| (*week, *requests))
    }

    /// Whether everything that was paid for was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One block of the week's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The run that spends it.
    pub run: String,
    /// The run whose slot ends where this block says, if that is not its own: a run that returns
    /// requests repeats the end of the newest slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_of: Option<String>,
    /// The purpose.
    pub purpose: Purpose,
    /// How many requests it pays for; negative when requests are returned.
    pub requests: i64,
    /// When its first request may be sent.
    pub from: DateTime<Utc>,
    /// When its slot ends.
    pub to: DateTime<Utc>,
    /// When the run wrote it, by its own clock; `None` in blocks of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<DateTime<Utc>>,
    /// The week's spend including this block.
    pub spent: u64,
    /// How much of that was spent on backfills.
    pub spent_on_backfill: u64,
    /// Whether it is the last block of its run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// The running backfill; also set in blocks of other runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<RunningBackfill>,
    /// Whether the week's actual spend is higher by an unknown amount, because the ledger was lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

impl Block {
    /// The run that holds its slot.
    #[must_use]
    pub fn holder(&self) -> &str {
        self.slot_of.as_deref().unwrap_or(&self.run)
    }
}

/// A run that spends on a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningBackfill {
    /// The run.
    pub run: String,
    /// When its last slot ends.
    pub to: DateTime<Utc>,
}

/// The places at the end of a run's newest slot, and of the one right before it, whose time becomes free once the run returns them.
/// Places that have already passed are useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreePlaces {
    /// The week of the slot. The run may have sent in the last places of the previous week.
    pub week: NaiveDate,
    /// How many.
    pub places: u32,
}

/// Requests that a run returns because they were paid for but not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBack {
    /// Their purpose.
    pub purpose: Purpose,
    /// How many, by the weeks that paid for them.
    pub unsent: Unsent,
    /// Which of them are at the end of the run's slots.
    pub free: Option<FreePlaces>,
    /// Whether nothing more is sent for this purpose.
    pub ends: bool,
}

/// What a run returns to one week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned<'a> {
    /// The run.
    pub run: &'a str,
    /// The purpose of the requests.
    pub purpose: Purpose,
    /// How many were paid for but not sent.
    pub requests: u32,
    /// How many [`FreePlaces`] belong to that week.
    pub places: u32,
    /// Whether the run has ended.
    pub ends: bool,
}

/// The block after `last` that returns requests that were paid for but not sent, and their time
/// too, unless another run has taken the time after it.
#[must_use]
pub fn give_back(
    last: &Block,
    limits: &Limits,
    returned: &Returned<'_>,
    now: DateTime<Utc>,
) -> Block {
    let Returned { run, purpose, requests, places, ends } = *returned;
    let on_backfill = if purpose == Purpose::Backfill { u64::from(requests) } else { 0 };
    // A block without a slot of its own repeats the end of one that may be another's.
    let is_own = last.run == run && last.purpose == purpose && last.from < last.to;
    let places = if is_own { i32::try_from(places).unwrap_or(i32::MAX) } else { 0 };
    let free = limits.spacing().checked_mul(places).unwrap_or(TimeDelta::zero());
    let end = last.to - free;
    Block {
        run: run.to_owned(),
        slot_of: last.slot_of.clone().or_else(|| (last.run != run).then(|| last.run.clone())),
        purpose,
        requests: -i64::from(requests),
        from: end,
        to: end,
        // It repeats the end of the slot before it, so it counts only if that does: that slot may
        // have been claimed with a wrong clock.
        claimed_at: Some(now).max(last.claimed_at),
        spent: last.spent.saturating_sub(u64::from(requests)),
        spent_on_backfill: last.spent_on_backfill.saturating_sub(on_backfill),
        ends,
        backfill: last.backfill.clone().filter(|at_work| !ends || at_work.run != run),
        unknown: last.unknown,
    }
}

/// The block that records that the week's spend is unknown; the first block if the ledger was lost.
#[must_use]
pub fn unknown(now: DateTime<Utc>) -> Block {
    Block {
        run: String::new(),
        slot_of: None,
        purpose: Purpose::Incremental,
        requests: 0,
        from: now,
        to: now,
        claimed_at: Some(now),
        spent: 0,
        spent_on_backfill: 0,
        ends: true,
        backfill: None,
        unknown: true,
    }
}

/// What an unreadable block counts as: a full one whose slot begins at `now` and ends with the
/// week.
#[must_use]
pub fn presumed(before: Option<&Block>, limits: &Limits, now: DateTime<Utc>) -> Block {
    let Slot { from, to, .. } = Slot::new(MOST_IN_BLOCK, 0, now, limits.spacing());
    let requests = u64::from(MOST_IN_BLOCK);
    Block {
        run: String::new(),
        slot_of: None,
        purpose: Purpose::Backfill,
        requests: i64::from(MOST_IN_BLOCK),
        from,
        to: to.min(renewed_at(now)),
        claimed_at: Some(now),
        spent: before.map_or(0, |before| before.spent) + requests,
        spent_on_backfill: before.map_or(0, |before| before.spent_on_backfill) + requests,
        ends: false,
        backfill: before.and_then(|before| before.backfill.clone()),
        unknown: before.is_some_and(|before| before.unknown),
    }
}
