//! Commits: a change is planned on the newest snapshot and then written. If another writer commits
//! first, its objects are recovered and the change is planned again.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::handle::Table;
use super::index::LookedUp;
use super::recovery;
use super::table::snapshot::Snapshot;
use super::table::transaction::{Outcome, PartitionChange, Transaction};
use crate::commit_plan::{self, CommitPlan, PartitionRewrite, Progress, RowKeys, Statements};
use crate::decode::{Quarantined, Rows};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Clearance, Manifest};
use crate::partition::Partition;
use crate::schema::Schema;

/// How often a change is planned again after losing the commit race.
const MOST_RACES: u32 = 16;

/// What a run adds to a table in one commit.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Rows to insert, in the order they were read. If a key occurs more than once, the most
    /// recently requested row wins.
    pub rows: Vec<Rows>,
    /// Statements about records, apart from their rows.
    pub statements: Statements,
    /// What the run has completed.
    pub progress: Progress,
    /// The schema as grown by the records so far, while it is not frozen.
    pub schema: Option<Arc<Schema>>,
    /// Records that cannot be rows.
    pub quarantined: Vec<Quarantined>,
    /// What the index knows about the rows, if all of them were looked up.
    pub looked_up: Option<LookedUp>,
}

impl Change {
    /// Adds rows that were looked up. Once any rows were not, or were in another snapshot, the
    /// commit looks all of them up.
    pub fn add_rows(&mut self, rows: Rows, looked_up: Option<LookedUp>) {
        let known = std::mem::take(&mut self.looked_up);
        self.looked_up = match (known, looked_up) {
            (None, looked_up) if self.rows.is_empty() => looked_up,
            (Some(known), Some(more)) => known.and(more),
            _ => None,
        };
        self.rows.push(rows);
    }

    /// Whether it says anything about individual records.
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
    /// Commits a change: objects first, then the manifest that names them.
    ///
    /// # Errors
    /// When the store fails. Earlier commits remain valid, and the next run repairs whatever was
    /// written after them.
    pub fn commit(
        &self,
        snapshot: &Snapshot,
        change: &Change,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Committed)> {
        let commit = |transaction: &mut Transaction<'_>| {
            commit_once(transaction, snapshot.manifest(), change.clone())
        };
        let Transacted { snapshot, changed, .. } = self.transact(snapshot, now, commit)?;
        Ok((snapshot, Committed { changed }))
    }

    /// Reads; if that fails because an index file cannot be read, repairs the index and reads
    /// again. Continues on the newest snapshot if the held one is outdated.
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

    /// Accepts the loss of a partition's rows, so that it is no longer reported. Returns whether
    /// the partition, given by its `dt` value, was lost.
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

    /// Runs an action while no other writer is active. On a conflict, the other writer's objects
    /// are recovered and the action is repeated on the newest snapshot.
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
        let message = format!("other processes keep committing to {}", self.endpoint().name);
        Err(Error::new(ErrorKind::Conflict, message))
    }
}

/// The outcome of a transaction.
pub(super) struct Transacted<T> {
    /// What the action returned.
    pub(super) value: T,
    /// The resulting snapshot of the table.
    pub(super) snapshot: Snapshot,
    /// The partitions it wrote.
    pub(super) changed: Vec<PartitionChange>,
}

/// Commits a change that is based on the manifest `base`.
fn commit_once(
    transaction: &mut Transaction<'_>,
    base: &Manifest,
    change: Change,
) -> Result<Outcome<()>> {
    let known = transaction.snapshot().manifest();
    // A change without records needs no check for a newer manifest: it is refused if its own is not
    // the next one.
    let is_of_time = known.version > 0 && known.schema_frozen && !change.has_records();
    if !is_of_time || !transaction.snapshot().table().store().creates_once() {
        transaction.refresh()?;
    }
    if let Some(schema) = &change.schema {
        transaction.grow(schema);
    }
    let mut change = transaction.without_forgotten(change)?;
    let (newest, has_records) = (transaction.snapshot().manifest(), change.has_records());
    change.progress.withdraw_comparisons(base, newest, has_records);
    let Change { rows, mut statements, progress, quarantined, looked_up, .. } = change;
    // What another run has committed since the rows were looked up decides which of them wins (P10).
    let looked_up = looked_up.and_then(|it| it.in_snapshot(newest));
    let mut rows = transaction.widen_all(rows)?;
    statements.rows = rows.iter_mut().map(|rows| std::mem::take(&mut rows.facts)).collect();
    let rules = transaction.rules();
    let known = {
        let read = |snapshot: &Snapshot| {
            let needs = |rows| commit_plan::needs(snapshot.manifest(), &rules, &statements, rows);
            let Some(entries) = &looked_up else { return snapshot.known(&needs(RowKeys::Needed)) };
            let mut known = snapshot.known(&needs(RowKeys::Known))?;
            known.entries.extend(entries.clone());
            Ok(known)
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
        // The rows of a new table have been compared with the list of the forgotten from the start.
        let version = transaction.decoder.forgotten().version;
        plan.next.clearance = Clearance { known: version, cleared: version };
    }
    if plan.next.schema_frozen && !manifest.schema_frozen {
        let current = transaction.decoder.schema().fingerprint();
        let rewritten: Vec<_> = plan.rewrites.keys().copied().collect();
        for partition in to_freeze(&manifest, &current, &rewritten) {
            plan.rewrites.insert(partition, PartitionRewrite::default());
        }
    }
    transaction.commit(plan, rows)
}

/// The partitions to rewrite when the schema is frozen: those in an older schema, and at least one
/// object in any case, to record the freeze. Without it, a lake that loses all manifests could not
/// tell that the first export was complete.
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
