//! A lake in an object store. Each object is written by one conditional PUT. A write never
//! overwrites what its writer has not seen, unless the user said that the store can do no better.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ListResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload,
};

use super::blocks::Pool;
use super::bridge::Bridge;
use super::failure::{Action, failed};
use super::lease::{LASTING, LEASE, Lease, Terms};
use super::listing::{Listed, TableListing, manifest_folder};
use super::location::{Bucket, Provider};
use super::object::{Object, Staged, Version, Written};
use super::probe::{self, Guarantees, Tags};
use super::put::{self, Condition, ConditionStyle, Put};
use super::token::unique_name;
use crate::config::Conditional;
use crate::error::{Error, ErrorKind, Result};

/// A lake in an object store.
#[derive(Debug)]
pub(super) struct Remote {
    bridge: Bridge,
    bucket: Bucket,
    /// The pool for objects that are read and written.
    pool: Arc<Pool>,
    conditional: Conditional,
    lasting: Duration,
    /// How to express conditions to the store; known from the first write on.
    manner: OnceLock<ConditionStyle>,
    /// Whether the probe found that old versions are kept.
    keeps_versions: OnceLock<bool>,
    /// Held while writing, so that the threads of one process take turns without involving the
    /// store.
    turn: Mutex<()>,
    lease: Mutex<Option<(Lease, Terms)>>,
}

/// One thread's turn to write, within this process.
#[derive(Debug)]
pub(crate) struct Turn<'s> {
    remote: &'s Remote,
    _turn: MutexGuard<'s, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some((lease, terms)) = self.remote.lease().take() {
            lease.release(&self.remote.bridge, &terms);
        }
    }
}

impl Remote {
    pub(super) fn new(bucket: Bucket) -> Result<Self> {
        Ok(Self {
            bridge: Bridge::new()?,
            bucket,
            pool: Arc::default(),
            conditional: Conditional::default(),
            lasting: LASTING,
            manner: OnceLock::new(),
            keeps_versions: OnceLock::new(),
            turn: Mutex::new(()),
            lease: Mutex::new(None),
        })
    }

    pub(super) fn expect(&mut self, conditional: Conditional) {
        self.conditional = conditional;
    }

    pub(super) fn set_lease(&mut self, lasting: Duration) {
        self.lasting = lasting;
    }

    pub(super) fn location(&self) -> &str {
        &self.bucket.location
    }

