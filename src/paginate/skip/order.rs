//! Order: whether a page continues the one before, and whether rows change places meanwhile.

use super::state::{Begin, Skipping};
use crate::page::Page;

/// How many steps back that find no new record show that an empty page is empty.
const ENOUGH_STEPS_BACK: u32 = 2;
/// How many steps back in a row a list without times may take before its order counts as unstable.
const FEW_STEPS_BACK: u32 = 3;

impl Skipping {
    /// Whether nothing can be missing between the previous pages and this one.
    pub(super) fn is_contiguous(&mut self, page: &Page) -> bool {
        let first = page.entries.first();
        let known = first.is_some_and(|entry| self.has_come(&entry.key));
        let is_alone = self.asked.limit == 1 && self.begin.steps_back() == 0;
        // After a page with nothing new, there is nothing to begin with.
        let is_blind = self.tail.is_empty() || self.begin == Begin::Apart;
        if self.asked.skip == 0 || is_alone || known || is_blind || self.continues(page) {
            return true;
        }
        // If the record before an empty page is still there, the page is as empty as it looks.
        let is_told = self.said.total.is_some() || page.has_more.is_some() || page.count.is_some();
        if first.is_none() && is_told && self.vain_steps_back >= ENOUGH_STEPS_BACK {
            return true;
        }
        // A record of the same instant may only have changed places. That is determined at the end.
        let is_tie = first.is_some_and(|it| it.time.is_some() && it.time == self.times.last);
        let is_lost = first.is_some() && self.times.last.is_none();
        let is_shuffled = is_tie || (is_lost && self.begin.steps_back() >= FEW_STEPS_BACK);
        self.pass.is_shuffled |= is_shuffled;
        is_shuffled
    }

    /// Whether the page begins with the end of the one before: one record, or all those of an
    /// instant, in any order.
    pub(super) fn continues(&self, page: &Page) -> bool {
        match self.tail.as_slice() {
            [last] => page.entries.first().is_some_and(|first| first.key == *last),
            tail => tail.iter().all(|key| page.entries.iter().any(|entry| entry.key == *key)),
        }
    }

    /// Whether the last record is where it was, in a page that begins before it.
    pub(super) fn is_in_place(&self, page: &Page) -> bool {
        let before = self.position.checked_sub(self.asked.skip + 1);
        let at = before.and_then(|it| page.entries.get(it as usize)).map(|entry| &entry.key);
        at.is_some() && at == self.tail.last()
    }

    /// Whether a later page is the same as the first one.
    pub(super) fn restarts(&self, page: &Page) -> bool {
        let count = page.entries.len();
        let first = page.entries.first().map(|entry| &entry.key);
        let is_later = self.asked.skip > 0 && self.below.is_none() && !self.pass.is_shuffled;
        is_later && count > 1 && count >= self.first_count && first == self.first_key.as_ref()
    }

    /// Records where each key first came, and whether known keys now come in another order: then
    /// rows change places, and it is not just that some are left out.
    pub(super) fn note_order(&mut self, page: &Page) {
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
    pub(super) fn note_ties(&mut self, page: &Page) {
        let last = page.entries.last().and_then(|entry| entry.time);
        let ties = page.entries.iter().rev().take_while(|it| last.is_some() && it.time == last);
        let ties = u32::try_from(ties.count()).unwrap_or(u32::MAX).max(1);
        let is_whole = ties as usize >= page.entries.len() && ties > 1;
        let ties = if self.pass.before > 0 && !is_whole { ties } else { 1 };
        self.pass.is_dense |= is_whole || (last.is_none() && !page.entries.is_empty());
        if !page.entries.is_empty() {
            let tail = page.entries.len() - (ties as usize).min(page.entries.len());
            self.tail = page.entries[tail..].iter().map(|entry| entry.key.clone()).collect();
        }
    }
}
