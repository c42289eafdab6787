//! Transactions: the only way to change a table.
//!
//! A [`CommitPlan`] is written as objects, each replaced whole, then index shards, then the
//! manifest that names them, which makes all of it valid. If a run is killed in between, the next
//! one recovers the objects it left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use super::existing::Existing;
use super::layout::{FileSchema, Footer};
use super::merge::{Merge, Selection};
use super::snapshot::Snapshot;
use super::writer::ObjectWriter;
use super::{base, layout, manifests, object};
use crate::commit_plan::{CommitPlan, Entries, PartitionRewrite, Rules, ShardDelta};
use crate::decode::{Quarantined, RecordDecoder, Rows};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::index::keys::{self, Place, key_hash};
use crate::lake::index::shard;
use crate::lake::store::{Lock, Object, Store, Written};
use crate::manifest::{
    FORMAT, Granularity, IndexFile, LostPartition, Manifest, PartitionEntry, RowCounts,
};
use crate::partition::Partition;
use crate::row::RowFacts;
use crate::schema::Schema;
use crate::window::day_of;

/// The key map is folded into one base when its deltas reach this fraction of it, or this number.
const FOLD_AT: u64 = 10;
const MOST_DELTAS: usize = 16;

/// The outcome of a commit.
#[derive(Debug)]
#[must_use = "a conflict has to be planned again on the newest snapshot"]
pub(in crate::lake) enum Outcome<T> {
    /// The commit is in the lake.
    Committed(T),
    /// Another writer was faster, so the plan is no longer valid.
    Conflict,
}

impl<T> Outcome<T> {
    /// The same outcome with another value.
    pub(in crate::lake) fn with<U>(self, value: U) -> Outcome<U> {
        match self {
            Self::Committed(_) => Outcome::Committed(value),
            Self::Conflict => Outcome::Conflict,
        }
    }
}

/// What a commit changed in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChange {
    /// The partition.
    pub partition: Partition,
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows that existed and were replaced.
    pub updated: u64,
    /// Rows that were removed or marked as deleted.
    pub deleted: u64,
}

impl PartitionChange {
    /// Adds what a later write changed in the same partition.
    fn add(&mut self, later: &Self) {
        self.inserted += later.inserted;
        self.updated += later.updated;
        self.deleted += later.deleted;
    }
}

/// A table while the lake's lock or lease is held.
pub(in crate::lake) struct Transaction<'s> {
    _lock: Lock<'s>,
    snapshot: Snapshot,
    /// Decodes into the table's schema, which grows with the rows while it is not frozen.
    pub(in crate::lake) decoder: RecordDecoder,
    now: DateTime<Utc>,
    /// What has been written so far, in all commits.
    changed: Vec<PartitionChange>,
}

impl<'s> Transaction<'s> {
    /// Begins on a known state of the table; waits for the lock.
    pub(in crate::lake) fn begin(
        store: &'s Store,
        snapshot: &Snapshot,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let lock = store.lock()?;
        let (snapshot, decoder) = (snapshot.clone(), snapshot.decoder()?);
        Ok(Self { _lock: lock, snapshot, decoder, now, changed: Vec::new() })
    }

    /// The current state of the table.
    pub(in crate::lake) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The resulting state of the table, and what was written.
    pub(in crate::lake) fn end(self) -> (Snapshot, Vec<PartitionChange>) {
        (self.snapshot, self.changed)
    }

    /// The time of its commits.
    pub(in crate::lake) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// How rows are placed and compared.
    pub(in crate::lake) fn rules(&self) -> Rules {
        self.snapshot.rules(self.now)
    }

    fn store(&self) -> &Arc<Store> {
        self.snapshot.table().store()
    }

    fn endpoint(&self) -> &Arc<Endpoint> {
        self.snapshot.table().endpoint()
    }

    /// Continues with the newest manifest.
    pub(in crate::lake) fn refresh(&mut self) -> Result<()> {
        if let Some(newer) = self.snapshot.newer()? {
            return self.adopt(newer);
        }
        self.snapshot.note_newest();
        Ok(())
    }

    /// Continues with this manifest of the same table, which may have another schema.
    pub(in crate::lake) fn continue_on(&mut self, snapshot: Snapshot) {
        let manifest = snapshot.manifest();
        self.decoder.set_schema(Arc::new(manifest.schema.clone()), manifest.schema_frozen);
        self.snapshot = snapshot;
    }

