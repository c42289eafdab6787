//! A page: one response of a list, as far as paging goes on it.
//!
//! Enters: nothing. Leaves: the words between decoding and paging. Never here: record values.

/// What paging needs to know of one response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The records in the order in which they came, those in quarantine included.
    pub entries: Vec<PageEntry>,
    /// Whether the server says that there is more, where it says anything.
    pub has_more: Option<bool>,
    /// What asks for the next page, where the server says so: a cursor, or a link.
    pub next: Option<Box<str>>,
}

/// One record of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEntry {
    /// The record's key; a digest of its content when it has none that is usable.
    pub key: Box<str>,
    /// Its date field, microseconds since 1970, where it has one that can be read.
    pub time: Option<i64>,
}
