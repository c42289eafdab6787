//! Partitions: which Hive folder a row belongs to.
//!
//! Computes partitions and their folder names from days and a granularity.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate};

use crate::manifest::Granularity;
use crate::window::date_of;

/// What Hive calls a partition whose value is null.
const NO_DATE: &str = "__HIVE_DEFAULT_PARTITION__";

/// A value of `dt`: a date, or none when a record's date cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Option<NaiveDate>);

impl Partition {
    /// The partition of a day, given in days since 1970.
    #[must_use]
    pub fn of(day: Option<i32>, granularity: Granularity) -> Self {
        let date = day.and_then(date_of);
        Self(match granularity {
            Granularity::Day => date,
            Granularity::Month => date.and_then(|date| date.with_day(1)),
        })
    }

    /// Its date, if it has one.
    #[must_use]
    pub fn date(&self) -> Option<NaiveDate> {
        self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(date) => write!(f, "{}", date.format("%Y-%m-%d")),
            None => f.write_str(NO_DATE),
        }
    }
}

impl FromStr for Partition {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == NO_DATE {
            return Ok(Self(None));
        }
        Ok(Self(Some(NaiveDate::parse_from_str(text, "%Y-%m-%d")?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::window::day_of;

    proptest! {
        /// P6: every folder name is read back as the partition it names.
        #[test]
        fn names_round_trip(day in prop::option::of(-700_000i32..3_000_000)) {
            for granularity in [Granularity::Day, Granularity::Month] {
                let partition = Partition::of(day, granularity);
                prop_assert_eq!(partition.to_string().parse::<Partition>().unwrap(), partition);
            }
        }
    }

    #[test]
    fn a_month_is_named_by_its_first_day() {
        let day = day_of(NaiveDate::from_ymd_opt(2026, 11, 23).unwrap());
        assert_eq!(Partition::of(Some(day), Granularity::Month).to_string(), "2026-11-01");
        assert_eq!(Partition::of(None, Granularity::Day).to_string(), NO_DATE);
    }
}
