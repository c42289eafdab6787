//! Cursors and links: each page says how to request the next one.
//!
//! A cursor or link must be new: if it came before, the pages lead in a circle. There is no way
//! past a page that cannot be read, so in that case the rest of the list is missing.

use std::collections::HashSet;

use super::rule::Said;
use super::step::{Get, Step, Stuck};
use super::unread::{Found, Place, Unread};
use crate::page::{Page, PointerKind};
use crate::window::Window;

/// How many pages in a row may have no new record; a filter may leave some pages empty.
const MAX_IDLE_PAGES: u32 = 20;
/// After this many small enough pages in a row, the page size doubles.
const SMOOTH_PAGES: u32 = 4;

#[derive(Debug)]
pub(super) struct Following {
    asked: Get,
    most: u32,
    pages: u32,
    idle_pages: u32,
    /// Whether the page was requested only to confirm that nothing follows.
    is_confirming: bool,
    smooth_pages: u32,
    /// The initial page size.
    size: u32,
    /// How many records have come.
    position: u32,
    unread: Unread,
    seen: HashSet<Box<str>>,
    /// How many records shared the key of another one on their page.
    twins: usize,
    followed: HashSet<Box<str>>,
    /// Where the next page's address is, as set by the endpoint or found in the first reply.
    kind: Option<PointerKind>,
    said: Said,
    pub(super) confirmations: u32,
    pub(super) hidden: u64,
}

impl Following {
    /// Starts at the first page of a list. If the endpoint does not say where the next page's
    /// pointer is, any pointer of this kind is used, wherever it is.
    pub(super) fn new(first: Get, most: u32, kind: Option<PointerKind>) -> Self {
        let size = match first {
            Get::Cursor(_, size) | Get::Link(_, size) => size,
            Get::Slice(_) | Get::Number(..) => 0,
        };
        Self {
            asked: first,
            most,
            pages: 0,
            idle_pages: 0,
            is_confirming: false,
            smooth_pages: 0,
            size,
            position: 0,
            unread: Unread::new(None),
            seen: HashSet::new(),
            twins: 0,
            followed: HashSet::new(),
            kind,
            said: Said::default(),
            confirmations: 0,
            hidden: 0,
        }
    }

    pub(super) fn asked(&self) -> Get {
        self.asked.clone()
    }

    /// Halves the size. A link cannot be changed, since it contains its size.
    pub(super) fn shrink(&mut self) -> Option<Get> {
        match &mut self.asked {
            Get::Cursor(_, size) | Get::Link(None, size) if *size > 1 => *size /= 2,
            _ => return None,
        }
        self.smooth_pages = 0;
        Some(self.asked())
    }

    /// Records that nothing more can be read.
    pub(super) fn give_up(&mut self) {
        self.unread.miss_the_rest(Place::From(self.position));
    }

    /// What could not be read so far.
    pub(super) fn unread(&self, window: Window) -> Vec<Found> {
        self.unread.found(window)
    }

    /// Increases the size of a cursor's pages again. A link contains its size.
    fn grow(&mut self) {
        self.smooth_pages += 1;
        if let Get::Cursor(_, size) = &mut self.asked
            && self.smooth_pages >= SMOOTH_PAGES
            && *size < self.size
        {
            *size = size.saturating_mul(2).min(self.size);
            self.smooth_pages = 0;
        }
    }

    pub(super) fn next(&mut self, page: &Page) -> Step {
        let before = self.seen.len();
        let distinct: HashSet<_> = page.entries.iter().map(|entry| &entry.key).collect();
        self.twins += page.entries.len() - distinct.len();
        for entry in &page.entries {
            let is_first = self.seen.insert(entry.key.clone());
            self.unread.read(entry, is_first);
        }
        self.position += u32::try_from(page.entries.len()).unwrap_or(u32::MAX);
        self.grow();
        self.idle_pages = if self.seen.len() > before { 0 } else { self.idle_pages + 1 };
        self.pages += 1;
        self.said.note(page, self.asked.size());
        let pointer = page.pointer.as_ref();
        let next = match self.kind {
            Some(kind) => pointer.filter(|it| it.kind == kind).map(|it| &it.value),
            None => page.next.as_ref(),
        };
        let Some(next) = next else { return self.end(page) };
        // Some servers send a cursor even with the last page; the page it leads to must be empty.
        let is_last = page.has_more == Some(false);
        if is_last && (self.is_confirming || self.followed.contains(next)) {
            return Step::Done;
        }
        self.confirmations += u32::from(is_last);
        self.is_confirming = is_last;
        if !self.followed.insert(next.clone()) {
            return Step::Stuck(Stuck::Circles);
        }
        if self.idle_pages > MAX_IDLE_PAGES {
            return Step::Stuck(Stuck::Repeats);
        }
        if self.pages >= self.most {
            return Step::Stuck(Stuck::TooMany);
        }
        match &mut self.asked {
            Get::Cursor(place, _) | Get::Link(place, _) => *place = Some(next.clone()),
            Get::Slice(_) | Get::Number(..) => {}
        }
        Step::Get(self.asked())
    }
}

