//! A claim: the next block of a week's ledger, and its slot.
//!
//! A slot begins when the newest slot that counts is over, and is within one week. Which slots count
//! is decided here too: that of a run that was killed does not, nor that of a clock that was wrong.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::block::{AtWork, Block, Slot, Unsent};
use super::limits::{Limits, MOST_IN_BLOCK};
use super::week::{begin_of, renewed_at};
use crate::manifest::{CLOCKS_APART, Purpose};

/// How many whole blocks the runs that are at work may have claimed ahead: a run holds two for each
/// purpose at most.
const MOST_AHEAD: i32 = 16;
/// How long after its last slot a backfill still counts as being at work.
const AT_WORK: TimeDelta = TimeDelta::minutes(2);

/// Who claims, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The run.
    pub run: &'a str,
    /// What its requests are for.
    pub purpose: Purpose,
    /// What it has paid and not sent. What this week paid of it is not paid again.
    pub unsent: &'a Unsent,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What the ledger says where the next block is to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The week.
    pub week: NaiveDate,
    /// Its newest block; none while it has taken nothing.
    pub last: Option<Block>,
    /// When the newest slot of this week or the last one ends; none if all have ended.
    pub busy_until: Option<DateTime<Utc>>,
    /// The active backfill, as the newest block of this week or the last one says.
    pub backfill: Option<AtWork>,
}

impl Newest {
    /// A week whose ledger is empty, with no slot before it that counts.
    #[must_use]
    pub fn of_nothing(week: NaiveDate) -> Self {
        Self { week, last: None, busy_until: None, backfill: None }
    }
}

/// What comes of asking for a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This is the next block, and what may be sent in its slot.
    Block(Block, Slot),
    /// All time of this week is taken: the next slot is the next week's, whose ledger says when.
    NextWeek(NaiveDate),
    /// The week's quota is spent, or for a backfill its share of it.
    Spent {
        /// How much that is.
        limit: u64,
        /// Whether only the share is.
        of_share: bool,
        /// When the next week begins.
        renewed_at: DateTime<Utc>,
    },
    /// A backfill asks, and what the week has taken is unknown.
    Unknown {
        /// When the next week begins.
        renewed_at: DateTime<Utc>,
    },
}

/// The next block of a week's ledger.
#[must_use]
pub fn claim(newest: &Newest, limits: &Limits, claimant: &Claimant<'_>) -> Claim {
    let Claimant { run, purpose, unsent, now } = *claimant;
    let last = newest.last.as_ref();
    let begin = now.max(begin_of(newest.week));
    let ends = renewed_at(begin_of(newest.week));
    let unknown = last.is_some_and(|last| last.unknown) && !limits.told;
    if unknown && purpose == Purpose::Backfill {
        return Claim::Unknown { renewed_at: ends };
    }
    let spent = last.map_or(0, |last| last.spent);
    let spent_on_backfill = last.map_or(0, |last| last.spent_on_backfill);
    let left = limits.weekly.saturating_sub(spent);
    let of_share = purpose == Purpose::Backfill && left > 0;
    let (limit, left) = match purpose {
        Purpose::Backfill if of_share => {
            (limits.backfill(), left.min(limits.backfill().saturating_sub(spent_on_backfill)))
        }
        Purpose::Backfill | Purpose::Nightly => (limits.weekly, left),
    };
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    let paid_before = unsent.of(newest.week);
    if paid_before == 0 && left == 0 {
        return Claim::Spent { limit, of_share, renewed_at: ends };
    }
    let from = newest.busy_until.map_or(begin, |until| until.max(begin));
    let wanted = limits.block().min(places(from, ends, limits));
    if wanted == 0 {
        return Claim::NextWeek(ends.date_naive());
    }
    let carried = paid_before.min(wanted);
    let paid = left.min(wanted - carried);
    let slot = Slot::new(carried + paid, carried, from, limits.spacing());
    let on_backfill = if purpose == Purpose::Backfill { u64::from(paid) } else { 0 };
    let block = Block {
        run: run.to_owned(),
        purpose,
        requests: i64::from(paid),
        from,
        to: slot.to,
        claimed_at: Some(now),
        spent: spent + u64::from(paid),
        spent_on_backfill: spent_on_backfill + on_backfill,
        ends: false,
        backfill: match purpose {
            Purpose::Backfill => Some(AtWork { run: run.to_owned(), to: slot.to }),
            Purpose::Nightly => newest.backfill.clone(),
        },
        unknown,
    };
    Claim::Block(block, slot)
}

/// How many requests fit between an instant and the end of the week: a slot never straddles it.
fn places(from: DateTime<Utc>, ends: DateTime<Utc>, limits: &Limits) -> u32 {
    let time = (ends - from).num_microseconds().unwrap_or(i64::MAX);
    if time <= 0 {
        return 0;
    }
    let spacing = limits.spacing().num_microseconds().unwrap_or(i64::MAX);
    if spacing == 0 { u32::MAX } else { u32::try_from(time / spacing).unwrap_or(u32::MAX) }
}

/// What is known of the run of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// It is at work, or that cannot be known.
    MayLive,
    /// It was killed.
    Killed,
}

/// What one block, looked at from the newest on, says of when the next slot may begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// Its slot counts, and so do no others: each begins behind those before it that count.
    Until(DateTime<Utc>),
    /// All slots that count are over.
    Over,
    /// It does not count; the one before it may.
    #[default]
    Skipped,
}

impl Standing {
    /// When the next slot may begin at the earliest, if it has to wait.
    #[must_use]
    pub fn busy_until(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Until(until) => Some(until),
            Self::Over | Self::Skipped => None,
        }
    }
}

/// Whether the next slot waits for that of a block.
///
/// The slot of a run that was killed is free, but for the place of the request that it may just have
/// sent. One that was claimed by a clock that is wrong is not waited for either: it was claimed later
/// than now, or begins later than all that runs at work can have claimed ahead.
#[must_use]
pub fn standing(block: &Block, holder: Holder, limits: &Limits, now: DateTime<Utc>) -> Standing {
    let spacing = limits.spacing();
    let longest = (block.to - block.from).max(spacing * i32::try_from(MOST_IN_BLOCK).unwrap_or(1));
    let is_ahead = block.from - now > longest * MOST_AHEAD;
    if is_ahead || block.claimed_at.is_some_and(|at| at - now > CLOCKS_APART) {
        return Standing::Skipped;
    }
    if block.to <= now {
        return Standing::Over;
    }
    match holder {
        Holder::MayLive => Standing::Until(block.to),
        Holder::Killed if block.from <= now => Standing::Until(block.to.min(now + spacing)),
        Holder::Killed => Standing::Skipped,
    }
}

/// Whether a backfill is at work. One that would be for longer than what it can have claimed ahead
/// was noted by a clock that is wrong.
#[must_use]
pub fn is_at_work(backfill: &AtWork, limits: &Limits, now: DateTime<Utc>) -> bool {
    let block = limits.spacing() * i32::try_from(MOST_IN_BLOCK).unwrap_or(1);
    let ahead = (block * MOST_AHEAD).max(AT_WORK);
    now - backfill.to < AT_WORK && backfill.to - now <= ahead
}
