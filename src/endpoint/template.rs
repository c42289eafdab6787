//! Templates: texts of a request with macros in them, `{now-1}`, `{window.from}`, `{parent.id}`.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::DateFormat;
use crate::calendar::TimeUnit;

/// A text with macros.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template {
    pieces: Vec<Piece>,
    text: String,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands for itself.
    Text(String),
    /// `{now}`, `{now-1}`, `{now+3}`: the run's frozen now, so many units later.
    Now(i32),
    /// `{window.from}`: the begin of the window.
    WindowFrom,
    /// `{window.to}`: its end.
    WindowTo,
    /// `{parent.FIELD}`: what drives the request; `id` is the id itself.
    Parent(String),
}

/// What macros stand for in one request.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The run's frozen now.
    pub now: DateTime<Utc>,
    /// How `{now…}` is counted.
    pub unit: TimeUnit,
    /// How `{now…}` is written.
    pub format: &'a DateFormat,
    /// The window's begin and end as they are written, if there is a window.
    pub window: Option<(&'a str, &'a str)>,
    /// What drives the request, if something does.
    pub parent: Option<&'a str>,
}

impl Template {
    /// Its pieces.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// It as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it asks for a window.
    #[must_use]
    pub fn names_window(&self) -> bool {
        self.pieces.iter().any(|it| matches!(it, Piece::WindowFrom | Piece::WindowTo))
    }

    /// Whether it asks for a parent.
    #[must_use]
    pub fn names_parent(&self) -> bool {
        self.pieces.iter().any(|it| matches!(it, Piece::Parent(_)))
    }

    /// The text with its macros filled in, each of which `encode` makes fit for its place.
    #[must_use]
    pub fn fill(&self, values: &Values<'_>, encode: fn(&str) -> String) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Now(count) => {
                    let instant = values.unit.shift(values.now, *count).unwrap_or(values.now);
                    text.push_str(&encode(&values.format.format(instant)));
                }
                Piece::WindowFrom => {
                    text.push_str(&encode(values.window.map_or("", |(from, _)| from)));
                }
                Piece::WindowTo => text.push_str(&encode(values.window.map_or("", |(_, to)| to))),
                Piece::Parent(_) => text.push_str(&encode(values.parent.unwrap_or_default())),
            }
        }
        text
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find(['{', '}']) {
            let unbalanced = || format!("`{text}` has a brace without its pair");
            if !rest[open..].starts_with('{') {
                return Err(unbalanced());
            }
            let end = rest[open + 1..].find(['{', '}']).map(|end| open + 1 + end);
            let end = end.filter(|end| rest[*end..].starts_with('}')).ok_or_else(unbalanced)?;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            pieces.push(macro_of(&rest[open + 1..end])?);
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { pieces, text })
    }
}

fn macro_of(name: &str) -> Result<Piece, String> {
    let unknown = || {
        format!(
            "there is no macro `{{{name}}}`: write {{now}}, {{now-1}}, {{now+1}}, {{window.from}}, \
             {{window.to}} or {{parent.id}}"
        )
    };
    match name {
        "now" => return Ok(Piece::Now(0)),
        "window.from" => return Ok(Piece::WindowFrom),
        "window.to" => return Ok(Piece::WindowTo),
        _ => {}
    }
    let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let field = name.strip_prefix("parent.").filter(|it| !it.is_empty());
    if let Some(field) = field.filter(|it| it.chars().all(is_plain)) {
        return Ok(Piece::Parent(field.to_owned()));
    }
    let count = name.strip_prefix("now").filter(|count| count.starts_with(['+', '-']));
    let count = count.filter(|count| count[1..].bytes().all(|byte| byte.is_ascii_digit()));
    let count: i32 = count.and_then(|count| count.parse().ok()).ok_or_else(unknown)?;
    if count.unsigned_abs() > 1_000_000 {
        return Err(format!("`{{{name}}}` is beyond every calendar"));
    }
    Ok(Piece::Now(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, unit: TimeUnit, format: &str) -> Result<String, String> {
        let format = DateFormat::try_from(format.to_owned())?;
        let values = Values {
            now: "2024-03-31T10:20:30Z".parse().unwrap(),
            unit,
            format: &format,
            window: Some(("2024-03-01", "2024-03-02")),
            parent: Some("a/b"),
        };
        Ok(Template::try_from(text.to_owned())?.fill(&values, str::to_owned))
    }

    #[test]
    fn macros_count_from_the_frozen_now() {
        let day = |text: &str| fill(text, TimeUnit::Day, "yyyy-MM-dd").unwrap();
        assert_eq!(day("{now}"), "2024-03-31");
        assert_eq!(day("from={now-30}&to={now+1}"), "from=2024-03-01&to=2024-04-01");
        assert_eq!(
            day("/x/{parent.id}/{window.from}..{window.to}"),
            "/x/a/b/2024-03-01..2024-03-02"
        );
        assert_eq!(day("plain"), "plain");
        let month = fill("{now-1}", TimeUnit::Month, "yyyy-MM-dd");
        assert_eq!(month.as_deref(), Ok("2024-02-29"));
        let hour = fill("{now-11}", TimeUnit::Hour, "instant");
        assert_eq!(hour.as_deref(), Ok("2024-03-30T23:20:30Z"));
        assert_eq!(fill("{now}", TimeUnit::Day, "epoch_seconds").as_deref(), Ok("1711880430"));
    }

    #[test]
    fn what_is_no_macro_is_refused() {
        for text in [
            "{",
            "}",
            "{now",
            "now}",
            "{{now}}",
            "{}",
            "{tomorrow}",
            "{now 1}",
            "{now-}",
            "{now--1}",
            "{now-1d}",
            "{now-9999999}",
            "{parent}",
            "{window}",
        ] {
            assert!(Template::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
