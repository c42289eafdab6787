//! A scope: one list to read to its end, with all the windows that it is split into.
//!
//! Whatever happens, its [`Extent`] covers the whole request: each part was either read, or is in a
//! gap that says where and why. So a caller cannot overlook the outcome of a part.

use std::collections::HashSet;
use std::fmt::Display;

use chrono::{DateTime, TimeDelta};

use super::rule::{Evidence, Verdict, count_of, judge};
use super::{Found, Get, Paginator, Place, Step, Stuck};
use crate::calendar::TimeUnit;
use crate::endpoint::{NextLink, Paging, SkipLimit};
use crate::page::{Page, PageEntry, PointerKind};
use crate::window::{Coverage, Window};

/// How a reply says that there is more, and which setting would read it.
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

/// Whether a reply says that there is more, rather than counting it.
fn says_more(page: &Page) -> bool {
    let points_on = page.pointer.is_some() && page.has_more.is_none();
    page.has_more == Some(true) || points_on
}

/// The window of a list without a window, which cannot be split.
const ALL: Window = Window { from: DateTime::UNIX_EPOCH, to: DateTime::UNIX_EPOCH };

/// What one list of an endpoint shows about later lists in the same run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Habits {
    /// How many records the largest page had.
    pub largest: usize,
    /// Whether a server returned its (supposedly complete) reply again, whatever position was
    /// requested. Repeating the request for another window then shows nothing.
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
    /// The page, unless the reply is supposed to be complete.
    pub get: Option<(Get, &'a Paging)>,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It seems too large to be sent; less is requested.
    TooLarge,
    /// Nothing exists at this address.
    NotThere,
    /// The request was refused.
    Refused,
    /// Something else failed, and the rest of the list may still be readable.
    Failed,
    /// Nothing more can be requested.
    Ended,
}

/// A missing part of a list, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap<E> {
    /// The smallest window that is known to contain all of it, if the list has a window.
    pub window: Option<Window>,
    /// The reason.
    pub cause: Cause<E>,
}

/// Why a part of a list is missing.
#[derive(Debug, PartialEq, Eq)]
pub enum Cause<E> {
    /// The server fails to send these records, even individually.
    Unreadable {
        /// Where they are.
        place: Place,
        /// The window whose list the place refers to.
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
    /// What is missing, each gap individually.
    pub gaps: Vec<Gap<E>>,
    /// How many requests were made only to confirm that nothing follows.
    pub confirmations: u64,
    /// How many records are counted in totals of lists that the server says end without them.
    pub hidden: u64,
    /// Whether most of what came is far outside the requested window. Nothing is lost as a result,
    /// but each window costs as much as all of them together.
    pub is_unfiltered: bool,
    /// Whether a list counts as complete although the request for more was refused, as by a server
    /// that does not support positions.
    pub more_was_refused: bool,
}

impl<E> Extent<E> {
    /// Whether all of it was read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }
}

/// A supposedly complete reply that may be only the first page.
#[derive(Debug)]
struct PossiblePage {
    keys: HashSet<Box<str>>,
    first: Option<Box<str>>,
    last: Option<Box<str>>,
    /// How many records came.
    count: u64,
    /// How the reply said that there is more, and which setting would read it.
    more: Option<Stuck>,
    /// Whether it said so in so many words, rather than by a number.
    says_more: bool,
    total: Option<u64>,
}

/// A list that is being read. `E` is the error type of a request.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is noted by itself")]
pub struct Scope<E> {
    /// Whether the list has a window at all.
    is_windowed: bool,
    unit: TimeUnit,
    paging: Paging,
    window: Window,
    paginator: Option<Paginator>,
    /// The keys of a supposedly complete reply that looks incomplete.
    suspected: Option<PossiblePage>,
    habits: Habits,
    /// Whether the requested page came as nothing: null, or empty instead of known records.
    was_nothing: bool,
    /// Whether a page of the window was taken in, and whether one had a total.
    has_taken: bool,
    has_total: bool,
    /// How many records came in all windows.
    came: u64,
    /// How many the last reply counts.
    counted: u64,
    /// How the last reply said that there is more.
    says_more: Option<Stuck>,
    /// The windows still to be read, next one last.
    left: Vec<Window>,
    /// The error of the last single record that failed.
    error: String,
    /// The last request that was answered.
    answered: Option<(Window, Get)>,
    /// A request that only shows whether the server still answers.
    proof: Option<(Window, Get)>,
    has_ended: bool,
    extent: Extent<E>,
    /// What has been read since this was last taken.
    fresh: Vec<Window>,
}

impl<E: Display> Scope<E> {
    /// A list that has not been read yet, where no window shorter than a `unit` can be requested.
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
            was_nothing: false,
            has_taken: false,
            has_total: false,
            came: 0,
            counted: 0,
            says_more: None,
            left: Vec::new(),
            error: String::new(),
            answered: None,
            proof: None,
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

