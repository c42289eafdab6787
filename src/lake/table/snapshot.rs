//! Snapshots: a table at one manifest, and the contents of its index, read on demand.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::{manifests, merge};
use crate::commit_plan::{Entries, Known, Needs, Rules};
use crate::decode::RecordDecoder;
use crate::endpoint::{Parent, ParentField, ParentValues};
use crate::error::{Error, ErrorKind, Result};
use crate::forgotten::Forgotten;
use crate::lake::handle::{Table, TableState};
use crate::lake::index::{Found, IndexCache, LookedUp};
use crate::manifest::{IndexEntry, Manifest};
use crate::partition::Partition;
use crate::row::RowFacts;
use crate::schema::Schema;
use crate::window::{Window, day_of};

/// How long a snapshot counts as recent.
const RECENT: Duration = Duration::from_secs(60);

/// A table at one manifest. It never changes; a commit creates another one.
#[derive(Debug, Clone)]
pub struct Snapshot {
    table: Table,
    manifest: Arc<Manifest>,
    /// The index shards read so far, shared with the snapshots before and after.
    index: Arc<Mutex<IndexCache>>,
    /// When its manifest was last known to be the newest.
    read_at: Instant,
}

impl Table {
    /// The table at its newest manifest, or a new one. Nothing is written, and files of a killed
    /// run are not looked for.
    ///
    /// # Errors
    /// `Newer` when the lake is from a newer version, `Corrupt` when a manifest cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::of(self, self.state()?))
    }

    /// The table at the newest of the manifests with these names, which were just listed.
    ///
    /// # Errors
    /// As for [`Table::snapshot`].
    pub(in crate::lake) fn snapshot_of(&self, names: &[String]) -> Result<Snapshot> {
        Ok(Snapshot::of(self, self.state_of(names)?))
    }
}

impl Snapshot {
    fn of(table: &Table, state: TableState) -> Self {
        let TableState { manifest, index, read_at } = state;
        Self { table: table.clone(), manifest, index, read_at }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The snapshot's manifest; its version is 0 if nothing has ever been committed.
    #[must_use]
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.manifest.schema
    }

    /// The same table at another manifest.
    pub(in crate::lake) fn with(&self, manifest: Manifest) -> Self {
        Self { manifest: Arc::new(manifest), read_at: Instant::now(), ..self.clone() }
    }

