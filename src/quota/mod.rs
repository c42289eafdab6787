//! The quota: how many requests a week may still take, and when each may be sent.
//!
//! Enters: the newest blocks of the ledger, the limits, the time. Leaves: the next block, or when to
//! go on. Never here: the ledger's objects, a clock, or waiting.
//!
//! Requests are paid in blocks before they are sent. A block has a slot of time of its own, behind
//! that of the block before, so that processes that share a ledger share the rate too. The week
//! begins on Sunday 00:00 UTC, as the API's does (the vendor's own words). A slot is within one week,
//! and the ledger of that week pays for it: so a week's ledger counts what is sent in the week. What
//! is not sent by its end goes back to it, and is paid again by the next.

mod block;
mod claim;
mod limits;
#[cfg(test)]
mod tests;
mod week;

pub use self::block::{
    AtWork, Block, FreePlaces, GivenBack, Returned, Slot, Unsent, give_back, presumed, unknown,
};
pub use self::claim::{Claim, Claimant, Holder, Newest, Standing, claim, is_at_work, standing};
pub use self::limits::{Limits, MOST_IN_BLOCK, spacing};
pub use self::week::{begin_of, renewed_at, week_before, week_of};
