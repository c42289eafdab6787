//! Clearance: removes everyone on the list of the forgotten from one table.
//!
//! The partitions are rewritten first, then the index, then the quarantine; finally the manifest
//! records that the clearance is done. Rows of other people are left unchanged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::list::{Cleared, Renamed};
use crate::commit_plan::{CommitPlan, Scope};
use crate::decode::{Quarantined, RecordDecoder, Rows};
use crate::error::Result;
use crate::forgotten::Forgotten;
use crate::lake::commit::Change;
use crate::lake::handle::Table;
use crate::lake::table::merge;
use crate::lake::table::snapshot::Snapshot;
use crate::lake::table::transaction::{Outcome, Transaction};
use crate::manifest::{IndexEntry, Manifest, ParentVersion};
use crate::partition::Partition;
use crate::row::KEY_SEPARATOR;

/// About how many bytes are read for one commit.
const COMMIT_BYTES: u64 = 256 << 20;
/// The maximum number of partitions in one commit.
const COMMIT_PARTITIONS: usize = 64;
/// How often the clearance restarts because an object was recovered in the meantime.
const MOST_RACES: u32 = 16;

impl Snapshot {
    /// Whether the table is free of everyone on the list.
    ///
    /// # Errors
    /// `Corrupt` when the list cannot be read.
    pub fn is_cleared(&self) -> Result<bool> {
        let clearance = self.manifest().clearance;
        let list = self.table().store().forgotten(clearance.known)?;
        Ok(self.manifest().version == 0 || clearance.cleared >= list.version)
    }

    /// How the table's own records identify the people on this list.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read.
    pub fn people(&self, list: Forgotten) -> Result<BTreeSet<String>> {
        let mut decoder = self.decoder()?;
        decoder.set_forgotten(Arc::new(list));
        let mut people = BTreeSet::new();
        for entry in self.manifest().partitions.values() {
            let object = self.table().store().existing_of(entry)?;
            people.extend(merge::people(object, &mut decoder)?);
        }
        Ok(people)
    }

    /// What forgetting these would change in the table; nothing is written.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read.
    pub fn would_clear(&self, list: &Forgotten) -> Result<Cleared> {
        let mut decoder = self.decoder()?;
        decoder.set_forgotten(Arc::new(list.clone()));
        let endpoint = self.table().endpoint();
        let mut cleared = Cleared { endpoint: endpoint.name.clone(), ..Cleared::default() };
        for (name, entry) in &self.manifest().partitions {
            let Ok(partition) = name.parse::<Partition>() else { continue };
            let object = self.table().store().existing_of(entry)?;
            let mut done = Cleared::default();
            merge::cleanse(object, partition, endpoint, &mut decoder, |_, cleansed| {
                done.removed += cleansed.gone.len() as u64;
                done.blanked += cleansed.rows.len() as u64;
                done.values += cleansed.values;
            })?;
            done.partitions = u64::from(done.is_any());
            cleared.add(&done);
        }
        cleared.quarantined = changed_in_quarantine(self, &mut decoder)?.len() as u64;
        Ok(cleared)
    }

    /// The content hashes that would change if the table were cleared.
    pub(super) fn renamed(&self) -> Result<Renamed> {
        let mut decoder = self.decoder()?;
        decoder.set_forgotten(self.table().store().read_forgotten()?);
        let mut after: HashMap<Box<str>, u128> = HashMap::new();
        let mut renamed = Renamed::new();
        for (name, entry) in &self.manifest().partitions {
            let Ok(partition) = name.parse::<Partition>() else { continue };
            let object = self.table().store().existing_of(entry)?;
            after.clear();
            let endpoint = self.table().endpoint();
            merge::cleanse(object, partition, endpoint, &mut decoder, |_, cleansed| {
                let facts = cleansed.rows.facts.into_iter();
                after.extend(facts.map(|facts| (facts.key, facts.hash)));
            })?;
            let before = self.shard(partition)?;
            let pairs = after.iter().filter_map(|(key, hash)| Some((before.get(key)?.hash, *hash)));
            renamed.extend(pairs);
        }
        Ok(renamed)
    }
}

