//! Repairs and upgrades the index: unreadable files, older formats, and fields that a new child
//! endpoint selects by. All of it can be read from the objects again.

use std::collections::HashMap;

use super::orphans;
use crate::commit_plan::{CommitPlan, Entries};
use crate::error::Result;
use crate::lake::index::keys::{self, key_hash};
use crate::lake::index::{self, shard};
use crate::lake::table::merge;
use crate::lake::table::snapshot::Snapshot;
use crate::lake::table::transaction::{Outcome, Transaction};
use crate::manifest::{FORMAT, IndexEntry, IndexFile, Manifest};
use crate::partition::Partition;
use crate::row::KEY_SEPARATOR;
use crate::window::day_of;

/// The first format that keeps every field that children select by, and stores parents' answers
/// separately from rows.
const KEEPS_SELECTORS: u32 = 4;

/// Whether the index has an older format, or lacks a field that a child selects by.
pub(super) fn is_outdated(snapshot: &Snapshot) -> bool {
    let manifest = snapshot.manifest();
    let is_new = manifest.version == 0;
    let is_old = !manifest.flat_index.is_empty() || has_notes(snapshot);
    !is_new && (is_old || !snapshot.table().has_selectors(manifest))
}

/// Whether the index may store parents' answers among rows without a date, as formats up to 3 did.
fn has_notes(snapshot: &Snapshot) -> bool {
    let manifest = snapshot.manifest();
    let is_child = snapshot.table().endpoint().parent.is_some();
    let undated = Partition::of(None, manifest.granularity).to_string();
    is_child && manifest.format < KEEPS_SELECTORS && manifest.index.contains_key(&undated)
}

/// Upgrades the index.
pub(super) fn upgrade(transaction: &mut Transaction<'_>) -> Result<Outcome<()>> {
    if !is_outdated(transaction.snapshot()) {
        return Ok(Outcome::Committed(()));
    }
    if !transaction.snapshot().manifest().flat_index.is_empty()
        && let Outcome::Conflict = upgrade_flat_index(transaction)?
    {
        return Ok(Outcome::Conflict);
    }
    let snapshot = transaction.snapshot().clone();
    // Committed even if nothing is found, so that it is not searched again.
    let next = Manifest { format: FORMAT, ..Manifest::clone(snapshot.manifest()) };
    let mut plan = CommitPlan::of(next);
    if has_notes(&snapshot) {
        move_notes(transaction, &snapshot, &mut plan)?;
    }
    if !snapshot.table().has_selectors(snapshot.manifest()) {
        read_selectors(transaction, &snapshot, &mut plan)?;
    }
    transaction.commit(plan, Vec::new())
}

/// Moves the parents' answers out of the shard of rows without a date. A snapshot's answers are
/// dropped, because the rows that they vouch for may be gone.
fn move_notes(
    transaction: &Transaction<'_>,
    snapshot: &Snapshot,
    plan: &mut CommitPlan,
) -> Result<()> {
    let undated = Partition::of(None, snapshot.manifest().granularity);
    let is_snapshot = transaction.rules().is_snapshot;
    for (key, entry) in snapshot.shard(undated)?.iter() {
        let Some(id) = key.strip_prefix(KEY_SEPARATOR) else { continue };
        plan.index.entry(undated).or_default().insert(key.clone(), None);
        if !is_snapshot {
            plan.parents.insert(id.into(), Some(entry.clone()));
        }
    }
    if is_snapshot {
        plan.next.index.remove(&undated.to_string());
        plan.index.remove(&undated);
    }
    Ok(())
}

