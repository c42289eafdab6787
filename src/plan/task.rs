//! Tasks: what a run requests of one endpoint.

use chrono::{DateTime, Utc};

use crate::manifest::Purpose;
use crate::window::Window;

/// One thing to request, independent of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// All records whose time is in the window.
    List(Window),
    /// All records with a time before `before` that changed since the instant.
    Modified {
        /// Changes before this are known.
        since: DateTime<Utc>,
        /// Only records that have begun by then.
        before: DateTime<Utc>,
    },
    /// All existing records, each dated by its own time, from an endpoint without windows.
    All,
    /// The records of one day's window, or of a longer step's.
    Day {
        /// The day, or the part of it that has passed.
        window: Window,
        /// The day that dates them, in days since 1970.
        day: i32,
    },
    /// The records of a whole range, in one request.
    Range(Window),
    /// Everything that exists as of this day.
    Snapshot {
        /// The day that dates them, in days since 1970.
        day: i32,
    },
}

impl Task {
    /// What is completely in the lake when the task is done.
    #[must_use]
    pub fn covers(&self) -> Option<Window> {
        match self {
            Self::List(window) | Self::Day { window, .. } => Some(*window),
            Self::All | Self::Modified { .. } | Self::Range(_) | Self::Snapshot { .. } => None,
        }
    }
}

/// A task, and what pays for its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What to request.
    pub task: Task,
    /// The purpose that pays for it.
    pub purpose: Purpose,
}