    /// Continues with another snapshot.
    pub(in crate::lake) fn adopt(&mut self, snapshot: Snapshot) -> Result<()> {
        self.snapshot = snapshot;
        self.decoder = self.snapshot.decoder()?;
        Ok(())
    }

    /// Merges the columns that a run has found into a schema that is not frozen.
    pub(in crate::lake) fn grow(&mut self, found: &Schema) {
        if !self.snapshot.manifest().schema_frozen {
            let grown = self.decoder.schema().union(found);
            self.decoder.set_schema(Arc::new(grown), false);
        }
    }

    /// Converts all rows to one schema, which may grow in the process.
    pub(in crate::lake) fn widen_all(&mut self, mut batches: Vec<Rows>) -> Result<Vec<Rows>> {
        while batches.iter().any(|rows| rows.schema != *self.decoder.schema()) {
            let widened = batches.into_iter().map(|rows| self.decoder.widen(rows));
            batches = widened.collect::<Result<_>>()?;
        }
        Ok(batches)
    }

    /// Commits a plan for these batches of rows, which are in the decoder's schema. The plan has
    /// the facts of each row.
    pub(in crate::lake) fn commit(
        &mut self,
        plan: CommitPlan,
        batches: Vec<Rows>,
    ) -> Result<Outcome<()>> {
        let outcome = self.write(plan, batches);
        match outcome {
            Ok(()) => Ok(Outcome::Committed(())),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Outcome::Conflict),
            Err(error) => Err(error),
        }
    }

    /// Commits a manifest with another schema; the objects are rewritten later.
    pub(in crate::lake) fn commit_schema(&mut self, next: Manifest) -> Result<Outcome<()>> {
        self.decoder.set_schema(Arc::new(next.schema.clone()), next.schema_frozen);
        self.commit(CommitPlan::of(next), Vec::new())
    }

    fn write(&mut self, mut plan: CommitPlan, batches: Vec<Rows>) -> Result<()> {
        let rewrites = std::mem::take(&mut plan.rewrites);
        let rows = std::mem::take(&mut plan.rows);
        let work = selected(self.endpoint(), rewrites, batches, rows)?;
        plan.next.schema = self.decoder.schema().as_ref().clone();
        plan.next.selectors = self.snapshot.table().selectors(self.snapshot.manifest());
        let written = self.write_partitions(work, &mut plan.next)?;
        self.write_index(&mut plan)?;
        // A lost partition is whole again when everything that the API has of it was requested, and
        // it has as many rows as before. Before that, new rows may take the place of missing ones.
        let Manifest { lost, partitions, .. } = &mut plan.next;
        let is_whole = |dt: &String, lost: &LostPartition| {
            let has_all = partitions.get(dt).is_some_and(|there| there.rows >= lost.rows);
            lost.requested && !lost.replaced && has_all
        };
        lost.retain(|dt, lost| !is_whole(dt, lost));
        let next = plan.next;
        if next != **self.snapshot.manifest() {
            let changed = changed(self.snapshot.manifest(), &next, written);
            self.write_manifest(Manifest { changed: Some(changed), ..next })?;
        }
        let manifest = self.snapshot.manifest();
        self.decoder.set_schema(Arc::new(manifest.schema.clone()), manifest.schema_frozen);
        Ok(())
    }

    /// Writes every partition that changes, so that a row that moves is always in at least one of
    /// them. Returns the changes to each partition.
    fn write_partitions(&mut self, work: Work, next: &mut Manifest) -> Result<ChangedPartitions> {
        let mut written = ChangedPartitions::new();
        for group in in_order(work) {
            let table = self.snapshot.table().clone();
            let writing = Writing {
                store: table.store(),
                endpoint: table.endpoint(),
                run: table.run(),
                is_frozen: next.schema_frozen,
                granularity: next.granularity,
                known: &next.partitions,
            };
            let writers = group.iter().take(writing.store.writers());
            let decoders = writers.map(|_| self.decoder.another()).collect();
            for (entry, change) in writing.write_all(decoders, group)? {
                let partition = change.partition;
                next.partitions.insert(partition.to_string(), entry);
                let PartitionChange { inserted, updated, deleted, .. } = change;
                let counts = RowCounts { inserted, updated, deleted };
                written.insert(partition.to_string(), Some(counts));
                match self.changed.iter_mut().find(|it| it.partition == partition) {
                    Some(known) => known.add(&change),
                    None => self.changed.push(change),
                }
            }
        }
        Ok(written)
    }

    /// Writes the changes to the index: the shards of partitions whose keys changed, the new
    /// locations of keys that moved, and the parents' answers.
    fn write_index(&mut self, plan: &mut CommitPlan) -> Result<()> {
        let is_snapshot = self.rules().is_snapshot;
        for partition in plan.copied_shards.keys() {
            plan.index.entry(*partition).or_default();
        }
        for (partition, delta) in std::mem::take(&mut plan.index) {
            let copied = plan.copied_shards.remove(&partition);
            let name = partition.to_string();
            let mut entries = if let Some(copied) = copied {
                copied
            } else {
                let known = self.snapshot.shard(partition)?;
                if let Some(file) = self.snapshot.manifest().index.get(&name) {
                    self.snapshot.cache().evict(&file.object);
                }
                Arc::unwrap_or_clone(known)
            };
            apply(&mut entries, delta);
            if entries.is_empty() {
                plan.next.index.remove(&name);
            } else {
                let file = self.write_shard(&name, entries, &plan.next.selectors)?;
                plan.next.index.insert(name, file);
            }
        }
        if is_snapshot {
            retain_newest(&mut plan.next, self.now);
        } else if !plan.moved.is_empty() {
            let place = |(key, partition): (Box<str>, Partition)| {
                (key_hash(&key), partition.date().map(day_of))
            };
            let moved = std::mem::take(&mut plan.moved).into_iter().map(place).collect();
            self.write_keys(moved, &mut plan.next)?;
        }
        if !plan.parents.is_empty() {
            let mut entries = Arc::unwrap_or_clone(self.snapshot.parents()?);
            apply(&mut entries, std::mem::take(&mut plan.parents));
            plan.next.parents = if entries.is_empty() {
                None
            } else {
                Some(self.write_shard("parents", entries, &plan.next.selectors)?)
            };
        }
        Ok(())
    }

    fn write_shard(&self, of: &str, entries: Entries, selectors: &[String]) -> Result<IndexFile> {
        let bytes = shard::write(&entries, selectors)?;
        let file = self.write_index_file(of, &bytes, entries.len())?;
        self.snapshot.cache().keep(file.object.clone(), Arc::new(entries));
        Ok(file)
    }

    /// Adds locations to the key map, as a delta or in a new base.
    fn write_keys(&self, moved: Vec<Place>, next: &mut Manifest) -> Result<()> {
        let base = next.keys.first().map_or(0, |file| file.entries);
        let deltas: u64 = next.keys.iter().skip(1).map(|file| file.entries).sum();
        let is_due = (deltas + moved.len() as u64) * FOLD_AT >= base;
        let (bytes, count) = if is_due || next.keys.len() > MOST_DELTAS {
            let mut files = std::mem::take(&mut next.keys).into_iter();
            let base = files.next();
            let read = |file: IndexFile| keys::read_all(self.store(), &file.object);
            keys::fold(self.store(), base.as_ref(), files.map(read).chain([Ok(moved)]))?
        } else {
            let count = moved.len();
            (keys::write(moved)?, count)
        };
        let file = self.write_index_file("keys", &bytes, count)?;
        next.keys.push(file);
        Ok(())
    }

    /// Writes an index file under a name that no other commit uses.
    pub(in crate::lake) fn write_index_file(
        &self,
        of: &str,
        bytes: &[u8],
        entries: usize,
    ) -> Result<IndexFile> {
        let object = self.index_path(&format!("{of}.parquet"));
        self.store().overwrite(&object, bytes)?;
        Ok(IndexFile { object, entries: entries as u64 })
    }

    /// A name for a file that the next manifest refers to, which no other commit uses.
    fn index_path(&self, of: &str) -> String {
        let (version, run) = (self.snapshot.manifest().version + 1, self.snapshot.table().run());
        format!("_manifest/{}/index/{version:020}-{run}-{of}", self.endpoint().name)
    }

    /// Commits the next manifest, which makes everything before it valid.
    fn write_manifest(&mut self, mut next: Manifest) -> Result<()> {
        next.format = FORMAT;
        next.version = self.snapshot.manifest().version + 1;
        self.snapshot.table().run().clone_into(&mut next.run);
        env!("CARGO_PKG_VERSION").clone_into(&mut next.tool);
        next.committed_at = self.now;
        if base::is_due(&next) {
            let object = self.index_path("base.json.zst");
            let base = next.to_base(object);
            base::write(self.store(), &base)?;
            next.base = Some(Arc::new(base));
        }
        if !manifests::create(self.store(), &next)? {
            return Err(lost_race("the next manifest"));
        }
        self.snapshot = self.snapshot.with(next);
        Ok(())
    }

    /// Stores records that cannot be rows beside the table, with the reasons.
    pub(in crate::lake) fn write_quarantine(&self, quarantined: &[Quarantined]) -> Result<()> {
        for record in quarantined {
            let path = format!("_quarantine/{}/{:032x}.json", self.endpoint().name, record.hash);
            let reason = serde_json::Value::from(record.reason.as_str());
            let text = format!("{{\"reason\":{reason},\"record\":{}}}\n", record.record);
            self.store().create(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

/// What a commit changed in partitions, by their value of `dt`.
type ChangedPartitions = BTreeMap<String, Option<RowCounts>>;

/// The partitions in which a manifest differs from the one before: those that the commit wrote, and
/// those whose objects were recovered or are gone.
fn changed(before: &Manifest, next: &Manifest, written: ChangedPartitions) -> ChangedPartitions {
    let mut changed: ChangedPartitions =
        before.changed_partitions(next).map(|name| (name.to_owned(), None)).collect();
    changed.extend(written);
    changed
}

fn apply(entries: &mut Entries, delta: ShardDelta) {
    for (key, entry) in delta {
        match entry {
            Some(entry) => entries.insert(key, entry),
            None => entries.remove(&key),
        };
    }
}

/// Keeps only the index of the newest snapshot, since others are rarely read. A snapshot with a
/// future date was dated by a wrong clock.
fn retain_newest(next: &mut Manifest, now: DateTime<Utc>) {
    let today = now.date_naive();
    let date = |name: &String| name.parse().ok().and_then(|it: Partition| it.date());
    let is_past = |name: &&String| date(name).is_some_and(|date| date <= today);
    let is_dated = |name: &&String| date(name).is_some();
    let newest = next.index.keys().rfind(is_past).or(next.index.keys().rfind(is_dated)).cloned();
    next.index.retain(|name, _| Some(name) == newest.as_ref());
}

/// What to write in each partition.
type Work = BTreeMap<Partition, PartitionWork>;

/// What to write in one partition, with its rows.
#[derive(Debug, Default)]
struct PartitionWork {
    rewrite: PartitionRewrite,
    rows: Vec<Selection>,
}

/// Assigns each partition its rows.
fn selected(
    endpoint: &Endpoint,
    rewrites: BTreeMap<Partition, PartitionRewrite>,
    batches: Vec<Rows>,
    facts: Vec<Vec<RowFacts>>,
) -> Result<Work> {
    let mut work: Work = rewrites
        .into_iter()
        .map(|(partition, rewrite)| (partition, PartitionWork { rewrite, rows: Vec::new() }))
        .collect();
    for (number, (batch, facts)) in batches.into_iter().zip(facts).enumerate() {
        let goes =
            |work: &PartitionWork| work.rewrite.rows.iter().any(|(batch, _)| *batch == number);
        if !work.values().any(goes) {
            continue;
        }
        let batch: RecordBatch = Rows { facts, ..batch }.to_table()?;
        let mut order: Vec<_> = object::order(endpoint, &batch)?.into_iter().map(Some).collect();
        for work in work.values_mut().filter(|work| goes(work)) {
            let rows = work.rewrite.rows.iter().filter(|(batch, _)| *batch == number);
            let rows = rows.filter_map(|(_, row)| Some((order[*row].take()?, *row))).collect();
            work.rows.push(Selection { batch: batch.clone(), rows });
        }
    }
    Ok(work)
}

/// What every thread that writes partitions needs.
#[derive(Clone, Copy)]
struct Writing<'a> {
    store: &'a Store,
    endpoint: &'a Endpoint,
    run: &'a str,
    is_frozen: bool,
    granularity: Granularity,
    known: &'a BTreeMap<String, PartitionEntry>,
}

/// A written partition: its entry, and what has changed in it.
type Done = (PartitionEntry, PartitionChange);

impl Writing<'_> {
    /// Writes partitions in any order, as many at a time as there are decoders. After a failure, no
    /// other write is started.
    fn write_all(
        self,
        mut decoders: Vec<RecordDecoder>,
        group: Vec<(Partition, PartitionWork)>,
    ) -> Result<Vec<Done>> {
        let queue = Mutex::new(group.into_iter());
        let failed = AtomicBool::new(false);
        let (queue, failed) = (&queue, &failed);
        let work = move |mut decoder: RecordDecoder| {
            let (mut done, mut schema) = (Vec::new(), None);
            while !failed.load(Ordering::Relaxed) {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((partition, work)) = next else { break };
                let written = self.write(partition, work, &mut decoder, &mut schema);
                done.push(written.inspect_err(|_| failed.store(true, Ordering::Relaxed))?);
            }
            Ok(done)
        };
        thread::scope(|scope| {
            let own = decoders.pop();
            let others: Vec<_> =
                decoders.into_iter().map(|decoder| scope.spawn(move || work(decoder))).collect();
            let own = own.map(work);
            let joined = others.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(died())));
            let done: Result<Vec<Vec<Done>>> = own.into_iter().chain(joined).collect();
            Ok(done?.into_iter().flatten().collect())
        })
    }

    fn write(
        self,
        partition: Partition,
        work: PartitionWork,
        decoder: &mut RecordDecoder,
        schema: &mut Option<FileSchema>,
    ) -> Result<Done> {
        let Self { store, endpoint, is_frozen, .. } = self;
        let name = partition.to_string();
        let path = format!("{}/dt={name}/part-0.parquet", endpoint.name);
        let PartitionWork { rewrite, rows: selections } = work;
        let PartitionRewrite { copied, removed, marked, inserted, updated, deleted, .. } = rewrite;
        let own = self.known.get(&name).map(|known| self.current(known)).transpose()?;
        let version = own.as_ref().map(Object::version).cloned();
        let (existing, day) = match (own, copied) {
            (None, Some((from, day))) => {
                let known = self.known.get(&from.to_string());
                (known.map(|known| self.current(known)).transpose()?, day)
            }
            (own, _) => (own, None),
        };
        let schema = match schema.take() {
            Some(known) if known.table == *decoder.schema() => schema.insert(known),
            _ => schema.insert(FileSchema::of(decoder.schema())),
        };
        let existing = existing.map(Existing::open_with_pages).transpose()?;
        // If it is copied from another partition's object, nothing is being replaced.
        let before = existing.as_ref().filter(|_| version.is_some());
        let before = before.map(|existing| Arc::clone(existing.metadata()));
        let is_monthly = self.granularity == Granularity::Month;
        let merge =
            Merge { endpoint, decoder, partition, day, is_monthly, selections, removed, marked };
        let planned = merge.plan(existing, &schema.arrow)?;
        let contents = planned.contents();
        let footer = Footer { run: self.run, is_frozen, granularity: self.granularity };
        let properties = layout::properties(endpoint, schema, footer, &contents);
        let mut staged = store.stage()?;
        let mut writer =
            ObjectWriter::new(&mut staged, &schema.arrow, properties, before.as_deref())?;
        let rows = planned.write(&mut writer)?;
        writer.close()?;
        let replaced = store.replace(staged, &path, version.as_ref())?;
        let Written { bytes, etag, sha256 } = replaced.ok_or_else(|| lost_race(&path))?;
        let schema = schema.fingerprint.clone();
        let entry = PartitionEntry { object: path, rows, bytes, etag, sha256, schema };
        Ok((entry, PartitionChange { partition, inserted, updated, deleted }))
    }

    /// A partition's object, if it is the known version.
    fn current(self, known: &PartitionEntry) -> Result<Object> {
        let object = self.store.object_of(known)?;
        let is_known = |object: &Object| object.version().etag() == known.etag;
        object.filter(is_known).ok_or_else(|| lost_race(&known.object))
    }
}

