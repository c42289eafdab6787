//! The history of a table, as far back as its manifests are kept: when and how the frozen schema
//! changed, and which partitions changed since a given point. No more manifests are read than
//! necessary.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::manifests::{of_version, versions};
use crate::error::{ErrorKind, Result};
use crate::lake::store::Store;
use crate::manifest::{Manifest, RowCounts};
use crate::schema::{Difference, Schema};

/// A change of a table's frozen schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// The number of the first manifest that has it.
    pub version: u64,
    /// When that was committed.
    pub committed_at: DateTime<Utc>,
    /// What is new, and what has a different type.
    pub differences: Vec<Difference>,
}

/// The changes of a table's frozen schema up to the present, oldest first.
///
/// If two manifests have the same schema, it is assumed not to have changed in between, so a table
/// that never changed takes one read, and otherwise each change takes about ten.
///
/// # Errors
/// When the store fails. Unreadable manifests are skipped.
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

    /// Bisects between two manifests until the ones that differ are adjacent.
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
            None if from.1.schema_frozen => self.changes.push(SchemaChange {
                version: self.versions[to.0],
                committed_at: to.1.committed_at,
                differences: from.1.schema.differences(&to.1.schema),
            }),
            None => {}
        }
    }
}

/// The point from which changes of a table are requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// After the manifest with this number.
    Version(u64),
    /// After what was committed by this instant.
    Time(DateTime<Utc>),
    /// Since this run began, except for what it committed itself.
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
    /// The partitions that changed, by their value of `dt`, each with the combined effect of all
    /// commits on its rows, if known.
    pub partitions: BTreeMap<String, Option<RowCounts>>,
    /// The number of the newest manifest.
    pub version: u64,
    /// Whether one of the commits was made by the given run.
    pub knows_run: bool,
}

/// The partitions of a table that changed in any commit since a point, whichever runs committed and
/// however they ended. If the manifests of some commits are gone, partitions are compared; if
/// nothing older is left to compare with, all of them may have changed.
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
            // Unreadable, or swept in the meantime.
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
    /// Whether a manifest is from before the point, in a table whose newest manifest has this
    /// number.
    fn has(&self, manifest: &Manifest, newest: u64) -> bool {
        match self {
            // A number that does not exist yet refers to manifests that were lost.
            Self::Version(version) => manifest.version <= *version && *version <= newest,
            Self::Time(time) => manifest.committed_at <= *time,
            Self::Run { began_at, .. } => manifest.committed_at < *began_at,
        }
    }
}

impl TableChanges {
    /// Adds what changed between two kept manifests, or up to the oldest of them.
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

    /// Adds the effect of one commit. If it is unknown for one commit, it is unknown for the total.
    fn note(&mut self, name: &str, counts: Option<RowCounts>) {
        let known = self.partitions.entry(name.to_owned()).or_insert(Some(RowCounts::default()));
        match (known.as_mut(), counts) {
            (Some(known), Some(counts)) => *known += counts,
            _ => *known = None,
        }
    }
}