impl Table {
    /// Removes everyone on the list from the table.
    ///
    /// # Errors
    /// When the store fails; what has been rewritten up to then stays.
    pub fn clear(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> Result<(Snapshot, Cleared)> {
        self.clear_knowing(snapshot, &Renamed::new(), now)
    }

    /// The same, but content hashes of parents that change as a result are recorded under their new
    /// values, so that nothing is requested again.
    pub(super) fn clear_knowing(
        &self,
        snapshot: &Snapshot,
        renamed: &Renamed,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Cleared)> {
        let mut cleared = Cleared { endpoint: self.endpoint().name.clone(), ..Cleared::default() };
        let mut snapshot = snapshot.clone();
        for _ in 0..MOST_RACES {
            let announced = self.transact(&snapshot, now, announce)?;
            let version = announced.value;
            snapshot = announced.snapshot;
            let manifest = snapshot.manifest();
            let names: BTreeSet<&String> =
                manifest.partitions.keys().chain(manifest.index.keys()).collect();
            let mut names: Vec<Partition> = names.iter().filter_map(|it| it.parse().ok()).collect();
            while !names.is_empty() {
                let chunk = next_chunk(snapshot.manifest(), &mut names);
                let clear =
                    |transaction: &mut Transaction<'_>| clear_once(transaction, &chunk, renamed);
                let done = self.transact(&snapshot, now, clear)?;
                cleared.add(&done.value);
                cleared.partitions += done.changed.len() as u64;
                snapshot = done.snapshot;
            }
            let conclude = |transaction: &mut Transaction<'_>| conclude(transaction, version);
            let concluded = self.transact(&snapshot, now, conclude)?;
            snapshot = concluded.snapshot;
            if let Some(quarantined) = concluded.value {
                cleared.quarantined += quarantined;
                break;
            }
        }
        Ok((snapshot, cleared))
    }
}

/// Commits that the list is known, so that a run committing later must check its rows against it.
fn announce(transaction: &mut Transaction<'_>) -> Result<Outcome<u64>> {
    transaction.refresh()?;
    let list = transaction.snapshot().table().store().read_forgotten()?;
    let version = list.version;
    let mut next = Manifest::clone(transaction.snapshot().manifest());
    if next.clearance.known < version {
        next.clearance.known = version;
        if let Outcome::Conflict = transaction.commit(CommitPlan::of(next), Vec::new())? {
            return Ok(Outcome::Conflict);
        }
    }
    transaction.decoder.set_forgotten(list);
    Ok(Outcome::Committed(version))
}

/// The next partitions to read, the oldest first.
fn next_chunk(manifest: &Manifest, names: &mut Vec<Partition>) -> Vec<Partition> {
    let mut bytes = 0;
    let is_enough = |partition: &Partition| {
        let entry = manifest.partitions.get(&partition.to_string());
        bytes += entry.map_or(0, |entry| entry.bytes);
        bytes > COMMIT_BYTES
    };
    let enough = names.iter().position(is_enough).map_or(names.len(), |at| at + 1);
    names.drain(..enough.min(COMMIT_PARTITIONS)).collect()
}

/// What one commit clears.
struct Clearing {
    plan: CommitPlan,
    batches: Vec<Rows>,
    done: Cleared,
}

fn clear_once(
    transaction: &mut Transaction<'_>,
    partitions: &[Partition],
    renamed: &Renamed,
) -> Result<Outcome<Cleared>> {
    transaction.refresh()?;
    let plan = CommitPlan::of(Manifest::clone(transaction.snapshot().manifest()));
    let mut clearing = Clearing { plan, batches: Vec::new(), done: Cleared::default() };
    for partition in partitions {
        let rows = clearing.clear_rows(transaction, *partition)?;
        clearing.clear_entries(transaction, *partition, renamed, rows)?;
    }
    clearing.clear_parents(transaction)?;
    let Clearing { mut plan, mut batches, done } = clearing;
    plan.rows = batches.iter_mut().map(|rows| std::mem::take(&mut rows.facts)).collect();
    Ok(transaction.commit(plan, batches)?.with(done))
}

/// The index entries of a partition that change together with its rows: before and after, by key.
type Touched = BTreeMap<Box<str>, (IndexEntry, Option<IndexEntry>)>;

impl Clearing {
    /// What happens to one partition's rows.
    fn clear_rows(
        &mut self,
        transaction: &mut Transaction<'_>,
        partition: Partition,
    ) -> Result<Touched> {
        let mut touched = Touched::new();
        let snapshot = transaction.snapshot().clone();
        let endpoint = snapshot.table().endpoint();
        let Some(entry) = snapshot.manifest().partitions.get(&partition.to_string()) else {
            return Ok(touched);
        };
        let object = snapshot.table().store().existing_of(entry)?;
        let mut gone: Vec<String> = Vec::new();
        let mut changed: Vec<Rows> = Vec::new();
        // The previous keys of rows that are identified by their content.
        let mut before: HashMap<Box<str>, Box<str>> = HashMap::new();
        let decoder = &mut transaction.decoder;
        merge::cleanse(object, partition, endpoint, decoder, |keys, cleansed| {
            gone.extend(cleansed.gone.iter().map(|row| keys[*row].clone()));
            for (row, facts) in cleansed.changed.iter().zip(&cleansed.rows.facts) {
                if keys[*row] != *facts.key {
                    before.insert(facts.key.clone(), keys[*row].as_str().into());
                }
            }
            self.done.values += cleansed.values;
            changed.extend(Some(cleansed.rows).filter(|rows| !rows.is_empty()));
        })?;
        if gone.is_empty() && changed.is_empty() {
            return Ok(touched);
        }
        let changed = transaction.widen_all(changed)?;
        self.done.removed += gone.len() as u64;
        self.done.blanked += changed.iter().map(|rows| rows.len() as u64).sum::<u64>();
        // In a snapshot table, only the newest snapshot is in the index.
        let indexed = snapshot.manifest().index.contains_key(&partition.to_string());
        let entries = if indexed { snapshot.shard(partition)? } else { Arc::default() };
        for key in gone.iter().filter_map(|key| entries.get_key_value(key.as_str())) {
            touched.insert(key.0.clone(), (key.1.clone(), None));
        }
        for key in before.values().filter_map(|key| entries.get_key_value(key)) {
            touched.insert(key.0.clone(), (key.1.clone(), None));
        }
        for facts in changed.iter().flat_map(|rows| &rows.facts) {
            let known = before.get(&facts.key).unwrap_or(&facts.key);
            let Some(entry) = entries.get(known).filter(|it| it.in_lake) else { continue };
            let after = IndexEntry { hash: facts.hash, ..entry.clone() };
            touched.insert(facts.key.clone(), (entry.clone(), Some(after)));
        }
        let rewrite = self.plan.rewrites.entry(partition).or_default();
        rewrite.deleted += gone.len() as u64;
        rewrite.removed.extend(gone.into_iter().map(String::into_boxed_str));
        rewrite.removed.extend(before.into_values());
        rewrite.updated += changed.iter().map(|rows| rows.len() as u64).sum::<u64>();
        let mut put_in: HashSet<Box<str>> = HashSet::new();
        for rows in changed {
            let batch = self.batches.len();
            // Once the erased values are gone, two records may be identical.
            let keys = rows.facts.iter().map(|facts| facts.key.clone()).enumerate();
            let new = keys.filter(|(_, key)| put_in.insert(key.clone()));
            rewrite.rows.extend(new.map(|(row, _)| (batch, row)));
            self.batches.push(rows);
        }
        Ok(touched)
    }

