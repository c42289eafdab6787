//! Scans: one list to read, how reading it ended, and the keys in it.

use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::commit_plan::{Listing, Scope};
use crate::decode::Rows;
use crate::endpoint::ParentRef;
use crate::fetch::FetchError;
use crate::manifest::Purpose;
use crate::window::Window;

/// One list to read: of a window, of a parent, or everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan<'a> {
    pub(super) window: Option<Window>,
    pub(super) modified_since: Option<DateTime<Utc>>,
    pub(super) day: Option<i32>,
    pub(super) parent: Option<ParentRef<'a>>,
    pub(super) purpose: Purpose,
    /// Whether the part of the window that was read counts as covered.
    pub(super) covers: bool,
}

/// How reading a list ended. What is missing is already in the report.
#[derive(Debug, Default)]
#[must_use = "what was not read must not count as read"]
pub(super) struct Outcome {
    /// Whether the parent does not exist; nothing else is known then.
    pub(super) is_absent: bool,
    /// Whether a request failed that may succeed in the next run.
    pub(super) has_failed: bool,
    /// What the API has but cannot deliver, each with the window that contains it.
    pub(super) unreadable: Vec<Option<Window>>,
    /// Whether the list counts as complete although the request for more was refused.
    pub(super) more_was_refused: bool,
}

impl Outcome {
    /// Whether the whole list was read.
    pub(super) fn is_complete(&self) -> bool {
        !self.is_absent && !self.has_failed && self.unreadable.is_empty()
    }

    /// Whether the API has something that cannot be read.
    pub(super) fn lacks_records(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// The windows that contain everything missing; `None` when no window does.
    pub(super) fn gaps(&self) -> Option<Vec<Window>> {
        let begins = |window: &Window| window.from > DateTime::UNIX_EPOCH;
        let gaps = self.unreadable.iter().map(|window| window.filter(begins)).collect();
        if self.has_failed { None } else { gaps }
    }
}

/// The keys in a list, and when it was requested.
#[derive(Debug, Default)]
pub(super) struct Listed {
    keys: HashSet<Box<str>>,
    /// When the first page was requested, microseconds since 1970.
    requested_at: Option<i64>,
}

impl Listed {
    pub(super) fn take(&mut self, rows: &Rows, requested_at: i64) {
        self.keys.extend(rows.facts.iter().map(|facts| facts.key.clone()));
        self.requested_at =
            self.requested_at.map_or(Some(requested_at), |it| Some(it.min(requested_at)));
    }

    /// How many of these keys are missing from the list.
    pub(super) fn lacks<'k>(&self, keys: impl Iterator<Item = &'k str>) -> usize {
        keys.filter(|key| !self.keys.contains(*key)).count()
    }

    /// What the list states about its scope if it was read to its end; `None` if no page came.
    pub(super) fn complete(self, scope: Scope) -> Option<Listing> {
        let Self { keys, requested_at } = self;
        Some(Listing { scope, keys, requested_at: requested_at? })
    }
}

/// A request that failed.
pub(super) struct Fault(pub(super) FetchError);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (FetchError::Failed(_, error) | FetchError::Halted(error)) = &self.0;
        f.write_str(error.message())
    }
}
