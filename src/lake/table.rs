//! A table: one endpoint's partitions, manifest and index.
//!
//! Enters: a [`Change`]. Leaves: the next manifest, committed after the objects that it names.
//! Never here: a watermark or coverage ahead of the data that it stands for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::index::{self, Index};
use super::merge::{self, Merge};
use super::object;
use super::store::{Listed, Store, Written};
use crate::clock;
use crate::decode::{Quarantined, RecordDecoder, RowFacts, Rows};
use crate::endpoint::{Dated, Endpoint, RecordPath};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Attempt, FORMAT, IndexEntry, IndexFile, Manifest, PartitionEntry};
use crate::partition::{Granularity, Partition};
use crate::schema::Schema;
use crate::window::Window;

/// The index is folded into one base when its deltas reach this part of it.
const FOLD_AT: u64 = 10;

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

/// One endpoint's partitions, manifest and index.
#[derive(Debug)]
pub struct Table {
    store: Arc<Store>,
    endpoint: Arc<Endpoint>,
    run: String,
    manifest: Manifest,
    index: Index,
    decoder: RecordDecoder,
}

/// What is to become of one partition.
#[derive(Debug, Default)]
struct PartitionWork {
    upserts: Vec<Rows>,
    drop: HashSet<Box<str>>,
    marks: HashMap<Box<str>, Option<i64>>,
    inserted: u64,
    updated: u64,
    deleted: u64,
}

impl Table {
    /// Opens a table as its newest manifest says, or a new one. Objects that a run wrote without
    /// living to commit them are adopted. Nothing is written if there is nothing to adopt.
    ///
    /// # Errors
    /// `Newer` when the lake is from a newer version, `Corrupt` when a manifest cannot be read.
    pub fn open(
        store: Arc<Store>,
        endpoint: Arc<Endpoint>,
        granularity: Granularity,
        run: &str,
        watch: Option<String>,
    ) -> Result<Self> {
        let newest = newest_manifest(&store, &endpoint.name)?;
        let manifest =
            newest.unwrap_or_else(|| Manifest::new(&endpoint.name, endpoint.schema(), granularity));
        let schema = Arc::new(manifest.schema.clone());
        let decoder = RecordDecoder::new(Arc::clone(&endpoint), schema, manifest.settled, watch);
        let index = read_index(&store, &manifest)?;
        let run = run.to_owned();
        let mut table = Self { store, endpoint, run, manifest, index, decoder };
        table.adopt_strangers()?;
        Ok(table)
    }

    /// The newest manifest; its version is 0 if nothing was ever committed.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the table knows of each key.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// A decoder of the endpoint's replies, into the table's schema.
    #[must_use]
    pub fn decoder(&self) -> RecordDecoder {
        self.decoder.another()
    }

    /// Whether a row with these facts would change nothing.
    #[must_use]
    pub fn has(&self, facts: &RowFacts) -> bool {
        self.index.get(&facts.key).is_some_and(|entry| self.is_same(entry, facts))
    }

    /// Commits a change: objects first, then the manifest that names them.
    ///
    /// # Errors
    /// When the store fails; what was committed before stays true, and the next run repairs what
    /// was written after.
    pub fn commit(&mut self, change: Change) -> Result<Committed> {
        let store = Arc::clone(&self.store);
        let _lock = store.lock()?;
        if let Some(schema) = change.schema.filter(|_| !self.manifest.settled) {
            self.decoder.set_schema(schema, false);
        }
        self.refresh()?;
        self.write_quarantine(&change.quarantined)?;
        let mut next = self.manifest.clone();
        change.coverage.iter().for_each(|window| next.coverage.add(*window));
        change.goal.iter().chain(&change.coverage).for_each(|window| next.goal.add(*window));
        next.watermark = next.watermark.max(change.watermark);
        let mut touched = BTreeMap::new();
        let mut work = self.plan(change.upserts, &mut touched)?;
        for snapshot in &change.snapshots {
            self.plan_snapshot(snapshot, &mut work, &mut touched);
        }
        self.plan_marks(change.marks, &mut work, &mut touched);
        self.note_attempts(change.attempts, &mut touched);
        if change.settle && !next.settled {
            next.settled = true;
            self.plan_stale(&mut work);
        }
        next.schema = self.decoder.schema().as_ref().clone();
        let changed = self.write_partitions(work, &mut next)?;
        self.write_index(touched, &mut next)?;
        if next != self.manifest {
            self.write_manifest(next)?;
        }
        let settled = self.manifest.settled;
        self.decoder.set_schema(Arc::new(self.manifest.schema.clone()), settled);
        Ok(Committed { changed })
    }