fn died() -> Error {
    Error::new(ErrorKind::Internal, "a thread that wrote a partition panicked")
}

/// The commit race was lost; the caller plans again.
fn lost_race(object: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("another process has written {object} in the meantime"))
}

/// Orders the writes so that a row that moves is written to its new partition before it is removed
/// from its old one. The result is a sequence of groups, each of which starts when the previous one
/// is complete. If partitions exchange rows, one of them is written twice: first rows are added,
/// then removed.
fn in_order(mut work: Work) -> Vec<Vec<(Partition, PartitionWork)>> {
    let goes = destinations(&work);
    let (mut ordered, mut last) = (Vec::new(), Vec::new());
    while !work.is_empty() {
        let is_to_come = |key: &str, at: &Partition| {
            goes.get(key).is_some_and(|to| to != at && work.contains_key(to))
        };
        let waits = |at: &Partition, it: &PartitionWork| {
            it.rewrite.removed.iter().any(|key| is_to_come(key, at))
        };
        let mut free: Vec<_> =
            work.iter().filter(|(at, it)| !waits(at, it)).map(|(at, _)| *at).collect();
        if free.is_empty() {
            let gaining = work.iter_mut().find(|(_, it)| !it.rows.is_empty());
            free.extend(gaining.map(|(at, it)| {
                let removed = std::mem::take(&mut it.rewrite.removed);
                let rewrite = PartitionRewrite { removed, ..PartitionRewrite::default() };
                last.push((*at, PartitionWork { rewrite, rows: Vec::new() }));
                *at
            }));
        }
        ordered.push(free.into_iter().filter_map(|at| work.remove_entry(&at)).collect());
    }
    ordered.push(last);
    ordered
}

