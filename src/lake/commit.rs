//! Commits: a change is planned on the newest snapshot and written; where another writer was
//! faster, its objects are recovered and the change is planned again.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::handle::Table;
use super::recovery;
use super::table::snapshot::Snapshot;
use super::table::transaction::{Outcome, PartitionChange, Transaction};
use crate::commit_plan::{self, CommitPlan, PartitionRewrite, Progress, Statements};
use crate::decode::{Quarantined, Rows};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Clearance, Manifest};
use crate::partition::Partition;
use crate::schema::Schema;

/// How often a change is planned again because another writer was faster.
const MOST_RACES: u32 = 16;

/// What a run adds to a table in one commit.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Rows to put in, in the order in which they were read; of one key the one that was requested
    /// last counts.
    pub rows: Vec<Rows>,
    /// What is said of records beside their rows.
    pub statements: Statements,
    /// What the run has completed.
    pub progress: Progress,
    /// The schema as the records so far made it grow, while it is not frozen.
    pub schema: Option<Arc<Schema>>,
    /// Records that cannot be rows.
    pub quarantined: Vec<Quarantined>,
}

impl Change {
    /// Whether it says anything of single records.
    fn has_records(&self) -> bool {
        !self.rows.is_empty() || !self.statements.is_empty() || !self.quarantined.is_empty()
    }
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The partitions that were written.
    pub changed: Vec<PartitionChange>,
}

impl Table {
    /// The table as its newest manifest says, or a new one. Objects that a killed run wrote and
    /// did not commit are recovered, and an index of an older format is brought up to date.
    /// Nothing is written if there is nothing of either.
    ///
    /// # Errors
    /// `Newer` when the lake is from a newer version, `Corrupt` when a manifest cannot be read.
    pub fn open(&self, now: DateTime<Utc>) -> Result<Snapshot> {
        let snapshot = self.snapshot()?;
        if !recovery::is_needed(&snapshot)? {
            return Ok(snapshot);
        }
        let recover = |transaction: &mut Transaction<'_>| {
            // Objects without a manifest may be those of a writer that is about to commit.
            self.store().hold()?;
            transaction.refresh()?;
            recovery::recover(transaction)
        };
        Ok(self.transact(&snapshot, now, recover)?.snapshot)
    }

    /// Commits a change: objects first, then the manifest that names them.
    ///
    /// # Errors
    /// When the store fails. What was committed before stays true, and the next run repairs what
    /// was written after.
    pub fn commit(
        &self,
        snapshot: &Snapshot,
        change: &Change,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Committed)> {
        let commit = |transaction: &mut Transaction<'_>| commit_once(transaction, change.clone());
        let Transacted { snapshot, changed, .. } = self.transact(snapshot, now, commit)?;
        Ok((snapshot, Committed { changed }))
    }

    /// Repairs the index so that this read succeeds, if it failed because a file cannot be read;
    /// goes on with the newest snapshot where the one that is held is outdated.
    ///
    /// # Errors
    /// When the read fails for another reason, or fails again.
    pub fn read<T>(
        &self,
        snapshot: &mut Snapshot,
        now: DateTime<Utc>,
        mut read: impl FnMut(&Snapshot) -> Result<T>,
    ) -> Result<T> {
        let error = match read(snapshot) {
            Err(error) if [ErrorKind::Corrupt, ErrorKind::Conflict].contains(&error.kind()) => {
                error
            }
            done => return done,
        };
        *snapshot = if error.kind() == ErrorKind::Conflict {
            self.snapshot()?
        } else {
            let repair = |transaction: &mut Transaction<'_>| {
                transaction.refresh()?;
                recovery::repair(transaction)
            };
            self.transact(snapshot, now, repair)?.snapshot
        };
        read(snapshot)
    }

    /// Accepts that the rows of a lost partition do not come back: it is not reported any more.
    /// Whether the partition, given by its value of `dt`, was lost.
    ///
    /// # Errors
    /// When the store fails.
    pub fn accept_loss(&self, dt: &str, now: DateTime<Utc>) -> Result<bool> {
        let accept = |transaction: &mut Transaction<'_>| {
            transaction.refresh()?;
            let mut next = Manifest::clone(transaction.snapshot().manifest());
            if next.lost.remove(dt).is_none() {
                return Ok(Outcome::Committed(false));
            }
            Ok(transaction.commit(CommitPlan::of(next), Vec::new())?.with(true))
        };
        Ok(self.transact(&self.open(now)?, now, accept)?.value)
    }

    /// Acts while no other writer does. On a conflict what the other one wrote is recovered, and
    /// the act is done again on the newest snapshot.
    pub(super) fn transact<T>(
        &self,
        snapshot: &Snapshot,
        now: DateTime<Utc>,
        mut act: impl FnMut(&mut Transaction<'_>) -> Result<Outcome<T>>,
    ) -> Result<Transacted<T>> {
        let mut transaction = Transaction::begin(self.store(), snapshot, now)?;
        let mut outcome = act(&mut transaction)?;
        for _ in 0..MOST_RACES {
            if let Outcome::Committed(value) = outcome {
                let (snapshot, changed) = transaction.end();
                return Ok(Transacted { value, snapshot, changed });
            }
            self.store().hold()?;
            transaction.adopt(self.snapshot()?)?;
            outcome = match recovery::recover(&mut transaction)? {
                Outcome::Committed(()) => act(&mut transaction)?,
                Outcome::Conflict => Outcome::Conflict,
            };
        }
        let message = format!("others commit to {} all the time", self.endpoint().name);
        Err(Error::new(ErrorKind::Conflict, message))
    }
}

