//! Adoption: objects that a run wrote without living to commit them.
//!
//! Enters: a listing that differs from the manifest. Leaves: a manifest that agrees with it, and
//! no key in two partitions. Never here: a row lost; of two versions the later fetched stays.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{Datelike, NaiveTime};

use super::change::{Touched, Work};
use super::index::Known;
use super::store::Listed;
use super::table::Table;
use super::{freeze, merge};
use crate::calendar::TimeUnit;
use crate::decode::RowFacts;
use crate::endpoint::Dated;
use crate::error::Result;
use crate::manifest::{
    Attempt, Clearance, Granularity, IndexEntry, Manifest, PartitionEntry, UNKNOWN_PARENT, is_later,
};
use crate::partition::Partition;
use crate::schema::fingerprint;
use crate::window::{Window, day_of};

/// How many rows are adopted in one commit, about.
const ADOPTED_ROWS: u64 = 200_000;

/// Objects that the manifest does not know, by partition.
type Strangers = BTreeMap<Partition, Listed>;

/// What one commit adopts.
#[derive(Default)]
struct Adoption {
    touched: Touched,
    known: Known,
    work: Work,
    rows: u64,
}

impl Table {
    /// Reads objects that the manifest does not know: a run wrote them and died. They are
    /// adopted, and of a key that now stands in two partitions the later fetched row stays.
    pub(super) fn adopt_strangers(&mut self) -> Result<()> {
        if self.differences()?.is_none() {
            return Ok(());
        }
        self.in_turn(|table| {
            // Objects without a manifest may be those of a writer that is about to commit.
            table.store.hold()?;
            table.refresh()?;
            table.mend(Self::adopt_all)
        })
    }

    /// The same, for whoever holds the lock. Each commit adopts about as much as fits in memory.
    pub(super) fn adopt_all(&mut self) -> Result<()> {
        let Some((mut strangers, lost)) = self.differences()? else { return Ok(()) };
        if !lost.is_empty() {
            self.forget_lost(lost)?;
        }
        if !self.manifest.settled {
            self.recover_schema(&strangers)?;
        }
        if self.manifest.version == 0 && self.holds_months(&strangers)? {
            self.manifest.granularity = Granularity::Month;
        }
        while let Some((partition, object)) = strangers.pop_first() {
            let mut next = self.manifest.clone();
            next.checked.clear();
            // Whoever wrote it may not have known of all who are forgotten.
            next.clearance = Clearance::default();
            let mut adoption = Adoption::default();
            self.adopt(partition, &object, &mut next, &mut adoption)?;
            while let Some((partition, object)) = adoption.needs(&mut strangers) {
                self.adopt(partition, &object, &mut next, &mut adoption)?;
            }
            self.manifest.partitions.clone_from(&next.partitions);
            self.write_partitions(adoption.work, &mut next, &mut Vec::new())?;
            next.schema = self.decoder.schema().as_ref().clone();
            self.write_index(adoption.touched, &adoption.known, &mut next)?;
            self.write_manifest(next)?;
        }
        Ok(())
    }

    fn adopt(
        &mut self,
        partition: Partition,
        listed: &Listed,
        next: &mut Manifest,
        adoption: &mut Adoption,
    ) -> Result<()> {
        let object = self.store.existing(&listed.path)?;
        let facts = merge::read_facts(object.clone(), &mut self.decoder)?;
        let present: HashSet<&str> = facts.iter().map(|row| &*row.key).collect();
        // A row that is in no other partition either was taken out, and stays known as gone.
        let gone_at = self.endpoint.deletes.then(|| self.now.timestamp_micros());
        for (key, entry) in self.piece(partition)? {
            if entry.in_lake && !present.contains(&**key) && !adoption.touched.contains_key(key) {
                let gone = IndexEntry {
                    in_lake: false,
                    deleted_at: gone_at,
                    attempt: None,
                    ..entry.clone()
                };
                adoption.touched.insert(key.clone(), gone);
                adoption.known.insert(key.clone(), (partition, entry.clone()));
            }
        }
        let known = self.look_up(facts.iter().map(|row| (&*row.key, row.day)))?;
        for (key, known) in known {
            adoption.known.entry(key).or_insert(known);
        }
        for row in &facts {
            self.adopt_row(row, partition, adoption);
        }
        adoption.rows += facts.len() as u64;
        let (bytes, sha256) = object.digest();
        let schema = fingerprint(&merge::file_schema(object.clone())?.0);
        let entry = PartitionEntry {
            object: listed.path.clone(),
            rows: facts.len() as u64,
            bytes,
            etag: object.version().etag(),
            sha256,
            schema,
        };
        next.partitions.insert(partition.to_string(), entry);
        Ok(())
    }

    fn adopt_row(&self, row: &RowFacts, partition: Partition, adoption: &mut Adoption) {
        let known = adoption.known.get(&row.key).map(|known| &known.1);
        let old = adoption.touched.get(&row.key).or(known);
        let by_run = self.endpoint.dated == Dated::Run;
        let elsewhere = old.filter(|old| old.in_lake && !by_run);
        let elsewhere = elsewhere.filter(|old| self.partition(old.day) != partition);
        let attempt = old.filter(|old| old.hash == row.hash).and_then(|old| old.attempt.clone());
        let loser = elsewhere.map(|old| {
            let now = self.now.timestamp_micros();
            let is_older = is_later(old.fetched_at, row.fetched_at, now);
            (is_older, if is_older { partition } else { self.partition(old.day) })
        });
        if let Some((is_older, loser)) = loser {
            adoption.work.entry(loser).or_default().drop.insert(row.key.clone());
            if is_older {
                return;
            }
        }
        let attempt = attempt.or_else(|| self.presumed_attempt(row));
        adoption.touched.insert(row.key.clone(), entry_of(row, attempt));
    }

