//! Page numbers: one page after the other, until one is short.
//!
//! Numbered pages cannot overlap. If a row comes twice, or a total changes, the list has moved and
//! is read again. If a row vanishes without either, it hides another row until the next run; that
//! is the limit of this style. A page that comes three times in a row is taken for the last one, which
//! some servers return for any higher number; a list that grows by a page twice looks the same. If
//! no page but the first has anything new, the server ignores the number.
//!
//! A page that is too large is requested in smaller ones whose size divides its own, so that one of
//! them begins where it began. They grow back where a page of the former size begins.

use std::collections::HashSet;

use super::rule::{Evidence, Said, Verdict, judge};
use super::step::{Get, Order, Step, Stuck};
use super::unread::{Found, Place, Unread};
use crate::endpoint::PageNumber;
use crate::page::Page;
use crate::window::Window;

/// How often a list is read again that moves while it is being read.
const MOST_PASSES: u32 = 5;

#[derive(Debug)]
pub(super) struct Numbering {
    paging: PageNumber,
    number: u32,
    size: u32,
    seen: HashSet<Box<str>>,
    unread: Unread,
    pages: u32,
    /// How many records a full page has; the server may choose this itself.
    full: Option<usize>,
    /// The sizes to grow back to, next one last.
    larger: Vec<u32>,
    /// The page and size that would have been requested if the size had not just grown.
    small: Option<(u32, u32)>,
    /// The keys seen in this pass.
    own: HashSet<Box<str>>,
    /// The keys of the page before.
    last: HashSet<Box<str>>,
    /// How many records came, each once.
    read: u64,
    /// How many pages had something new.
    distinct: u32,
    said: Said,
    /// Whether the list moved while it was being read.
    moves: bool,
    /// Whether the last page had nothing new.
    is_idle: bool,
    /// How often in a row the same page came again.
    same: u32,
    passes: u32,
    pub(super) confirmations: u32,
    pub(super) hidden: u64,
}

impl Numbering {
    pub(super) fn new(paging: &PageNumber) -> Self {
        let (number, size) = (paging.first, paging.page_size.max(1));
        Self {
            paging: paging.clone(),
            number,
            size,
            seen: HashSet::new(),
            unread: Unread::new(None),
            pages: 0,
            full: None,
            larger: Vec::new(),
            small: None,
            own: HashSet::new(),
            last: HashSet::new(),
            read: 0,
            distinct: 0,
            said: Said::default(),
            moves: false,
            is_idle: false,
            same: 0,
            passes: 0,
            confirmations: 0,
            hidden: 0,
        }
    }

    pub(super) fn asked(&self) -> Get {
        Get::Number(self.number, if self.is_sized() { self.size } else { 0 })
    }

    pub(super) fn is_beyond(&self) -> bool {
        self.pages > 0
    }

    /// A size that divides the current one, so that the position is the beginning of a page again.
    pub(super) fn shrink(&mut self) -> Option<Get> {
        self.paging.size.as_ref()?;
        let divisor = (2..=self.size).find(|divisor| self.size.is_multiple_of(*divisor))?;
        let position = (self.number - self.paging.first).checked_mul(divisor)?;
        self.number = self.paging.first.checked_add(position)?;
        self.larger.push(self.size);
        self.small = None;
        self.size /= divisor;
        self.full = None;
        Some(self.asked())
    }

    /// The page after one that cannot be read; `None` if too many in a row, or all pages that may
    /// be requested, cannot be read.
    pub(super) fn pass_over(&mut self) -> Option<Step> {
        self.pages += 1;
        let goes_on = self.unread.miss(self.place()) && self.pages < self.paging.most;
        goes_on.then(|| self.go_on())
    }

    /// What the replies count that did not come.
    pub(super) fn fewer(&self) -> Option<Stuck> {
        let total = self.said.any().filter(|total| *total > self.read && self.unread.is_empty())?;
        Some(Stuck::Fewer { came: self.read, total })
    }

    /// Records that nothing more can be read.
    pub(super) fn give_up(&mut self) {
        self.unread.miss_the_rest(self.place());
    }

    /// What could not be read so far.
    pub(super) fn unread(&self, window: Window) -> Vec<Found> {
        self.unread.found(window)
    }

