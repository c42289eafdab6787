//! Orphaned objects: a run wrote them and was killed before it committed.
//!
//! They are recovered: the next manifest names them, and if a key is in two partitions, the most
//! recently requested row wins. Objects that have vanished are removed from the manifest, and what
//! the API still has of them is requested again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{Datelike, NaiveTime};

use crate::calendar::TimeUnit;
use crate::commit_plan::{CommitPlan, Rules};
use crate::decode::RecordDecoder;
use crate::endpoint::{Dated, Parent};
use crate::error::Result;
use crate::lake::index::Found;
use crate::lake::store::Listed;
use crate::lake::table::snapshot::Snapshot;
use crate::lake::table::transaction::{Outcome, Transaction};
use crate::lake::table::{freeze, merge};
use crate::manifest::{
    Attempt, Clearance, Granularity, IndexEntry, LostPartition, Manifest, ParentVersion,
    PartitionEntry, is_later,
};
use crate::partition::Partition;
use crate::row::RowFacts;
use crate::schema::fingerprint;
use crate::window::{Window, day_of};

/// About how many rows are recovered in one commit.
const RECOVERED_ROWS: u64 = 200_000;

/// Objects that the manifest does not list, by partition.
type Orphans = BTreeMap<Partition, Listed>;

/// What differs between a table's folder and its manifest.
pub(super) struct Differences {
    orphans: Orphans,
    /// The partitions whose objects are missing, by their value of `dt`.
    vanished: Vec<String>,
}

/// What one commit recovers.
struct Recovered {
    plan: CommitPlan,
    /// What the index said about the keys before, and the partition of each.
    known: Found,
    /// What the index is going to say.
    touched: HashMap<Box<str>, IndexEntry>,
    /// The partitions that lack rows known to the index, and how many.
    lacking: BTreeMap<Partition, u64>,
    /// Those of them where an older object has been put in place.
    older: BTreeSet<Partition>,
    /// Whether a `forget` may have been killed, in which case the rows it removed must not come
    /// back.
    is_clearing: bool,
    rows: u64,
}

/// What differs between a table's folder, as listed, and its manifest; `None` when nothing does.
pub(super) fn differences(snapshot: &Snapshot, listed: Vec<Listed>) -> Option<Differences> {
    let name = &snapshot.table().endpoint().name;
    let prefix = format!("{name}/dt=");
    let partition_of = |path: &str| {
        let name = path.strip_prefix(&prefix)?.strip_suffix("/part-0.parquet")?;
        name.parse::<Partition>().ok()
    };
    let mut orphans = Orphans::new();
    let mut vanished = snapshot.manifest().partitions.clone();
    for object in listed {
        let Some(partition) = partition_of(&object.path) else { continue };
        let known = vanished.remove(&partition.to_string());
        if known.is_none_or(|entry| entry.etag != object.etag) {
            orphans.insert(partition, object);
        }
    }
    let vanished: Vec<String> = vanished.into_keys().collect();
    let is_none = orphans.is_empty() && vanished.is_empty();
    (!is_none).then_some(Differences { orphans, vanished })
}