    /// Whether its manifest was the newest less than a minute ago.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        self.read_at.elapsed() < RECENT
    }

    /// Its manifest was found to be the newest.
    pub(in crate::lake) fn note_newest(&mut self) {
        self.read_at = Instant::now();
    }

    /// The snapshot of the newest manifest, if that is a different one.
    pub(in crate::lake) fn newer(&self) -> Result<Option<Self>> {
        let (store, name) = (self.table.store(), &self.table.endpoint().name);
        let can_ask = self.manifest.version > 0 && self.is_recent();
        if can_ask && manifests::is_newest(store, name, self.manifest.version)? {
            return Ok(None);
        }
        let newer = manifests::newer_manifest(store, name, self.manifest.version)?;
        Ok(newer.map(|newer| self.with(newer)))
    }

    /// How rows are placed and compared, at the given time.
    #[must_use]
    pub fn rules(&self, now: DateTime<Utc>) -> Rules {
        Rules::of(self.table.endpoint(), self.manifest.granularity, now.timestamp_micros())
    }

    /// A decoder for the endpoint's replies, into the table's schema.
    ///
    /// # Errors
    /// `Corrupt` when the list of the forgotten cannot be read.
    pub fn decoder(&self) -> Result<RecordDecoder> {
        let manifest = &self.manifest;
        let mut decoder = RecordDecoder::new(
            Arc::clone(self.table.endpoint()),
            Arc::new(manifest.schema.clone()),
            manifest.schema_frozen,
            self.table.selectors(manifest).into(),
        );
        decoder.set_forgotten(self.forgotten()?);
        Ok(decoder)
    }

    /// The list of the forgotten that the table's rows are compared with.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub fn forgotten(&self) -> Result<Arc<Forgotten>> {
        self.table.store().forgotten(self.manifest.clearance.known)
    }

    /// Whether the index keeps all fields that the table's children select by.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.table.has_selectors(&self.manifest)
    }

    /// The partitions that the index has a shard for, oldest first.
    pub fn indexed(&self) -> impl DoubleEndedIterator<Item = Partition> {
        self.manifest.index.keys().filter_map(|name| name.parse().ok())
    }

    /// What is known about one partition's keys.
    ///
    /// # Errors
    /// `Corrupt` when an index file cannot be read, `Conflict` when another run has committed and
    /// removed it in the meantime.
    pub fn shard(&self, partition: Partition) -> Result<Arc<Entries>> {
        let name = partition.to_string();
        let object = self.manifest.partitions.get(&name);
        match object.filter(|_| !self.manifest.index.contains_key(&name)) {
            // In a snapshot table, only the newest snapshot has a shard, since others are rarely
            // read.
            Some(object) if self.table.endpoint().is_snapshot() => {
                let rules = self.rules(DateTime::UNIX_EPOCH);
                let object = self.table.store().existing(&object.object)?;
                let facts = merge::read_facts(object, partition, &mut self.decoder()?)?;
                let entries = facts.iter().map(|row| (row.key.clone(), rules.entry(row)));
                Ok(Arc::new(entries.collect()))
            }
            _ => self.read(|index| index.partition(self.table.store(), &self.manifest, partition)),
        }
    }

    /// Reads the index of some partitions beside each other.
    pub(in crate::lake) fn read_ahead(&self, partitions: &[Partition]) {
        self.cache().read_ahead(self.table.store(), &self.manifest, partitions);
    }

    /// What is known about these keys, each given with the likely day of its row.
    ///
    /// # Errors
    /// As for [`Self::shard`].
    pub fn find(&self, wanted: &[(&str, Option<i32>)]) -> Result<Found> {
        let place = |day| Partition::of(day, self.manifest.granularity);
        let placed = || wanted.iter().map(|(key, day)| (*key, place(*day)));
        self.read(|index| index.find(self.table.store(), &self.manifest, placed()))
    }

    /// How parents whose children are read by listing answered last, by their keys.
    ///
    /// # Errors
    /// As for [`Self::shard`].
    pub fn parents(&self) -> Result<Arc<Entries>> {
        let Some(file) = &self.manifest.parents else { return Ok(Arc::default()) };
        self.read(|index| index.shard(self.table.store(), &self.manifest, file))
    }

    /// What a commit plan needs to know.
    ///
    /// # Errors
    /// As for [`Self::shard`].
    pub fn known(&self, needs: &Needs) -> Result<Known> {
        let wanted = || needs.keys.iter().map(|(key, partition)| (&**key, *partition));
        let entries =
            self.read(|index| index.find(self.table.store(), &self.manifest, wanted()))?;
        let mut shards = BTreeMap::new();
        for partition in &needs.shards {
            shards.insert(*partition, Arc::unwrap_or_clone(self.shard(*partition)?));
        }
        let parents = if needs.parents { self.parents()? } else { Arc::default() };
        Ok(Known { entries, shards, parents: Arc::unwrap_or_clone(parents) })
    }

    /// The rows, by position, that may change something, and what the index knows about them, if
    /// that decided it.
    ///
    /// # Errors
    /// As for [`Self::shard`].
    pub fn changed_rows(
        &self,
        facts: &[RowFacts],
        now: DateTime<Utc>,
    ) -> Result<(Vec<u32>, Option<LookedUp>)> {
        let rules = self.rules(now);
        let places = 0u32..;
        if rules.is_snapshot {
            // The commit uses what its list held: in the meantime, another run may remove a row
            // that is unchanged here.
            return Ok((places.take(facts.len()).collect(), None));
        }
        let wanted: Vec<_> =
            facts.iter().map(|facts| (&*facts.key, facts.day.or(facts.found_on))).collect();
        let mut known = self.find(&wanted)?;
        let is_changed = |facts: &&RowFacts| {
            known.get(&facts.key).is_none_or(|(_, entry)| !rules.is_same(entry, facts))
        };
        let changed: Vec<_> = places.zip(facts).filter(|(_, facts)| is_changed(facts)).collect();
        let entries = changed.iter().filter_map(|(_, facts)| known.remove_entry(&facts.key));
        let looked_up = LookedUp::at(&self.manifest, entries.collect());
        Ok((changed.into_iter().map(|(place, _)| place).collect(), Some(looked_up)))
    }

    /// The keys by which children are requested, from the records of the table; for a snapshot
    /// table, from the newest snapshot of `day` or before. The ids are keyed by what distinguishes
    /// their parents ([`Parent::key_of`]), and each comes with these fields of its record. If
    /// several records have one key, the newest one counts, whose row comes last.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read.
    pub fn parent_keys(
        &self,
        rule: &Parent,
        fields: &[ParentField],
        day: i32,
    ) -> Result<BTreeMap<String, (String, ParentValues)>> {
        let mut decoder = self.decoder()?;
        let mut keys = BTreeMap::new();
        for partition in self.partitions_of(day) {
            self.parent_keys_in(partition, rule, fields, &mut decoder, |id, values| {
                keys.insert(rule.key_of(&id, &values), (id, values));
            })?;
        }
        Ok(keys)
    }

    /// The same for some of the records of one partition.
    ///
    /// # Errors
    /// `Corrupt` when its object cannot be read.
    pub fn values_in(
        &self,
        partition: Partition,
        rule: &Parent,
        fields: &[ParentField],
        wanted: &HashSet<Box<str>>,
    ) -> Result<HashMap<Box<str>, ParentValues>> {
        let mut found = HashMap::new();
        let mut decoder = self.decoder()?;
        self.parent_keys_in(partition, rule, fields, &mut decoder, |key, values| {
            if wanted.contains(key.as_str()) {
                found.insert(key.into(), values);
            }
        })?;
        Ok(found)
    }

    fn parent_keys_in(
        &self,
        partition: Partition,
        rule: &Parent,
        fields: &[ParentField],
        decoder: &mut RecordDecoder,
        take: impl FnMut(String, ParentValues),
    ) -> Result<()> {
        let Some(entry) = self.manifest.partitions.get(&partition.to_string()) else {
            return Ok(());
        };
        let object = self.table.store().existing_of(entry)?;
        merge::read_parent_ids(object, rule, fields, decoder, take)
    }

    /// The partitions whose rows count on a day: for a snapshot table, the newest one by then. Rows
    /// without a date come first, since anything with a date is newer.
    fn partitions_of(&self, day: i32) -> Vec<Partition> {
        let names = self.manifest.partitions.keys();
        let mut partitions: Vec<Partition> = names.filter_map(|name| name.parse().ok()).collect();
        partitions.sort_unstable();
        if self.table.endpoint().is_snapshot() {
            let today = Partition::of(Some(day), self.manifest.granularity);
            let newest = partitions.into_iter().rfind(|partition| *partition <= today);
            return newest.into_iter().collect();
        }
        partitions
    }

    /// Whether the newest snapshot of `day` or before has children of this parent.
    ///
    /// # Errors
    /// As for [`Self::shard`].
    pub fn has_rows_of(&self, parent: &str, day: i32) -> Result<bool> {
        let rules = self.rules(DateTime::UNIX_EPOCH);
        let newest = self.partitions_of(day).into_iter().next_back();
        let Some(newest) = newest.filter(|_| rules.is_snapshot) else { return Ok(false) };
        let shard = self.shard(newest)?;
        let mut there = shard.iter().filter(|(_, entry)| entry.in_lake);
        Ok(there.any(|(key, entry)| rules.owner(key, entry) == parent))
    }

    /// Whether it has rows of this window besides those that came.
    ///
    /// # Errors
    /// As for [`Self::shard`].
    pub fn has_rows_besides(&self, window: Window, came: impl Fn(&str) -> bool) -> Result<bool> {
        let last = window.to - TimeDelta::microseconds(1);
        let days = day_of(window.from.date_naive())..=day_of(last.date_naive());
        let place = |day: &i32| Partition::of(Some(*day), self.manifest.granularity).to_string();
        let names = place(days.start())..=place(days.end());
        let times = window.from.timestamp_micros()..window.to.timestamp_micros();
        let is_in_window = |entry: &IndexEntry| match (entry.time, entry.day) {
            (Some(time), _) => times.contains(&time),
            (None, day) => day.is_some_and(|day| days.contains(&day)),
        };
        for (name, _) in self.manifest.index.range(names) {
            let Ok(partition) = name.parse() else { continue };
            let shard = self.shard(partition)?;
            let mut there = shard.iter().filter(|(_, it)| it.in_lake && it.deleted_at.is_none());
            if there.any(|(key, entry)| is_in_window(entry) && !came(key)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The keys of the newest snapshot of `day` or before; none in other tables.
    ///
    /// # Errors
    /// As for [`Self::shard`].
    pub fn newest_keys(&self, day: i32) -> Result<Vec<Box<str>>> {
        let is_snapshot = self.table.endpoint().is_snapshot();
        let newest = self.partitions_of(day).into_iter().next_back().filter(|_| is_snapshot);
        let shard = newest.map(|newest| self.shard(newest)).transpose()?.unwrap_or_default();
        let there = shard.iter().filter(|(_, entry)| entry.in_lake);
        Ok(there.map(|(key, _)| key.clone()).collect())
    }

    /// Whether it has records by which a run on this day can request children: for a snapshot
    /// table, only the day's own snapshot counts.
    #[must_use]
    pub fn has_parents_of(&self, day: i32) -> bool {
        let today = Partition::of(Some(day), self.manifest.granularity).to_string();
        let partitions = &self.manifest.partitions;
        let is_snapshot = self.table.endpoint().is_snapshot();
        !partitions.is_empty() && (!is_snapshot || partitions.contains_key(&today))
    }

    /// Reads from the index. If a file is missing and there is a newer manifest, the snapshot is
    /// outdated; otherwise the index is damaged.
    fn read<T>(&self, read: impl Fn(&mut IndexCache) -> Result<T>) -> Result<T> {
        let done = read(&mut self.cache());
        match done {
            Err(error) if error.kind() == ErrorKind::Corrupt && self.newer()?.is_some() => {
                let name = &self.table.endpoint().name;
                let message = format!("another run has committed to {name} since it was read");
                Err(Error::new(ErrorKind::Conflict, message).with_source(error))
            }
            done => done,
        }
    }

    pub(in crate::lake) fn cache(&self) -> MutexGuard<'_, IndexCache> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
