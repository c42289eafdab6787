//! Compares a child table with the table of its parents, partition by partition of the parents. The
//! children are read by look-up.

use chrono::{NaiveDate, NaiveTime, TimeDelta};

use super::handle::Lake;
use super::index::keys::key_hash;
use super::table::snapshot::Snapshot;
use crate::commit_plan::{Mark, Removal};
use crate::endpoint::{Catalogue, Endpoint, Parent};
use crate::error::Result;
use crate::manifest::{Attempt, Checked, IndexEntry, ParentVersion, Purpose, Queue};
use crate::partition::Partition;
use crate::plan::queue;
use crate::window::{Window, date_of, day_of};

/// Of how many partitions the indexes are read beside each other.
const AT_ONCE: usize = 32;

/// A child table and the table of its parents, each at one manifest.
#[derive(Debug)]
pub struct Children<'s> {
    /// The parents' table.
    pub parents: &'s Snapshot,
    /// The child table.
    pub own: &'s Snapshot,
    /// Which parents have children.
    pub rule: &'s Parent,
    /// Notes dated after this instant (microseconds since 1970) are not trusted; `None` when the
    /// tables are only being inspected.
    pub latest: Option<i64>,
}

/// A parent, and what is known about its child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentAndChild {
    /// The parent's key.
    pub id: Box<str>,
    /// What the parents' table knows about it.
    pub parent: IndexEntry,
    /// What the child table knows about it.
    pub own: Option<IndexEntry>,
}

