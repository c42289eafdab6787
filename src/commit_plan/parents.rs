//! Parents whose children are read by listing: how they answered, and which of them exist.

use super::listed::{listed_at, note_listing};
use super::rules::Rules;
use super::statements::{Scope, Statements};
use super::values::{CommitPlan, Known};
use crate::manifest::{IndexEntry, Manifest, PARENTS_OF};

/// Records the parents' answers, and which parents exist; of two statements about a parent, the one
/// requested later wins. In snapshot tables, an answer for an earlier snapshot, which a run with
/// `--to` in the past gets, says nothing about the newest one.
pub(super) fn plan(
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
pub(super) fn is_gone(
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
pub(super) fn parents_listed_at(manifest: &Manifest, rules: &Rules, day: i32) -> Option<i64> {
    listed_at(manifest, &parents_scope(rules, day))
}

/// The scope under which the list of all parents of a snapshot is recorded.
fn parents_scope(rules: &Rules, day: i32) -> String {
    format!("{PARENTS_OF}{}", rules.partition(Some(day)))
}
