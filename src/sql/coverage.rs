//! Which days are complete in a table, as a condition.

use chrono::{DateTime, Days, NaiveDate, Utc};

use crate::window::Window;

/// A condition that is true for a day not entirely within one of `windows`, and from today on.
///
/// The end of the last window is ignored: the next export moves it, and a statement that was pasted
/// yesterday must be right tomorrow.
pub(super) fn partial(windows: &[Window], day: &str, today: &str) -> String {
    let mut whole = Vec::new();
    for (place, window) in windows.iter().enumerate() {
        let from = first_whole_day(window.from);
        let is_last = place + 1 == windows.len();
        let upper = if is_last { today.to_owned() } else { literal(window.to.date_naive()) };
        whole.push(format!("{day} >= {} and {day} < {upper}", literal(from)));
    }
    if whole.is_empty() {
        return "true".to_owned();
    }
    format!("not coalesce({}, false)", whole.join(" or "))
}

fn first_whole_day(from: DateTime<Utc>) -> NaiveDate {
    let day = from.date_naive();
    let begins = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let next = || day.checked_add_days(Days::new(1)).unwrap_or(day);
    if begins < from { next() } else { day }
}

fn literal(day: NaiveDate) -> String {
    format!("date '{day}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Window {
        Window::new(from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn a_day_is_whole_where_a_window_has_all_of_it() {
        let windows = [
            window("2026-01-01T00:00:00Z", "2026-01-03T12:00:00Z"),
            window("2026-02-01T00:00:01Z", "2026-02-05T00:00:00Z"),
        ];
        let expected = "not coalesce(day >= date '2026-01-01' and day < date '2026-01-03' \
                        or day >= date '2026-02-02' and day < today, false)";
        assert_eq!(partial(&windows, "day", "today"), expected);
    }

    #[test]
    fn without_coverage_every_day_is_partial() {
        assert_eq!(partial(&[], "day", "today"), "true");
    }
}
