//! Chains: a chained table held against the table of its parents.
//!
//! Enters: both tables. Leaves: of each parent what both know of it, partition by partition, and
//! which partitions need not be looked at. Never here: a request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime, TimeDelta};

use super::store::Store;
use super::table::Table;
use crate::endpoint::{Catalogue, Dated, Endpoint, Named, Parent, ParentField};
use crate::error::Result;
use crate::manifest::{ASK_AGAIN, Attempt, Checked, IndexEntry, Manifest, Purpose, Queue};
use crate::partition::Partition;
use crate::plan::queue;
use crate::schema::Schema;
use crate::window::{Window, date_of, day_of};

/// The parents of a chained table.
#[derive(Debug)]
pub struct Chain {
    parents: Table,
    rule: Parent,
}

/// A parent, and what is known of the record that its id drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The parent's id.
    pub id: Box<str>,
    /// What the parents' table knows of it.
    pub parent: IndexEntry,
    /// What the chained table knows of it.
    pub own: Option<IndexEntry>,
}

impl Chain {
    /// The chain from the parents' table, by the rule that chooses among them.
    #[must_use]
    pub fn new(parents: Table, rule: Parent) -> Self {
        Self { parents, rule }
    }

    /// The partitions of the parents that must be looked at, newest first: those whose index
    /// changed since they were, and those with records that are due.
    #[must_use]
    pub fn open(&self, own: &Manifest, now: i64) -> Vec<Partition> {
        let latest = self.parents.time();
        let is_open = |partition: &Partition| {
            let checked = own.checked.get(&partition.to_string());
            checked.is_none_or(|checked| {
                let is_due = checked.due_at.is_some_and(|due_at| {
                    due_at <= now || latest.is_some_and(|latest| !queue::is_near(due_at, latest))
                });
                is_due || checked.parents != self.stamp(*partition)
            })
        };
        self.parents.indexed().rev().filter(is_open).collect()
    }

    /// The partitions of the parents, of a day or of a month, that may hold days of a window; newest
    /// first.
    #[must_use]
    pub fn within(&self, window: Window) -> Vec<Partition> {
        let touches = |partition: &Partition| {
            let from = partition.date().map(|date| date.and_time(NaiveTime::MIN).and_utc());
            from.is_some_and(|from| from < window.to && window.from < from + TimeDelta::days(31))
        };
        self.parents.indexed().rev().filter(touches).collect()
    }

    /// How far the records of all partitions but the open ones have come.
    #[must_use]
    pub fn closed(&self, own: &Manifest, open: &[Partition]) -> Queue {
        let mut queue = Queue::default();
        for partition in self.parents.indexed().filter(|partition| !open.contains(partition)) {
            if let Some(checked) = own.checked.get(&partition.to_string()) {
                queue += checked.queue;
            }
        }
        queue
    }

    /// How far the records of one partition have come, and what to remember of it if none is due.
    ///
    /// # Errors
    /// `Corrupt` when a file of an index cannot be read.
    pub fn tally(
        &mut self,
        own: &mut Table,
        partition: Partition,
        now: i64,
    ) -> Result<(Queue, Option<Checked>)> {
        let links = self.links(own, partition)?;
        let selected = links.iter().filter(|link| self.selects(link));
        let (queue, due_at) = queue::tally(selected.map(|it| (it.attempt(), it.parent.hash)), now);
        let parents = self.stamp(partition);
        Ok((queue, (queue.pending == 0).then_some(Checked { parents, queue, due_at })))
    }

    /// What pays for asking for a record: the backfill's share, if a backfill brought its parent and
    /// it was never asked for.
    #[must_use]
    pub fn purpose(&self, link: &Link) -> Purpose {
        let from =
            link.parent.day.and_then(date_of).map(|it| it.and_time(NaiveTime::MIN).and_utc());
        let backfill = &self.parents.manifest().backfill;
        let is_in_backfill = from.is_some_and(|from| {
            !backfill.common(Window::new(from, from + TimeDelta::days(1))).is_empty()
        });
        let is_asked_again = link.attempt().is_some_and(|it| it.parent_hash == ASK_AGAIN);
        let is_of_backfill = is_asked_again || (is_in_backfill && link.own.is_none());
        if is_of_backfill { Purpose::Backfill } else { Purpose::Nightly }
    }

