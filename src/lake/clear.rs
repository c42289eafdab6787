//! Clearance: one table rid of whoever is on the list of the forgotten.
//!
//! Enters: the list. Leaves: partitions rewritten without them, an index and a quarantine that do
//! not name them, and a manifest that says so. Never here: a row of anybody else changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::change::{Change, PartitionChange, Touched, Work, share};
use super::forget::{Cleared, Renamed};
use super::index::Known;
use super::merge;
use super::table::Table;
use crate::decode::{KEY_SEPARATOR, Quarantined, Rows};
use crate::endpoint::Dated;
use crate::error::Result;
use crate::forgotten::Forgotten;
use crate::manifest::IndexEntry;
use crate::partition::Partition;

/// About how much is read for one commit.
const COMMIT_BYTES: u64 = 256 << 20;
/// And in how many partitions, at most.
const COMMIT_PARTITIONS: usize = 64;
/// How often it is begun anew because an object was adopted meanwhile.
const MOST_RACES: u32 = 16;

impl Table {
    /// The list of the forgotten that the table's rows are held against.
    #[must_use]
    pub fn forgotten(&self) -> Arc<Forgotten> {
        Arc::clone(self.decoder.forgotten())
    }

    /// Whether the table is rid of everybody on the list.
    ///
    /// # Errors
    /// `Corrupt` when the list cannot be read.
    pub fn is_cleared(&self) -> Result<bool> {
        let list = self.store.forgotten(self.manifest.clearance.known)?;
        Ok(self.manifest.version == 0 || self.manifest.clearance.cleared >= list.version)
    }

    /// How people's own records in the table name them, of those who are on this list.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read.
    pub fn people(&mut self, list: Forgotten) -> Result<BTreeSet<String>> {
        let mut decoder = self.decoder.another();
        decoder.set_forgotten(Arc::new(list));
        let mut people = BTreeSet::new();
        for entry in self.manifest.partitions.values() {
            people.extend(merge::people(self.store.existing(&entry.object)?, &mut decoder)?);
        }
        Ok(people)
    }

    /// Rids the table of everybody on the list.
    ///
    /// # Errors
    /// When the store fails; what was rewritten before stays so.
    pub fn clear(&mut self) -> Result<Cleared> {
        self.clear_knowing(&Renamed::new())
    }

    /// The same; content hashes of parents that change by it are known by their new ones from then
    /// on, so that nothing is asked for again.
    pub(super) fn clear_knowing(&mut self, renamed: &Renamed) -> Result<Cleared> {
        let mut cleared = Cleared { endpoint: self.endpoint.name.clone(), ..Cleared::default() };
        for _ in 0..MOST_RACES {
            let version = self.in_turn(Self::announce)?;
            let partitions = self.manifest.partitions.keys().chain(self.manifest.index.keys());
            let names: BTreeSet<&String> = partitions.collect();
            let mut names: Vec<Partition> = names.iter().filter_map(|it| it.parse().ok()).collect();
            while !names.is_empty() {
                let chunk = self.next_chunk(&mut names);
                let done = self.in_turn(|table| table.clear_once(&chunk, renamed))?;
                cleared.add(&done);
            }
            if self.in_turn(|table| table.conclude_clearance(version, &mut cleared))? {
                break;
            }
        }
        Ok(cleared)
    }

    /// Commits that the list is known, so that whoever commits later holds rows against it.
    fn announce(&mut self) -> Result<u64> {
        self.refresh()?;
        let list = self.store.read_forgotten()?;
        self.decoder.set_forgotten(Arc::clone(&list));
        if self.manifest.clearance.known < list.version {
            let mut next = self.manifest.clone();
            next.clearance.known = list.version;
            self.write_manifest(next)?;
        }
        Ok(list.version)
    }

