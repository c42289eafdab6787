//! Snapshot tables: a partition is everything that exists as of a day.
//!
//! A new snapshot begins as a copy of the newest one before it. Rows are replaced as they are read,
//! and removed only by a list that was read to its end, so a snapshot never lacks a row because
//! something failed (P14). A month has one snapshot, the newest.

use std::collections::BTreeMap;

use super::listed::{listed_at, note_listing};
use super::parents::{is_gone, parents_listed_at};
use super::rules::Rules;
use super::statements::{Scope, Statements};
use super::values::{CommitPlan, Entries, Known, PartitionRewrite};
use crate::manifest::{Granularity, IndexEntry, Manifest};
use crate::partition::Partition;
use crate::row::RowFacts;

/// The snapshots that the statements concern, each with its day; for several days of one month, the
/// last one.
pub(super) fn partitions(rules: &Rules, statements: &Statements) -> BTreeMap<Partition, i32> {
    let rows = statements.rows.iter().flatten().filter_map(|facts| facts.day);
    let listings = statements.listings.iter().map(|listing| listing.scope.day());
    let mut partitions: BTreeMap<Partition, i32> = BTreeMap::new();
    for day in rows.chain(listings).chain(statements.snapshot) {
        let last = partitions.entry(rules.partition(Some(day))).or_insert(day);
        *last = day.max(*last);
    }
    partitions
}

/// The snapshot whose rows are known for `partition`: its own, or the newest one before it, which
/// it is copied from.
pub(super) fn origin(manifest: &Manifest, partition: Partition) -> Option<Partition> {
    let name = partition.to_string();
    let newest = manifest.partitions.range(..=name).next_back();
    newest.and_then(|(name, _)| name.parse().ok())
}

pub(super) fn plan(
    plan: &mut CommitPlan,
    manifest: &Manifest,
    rules: &Rules,
    known: &Known,
    mut statements: Statements,
) {
    for (partition, day) in partitions(rules, &statements) {
        let mut snapshot = Snapshot::begin(manifest, rules, known, partition, day);
        let name = partition.to_string();
        for (batch, rows) in statements.rows.iter_mut().enumerate() {
            for (row, facts) in rows.iter_mut().enumerate() {
                if facts.day.is_some_and(|day| rules.partition(Some(day)) == partition) {
                    snapshot.take(facts, (batch, row), known);
                }
            }
        }
        for listing in &statements.listings {
            let day = listing.scope.day();
            if rules.partition(Some(day)) != partition {
                continue;
            }
            if let Scope::Parents(day) = listing.scope
                && parents_listed_at(manifest, rules, day)
                    .is_some_and(|it| rules.is_later(it, listing.requested_at))
            {
                continue;
            }
            if let Scope::Day(_) = listing.scope
                && !note_listing(&mut plan.next, rules, &name, listing.requested_at)
            {
                continue;
            }
            if let Scope::Parent { id, .. } = &listing.scope
                && snapshot
                    .answered_at(known, id)
                    .is_some_and(|it| rules.is_later(it, listing.requested_at))
            {
                continue;
            }
            if let Scope::Day(_) = listing.scope {
                // Everything that exists has been read, so a lost snapshot is whole again.
                plan.next.lost.remove(&name);
            }
            snapshot.remove(listing.requested_at, |key, entry| match &listing.scope {
                Scope::Day(_) => !listing.keys.contains(key),
                Scope::Parent { id, .. } => {
                    rules.owner(key, entry) == &**id && !listing.keys.contains(key)
                }
                Scope::Parents(_) => !listing.keys.contains(rules.owner(key, entry)),
            });
        }
        snapshot.conclude(plan);
    }
    plan.rows = statements.rows;
}

/// One snapshot in its new state.
struct Snapshot<'a> {
    rules: &'a Rules,
    partition: Partition,
    /// When a complete list of it was last requested.
    listed_at: Option<i64>,
    /// When a complete list of the parents was last requested.
    parents_listed_at: Option<i64>,
    /// Whether the lake already has it.
    is_there: bool,
    /// What is known about its rows, or about those that it is copied from.
    known: Entries,
    /// The changes that the statements make.
    changed: BTreeMap<Box<str>, Option<IndexEntry>>,
    /// The positions of the rows to insert, by key.
    rows: BTreeMap<Box<str>, (usize, usize)>,
    rewrite: PartitionRewrite,
}

