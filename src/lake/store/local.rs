//! A lake in a folder. Objects are staged beside the tables, synced, and renamed or linked into
//! place, so that readers never find a partial file among the tables. A writer must hold the lock.

#![expect(clippy::disallowed_methods, reason = "this is the room that touches files")]

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::listing::{Listed, STAGING};
use super::object::{Object, Staged, Version, Written};
use super::token::token;
use crate::error::{Error, ErrorKind, Result};

const LOCK: &str = "_manifest/lock";
/// The name prefix of files that are staged without the lock. They count as left over after
/// `LOOSE_TIME`; a slower process stages its file again.
const LOOSE: &str = "loose-";
const LOOSE_TIME: Duration = Duration::from_secs(60);
/// How often a file or folder may vanish during a write before it is more than coincidence.
const MOST_TRIES: u32 = 100;

/// The outcome of creating an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Creation {
    Done,
    /// The name is already taken.
    Refused,
    /// The staged file, or its target folder, no longer exists.
    Vanished,
}

/// A lake in a folder.
#[derive(Debug)]
pub(super) struct Local {
    root: PathBuf,
    /// Whether this process created the lake's folder, and so may remove it again.
    made_root: AtomicBool,
}

impl Local {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, made_root: AtomicBool::new(false) }
    }

    pub(super) fn location(&self) -> String {
        self.root.display().to_string()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Waits for the lock, which is held until it is dropped or the process ends.
    pub(super) fn lock(&self) -> Result<File> {
        for _ in 0..MOST_TRIES {
            let Some(file) = self.open_lock()? else { continue };
            file.lock().map_err(|error| self.failed("lock", LOCK, error))?;
            if self.is_the_lock(&file) {
                self.clear_staging()?;
                return Ok(file);
            }
        }
        Err(self.failed("lock", LOCK, io::Error::other("it keeps being removed")))
    }

    /// The lock, unless another process holds it.
    pub(super) fn try_lock(&self) -> Result<Option<File>> {
        let Some(file) = self.open_lock()? else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => Ok(self.is_the_lock(&file).then_some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.failed("lock", LOCK, error)),
        }
    }

    /// Opens the lock file; `None` when its folder was removed in the meantime.
    fn open_lock(&self) -> Result<Option<File>> {
        let path = self.root.join(LOCK);
        self.make_parent(&path)?;
        match File::options().create(true).truncate(false).write(true).open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("open", LOCK, error)),
        }
    }

    /// Whether a locked file is still the one that other processes lock. A refused run removes the
    /// lock file with its other traces, and a lock on a removed file protects nothing.
    fn is_the_lock(&self, file: &File) -> bool {
        let here = file.metadata().map(|it| identity(&it));
        let there = fs::metadata(self.root.join(LOCK)).map(|it| identity(&it));
        here.is_ok_and(|here| there.is_ok_and(|there| here == there))
    }

    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if is_no_folder(&error) => return Ok(names),
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

    /// The names of everything in a folder.
    pub(super) fn entries(&self, folder: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if is_no_folder(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("list", folder, error)),
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.map_err(|error| self.failed("list", folder, error))?;
            Ok(entry.file_name().to_string_lossy().into_owned())
        };
        let mut names = entries.map(name).collect::<Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    /// Makes sure that the lake's path is not a file.
    pub(super) fn check_folder(&self) -> Result<()> {
        if !fs::metadata(&self.root).is_ok_and(|it| !it.is_dir()) {
            return Ok(());
        }
        let message = format!("{} is a file, but a lake is a folder", self.location());
        Err(Error::new(ErrorKind::Config, message).with_hint("pass the lake's folder"))
    }

    /// The parent folders, nearest first, by their real paths.
    pub(super) fn ancestors(&self) -> Vec<String> {
        let absolute = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        // If the folder does not exist yet, its existing parents may still be symbolic links.
        let real = absolute.ancestors().find_map(|it| Some((fs::canonicalize(it).ok()?, it)));
        let Some((real, known)) = real else { return Vec::new() };
        let is_there = known == absolute;
        let above = real.ancestors().skip(usize::from(is_there));
        above.map(|it| it.display().to_string()).collect()
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

    /// Leaves a staged file behind, as a process does that is killed before it puts one in place.
    pub(super) fn leave_staged(&self) -> Result<()> {
        self.stage_as(LOOSE).map(drop)
    }

    /// Creates a file with a name that no other process uses: processes in two containers may have
    /// the same process id, and a killed one leaves its files behind.
    fn stage_as(&self, kind: &str) -> Result<Staged> {
        let mut failed = None;
        for _ in 0..MOST_TRIES {
            let name = format!("{STAGING}/{kind}{:016x}{:016x}.tmp", token(), token());
            let path = self.root.join(&name);
            self.make_parent(&path)?;
            match File::create_new(&path) {
                Ok(file) => return Ok(Staged::in_file(path, file)),
                Err(error) if is_passing(&error) => failed = Some((name, error)),
                Err(error) => return Err(self.failed("create", &name, error)),
            }
        }
        let (name, error) = failed.unwrap_or((STAGING.to_owned(), io::Error::other("no try")));
        Err(self.failed("create", &name, error))
    }

    /// Replaces this version with a staged object. The lock prevents changes between the check and
    /// the rename.
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
        self.create_as("", path, bytes)
    }

    /// The same, without the lock.
    pub(super) fn create_loose(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        self.create_as(LOOSE, path, bytes)
    }

    /// Stages and links, and starts over if the staged file vanished: if a process is suspended
    /// between the two steps, its file is removed as left over.
    fn create_as(&self, kind: &str, path: &str, bytes: &[u8]) -> Result<bool> {
        for _ in 0..MOST_TRIES {
            let mut staged = self.stage_as(kind)?;
            staged.write_all(bytes).map_err(|error| self.failed("write", path, error))?;
            let mut creation = Creation::Vanished;
            self.publish(staged, path, |from, to| {
                creation = link(from, to)?;
                Ok(creation == Creation::Done)
            })?;
            match creation {
                Creation::Done => return Ok(true),
                Creation::Refused => return Ok(false),
                Creation::Vanished => {}
            }
        }
        let vanished = "its staged file keeps being removed";
        Err(self.failed("write", path, io::Error::other(vanished)))
    }

    pub(super) fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let staged = self.stage_all(path, bytes)?;
        self.publish(staged, path, |from, to| fs::rename(from, to).map(|()| true)).map(|_| ())
    }

    /// The names of the subfolders, sorted; none when there is no such folder.
    pub(super) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if is_no_folder(&error) => return Ok(Vec::new()),
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

    /// Removes the lock file, whose lock the caller holds, and folders that are empty without it.
    pub(super) fn clear_traces(&self) -> Result<()> {
        self.delete(LOCK)?;
        let root = self.made_root.load(Ordering::Relaxed).then_some("");
        for folder in [STAGING, "_manifest"].into_iter().chain(root) {
            // A folder that is not empty stays.
            let _ = fs::remove_dir(self.root.join(folder));
        }
        Ok(())
    }

    fn stage_all(&self, path: &str, bytes: &[u8]) -> Result<Staged> {
        let mut staged = self.stage()?;
        staged.write_all(bytes).map_err(|error| self.failed("write", path, error))?;
        Ok(staged)
    }

    /// Syncs a staged object and puts it in place; `None` if its name is already taken.
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
            // Loose files survive the process, but after a power failure they may be empty.
            let lasts = !name.starts_with(LOOSE);
            if lasts {
                file.sync_all()?;
            }
            let etag = version(&file.metadata()?).etag();
            let placed = place(&from, &target)?;
            if let Some(parent) = target.parent().filter(|_| lasts && placed) {
                File::open(parent)?.sync_all()?;
            }
            Ok(placed.then_some(Written { etag, ..written }))
        })();
        // The next process that locks the lake removes what is left in the staging folder.
        published.map_err(|error| self.failed("write", path, error))
    }

    /// Removes what killed processes left in the staging folder. The caller holds the lock.
    fn clear_staging(&self) -> Result<()> {
        for name in self.staged_and_left()? {
            self.delete(&format!("{STAGING}/{name}"))?;
        }
        Ok(())
    }

    /// The names of unfinished files that killed processes left in the staging folder. Files that
    /// were already linked into place do not count.
    pub(super) fn unfinished(&self) -> Result<Vec<String>> {
        let mut names = self.staged_and_left()?;
        let is_linked = |name: &String| {
            fs::metadata(self.root.join(STAGING).join(name)).is_ok_and(|it| it.nlink() > 1)
        };
        names.retain(|name| !is_linked(name));
        Ok(names)
    }

    /// The names of staged files that belong to no running process.
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
            Err(error) if is_no_folder(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            // With one folder per day there are many, so the type comes from the listing, without
            // another call.
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
        if !self.root.is_dir() {
            self.made_root.store(true, Ordering::Relaxed);
        }
        let mut made = fs::create_dir_all(parent);
        for _ in 0..MOST_TRIES {
            // Another process may remove an empty parent folder while subfolders are being created.
            if !made.as_ref().is_err_and(is_passing) {
                break;
            }
            made = fs::create_dir_all(parent);
        }
        made.map_err(|error| self.failed("create", &parent.display().to_string(), error))
    }

    fn failed(&self, action: &str, path: &str, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::CrossesDevices => ErrorKind::Config,
            _ if is_out_of_handles(&error) => ErrorKind::Config,
            _ => ErrorKind::Unavailable,
        };
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full; everything complete is in the lake: free some space and \
                 run again"
            }
            io::ErrorKind::CrossesDevices => {
                "the whole lake has to be on one file system: no folder in it may be a mount or a \
                 link to another disk"
            }
            _ if is_out_of_handles(&error) => {
                "this process may not open more files: raise the limit (`ulimit -n 1024`)"
            }
            _ => "check that the lake's folder exists on a healthy disk and can be written to",
        };
        Error::new(kind, format!("cannot {action} {path} in {}", self.location()))
            .with_hint(hint)
            .with_source(error)
    }
}

