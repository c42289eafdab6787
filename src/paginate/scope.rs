//! A scope: one list to read to its end, with the windows that it falls into on the way.
//!
//! Whatever happens, its [`Extent`] tiles what was asked for: each part was read, or is in a gap
//! that says where and why. So no outcome of a part can be overlooked by a caller.

use std::collections::HashSet;
use std::fmt::Display;

use chrono::{DateTime, TimeDelta};

use super::rule::{Evidence, Verdict, judge};
use super::{Found, Get, Paginator, Place, Step, Stuck};
use crate::calendar::TimeUnit;
use crate::endpoint::{NextLink, Paging, SkipLimit};
use crate::page::{Page, PageEntry, PointerKind};
use crate::window::{Coverage, Window};

/// How a reply says that there is more, and what would read it.
fn more_of(page: &Page) -> Option<Stuck> {
    let count = page.entries.len();
    let numbers = format!("paging = {{ style = \"page_number\", page_size = {} }}", count.max(1));
    let (says, paging) = match (&page.pointer, page.has_more, page.total) {
        (_, Some(false), _) => return None,
        (Some(pointer), ..) => (pointer.at.to_string(), pointer.paging()),
        (None, Some(true), _) => ("its `hasMore`".to_owned(), numbers),
        (None, None, Some(total)) if total > count as u64 => {
            (format!("{count} of {total} came"), numbers)
        }
        (None, None, None) if page.hints_more => ("it counts more".to_owned(), numbers),
        _ => return None,
    };
    Some(Stuck::More { says: says.into(), paging: paging.into() })
}

/// A list without a window, which cannot be split.
const ALL: Window = Window { from: DateTime::UNIX_EPOCH, to: DateTime::UNIX_EPOCH };

/// What one list of an endpoint shows of the next one, in the same run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Habits {
    /// How many records the largest page had.
    pub largest: usize,
    /// Whether a reply that is said to be whole came again, wherever it was asked to begin: to ask
    /// once more of another window shows nothing.
    pub ignores_position: bool,
}

impl Habits {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            ignores_position: self.ignores_position || other.ignores_position,
        }
    }
}

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
    /// How many requests were made only to see that nothing follows.
    pub confirmations: u64,
    /// How many records totals count and no page shows.
    pub hidden: u64,
    /// Whether most of what came is far outside of the window that was asked for. Nothing is lost by
    /// that, but each window costs what all of them would.
    pub is_unfiltered: bool,
    /// Whether a list counts as read to its end although the request for more was refused, as by a
    /// server that takes no position.
    pub more_was_refused: bool,
}

impl<E> Extent<E> {
    /// Whether all of it was read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }
}

