//! The store: objects by path, written whole or not at all.
//!
//! Enters: bytes and paths below the lake. Leaves: objects, and what identifies each version of
//! one. Never here: what an object means; a partial file where a reader looks for tables.
//!
//! A local lake is written in `_staging`, synced, and renamed (or linked, where it must not exist
//! yet) into place, under an OS lock that every writer holds while it writes.

#![expect(clippy::disallowed_methods, reason = "this is the room that touches files")]

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

const STAGING: &str = "_staging";
const LOCK: &str = "_manifest/lock";
/// Begins the name of what is staged without the lock, and how long that may take.
const LOOSE: &str = "loose-";
const LOOSE_TIME: Duration = Duration::from_secs(60);
/// Numbers what this process stages, in whatever lake.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// A lake's objects.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    breakdown: Option<Breakdown>,
}

/// A breakdown to rehearse: the store fails at one of its writes and at all that follow, as it
/// does for a process that is killed there.
#[derive(Debug)]
pub struct Breakdown {
    writes_left: AtomicU64,
    lands: bool,
}

impl Breakdown {
    /// The store fails at its write number `write` (the first is 0), either before it happens or,
    /// when it `lands`, after, so that its reply is lost.
    #[must_use]
    pub fn at(write: u64, lands: bool) -> Self {
        Self { writes_left: AtomicU64::new(write), lands }
    }

    /// Whether the next write happens, and whether it is reported.
    fn next(&self) -> (bool, bool) {
        let left = self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(1))
        });
        match left {
            Ok(0) => (false, false),
            Ok(1) if self.lands => (true, false),
            _ => (true, true),
        }
    }
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its path below the lake.
    pub(crate) path: String,
    /// What identifies this version of it.
    pub(crate) etag: String,
}

/// An object that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) etag: String,
    pub(crate) sha256: String,
}

/// An object that is being written; dropping it leaves nothing.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    /// Whether it must survive a power failure.
    lasts: bool,
}

