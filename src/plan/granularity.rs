//! Which partition length suits a table, by how many records it gets a day.
//!
//! A small file costs about as much to open as a large one, and is mostly footer. With 8 calls a
//! day, partitions of a month take less than half the bytes of partitions of a day, and most
//! questions are several times faster; with 50 a day they take four fifths; with 500 a day there is
//! next to no difference, and each night rewrites 60 MB instead of 2 MB (`docs/performance.md`).

use chrono::TimeDelta;

use crate::manifest::Granularity;
use crate::window::Window;

/// The log target of advice, which is shown by default.
pub const ADVICE: &str = "clari_lake::advice";

/// With fewer records a day than this, a month is the better partition length.
const MONTH_BELOW: u64 = 100;
/// Shorter ranges say little: a weekend has hardly any calls.
const ENOUGH: TimeDelta = TimeDelta::days(5);

/// How many records a table gets, and the partition length that suits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suited {
    /// The records of an average day.
    pub records_per_day: u64,
    /// The partition length.
    pub granularity: Granularity,
}

/// The partition length that suits a table of which these windows hold this many records; `None`
/// when they cover too little time.
#[must_use]
pub fn suited(records: u64, windows: &[Window]) -> Option<Suited> {
    let time: TimeDelta = windows.iter().map(|window| window.to - window.from).sum();
    if time < ENOUGH {
        return None;
    }
    let days = u64::try_from(time.num_days()).ok().filter(|days| *days > 0)?;
    let records_per_day = records.div_ceil(days);
    let is_small = records_per_day < MONTH_BELOW;
    let granularity = if is_small { Granularity::Month } else { Granularity::Day };
    Some(Suited { records_per_day, granularity })
}

impl Suited {
    /// What to tell a user who has chosen a partition length and may still change it; `None` when
    /// it suits.
    #[must_use]
    pub fn advice(self, endpoint: &str, chosen: Granularity) -> Option<String> {
        if self.granularity == chosen {
            return None;
        }
        let (better, why) = match self.granularity {
            Granularity::Month => ("month", "partitions of a day are small files, slow to query"),
            Granularity::Day => ("day", "each night would rewrite a large file"),
        };
        let count = self.records_per_day;
        let records = if count == 1 { "record" } else { "records" };
        Some(format!(
            "{endpoint} has about {count} {records} a day: `--partition-by {better}` suits it \
             better ({why}); a table keeps the length it is created with"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: i64) -> Window {
        let to = "2026-11-20T00:00:00Z".parse().unwrap();
        Window::new(to - TimeDelta::days(days), to)
    }

    #[test]
    fn few_records_a_day_suit_months() {
        let granularity =
            |records, days| suited(records, &[window(days)]).map(|suited| suited.granularity);
        assert_eq!(granularity(80, 10), Some(Granularity::Month));
        assert_eq!(granularity(0, 10), Some(Granularity::Month));
        assert_eq!(granularity(999, 10), Some(Granularity::Day));
        assert_eq!(granularity(5000, 10), Some(Granularity::Day));
        assert_eq!(granularity(5000, 4), None);
    }

    #[test]
    fn advice_is_given_only_where_it_changes_something() {
        let suited = suited(80, &[window(10)]).unwrap();
        assert_eq!(suited.advice("calls", Granularity::Month), None);
        let advice = suited.advice("calls", Granularity::Day).unwrap();
        assert!(
            advice.starts_with("calls has about 8 records a day: `--partition-by month` suits")
        );
    }
}
