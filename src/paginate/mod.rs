//! Paging: which page of a window comes next, and when a window is complete.
//!
//! Enters: the pages of one list, one by one. Leaves: the next page to ask for, and in the end an
//! [`Extent`]: what was read, and every gap by itself. Never here: a request, a clock, or trust:
//! that the server keeps its order, honours the position that it is asked for, or does not change
//! meanwhile is checked on every page, as far as its style of paging lets that be seen.
//!
//! A [`Paginator`] reads one window and may find that it must be split. Only a [`Scope`] uses one:
//! it reads the window and all that it falls into, so that no caller can drop a part.

mod follow;
mod numbers;
mod rule;
mod scope;
mod skip;
mod unread;

use self::follow::Following;
use self::numbers::Numbering;
pub use self::scope::{Ask, Cause, Extent, Gap, Habits, Miss, Scope};
use self::skip::Skipping;
use self::unread::Found;
pub use self::unread::Place;
use crate::calendar::TimeUnit;
use crate::endpoint::Paging;
use crate::page::{Page, Pointer, PointerKind};
use crate::window::Window;

/// How many links are followed of which the endpoint does not speak.
const MOST_FOLLOWED: u32 = 10_000;

/// The order of a list by its date field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first: what arrives during the scan arrives behind it.
    OldestFirst,
    /// Newest first.
    NewestFirst,
}

/// One page to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Get {
    /// So many records after so many others.
    Slice(Slice),
    /// The page of this number, and its size.
    Number(u32, u32),
    /// The page that a word asks for, at first none, and its size.
    Cursor(Option<Box<str>>, u32),
    /// The page at this address, at first none, and its size.
    Link(Option<Box<str>>, u32),
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// How many records to skip.
    pub skip: u32,
    /// How many to send.
    pub limit: u32,
    /// In which order.
    pub order: Order,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for this page.
    Get(Get),
    /// Up to the first of these windows this one is complete; they are to be read by themselves.
    Split(Vec<Window>),
    /// The window was read to its end.
    Done,
    /// The window holds records that no request can reach, or the server does not page.
    Stuck(Stuck),
}

/// Why a window cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// The shortest window holds more records than can be reached from both ends.
    #[error("the shortest window holds more records than skip and limit can reach")]
    Unreachable,
    /// Page after page came without a new record.
    #[error("the server repeats its pages, as if it ignored the position that it is asked for")]
    Repeats,
    /// Rows vanish faster than pages can be read.
    #[error("the list changes faster than it can be read")]
    Restless,
    /// What asks for the next page asked for an earlier one.
    #[error("the server's pages lead in a circle: what asks for the next one has come before")]
    Circles,
    /// Rows trade places from one reply to the next, and some of them did not come.
    #[error(
        "the order of the list differs from reply to reply, and some of its records never came"
    )]
    Unstable,
    /// The reply says that there is more, and nothing that is asked for brings it.
    #[error(
        "the reply says that there is more ({says}), which is not read; in an endpoint file: {paging}"
    )]
    More {
        /// How it says so.
        says: Box<str>,
        /// What an endpoint file needs that reads it.
        paging: Box<str>,
    },
    /// It was left before its end.
    #[error("the rest of the list was not asked for")]
    Unasked,
    /// The list has more pages than the endpoint allows.
    #[error("the list has more pages than `most` in [paging] allows")]
    TooMany,
}

impl Stuck {
    /// That this asks for more, and is not followed.
    fn of(pointer: &Pointer) -> Self {
        Self::More { says: pointer.at.clone(), paging: pointer.paging().into() }
    }
}

impl Get {
    /// Whether asking for less is possible.
    #[must_use]
    pub fn is_shrinkable(&self) -> bool {
        match self {
            Self::Slice(slice) => slice.limit > 1,
            Self::Number(_, size) | Self::Cursor(_, size) => *size > 1,
            Self::Link(link, size) => link.is_none() && *size > 1,
        }
    }
}

/// Reads one window, page by page, in the style that the endpoint has.
#[derive(Debug)]
pub struct Paginator {
    window: Window,
    style: Style,
}

#[derive(Debug)]
enum Style {
    Skipping(Box<Skipping>),
    Numbering(Numbering),
    Following(Following),
}

