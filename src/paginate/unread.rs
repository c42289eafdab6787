//! Records that the server fails to send, and the times between which they must be.
//!
//! A record that cannot be read has no known time. If its list is sorted by time, its neighbors'
//! times enclose it, so that everything around it is complete and only the time between them is
//! requested again. If the list is not sorted, nothing encloses it.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::step::{MOST_IN_A_ROW, Order};
use crate::page::PageEntry;
use crate::window::Window;

/// How many times must be in order before a list without a requested order counts as sorted.
const EVIDENCE: u32 = 16;

/// Where in a list something is missing. Positions count from 0, as `skip` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// From the first of these records to the last.
    Records {
        /// The position of the first.
        first: u32,
        /// The position of the last.
        last: u32,
        /// The end from which positions are counted.
        order: Order,
    },
    /// A page whose size is chosen by the server.
    Page(u32),
    /// This record and everything after it.
    From(u32),
    /// This page and everything after it.
    FromPage(u32),
}

impl Place {
    /// One record of a list that is read from its beginning.
    pub(super) fn record(position: u32, order: Order) -> Self {
        Self::Records { first: position, last: position, order }
    }

    /// Both, if they are adjacent; otherwise the other one, because the list has moved.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Records { first, last, order },
                Self::Records { first: next, last: end, .. },
            ) if next == last + 1 => Self::Records { first, last: end, order },
            _ => other,
        }
    }

    /// This place and everything after it.
    fn and_the_rest(self) -> Self {
        match self {
            Self::Records { first, .. } => Self::From(first),
            Self::Page(number) => Self::FromPage(number),
            Self::From(_) | Self::FromPage(_) => self,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records { first, last, order } => {
                if first == last {
                    write!(f, "record {first}")?;
                } else {
                    write!(f, "records {first} to {last}")?;
                }
                f.write_str(if *order == Order::NewestFirst { " from the end" } else { "" })
            }
            Self::Page(number) => write!(f, "page {number}"),
            Self::From(first) => write!(f, "everything from record {first}"),
            Self::FromPage(number) => write!(f, "everything from page {number}"),
        }
    }
}

/// Consecutive records that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    /// The smallest window that is known to contain them; empty when they are outside.
    pub(super) window: Window,
    /// Whether an older list may end with the same records, because no record came before them.
    pub(super) is_first: bool,
}

/// The unreadable records of one list, and what is known about the list's order.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    /// The requested order.
    expected: Option<Order>,
    rises: bool,
    falls: bool,
    oldest: Option<i64>,
    newest: Option<i64>,
    times: u32,
    /// The key of the last record read.
    last: Option<Box<str>>,
    /// Those after which no record has been read yet.
    open: Option<Hole>,
    closed: Vec<Hole>,
}

/// Consecutive records in the order of the list, and their neighbors.
#[derive(Debug, Clone)]
struct Hole {
    place: Place,
    in_a_row: u32,
    before: Option<Box<str>>,
    /// The oldest and the newest time before them.
    oldest_before: Option<i64>,
    newest_before: Option<i64>,
    /// The first time after them.
    time_behind: Option<i64>,
}

impl Unread {
    /// Whether nothing was unreadable so far.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.closed.is_empty()
    }

    /// For a list that was requested in this order, if any.
    pub(super) fn new(expected: Option<Order>) -> Self {
        Self {
            expected,
            rises: true,
            falls: true,
            oldest: None,
            newest: None,
            times: 0,
            last: None,
            open: None,
            closed: Vec::new(),
        }
    }

    /// Takes in a record that was read, in the order of the list.
    pub(super) fn read(&mut self, entry: &PageEntry, is_new: bool) {
        let order = self.order();
        for hole in self.closed.iter_mut().filter(|hole| hole.time_behind.is_none()) {
            hole.time_behind = entry.time;
        }
        if let Some(mut hole) = self.open.take_if(|hole| hole.is_closed_by(entry, order)) {
            hole.time_behind = entry.time;
            self.closed.push(hole);
        }
        self.last = Some(entry.key.clone());
        let Some(time) = entry.time.filter(|_| is_new) else { return };
        self.rises &= self.newest.is_none_or(|newest| newest <= time);
        self.falls &= self.oldest.is_none_or(|oldest| time <= oldest);
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
        self.times += 1;
    }

    /// Adds records that cannot be read; `false` when there are so many in a row that everything
    /// after them counts as unreadable, too.
    pub(super) fn miss(&mut self, place: Place) -> bool {
        let known = self.closed.iter().position(|hole| hole.before == self.last);
        let hole = match (self.open.take(), known) {
            (Some(open), _) => {
                Hole { place: open.place.and(place), in_a_row: open.in_a_row + 1, ..open }
            }
            // The list has moved, and the same records are reached again.
            (None, Some(known)) => Hole { place, in_a_row: 1, ..self.closed.swap_remove(known) },
            (None, None) => Hole {
                place,
                in_a_row: 1,
                before: self.last.clone(),
                oldest_before: self.oldest,
                newest_before: self.newest,
                time_behind: None,
            },
        };
        let goes_on = hole.in_a_row < MOST_IN_A_ROW;
        self.open = Some(hole);
        goes_on
    }

    /// Records that nothing can be read from here on.
    pub(super) fn miss_the_rest(&mut self, place: Place) {
        if self.open.is_none() {
            self.miss(place);
        }
        if let Some(open) = &mut self.open {
            open.place = open.place.and_the_rest();
        }
    }

    /// Discards those after which nothing was read: another list also contains them.
    pub(super) fn drop_open(&mut self) {
        self.open = None;
    }

    /// What is missing, in the order of the list, which was requested for `window`.
    pub(super) fn found(&self, window: Window) -> Vec<Found> {
        let order = self.order();
        let holes = self.closed.iter().chain(&self.open);
        holes
            .map(|hole| Found {
                place: hole.place,
                window: hole.window(window, order),
                is_first: order == Some(Order::OldestFirst) && hole.before.is_none(),
            })
            .collect()
    }

    /// The list's order by time, if it has one: the requested order unless a record contradicts it,
    /// or an order that many records show.
    fn order(&self) -> Option<Order> {
        let observed = match (self.rises, self.falls) {
            (true, false) => Some(Order::OldestFirst),
            (false, true) => Some(Order::NewestFirst),
            (true, true) => self.expected,
            (false, false) => None,
        };
        observed.filter(|order| self.expected == Some(*order) || self.times >= EVIDENCE)
    }
}

