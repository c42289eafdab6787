//! Templates: texts of a request with macros in them, `{now-1}`, `{window.from}`, `{parent.id}`.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{DateFormat, ParentRef};
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
    /// Literal text.
    Text(String),
    /// `{now}`, `{now-1}`, `{now+3}`: the run's frozen now, plus this many units.
    Now(i32),
    /// `{window.from}`: the start of the window.
    WindowFrom,
    /// `{window.to}`: its end.
    WindowTo,
    /// `{parent.FIELD}`: the parent's id, or another field of its record.
    Parent(String),
}

/// The values of macros in one request.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The run's frozen now.
    pub now: DateTime<Utc>,
    /// The unit in which `{now…}` is counted.
    pub unit: TimeUnit,
    /// The format of `{now…}`.
    pub format: &'a DateFormat,
    /// The window's start and end as written, if there is a window.
    pub window: Option<(&'a str, &'a str)>,
    /// The parent of the request, if there is one.
    pub parent: Option<ParentRef<'a>>,
    /// The fields of `parent`, in order; any other name is its id.
    pub fields: &'a [&'a str],
}

impl Values<'_> {
    /// The value of one of the parent's fields.
    fn of_parent(&self, field: &str) -> &str {
        let Some(parent) = &self.parent else { return "" };
        match self.fields.iter().position(|it| *it == field) {
            Some(at) => parent.values.get(at).and_then(Option::as_deref).unwrap_or_default(),
            None => parent.id,
        }
    }
}

impl Template {
    /// Its parts.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it needs a window.
    #[must_use]
    pub fn names_window(&self) -> bool {
        self.pieces.iter().any(|it| matches!(it, Piece::WindowFrom | Piece::WindowTo))
    }

    /// Whether it needs a parent.
    #[must_use]
    pub fn names_parent(&self) -> bool {
        self.pieces.iter().any(|it| matches!(it, Piece::Parent(_)))
    }

    /// The text with its macros filled in, each encoded for its place by `encode`.
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
                Piece::Parent(field) => text.push_str(&encode(values.of_parent(field))),
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
            let unbalanced = || format!("`{text}` has an unmatched brace");
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
             {{window.to}}, {{parent.id}} or another field of the parent, {{parent.owner.id}}"
        )
    };
    match name {
        "now" => return Ok(Piece::Now(0)),
        "window.from" => return Ok(Piece::WindowFrom),
        "window.to" => return Ok(Piece::WindowTo),
        _ => {}
    }
    let is_plain = |it: char| it.is_alphanumeric() || it == '_' || it == '-';
    let is_name = |it: &str| !it.is_empty() && it.chars().all(is_plain);
    let field = name.strip_prefix("parent.");
    if let Some(field) = field.filter(|it| it.split('.').all(is_name)) {
        return Ok(Piece::Parent(field.to_owned()));
    }
    let count = name.strip_prefix("now").filter(|count| count.starts_with(['+', '-']));
    let count = count.filter(|count| count[1..].bytes().all(|byte| byte.is_ascii_digit()));
    let count: i32 = count.and_then(|count| count.parse().ok()).ok_or_else(unknown)?;
    if count.unsigned_abs() > 1_000_000 {
        return Err(format!("`{{{name}}}` is out of the range of dates"));
    }
    Ok(Piece::Now(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(text: &str, unit: TimeUnit, format: &str) -> Result<String, String> {
        let format = DateFormat::try_from(format.to_owned())?;
        let values = Values {
            now: "2024-03-31T10:20:30Z".parse().unwrap(),
            unit,
            format: &format,
            window: Some(("2024-03-01", "2024-03-02")),
            parent: Some(ParentRef { key: "a/b", id: "a/b", values: &[Some("7".into()), None] }),
            fields: &["owner.id", "team-x"],
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
        assert_eq!(day("{parent.owner.id}/{parent.team-x}/{parent.key}"), "7//a/b");
        let month = fill("{now-1}", TimeUnit::Month, "yyyy-MM-dd");
        assert_eq!(month.as_deref(), Ok("2024-02-29"));
        let hour = fill("{now-11}", TimeUnit::Hour, "instant");
        assert_eq!(hour.as_deref(), Ok("2024-03-30T23:20:30Z"));
        assert_eq!(fill("{now}", TimeUnit::Day, "epoch_seconds").as_deref(), Ok("1711880430"));
    }

    proptest! {
        /// Any dotted name is a field of the parent's, whatever surrounds it, and is filled in
        /// there and nowhere else; inserted values are not expanded again.
        #[test]
        fn any_field_of_the_parent_is_filled_in(
            name in "[a-z_][A-Za-z0-9_-]{0,6}(\\.[A-Za-z0-9_é-]{1,6}){0,3}",
            before in "[^{}]{0,9}",
            after in "[^{}]{0,9}",
            value in ".{0,9}",
        ) {
            let template = Template::try_from(format!("{before}{{parent.{name}}}{after}")).unwrap();
            prop_assert!(template.names_parent());
            let values = [Some(value.as_str().into())];
            let values = Values {
                now: DateTime::UNIX_EPOCH,
                unit: TimeUnit::Day,
                format: &DateFormat::default(),
                window: None,
                parent: Some(ParentRef { key: "the id", id: "the id", values: &values }),
                fields: &[&name],
            };
            let filled = template.fill(&values, str::to_owned);
            prop_assert_eq!(filled, format!("{before}{value}{after}"));
            let id = template.fill(&Values { fields: &[], ..values }, str::to_owned);
            prop_assert_eq!(id, format!("{before}the id{after}"));
        }
    }

    #[test]
    fn an_unknown_macro_is_refused() {
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
            "{parent.}",
            "{parent.a..b}",
            "{parent.a.}",
            "{parent.a b}",
            "{parent.a[0]}",
            "{window}",
        ] {
            assert!(Template::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