impl Paginator {
    /// A paginator at the beginning of `window`, of which nothing shorter than a `unit` can be
    /// asked for; `None` when the endpoint's replies are whole.
    #[must_use]
    pub fn new(window: Window, unit: TimeUnit, paging: &Paging) -> Option<Self> {
        let style = match paging {
            Paging::Whole | Paging::None => return None,
            Paging::SkipLimit(paging) => {
                let skipping = Skipping::new(window, unit.max(TimeUnit::Second), paging);
                Style::Skipping(Box::new(skipping))
            }
            Paging::PageNumber(paging) => Style::Numbering(Numbering::new(paging)),
            Paging::Cursor(paging) => {
                let size = paging.limit.as_ref().map_or(0, |_| paging.page_size);
                Style::Following(Following::new(Get::Cursor(None, size), paging.most, None))
            }
            Paging::NextLink(paging) => {
                let size = paging.limit.as_ref().map_or(0, |_| paging.page_size);
                let kind = paging.next.is_none().then_some(PointerKind::LinkHeader);
                Style::Following(Following::new(Get::Link(None, size), paging.most, kind))
            }
        };
        Some(Self { window, style })
    }

    /// A paginator that follows links of this kind, wherever a reply has them.
    fn following(window: Window, kind: PointerKind) -> Self {
        let following = Following::new(Get::Link(None, 0), MOST_FOLLOWED, Some(kind));
        Self { window, style: Style::Following(following) }
    }

    /// The page that was asked for last; at first, the first one.
    #[must_use]
    pub fn asked(&self) -> Get {
        match &self.style {
            Style::Skipping(it) => it.asked(),
            Style::Numbering(it) => it.asked(),
            Style::Following(it) => it.asked(),
        }
    }

    /// The page to ask for instead of the last one, which was too large to be sent; `None` when
    /// less cannot be asked for.
    pub fn shrink(&mut self) -> Option<Get> {
        match &mut self.style {
            Style::Skipping(it) => it.shrink(),
            Style::Numbering(it) => it.shrink(),
            Style::Following(it) => it.shrink(),
        }
    }

    /// The page behind a single record that cannot be read; `None` when only that record's page
    /// says what comes behind it, or when too many in a row cannot be read.
    fn pass_over(&mut self) -> Option<Step> {
        match &mut self.style {
            Style::Skipping(it) => it.pass_over(),
            Style::Numbering(it) => it.pass_over(),
            Style::Following(_) => None,
        }
    }

    /// Notes that what was asked for last and all behind it cannot be read.
    fn give_up(&mut self) {
        match &mut self.style {
            Style::Skipping(it) => it.give_up(),
            Style::Numbering(it) => it.give_up(),
            Style::Following(it) => it.give_up(),
        }
    }

    /// Leaves out what was passed over last, if no record behind it was read: a window that the
    /// rest is split into holds it, too.
    fn drop_open(&mut self) {
        if let Style::Skipping(it) = &mut self.style {
            it.drop_open();
        }
    }

    /// What could not be read so far.
    fn unread(&self) -> Vec<Found> {
        match &self.style {
            Style::Skipping(it) => it.unread(),
            Style::Numbering(it) => it.unread(self.window),
            Style::Following(it) => it.unread(self.window),
        }
    }

    /// Whether the page that was asked for last need not be there: the one before it may have
    /// been the last, and happened to be full.
    #[must_use]
    pub fn is_beyond(&self) -> bool {
        matches!(&self.style, Style::Numbering(it) if it.is_beyond())
    }

    /// Takes in the page that was asked for, and says what to do next.
    ///
    /// The largest page of the run has so many records.
    pub fn next(&mut self, page: &Page, largest: usize) -> Step {
        match &mut self.style {
            Style::Skipping(it) => it.next(page, largest),
            Style::Numbering(it) => it.next(page, largest),
            Style::Following(it) => it.next(page),
        }
    }

    /// How many requests were made only to see that nothing follows.
    fn confirmations(&self) -> u32 {
        match &self.style {
            Style::Skipping(it) => it.confirmations,
            Style::Numbering(it) => it.confirmations,
            Style::Following(it) => it.confirmations,
        }
    }

    /// How many records totals count and no page shows.
    fn hidden(&self) -> u64 {
        match &self.style {
            Style::Skipping(it) => it.hidden,
            Style::Numbering(it) => it.hidden,
            Style::Following(it) => it.hidden,
        }
    }
}