    /// What is known of the request that brought a row: that it was made, but not for which version
    /// of the parent.
    fn presumed_attempt(&self, row: &RowFacts) -> Option<Attempt> {
        let parent = self.endpoint.parent.as_ref().filter(|parent| parent.settled_by.is_some());
        parent.map(|_| Attempt {
            parent_hash: UNKNOWN_PARENT,
            reason: (!row.settled).then(|| "not known to be whole".into()),
            ..Attempt::default()
        })
    }

    /// Takes the columns of these objects into the schema, and freezes it if they say that it was.
    fn recover_schema(&mut self, strangers: &Strangers) -> Result<()> {
        let read = |listed: &Listed| merge::file_schema(self.store.existing(&listed.path)?);
        let objects = strangers.values().map(read).collect::<Result<Vec<_>>>()?;
        if let Some((schema, is_frozen)) = freeze::recovered(&self.manifest, &objects) {
            self.decoder.set_schema(Arc::new(schema.clone()), is_frozen);
            self.manifest.schema = schema;
            self.manifest.settled = is_frozen;
        }
        Ok(())
    }

    /// Whether objects without a manifest are of a month each: all are dated by a first, and some
    /// row is of another day.
    fn holds_months(&mut self, strangers: &Strangers) -> Result<bool> {
        let is_first = |partition: &Partition| partition.date().is_none_or(|date| date.day() == 1);
        if !strangers.keys().all(is_first) {
            return Ok(false);
        }
        for (partition, listed) in strangers {
            let object = self.store.existing(&listed.path)?;
            let facts = merge::read_facts(object, &mut self.decoder)?;
            let day = partition.date().map(day_of);
            if facts.iter().any(|row| day.is_some() && row.day != day) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The objects in the table's folder that are not as the manifest says, and the partitions whose
    /// objects are not there; `None` when all is as it should be.
    fn differences(&self) -> Result<Option<(Strangers, Vec<String>)>> {
        let prefix = format!("{}/dt=", self.endpoint.name);
        let partition_of = |path: &str| {
            let name = path.strip_prefix(&prefix)?.strip_suffix("/part-0.parquet")?;
            name.parse::<Partition>().ok()
        };
        let mut strangers = Strangers::new();
        let mut lost = self.manifest.partitions.clone();
        for object in self.store.list(&self.endpoint.name)? {
            let Some(partition) = partition_of(&object.path) else { continue };
            let known = lost.remove(&partition.to_string());
            if known.is_none_or(|entry| entry.etag != object.etag) {
                strangers.insert(partition, object);
            }
        }
        let lost: Vec<String> = lost.into_keys().collect();
        Ok((!strangers.is_empty() || !lost.is_empty()).then_some((strangers, lost)))
    }

    /// The window that has to be listed again to bring back all rows of a partition. A record that is
    /// dated by a window of a week or a month is in the partition of the window's first day.
    fn window_of(&self, partition: Partition) -> Option<Window> {
        let from = partition.date()?.and_time(NaiveTime::MIN).and_utc();
        let held = match self.manifest.granularity {
            Granularity::Day => TimeUnit::Day,
            Granularity::Month => TimeUnit::Month,
        };
        let to = held.next(from)?;
        let step = self.endpoint.window.as_ref().and_then(|window| window.step);
        Some(match step.filter(|_| self.endpoint.dated == Dated::Window) {
            Some(step) => Window::new(step.floor(from), step.ceil(to)),
            None => Window::new(from, to),
        })
    }

    /// Takes partitions out of the manifest whose objects have vanished, so that what was in them is
    /// asked for again.
    fn forget_lost(&mut self, lost: Vec<String>) -> Result<()> {
        let mut next = self.manifest.clone();
        next.checked.clear();
        for name in &lost {
            next.partitions.remove(name);
            next.index.remove(name);
            let Ok(partition) = name.parse::<Partition>() else { continue };
            if let Some(window) = self.window_of(partition) {
                next.coverage.remove(window);
            }
        }
        self.lost.extend(lost);
        self.write_manifest(next)
    }
}

impl Adoption {
    /// The next object to adopt in the same commit: one that is to be written anyway, or any while
    /// there is room.
    fn needs(&self, strangers: &mut Strangers) -> Option<(Partition, Listed)> {
        let written = self.work.keys().find(|partition| strangers.contains_key(partition)).copied();
        match written {
            Some(partition) => strangers.remove_entry(&partition),
            None if self.rows < ADOPTED_ROWS => strangers.pop_first(),
            None => None,
        }
    }
}

fn entry_of(row: &RowFacts, attempt: Option<Attempt>) -> IndexEntry {
    IndexEntry {
        in_lake: true,
        day: row.day,
        hash: row.hash,
        fetched_at: row.fetched_at,
        status: row.status.clone(),
        deleted_at: row.deleted_at,
        attempt,
    }
}
