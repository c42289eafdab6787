//! A scope: one list to read to its end, with the windows that it falls into on the way.
//!
//! Whatever happens, its [`Extent`] tiles what was asked for: each part was read, or is in a gap
//! that says where and why. So no outcome of a part can be overlooked by a caller.

use std::collections::HashSet;
use std::fmt::Display;

use chrono::DateTime;

use super::{Found, Get, Paginator, Place, Step, Stuck};
use crate::calendar::TimeUnit;
use crate::endpoint::{Paging, SkipLimit};
use crate::page::{Page, PageEntry};
use crate::window::{Coverage, Window};

/// Page sizes that make a whole reply look like the first page of more.
const USUAL_PAGE_SIZES: [usize; 9] = [10, 20, 25, 30, 50, 100, 200, 500, 1_000];

/// A list without a window, which cannot be split.
const ALL: Window = Window { from: DateTime::UNIX_EPOCH, to: DateTime::UNIX_EPOCH };

/// One request of a list.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The window, if the list has one.
    pub window: Option<Window>,
    /// The page, unless the reply is to be whole.
    pub get: Option<(Get, &'a Paging)>,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It seems too large to be sent: less is asked for.
    TooLarge,
    /// There is nothing at this address.
    NotThere,
    /// The request was refused.
    Refused,
    /// Something else failed, and what is left of the list may still be read.
    Failed,
    /// Nothing more can be asked.
    Ended,
}

/// What of a list is missing, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap<E> {
    /// The smallest window that is known to hold all of it, if the list has a window.
    pub window: Option<Window>,
    /// Why.
    pub cause: Cause<E>,
}

/// Why something of a list is missing.
#[derive(Debug, PartialEq, Eq)]
pub enum Cause<E> {
    /// The server fails to send these records, even one by one.
    Unreadable {
        /// Where they are.
        place: Place,
        /// The window in whose list that place counts.
        of: Option<Window>,
        /// How the server fails.
        error: String,
    },
    /// The list cannot be paged through.
    Stuck(Stuck),
    /// A request failed.
    Failed(E),
}

/// How much of a list was read.
#[derive(Debug)]
#[must_use = "a gap that is ignored is a silent loss"]
pub struct Extent<E> {
    /// The windows that were read completely.
    pub read: Coverage,
    /// What is missing, each gap by itself.
    pub gaps: Vec<Gap<E>>,
}

impl<E> Extent<E> {
    /// Whether all of it was read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }
}

/// A list that is being read. `E` is how a request fails.
#[derive(Debug)]
pub struct Scope<E> {
    /// Whether the list has a window at all.
    is_windowed: bool,
    unit: TimeUnit,
    paging: Paging,
    window: Window,
    paginator: Option<Paginator>,
    /// The keys of a reply that is said to be whole and does not look it.
    suspected: Option<HashSet<Box<str>>>,
    /// The windows that are still to be read, the next one last.
    left: Vec<Window>,
    /// How the single record failed that was found last.
    error: String,
    has_ended: bool,
    extent: Extent<E>,
    /// What was read since it was last taken.
    fresh: Vec<Window>,
}

impl<E: Display> Scope<E> {
    /// A list of which nothing was read yet, and of which no window shorter than a `unit` can be
    /// asked for.
    #[must_use]
    pub fn new(window: Option<Window>, unit: TimeUnit, paging: &Paging) -> Self {
        let is_windowed = window.is_some();
        let window = window.unwrap_or(ALL);
        Self {
            is_windowed,
            unit,
            paging: paging.clone(),
            window,
            paginator: Paginator::new(window, unit, paging),
            suspected: None,
            left: Vec::new(),
            error: String::new(),
            has_ended: false,
            extent: Extent { read: Coverage::default(), gaps: Vec::new() },
            fresh: Vec::new(),
        }
    }

