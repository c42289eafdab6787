//! Tables of records dated by their own time or by a window: one row per key, in the partition of
//! its day.

use std::collections::{BTreeMap, HashMap};

use super::listed::{day_scope, listed_at, note_listing};
use super::rules::Rules;
use super::statements::{Listing, LookUp, Mark, Removal, Scope, Statements};
use super::values::{CommitPlan, Known};
use crate::manifest::{IndexEntry, Manifest};
use crate::row::RowFacts;

pub(super) fn plan(
    plan: &mut CommitPlan,
    manifest: &Manifest,
    rules: &Rules,
    known: &Known,
    mut statements: Statements,
) {
    if rules.keeps_first_day {
        keep_first_day(&mut statements.rows);
    }
    let mut records = Records { manifest, rules, known, plan, touched: BTreeMap::new() };
    let last = last_of_each(&statements.rows, rules);
    for (batch, rows) in statements.rows.iter_mut().enumerate() {
        for (row, facts) in rows.iter_mut().enumerate() {
            if last.get(&facts.key) == Some(&(batch, row)) {
                records.take(facts, (batch, row));
            }
        }
    }
    for listing in &statements.listings {
        match &listing.scope {
            Scope::Day(day) => {
                records
                    .remove_unlisted(*day, listing.requested_at, |key| listing.keys.contains(key));
            }
            Scope::Parent { id, day } => records.remove_unlisted_of(id, *day, listing),
            Scope::Parents(_) => {}
        }
    }
    for mark in statements.marks {
        records.mark(mark);
    }
    for removal in statements.removals {
        records.remove(removal);
    }
    for look_up in statements.look_ups {
        records.note_look_up(look_up);
    }
    records.conclude();
    plan.rows = statements.rows;
}

struct Records<'a> {
    manifest: &'a Manifest,
    rules: &'a Rules,
    known: &'a Known,
    plan: &'a mut CommitPlan,
    /// The new entries of the keys that the statements change.
    touched: BTreeMap<Box<str>, IndexEntry>,
}