impl Hole {
    /// Whether a record comes after these, whatever has arrived before them in the meantime.
    fn is_closed_by(&self, entry: &PageEntry, order: Option<Order>) -> bool {
        let is_before = match order {
            Some(Order::OldestFirst) => entry.time.is_some() && entry.time < self.newest_before,
            Some(Order::NewestFirst) => {
                entry.time.zip(self.oldest_before).is_some_and(|(time, oldest)| oldest < time)
            }
            None => false,
        };
        self.before.as_ref() != Some(&entry.key) && !is_before
    }

    /// From the second of the neighbor before to the end of the second of the neighbor after.
    fn window(&self, whole: Window, order: Option<Order>) -> Window {
        let (older, newer) = match order {
            Some(Order::OldestFirst) => (self.newest_before, self.time_behind),
            Some(Order::NewestFirst) => (self.time_behind, self.oldest_before),
            None => (None, None),
        };
        let from = older.and_then(second_of).unwrap_or(whole.from);
        let to = newer.and_then(second_of).map_or(whole.to, |to| to + TimeDelta::seconds(1));
        Window::new(from.max(whole.from), to.min(whole.to))
    }
}

/// The whole second of a time in microseconds.
pub(super) fn second_of(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(micros.div_euclid(1_000_000), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, second: Option<i64>) -> PageEntry {
        PageEntry { key: key.into(), time: second.map(|it| it * 1_000_000) }
    }

    fn window(from: i64, to: i64) -> Window {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        Window::new(at(from), at(to))
    }

    fn windows(unread: &Unread) -> Vec<Window> {
        unread.found(window(0, 100)).into_iter().map(|found| found.window).collect()
    }

    fn place(position: u32) -> Place {
        Place::record(position, Order::OldestFirst)
    }

    #[test]
    fn neighbors_enclose_what_is_between_them_and_only_in_a_sorted_list() {
        for (expected, times, enclosed) in [
            (Some(Order::OldestFirst), [10, 20, 30], window(10, 21)),
            (Some(Order::NewestFirst), [30, 20, 10], window(20, 31)),
            (None, [10, 20, 30], window(0, 100)),
            (Some(Order::OldestFirst), [10, 20, 15], window(0, 100)),
        ] {
            let mut unread = Unread::new(expected);
            unread.read(&entry("a", Some(times[0])), true);
            assert!(unread.miss(place(1)));
            unread.read(&entry("b", Some(times[1])), true);
            unread.read(&entry("c", Some(times[2])), true);
            assert_eq!(windows(&unread), [enclosed], "{expected:?} {times:?}");
        }
    }

    #[test]
    fn many_records_in_order_count_as_a_requested_order() {
        for (step, enclosed) in [(1, window(19, 21)), (-1, window(20, 22))] {
            let mut unread = Unread::new(None);
            let begin = 20 - step * 20;
            for number in 0..20 {
                unread.read(&entry(&number.to_string(), Some(begin + step * number)), true);
            }
            unread.miss(place(20));
            unread.read(&entry("behind", Some(20)), true);
            assert_eq!(windows(&unread), [enclosed]);
        }
    }

    #[test]
    fn a_repeated_sequence_is_recognized_despite_new_records_before_it() {
        let mut unread = Unread::new(Some(Order::OldestFirst));
        unread.read(&entry("a", Some(10)), true);
        unread.miss(place(1));
        unread.read(&entry("new", Some(5)), true);
        unread.read(&entry("a", Some(10)), false);
        unread.miss(place(3));
        unread.read(&entry("b", Some(30)), true);
        unread.read(&entry("a", Some(10)), false);
        unread.miss(place(2));
        unread.read(&entry("b", Some(30)), false);
        assert_eq!(unread.found(window(0, 100)).len(), 1);
    }

    #[test]
    fn records_without_a_time_leave_the_bounds_to_those_around_them() {
        let mut unread = Unread::new(Some(Order::OldestFirst));
        unread.read(&entry("a", Some(10)), true);
        unread.read(&entry("b", None), true);
        unread.miss(place(2));
        unread.read(&entry("c", None), true);
        unread.miss(place(4));
        unread.read(&entry("d", Some(12)), true);
        assert_eq!(windows(&unread), [window(10, 13), window(10, 13)]);
    }

    #[test]
    fn places_say_what_is_missing() {
        assert_eq!(place(507).to_string(), "record 507");
        assert_eq!(place(3).and(place(4)).and(place(5)).to_string(), "records 3 to 5");
        let from_the_end = Place::record(2, Order::NewestFirst);
        assert_eq!(from_the_end.to_string(), "record 2 from the end");
        assert_eq!(Place::From(40).to_string(), "everything from record 40");
        let mut unread = Unread::new(None);
        assert_eq!((0..50).filter(|number| !unread.miss(place(*number))).count(), 1);
        unread.miss_the_rest(place(49));
        assert_eq!(unread.found(window(0, 1))[0].place, Place::From(0));
    }
}
