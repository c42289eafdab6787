//! Rows: what is known of a record's row besides its columns.
//!
//! Shared by decoding, commit planning and writing.

use std::sync::Arc;

/// Joins the parts of a key; no JSON id contains it.
pub(crate) const KEY_SEPARATOR: char = '\u{1f}';

/// The values of a parent's record in the fields by which its children are selected, in the order
/// of the table's selectors; `None` where a record has no text there.
pub type Selectors = Box<[Option<Box<str>>]>;

/// What is known of a row besides its columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFacts {
    /// The row's key in its table (with its day, in snapshot tables).
    pub key: Box<str>,
    /// The key of the parent by which it was requested, for child endpoints.
    pub parent: Option<Arc<str>>,
    /// The content hash.
    pub hash: u128,
    /// The content hashes that an older index may hold for the same content.
    pub older_hashes: Box<[u128]>,
    /// The record's time, microseconds since 1970, if it has a readable one.
    pub time: Option<i64>,
    /// The day that dates the row, days since 1970: from the record's own time, its window or its
    /// run; none when the record's own time cannot be read.
    pub day: Option<i32>,
    /// The day that dates a row whose own time cannot be read: that of its window, its parent, or
    /// the run; days since 1970.
    pub found_on: Option<i32>,
    /// When the record last changed, according to the API, microseconds since 1970.
    pub modified: Option<i64>,
    /// The fields by which child endpoints select their parents.
    pub selectors: Selectors,
    /// False while the field that completes the record is still empty.
    pub is_complete: bool,
    /// When this version was requested, microseconds since 1970.
    pub fetched_at: i64,
    /// When the record was found gone, microseconds since 1970.
    pub deleted_at: Option<i64>,
}

impl RowFacts {
    /// Whether the index's hash is that of this row's content.
    #[must_use]
    pub fn has_content(&self, hash: u128) -> bool {
        self.hash == hash || self.older_hashes.contains(&hash)
    }
}