/// The new partitions of the rows that move.
fn destinations(work: &Work) -> HashMap<Box<str>, Partition> {
    let dropped: HashSet<&str> =
        work.values().flat_map(|it| &it.rewrite.removed).map(|key| &**key).collect();
    let gained = work.iter().flat_map(|(at, it)| {
        it.rows.iter().flat_map(|selection| &selection.rows).map(move |(row, _)| (&*row.key, *at))
    });
    let moved = gained.filter(|(key, _)| dropped.contains(key));
    moved.map(|(key, at)| (key.into(), at)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use proptest::prelude::*;

    use super::super::object::RowOrder;
    use super::*;

    fn partition(day: i32) -> Partition {
        Partition::of(Some(day), Granularity::Day)
    }

    /// The row of a key, as it is inserted into a partition.
    fn selection(key: &str) -> Selection {
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Selection { batch, rows: vec![(RowOrder { time: None, key: key.to_owned() }, 0)] }
    }

    proptest! {
        /// P1: however rows move between partitions, and however many are written at once, a row is
        /// removed from its old partition only after an earlier group has written it to its new
        /// one.
        #[test]
        fn a_moving_row_is_added_before_it_is_removed(
            moves in prop::collection::vec((0i32..5, 0i32..5), 0..12),
        ) {
            let mut work = Work::new();
            for (number, (from, to)) in moves.iter().enumerate() {
                let key = number.to_string();
                work.entry(partition(*to)).or_default().rows.push(selection(&key));
                work.entry(partition(*from)).or_default().rewrite.removed.insert(key.into());
            }
            let ordered = in_order(work);
            let groups_where = |is_so: &dyn Fn(&Partition, &PartitionWork) -> bool| {
                let groups = ordered.iter().enumerate();
                let found = groups.filter(|(_, group)| group.iter().any(|(at, it)| is_so(at, it)));
                found.map(|(number, _)| number).collect::<Vec<_>>()
            };
            for (number, (from, to)) in moves.iter().enumerate() {
                let key = number.to_string();
                let gains = |it: &PartitionWork| {
                    it.rows.iter().flat_map(|selection| &selection.rows).any(|(row, _)| row.key == key)
                };
                let gained = groups_where(&|at, it| *at == partition(*to) && gains(it));
                let lost = groups_where(&|at, it| {
                    *at == partition(*from) && it.rewrite.removed.contains(key.as_str())
                });
                prop_assert_eq!((gained.len(), lost.len()), (1, 1));
                prop_assert!(from == to || gained[0] < lost[0], "{} {:?}", key, moves);
            }
            let partitions = |group: &Vec<(Partition, PartitionWork)>| {
                let names: HashSet<Partition> = group.iter().map(|(at, _)| *at).collect();
                names.len() == group.len()
            };
            prop_assert!(ordered.iter().all(partitions), "no two threads write one partition");
        }
    }
}
