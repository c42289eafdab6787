//! The sweep: removes old manifests, and the files that only they refer to.
//!
//! The last hundred manifests are kept, plus one per hour for the last week, because a backfill
//! commits every minute and each manifest names all partitions.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Result;
use crate::lake::table::manifests;
use crate::lake::table::snapshot::Snapshot;
use crate::manifest::Manifest;

/// The minimum number of manifests to keep.
const KEPT: usize = 100;
/// How long one manifest per hour is kept.
const KEPT_TIME: TimeDelta = TimeDelta::days(7);
/// A sweep is due at this number of manifests: more than any sweep leaves, so that only one in many
/// runs sweeps.
const DUE_AT: usize = 400;

impl Snapshot {
    /// Removes manifests that are neither among the last hundred nor the last of an hour in the
    /// last week, and index files that no remaining manifest refers to. Most of the time there is
    /// nothing to do.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sweep(&self, now: DateTime<Utc>) -> Result<()> {
        let (store, name) = (self.table().store(), &self.table().endpoint().name);
        // A young table cannot have that many manifests, so there is no need to check.
        let is_young = self.manifest().version < DUE_AT as u64;
        if is_young || manifests::versions(store, name)?.len() < DUE_AT {
            return Ok(());
        }
        let _lock = store.lock()?;
        let mut versions = manifests::versions(store, name)?;
        let kept = versions.split_off(versions.len().saturating_sub(KEPT));
        let mut old = Vec::new();
        let mut references = BTreeSet::new();
        let mut hours = BTreeSet::new();
        for version in versions.into_iter().rev() {
            // An unreadable manifest is of no use.
            let manifest = manifests::of_version(store, name, version).ok();
            let last_of_hour = manifest.filter(|manifest| {
                let hour = manifest.committed_at.timestamp() / 3_600;
                now - manifest.committed_at < KEPT_TIME && hours.insert(hour)
            });
            match last_of_hour {
                Some(manifest) => references.extend(files_of(&manifest)),
                None => old.push(version),
            }
        }
        for version in &kept {
            if let Ok(manifest) = manifests::of_version(store, name, *version) {
                references.extend(files_of(&manifest));
            }
        }
        let oldest = kept.first().copied().unwrap_or_default();
        self.sweep_index(oldest, &references)?;
        for version in old {
            store.delete(&manifests::path(name, version))?;
        }
        Ok(())
    }

    /// Removes unreferenced index files written for a manifest older than `oldest`. Files of a
    /// commit in progress belong to a newer one.
    fn sweep_index(&self, oldest: u64, references: &BTreeSet<String>) -> Result<()> {
        let (store, name) = (self.table().store(), &self.table().endpoint().name);
        let folder = format!("_manifest/{name}/index");
        for name in store.names(&folder)? {
            let object = format!("{folder}/{name}");
            let version = name.split('-').next().and_then(|version| version.parse::<u64>().ok());
            let is_old = version.is_some_and(|version| version < oldest);
            if is_old && !references.contains(&object) {
                store.delete(&object)?;
            }
        }
        Ok(())
    }
}

/// The files of the index that a manifest refers to.
fn files_of(manifest: &Manifest) -> impl Iterator<Item = String> + '_ {
    let files = manifest.index_files().map(|file| file.object.clone());
    files.chain(manifest.base.iter().map(|base| base.object.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::endpoint::Catalogue;
    use crate::lake::{Change, Lake, Store};
    use crate::window::Window;

    /// Old manifests are removed, the newest stays, and a reopened table still knows everything.
    #[test]
    fn unreferenced_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().to_str().unwrap()).unwrap());
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let begin: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().unwrap();
        let table = Lake::new(&store, &catalogue, "run").table("calls").unwrap();
        let mut snapshot = table.open(begin).unwrap();
        for number in 0..i32::try_from(DUE_AT).unwrap() {
            let now = begin + TimeDelta::hours(1) * number;
            let mut change = Change::default();
            change.progress.goal = vec![Window::new(begin - TimeDelta::days(30), now)];
            snapshot = table.commit(&snapshot, &change, now).unwrap().0;
        }
        let now = begin + TimeDelta::hours(1) * i32::try_from(DUE_AT).unwrap();
        snapshot.sweep(now).unwrap();
        let versions = manifests::versions(&store, "calls").unwrap();
        // A commit that changes nothing does not count, so the first goal, which is empty, counts
        // too.
        assert_eq!(versions.last(), Some(&snapshot.manifest().version));
        assert!((KEPT..KEPT + 170).contains(&versions.len()), "{}", versions.len());
        assert_eq!(table.open(now).unwrap().manifest(), snapshot.manifest());
    }
}
