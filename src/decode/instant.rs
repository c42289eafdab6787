//! Instants, exactly.
//!
//! Reads text or a number as microseconds since 1970, if that loses nothing. It never guesses a
//! missing zone, and never rounds.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};

use super::number::Number;

const DAY_MICROS: i64 = 86_400_000_000;
/// The years that every engine reads the same way. Spark 3 refuses files with dates before 1900,
/// because they might mean another calendar; most engines have no dates after 9999.
const READABLE: Range<i64> = -2_208_988_800_000_000..253_402_300_800_000_000;

/// Reads an ISO 8601 instant with a zone (`Z`, `+00:00`, `+0000`): `2025-06-11T14:25:00.000Z`.
/// More than six fraction digits are taken only if the rest are zeros.
pub(crate) fn parse(text: &str) -> Option<i64> {
    read(text).filter(|instant| instant.is_exact).map(|instant| instant.micros)
}

/// Reads an instant or a date, rounded down to the microsecond: used to date a record.
pub(crate) fn parse_down(text: &str) -> Option<i64> {
    let date = || parse_date(text).filter(|micros| READABLE.contains(micros));
    read(text).map(|instant| instant.micros).or_else(date)
}

/// Reads an instant counted in units of this many microseconds since 1970, rounded down to the
/// microsecond; and whether the number is whole, so that the instant converts back to it.
pub(crate) fn of_count(number: &Number, unit: i64) -> Option<(i64, bool)> {
    let (micros, is_whole) = match number {
        Number::Int(count) => (count.checked_mul(unit)?, true),
        #[expect(clippy::cast_possible_truncation, reason = "held to the range below")]
        #[expect(clippy::cast_precision_loss, reason = "a unit is a small number")]
        Number::Double(count) => ((count * unit as f64).floor() as i64, false),
        Number::Decimal(_) => return None,
    };
    READABLE.contains(&micros).then_some((micros, is_whole))
}

/// An instant as a timestamp column returns it.
pub(crate) fn spell(micros: i64) -> Option<String> {
    let instant = DateTime::from_timestamp_micros(micros)?;
    Some(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

struct Instant {
    micros: i64,
    /// Whether no digit was dropped.
    is_exact: bool,
}

fn read(text: &str) -> Option<Instant> {
    let bytes = text.as_bytes();
    if !(20..=40).contains(&bytes.len()) || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let date = parse_date(text.get(..10)?)?;
    let clock = [13, 16].iter().all(|at| bytes[*at] == b':');
    let part = |from: usize| digits(bytes.get(from..from + 2)?).map(i64::from);
    let (hour, minute, second) = (part(11)?, part(14)?, part(17)?);
    if !clock || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, is_exact, zone) = parse_fraction(&bytes[19..])?;
    let offset = parse_zone(zone)?;
    let micros = date + ((hour * 60 + minute - offset) * 60 + second) * 1_000_000 + fraction;
    READABLE.contains(&micros).then_some(Instant { micros, is_exact })
}

/// Reads a bare date, `2025-06-11`, as its first instant in UTC.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&bytes[..4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)?;
    let days = date.and_time(NaiveTime::MIN).and_utc().timestamp() / 86_400;
    Some(days * DAY_MICROS)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0u32, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
    })
}

fn parse_fraction(bytes: &[u8]) -> Option<(i64, bool, &[u8])> {
    if bytes.first() != Some(&b'.') {
        return Some((0, true, bytes));
    }
    let end = bytes[1..].iter().position(|byte| !byte.is_ascii_digit())? + 1;
    let (kept, rest) = bytes[1..end].split_at((end - 1).min(6));
    if end == 1 {
        return None;
    }
    let is_exact = rest.iter().all(|digit| *digit == b'0');
    let missing = u32::try_from(6 - kept.len()).ok()?;
    Some((i64::from(digits(kept)?) * 10_i64.pow(missing), is_exact, &bytes[end..]))
}

/// Minutes east of UTC.
fn parse_zone(bytes: &[u8]) -> Option<i64> {
    let sign = match bytes {
        b"Z" | b"z" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hours, minutes) = match &bytes[1..] {
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        [h1, h2] => (digits(&[*h1, *h2])?, 0),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_instant_forms_of_the_api_are_read() {
        let noon = 1_749_643_200_000_000;
        for text in [
            "2025-06-11T12:00:00Z",
            "2025-06-11T12:00:00.000Z",
            "2025-06-11T12:00:00.000000000Z",
            "2025-06-11T12:00:00+0000",
            "2025-06-11T14:00:00+02:00",
            "2025-06-11T06:30:00-05:30",
            "2025-06-11T12:00:00+00",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        assert_eq!(parse("2025-06-11T12:00:00.25Z"), Some(noon + 250_000));
    }

    #[test]
    fn values_that_a_column_would_change_are_refused() {
        for text in [
            "2025-06-11T12:00:00",
            "2025-06-11",
            "2025-06-11T12:00:00.0000001Z",
            "2025-06-11T12:00:60Z",
            "2025-02-29T12:00:00Z",
            "2025-06-11T24:00:00Z",
            "2025-06-11T12:00:00.Z",
            "1700000000",
            "1899-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00",
            "TBD",
            "2025-06-11T12:00:00+2",
            "２０２５-06-11T12:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        /// P5: every instant agrees with chrono's reading of it.
        #[test]
        fn instants_agree_with_chrono(micros in READABLE) {
            let instant = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(parse(&instant.to_rfc3339()), Some(micros));
        }
    }
}
