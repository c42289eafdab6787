//! The ledger: the week's spend, in numbered blocks that are created if absent.
//!
//! Enters: claims of runs. Leaves: blocks, each created before its requests are sent. Never here: a
//! block changed, the lake's lock, or whether a claim is granted; that is `quota`'s.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Purpose;
use crate::quota::{self, Block, Claim, Limits};
use crate::report::Week;

const FOLDER: &str = "_manifest/quota";
/// How many others may be faster before that is no coincidence.
const MOST_RACES: u32 = 1_000;
/// How long after its last slot a run still counts as being at work.
const AT_WORK: TimeDelta = TimeDelta::minutes(2);
/// How old the leavings of a killed process are at least: no process is at work for as long.
const LEFT: TimeDelta = TimeDelta::days(1);
/// How many weeks are kept.
const KEPT_WEEKS: usize = 5;

/// The ledger of a lake.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Arc<Store>,
    run: String,
    /// The block that was created last, and its week and number: where nobody has come since, it is
    /// still the newest, and the next is created without a look.
    own: Arc<Mutex<Option<(NaiveDate, u64, Block)>>>,
}

impl Ledger {
    /// The ledger for one run.
    #[must_use]
    pub fn new(store: Arc<Store>, run: &str) -> Self {
        Self { store, run: run.to_owned(), own: Arc::default() }
    }