    /// The ids at `path` in the records of the table; of a snapshot table, in those of `day`.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read.
    pub fn values(mut self, path: &RecordPath, day: i32) -> Result<BTreeSet<String>> {
        let by_run = self.endpoint.dated == Dated::Run;
        let wanted = self.partition(Some(day)).to_string();
        let mut values = BTreeSet::new();
        for (name, entry) in &self.manifest.partitions {
            if !by_run || *name == wanted {
                let file = self.store.file(&entry.object)?;
                merge::read_values(file, path, &mut self.decoder, &mut values)?;
            }
        }
        Ok(values)
    }

    /// Takes over what another process committed meanwhile.
    fn refresh(&mut self) -> Result<()> {
        let Some(newest) = newest_manifest(&self.store, &self.endpoint.name)? else {
            return Ok(());
        };
        if newest.version <= self.manifest.version {
            return Ok(());
        }
        if newest.settled || newest.schema != self.manifest.schema {
            self.decoder.set_schema(Arc::new(newest.schema.clone()), newest.settled);
        }
        self.index = read_index(&self.store, &newest)?;
        self.manifest = newest;
        Ok(())
    }

    fn partition(&self, day: Option<i32>) -> Partition {
        Partition::of(day, self.manifest.granularity)
    }

    fn is_same(&self, entry: &IndexEntry, facts: &RowFacts) -> bool {
        let day = self.lasting_day(entry, facts.day);
        let same_place = self.partition(entry.day) == self.partition(day);
        let same_content = entry.hash == facts.hash && entry.deleted_at == facts.deleted_at;
        entry.in_lake && same_place && same_content
    }

    /// The day of a row: a record dated by its window keeps the first day it was found in.
    fn lasting_day(&self, entry: &IndexEntry, day: Option<i32>) -> Option<i32> {
        let keeps_first = self.endpoint.dated == Dated::Window && entry.in_lake;
        if keeps_first { entry.day.min(day) } else { day }
    }

