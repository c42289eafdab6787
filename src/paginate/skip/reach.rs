//! Windows with more records than the reach: the rest becomes a window of its own, and one that
//! cannot be split is read from both ends.

use chrono::{DateTime, TimeDelta, Utc};

use super::state::{Begin, Below, Skipping};
use crate::page::Page;
use crate::paginate::step::{Order, Slice, Step, Stuck};
use crate::paginate::unread::{Unread, second_of};
use crate::window::Window;

impl Skipping {
    pub(super) fn split(&mut self) -> Step {
        if !self.adds_up(self.position)
            && let Some(step) = self.read_again(self.position)
        {
            return step;
        }
        let Window { from, to } = self.window;
        if self.times.in_order && self.times.last >= Some(to.timestamp_micros()) {
            // Everything after it is outside the window: a server may include the window's edge.
            return Step::Done;
        }
        let Some(second) = self.unit.next(from).filter(|second| *second < to) else {
            return self.turn_round();
        };
        let last = self.times.last.filter(|_| self.times.in_order).and_then(second_of);
        let last = last.map(|last| self.unit.floor(last));
        if let Some(last) = last.filter(|last| from < *last && *last < to) {
            return Step::Split(vec![Window::new(last, to)]);
        }
        // The order is not by time, or one unit fills the reach: halve the window, down to a unit.
        let middle =
            if self.times.in_order && last.is_some() { second } else { self.middle(second) };
        Step::Split(vec![Window::new(from, middle), Window::new(middle, to)])
    }

    /// The beginning of a unit inside the window, near its middle, but at least its second unit. A
    /// window without a beginning starts in 1970, so the middle is chosen among the years that can
    /// have calls.
    fn middle(&self, second: DateTime<Utc>) -> DateTime<Utc> {
        let to = self.window.to;
        let begin = self.window.from.max(to - TimeDelta::days(3_653));
        self.unit.floor(begin + (to - begin) / 2).max(second)
    }

    fn turn_round(&mut self) -> Step {
        if self.paging.newest_first == self.paging.oldest_first {
            return Step::Stuck(Stuck::Unreachable);
        }
        let mut unread = std::mem::replace(&mut self.unread, Unread::new(Some(Order::NewestFirst)));
        // Records after the last one are found again from the other end.
        unread.drop_open();
        self.below = Some(Below {
            keys: std::mem::take(&mut self.seen),
            first_key: self.first_key.take(),
            last_keys: std::mem::take(&mut self.last_keys),
            times: self.times,
            unread,
            has_met: false,
            has_met_last: false,
        });
        (self.idle_pages, self.idle_replies, self.begin) = (0, 0, Begin::Overlapping);
        self.position = 0;
        self.tail.clear();
        self.furthest = 0;
        self.vain_steps_back = 0;
        self.asked = Slice { skip: 0, limit: self.limit, order: Order::NewestFirst, counts: false };
        Step::Get(self.asked())
    }

    /// Whether the server ignores the reversed order: the list begins with the same record, or with
    /// one that is older than the last one of the first order, or its times ascend.
    pub(super) fn reversing_did_not_help(&self, page: &Page) -> bool {
        let Some(below) = &self.below else { return false };
        let times = page.entries.iter().filter_map(|entry| entry.time);
        let first = page.entries.first().filter(|_| self.seen.is_empty());
        first.is_some_and(|first| below.begins_with(first))
            || !times.is_sorted_by(|newer, older| newer >= older)
    }
}
