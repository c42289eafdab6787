//! What the lists of a table have shown in this run. Readers of the table's lists share it; its
//! owner needs none of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::paginate::Habits;
use crate::window::{Coverage, Window};

/// How many windows that are not adjacent may have the same records.
const MOST_ALIKE: usize = 2;

/// What the lists of a table have shown in this run.
#[derive(Debug, Default)]
pub(super) struct Observed(Mutex<Shown>);

#[derive(Debug, Default)]
struct Shown {
    /// Whether this workspace has no such endpoint.
    is_absent: bool,
    /// Whether the scan for changes was complete.
    knows_changes: bool,
    habits: Habits,
    /// The windows with the same records, by a digest of their keys.
    alike: HashMap<u64, Vec<Window>>,
    /// The windows that were listed completely.
    listed: Coverage,
    /// The hashes of the keys in the lists, in any order. A set of a million would take three times
    /// the memory.
    seen: Vec<i64>,
}

impl Observed {
    /// Nothing waits while it is locked.
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this workspace has no such endpoint.
    pub(super) fn is_absent(&self) -> bool {
        self.shown().is_absent
    }

    /// Records that this workspace has no such endpoint.
    pub(super) fn note_absent(&self) {
        self.shown().is_absent = true;
    }

    /// Whether everything that has changed is known from a scan for changes.
    pub(super) fn knows_changes(&self) -> bool {
        self.shown().knows_changes
    }

    /// Records whether a scan for changes was complete.
    pub(super) fn note_changes(&self, are_complete: bool) {
        self.shown().knows_changes = are_complete;
    }

    /// What the endpoint's lists have shown about its paging.
    pub(super) fn habits(&self) -> Habits {
        self.shown().habits
    }

    /// Adds what a list has shown about its endpoint's paging.
    pub(super) fn note_habits(&self, habits: Habits) {
        let mut shown = self.shown();
        shown.habits = shown.habits.and(habits);
    }

    /// Whether a window has exactly the same records as several windows that are not adjacent to
    /// it, so that the server seems to ignore the requested window. The digest is that of their
    /// keys.
    pub(super) fn is_like_others(&self, window: Window, digest: u64) -> bool {
        let mut shown = self.shown();
        let windows = shown.alike.entry(digest).or_default();
        let touches = |other: &Window| window.from <= other.to && other.from <= window.to;
        // A record may be found twice at the edge between two windows.
        if !windows.iter().any(touches) {
            windows.push(window);
        }
        windows.len() > MOST_ALIKE
    }

    /// Adds windows that were listed completely.
    pub(super) fn note_listed(&self, windows: &[Window]) {
        let mut shown = self.shown();
        for window in windows {
            shown.listed.add(*window);
        }
    }

    /// Adds keys that were listed, by their hashes.
    pub(super) fn note_seen(&self, keys: impl Iterator<Item = i64>) {
        self.shown().seen.extend(keys);
    }

    /// The windows that were listed completely, and the hashes of all keys in the lists, sorted.
    /// From then on, nothing counts as listed.
    pub(super) fn take_listed(&self) -> (Coverage, Vec<i64>) {
        let mut shown = self.shown();
        let listed = std::mem::take(&mut shown.listed);
        let mut seen = std::mem::take(&mut shown.seen);
        drop(shown);
        seen.sort_unstable();
        (listed, seen)
    }
}
