//! A change: what a run adds to a table, and what becomes of each partition.
//!
//! Enters: rows, marks and keys, against the index. Leaves: the work to do partition by partition,
//! and the index entries that it touches. Never here: an object read or written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::table::Table;
use crate::decode::{Quarantined, RowFacts, Rows};
use crate::endpoint::Dated;
use crate::error::Result;
use crate::manifest::{Attempt, IndexEntry};
use crate::partition::Partition;
use crate::schema::Schema;
use crate::window::Window;

/// What a run adds to a table in one commit.
#[derive(Debug, Default)]
pub struct Change {
    /// Rows to put in, in the order in which they were fetched; of one key the last counts.
    pub upserts: Vec<Rows>,
    /// The keys of whole snapshots: others of the same day are taken out.
    pub snapshots: Vec<SnapshotKeys>,
    /// Keys whose records are known to be gone since an instant, or to be there after all.
    pub marks: Vec<(Box<str>, Option<i64>)>,
    /// What the requests by key found that have no row to show for it, or not yet a whole one.
    pub attempts: Vec<(Box<str>, Attempt)>,
    /// Windows that are complete with these upserts and those before.
    pub coverage: Vec<Window>,
    /// What the run is asked to complete.
    pub goal: Vec<Window>,
    /// Up to where changes are complete with these upserts and those before.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether the table's first export is complete, which settles its schema.
    pub settle: bool,
    /// The schema as the records so far made it grow, while it is not settled.
    pub schema: Option<Arc<Schema>>,
    /// Records that cannot be rows.
    pub quarantined: Vec<Quarantined>,
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

/// What is to become of each partition.
pub(super) type Work = BTreeMap<Partition, PartitionWork>;

/// The index entries that a change touches, as they will be.
pub(super) type Touched = BTreeMap<Box<str>, IndexEntry>;

/// What is to become of one partition.
#[derive(Debug, Default)]
pub(super) struct PartitionWork {
    pub(super) upserts: Vec<Rows>,
    pub(super) drop: HashSet<Box<str>>,
    pub(super) marks: HashMap<Box<str>, Option<i64>>,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
}

impl Table {
    /// Sorts what is new by partition.
    pub(super) fn plan(&mut self, upserts: Vec<Rows>, touched: &mut Touched) -> Result<Work> {
        let mut upserts = self.widen_all(upserts)?;
        if self.endpoint.dated == Dated::Window {
            keep_first_day(&mut upserts);
        }
        let last = last_of_each(&upserts);
        let mut work = Work::new();
        for (piece, mut rows) in upserts.into_iter().enumerate() {
            let mut places: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
            for row in 0..rows.len() {
                if last.get(&rows.facts[row].key) != Some(&(piece, row)) {
                    continue;
                }
                if let Some(partition) = self.admit(&mut rows.facts[row], &mut work, touched) {
                    places.entry(partition).or_default().push(u32::try_from(row).unwrap_or(0));
                }
            }
            for (partition, places) in places {
                work.entry(partition).or_default().upserts.push(rows.take(&places)?);
            }
        }
        Ok(work)
    }

    /// Where a row is to be put; `None` when the lake has it, or a later version of it.
    fn admit(
        &self,
        facts: &mut RowFacts,
        work: &mut Work,
        touched: &mut Touched,
    ) -> Option<Partition> {
        let old = self.index.get(&facts.key).filter(|old| old.in_lake);
        let old = old.filter(|old| self.endpoint.dated != Dated::Run || old.day == facts.day);
        if let Some(old) = old {
            facts.day = self.lasting_day(old, facts.day);
            if old.fetched_at > facts.fetched_at || self.is_same(old, facts) {
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
            attempt: self.index.get(&facts.key).and_then(|old| old.attempt.clone()),
        };
        touched.insert(facts.key.clone(), entry);
        Some(partition)
    }

    /// Brings all rows into one schema, which may grow on the way.
    fn widen_all(&mut self, mut upserts: Vec<Rows>) -> Result<Vec<Rows>> {
        while upserts.iter().any(|rows| rows.schema != *self.decoder.schema()) {
            let widened = upserts.into_iter().map(|rows| self.decoder.widen(rows));
            upserts = widened.collect::<Result<_>>()?;
        }
        Ok(upserts)
    }

    /// Takes out what a snapshot of the same day had and this one has not.
    pub(super) fn plan_snapshot(
        &self,
        snapshot: &SnapshotKeys,
        work: &mut Work,
        touched: &mut Touched,
    ) {
        let partition = self.partition(Some(snapshot.day));
        // A snapshot of nothing is an object too.
        let is_due = self.endpoint.dated == Dated::Run;
        if is_due && !self.manifest.partitions.contains_key(&partition.to_string()) {
            work.entry(partition).or_default();
        }
        for (key, entry) in &self.index {
            if entry.day == Some(snapshot.day) && entry.in_lake && !snapshot.keys.contains(key) {
                let partition = work.entry(partition).or_default();
                partition.drop.insert(key.clone());
                partition.deleted += 1;
                touched.insert(key.clone(), IndexEntry::default());
            }
        }
    }

    /// Marks rows whose records are gone, or back.
    pub(super) fn plan_marks(
        &self,
        marks: Vec<(Box<str>, Option<i64>)>,
        work: &mut Work,
        touched: &mut Touched,
    ) {
        for (key, deleted_at) in marks {
            let Some(entry) = self.index.get(&key).filter(|entry| entry.in_lake) else { continue };
            let is_news = entry.deleted_at.is_some() != deleted_at.is_some();
            if is_news && !touched.contains_key(&key) {
                let work = work.entry(self.partition(entry.day)).or_default();
                work.deleted += u64::from(deleted_at.is_some());
                work.updated += u64::from(deleted_at.is_none());
                work.marks.insert(key.clone(), deleted_at);
                touched.insert(key, IndexEntry { deleted_at, ..entry.clone() });
            }
        }
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

    pub(super) fn note_attempts(&self, attempts: Vec<(Box<str>, Attempt)>, touched: &mut Touched) {
        for (key, attempt) in attempts {
            let known = || self.index.get(&key).cloned().unwrap_or_default();
            let entry = touched.entry(key.clone()).or_insert_with(known);
            entry.attempt = Some(attempt);
        }
    }
}

/// Of each key, the place of the row that was fetched last.
fn last_of_each(pieces: &[Rows]) -> HashMap<Box<str>, (usize, usize)> {
    let mut last: HashMap<Box<str>, (usize, usize)> = HashMap::new();
    for (piece, rows) in pieces.iter().enumerate() {
        for (row, facts) in rows.facts.iter().enumerate() {
            let known = last.entry(facts.key.clone()).or_insert((piece, row));
            if pieces[known.0].facts[known.1].fetched_at <= facts.fetched_at {
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
