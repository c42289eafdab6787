//! Child endpoints, which are requested by the keys of their parents' records.
//!
//! A child is read by *look-up* where each parent has one record with its own key
//! (`/call-details`): one request per parent, whenever the parent has changed. It is read by
//! *listing* where each parent has a list: one request per parent, when the last answer is no
//! longer valid.
//!
//! Both go the same way. [`parents`] opens the parents' table for the keys, and for the other values
//! that requests need. What is due becomes a [`DueParent`](parents::DueParent): [`due`] compares the
//! two tables for look-ups, [`listing`] goes by the parents' last answers, and [`by_id`] takes the
//! parents that the user specifies; when something is due is decided by [`crate::plan::queue`].
//! [`look_up`] and [`listing`] send the requests, and record the outcome for each parent, so that the
//! next run goes on from there.

pub(super) mod by_id;
pub(super) mod due;
pub(super) mod listing;
mod look_up;
pub(super) mod parents;
mod queued;
