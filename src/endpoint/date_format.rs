//! Date formats: how an instant is written in a request, in Java's patterns.

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

use crate::calendar::TimeUnit;

/// How an instant is written: a pattern such as `yyyy-MM-dd'T'HH:mm:ss'Z'`, or one of the names
/// `instant`, `day`, `epoch_seconds` and `epoch_millis`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DateFormat {
    parts: Vec<Part>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// A letter of the pattern, and how often it is repeated.
    Letters(char, usize),
    EpochSeconds,
    EpochMillis,
}

/// Whole seconds in UTC, as the API expects them.
const INSTANT: &str = "yyyy-MM-dd'T'HH:mm:ss'Z'";
const DAY: &str = "yyyy-MM-dd";

impl Default for DateFormat {
    fn default() -> Self {
        let letters = |letter, count| Part::Letters(letter, count);
        let literal = |text: &str| Part::Literal(text.to_owned());
        let parts = vec![
            letters('y', 4),
            literal("-"),
            letters('M', 2),
            literal("-"),
            letters('d', 2),
            literal("T"),
            letters('H', 2),
            literal(":"),
            letters('m', 2),
            literal(":"),
            letters('s', 2),
            literal("Z"),
        ];
        Self { parts, text: "instant".to_owned() }
    }
}

impl TryFrom<String> for DateFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = match text.as_str() {
            "epoch_seconds" => vec![Part::EpochSeconds],
            "epoch_millis" => vec![Part::EpochMillis],
            "instant" => parse(INSTANT)?,
            "day" => parse(DAY)?,
            pattern => parse(pattern)?,
        };
        let format = Self { parts, text };
        if format.parts.iter().all(|part| matches!(part, Part::Literal(_))) {
            return Err(format!("date format `{}` contains no part of a date", format.text));
        }
        Ok(format)
    }
}

impl DateFormat {
    /// The instant in this format.
    #[must_use]
    pub fn format(&self, instant: DateTime<Utc>) -> String {
        self.parts.iter().map(|part| spell(part, instant)).collect()
    }

    /// The format as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was given as `day`, which names a whole day by its date.
    pub(super) fn is_day(&self) -> bool {
        self.text == "day"
    }

    /// The shortest unit of time that the format distinguishes.
    #[must_use]
    pub fn resolution(&self) -> TimeUnit {
        let unit = |part: &Part| match part {
            Part::EpochSeconds | Part::EpochMillis | Part::Letters('s' | 'S', _) => {
                TimeUnit::Second
            }
            Part::Letters('m', _) => TimeUnit::Minute,
            Part::Letters('H' | 'h', _) => TimeUnit::Hour,
            Part::Letters('d' | 'D', _) => TimeUnit::Day,
            Part::Letters('M' | 'L', _) => TimeUnit::Month,
            _ => TimeUnit::Year,
        };
        self.parts.iter().map(unit).min().unwrap_or(TimeUnit::Year)
    }
}

fn parse(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let (part, length) = if first == '\'' {
            quoted(pattern, rest)?
        } else if first.is_ascii_alphabetic() {
            let length = rest.find(|it| it != first).unwrap_or(rest.len());
            (letters(pattern, first, length)?, length)
        } else {
            (Part::Literal(first.to_string()), first.len_utf8())
        };
        parts.push(part);
        rest = &rest[length..];
    }
    Ok(parts)
}

/// A quoted text, in which two quotes in a row mean one; with its length in the pattern.
fn quoted(pattern: &str, rest: &str) -> Result<(Part, usize), String> {
    if rest.starts_with("''") {
        return Ok((Part::Literal("'".to_owned()), 2));
    }
    let mut text = String::new();
    let mut at = 1;
    while let Some(end) = rest[at..].find('\'') {
        text.push_str(&rest[at..at + end]);
        at += end + 1;
        if !rest[at..].starts_with('\'') {
            return Ok((Part::Literal(text), at));
        }
        text.push('\'');
        at += 1;
    }
    Err(format!("date format `{pattern}` has an unclosed quote"))
}

fn letters(pattern: &str, letter: char, count: usize) -> Result<Part, String> {
    let most = match letter {
        'y' | 'u' | 'M' | 'L' | 'E' => 4,
        'd' | 'H' | 'h' | 'm' | 's' => 2,
        'D' | 'X' | 'x' | 'Z' => 3,
        'S' => 9,
        'a' => 1,
        'Y' => {
            let message =
                format!("date format `{pattern}` has `Y`, the year of the week: write yyyy");
            return Err(message);
        }
        _ => {
            let message = format!(
                "date format `{pattern}` has the letter `{letter}`, which is not supported: put \
                 text in quotes, such as yyyy-MM-dd'T'HH:mm:ss'Z'"
            );
            return Err(message);
        }
    };
    if count > most {
        return Err(format!("date format `{pattern}` has more than {most} `{letter}` in a row"));
    }
    Ok(Part::Letters(letter, count))
}

