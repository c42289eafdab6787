//! Breakdowns, for simulating crashes in tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// A simulated breakdown: the store fails at one of its writes and at all later ones, as if the
/// process were killed there.
#[derive(Debug)]
pub struct Breakdown {
    writes_left: AtomicU64,
    lands: bool,
}

impl Breakdown {
    /// The store fails at write number `write` (the first is 0): before the write happens, so that
    /// its staged file is left behind, or, if it `lands`, afterwards, so that the reply is lost.
    #[must_use]
    pub fn at(write: u64, lands: bool) -> Self {
        Self { writes_left: AtomicU64::new(write), lands }
    }

    /// Whether the next write happens, and whether it is reported.
    pub(super) fn next(&self) -> (bool, bool) {
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
