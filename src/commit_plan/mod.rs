//! The commit plan: how a change affects a table, decided before anything is written.
//!
//! ```text
//! needs(manifest, rules, statements, rows)  -> which index entries the plan has to know
//! plan(manifest, rules, known, change)      -> partition rewrites, index delta, next manifest
//! ```
//!
//! Both are pure. P2, P4, P10, P11, and P14 are laws of [`plan`], which the property tests check
//! against a model of a few lines: a map from key to the most recently requested statement.

mod listed;
mod parents;
mod progress;
mod records;
mod rules;
mod snapshots;
mod statements;
#[cfg(test)]
mod tests;
mod values;

pub use self::progress::Progress;
pub use self::rules::Rules;
pub use self::statements::{
    Listing, LookUp, Mark, ParentAnswer, Removal, RowKeys, Scope, Statements,
};
pub use self::values::{CommitPlan, Entries, Known, Needs, PartitionRewrite, ShardDelta};
use crate::manifest::Manifest;

/// The part of the index that a plan for these statements needs to know.
#[must_use]
pub fn needs(manifest: &Manifest, rules: &Rules, statements: &Statements, rows: RowKeys) -> Needs {
    let mut needs = Needs { parents: rules.is_child, ..Needs::default() };
    if rules.is_snapshot {
        for partition in snapshots::partitions(rules, statements).into_keys() {
            needs.shards.extend(snapshots::origin(manifest, partition));
        }
        return needs;
    }
    let keys = statements.keys(rows);
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
    parents::plan(&mut plan, manifest, rules, known, &statements);
    if rules.is_snapshot {
        snapshots::plan(&mut plan, manifest, rules, known, statements);
    } else {
        records::plan(&mut plan, manifest, rules, known, statements);
    }
    plan
}