fn spell(part: &Part, instant: DateTime<Utc>) -> String {
    let (letter, count) = match part {
        Part::Literal(text) => return text.clone(),
        Part::EpochSeconds => return instant.timestamp().to_string(),
        Part::EpochMillis => return instant.timestamp_millis().to_string(),
        Part::Letters(letter, count) => (*letter, *count),
    };
    let chrono = |format: &str| instant.format(format).to_string();
    let padded = |format: &str| {
        let number: u32 = chrono(format).trim().parse().unwrap_or_default();
        format!("{number:0count$}")
    };
    match letter {
        'y' | 'u' if count == 2 => chrono("%y"),
        'y' | 'u' => format!("{:0count$}", instant.year()),
        'M' | 'L' if count == 3 => chrono("%b"),
        'M' | 'L' if count == 4 => chrono("%B"),
        'M' | 'L' => padded("%m"),
        'E' if count == 4 => chrono("%A"),
        'E' => chrono("%a"),
        'd' => padded("%d"),
        'D' => padded("%j"),
        'H' => padded("%H"),
        'h' => padded("%I"),
        'm' => padded("%M"),
        's' => padded("%S"),
        'S' => chrono("%9f").chars().take(count).collect(),
        'a' => chrono("%p"),
        'X' => "Z".to_owned(),
        'x' | 'Z' if count < 3 => "+0000".to_owned(),
        _ => "+00:00".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(pattern: &str) -> Result<String, String> {
        let instant = "2026-03-05T07:08:09.123456Z".parse().unwrap();
        Ok(DateFormat::try_from(pattern.to_owned())?.format(instant))
    }

    #[test]
    fn the_patterns_that_users_know_are_written_as_java_writes_them() {
        for (pattern, expected) in [
            ("yyyy-MM-dd", "2026-03-05"),
            ("yyyy-MM-dd'T'HH:mm:ss'Z'", "2026-03-05T07:08:09Z"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2026-03-05T07:08:09.123Z"),
            ("yyyy-MM-dd'T'HH:mm:ssZ", "2026-03-05T07:08:09+0000"),
            ("yyyy-MM-dd'T'HH:mm:ssxxx", "2026-03-05T07:08:09+00:00"),
            ("d.M.yy", "5.3.26"),
            ("MM/dd/yyyy hh:mm a", "03/05/2026 07:08 AM"),
            ("EEE, d MMM yyyy", "Thu, 5 Mar 2026"),
            ("EEEE d MMMM", "Thursday 5 March"),
            ("yyyyMMddHHmmss", "20260305070809"),
            ("yyyy-DDD", "2026-064"),
            ("h 'o''clock'", "7 o'clock"),
            ("''yy''", "'26'"),
            ("instant", "2026-03-05T07:08:09Z"),
            ("day", "2026-03-05"),
            ("epoch_seconds", "1772694489"),
            ("epoch_millis", "1772694489123"),
        ] {
            assert_eq!(format(pattern).as_deref(), Ok(expected), "{pattern}");
        }
        assert_eq!(DateFormat::try_from("instant".to_owned()), Ok(DateFormat::default()));
    }

    #[test]
    fn a_pattern_that_would_be_wrong_is_refused() {
        for (pattern, why) in [
            ("YYYY-MM-dd", "the year of the week"),
            ("yyyy-MM-ddTHH:mm", "the letter `T`"),
            ("yyyy-MM-dd'T", "an unclosed quote"),
            ("dddd", "more than 2"),
            ("--", "contains no part"),
            ("", "contains no part"),
            ("%Y-%m-%d", "the year of the week"),
        ] {
            let error = format(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_format_knows_its_precision() {
        let resolution = |text: &str| DateFormat::try_from(text.to_owned()).unwrap().resolution();
        assert_eq!(resolution("instant"), TimeUnit::Second);
        assert_eq!(resolution("epoch_millis"), TimeUnit::Second);
        assert_eq!(resolution("yyyy-MM-dd HH"), TimeUnit::Hour);
        assert_eq!(resolution("day"), TimeUnit::Day);
        assert_eq!(resolution("yyyy-MM"), TimeUnit::Month);
    }
}
