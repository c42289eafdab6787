//! Skip and limit: pages that overlap by one record, windows that are split, both ends of a second.
//!
//! Pages overlap by one record. If a page does not begin with a record that was seen before, rows
//! before it have vanished and the ones behind them moved up, so the paginator steps back until
//! it meets a known record. Records that were seen twice fall out later, by key.
//!
//! `skip + limit` never passes the endpoint's reach. A window that holds more is read oldest
//! first up to there; the rest, from the moment of the last record on, is a window of its own. A
//! window that cannot be split, being as short as can be asked for, is read from both ends, where
//! the server sorts both ways.
//!
//! A single record that the server fails to send is passed over. Until pages of more than one
//! record are asked for again, they do not overlap, because an overlap would hold it.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::unread::{Found, Place, Unread, second_of};
use super::{Get, Order, Slice, Step, Stuck};
use crate::calendar::TimeUnit;
use crate::endpoint::SkipLimit;
use crate::page::{Page, PageEntry};
use crate::window::Window;

/// How many pages without a new record are too many.
const MAX_IDLE_PAGES: u32 = 4;
/// How many steps back without a new record are too many.
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
    /// How many records are before the first one that was not asked for yet.
    position: u32,
    /// The highest position so far: behind a step back, pages up to here hold known records.
    furthest: u32,
    /// The shortest window that can be asked for.
    unit: TimeUnit,
    limit: u32,
    /// Keys seen in the present order.
    seen: HashSet<Box<str>>,
    /// What was read oldest first, once the order was turned.
    below: Option<Below>,
    /// The key of the first record, and those of the last two.
    first_key: Option<Box<str>>,
    last_keys: [Option<Box<str>>; 2],
    last_time: Option<i64>,
    in_order: bool,
    /// What could not be read in the present order.
    unread: Unread,
    /// How many pages in a row went further and brought no new record.
    idle_pages: u32,
    /// How many steps back in a row were taken.
    steps_back: u32,
    /// How many were taken since the last new record. Only this ends the reading of a list whose
    /// pages never fit together, since pages that are read again are not idle.
    vain_steps_back: u32,
    smooth_pages: u32,
    /// The page size that the server seems to insist on.
    cut_to: Option<usize>,
}

