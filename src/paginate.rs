//! Paging: which page of a window comes next, and when a window is complete.
//!
//! Enters: the pages of one window, one by one. Leaves: the next [`Step`]. Never here: a request,
//! a clock, or trust: that the server keeps its order, honours `skip`, or stands still meanwhile
//! is checked on every page.
//!
//! Pages overlap by one record. If a page does not begin with a record that was seen before, rows
//! before it have vanished and the ones behind them moved up, so the paginator steps back until
//! it meets a known record. Records that were seen twice fall out later, by key.
//!
//! `skip + limit` never passes the endpoint's reach. A window that holds more is read oldest
//! first up to there; the rest, from the second of the last record on, is a window of its own. A
//! single second that holds more is read from both ends.

use std::collections::HashSet;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::endpoint::SkipLimit;
use crate::page::Page;
use crate::window::Window;

/// The order of a list by its date field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first: what arrives during the scan arrives behind it.
    OldestFirst,
    /// Newest first.
    NewestFirst,
}

/// One page to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Get {
    /// How many records to skip.
    pub skip: u32,
    /// How many to send.
    pub limit: u32,
    /// In which order.
    pub order: Order,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for this page.
    Get(Get),
    /// Up to the first of these windows this one is complete; they are to be read by themselves.
    Split(Vec<Window>),
    /// The window is complete.
    Done,
    /// The window holds records that no request can reach, or the server does not page.
    Stuck(Stuck),
}

/// Why a window cannot be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// One second holds more records than can be reached from both ends.
    #[error("more records in one second than skip and limit can reach")]
    Unreachable,
    /// Page after page came without a new record.
    #[error("the server repeats its pages, as if it ignored skip")]
    Repeats,
    /// Rows vanish faster than pages can be read.
    #[error("the list changes faster than it can be read")]
    Restless,
}

/// How many pages without a new record are too many.
const MAX_IDLE_PAGES: u32 = 4;
/// How many steps back in a row are too many.
const MAX_STEPS_BACK: u32 = 32;
/// Page sizes that servers fall back to: a page of just so many is not trusted to be the last.
const USUAL_PAGE_SIZES: [usize; 2] = [25, 50];

/// Reads one window, page by page.
#[derive(Debug)]
pub struct Paginator {
    window: Window,
    paging: SkipLimit,
    asked: Get,
    limit: u32,
    /// Keys seen in the present order.
    seen: HashSet<Box<str>>,
    /// Keys seen oldest first, once the order was turned.
    seen_from_below: HashSet<Box<str>>,
    last_time: Option<i64>,
    in_order: bool,
    idle_pages: u32,
    steps_back: u32,
    smooth_pages: u32,
}

impl Paginator {
    /// A paginator at the beginning of `window`.
    #[must_use]
    pub fn new(window: Window, paging: &SkipLimit) -> Self {
        let limit = paging.page_size.min(paging.reach).max(1);
        Self {
            window,
            paging: paging.clone(),
            asked: Get { skip: 0, limit, order: Order::OldestFirst },
            limit,
            seen: HashSet::new(),
            seen_from_below: HashSet::new(),
            last_time: None,
            in_order: true,
            idle_pages: 0,
            steps_back: 0,
            smooth_pages: 0,
        }
    }

    /// The page that was asked for last; at first, the first one.
    #[must_use]
    pub fn asked(&self) -> Get {
        self.asked
    }

    /// The page to ask for instead of the last one, which was too large to be sent; `None` when it
    /// was a single record.
    pub fn shrink(&mut self) -> Option<Get> {
        if self.limit <= 1 {
            return None;
        }
        self.limit = (self.asked.limit / 2).max(1);
        self.smooth_pages = 0;
        self.asked.limit = self.limit;
        Some(self.asked)
    }

    /// The page behind a single record that cannot be had; the window stays incomplete.
    pub fn pass_over(&mut self) -> Step {
        self.go_on(self.asked.skip + self.asked.limit)
    }

    /// Takes in the page that was asked for, and says what to do next.
    pub fn next(&mut self, page: &Page) -> Step {
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
        Step::Get(self.asked)
    }

    /// Notes the page's records; whether one of them was met from the other end.
    fn take_in(&mut self, page: &Page) -> bool {
        let mut is_new = false;
        let mut met = false;
        for entry in &page.entries {
            if self.asked.order == Order::OldestFirst && entry.time < self.last_time {
                self.in_order &= entry.time.is_none() || self.seen.contains(&entry.key);
            }
            self.last_time = self.last_time.max(entry.time);
            met |= self.seen_from_below.contains(&entry.key);
            is_new |= self.seen.insert(entry.key.clone());
        }
        self.idle_pages = if is_new { 0 } else { self.idle_pages + 1 };
        met
    }

    fn grow(&mut self) {
        self.smooth_pages += 1;
        if self.smooth_pages >= 4 && self.limit < self.paging.page_size {
            self.limit = (self.limit * 2).min(self.paging.page_size);
            self.smooth_pages = 0;
        }
    }

    fn is_last(&self, page: &Page) -> bool {
        let count = page.entries.len();
        let short = count < self.asked.limit as usize;
        match page.has_more {
            Some(more) => !more,
            None => short && !USUAL_PAGE_SIZES.contains(&count),
        }
    }

    /// The page that begins with the last record of this one, if the reach allows it.
    fn go_on(&mut self, position: u32) -> Step {
        let overlap = u32::from(self.limit > 1);
        let skip = position.saturating_sub(overlap);
        let limit = self.limit.min(self.paging.reach.saturating_sub(skip));
        if limit > overlap {
            self.asked = Get { skip, limit, ..self.asked };
            return Step::Get(self.asked);
        }
        match self.asked.order {
            Order::OldestFirst => self.split(),
            Order::NewestFirst => Step::Stuck(Stuck::Unreachable),
        }
    }

    fn split(&mut self) -> Step {
        let second = TimeDelta::seconds(1);
        if self.window.to - self.window.from <= second {
            return self.turn_round();
        }
        let last = self.last_time.filter(|_| self.in_order).and_then(second_of);
        if let Some(last) = last.filter(|last| self.window.from < *last && *last < self.window.to) {
            return Step::Split(vec![Window::new(last, self.window.to)]);
        }
        // The order is not by time, or one second fills the reach: halve, down to a second.
        let middle = if self.in_order && last.is_some() {
            self.window.from + second
        } else {
            middle_of(self.window)
        };
        let Window { from, to } = self.window;
        Step::Split(vec![Window::new(from, middle), Window::new(middle, to)])
    }

    fn turn_round(&mut self) -> Step {
        self.seen_from_below = std::mem::take(&mut self.seen);
        self.idle_pages = 0;
        self.asked = Get { skip: 0, limit: self.limit, order: Order::NewestFirst };
        Step::Get(self.asked)
    }
}

/// The whole second of an instant in microseconds.
fn second_of(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(micros.div_euclid(1_000_000), 0)
}

/// A whole second inside the window, near its middle. A window without a begin starts in 1970,
/// so the middle is sought among the years that can have calls.
fn middle_of(window: Window) -> DateTime<Utc> {
    let begin = window.from.max(window.to - TimeDelta::days(3_653));
    let middle = begin + (window.to - begin) / 2;
    let whole = middle.duration_trunc(TimeDelta::seconds(1)).unwrap_or(middle);
    whole.max(window.from + TimeDelta::seconds(1))
}
