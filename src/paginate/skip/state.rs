//! What a window that is read by skip and limit has shown so far.

use std::collections::{HashMap, HashSet};

use crate::calendar::TimeUnit;
use crate::endpoint::SkipLimit;
use crate::page::PageEntry;
use crate::paginate::rule::Said;
use crate::paginate::step::{Order, Slice, Step};
use crate::paginate::unread::Unread;
use crate::window::Window;

/// Reads one window, page by page.
#[derive(Debug)]
pub(in crate::paginate) struct Skipping {
    pub(super) window: Window,
    pub(super) paging: SkipLimit,
    pub(super) asked: Slice,
    /// How many records come before the first one that has not been requested yet.
    pub(super) position: u32,
    /// The highest position so far: after a step back, pages up to here have known records.
    pub(super) furthest: u32,
    /// The shortest window that can be requested.
    pub(super) unit: TimeUnit,
    pub(super) limit: u32,
    /// Keys seen in the present order.
    pub(super) seen: HashSet<Box<str>>,
    /// What was read oldest first, once the order was reversed.
    pub(super) below: Option<Below>,
    /// The key of the first record, and those of the last two.
    pub(super) first_key: Option<Box<str>>,
    pub(super) last_keys: [Option<Box<str>>; 2],
    pub(super) times: Times,
    /// What could not be read in the present order.
    pub(super) unread: Unread,
    /// How many pages in a row went further but had no new record.
    pub(super) idle_pages: u32,
    /// How many replies in a row had none.
    pub(super) idle_replies: u32,
    /// How many steps back were taken since the last new record. Only this ends the reading of a list whose
    /// pages never fit together, since pages that are read again do not count as idle.
    pub(super) vain_steps_back: u32,
    pub(super) smooth_pages: u32,
    /// The keys that the next page must begin with: the last one, or all of the last instant.
    pub(super) tail: Vec<Box<str>>,
    /// How many records the first page has.
    pub(super) first_count: usize,
    /// How many records the largest page has.
    pub(super) most: usize,
    /// The order in which keys first came.
    pub(super) places: HashMap<Box<str>, usize>,
    pub(super) said: Said,
    /// Whether a page was requested without a record to begin with.
    pub(super) was_blind: bool,
    /// Whether the page after the furthest one has records, but did not begin with a known one.
    pub(super) has_mismatched: bool,
    /// How many pages have been taken in.
    pub(super) pages: u32,
    /// How many requests were made only to confirm that nothing follows.
    pub(in crate::paginate) confirmations: u32,
    /// How many records a total counts that the list ends without.
    pub(in crate::paginate) hidden: u64,
    pub(super) pass: Pass,
    /// What follows once the record before a single one has turned out to be known.
    pub(super) then: Option<Then>,
    /// Where the requested page begins.
    pub(super) begin: Begin,
}

/// Where the requested page begins, seen from the last record before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// With the last record, or the last instant; with any record if there is none yet.
    Overlapping,
    /// After the last record, though the page is larger than one.
    Apart,
    /// After a record that could not be read.
    AfterGap,
    /// Further back, after so many steps in a row.
    Back(u32),
}

impl Begin {
    /// How many steps back in a row led here.
    pub(super) fn steps_back(self) -> u32 {
        if let Self::Back(steps) = self { steps } else { 0 }
    }
}

impl Skipping {
    /// At the beginning of `window`, where no window shorter than a `unit` can be requested.
    pub(in crate::paginate) fn new(window: Window, unit: TimeUnit, paging: &SkipLimit) -> Self {
        let limit = paging.page_size.min(paging.reach).max(1);
        let order = Some(Order::OldestFirst).filter(|_| !paging.oldest_first.is_empty());
        Self {
            window,
            paging: paging.clone(),
            asked: Slice { skip: 0, limit, order: Order::OldestFirst, counts: false },
            position: 0,
            furthest: 0,
            unit,
            limit,
            seen: HashSet::new(),
            below: None,
            first_key: None,
            last_keys: [None, None],
            times: Times::default(),
            unread: Unread::new(order),
            idle_pages: 0,
            idle_replies: 0,
            vain_steps_back: 0,
            smooth_pages: 0,
            tail: Vec::new(),
            first_count: 0,
            most: 0,
            places: HashMap::new(),
            said: Said::default(),
            was_blind: false,
            has_mismatched: false,
            pages: 0,
            confirmations: 0,
            hidden: 0,
            pass: Pass::default(),
            then: None,
            begin: Begin::Overlapping,
        }
    }
}

