//! A claim: the next block of a week's ledger, and its slot.
//!
//! A slot begins when the newest slot that counts is over, and lies within one week. Which slots
//! count is decided here too: those of a killed run or a wrong clock do not.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::block::{Block, RunningBackfill, Slot, Unsent};
use super::limits::{Limits, MOST_IN_BLOCK};
use super::week::{begin_of, renewed_at};
use crate::manifest::{CLOCKS_APART, Purpose};

/// How many full blocks the active runs may have claimed ahead: a run holds at most two for each
/// purpose.
const MOST_AHEAD: i32 = 16;
/// How long after its last slot a backfill still counts as running.
const AT_WORK: TimeDelta = TimeDelta::minutes(2);

/// The claiming run, and its purpose.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The run.
    pub run: &'a str,
    /// The purpose of its requests.
    pub purpose: Purpose,
    /// Requests it has paid for but not sent. Those that this week paid for are not paid for again.
    pub unsent: &'a Unsent,
    /// The time.
    pub now: DateTime<Utc>,
}

/// The state of the ledger where the next block is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The week.
    pub week: NaiveDate,
    /// Its newest block; `None` while nothing has been spent.
    pub last: Option<Block>,
    /// When the newest slot of this or the previous week ends; `None` if all have ended.
    pub busy_until: Option<DateTime<Utc>>,
    /// The running backfill, according to the newest block of this or the previous week.
    pub backfill: Option<RunningBackfill>,
}

impl Newest {
    /// A week with an empty ledger and no earlier slot that counts.
    #[must_use]
    pub fn of_nothing(week: NaiveDate) -> Self {
        Self { week, last: None, busy_until: None, backfill: None }
    }
}

/// The outcome of claiming a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The next block, and what may be sent in its slot.
    Block(Block, Slot),
    /// This week has no time left: the next slot belongs to the next week, whose ledger determines
    /// it.
    NextWeek(NaiveDate),
    /// The week's quota is spent, or, for a backfill, its share of it.
    Spent {
        /// The limit that was reached.
        limit: u64,
        /// Whether only the share is spent.
        of_share: bool,
        /// When the next week begins.
        renewed_at: DateTime<Utc>,
    },
    /// A backfill claims while the week's spend is unknown.
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
    let unknown = last.is_some_and(|last| last.unknown) && !limits.is_explicit;
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
        Purpose::Backfill | Purpose::Incremental => (limits.weekly, left),
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
        slot_of: None,
        purpose,
        requests: i64::from(paid),
        from,
        to: slot.to,
        claimed_at: Some(now),
        spent: spent + u64::from(paid),
        spent_on_backfill: spent_on_backfill + on_backfill,
        ends: false,
        backfill: match purpose {
            Purpose::Backfill => Some(RunningBackfill { run: run.to_owned(), to: slot.to }),
            Purpose::Incremental => newest.backfill.clone(),
        },
        unknown,
    };
    Claim::Block(block, slot)
}

/// How many requests fit between a time and the end of the week, which no slot straddles.
fn places(from: DateTime<Utc>, ends: DateTime<Utc>, limits: &Limits) -> u32 {
    let time = (ends - from).num_microseconds().unwrap_or(i64::MAX);
    if time <= 0 {
        return 0;
    }
    let spacing = limits.spacing().num_microseconds().unwrap_or(i64::MAX);
    if spacing == 0 { u32::MAX } else { u32::try_from(time / spacing).unwrap_or(u32::MAX) }
}

/// What is known about the run of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// It is running, or that cannot be determined.
    MayLive,
    /// It was killed.
    Killed,
}

/// What one block says about the start of the next slot, when blocks are read newest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SlotState {
    /// Its slot counts, and no earlier ones need checking: each slot begins after the earlier ones
    /// that count.
    Until(DateTime<Utc>),
    /// All slots that count are over.
    Over,
    /// It does not count; the one before it may.
    #[default]
    Skipped,
}

impl SlotState {
    /// The earliest start of the next slot, if it has to wait.
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
/// The slot of a killed run is free, except for the place of a request that it may just have sent.
/// A slot claimed with a wrong clock is not waited for either: it was claimed in the future, or
/// begins later than active runs can have claimed ahead.
#[must_use]
pub fn slot_state(block: &Block, holder: Holder, limits: &Limits, now: DateTime<Utc>) -> SlotState {
    let spacing = limits.spacing();
    let longest = (block.to - block.from).max(spacing * i32::try_from(MOST_IN_BLOCK).unwrap_or(1));
    let is_ahead = block.from - now > longest * MOST_AHEAD;
    if is_ahead || block.claimed_at.is_some_and(|at| at - now > CLOCKS_APART) {
        return SlotState::Skipped;
    }
    if block.to <= now {
        return SlotState::Over;
    }
    match holder {
        Holder::MayLive => SlotState::Until(block.to),
        Holder::Killed if block.from <= now => SlotState::Until(block.to.min(now + spacing)),
        Holder::Killed => SlotState::Skipped,
    }
}

/// Whether a backfill is running. If it would run longer than it can have claimed ahead, it was
/// recorded with a wrong clock.
#[must_use]
pub fn is_running(backfill: &RunningBackfill, limits: &Limits, now: DateTime<Utc>) -> bool {
    let block = limits.spacing() * i32::try_from(MOST_IN_BLOCK).unwrap_or(1);
    let ahead = (block * MOST_AHEAD).max(AT_WORK);
    now - backfill.to < AT_WORK && backfill.to - now <= ahead
}
