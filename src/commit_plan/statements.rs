//! Statements: what a run says about a table's records, each with the time it was requested.

use std::collections::HashSet;

use crate::manifest::Attempt;
use crate::row::RowFacts;

/// What one commit says about records. Of two statements about one key, the one requested later
/// wins, whichever is committed first (P10).
#[derive(Debug, Clone, Default)]
pub struct Statements {
    /// "This key has this content": the rows of each batch, in the order they were read.
    pub rows: Vec<Vec<RowFacts>>,
    /// The day whose snapshot must exist, in days since 1970, even if no row was read.
    pub snapshot: Option<i32>,
    /// "These keys, and no others, in this scope".
    pub listings: Vec<Listing>,
    /// "This record is gone", or "it exists after all", about rows that stay.
    pub marks: Vec<Mark>,
    /// "This record is gone", about rows that are removed.
    pub removals: Vec<Removal>,
    /// Outcomes of look-ups by a parent's key that returned no row, or not yet a complete one.
    pub look_ups: Vec<LookUp>,
    /// The answers of parents whose children are read by listing.
    pub answers: Vec<ParentAnswer>,
}

impl Statements {
    /// Whether they say nothing about any record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Vec::is_empty)
            && self.snapshot.is_none()
            && self.listings.is_empty()
            && self.marks.is_empty()
            && self.removals.is_empty()
            && self.look_ups.is_empty()
            && self.answers.is_empty()
    }

    /// The keys in the statements, each with the likely day of its row: all of them, or all but those
    /// of the rows.
    pub fn keys(&self, rows: RowKeys) -> impl Iterator<Item = (&str, Option<i32>)> {
        let rows = self.rows.iter().filter(move |_| rows == RowKeys::Needed).flatten();
        let rows = rows.map(|facts| (&*facts.key, facts.day.or(facts.found_on)));
        let marks = self.marks.iter().map(|mark| (&*mark.key, mark.day));
        let removals = self.removals.iter().map(|removal| (&*removal.key, removal.day));
        let look_ups = self.look_ups.iter().map(|it| (&*it.key, it.day));
        rows.chain(marks).chain(removals).chain(look_ups)
    }
}

/// Whether a plan must be told what the index knows about the keys of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKeys {
    /// It must.
    Needed,
    /// They were looked up in the same snapshot when they were read.
    Known,
}

/// A list that was read to its end: what it does not contain does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The scope of the list.
    pub scope: Scope,
    /// All keys in the list: of rows, or of parents if the scope is all parents.
    pub keys: HashSet<Box<str>>,
    /// When its first page was requested, in microseconds since 1970. If its window ended before
    /// that, and before the day did, the end of the window: the list says nothing about later
    /// records.
    pub requested_at: i64,
}

/// The scope of a complete list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All records of a day, in days since 1970: of a snapshot, or of a table whose key contains
    /// the day.
    Day(i32),
    /// The children of one parent, in the snapshot of a day; or the rows of one range.
    Parent {
        /// The parent's key, or the range.
        id: Box<str>,
        /// The day of the snapshot, or the first day of the range, in days since 1970.
        day: i32,
    },
    /// All existing parents, in the snapshot of a day, in days since 1970: rows of any other parent
    /// are removed.
    Parents(i32),
}

impl Scope {
    /// The day that it concerns, in days since 1970.
    #[must_use]
    pub fn day(&self) -> i32 {
        match self {
            Self::Day(day) | Self::Parent { day, .. } | Self::Parents(day) => *day,
        }
    }
}

/// A record that is known to be gone, or to exist after all, and whose row stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its key.
    pub key: Box<str>,
    /// The day that dated its row when it was last seen, days since 1970.
    pub day: Option<i32>,
    /// When it was found to be gone, in microseconds since 1970; `None` if it exists.
    pub deleted_at: Option<i64>,
}

/// A record whose row is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its key.
    pub key: Box<str>,
    /// The day that dates its row, days since 1970.
    pub day: Option<i32>,
    /// When the row was found not to belong there, in microseconds since 1970.
    pub at: i64,
}

/// A look-up by a parent's key, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// The key.
    pub key: Box<str>,
    /// The day that dates the row, or the parent's row if there is none; in days since 1970.
    pub day: Option<i32>,
    /// The outcome.
    pub attempt: Attempt,
}

/// A parent's answer to a request for its children: a complete list, or that it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentAnswer {
    /// The parent's key.
    pub id: Box<str>,
    /// The day of the run, whose snapshot the children are in.
    pub day: i32,
    /// When it was requested, in microseconds since 1970.
    pub answered_at: i64,
    /// The outcome, and until when it is valid.
    pub attempt: Attempt,
}
