//! Cursors and links: each page says what asks for the next one.
//!
//! What a page says must be news: a cursor or link that came before leads in a circle.

use std::collections::HashSet;

use super::{Get, Step, Stuck};
use crate::page::Page;

/// How many pages without a new record are too many; a filter may leave some empty.
const MAX_IDLE_PAGES: u32 = 20;

#[derive(Debug)]
pub(super) struct Following {
    asked: Get,
    most: u32,
    pages: u32,
    idle_pages: u32,
    seen: HashSet<Box<str>>,
    followed: HashSet<Box<str>>,
}

impl Following {
    pub(super) fn new(first: Get, most: u32) -> Self {
        let (seen, followed) = (HashSet::new(), HashSet::new());
        Self { asked: first, most, pages: 0, idle_pages: 0, seen, followed }
    }

    pub(super) fn asked(&self) -> Get {
        self.asked.clone()
    }

    /// Half the size; a link has its size in it.
    pub(super) fn shrink(&mut self) -> Option<Get> {
        match &mut self.asked {
            Get::Cursor(_, size) | Get::Link(None, size) if *size > 1 => *size /= 2,
            _ => return None,
        }
        Some(self.asked())
    }

    pub(super) fn next(&mut self, page: &Page) -> Step {
        let before = self.seen.len();
        self.seen.extend(page.entries.iter().map(|entry| entry.key.clone()));
        self.idle_pages = if self.seen.len() > before { 0 } else { self.idle_pages + 1 };
        self.pages += 1;
        let Some(next) = page.next.as_ref().filter(|_| page.has_more != Some(false)) else {
            return Step::Done;
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PageEntry;

    fn page(key: &str, next: Option<&str>) -> Page {
        let entries = vec![PageEntry { key: key.into(), time: None }];
        Page { entries, next: next.map(Into::into), ..Page::default() }
    }

    #[test]
    fn cursors_are_followed_to_the_last_page() {
        let mut following = Following::new(Get::Cursor(None, 50), 100);
        assert_eq!(
            following.next(&page("a", Some("x"))),
            Step::Get(Get::Cursor(Some("x".into()), 50))
        );
        assert_eq!(following.shrink(), Some(Get::Cursor(Some("x".into()), 25)));
        assert_eq!(following.next(&page("b", None)), Step::Done);
    }

    #[test]
    fn a_circle_is_found_out_and_so_are_pages_without_end() {
        let mut following = Following::new(Get::Link(None, 0), 100);
        assert!(matches!(following.next(&page("a", Some("x"))), Step::Get(_)));
        assert!(matches!(following.next(&page("b", Some("y"))), Step::Get(_)));
        assert_eq!(following.next(&page("c", Some("x"))), Step::Stuck(Stuck::Circles));
        let mut following = Following::new(Get::Cursor(None, 0), 100);
        let last = (0..100).map(|number| following.next(&page("a", Some(&number.to_string()))));
        let last = last.into_iter().find(|step| !matches!(step, Step::Get(_)));
        assert_eq!(last, Some(Step::Stuck(Stuck::Repeats)));
        let mut following = Following::new(Get::Cursor(None, 0), 2);
        assert!(matches!(following.next(&page("a", Some("x"))), Step::Get(_)));
        assert_eq!(following.next(&page("b", Some("y"))), Step::Stuck(Stuck::TooMany));
    }
}