/// A reply that is said to be whole, and may be the first page of more.
#[derive(Debug)]
struct Suspicion {
    keys: HashSet<Box<str>>,
    first: Option<Box<str>>,
    last: Option<Box<str>>,
    /// How the reply said that there is more, and what would read it.
    more: Option<Stuck>,
    /// How many records its total counts that did not come.
    hidden: u64,
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
    suspected: Option<Suspicion>,
    habits: Habits,
    /// Whether null came in place of the page that is asked for.
    was_null: bool,
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
            habits: Habits::default(),
            was_null: false,
            left: Vec::new(),
            error: String::new(),
            has_ended: false,
            extent: Extent {
                read: Coverage::default(),
                gaps: Vec::new(),
                confirmations: 0,
                hidden: 0,
                is_unfiltered: false,
                more_was_refused: false,
            },
            fresh: Vec::new(),
        }
    }

    /// The same list, given what others of its endpoint have shown.
    #[must_use]
    pub fn with_habits(mut self, habits: Habits) -> Self {
        self.habits = habits;
        self
    }

    /// What the lists of the endpoint have shown, this one included.
    #[must_use]
    pub fn habits(&self) -> Habits {
        self.habits
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
        self.extent.is_unfiltered |= self.is_unfiltered(page);
        self.habits.largest = self.habits.largest.max(page.entries.len());
        match self.next(page) {
            Step::Get(_) => {}
            Step::Done => self.end_window(None),
            Step::Split(rest) => self.split(rest),
            Step::Stuck(stuck) => self.end_window(Some(Cause::Stuck(stuck))),
        }
    }

    /// Whether null came for the page that was asked for, for the first time: null is not an empty
    /// list before it came twice, and the same page is asked for again.
    pub fn is_null(&mut self, page: &Page) -> bool {
        let is_first = page.is_null && !self.was_null;
        self.was_null = page.is_null;
        self.extent.confirmations += u64::from(is_first);
        is_first
    }

    /// Goes on without the page that was asked for.
    pub fn miss(&mut self, miss: Miss, error: E) {
        let is_suspicion = self.suspected.is_some();
        self.was_null = false;
        let is_beyond = self.paginator.as_ref().is_some_and(Paginator::is_beyond);
        match miss {
            Miss::TooLarge => self.pass_over(error),
            // The page before was the last, and happened to be full.
            Miss::NotThere if is_beyond => self.end_window(None),
            // A server that takes no `skip` has said it all, unless it said that there is more.
            Miss::Refused | Miss::NotThere if is_suspicion => {
                let more = self.suspected.take().and_then(|it| it.more);
                self.extent.more_was_refused |= more.is_none();
                self.end_window(more.map(Cause::Stuck));
            }
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
            let is_known = |entry: &PageEntry| suspected.keys.contains(&entry.key);
            // A page that begins anywhere else shows a list whose order differs each time.
            let first = page.entries.first().map(|entry| &entry.key);
            let count = page.entries.len();
            let is_last = count == 1 && first == suspected.last.as_ref();
            let is_again = count >= suspected.keys.len() && first == suspected.first.as_ref();
            let has_place = count == 0 || is_last || is_again;
            if has_place && page.entries.iter().all(is_known) {
                return self.acquit(suspected, page);
            }
        }
        match &mut self.paginator {
            Some(paginator) => paginator.next(page, self.habits.largest),
            None => self.suspect(page),
        }
    }

    /// Asks once more for a reply that is said to be whole, beginning with its last record, where
    /// it may be a page: new keys mean that it is one. A link to the next page is followed.
    fn suspect(&mut self, page: &Page) -> Step {
        let count = page.entries.len();
        let verdict = judge(Evidence {
            came: count,
            new: count,
            end: count as u64,
            largest: self.habits.largest,
            has_more: page.has_more,
            total: page.total,
            hints_more: page.hints_more,
            points_on: page.pointer.is_some(),
            ..Evidence::default()
        });
        let more = more_of(page);
        if let Verdict::Hidden(count) = verdict {
            self.extent.hidden += count;
        }
        if self.paging == Paging::None {
            // What the file says counts, but not against what the reply says itself.
            let is_plain = verdict == Verdict::More && page.total.is_none();
            return more.filter(|_| is_plain).map_or(Step::Done, Step::Stuck);
        }
        let is_idle = more.is_none() && (count < 2 || self.habits.ignores_position);
        if matches!(verdict, Verdict::Complete | Verdict::Hidden(_)) || is_idle {
            return Step::Done;
        }
        if let Some(kind) = page.pointer.as_ref().map(|it| it.kind)
            && matches!(kind, PointerKind::Link | PointerKind::LinkHeader)
        {
            let paging = NextLink { next: None, limit: None, page_size: 0, most: u32::MAX };
            self.paging = Paging::NextLink(paging);
            self.paginator = Some(Paginator::following(self.window, kind));
        } else {
            let page_size = u32::try_from(count).unwrap_or(100).clamp(2, 100);
            self.paging = Paging::SkipLimit(SkipLimit { page_size, ..SkipLimit::default() });
            self.paginator = Paginator::new(self.window, self.unit, &self.paging);
            self.suspected = Some(Suspicion {
                keys: page.entries.iter().map(|entry| entry.key.clone()).collect(),
                first: page.entries.first().map(|entry| entry.key.clone()),
                last: page.entries.last().map(|entry| entry.key.clone()),
                more,
                hidden: page.total.unwrap_or(0).saturating_sub(count as u64),
            });
            self.extent.confirmations += u64::from(verdict == Verdict::Confirm);
        }
        let largest = self.habits.largest;
        self.paginator.as_mut().map_or(Step::Done, |it| it.next(page, largest))
    }

    /// Nothing new came from the last record on: the reply was whole, unless it says otherwise.
    fn acquit(&mut self, suspected: Suspicion, page: &Page) -> Step {
        let first = page.entries.first().map(|entry| &entry.key);
        let is_ignored = page.entries.len() > 1 && first == suspected.first.as_ref();
        self.habits.ignores_position |= is_ignored;
        // A total may count what is hidden, if the server honors where a page is to begin.
        let is_plain = page.has_more == Some(true) || page.pointer.is_some();
        if let Some(more) = suspected.more.filter(|_| is_ignored || is_plain) {
            return Step::Stuck(more);
        }
        self.extent.hidden += suspected.hidden;
        Step::Done
    }

    /// Whether most of a page's records are far outside of the window that was asked for, so that
    /// every window would bring the same.
    fn is_unfiltered(&self, page: &Page) -> bool {
        let Window { from, to } = self.window;
        let begins = from > DateTime::UNIX_EPOCH;
        if !self.is_windowed || !begins {
            return false;
        }
        // Edges may count or not, and servers may know days alone.
        let (from, to) = (from - TimeDelta::days(1), to + TimeDelta::days(1));
        let (from, to) = (from.timestamp_micros(), to.timestamp_micros());
        let times = page.entries.iter().filter_map(|entry| entry.time);
        let outside = times.filter(|time| *time < from || to < *time).count();
        outside * 2 > page.entries.len() && outside > 1
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
        self.was_null = false;
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
        if let Some(paginator) = self.paginator.take() {
            self.extent.confirmations += u64::from(paginator.confirmations());
            self.extent.hidden += paginator.hidden();
        }
        match self.left.pop() {
            None => self.has_ended = true,
            Some(window) => {
                self.window = window;
                self.suspected = None;
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
