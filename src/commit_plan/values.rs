//! What a plan needs to know of the index, and what it consists of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::manifest::{IndexEntry, Manifest};
use crate::partition::Partition;
use crate::row::RowFacts;

/// The entries of an index shard, by key.
pub type Entries = HashMap<Box<str>, IndexEntry>;

/// How a change affects one key in an index shard: it sets this entry, or removes the key.
pub type ShardDelta = BTreeMap<Box<str>, Option<IndexEntry>>;

/// The parts of the index that a plan needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Keys, each with the partition where it is likely to be.
    pub keys: Vec<(Box<str>, Partition)>,
    /// Partitions whose keys must all be known.
    pub shards: BTreeSet<Partition>,
    /// Whether the parents' previous answers must be known.
    pub parents: bool,
}

/// What a plan knows about the index.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Entries by key, each with the partition whose shard has it.
    pub entries: HashMap<Box<str>, (Partition, IndexEntry)>,
    /// Whole shards.
    pub shards: BTreeMap<Partition, Entries>,
    /// The parents' previous answers, by key.
    pub parents: Entries,
}

/// What to do with one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionRewrite {
    /// The snapshot that a new one is copied from, and the day that the copied rows get.
    pub copied: Option<(Partition, Option<i32>)>,
    /// The rows to insert, as batch and row of [`CommitPlan::rows`].
    pub rows: Vec<(usize, usize)>,
    /// The keys of rows to remove, besides those that are replaced.
    pub removed: HashSet<Box<str>>,
    /// The keys whose records are gone since an instant, or exist after all (`None`).
    pub marked: HashMap<Box<str>, Option<i64>>,
    /// Rows that were not in the partition before.
    pub inserted: u64,
    /// Rows that existed and are replaced.
    pub updated: u64,
    /// Rows that are removed or marked as deleted.
    pub deleted: u64,
}

/// How a change affects a table.
#[derive(Debug, Clone)]
pub struct CommitPlan {
    /// The rows of each batch, with the days that date them.
    pub rows: Vec<Vec<RowFacts>>,
    /// What to write, by partition.
    pub rewrites: BTreeMap<Partition, PartitionRewrite>,
    /// What changes in the index, by partition.
    pub index: BTreeMap<Partition, ShardDelta>,
    /// The snapshot whose index shard is copied for a new snapshot.
    pub copied_shards: BTreeMap<Partition, Entries>,
    /// The keys that are new or in a different partition than before.
    pub moved: Vec<(Box<str>, Partition)>,
    /// The changes to the parents' answers.
    pub parents: ShardDelta,
    /// The next manifest, without the objects that are yet to be written.
    pub next: Manifest,
}

impl CommitPlan {
    /// A plan that changes only the manifest.
    #[must_use]
    pub fn of(next: Manifest) -> Self {
        Self {
            rows: Vec::new(),
            rewrites: BTreeMap::new(),
            index: BTreeMap::new(),
            copied_shards: BTreeMap::new(),
            moved: Vec::new(),
            parents: ShardDelta::new(),
            next,
        }
    }

    /// Records what the index will say about a key. If the partition differs from `before`, the key
    /// is removed from the shard of that one.
    pub fn note(
        &mut self,
        key: Box<str>,
        before: Option<Partition>,
        now: Option<(Partition, IndexEntry)>,
    ) {
        let to = now.as_ref().map(|now| now.0);
        if let Some(before) = before.filter(|before| to != Some(*before)) {
            self.index.entry(before).or_default().insert(key.clone(), None);
        }
        if let Some((partition, entry)) = now {
            if before != Some(partition) {
                self.moved.push((key.clone(), partition));
            }
            self.index.entry(partition).or_default().insert(key, Some(entry));
        }
    }
}