    /// What happens to one partition's part of the index: keys that identify a forgotten person or
    /// call are removed, including keys without a row.
    fn clear_entries(
        &mut self,
        transaction: &Transaction<'_>,
        partition: Partition,
        renamed: &Renamed,
        mut touched: Touched,
    ) -> Result<()> {
        let snapshot = transaction.snapshot();
        let changed =
            touched.values().filter_map(|(old, new)| Some((old.hash, new.as_ref()?.hash)));
        let own: Renamed = changed.collect();
        let indexed = snapshot.manifest().index.contains_key(&partition.to_string());
        let entries = if indexed { snapshot.shard(partition)? } else { Arc::default() };
        for (key, entry) in entries.iter() {
            if names_forgotten(transaction, key) {
                touched.insert(key.clone(), (entry.clone(), None));
                continue;
            }
            let of = entry.attempt.as_ref().map(|attempt| attempt.parent);
            let new = match of {
                Some(ParentVersion::Content(hash)) => {
                    renamed.get(&hash).or_else(|| own.get(&hash)).copied()
                }
                _ => None,
            };
            if let Some(new) = new {
                let changed = touched
                    .entry(key.clone())
                    .or_insert_with(|| (entry.clone(), Some(entry.clone())));
                if let Some(attempt) = changed.1.as_mut().and_then(|it| it.attempt.as_mut()) {
                    attempt.parent = ParentVersion::Content(new);
                }
            }
        }
        for (key, (_, after)) in touched {
            let before = entries.contains_key(&key).then_some(partition);
            self.plan.note(key, before, after.map(|after| (partition, after)));
        }
        Ok(())
    }