    /// Takes in the requested page, and returns the next step. `largest` is the number of records
    /// in the largest page of the run.
    pub(super) fn next(&mut self, page: &Page, largest: usize) -> Step {
        if self.has_grown_too_far(page) {
            return Step::Get(self.asked());
        }
        let count = page.entries.len();
        let is_first = self.number == self.paging.first;
        let mut new = 0;
        let distinct: HashSet<_> = page.entries.iter().map(|entry| &entry.key).collect();
        let is_same = self.is_page_before(page);
        for entry in &page.entries {
            let is_first = self.seen.insert(entry.key.clone());
            self.unread.read(entry, is_first);
            new += usize::from(self.own.insert(entry.key.clone()));
        }
        // A total also counts records that share their key with another one.
        let twins = if new > 0 { count - distinct.len() } else { 0 };
        let read = self.read + (new + twins) as u64;
        // If the total changes, the list has moved.
        self.moves |= !is_first && page.total.is_some() && page.total != self.said.total;
        self.said.note(page, self.asked().size());
        let is_full = self.is_full(count);
        let verdict = judge(Evidence {
            came: count,
            new,
            is_full,
            end: read,
            pages_before: self.pages,
            largest: largest.max(count),
            is_confirming: self.pages > 0,
            is_shifted: false,
            has_more: page.has_more,
            total: self.said.total,
            count: self.said.count,
            hints_more: page.hints_more,
            points_on: page.pointer.is_some(),
            lacks_known: page.lacks_known,
        });
        self.pages += 1;
        if new == 0 && count > 0 && self.pages > 1 && page.has_more != Some(false) {
            return self.repeated(verdict, is_same, page.has_more == Some(true));
        }
        // Something new after a page that repeated another one: the list has grown by a page.
        self.moves |= new < distinct.len() || (self.is_idle && new > 0);
        self.is_idle &= new == 0;
        self.same = 0;
        self.read = read;
        match verdict {
            Verdict::Complete => return self.close(),
            Verdict::Hidden(count) => {
                self.hidden = count;
                return self.close();
            }
            // If the list moved, or a part is unreadable, the number of records proves nothing.
            Verdict::Fewer(_) if self.moves || !self.unread.is_empty() => return self.close(),
            Verdict::Fewer(total) => return Step::Stuck(Stuck::Fewer { came: self.read, total }),
            Verdict::Confirm => self.confirmations += 1,
            Verdict::More if count == 0 && self.pages > 1 => return Step::Stuck(Stuck::Empty),
            Verdict::More => {}
        }
        if self.pages >= self.paging.most {
            return Step::Stuck(Stuck::TooMany);
        }
        self.distinct += 1;
        self.take_size(count);
        self.go_on()
    }

    /// Whether a page has as many records as any. The first page shows a size chosen by the server.
    fn is_full(&mut self, count: usize) -> bool {
        let full = *self.full.get_or_insert(count);
        let is_first = self.number == self.paging.first;
        if is_first && self.is_sized() {
            count >= self.size as usize
        } else {
            !is_first && count >= full
        }
    }

    /// Whether a page has the same keys as the page before, and what the next one is compared with.
    fn is_page_before(&mut self, page: &Page) -> bool {
        let keys: HashSet<_> = page.entries.iter().map(|entry| entry.key.clone()).collect();
        let is_same = keys == self.last;
        self.last = keys;
        is_same
    }

    /// A page with nothing new. If numbers were honored before, it is the last page again, returned
    /// for a number beyond the end; otherwise the server ignores the number.
    fn repeated(&mut self, verdict: Verdict, is_same: bool, says_more: bool) -> Step {
        let is_beyond_end = matches!(verdict, Verdict::Complete | Verdict::Hidden(_));
        let is_told = self.said.total.is_some() || self.fewer().is_some() || says_more;
        let is_last_again = self.distinct > 1 && !is_told;
        // A list that grows by whole pages while it is read repeats some, too. If it is by one page,
        // only the page after it shows which it is.
        self.is_idle = true;
        self.same = if is_same { self.same + 1 } else { 0 };
        if self.same < 2 && !is_beyond_end && self.distinct > 1 && self.pages < self.paging.most {
            self.confirmations += 1;
            return self.go_on();
        }
        if let (Verdict::Fewer(total), true) = (verdict, self.distinct > 1) {
            return Step::Stuck(Stuck::Fewer { came: self.read, total });
        }
        if is_beyond_end || is_last_again { self.close() } else { Step::Stuck(Stuck::Repeats) }
    }