    /// The next partitions to read, the oldest first.
    fn next_chunk(&self, names: &mut Vec<Partition>) -> Vec<Partition> {
        let mut bytes = 0;
        let is_enough = |partition: &Partition| {
            let entry = self.manifest.partitions.get(&partition.to_string());
            bytes += entry.map_or(0, |entry| entry.bytes);
            bytes > COMMIT_BYTES
        };
        let enough = names.iter().position(is_enough).map_or(names.len(), |at| at + 1);
        names.drain(..enough.min(COMMIT_PARTITIONS)).collect()
    }

    fn clear_once(&mut self, partitions: &[Partition], renamed: &Renamed) -> Result<Cleared> {
        self.refresh()?;
        let mut next = self.manifest.clone();
        let (mut work, mut touched, mut known) = (Work::new(), Touched::new(), Known::new());
        let mut done = Cleared::default();
        for partition in partitions {
            self.mend(|table| table.piece(*partition).map(|_| ()))?;
            self.clear_rows(*partition, &mut work, &mut touched, &mut known, &mut done)?;
            self.clear_entries(*partition, renamed, &mut touched, &mut known)?;
        }
        let mut changed: Vec<PartitionChange> = Vec::new();
        self.write_partitions(work, &mut next, &mut changed)?;
        self.write_index(touched, &known, &mut next)?;
        if next != self.manifest {
            self.write_manifest(next)?;
        }
        done.partitions = changed.len() as u64;
        Ok(done)
    }

    /// What becomes of one partition's rows.
    fn clear_rows(
        &mut self,
        partition: Partition,
        work: &mut Work,
        touched: &mut Touched,
        known: &mut Known,
        done: &mut Cleared,
    ) -> Result<()> {
        let Some(entry) = self.manifest.partitions.get(&partition.to_string()) else {
            return Ok(());
        };
        let object = self.store.existing(&entry.object)?;
        let endpoint = Arc::clone(&self.endpoint);
        let mut gone: Vec<String> = Vec::new();
        let mut changed: Vec<Rows> = Vec::new();
        merge::cleanse(object, &endpoint, &mut self.decoder, |keys, cleansed| {
            gone.extend(cleansed.gone.iter().map(|row| keys[*row].clone()));
            done.values += cleansed.values;
            changed.extend(Some(cleansed.rows).filter(|rows| !rows.is_empty()));
        })?;
        if gone.is_empty() && changed.is_empty() {
            return Ok(());
        }
        let changed = self.widen_all(changed)?;
        done.removed += gone.len() as u64;
        done.blanked += changed.iter().map(|rows| rows.len() as u64).sum::<u64>();
        let by_run = endpoint.dated == Dated::Run;
        let entries = self.piece(partition)?;
        for key in gone.iter().filter_map(|key| entries.get_key_value(key.as_str())) {
            touched.insert(key.0.clone(), IndexEntry::default());
            known.insert(key.0.clone(), (partition, key.1.clone()));
        }
        for facts in changed.iter().flat_map(|rows| &rows.facts) {
            let entry = entries.get(&facts.key).filter(|it| it.in_lake);
            let Some(entry) = entry.filter(|it| !by_run || it.day == facts.day) else { continue };
            known.insert(facts.key.clone(), (partition, entry.clone()));
            touched.insert(facts.key.clone(), IndexEntry { hash: facts.hash, ..entry.clone() });
        }
        let of_partition = work.entry(partition).or_default();
        of_partition.deleted += gone.len() as u64;
        of_partition.drop.extend(gone.into_iter().map(String::into_boxed_str));
        of_partition.updated += changed.iter().map(|rows| rows.len() as u64).sum::<u64>();
        for rows in &changed {
            let places = BTreeMap::from([(partition, (0..rows.len()).collect())]);
            share(&rows.to_table()?, places, &endpoint, work)?;
        }
        Ok(())
    }

