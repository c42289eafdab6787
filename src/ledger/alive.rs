//! Detects killed runs, using an operating system lock that a run holds for as long as its process
//! lives.
//!
//! Only a lake in a local folder can tell. On an object store, or on a file system without locks, a
//! run counts as alive until its slots are over. This affects only how long other runs wait, never
//! the contents of the lake.

#![expect(clippy::disallowed_methods, reason = "an OS lock needs a file, not an object")]

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::lake::Store;

const FOLDER: &str = "_manifest/quota";
const SUFFIX: &str = ".alive";

/// The lock of an active run. The file is removed when the run ends and stays behind when the run
/// is killed.
#[derive(Debug)]
pub(super) struct Alive {
    path: PathBuf,
    _file: File,
}

impl Alive {
    /// Takes the lock of a run; `None` where locks are not supported.
    pub(super) fn hold(store: &Store, run: &str) -> Option<Self> {
        let path = path_of(store, run)?;
        fs::create_dir_all(path.parent()?).ok()?;
        let file = File::create(&path).ok()?;
        // An unlocked file would wrongly mark its run as killed.
        if file.lock().is_err() {
            let _ = fs::remove_file(&path);
            return None;
        }
        Some(Self { path, _file: file })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Removed while still locked, so that no other process ever finds it unlocked.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a run was killed: its file is still there, but its process no longer holds the lock.
pub(super) fn was_killed(store: &Store, run: &str) -> bool {
    path_of(store, run).is_some_and(|path| is_free(&path))
}

/// Removes the files of runs that were killed.
pub(super) fn clear(store: &Store) {
    let Some(folder) = store.folder() else { return };
    let Ok(entries) = fs::read_dir(folder.join(FOLDER)) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_of_a_run = path.to_string_lossy().ends_with(SUFFIX);
        if is_of_a_run && is_free(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether the file exists and no process has locked it.
fn is_free(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// The path of a run's file. Run names contain only characters that are valid in file names.
fn path_of(store: &Store, run: &str) -> Option<PathBuf> {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '-';
    let is_name = !run.is_empty() && run.chars().all(is_plain);
    let folder = store.folder().filter(|_| is_name)?;
    Some(folder.join(FOLDER).join(format!("{run}{SUFFIX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_was_killed_when_its_file_is_left_and_no_process_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        assert!(!was_killed(&store, "a"), "unknown");
        let alive = Alive::hold(&store, "a").unwrap();
        clear(&store);
        assert!(!was_killed(&store, "a"), "still running");
        drop(alive);
        assert!(!was_killed(&store, "a"), "ended");
        // A killed process leaves the file but not the lock.
        File::create(path_of(&store, "b").unwrap()).unwrap();
        assert!(was_killed(&store, "b"));
        clear(&store);
        assert!(!path_of(&store, "b").unwrap().exists());
        assert!(Alive::hold(&store, "").is_none() && Alive::hold(&store, "../x").is_none());
    }
}
