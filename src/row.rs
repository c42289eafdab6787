//! Rows: what is known of a record's row beside its columns.
//!
//! Shared by what decodes records, what plans commits, and what writes objects.

use std::sync::Arc;

/// Joins the parts of a key; no JSON id holds it.
pub(crate) const KEY_SEPARATOR: char = '\u{1f}';

/// What a parent's record says in the fields by which its children are selected, in the order of
/// the table's selectors; `None` where a record has no text there.
pub type Selectors = Box<[Option<Box<str>>]>;

/// What is known of a row beside its columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFacts {
    /// What identifies the row in its table (with its day, in snapshot tables).
    pub key: Box<str>,
    /// The key of the parent that it was requested by, for child endpoints.
    pub parent: Option<Arc<str>>,
    /// The content hash.
    pub hash: u128,
    /// The content hash that an older index may keep in its place.
    pub older_hash: Option<u128>,
    /// The record's time, microseconds since 1970, where it has one that can be read.
    pub time: Option<i64>,
    /// The day that dates the row, days since 1970: of the record's own time, of its window or of
    /// its run; none when the record's own time cannot be read.
    pub day: Option<i32>,
    /// The day that dates a row whose own time cannot be read: that of the window in which it was
    /// found, of its parent, or of the run; days since 1970.
    pub found_on: Option<i32>,
    /// When the record last changed, as the API says, microseconds since 1970.
    pub modified: Option<i64>,
    /// The fields by which child endpoints select their parents.
    pub selectors: Selectors,
    /// False while the field that completes the record is still empty.
    pub settled: bool,
    /// When this version was requested, microseconds since 1970.
    pub fetched_at: i64,
    /// Since when the record is known to be gone, microseconds since 1970.
    pub deleted_at: Option<i64>,
}

impl RowFacts {
    /// Whether the row has the content of which the index keeps this hash.
    #[must_use]
    pub fn has_content(&self, hash: u128) -> bool {
        self.hash == hash || self.older_hash == Some(hash)
    }
}
