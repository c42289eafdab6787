//! The place of a lake: a folder or a bucket, which schedules read and damage in the same way.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use clari_lake::internals::lake::Store;
use serde_json::Value;

use super::observer::Read;
use crate::support::{Bucket, Lake};

/// Where the lake is.
pub(super) enum Place {
    Folder(Lake),
    Bucket(Arc<Bucket>),
}

/// A lake to read from.
pub(super) enum Readable<'p> {
    Own(&'p Lake),
    Copied(Lake),
}

impl Readable<'_> {
    pub(super) fn get(&self) -> &Lake {
        match self {
            Self::Own(lake) => lake,
            Self::Copied(lake) => lake,
        }
    }
}

impl Place {
    pub(super) fn location(&self) -> String {
        match self {
            Self::Folder(lake) => lake.location(),
            Self::Bucket(_) => "memory".to_owned(),
        }
    }

    pub(super) fn store(&self) -> Store {
        match self {
            Self::Folder(lake) => Store::open(&lake.location()).unwrap(),
            Self::Bucket(bucket) => bucket.store(),
        }
    }

    pub(super) fn lake(&self) -> Readable<'_> {
        match self {
            Self::Folder(lake) => Readable::Own(lake),
            Self::Bucket(bucket) => Readable::Copied(bucket.mirror()),
        }
    }

    pub(super) fn has_manifest(&self, table: &str) -> bool {
        let folder = format!("_manifest/{table}/");
        match self {
            Self::Folder(lake) => lake.path().join(folder).exists(),
            Self::Bucket(bucket) => bucket.versions().iter().any(|(it, _)| it.starts_with(&folder)),
        }
    }

    /// Leaves the lock files of runs behind, as a process does that is killed: a run that is dropped
    /// removes its own.
    pub(super) fn leave_locks(&self) {
        let Self::Folder(lake) = self else { return };
        let ledger = lake.path().join("_manifest/quota");
        let files = |folder: &Path| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        for path in files(&ledger).iter().flat_map(|week| files(week)) {
            let block: Option<Value> =
                std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            let run = block.as_ref().and_then(|block| block["run"].as_str());
            if let Some(run) = run.filter(|run| !run.is_empty()) {
                std::fs::write(ledger.join(format!("{run}.alive")), "").unwrap();
            }
        }
    }

    /// What identifies the present version of each data object.
    pub(super) fn data(&self) -> Vec<(String, String)> {
        match self {
            Self::Folder(lake) => {
                let objects = lake.data().into_iter();
                objects.map(|(path, it)| (path.display().to_string(), format!("{it:?}"))).collect()
            }
            Self::Bucket(bucket) => {
                let mut versions = bucket.versions();
                versions.retain(|(path, _)| !path.starts_with('_'));
                versions
            }
        }
    }

    /// Takes an object away, or puts these bytes in its place.
    pub(super) fn damage(&self, path: &str, bytes: Option<Bytes>) {
        match self {
            Self::Folder(lake) => {
                let path = lake.path().join(path);
                std::fs::remove_file(&path).unwrap();
                if let Some(bytes) = bytes {
                    std::fs::write(path, bytes).unwrap();
                }
            }
            Self::Bucket(bucket) => bucket.damage(path, bytes),
        }
    }

    pub(super) fn reader(&self) -> Read {
        match self {
            Self::Folder(lake) => {
                let folder = lake.path();
                Box::new(move |path| std::fs::read(folder.join(path)).ok().map(Bytes::from))
            }
            Self::Bucket(bucket) => {
                let bucket = bucket.again();
                Box::new(move |path| bucket.read(path))
            }
        }
    }
}
