//! The quota's week, which begins on Sunday 00:00 UTC.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

/// The Sunday that begins the week of an instant.
#[must_use]
pub fn week_of(now: DateTime<Utc>) -> NaiveDate {
    let date = now.date_naive();
    let days = date.weekday().num_days_from_sunday();
    date.checked_sub_days(Days::new(u64::from(days))).unwrap_or(date)
}

/// When the week of an instant ends.
#[must_use]
pub fn renewed_at(now: DateTime<Utc>) -> DateTime<Utc> {
    week_of(now).and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(7)
}

/// When the week that begins on this Sunday starts.
#[must_use]
pub fn begin_of(week: NaiveDate) -> DateTime<Utc> {
    week.and_time(NaiveTime::MIN).and_utc()
}

/// The week before the one that begins on this Sunday.
#[must_use]
pub fn week_before(week: NaiveDate) -> NaiveDate {
    week.checked_sub_days(Days::new(7)).unwrap_or(week)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_begins_on_sunday() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let sunday = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
        assert_eq!(week_of(at("2026-11-22T00:00:00Z")), sunday);
        assert_eq!(week_of(at("2026-11-28T23:59:59Z")), sunday);
        assert_eq!(renewed_at(at("2026-11-25T07:00:00Z")), at("2026-11-29T00:00:00Z"));
        assert_eq!(begin_of(sunday), at("2026-11-22T00:00:00Z"));
        assert_eq!(week_before(sunday), week_of(at("2026-11-21T23:59:59Z")));
    }
}
