//! The outcomes of the process, and their exit codes.

use std::process::ExitCode;

use crate::error::{Error, ErrorKind};

/// The process's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything is in the lake.
    Complete,
    /// Something is missing, and another run will fetch it.
    Incomplete,
    /// Something must be fixed first.
    Fix,
    /// A signal ended it; the signal's number.
    Signal(u8),
}

impl Exit {
    /// The outcome for an error.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<Error>().map(Error::kind) {
            Some(ErrorKind::Interrupted) => Self::Signal(2),
            Some(kind) if kind.retryable() => Self::Incomplete,
            _ => Self::Fix,
        }
    }

    /// The process's exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Incomplete => 1,
            Self::Fix => 2,
            Self::Signal(number) => 128u8.saturating_add(number),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
