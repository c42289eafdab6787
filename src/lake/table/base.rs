//! The base of a large table's manifests: most of their partition entries, written once. A manifest
//! is stored as a difference from a base when that is smaller. If the base cannot be read, the
//! manifest's own entries are still valid, and the rest is recovered from the objects.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::lake::store::Store;
use crate::manifest::{Absent, Base, Manifest};

/// How many entries a manifest may have beside its base, or without one.
const BESIDE: usize = 200;
/// In a large table, it may have one in this many of all entries.
const PART: usize = 20;
/// The compression level of a base, which is written once and read often.
const LEVEL: i32 = 9;

/// A manifest as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::lake) struct StoredManifest {
    #[serde(flatten)]
    pub(in crate::lake) manifest: Manifest,
    /// The base's path below the lake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::lake) base: Option<String>,
    /// What the base has and the manifest lacks.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(in crate::lake) absent: Absent,
}

fn is_nothing(absent: &Absent) -> bool {
    *absent == Absent::default()
}

impl StoredManifest {
    pub(in crate::lake) fn of(manifest: &Manifest) -> Self {
        let base = manifest.base.as_ref().map(|base| base.object.clone());
        let (manifest, absent) = manifest.beyond_base();
        Self { manifest, base, absent }
    }

    /// The complete manifest. If the base cannot be read, its entries are missing, as if a killed
    /// run had written the objects.
    pub(in crate::lake) fn whole(self, store: &Store) -> Result<Manifest> {
        let Some(object) = self.base else { return Ok(self.manifest) };
        match read(store, &object) {
            Ok(base) => Ok(self.manifest.over(base, &self.absent)),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(self.manifest),
            Err(error) => Err(error),
        }
    }
}

/// Whether a manifest differs so much from its base that a new base is better.
pub(in crate::lake) fn is_due(manifest: &Manifest) -> bool {
    let most = BESIDE.max(manifest.entries() / PART);
    if manifest.base.is_none() {
        return manifest.entries() > most;
    }
    let (beyond, absent) = manifest.beyond_base();
    let absent = absent.partitions.len() + absent.index.len() + absent.checked.len();
    beyond.entries() + absent > most
}

/// Writes a base.
pub(in crate::lake) fn write(store: &Store, base: &Base) -> Result<()> {
    let internal = "a manifest's base cannot be written";
    let text = serde_json::to_vec(base)
        .map_err(|error| Error::new(ErrorKind::Internal, internal).with_source(error))?;
    let packed = zstd::bulk::compress(&text, LEVEL)
        .map_err(|error| Error::new(ErrorKind::Internal, internal).with_source(error))?;
    store.overwrite(&base.object, &packed)
}

/// A base, which is read only once, however often its table is opened.
pub(in crate::lake) fn read(store: &Store, object: &str) -> Result<Arc<Base>> {
    store.base(object, || {
        let missing = || Error::new(ErrorKind::Corrupt, format!("{object} is missing"));
        let packed = store.read(object)?.ok_or_else(missing)?;
        let corrupt =
            || Error::new(ErrorKind::Corrupt, format!("{object} is not the base of a manifest"));
        let text = zstd::decode_all(&*packed).map_err(|error| corrupt().with_source(error))?;
        let base: Base =
            serde_json::from_slice(&text).map_err(|error| corrupt().with_source(error))?;
        Ok(Base { object: object.to_owned(), ..base })
    })
}