impl Following {
    /// There is no next page: the list ends here, unless the reply says otherwise.
    fn end(&mut self, page: &Page) -> Step {
        if page.has_more == Some(false) || (page.has_more.is_none() && page.pointer.is_none()) {
            let came = (self.seen.len() + self.twins) as u64;
            let total = self.said.any().unwrap_or_default();
            // An unreadable part is reported by itself.
            if total > came && page.has_more.is_none() && self.unread.is_empty() {
                return Step::Stuck(Stuck::Fewer { came, total });
            }
            self.hidden = self.said.total.unwrap_or_default().saturating_sub(came);
            return Step::Done;
        }
        let stuck = match &page.pointer {
            Some(pointer) => Stuck::of(pointer),
            None => Stuck::More {
                says: "its `hasMore`".into(),
                paging: "`next` in [paging] with the path of the next cursor or link".into(),
            },
        };
        Step::Stuck(stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, Miss, Scope};
    use super::*;
    use crate::calendar::TimeUnit;
    use crate::endpoint::{Cursor, Paging};
    use crate::page::PageEntry;

    fn page(key: &str, next: Option<&str>) -> Page {
        let entries = vec![PageEntry { key: key.into(), time: None }];
        Page { entries, next: next.map(Into::into), ..Page::default() }
    }

    #[test]
    fn cursors_are_followed_to_the_last_page() {
        let mut following = Following::new(Get::Cursor(None, 50), 100, None);
        assert_eq!(
            following.next(&page("a", Some("x"))),
            Step::Get(Get::Cursor(Some("x".into()), 50))
        );
        assert_eq!(following.shrink(), Some(Get::Cursor(Some("x".into()), 25)));
        assert_eq!(following.next(&page("b", None)), Step::Done);
    }

    /// P12: nothing leads past a page that cannot be read; smaller ones are tried first, and pages
    /// grow back after them.
    #[test]
    fn everything_after_an_unreadable_page_is_one_gap() {
        let cursor = Cursor {
            parameter: "after".to_owned(),
            next: "$.next".to_owned().try_into().unwrap(),
            limit: Some("limit".to_owned()),
            page_size: 40,
            most: 100,
        };
        let mut scope = Scope::new(None, TimeUnit::Second, &Paging::Cursor(cursor));
        let (mut sizes, mut read) = (Vec::new(), 0);
        while let Some(ask) = scope.ask() {
            let Some((Get::Cursor(place, size), _)) = ask.get else { panic!() };
            let begin: u32 = place.map_or(0, |place| place.parse().unwrap());
            sizes.push(size);
            // Five in a row are too large together, and one is too large even alone.
            if (10..15).contains(&begin) && size > 1 || (begin..begin + size).contains(&90) {
                scope.miss(Miss::TooLarge, "502");
                continue;
            }
            let entries = (begin..begin + size)
                .map(|key| PageEntry { key: key.to_string().into(), time: None })
                .collect();
            read = begin + size;
            let next = Some(read.to_string().into());
            scope.take(&Page { entries, next, ..Page::default() });
        }
        assert_eq!((read, sizes.iter().max()), (90, Some(&40)));
        let gaps = scope.into_extent().gaps;
        let Cause::Unreadable { place, .. } = &gaps[0].cause else { panic!("{gaps:?}") };
        assert_eq!((gaps.len(), *place), (1, Place::From(90)));
    }

    #[test]
    fn loops_and_endless_pages_are_detected() {
        let mut following = Following::new(Get::Link(None, 0), 100, None);
        assert!(matches!(following.next(&page("a", Some("x"))), Step::Get(_)));
        assert!(matches!(following.next(&page("b", Some("y"))), Step::Get(_)));
        assert_eq!(following.next(&page("c", Some("x"))), Step::Stuck(Stuck::Circles));
        let mut following = Following::new(Get::Cursor(None, 0), 100, None);
        let last = (0..100).map(|number| following.next(&page("a", Some(&number.to_string()))));
        let last = last.into_iter().find(|step| !matches!(step, Step::Get(_)));
        assert_eq!(last, Some(Step::Stuck(Stuck::Repeats)));
        let mut following = Following::new(Get::Cursor(None, 0), 2, None);
        assert!(matches!(following.next(&page("a", Some("x"))), Step::Get(_)));
        assert_eq!(following.next(&page("b", Some("y"))), Step::Stuck(Stuck::TooMany));
    }
}
