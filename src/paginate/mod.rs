//! Paging: which page of a window comes next, and when a window is complete.
//!
//! Enters: the pages of one window, one by one. Leaves: the next [`Step`]. Never here: a request,
//! a clock, or trust: that the server keeps its order, honours the position that it is asked for,
//! or stands still meanwhile is checked on every page, as far as its style of paging lets that be
//! seen.

mod follow;
mod numbers;
mod skip;

use self::follow::Following;
use self::numbers::Numbering;
use self::skip::Skipping;
use crate::calendar::TimeUnit;
use crate::endpoint::Paging;
use crate::page::Page;
use crate::window::Window;

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
    /// The window is complete.
    Done,
    /// The window holds records that no request can reach, or the server does not page.
    Stuck(Stuck),
}

/// Why a window cannot be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// The shortest window holds more records than can be reached from both ends.
    #[error("more records in one second than skip and limit can reach")]
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
    /// The list has more pages than the endpoint allows.
    #[error("the list has more pages than `most` in [paging] allows")]
    TooMany,
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
pub struct Paginator(Style);

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
                Style::Following(Following::new(Get::Cursor(None, size), paging.most))
            }
            Paging::NextLink(paging) => {
                let size = paging.limit.as_ref().map_or(0, |_| paging.page_size);
                Style::Following(Following::new(Get::Link(None, size), paging.most))
            }
        };
        Some(Self(style))
    }

    /// The page that was asked for last; at first, the first one.
    #[must_use]
    pub fn asked(&self) -> Get {
        match &self.0 {
            Style::Skipping(it) => it.asked(),
            Style::Numbering(it) => it.asked(),
            Style::Following(it) => it.asked(),
        }
    }

    /// The page to ask for instead of the last one, which was too large to be sent; `None` when
    /// less cannot be asked for.
    pub fn shrink(&mut self) -> Option<Get> {
        match &mut self.0 {
            Style::Skipping(it) => it.shrink(),
            Style::Numbering(it) => it.shrink(),
            Style::Following(it) => it.shrink(),
        }
    }

    /// The page behind one that cannot be had; the window stays incomplete. `None` when only that
    /// page says what comes behind it.
    pub fn pass_over(&mut self) -> Option<Step> {
        match &mut self.0 {
            Style::Skipping(it) => Some(it.pass_over()),
            Style::Numbering(it) => Some(it.pass_over()),
            Style::Following(_) => None,
        }
    }

    /// Whether the page that was asked for last need not be there: the one before it may have
    /// been the last, and happened to be full.
    #[must_use]
    pub fn is_beyond(&self) -> bool {
        matches!(&self.0, Style::Numbering(it) if it.is_beyond())
    }

    /// Takes in the page that was asked for, and says what to do next.
    pub fn next(&mut self, page: &Page) -> Step {
        match &mut self.0 {
            Style::Skipping(it) => it.next(page),
            Style::Numbering(it) => it.next(page),
            Style::Following(it) => it.next(page),
        }
    }
}
