//! What comes out of a reply, and what has to be known about it to decode it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::extra::MisfitCounts;
use super::rows::Rows;
use crate::error::Error;
use crate::page::Page;
use crate::report::Noted;

/// The origin of a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// When it was fetched, microseconds since 1970.
    pub fetched_at: i64,
    /// The parent's key, for a child endpoint.
    pub parent: Option<Arc<str>>,
    /// The day of the window or run, in tables whose records have no time of their own; days since
    /// 1970.
    pub day: Option<i32>,
    /// The day that dates records whose own time cannot be read, days since 1970.
    pub found_on: Option<i32>,
}

/// Why a record with the same key as another is quarantined.
pub const SAME_KEY: &str = "another record of the same reply has the same key";

/// A record that has no usable key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The record as JSON text.
    pub record: String,
    /// Why it cannot be a row.
    pub reason: String,
    /// A digest of its content.
    pub hash: u128,
}

/// Counts of irregularities in a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surprises {
    /// Values that no column holds as they are, by path; they are in `extra_json`.
    pub misfits: MisfitCounts,
    /// Members superseded by another of the same name in the same object.
    pub duplicate_members: u64,
    /// Lone surrogates, replaced.
    pub lone_surrogates: u64,
    /// The columns of the key that hold the digits of numbers as text.
    pub numbers_as_text: BTreeSet<String>,
    /// Records whose own date cannot be read.
    pub undated: Noted,
    /// Records with the same key as another in the reply and different content; all but the last
    /// with a key are quarantined.
    pub same_key: Noted,
}

/// One reply, decoded.
#[derive(Debug)]
pub struct Decoded {
    /// The rows.
    pub rows: Rows,
    /// The records that cannot be rows.
    pub quarantined: Vec<Quarantined>,
    /// What paging needs to know.
    pub page: Page,
    /// Its irregularities.
    pub surprises: Surprises,
}

/// Several replies, decoded together.
#[derive(Debug)]
pub struct DecodedMany {
    /// Their contents, in order.
    pub decoded: Decoded,
    /// How many records each of them holds.
    pub counts: Vec<usize>,
}

/// Why a reply could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// The body ended early or is not JSON: worth a retry.
    #[error("the reply is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON without the records' path.
    #[error("the reply has nothing at {0}")]
    NoRecords(String),
    /// The body is JSON and reports a failure, instead of records or besides them.
    #[error("the reply is an error: {0}")]
    IsError(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] Error),
}
