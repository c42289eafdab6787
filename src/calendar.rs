//! The calendar: units of time as people count them.
//!
//! Arithmetic on instants in UTC, where a day has 24 hours; a month has its own length, and the
//! 31st of a shorter month is its last day. It never reads the present time.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A unit of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    #[default]
    Day,
    /// A week, from Monday on.
    Week,
    /// A calendar month.
    Month,
    /// A year.
    Year,
}

impl TimeUnit {
    /// The instant `count` units later, or earlier if `count` is negative; `None` if out of range.
    #[must_use]
    pub fn shift(self, instant: DateTime<Utc>, count: i32) -> Option<DateTime<Utc>> {
        let months = |each: u32| {
            let months = Months::new(count.unsigned_abs().checked_mul(each)?);
            if count < 0 {
                instant.checked_sub_months(months)
            } else {
                instant.checked_add_months(months)
            }
        };
        match self {
            Self::Month => months(1),
            Self::Year => months(12),
            _ => instant.checked_add_signed(self.length()?.checked_mul(count)?),
        }
    }

    /// The beginning of the unit that `instant` is in.
    #[must_use]
    pub fn floor(self, instant: DateTime<Utc>) -> DateTime<Utc> {
        let date = instant.date_naive();
        let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::Day => {
                let seconds = self.length().map_or(1, |length| length.num_seconds());
                let begin = instant.timestamp().div_euclid(seconds) * seconds;
                DateTime::from_timestamp(begin, 0).unwrap_or(instant)
            }
            Self::Week => {
                let days = TimeDelta::days(i64::from(date.weekday().num_days_from_monday()));
                midnight(date - days)
            }
            Self::Month => midnight(date.with_day(1).unwrap_or(date)),
            Self::Year => midnight(date.with_ordinal(1).unwrap_or(date)),
        }
    }

    /// The beginning of the unit after the one that `instant` is in.
    #[must_use]
    pub fn next(self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.shift(self.floor(instant), 1)
    }

    /// The first unit boundary that is not before `instant`.
    #[must_use]
    pub fn ceil(self, instant: DateTime<Utc>) -> DateTime<Utc> {
        let floor = self.floor(instant);
        if floor == instant { instant } else { self.shift(floor, 1).unwrap_or(instant) }
    }

    /// The unit's length, if it is fixed.
    #[must_use]
    pub fn length(self) -> Option<TimeDelta> {
        match self {
            Self::Second => Some(TimeDelta::seconds(1)),
            Self::Minute => Some(TimeDelta::minutes(1)),
            Self::Hour => Some(TimeDelta::hours(1)),
            Self::Day => Some(TimeDelta::days(1)),
            Self::Week => Some(TimeDelta::weeks(1)),
            Self::Month | Self::Year => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn months_and_years_are_counted_as_people_count_them() {
        let end = at("2024-03-31T10:00:00Z");
        assert_eq!(TimeUnit::Month.shift(end, -1), Some(at("2024-02-29T10:00:00Z")));
        assert_eq!(TimeUnit::Month.shift(end, 1), Some(at("2024-04-30T10:00:00Z")));
        assert_eq!(
            TimeUnit::Year.shift(at("2024-02-29T00:00:00Z"), 1),
            Some(at("2025-02-28T00:00:00Z"))
        );
        assert_eq!(TimeUnit::Week.shift(end, -2), Some(at("2024-03-17T10:00:00Z")));
        assert_eq!(TimeUnit::Year.shift(end, i32::MAX), None);
    }

    #[test]
    fn units_begin_where_the_calendar_says() {
        let instant = at("2026-11-25T13:45:59Z");
        let begins = [
            (TimeUnit::Minute, "2026-11-25T13:45:00Z"),
            (TimeUnit::Hour, "2026-11-25T13:00:00Z"),
            (TimeUnit::Day, "2026-11-25T00:00:00Z"),
            (TimeUnit::Week, "2026-11-23T00:00:00Z"),
            (TimeUnit::Month, "2026-11-01T00:00:00Z"),
            (TimeUnit::Year, "2026-01-01T00:00:00Z"),
        ];
        for (unit, begin) in begins {
            assert_eq!(unit.floor(instant), at(begin), "{unit:?}");
        }
        assert_eq!(TimeUnit::Month.next(instant), Some(at("2026-12-01T00:00:00Z")));
    }

    proptest! {
        /// Every instant is in exactly one unit: floor and ceiling enclose it and are stable.
        #[test]
        fn units_tile_time(seconds in -4_000_000_000i64..8_000_000_000, unit in 0usize..7) {
            let units = [TimeUnit::Second, TimeUnit::Minute, TimeUnit::Hour, TimeUnit::Day,
                TimeUnit::Week, TimeUnit::Month, TimeUnit::Year];
            let (unit, instant) = (units[unit], DateTime::from_timestamp(seconds, 0).unwrap());
            let (floor, ceil, next) = (unit.floor(instant), unit.ceil(instant), unit.next(instant).unwrap());
            prop_assert!(floor <= instant && instant <= ceil && ceil <= next && instant < next);
            prop_assert_eq!((unit.floor(floor), unit.ceil(ceil)), (floor, ceil));
        }
    }
}