    /// The list was read to its end. If records came twice, it moved in the meantime and others may
    /// be missing, so it is read again.
    fn close(&mut self) -> Step {
        if !self.moves || self.passes >= MOST_PASSES {
            return if self.moves { Step::Stuck(Stuck::Unstable) } else { Step::Done };
        }
        self.passes += 1;
        self.own.clear();
        (self.moves, self.read, self.distinct) = (false, 0, 0);
        self.said = Said::default();
        (self.is_idle, self.same) = (false, 0);
        (self.pages, self.full, self.number) = (0, None, self.paging.first);
        (self.size, self.small) = (self.paging.page_size.max(1), None);
        self.larger.clear();
        Step::Get(self.asked())
    }

    /// A server that sends fewer records than requested numbers its pages by that size.
    fn take_size(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.number == self.paging.first && self.is_sized() && count < self.size && count > 0 {
            self.size = count;
            self.larger.clear();
        }
    }

    /// Whether a larger page begins where no page of that size does: the server never sends that
    /// many. In that case the smaller page is requested, and no larger one from then on.
    fn has_grown_too_far(&mut self, page: &Page) -> bool {
        let Some((number, size)) = self.small.take() else { return false };
        let goes_back = page.entries.first().is_some_and(|it| self.seen.contains(&it.key));
        if goes_back {
            (self.number, self.size) = (number, size);
            self.larger.clear();
        }
        goes_back
    }

    fn go_on(&mut self) -> Step {
        self.small = None;
        self.number = self.number.saturating_add(1);
        self.grow();
        Step::Get(self.asked())
    }

    /// Requests larger pages again where one begins, but never including the part that was too
    /// large.
    fn grow(&mut self) {
        let Some(position) = (self.number - self.paging.first).checked_mul(self.size) else {
            return;
        };
        if let Some(size) = self.larger.pop_if(|size| position.is_multiple_of(*size)) {
            self.small = Some((self.number, self.size));
            self.number = self.paging.first + position / size;
            self.size = size;
            self.full = None;
        }
    }

    fn is_sized(&self) -> bool {
        self.paging.size.is_some()
    }

