//! Rules: how a table places, keeps, and compares its rows.

use crate::endpoint::{Dated, Endpoint};
use crate::manifest::{Granularity, IndexEntry, is_later};
use crate::partition::Partition;
use crate::row::{KEY_SEPARATOR, RowFacts};

/// How a table places, keeps, and compares its rows, at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Rules {
    /// The length of a partition.
    pub granularity: Granularity,
    /// Whether a partition is a snapshot: everything that exists as of a day.
    pub is_snapshot: bool,
    /// Whether a row found in several windows stays in the first.
    pub keeps_first_day: bool,
    /// Whether its rows are children of another table, removed and restored with their parents.
    pub is_child: bool,
    /// Whether the key begins with the parent's key.
    pub has_parent_column: bool,
    /// Whether its rows have a `deleted_at`, so that one whose record is gone can be marked.
    pub has_marks: bool,
    /// The time of the commit, microseconds since 1970.
    pub now: i64,
}

impl Rules {
    /// The rules of an endpoint's table.
    #[must_use]
    pub fn of(endpoint: &Endpoint, granularity: Granularity, now: i64) -> Self {
        let parent = endpoint.parent.as_ref();
        Self {
            granularity,
            is_snapshot: endpoint.is_snapshot(),
            keeps_first_day: endpoint.dated == Dated::Window,
            is_child: parent.is_some(),
            has_parent_column: endpoint.parent_column().is_some(),
            has_marks: endpoint.deletes,
            now,
        }
    }

    /// The partition of a day, which is in days since 1970.
    #[must_use]
    pub fn partition(&self, day: Option<i32>) -> Partition {
        Partition::of(day, self.granularity)
    }

    /// Whether one statement was requested later than another, both in microseconds since 1970. A
    /// statement with a future time was dated by a wrong clock, and loses.
    pub(super) fn is_later(&self, one: i64, other: i64) -> bool {
        is_later(one, other, self.now)
    }

    /// Whether a day is in a snapshot after that of `other`. One that has not begun was dated by a
    /// wrong clock.
    pub(super) fn is_of_later_snapshot(&self, day: Option<i32>, other: i32) -> bool {
        let is_later = |day| self.partition(Some(day)) > self.partition(Some(other));
        self.is_snapshot && day.is_some_and(is_later) && day <= day_of(self.now)
    }

    /// The day that dates a row. A record whose own time cannot be read keeps its day in the lake;
    /// a new one gets the day on which it was found.
    #[must_use]
    pub fn day(&self, facts: &RowFacts, known: Option<&IndexEntry>) -> Option<i32> {
        let known = known.filter(|known| known.in_lake);
        match (facts.day, known) {
            (Some(day), Some(known)) if self.keeps_first_day => {
                Some(known.day.map_or(day, |it| it.min(day)))
            }
            (Some(day), _) => Some(day),
            (None, Some(known)) => known.day,
            (None, None) => facts.found_on.or_else(|| day_of(self.now)),
        }
    }

    /// Whether the lake has a row with these facts.
    #[must_use]
    pub fn is_same(&self, known: &IndexEntry, facts: &RowFacts) -> bool {
        let is_same_content = facts.has_content(known.hash) && known.deleted_at == facts.deleted_at;
        known.in_lake && is_same_content && self.is_in_place(known, facts)
    }

    /// Whether a known row is in the place of its new version.
    fn is_in_place(&self, known: &IndexEntry, facts: &RowFacts) -> bool {
        if self.is_snapshot && self.granularity == Granularity::Day {
            // In a day's snapshot, each row has the day on which it was last read; a row that was
            // carried over was read on an earlier day.
            return day_of(known.fetched_at) >= facts.day;
        }
        self.is_snapshot
            || self.partition(known.day) == self.partition(self.day(facts, Some(known)))
    }

    /// The key of a row's parent.
    #[must_use]
    pub fn owner<'a>(&self, key: &'a str, entry: &'a IndexEntry) -> &'a str {
        match entry.parent.as_deref() {
            Some(parent) => parent,
            None if self.has_parent_column => key.split(KEY_SEPARATOR).next().unwrap_or(key),
            None => key,
        }
    }

    /// What the index stores about a row's parent: its key, if the row's own key does not contain
    /// it.
    #[must_use]
    pub fn parent(&self, facts: &RowFacts) -> Option<Box<str>> {
        let is_needed = self.is_snapshot && !self.has_parent_column;
        let parent = facts.parent.as_deref().filter(|parent| is_needed && **parent != *facts.key);
        parent.map(Into::into)
    }

    /// The index entry of a row.
    #[must_use]
    pub fn entry(&self, facts: &RowFacts) -> IndexEntry {
        IndexEntry {
            in_lake: true,
            day: facts.day,
            time: facts.time,
            hash: facts.hash,
            fetched_at: facts.fetched_at,
            selectors: facts.selectors.clone(),
            parent: self.parent(facts),
            deleted_at: facts.deleted_at,
            attempt: None,
        }
    }
}

/// The UTC day of an instant, days since 1970.
pub(super) fn day_of(micros: i64) -> Option<i32> {
    i32::try_from(micros.div_euclid(86_400_000_000)).ok()
}