/// Recovers orphans, about as many per commit as fit in memory.
pub(super) fn recover(transaction: &mut Transaction<'_>) -> Result<Outcome<()>> {
    let table = transaction.snapshot().table();
    let listed = table.store().list(&table.endpoint().name)?;
    let Some(found) = differences(transaction.snapshot(), listed) else {
        return Ok(Outcome::Committed(()));
    };
    let Differences { mut orphans, vanished } = found;
    if !vanished.is_empty()
        && let Outcome::Conflict = note_vanished(transaction, vanished)?
    {
        return Ok(Outcome::Conflict);
    }
    let mut first = Manifest::clone(transaction.snapshot().manifest());
    let is_clearing = first.clearance.known != first.clearance.cleared;
    if !first.schema_frozen {
        recover_schema(transaction, &mut first, &orphans)?;
    }
    if first.version == 0 {
        first.granularity = granularity(transaction, &orphans)?.unwrap_or(first.granularity);
    }
    let snapshot = transaction.snapshot().with(first);
    transaction.continue_on(snapshot);
    while let Some((partition, object)) = orphans.pop_first() {
        let mut next = Manifest::clone(transaction.snapshot().manifest());
        next.checked.clear();
        // The run that wrote it may not have known the full list of the forgotten.
        next.clearance = Clearance::default();
        let plan = CommitPlan::of(next);
        let mut recovered = Recovered {
            plan,
            known: Found::new(),
            touched: HashMap::new(),
            lacking: BTreeMap::new(),
            older: BTreeSet::new(),
            is_clearing,
            rows: 0,
        };
        recovered.take(transaction, partition, &object)?;
        while let Some((partition, object)) = recovered.next(&mut orphans) {
            recovered.take(transaction, partition, &object)?;
        }
        if let Outcome::Conflict = recovered.commit(transaction)? {
            return Ok(Outcome::Conflict);
        }
    }
    Ok(Outcome::Committed(()))
}

impl Recovered {
    /// Takes in the rows of one object.
    fn take(
        &mut self,
        transaction: &mut Transaction<'_>,
        partition: Partition,
        listed: &Listed,
    ) -> Result<()> {
        let snapshot = transaction.snapshot().clone();
        let rules = transaction.rules();
        let object = snapshot.table().store().existing(&listed.path)?;
        let facts = merge::read_facts(object.clone(), partition, &mut transaction.decoder)?;
        let present: HashSet<&str> = facts.iter().map(|row| &*row.key).collect();
        // A row that is in no other partition either was removed, and stays recorded as gone. It is
        // not known when the killed run found that, only that it was after it read the row; so any
        // later reply brings the row back.
        let deletes = snapshot.table().endpoint().deletes;
        let indexed = snapshot.manifest().index.contains_key(&partition.to_string());
        let shard = if indexed { snapshot.shard(partition)? } else { Arc::default() };
        for (key, entry) in shard.iter() {
            if entry.in_lake && !present.contains(&**key) && !self.touched.contains_key(key) {
                let gone = IndexEntry {
                    in_lake: false,
                    deleted_at: deletes.then_some(entry.fetched_at),
                    attempt: None,
                    ..entry.clone()
                };
                self.touched.insert(key.clone(), gone);
                self.known.insert(key.clone(), (partition, entry.clone()));
            }
        }
        let wanted: Vec<_> = facts.iter().map(|row| (&*row.key, row.day)).collect();
        let found = if rules.is_snapshot {
            let entries = facts.iter().filter_map(|row| shard.get_key_value(&row.key));
            entries.map(|(key, entry)| (key.clone(), (partition, entry.clone()))).collect()
        } else {
            snapshot.find(&wanted)?
        };
        for (key, known) in found {
            self.known.entry(key).or_insert(known);
        }
        // A killed run replaces rows with later ones. If the index has later rows than the object,
        // someone else put an older object there.
        let is_older = |row: &RowFacts| {
            let known = shard.get(&row.key).filter(|known| known.in_lake);
            known.is_some_and(|known| is_later(known.fetched_at, row.fetched_at, rules.now))
        };
        if facts.iter().any(is_older) {
            self.lacking.entry(partition).or_default();
            self.older.insert(partition);
        }
        for row in &facts {
            if !rules.is_snapshot && rules.partition(row.day) != partition {
                // It belongs to another partition, whose object someone else put here.
                let rewrite = self.plan.rewrites.entry(partition).or_default();
                rewrite.removed.insert(row.key.clone());
                continue;
            }
            self.take_row(row, partition, &rules, snapshot.table().endpoint().parent.as_ref());
        }
        self.rows += facts.len() as u64;
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
        self.plan.next.partitions.insert(partition.to_string(), entry);
        Ok(())
    }