    /// Sorts what is new by partition.
    fn plan(
        &mut self,
        upserts: Vec<Rows>,
        touched: &mut BTreeMap<Box<str>, IndexEntry>,
    ) -> Result<BTreeMap<Partition, PartitionWork>> {
        let mut upserts = self.widen_all(upserts)?;
        if self.endpoint.dated == Dated::Window {
            keep_first_day(&mut upserts);
        }
        let last = last_of_each(&upserts);
        let mut work: BTreeMap<Partition, PartitionWork> = BTreeMap::new();
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
        work: &mut BTreeMap<Partition, PartitionWork>,
        touched: &mut BTreeMap<Box<str>, IndexEntry>,
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
    fn plan_snapshot(
        &self,
        snapshot: &SnapshotKeys,
        work: &mut BTreeMap<Partition, PartitionWork>,
        touched: &mut BTreeMap<Box<str>, IndexEntry>,
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
    fn plan_marks(
        &self,
        marks: Vec<(Box<str>, Option<i64>)>,
        work: &mut BTreeMap<Partition, PartitionWork>,
        touched: &mut BTreeMap<Box<str>, IndexEntry>,
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
    fn plan_stale(&self, work: &mut BTreeMap<Partition, PartitionWork>) {
        let current = self.decoder.schema().fingerprint();
        let stale = self.manifest.partitions.iter().filter(|(_, entry)| entry.schema != current);
        for (name, _) in stale {
            if let Ok(partition) = name.parse::<Partition>() {
                work.entry(partition).or_default();
            }
        }
    }

    fn note_attempts(
        &self,
        attempts: Vec<(Box<str>, Attempt)>,
        touched: &mut BTreeMap<Box<str>, IndexEntry>,
    ) {
        for (key, attempt) in attempts {
            let known = || self.index.get(&key).cloned().unwrap_or_default();
            let entry = touched.entry(key.clone()).or_insert_with(known);
            entry.attempt = Some(attempt);
        }
    }

    /// Writes every partition that changes: those that gain rows before those that only lose
    /// some, so that a row that moves is never in neither.
    fn write_partitions(
        &mut self,
        work: BTreeMap<Partition, PartitionWork>,
        next: &mut Manifest,
    ) -> Result<Vec<PartitionChange>> {
        let (gaining, losing): (Vec<_>, Vec<_>) =
            work.into_iter().partition(|(_, work)| !work.upserts.is_empty());
        let mut changed = Vec::new();
        for (partition, work) in gaining.into_iter().chain(losing) {
            let PartitionWork { inserted, updated, deleted, .. } = work;
            let name = partition.to_string();
            let entry = self.write_partition(&name, work)?;
            next.partitions.insert(name, entry);
            changed.push(PartitionChange { partition, inserted, updated, deleted });
        }
        Ok(changed)
    }

    fn write_partition(&mut self, name: &str, work: PartitionWork) -> Result<PartitionEntry> {
        let path = format!("{}/dt={name}/part-0.parquet", self.endpoint.name);
        let existing = match self.manifest.partitions.get(name) {
            Some(entry) => Some(self.store.file(&entry.object)?),
            None => None,
        };
        let upserts = if work.upserts.is_empty() { None } else { Some(Rows::concat(&work.upserts)?) };
        drop(work.upserts);
        let schema = Arc::clone(self.decoder.schema());
        let mut staged = self.store.stage()?;
        let mut writer = object::writer(&mut staged, &self.endpoint, &schema, &self.run)?;
        let merge = Merge {
            endpoint: &self.endpoint,
            decoder: &mut self.decoder,
            upserts,
            drop: work.drop,
            marks: work.marks,
        };
        let rows = merge.write(existing, &mut writer)?;
        writer.close()?;
        let Written { bytes, etag, sha256 } = self.store.replace(staged, &path)?;
        let schema = schema.fingerprint();
        Ok(PartitionEntry { object: path, rows, bytes, etag, sha256, schema })
    }

    /// Writes what changed of the index: a delta, or a new base where deltas have piled up.
    fn write_index(
        &mut self,
        touched: BTreeMap<Box<str>, IndexEntry>,
        next: &mut Manifest,
    ) -> Result<()> {
        if touched.is_empty() {
            return Ok(());
        }
        let base = next.index.first().map_or(0, |file| file.entries);
        let deltas: u64 = next.index.iter().skip(1).map(|file| file.entries).sum();
        let fold = self.endpoint.dated == Dated::Run
            || (deltas + touched.len() as u64) * FOLD_AT >= base;
        let object = format!(
            "_manifest/{}/index-{:020}-{}.parquet",
            self.endpoint.name,
            next.version + 1,
            self.run
        );
        let delta = index::write(touched.iter().map(|(key, entry)| (&**key, entry)))?;
        let mut entries = touched.len();
        self.index.extend(touched);
        if fold {
            self.drop_forgotten();
            next.index.clear();
            entries = self.index.len();
        }
        let bytes = if fold { index::write(self.index.iter().map(|(key, entry)| (&**key, entry)))? } else { delta };
        self.store.overwrite(&object, &bytes)?;
        next.index.push(IndexFile { object, entries: entries as u64 });
        Ok(())
    }

    /// Entries that say nothing any more: keys that were taken out, snapshots of other days.
    fn drop_forgotten(&mut self) {
        let newest = self.index.values().filter_map(|entry| entry.day).max();
        let by_run = self.endpoint.dated == Dated::Run;
        self.index.retain(|_, entry| {
            let is_old_snapshot = by_run && entry.in_lake && entry.day != newest;
            (entry.in_lake && !is_old_snapshot) || entry.attempt.is_some()
        });
    }

    fn write_manifest(&mut self, mut next: Manifest) -> Result<()> {
        next.format = FORMAT;
        next.version = self.manifest.version + 1;
        next.run.clone_from(&self.run);
        env!("CARGO_PKG_VERSION").clone_into(&mut next.tool);
        next.committed_at = clock::now();
        let path = manifest_path(&self.endpoint.name, next.version);
        let text = serde_json::to_vec_pretty(&next).map_err(|error| {
            Error::new(ErrorKind::Internal, "a manifest cannot be written").with_source(error)
        })?;
        if !self.store.create(&path, &text)? {
            return Err(Error::new(ErrorKind::Conflict, format!("{path} exists already")));
        }
        self.manifest = next;
        Ok(())
    }

    fn write_quarantine(&self, quarantined: &[Quarantined]) -> Result<()> {
        for record in quarantined {
            let path = format!("_quarantine/{}/{:032x}.json", self.endpoint.name, record.hash);
            let reason = serde_json::Value::from(record.reason.as_str());
            let text = format!("{{\"reason\":{reason},\"record\":{}}}\n", record.record);
            self.store.create(&path, text.as_bytes())?;
        }
        Ok(())
    }

    /// Reads objects that the manifest does not know: a run wrote them and died. They are
    /// adopted, and of a key that now stands in two partitions the later fetched row stays.
    fn adopt_strangers(&mut self) -> Result<()> {
        if self.strangers()?.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let _lock = store.lock()?;
        self.refresh()?;
        let mut next = self.manifest.clone();
        let mut touched = BTreeMap::new();
        let mut work: BTreeMap<Partition, PartitionWork> = BTreeMap::new();
        for (partition, object) in self.strangers()? {
            self.adopt(partition, &object, &mut next, &mut touched, &mut work)?;
        }
        self.manifest.partitions.clone_from(&next.partitions);
        self.write_partitions(work, &mut next)?;
        next.schema = self.decoder.schema().as_ref().clone();
        self.write_index(touched, &mut next)?;
        self.write_manifest(next)
    }

    fn adopt(
        &mut self,
        partition: Partition,
        object: &Listed,
        next: &mut Manifest,
        touched: &mut BTreeMap<Box<str>, IndexEntry>,
        work: &mut BTreeMap<Partition, PartitionWork>,
    ) -> Result<()> {
        let facts = merge::read_facts(self.store.file(&object.path)?, &mut self.decoder)?;
        let present: HashSet<&str> = facts.iter().map(|row| &*row.key).collect();
        let here = |entry: &IndexEntry| entry.in_lake && self.partition(entry.day) == partition;
        for (key, entry) in &self.index {
            if here(entry) && !present.contains(&**key) && !touched.contains_key(key) {
                touched.insert(key.clone(), IndexEntry { in_lake: false, ..entry.clone() });
            }
        }
        for row in &facts {
            let old = touched.get(&row.key).or_else(|| self.index.get(&row.key));
            let elsewhere = old.filter(|old| old.in_lake && self.endpoint.dated != Dated::Run);
            let elsewhere = elsewhere.filter(|old| self.partition(old.day) != partition);
            if let Some(old) = elsewhere {
                let older = if old.fetched_at > row.fetched_at { partition } else { self.partition(old.day) };
                work.entry(older).or_default().drop.insert(row.key.clone());
                if older == partition {
                    continue;
                }
            }
            // An attempt is settled for the version that it was made for, which is this one or a
            // later one; what is not certain is asked again.
            let attempt = old.filter(|old| old.hash == row.hash).and_then(|old| old.attempt.clone());
            touched.insert(row.key.clone(), entry_of(row, attempt));
        }
        let bytes = self.store.read(&object.path)?.unwrap_or_default();
        let entry = PartitionEntry {
            object: object.path.clone(),
            rows: facts.len() as u64,
            bytes: bytes.len() as u64,
            etag: object.etag.clone(),
            sha256: super::store::sha256(&bytes),
            schema: self.decoder.schema().fingerprint(),
        };
        next.partitions.insert(partition.to_string(), entry);
        Ok(())
    }

    /// The objects in the table's folder that are not as the manifest says.
    fn strangers(&self) -> Result<Vec<(Partition, Listed)>> {
        let prefix = format!("{}/dt=", self.endpoint.name);
        let partition_of = |path: &str| {
            let name = path.strip_prefix(&prefix)?.strip_suffix("/part-0.parquet")?;
            name.parse::<Partition>().ok()
        };
        let is_known = |name: &str, etag: &str| {
            self.manifest.partitions.get(name).is_some_and(|entry| entry.etag == etag)
        };
        let mut strangers = Vec::new();
        for object in self.store.list(&self.endpoint.name)? {
            if let Some(partition) = partition_of(&object.path) {
                if !is_known(&partition.to_string(), &object.etag) {
                    strangers.push((partition, object));
                }
            }
        }
        Ok(strangers)
    }
}

fn entry_of(row: &RowFacts, attempt: Option<Attempt>) -> IndexEntry {
    IndexEntry {
        in_lake: true,
        day: row.day,
        hash: row.hash,
        fetched_at: row.fetched_at,
        status: row.status.clone(),
        deleted_at: row.deleted_at,
        attempt,
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

fn manifest_path(endpoint: &str, version: u64) -> String {
    format!("_manifest/{endpoint}/{version:020}.json")
}

/// The newest manifest of an endpoint's table, if the lake has one; nothing is written.
///
/// # Errors
/// `Newer` when it is from a newer version, `Corrupt` when it cannot be read.
pub fn newest_manifest(store: &Store, endpoint: &str) -> Result<Option<Manifest>> {
    let folder = format!("_manifest/{endpoint}");
    let listed = store.list(&folder)?;
    let is_manifest = |object: &&Listed| object.path.ends_with(".json");
    let Some(newest) = listed.iter().rfind(is_manifest) else { return Ok(None) };
    let bytes = store.read(&newest.path)?.unwrap_or_default();
    read_manifest(&newest.path, &bytes).map(Some)
}

fn read_manifest(path: &str, bytes: &[u8]) -> Result<Manifest> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
        tool: String,
    }
    let corrupt = |error: serde_json::Error| {
        Error::new(ErrorKind::Corrupt, format!("{path} is no manifest")).with_source(error)
    };
    let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
    if head.format > FORMAT {
        let message = format!(
            "the lake was written by clari-lake {} in format {}, and this version reads up to {FORMAT}",
            head.tool, head.format
        );
        return Err(Error::new(ErrorKind::Newer, message));
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

fn read_index(store: &Store, manifest: &Manifest) -> Result<Index> {
    let mut index = Index::new();
    for file in &manifest.index {
        let missing = || Error::new(ErrorKind::Corrupt, format!("{} is missing", file.object));
        index::read(store.read(&file.object)?.ok_or_else(missing)?, &mut index)?;
    }
    Ok(index)
}
