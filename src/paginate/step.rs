//! Steps: which page comes next, or how a window ends.

use crate::endpoint::Paging;
use crate::page::Pointer;
use crate::window::Window;

/// How many records in a row are tried individually; after that many, the rest is one gap.
pub(super) const MOST_IN_A_ROW: u32 = 50;

/// The order of a list by its date field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first: records that arrive during the scan are added at its end.
    OldestFirst,
    /// Newest first.
    NewestFirst,
}

/// One page to request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Get {
    /// This many records after skipping this many others.
    Slice(Slice),
    /// The page with this number, and its size.
    Number(u32, u32),
    /// The page for a cursor, at first none, and its size.
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
    /// The order.
    pub order: Order,
    /// Whether the reply should count the records, though it is not the list's first.
    pub counts: bool,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Request this page.
    Get(Get),
    /// This window is complete up to the first of these windows, which must be read separately.
    Split(Vec<Window>),
    /// The window was read to its end.
    Done,
    /// The window contains records that no request can reach, or the server does not page.
    Stuck(Stuck),
}

/// Why a window cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// The shortest window holds more records than can be reached from both ends.
    #[error("the shortest window holds more records than skip and limit can reach")]
    Unreachable,
    /// No new record came in several pages.
    #[error("the server repeats its pages, as if it ignored the requested position")]
    Repeats,
    /// Replies keep saying that there is more, but their pages are empty.
    #[error("the replies say that there is more, but nothing more comes")]
    Empty,
    /// Rows vanish faster than pages can be read.
    #[error("the list changes faster than it can be read")]
    Restless,
    /// The pointer to the next page was one that had been used before.
    #[error("pagination loops: the cursor or link to the next page came before")]
    Circles,
    /// Rows change places between replies, and some of them did not come.
    #[error(
        "the order of the list changes from reply to reply, and some of its records never came"
    )]
    Unstable,
    /// The reply says that there is more, but no request returns it.
    #[error(
        "the reply says that there is more ({says}), which was not read; add to an endpoint file: \
         {paging}"
    )]
    More {
        /// How the reply says so.
        says: Box<str>,
        /// The setting that an endpoint file needs to read it.
        paging: Box<str>,
    },
    /// The replies count more records than came.
    #[error("the replies count {total} records, of which only {came} came")]
    Fewer {
        /// How many came.
        came: u64,
        /// How many the replies count.
        total: u64,
    },
    /// Reading stopped before the end.
    #[error("the rest of the list was not requested")]
    Unasked,
    /// The list has more pages than the endpoint allows.
    #[error("the list has more pages than `most` in [paging] allows")]
    TooMany,
}

impl Stuck {
    /// A reply that points to more through a pointer that is not followed.
    pub(super) fn of(pointer: &Pointer) -> Self {
        Self::More { says: pointer.at.clone(), paging: pointer.paging().into() }
    }
}

impl Get {
    /// How many records are requested; 0 if the server decides.
    pub(super) fn size(&self) -> u32 {
        match self {
            Self::Slice(slice) => slice.limit,
            Self::Number(_, size) | Self::Cursor(_, size) | Self::Link(_, size) => *size,
        }
    }

    /// One record that is further on, if the style of paging and its reach allow that: after as many
    /// as are read individually in a row.
    pub(super) fn further(&self, paging: &Paging) -> Option<Self> {
        match (self, paging) {
            (Self::Slice(slice), Paging::SkipLimit(paging)) => {
                let last = paging.reach.checked_sub(1)?;
                let skip = slice.skip.checked_add(MOST_IN_A_ROW)?.min(last);
                let further = Slice { skip, limit: 1, counts: false, ..*slice };
                (skip > slice.skip).then_some(Self::Slice(further))
            }
            (Self::Number(number, size), Paging::PageNumber(_)) => {
                Some(Self::Number(number.checked_add(MOST_IN_A_ROW)?, *size))
            }
            _ => None,
        }
    }

    /// Whether less can be requested.
    #[must_use]
    pub fn is_shrinkable(&self) -> bool {
        match self {
            Self::Slice(slice) => slice.limit > 1,
            Self::Number(_, size) | Self::Cursor(_, size) => *size > 1,
            Self::Link(link, size) => link.is_none() && *size > 1,
        }
    }
}
