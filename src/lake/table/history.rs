//! The history of a table, as far back as its manifests are kept.
//!
//! Enters: a store and an endpoint's name. Leaves: when the settled schema changed, and how; which
//! partitions changed since a point. Never here: more manifests read than it takes to find that, or
//! one changed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::manifests::{of_version, versions};
use crate::error::{ErrorKind, Result};
use crate::lake::store::Store;
use crate::manifest::{Manifest, RowCounts};
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

/// Since when changes of a table are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// After the manifest of this number.
    Version(u64),
    /// After what was committed by this instant.
    Time(DateTime<Utc>),
    /// Since this run began, but for what it committed itself.
    Run {
        /// Its name.
        name: String,
        /// When it began.
        began_at: DateTime<Utc>,
    },
}

/// What changed in a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChanges {
    /// The partitions that changed, by their value of `dt`, each with what all commits did to its
    /// rows, where that is known.
    pub partitions: BTreeMap<String, Option<RowCounts>>,
    /// The number of the newest manifest.
    pub version: u64,
    /// Whether one of the commits was made by the run that was named.
    pub knows_run: bool,
}

/// The partitions of a table that changed, by all commits since a point, whichever runs made them
/// and however those ended. Where the manifests of some commits are gone, partitions are compared;
/// where nothing older is left to compare with, all of them may have changed.
///
/// # Errors
/// `Newer` when the lake is from a newer version; when the store fails.
pub fn partition_changes(store: &Store, endpoint: &str, since: &Since) -> Result<TableChanges> {
    let versions = versions(store, endpoint)?;
    let mut changes =
        TableChanges { version: versions.last().copied().unwrap_or(0), ..Default::default() };
    let mut later: Option<Manifest> = None;
    for version in versions.into_iter().rev() {
        let manifest = match of_version(store, endpoint, version) {
            Ok(manifest) => manifest,
            // A torn one, or one that was swept meanwhile.
            Err(error) if error.kind() == ErrorKind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        if let Some(later) = &later {
            changes.add(Some(&manifest), later, since);
        }
        if since.has(&manifest, changes.version) {
            return Ok(changes);
        }
        later = Some(manifest);
    }
    if let Some(oldest) = &later {
        changes.add(None, oldest, since);
    }
    Ok(changes)
}

impl Since {
    /// Whether a manifest, of a table whose newest has this number, is of before.
    fn has(&self, manifest: &Manifest, newest: u64) -> bool {
        match self {
            // A number that is yet to come is of manifests that were lost.
            Self::Version(version) => manifest.version <= *version && *version <= newest,
            Self::Time(time) => manifest.committed_at <= *time,
            Self::Run { began_at, .. } => manifest.committed_at < *began_at,
        }
    }
}

impl TableChanges {
    /// Adds what changed between two manifests that are kept, or up to the oldest of them.
    fn add(&mut self, before: Option<&Manifest>, after: &Manifest, since: &Since) {
        let is_next = before.map_or(0, |before| before.version) + 1 == after.version;
        let is_own = matches!(since, Since::Run { name, .. } if *name == after.run);
        self.knows_run |= is_own;
        match after.changed.as_ref().filter(|_| is_next) {
            Some(_) if is_own => {}
            Some(changed) => {
                for (name, counts) in changed {
                    self.note(name, *counts);
                }
            }
            None => match before {
                Some(before) => before.changed_partitions(after).for_each(|it| self.note(it, None)),
                None => after.partitions.keys().for_each(|name| self.note(name, None)),
            },
        }
    }

    /// Adds what one commit did. What is not known of one commit is not known of all.
    fn note(&mut self, name: &str, counts: Option<RowCounts>) {
        let known = self.partitions.entry(name.to_owned()).or_insert(Some(RowCounts::default()));
        match (known.as_mut(), counts) {
            (Some(known), Some(counts)) => *known += counts,
            _ => *known = None,
        }
    }
}
