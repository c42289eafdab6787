//! The quota: how many requests a week may still take, and when each may be sent.
//!
//! Enters: the last block of the week's ledger, the limits, the time. Leaves: the next block, or
//! when to go on. Never here: the ledger's objects, a clock, or waiting.
//!
//! Requests are paid in blocks before they are sent. A block has a slot of time of its own, behind
//! that of the block before, so that processes that share a ledger share the rate too. The week
//! begins on Sunday 00:00 UTC, as the API's does (the vendor's own words).

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::manifest::Purpose;

/// No block holds more requests.
pub const MOST_IN_BLOCK: u32 = 100;
/// A run's first block: about a second's requests.
const FIRST_BLOCK: u32 = 10;
/// The part of the allowed rate that is used: the server's second is not ours, and on its way a
/// request may gain some hundredths of a second on the one before.
const SHARE_OF_RATE: f64 = 0.97;
/// A slot that begins later than this is that of a clock that is wrong, and is not waited for.
const MOST_AHEAD: TimeDelta = TimeDelta::hours(1);

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Requests a week.
    pub weekly: u64,
    /// The part of them that backfills may take, from 0 to 1.
    pub share: f64,
    /// Requests a second; 0 for as fast as they go.
    pub rate: f64,
    /// Whether the user has said how many requests the week may take in so many words, which counts
    /// where the lake does not know any more what it has taken.
    pub told: bool,
    /// Requests in one block at most.
    pub block: u32,
}

impl Default for Limits {
    /// What the vendor allows, and seven tenths of it for backfills.
    fn default() -> Self {
        Self { weekly: 100_000, share: 0.7, rate: 10.0, told: false, block: MOST_IN_BLOCK }
    }
}

impl Limits {
    /// How many requests a week backfills may take.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of requests, rounded down"
    )]
    pub fn backfill(&self) -> u64 {
        (self.weekly as f64 * self.share.clamp(0.0, 1.0)).floor() as u64
    }

    /// How much time lies between two requests.
    #[must_use]
    pub fn spacing(&self) -> TimeDelta {
        spacing(self.rate)
    }

    /// These limits for the next block of a run that has claimed `claimed` so far: the first is
    /// small and each one twice that before. What a killed run has paid and not sent is lost, and the
    /// next waits until its slot is over: so neither is much more than the run has used.
    #[must_use]
    pub fn behind(&self, claimed: u32) -> Self {
        let block = FIRST_BLOCK << claimed.min(8);
        Self { block: block.min(self.block), ..*self }
    }

    /// How many requests one block holds: fewer where a lost block would be much of the week.
    fn block(&self) -> u32 {
        let most = self.block.clamp(1, MOST_IN_BLOCK);
        u32::try_from(self.weekly / 50).unwrap_or(most).clamp(1, most)
    }
}

/// How much time lies between two requests at `rate` a second; none if it is 0.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "microseconds, rounded up")]
pub fn spacing(rate: f64) -> TimeDelta {
    if rate <= 0.0 {
        return TimeDelta::zero();
    }
    TimeDelta::microseconds((1_000_000.0 / (rate * SHARE_OF_RATE)).ceil() as i64)
}

/// Requests that are paid, and the time in which they may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// How many requests.
    pub requests: u32,
    /// When the first may be sent.
    pub from: DateTime<Utc>,
    /// How much time lies between two.
    pub spacing: TimeDelta,
    /// When the next slot begins; equal to `from` where there is no rate.
    pub to: DateTime<Utc>,
}