    /// Whether the parent's record is to be had at all.
    #[must_use]
    pub fn selects(&self, link: &Link) -> bool {
        self.rule.selects(&link.parent)
    }

    /// The parents of one partition, and what `own` knows of each one's record.
    ///
    /// # Errors
    /// `Corrupt` when a file of an index cannot be read.
    pub fn links(&mut self, own: &mut Table, partition: Partition) -> Result<Vec<Link>> {
        let parents = self.parents.entries(partition)?;
        let wanted: Vec<_> = parents.iter().map(|(id, entry)| (&**id, entry.day)).collect();
        let mut known = own.find(&wanted)?;
        let links = parents.iter().map(|(id, parent)| Link {
            id: id.clone(),
            parent: parent.clone(),
            own: known.remove(id).map(|known| known.1),
        });
        let mut links: Vec<Link> = links.collect();
        // Who only looks into a table does not say what time it is.
        if let Some(now) = own.time() {
            for own in links.iter_mut().filter_map(|link| link.own.as_mut()) {
                own.attempt.take_if(|attempt| !queue::is_believed(attempt, now));
            }
        }
        Ok(links)
    }

    /// What requests name of the records of these parents, all of one partition.
    ///
    /// # Errors
    /// `Corrupt` when their object cannot be read.
    pub fn named(
        &mut self,
        partition: Partition,
        fields: &[ParentField],
        ids: &HashSet<Box<str>>,
    ) -> Result<HashMap<Box<str>, Named>> {
        let mut found = HashMap::new();
        self.parents.drivers_in(partition, &self.rule, fields, |id, named| {
            if ids.contains(id.as_str()) {
                found.insert(id.into(), named);
            }
        })?;
        Ok(found)
    }

    /// The schema of the parents' table.
    #[must_use]
    pub fn parent_schema(&self) -> &Schema {
        &self.parents.manifest().schema
    }

    fn stamp(&self, partition: Partition) -> String {
        let file = self.parents.manifest().index.get(&partition.to_string());
        let object = file.and_then(|file| file.object.rsplit('/').next()).unwrap_or_default();
        let rule = xxhash_rust::xxh3::xxh3_64(format!("{:?}", self.rule.when).as_bytes());
        format!("{object}#{rule:08x}")
    }
}

impl Link {
    /// What the last request for the record found.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        self.own.as_ref().and_then(|own| own.attempt.as_ref())
    }
}

impl Table {
    /// The time at which it was opened or last committed to, in microseconds since 1970; none where
    /// it is only looked into.
    fn time(&self) -> Option<i64> {
        Some(self.now.timestamp_micros()).filter(|now| *now > 0)
    }

    /// Whether it has records by which a run of this day can ask for others: of a snapshot only
    /// the day's count.
    #[must_use]
    pub fn has_drivers(&self, day: i32) -> bool {
        let Manifest { partitions, granularity, .. } = self.manifest();
        let today = Partition::of(Some(day), *granularity).to_string();
        let is_snapshot = self.endpoint.dated == Dated::Run;
        !partitions.is_empty() && (!is_snapshot || partitions.contains_key(&today))
    }
}

/// The endpoints, and with them the parents of which a lake has nothing that could drive a chain: no
/// table, or no snapshot of the day. Parents come first.
///
/// # Errors
/// `Newer` or `Corrupt` when a parent's manifest cannot be read, or when the store fails.
pub fn with_parents<'c>(
    store: &Arc<Store>,
    catalogue: &'c Catalogue,
    chosen: &[&'c Endpoint],
    today: NaiveDate,
) -> Result<Vec<&'c Endpoint>> {
    let mut all = chosen.to_vec();
    let mut at = 0;
    while let Some(endpoint) = all.get(at) {
        at += 1;
        let Some(rule) = &endpoint.parent else { continue };
        let is_there = all.iter().any(|it| it.name == rule.endpoint);
        let parent = catalogue.find(&rule.endpoint)?;
        if !is_there && !Table::reader(store, catalogue, parent)?.has_drivers(day_of(today)) {
            all.push(parent);
        }
    }
    all.sort_by_key(|endpoint| catalogue.depth(endpoint));
    Ok(all)
}