    /// Waits for this thread's turn. It includes the lease only if nothing else keeps two writers
    /// apart. Otherwise the lease is acquired with the first object that is replaced, so that a
    /// commit that replaces none needs no lease.
    pub(super) fn turn(&self) -> Result<Turn<'_>> {
        let turn =
            Turn { remote: self, _turn: self.turn.lock().unwrap_or_else(PoisonError::into_inner) };
        if self.manner()?.needs_lease() {
            self.hold()?;
        }
        Ok(turn)
    }

    pub(super) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let listed = self.list_one(folder)?;
        let names = listed.common_prefixes.iter().filter_map(|prefix| prefix.filename());
        Ok(sorted(names))
    }

    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>> {
        Ok(names(&self.list_one(folder)?))
    }

    /// The contents of a folder, not including subfolders.
    fn list_one(&self, folder: &str) -> Result<ListResult> {
        let (store, prefix) = (self.store(), key(folder));
        let listed = self.bridge.wait(async move { list_one(&*store, &prefix).await })?;
        listed.map_err(|error| self.failed(Action::List, folder, &error))
    }

    pub(super) fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let (store, prefix) = (self.store(), key(folder));
        let listed = self.bridge.wait(async move { list_all(&*store, &prefix).await })?;
        listed.map_err(|error| self.failed(Action::List, folder, &error))
    }

    pub(super) fn manifest_names(&self, tables: &[String]) -> Result<Vec<Vec<String>>> {
        let list = |table: &String| {
            let (store, folder) = (self.store(), key(&manifest_folder(table)));
            async move { list_one(&*store, &folder).await }
        };
        let all: Vec<_> = tables.iter().map(list).collect();
        let listed = tables.iter().zip(self.bridge.wait(join_all(all))?);
        let failed = |table: &str, error| self.failed(Action::List, table, &error);
        listed.map(|(table, it)| Ok(names(&it.map_err(|error| failed(table, error))?))).collect()
    }

    pub(super) fn list_tables(&self, tables: &[String]) -> Result<Vec<TableListing>> {
        let list = |table: &String| {
            let (store, manifests, objects) =
                (self.store(), key(&manifest_folder(table)), key(table));
            async move { tokio::join!(list_one(&*store, &manifests), list_all(&*store, &objects)) }
        };
        let all: Vec<_> = tables.iter().map(list).collect();
        let listed = self.bridge.wait(join_all(all))?;
        let of_table = |(table, (manifests, objects)): (&String, (Listing<_>, Listing<_>))| {
            let failed = |error| self.failed(Action::List, table, &error);
            let manifests = names(&manifests.map_err(failed)?);
            Ok(TableListing { manifests, objects: objects.map_err(failed)? })
        };
        tables.iter().zip(listed).map(of_table).collect()
    }

    pub(super) fn read(&self, path: &str) -> Result<Option<(Bytes, Version)>> {
        let (store, at) = (self.store(), key(path));
        let read = self.bridge.wait(async move { put::get(&*store, &at).await })?;
        read.map_err(|error| self.failed(Action::Read, path, &error))
    }

    /// The contents of these objects, which are small, read beside each other.
    pub(super) fn read_all(&self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let read = |path: &String| {
            let (store, at) = (self.store(), key(path));
            async move { put::get(&*store, &at).await }
        };
        let all: Vec<_> = paths.iter().map(read).collect();
        let read = paths.iter().zip(self.bridge.wait(join_all(all))?);
        let failed = |path: &str, error| self.failed(Action::Read, path, &error);
        let bytes = |found: Option<(Bytes, Version)>| found.map(|(bytes, _)| bytes.into());
        read.map(|(path, it)| Ok(bytes(it.map_err(|error| failed(path, error))?))).collect()
    }

    pub(super) fn object(&self, path: &str) -> Result<Option<Object>> {
        let (store, at, pool) = (self.store(), key(path), Arc::clone(&self.pool));
        let read = self.bridge.wait(async move { put::get_blocks(&*store, &at, &pool).await })?;
        let read = read.map_err(|error| self.failed(Action::Read, path, &error))?;
        Ok(read.map(|(blocks, version)| Object::of_blocks(blocks, version)))
    }

    /// Starts a new object.
    pub(super) fn stage(&self) -> Staged {
        Staged::in_memory(&self.pool)
    }

    pub(super) fn replace(
        &self,
        staged: Staged,
        path: &str,
        expected: Option<&Version>,
    ) -> Result<Option<Written>> {
        let (payload, written) = staged.into_payload().map_err(|error| {
            Error::new(ErrorKind::Internal, "an object is staged elsewhere").with_source(error)
        })?;
        let manner = self.manner()?;
        if !self.hold()? {
            return Ok(None);
        }
        let condition = expected.map_or(Condition::Absent, |it| Condition::Is(it.clone()));
        Ok(match self.put(path, payload, condition, manner)? {
            Put::Done(version) => Some(Written { etag: version.etag(), ..written }),
            Put::Refused => None,
        })
    }

    pub(super) fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let payload = PutPayload::from(bytes.to_vec());
        Ok(self.put(path, payload, Condition::Absent, self.manner()?)? != Put::Refused)
    }

    pub(super) fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.manner()?;
        self.write(path, bytes)
    }

    /// Writes without checking the store's guarantees.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let payload = PutPayload::from(bytes.to_vec());
        self.put(path, payload, Condition::Any, ConditionStyle::default()).map(|_| ())
    }

    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let (store, at) = (self.store(), key(path));
        match self.bridge.wait(async move { put::insist(|| store.delete(&at)).await })? {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(Action::Delete, path, &error)),
        }
    }

    fn put(
        &self,
        path: &str,
        payload: PutPayload,
        condition: Condition,
        manner: ConditionStyle,
    ) -> Result<Put> {
        let (store, at) = (self.store(), key(path));
        let put = self
            .bridge
            .wait(async move { put::put(&*store, &at, &payload, &condition, manner).await })?;
        put.map_err(|error| self.failed(Action::Write, path, &error))
    }

    /// How to express conditions to this store, as determined by a probe before the first write.
    fn manner(&self) -> Result<ConditionStyle> {
        if let Some(manner) = self.manner.get() {
            return Ok(*manner);
        }
        let conditional = self.conditional;
        let manner = if conditional == Conditional::None {
            ConditionStyle { conditional, bare_tags: false }
        } else {
            let found = self.probe()?;
            let _ = self.keeps_versions.set(found.keeps_versions);
            if let Some(error) = self.shortfall(found) {
                return Err(error);
            }
            ConditionStyle { conditional, bare_tags: found.replaces == Some(Tags::Bare) }
        };
        Ok(*self.manner.get_or_init(|| manner))
    }

    pub(super) fn keeps_versions(&self) -> bool {
        self.keeps_versions.get().copied().unwrap_or(false)
    }

    pub(super) fn probe(&self) -> Result<Guarantees> {
        let probed = self.bridge.wait(probe::probe(self.store()))?;
        // Google counts generations, whether or not it keeps old versions.
        let counts = self.bucket.provider == Provider::Gcs;
        let probed = probed
            .map(|found| Guarantees { keeps_versions: found.keeps_versions && !counts, ..found });
        probed.map_err(|(action, error)| self.failed(action, "a probe", &error))
    }

    /// Removes what probes left that were killed before this time.
    pub(super) fn clear_probes(&self, before: DateTime<Utc>) -> Result<()> {
        let listed = self.list_one("_manifest")?;
        let is_left = |name: &str| name.starts_with(probe::NAME);
        let left = listed.objects.iter().filter(|meta| {
            meta.last_modified < before && meta.location.filename().is_some_and(is_left)
        });
        left.map(|meta| meta.location.as_ref()).try_for_each(|path| self.delete(path))
    }

    /// The maximum number of concurrent writers that succeed in creating one object.
    pub(super) fn race(&self) -> Result<u32> {
        let raced = self.bridge.wait(probe::race(self.store()))?;
        raced.map_err(|error| self.failed(Action::Write, "a probe", &error))
    }

    pub(super) fn conditional(&self) -> Conditional {
        self.conditional
    }

    /// What the store lacks of the expected guarantees.
    fn shortfall(&self, found: Guarantees) -> Option<Error> {
        let needs_etag = self.conditional == Conditional::Etag;
        let message = if !found.refuses_present {
            "it overwrites an object that may only be created if absent (it ignores If-None-Match)"
        } else if needs_etag && found.replaces.is_none() {
            "it refuses to replace an object although its version matches (If-Match never succeeds)"
        } else if needs_etag && !found.refuses_stale {
            "it replaces an object although its version differs (it ignores If-Match)"
        } else {
            return None;
        };
        let hint = match found.conditional() {
            Conditional::CreateOnly => {
                "store.conditional = \"create-only\" in clari-lake.toml works without it; then \
                 only a lease keeps concurrent exports apart, and none may be suspended"
            }
            _ => {
                "use a store that supports conditional writes; or set store.conditional = \"none\" \
                 in clari-lake.toml, and never run two exports on this lake at the same time"
            }
        };
        let place = self.location();
        let message = format!("two writers are not safe in {place}: {message}");
        Some(Error::new(ErrorKind::Config, message).with_hint(hint))
    }

    /// Makes sure that the lease is held. Returns whether it has been held since this turn's first
    /// write.
    pub(super) fn hold(&self) -> Result<bool> {
        let mut held = self.lease();
        if held.as_ref().is_some_and(|(lease, _)| lease.is_held()) {
            return Ok(true);
        }
        let was_lost = held.take().is_some();
        let terms = Terms {
            store: self.store(),
            manner: self.manner()?,
            lasting: self.lasting,
            holder: unique_name(&std::process::id().to_string()),
        };
        let taken = Lease::take(&self.bridge, &terms)?;
        let lease = taken.map_err(|error| self.failed(Action::Write, LEASE, &error))?;
        let busy = || {
            let message = format!("another process keeps writing to {}", self.location());
            Error::new(ErrorKind::Conflict, message)
        };
        *held = Some((lease.ok_or_else(busy)?, terms));
        Ok(!was_lost)
    }

    /// Ends the lease's renewal, as when a process is stopped.
    #[cfg(test)]
    pub(super) fn stop_renewing(&self) {
        if let Some((lease, _)) = &*self.lease() {
            lease.stop_renewing();
        }
    }

    /// As if this process had been suspended for longer than its lease lasts.
    #[cfg(test)]
    pub(super) fn oversleep(&self) {
        if let Some((lease, _)) = &*self.lease() {
            lease.oversleep();
        }
    }

    fn lease(&self) -> MutexGuard<'_, Option<(Lease, Terms)>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.bucket.store)
    }

    fn failed(&self, action: Action, path: &str, error: &StoreError) -> Error {
        failed(&self.bucket, action, path, error)
    }
}