    /// The place of the last requested page.
    fn place(&self) -> Place {
        let index = self.number - self.paging.first;
        if self.is_sized() && self.size == 1 {
            Place::record(index, Order::OldestFirst)
        } else {
            Place::Page(self.number)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::{Miss, Scope};
    use super::*;
    use crate::calendar::TimeUnit;
    use crate::endpoint::Paging;
    use crate::page::PageEntry;

    fn page(keys: impl Iterator<Item = u32>, has_more: Option<bool>) -> Page {
        let entry = |key: u32| PageEntry { key: key.to_string().into(), time: None };
        Page { entries: keys.map(entry).collect(), has_more, ..Page::default() }
    }

    fn paging(page_size: u32, first: u32) -> PageNumber {
        let (page, size) = ("page".to_owned(), Some("size".to_owned()));
        PageNumber { page, size, page_size, first, most: 1000, has_more: None }
    }

    proptest! {
        /// P1: a list of any length is read completely, whatever page size the server insists on,
        /// and whatever is too large for one reply.
        #[test]
        fn an_unchanging_list_is_read_completely(
            rows in 0u32..300,
            page_size in 1u32..40,
            most in 1u32..60,
            first in 0u32..2,
            says_more: bool,
            largest in 1u32..40,
        ) {
            let mut numbering = Numbering::new(&paging(page_size, first));
            let mut keys = BTreeSet::new();
            for _ in 0..2000 {
                let Get::Number(number, size) = numbering.asked() else { panic!() };
                if size > largest {
                    numbering.shrink().unwrap();
                    continue;
                }
                let size = size.min(most);
                let begin = (number - first) * size;
                let asked = begin.min(rows)..(begin + size).min(rows);
                let more = says_more.then_some(begin + size < rows);
                keys.extend(asked.clone());
                match numbering.next(&page(asked, more), 0) {
                    Step::Get(_) => {}
                    step => {
                        prop_assert_eq!(step, Step::Done);
                        prop_assert_eq!(keys, (0..rows).collect::<BTreeSet<_>>());
                        return Ok(());
                    }
                }
            }
            prop_assert!(false, "it does not end");
        }
    }

    proptest! {
        /// P1, P12, P7: whatever cannot be read, everything else is; each run of unreadable records
        /// is one gap, and pages grow back to their size.
        #[test]
        fn unreadable_records_are_skipped(
            rows in 0u32..300,
            page_size in 1u32..40,
            cap in 1u32..60,
            first in 0u32..2,
            unreadable in prop::collection::btree_set(0u32..300, 0..6),
        ) {
            let numbered = paging(page_size, first);
            let mut scope = Scope::new(None, TimeUnit::Second, &Paging::PageNumber(numbered));
            let mut keys = BTreeSet::new();
            let mut requests = 0;
            while let Some(ask) = scope.ask() {
                requests += 1;
                let Some((Get::Number(number, size), _)) = ask.get else { panic!() };
                let size = size.min(cap);
                let begin = (number - first) * size;
                let asked = begin.min(rows)..(begin + size).min(rows);
                if asked.clone().any(|row| unreadable.contains(&row)) {
                    scope.miss(Miss::TooLarge, "502");
                } else {
                    keys.extend(asked.clone());
                    scope.take(&page(asked, None));
                }
            }
            let lost: Vec<u32> = unreadable.iter().copied().filter(|row| *row < rows).collect();
            let runs = lost.iter().filter(|row| **row == 0 || !lost.contains(&(**row - 1))).count();
            prop_assert_eq!(scope.into_extent().gaps.len(), runs);
            let expected: BTreeSet<u32> = (0..rows).filter(|row| !lost.contains(row)).collect();
            prop_assert_eq!(keys, expected);
            let most = rows / page_size + 3 + 80 * u32::try_from(lost.len()).unwrap();
            // A server with its own page size shows it on its first page, which may be lost.
            prop_assert!(cap < page_size || requests <= most, "{} of {}", requests, most);
        }
    }

    proptest! {
        /// P1: whatever is inserted before the page that is read, even as much as a page holds, no
        /// record that was there from the beginning is missing from a list that counts as complete.
        #[test]
        fn a_list_that_grows_while_it_is_read_loses_nothing(
            rows in 1u32..60,
            page_size in 1u32..8,
            inserted in prop::collection::vec(
                prop_oneof![3 => Just(0u32), 1 => 1u32..16],
                0..20,
            ),
        ) {
            let mut numbering = Numbering::new(&paging(page_size, 1));
            // Not after each request: a page that comes three times counts as the last one.
            let mut inserted = inserted.into_iter().flat_map(|count| [count, 0]);
            // The newest record has the highest key, and comes first.
            let (mut newest, mut keys) = (rows, BTreeSet::new());
            for _ in 0..2000 {
                let Get::Number(number, size) = numbering.asked() else { panic!() };
                let begin = (number - 1) * size;
                let found = (0..newest).rev().skip(begin as usize).take(size as usize);
                keys.extend(found.clone());
                match numbering.next(&page(found, None), 0) {
                    Step::Get(_) => newest += inserted.next().unwrap_or(0),
                    Step::Done => {
                        prop_assert!((0..rows).all(|row| keys.contains(&row)), "{:?}", keys);
                        return Ok(());
                    }
                    _ => return Ok(()),
                }
            }
            prop_assert!(false, "it does not end");
        }
    }

    #[test]
    fn a_server_that_ignores_the_page_number_is_detected() {
        let mut numbering = Numbering::new(&paging(10, 1));
        assert_eq!(numbering.next(&page(0..10, None), 10), Step::Get(Get::Number(2, 10)));
        assert_eq!(numbering.next(&page(0..10, None), 10), Step::Stuck(Stuck::Repeats));
    }

    #[test]
    fn no_list_is_read_for_ever() {
        let mut numbering = Numbering::new(&PageNumber { most: 3, ..paging(2, 1) });
        for number in 0..2 {
            assert!(matches!(
                numbering.next(&page(number * 2..number * 2 + 2, None), 2),
                Step::Get(_)
            ));
        }
        assert_eq!(numbering.next(&page(4..6, Some(true)), 2), Step::Stuck(Stuck::TooMany));
    }
}
