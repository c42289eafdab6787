//! A change: what a run adds to a table, and what becomes of each partition.
//!
//! Enters: rows, marks and keys, against the index. Leaves: the work to do partition by partition,
//! and the index entries that it touches. Never here: an object read or written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use super::index::Known;
use super::object::{self, RowOrder};
use super::table::Table;
use crate::decode::{Quarantined, RowFacts, Rows};
use crate::endpoint::{Dated, Endpoint};
use crate::error::Result;
use crate::manifest::{Attempt, Checked, IndexEntry, is_later};
use crate::partition::Partition;
use crate::schema::Schema;
use crate::window::Window;

/// What a run adds to a table in one commit.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Rows to put in, in the order in which they were fetched; of one key the last counts.
    pub upserts: Vec<Rows>,
    /// The keys of whole snapshots: others of the same day are taken out.
    pub snapshots: Vec<SnapshotKeys>,
    /// Keys whose records are known to be gone since an instant, or to be there after all.
    pub marks: Vec<Mark>,
    /// Keys whose rows are to be taken out, and which stay known as gone.
    pub removals: Vec<Removal>,
    /// What the requests by key found that have no row to show for it, or not yet a whole one.
    pub attempts: Vec<Tried>,
    /// Of a chained table, the parents' partitions that were held against it; `None` for those
    /// whose ids are to be looked at again.
    pub checked: Vec<(String, Option<Checked>)>,
    /// Windows that are complete with these upserts and those before.
    pub coverage: Vec<Window>,
    /// Windows that are not complete, though they may have counted as such: they hold something
    /// that cannot be read.
    pub not_covered: Vec<Window>,
    /// What the run is asked to complete.
    pub goal: Vec<Window>,
    /// What a backfill is asked to complete.
    pub backfill: Vec<Window>,
    /// Up to where changes are complete with these upserts and those before.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether all that is covered is listed with private records from now on.
    pub private: Option<bool>,
    /// When everything that is covered was listed anew.
    pub relisted_at: Option<DateTime<Utc>>,
    /// When the listing began of which this is the first commit.
    pub begun_at: Option<DateTime<Utc>>,
    /// Whether the table's first export is complete, which settles its schema.
    pub settle: bool,
    /// The schema as the records so far made it grow, while it is not settled.
    pub schema: Option<Arc<Schema>>,
    /// Records that cannot be rows.
    pub quarantined: Vec<Quarantined>,
}

/// A record that is known to be gone, or to be there after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its key.
    pub key: Box<str>,
    /// The day that dated its row when it was last seen, days since 1970.
    pub day: Option<i32>,
    /// Since when it is gone, microseconds since 1970; `None` when it is there.
    pub deleted_at: Option<i64>,
}

/// A record whose row is to be taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its key.
    pub key: Box<str>,
    /// The day that dates its row, days since 1970.
    pub day: Option<i32>,
    /// When it was found that the row does not belong there, microseconds since 1970.
    pub at: i64,
}

/// A request by key, and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The key.
    pub key: Box<str>,
    /// The day that dates the row, or, if there is none, the parent's row; days since 1970.
    pub day: Option<i32>,
    /// What was found.
    pub attempt: Attempt,
}

impl Change {
    /// Says that a window is not complete, and is to be completed.
    pub fn uncover(&mut self, window: Window) {
        self.not_covered.push(window);
        self.goal.push(window);
    }

    /// Whether it says anything of single records.
    pub(super) fn has_records(&self) -> bool {
        !self.upserts.is_empty()
            || !self.snapshots.is_empty()
            || !self.marks.is_empty()
            || !self.removals.is_empty()
            || !self.attempts.is_empty()
            || !self.quarantined.is_empty()
    }

    /// The keys that it names, each with the day that is likely to date its row.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Option<i32>)> {
        let rows = self.upserts.iter().flat_map(|rows| &rows.facts);
        let rows = rows.map(|facts| (&*facts.key, facts.day));
        let marks = self.marks.iter().map(|mark| (&*mark.key, mark.day));
        let removals = self.removals.iter().map(|removal| (&*removal.key, removal.day));
        let tried = self.attempts.iter().map(|tried| (&*tried.key, tried.day));
        rows.chain(marks).chain(removals).chain(tried)
    }
}