    /// The same list, with what other lists of its endpoint have shown.
    #[must_use]
    pub fn with_habits(mut self, habits: Habits) -> Self {
        self.habits = habits;
        self
    }

    /// What the lists of the endpoint have shown, including this one.
    #[must_use]
    pub fn habits(&self) -> Habits {
        self.habits
    }

    /// The next request; `None` when the list has been read as far as possible.
    #[must_use]
    pub fn ask(&self) -> Option<Ask<'_>> {
        if let Some((window, get)) = self.proof.clone().filter(|_| !self.has_ended) {
            let window = self.is_windowed.then_some(window);
            return Some(Ask { window, get: Some((get, &self.paging)) });
        }
        let get = self.paginator.as_ref().map(|it| (it.asked(), &self.paging));
        (!self.has_ended).then_some(Ask { window: self.window(), get })
    }

    /// The window that is being read, if the list has one.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.is_windowed.then_some(self.window)
    }

    /// Requests next what was answered before, or a record further on: records in a row that cannot
    /// be read look like an outage until another request is answered.
    pub fn prove(&mut self) {
        let asked = self.paginator.as_ref().map(Paginator::asked);
        let further = asked.and_then(|get| get.further(&self.paging));
        self.proof = self.answered.clone().or(further.map(|get| (self.window, get)));
    }

    /// Takes in the requested page.
    pub fn take(&mut self, page: &Page) {
        // That there is a reply is all that a proof shows.
        if self.proof.take().is_some() {
            return;
        }
        self.answered = self.paginator.as_ref().map(|it| (self.window, it.asked()));
        self.extent.is_unfiltered |= self.is_unfiltered(page);
        self.habits.largest = self.habits.largest.max(page.entries.len());
        (self.has_taken, self.has_total) = (true, self.has_total || page.total.is_some());
        self.came += page.entries.len() as u64;
        self.counted = self.counted_by(page);
        self.says_more = more_of(page).filter(|_| says_more(page));
        match self.next(page) {
            Step::Get(_) => {}
            Step::Done => self.end_window(None),
            Step::Split(rest) => self.split(rest),
            Step::Stuck(stuck) => self.end_window(Some(Cause::Stuck(stuck))),
        }
    }

    /// Whether it matters if the lake has records of the window that did not come: when the replies
    /// say nothing about the end, and the page by itself looks like it.
    #[must_use]
    pub fn needs_known(&self, page: &Page) -> bool {
        let speaks = page.has_more.is_some() || page.pointer.is_some() || page.total.is_some();
        let count = page.entries.len();
        let looks_short = count * 2 < self.habits.largest || (count == 0 && !self.has_taken);
        self.is_windowed && !speaks && !self.has_total && looks_short
    }

    /// Whether the requested page came as nothing for the first time: null, or empty although the
    /// lake has records of the window. Nothing counts as an empty list only when it comes twice, so
    /// the same page is requested again.
    pub fn is_nothing(&mut self, page: &Page) -> bool {
        if self.proof.is_some() {
            return false;
        }
        let is_empty = page.entries.is_empty() && page.lacks_known && !self.has_taken;
        let is_nothing = page.is_null || is_empty;
        let is_first = is_nothing && !self.was_nothing;
        self.was_nothing = is_nothing;
        self.extent.confirmations += u64::from(is_first);
        is_first
    }

    /// Whether the requested page says that nothing follows, and that nothing is all there is,
    /// although it counts records: then the lake's rows, if it has any, are not believed to be gone.
    #[must_use]
    pub fn empties(&self, page: &Page) -> bool {
        let is_end = page.entries.is_empty() && page.has_more == Some(false);
        !self.is_windowed && self.came == 0 && is_end && page.total.is_some_and(|it| it > 0)
    }

    /// Continues without the requested page.
    pub fn miss(&mut self, miss: Miss, error: E) {
        let was_proof = self.proof.take().is_some();
        if was_proof && miss != Miss::Ended {
            return;
        }
        let is_suspicion = self.suspected.is_some();
        self.was_nothing = false;
        let is_beyond = self.paginator.as_ref().is_some_and(Paginator::is_beyond);
        match miss {
            Miss::TooLarge => self.pass_over(error),
            // The page before was the last one, and happened to be full.
            Miss::NotThere if is_beyond => {
                let fewer = self.paginator.as_ref().and_then(Paginator::fewer);
                let stuck = self.says_more.take().or(fewer);
                self.end_window(stuck.map(Cause::Stuck));
            }
            // A server without `skip` has sent everything, unless it said that there is more.
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

    /// The windows that have been read completely since the last call.
    pub fn take_read(&mut self) -> Vec<Window> {
        std::mem::take(&mut self.fresh)
    }

    /// How much was read, once there is nothing more to request.
    pub fn into_extent(mut self) -> Extent<E> {
        // What is no longer requested was not read.
        while !self.has_ended {
            self.end_window(Some(Cause::Stuck(Stuck::Unasked)));
        }
        self.extent
    }

    fn next(&mut self, page: &Page) -> Step {
        if let Some(suspected) = self.suspected.take() {
            let is_known = |entry: &PageEntry| suspected.keys.contains(&entry.key);
            // If a page begins anywhere else, the order of the list differs each time.
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

    /// Requests a supposedly complete reply again, beginning with its last record, in case it is
    /// only a page: new keys prove that it is. A link to the next page is followed.
    fn suspect(&mut self, page: &Page) -> Step {
        let count = page.entries.len();
        let verdict = judge(Evidence {
            came: count,
            new: count,
            end: count as u64,
            largest: self.habits.largest,
            has_more: page.has_more,
            total: page.total,
            count: count_of(page, 0),
            hints_more: page.hints_more,
            points_on: page.pointer.is_some(),
            lacks_known: page.lacks_known,
            ..Evidence::default()
        });
        let more = more_of(page);
        if let Verdict::Hidden(count) = verdict {
            self.extent.hidden += count;
        }
        if self.paging == Paging::None {
            // The endpoint file is believed, but not if the reply itself contradicts it.
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
            // Nothing came that shows a size; the largest usual one is no likely count.
            let size = if count == 0 { 100 } else { count };
            let page_size = u32::try_from(size).unwrap_or(100).clamp(2, 100);
            self.paging = Paging::SkipLimit(SkipLimit { page_size, ..SkipLimit::default() });
            self.paginator = Paginator::new(self.window, self.unit, &self.paging);
            self.suspected = Some(PossiblePage {
                keys: page.entries.iter().map(|entry| entry.key.clone()).collect(),
                first: page.entries.first().map(|entry| entry.key.clone()),
                last: page.entries.last().map(|entry| entry.key.clone()),
                count: count as u64,
                more,
                says_more: says_more(page),
                total: page.total,
            });
            self.extent.confirmations += u64::from(verdict == Verdict::Confirm);
        }
        let largest = self.habits.largest;
        self.paginator.as_mut().map_or(Step::Done, |it| it.next(page, largest))
    }

    /// Nothing new came from the last record on: the reply was complete, unless it says otherwise.
    fn acquit(&mut self, suspected: PossiblePage, page: &Page) -> Step {
        let first = page.entries.first().map(|entry| &entry.key);
        let is_ignored = page.entries.len() > 1 && first == suspected.first.as_ref();
        self.habits.ignores_position |= is_ignored;
        let came = suspected.count;
        let total = page.total.or(suspected.total).filter(|total| *total > came);
        if page.has_more == Some(false) && !is_ignored {
            self.extent.hidden += total.map_or(0, |total| total - came);
            return Step::Done;
        }
        let size = self.paginator.as_ref().map_or(0, |paginator| paginator.asked().size());
        let counted = total.or(count_of(page, size).filter(|count| *count > came));
        let fewer = counted.map(|total| Stuck::Fewer { came, total });
        let says_more = says_more(page) || suspected.says_more || is_ignored || fewer.is_some();
        let more = suspected.more.filter(|_| says_more).or(fewer);
        more.map_or(Step::Done, Step::Stuck)
    }

    /// How many records the reply to the present request counts.
    fn counted_by(&self, page: &Page) -> u64 {
        if page.has_more == Some(false) {
            return 0;
        }
        let size = self.paginator.as_ref().map_or(0, |paginator| paginator.asked().size());
        // If the endpoint file says that replies are complete, only a plain total contradicts it.
        let is_believed = self.paging == Paging::None;
        let count = || count_of(page, size).filter(|_| !is_believed);
        page.total.or_else(count).unwrap_or_default()
    }

    /// Whether most of a page's records are far outside the requested window, so that every window
    /// would return the same.
    fn is_unfiltered(&self, page: &Page) -> bool {
        let Window { from, to } = self.window;
        let begins = from > DateTime::UNIX_EPOCH;
        if !self.is_windowed || !begins {
            return false;
        }
        // Edges may be inclusive or not, and some servers only support whole days.
        let (from, to) = (from - TimeDelta::days(1), to + TimeDelta::days(1));
        let (from, to) = (from.timestamp_micros(), to.timestamp_micros());
        let times = page.entries.iter().filter_map(|entry| entry.time);
        let outside = times.filter(|time| *time < from || to < *time).count();
        outside * 2 > page.entries.len() && outside > 1
    }

    /// Requests less, or continues after a single record.
    fn pass_over(&mut self, error: E) {
        let Some(paginator) = &mut self.paginator else {
            return self.end_window(Some(Cause::Failed(error)));
        };
        if paginator.shrink().is_some() {
            return;
        }
        // If a server fails where it need not page, that says nothing about a record.
        if self.suspected.is_some() {
            return self.end_window(Some(Cause::Failed(error)));
        }
        self.was_nothing = false;
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

    /// Reads the rest as separate windows.
    fn split(&mut self, rest: Vec<Window>) {
        if let Some(paginator) = &mut self.paginator {
            paginator.drop_open();
        }
        let to = rest.first().map_or(self.window.to, |first| first.from);
        self.left.extend(rest.into_iter().rev());
        self.conclude(Window::new(self.window.from, to));
        self.begin_next();
    }

    /// Ends the window: it was read except for single records, or something ended it early.
    fn end_window(&mut self, cause: Option<Cause<E>>) {
        // Nothing came of a list without a window, whose replies do not say that it ends.
        let is_emptied = !self.is_windowed && self.came == 0 && self.counted > 0;
        let fewer = Cause::Stuck(Stuck::Fewer { came: 0, total: self.counted });
        match cause.or(Some(fewer).filter(|_| is_emptied)) {
            None => self.conclude(self.window),
            Some(cause) => {
                // The last skipped record may be readable: no other request has been answered
                // since.
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
        (self.has_taken, self.has_total) = (false, false);
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

    /// Records that a part of the window was read, except for single records.
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

    /// Adds gaps for the single records of a part that could not be read. Returns the windows that
    /// contain them.
    fn note_unread(&mut self, part: Window) -> Vec<Window> {
        let found = self.paginator.as_ref().map(Paginator::unread).unwrap_or_default();
        let mut windows = Vec::new();
        for Found { place, window, is_first } in found {
            let window = Window::new(window.from.max(part.from), window.to.min(part.to));
            // Outside the part are its edges, and records that belong to another part.
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

    /// Whether the last gap ends where this one begins, so that both may be the same records, found
    /// again after a split.
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
