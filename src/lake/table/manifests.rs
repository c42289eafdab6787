//! Manifests: reading the newest one, and creating the next one. A manifest is never replaced by
//! another.

use super::base::{self, StoredManifest};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::store::{Store, manifest_folder};
use crate::manifest::{FORMAT, Manifest};

/// The path of a manifest.
pub(in crate::lake) fn path(endpoint: &str, version: u64) -> String {
    format!("{}/{version:020}.json", manifest_folder(endpoint))
}

/// The newest manifest of an endpoint's table, if there is one; nothing is written.
///
/// # Errors
/// `Newer` when it is from a newer version, `Corrupt` when it cannot be read.
pub fn newest_manifest(store: &Store, endpoint: &str) -> Result<Option<Manifest>> {
    newer_manifest(store, endpoint, 0)
}

/// Whether a manifest that was the newest one less than a minute ago still is. A sweep keeps the
/// last hundred manifests, and a hundred commits take longer than that, so the next one would
/// exist; to request it is cheaper and faster than to list the folder.
pub(in crate::lake) fn is_newest(store: &Store, endpoint: &str, version: u64) -> Result<bool> {
    Ok(store.read(&path(endpoint, version + 1))?.is_none())
}

/// The newest manifest, if its number is higher than that of the known one.
pub(in crate::lake) fn newer_manifest(
    store: &Store,
    endpoint: &str,
    known: u64,
) -> Result<Option<Manifest>> {
    newest_of(store, endpoint, &store.names(&manifest_folder(endpoint))?, known)
}

/// The newest of the manifests with these names, if its number is higher than that of the known
/// one.
pub(in crate::lake) fn newest_of(
    store: &Store,
    endpoint: &str,
    names: &[String],
    known: u64,
) -> Result<Option<Manifest>> {
    let folder = manifest_folder(endpoint);
    let names = names.iter().filter(|name| name.strip_suffix(".json").is_some());
    let mut manifests = names.rev().map(|name| format!("{folder}/{name}"));
    let Some(newest) = manifests.next() else { return Ok(None) };
    let newest = &newest;
    if known > 0 && number_of(newest) <= known {
        return Ok(None);
    }
    let mut found = read_manifest(store, newest);
    // If a manifest cannot be read, for example after a disk failure, the one before it is used;
    // objects that it does not list are recovered.
    while found.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corrupt) {
        let Some(older) = manifests.next() else { break };
        let number = number_of(newest);
        found =
            read_manifest(store, &older).map(|manifest| Manifest { version: number, ..manifest });
    }
    found.map(Some)
}

/// The numbers of a table's manifests, oldest first.
pub(in crate::lake) fn versions(store: &Store, endpoint: &str) -> Result<Vec<u64>> {
    let names = store.names(&manifest_folder(endpoint))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect())
}

/// One manifest of a table.
pub(in crate::lake) fn of_version(store: &Store, endpoint: &str, version: u64) -> Result<Manifest> {
    read_manifest(store, &path(endpoint, version))
}

/// The manifest with this number, if the lake still has it.
///
/// # Errors
/// `Newer` when it is from a newer version, `Corrupt` when it cannot be read.
pub fn manifest_at(store: &Store, endpoint: &str, version: u64) -> Result<Option<Manifest>> {
    let path = path(endpoint, version);
    let found = store.read(&path)?.map(|bytes| parse_manifest(&path, &bytes)).transpose()?;
    found.map(|at_rest| at_rest.whole(store)).transpose()
}

/// The path of the newest manifest, or of its base, if that cannot be read.
pub(in crate::lake) fn torn_manifest(store: &Store, endpoint: &str) -> Result<Option<String>> {
    let folder = manifest_folder(endpoint);
    let names = store.names(&folder)?;
    let newest = names.iter().filter(|name| name.strip_suffix(".json").is_some()).max();
    let Some(path) = newest.map(|name| format!("{folder}/{name}")) else { return Ok(None) };
    let is_torn = |error: Error| error.kind() == ErrorKind::Corrupt;
    let bytes = store.read(&path)?.unwrap_or_default();
    Ok(match parse_manifest(&path, &bytes) {
        Ok(at_rest) => at_rest.base.filter(|it| base::read(store, it).is_err_and(is_torn)),
        Err(error) => is_torn(error).then_some(path),
    })
}

/// The number in a manifest's name.
fn number_of(path: &str) -> u64 {
    let name = path.rsplit('/').next().and_then(|name| name.strip_suffix(".json"));
    name.and_then(|name| name.parse().ok()).unwrap_or_default()
}

fn read_manifest(store: &Store, path: &str) -> Result<Manifest> {
    let read = || parse_manifest(path, &store.read(path)?.unwrap_or_default());
    let is_cut = |error: &Error| error.kind() == ErrorKind::Corrupt && store.is_remote();
    match read() {
        // It may have been cut short in transit.
        Err(error) if is_cut(&error) => read()?,
        at_rest => at_rest?,
    }
    .whole(store)
}

fn parse_manifest(path: &str, bytes: &[u8]) -> Result<StoredManifest> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
        tool: String,
    }
    let corrupt = |error: serde_json::Error| {
        Error::new(ErrorKind::Corrupt, format!("{path} is not a manifest")).with_source(error)
    };
    let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
    if head.format > FORMAT {
        let message = format!(
            "the lake was written by clari-lake {} in format {}, but this version reads up to \
             {FORMAT}",
            head.tool, head.format
        );
        return Err(Error::new(ErrorKind::Newer, message));
    }
    let mut at_rest: serde_json::Value = serde_json::from_slice(bytes).map_err(corrupt)?;
    if let Some(fields) = at_rest.as_object_mut().filter(|_| head.format == 1) {
        let index = fields.remove("index").unwrap_or_default();
        fields.insert("flat_index".to_owned(), index);
    }
    serde_json::from_value(at_rest).map_err(corrupt)
}

/// Creates the manifest under its own number; `false` if another writer was faster.
pub(in crate::lake) fn create(store: &Store, manifest: &Manifest) -> Result<bool> {
    let path = path(&manifest.endpoint, manifest.version);
    let text = serde_json::to_vec(&StoredManifest::of(manifest)).map_err(|error| {
        Error::new(ErrorKind::Internal, "a manifest cannot be written").with_source(error)
    })?;
    store.create(&path, &text)
}
