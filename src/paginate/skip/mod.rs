//! Skip and limit: pages that overlap by one record, windows that are split, both ends of a second.
//!
//! Pages overlap by one record. If a page does not begin with a record that was seen before, rows
//! before it have vanished and the ones behind them moved up, so the paginator steps back until
//! it meets a known record. Records that were seen twice fall out later, by key.
//!
//! `skip + limit` never passes the endpoint's reach. A window that holds more is read oldest
//! first up to there; the rest, from the moment of the last record on, is a window of its own. A
//! window that cannot be split, being as short as can be asked for, is read from both ends.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Get, Order, Slice, Step, Stuck};
use crate::calendar::TimeUnit;
use crate::endpoint::SkipLimit;
use crate::page::{Page, PageEntry};
use crate::window::Window;

/// How many pages without a new record are too many.
const MAX_IDLE_PAGES: u32 = 4;
/// How many steps back in a row are too many.
const MAX_STEPS_BACK: u32 = 32;
/// Page sizes that servers fall back to: a first page of just so many is not trusted to be the
/// last.
const USUAL_PAGE_SIZES: [usize; 2] = [25, 50];

/// Reads one window, page by page.
#[derive(Debug)]
pub(super) struct Skipping {
    window: Window,
    paging: SkipLimit,
    asked: Slice,
    /// The shortest window that can be asked for.
    unit: TimeUnit,
    limit: u32,
    /// Keys seen in the present order.
    seen: HashSet<Box<str>>,
    /// What was read oldest first, once the order was turned.
    below: Option<Below>,
    last_key: Option<Box<str>>,
    last_time: Option<i64>,
    in_order: bool,
    idle_pages: u32,
    steps_back: u32,
    smooth_pages: u32,
    /// The page size that the server seems to insist on.
    cut_to: Option<usize>,
}

impl Skipping {
    /// At the beginning of `window`, of which nothing shorter than a `unit` can be asked for.
    pub(super) fn new(window: Window, unit: TimeUnit, paging: &SkipLimit) -> Self {
        let limit = paging.page_size.min(paging.reach).max(1);
        Self {
            window,
            paging: paging.clone(),
            asked: Slice { skip: 0, limit, order: Order::OldestFirst },
            unit,
            limit,
            seen: HashSet::new(),
            below: None,
            last_key: None,
            last_time: None,
            in_order: true,
            idle_pages: 0,
            steps_back: 0,
            smooth_pages: 0,
            cut_to: None,
        }
    }

    /// The page that was asked for last; at first, the first one.
    pub(super) fn asked(&self) -> Get {
        Get::Slice(self.asked)
    }

    /// The page to ask for instead of the last one, which was too large to be sent; `None` when it
    /// was a single record.
    pub(super) fn shrink(&mut self) -> Option<Get> {
        if self.limit <= 1 {
            return None;
        }
        self.limit = (self.asked.limit / 2).max(1);
        self.smooth_pages = 0;
        self.asked.limit = self.limit;
        Some(self.asked())
    }

    /// The page behind a single record that cannot be had; the window stays incomplete.
    pub(super) fn pass_over(&mut self) -> Step {
        self.go_on(self.asked.skip + self.asked.limit)
    }

    /// Takes in the page that was asked for, and says what to do next.
    pub(super) fn next(&mut self, page: &Page) -> Step {
        if !self.is_contiguous(page) {
            return self.step_back();
        }
        self.steps_back = 0;
        let met = self.take_in(page);
        self.grow();
        if self.idle_pages > MAX_IDLE_PAGES {
            return Step::Stuck(Stuck::Repeats);
        }
        if met || self.is_last(page) {
            return Step::Done;
        }
        let position = self.asked.skip + u32::try_from(page.entries.len()).unwrap_or(u32::MAX);
        self.go_on(position)
    }

    /// Whether nothing can be missing between the pages before and this one.
    fn is_contiguous(&self, page: &Page) -> bool {
        let known = page.entries.first().is_some_and(|entry| self.seen.contains(&entry.key));
        self.asked.skip == 0 || self.asked.limit == 1 || known
    }

    fn step_back(&mut self) -> Step {
        self.steps_back += 1;
        if self.steps_back > MAX_STEPS_BACK {
            return Step::Stuck(Stuck::Restless);
        }
        let by = self.limit.saturating_sub(1).max(1).saturating_mul(self.steps_back);
        self.asked.skip = self.asked.skip.saturating_sub(by);
        self.asked.limit = self.limit;
        Step::Get(self.asked())
    }

