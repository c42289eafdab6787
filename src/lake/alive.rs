//! Runs at work: a lock of the operating system that a run holds for as long as its process lives.
//!
//! Enters: a run's name. Leaves: whether the run was killed. Only a lake in a folder can tell: on an
//! object store, and where the file system has no locks, a run counts as living until its slots are
//! over. Nothing that the lake holds depends on it, only for how long others wait.

#![expect(clippy::disallowed_methods, reason = "an OS lock needs the file, which is no object")]

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::store::Store;

const FOLDER: &str = "_manifest/quota";
const SUFFIX: &str = ".alive";

/// The lock of a run at work; its file goes when the run ends, and stays when it is killed.
#[derive(Debug)]
pub(super) struct Alive {
    path: PathBuf,
    _file: File,
}

impl Alive {
    /// Holds the lock of a run; none where that shows no one anything.
    pub(super) fn hold(store: &Store, run: &str) -> Option<Self> {
        let path = path_of(store, run)?;
        fs::create_dir_all(path.parent()?).ok()?;
        let file = File::create(&path).ok()?;
        // A file that cannot be locked would say that its run was killed.
        if file.lock().is_err() {
            let _ = fs::remove_file(&path);
            return None;
        }
        Some(Self { path, _file: file })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Removed while it is locked, so that no one ever finds it free.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a run was killed: it left its file, and the lock went with its process.
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

/// Whether a file is there that no process has locked.
fn is_free(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// Where the file of a run is; a run's name has only what may be in a file's.
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
        assert!(!was_killed(&store, "a"), "at work");
        drop(alive);
        assert!(!was_killed(&store, "a"), "ended");
        // What a killed process leaves: the file, and no lock.
        File::create(path_of(&store, "b").unwrap()).unwrap();
        assert!(was_killed(&store, "b"));
        clear(&store);
        assert!(!path_of(&store, "b").unwrap().exists());
        assert!(Alive::hold(&store, "").is_none() && Alive::hold(&store, "../x").is_none());
    }
}
