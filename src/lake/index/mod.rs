//! The index: what a table knows about its keys, in one shard per partition, read on demand. For a
//! key that is not in its likely partition, the key map tells which one it is in.

pub(in crate::lake) mod keys;
pub(in crate::lake) mod shard;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use self::keys::{KeyMap, key_hash};
use super::store::Store;
use crate::commit_plan::Entries;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{IndexEntry, IndexFile, Manifest};
use crate::partition::Partition;

/// How many entries are kept in memory, at about 200 bytes each.
const KEPT: usize = 30_000;

/// What is known about some keys, each with the partition whose shard has it.
pub type Found = HashMap<Box<str>, (Partition, IndexEntry)>;

/// What the index of one snapshot knows about rows, so that a commit on the same snapshot need not
/// look them up again.
#[derive(Debug, Clone)]
pub struct LookedUp {
    manifest: Arc<Manifest>,
    entries: Found,
}

impl LookedUp {
    /// The entries that the snapshot with this manifest has of rows that were all looked up.
    #[must_use]
    pub fn at(manifest: &Arc<Manifest>, entries: Found) -> Self {
        Self { manifest: Arc::clone(manifest), entries }
    }

    /// Both together, if they are from the same snapshot.
    #[must_use]
    pub fn and(mut self, other: Self) -> Option<Self> {
        self.entries.extend(other.entries);
        Arc::ptr_eq(&self.manifest, &other.manifest).then_some(self)
    }

    /// The entries, if they are from the snapshot with this manifest.
    pub(super) fn in_snapshot(self, manifest: &Arc<Manifest>) -> Option<Found> {
        Arc::ptr_eq(&self.manifest, manifest).then_some(self.entries)
    }
}

/// The index shards in memory, by file name. A shard never changes, so snapshots of several
/// manifests share them.
#[derive(Debug, Default)]
pub(super) struct IndexCache {
    shards: HashMap<String, Cached>,
    keys: KeyMap,
    uses: u64,
}

#[derive(Debug)]
struct Cached {
    entries: Arc<Entries>,
    used: u64,
}

impl IndexCache {
    /// The contents of an index file.
    pub(super) fn shard(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        file: &IndexFile,
    ) -> Result<Arc<Entries>> {
        self.uses += 1;
        if let Some(cached) = self.shards.get_mut(&file.object) {
            cached.used = self.uses;
            return Ok(Arc::clone(&cached.entries));
        }
        let mut entries = Entries::new();
        shard::read(read(store, file)?, &manifest.selectors, &mut entries)?;
        let entries = Arc::new(entries);
        self.keep(file.object.clone(), Arc::clone(&entries));
        Ok(entries)
    }

    /// Reads the shards of these partitions beside each other, since a bucket takes long to answer.
    /// No more are read than fit in the cache, and none that cannot be read, which is an error for
    /// the caller that needs it.
    pub(super) fn read_ahead(&mut self, store: &Store, manifest: &Manifest, of: &[Partition]) {
        let files = of.iter().filter_map(|it| manifest.index.get(&it.to_string()));
        let mut room = KEPT as u64 / 2;
        let fits = |file: &&IndexFile| {
            let left = room.checked_sub(file.entries);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let missing = files.filter(|file| !self.shards.contains_key(&file.object));
        let paths: Vec<String> = missing.take_while(fits).map(|file| file.object.clone()).collect();
        let Ok(read) = store.read_all(&paths) else { return };
        for (path, bytes) in paths.into_iter().zip(read) {
            let mut entries = Entries::new();
            let read = bytes.map(|it| shard::read(it, &manifest.selectors, &mut entries));
            if read.is_some_and(|read| read.is_ok()) {
                self.keep(path, Arc::new(entries));
            }
        }
    }

    /// What is known about one partition's keys; empty if the manifest names no shard.
    pub(super) fn partition(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        partition: Partition,
    ) -> Result<Arc<Entries>> {
        match manifest.index.get(&partition.to_string()) {
            Some(file) => self.shard(store, manifest, file),
            None => Ok(Arc::default()),
        }
    }

    /// What is known about these keys, each given with its likely partition. Keys that are not
    /// there are looked for in all other partitions.
    pub(super) fn find<'k>(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        wanted: impl IntoIterator<Item = (&'k str, Partition)>,
    ) -> Result<Found> {
        let mut found = Found::new();
        let elsewhere = self.find_in(store, manifest, wanted, &mut found)?;
        if elsewhere.is_empty() || manifest.keys.is_empty() {
            return Ok(found);
        }
        let hashes = elsewhere.iter().map(|key| key_hash(key)).collect();
        let days = self.keys.locate(store, &manifest.keys, hashes)?;
        let placed = elsewhere.into_iter().filter_map(|key| {
            let day = days.get(&key_hash(key))?;
            Some((key, Partition::of(*day, manifest.granularity)))
        });
        self.find_in(store, manifest, placed.collect::<Vec<_>>(), &mut found)?;
        Ok(found)
    }

    /// Adds what the shards know about these keys, and returns the keys that they do not contain.
    fn find_in<'k>(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        wanted: impl IntoIterator<Item = (&'k str, Partition)>,
        found: &mut Found,
    ) -> Result<Vec<&'k str>> {
        let mut by_partition: BTreeMap<Partition, Vec<&str>> = BTreeMap::new();
        for (key, partition) in wanted {
            by_partition.entry(partition).or_default().push(key);
        }
        let mut elsewhere = Vec::new();
        for (partition, keys) in by_partition {
            let entries = self.partition(store, manifest, partition)?;
            for key in keys {
                match entries.get(key) {
                    Some(entry) => {
                        found.insert(key.into(), (partition, entry.clone()));
                    }
                    None => elsewhere.push(key),
                }
            }
        }
        Ok(elsewhere)
    }

    /// Removes a shard that is about to be replaced, so that its entries need not be copied.
    pub(super) fn evict(&mut self, object: &str) {
        self.shards.remove(object);
    }

    /// Caches a shard, and evicts the least recently used ones.
    pub(super) fn keep(&mut self, object: String, entries: Arc<Entries>) {
        let mut total: usize = self.shards.values().map(|cached| cached.entries.len()).sum();
        while total.saturating_add(entries.len()) > KEPT {
            let oldest = self.shards.iter().min_by_key(|(_, cached)| cached.used);
            let Some(oldest) = oldest.map(|(object, _)| object.clone()) else { break };
            total -= self.shards.remove(&oldest).map_or(0, |cached| cached.entries.len());
        }
        self.shards.insert(object, Cached { entries, used: self.uses });
    }
}

/// The bytes of a file of the index.
pub(super) fn read(store: &Store, file: &IndexFile) -> Result<Vec<u8>> {
    let missing = || Error::new(ErrorKind::Corrupt, format!("{} is missing", file.object));
    store.read(&file.object)?.ok_or_else(missing)
}
