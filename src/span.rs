//! Lengths of time, as flags and files spell them: `90m`, `12h`, `7d`, `4w`.
//!
//! Parses text into a [`Span`] of whole minutes.

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::Deserialize;

/// A length of time in whole minutes, at most a century.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(TimeDelta);

/// The units in minutes: those used for output, longest first, then the others.
const UNITS: [(char, i64); 4] = [('d', 24 * 60), ('h', 60), ('m', 1), ('w', 7 * 24 * 60)];
const CENTURY: i64 = 60 * 24 * 36_525;

impl Span {
    /// This many days.
    #[must_use]
    pub fn days(days: u16) -> Self {
        Self(TimeDelta::days(i64::from(days)))
    }

    /// The same length as a `TimeDelta`, for arithmetic.
    #[must_use]
    pub fn delta(self) -> TimeDelta {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a number and a unit, such as 90m, 12h, 7d or 4w".to_owned();
        let unit = text.chars().last().ok_or_else(wrong)?;
        let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
        let (_, minutes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let total = number.checked_mul(*minutes).filter(|total| (0..=CENTURY).contains(total));
        total.and_then(TimeDelta::try_minutes).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.num_minutes();
        let fits = |(_, length): &&(char, i64)| minutes % length == 0 && minutes >= *length;
        let (unit, length) = UNITS[..3].iter().find(fits).unwrap_or(&('m', 1));
        write!(f, "{}{unit}", minutes / length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_are_spelt_as_they_were_read() {
        for (text, spelt) in
            [("7d", "7d"), ("90m", "90m"), ("36h", "36h"), ("4w", "28d"), ("0m", "0m")]
        {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), spelt);
        }
        assert_eq!("7d".parse(), Ok(Span::days(7)));
        assert_eq!("90m".parse::<Span>().unwrap().delta(), TimeDelta::minutes(90));
        for wrong in ["", "7", "d", "-1d", "7y", "99999999999999999w", "1é"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