/// The right to write to the lake; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Store {
    /// The store of a lake; nothing is made or read yet.
    ///
    /// # Errors
    /// `Config` when the location is a kind of store that this version does not write to.
    pub fn open(location: &str) -> Result<Self> {
        if let Some((scheme, _)) =
            location.split_once("://").filter(|(scheme, _)| *scheme != "file")
        {
            return Err(Error::new(
                ErrorKind::Config,
                format!("this version writes to local folders only, not to {scheme}://"),
            ));
        }
        let root = PathBuf::from(location.strip_prefix("file://").unwrap_or(location));
        Ok(Self { root, breakdown: None })
    }

    /// The same store, which breaks down as told: for rehearsing crashes.
    #[must_use]
    pub fn with_breakdown(mut self, breakdown: Breakdown) -> Self {
        self.breakdown = Some(breakdown);
        self
    }

    /// Where the lake is, as engines are told.
    #[must_use]
    pub fn location(&self) -> String {
        self.root.display().to_string()
    }

    /// Whether nothing was ever committed here.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn is_empty(&self) -> Result<bool> {
        let is_table = |name: &String| !["quota", "runs"].contains(&name.as_str());
        Ok(!self.folders("_manifest")?.iter().any(is_table))
    }

    /// The tables that have a folder or a manifest.
    ///
    /// # Errors
    /// When the folders cannot be listed.
    pub fn tables(&self) -> Result<BTreeSet<String>> {
        let is_table = |name: &String| !["quota", "runs"].contains(&name.as_str());
        let manifests = self.folders("_manifest")?.into_iter().filter(is_table);
        let folders = self.folders("")?.into_iter().filter(|name| !name.starts_with('_'));
        Ok(manifests.chain(folders).collect())
    }

    /// What runs that died left in the staging folder.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        let names = self.staged_and_left()?.into_iter();
        Ok(names.map(|name| format!("{STAGING}/{name}")).collect())
    }

    /// Removes what was written before it was known that there is nothing to write.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear_traces(&self) -> Result<()> {
        if !self.is_empty()? {
            return Ok(());
        }
        self.delete_folder("_manifest/quota")?;
        self.delete(LOCK)?;
        for folder in [STAGING, "_manifest", ""] {
            // One that holds something stays.
            let _ = fs::remove_dir(self.root.join(folder));
        }
        Ok(())
    }

    /// Keeps a run's report, under its own name and as the latest.
    ///
    /// # Errors
    /// When the store fails.
    pub fn write_report(&self, run: &str, text: &[u8]) -> Result<()> {
        let _lock = self.lock()?;
        self.overwrite(&format!("_manifest/runs/{run}.json"), text)?;
        self.overwrite("_manifest/runs/latest.json", text)
    }

    /// The texts of the last reports, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn reports(&self, most: usize) -> Result<Vec<Vec<u8>>> {
        let mut names = self.names("_manifest/runs")?;
        names.retain(|name| name != "latest.json");
        let newest = names.iter().rev().take(most);
        let texts = newest.map(|name| self.read(&format!("_manifest/runs/{name}")));
        Ok(texts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Waits for the right to write.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.root.join(LOCK);
        self.make_parent(&path)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| self.failed("open", LOCK, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                file.lock().map_err(|error| self.failed("lock", LOCK, error))?;
            }
            Err(TryLockError::Error(error)) => return Err(self.failed("lock", LOCK, error)),
        }
        self.clear_staging()?;
        Ok(Lock { _file: file })
    }

    /// All objects below a folder, sorted by path; none when there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        self.walk(&self.root.join(folder), &mut listed)
            .map_err(|error| self.failed("list", folder, error))?;
        listed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    /// The names of the objects that are in a folder itself, sorted; none when there is no such
    /// folder.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(self.failed("list", folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| self.failed("list", folder, error))?;
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// An object's bytes, or `None` when it does not exist.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", path, error)),
        }
    }

    /// An object, opened for reading in parts.
    pub(crate) fn file(&self, path: &str) -> Result<File> {
        File::open(self.root.join(path)).map_err(|error| self.failed("open", path, error))
    }

    /// Begins a new object. The caller holds the lock.
    pub(crate) fn stage(&self) -> Result<Staged> {
        self.stage_as("")
    }

    fn stage_as(&self, kind: &str) -> Result<Staged> {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{STAGING}/{kind}{}-{number}.tmp", std::process::id());
        let path = self.root.join(&name);
        self.make_parent(&path)?;
        let file = File::create_new(&path).map_err(|error| self.failed("create", &name, error))?;
        let file = BufWriter::with_capacity(256 << 10, file);
        Ok(Staged { path, file, hash: Sha256::new(), bytes: 0, lasts: kind != LOOSE })
    }

    /// Puts a staged object in the place of whatever is at `path`.
    pub(crate) fn replace(&self, staged: Staged, path: &str) -> Result<Written> {
        self.publish(staged, path, |from, to| fs::rename(from, to).map(|()| true))?
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a rename found its target taken"))
    }

    /// Puts `bytes` at `path` unless something is there; whether it did.
    pub(crate) fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let mut staged = self.stage()?;
        staged.write_all(bytes).map_err(|error| self.failed("write", path, error))?;
        self.create_from(staged, path)
    }

    fn create_from(&self, staged: Staged, path: &str) -> Result<bool> {
        let created = self.publish(staged, path, |from, to| match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(from).map(|()| false)
            }
            Err(error) => Err(error),
        })?;
        Ok(created.is_some())
    }

    /// The same without the lock, for small objects that no other object depends on: they survive
    /// the process, and after a power failure one may be empty.
    pub(crate) fn create_loose(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let mut staged = self.stage_as(LOOSE)?;
        staged.write_all(bytes).map_err(|error| self.failed("write", path, error))?;
        self.create_from(staged, path)
    }

    /// The names of the folders in a folder, sorted; none when there is no such folder.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("list", folder, error)),
        };
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let mut names: Vec<String> = entries
            .flatten()
            .filter(is_folder)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a folder and what is in it.
    pub(crate) fn delete_folder(&self, folder: &str) -> Result<()> {
        match fs::remove_dir_all(self.root.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("delete", folder, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes an object, if it is there.
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("delete", path, error))
            }
            _ => Ok(()),
        }
    }

    /// Puts `bytes` in the place of whatever is at `path`.
    pub(crate) fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut staged = self.stage()?;
        staged.write_all(bytes).map_err(|error| self.failed("write", path, error))?;
        self.replace(staged, path).map(|_| ())
    }

    fn publish(
        &self,
        mut staged: Staged,
        path: &str,
        place: impl FnOnce(&Path, &Path) -> io::Result<bool>,
    ) -> Result<Option<Written>> {
        let target = self.root.join(path);
        let (happens, is_reported) = self.breakdown.as_ref().map_or((true, true), Breakdown::next);
        if !happens {
            return Err(self.failed("write", path, io::Error::other("rehearsed breakdown")));
        }
        self.make_parent(&target)?;
        let published = (|| {
            staged.file.flush()?;
            if staged.lasts {
                staged.file.get_ref().sync_all()?;
            }
            let etag = etag(&staged.file.get_ref().metadata()?);
            let placed = place(&staged.path, &target)?;
            if let Some(parent) = target.parent().filter(|_| staged.lasts) {
                File::open(parent)?.sync_all()?;
            }
            Ok(placed.then_some(etag))
        })();
        let etag = published.map_err(|error| {
            // What is left in the staging folder is cleared by whoever locks the lake next.
            self.failed("write", path, error)
        })?;
        if !is_reported {
            return Err(self.failed("write", path, io::Error::other("rehearsed breakdown")));
        }
        let sha256 = hexadecimal(staged.hash);
        Ok(etag.map(|etag| Written { bytes: staged.bytes, etag, sha256 }))
    }

    /// Removes what a process that died left in the staging folder. The caller holds the lock.
    fn clear_staging(&self) -> Result<()> {
        for name in self.staged_and_left()? {
            self.delete(&format!("{STAGING}/{name}"))?;
        }
        Ok(())
    }

    /// The names of what stands in the staging folder and belongs to nobody who is at work.
    fn staged_and_left(&self) -> Result<Vec<String>> {
        let mut names = self.names(STAGING)?;
        names.retain(|name| {
            let modified = fs::metadata(self.root.join(STAGING).join(name))
                .and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            !name.starts_with(LOOSE) || age.is_some_and(|age| age >= LOOSE_TIME)
        });
        Ok(names)
    }

    fn walk(&self, folder: &Path, listed: &mut Vec<Listed>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let metadata = fs::metadata(&path)?;
            if metadata.is_dir() {
                self.walk(&path, listed)?;
            } else if let Ok(below) = path.strip_prefix(&self.root) {
                let path = below.to_string_lossy().into_owned();
                listed.push(Listed { path, etag: etag(&metadata) });
            }
        }
        Ok(())
    }

    fn make_parent(&self, path: &Path) -> Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        fs::create_dir_all(parent)
            .map_err(|error| self.failed("create", &parent.display().to_string(), error))
    }

    fn failed(&self, action: &str, path: &str, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory => ErrorKind::Config,
            _ => ErrorKind::Unavailable,
        };
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full; what was complete is in the lake: make room and run again"
            }
            _ => "check that the lake's folder exists on a healthy disk and can be written to",
        };
        Error::new(kind, format!("cannot {action} {path} in {}", self.location()))
            .with_hint(hint)
            .with_source(error)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The size and SHA-256 of what can be read.
