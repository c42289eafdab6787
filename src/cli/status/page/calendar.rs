//! The calendar: a cell per day, a row of weeks per year, newest year first.
//!
//! Computes each cell's position, class and text from a table's status and the last runs. Markup is
//! in the template.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};

use super::super::super::output::number;
use super::charts::Key;
use crate::manifest::{Granularity, Queue};
use crate::status::{Run, TableStatus};
use crate::window::Window;

/// The distance from one cell to the next.
const STEP: u32 = 12;
/// Where the first row of cells begins, below the month names.
const TOP: u32 = 12;

/// The calendar of one table.
pub(super) struct Calendar {
    pub(super) title: String,
    pub(super) years: Vec<Year>,
    pub(super) legend: Vec<Key>,
}

/// One year of the calendar.
pub(super) struct Year {
    pub(super) number: i32,
    pub(super) caption: String,
    pub(super) alternative: String,
    pub(super) months: Vec<Month>,
    pub(super) cells: Vec<Cell>,
}

/// A month's name above its first week.
pub(super) struct Month {
    pub(super) x: u32,
    pub(super) name: String,
}

/// One day.
pub(super) struct Cell {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) class: String,
    pub(super) title: String,
}

/// What is known of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day<'r> {
    /// It is in the lake, with this many rows.
    Covered(u64),
    /// It was requested and is missing; with the reason, if one of the last runs gives it.
    Missing(Option<&'r str>),
    /// A backfill has yet to fetch it.
    Later,
    /// It was never requested.
    Unasked,
}

impl Calendar {
    /// The calendar of a table; none if it has no days.
    pub(super) fn new(
        table: &TableStatus,
        chained: Option<&TableStatus>,
        runs: &[Run],
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let source = Source {
            rows: rows_by_day(table),
            table,
            chained,
            failures: failures(table, runs),
            now,
        };
        let first = source.first_day()?;
        let levels = Levels::of(source.rows.values().copied());
        let years = (first.year()..=now.year()).rev();
        let years: Vec<Year> = years.map(|year| source.year(year, &levels)).collect();
        let title = format!("{} by day", table.endpoint);
        let legend = levels.legend(&years);
        Some(Self { title, years, legend })
    }
}

/// The calendar's inputs.
struct Source<'s> {
    table: &'s TableStatus,
    /// The child table whose records are looked up by this one's ids.
    chained: Option<&'s TableStatus>,
    rows: BTreeMap<NaiveDate, u64>,
    /// What the last runs failed to get, and why.
    failures: Vec<(Window, &'s str)>,
    now: DateTime<Utc>,
}

impl Source<'_> {
    /// The first day that has a row or should have been listed.
    fn first_day(&self) -> Option<NaiveDate> {
        let with_rows = self.rows.iter().find(|(_, rows)| **rows > 0).map(|(day, _)| *day);
        let century = self.now.date_naive() - Months::new(1_200);
        let missing = self.table.gaps.iter().map(|gap| gap.from.date_naive()).min();
        with_rows.into_iter().chain(missing.filter(|day| *day > century)).min()
    }

    fn year(&self, year: i32, levels: &Levels) -> Year {
        let days: Vec<NaiveDate> = NaiveDate::from_ymd_opt(year, 1, 1)
            .map(|first| first.iter_days().take_while(|day| day.year() == year).collect())
            .unwrap_or_default();
        let known: Vec<_> = days.iter().map(|day| (*day, self.day(*day))).collect();
        let cells = known.iter().filter(|(_, it)| *it != Day::Unasked);
        let cells = cells.map(|(day, it)| self.cell(*day, *it, levels)).collect();
        let caption = caption(&self.table.endpoint, &known);
        Year {
            number: year,
            alternative: format!("{year}: {caption}"),
            caption,
            months: days.iter().filter(|day| day.day() == 1).copied().map(month).collect(),
            cells,
        }
    }

    fn day(&self, day: NaiveDate) -> Day<'_> {
        let from = day.and_time(NaiveTime::MIN).and_utc();
        let whole = Window::new(from, from + Days::new(1));
        let overlaps = |window: &Window| window.from < whole.to && whole.from < window.to;
        if self.table.left_for_backfill.iter().any(overlaps) {
            return Day::Later;
        }
        if self.table.gaps.iter().any(overlaps) {
            let why = self.failures.iter().find(|(window, _)| overlaps(window));
            return Day::Missing(why.map(|(_, message)| *message));
        }
        let rows = self.rows.get(&day).copied();
        match rows {
            Some(rows) => Day::Covered(rows),
            None if self.table.coverage.iter().any(overlaps) => Day::Covered(0),
            None => Day::Unasked,
        }
    }

    fn cell(&self, date: NaiveDate, day: Day<'_>, levels: &Levels) -> Cell {
        let week = (date.ordinal0() + first_weekday(date.year())) / 7;
        let mut class = match day {
            Day::Covered(rows) => levels.class(rows).to_owned(),
            Day::Missing(None) => "g".to_owned(),
            Day::Missing(Some(_)) => "f".to_owned(),
            Day::Later | Day::Unasked => "h".to_owned(),
        };
        if date == self.now.date_naive() {
            class.push_str(" today");
        }
        let words = match day {
            Day::Covered(rows) => format!("{}{}", number(rows), self.pending(date)),
            Day::Missing(why) => {
                format!(
                    "requested but missing{}",
                    why.map(|it| format!(": {it}")).unwrap_or_default()
                )
            }
            Day::Later => "waits for the backfill".to_owned(),
            Day::Unasked => String::new(),
        };
        let title = format!("{}: {words}", date.format("%a %-d %b %Y"));
        Cell { x: week * STEP, y: TOP + date.weekday().num_days_from_monday() * STEP, class, title }
    }

    /// Which of a day's records are missing.
    fn pending(&self, date: NaiveDate) -> String {
        let Some(chained) = self.chained else { return String::new() };
        let queue = chained.queues.get(&date.to_string()).copied().unwrap_or_default();
        let Queue { pending, parked, .. } = queue;
        let said = [(pending, "pending"), (parked, "parked")];
        let said = said.iter().filter(|(count, _)| *count > 0);
        let said = said
            .map(|(count, what)| format!(", {} of {} {what}", number(*count), chained.endpoint));
        said.collect()
    }
}

