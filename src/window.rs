//! Half-open ranges of time, and sets of them.
//!
//! Pure arithmetic on instants; it never reads the present time.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// A half-open range of time `[from, to)`: the unit that is planned, fetched, retried and covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first instant inside.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: DateTime<Utc>,
}

impl Window {
    /// The window `[from, to)`; empty when `to <= from`.
    #[must_use]
    pub fn new(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        Self { from, to }
    }

    /// Whether it contains nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to <= self.from
    }

    /// Whether `instant` is inside.
    #[must_use]
    pub fn contains(&self, instant: DateTime<Utc>) -> bool {
        self.from <= instant && instant < self.to
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let format = "%Y-%m-%dT%H:%M:%SZ";
        if self.from == DateTime::UNIX_EPOCH {
            return write!(f, "before {}", self.to.format(format));
        }
        write!(f, "[{}, {})", self.from.format(format), self.to.format(format))
    }
}

/// A set of instants, stored as the fewest windows that describe it, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coverage(Vec<Window>);

impl Coverage {
    /// The windows of the set, oldest first, neither touching nor overlapping.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The end of the newest window.
    #[must_use]
    pub fn end(&self) -> Option<DateTime<Utc>> {
        self.0.last().map(|window| window.to)
    }

    /// Adds a window.
    pub fn add(&mut self, window: Window) {
        if window.is_empty() {
            return;
        }
        let mut merged = window;
        self.0.retain(|old| {
            let apart = old.to < merged.from || merged.to < old.from;
            if !apart {
                merged.from = merged.from.min(old.from);
                merged.to = merged.to.max(old.to);
            }
            apart
        });
        let at = self.0.partition_point(|old| old.from < merged.from);
        self.0.insert(at, merged);
    }

    /// Removes a window.
    pub fn remove(&mut self, window: Window) {
        if window.is_empty() {
            return;
        }
        let parts = self.0.iter().flat_map(|own| {
            let before = Window::new(own.from, own.to.min(window.from));
            let after = Window::new(own.from.max(window.to), own.to);
            [before, after]
        });
        self.0 = parts.filter(|part| !part.is_empty()).collect();
    }

    /// The parts of `window` that are not in the set, oldest first.
    #[must_use]
    pub fn gaps(&self, window: Window) -> Vec<Window> {
        let mut gaps = Vec::new();
        let mut from = window.from;
        for covered in &self.0 {
            if covered.to <= from || window.to <= covered.from {
                continue;
            }
            if from < covered.from {
                gaps.push(Window::new(from, covered.from));
            }
            from = covered.to;
        }
        if from < window.to {
            gaps.push(Window::new(from, window.to));
        }
        gaps
    }

    /// The parts of `window` that are in the set, oldest first.
    #[must_use]
    pub fn common(&self, window: Window) -> Vec<Window> {
        let cut = |own: &Window| Window::new(own.from.max(window.from), own.to.min(window.to));
        self.0.iter().map(cut).filter(|cut| !cut.is_empty()).collect()
    }

    /// Whether all of `window` is in the set.
    #[must_use]
    pub fn covers(&self, window: Window) -> bool {
        self.gaps(window).is_empty()
    }
}

impl FromIterator<Window> for Coverage {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        let mut coverage = Self::default();
        windows.into_iter().for_each(|window| coverage.add(window));
        coverage
    }
}

/// The date of a day, given in days since 1970; none outside the years that a folder can name.
#[must_use]
pub fn date_of(day: i32) -> Option<NaiveDate> {
    let date = DateTime::from_timestamp(i64::from(day) * 86_400, 0)?.date_naive();
    (0..=9999).contains(&date.year()).then_some(date)
}

/// A date in days since 1970.
#[must_use]
pub fn day_of(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - 719_163
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(from: i64, to: i64) -> Window {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        Window::new(at(from), at(to))
    }

    proptest! {
        /// Days and dates convert both ways.
        #[test]
        fn days_are_dates(day in -700_000i32..2_900_000) {
            prop_assert_eq!(day_of(date_of(day).unwrap()), day);
        }

        /// P3: coverage contains an instant exactly if an added window contains it.
        #[test]
        fn coverage_is_the_union_of_what_was_added(
            windows in prop::collection::vec((0i64..60, 0i64..20), 0..12),
            probe in 0i64..80,
        ) {
            let windows: Vec<_> = windows.into_iter().map(|(from, length)| window(from, from + length)).collect();
            let coverage: Coverage = windows.iter().copied().collect();
            let inside = windows.iter().any(|w| w.contains(window(probe, probe + 1).from));
            prop_assert_eq!(coverage.covers(window(probe, probe + 1)), inside);
            for pair in coverage.windows().windows(2) {
                prop_assert!(pair[0].to < pair[1].from);
            }
        }

        /// P1: gaps and coverage together tile the window, so nothing is requested twice or
        /// skipped.
        #[test]
        fn gaps_are_what_is_missing(
            windows in prop::collection::vec((0i64..60, 1i64..20), 0..12),
        ) {
            let mut coverage: Coverage = windows.into_iter().map(|(from, length)| window(from, from + length)).collect();
            let whole = window(0, 100);
            let gaps = coverage.gaps(whole);
            let tiles: Coverage = gaps.iter().copied().chain(coverage.common(whole)).collect();
            prop_assert_eq!(tiles.windows(), [whole]);
            for gap in &gaps {
                prop_assert!(coverage.gaps(*gap) == vec![*gap]);
            }
            for gap in &gaps {
                coverage.add(*gap);
            }
            prop_assert!(coverage.covers(whole));
            for gap in &gaps {
                coverage.remove(*gap);
            }
            prop_assert_eq!(coverage.gaps(whole), gaps);
        }
    }
}