    /// Claims a block, and has it written before anything is sent.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claim(
        &self,
        limits: &Limits,
        purpose: Purpose,
        carried: u32,
        now: DateTime<Utc>,
    ) -> Result<Claim> {
        self.append(limits, now, |last| {
            let claim = quota::claim(last, limits, purpose, carried, &self.run, now);
            match &claim {
                Claim::Block(block, _) => (Some(block.clone()), claim),
                Claim::Spent { .. } | Claim::Unknown { .. } => (None, claim),
            }
        })
    }

    /// Gives back requests that were paid and not sent.
    ///
    /// # Errors
    /// When the store fails.
    pub fn give_back(
        &self,
        limits: &Limits,
        purpose: Purpose,
        unused: u32,
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.append(limits, now, |last| {
            // That a backfill has ended is said in any case: nights wait for it.
            let block = last.filter(|_| unused > 0 || purpose == Purpose::Backfill);
            (block.map(|last| quota::give_back(last, limits, purpose, unused, &self.run)), ())
        })
    }

    /// The week's newest block; `None` when nothing was spent yet.
    ///
    /// # Errors
    /// When the store fails.
    pub fn last(&self, limits: &Limits, now: DateTime<Utc>) -> Result<Option<Block>> {
        Ok(self.newest(limits, now)?.1)
    }

    /// What the week has taken so far.
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
            unknown: last.is_some_and(|last| last.unknown) && !limits.told,
        })
    }

    /// Whether another run spends on a backfill at this time.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_backfilling(&self, limits: &Limits, now: DateTime<Utc>) -> Result<bool> {
        let at_work = self.last(limits, now)?.and_then(|last| last.backfill);
        Ok(at_work.is_some_and(|it| it.run != self.run && now - it.to < AT_WORK))
    }

    /// Notes that what the week has taken is not known, if nothing is.
    ///
    /// # Errors
    /// When the store fails.
    pub fn note_loss(&self, now: DateTime<Utc>) -> Result<()> {
        self.append(&Limits::default(), now, |last| {
            (last.is_none().then(|| quota::unknown(now)), ())
        })
    }

    /// Creates the block that `decide` puts behind the newest one, again when another process was
    /// faster.
    fn append<T>(
        &self,
        limits: &Limits,
        now: DateTime<Utc>,
        decide: impl Fn(Option<&Block>) -> (Option<Block>, T),
    ) -> Result<T> {
        if let Some((number, last)) = self.take_own(quota::week_of(now))
            && let (Some(block), outcome) = decide(Some(&last))
            && self.create(now, number + 1, block)?
        {
            return Ok(outcome);
        }
        for _ in 0..MOST_RACES {
            let (number, last) = self.newest(limits, now)?;
            let (block, outcome) = decide(last.as_ref());
            let Some(block) = block else { return Ok(outcome) };
            if self.create(now, number + 1, block)? {
                return Ok(outcome);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the week's ledger is written to by too many at once"))
    }

    /// Creates a block; `false` when there is one of its number.
    fn create(&self, now: DateTime<Utc>, number: u64, block: Block) -> Result<bool> {
        let week = quota::week_of(now);
        let text = serde_json::to_vec(&block).map_err(|error| {
            Error::new(ErrorKind::Internal, "a block cannot be written").with_source(error)
        })?;
        if !self.store.create_loose(&path(week, number), &text)? {
            return Ok(false);
        }
        if number == 1 {
            self.clear_old_weeks()?;
            self.store.clear_probes(now - LEFT)?;
        }
        if self.store.creates_once() {
            *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some((week, number, block));
        }
        Ok(true)
    }

    fn take_own(&self, week: NaiveDate) -> Option<(u64, Block)> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
        own.filter(|(of, ..)| *of == week).map(|(_, number, block)| (number, block))
    }

    /// The number of the newest block, and what it says.
    fn newest(&self, limits: &Limits, now: DateTime<Utc>) -> Result<(u64, Option<Block>)> {
        let week = quota::week_of(now);
        let names = self.store.names(&format!("{FOLDER}/{week}"))?;
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        let newest = numbers.last().copied().unwrap_or_default();
        let mut unreadable = 0;
        let mut block = None;
        for number in numbers.into_iter().rev() {
            let text = self.store.read(&path(week, number))?.unwrap_or_default();
            block = serde_json::from_slice::<Block>(&text).ok();
            if block.is_some() {
                break;
            }
            unreadable += 1;
        }
        for _ in 0..unreadable {
            block = Some(quota::presumed(block.as_ref(), limits, now));
        }
        Ok((newest, block))
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

    /// P7: however many processes claim at once, all that they were granted is within the quota.
    #[test]
    fn claims_at_once_never_pass_the_quota() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().to_str().unwrap();
        let limits = Limits { weekly: 1_003, share: 0.5, rate: 0.0, ..Limits::default() };
        let now = "2026-11-25T07:00:00Z".parse().unwrap();
        let spend = |purpose| {
            let ledger = Ledger::new(Arc::new(Store::open(location).unwrap()), "r");
            let mut granted = 0;
            while let Claim::Block(_, slot) = ledger.claim(&limits, purpose, 0, now).unwrap() {
                granted += slot.requests;
            }
            granted
        };
        let granted: Vec<u32> = std::thread::scope(|scope| {
            let claims = [Purpose::Backfill, Purpose::Backfill, Purpose::Nightly, Purpose::Nightly]
                .map(|purpose| scope.spawn(move || spend(purpose)));
            claims.map(|it| it.join().unwrap()).to_vec()
        });
        assert_eq!(granted.iter().sum::<u32>(), 1_003);
        assert!(granted[0] + granted[1] <= 501, "{granted:?}");
        let ledger = Ledger::new(Arc::new(Store::open(location).unwrap()), "r");
        ledger.give_back(&limits, Purpose::Nightly, 3, now).unwrap();
        assert_eq!(ledger.last(&limits, now).unwrap().unwrap().spent, 1_000);
    }

    /// P7: a night leaves the history to a backfill that is at work, and to nobody else.
    #[test]
    fn a_backfill_at_work_is_known_by_its_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().to_str().unwrap()).unwrap());
        let ledger = |run| Ledger::new(Arc::clone(&store), run);
        let (limits, now) = (Limits::default(), "2026-11-25T07:00:00Z".parse().unwrap());
        assert!(!ledger("night").is_backfilling(&limits, now).unwrap());
        ledger("history").claim(&limits, Purpose::Backfill, 0, now).unwrap();
        ledger("night").claim(&limits, Purpose::Nightly, 0, now).unwrap();
        assert!(ledger("night").is_backfilling(&limits, now).unwrap());
        assert!(!ledger("history").is_backfilling(&limits, now).unwrap());
        assert!(!ledger("night").is_backfilling(&limits, now + TimeDelta::minutes(5)).unwrap());
        ledger("history").give_back(&limits, Purpose::Backfill, 40, now).unwrap();
        assert!(!ledger("night").is_backfilling(&limits, now).unwrap());
    }

    #[test]
    fn a_block_that_cannot_be_read_counts_as_a_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().to_str().unwrap()).unwrap());
        let ledger = Ledger::new(Arc::clone(&store), "r");
        let (limits, now) = (Limits::default(), "2026-11-25T07:00:00Z".parse().unwrap());
        ledger.claim(&limits, Purpose::Nightly, 0, now).unwrap();
        store.create_loose(&path(quota::week_of(now), 2), b"{").unwrap();
        assert_eq!(ledger.last(&limits, now).unwrap().unwrap().spent, 200);
        ledger.claim(&limits, Purpose::Nightly, 0, now).unwrap();
        assert_eq!(ledger.last(&limits, now).unwrap().unwrap().spent, 300);
    }
}