pub(crate) fn sha256_of(reader: &mut impl io::Read) -> (u64, String) {
    let mut hash = Sha256::new();
    // What cannot be read shows as a size and a digest that are not the manifest's.
    let bytes = io::copy(reader, &mut hash).unwrap_or_default();
    (bytes, hexadecimal(hash))
}

/// The SHA-256 of an object's bytes, hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

fn hexadecimal(hash: Sha256) -> String {
    let mut text = String::new();
    for byte in hash.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// What identifies a version of a file: a rename keeps it, any write changes it.
fn etag(metadata: &fs::Metadata) -> String {
    format!(
        "{:x}-{:x}{:09x}-{:x}",
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.size()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_created_once_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let _lock = store.lock().unwrap();
        assert!(store.create("_manifest/x/1.json", b"one").unwrap());
        assert!(!store.create("_manifest/x/1.json", b"two").unwrap());
        assert_eq!(store.read("_manifest/x/1.json").unwrap().unwrap(), b"one");
        assert_eq!(store.list(STAGING).unwrap(), []);
    }

    #[test]
    fn a_written_object_has_the_identity_that_a_listing_shows() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let _lock = store.lock().unwrap();
        let mut staged = store.stage().unwrap();
        staged.write_all(b"abc").unwrap();
        let written = store.replace(staged, "t/dt=2026-01-01/part-0.parquet").unwrap();
        assert_eq!(store.list("t").unwrap()[0].etag, written.etag);
        assert!(written.sha256.starts_with("ba7816bf"));
    }

    #[test]
    fn what_a_dead_process_staged_is_cleared_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        drop(store.lock().unwrap());
        drop(store.stage().unwrap());
        assert_eq!(store.list(STAGING).unwrap().len(), 1);
        drop(store.lock().unwrap());
        assert_eq!(store.list(STAGING).unwrap(), []);
    }
}
