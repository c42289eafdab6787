//! The quota: how many requests remain for the week, and when each may be sent.
//!
//! From the newest blocks of the ledger, the limits, and the time, it computes the next block, or
//! when to continue. It does not read or write the ledger, and does not wait.
//!
//! Requests are paid for in blocks before they are sent. Each block has its own time slot, after
//! that of the block before, so that processes that share a ledger also share the rate. The week
//! begins on Sunday 00:00 UTC, as the API's does (in the vendor's own words). A slot is within one
//! week, and that week's ledger pays for it, so a week's ledger counts what is sent in the week.
//! What has not been sent by its end is returned to it and paid for again by the next week.

mod block;
mod claim;
mod limits;
#[cfg(test)]
mod tests;
mod week;

pub use self::block::{
    Block, FreePlaces, GivenBack, Returned, RunningBackfill, Slot, Unsent, give_back, presumed,
    unknown,
};
pub use self::claim::{Claim, Claimant, Holder, Newest, SlotState, claim, is_running, slot_state};
pub use self::limits::{Limits, MOST_IN_BLOCK, spacing};
pub use self::week::{begin_of, renewed_at, week_before, week_of};
