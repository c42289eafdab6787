//! The store: objects by path, written whole or not at all. It knows nothing about what an object
//! means, and never overwrites a version that the writer has not seen.
//!
//! In a local lake, an object is written in `_staging`, synced, and renamed into place (or linked,
//! if it must not exist yet), under an OS lock that every writer holds while it writes. On an
//! object store, every write is one conditional PUT; a lease keeps writers from doing work that
//! would be lost, but correctness does not depend on it.

mod blocks;
mod breakdown;
mod bridge;
mod examine;
mod failure;
mod lease;
mod listing;
mod local;
mod location;
mod object;
mod observer;
mod probe;
mod profile;
mod put;
mod remote;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use parquet::file::reader::Length;

pub use self::breakdown::Breakdown;
use self::listing::STAGING;
pub(super) use self::listing::manifest_folder;
pub(crate) use self::listing::{Listed, TableListing};
use self::local::Local;
use self::location::Place;
pub(crate) use self::object::{Object, Staged, Version, Written};
pub use self::observer::Observer;
use self::remote::Remote;
pub use self::token::{token, unique_name};
use crate::config::Conditional;
use crate::error::{Error, ErrorKind, Result};
use crate::forgotten::Forgotten;
use crate::manifest::{Base, PartitionEntry};

/// How many manifests' bases are cached.
const KEPT_BASES: usize = 16;

/// How often an object is requested again if its bytes arrive cut short.
const TRIES: u32 = 4;

/// Folders that are not tables, beside the tables' manifests.
const NO_TABLES: [&str; 3] = ["quota", "runs", "forgotten"];

/// What operating systems and people leave in folders, besides hidden files.
const OF_THE_SYSTEM: [&str; 5] =
    ["lost+found", "System Volume Information", "$RECYCLE.BIN", "Thumbs.db", "desktop.ini"];

/// Whether a file or folder of this name is unrelated to the folder's purpose.
pub(crate) fn is_of_the_system(name: &str) -> bool {
    name.starts_with('.') || OF_THE_SYSTEM.contains(&name)
}

/// A lake's objects.
#[derive(Debug)]
pub struct Store {
    kind: Kind,
    breakdown: Option<Breakdown>,
    observer: Option<Observer>,
    /// The cached bases of manifests, latest last. They are immutable.
    bases: Mutex<Vec<Arc<Base>>>,
    /// The list of the forgotten, as last read.
    pub(super) forgotten: Mutex<Option<Arc<Forgotten>>>,
}

#[derive(Debug)]
enum Kind {
    Local(Local),
    Remote(Box<Remote>),
}

/// The right to write to the lake; dropping it releases it.
#[derive(Debug)]
pub(crate) enum Lock<'s> {
    /// A lock of the operating system.
    File { _file: std::fs::File },
    /// A lease on an object store, which is acquired when something is replaced.
    Lease { _turn: remote::Turn<'s> },
}

impl Store {
    /// The store of a lake, by its folder or URL; nothing is created or read yet.
    ///
    /// # Errors
    /// `Config` when the location is invalid, or the environment lacks settings needed to access
    /// the store.
    pub fn open(location: &str) -> Result<Self> {
        let kind = match location::parse(location)? {
            Place::Folder(folder) => Kind::Local(Local::new(folder)),
            Place::Bucket(bucket) => Kind::Remote(Box::new(Remote::new(bucket)?)),
        };
        Ok(Self::of(kind))
    }

    /// The store of a lake in an existing object store client, such as one in memory.
    ///
    /// # Errors
    /// `Internal` when no thread can be started for it.
    pub fn on(store: Arc<dyn ObjectStore>, location: &str) -> Result<Self> {
        let remote = Remote::new(location::Bucket::of(store, location))?;
        Ok(Self::of(Kind::Remote(Box::new(remote))))
    }

    fn of(kind: Kind) -> Self {
        let (bases, forgotten) = (Mutex::default(), Mutex::default());
        Self { kind, breakdown: None, observer: None, bases, forgotten }
    }

    /// The same store, with its guarantees limited to these. This does not affect a local lake.
    #[must_use]
    pub fn with_conditional(mut self, conditional: Conditional) -> Self {
        if let Kind::Remote(remote) = &mut self.kind {
            remote.expect(conditional);
        }
        self
    }

    /// The same store, whose lease outlasts a killed writer by this duration.
    #[must_use]
    pub fn with_lease(mut self, lasting: std::time::Duration) -> Self {
        if let Kind::Remote(remote) = &mut self.kind {
            remote.set_lease(lasting);
        }
        self
    }

