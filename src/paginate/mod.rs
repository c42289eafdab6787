//! Paging: which page of a window comes next, and when a window is complete.
//!
//! Pages of a list are passed in one by one. The result of each is the next page to request, and in
//! the end an [`Extent`]: what was read, and every gap individually. The server is not trusted:
//! whether it keeps its order, honors the requested position, and does not change in the meantime
//! is checked on every page, as far as its style of paging allows.
//!
//! A [`Paginator`] reads one window and may find that it must be split. Only a [`Scope`] uses one:
//! it reads the window and all the windows that it is split into, so that no caller can drop a
//! part.

mod follow;
#[cfg(test)]
mod laws;
mod numbers;
mod rule;
mod scope;
mod skip;
mod step;
mod unread;

use self::follow::Following;
use self::numbers::Numbering;
pub use self::scope::{Ask, Cause, Extent, Gap, Habits, Miss, Scope};
use self::skip::Skipping;
pub use self::step::{Get, Order, Slice, Step, Stuck};
use self::unread::Found;
pub use self::unread::Place;
use crate::calendar::TimeUnit;
use crate::endpoint::Paging;
use crate::page::{Page, PointerKind};
use crate::window::Window;

/// How many links are followed if the endpoint does not mention links.
const MOST_FOLLOWED: u32 = 10_000;

/// Reads one window, page by page, in the endpoint's style.
#[derive(Debug)]
pub struct Paginator {
    window: Window,
    style: Style,
}

#[derive(Debug)]
enum Style {
    Skipping(Box<Skipping>),
    Numbering(Box<Numbering>),
    Following(Box<Following>),
}

impl Paginator {
    /// A paginator at the beginning of `window`, where no window shorter than a `unit` can be
    /// requested; `None` when the endpoint's replies are complete.
    #[must_use]
    pub fn new(window: Window, unit: TimeUnit, paging: &Paging) -> Option<Self> {
        let style = match paging {
            Paging::Whole | Paging::None => return None,
            Paging::SkipLimit(paging) => {
                let skipping = Skipping::new(window, unit.max(TimeUnit::Second), paging);
                Style::Skipping(Box::new(skipping))
            }
            Paging::PageNumber(paging) => Style::Numbering(Box::new(Numbering::new(paging))),
            Paging::Cursor(paging) => {
                let size = paging.limit.as_ref().map_or(0, |_| paging.page_size);
                Style::Following(Box::new(Following::new(
                    Get::Cursor(None, size),
                    paging.most,
                    None,
                )))
            }
            Paging::NextLink(paging) => {
                let size = paging.limit.as_ref().map_or(0, |_| paging.page_size);
                let kind = paging.next.is_none().then_some(PointerKind::LinkHeader);
                Style::Following(Box::new(Following::new(Get::Link(None, size), paging.most, kind)))
            }
        };
        Some(Self { window, style })
    }

    /// A paginator that follows links of this kind, wherever a reply has them.
    fn following(window: Window, kind: PointerKind) -> Self {
        let following = Following::new(Get::Link(None, 0), MOST_FOLLOWED, Some(kind));
        Self { window, style: Style::Following(Box::new(following)) }
    }

    /// The last requested page; initially the first one.
    #[must_use]
    pub fn asked(&self) -> Get {
        match &self.style {
            Style::Skipping(it) => it.asked(),
            Style::Numbering(it) => it.asked(),
            Style::Following(it) => it.asked(),
        }
    }

    /// The page to request instead of the last one, which was too large to be sent; `None` when
    /// less cannot be requested.
    pub fn shrink(&mut self) -> Option<Get> {
        match &mut self.style {
            Style::Skipping(it) => it.shrink(),
            Style::Numbering(it) => it.shrink(),
            Style::Following(it) => it.shrink(),
        }
    }

    /// The page after a single record that cannot be read; `None` when only that record's page says
    /// what comes next, or when too many in a row cannot be read.
    fn pass_over(&mut self) -> Option<Step> {
        match &mut self.style {
            Style::Skipping(it) => it.pass_over(),
            Style::Numbering(it) => it.pass_over(),
            Style::Following(_) => None,
        }
    }

    /// Records that the last requested page and everything after it cannot be read.
    fn give_up(&mut self) {
        match &mut self.style {
            Style::Skipping(it) => it.give_up(),
            Style::Numbering(it) => it.give_up(),
            Style::Following(it) => it.give_up(),
        }
    }

    /// Discards the last skipped records if no record after them was read: they will also be in one
    /// of the windows that the rest is split into.
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

    /// Whether the last requested page may legitimately not exist, because the one before it was
    /// the last and happened to be full.
    #[must_use]
    pub fn is_beyond(&self) -> bool {
        matches!(&self.style, Style::Numbering(it) if it.is_beyond())
    }

    /// What the replies count that did not come, where a page that does not exist ends the list.
    fn fewer(&self) -> Option<Stuck> {
        match &self.style {
            Style::Numbering(it) => it.fewer(),
            Style::Skipping(_) | Style::Following(_) => None,
        }
    }

    /// Takes in the requested page, and returns the next step.
    ///
    /// `largest` is the number of records in the largest page of the run.
    pub fn next(&mut self, page: &Page, largest: usize) -> Step {
        match &mut self.style {
            Style::Skipping(it) => it.next(page, largest),
            Style::Numbering(it) => it.next(page, largest),
            Style::Following(it) => it.next(page),
        }
    }

    /// How many requests were made only to confirm that nothing follows.
    fn confirmations(&self) -> u32 {
        match &self.style {
            Style::Skipping(it) => it.confirmations,
            Style::Numbering(it) => it.confirmations,
            Style::Following(it) => it.confirmations,
        }
    }

    /// How many records are counted in totals of lists that the server says end without them.
    fn hidden(&self) -> u64 {
        match &self.style {
            Style::Skipping(it) => it.hidden,
            Style::Numbering(it) => it.hidden,
            Style::Following(it) => it.hidden,
        }
    }
}
