//! The ledger: each week's spend, in numbered blocks that are created if absent.
//!
//! A block is created before its requests are sent, and never changes afterwards. The ledger does
//! not take the lake's lock. Whether a claim is granted is decided in `quota`.

mod alive;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use self::alive::Alive;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Store;
use crate::manifest::Purpose;
use crate::quota::{
    self, Block, Claim, Claimant, GivenBack, Holder, Limits, Newest, Returned, RunningBackfill,
    SlotState, Unsent,
};
use crate::report::Week;

const FOLDER: &str = "_manifest/quota";
/// How many lost races in a row are more than coincidence.
const MOST_RACES: u32 = 1_000;
/// How many blocks are searched for a slot that counts. Blocks of a run that was killed or had a
/// wrong clock are consecutive, and all active runs together hold fewer than this.
const MAX_BLOCKS_SEARCHED: usize = 64;
/// The minimum age of files left by a killed process: no process stays active this long.
const LEFTOVER_AGE: TimeDelta = TimeDelta::days(1);
/// How long a slot of the previous week may still count: older versions let slots straddle the end
/// of the week, and queued up to an hour of them.
const STRADDLE_TIME: TimeDelta = TimeDelta::hours(1);
/// How many weeks are kept.
const KEPT_WEEKS: usize = 5;

/// The ledger of a lake.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Arc<Store>,
    run: String,
    /// The block that was created last, with its week and number. Unless another run has added one
    /// since, it is still the newest, and the next block is created without reading the ledger.
    own: Arc<Mutex<Option<(NaiveDate, u64, Block)>>>,
    /// Shows other runs that this one is active, from its first claim on.
    alive: Arc<OnceLock<Option<Alive>>>,
}

/// A week's ledger: its contents, and the number of its newest block.
struct Read {
    number: u64,
    newest: Newest,
}

/// What one week's blocks say on their own.
#[derive(Default)]
struct ReadBack {
    number: Option<u64>,
    last: Option<Block>,
    /// What the newest block that counts says about the next slot.
    slot_state: SlotState,
    backfill: Option<RunningBackfill>,
}

impl Ledger {
    /// The ledger for one run.
    #[must_use]
    pub fn new(store: Arc<Store>, run: &str) -> Self {
        Self { store, run: run.to_owned(), own: Arc::default(), alive: Arc::default() }
    }

