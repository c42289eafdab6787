//! The pages of one list, whether the server pages it or says that it does not.

use std::collections::HashSet;

use chrono::DateTime;

use super::Export;
use super::lists::Scan;
use super::table_run::{Answer, TableRun};
use crate::calendar::TimeUnit;
use crate::decode::Origin;
use crate::endpoint::{Endpoint, Paging, SkipLimit, WindowParameters};
use crate::fetch::{Asked, FetchError, Request, request};
use crate::page::PageEntry;
use crate::paginate::{Paginator, Step};
use crate::window::Window;

/// The pages of one list, whether the server pages it or says that it does not.
pub(super) struct Pages<'a> {
    scan: &'a Scan<'a>,
    paging: Paging,
    paginator: Option<Paginator>,
    /// The keys of a reply that is said to be whole and does not look it.
    suspected: Option<HashSet<Box<str>>>,
}

/// Page sizes that make a whole reply look like the first page of more.
const USUAL_PAGE_SIZES: [usize; 9] = [10, 20, 25, 30, 50, 100, 200, 500, 1_000];

/// A list without a window.
const ALL: Window = Window { from: DateTime::UNIX_EPOCH, to: DateTime::UNIX_EPOCH };

impl<'a> Pages<'a> {
    pub(super) fn new(scan: &'a Scan<'a>, endpoint: &Endpoint) -> Self {
        let unit = endpoint.window.as_ref().map_or(TimeUnit::Second, WindowParameters::resolution);
        let window = scan.window.unwrap_or(ALL);
        let paging = endpoint.paging.clone();
        let paginator = Paginator::new(window, unit, &paging);
        Self { scan, paging, paginator, suspected: None }
    }

    pub(super) async fn ask(&self, table: &TableRun<'_>) -> Result<Answer, FetchError> {
        let parent = self.scan.parent.map(|parent| parent.id.into());
        let origin = Origin { fetched_at: 0, parent, day: self.scan.day };
        table.ask(&self.request(table.export(), &table.endpoint), &origin).await
    }

    /// What asks for the page whose turn it is.
    pub(super) fn request(&self, export: &Export, endpoint: &Endpoint) -> Request {
        let asked = Asked {
            window: self.scan.window,
            modified_since: self.scan.modified_since,
            parent: self.scan.parent,
            get: self.paginator.as_ref().map(|it| (it.asked(), &self.paging)),
            private: export.include_private,
            purpose: self.scan.purpose,
            ..Asked::at(export.settings.now)
        };
        request(endpoint, &asked)
    }

    pub(super) fn shrink(&mut self) -> bool {
        self.paginator.as_mut().is_some_and(|paginator| paginator.shrink().is_some())
    }

    /// Whether the last request was made on the mere suspicion that there is more.
    pub(super) fn is_suspicion(&self) -> bool {
        self.suspected.is_some()
    }

    /// Whether the last request was for a page that need not be there.
    pub(super) fn is_beyond(&self) -> bool {
        self.paginator.as_ref().is_some_and(Paginator::is_beyond)
    }

    /// Leaves out a single record that is too large to be sent.
    pub(super) fn pass_over(&mut self) -> Option<Step> {
        self.paginator.as_mut().and_then(Paginator::pass_over)
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
        let is_dated = self.scan.window.is_some();
        if self.paging == Paging::None || !looks_paged || count < 2 || is_dated {
            return Step::Done;
        }
        // Asked once more, beginning with the last record: new keys mean that it was paged.
        let page_size = u32::try_from(count).unwrap_or(100).min(100);
        self.paging = Paging::SkipLimit(SkipLimit { page_size, ..SkipLimit::default() });
        let mut paginator = Paginator::new(ALL, TimeUnit::Second, &self.paging);
        let step = paginator.as_mut().map_or(Step::Done, |it| it.next(&answer.page));
        self.suspected = Some(answer.page.entries.iter().map(|entry| entry.key.clone()).collect());
        self.paginator = paginator;
        step
    }
}
