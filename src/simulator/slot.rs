//! What the workspace stores about one call: the fields that filters and orders need, and the seed
//! of its record. That is a few dozen bytes; the record itself is stored only if it was edited.

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// A record of the API.
pub(super) type Record = Map<String, Value>;

/// Statuses of a call that was never held: its details are a permanent 404.
const NEVER: [&str; 7] = [
    "SCHEDULED",
    "CALL_DID_NOT_HAPPEN",
    "NOBODY_JOINED_CALL",
    "BOTJOIN_DENIED",
    "BOTJOIN_DISABLED",
    "UNABLE_TO_JOIN",
    "IGNORED_BY_USER",
];

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) id: Arc<str>,
    /// The seed of the generated record.
    pub(super) birth: u64,
    /// When the call was or will be held, in milliseconds.
    pub(super) time: i64,
    /// When its status last changed, in milliseconds.
    pub(super) modified: i64,
    /// When its transcript becomes available, in milliseconds.
    pub(super) ready: i64,
    pub(super) seconds: u32,
    pub(super) status: Cow<'static, str>,
    pub(super) kind: Cow<'static, str>,
    pub(super) private: bool,
    /// The whole record, including details, once it was edited or inserted.
    pub(super) kept: Option<Box<Record>>,
}

impl Slot {
    pub(super) fn is_finished(&self) -> bool {
        matches!(&*self.status, "POST_PROCESSING_DONE" | "PROCESSED")
    }

    pub(super) fn has_recording(&self) -> bool {
        self.is_finished() || self.status.starts_with("ERROR_") || self.status == "PROCESSING"
    }

    /// Whether `/call-details` has the call.
    pub(super) fn has_details(&self) -> bool {
        !NEVER.contains(&&*self.status)
    }
}