    /// Claims a block and writes it before anything is sent. Requests that were paid for but not
    /// sent are not paid for again, as far as the week of the new slot paid for them.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claim(
        &self,
        limits: &Limits,
        purpose: Purpose,
        unsent: &Unsent,
        now: DateTime<Utc>,
    ) -> Result<Claim> {
        self.alive.get_or_init(|| Alive::hold(&self.store, &self.run));
        let claimant = Claimant { run: &self.run, purpose, unsent, now };
        let decide = |newest: &Newest| {
            let claim = quota::claim(newest, limits, &claimant);
            match &claim {
                Claim::Block(block, _) => (Some(block.clone()), claim),
                _ => (None, claim),
            }
        };
        match self.append(quota::week_of(now), limits, now, decide)? {
            Claim::NextWeek(week) => self.append(week, limits, now, decide),
            claim => Ok(claim),
        }
    }

    /// Returns requests that were paid for but not sent, each to the week that paid for it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn give_back(
        &self,
        limits: &Limits,
        given_back: &GivenBack,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let GivenBack { purpose, ref unsent, free, ends } = *given_back;
        let this = quota::week_of(now);
        let mut returns: Vec<(NaiveDate, u32)> = unsent.iter().collect();
        // The end of a backfill is always recorded, since exports wait for it.
        if ends && purpose == Purpose::Backfill && unsent.of(this) == 0 {
            returns.push((this, 0));
        }
        for (week, requests) in returns {
            let run = &self.run;
            let places = free.filter(|it| it.week == week).map_or(0, |it| it.places);
            let returned = Returned { run, purpose, requests, places, ends };
            self.append(week, limits, now, |newest| {
                let back = |last| quota::give_back(last, limits, &returned, now);
                (newest.last.as_ref().map(back), ())
            })?;
        }
        Ok(())
    }

    /// The week's newest block; `None` when nothing has been spent yet.
    ///
    /// # Errors
    /// When the store fails.
    pub fn last(&self, limits: &Limits, now: DateTime<Utc>) -> Result<Option<Block>> {
        Ok(self.read(quota::week_of(now), limits, now)?.newest.last)
    }

    /// What the week has spent so far.
    ///
    /// # Errors
    /// When the store fails.
    pub fn week(&self, limits: &Limits, now: DateTime<Utc>) -> Result<Week> {
        let last = self.last(limits, now)?;
        Ok(Week {
            begins: quota::week_of(now),
            renewed_at: quota::renewed_at(now),
            quota: limits.weekly,
            backfill_quota: limits.backfill(),
            spent: last.as_ref().map_or(0, |last| last.spent),
            spent_on_backfill: last.as_ref().map_or(0, |last| last.spent_on_backfill),
            unknown: last.is_some_and(|last| last.unknown) && !limits.is_explicit,
        })
    }

    /// Whether another run is currently spending on a backfill.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_backfilling(&self, limits: &Limits, now: DateTime<Utc>) -> Result<bool> {
        let at_work = self.read(quota::week_of(now), limits, now)?.newest.backfill;
        let is_other =
            |it: &RunningBackfill| it.run != self.run && self.holder(&it.run) == Holder::MayLive;
        Ok(at_work.is_some_and(|it| is_other(&it) && quota::is_running(&it, limits, now)))
    }

    /// Records that the week's spend is unknown, unless it has been recorded.
    ///
    /// # Errors
    /// When the store fails.
    pub fn note_loss(&self, now: DateTime<Utc>) -> Result<()> {
        self.append(quota::week_of(now), &Limits::default(), now, |newest| {
            (newest.last.is_none().then(|| quota::unknown(now)), ())
        })
    }

    /// Creates the block that `decide` appends after the newest one of a week, and retries if
    /// another process was faster.
    fn append<T>(
        &self,
        week: NaiveDate,
        limits: &Limits,
        now: DateTime<Utc>,
        decide: impl Fn(&Newest) -> (Option<Block>, T),
    ) -> Result<T> {
        if let Some(Read { number, newest }) = self.take_own(week, limits, now)
            && let (Some(block), outcome) = decide(&newest)
            && self.create(week, number + 1, block, now)?
        {
            return Ok(outcome);
        }
        for _ in 0..MOST_RACES {
            let Read { number, newest } = self.read(week, limits, now)?;
            let (block, outcome) = decide(&newest);
            let Some(block) = block else { return Ok(outcome) };
            if self.create(week, number + 1, block, now)? {
                return Ok(outcome);
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "too many runs write to the quota ledger at the same time",
        ))
    }

    /// Creates a block; `false` if its number is already taken.
    fn create(
        &self,
        week: NaiveDate,
        number: u64,
        block: Block,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let text = serde_json::to_vec(&block).map_err(|error| {
            Error::new(ErrorKind::Internal, "a block cannot be written").with_source(error)
        })?;
        if !self.store.create_loose(&path(week, number), &text)? {
            return Ok(false);
        }
        if number == 1 {
            self.clear_old_weeks()?;
            alive::clear(&self.store);
            self.store.clear_probes(now - LEFTOVER_AGE)?;
        }
        if self.store.creates_once() {
            *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some((week, number, block));
        }
        Ok(true)
    }

    /// The week's ledger as this run left it, if that still determines when the next slot begins.
    fn take_own(&self, week: NaiveDate, limits: &Limits, now: DateTime<Utc>) -> Option<Read> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (_, number, block) = own.filter(|(of, ..)| *of == week)?;
        let slot_state = quota::slot_state(&block, Holder::MayLive, limits, now);
        if slot_state == SlotState::Skipped {
            return None;
        }
        let busy_until = slot_state.busy_until();
        let backfill = block.backfill.clone();
        Some(Read { number, newest: Newest { week, last: Some(block), busy_until, backfill } })
    }

    /// A week's ledger. Near the start of the week, the previous week is read as well.
    fn read(&self, week: NaiveDate, limits: &Limits, now: DateTime<Utc>) -> Result<Read> {
        let mut read = self.read_back(week, limits, now)?;
        if read.slot_state == SlotState::Skipped && now - quota::begin_of(week) < STRADDLE_TIME {
            let before = self.read_back(quota::week_before(week), limits, now)?;
            read.slot_state = before.slot_state;
            read.backfill = if read.last.is_some() { read.backfill } else { before.backfill };
        }
        let busy_until = read.slot_state.busy_until();
        let ReadBack { number, last, backfill, .. } = read;
        let newest = Newest { week, last, busy_until, backfill };
        Ok(Read { number: number.unwrap_or_default(), newest })
    }

    /// A week's blocks from the newest back, as far as they matter. Unreadable blocks count as full
    /// ones.
    fn read_back(&self, week: NaiveDate, limits: &Limits, now: DateTime<Utc>) -> Result<ReadBack> {
        let numbers = self.numbers(week)?;
        let at = now.max(quota::begin_of(week));
        let mut read = ReadBack { number: numbers.first().copied(), ..ReadBack::default() };
        let mut unreadable = 0;
        for number in numbers.iter().take(MAX_BLOCKS_SEARCHED) {
            let block = self.block(week, *number)?;
            if read.slot_state == SlotState::Skipped {
                let presumed = || quota::presumed(None, limits, at);
                let block = block.clone().unwrap_or_else(presumed);
                read.slot_state =
                    quota::slot_state(&block, self.holder(block.holder()), limits, now);
            }
            match block {
                Some(block) => read.last = read.last.or(Some(block)),
                None if read.last.is_none() => unreadable += 1,
                None => {}
            }
            if read.last.is_some() && read.slot_state != SlotState::Skipped {
                break;
            }
        }
        for _ in 0..unreadable {
            read.last = Some(quota::presumed(read.last.as_ref(), limits, at));
        }
        read.backfill = read.last.as_ref().and_then(|last| last.backfill.clone());
        Ok(read)
    }

    /// The numbers of a week's blocks, newest first.
    fn numbers(&self, week: NaiveDate) -> Result<Vec<u64>> {
        let names = self.store.names(&format!("{FOLDER}/{week}"))?;
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    fn block(&self, week: NaiveDate, number: u64) -> Result<Option<Block>> {
        let text = self.store.read(&path(week, number))?.unwrap_or_default();
        Ok(serde_json::from_slice(&text).ok())
    }

    fn holder(&self, run: &str) -> Holder {
        if run != self.run && alive::was_killed(&self.store, run) {
            Holder::Killed
        } else {
            Holder::MayLive
        }
    }

    fn clear_old_weeks(&self) -> Result<()> {
        let mut weeks = self.store.folders(FOLDER)?;
        weeks.truncate(weeks.len().saturating_sub(KEPT_WEEKS));
        for week in weeks {
            self.store.delete_folder(&format!("{FOLDER}/{week}"))?;
        }
        Ok(())
    }
}

