//! What of a status concerns whoever runs the lake.
//!
//! Enters: a status, and how old a table may be. Leaves: concerns, the grave ones first. Never here:
//! how they are worded.

use super::{Run, Status, TableStatus};
use crate::schema::Difference;
use crate::window::{Coverage, Window};

/// Something about a lake that somebody should know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Concern<'s> {
    /// The last run that was to bring what changed left something out.
    Incomplete(&'s Run),
    /// A table is older than it may be, or was never complete.
    Stale(&'s TableStatus),
    /// Something was asked for and is not there, and no backfill will bring it.
    Gap(&'s TableStatus),
    /// The week's quota is as good as spent.
    QuotaSpent,
    /// A backfill has still to bring some of the history.
    History(&'s TableStatus),
    /// Records that the next run will ask for one by one.
    Pending(&'s str, u64),
    /// Records that had nothing for so long that they are not asked for any more.
    Unavailable(&'s str, u64),
    /// What `evolve` would give columns to.
    Evolvable(&'s str, &'s [Difference]),
    /// A table's first export is not complete, so that its schema may still grow.
    Unsettled(&'s str),
}

impl Concern<'_> {
    /// Whether all is not well while this holds; the others are only good to know.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        use Concern::{Gap, Incomplete, QuotaSpent, Stale};
        matches!(self, Incomplete(_) | Stale(_) | Gap(_) | QuotaSpent)
    }
}

impl TableStatus {
    /// What was asked for and is not there, but for what waits for a backfill.
    #[must_use]
    pub fn plain_gaps(&self) -> Vec<Window> {
        let mut gaps: Coverage = self.gaps.iter().copied().collect();
        self.left_for_backfill.iter().for_each(|window| gaps.remove(*window));
        gaps.windows().to_vec()
    }
}

impl Status {
    /// What concerns whoever runs the lake, the grave first; no table may be older than so many
    /// seconds.
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

/// What is good to know of one table.
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
    concerns.extend((!table.settled).then_some(Concern::Unsettled(name)));
    concerns
}