    /// What to ask for; `None` when the list was read as far as it can be.
    #[must_use]
    pub fn ask(&self) -> Option<Ask<'_>> {
        let get = self.paginator.as_ref().map(|it| (it.asked(), &self.paging));
        (!self.has_ended).then_some(Ask { window: self.window(), get })
    }

    /// The window that is being read, if the list has one.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.is_windowed.then_some(self.window)
    }

    /// Takes in the page that was asked for.
    pub fn take(&mut self, page: &Page) {
        match self.next(page) {
            Step::Get(_) => {}
            Step::Done => self.end_window(None),
            Step::Split(rest) => self.split(rest),
            Step::Stuck(stuck) => self.end_window(Some(Cause::Stuck(stuck))),
        }
    }

    /// Goes on without the page that was asked for.
    pub fn miss(&mut self, miss: Miss, error: E) {
        let is_suspicion = self.suspected.is_some();
        let is_beyond = self.paginator.as_ref().is_some_and(Paginator::is_beyond);
        match miss {
            Miss::TooLarge => self.pass_over(error),
            // The page before was the last, and happened to be full.
            Miss::NotThere if is_beyond => self.end_window(None),
            // A server that takes no `skip` has said it all.
            Miss::Refused if is_suspicion => self.end_window(None),
            Miss::Ended => {
                let end = self.left.drain(..).map(|window| window.to).max();
                self.window.to = end.unwrap_or(self.window.to).max(self.window.to);
                self.end_window(Some(Cause::Failed(error)));
            }
            _ => self.end_window(Some(Cause::Failed(error))),
        }
    }

    /// The windows that were read completely since this was asked last.
    pub fn take_read(&mut self) -> Vec<Window> {
        std::mem::take(&mut self.fresh)
    }

    /// How much was read, once there is nothing more to ask for.
    pub fn into_extent(mut self) -> Extent<E> {
        // What was not asked for any more was not read.
        while !self.has_ended {
            self.end_window(Some(Cause::Stuck(Stuck::Unasked)));
        }
        self.extent
    }

    fn next(&mut self, page: &Page) -> Step {
        if let Some(suspected) = self.suspected.take() {
            let is_known = |entry: &PageEntry| suspected.contains(&entry.key);
            if page.entries.iter().all(is_known) {
                return Step::Done;
            }
        }
        match &mut self.paginator {
            Some(paginator) => paginator.next(page),
            None => self.suspect(page),
        }
    }

    /// Asks once more for a reply that is said to be whole, beginning with its last record, where
    /// it looks like a page: new keys mean that it is one. A window's reply was asked for by its
    /// dates, which no API pages.
    fn suspect(&mut self, page: &Page) -> Step {
        let count = page.entries.len();
        let looks_paged = USUAL_PAGE_SIZES.contains(&count) || page.has_more == Some(true);
        if self.paging == Paging::None || !looks_paged || count < 2 || self.is_windowed {
            return Step::Done;
        }
        let page_size = u32::try_from(count).unwrap_or(100).min(100);
        self.paging = Paging::SkipLimit(SkipLimit { page_size, ..SkipLimit::default() });
        self.paginator = Paginator::new(self.window, TimeUnit::Second, &self.paging);
        self.suspected = Some(page.entries.iter().map(|entry| entry.key.clone()).collect());
        self.paginator.as_mut().map_or(Step::Done, |it| it.next(page))
    }

    /// Asks for less, or goes on behind a single record.
    fn pass_over(&mut self, error: E) {
        let Some(paginator) = &mut self.paginator else {
            return self.end_window(Some(Cause::Failed(error)));
        };
        if paginator.shrink().is_some() {
            return;
        }
        // That a server fails where it need not page says nothing of a record.
        if self.suspected.is_some() {
            return self.end_window(Some(Cause::Failed(error)));
        }
        self.error = error.to_string();
        match paginator.pass_over() {
            Some(Step::Get(_)) => {}
            Some(Step::Split(rest)) => self.split(rest),
            Some(Step::Stuck(stuck)) => self.end_window(Some(Cause::Stuck(stuck))),
            Some(Step::Done) => self.end_window(None),
            None => {
                paginator.give_up();
                self.end_window(None);
            }
        }
    }

    /// Reads the rest as windows of their own.
    fn split(&mut self, rest: Vec<Window>) {
        if let Some(paginator) = &mut self.paginator {
            paginator.drop_open();
        }
        let to = rest.first().map_or(self.window.to, |first| first.from);
        self.left.extend(rest.into_iter().rev());
        self.conclude(Window::new(self.window.from, to));
        self.begin_next();
    }

    /// Ends the window: it was read but for single records, or something ended it before.
    fn end_window(&mut self, cause: Option<Cause<E>>) {
        match cause {
            None => self.conclude(self.window),
            Some(cause) => {
                // What was passed over last may not be unreadable: nothing else was answered since.
                if let Some(paginator) = &mut self.paginator {
                    paginator.drop_open();
                }
                self.note_unread(self.window);
                self.extent.gaps.push(Gap { window: self.window(), cause });
            }
        }
        self.begin_next();
    }

    fn begin_next(&mut self) {
        match self.left.pop() {
            None => self.has_ended = true,
            Some(window) => {
                self.window = window;
                self.paginator = Paginator::new(window, self.unit, &self.paging);
            }
        }
    }

    /// Notes that a part of the window was read, but for single records.
    fn conclude(&mut self, part: Window) {
        let mut read: Coverage = std::iter::once(part).collect();
        for gap in self.note_unread(part) {
            read.remove(gap);
        }
        if self.is_windowed {
            self.fresh.extend(read.windows());
            read.windows().iter().for_each(|window| self.extent.read.add(*window));
        }
    }

    /// Notes the single records of a part that could not be read; the windows that hold them.
    fn note_unread(&mut self, part: Window) -> Vec<Window> {
        let found = self.paginator.as_ref().map(Paginator::unread).unwrap_or_default();
        let mut windows = Vec::new();
        for Found { place, window, is_first } in found {
            let window = Window::new(window.from.max(part.from), window.to.min(part.to));
            // Outside of the part are the edges, and what another part holds.
            if self.is_windowed && window.is_empty() {
                continue;
            }
            windows.push(window);
            if is_first && self.widens_last(window) {
                continue;
            }
            let error = self.error.clone();
            let cause = Cause::Unreadable { place, of: self.window(), error };
            self.extent.gaps.push(Gap { window: self.is_windowed.then_some(window), cause });
        }
        windows
    }

    /// Whether the gap found last ends where this one begins, so that both may be the same
    /// records, met again behind a split.
    fn widens_last(&mut self, window: Window) -> bool {
        let Some(Gap { window: Some(last), cause: Cause::Unreadable { .. } }) =
            self.extent.gaps.last_mut()
        else {
            return false;
        };
        let touches = last.to == window.from;
        if touches {
            last.to = window.to;
        }
        touches
    }
}