fn path(week: NaiveDate, number: u64) -> String {
    format!("{FOLDER}/{week}/{number:012}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P7: however many processes claim at once, the total granted stays within the quota.
    #[test]
    fn claims_at_once_never_pass_the_quota() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().to_str().unwrap();
        let limits = Limits { weekly: 1_003, share: 0.5, rate: 0.0, ..Limits::default() };
        let now = "2026-11-25T07:00:00Z".parse().unwrap();
        let spend = |purpose| {
            let ledger = Ledger::new(Arc::new(Store::open(location).unwrap()), "r");
            let mut granted = 0;
            while let Claim::Block(_, slot) =
                ledger.claim(&limits, purpose, &Unsent::default(), now).unwrap()
            {
                granted += slot.requests;
            }
            granted
        };
        let granted: Vec<u32> = std::thread::scope(|scope| {
            let claims =
                [Purpose::Backfill, Purpose::Backfill, Purpose::Incremental, Purpose::Incremental]
                    .map(|purpose| scope.spawn(move || spend(purpose)));
            claims.map(|it| it.join().unwrap()).to_vec()
        });
        assert_eq!(granted.iter().sum::<u32>(), 1_003);
        assert!(granted[0] + granted[1] <= 501, "{granted:?}");
        let ledger = Ledger::new(Arc::new(Store::open(location).unwrap()), "r");
        let mut unsent = Unsent::default();
        unsent.add(quota::week_of(now), 3);
        let purpose = Purpose::Incremental;
        let given_back = GivenBack { purpose, unsent, free: None, ends: true };
        ledger.give_back(&limits, &given_back, now).unwrap();
        assert_eq!(ledger.last(&limits, now).unwrap().unwrap().spent, 1_000);
    }

    /// P7: an incremental run yields to a running backfill, and to nothing else.
    #[test]
    fn a_backfill_at_work_is_known_by_its_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().to_str().unwrap()).unwrap());
        let ledger = |run| Ledger::new(Arc::clone(&store), run);
        let (limits, now) = (Limits::default(), "2026-11-25T07:00:00Z".parse().unwrap());
        assert!(!ledger("night").is_backfilling(&limits, now).unwrap());
        ledger("history").claim(&limits, Purpose::Backfill, &Unsent::default(), now).unwrap();
        ledger("night").claim(&limits, Purpose::Incremental, &Unsent::default(), now).unwrap();
        assert!(ledger("night").is_backfilling(&limits, now).unwrap());
        assert!(!ledger("history").is_backfilling(&limits, now).unwrap());
        assert!(!ledger("night").is_backfilling(&limits, now + TimeDelta::minutes(5)).unwrap());
        let mut unsent = Unsent::default();
        unsent.add(quota::week_of(now), 40);
        let purpose = Purpose::Backfill;
        let given_back = GivenBack { purpose, unsent, free: None, ends: true };
        ledger("history").give_back(&limits, &given_back, now).unwrap();
        assert!(!ledger("night").is_backfilling(&limits, now).unwrap());
    }

    #[test]
    fn a_block_that_cannot_be_read_counts_as_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().to_str().unwrap()).unwrap());
        let ledger = Ledger::new(Arc::clone(&store), "r");
        let (limits, now) = (Limits::default(), "2026-11-25T07:00:00Z".parse().unwrap());
        ledger.claim(&limits, Purpose::Incremental, &Unsent::default(), now).unwrap();
        store.create_loose(&path(quota::week_of(now), 2), b"{").unwrap();
        assert_eq!(ledger.last(&limits, now).unwrap().unwrap().spent, 200);
        ledger.claim(&limits, Purpose::Incremental, &Unsent::default(), now).unwrap();
        assert_eq!(ledger.last(&limits, now).unwrap().unwrap().spent, 300);
    }
}
