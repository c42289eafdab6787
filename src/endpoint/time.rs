//! Time, as endpoint files describe it: what dates a row, and how windows and changes are
//! requested.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::DateFormat;
use crate::calendar::TimeUnit;
use crate::window::Window;

/// What dates a row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Dated {
    /// The record's own time, in the named field.
    Field {
        /// A top-level timestamp field.
        field: String,
    },
    /// The day of the window in which it was listed; a record keeps the first such day.
    Window,
    /// The day of the run: one snapshot per day of export, replaced whole.
    Run,
}

/// How a window of time is requested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowParameters {
    /// The query parameter of its start; without it, `{window.from}` is used somewhere.
    pub from: Option<String>,
    /// The query parameter of its end; without it, `{window.to}` is used somewhere.
    pub to: Option<String>,
    /// How an instant is written.
    #[serde(default)]
    pub format: DateFormat,
    /// Whether the end as written is inside the window.
    pub ends: Option<Ends>,
    /// How much time one window holds; calendar units, so that a month is a month.
    pub step: Option<TimeUnit>,
    /// The column that names the range. With it, one request covers the whole range of a run, and
    /// the reply replaces what the same range had before.
    pub range_column: Option<String>,
}

/// Whether the end of a window is inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// It is: `2026-11-20` to `2026-11-20` is one day.
    Inclusive,
    /// Exclusive or unknown: windows overlap, and duplicates are removed by key.
    Exclusive,
}

/// How changes are requested.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifiedParameters {
    /// The query parameter: modified after.
    pub from: String,
    /// The record's field that it compares.
    pub field: String,
    /// How an instant is written.
    #[serde(default)]
    pub format: DateFormat,
}

impl WindowParameters {
    /// The shortest window that can be requested.
    #[must_use]
    pub fn resolution(&self) -> TimeUnit {
        self.format.resolution()
    }

    /// A window's start and end, written so that nothing inside is left out.
    ///
    /// Whether the edges count is undocumented, so a window is requested from the moment before it;
    /// duplicates are removed by key. If the end is inside, so is the start.
    #[must_use]
    pub fn edges(&self, window: Window) -> (String, String) {
        let unit = self.resolution();
        let before = |instant: DateTime<Utc>| instant - TimeDelta::seconds(1);
        let (from, to) = match self.ends() {
            Ends::Inclusive => (unit.floor(window.from), unit.floor(before(window.to))),
            Ends::Exclusive => (unit.floor(before(window.from)), unit.ceil(window.to)),
        };
        (self.format.format(from), self.format.format(to.max(from)))
    }

    /// The name of a range: its first and last instants as requests write them, in ISO 8601.
    #[must_use]
    pub fn range_name(&self, range: Window) -> String {
        let (from, to) = self.edges(range);
        format!("{from}/{to}")
    }

    fn ends(&self) -> Ends {
        let usual = if self.format.is_day() { Ends::Inclusive } else { Ends::Exclusive };
        self.ends.unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str, from: &str, to: &str) -> (String, String) {
        let parameters: WindowParameters = toml::from_str(text).unwrap();
        parameters.edges(Window::new(from.parse().unwrap(), to.parse().unwrap()))
    }

    #[test]
    fn a_window_is_written_so_that_nothing_inside_is_left_out() {
        let (from, to) = ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z");
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(edges("", from, to), pair("2026-11-19T23:59:59Z", to));
        assert_eq!(edges("format = 'day'", from, to), pair("2026-11-20", "2026-11-20"));
        assert_eq!(edges("format = 'yyyy-MM-dd'", from, to), pair("2026-11-19", "2026-11-21"));
        let half = "2026-11-20T12:30:00Z";
        assert_eq!(edges("format = 'day'", from, half), pair("2026-11-20", "2026-11-20"));
        assert_eq!(edges("format = 'yyyy-MM-dd'", half, half), pair("2026-11-20", "2026-11-21"));
        let months = "format = 'yyyy-MM'\nends = 'inclusive'";
        assert_eq!(
            edges(months, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            pair("2026-11", "2026-11")
        );
        assert_eq!(edges("format = 'epoch_seconds'", from, to), pair("1795132799", "1795219200"));
    }
}