impl Skipping {
    /// At the beginning of `window`, of which nothing shorter than a `unit` can be asked for.
    pub(super) fn new(window: Window, unit: TimeUnit, paging: &SkipLimit) -> Self {
        let limit = paging.page_size.min(paging.reach).max(1);
        let order = Some(Order::OldestFirst).filter(|_| !paging.oldest_first.is_empty());
        Self {
            window,
            paging: paging.clone(),
            asked: Slice { skip: 0, limit, order: Order::OldestFirst },
            position: 0,
            furthest: 0,
            unit,
            limit,
            seen: HashSet::new(),
            below: None,
            first_key: None,
            last_keys: [None, None],
            last_time: None,
            in_order: true,
            unread: Unread::new(order),
            idle_pages: 0,
            steps_back: 0,
            vain_steps_back: 0,
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
        if self.limit == 1 && self.steps_back == 0 {
            // The record that pages overlap by is known already.
            self.asked.skip = self.asked.skip.max(self.position);
        }
        Some(self.asked())
    }

    /// The page behind a single record that cannot be read; `None` when that is so of too many in
    /// a row.
    pub(super) fn pass_over(&mut self) -> Option<Step> {
        if self.steps_back > 0 && self.asked.skip > 0 {
            // It is no known record, so those before it are looked at.
            return Some(self.step_back());
        }
        self.steps_back = 0;
        let goes_on = self.unread.miss(Place::record(self.asked.skip, self.asked.order));
        goes_on.then(|| self.go_on(self.asked.skip + 1))
    }

    /// Notes that nothing more can be read.
    pub(super) fn give_up(&mut self) {
        self.unread.miss_the_rest(Place::record(self.asked.skip, self.asked.order));
    }

    /// Leaves out what was passed over last, if no record behind it was read.
    pub(super) fn drop_open(&mut self) {
        self.unread.drop_open();
    }

    /// What could not be read so far.
    pub(super) fn unread(&self) -> Vec<Found> {
        let below = self.below.as_ref().map(|below| below.unread.found(self.window));
        let mut found = below.unwrap_or_default();
        found.extend(self.unread.found(self.window));
        found
    }

    /// Takes in the page that was asked for, and says what to do next.
    pub(super) fn next(&mut self, page: &Page) -> Step {
        if !self.is_contiguous(page) {
            return self.step_back();
        }
        self.steps_back = 0;
        if self.is_turned_in_vain(page) {
            return Step::Stuck(Stuck::Unreachable);
        }
        let met = self.take_in(page);
        self.grow();
        if self.idle_pages > MAX_IDLE_PAGES {
            return Step::Stuck(Stuck::Repeats);
        }
        if met || self.is_last(page) {
            return Step::Done;
        }
        self.go_on(self.end_of(page))
    }

    /// The position behind the page that was asked for.
    fn end_of(&self, page: &Page) -> u32 {
        let count = u32::try_from(page.entries.len()).unwrap_or(u32::MAX);
        self.asked.skip.saturating_add(count)
    }

    /// Whether nothing can be missing between the pages before and this one.
    fn is_contiguous(&self, page: &Page) -> bool {
        let known = page.entries.first().is_some_and(|entry| self.seen.contains(&entry.key));
        let is_alone = self.asked.limit == 1 && self.steps_back == 0;
        self.asked.skip == 0 || is_alone || known
    }

    /// Whether the other order is none: it begins with the same record, or with one that is older
    /// than the last one of the first order, or its times rise.
    fn is_turned_in_vain(&self, page: &Page) -> bool {
        let Some(below) = &self.below else { return false };
        let times = page.entries.iter().filter_map(|entry| entry.time);
        let first = page.entries.first().filter(|_| self.seen.is_empty());
        first.is_some_and(|first| below.begins_with(first))
            || !times.is_sorted_by(|newer, older| newer >= older)
    }

    fn step_back(&mut self) -> Step {
        self.steps_back += 1;
        self.vain_steps_back += 1;
        if self.vain_steps_back > MAX_STEPS_BACK {
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
            let is_before = entry.time.is_some_and(|it| it < self.window.from.timestamp_micros());
            met |= is_before && self.below.is_some();
            met |= self.below.as_mut().is_some_and(|below| below.is_met_by(entry));
            if self.asked.order == Order::OldestFirst && entry.time < self.last_time {
                self.in_order &= entry.time.is_none() || self.seen.contains(&entry.key);
            }
            self.last_time = self.last_time.max(entry.time);
            let is_first = self.seen.insert(entry.key.clone());
            self.unread.read(entry, is_first);
            if is_first {
                self.first_key.get_or_insert_with(|| entry.key.clone());
                self.last_keys.rotate_left(1);
                self.last_keys[1] = Some(entry.key.clone());
            }
            is_new |= is_first;
        }
        let end = self.end_of(page);
        if is_new {
            (self.idle_pages, self.vain_steps_back) = (0, 0);
        } else if end > self.furthest {
            self.idle_pages += 1;
        }
        self.furthest = self.furthest.max(end);
        met
    }

    fn grow(&mut self) {
        self.smooth_pages += 1;
        // Pages of one record do not overlap, so a record that shifts meanwhile would be missed.
        let enough = if self.limit == 1 { 1 } else { 4 };
        if self.smooth_pages >= enough && self.limit < self.paging.page_size {
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
        self.position = position;
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
        if self.in_order && self.last_time >= Some(to.timestamp_micros()) {
            // Everything behind is beyond the window: a server may count its edge as inside.
            return Step::Done;
        }
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
        if self.paging.newest_first == self.paging.oldest_first {
            return Step::Stuck(Stuck::Unreachable);
        }
        let mut unread = std::mem::replace(&mut self.unread, Unread::new(Some(Order::NewestFirst)));
        // What is behind the last record is met again from the other end.
        unread.drop_open();
        self.below = Some(Below {
            keys: std::mem::take(&mut self.seen),
            first_key: self.first_key.take(),
            last_keys: std::mem::take(&mut self.last_keys),
            last_time: self.last_time,
            in_order: self.in_order,
            unread,
            has_met: false,
            has_met_last: false,
        });
        self.idle_pages = 0;
        self.position = 0;
        self.furthest = 0;
        self.vain_steps_back = 0;
        self.asked = Slice { skip: 0, limit: self.limit, order: Order::NewestFirst };
        Step::Get(self.asked())
    }
}

/// What was read of a window oldest first, before the order was turned.
#[derive(Debug)]
struct Below {
    keys: HashSet<Box<str>>,
    first_key: Option<Box<str>>,
    last_keys: [Option<Box<str>>; 2],
    last_time: Option<i64>,
    /// Whether it came in the order of its times.
    in_order: bool,
    unread: Unread,
    /// Whether a record was met that is known and not the last one.
    has_met: bool,
    /// Whether the last record was the first to be met, and nothing came since.
    has_met_last: bool,
}

impl Below {
    /// Whether a list that begins with this record is not the same list the other way round.
    fn begins_with(&self, entry: &PageEntry) -> bool {
        let is_same = self.first_key.as_ref() == Some(&entry.key);
        let is_single = self.first_key == self.last_keys[1];
        let is_older = self.in_order && entry.time.is_some() && entry.time < self.last_time;
        (is_same && !is_single) || is_older
    }

    /// Whether reading newest first has come down to where reading oldest first ended. An earlier
    /// instant always proves that. A server may list records of one instant in the same order both
    /// ways, so known records prove it only if they come in the reverse order: the very last first,
    /// then the one before it.
    fn is_met_by(&mut self, entry: &PageEntry) -> bool {
        let [before_last, last] = &self.last_keys;
        let is_earlier = self.in_order && entry.time.is_some() && entry.time < self.last_time;
        let is_mirrored = self.has_met_last && before_last.as_ref() == Some(&entry.key);
        self.has_met_last = !self.has_met && last.as_ref() == Some(&entry.key);
        self.has_met |= self.keys.contains(&entry.key) && !self.has_met_last;
        is_earlier || is_mirrored
    }
}
