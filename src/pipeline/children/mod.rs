//! Child endpoints, which are requested by the keys of their parents' records.
//!
//! A child is read by *look-up* where each parent has one record with its own key
//! (`/call-details`): one request per parent, whenever the parent has changed. It is read by
//! *listing* where each parent has a list: one request per parent, when the last answer is no
//! longer valid.
//!
//! [`by_id`] requests the children of parents that the user specifies.
//!
//! [`due`] determines which parents of a look-up are due and [`look_up`] requests them; [`listing`]
//! does both for lists; [`parents`] reads the parents' table for either.

pub(super) mod by_id;
pub(super) mod due;
pub(super) mod listing;
mod look_up;
pub(super) mod parents;
