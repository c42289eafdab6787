//! Statements: what a run says of a table's records, each with the instant it was requested.

use std::collections::HashSet;

use crate::manifest::Attempt;
use crate::row::RowFacts;

/// What one commit says of records. Of two statements about one key, the one that was requested
/// later wins, whichever is committed first (P10).
#[derive(Debug, Clone, Default)]
pub struct Statements {
    /// "This key has this content": the rows of each batch, in the order they were read.
    pub rows: Vec<Vec<RowFacts>>,
    /// The day whose snapshot is to exist, days since 1970, even if no row was read.
    pub snapshot: Option<i32>,
    /// "These keys, and no others, in this scope".
    pub listings: Vec<Listing>,
    /// "This record is gone", or "it is there after all", of rows that stay.
    pub marks: Vec<Mark>,
    /// "This record is gone", of rows that are taken out.
    pub removals: Vec<Removal>,
    /// How look-ups by a parent's key ended that left no row, or not yet a complete one.
    pub look_ups: Vec<LookUp>,
    /// How parents answered whose children are read parent by parent.
    pub answers: Vec<ParentAnswer>,
}

impl Statements {
    /// Whether they say nothing of any record.
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

    /// The keys that they name, each with the day that is likely to date its row.
    pub fn keys(&self) -> impl Iterator<Item = (&str, Option<i32>)> {
        let rows = self.rows.iter().flatten();
        let rows = rows.map(|facts| (&*facts.key, facts.day.or(facts.found_on)));
        let marks = self.marks.iter().map(|mark| (&*mark.key, mark.day));
        let removals = self.removals.iter().map(|removal| (&*removal.key, removal.day));
        let look_ups = self.look_ups.iter().map(|it| (&*it.key, it.day));
        rows.chain(marks).chain(removals).chain(look_ups)
    }
}

/// A list that was read to its end: what it does not hold is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// What it was a list of.
    pub scope: Scope,
    /// All that it holds: keys of rows, or of parents where the scope is that of all parents.
    pub keys: HashSet<Box<str>>,
    /// When its first page was requested, microseconds since 1970; where its window ended before
    /// that and before the day did, when its window ended: it says nothing of what came after.
    pub requested_at: i64,
}

/// What a complete list speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything of a day, days since 1970: of a snapshot, or of a table whose key holds the day.
    Day(i32),
    /// The children of one parent, in the snapshot of a day; or the rows of one range.
    Parent {
        /// The parent's key, or the range.
        id: Box<str>,
        /// The day of the snapshot, or the first of the range, days since 1970.
        day: i32,
    },
    /// All parents there are, in the snapshot of a day, days since 1970: what belongs to no other
    /// parent goes.
    Parents(i32),
}

impl Scope {
    /// The day that it is about, days since 1970.
    #[must_use]
    pub fn day(&self) -> i32 {
        match self {
            Self::Day(day) | Self::Parent { day, .. } | Self::Parents(day) => *day,
        }
    }
}

/// A record that is known to be gone, or to be there after all, whose row stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its key.
    pub key: Box<str>,
    /// The day that dated its row when it was last seen, days since 1970.
    pub day: Option<i32>,
    /// When it was found gone, microseconds since 1970; `None` when it is there.
    pub deleted_at: Option<i64>,
}

/// A record whose row is to be taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its key.
    pub key: Box<str>,
    /// The day that dates its row, days since 1970.
    pub day: Option<i32>,
    /// When it was found that the row does not belong there, microseconds since 1970.
    pub at: i64,
}

/// A look-up by a parent's key, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// The key.
    pub key: Box<str>,
    /// The day that dates the row, or, if there is none, the parent's row; days since 1970.
    pub day: Option<i32>,
    /// How it ended.
    pub attempt: Attempt,
}

/// How a parent answered when its children were asked for: completely, or that it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentAnswer {
    /// The parent's key.
    pub id: Box<str>,
    /// When it was asked, microseconds since 1970.
    pub answered_at: i64,
    /// How it ended, and until when that is good.
    pub attempt: Attempt,
}
