//! Blocks: what a week's ledger says, one behind the other.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::limits::{Limits, MOST_IN_BLOCK};
use super::week::{renewed_at, week_of};
use crate::manifest::Purpose;

/// Requests that are paid, and the time in which they may be sent. A slot is within one week: that
/// of the ledger that pays for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// How many requests.
    pub requests: u32,
    /// How many of them were paid before, by the same week.
    pub carried: u32,
    /// When the first may be sent.
    pub from: DateTime<Utc>,
    /// How much time lies between two.
    pub spacing: TimeDelta,
    /// When the next slot begins; equal to `from` where there is no rate.
    pub to: DateTime<Utc>,
}

impl Slot {
    /// The slot of `requests` that begins at `from`, of which `carried` were paid before.
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

    /// When that week ends: what is not sent by then has to be paid again.
    #[must_use]
    pub fn week_ends(&self) -> DateTime<Utc> {
        renewed_at(self.from)
    }
}

/// Requests that were paid and not sent, by the week that paid for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsent(BTreeMap<NaiveDate, u32>);

impl Unsent {
    /// Adds requests that this week paid for.
    pub fn add(&mut self, week: NaiveDate, requests: u32) {
        if requests > 0 {
            *self.0.entry(week).or_default() += requests;
        }
    }

    /// Takes out requests that are to be sent after all.
    pub fn remove(&mut self, week: NaiveDate, requests: u32) {
        if let Some(left) = self.0.get_mut(&week) {
            *left = left.saturating_sub(requests);
        }
        self.0.retain(|_, left| *left > 0);
    }

    /// Takes out what weeks before this one paid for: it cannot be sent in this one.
    #[must_use]
    pub fn take_before(&mut self, week: NaiveDate) -> Self {
        let later = self.0.split_off(&week);
        Self(std::mem::replace(&mut self.0, later))
    }

    /// How many this week paid for.
    #[must_use]
    pub fn of(&self, week: NaiveDate) -> u32 {
        self.0.get(&week).copied().unwrap_or_default()
    }

    /// The weeks, and how many requests each of them paid for.
    pub fn iter(&self) -> impl Iterator<Item = (NaiveDate, u32)> {
        self.0.iter().map(|(week, requests)| (*week, *requests))
    }

    /// Whether all that was paid was sent.
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
    /// What for.
    pub purpose: Purpose,
    /// How many requests it pays; less than none when they are given back.
    pub requests: i64,
    /// When its first request may be sent.
    pub from: DateTime<Utc>,
    /// When its slot ends.
    pub to: DateTime<Utc>,
    /// When the run wrote it, by its clock; none in blocks of versions that did not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<DateTime<Utc>>,
    /// What the week has taken with this block.
    pub spent: u64,
    /// How much of that backfills have taken.
    pub spent_on_backfill: u64,
    /// Whether it is the last word of its run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// The backfill that is at work, in blocks of other runs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<AtWork>,
    /// Whether the week has taken more than that, and how much is unknown: the ledger was lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// A run that spends on a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtWork {
    /// The run.
    pub run: String,
    /// When its last slot ends.
    pub to: DateTime<Utc>,
}

/// The places at the end of a run's newest slot, whose time is free once the run gives them back.
/// Those that passed before are no use to anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreePlaces {
    /// The week of the slot. The run may have sent in the last places of the week before.
    pub week: NaiveDate,
    /// How many.
    pub places: u32,
}

/// Requests that a run has paid and not sent, as it gives them back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBack {
    /// What they were for.
    pub purpose: Purpose,
    /// How many, by the weeks that paid for them.
    pub unsent: Unsent,
    /// Which of them are at the end of the newest slot.
    pub free: Option<FreePlaces>,
    /// Whether nothing more is sent for this purpose.
    pub ends: bool,
}

/// What a run gives back to one week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned<'a> {
    /// The run.
    pub run: &'a str,
    /// What the requests were for.
    pub purpose: Purpose,
    /// How many were paid and not sent.
    pub requests: u32,
    /// How many [`FreePlaces`] there are of that week.
    pub places: u32,
    /// Whether the run has ended.
    pub ends: bool,
}

/// The block behind `last` that gives back requests that were paid and not sent, and their time if
/// no one has taken the time behind it.
#[must_use]
pub fn give_back(
    last: &Block,
    limits: &Limits,
    returned: &Returned<'_>,
    now: DateTime<Utc>,
) -> Block {
    let Returned { run, purpose, requests, places, ends } = *returned;
    let on_backfill = if purpose == Purpose::Backfill { u64::from(requests) } else { 0 };
    let is_own = last.run == run && last.purpose == purpose;
    let places = if is_own { i32::try_from(places).unwrap_or(i32::MAX) } else { 0 };
    let free = limits.spacing().checked_mul(places).unwrap_or(TimeDelta::MAX);
    let end = last.to - free.min(last.to - last.from).max(TimeDelta::zero());
    Block {
        run: run.to_owned(),
        purpose,
        requests: -i64::from(requests),
        from: end,
        to: end,
        claimed_at: Some(now),
        spent: last.spent.saturating_sub(u64::from(requests)),
        spent_on_backfill: last.spent_on_backfill.saturating_sub(on_backfill),
        ends,
        backfill: last.backfill.clone().filter(|at_work| !ends || at_work.run != run),
        unknown: last.unknown,
    }
}

/// The block that says that what the week has taken is unknown; where the ledger was lost, the
/// first.
#[must_use]
pub fn unknown(now: DateTime<Utc>) -> Block {
    Block {
        run: String::new(),
        purpose: Purpose::Nightly,
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

/// What to take a block for that cannot be read: a whole one, whose slot begins at `now`, and ends
/// with the week.
#[must_use]
pub fn presumed(before: Option<&Block>, limits: &Limits, now: DateTime<Utc>) -> Block {
    let Slot { from, to, .. } = Slot::new(MOST_IN_BLOCK, 0, now, limits.spacing());
    let requests = u64::from(MOST_IN_BLOCK);
    Block {
        run: String::new(),
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