/// Reads the fields that children select by, and the rows' times, from the objects.
fn read_selectors(
    transaction: &mut Transaction<'_>,
    snapshot: &Snapshot,
    plan: &mut CommitPlan,
) -> Result<()> {
    for partition in snapshot.indexed().collect::<Vec<_>>() {
        let shard = snapshot.shard(partition)?;
        // Every shard is rewritten, so that all of them keep the same fields.
        let delta = plan.index.entry(partition).or_default();
        delta.extend(shard.iter().map(|(key, entry)| (key.clone(), Some(entry.clone()))));
        let Some(object) = snapshot.manifest().partitions.get(&partition.to_string()) else {
            continue;
        };
        let object = snapshot.table().store().existing(&object.object)?;
        for facts in merge::read_facts(object, partition, &mut transaction.decoder)? {
            if let Some(Some(entry)) = delta.get_mut(&facts.key) {
                (entry.selectors, entry.time) = (facts.selectors, facts.time);
            }
        }
    }
    // Decisions made without these fields are no longer valid.
    plan.next.checked.clear();
    Ok(())
}

/// Reads the rows of unreadable index shards again.
pub(in crate::lake) fn repair(transaction: &mut Transaction<'_>) -> Result<Outcome<()>> {
    let snapshot = transaction.snapshot().clone();
    let (store, manifest) = (snapshot.table().store(), snapshot.manifest());
    let is_readable = |file: &IndexFile| {
        let read = index::read(store, file);
        read.and_then(|it| shard::read(it, &manifest.selectors, &mut Entries::new())).is_ok()
    };
    let torn = manifest.index.iter().filter(|(_, file)| !is_readable(file));
    let torn: Vec<String> = torn.map(|(name, _)| name.clone()).collect();
    let mut next = Manifest::clone(manifest);
    for name in &torn {
        next.index.remove(name);
        next.partitions.remove(name);
    }
    next.checked.clear();
    // Without them, all parents are requested again.
    if !next.parents.as_ref().is_none_or(is_readable) {
        next.drop_parents();
    }
    let is_whole = |file: &IndexFile| keys::read_all(store, &file.object).is_ok();
    if !next.keys.iter().all(is_whole) {
        next.keys = all_keys(transaction, &snapshot.with(next.clone()))?;
    }
    match transaction.commit(CommitPlan::of(next), Vec::new())? {
        Outcome::Committed(()) => orphans::recover(transaction),
        Outcome::Conflict => Ok(Outcome::Conflict),
    }
}

/// The key map, rebuilt from the shards.
fn all_keys(transaction: &Transaction<'_>, snapshot: &Snapshot) -> Result<Vec<IndexFile>> {
    let mut places: HashMap<i64, Option<i32>> = HashMap::new();
    for partition in snapshot.indexed() {
        let day = partition.date().map(day_of);
        places.extend(snapshot.shard(partition)?.keys().map(|key| (key_hash(key), day)));
    }
    let (count, places) = (places.len(), places.into_iter().collect());
    Ok(vec![transaction.write_index_file("keys", &keys::write(places)?, count)?])
}

/// Converts the index of a format 1 table, which was a single one for all partitions.
fn upgrade_flat_index(transaction: &mut Transaction<'_>) -> Result<Outcome<()>> {
    let snapshot = transaction.snapshot().clone();
    let manifest = snapshot.manifest();
    let mut entries = Entries::new();
    let read = manifest.flat_index.iter().try_for_each(|file| {
        shard::read(index::read(snapshot.table().store(), file)?, &[], &mut entries)
    });
    let mut next = Manifest::clone(manifest);
    next.flat_index.clear();
    let rules = transaction.rules();
    let mut plan = CommitPlan::of(next);
    if read.is_ok() {
        let newest = entries.values().filter_map(|entry| entry.day).max();
        let is_kept = |entry: &IndexEntry| !rules.is_snapshot || entry.day == newest;
        for (key, entry) in entries.into_iter().filter(|(_, entry)| is_kept(entry)) {
            let partition = rules.partition(entry.day);
            plan.note(key, None, Some((partition, entry)));
        }
    } else {
        // Without an index, every object is an orphan and is read.
        plan.next.partitions.clear();
    }
    match transaction.commit(plan, Vec::new())? {
        Outcome::Committed(()) => orphans::recover(transaction),
        Outcome::Conflict => Ok(Outcome::Conflict),
    }
}