impl Children<'_> {
    /// The partitions of the parents that must be compared, newest first: those whose index has
    /// changed since the last comparison, and those with due children.
    #[must_use]
    pub fn open(&self, now: i64) -> Vec<Partition> {
        let is_open = |partition: &Partition| {
            let checked = self.own.manifest().checked.get(&partition.to_string());
            checked.is_none_or(|checked| {
                let is_due = checked.due_at.is_some_and(|due_at| {
                    due_at <= now
                        || self.latest.is_some_and(|latest| !queue::is_near(due_at, latest))
                });
                is_due || checked.parents != self.stamp(*partition)
            })
        };
        self.parents.indexed().rev().filter(is_open).collect()
    }

    /// The partitions of the parents (days or months) that may overlap a window, newest first.
    #[must_use]
    pub fn within(&self, window: Window) -> Vec<Partition> {
        let touches = |partition: &Partition| {
            let from = partition.date().map(|date| date.and_time(NaiveTime::MIN).and_utc());
            from.is_some_and(|from| from < window.to && window.from < from + TimeDelta::days(31))
        };
        self.parents.indexed().rev().filter(touches).collect()
    }

    /// How far the children of all partitions except the open ones have come.
    #[must_use]
    pub fn closed(&self, open: &[Partition]) -> Queue {
        let mut queue = Queue::default();
        for partition in self.parents.indexed().filter(|partition| !open.contains(partition)) {
            if let Some(checked) = self.own.manifest().checked.get(&partition.to_string()) {
                queue += checked.queue;
            }
        }
        queue
    }

    /// The delete marks that these children have yet to carry over from their parents, whether they
    /// were set or cleared.
    pub fn marks<'p>(&self, pairs: &'p [ParentAndChild]) -> impl Iterator<Item = Mark> + 'p {
        let has_marks = self.own.table().endpoint().deletes;
        pairs.iter().filter(move |_| has_marks).filter_map(|pair| {
            let own = pair.own.as_ref().filter(|own| own.in_lake && pair.parent.in_lake)?;
            let deleted_at = pair.parent.deleted_at;
            let differs = deleted_at.is_some() != own.deleted_at.is_some();
            differs.then(|| Mark { key: pair.id.clone(), day: own.day, deleted_at })
        })
    }

    /// The removals that these children have yet to carry over.
    pub fn removals<'p>(&self, pairs: &'p [ParentAndChild]) -> impl Iterator<Item = Removal> + 'p {
        pairs.iter().filter_map(|pair| {
            let own = pair.own.as_ref().filter(|own| own.in_lake && pair.parent.is_removed())?;
            Some(Removal { key: pair.id.clone(), day: own.day, at: pair.parent.deleted_at? })
        })
    }

    /// How far the children of one partition, these, have come, and the note to keep if nothing is
    /// left to do: none of them is due, or differs from its parent.
    #[must_use]
    pub fn tally(
        &self,
        partition: Partition,
        pairs: &[ParentAndChild],
        now: i64,
    ) -> (Queue, Option<Checked>) {
        let selected = pairs.iter().filter(|pair| self.selects(pair));
        let (queue, due_at) = queue::tally(selected.map(|it| (it.attempt(), it.parent.hash)), now);
        let parents = self.stamp(partition);
        let is_done = queue.pending == 0
            && self.marks(pairs).next().is_none()
            && self.removals(pairs).next().is_none();
        (queue, is_done.then_some(Checked { parents, queue, due_at }))
    }

    /// The same for several partitions, whose indexes are read beside each other.
    ///
    /// # Errors
    /// `Corrupt` when a file of an index cannot be read.
    pub fn tallies<'p>(
        &self,
        partitions: &'p [Partition],
        now: i64,
    ) -> impl Iterator<Item = Result<(&'p Partition, Queue, Option<Checked>)>> {
        partitions.chunks(AT_ONCE).flat_map(move |some| {
            self.parents.read_ahead(some);
            self.own.read_ahead(some);
            some.iter().map(move |partition| {
                let (queue, checked) = self.tally(*partition, &self.pairs(*partition)?, now);
                Ok((partition, queue, checked))
            })
        })
    }

    /// What pays for requesting a child: the backfill's share if a backfill exported its parent and
    /// the child has never been requested.
    #[must_use]
    pub fn purpose(&self, pair: &ParentAndChild) -> Purpose {
        let from =
            pair.parent.day.and_then(date_of).map(|it| it.and_time(NaiveTime::MIN).and_utc());
        let backfill = &self.parents.manifest().backfill;
        let is_in_backfill = from.is_some_and(|from| {
            !backfill.common(Window::new(from, from + TimeDelta::days(1))).is_empty()
        });
        let is_refetched = pair.attempt().is_some_and(|it| it.parent == ParentVersion::Refetch);
        let is_of_backfill = is_refetched || (is_in_backfill && pair.own.is_none());
        if is_of_backfill { Purpose::Backfill } else { Purpose::Incremental }
    }

    /// Whether the parent has a child at all.
    #[must_use]
    pub fn selects(&self, pair: &ParentAndChild) -> bool {
        self.rule.selects(&pair.parent, &self.parents.manifest().selectors)
    }

    /// The parents of one partition, each with what is known about its child.
    ///
    /// # Errors
    /// `Corrupt` when a file of an index cannot be read.
    pub fn pairs(&self, partition: Partition) -> Result<Vec<ParentAndChild>> {
        let parents = self.parents.shard(partition)?;
        let wanted: Vec<_> = parents.iter().map(|(id, entry)| (&**id, entry.day)).collect();
        let mut known = self.own.find(&wanted)?;
        let pairs = parents.iter().map(|(id, parent)| ParentAndChild {
            id: id.clone(),
            parent: parent.clone(),
            own: known.remove(id).map(|known| known.1),
        });
        let mut pairs: Vec<ParentAndChild> = pairs.collect();
        if let Some(latest) = self.latest {
            for own in pairs.iter_mut().filter_map(|pair| pair.own.as_mut()) {
                own.attempt.take_if(|attempt| !queue::is_believed(attempt, latest));
            }
        }
        Ok(pairs)
    }

    /// The state of the parents' partition that a comparison was made with.
    fn stamp(&self, partition: Partition) -> String {
        let file = self.parents.manifest().index.get(&partition.to_string());
        let object = file.and_then(|file| file.object.rsplit('/').next()).unwrap_or_default();
        let rule = key_hash(&format!("{:?}", self.rule.when)).cast_unsigned();
        format!("{object}#{rule:08x}")
    }
}

impl ParentAndChild {
    /// How the last request for the child ended.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        self.own.as_ref().and_then(|own| own.attempt.as_ref())
    }
}

/// The endpoints, plus any parents that the lake cannot yet request children by because it has no
/// table, or no snapshot of the day, for them. Parents come first.
///
/// # Errors
/// `Newer` or `Corrupt` when a parent's manifest cannot be read, or when the store fails.
pub fn with_parents<'c>(
    lake: &Lake,
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
        if !is_there && !lake.table(&parent.name)?.snapshot()?.has_parents_of(day_of(today)) {
            all.push(parent);
        }
    }
    all.sort_by_key(|endpoint| catalogue.depth(endpoint));
    Ok(all)
}