/// The keys of a whole snapshot: all that the API has for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKeys {
    /// The snapshot's day, days since 1970.
    pub day: i32,
    /// All keys that it has.
    pub keys: HashSet<Box<str>>,
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The partitions that were written.
    pub changed: Vec<PartitionChange>,
}

/// What a commit did to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChange {
    /// The partition.
    pub partition: Partition,
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows that were there with another content.
    pub updated: u64,
    /// Rows that are there no more.
    pub deleted: u64,
}

impl PartitionChange {
    /// Adds what a later write did to the same partition.
    pub(super) fn add(&mut self, later: &Self) {
        self.inserted += later.inserted;
        self.updated += later.updated;
        self.deleted += later.deleted;
    }
}

/// What is to become of each partition.
pub(super) type Work = BTreeMap<Partition, PartitionWork>;

/// The index entries that a change touches, as they will be.
pub(super) type Touched = BTreeMap<Box<str>, IndexEntry>;

/// The rows of one batch that go to one partition. The batch is shared, not copied.
#[derive(Debug)]
pub(super) struct Share {
    /// In the table's schema, with the columns that this tool adds.
    pub(super) batch: RecordBatch,
    /// Which of its rows, each with its place in the partition.
    pub(super) rows: Vec<(RowOrder, usize)>,
}

/// What is to become of one partition.
#[derive(Debug, Default)]
pub(super) struct PartitionWork {
    pub(super) upserts: Vec<Share>,
    pub(super) drop: HashSet<Box<str>>,
    pub(super) marks: HashMap<Box<str>, Option<i64>>,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
}

impl Table {
    /// Sorts what is new by partition.
    pub(super) fn plan(
        &mut self,
        upserts: Vec<Rows>,
        known: &Known,
        touched: &mut Touched,
    ) -> Result<Work> {
        let mut upserts = self.widen_all(upserts)?;
        if self.endpoint.dated == Dated::Window {
            keep_first_day(&mut upserts);
        }
        let last = last_of_each(&upserts, self.now.timestamp_micros());
        let mut work = Work::new();
        for (piece, mut rows) in upserts.into_iter().enumerate() {
            let mut places: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
            for row in 0..rows.len() {
                if last.get(&rows.facts[row].key) != Some(&(piece, row)) {
                    continue;
                }
                if let Some(partition) = self.admit(&mut rows.facts[row], known, &mut work, touched)
                {
                    places.entry(partition).or_default().push(row);
                }
            }
            if !places.is_empty() {
                share(&rows.to_table()?, places, &self.endpoint, &mut work)?;
            }
        }
        Ok(work)
    }

    /// Where a row is to be put; `None` when the lake has it, or a later version of it.
    fn admit(
        &self,
        facts: &mut RowFacts,
        known: &Known,
        work: &mut Work,
        touched: &mut Touched,
    ) -> Option<Partition> {
        let entry = known.get(&facts.key).map(|(_, entry)| entry);
        if entry.is_some_and(|old| old.is_removed() && self.is_later(old, facts.fetched_at)) {
            return None;
        }
        let old = entry.filter(|old| old.in_lake);
        let old = old.filter(|old| self.endpoint.dated != Dated::Run || old.day == facts.day);
        if let Some(old) = old {
            facts.day = self.lasting_day(old, facts.day);
            if self.is_later(old, facts.fetched_at) || self.is_same(old, facts) {
                return None;
            }
        }
        let partition = self.partition(facts.day);
        match old.map(|old| self.partition(old.day)) {
            Some(before) if before != partition => {
                let left = work.entry(before).or_default();
                left.drop.insert(facts.key.clone());
                left.deleted += 1;
                work.entry(partition).or_default().inserted += 1;
            }
            Some(_) => work.entry(partition).or_default().updated += 1,
            None => work.entry(partition).or_default().inserted += 1,
        }
        let entry = IndexEntry {
            in_lake: true,
            day: facts.day,
            hash: facts.hash,
            fetched_at: facts.fetched_at,
            status: facts.status.clone(),
            deleted_at: facts.deleted_at,
            attempt: entry.and_then(|old| old.attempt.clone()),
        };
        touched.insert(facts.key.clone(), entry);
        Some(partition)
    }

