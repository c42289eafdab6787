//! The sweep: manifests that nobody goes back to, and the files that only they refer to.
//!
//! Enters: a table. Leaves: fewer files beside its manifest. Never here: a data object, one of the
//! last hundred manifests, or a file that a manifest refers to which is kept.
//!
//! Of the last week one manifest an hour is kept beside them: a backfill commits every minute, and
//! each manifest names all partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::manifests;
use super::table::Table;
use crate::error::Result;
use crate::manifest::Manifest;

/// How many manifests are kept, at least.
const KEPT: usize = 100;
/// For how long one an hour is kept.
const KEPT_TIME: TimeDelta = TimeDelta::days(7);
/// A sweep is due when there are so many: more than any sweep leaves, so that it is made once in
/// many runs.
const DUE_AT: usize = 400;

impl Table {
    /// Removes manifests that are neither among the last hundred nor the last of an hour of the last
    /// week, and the files of the index that no other refers to. Most of the time there is nothing
    /// to do.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sweep(&mut self, now: DateTime<Utc>) -> Result<()> {
        // A young table cannot have as many, whatever it has: no need to look.
        let is_young = self.manifest.version < DUE_AT as u64;
        if is_young || manifests::versions(&self.store, &self.endpoint.name)?.len() < DUE_AT {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let _lock = store.lock()?;
        self.refresh()?;
        let mut versions = manifests::versions(&store, &self.endpoint.name)?;
        let kept = versions.split_off(versions.len().saturating_sub(KEPT));
        let mut old = Vec::new();
        let mut references = BTreeSet::new();
        let mut hours = BTreeSet::new();
        for version in versions.into_iter().rev() {
            // One that cannot be read is nothing to go back to.
            let manifest = manifests::of_version(&store, &self.endpoint.name, version).ok();
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
            if let Ok(manifest) = manifests::of_version(&store, &self.endpoint.name, *version) {
                references.extend(files_of(&manifest));
            }
        }
        let oldest = kept.first().copied().unwrap_or_default();
        self.sweep_index(oldest, &references)?;
        for version in old {
            store.delete(&manifests::path(&self.endpoint.name, version))?;
        }
        Ok(())
    }

    /// Removes the files of the index that were written for a manifest older than `oldest` and to
    /// which none refers. A file of a commit under way is of a newer one.
    fn sweep_index(&self, oldest: u64, references: &BTreeSet<String>) -> Result<()> {
        let folder = format!("_manifest/{}/index", self.endpoint.name);
        for name in self.store.names(&folder)? {
            let object = format!("{folder}/{name}");
            let version = name.split('-').next().and_then(|version| version.parse::<u64>().ok());
            let is_old = version.is_some_and(|version| version < oldest);
            if is_old && !references.contains(&object) {
                self.store.delete(&object)?;
            }
        }
        Ok(())
    }
}

/// The files of the index that a manifest refers to.
fn files_of(manifest: &Manifest) -> impl Iterator<Item = String> {
    let pieces = manifest.index.values().chain(&manifest.keys).chain(&manifest.flat_index);
    let base = manifest.base.iter().map(|base| base.object.clone());
    pieces.map(|file| file.object.clone()).chain(base).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Catalogue;
    use crate::lake::{Change, Store};
    use crate::manifest::Granularity;
    use crate::window::Window;

    /// Old manifests go, the newest stays, and a table that is opened again knows all it knew.
    #[test]
    fn what_nobody_goes_back_to_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().to_str().unwrap()).unwrap());
        let calls = Arc::new(Catalogue::built_in().unwrap().find("calls").unwrap().clone());
        let begin: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().unwrap();
        let open = |now| {
            let (store, calls) = (Arc::clone(&store), Arc::clone(&calls));
            Table::open(store, calls, Granularity::Day, "run", None, now).unwrap()
        };
        let mut table = open(begin);
        for number in 0..i32::try_from(DUE_AT).unwrap() {
            let now = begin + TimeDelta::hours(1) * number;
            let goal = vec![Window::new(begin - TimeDelta::days(30), now)];
            table.commit(&Change { goal, ..Change::default() }, now).unwrap();
        }
        let now = begin + TimeDelta::hours(1) * i32::try_from(DUE_AT).unwrap();
        table.sweep(now).unwrap();
        let versions = manifests::versions(&store, "calls").unwrap();
        // A commit that changes nothing is none, so the first goal, which is empty, counts too.
        let newest = table.manifest().version;
        assert_eq!(versions.last(), Some(&newest));
        assert!((KEPT..KEPT + 170).contains(&versions.len()), "{}", versions.len());
        assert_eq!(open(now).manifest(), table.manifest());
    }
}
