//! Concerns: what the operator of a lake should know.
//!
//! Finds concerns in a status, given how old a table may be, the serious ones first. Their wording
//! is elsewhere.

use super::{Run, Status, TableStatus};
use crate::schema::Difference;
use crate::window::{Coverage, Window};

/// Something about a lake that the operator should know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Concern<'s> {
    /// The last incremental run left something out.
    Incomplete(&'s Run),
    /// A table is older than allowed, or was never complete.
    Stale(&'s TableStatus),
    /// A requested range is missing and no backfill is pending.
    Gap(&'s TableStatus),
    /// The week's quota is almost spent.
    QuotaSpent,
    /// A backfill has yet to fetch some of the history.
    History(&'s TableStatus),
    /// Records that the next run will look up one by one.
    Pending(&'s str, u64),
    /// Records that were absent for so long that they are no longer requested.
    Unavailable(&'s str, u64),
    /// Values for which `evolve` would add columns.
    Evolvable(&'s str, &'s [Difference]),
    /// A table's first export is incomplete, so its schema may still grow.
    NotFrozen(&'s str),
}

impl Concern<'_> {
    /// Whether this means that something is wrong; the others are only good to know.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        use Concern::{Gap, Incomplete, QuotaSpent, Stale};
        matches!(self, Incomplete(_) | Stale(_) | Gap(_) | QuotaSpent)
    }
}

impl TableStatus {
    /// What was requested and is missing, except what waits for a backfill.
    #[must_use]
    pub fn plain_gaps(&self) -> Vec<Window> {
        let mut gaps: Coverage = self.gaps.iter().copied().collect();
        self.left_for_backfill.iter().for_each(|window| gaps.remove(*window));
        gaps.windows().to_vec()
    }
}

impl Status {
    /// The concerns, serious ones first; no table may be older than this many seconds.
    #[must_use]
    pub fn concerns(&self, max_age: i64) -> Vec<Concern<'_>> {
        let mut concerns = Vec::new();
        let last = self.runs.iter().find(|run| run.is_nightly());
        concerns.extend(last.filter(|run| !run.complete).map(Concern::Incomplete));
        concerns.extend(self.staler_than(max_age).map(Concern::Stale));
        let with_gaps = self.tables.iter().filter(|table| !table.plain_gaps().is_empty());
        concerns.extend(with_gaps.map(Concern::Gap));
        let week = &self.week;
        let is_spent = week.spent.saturating_mul(100) >= week.quota.saturating_mul(98);
        concerns.extend((is_spent && week.spent > 0).then_some(Concern::QuotaSpent));
        concerns.extend(self.tables.iter().flat_map(of_table));
        concerns
    }
}

/// The remarks on one table.
fn of_table(table: &TableStatus) -> Vec<Concern<'_>> {
    let name = table.endpoint.as_str();
    let queue = table.queue.unwrap_or_default();
    let mut concerns = Vec::new();
    concerns.extend((!table.left_for_backfill.is_empty()).then_some(Concern::History(table)));
    concerns.extend((queue.pending > 0).then_some(Concern::Pending(name, queue.pending)));
    let gone = queue.unavailable;
    concerns.extend((gone > 0).then_some(Concern::Unavailable(name, gone)));
    let evolvable = &table.evolvable;
    concerns.extend((!evolvable.is_empty()).then_some(Concern::Evolvable(name, evolvable)));
    concerns.extend((!table.schema_frozen).then_some(Concern::NotFrozen(name)));
    concerns
}
