//! Writing: what is to become of partitions becomes their objects.
//!
//! Enters: the work, partition by partition. Leaves: the objects, each replaced whole, and their
//! manifest entries. Never here: a row in none of its partitions while it moves, or a manifest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::change::{PartitionChange, PartitionWork, Work};
use super::merge::Merge;
use super::object;
use super::store::{Object, Written};
use super::table::{Table, lost};
use crate::error::Result;
use crate::manifest::{Manifest, PartitionEntry};
use crate::partition::Partition;

impl Table {
    /// Writes every partition that changes, so that a row that moves is never in none.
    pub(super) fn write_partitions(
        &mut self,
        work: Work,
        next: &mut Manifest,
        changed: &mut Vec<PartitionChange>,
    ) -> Result<()> {
        for (partition, work) in in_order(work) {
            let PartitionWork { inserted, updated, deleted, .. } = work;
            let name = partition.to_string();
            let entry = self.write_partition(next.partitions.get(&name), &name, work)?;
            next.partitions.insert(name, entry);
            let news = PartitionChange { partition, inserted, updated, deleted };
            match changed.iter_mut().find(|change| change.partition == partition) {
                Some(change) => change.add(&news),
                None => changed.push(news),
            }
        }
        Ok(())
    }

    fn write_partition(
        &mut self,
        known: Option<&PartitionEntry>,
        name: &str,
        work: PartitionWork,
    ) -> Result<PartitionEntry> {
        let path = format!("{}/dt={name}/part-0.parquet", self.endpoint.name);
        let existing = known.map(|known| self.current(known)).transpose()?;
        let version = existing.as_ref().map(Object::version).cloned();
        let schema = Arc::clone(self.decoder.schema());
        let mut staged = self.store.stage()?;
        let mut writer = object::writer(&mut staged, &self.endpoint, &schema, &self.run)?;
        let merge = Merge {
            endpoint: &self.endpoint,
            decoder: &mut self.decoder,
            upserts: work.upserts,
            drop: work.drop,
            marks: work.marks,
        };
        let rows = merge.write(existing, &mut writer)?;
        writer.close()?;
        let replaced = self.store.replace(staged, &path, version.as_ref())?;
        let Written { bytes, etag, sha256 } = replaced.ok_or_else(|| lost(&path))?;
        let schema = schema.fingerprint();
        Ok(PartitionEntry { object: path, rows, bytes, etag, sha256, schema })
    }

    /// A partition's object, if it is the one that is known.
    fn current(&self, known: &PartitionEntry) -> Result<Object> {
        let object = self.store.object(&known.object)?;
        let is_known = |object: &Object| object.version().etag() == known.etag;
        object.filter(is_known).ok_or_else(|| lost(&known.object))
    }
}

/// The writes in such an order that a row that moves is written where it goes before it is taken
/// from where it was. Where partitions exchange rows, one is written twice: it gains, then loses.
fn in_order(mut work: Work) -> Vec<(Partition, PartitionWork)> {
    let goes = destinations(&work);
    let (mut ordered, mut last) = (Vec::new(), Vec::new());
    while !work.is_empty() {
        let is_to_come = |key: &str, at: &Partition| {
            goes.get(key).is_some_and(|to| to != at && work.contains_key(to))
        };
        let waits =
            |at: &Partition, it: &PartitionWork| it.drop.iter().any(|key| is_to_come(key, at));
        let mut free: Vec<_> =
            work.iter().filter(|(at, it)| !waits(at, it)).map(|(at, _)| *at).collect();
        if free.is_empty() {
            let gaining = work.iter_mut().find(|(_, it)| !it.upserts.is_empty());
            free.extend(gaining.map(|(at, it)| {
                let drop = std::mem::take(&mut it.drop);
                last.push((*at, PartitionWork { drop, ..PartitionWork::default() }));
                *at
            }));
        }
        ordered.extend(free.into_iter().filter_map(|at| work.remove_entry(&at)));
    }
    ordered.extend(last);
    ordered
}

/// Where the rows go that are taken from one partition and put into another.
fn destinations(work: &Work) -> HashMap<Box<str>, Partition> {
    let dropped: HashSet<&str> = work.values().flat_map(|it| &it.drop).map(|key| &**key).collect();
    let gained = work.iter().flat_map(|(at, it)| {
        it.upserts.iter().flat_map(|share| &share.rows).map(move |(row, _)| (&*row.key, *at))
    });
    let moved = gained.filter(|(key, _)| dropped.contains(key));
    moved.map(|(key, at)| (key.into(), at)).collect()
}
