//! One pass through a list, what came in it, and whether that is all: as many keys as positions, or
//! else the list is read again.

use super::state::{Begin, Pass, Skipping};
use crate::page::Page;
use crate::paginate::step::{Order, Slice, Step, Stuck};

/// The minimum limit on the total pages of a list with unstable order.
const MOST_PAGES_OF_PASSES: u32 = 64;
/// How many more passes are made through a list that has one record a page.
const MOST_SINGLE_PASSES: u32 = 2;

impl Skipping {
    /// Records the page's contents. Returns whether one of its records was reached from the other
    /// end.
    pub(super) fn take_in(&mut self, page: &Page) -> bool {
        let mut is_new = false;
        let mut met = false;
        let before = self.pass.before;
        self.note_order(page);
        for entry in &page.entries {
            let is_before = entry.time.is_some_and(|it| it < self.window.from.timestamp_micros());
            met |= is_before && self.below.is_some();
            met |= self.below.as_mut().is_some_and(|below| below.is_met_by(entry));
            let is_first = self.seen.insert(entry.key.clone());
            self.times.note(entry, is_first && self.asked.order == Order::OldestFirst);
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
        self.has_mismatched &= end <= self.furthest;
        self.furthest = self.furthest.max(end);
        met
    }

    /// Whether a key came earlier in this pass.
    pub(super) fn has_come(&self, key: &str) -> bool {
        if self.pass.before == 0 { self.seen.contains(key) } else { self.pass.own.contains(key) }
    }

    /// The list was read to its end at this position. Done if as many keys came as it has
    /// positions; otherwise it is read again.
    pub(super) fn close(&mut self, end: u32) -> Step {
        let again = if self.adds_up(end) { None } else { self.read_again(end) };
        again.unwrap_or_else(|| self.end(end))
    }

    /// The list was read as often as it takes. It is complete unless the replies count more.
    fn end(&mut self, end: u32) -> Step {
        let total = self.said.any().filter(|total| *total > self.count());
        // Where pages without records were passed over, an end does not explain what is missing.
        let is_explained = self.said.ends && !self.was_blind;
        match total.filter(|_| !is_explained && !self.is_partial()) {
            Some(total) => self.fewer(end, total),
            None => Step::Done,
        }
    }

    /// Nothing more comes, but the replies count more. The total may be that of the first page, and
    /// of a time when the list was longer.
    pub(super) fn fewer(&mut self, end: u32, total: u64) -> Step {
        if self.is_partial() {
            return self.close(end);
        }
        let counts = !self.paging.count.is_empty();
        // What comes after the last record shows whether the server caps its pages at one.
        let skip = if self.begin == Begin::Apart { self.asked.skip } else { end };
        let limit = self.limit.min(self.paging.reach.saturating_sub(skip));
        let is_another = skip > self.asked.skip || (counts && !self.asked.counts);
        if is_another && limit > 0 {
            self.asked = Slice { skip, limit, counts, ..self.asked };
            self.begin = Begin::Apart;
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
    pub(super) fn adds_up(&self, end: u32) -> bool {
        let Pass { has_passed_over, is_shuffled, before, .. } = self.pass;
        if has_passed_over || self.below.is_some() {
            return true;
        }
        if self.is_single() {
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
        let is_whole = before > 0 && !self.pass.is_dense && !self.pass.is_shifted;
        // In a shuffled list, some keys may have vanished, so their number proves nothing until a
        // whole pass has found no new one.
        let is_stable = self.pass.before > 0 && self.seen.len() == self.pass.known;
        is_whole || (keys >= end as usize && (!is_shuffled || is_stable))
    }

    /// Whether each page had one record, so that none shows that the one before it is still in its
    /// place. A list of which a single record came in silence looks like that, too.
    fn is_single(&self) -> bool {
        self.most == 1 && self.pages > 1 && (self.seen.len() > 1 || self.said.speaks)
    }

    /// Reads the list again, by instants; `None` when that would show nothing more.
    pub(super) fn read_again(&mut self, end: u32) -> Option<Step> {
        let is_news = self.seen.len() > self.pass.known;
        // If a list only moves and keeps its order, it has been read to the end when nothing new
        // comes.
        if self.pass.before > 0 && !self.pass.is_shuffled && !is_news && !self.is_single() {
            return None;
        }
        let is_single = self.is_single();
        let pass = std::mem::take(&mut self.pass);
        let pages = if pass.before == 0 { self.pages } else { pass.pages };
        let is_too_long = self.pages >= MOST_PAGES_OF_PASSES.max(pages.saturating_mul(4));
        if is_too_long || (is_single && pass.before >= MOST_SINGLE_PASSES) {
            return Some(Step::Stuck(Stuck::Unstable));
        }
        self.pass = Pass {
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
        (self.vain_steps_back, self.begin) = (0, Begin::Overlapping);
        self.times.last = None;
        self.tail.clear();
        self.asked = Slice { skip: 0, limit: self.limit, counts: false, ..self.asked };
        Some(Step::Get(self.asked()))
    }
}