/// How many rows each day has; a month's rows are spread over its days.
fn rows_by_day(table: &TableStatus) -> BTreeMap<NaiveDate, u64> {
    let mut days = BTreeMap::new();
    for (dt, held) in &table.held {
        let Ok(first) = dt.parse::<NaiveDate>() else { continue };
        let end = match table.granularity {
            Granularity::Day => first + Days::new(1),
            Granularity::Month => first + Months::new(1),
        };
        let length = (end - first).num_days().unsigned_abs().max(1);
        let share = held.rows.div_ceil(length);
        days.extend(first.iter_days().take_while(|day| *day < end).map(|day| (day, share)));
    }
    days
}

/// What the last runs failed to get of a table, and why, newest first.
fn failures<'r>(table: &TableStatus, runs: &'r [Run]) -> Vec<(Window, &'r str)> {
    let problems = runs.iter().flat_map(|run| &run.problems);
    let own = problems.filter(|problem| problem.endpoint == table.endpoint);
    own.filter_map(|problem| Some((problem.window?, problem.message.as_str()))).collect()
}

/// How many days of a year's first week belong to the year before.
fn first_weekday(year: i32) -> u32 {
    NaiveDate::from_ymd_opt(year, 1, 1).map_or(0, |day| day.weekday().num_days_from_monday())
}

fn month(first: NaiveDate) -> Month {
    let week = (first.ordinal0() + first_weekday(first.year())).div_ceil(7);
    Month { x: week * STEP, name: first.format("%b").to_string() }
}

fn caption(table: &str, days: &[(NaiveDate, Day<'_>)]) -> String {
    let count = |is: fn(&Day<'_>) -> bool| days.iter().filter(|(_, day)| is(day)).count() as u64;
    let rows = days.iter().map(|(_, day)| if let Day::Covered(rows) = day { *rows } else { 0 });
    let mut said = vec![format!("{} {table}", number(rows.sum()))];
    let missing = count(|day| matches!(day, Day::Missing(_)));
    let later = count(|day| matches!(day, Day::Later));
    let days = |count: u64| {
        if count == 1 { "1 day".to_owned() } else { format!("{} days", number(count)) }
    };
    said.extend((missing > 0).then(|| format!("{} requested but missing", days(missing))));
    said.extend((later > 0).then(|| format!("{} waiting for the backfill", days(later))));
    said.join("; ")
}

/// The boundaries between shades: each shade has a quarter of the days that have rows.
struct Levels([u64; 4]);

impl Levels {
    fn of(rows: impl Iterator<Item = u64>) -> Self {
        let mut rows: Vec<u64> = rows.filter(|rows| *rows > 0).collect();
        rows.sort_unstable();
        let at = |part: usize| rows.get((rows.len() * part / 4).saturating_sub(1)).copied();
        let last = rows.last().copied();
        Self([at(1), at(2), at(3), last].map(Option::unwrap_or_default))
    }

    fn class(&self, rows: u64) -> &'static str {
        let level = self.0.iter().position(|most| rows <= *most);
        match level {
            _ if rows == 0 => "z",
            Some(0) => "l1",
            Some(1) => "l2",
            Some(2) => "l3",
            _ => "l4",
        }
    }

    /// The meaning of the shades, and of the other classes that occur.
    fn legend(&self, years: &[Year]) -> Vec<Key> {
        let occurs = |class: &str| {
            years
                .iter()
                .flat_map(|year| &year.cells)
                .any(|it| it.class.split(' ').next() == Some(class))
        };
        let mut least = 1;
        let mut keys = vec![Key::new("z", "0")];
        for (class, most) in ["l1", "l2", "l3", "l4"].into_iter().zip(self.0) {
            if least <= most {
                let range = if least == most {
                    number(most)
                } else {
                    format!("{} to {}", number(least), number(most))
                };
                keys.push(Key::new(class, &range));
                least = most + 1;
            }
        }
        keys.push(Key::new("g", "requested but missing"));
        keys.push(Key::new("f", "missing, as a run reported"));
        keys.push(Key::new("h", "waits for the backfill"));
        keys.retain(|key| occurs(key.class));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_days_is_in_each_shade() {
        let levels = Levels::of([0, 0, 1, 2, 3, 4, 5, 6, 7, 80].into_iter());
        assert_eq!(levels.0, [2, 4, 6, 80]);
        let classes = [0, 1, 2, 3, 4, 5, 7, 80].map(|rows| levels.class(rows));
        assert_eq!(classes, ["z", "l1", "l1", "l2", "l2", "l3", "l4", "l4"]);
        assert_eq!(Levels::of([3].into_iter()).class(3), "l1");
    }

    #[test]
    fn every_day_of_a_year_fits_the_53_or_54_weeks_of_its_row() {
        for year in 1990..2060 {
            let last = NaiveDate::from_ymd_opt(year, 12, 31).unwrap();
            let week = (last.ordinal0() + first_weekday(year)) / 7;
            assert!(week * STEP + 10 <= 646, "{year}");
        }
    }
}