    /// Brings all rows into one schema, which may grow on the way.
    pub(super) fn widen_all(&mut self, mut upserts: Vec<Rows>) -> Result<Vec<Rows>> {
        while upserts.iter().any(|rows| rows.schema != *self.decoder.schema()) {
            let widened = upserts.into_iter().map(|rows| self.decoder.widen(rows));
            upserts = widened.collect::<Result<_>>()?;
        }
        Ok(upserts)
    }

    /// Takes out what a snapshot of the same day had and this one has not.
    pub(super) fn plan_snapshot(
        &mut self,
        snapshot: &SnapshotKeys,
        known: &mut Known,
        work: &mut Work,
        touched: &mut Touched,
    ) -> Result<()> {
        let partition = self.partition(Some(snapshot.day));
        // A snapshot of nothing is an object too.
        let by_run = self.endpoint.dated == Dated::Run;
        if by_run && !self.manifest.partitions.contains_key(&partition.to_string()) {
            work.entry(partition).or_default();
        }
        let is_of_it = |entry: &IndexEntry| by_run || entry.day == Some(snapshot.day);
        for (key, entry) in self.piece(partition)? {
            if entry.in_lake && is_of_it(entry) && !snapshot.keys.contains(key) {
                let partition_work = work.entry(partition).or_default();
                partition_work.drop.insert(key.clone());
                partition_work.deleted += 1;
                touched.insert(key.clone(), IndexEntry::default());
                known.insert(key.clone(), (partition, entry.clone()));
            }
        }
        Ok(())
    }

    /// Marks rows whose records are gone, or back.
    pub(super) fn plan_marks(
        &self,
        marks: Vec<Mark>,
        known: &Known,
        work: &mut Work,
        touched: &mut Touched,
    ) {
        for Mark { key, deleted_at, .. } in marks {
            let Some((_, entry)) = known.get(&key).filter(|known| known.1.in_lake) else {
                continue;
            };
            let is_news = entry.deleted_at.is_some() != deleted_at.is_some();
            let is_newer = self.is_newer(entry, deleted_at);
            if is_news && !is_newer && !touched.contains_key(&key) {
                let work = work.entry(self.partition(entry.day)).or_default();
                work.deleted += u64::from(deleted_at.is_some());
                work.updated += u64::from(deleted_at.is_none());
                work.marks.insert(key.clone(), deleted_at);
                touched.insert(key, IndexEntry { deleted_at, ..entry.clone() });
            }
        }
    }

    /// Takes out rows, and keeps in mind that they are gone.
    pub(super) fn plan_removals(
        &self,
        removals: Vec<Removal>,
        known: &Known,
        work: &mut Work,
        touched: &mut Touched,
    ) {
        for Removal { key, at, .. } in removals {
            let Some((_, entry)) = known.get(&key).filter(|known| known.1.in_lake) else {
                continue;
            };
            if self.is_newer(entry, Some(at)) || touched.contains_key(&key) {
                continue;
            }
            let work = work.entry(self.partition(entry.day)).or_default();
            work.deleted += 1;
            work.drop.insert(key.clone());
            let removed = IndexEntry {
                in_lake: false,
                fetched_at: at,
                deleted_at: Some(at),
                attempt: None,
                ..entry.clone()
            };
            touched.insert(key, removed);
        }
    }