/// The answer to a list.
type Listing<T> = std::result::Result<T, StoreError>;

/// The contents of a folder, not including subfolders.
async fn list_one(store: &dyn ObjectStore, folder: &Path) -> Listing<ListResult> {
    let prefix = Some(folder).filter(|prefix| !prefix.as_ref().is_empty());
    put::insist(|| store.list_with_delimiter(prefix)).await
}

/// All objects below a folder, sorted by path.
async fn list_all(store: &dyn ObjectStore, folder: &Path) -> Listing<Vec<Listed>> {
    let prefix = Some(folder).filter(|prefix| !prefix.as_ref().is_empty());
    let listed = put::insist(|| store.list(prefix).try_collect::<Vec<_>>()).await?;
    let listed = listed
        .iter()
        .filter(|meta| !is_marker(meta))
        .map(|meta| Listed { path: meta.location.to_string(), etag: put::version_of(meta).etag() });
    let mut listed: Vec<_> = listed.collect();
    listed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(listed)
}

/// The names of the objects directly in a folder, sorted.
fn names(listed: &ListResult) -> Vec<String> {
    let objects = listed.objects.iter().filter(|meta| !is_marker(meta));
    sorted(objects.filter_map(|meta| meta.location.filename()))
}

/// Whether an object is only a folder marker, as created by web consoles. A marker is empty, while
/// all objects of a lake have a file extension, except for the lock and the lease, which are never
/// empty.
fn is_marker(meta: &ObjectMeta) -> bool {
    meta.size == 0 && meta.location.filename().is_none_or(|name| !name.contains('.'))
}

/// A path below the lake in the client's form; the client would encode characters that need no
/// encoding.
fn key(path: &str) -> Path {
    Path::parse(path).unwrap_or_else(|_| Path::from(path))
}

fn sorted<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names
}
