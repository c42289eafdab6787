//! The history of a table's schema, as far back as its manifests are kept.
//!
//! Enters: a store and an endpoint's name. Leaves: when the settled schema changed, and how. Never
//! here: more manifests read than it takes to find that, or one changed.

use chrono::{DateTime, Utc};

use super::manifests::{of_version, versions};
use crate::error::Result;
use crate::lake::store::Store;
use crate::manifest::Manifest;
use crate::schema::{Difference, Schema};

/// A change of a table's schema after it was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// The number of the first manifest that has it.
    pub version: u64,
    /// When that was committed.
    pub committed_at: DateTime<Utc>,
    /// What is new, and what has another type.
    pub differences: Vec<Difference>,
}

/// The changes of a table's settled schema up to its present one, oldest first.
///
/// Between two manifests of the same schema there is taken to be no other, so that a table which
/// never changed takes one reading, and one that did some ten for each change.
///
/// # Errors
/// When the store fails. A manifest that cannot be read is passed over.
pub fn schema_changes(
    store: &Store,
    endpoint: &str,
    present: &Schema,
) -> Result<Vec<SchemaChange>> {
    let versions = versions(store, endpoint)?;
    let mut history = History { store, endpoint, versions: &versions, changes: Vec::new() };
    if let Some(last) = versions.len().checked_sub(1) {
        let oldest = history.read(0).filter(|oldest| oldest.schema != *present);
        if let Some((oldest, newest)) = oldest.zip(history.read(last)) {
            history.search((0, &oldest), (last, &newest));
        }
    }
    Ok(history.changes)
}

struct History<'s> {
    store: &'s Store,
    endpoint: &'s str,
    versions: &'s [u64],
    changes: Vec<SchemaChange>,
}

impl History<'_> {
    fn read(&self, at: usize) -> Option<Manifest> {
        of_version(self.store, self.endpoint, self.versions[at]).ok()
    }

    /// Halves the manifests between two until those that differ are neighbours.
    fn search(&mut self, from: (usize, &Manifest), to: (usize, &Manifest)) {
        if from.1.schema == to.1.schema {
            return;
        }
        let between = (from.0 + 1..to.0).collect::<Vec<_>>();
        let half = between.get(between.len() / 2).copied();
        match half.and_then(|half| Some((half, self.read(half)?))) {
            Some((half, manifest)) => {
                self.search(from, (half, &manifest));
                self.search((half, &manifest), to);
            }
            None if from.1.settled => self.changes.push(SchemaChange {
                version: self.versions[to.0],
                committed_at: to.1.committed_at,
                differences: from.1.schema.differences(&to.1.schema),
            }),
            None => {}
        }
    }
}