    /// What happens to the parents' answers: those of forgotten calls and people are removed.
    fn clear_parents(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        let answers = transaction.snapshot().parents()?;
        let gone = answers.keys().filter(|key| is_forgotten_parent(transaction, key));
        self.plan.parents.extend(gone.map(|key| (key.clone(), None)));
        Ok(())
    }
}

/// Whether a parent's key belongs to a forgotten call or person.
fn is_forgotten_parent(transaction: &Transaction<'_>, key: &str) -> bool {
    let forgotten = transaction.decoder.forgotten();
    let Some(parent) = &transaction.snapshot().table().endpoint().parent else { return false };
    let is_call = |id: &str| parent.of_call && forgotten.is_call(id);
    parent.ids_in(key).any(|id| is_call(&id) || forgotten.is_address(&id))
}

/// Whether a key belongs to a forgotten call or person.
fn names_forgotten(transaction: &Transaction<'_>, key: &str) -> bool {
    let forgotten = transaction.decoder.forgotten();
    let snapshot = transaction.snapshot();
    let endpoint = snapshot.table().endpoint();
    let about = &endpoint.about;
    let column = snapshot.manifest().schema.added.parent.as_deref();
    let rule = endpoint.parent.as_ref().filter(|parent| parent.of_call);
    endpoint.key_columns().zip(key.split(KEY_SEPARATOR)).any(|(name, part)| {
        let is_call = about.call.as_deref() == Some(name) && forgotten.is_call(part);
        let mut calls = rule.filter(|_| column == Some(name)).into_iter();
        let is_of_call = calls.any(|rule| rule.ids_in(part).any(|id| forgotten.is_call(&id)));
        let is_person = about.person.iter().any(|field| field == name);
        is_call
            || is_of_call
            || (is_person && forgotten.is_person(part))
            || forgotten.is_address(part)
    })
}

/// Clears the quarantine, removes unneeded index files, and commits that the clearance is done.
/// Returns how many quarantined records were cleared, or `None` if an object was recovered in the
/// meantime, since its writer may not have known the list.
fn conclude(transaction: &mut Transaction<'_>, version: u64) -> Result<Outcome<Option<u64>>> {
    transaction.refresh()?;
    let mut next = Manifest::clone(transaction.snapshot().manifest());
    if next.clearance.known < version {
        return Ok(Outcome::Committed(None));
    }
    let quarantined = clear_quarantine(transaction)?;
    remove_old_index(transaction.snapshot())?;
    if next.clearance.cleared < version {
        next.clearance.cleared = version;
        if let Outcome::Conflict = transaction.commit(CommitPlan::of(next), Vec::new())? {
            return Ok(Outcome::Conflict);
        }
    }
    Ok(Outcome::Committed(Some(quarantined)))
}

fn clear_quarantine(transaction: &mut Transaction<'_>) -> Result<u64> {
    let snapshot = transaction.snapshot().clone();
    let changed = changed_in_quarantine(&snapshot, &mut transaction.decoder)?;
    let count = changed.len() as u64;
    for (path, left) in changed {
        transaction.write_quarantine(left.as_slice())?;
        snapshot.table().store().delete(&path)?;
    }
    Ok(count)
}

/// The quarantined records that mention a forgotten person, each with what is left of it.
fn changed_in_quarantine(
    snapshot: &Snapshot,
    decoder: &mut RecordDecoder,
) -> Result<Vec<(String, Option<Quarantined>)>> {
    let store = snapshot.table().store();
    let folder = format!("_quarantine/{}", snapshot.table().endpoint().name);
    let mut changed = Vec::new();
    for name in store.names(&folder)? {
        let path = format!("{folder}/{name}");
        let text = store.read(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let Some((reason, record)) = kept_parts(&text) else { continue };
        let left = decoder.cleanse_text(record)?;
        if left.as_ref().is_some_and(|(left, _)| left == record) {
            continue;
        }
        changed.push((path, left.map(|(record, hash)| Quarantined { record, reason, hash })));
    }
    Ok(changed)
}

/// Removes index files that the newest manifest does not name, because they contain keys. Files of
/// a commit in progress belong to a later manifest.
fn remove_old_index(snapshot: &Snapshot) -> Result<()> {
    let (store, manifest) = (snapshot.table().store(), snapshot.manifest());
    let folder = format!("_manifest/{}/index", snapshot.table().endpoint().name);
    let needed: BTreeSet<&str> = manifest.index_files().map(|file| file.object.as_str()).collect();
    for name in store.names(&folder)? {
        let object = format!("{folder}/{name}");
        let version = name.split('-').next().and_then(|version| version.parse::<u64>().ok());
        let is_old = version.is_some_and(|version| version <= manifest.version);
        // The bases of manifests, in the same folder, contain no keys.
        let is_of_keys = name.strip_suffix(".parquet").is_some();
        if is_of_keys && is_old && !needed.contains(object.as_str()) {
            store.delete(&object)?;
        }
    }
    Ok(())
}

impl Transaction<'_> {
    /// The change without anyone who was added to the list since its rows were read.
    pub(in crate::lake) fn without_forgotten(&mut self, mut change: Change) -> Result<Change> {
        let version = self.decoder.forgotten().version;
        if version == 0 {
            return Ok(change);
        }
        if change.rows.iter().any(|rows| rows.forgotten < version) {
            // They may not be the rows that were looked up.
            change.looked_up = None;
            change.rows = self.widen_all(change.rows)?;
            let mut left = Vec::new();
            for rows in change.rows {
                left.extend(self.without_forgotten_rows(rows, version)?);
            }
            change.rows = left;
        }
        let mut quarantined = Vec::new();
        for kept in change.quarantined {
            let left = self.decoder.cleanse_text(&kept.record)?;
            let left = left.map(|(record, hash)| Quarantined { record, hash, reason: kept.reason });
            quarantined.extend(left);
        }
        change.quarantined = quarantined;
        let statements = &mut change.statements;
        statements.marks.retain(|mark| !names_forgotten(self, &mark.key));
        statements.removals.retain(|removal| !names_forgotten(self, &removal.key));
        statements.look_ups.retain(|look_up| !names_forgotten(self, &look_up.key));
        statements.answers.retain(|answer| !is_forgotten_parent(self, &answer.id));
        statements.listings.retain(|listing| match &listing.scope {
            Scope::Parent { id, .. } => !is_forgotten_parent(self, id),
            Scope::Day(_) | Scope::Parents(_) => true,
        });
        // The list of all parents would bring a forgotten one back as one that has not answered yet.
        for listing in &mut statements.listings {
            if matches!(listing.scope, Scope::Parents(_)) {
                listing.keys.retain(|id| !is_forgotten_parent(self, id));
            }
        }
        Ok(change)
    }

    fn without_forgotten_rows(&mut self, rows: Rows, version: u64) -> Result<Vec<Rows>> {
        if rows.forgotten >= version {
            return Ok(vec![rows]);
        }
        let cleansed = merge::cleanse_rows(&rows, &mut self.decoder)?;
        let goes: BTreeSet<usize> =
            cleansed.gone.iter().chain(&cleansed.changed).copied().collect();
        let stays = (0..rows.len()).filter(|row| !goes.contains(row));
        let stays: Vec<u32> = stays.filter_map(|row| u32::try_from(row).ok()).collect();
        let mut changed = cleansed.rows;
        for (facts, row) in changed.facts.iter_mut().zip(&cleansed.changed) {
            let before = &rows.facts[*row];
            facts.is_complete = before.is_complete;
            facts.deleted_at = before.deleted_at;
        }
        Ok(vec![Rows { forgotten: version, ..rows.take(&stays)? }, changed])
    }
}

/// The reason and the record in a quarantine file, as written.
fn kept_parts(text: &str) -> Option<(String, &str)> {
    let rest = text.strip_prefix("{\"reason\":")?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    let reason = values.next()?.ok()?;
    let record = rest[values.byte_offset()..].strip_prefix(",\"record\":")?;
    Some((reason, record.trim_end().strip_suffix('}')?))
}