/// The times of a list, oldest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) last: Option<i64>,
    /// Whether they came in order.
    pub(super) in_order: bool,
}

impl Default for Times {
    fn default() -> Self {
        Self { last: None, in_order: true }
    }
}

impl Times {
    /// Adds a record, which must not be older than the last one if it `continues` the list.
    pub(super) fn note(&mut self, entry: &PageEntry, continues: bool) {
        let is_older = entry.time.is_some() && entry.time < self.last;
        self.in_order &= !(continues && is_older);
        self.last = self.last.max(entry.time);
    }

    /// Whether a record must be before the last one.
    pub(super) fn is_before_last(&self, entry: &PageEntry) -> bool {
        self.in_order && entry.time.is_some() && entry.time < self.last
    }
}

/// One pass through the list from its beginning; another one follows if it does not add up.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is noted by itself")]
pub(super) struct Pass {
    /// How many passes came before. From the second on, pages begin where an instant begins.
    pub(super) before: u32,
    /// How many pages the first pass took.
    pub(super) pages: u32,
    /// How many keys were known when it began.
    pub(super) known: usize,
    /// The keys that came in this pass, unless it is the first.
    pub(super) own: HashSet<Box<str>>,
    /// The keys that came since the list had its present length.
    pub(super) keys: HashSet<Box<str>>,
    /// The length of the list according to the previous pass.
    pub(super) length: Option<u32>,
    /// How many records shared the key of another one on their page.
    pub(super) twins: usize,
    /// Whether a page began with a known record other than the last one.
    pub(super) is_shifted: bool,
    /// Whether rows with the same time changed places.
    pub(super) is_shuffled: bool,
    /// Whether a record was skipped, so that keys cannot be counted.
    pub(super) has_passed_over: bool,
    /// Whether the whole last page was one instant, so that the next could not begin with it.
    pub(super) is_dense: bool,
}

/// What was read of a window oldest first, before the order was reversed.
#[derive(Debug)]
pub(super) struct Below {
    pub(super) keys: HashSet<Box<str>>,
    pub(super) first_key: Option<Box<str>>,
    pub(super) last_keys: [Option<Box<str>>; 2],
    pub(super) times: Times,
    pub(super) unread: Unread,
    /// Whether a known record other than the last one was reached.
    pub(super) has_met: bool,
    /// Whether the last record was reached first, and nothing has come since.
    pub(super) has_met_last: bool,
}

impl Below {
    /// Whether a list that begins with this record is not just the same list reversed.
    pub(super) fn begins_with(&self, entry: &PageEntry) -> bool {
        let is_same = self.first_key.as_ref() == Some(&entry.key);
        let is_single = self.first_key == self.last_keys[1];
        let is_older = self.times.is_before_last(entry);
        (is_same && !is_single) || is_older
    }

    /// Whether reading newest first has reached the end of what was read oldest first. An earlier
    /// time always proves that. A server may list records of one instant in the same order both
    /// ways, so known records prove it only if they come in the reverse order: the very last first,
    /// then the one before it.
    pub(super) fn is_met_by(&mut self, entry: &PageEntry) -> bool {
        let [before_last, last] = &self.last_keys;
        let is_earlier = self.times.is_before_last(entry);
        let is_mirrored = self.has_met_last && before_last.as_ref() == Some(&entry.key);
        self.has_met_last = !self.has_met && last.as_ref() == Some(&entry.key);
        self.has_met |= self.keys.contains(&entry.key) && !self.has_met_last;
        is_earlier || is_mirrored
    }
}

/// A step that waits, with the page that it requests.
#[derive(Debug)]
pub(super) struct Then {
    pub(super) step: Step,
    pub(super) asked: Slice,
    /// What could not be read before the single record: if rows have moved up, what is missing is
    /// before it.
    pub(super) unread: Unread,
}