/// Whether opening a file failed because too many files are open.
fn is_out_of_handles(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Links a staged file to its name in the lake, unless that name is taken.
fn link(from: &Path, to: &Path) -> io::Result<Creation> {
    let creation = match fs::hard_link(from, to) {
        Ok(()) => Creation::Done,
        // A network file system may perform the link, lose its reply, and refuse the second
        // attempt.
        Err(_) if is_one_file(from, to) => Creation::Done,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Creation::Refused,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Creation::Vanished),
        Err(error) => return Err(error),
    };
    // The object is in place; if its staged name remains, it is removed later.
    let _ = fs::remove_file(from);
    Ok(creation)
}

fn is_one_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|it| identity(&it));
    identity(a).is_ok_and(|a| identity(b).is_ok_and(|b| a == b))
}

/// Identifies a file independently of its name.
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether a folder cannot be listed because it does not exist.
fn is_no_folder(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether another process interfered, so that the next attempt may succeed.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
}

/// Identifies a version of a file: a rename keeps it, any write changes it.
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
    fn files_staged_by_a_killed_process_are_removed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&folder);
        drop(store.lock().unwrap());
        drop(store.stage().unwrap());
        assert_eq!(store.list(STAGING).unwrap().len(), 1);
        drop(store.lock().unwrap());
        assert_eq!(store.list(STAGING).unwrap(), []);
    }

    /// Makes a file as old as one that a killed process left.
    fn age(path: &Path) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    }

    /// P12: every process in a container has id 1, and may have been killed between staging and
    /// linking, in a folder that it shares with other containers.
    #[test]
    fn p12_files_left_by_a_process_with_the_same_pid_do_not_block_others() {
        let folder = tempfile::tempdir().unwrap();
        let (store, staging) = (local(&folder), folder.path().join(STAGING));
        fs::create_dir_all(&staging).unwrap();
        let (own, others) = (std::process::id(), 0..200);
        for (number, kind) in others.flat_map(|number| [(number, ""), (number, LOOSE)]) {
            for process in [1, own] {
                let path = staging.join(format!("{kind}{process}-{number}.tmp"));
                fs::write(path, b"half").unwrap();
            }
        }
        assert!(store.create_loose("_manifest/quota/w/1.json", b"one").unwrap());
        assert!(store.create("_manifest/calls/1.json", b"one").unwrap());
        let staged = store.stage_all("t/x", b"abc").unwrap();
        assert!(store.replace(staged, "t/x", None).unwrap().is_some());
    }

    /// P12: a process that is suspended before it links may find that its file or folders were
    /// removed.
    #[test]
    fn p12_a_staged_file_that_vanishes_is_staged_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&folder);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for name in store.names(STAGING).unwrap() {
                        store.delete(&format!("{STAGING}/{name}")).unwrap();
                    }
                    for empty in [STAGING, "_manifest/quota/w", "_manifest/quota", "_manifest"] {
                        let _ = fs::remove_dir(folder.path().join(empty));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let path = |number: i32| format!("_manifest/quota/w/{number}.json");
            let created: Vec<_> =
                (0..300).map(|number| store.create_loose(&path(number), b"x")).collect();
            // Stops the other thread, whatever its outcome.
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            let created: Result<Vec<bool>> = created.into_iter().collect();
            assert_eq!(created.unwrap(), [true; 300]);
        });
        assert_eq!(store.list("_manifest").unwrap().len(), 300);
    }

    /// P12: a process that is killed between linking and removing the staged name leaves a file
    /// with two names. No data is missing, and the next process that locks the lake removes the
    /// second name.
    #[test]
    fn p12_an_object_that_kept_its_staged_name_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&folder);
        for kind in ["", LOOSE] {
            let path = format!("_manifest/x/{kind}1.json");
            assert!(store.create(&path, b"one").unwrap());
            let left = folder.path().join(STAGING).join(format!("{kind}left.tmp"));
            fs::hard_link(folder.path().join(&path), &left).unwrap();
            age(&left);
        }
        assert_eq!(store.unfinished().unwrap(), Vec::<String>::new());
        fs::write(folder.path().join(STAGING).join("half.tmp"), b"half").unwrap();
        assert_eq!(store.unfinished().unwrap(), ["half.tmp"]);
        drop(store.lock().unwrap());
        assert_eq!(store.list(STAGING).unwrap(), []);
        assert_eq!(store.list("_manifest/x").unwrap().len(), 2);
    }

    #[test]
    fn a_link_that_was_made_and_refused_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("staged"), b"one").unwrap();
        // The state after a server has linked and its reply was lost.
        fs::hard_link(path("staged"), path("object")).unwrap();
        assert_eq!(link(&path("staged"), &path("object")).unwrap(), Creation::Done);
        assert!(!path("staged").exists());
        fs::write(path("other"), b"two").unwrap();
        assert_eq!(link(&path("other"), &path("object")).unwrap(), Creation::Refused);
        assert_eq!(link(&path("gone"), &path("new")).unwrap(), Creation::Vanished);
        assert_eq!(fs::read(path("object")).unwrap(), b"one");
    }

    /// P10: a refused run removes its traces; a lock that others hold or wait for stays intact.
    #[test]
    fn p10_a_removed_lock_file_still_keeps_others_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = local(&folder);
        let held = store.lock().unwrap();
        assert!(store.try_lock().unwrap().is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.lock().unwrap());
            std::thread::sleep(Duration::from_millis(50));
            store.clear_traces().unwrap();
            drop(held);
            let lock = waiting.join().unwrap();
            assert!(store.is_the_lock(&lock), "it is held on the file that others see");
        });
    }
}
