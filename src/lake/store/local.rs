//! A lake in a folder: staged beside the tables, synced, and renamed or linked into place.
//!
//! Enters: bytes and paths. Leaves: objects. Never here: a partial file where a reader looks for
//! tables, or a writer that does not hold the lock.

#![expect(clippy::disallowed_methods, reason = "this is the room that touches files")]

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::object::{Object, Staged, Version, Written};
use super::{Listed, STAGING};
use crate::error::{Error, ErrorKind, Result};

const LOCK: &str = "_manifest/lock";
/// Begins the name of what is staged without the lock, and how long that may take.
const LOOSE: &str = "loose-";
const LOOSE_TIME: Duration = Duration::from_secs(60);
/// Numbers what this process stages, in whatever lake.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// A lake in a folder.
#[derive(Debug)]
pub(super) struct Local {
    root: PathBuf,
}

impl Local {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn location(&self) -> String {
        self.root.display().to_string()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Waits for the lock, which is held until it is dropped or its process ends.
    pub(super) fn lock(&self) -> Result<File> {
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
        Ok(file)
    }

    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>> {
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

    pub(super) fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        self.walk(&self.root.join(folder), &mut listed)
            .map_err(|error| self.failed("list", folder, error))?;
        listed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", path, error)),
        }
    }

