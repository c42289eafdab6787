//! Page numbers: one page after the other, until one is short.
//!
//! Pages of a number cannot overlap, so a row that vanishes while they are read hides another one
//! until the list is read again. A page that brings nothing new shows that the server ignores the
//! number.

use std::collections::HashSet;

use super::{Get, Step, Stuck};
use crate::endpoint::PageNumber;
use crate::page::Page;

#[derive(Debug)]
pub(super) struct Numbering {
    paging: PageNumber,
    number: u32,
    size: u32,
    seen: HashSet<Box<str>>,
    pages: u32,
    /// How many records a full page has, which a server may decide by itself.
    full: Option<usize>,
}

impl Numbering {
    pub(super) fn new(paging: &PageNumber) -> Self {
        let (number, size) = (paging.first, paging.page_size);
        Self { paging: paging.clone(), number, size, seen: HashSet::new(), pages: 0, full: None }
    }

    pub(super) fn asked(&self) -> Get {
        Get::Number(self.number, if self.paging.size.is_some() { self.size } else { 0 })
    }

    pub(super) fn is_beyond(&self) -> bool {
        self.pages > 0
    }

    /// A size that divides the present one, so that the position is the begin of a page again.
    pub(super) fn shrink(&mut self) -> Option<Get> {
        self.paging.size.as_ref()?;
        let divisor = (2..=self.size).find(|divisor| self.size.is_multiple_of(*divisor))?;
        let position = (self.number - self.paging.first).checked_mul(divisor)?;
        self.number = self.paging.first.checked_add(position)?;
        self.size /= divisor;
        self.full = None;
        Some(self.asked())
    }

    pub(super) fn pass_over(&mut self) -> Step {
        self.number = self.number.saturating_add(1);
        Step::Get(self.asked())
    }

    pub(super) fn next(&mut self, page: &Page) -> Step {
        let count = page.entries.len();
        let before = self.seen.len();
        self.seen.extend(page.entries.iter().map(|entry| entry.key.clone()));
        let is_new = self.seen.len() > before;
        self.pages += 1;
        if page.has_more == Some(false) || (count == 0 && page.has_more.is_none()) {
            return Step::Done;
        }
        // A size that the server chose shows on the first page; a later one that is shorter is
        // the last.
        let full = *self.full.get_or_insert(count);
        if page.has_more.is_none() && count < full {
            return Step::Done;
        }
        if !is_new {
            return Step::Stuck(Stuck::Repeats);
        }
        if self.pages >= self.paging.most {
            return Step::Stuck(Stuck::TooMany);
        }
        self.number = self.number.saturating_add(1);
        Step::Get(self.asked())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
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
        /// P1: a list of any length is read whole, whatever page size the server insists on, and
        /// whatever happens to be too large for one reply.
        #[test]
        fn a_list_that_stands_still_is_read_completely(
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
                match numbering.next(&page(asked, more)) {
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

    #[test]
    fn a_server_that_ignores_the_number_is_found_out() {
        let mut numbering = Numbering::new(&paging(10, 1));
        assert_eq!(numbering.next(&page(0..10, None)), Step::Get(Get::Number(2, 10)));
        assert_eq!(numbering.next(&page(0..10, None)), Step::Stuck(Stuck::Repeats));
    }

    #[test]
    fn no_list_is_read_for_ever() {
        let mut numbering = Numbering::new(&PageNumber { most: 3, ..paging(2, 1) });
        for number in 0..2 {
            assert!(matches!(
                numbering.next(&page(number * 2..number * 2 + 2, None)),
                Step::Get(_)
            ));
        }
        assert_eq!(numbering.next(&page(4..6, Some(true))), Step::Stuck(Stuck::TooMany));
    }
}
