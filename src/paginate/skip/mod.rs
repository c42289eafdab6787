//! Skip and limit: overlapping pages, windows that are split, and reading a second from both ends.
//!
//! Pages overlap by one record, unless only that record would come, as from a server that caps its
//! pages at one: then the next page begins after it, and the record before that page is requested
//! once more. If a page does not begin with a known record, rows before it have
//! vanished and the ones after them moved up, so the paginator steps back until it reaches a known
//! record. Records that came twice are later removed by key.
//!
//! `skip + limit` never exceeds the endpoint's reach. A larger window is read oldest first up to
//! that limit; the rest, from the time of the last record on, becomes a window of its own. A window
//! that cannot be split, because it is the shortest that can be requested, is read from both ends
//! if the server sorts both ways.
//!
//! A server may break the ties of a sort differently in each reply. Then rows with the same time
//! change places between two pages, and one comes twice while another does not come. If nothing
//! moves, as many keys must have come as the list has positions, so they are counted at the end. If
//! some are missing, the list is read again with pages that begin where an instant begins, so that
//! each instant that fits on a page comes complete in one reply. An instant that does not fit is
//! read until it has as many keys as positions; otherwise the list is not complete.
//!
//! A single record that the server fails to send is skipped. Pages do not overlap until pages of
//! more than one record are requested again, because an overlap would include it. A page of one
//! record shows nothing about what comes before it, so the record before it is requested once more:
//! if it is not a known one, rows have moved up in the meantime.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::rule::{Counts, Evidence, Verdict, judge};
use super::unread::{Found, Place, Unread, second_of};
use super::{Get, Order, Slice, Step, Stuck};
use crate::calendar::TimeUnit;
use crate::endpoint::SkipLimit;
use crate::page::{Page, PageEntry};
use crate::window::Window;

/// How many pages in a row may have no new record.
const MAX_IDLE_PAGES: u32 = 4;
/// How many steps back may find no new record.
const MAX_STEPS_BACK: u32 = 32;
/// How many steps back that find no new record show that an empty page is empty.
const ENOUGH_STEPS_BACK: u32 = 2;
/// How many steps back in a row a list without times may take before its order counts as unstable.
const FEW_STEPS_BACK: u32 = 3;
/// How many replies in a row may have no new record, wherever they begin: whatever a server does,
/// reading ends.
const MAX_IDLE_REPLIES: u32 = 64;
/// The minimum limit on the total pages of a list with unstable order.
const MOST_PAGES_OF_PASSES: u32 = 64;

/// How many more passes are made through a list that has one record a page.
const MOST_SINGLE_PASSES: u32 = 2;

/// Reads one window, page by page.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is noted by itself")]
pub(super) struct Skipping {
    window: Window,
    paging: SkipLimit,
    asked: Slice,
    /// How many records come before the first one that has not been requested yet.
    position: u32,
    /// The highest position so far: after a step back, pages up to here have known records.
    furthest: u32,
    /// The shortest window that can be requested.
    unit: TimeUnit,
    limit: u32,
    /// Keys seen in the present order.
    seen: HashSet<Box<str>>,
    /// What was read oldest first, once the order was reversed.
    below: Option<Below>,
    /// The key of the first record, and those of the last two.
    first_key: Option<Box<str>>,
    last_keys: [Option<Box<str>>; 2],
    last_time: Option<i64>,
    in_order: bool,
    /// What could not be read in the present order.
    unread: Unread,
    /// How many pages in a row went further but had no new record.
    idle_pages: u32,
    /// How many replies in a row had none.
    idle_replies: u32,
    /// How many steps back in a row were taken.
    steps_back: u32,
    /// How many were taken since the last new record. Only this ends the reading of a list whose
    /// pages never fit together, since pages that are read again do not count as idle.
    vain_steps_back: u32,
    smooth_pages: u32,
    /// The keys that the next page must begin with: the last one, or all of the last instant.
    tail: Vec<Box<str>>,
    /// How many records the first page has.
    first_count: usize,
    /// How many records the largest page has.
    most: usize,
    /// The order in which keys first came.
    places: HashMap<Box<str>, usize>,
    /// What the latest replies said about the list as a whole, and whether the last one said that
    /// it ends.
    counts: Counts,
    says_end: bool,
    /// Whether any reply said whether there is more.
    is_told: bool,
    /// Whether a page was requested without a record to begin with.
    was_blind: bool,
    /// How many pages have been taken in.
    pages: u32,
    /// How many requests were made only to confirm that nothing follows.
    pub(super) confirmations: u32,
    /// How many records a total counts that the list ends without.
    pub(super) hidden: u64,
    pass: Pass,
    /// What follows once the record before a single one has turned out to be known.
    then: Option<Then>,
    /// Whether the record before the requested one could not be read.
    is_after_gap: bool,
    /// Whether the requested page begins after the last record, though it is larger than one.
    is_apart: bool,
}