    /// Notes the page's records; whether one of them was met from the other end.
    fn take_in(&mut self, page: &Page) -> bool {
        let mut is_new = false;
        let mut met = false;
        for entry in &page.entries {
            met |= self.below.as_mut().is_some_and(|below| below.is_met_by(entry));
            if self.asked.order == Order::OldestFirst && entry.time < self.last_time {
                self.in_order &= entry.time.is_none() || self.seen.contains(&entry.key);
            }
            self.last_time = self.last_time.max(entry.time);
            is_new |= self.seen.insert(entry.key.clone());
        }
        self.idle_pages = if is_new { 0 } else { self.idle_pages + 1 };
        self.last_key = page.entries.last().map(|entry| entry.key.clone());
        met
    }

    fn grow(&mut self) {
        self.smooth_pages += 1;
        if self.smooth_pages >= 4 && self.limit < self.paging.page_size {
            self.limit = (self.limit * 2).min(self.paging.page_size);
            self.smooth_pages = 0;
        }
    }

    fn is_last(&mut self, page: &Page) -> bool {
        let count = page.entries.len();
        let asked = self.asked.limit as usize;
        if self.asked.skip == 0 && count < asked && USUAL_PAGE_SIZES.contains(&count) {
            self.cut_to = Some(count);
        }
        let full = self.cut_to.map_or(asked, |cut_to| cut_to.min(asked));
        match page.has_more {
            Some(more) => !more,
            None => count < full,
        }
    }

    /// The page that begins with the last record of this one, if the reach allows it.
    fn go_on(&mut self, position: u32) -> Step {
        let overlap = u32::from(self.limit > 1);
        let skip = position.saturating_sub(overlap);
        let limit = self.limit.min(self.paging.reach.saturating_sub(skip));
        if limit > overlap {
            self.asked = Slice { skip, limit, ..self.asked };
            return Step::Get(self.asked());
        }
        match self.asked.order {
            Order::OldestFirst => self.split(),
            Order::NewestFirst => Step::Stuck(Stuck::Unreachable),
        }
    }

    fn split(&mut self) -> Step {
        let Window { from, to } = self.window;
        let Some(second) = self.unit.next(from).filter(|second| *second < to) else {
            return self.turn_round();
        };
        let last = self.last_time.filter(|_| self.in_order).and_then(second_of);
        let last = last.map(|last| self.unit.floor(last));
        if let Some(last) = last.filter(|last| from < *last && *last < to) {
            return Step::Split(vec![Window::new(last, to)]);
        }
        // The order is not by time, or one unit fills the reach: halve, down to a unit.
        let middle = if self.in_order && last.is_some() { second } else { self.middle(second) };
        Step::Split(vec![Window::new(from, middle), Window::new(middle, to)])
    }

    /// The begin of a unit inside the window, near its middle, at least its second one. A window
    /// without a begin starts in 1970, so the middle is sought among the years that can have calls.
    fn middle(&self, second: DateTime<Utc>) -> DateTime<Utc> {
        let to = self.window.to;
        let begin = self.window.from.max(to - TimeDelta::days(3_653));
        self.unit.floor(begin + (to - begin) / 2).max(second)
    }

    fn turn_round(&mut self) -> Step {
        self.below = Some(Below {
            keys: std::mem::take(&mut self.seen),
            last_key: self.last_key.take(),
            last_time: self.last_time,
            has_met: false,
        });
        self.idle_pages = 0;
        self.asked = Slice { skip: 0, limit: self.limit, order: Order::NewestFirst };
        Step::Get(self.asked())
    }
}

/// What was read of a window oldest first, before the order was turned.
#[derive(Debug)]
struct Below {
    keys: HashSet<Box<str>>,
    last_key: Option<Box<str>>,
    last_time: Option<i64>,
    has_met: bool,
}

impl Below {
    /// Whether reading newest first has come down to where reading oldest first ended. A server
    /// may list records of one instant in the same order both ways, so a known record proves
    /// that only if it is the very last, and the first to be met; an earlier instant always does.
    fn is_met_by(&mut self, entry: &PageEntry) -> bool {
        let is_earlier = entry.time.is_some() && entry.time < self.last_time;
        let is_first_met = !self.has_met && self.last_key.as_ref() == Some(&entry.key);
        self.has_met |= self.keys.contains(&entry.key);
        is_earlier || is_first_met
    }
}

/// The whole second of an instant in microseconds.
fn second_of(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(micros.div_euclid(1_000_000), 0)
}