    /// What becomes of one partition's part of the index: keys that name somebody go, also those
    /// that have no row.
    fn clear_entries(
        &mut self,
        partition: Partition,
        renamed: &Renamed,
        touched: &mut Touched,
        known: &mut Known,
    ) -> Result<()> {
        let own: Renamed = touched
            .iter()
            .filter_map(|(key, entry)| Some((known.get(key)?.1.hash, entry.hash)))
            .collect();
        let named: Vec<_> =
            self.piece(partition)?.iter().map(|(k, e)| (k.clone(), e.clone())).collect();
        for (key, entry) in named {
            if self.names_forgotten(&key) {
                touched.insert(key.clone(), IndexEntry::default());
                known.insert(key, (partition, entry));
                continue;
            }
            let of = entry.attempt.as_ref().map(|attempt| attempt.parent_hash);
            let new = of.and_then(|hash| renamed.get(&hash).or_else(|| own.get(&hash)));
            if let Some(new) = new.copied() {
                let changed = touched.entry(key.clone()).or_insert_with(|| entry.clone());
                if let Some(attempt) = &mut changed.attempt {
                    attempt.parent_hash = new;
                }
                known.insert(key, (partition, entry));
            }
        }
        Ok(())
    }

    /// Whether a key is that of a forgotten call or person.
    fn names_forgotten(&self, key: &str) -> bool {
        let forgotten = self.decoder.forgotten();
        let of_call = self.endpoint.parent.as_ref().is_some_and(|parent| parent.of_call);
        // Beside the keys of rows stand notes of parents' ids.
        if let Some(id) = key.strip_prefix(KEY_SEPARATOR) {
            return of_call && forgotten.is_call(id);
        }
        let about = &self.endpoint.about;
        let parent = self.manifest.schema.added.parent.as_deref();
        self.endpoint.key_columns().zip(key.split(KEY_SEPARATOR)).any(|(name, part)| {
            let is_call = about.call.as_deref() == Some(name) || (of_call && parent == Some(name));
            let is_person = about.person.iter().any(|field| field == name);
            (is_call && forgotten.is_call(part))
                || (is_person && forgotten.is_person(part))
                || forgotten.is_address(part)
        })
    }

    /// Clears the quarantine, removes files of the index that nobody needs, and commits that all is
    /// done; false when an object was adopted meanwhile, whose writer may not have known the list.
    fn conclude_clearance(&mut self, version: u64, cleared: &mut Cleared) -> Result<bool> {
        self.refresh()?;
        if self.manifest.clearance.known < version {
            return Ok(false);
        }
        cleared.quarantined += self.clear_quarantine()?;
        self.remove_old_index()?;
        if self.manifest.clearance.cleared < version {
            let mut next = self.manifest.clone();
            next.clearance.cleared = version;
            self.write_manifest(next)?;
        }
        Ok(true)
    }

    fn clear_quarantine(&mut self) -> Result<u64> {
        let folder = format!("_quarantine/{}", self.endpoint.name);
        let mut count = 0;
        for name in self.store.names(&folder)? {
            let path = format!("{folder}/{name}");
            let text = self.store.read(&path)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let Some((reason, record)) = kept_parts(&text) else { continue };
            let left = self.decoder.cleanse_text(record)?;
            if left.as_ref().is_some_and(|(left, _)| left == record) {
                continue;
            }
            if let Some((record, hash)) = left {
                self.write_quarantine(&[Quarantined { record, reason, hash }])?;
            }
            self.store.delete(&path)?;
            count += 1;
        }
        Ok(count)
    }

    /// Removes the files of the index that the newest manifest does not name: they hold keys. One
    /// of a commit under way is of a later manifest.
    fn remove_old_index(&self) -> Result<()> {
        let folder = format!("_manifest/{}/index", self.endpoint.name);
        let files = self.manifest.index.values().chain(&self.manifest.keys);
        let needed: BTreeSet<&str> = files.map(|file| file.object.as_str()).collect();
        for name in self.store.names(&folder)? {
            let object = format!("{folder}/{name}");
            let version = name.split('-').next().and_then(|version| version.parse::<u64>().ok());
            let is_old = version.is_some_and(|version| version <= self.manifest.version);
            // The bases of manifests beside them hold no keys.
            let is_of_keys = name.strip_suffix(".parquet").is_some();
            if is_of_keys && is_old && !needed.contains(object.as_str()) {
                self.store.delete(&object)?;
            }
        }
        Ok(())
    }