    pub(super) fn object(&self, path: &str) -> Result<Option<Object>> {
        let opened = File::open(self.root.join(path)).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((metadata, file)) => {
                Ok(Some(Object::of_file(file, metadata.len(), version(&metadata))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("open", path, error)),
        }
    }

    pub(super) fn stage(&self) -> Result<Staged> {
        self.stage_as("")
    }

    fn stage_as(&self, kind: &str) -> Result<Staged> {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{STAGING}/{kind}{}-{number}.tmp", std::process::id());
        let path = self.root.join(&name);
        self.make_parent(&path)?;
        let file = File::create_new(&path).map_err(|error| self.failed("create", &name, error))?;
        Ok(Staged::in_file(path, file))
    }

    /// Puts a staged object in the place of this version, which the lock keeps from changing
    /// between the look and the rename.
    pub(super) fn replace(
        &self,
        staged: Staged,
        path: &str,
        expected: Option<&Version>,
    ) -> Result<Option<Written>> {
        let present = match fs::metadata(self.root.join(path)) {
            Ok(metadata) => Some(version(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.failed("look at", path, error)),
        };
        let is_expected = present.as_ref() == expected;
        self.publish(staged, path, |from, to| {
            let place = if is_expected { fs::rename(from, to) } else { fs::remove_file(from) };
            place.map(|()| is_expected)
        })
    }

    pub(super) fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let staged = self.stage()?;
        self.create_from(staged, path, bytes)
    }

    /// The same without the lock.
    pub(super) fn create_loose(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let staged = self.stage_as(LOOSE)?;
        self.create_from(staged, path, bytes)
    }

    fn create_from(&self, mut staged: Staged, path: &str, bytes: &[u8]) -> Result<bool> {
        staged.write_all(bytes).map_err(|error| self.failed("write", path, error))?;
        let created = self.publish(staged, path, |from, to| match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(from).map(|()| false)
            }
            Err(error) => Err(error),
        })?;
        Ok(created.is_some())
    }

    pub(super) fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let staged = self.stage_all(path, bytes)?;
        self.publish(staged, path, |from, to| fs::rename(from, to).map(|()| true)).map(|_| ())
    }

    /// The names of the folders in a folder, sorted; none when there is no such folder.
    pub(super) fn folders(&self, folder: &str) -> Result<Vec<String>> {
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

    pub(super) fn delete(&self, path: &str) -> Result<()> {
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("delete", path, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn delete_folder(&self, folder: &str) -> Result<()> {
        match fs::remove_dir_all(self.root.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("delete", folder, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the lock and what is empty with it.
    pub(super) fn clear_traces(&self) -> Result<()> {
        self.delete(LOCK)?;
        for folder in [STAGING, "_manifest", ""] {
            // One that holds something stays.
            let _ = fs::remove_dir(self.root.join(folder));
        }
        Ok(())
    }

    fn stage_all(&self, path: &str, bytes: &[u8]) -> Result<Staged> {
        let mut staged = self.stage()?;
        staged.write_all(bytes).map_err(|error| self.failed("write", path, error))?;
        Ok(staged)
    }

    /// Syncs a staged object and has it placed; `None` when its place was taken.
    fn publish(
        &self,
        staged: Staged,
        path: &str,
        place: impl FnOnce(&Path, &Path) -> io::Result<bool>,
    ) -> Result<Option<Written>> {
        let target = self.root.join(path);
        self.make_parent(&target)?;
        let published = (|| {
            let (from, file, written) = staged.into_file()?;
            let name = from.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            // What is loose survives the process; after a power failure it may be empty.
            let lasts = !name.starts_with(LOOSE);
            if lasts {
                file.sync_all()?;
            }
            let etag = version(&file.metadata()?).etag();
            let placed = place(&from, &target)?;
            if let Some(parent) = target.parent().filter(|_| lasts) {
                File::open(parent)?.sync_all()?;
            }
            Ok(placed.then_some(Written { etag, ..written }))
        })();
        // What is left in the staging folder is cleared by whoever locks the lake next.
        published.map_err(|error| self.failed("write", path, error))
    }

    /// Removes what a process that died left in the staging folder. The caller holds the lock.
    fn clear_staging(&self) -> Result<()> {
        for name in self.staged_and_left()? {
            self.delete(&format!("{STAGING}/{name}"))?;
        }
        Ok(())
    }

    /// The names of what stands in the staging folder and belongs to nobody who is at work.
    pub(super) fn staged_and_left(&self) -> Result<Vec<String>> {
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
            let entry = entry?;
            let path = entry.path();
            // A folder a day is many: what the listing says of its kind needs no second look.
            if entry.file_type()?.is_dir() {
                self.walk(&path, listed)?;
                continue;
            }
            let metadata = fs::metadata(&path)?;
            if metadata.is_dir() {
                self.walk(&path, listed)?;
            } else if let Ok(below) = path.strip_prefix(&self.root) {
                let path = below.to_string_lossy().into_owned();
                listed.push(Listed { path, etag: version(&metadata).etag() });
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

/// What identifies a version of a file: a rename keeps it, any write changes it.
fn version(metadata: &fs::Metadata) -> Version {
    let tag = format!(
        "{:x}-{:x}{:09x}-{:x}",
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.size()
    );
    Version { tag: Some(tag), generation: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(folder: &tempfile::TempDir) -> Local {
        Local::new(folder.path().to_owned())
    }

    #[test]
    fn an_object_is_created_once_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&folder);
        let _lock = store.lock().unwrap();
        assert!(store.create("_manifest/x/1.json", b"one").unwrap());
        assert!(!store.create("_manifest/x/1.json", b"two").unwrap());
        assert_eq!(store.read("_manifest/x/1.json").unwrap().unwrap(), b"one");
        assert_eq!(store.list(STAGING).unwrap(), []);
    }

    #[test]
    fn a_written_object_has_the_identity_that_a_listing_shows() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&folder);
        let _lock = store.lock().unwrap();
        let path = "t/dt=2026-01-01/part-0.parquet";
        let staged = store.stage_all(path, b"abc").unwrap();
        let written = store.replace(staged, path, None).unwrap().unwrap();
        assert_eq!(store.list("t").unwrap()[0].etag, written.etag);
        assert!(written.sha256.starts_with("ba7816bf"));
    }

    #[test]
    fn what_a_dead_process_staged_is_cleared_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&folder);
        drop(store.lock().unwrap());
        drop(store.stage().unwrap());
        assert_eq!(store.list(STAGING).unwrap().len(), 1);
        drop(store.lock().unwrap());
        assert_eq!(store.list(STAGING).unwrap(), []);
    }
}
