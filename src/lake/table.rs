//! A table: one endpoint's partitions, manifest and index.
//!
//! Enters: a [`Change`]. Leaves: the next manifest, committed after the objects that it names.
//! Never here: a watermark or coverage ahead of the data that it stands for.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::change::{Change, Committed, PartitionChange, PartitionWork, Touched, Work};
use super::index::{self, Index};
use super::manifests;
use super::merge::{self, Merge};
use super::object;
use super::store::{Store, Written};
use crate::decode::{Quarantined, RecordDecoder, RowFacts, Rows};
use crate::endpoint::{Dated, Endpoint, RecordPath};
use crate::error::{ErrorKind, Result};
use crate::manifest::{FORMAT, Granularity, IndexEntry, IndexFile, Manifest, PartitionEntry};
use crate::partition::Partition;

/// The index is folded into one base when its deltas reach this part of it.
const FOLD_AT: u64 = 10;

/// One endpoint's partitions, manifest and index.
#[derive(Debug)]
pub struct Table {
    pub(super) store: Arc<Store>,
    pub(super) endpoint: Arc<Endpoint>,
    run: String,
    pub(super) manifest: Manifest,
    pub(super) index: Index,
    pub(super) decoder: RecordDecoder,
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
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let newest = manifests::newest_manifest(&store, &endpoint.name)?;
        let manifest =
            newest.unwrap_or_else(|| Manifest::new(&endpoint.name, endpoint.schema(), granularity));
        let schema = Arc::new(manifest.schema.clone());
        let decoder = RecordDecoder::new(Arc::clone(&endpoint), schema, manifest.settled, watch);
        let mut manifest = manifest;
        let index = match index::read_all(&store, &manifest) {
            // Without an index every object is a stranger, and is read.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                manifest.partitions.clear();
                manifest.index.clear();
                Index::new()
            }
            index => index?,
        };
        let run = run.to_owned();
        let mut table = Self { store, endpoint, run, manifest, index, decoder };
        table.adopt_strangers(now)?;
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
    pub fn commit(&mut self, change: Change, now: DateTime<Utc>) -> Result<Committed> {
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
        let mut touched = Touched::new();
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
            self.write_manifest(next, now)?;
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
    pub(super) fn refresh(&mut self) -> Result<()> {
        let Some(newest) = manifests::newest_manifest(&self.store, &self.endpoint.name)? else {
            return Ok(());
        };
        if newest.version <= self.manifest.version {
            return Ok(());
        }
        if newest.settled || newest.schema != self.manifest.schema {
            self.decoder.set_schema(Arc::new(newest.schema.clone()), newest.settled);
        }
        self.index = index::read_all(&self.store, &newest)?;
        self.manifest = newest;
        Ok(())
    }

    pub(super) fn partition(&self, day: Option<i32>) -> Partition {
        Partition::of(day, self.manifest.granularity)
    }

    pub(super) fn is_same(&self, entry: &IndexEntry, facts: &RowFacts) -> bool {
        let day = self.lasting_day(entry, facts.day);
        let same_place = self.partition(entry.day) == self.partition(day);
        let same_content = entry.hash == facts.hash && entry.deleted_at == facts.deleted_at;
        entry.in_lake && same_place && same_content
    }

    /// The day of a row: a record dated by its window keeps the first day it was found in.
    pub(super) fn lasting_day(&self, entry: &IndexEntry, day: Option<i32>) -> Option<i32> {
        let keeps_first = self.endpoint.dated == Dated::Window && entry.in_lake;
        if keeps_first { entry.day.min(day) } else { day }
    }

    /// Writes every partition that changes: those that gain rows before those that only lose
    /// some, so that a row that moves is never in neither.
    pub(super) fn write_partitions(
        &mut self,
        work: Work,
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
        let upserts =
            if work.upserts.is_empty() { None } else { Some(Rows::concat(&work.upserts)?) };
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
    pub(super) fn write_index(&mut self, touched: Touched, next: &mut Manifest) -> Result<()> {
        if touched.is_empty() {
            return Ok(());
        }
        let base = next.index.first().map_or(0, |file| file.entries);
        let deltas: u64 = next.index.iter().skip(1).map(|file| file.entries).sum();
        let fold =
            self.endpoint.dated == Dated::Run || (deltas + touched.len() as u64) * FOLD_AT >= base;
        let object = format!(
            "_manifest/{}/index-{:020}-{}.parquet",
            self.endpoint.name,
            next.version + 1,
            self.run
        );
        let as_file = |entries: &mut dyn Iterator<Item = (&Box<str>, &IndexEntry)>| {
            index::write(entries.map(|(key, entry)| (&**key, entry)))
        };
        let delta = if fold { Vec::new() } else { as_file(&mut touched.iter())? };
        let mut entries = touched.len();
        self.index.extend(touched);
        if fold {
            self.drop_forgotten();
            next.index.clear();
            entries = self.index.len();
        }
        let bytes = if fold { as_file(&mut self.index.iter())? } else { delta };
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

    /// Commits the next manifest, which is what makes everything before it true.
    pub(super) fn write_manifest(&mut self, mut next: Manifest, now: DateTime<Utc>) -> Result<()> {
        next.format = FORMAT;
        next.version = self.manifest.version + 1;
        next.run.clone_from(&self.run);
        env!("CARGO_PKG_VERSION").clone_into(&mut next.tool);
        next.committed_at = now;
        manifests::create(&self.store, &next)?;
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
}