    /// The content hashes that would change if the table were cleared.
    pub(super) fn renamed(&mut self) -> Result<Renamed> {
        let list = self.store.read_forgotten()?;
        let mut decoder = self.decoder.another();
        decoder.set_forgotten(list);
        let mut after: HashMap<Box<str>, u128> = HashMap::new();
        let entries: Vec<_> = self.manifest.partitions.clone().into_iter().collect();
        let mut renamed = Renamed::new();
        for (name, entry) in entries {
            let object = self.store.existing(&entry.object)?;
            after.clear();
            merge::cleanse(object, &self.endpoint, &mut decoder, |_, cleansed| {
                let facts = cleansed.rows.facts.into_iter();
                after.extend(facts.map(|facts| (facts.key, facts.hash)));
            })?;
            let Ok(partition) = name.parse::<Partition>() else { continue };
            let before = self.piece(partition)?;
            let pairs = after.iter().filter_map(|(key, hash)| Some((before.get(key)?.hash, *hash)));
            renamed.extend(pairs);
        }
        Ok(renamed)
    }

    /// A change without whoever was put on the list since its rows were read.
    pub(super) fn without_forgotten(&mut self, mut change: Change) -> Result<Change> {
        let version = self.decoder.forgotten().version;
        if version == 0 {
            return Ok(change);
        }
        if change.upserts.iter().any(|rows| rows.forgotten < version) {
            change.upserts = self.widen_all(change.upserts)?;
            let mut upserts = Vec::new();
            for rows in change.upserts {
                upserts.extend(self.without_forgotten_rows(rows, version)?);
            }
            change.upserts = upserts;
        }
        let mut quarantined = Vec::new();
        for kept in change.quarantined {
            let left = self.decoder.cleanse_text(&kept.record)?;
            let left = left.map(|(record, hash)| Quarantined { record, hash, reason: kept.reason });
            quarantined.extend(left);
        }
        change.quarantined = quarantined;
        change.marks.retain(|mark| !self.names_forgotten(&mark.key));
        change.removals.retain(|removal| !self.names_forgotten(&removal.key));
        change.attempts.retain(|tried| !self.names_forgotten(&tried.key));
        Ok(change)
    }

    fn without_forgotten_rows(&mut self, rows: Rows, version: u64) -> Result<Vec<Rows>> {
        if rows.forgotten >= version {
            return Ok(vec![rows]);
        }
        let cleansed = merge::cleanse_rows(&rows, &mut self.decoder)?;
        let goes: BTreeSet<usize> =
            cleansed.gone.iter().chain(&cleansed.changed).copied().collect();
        let stays = (0..rows.len()).filter(|row| !goes.contains(row));
        let stays: Vec<u32> = stays.filter_map(|row| u32::try_from(row).ok()).collect();
        let mut changed = cleansed.rows;
        for (facts, row) in changed.facts.iter_mut().zip(&cleansed.changed) {
            let before = &rows.facts[*row];
            facts.settled = before.settled;
            facts.deleted_at = before.deleted_at;
        }
        Ok(vec![Rows { forgotten: version, ..rows.take(&stays)? }, changed])
    }
}

/// The reason and the record of a quarantined one's file, as it was written.
fn kept_parts(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_prefix("{\"reason\":")?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    let reason = values.next()?.ok()?;
    let record = rest[values.byte_offset()..].strip_prefix(",\"record\":")?;
    Some((reason, record.trim_end().strip_suffix('}')?))
}
