//! The commit plan: how a change affects a table, decided before anything is written.
//!
//! ```text
//! needs(manifest, rules, statements)        -> which index entries the plan has to know
//! plan(manifest, rules, known, change)      -> partition rewrites, index delta, next manifest
//! ```
//!
//! Both are pure. P2, P4, P10, P11, and P14 are laws of [`plan`], which the property tests check
//! against a model of a few lines: a map from key to the most recently requested statement.

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
use crate::manifest::{Granularity, IndexEntry, Manifest, PARENTS_OF};
use crate::partition::Partition;
use crate::row::RowFacts;

/// The entries of an index shard, by key.
pub type Entries = HashMap<Box<str>, IndexEntry>;

/// How a change affects one key in an index shard: it sets this entry, or removes the key.
pub type ShardDelta = BTreeMap<Box<str>, Option<IndexEntry>>;

/// How long the time of a complete list is remembered, in microseconds. Only a process that was
/// suspended for a week could commit an older reply.
const REMEMBERED: i64 = 7 * 86_400_000_000;

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

/// The part of the index that a plan for these statements needs to know.
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

/// How these statements, and what the run has completed, affect a table.
#[must_use]
pub fn plan(
    manifest: &Manifest,
    rules: &Rules,
    known: &Known,
    statements: Statements,
    progress: &Progress,
) -> CommitPlan {
    let mut plan = CommitPlan::of(progress.applied(manifest, rules));
    plan_parents(&mut plan, manifest, rules, known, &statements);
    if rules.is_snapshot {
        snapshots::plan(&mut plan, manifest, rules, known, statements);
    } else {
        records::plan(&mut plan, manifest, rules, known, statements);
    }
    plan
}

/// Records the parents' answers, and which parents exist; of two statements about a parent, the one
/// requested later wins. In snapshot tables, an answer for an earlier snapshot, which a run with
/// `--to` in the past gets, says nothing about the newest one.
fn plan_parents(
    plan: &mut CommitPlan,
    manifest: &Manifest,
    rules: &Rules,
    known: &Known,
    statements: &Statements,
) {
    for answer in &statements.answers {
        let before = known.parents.get(&answer.id);
        let is_later = |it: &IndexEntry| {
            rules.is_later(it.fetched_at, answer.answered_at)
                || rules.is_of_later_snapshot(it.day, answer.day)
        };
        let listed_at = parents_listed_at(manifest, rules, answer.day);
        if before.is_some_and(is_later)
            || is_gone(listed_at, rules, known, &answer.id, answer.answered_at)
        {
            continue;
        }
        let entry = IndexEntry {
            day: Some(answer.day),
            fetched_at: answer.answered_at,
            attempt: Some(answer.attempt.clone()),
            ..IndexEntry::default()
        };
        plan.parents.insert(answer.id.clone(), Some(entry));
    }
    for listing in &statements.listings {
        let Scope::Parents(day) = listing.scope else { continue };
        let scope = parents_scope(rules, day);
        if !note_listing(&mut plan.next, rules, &scope, listing.requested_at) {
            continue;
        }
        for (id, entry) in &known.parents {
            let is_later = rules.is_later(entry.fetched_at, listing.requested_at)
                || rules.is_of_later_snapshot(entry.day, day);
            if !listing.keys.contains(id) && !is_later {
                plan.parents.insert(id.clone(), None);
            }
        }
        // A parent exists even if it has not answered yet, so what an earlier request found of it
        // still counts.
        for id in listing.keys.iter().filter(|id| !known.parents.contains_key(*id)) {
            let entry = IndexEntry { day: Some(day), ..IndexEntry::default() };
            plan.parents.entry(id.clone()).or_insert(Some(entry));
        }
    }
}

/// Whether the complete list of all parents, if it was requested later than this, lacks a parent.
fn is_gone(
    parents_listed_at: Option<i64>,
    rules: &Rules,
    known: &Known,
    parent: &str,
    requested_at: i64,
) -> bool {
    parents_listed_at.is_some_and(|it| rules.is_later(it, requested_at))
        && !known.parents.contains_key(parent)
}

/// When all parents of a snapshot were last listed, in microseconds since 1970.
fn parents_listed_at(manifest: &Manifest, rules: &Rules, day: i32) -> Option<i64> {
    listed_at(manifest, &parents_scope(rules, day))
}

/// The scope under which the list of all parents of a snapshot is recorded.
fn parents_scope(rules: &Rules, day: i32) -> String {
    format!("{PARENTS_OF}{}", rules.partition(Some(day)))
}

/// When a complete list of a day, or of the month of a snapshot, was last requested, in
/// microseconds since 1970.
fn listed_at(manifest: &Manifest, scope: &str) -> Option<i64> {
    manifest.listed.get(scope).copied()
}

/// Records when a complete list was requested; `false` if a later one is already recorded.
fn note_listing(next: &mut Manifest, rules: &Rules, scope: &str, requested_at: i64) -> bool {
    if listed_at(next, scope).is_some_and(|known| rules.is_later(known, requested_at)) {
        return false;
    }
    next.listed.insert(scope.to_owned(), requested_at);
    next.listed.retain(|_, at| rules.now - *at <= REMEMBERED);
    true
}

/// The scope under which a list of one day is recorded, also in lakes with monthly partitions.
fn day_scope(day: i32) -> String {
    Partition::of(Some(day), Granularity::Day).to_string()
}