    /// The same store with a given breakdown, for simulating crashes.
    #[must_use]
    pub fn with_breakdown(mut self, breakdown: Breakdown) -> Self {
        self.breakdown = Some(breakdown);
        self
    }

    /// The same store with an observer, for simulating readers.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The lake's location in the form that query engines expect.
    #[must_use]
    pub fn location(&self) -> String {
        match &self.kind {
            Kind::Local(local) => local.location(),
            Kind::Remote(remote) => remote.location().to_owned(),
        }
    }

    /// The lake's folder, if it is local.
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        match &self.kind {
            Kind::Local(local) => Some(local.root()),
            Kind::Remote(_) => None,
        }
    }

    /// Whether nothing has ever been committed here.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.committed()?.is_empty())
    }

    /// The tables that have a manifest.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn committed(&self) -> Result<BTreeSet<String>> {
        let is_table = |name: &String| !NO_TABLES.contains(&name.as_str());
        Ok(self.folders("_manifest")?.into_iter().filter(is_table).collect())
    }

    /// The tables that have a folder, whether or not anything was committed.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn with_objects(&self) -> Result<BTreeSet<String>> {
        let is_table = |name: &String| !name.starts_with('_') && !is_of_the_system(name);
        Ok(self.folders("")?.into_iter().filter(is_table).collect())
    }

    /// The tables that have a folder or a manifest.
    ///
    /// # Errors
    /// When the folders cannot be listed.
    pub fn tables(&self) -> Result<BTreeSet<String>> {
        Ok(&self.committed()? | &self.with_objects()?)
    }

    /// What killed runs left unfinished in the staging folder.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        match &self.kind {
            Kind::Local(local) => {
                let names = local.unfinished()?.into_iter();
                Ok(names.map(|name| format!("{STAGING}/{name}")).collect())
            }
            Kind::Remote(_) => Ok(Vec::new()),
        }
    }

    /// Removes what was written before it turned out that there is nothing to write. If another
    /// process is writing, everything stays.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear_traces(&self) -> Result<()> {
        let local = match &self.kind {
            Kind::Local(local) => Some(local),
            Kind::Remote(_) => None,
        };
        let lock = local.map(Local::try_lock).transpose()?.flatten();
        if (local.is_some() && lock.is_none()) || !self.is_empty()? {
            return Ok(());
        }
        self.delete_folder("_manifest/quota")?;
        local.map_or(Ok(()), Local::clear_traces)
    }

    /// Removes what store probes left that were killed before this time.
    pub(crate) fn clear_probes(&self, before: DateTime<Utc>) -> Result<()> {
        match &self.kind {
            Kind::Local(_) => Ok(()),
            Kind::Remote(remote) => remote.clear_probes(before),
        }
    }

    /// The text of the last report, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn latest_report(&self) -> Result<Option<Vec<u8>>> {
        self.read("_manifest/runs/latest.json")
    }

    /// The texts of the last reports, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn reports(&self, most: usize) -> Result<Vec<Vec<u8>>> {
        let mut names = self.names("_manifest/runs")?;
        names.retain(|name| name != "latest.json");
        let newest = names.iter().rev().take(most);
        let paths: Vec<String> = newest.map(|name| format!("_manifest/runs/{name}")).collect();
        Ok(self.read_all(&paths)?.into_iter().flatten().collect())
    }

    /// Whether old versions of objects are kept after they are replaced, as far as writes have
    /// shown.
    #[must_use]
    pub fn keeps_versions(&self) -> bool {
        match &self.kind {
            Kind::Local(_) => false,
            Kind::Remote(remote) => remote.keeps_versions(),
        }
    }

    /// Whether replies come over a network, which may cut them short.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.kind, Kind::Remote(_))
    }

    /// Whether a run of this name left a report.
    ///
    /// # Errors
    /// When the store fails.
    pub fn has_report(&self, run: &str) -> Result<bool> {
        Ok(self.read(&format!("_manifest/runs/{run}.json"))?.is_some())
    }

    /// Waits for the right to write.
    pub(crate) fn lock(&self) -> Result<Lock<'_>> {
        match &self.kind {
            Kind::Local(local) => Ok(Lock::File { _file: local.lock()? }),
            Kind::Remote(remote) => Ok(Lock::Lease { _turn: remote.turn()? }),
        }
    }

    /// Keeps other writers out from now on, not only from the first replaced object. The caller
    /// holds the lock.
    pub(crate) fn hold(&self) -> Result<()> {
        match &self.kind {
            Kind::Local(_) => Ok(()),
            Kind::Remote(remote) => remote.hold().map(|_| ()),
        }
    }

    /// Whether the store never creates an object over an existing one, even with concurrent
    /// writers.
    pub(crate) fn creates_once(&self) -> bool {
        match &self.kind {
            Kind::Local(_) => true,
            Kind::Remote(remote) => remote.conditional() != Conditional::None,
        }
    }

    /// How many objects are written at once: two keep a disk and two cores busy, while network
    /// latency calls for more.
    pub(crate) fn writers(&self) -> usize {
        match &self.kind {
            Kind::Local(_) => 2,
            Kind::Remote(_) => 4,
        }
    }

    /// The names of the objects directly in a folder, sorted; none when there is no such folder.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>> {
        match &self.kind {
            Kind::Local(local) => local.names(folder),
            Kind::Remote(remote) => remote.names(folder),
        }
    }

    /// The names of everything directly in a folder; none when there is no such folder.
    pub(crate) fn entries(&self, folder: &str) -> Result<Vec<String>> {
        match &self.kind {
            Kind::Local(local) => local.entries(folder),
            Kind::Remote(remote) => Ok([remote.folders(folder)?, remote.names(folder)?].concat()),
        }
    }

    /// Makes sure that the lake's path is not a file.
    pub(crate) fn check_folder(&self) -> Result<()> {
        match &self.kind {
            Kind::Local(local) => local.check_folder(),
            Kind::Remote(_) => Ok(()),
        }
    }

    /// The parents of the lake's location, nearest first.
    pub(crate) fn ancestors(&self) -> Vec<String> {
        match &self.kind {
            Kind::Local(local) => local.ancestors(),
            Kind::Remote(remote) => location::ancestors(remote.location()),
        }
    }

    /// All objects below a folder, sorted by path; none when there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        match &self.kind {
            Kind::Local(local) => local.list(folder),
            Kind::Remote(remote) => remote.list(folder),
        }
    }

    /// The names of the manifests of each of these tables, sorted; listed beside each other.
    pub(crate) fn manifest_names(&self, tables: &[String]) -> Result<Vec<Vec<String>>> {
        match &self.kind {
            Kind::Local(local) => {
                tables.iter().map(|table| local.names(&manifest_folder(table))).collect()
            }
            Kind::Remote(remote) => remote.manifest_names(tables),
        }
    }

    /// What is in the folders of these tables, listed beside each other.
    pub(crate) fn list_tables(&self, tables: &[String]) -> Result<Vec<TableListing>> {
        match &self.kind {
            Kind::Local(local) => {
                let list = |table: &String| {
                    let manifests = local.names(&manifest_folder(table))?;
                    Ok(TableListing { manifests, objects: local.list(table)? })
                };
                tables.iter().map(list).collect()
            }
            Kind::Remote(remote) => remote.list_tables(tables),
        }
    }

    /// An object's bytes, or `None` when it does not exist.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match &self.kind {
            Kind::Local(local) => local.read(path),
            Kind::Remote(remote) => Ok(remote.read(path)?.map(|(bytes, _)| bytes.into())),
        }
    }

    /// The contents of several small objects, read beside each other.
    pub(crate) fn read_all(&self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        match &self.kind {
            Kind::Local(local) => paths.iter().map(|path| local.read(path)).collect(),
            Kind::Remote(remote) => remote.read_all(paths),
        }
    }

    /// An object, opened for reading in parts, or `None` when it does not exist. Reads return one
    /// version, even if the object is replaced in the meantime.
    pub(crate) fn object(&self, path: &str) -> Result<Option<Object>> {
        match &self.kind {
            Kind::Local(local) => local.object(path),
            Kind::Remote(remote) => remote.object(path),
        }
    }

    /// An object that must exist.
    pub(crate) fn existing(&self, path: &str) -> Result<Object> {
        let missing = || Error::new(ErrorKind::Corrupt, format!("{path} is missing"));
        self.object(path)?.ok_or_else(missing)
    }

    /// The object of a manifest entry. If the entry's exact version arrives with fewer bytes, it
    /// was cut short in transit and is requested again.
    pub(crate) fn object_of(&self, entry: &PartitionEntry) -> Result<Option<Object>> {
        for _ in 0..TRIES {
            let object = self.object(&entry.object)?;
            let is_cut = |object: &Object| {
                object.version().etag() == entry.etag && object.len() < entry.bytes
            };
            if !object.as_ref().is_some_and(is_cut) {
                return Ok(object);
            }
        }
        let message = format!("the store sends {} cut short, again and again", entry.object);
        Err(Error::new(ErrorKind::Unavailable, message)
            .with_hint("the object itself is whole; run again, and look at proxies on the way"))
    }

    /// The same for one that must exist.
    pub(crate) fn existing_of(&self, entry: &PartitionEntry) -> Result<Object> {
        let missing = || Error::new(ErrorKind::Corrupt, format!("{} is missing", entry.object));
        self.object_of(entry)?.ok_or_else(missing)
    }

    /// A manifest's base; read only if it is not cached.
    pub(crate) fn base(
        &self,
        object: &str,
        read: impl FnOnce() -> Result<Base>,
    ) -> Result<Arc<Base>> {
        let bases = || self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = bases().iter().find(|base| base.object == object) {
            return Ok(Arc::clone(base));
        }
        let base = Arc::new(read()?);
        let mut bases = bases();
        if bases.len() >= KEPT_BASES {
            bases.remove(0);
        }
        bases.push(Arc::clone(&base));
        Ok(base)
    }

    /// Starts a new object. The caller holds the lock.
    pub(crate) fn stage(&self) -> Result<Staged> {
        match &self.kind {
            Kind::Local(local) => local.stage(),
            Kind::Remote(remote) => Ok(remote.stage()),
        }
    }

    /// Replaces this version of the object (`None` if there was none) with a staged one. Returns
    /// `None` if another version is there now.
    pub(crate) fn replace(
        &self,
        staged: Staged,
        path: &str,
        expected: Option<&Version>,
    ) -> Result<Option<Written>> {
        self.write(path, || match &self.kind {
            Kind::Local(local) => local.replace(staged, path, expected),
            Kind::Remote(remote) => remote.replace(staged, path, expected),
        })
    }

    /// Writes `bytes` to `path` unless it already exists. Returns whether it did.
    pub(crate) fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        self.write(path, || match &self.kind {
            Kind::Local(local) => local.create(path, bytes),
            Kind::Remote(remote) => remote.create(path, bytes),
        })
    }

    /// The same without the lock, for small objects that no other object depends on.
    pub(crate) fn create_loose(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        self.write(path, || match &self.kind {
            Kind::Local(local) => local.create_loose(path, bytes),
            Kind::Remote(remote) => remote.create(path, bytes),
        })
    }

    /// The names of the subfolders, sorted; none when there is no such folder.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        match &self.kind {
            Kind::Local(local) => local.folders(folder),
            Kind::Remote(remote) => remote.folders(folder),
        }
    }

    /// Removes an object, if it exists.
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        match &self.kind {
            Kind::Local(local) => local.delete(path),
            Kind::Remote(remote) => remote.delete(path),
        }
    }

    /// Removes a folder and its contents.
    pub(crate) fn delete_folder(&self, folder: &str) -> Result<()> {
        match &self.kind {
            Kind::Local(local) => local.delete_folder(folder),
            Kind::Remote(remote) => {
                let mut listed = remote.list(folder)?.into_iter();
                listed.try_for_each(|listed| remote.delete(&listed.path))
            }
        }
    }

    /// Writes `bytes` to `path`, replacing whatever is there.
    pub(crate) fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(path, || match &self.kind {
            Kind::Local(local) => local.overwrite(path, bytes),
            Kind::Remote(remote) => remote.overwrite(path, bytes),
        })
    }

    /// Performs a write, unless a breakdown is simulated here.
    fn write<T>(&self, path: &str, write: impl FnOnce() -> Result<T>) -> Result<T> {
        let (happens, is_reported) = self.breakdown.as_ref().map_or((true, true), Breakdown::next);
        let broken = || {
            Error::new(
                ErrorKind::Unavailable,
                format!("cannot write {path} in {}", self.location()),
            )
            .with_source(io::Error::other("rehearsed breakdown"))
        };
        if !happens {
            if let Kind::Local(local) = &self.kind {
                local.leave_staged()?;
            }
            return Err(broken());
        }
        let written = write()?;
        if let Some(observer) = &self.observer {
            observer.look(path);
        }
        if is_reported { Ok(written) } else { Err(broken()) }
    }
}
