//! The user's limits, and the maximum size of a block.

use chrono::TimeDelta;

/// The maximum number of requests in a block.
pub const MOST_IN_BLOCK: u32 = 100;
/// A run's first block: about a second's requests.
const FIRST_BLOCK: u32 = 10;
/// The fraction of the allowed rate to use: the server's seconds are not aligned with ours, and in
/// transit a request may gain some hundredths of a second on the one before.
const SHARE_OF_RATE: f64 = 0.97;

/// The user's limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Requests a week.
    pub weekly: u64,
    /// The fraction of them that backfills may use, from 0 to 1.
    pub share: f64,
    /// Requests per second; 0 for no limit.
    pub rate: f64,
    /// Whether the user set the weekly limit explicitly, which matters when the lake no longer
    /// knows the week's spend.
    pub is_explicit: bool,
    /// Requests in one block at most.
    pub block: u32,
}

impl Default for Limits {
    /// The vendor's limits, with seven tenths of the quota for backfills.
    fn default() -> Self {
        Self { weekly: 100_000, share: 0.7, rate: 10.0, is_explicit: false, block: MOST_IN_BLOCK }
    }
}

impl Limits {
    /// How many requests per week backfills may use.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of requests, rounded down"
    )]
    pub fn backfill(&self) -> u64 {
        (self.weekly as f64 * self.share.clamp(0.0, 1.0)).floor() as u64
    }

    /// The time between two requests.
    #[must_use]
    pub fn spacing(&self) -> TimeDelta {
        spacing(self.rate)
    }

    /// These limits for the next block of a run that has claimed `claimed` so far: the first block
    /// is small, and each one is twice as large as the one before. What a killed run has paid for
    /// but not sent is lost, and the next run waits until its slot is over; this way, neither is
    /// much more than what the run has used.
    #[must_use]
    pub fn behind(&self, claimed: u32) -> Self {
        let block = FIRST_BLOCK << claimed.min(8);
        Self { block: block.min(self.block), ..*self }
    }

    /// The number of requests in one block: fewer if a lost block would be a large part of the
    /// week.
    pub(super) fn block(&self) -> u32 {
        let most = self.block.clamp(1, MOST_IN_BLOCK);
        u32::try_from(self.weekly / 50).unwrap_or(most).clamp(1, most)
    }
}

/// The time between two requests at `rate` per second; zero if the rate is 0.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "microseconds, rounded up")]
pub fn spacing(rate: f64) -> TimeDelta {
    if rate <= 0.0 {
        return TimeDelta::zero();
    }
    TimeDelta::microseconds((1_000_000.0 / (rate * SHARE_OF_RATE)).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a killed run has paid for but not sent is hardly more than what it has used.
    #[test]
    fn a_runs_blocks_begin_small() {
        let blocks = |weekly| {
            let limits = Limits { weekly, ..Limits::default() };
            (0..40).map(|claimed| limits.behind(claimed).block()).collect::<Vec<_>>()
        };
        assert_eq!(blocks(100_000)[..6], [10, 20, 40, 80, 100, 100]);
        assert_eq!(blocks(100_000)[39], 100);
        assert_eq!(blocks(1_000)[..4], [10, 20, 20, 20]);
        assert_eq!(blocks(40)[0], 1);
    }
}
