//! Skip and limit: overlapping pages, windows that are split, and reading a second from both ends.
//!
//! Pages overlap by one record, unless only that record would come, as from a server that caps its
//! pages at one: then the next page begins after it, and the record before that page is requested
//! once more. If a page does not begin with a known record, rows before it have vanished and the ones
//! after them moved up, so the paginator steps back until it reaches a known record. Records that
//! came twice are later removed by key.
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
//! if it is not a known one, rows have moved up in the meantime. A list of which every page has one
//! record is also read a second time, and both passes must find the same.

mod order;
mod pass;
mod reach;
mod single;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use self::state::Begin;
pub(super) use self::state::Skipping;
use super::rule::{Evidence, Verdict, judge};
use super::step::{Get, Order, Slice, Step, Stuck};
use super::unread::Found;
use crate::page::Page;

/// How many pages in a row may have no new record.
const MAX_IDLE_PAGES: u32 = 4;
/// How many steps back may find no new record.
const MAX_STEPS_BACK: u32 = 32;
/// How many replies in a row may have no new record, wherever they begin: whatever a server does,
/// reading ends.
const MAX_IDLE_REPLIES: u32 = 64;

impl Skipping {
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
        if self.limit == 1 && self.begin.steps_back() == 0 {
            // The record that pages overlap by is already known.
            self.asked.skip = self.asked.skip.max(self.position);
        }
        Some(self.asked())
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

    fn step_after(&mut self, page: &Page, largest: usize) -> Step {
        if !self.is_contiguous(page) {
            return self.step_back(!page.entries.is_empty());
        }
        let is_after_step_back = self.begin.steps_back() > 0;
        if is_after_step_back {
            self.begin = Begin::Overlapping;
        }
        if self.reversing_did_not_help(page) {
            return Step::Stuck(Stuck::Unreachable);
        }
        // A page that is just the overlap gives a record to continue after.
        let is_overlap = self.begin != Begin::Apart && page.entries.len() <= self.tail.len().max(1);
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
            Verdict::More if evidence.new == 0 && self.said.total.is_some() && !is_overlap => {
                self.go_blind()
            }
            Verdict::More => self.go_on(end),
        }
    }

    fn evidence(&mut self, page: &Page, largest: usize, is_after_step_back: bool) -> Evidence {
        self.said.note(page, self.asked.limit);
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
        // A page that was read again shows nothing about what follows if something did follow.
        let is_at_end = page.entries.len() <= 1 || self.end_of(page) >= self.furthest;
        let goes_further = page.entries.is_empty()
            || self.end_of(page) > self.furthest
            || (is_at_end && !self.has_mismatched)
            || (is_at_end && is_mere_overlap && !is_after_step_back);
        // A known record after the last one shows that rows change places.
        let is_other = page.entries.first().is_some_and(|it| Some(&it.key) != self.tail.last());
        let may_be_end = (!self.pass.is_shuffled || is_mere_overlap)
            && !(self.begin == Begin::Apart && is_other);
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
            total: self.said.total,
            count: self.said.count,
            hints_more: page.hints_more,
            points_on: page.pointer.is_some(),
            lacks_known: page.lacks_known,
        }
    }

    /// Whether a reply says that there is more than has come.
    fn says_more(&self, page: &Page) -> bool {
        let counts_more = self.said.total.is_some_and(|total| total > self.seen.len() as u64);
        page.has_more != Some(false)
            && (page.has_more == Some(true) || page.pointer.is_some() || counts_more)
    }

    /// The page after one with nothing new, which gives it no record to begin with.
    fn go_blind(&mut self) -> Step {
        // If a server caps its pages, do not skip more records than it would have sent.
        let stride = u32::try_from(self.most).unwrap_or(u32::MAX);
        let stride = if stride == 0 { self.asked.limit } else { stride.min(self.asked.limit) };
        let end = self.asked.skip.saturating_add(stride);
        self.tail.clear();
        (self.begin, self.was_blind) = (Begin::Overlapping, true);
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

    /// Whether more records were requested than up to this position.
    fn asked_more_than(&self, position: u32) -> bool {
        position < self.asked.skip.saturating_add(self.asked.limit)
    }

    /// Requests an earlier page. `has_mismatched` says whether anything came that does not fit.
    fn step_back(&mut self, has_mismatched: bool) -> Step {
        self.has_mismatched = has_mismatched;
        let steps = self.begin.steps_back() + 1;
        self.begin = Begin::Back(steps);
        self.vain_steps_back += 1;
        if self.vain_steps_back > MAX_STEPS_BACK {
            return Step::Stuck(Stuck::Restless);
        }
        let by = self.limit.saturating_sub(1).max(1).saturating_mul(steps);
        self.asked.skip = self.asked.skip.saturating_sub(by);
        self.asked.limit = self.limit;
        Step::Get(self.asked())
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

    /// The page that begins with the last record of this one, if it is within the reach.
    fn go_on(&mut self, position: u32) -> Step {
        self.position = position;
        let ties = u32::try_from(self.tail.len()).unwrap_or(u32::MAX).max(1);
        // Below a total, this request decides whether the list is complete.
        let counts = self.said.any().is_some_and(|total| u64::from(position) < total)
            && self.asked_more_than(position);
        let overlap = if self.limit > 1 { ties.min(self.limit - 1) } else { 0 };
        // If no more came than pages overlap by, the same request would bring the same.
        let came = position.saturating_sub(self.asked.skip);
        let is_capped = self.asked.limit > 1 && came > 0 && came <= overlap;
        let is_apart = is_capped || (self.most == 1 && overlap > 0);
        self.begin = if is_apart { Begin::Apart } else { Begin::Overlapping };
        let overlap = if is_apart { 0 } else { overlap };
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
}