/// What a transaction came to.
pub(super) struct Transacted<T> {
    /// What the act returned.
    pub(super) value: T,
    /// What it made of the table.
    pub(super) snapshot: Snapshot,
    /// The partitions that it wrote.
    pub(super) changed: Vec<PartitionChange>,
}

fn commit_once(transaction: &mut Transaction<'_>, change: Change) -> Result<Outcome<()>> {
    let known = transaction.snapshot().manifest();
    // One that says more of time alone needs no look: it is refused if it is not the next.
    let is_of_time = known.version > 0 && known.settled && !change.has_records();
    if !is_of_time || !transaction.snapshot().table().store().creates_once() {
        transaction.refresh()?;
    }
    if let Some(schema) = &change.schema {
        transaction.grow(schema);
    }
    let change = transaction.without_forgotten(change)?;
    let Change { rows, mut statements, progress, quarantined, .. } = change;
    let mut rows = transaction.widen_all(rows)?;
    statements.rows = rows.iter_mut().map(|rows| std::mem::take(&mut rows.facts)).collect();
    let rules = transaction.rules();
    let known = {
        let read = |snapshot: &Snapshot| {
            snapshot.known(&commit_plan::needs(snapshot.manifest(), &rules, &statements))
        };
        match read(transaction.snapshot()) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                match recovery::repair(transaction)? {
                    Outcome::Committed(()) => read(transaction.snapshot())?,
                    Outcome::Conflict => return Ok(Outcome::Conflict),
                }
            }
            known => known?,
        }
    };
    transaction.write_quarantine(&quarantined)?;
    let manifest = Arc::clone(transaction.snapshot().manifest());
    let mut plan = commit_plan::plan(&manifest, &rules, &known, statements, &progress);
    if manifest.version == 0 {
        // The rows of a new table were compared with the list of the forgotten all along.
        let version = transaction.decoder.forgotten().version;
        plan.next.clearance = Clearance { known: version, cleared: version };
    }
    if plan.next.settled && !manifest.settled {
        let current = transaction.decoder.schema().fingerprint();
        let rewritten: Vec<_> = plan.rewrites.keys().copied().collect();
        for partition in to_freeze(&manifest, &current, &rewritten) {
            plan.rewrites.insert(partition, PartitionRewrite::default());
        }
    }
    transaction.commit(plan, rows)
}

/// The partitions that are rewritten when the schema is frozen: those in an older schema, and at
/// least one object, which says so. Without it, a lake that loses all manifests could not tell that
/// the first export was complete.
fn to_freeze(manifest: &Manifest, current: &str, rewritten: &[Partition]) -> Vec<Partition> {
    let parse = |name: &String| name.parse::<Partition>().ok();
    let stale = manifest.partitions.iter().filter(|(_, entry)| entry.schema != current);
    let stale = stale.filter_map(|(name, _)| parse(name)).filter(|it| !rewritten.contains(it));
    let mut stale: Vec<_> = stale.collect();
    if stale.is_empty() && rewritten.is_empty() {
        let smallest = manifest.partitions.iter().min_by_key(|(_, entry)| entry.bytes);
        stale.extend(smallest.and_then(|(name, _)| parse(name)));
    }
    stale
}