    fn take_row(
        &mut self,
        row: &RowFacts,
        partition: Partition,
        rules: &Rules,
        parent: Option<&Parent>,
    ) {
        let known = self.known.get(&row.key).map(|known| &known.1);
        let old = self.touched.get(&row.key).or(known);
        let elsewhere = old.filter(|old| old.in_lake && !rules.is_snapshot);
        let elsewhere = elsewhere.filter(|old| rules.partition(old.day) != partition);
        let attempt =
            old.filter(|old| row.has_content(old.hash)).and_then(|old| old.attempt.clone());
        let of_parent = old.and_then(|old| old.parent.clone());
        let loser = elsewhere.map(|old| {
            let is_older = is_later(old.fetched_at, row.fetched_at, rules.now);
            (is_older, if is_older { partition } else { rules.partition(old.day) })
        });
        if let Some((is_older, loser)) = loser {
            let rewrite = self.plan.rewrites.entry(loser).or_default();
            rewrite.removed.insert(row.key.clone());
            if is_older {
                return;
            }
        }
        let attempt = attempt.or_else(|| presumed_attempt(parent, row));
        let entry = IndexEntry { attempt, parent: of_parent, ..rules.entry(row) };
        self.touched.insert(row.key.clone(), entry);
    }

    /// The next object to recover in the same commit: one that is rewritten anyway, or any while
    /// there is room.
    fn next(&self, orphans: &mut Orphans) -> Option<(Partition, Listed)> {
        let mut written = self.plan.rewrites.keys();
        let written = written.find(|partition| orphans.contains_key(partition)).copied();
        match written {
            Some(partition) => orphans.remove_entry(&partition),
            None if self.rows < RECOVERED_ROWS => orphans.pop_first(),
            None => None,
        }
    }

    fn commit(self, transaction: &mut Transaction<'_>) -> Result<Outcome<()>> {
        let Self { mut plan, known, touched, mut lacking, older, is_clearing, .. } = self;
        let rules = transaction.rules();
        for (key, entry) in touched {
            let before = known.get(&key).map(|(partition, _)| *partition);
            if let Some(before) = before.filter(|_| !entry.in_lake && known[&key].1.in_lake) {
                *lacking.entry(before).or_default() += 1;
            }
            let is_known = entry.in_lake || entry.is_removed() || entry.attempt.is_some();
            // A row that a snapshot no longer has belongs to the partition it was in.
            let left = before.filter(|_| rules.is_snapshot && !entry.in_lake);
            let place = left.unwrap_or_else(|| rules.partition(entry.day));
            plan.note(key, before, is_known.then_some((place, entry)));
        }
        if rules.is_snapshot {
            // A killed run may have removed rows from a snapshot, but it never makes one older.
            lacking.retain(|partition, _| older.contains(partition));
        }
        if !is_clearing {
            request_again(transaction, &mut plan.next, lacking, &older);
        }
        transaction.commit(plan, Vec::new())
    }
}

/// What is known about the request for a recovered row: that it was made, but not for which version
/// of the parent.
fn presumed_attempt(parent: Option<&Parent>, row: &RowFacts) -> Option<Attempt> {
    parent.filter(|parent| parent.completed_by.is_some()).map(|_| Attempt {
        parent: ParentVersion::Unknown,
        reason: (!row.is_complete).then(|| "not known to be complete".into()),
        ..Attempt::default()
    })
}

/// Merges the columns of these objects into the schema, and freezes it if they say that it was
/// frozen.
fn recover_schema(
    transaction: &mut Transaction<'_>,
    manifest: &mut Manifest,
    orphans: &Orphans,
) -> Result<()> {
    let store = transaction.snapshot().table().store();
    let read = |listed: &Listed| merge::file_schema(store.existing(&listed.path)?);
    let objects = orphans.values().map(read).collect::<Result<Vec<_>>>()?;
    if let Some((schema, is_frozen)) = freeze::recovered(manifest, &objects) {
        manifest.schema = schema;
        manifest.schema_frozen = is_frozen;
    }
    Ok(())
}

