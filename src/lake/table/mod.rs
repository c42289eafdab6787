//! Tables: `Lake` and `Table` are handles, a [`Snapshot`] reads, and a [`Transaction`] writes.
//!
//! ```text
//! Table::snapshot()                          -> Snapshot        immutable: manifest N and its index
//! commit_plan::plan(known, statements, ..)   -> CommitPlan      pure
//! Transaction::commit(CommitPlan)            -> Committed | Conflict
//! ```
//!
//! A transaction exists only while the lake's lock or lease is held.

pub(in crate::lake) mod base;
pub(in crate::lake) mod existing;
pub(in crate::lake) mod freeze;
pub(in crate::lake) mod groups;
pub(in crate::lake) mod history;
pub(in crate::lake) mod layout;
pub(in crate::lake) mod manifests;
pub(in crate::lake) mod merge;
pub(in crate::lake) mod object;
mod pages;
mod rows;
pub(in crate::lake) mod snapshot;
pub(in crate::lake) mod transaction;
pub(in crate::lake) mod writer;