    /// Whether a row was fetched after its record was found to be gone: then whoever found that
    /// woke up late. A chained table only follows its parents'.
    fn is_newer(&self, entry: &IndexEntry, gone_at: Option<i64>) -> bool {
        let has_parent = self.endpoint.parent.is_some();
        !has_parent && gone_at.is_some_and(|gone_at| self.is_later(entry, gone_at))
    }

    /// Whether what the index says of a key was requested later than this.
    fn is_later(&self, entry: &IndexEntry, asked_at: i64) -> bool {
        is_later(entry.fetched_at, asked_at, self.now.timestamp_micros())
    }

    /// Rewrites what was written before the schema had grown.
    pub(super) fn plan_stale(&self, work: &mut Work) {
        let current = self.decoder.schema().fingerprint();
        let stale = self.manifest.partitions.iter().filter(|(_, entry)| entry.schema != current);
        for (name, _) in stale {
            if let Ok(partition) = name.parse::<Partition>() {
                work.entry(partition).or_default();
            }
        }
    }

    /// Has one object at least written when the schema is frozen, which says so: without it, a
    /// lake that loses all manifests could not tell that the first export was complete.
    pub(super) fn plan_witness(&self, work: &mut Work) {
        let smallest = self.manifest.partitions.iter().min_by_key(|(_, entry)| entry.bytes);
        let smallest = smallest.and_then(|(name, _)| name.parse::<Partition>().ok());
        if let Some(partition) = smallest.filter(|_| work.is_empty()) {
            work.entry(partition).or_default();
        }
    }

    /// Notes what requests by key found. What another run settled meanwhile stays settled.
    pub(super) fn note_attempts(attempts: Vec<Tried>, known: &Known, touched: &mut Touched) {
        for Tried { key, day, attempt } in attempts {
            let before = || known.get(&key).map(|known| known.1.clone()).unwrap_or_default();
            let entry = touched.entry(key.clone()).or_insert_with(before);
            let is_settled = entry.attempt.as_ref().is_some_and(|before| {
                before.reason.is_none() && before.parent_hash == attempt.parent_hash
            });
            if is_settled && attempt.reason.is_some() {
                continue;
            }
            entry.attempt = Some(attempt);
            if !entry.in_lake {
                entry.day = day;
            }
        }
    }
}

/// Gives each partition its rows of a batch.
pub(super) fn share(
    batch: &RecordBatch,
    places: BTreeMap<Partition, Vec<usize>>,
    endpoint: &Endpoint,
    work: &mut Work,
) -> Result<()> {
    let mut order: Vec<Option<RowOrder>> =
        object::order(endpoint, batch)?.into_iter().map(Some).collect();
    for (partition, places) in places {
        let rows = places.into_iter().filter_map(|row| Some((order[row].take()?, row))).collect();
        work.entry(partition).or_default().upserts.push(Share { batch: batch.clone(), rows });
    }
    Ok(())
}

/// Of each key, the place of the row that was fetched last, of all that were by `now`.
fn last_of_each(pieces: &[Rows], now: i64) -> HashMap<Box<str>, (usize, usize)> {
    let mut last: HashMap<Box<str>, (usize, usize)> = HashMap::new();
    for (piece, rows) in pieces.iter().enumerate() {
        for (row, facts) in rows.facts.iter().enumerate() {
            let known = last.entry(facts.key.clone()).or_insert((piece, row));
            if !is_later(pieces[known.0].facts[known.1].fetched_at, facts.fetched_at, now) {
                *known = (piece, row);
            }
        }
    }
    last
}

/// A record that was found in the windows of two days belongs to the first.
fn keep_first_day(pieces: &mut [Rows]) {
    let mut first: HashMap<Box<str>, i32> = HashMap::new();
    let days = pieces.iter().flat_map(|rows| &rows.facts);
    for (key, day) in days.filter_map(|facts| Some((&facts.key, facts.day?))) {
        let known = first.entry(key.clone()).or_insert(day);
        *known = day.min(*known);
    }
    for facts in pieces.iter_mut().flat_map(|rows| &mut rows.facts) {
        facts.day = first.get(&facts.key).copied().or(facts.day);
    }
}