/// How much time objects without a manifest hold each, if they show it: their footers say so, or, in
/// those of older versions, all are dated by the first of a month and some row has another day.
fn granularity(transaction: &Transaction<'_>, orphans: &Orphans) -> Result<Option<Granularity>> {
    let is_first = |partition: &Partition| partition.date().is_none_or(|date| date.day() == 1);
    if !orphans.keys().all(is_first) {
        return Ok(Some(Granularity::Day));
    }
    let object = |listed: &Listed| transaction.snapshot().table().store().existing(&listed.path);
    for listed in orphans.values() {
        if let Some(said) = merge::granularity_of(object(listed)?)? {
            return Ok(Some(said));
        }
    }
    let mut decoder: RecordDecoder = transaction.decoder.another();
    for (partition, listed) in orphans {
        let facts = merge::read_facts(object(listed)?, *partition, &mut decoder)?;
        let day = partition.date().map(day_of);
        if facts.iter().any(|row| day.is_some() && row.day != day) {
            return Ok(Some(Granularity::Month));
        }
    }
    Ok(None)
}

/// Lists again what partitions lack, since nothing shows whether a killed run removed it or someone
/// put an older object there.
fn request_again(
    transaction: &Transaction<'_>,
    next: &mut Manifest,
    lacking: BTreeMap<Partition, u64>,
    older: &BTreeSet<Partition>,
) {
    let endpoint = transaction.snapshot().table().endpoint();
    for (partition, rows) in lacking {
        next.drop_parents();
        match window_of(transaction, partition)
            .filter(|_| endpoint.window.is_some() && !endpoint.is_of_ranges())
        {
            Some(window) => next.coverage.remove(window),
            None if endpoint.parent.is_none() || endpoint.is_snapshot() => {
                let name = partition.to_string();
                let there = next.partitions.get(&name).map_or(0, |entry| entry.rows);
                let found_at = transaction.now();
                let replaced = older.contains(&partition);
                let rows = there + rows;
                let lost = LostPartition { rows, found_at, requested: false, replaced };
                next.lost.entry(name).or_insert(lost);
            }
            None => {}
        }
    }
}

/// Removes partitions from the manifest whose objects have vanished. What the API still has of them
/// is requested again: windows are listed again, look-ups are repeated, and a table without windows
/// is listed as a whole. What the API does not have, such as an older snapshot, stays recorded as
/// lost.
fn note_vanished(transaction: &mut Transaction<'_>, vanished: Vec<String>) -> Result<Outcome<()>> {
    let manifest = transaction.snapshot().manifest();
    let endpoint = transaction.snapshot().table().endpoint();
    let mut next = Manifest::clone(manifest);
    next.checked.clear();
    // The answers vouch for rows that may be among the lost ones.
    next.drop_parents();
    for name in vanished {
        let entry = next.partitions.remove(&name);
        next.index.remove(&name);
        let Ok(partition) = name.parse::<Partition>() else { continue };
        let window = window_of(transaction, partition)
            .filter(|_| endpoint.window.is_some() && !endpoint.is_of_ranges());
        if let Some(window) = window {
            next.coverage.remove(window);
        }
        let lost = LostPartition {
            rows: entry.map_or(0, |entry| entry.rows),
            found_at: transaction.now(),
            requested: false,
            replaced: false,
        };
        next.lost.entry(name).or_insert(lost);
    }
    transaction.commit(CommitPlan::of(next), Vec::new())
}

/// The window to list again to restore all rows of a partition. A record that is dated by a weekly
/// or monthly window is in the partition of the window's first day.
fn window_of(transaction: &Transaction<'_>, partition: Partition) -> Option<Window> {
    let endpoint = transaction.snapshot().table().endpoint();
    let from = partition.date()?.and_time(NaiveTime::MIN).and_utc();
    let held = match transaction.snapshot().manifest().granularity {
        Granularity::Day => TimeUnit::Day,
        Granularity::Month => TimeUnit::Month,
    };
    let to = held.next(from)?;
    let step = endpoint.window.as_ref().and_then(|window| window.step);
    Some(match step.filter(|_| endpoint.dated == Dated::Window) {
        Some(step) => Window::new(step.floor(from), step.ceil(to)),
        None => Window::new(from, to),
    })
}
