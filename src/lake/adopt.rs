//! Adoption: objects that a run wrote without living to commit them.
//!
//! Enters: a listing that differs from the manifest. Leaves: a manifest that agrees with it, and
//! no key in two partitions. Never here: a row lost; of two versions the later fetched stays.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::change::{Touched, Work};
use super::merge;
use super::store::{self, Listed};
use super::table::Table;
use crate::decode::RowFacts;
use crate::endpoint::Dated;
use crate::error::Result;
use crate::manifest::{Attempt, IndexEntry, Manifest, PartitionEntry, UNKNOWN_PARENT};
use crate::partition::Partition;

impl Table {
    /// Reads objects that the manifest does not know: a run wrote them and died. They are
    /// adopted, and of a key that now stands in two partitions the later fetched row stays.
    pub(super) fn adopt_strangers(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.strangers()?.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let _lock = store.lock()?;
        self.refresh()?;
        let strangers = self.strangers()?;
        if let Some((_, first)) = strangers.first().filter(|_| self.manifest.partitions.is_empty())
        {
            self.recover_schema(first)?;
        }
        let mut next = self.manifest.clone();
        let mut touched = Touched::new();
        let mut work = Work::new();
        for (partition, object) in strangers {
            self.adopt(partition, &object, &mut next, &mut touched, &mut work)?;
        }
        self.manifest.partitions.clone_from(&next.partitions);
        self.write_partitions(work, &mut next)?;
        next.schema = self.decoder.schema().as_ref().clone();
        self.write_index(touched, &mut next)?;
        self.write_manifest(next, now)
    }

    fn adopt(
        &mut self,
        partition: Partition,
        object: &Listed,
        next: &mut Manifest,
        touched: &mut Touched,
        work: &mut Work,
    ) -> Result<()> {
        let facts = merge::read_facts(self.store.file(&object.path)?, &mut self.decoder)?;
        let present: HashSet<&str> = facts.iter().map(|row| &*row.key).collect();
        let here = |entry: &IndexEntry| entry.in_lake && self.partition(entry.day) == partition;
        for (key, entry) in &self.index {
            if here(entry) && !present.contains(&**key) && !touched.contains_key(key) {
                touched.insert(key.clone(), IndexEntry { in_lake: false, ..entry.clone() });
            }
        }
        for row in &facts {
            let old = touched.get(&row.key).or_else(|| self.index.get(&row.key));
            let elsewhere = old.filter(|old| old.in_lake && self.endpoint.dated != Dated::Run);
            let elsewhere = elsewhere.filter(|old| self.partition(old.day) != partition);
            if let Some(old) = elsewhere {
                let older = if old.fetched_at > row.fetched_at {
                    partition
                } else {
                    self.partition(old.day)
                };
                work.entry(older).or_default().drop.insert(row.key.clone());
                if older == partition {
                    continue;
                }
            }
            let attempt =
                old.filter(|old| old.hash == row.hash).and_then(|old| old.attempt.clone());
            let attempt = attempt.or_else(|| self.presumed_attempt(row));
            touched.insert(row.key.clone(), entry_of(row, attempt));
        }
        let bytes = self.store.read(&object.path)?.unwrap_or_default();
        let entry = PartitionEntry {
            object: object.path.clone(),
            rows: facts.len() as u64,
            bytes: bytes.len() as u64,
            etag: object.etag.clone(),
            sha256: store::sha256(&bytes),
            schema: self.decoder.schema().fingerprint(),
        };
        next.partitions.insert(partition.to_string(), entry);
        Ok(())
    }

    /// The objects in the table's folder that are not as the manifest says.
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

    /// Takes the schema of the first object there is, for a table whose manifest is lost.
    fn recover_schema(&mut self, object: &Listed) -> Result<()> {
        let file = merge::file_schema(self.store.file(&object.path)?)?;
        if let Some(schema) = self.manifest.schema.of_file(&file) {
            self.decoder.set_schema(Arc::new(schema.clone()), true);
            self.manifest.schema = schema;
            self.manifest.settled = true;
        }
        Ok(())
    }

    fn strangers(&self) -> Result<Vec<(Partition, Listed)>> {
        let prefix = format!("{}/dt=", self.endpoint.name);
        let partition_of = |path: &str| {
            let name = path.strip_prefix(&prefix)?.strip_suffix("/part-0.parquet")?;
            name.parse::<Partition>().ok()
        };
        let is_known = |name: &str, etag: &str| {
            self.manifest.partitions.get(name).is_some_and(|entry| entry.etag == etag)
        };
        let mut strangers = Vec::new();
        for object in self.store.list(&self.endpoint.name)? {
            if let Some(partition) = partition_of(&object.path)
                && !is_known(&partition.to_string(), &object.etag)
            {
                strangers.push((partition, object));
            }
        }
        Ok(strangers)
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
