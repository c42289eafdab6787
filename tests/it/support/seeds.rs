//! The seeds of a generated test: a fixed number of them, so that it meets the same ones on every
//! machine, however fast that is.
//!
//! `CLARI_LAKE_SEED` is the first (1), `CLARI_LAKE_SEEDS` how many, instead of the test's usual
//! number. To explore, `CLARI_LAKE_SECONDS` begins new ones for so long, however many those are.

use std::time::{Duration, Instant};

/// A number that the environment decides.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Seeds, one after the other.
pub(crate) struct Seeds {
    first: u64,
    next: u64,
    count: u64,
    ends: Option<Instant>,
}

impl Seeds {
    /// This many seeds, unless the environment decides.
    pub(crate) fn usually(count: u64) -> Self {
        let first = number("CLARI_LAKE_SEED").unwrap_or(1);
        let seconds = number("CLARI_LAKE_SECONDS");
        let usual = if seconds.is_some() { u64::MAX - first } else { count };
        let count = number("CLARI_LAKE_SEEDS").unwrap_or(usual);
        let ends = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Self { first, next: first, count, ends }
    }
}

impl Iterator for Seeds {
    type Item = u64;

    #[expect(clippy::print_stdout, reason = "how many were met is what a run shows")]
    fn next(&mut self) -> Option<u64> {
        let met = self.next - self.first;
        let is_over = self.ends.is_some_and(|ends| Instant::now() >= ends);
        if met >= self.count || is_over {
            println!("{met} seeds from {} on", self.first);
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}