impl<'a> Snapshot<'a> {
    fn begin(
        manifest: &Manifest,
        rules: &'a Rules,
        known: &Known,
        partition: Partition,
        day: i32,
    ) -> Self {
        let is_there = manifest.partitions.contains_key(&partition.to_string());
        let origin = origin(manifest, partition);
        let mut entries = origin.and_then(|it| known.shards.get(&it)).cloned().unwrap_or_default();
        let mut rewrite = PartitionRewrite::default();
        if !is_there {
            entries.retain(|_, entry| entry.in_lake);
            // The rows of a day's snapshot are dated by it. Those of a month's have the day they
            // were first read.
            let dated = (rules.granularity == Granularity::Day).then_some(day);
            if let Some(day) = dated {
                for entry in entries.values_mut() {
                    entry.day = Some(day);
                }
            }
            rewrite.copied = origin.map(|origin| (origin, dated));
            rewrite.inserted = entries.len() as u64;
        }
        let listed_at = listed_at(manifest, &partition.to_string());
        Self {
            rules,
            partition,
            listed_at,
            parents_listed_at: parents_listed_at(manifest, rules, day),
            is_there,
            known: entries,
            changed: BTreeMap::new(),
            rows: BTreeMap::new(),
            rewrite,
        }
    }

    /// What is known about a key, including these statements.
    fn entry(&self, key: &str) -> Option<&IndexEntry> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.known.get(key),
        }
    }

    /// When the list of a parent was last requested for this snapshot, or for the one that this is
    /// copied from now. Its answer for another snapshot says nothing about this one.
    fn answered_at(&self, known: &Known, parent: &str) -> Option<i64> {
        let answer = known.parents.get(parent)?;
        let is_of_this = |day| {
            let of = self.rules.partition(Some(day));
            of == self.partition || (of < self.partition && !self.is_there)
        };
        // Older lakes do not record which snapshot an answer was for.
        answer.day.is_none_or(is_of_this).then_some(answer.fetched_at)
    }

    /// Adds a row, unless the snapshot has it or knows a later statement about its key.
    fn take(&mut self, facts: &mut RowFacts, at: (usize, usize), known: &Known) {
        let old = self.entry(&facts.key);
        let parent = facts.parent.as_deref().unwrap_or(&facts.key);
        let answered_at = self.answered_at(known, parent);
        let stated =
            old.map(IndexEntry::stated_at).into_iter().chain(self.listed_at).chain(answered_at);
        let is_late = |stated_at: i64| self.rules.is_later(stated_at, facts.fetched_at);
        let is_gone =
            || is_gone(self.parents_listed_at, self.rules, known, parent, facts.fetched_at);
        if stated.into_iter().any(is_late)
            || is_gone()
            || old.is_some_and(|old| self.rules.is_same(old, facts))
        {
            return;
        }
        let was_there = old.is_some_and(|old| old.in_lake);
        if !was_there {
            self.rewrite.inserted += 1;
        } else if self.is_there && !self.rows.contains_key(&facts.key) {
            self.rewrite.updated += 1;
        }
        self.changed.insert(facts.key.clone(), Some(self.rules.entry(facts)));
        self.rows.insert(facts.key.clone(), at);
    }

    /// Removes the rows that a complete list does not contain, unless something later is known.
    fn remove(&mut self, requested_at: i64, is_gone: impl Fn(&str, &IndexEntry) -> bool) {
        let mut gone: Vec<Box<str>> = Vec::new();
        let changed = self.changed.iter().filter_map(|(key, entry)| Some((key, entry.as_ref()?)));
        let known = self.known.iter().filter(|(key, _)| !self.changed.contains_key(*key));
        for (key, entry) in known.chain(changed) {
            let is_later = self.rules.is_later(entry.stated_at(), requested_at);
            if entry.in_lake && !is_later && is_gone(key, entry) {
                gone.push(key.clone());
            }
        }
        for key in gone {
            let is_known = self.known.get(&key).is_some_and(|entry| entry.in_lake);
            if self.is_there && is_known {
                self.rewrite.deleted += 1;
            } else {
                self.rewrite.inserted -= 1;
            }
            if is_known {
                self.rewrite.removed.insert(key.clone());
            }
            self.rows.remove(&key);
            self.changed.insert(key, None);
        }
    }

    fn conclude(self, plan: &mut CommitPlan) {
        let Self { partition, is_there, known, changed, rows, mut rewrite, .. } = self;
        rewrite.rows = rows.into_values().collect();
        rewrite.rows.sort_unstable();
        let is_changed = !rewrite.rows.is_empty() || !rewrite.removed.is_empty();
        // An empty snapshot is an object too.
        if is_changed || !is_there {
            plan.rewrites.insert(partition, rewrite);
        }
        if !is_there {
            plan.copied_shards.insert(partition, known);
        }
        if !changed.is_empty() {
            plan.index.entry(partition).or_default().extend(changed);
        }
    }
}