impl Records<'_> {
    fn entry(&self, key: &str) -> Option<&IndexEntry> {
        self.known.entries.get(key).map(|(_, entry)| entry)
    }

    /// Adds a row, unless the lake has it or knows a later statement about its key.
    fn take(&mut self, facts: &mut RowFacts, at: (usize, usize)) {
        let old = self.entry(&facts.key).cloned();
        let listed_at = facts.day.and_then(|day| listed_at(self.manifest, &day_scope(day)));
        // The rows of a range are listed together with their range.
        let range = facts.parent.as_deref().filter(|_| self.rules.has_parent_column);
        let listed_at = listed_at.max(range.and_then(|it| self::listed_at(self.manifest, it)));
        let mut stated = old.as_ref().map(IndexEntry::stated_at).into_iter().chain(listed_at);
        if stated.any(|stated_at| self.rules.is_later(stated_at, facts.fetched_at))
            || old.as_ref().is_some_and(|old| self.rules.is_same(old, facts))
        {
            return;
        }
        facts.day = self.rules.day(facts, old.as_ref());
        let partition = self.rules.partition(facts.day);
        let there = old.as_ref().filter(|old| old.in_lake);
        match there.map(|old| self.rules.partition(old.day)) {
            Some(before) if before != partition => {
                let left = self.plan.rewrites.entry(before).or_default();
                left.removed.insert(facts.key.clone());
                left.deleted += 1;
                self.plan.rewrites.entry(partition).or_default().inserted += 1;
            }
            Some(_) => self.plan.rewrites.entry(partition).or_default().updated += 1,
            None => self.plan.rewrites.entry(partition).or_default().inserted += 1,
        }
        self.plan.rewrites.entry(partition).or_default().rows.push(at);
        let attempt = old.and_then(|old| old.attempt);
        let entry = IndexEntry { attempt, ..self.rules.entry(facts) };
        self.touched.insert(facts.key.clone(), entry);
    }

    /// Removes what a complete list of a day does not contain, unless something later is known.
    fn remove_unlisted(&mut self, day: i32, requested_at: i64, is_listed: impl Fn(&str) -> bool) {
        if !note_listing(&mut self.plan.next, self.rules, &day_scope(day), requested_at) {
            return;
        }
        let partition = self.rules.partition(Some(day));
        for (key, entry) in self.known.shards.get(&partition).into_iter().flatten() {
            let is_later = self.rules.is_later(entry.stated_at(), requested_at);
            let is_of_day = entry.in_lake && entry.day == Some(day);
            if is_of_day && !is_later && !is_listed(key) && !self.touched.contains_key(key) {
                let rewrite = self.plan.rewrites.entry(partition).or_default();
                rewrite.removed.insert(key.clone());
                rewrite.deleted += 1;
                self.plan.note(key.clone(), Some(partition), None);
            }
        }
    }

    /// Removes what a complete list of a range does not contain, and records that it is gone.
    fn remove_unlisted_of(&mut self, range: &str, day: i32, listing: &Listing) {
        let partition = self.rules.partition(Some(day));
        let at = listing.requested_at;
        if !note_listing(&mut self.plan.next, self.rules, range, at) {
            return;
        }
        for (key, entry) in self.known.shards.get(&partition).into_iter().flatten() {
            let is_of_range = entry.in_lake && self.rules.owner(key, entry) == range;
            let is_later = self.rules.is_later(entry.stated_at(), at);
            let is_there = listing.keys.contains(key) || self.touched.contains_key(key);
            if is_of_range && !is_later && !is_there {
                self.take_out(key.clone(), entry, at);
            }
        }
    }

    /// Marks a row whose record is gone, or exists after all. A child may have no `deleted_at` where
    /// its parent has one; then its row says nothing about it.
    fn mark(&mut self, Mark { key, deleted_at, .. }: Mark) {
        if !self.rules.has_marks {
            return;
        }
        let Some(entry) = self.entry(&key).filter(|entry| entry.in_lake) else { return };
        let is_news = entry.deleted_at.is_some() != deleted_at.is_some();
        if is_news && !self.is_newer(entry, deleted_at) && !self.touched.contains_key(&key) {
            let marked = IndexEntry { deleted_at, ..entry.clone() };
            let rewrite = self.plan.rewrites.entry(self.rules.partition(marked.day)).or_default();
            rewrite.deleted += u64::from(deleted_at.is_some());
            rewrite.updated += u64::from(deleted_at.is_none());
            rewrite.marked.insert(key.clone(), deleted_at);
            self.touched.insert(key, marked);
        }
    }

    /// Removes a row, and records that it is gone.
    fn remove(&mut self, Removal { key, at, .. }: Removal) {
        let Some(entry) = self.entry(&key).filter(|entry| entry.in_lake) else { return };
        if self.is_newer(entry, Some(at)) || self.touched.contains_key(&key) {
            return;
        }
        let entry = entry.clone();
        self.take_out(key, &entry, at);
    }

    fn take_out(&mut self, key: Box<str>, entry: &IndexEntry, at: i64) {
        let removed = IndexEntry {
            in_lake: false,
            fetched_at: at,
            deleted_at: Some(at),
            attempt: None,
            ..entry.clone()
        };
        let rewrite = self.plan.rewrites.entry(self.rules.partition(removed.day)).or_default();
        rewrite.deleted += 1;
        rewrite.removed.insert(key.clone());
        self.touched.insert(key, removed);
    }

    /// Whether a row was requested after its record was found to be gone, which happens when the
    /// run that found it commits late. A child only follows its parent, which has already been
    /// compared.
    fn is_newer(&self, entry: &IndexEntry, gone_at: Option<i64>) -> bool {
        let is_later = |gone_at| self.rules.is_later(entry.fetched_at, gone_at);
        !self.rules.is_child && gone_at.is_some_and(is_later)
    }

    /// Records the outcome of a look-up. What another run has completed in the meantime stays
    /// complete.
    fn note_look_up(&mut self, LookUp { key, day, attempt }: LookUp) {
        let before = self.touched.get(&key).or_else(|| self.entry(&key));
        let mut entry = before.cloned().unwrap_or_default();
        let is_complete = entry
            .attempt
            .as_ref()
            .is_some_and(|before| before.reason.is_none() && before.parent == attempt.parent);
        if is_complete && attempt.reason.is_some() {
            return;
        }
        entry.attempt = Some(attempt);
        if !entry.in_lake {
            entry.day = day.or(entry.day);
        }
        self.touched.insert(key, entry);
    }

    fn conclude(self) {
        let Self { rules, known, plan, touched, .. } = self;
        for (key, entry) in touched {
            let before = known.entries.get(&key).map(|(partition, _)| *partition);
            let is_known = entry.in_lake || entry.is_removed() || entry.attempt.is_some();
            let place = is_known.then(|| (rules.partition(entry.day), entry));
            plan.note(key, before, place);
        }
    }
}

/// The position of the most recently requested row for each key.
fn last_of_each(batches: &[Vec<RowFacts>], rules: &Rules) -> HashMap<Box<str>, (usize, usize)> {
    let mut last: HashMap<Box<str>, (usize, usize)> = HashMap::new();
    for (batch, rows) in batches.iter().enumerate() {
        for (row, facts) in rows.iter().enumerate() {
            let known = last.entry(facts.key.clone()).or_insert((batch, row));
            if !rules.is_later(batches[known.0][known.1].fetched_at, facts.fetched_at) {
                *known = (batch, row);
            }
        }
    }
    last
}

/// A record found in the windows of two days belongs to the first one.
fn keep_first_day(batches: &mut [Vec<RowFacts>]) {
    let mut first: HashMap<Box<str>, i32> = HashMap::new();
    let days = batches.iter().flatten();
    for (key, day) in days.filter_map(|facts| Some((&facts.key, facts.day?))) {
        let known = first.entry(key.clone()).or_insert(day);
        *known = day.min(*known);
    }
    for facts in batches.iter_mut().flatten() {
        facts.day = first.get(&facts.key).copied().or(facts.day);
    }
}
