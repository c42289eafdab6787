//! A table: one endpoint's partitions, manifest and index.
//!
//! Enters: a [`Change`]. Leaves: the next manifest, committed after the objects that it names.
//! Never here: a watermark or coverage ahead of the data that it stands for.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::change::{Change, Committed, PartitionChange, Touched};
use super::index::{self, Index, Known};
use super::manifests;
use super::merge;
use super::piece::Entries;
use super::store::Store;
use super::{base, keys, piece};
use crate::decode::{Quarantined, RecordDecoder, RowFacts, Rows};
use crate::endpoint::{Catalogue, Dated, Endpoint, Named, Parent, ParentField};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Clearance, FORMAT, Granularity, IndexEntry, IndexFile, Manifest};
use crate::partition::Partition;

/// The key map is folded into one base when its deltas reach this part of it, or this number.
const FOLD_AT: u64 = 10;
const MOST_DELTAS: usize = 16;
/// How often a change is merged again because another writer was faster.
const MOST_RACES: u32 = 16;

/// One endpoint's partitions, manifest and index.
#[derive(Debug)]
pub struct Table {
    pub(super) store: Arc<Store>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) run: String,
    pub(super) manifest: Manifest,
    pub(super) index: Index,
    pub(super) decoder: RecordDecoder,
    /// The instant that commits name: when the table was opened, or last committed to.
    pub(super) now: DateTime<Utc>,
    /// Whether an index that cannot be read is made anew.
    pub(super) mends: bool,
    /// The partitions whose objects had vanished.
    pub(super) lost: Vec<String>,
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
        let mut table = Self::read(store, endpoint, granularity, run, watch, now)?;
        table.mends = true;
        table.adopt_strangers()?;
        Ok(table)
    }

    /// A table as its newest manifest says, or a new one; nothing is written, and what a run that
    /// died left is not looked for.
    ///
    /// # Errors
    /// `Newer` when the lake is from a newer version, `Corrupt` when a manifest cannot be read.
    pub fn read(
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
        let mut decoder =
            RecordDecoder::new(Arc::clone(&endpoint), schema, manifest.settled, watch);
        decoder.set_forgotten(store.forgotten(manifest.clearance.known)?);
        let run = run.to_owned();
        let index = Index::default();
        let (mends, lost) = (false, Vec::new());
        Ok(Self { store, endpoint, run, manifest, index, decoder, now, mends, lost })
    }

    /// A table to look into, for whoever writes nothing.
    ///
    /// # Errors
    /// `Newer` when the lake is from a newer version, `Corrupt` when a manifest cannot be read.
    pub fn reader(store: &Arc<Store>, catalogue: &Catalogue, endpoint: &Endpoint) -> Result<Self> {
        let watch = catalogue.watched_field(&endpoint.name).map(str::to_owned);
        let (store, endpoint) = (Arc::clone(store), Arc::new(endpoint.clone()));
        Self::read(store, endpoint, Granularity::Day, "reader", watch, DateTime::UNIX_EPOCH)
    }

    /// The newest manifest; its version is 0 if nothing was ever committed.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The partitions, by their value of `dt`, whose objects had vanished when the table was opened.
    #[must_use]
    pub fn lost(&self) -> &[String] {
        &self.lost
    }

    /// The partitions of which the index knows something, oldest first.
    pub fn indexed(&self) -> impl DoubleEndedIterator<Item = Partition> {
        self.manifest.index.keys().filter_map(|name| name.parse().ok())
    }

    /// What is known of one partition's keys.
    ///
    /// # Errors
    /// `Corrupt` when a file of the index cannot be read.
    pub fn entries(&mut self, partition: Partition) -> Result<&Entries> {
        self.mend_if_needed(|table| table.piece(partition).map(|_| ()))?;
        self.piece(partition)
    }

    /// What is known of these keys, each given with the day that is likely to date its row.
    ///
    /// # Errors
    /// `Corrupt` when a file of the index cannot be read.
    pub fn find(&mut self, wanted: &[(&str, Option<i32>)]) -> Result<Known> {
        self.mend_if_needed(|table| table.look_up(wanted.iter().copied()))
    }

    /// The rows, by their places, that would change something.
    ///
    /// # Errors
    /// `Corrupt` when a file of the index cannot be read.
    pub fn news(&mut self, facts: &[RowFacts]) -> Result<Vec<u32>> {
        let wanted: Vec<_> = facts.iter().map(|facts| (&*facts.key, facts.day)).collect();
        let known = self.find(&wanted)?;
        let is_news = |facts: &RowFacts| {
            known.get(&facts.key).is_none_or(|(_, entry)| !self.is_same(entry, facts))
        };
        Ok((0u32..).zip(facts).filter(|(_, facts)| is_news(facts)).map(|(row, _)| row).collect())
    }

    /// A decoder of the endpoint's replies, into the table's schema.
    #[must_use]
    pub fn decoder(&self) -> RecordDecoder {
        self.decoder.another()
    }

    /// Commits a change: objects first, then the manifest that names them.
    ///
    /// # Errors
    /// When the store fails; what was committed before stays true, and the next run repairs what
    /// was written after.
    pub fn commit(&mut self, change: &Change, now: DateTime<Utc>) -> Result<Committed> {
        self.now = now;
        let mut changed = Vec::new();
        self.in_turn(|table| table.commit_once(change.clone(), &mut changed))?;
        Ok(Committed { changed })
    }

    /// Acts while no other writer does, on what is newest then. Where one was faster all the same,
    /// what it wrote is taken over, and the act is done again.
    pub(super) fn in_turn<T>(&mut self, mut act: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let store = Arc::clone(&self.store);
        let _lock = store.lock()?;
        let is_lost = |error: &Error| error.kind() == ErrorKind::Conflict;
        let mut done = act(self);
        for _ in 0..MOST_RACES {
            if !done.as_ref().is_err_and(is_lost) {
                break;
            }
            store.hold()?;
            self.forget();
            self.refresh()?;
            let adopted = self.mend(Self::adopt_all);
            self.forget();
            done = adopted.and_then(|()| act(self));
        }
        done
    }

    /// What is known of the table no longer counts; the next look reads it again.
    fn forget(&mut self) {
        self.manifest.version = 0;
        self.manifest.partitions.clear();
    }

    fn commit_once(&mut self, change: Change, changed: &mut Vec<PartitionChange>) -> Result<()> {
        if let Some(schema) = change.schema.as_ref().filter(|_| !self.manifest.settled) {
            self.decoder.set_schema(Arc::clone(schema), false);
        }
        // One that only says more of time needs no look: it is refused if it is not the next.
        let is_known = self.manifest.version > 0 && self.manifest.settled;
        let is_of_time = is_known && !change.has_records();
        if !is_of_time || !self.store.creates_once() {
            self.refresh()?;
        }
        let change = self.without_forgotten(change)?;
        let mut known = self.mend(|table| table.look_up(change.keys()))?;
        self.write_quarantine(&change.quarantined)?;
        // What a clock that was wrong has noted is set right by the next commit.
        let mut next = self.manifest.as_of(self.now).into_owned();
        if next.version == 0 {
            // What a new table gets was held against the list all along.
            let version = self.decoder.forgotten().version;
            next.clearance = Clearance { known: version, cleared: version };
        }
        change.coverage.iter().for_each(|window| next.coverage.add(*window));
        change.not_covered.iter().for_each(|window| next.coverage.remove(*window));
        change.goal.iter().chain(&change.coverage).for_each(|window| next.goal.add(*window));
        next.watermark = next.watermark.max(change.watermark);
        next.begun_at = next.begun_at.or(change.begun_at);
        next.private = change.private.unwrap_or(next.private);
        next.relisted_at = next.relisted_at.max(change.relisted_at);
        change.backfill.iter().for_each(|window| next.backfill.add(*window));
        for (parents, checked) in change.checked {
            match checked {
                Some(checked) => next.checked.insert(parents, checked),
                None => next.checked.remove(&parents),
            };
        }
        let mut touched = Touched::new();
        let mut work = self.plan(change.upserts, &known, &mut touched)?;
        for snapshot in &change.snapshots {
            self.plan_snapshot(snapshot, &mut known, &mut work, &mut touched)?;
        }
        self.plan_marks(change.marks, &known, &mut work, &mut touched);
        self.plan_removals(change.removals, &known, &mut work, &mut touched);
        Self::note_attempts(change.attempts, &known, &mut touched);
        if change.settle && !next.settled {
            next.settled = true;
            self.plan_stale(&mut work);
            self.plan_witness(&mut work);
        }
        next.schema = self.decoder.schema().as_ref().clone();
        self.write_partitions(work, &mut next, changed)?;
        self.write_index(touched, &known, &mut next)?;
        if next != self.manifest {
            self.write_manifest(next)?;
        }
        let settled = self.manifest.settled;
        self.decoder.set_schema(Arc::new(self.manifest.schema.clone()), settled);
        Ok(())
    }

    /// The rows of the snapshot of `day`, and of the newest one before it.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read.
    pub fn snapshots(&mut self, day: i32) -> Result<(Vec<Rows>, Vec<Rows>)> {
        let today = self.partition(Some(day)).to_string();
        let objects = self.manifest.partitions.range(..=today.clone()).rev().take(2);
        let mut found = (Vec::new(), Vec::new());
        for (name, entry) in objects {
            let rows = merge::read_rows(self.store.existing(&entry.object)?, &mut self.decoder)?;
            if *name == today {
                found.0 = rows;
            } else if found.1.is_empty() {
                found.1 = rows;
            }
        }
        Ok(found)
    }

    /// The ids that drive a chain by this rule, in the records of the table; of a snapshot table,
    /// in those of `day`. With each stand these fields of its record; of several records with one
    /// id, of the newest, which is the one whose row comes last.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read.
    pub fn drivers(
        &mut self,
        rule: &Parent,
        fields: &[ParentField],
        day: i32,
    ) -> Result<BTreeMap<String, Named>> {
        let by_run = self.endpoint.dated == Dated::Run;
        let today = self.partition(Some(day));
        // Rows without a date come first: whatever has one is newer.
        let names = self.manifest.partitions.keys();
        let mut partitions: Vec<Partition> = names.filter_map(|name| name.parse().ok()).collect();
        partitions.sort_unstable();
        let mut drivers = BTreeMap::new();
        for partition in partitions.into_iter().filter(|it| !by_run || *it == today) {
            self.drivers_in(partition, rule, fields, |id, named| {
                drivers.insert(id, named);
            })?;
        }
        Ok(drivers)
    }

    /// The same in one partition, id by id.
    ///
    /// # Errors
    /// `Corrupt` when its object cannot be read.
    pub fn drivers_in(
        &mut self,
        partition: Partition,
        rule: &Parent,
        fields: &[ParentField],
        take: impl FnMut(String, Named),
    ) -> Result<()> {
        let Some(entry) = self.manifest.partitions.get(&partition.to_string()) else {
            return Ok(());
        };
        let object = self.store.existing(&entry.object)?;
        merge::read_drivers(object, rule, fields, &mut self.decoder, take)
    }

    /// Takes over what another process committed meanwhile.
    pub(super) fn refresh(&mut self) -> Result<()> {
        let (endpoint, known) = (&self.endpoint.name, self.manifest.version);
        let Some(newest) = manifests::newer_manifest(&self.store, endpoint, known)? else {
            return Ok(());
        };
        self.decoder.set_forgotten(self.store.forgotten(newest.clearance.known)?);
        if newest.settled || newest.schema != self.manifest.schema {
            self.decoder.set_schema(Arc::new(newest.schema.clone()), newest.settled);
        }
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

    /// What the index says of one partition's keys.
    pub(super) fn piece(&mut self, partition: Partition) -> Result<&Entries> {
        self.index.piece(&self.store, &self.manifest, partition)
    }

    /// What the index says of these keys, each given with the day that is likely to date its row.
    pub(super) fn look_up<'k>(
        &mut self,
        wanted: impl Iterator<Item = (&'k str, Option<i32>)>,
    ) -> Result<Known> {
        let granularity = self.manifest.granularity;
        let wanted = wanted.map(|(key, day)| (key, Partition::of(day, granularity)));
        // A snapshot's keys are those of its day, and no other day's matter.
        let everywhere = self.endpoint.dated != Dated::Run;
        self.index.find(&self.store, &self.manifest, wanted, everywhere)
    }

    /// Writes what changed of the index: the pieces of partitions whose keys changed, and which
    /// keys are elsewhere than before.
    pub(super) fn write_index(
        &mut self,
        touched: Touched,
        known: &Known,
        next: &mut Manifest,
    ) -> Result<()> {
        let (pieces, moved) = index::distribute(touched, known, |entry| self.partition(entry.day));
        for (partition, change) in pieces {
            let entries = self.index.changed(&self.store, &self.manifest, partition, change)?;
            let name = partition.to_string();
            if entries.is_empty() {
                next.index.remove(&name);
                continue;
            }
            let file = self.write_index_file(&name, &piece::write(&entries)?, entries.len())?;
            self.index.keep(partition, file.object.clone(), entries);
            next.index.insert(name, file);
        }
        if self.endpoint.dated == Dated::Run {
            // What earlier snapshots had is never asked for again.
            let today = self.now.date_naive();
            let is_past = |name: &&String| {
                let date = name.parse().ok().and_then(|it: Partition| it.date());
                date.is_none_or(|date| date <= today)
            };
            // A snapshot of a day to come was dated by a clock that was wrong.
            let newest = next.index.keys().rfind(is_past).or(next.index.keys().next_back());
            let newest = newest.cloned();
            next.index.retain(|name, _| Some(name) == newest.as_ref());
        } else if !moved.is_empty() {
            self.write_keys(moved, next)?;
        }
        Ok(())
    }

    /// Adds places to the key map, as a delta or in a new base.
    fn write_keys(&mut self, moved: Vec<keys::Place>, next: &mut Manifest) -> Result<()> {
        let base = next.keys.first().map_or(0, |file| file.entries);
        let deltas: u64 = next.keys.iter().skip(1).map(|file| file.entries).sum();
        let is_due = (deltas + moved.len() as u64) * FOLD_AT >= base;
        let places = if is_due || next.keys.len() > MOST_DELTAS {
            let read = |file: &IndexFile| keys::read_all(&self.store, &file.object);
            let mut files = next.keys.iter().map(read).collect::<Result<Vec<_>>>()?.into_iter();
            let base = files.next().unwrap_or_default();
            next.keys.clear();
            keys::fold(base, files.chain([moved]))
        } else {
            moved
        };
        let count = places.len();
        let file = self.write_index_file("keys", &keys::write(places)?, count)?;
        next.keys.push(file);
        Ok(())
    }

    /// Writes a file of the index under a name that no other commit uses.
    pub(super) fn write_index_file(
        &self,
        of: &str,
        bytes: &[u8],
        entries: usize,
    ) -> Result<IndexFile> {
        let object = self.index_path(&format!("{of}.parquet"));
        self.store.overwrite(&object, bytes)?;
        Ok(IndexFile { object, entries: entries as u64 })
    }

    /// A name for what the next manifest refers to, which no other commit uses.
    fn index_path(&self, of: &str) -> String {
        let (version, run) = (self.manifest.version + 1, &self.run);
        format!("_manifest/{}/index/{version:020}-{run}-{of}", self.endpoint.name)
    }

    /// Commits the next manifest, which is what makes everything before it true.
    pub(super) fn write_manifest(&mut self, mut next: Manifest) -> Result<()> {
        next.format = FORMAT;
        next.version = self.manifest.version + 1;
        next.run.clone_from(&self.run);
        env!("CARGO_PKG_VERSION").clone_into(&mut next.tool);
        next.committed_at = self.now;
        if base::is_due(&next) {
            let object = self.index_path("base.json.zst");
            let base = next.to_base(object);
            base::write(&self.store, &base)?;
            next.base = Some(Arc::new(base));
        }
        if !manifests::create(&self.store, &next)? {
            return Err(lost("the next manifest"));
        }
        self.manifest = next;
        Ok(())
    }

    pub(super) fn write_quarantine(&self, quarantined: &[Quarantined]) -> Result<()> {
        for record in quarantined {
            let path = format!("_quarantine/{}/{:032x}.json", self.endpoint.name, record.hash);
            let reason = serde_json::Value::from(record.reason.as_str());
            let text = format!("{{\"reason\":{reason},\"record\":{}}}\n", record.record);
            self.store.create(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

/// Another writer was faster, which `in_turn` makes good.
pub(super) fn lost(object: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("another process has written {object} meanwhile"))
}