/// A step that waits, with the page that it requests.
#[derive(Debug)]
struct Then {
    step: Step,
    asked: Slice,
    /// What could not be read before the single record: if rows have moved up, what is missing is
    /// before it.
    unread: Unread,
}

/// One pass through the list from its beginning; another one follows if it does not add up.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is noted by itself")]
struct Pass {
    /// Whether pages begin where an instant begins.
    by_instant: bool,
    /// How many passes came before.
    before: u32,
    /// How many pages the first pass took.
    pages: u32,
    /// How many keys were known when it began.
    known: usize,
    /// The keys that came in this pass, unless it is the first.
    own: HashSet<Box<str>>,
    /// The keys that came since the list had its present length.
    keys: HashSet<Box<str>>,
    /// The length of the list according to the previous pass.
    length: Option<u32>,
    /// How many records shared the key of another one on their page.
    twins: usize,
    /// Whether a page began with a known record other than the last one.
    is_shifted: bool,
    /// Whether rows with the same time changed places.
    is_shuffled: bool,
    /// Whether a record was skipped, so that keys cannot be counted.
    has_passed_over: bool,
    /// Whether the whole last page was one instant, so that the next could not begin with it.
    is_dense: bool,
}

impl Skipping {
    /// At the beginning of `window`, where no window shorter than a `unit` can be requested.
    pub(super) fn new(window: Window, unit: TimeUnit, paging: &SkipLimit) -> Self {
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
            last_time: None,
            in_order: true,
            unread: Unread::new(order),
            idle_pages: 0,
            idle_replies: 0,
            steps_back: 0,
            vain_steps_back: 0,
            smooth_pages: 0,
            tail: Vec::new(),
            first_count: 0,
            most: 0,
            places: HashMap::new(),
            counts: Counts::default(),
            says_end: false,
            is_told: false,
            was_blind: false,
            pages: 0,
            confirmations: 0,
            hidden: 0,
            pass: Pass::default(),
            then: None,
            is_after_gap: false,
            is_apart: false,
        }
    }

    /// The last requested page; initially the first one.
    pub(super) fn asked(&self) -> Get {
        Get::Slice(self.asked)
    }

    /// The page to request instead of the last one, which was too large to be sent; `None` when it
    /// was a single record.
    pub(super) fn shrink(&mut self) -> Option<Get> {
        if self.limit <= 1 || self.then.is_some() {
            return None;
        }
        self.limit = (self.asked.limit / 2).max(1);
        self.smooth_pages = 0;
        self.asked.limit = self.limit;
        if self.limit == 1 && self.steps_back == 0 {
            // The record that pages overlap by is already known.
            self.asked.skip = self.asked.skip.max(self.position);
        }
        Some(self.asked())
    }

    /// The page after a single record that cannot be read; `None` when too many in a row cannot be
    /// read.
    pub(super) fn pass_over(&mut self) -> Option<Step> {
        if let Some(then) = self.then.take() {
            // The known record could be read, so this is another one.
            self.unread = then.unread;
            return Some(self.step_back());
        }
        if self.steps_back > 0 && self.asked.skip > 0 {
            // It is not a known record, so those before it are checked.
            return Some(self.step_back());
        }
        self.steps_back = 0;
        self.is_after_gap = true;
        self.pass.has_passed_over = true;
        let goes_on = self.unread.miss(Place::record(self.asked.skip, self.asked.order));
        goes_on.then(|| self.go_on(self.asked.skip + 1))
    }

    /// Records that nothing more can be read.
    pub(super) fn give_up(&mut self) {
        if let Some(then) = self.then.take() {
            self.asked = then.asked;
        }
        self.unread.miss_the_rest(Place::record(self.asked.skip, self.asked.order));
    }

    /// Discards the last skipped records if no record after them was read.
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

    /// Takes in the requested page, and returns the next step. `largest` is the number of records
    /// in the largest page of the run.
    pub(super) fn next(&mut self, page: &Page, largest: usize) -> Step {
        if let Some(then) = self.then.take() {
            return self.go_on_if_known(page, then);
        }
        let asked = self.asked;
        let is_after_gap = std::mem::take(&mut self.is_after_gap);
        let is_alone = asked.limit == 1 && self.steps_back == 0 && !self.tail.is_empty();
        let is_apart = self.is_apart && page.entries.iter().any(|it| !self.has_come(&it.key));
        // A second pass of single records is compared with the first.
        let is_compared = self.most == 1 && self.pass.before > 0;
        let is_unlinked = (is_alone || is_apart) && asked.skip > 0 && !is_after_gap && !is_compared;
        let unread = is_unlinked.then(|| self.unread.clone());
        let pass = self.pass.before;
        let step = self.step_after(page, largest);
        let goes_on = self.pass.before == pass
            && self.below.is_none()
            && matches!(step, Step::Get(_) | Step::Done);
        let Some(unread) = unread.filter(|_| goes_on) else { return step };
        self.then = Some(Then { step, asked: self.asked, unread });
        self.asked = Slice { skip: asked.skip - 1, limit: 1, counts: false, ..asked };
        Step::Get(self.asked())
    }

    /// The step that waited, if the record before a single one is still a known one.
    fn go_on_if_known(&mut self, page: &Page, then: Then) -> Step {
        let is_known = page.entries.first().is_none_or(|it| self.has_come(&it.key));
        if !is_known {
            self.unread = then.unread;
            return self.step_back();
        }
        self.asked = then.asked;
        then.step
    }

    fn step_after(&mut self, page: &Page, largest: usize) -> Step {
        if !self.is_contiguous(page) {
            return self.step_back();
        }
        let is_after_step_back = std::mem::take(&mut self.steps_back) > 0;
        if self.reversing_did_not_help(page) {
            return Step::Stuck(Stuck::Unreachable);
        }
        // A page that is just the overlap gives a record to continue after.
        let is_overlap = !self.is_apart && page.entries.len() <= self.tail.len().max(1);
        let evidence = self.evidence(page, largest, is_after_step_back);
        if evidence.new == 0 && self.says_more(page) && self.restarts(page) {
            return Step::Stuck(Stuck::Repeats);
        }
        let met = self.take_in(page);
        self.pages += 1;
        self.grow();
        if self.idle_pages > MAX_IDLE_PAGES || self.idle_replies > MAX_IDLE_REPLIES {
            let repeats = if page.entries.is_empty() { Stuck::Empty } else { Stuck::Repeats };
            return Step::Stuck(page.pointer.as_ref().map_or(repeats, Stuck::of));
        }
        if met {
            return Step::Done;
        }
        let end = self.end_of(page);
        match judge(evidence) {
            Verdict::Complete => self.close(end),
            Verdict::Hidden(count) => {
                self.hidden = count;
                self.close(end)
            }
            Verdict::Fewer(total) => self.fewer(end, total),
            Verdict::Confirm => {
                self.confirmations += 1;
                self.go_on(end)
            }
            // Nothing new, but there is more: there is no record to continue from.
            Verdict::More if page.entries.is_empty() => self.go_blind(),
            Verdict::More if evidence.new == 0 && self.counts.total.is_some() && !is_overlap => {
                self.go_blind()
            }
            Verdict::More => self.go_on(end),
        }
    }

    fn evidence(&mut self, page: &Page, largest: usize, is_after_step_back: bool) -> Evidence {
        self.counts.note(page, self.asked.limit);
        self.says_end = page.has_more == Some(false);
        self.is_told |= page.has_more.is_some() || page.pointer.is_some();
        self.is_told |= self.counts.any().is_some();
        let keys: HashSet<_> = page.entries.iter().map(|entry| &entry.key).collect();
        let new = keys.iter().filter(|key| !self.has_come(key)).count();
        self.pass.twins += page.entries.len() - keys.len();
        let is_first = self.tail.is_empty();
        if is_first && self.asked.skip == 0 {
            self.first_count = page.entries.len();
        }
        self.most = self.most.max(page.entries.len());
        let overlaps = self.asked.skip < self.position && !self.tail.is_empty();
        let is_shifted = !self.continues(page) && !self.is_in_place(page);
        self.pass.is_shifted |= overlaps && !page.entries.is_empty() && is_shifted;
        // Where rows change places, known ones can fill a page anywhere in the list. Only at its end
        // does a page bring no more than it overlaps by.
        let came_as_nothing = self.pages > 0 && self.seen.is_empty();
        let is_mere_overlap = page.entries.len() <= self.tail.len().max(1);
        // A page that was read again after a step back shows nothing about what follows.
        let is_at_end = page.entries.len() <= 1 || self.end_of(page) >= self.furthest;
        let goes_further = page.entries.is_empty()
            || self.end_of(page) > self.furthest
            || (is_at_end && is_mere_overlap && !is_after_step_back);
        // A known record after the last one shows that rows change places.
        let is_other = page.entries.first().is_some_and(|it| Some(&it.key) != self.tail.last());
        let may_be_end =
            (!self.pass.is_shuffled || is_mere_overlap) && !(self.is_apart && is_other);
        Evidence {
            came: page.entries.len(),
            new,
            is_full: page.entries.len() >= self.asked.limit as usize,
            end: self.end_of(page).into(),
            pages_before: self.pages,
            largest: largest.max(page.entries.len()),
            is_confirming: (!is_first || came_as_nothing) && goes_further && may_be_end,
            is_shifted: self.pass.is_shifted,
            has_more: page.has_more,
            total: self.counts.total,
            count: self.counts.count,
            hints_more: page.hints_more,
            points_on: page.pointer.is_some(),
            lacks_known: page.lacks_known,
        }
    }

    /// Whether a key came earlier in this pass.
    fn has_come(&self, key: &str) -> bool {
        if self.pass.before == 0 { self.seen.contains(key) } else { self.pass.own.contains(key) }
    }

    /// Whether the page begins with the end of the one before: one record, or all those of an
    /// instant, in any order.
    fn continues(&self, page: &Page) -> bool {
        match self.tail.as_slice() {
            [last] => page.entries.first().is_some_and(|first| first.key == *last),
            tail => tail.iter().all(|key| page.entries.iter().any(|entry| entry.key == *key)),
        }
    }

    /// Whether the last record is where it was, in a page that begins before it.
    fn is_in_place(&self, page: &Page) -> bool {
        let before = self.position.checked_sub(self.asked.skip + 1);
        let at = before.and_then(|it| page.entries.get(it as usize)).map(|entry| &entry.key);
        at.is_some() && at == self.tail.last()
    }

    /// Whether a later page is the same as the first one.
    fn restarts(&self, page: &Page) -> bool {
        let count = page.entries.len();
        let first = page.entries.first().map(|entry| &entry.key);
        let is_later = self.asked.skip > 0 && self.below.is_none() && !self.pass.is_shuffled;
        is_later && count > 1 && count >= self.first_count && first == self.first_key.as_ref()
    }

    /// Whether a reply says that there is more than has come.
    fn says_more(&self, page: &Page) -> bool {
        let counts_more = self.counts.total.is_some_and(|total| total > self.seen.len() as u64);
        page.has_more != Some(false)
            && (page.has_more == Some(true) || page.pointer.is_some() || counts_more)
    }

    /// The list was read to its end at this position. Done if as many keys came as it has
    /// positions; otherwise it is read again.
    fn close(&mut self, end: u32) -> Step {
        let again = if self.adds_up(end) { None } else { self.read_again(end) };
        again.unwrap_or_else(|| self.end(end))
    }

    /// The list was read as often as it takes. It is complete unless the replies count more.
    fn end(&mut self, end: u32) -> Step {
        let total = self.counts.any().filter(|total| *total > self.count());
        // Where pages without records were passed over, an end does not explain what is missing.
        let is_explained = self.says_end && !self.was_blind;
        match total.filter(|_| !is_explained && !self.is_partial()) {
            Some(total) => self.fewer(end, total),
            None => Step::Done,
        }
    }

    /// Nothing more comes, but the replies count more. The total may be that of the first page, and
    /// of a time when the list was longer.
    fn fewer(&mut self, end: u32, total: u64) -> Step {
        if self.is_partial() {
            return self.close(end);
        }
        let counts = !self.paging.count.is_empty();
        // What comes after the last record shows whether the server caps its pages at one.
        let skip = if self.is_apart { self.asked.skip } else { end };
        let limit = self.limit.min(self.paging.reach.saturating_sub(skip));
        let is_another = skip > self.asked.skip || (counts && !self.asked.counts);
        if is_another && limit > 0 {
            self.asked = Slice { skip, limit, counts, ..self.asked };
            self.is_apart = true;
            self.confirmations += 1;
            return Step::Get(self.asked());
        }
        Step::Stuck(Stuck::Fewer { came: self.count(), total })
    }

    /// Whether this is only a part of the list: records were skipped, or came from the other end.
    fn is_partial(&self) -> bool {
        self.pass.has_passed_over || !self.unread.is_empty() || self.below.is_some()
    }

    /// How many records came, each once.
    fn count(&self) -> u64 {
        (self.seen.len() + self.pass.twins) as u64
    }

    /// Whether as many keys came as there are positions up to this one.
    fn adds_up(&self, end: u32) -> bool {
        let Pass { has_passed_over, is_shuffled, by_instant, .. } = self.pass;
        if has_passed_over || self.below.is_some() {
            return true;
        }
        if self.is_single(end) {
            let is_same = self.pass.before > 0 && self.seen.len() == self.pass.known;
            return is_same && self.pass.own.len() == end as usize;
        }
        let keys = match &self.pass {
            Pass { before: 0, .. } => self.seen.len(),
            pass if pass.length == Some(end) => pass.keys.len(),
            pass => pass.own.len(),
        };
        let keys = keys + self.pass.twins;
        // If each instant came complete, nothing can be missing.
        let is_whole = by_instant && !self.pass.is_dense && !self.pass.is_shifted;
        // In a shuffled list, some keys may have vanished, so their number proves nothing until a
        // whole pass has found no new one.
        let is_stable = self.pass.before > 0 && self.seen.len() == self.pass.known;
        is_whole || (keys >= end as usize && (!is_shuffled || is_stable))
    }

    /// Whether each page had one record, so that none shows that the one before it is still in its
    /// place. A list of which a single record came in silence looks like that, too.
    fn is_single(&self, end: u32) -> bool {
        self.most == 1 && self.pages > 1 && (end > 1 || self.is_told)
    }

    /// Reads the list again, by instants; `None` when that would show nothing more.
    fn read_again(&mut self, end: u32) -> Option<Step> {
        let is_news = self.seen.len() > self.pass.known;
        // If a list only moves and keeps its order, it has been read to the end when nothing new
        // comes.
        if self.pass.before > 0 && !self.pass.is_shuffled && !is_news && !self.is_single(end) {
            return None;
        }
        let is_single = self.is_single(end);
        let pass = std::mem::take(&mut self.pass);
        let pages = if pass.before == 0 { self.pages } else { pass.pages };
        let is_too_long = self.pages >= MOST_PAGES_OF_PASSES.max(pages.saturating_mul(4));
        if is_too_long || (is_single && pass.before >= MOST_SINGLE_PASSES) {
            return Some(Step::Stuck(Stuck::Unstable));
        }
        self.pass = Pass {
            by_instant: true,
            before: pass.before + 1,
            pages,
            known: self.seen.len(),
            // What came while the list had another length may be gone.
            keys: if pass.length == Some(end) { pass.keys } else { pass.own },
            length: Some(end),
            is_shuffled: pass.is_shuffled,
            ..Pass::default()
        };
        (self.position, self.furthest, self.idle_pages) = (0, 0, 0);
        (self.vain_steps_back, self.is_apart) = (0, false);
        self.last_time = None;
        self.tail.clear();
        self.asked = Slice { skip: 0, limit: self.limit, counts: false, ..self.asked };
        Some(Step::Get(self.asked()))
    }

    /// The page after one with nothing new, which gives it no record to begin with.
    fn go_blind(&mut self) -> Step {
        // If a server caps its pages, do not skip more records than it would have sent.
        let stride = u32::try_from(self.most).unwrap_or(u32::MAX);
        let stride = if stride == 0 { self.asked.limit } else { stride.min(self.asked.limit) };
        let end = self.asked.skip.saturating_add(stride);
        self.tail.clear();
        (self.is_apart, self.was_blind) = (false, true);
        self.position = end;
        let limit = self.limit.min(self.paging.reach.saturating_sub(end));
        if limit == 0 {
            return Step::Stuck(Stuck::Repeats);
        }
        self.asked = Slice { skip: end, limit, counts: false, ..self.asked };
        Step::Get(self.asked())
    }

    /// The position after the requested page.
    fn end_of(&self, page: &Page) -> u32 {
        let count = u32::try_from(page.entries.len()).unwrap_or(u32::MAX);
        self.asked.skip.saturating_add(count)
    }

    /// Whether nothing can be missing between the previous pages and this one.
    fn is_contiguous(&mut self, page: &Page) -> bool {
        let first = page.entries.first();
        let known = first.is_some_and(|entry| self.has_come(&entry.key));
        let is_alone = self.asked.limit == 1 && self.steps_back == 0;
        // After a page with nothing new, there is nothing to begin with.
        let is_blind = self.tail.is_empty() || self.is_apart;
        if self.asked.skip == 0 || is_alone || known || is_blind || self.continues(page) {
            return true;
        }
        // If the record before an empty page is still there, the page is as empty as it looks.
        let is_told =
            self.counts.total.is_some() || page.has_more.is_some() || page.count.is_some();
        if first.is_none() && is_told && self.vain_steps_back >= ENOUGH_STEPS_BACK {
            return true;
        }
        // A record of the same instant may only have changed places. That is determined at the end.
        let is_tie = first.is_some_and(|it| it.time.is_some() && it.time == self.last_time);
        let is_lost = first.is_some() && self.last_time.is_none();
        let is_shuffled = is_tie || (is_lost && self.steps_back >= FEW_STEPS_BACK);
        self.pass.is_shuffled |= is_shuffled;
        is_shuffled
    }

    /// Whether the server ignores the reversed order: the list begins with the same record, or with
    /// one that is older than the last one of the first order, or its times ascend.
    fn reversing_did_not_help(&self, page: &Page) -> bool {
        let Some(below) = &self.below else { return false };
        let times = page.entries.iter().filter_map(|entry| entry.time);
        let first = page.entries.first().filter(|_| self.seen.is_empty());
        first.is_some_and(|first| below.begins_with(first))
            || !times.is_sorted_by(|newer, older| newer >= older)
    }

    /// Whether more records were requested than up to this position.
    fn asked_more_than(&self, position: u32) -> bool {
        position < self.asked.skip.saturating_add(self.asked.limit)
    }

    fn step_back(&mut self) -> Step {
        self.is_apart = false;
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

    /// Records the page's contents. Returns whether one of its records was reached from the other
    /// end.
    fn take_in(&mut self, page: &Page) -> bool {
        let mut is_new = false;
        let mut met = false;
        let before = self.pass.before;
        self.note_order(page);
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
            if before > 0 {
                self.pass.keys.insert(entry.key.clone());
                is_new |= self.pass.own.insert(entry.key.clone());
            } else {
                is_new |= is_first;
            }
        }
        self.note_ties(page);
        let end = self.end_of(page);
        if is_new {
            (self.idle_pages, self.idle_replies, self.vain_steps_back) = (0, 0, 0);
        } else {
            self.idle_pages += u32::from(end > self.furthest);
            self.idle_replies += 1;
        }
        self.furthest = self.furthest.max(end);
        met
    }

    fn grow(&mut self) {
        self.smooth_pages += 1;
        // Pages of one record do not overlap, so a record that shifts in the meantime would be
        // missed.
        let enough = if self.limit == 1 { 1 } else { 4 };
        if self.smooth_pages >= enough && self.limit < self.paging.page_size {
            self.limit = (self.limit * 2).min(self.paging.page_size);
            self.smooth_pages = 0;
        }
    }

    /// Records where each key first came, and whether known keys now come in another order: then
    /// rows change places, and it is not just that some are left out.
    fn note_order(&mut self, page: &Page) {
        if self.below.is_some() {
            return;
        }
        let places: Vec<usize> =
            page.entries.iter().filter_map(|it| self.places.get(&it.key).copied()).collect();
        self.pass.is_shuffled |= !places.is_sorted();
        // Records found after a step back came late, which says nothing about their place.
        if self.end_of(page) <= self.furthest {
            return;
        }
        for entry in &page.entries {
            let next = self.places.len();
            self.places.entry(entry.key.clone()).or_insert(next);
        }
    }

    /// Records how many records at the end of the page have the same time, if that matters.
    fn note_ties(&mut self, page: &Page) {
        let last = page.entries.last().and_then(|entry| entry.time);
        let ties = page.entries.iter().rev().take_while(|it| last.is_some() && it.time == last);
        let ties = u32::try_from(ties.count()).unwrap_or(u32::MAX).max(1);
        let is_whole = ties as usize >= page.entries.len() && ties > 1;
        let ties = if self.pass.by_instant && !is_whole { ties } else { 1 };
        self.pass.is_dense |= is_whole || (last.is_none() && !page.entries.is_empty());
        if !page.entries.is_empty() {
            let tail = page.entries.len() - (ties as usize).min(page.entries.len());
            self.tail = page.entries[tail..].iter().map(|entry| entry.key.clone()).collect();
        }
    }

    /// The page that begins with the last record of this one, if it is within the reach.
    fn go_on(&mut self, position: u32) -> Step {
        self.position = position;
        let ties = u32::try_from(self.tail.len()).unwrap_or(u32::MAX).max(1);
        // Below a total, this request decides whether the list is complete.
        let counts = self.counts.any().is_some_and(|total| u64::from(position) < total)
            && self.asked_more_than(position);
        let overlap = if self.limit > 1 { ties.min(self.limit - 1) } else { 0 };
        // If no more came than pages overlap by, the same request would bring the same.
        let came = position.saturating_sub(self.asked.skip);
        let is_capped = self.asked.limit > 1 && came > 0 && came <= overlap;
        self.is_apart = is_capped || (self.most == 1 && overlap > 0);
        let overlap = if self.is_apart { 0 } else { overlap };
        let skip = position.saturating_sub(overlap);
        let limit = self.limit.min(self.paging.reach.saturating_sub(skip));
        if limit > overlap {
            self.asked = Slice { skip, limit, counts, ..self.asked };
            return Step::Get(self.asked());
        }
        match self.asked.order {
            Order::OldestFirst => self.split(),
            Order::NewestFirst => Step::Stuck(Stuck::Unreachable),
        }
    }

    fn split(&mut self) -> Step {
        if !self.adds_up(self.position)
            && let Some(step) = self.read_again(self.position)
        {
            return step;
        }
        let Window { from, to } = self.window;
        if self.in_order && self.last_time >= Some(to.timestamp_micros()) {
            // Everything after it is outside the window: a server may include the window's edge.
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
        // The order is not by time, or one unit fills the reach: halve the window, down to a unit.
        let middle = if self.in_order && last.is_some() { second } else { self.middle(second) };
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
            last_time: self.last_time,
            in_order: self.in_order,
            unread,
            has_met: false,
            has_met_last: false,
        });
        (self.idle_pages, self.idle_replies, self.is_apart) = (0, 0, false);
        self.position = 0;
        self.tail.clear();
        self.furthest = 0;
        self.vain_steps_back = 0;
        self.asked = Slice { skip: 0, limit: self.limit, order: Order::NewestFirst, counts: false };
        Step::Get(self.asked())
    }
}

/// What was read of a window oldest first, before the order was reversed.
#[derive(Debug)]
struct Below {
    keys: HashSet<Box<str>>,
    first_key: Option<Box<str>>,
    last_keys: [Option<Box<str>>; 2],
    last_time: Option<i64>,
    /// Whether its times came in order.
    in_order: bool,
    unread: Unread,
    /// Whether a known record other than the last one was reached.
    has_met: bool,
    /// Whether the last record was reached first, and nothing has come since.
    has_met_last: bool,
}

impl Below {
    /// Whether a list that begins with this record is not just the same list reversed.
    fn begins_with(&self, entry: &PageEntry) -> bool {
        let is_same = self.first_key.as_ref() == Some(&entry.key);
        let is_single = self.first_key == self.last_keys[1];
        let is_older = self.in_order && entry.time.is_some() && entry.time < self.last_time;
        (is_same && !is_single) || is_older
    }

    /// Whether reading newest first has reached the end of what was read oldest first. An earlier
    /// time always proves that. A server may list records of one instant in the same order both
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
