//! The pages of one list, whether the server pages it or says that it does not.

use std::collections::HashSet;

use chrono::DateTime;

use super::lists::Scan;
use super::requests::{Asked, request};
use super::table_run::{Answer, TableRun};
use crate::decode::Origin;
use crate::endpoint::SkipLimit;
use crate::fetch::FetchError;
use crate::page::PageEntry;
use crate::paginate::{Paginator, Step};
use crate::window::Window;

/// The pages of one list, whether the server pages it or says that it does not.
pub(super) struct Pages<'a> {
    scan: &'a Scan<'a>,
    paging: Option<SkipLimit>,
    paginator: Option<Paginator>,
    /// The keys of a reply that is said to be whole and does not look it.
    suspected: Option<HashSet<Box<str>>>,
}

/// Page sizes that make a whole reply look like the first page of more.
const USUAL_PAGE_SIZES: [usize; 3] = [25, 50, 100];

impl<'a> Pages<'a> {
    pub(super) fn new(scan: &'a Scan<'a>, paging: Option<SkipLimit>) -> Self {
        let window = scan.window.unwrap_or(Window::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH));
        let paginator = paging.as_ref().map(|paging| Paginator::new(window, paging));
        Self { scan, paging, paginator, suspected: None }
    }

    pub(super) async fn ask(&self, table: &TableRun<'_>) -> Result<Answer, FetchError> {
        let get = self.paginator.as_ref().map(Paginator::asked).zip(self.paging.as_ref());
        let asked = Asked {
            window: self.scan.window,
            modified_since: self.scan.modified_since,
            parent: self.scan.parent,
            get,
            private: table.export().include_private,
            purpose: self.scan.purpose,
        };
        let origin =
            Origin { fetched_at: 0, parent: self.scan.parent.map(Into::into), day: self.scan.day };
        table.ask(&request(&table.endpoint, &asked), &origin).await
    }

    pub(super) fn shrink(&mut self) -> bool {
        self.paginator.as_mut().is_some_and(|paginator| paginator.shrink().is_some())
    }

    /// Whether the last request was made on the mere suspicion that there is more.
    pub(super) fn is_suspicion(&self) -> bool {
        self.suspected.is_some()
    }

    /// Leaves out a single record that is too large to be sent.
    pub(super) fn pass_over(&mut self) -> Option<Step> {
        self.paginator.as_mut().map(Paginator::pass_over)
    }

    pub(super) fn next(&mut self, answer: &Answer) -> Step {
        if let Some(suspected) = self.suspected.take() {
            let is_known = |entry: &PageEntry| suspected.contains(&entry.key);
            if answer.page.entries.iter().all(is_known) {
                return Step::Done;
            }
        }
        if let Some(paginator) = &mut self.paginator {
            return paginator.next(&answer.page);
        }
        let count = answer.page.entries.len();
        let looks_paged = USUAL_PAGE_SIZES.contains(&count) || answer.page.has_more == Some(true);
        // A window's reply was asked for by its dates, which nobody pages.
        if !looks_paged || count < 2 || self.scan.window.is_some() {
            return Step::Done;
        }
        // Asked once more, beginning with the last record: new keys mean that it was paged.
        let paging = SkipLimit {
            page_size: u32::try_from(count).unwrap_or(100).min(100),
            ..SkipLimit::default()
        };
        let mut paginator =
            Paginator::new(Window::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH), &paging);
        let step = paginator.next(&answer.page);
        self.suspected = Some(answer.page.entries.iter().map(|entry| entry.key.clone()).collect());
        (self.paging, self.paginator) = (Some(paging), Some(paginator));
        step
    }
}
