//! The commit plan: what a change makes of a table, decided before anything is written.
//!
//! ```text
//! needs(manifest, rules, statements)        -> which index entries the plan has to know
//! plan(manifest, rules, known, change)      -> partition rewrites, index delta, next manifest
//! ```
//!
//! Both are pure. P2, P4, P10, P11 and P14 are laws of [`plan`], which the property tests hold
//! against a model of a few lines: a map from key to the statement that was requested last.

mod progress;
mod records;
mod rules;
mod snapshots;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub use self::progress::Progress;
pub use self::rules::Rules;
pub use self::statements::{Listing, LookUp, Mark, ParentAnswer, Removal, Scope, Statements};
use crate::manifest::{Granularity, IndexEntry, Manifest};
use crate::partition::Partition;
use crate::row::RowFacts;

/// What an index shard says of its keys.
pub type Entries = HashMap<Box<str>, IndexEntry>;

/// How a change leaves one key in an index shard: with this entry, or out of it.
pub type ShardDelta = BTreeMap<Box<str>, Option<IndexEntry>>;

/// For how long the instant of a complete list is remembered, in microseconds. A reply that is older
/// than that when it is committed would have been held by a process that slept for a week.
const REMEMBERED: i64 = 7 * 86_400_000_000;

/// What a plan has to know of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Keys, each with the partition where it is likely to be.
    pub keys: Vec<(Box<str>, Partition)>,
    /// Partitions of which every key has to be known.
    pub shards: BTreeSet<Partition>,
    /// Whether it has to be known how parents answered before.
    pub parents: bool,
}

/// What a plan knows of the index.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Entries by key, each with the partition whose shard has it.
    pub entries: HashMap<Box<str>, (Partition, IndexEntry)>,
    /// Whole shards.
    pub shards: BTreeMap<Partition, Entries>,
    /// How parents answered before, by their keys.
    pub parents: Entries,
}

/// What is to become of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionRewrite {
    /// The snapshot that a new one begins as a copy of, and the day that its rows get.
    pub copied: Option<(Partition, Option<i32>)>,
    /// The rows to put in, as batch and row of [`CommitPlan::rows`].
    pub rows: Vec<(usize, usize)>,
    /// The keys whose rows are taken out, besides those that are put in.
    pub removed: HashSet<Box<str>>,
    /// The keys whose records are gone since an instant, or there after all.
    pub marked: HashMap<Box<str>, Option<i64>>,
    /// Rows that were not in the partition before.
    pub inserted: u64,
    /// Rows that were there, and are replaced.
    pub updated: u64,
    /// Rows that are there no more, or marked as deleted.
    pub deleted: u64,
}

/// What a change makes of a table.
#[derive(Debug, Clone)]
pub struct CommitPlan {
    /// The rows of each batch, with the days that date them.
    pub rows: Vec<Vec<RowFacts>>,
    /// What is to be written, by partition.
    pub rewrites: BTreeMap<Partition, PartitionRewrite>,
    /// What changes in the index, by partition.
    pub index: BTreeMap<Partition, ShardDelta>,
    /// The snapshot whose index shard another one's begins as a copy of.
    pub copied_shards: BTreeMap<Partition, Entries>,
    /// The keys that are in another partition than before, or new.
    pub moved: Vec<(Box<str>, Partition)>,
    /// What changes of how parents answered.
    pub parents: ShardDelta,
    /// The next manifest, but for the objects that are yet to be written.
    pub next: Manifest,
}

impl CommitPlan {
    /// A plan that changes nothing but the manifest.
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

    /// Notes what the index is to say of a key: in another partition than `before`, it leaves that
    /// one's shard.
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

/// Which part of the index a plan for these statements has to know.
#[must_use]
pub fn needs(manifest: &Manifest, rules: &Rules, statements: &Statements) -> Needs {
    let mut needs = Needs { parents: rules.is_child, ..Needs::default() };
    if rules.is_snapshot {
        for partition in snapshots::partitions(rules, statements).into_keys() {
            needs.shards.extend(snapshots::origin(manifest, partition));
        }
        return needs;
    }
    let keys = statements.keys();
    needs.keys = keys.map(|(key, day)| (key.into(), rules.partition(day))).collect();
    let days = statements.listings.iter().map(|listing| listing.scope.day());
    needs.shards = days.map(|day| rules.partition(Some(day))).collect();
    needs
}

/// What these statements, and what the run has completed, make of a table.
#[must_use]
pub fn plan(
    manifest: &Manifest,
    rules: &Rules,
    known: &Known,
    statements: Statements,
    progress: &Progress,
) -> CommitPlan {
    let mut plan = CommitPlan::of(progress.applied(manifest, rules));
    plan_parents(&mut plan, rules, known, &statements);
    if rules.is_snapshot {
        snapshots::plan(&mut plan, manifest, rules, known, statements);
    } else {
        records::plan(&mut plan, manifest, rules, known, statements);
    }
    plan
}

/// Notes how parents answered; of two answers the one that was asked for later counts.
fn plan_parents(plan: &mut CommitPlan, rules: &Rules, known: &Known, statements: &Statements) {
    for answer in &statements.answers {
        let before = known.parents.get(&answer.id);
        if before.is_some_and(|it| rules.is_later(it.fetched_at, answer.answered_at)) {
            continue;
        }
        let entry = IndexEntry {
            fetched_at: answer.answered_at,
            attempt: Some(answer.attempt.clone()),
            ..IndexEntry::default()
        };
        plan.parents.insert(answer.id.clone(), Some(entry));
    }
    for listing in &statements.listings {
        if let Scope::Parents(_) = listing.scope {
            for (id, entry) in &known.parents {
                let is_later = rules.is_later(entry.fetched_at, listing.requested_at);
                if !listing.keys.contains(id) && !is_later {
                    plan.parents.insert(id.clone(), None);
                }
            }
        }
    }
}

/// When a complete list of a day, or of the month that a snapshot is of, was requested last,
/// microseconds since 1970.
fn listed_at(manifest: &Manifest, scope: &str) -> Option<i64> {
    manifest.listed.get(scope).copied()
}

/// Notes when a complete list was requested; false where a later one is known already.
fn note_listing(next: &mut Manifest, rules: &Rules, scope: &str, requested_at: i64) -> bool {
    if listed_at(next, scope).is_some_and(|known| rules.is_later(known, requested_at)) {
        return false;
    }
    next.listed.insert(scope.to_owned(), requested_at);
    next.listed.retain(|_, at| rules.now - *at <= REMEMBERED);
    true
}

/// What a list of one day is noted under, in lakes of months too.
fn day_scope(day: i32) -> String {
    Partition::of(Some(day), Granularity::Day).to_string()
}