impl Slot {
    /// The slot of `requests` that begins at `from`.
    #[must_use]
    pub fn new(requests: u32, from: DateTime<Utc>, spacing: TimeDelta) -> Self {
        let length = i32::try_from(requests).map_or(TimeDelta::MAX, |count| spacing * count);
        Self { requests, from, spacing, to: from + length }
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
    /// Whether the week has taken more than that, and nobody knows how much: the ledger was lost.
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

/// What comes of asking for a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This is the next block, and what may be sent in its slot.
    Block(Block, Slot),
    /// The week's quota is spent, or for a backfill its share of it.
    Spent {
        /// How much that is.
        limit: u64,
        /// Whether only the share is.
        of_share: bool,
        /// When the next week begins.
        renewed_at: DateTime<Utc>,
    },
    /// A backfill asks, and what the week has taken is not known.
    Unknown {
        /// When the next week begins.
        renewed_at: DateTime<Utc>,
    },
}

/// The Sunday on which the week of an instant begins.
#[must_use]
pub fn week_of(now: DateTime<Utc>) -> NaiveDate {
    let date = now.date_naive();
    let days = date.weekday().num_days_from_sunday();
    date.checked_sub_days(Days::new(u64::from(days))).unwrap_or(date)
}

/// When the week of an instant ends.
#[must_use]
pub fn renewed_at(now: DateTime<Utc>) -> DateTime<Utc> {
    week_of(now).and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(7)
}

/// The next block behind `last`, the week's newest. `carried` requests are paid already: their
/// slot passed before they could be sent.
#[must_use]
pub fn claim(
    last: Option<&Block>,
    limits: &Limits,
    purpose: Purpose,
    carried: u32,
    run: &str,
    now: DateTime<Utc>,
) -> Claim {
    let unknown = last.is_some_and(|last| last.unknown) && !limits.told;
    if unknown && purpose == Purpose::Backfill {
        return Claim::Unknown { renewed_at: renewed_at(now) };
    }
    let spent = last.map_or(0, |last| last.spent);
    let spent_on_backfill = last.map_or(0, |last| last.spent_on_backfill);
    let left = limits.weekly.saturating_sub(spent);
    let of_share = purpose == Purpose::Backfill && left > 0;
    let (limit, left) = match purpose {
        Purpose::Backfill => {
            let share = limits.backfill();
            let limit = if of_share { share } else { limits.weekly };
            (limit, left.min(share.saturating_sub(spent_on_backfill)))
        }
        Purpose::Nightly => (limits.weekly, left),
    };
    let wanted = limits.block();
    let carried = carried.min(wanted);
    let paid = u32::try_from(left).unwrap_or(u32::MAX).min(wanted - carried);
    if carried + paid == 0 {
        return Claim::Spent { limit, of_share, renewed_at: renewed_at(now) };
    }
    let from = last.map_or(now, |last| last.to.max(now).min(now + MOST_AHEAD));
    let slot = Slot::new(carried + paid, from, limits.spacing());
    let on_backfill = if purpose == Purpose::Backfill { u64::from(paid) } else { 0 };
    let block = Block {
        run: run.to_owned(),
        purpose,
        requests: i64::from(paid),
        from,
        to: slot.to,
        spent: spent + u64::from(paid),
        spent_on_backfill: spent_on_backfill + on_backfill,
        ends: false,
        backfill: match purpose {
            Purpose::Backfill => Some(AtWork { run: run.to_owned(), to: slot.to }),
            Purpose::Nightly => last.and_then(|last| last.backfill.clone()),
        },
        unknown,
    };
    Claim::Block(block, slot)
}

/// The block behind `last` that gives back requests that were paid and not sent, and their time if
/// nobody has taken the time behind it.
#[must_use]
pub fn give_back(last: &Block, limits: &Limits, purpose: Purpose, unused: u32, run: &str) -> Block {
    let on_backfill = if purpose == Purpose::Backfill { u64::from(unused) } else { 0 };
    let free = if last.run == run { last.requests.clamp(0, i64::from(unused)) } else { 0 };
    let free = i32::try_from(free).map_or(TimeDelta::zero(), |free| limits.spacing() * free);
    let end = (last.to - free).max(last.from);
    Block {
        run: run.to_owned(),
        purpose,
        requests: -i64::from(unused),
        from: end,
        to: end,
        spent: last.spent.saturating_sub(u64::from(unused)),
        spent_on_backfill: last.spent_on_backfill.saturating_sub(on_backfill),
        ends: true,
        backfill: last.backfill.clone().filter(|at_work| at_work.run != run),
        unknown: last.unknown,
    }
}

/// The block that says that what the week has taken is not known; where the ledger was lost, the
/// first.
#[must_use]
pub fn unknown(now: DateTime<Utc>) -> Block {
    Block {
        run: String::new(),
        purpose: Purpose::Nightly,
        requests: 0,
        from: now,
        to: now,
        spent: 0,
        spent_on_backfill: 0,
        ends: true,
        backfill: None,
        unknown: true,
    }
}

/// What to take a block for that cannot be read: a whole one, whose slot begins now.
#[must_use]
pub fn presumed(before: Option<&Block>, limits: &Limits, now: DateTime<Utc>) -> Block {
    let Slot { from, to, .. } = Slot::new(MOST_IN_BLOCK, now, limits.spacing());
    let requests = u64::from(MOST_IN_BLOCK);
    Block {
        run: String::new(),
        purpose: Purpose::Backfill,
        requests: i64::from(MOST_IN_BLOCK),
        from,
        to,
        spent: before.map_or(0, |before| before.spent) + requests,
        spent_on_backfill: before.map_or(0, |before| before.spent_on_backfill) + requests,
        ends: false,
        backfill: before.and_then(|before| before.backfill.clone()),
        unknown: before.is_some_and(|before| before.unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_week_begins_on_sunday() {
        let sunday = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
        assert_eq!(week_of(at("2026-11-22T00:00:00Z")), sunday);
        assert_eq!(week_of(at("2026-11-28T23:59:59Z")), sunday);
        assert_eq!(renewed_at(at("2026-11-25T07:00:00Z")), at("2026-11-29T00:00:00Z"));
    }

    #[test]
    fn a_rate_of_none_has_slots_without_length() {
        let limits = Limits { rate: 0.0, ..Limits::default() };
        let now = at("2026-11-25T07:00:00Z");
        let Claim::Block(block, slot) = claim(None, &limits, Purpose::Nightly, 0, "r", now) else {
            panic!("there is quota")
        };
        assert_eq!((block.from, block.to, slot.requests), (now, now, 100));
    }

    #[test]
    fn nobody_waits_for_a_clock_that_is_wrong() {
        let now = at("2026-11-25T07:00:00Z");
        let day = TimeDelta::days(1);
        let wrong = quota_block(now + day);
        let claimed = claim(Some(&wrong), &Limits::default(), Purpose::Nightly, 0, "r", now);
        let Claim::Block(block, _) = claimed else { panic!("there is quota") };
        assert_eq!(block.from, now + MOST_AHEAD);
    }

    /// What a run that is killed has paid and not sent is hardly more than it has used.
    #[test]
    fn a_runs_blocks_begin_small() {
        let blocks = |weekly| {
            let limits = Limits { weekly, ..Limits::default() };
            (0..40).map(|claimed| limits.behind(claimed).block()).collect::<Vec<_>>()
        };
        assert_eq!(blocks(100_000)[..6], [10, 20, 40, 80, 100, 100]);
        assert_eq!(blocks(100_000)[39], 100);
        assert_eq!(blocks(1_000)[..4], [10, 20, 20, 20]);
        assert_eq!(blocks(40)[0], 1);
    }

    /// Nobody knows what a week has taken whose ledger was lost: backfills wait for the next, or
    /// for the user's word. Nights go on.
    #[test]
    fn a_backfill_waits_where_the_weeks_spend_is_unknown() {
        let now = at("2026-11-25T07:00:00Z");
        let lost = unknown(now);
        let limits = Limits::default();
        let asked = claim(Some(&lost), &limits, Purpose::Backfill, 0, "r", now);
        assert_eq!(asked, Claim::Unknown { renewed_at: at("2026-11-29T00:00:00Z") });
        let Claim::Block(night, _) = claim(Some(&lost), &limits, Purpose::Nightly, 0, "r", now)
        else {
            panic!("a night is let through")
        };
        assert!(night.unknown, "and it is not known any better afterwards");
        let told = Limits { told: true, ..limits };
        let Claim::Block(block, _) = claim(Some(&night), &told, Purpose::Backfill, 0, "r", now)
        else {
            panic!("the user has said so")
        };
        assert!(!block.unknown);
    }

    fn quota_block(to: DateTime<Utc>) -> Block {
        presumed(None, &Limits::default(), to)
    }

    #[derive(Debug, Clone)]
    enum Act {
        Claim { backfill: bool, carried: u32, after: i64 },
        GiveBack(u32),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let claim = (any::<bool>(), 0u32..150, 0i64..30_000)
            .prop_map(|(backfill, carried, after)| Act::Claim { backfill, carried, after });
        prop::collection::vec(
            prop_oneof![4 => claim, 1 => (0u32..100).prop_map(Act::GiveBack)],
            0..80,
        )
    }

    proptest! {
        /// P7: whoever claims, in whatever order, the week's quota and the backfills' share hold,
        /// and slots never overlap nor hold more than the rate allows.
        #[test]
        fn neither_quota_nor_share_nor_rate_is_ever_passed(
            acts in acts(),
            weekly in 0u64..2_000,
            share in 0.0f64..1.0,
            rate in 0.5f64..50.0,
            block in 0u32..200,
        ) {
            let limits = Limits { weekly, share, rate, told: false, block };
            let mut now = at("2026-11-23T00:00:00Z");
            let mut last: Option<Block> = None;
            let (mut sent, mut on_backfill, mut end) = (0i64, 0i64, now);
            // Requests that were paid and could not be sent; nobody carries more than there are.
            let mut spare = 0u32;
            for act in acts {
                match act {
                    Act::Claim { backfill, carried, after } => {
                        now += TimeDelta::milliseconds(after);
                        let purpose = if backfill { Purpose::Backfill } else { Purpose::Nightly };
                        let carried = carried.min(spare);
                        let claimed = claim(last.as_ref(), &limits, purpose, carried, "r", now);
                        let Claim::Block(block, slot) = claimed else { continue };
                        prop_assert!(block.from >= end && block.from >= now);
                        let gap = (slot.to - slot.from) / i32::try_from(slot.requests).unwrap();
                        prop_assert!(gap.as_seconds_f64() >= 1.0 / rate);
                        prop_assert!(slot.requests <= MOST_IN_BLOCK);
                        spare -= slot.requests - u32::try_from(block.requests).unwrap();
                        sent += block.requests;
                        on_backfill += if backfill { block.requests } else { 0 };
                        end = block.to;
                        last = Some(block);
                    }
                    Act::GiveBack(unused) => {
                        let Some(before) = &last else { continue };
                        if before.purpose == Purpose::Backfill || i64::from(unused) > before.requests {
                            continue;
                        }
                        let given = give_back(before, &limits, before.purpose, unused, "r");
                        prop_assert!(given.to >= before.from && given.to <= before.to);
                        end = given.to;
                        last = Some(given);
                        sent -= i64::from(unused);
                    }
                }
                prop_assert!(sent <= i64::try_from(weekly).unwrap());
                prop_assert!(on_backfill <= i64::try_from(limits.backfill()).unwrap());
                prop_assert_eq!(last.as_ref().map_or(0, |it| it.spent), u64::try_from(sent).unwrap());
            }
        }
    }
}
