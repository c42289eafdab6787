//! The audit: checks a table against its manifest and index. Nothing is written.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::commit_plan::Entries;
use crate::decode::{RecordDecoder, is_strict_json};
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::lake::evolve::read_extra;
use crate::lake::handle::Table;
use crate::lake::index::keys::{self, key_hash};
use crate::lake::index::{self, shard};
use crate::lake::store::{Object, Store};
use crate::lake::table::manifests::{newest_manifest, torn_manifest};
use crate::lake::table::merge;
use crate::manifest::{Granularity, Manifest, PartitionEntry};
use crate::partition::Partition;
use crate::row::RowFacts;
use crate::schema::fingerprint;
use crate::window::day_of;

/// The message about an object that evolution has not reached yet.
const OUTDATED: &str = "it has the schema from before the last evolution; the next export or \
                        evolve rewrites it";

/// The message about an object that differs from its manifest entry.
const REPLACED: &str = "its bytes are not those in the manifest: either a run was killed before \
                        its commit, and the next export recovers it, or someone changed the file";

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The table.
    pub endpoint: String,
    /// The object or key concerned, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// Compares a table's objects with its manifest and index. Returns the manifest, if there is one.
///
/// # Errors
/// `Newer` or `Corrupt` when the manifest cannot be read, or when the store fails.
pub fn audit(table: &Table) -> Result<(Option<Manifest>, Vec<Finding>)> {
    let (store, endpoint) = (&**table.store(), table.endpoint());
    let mut audit = Audit { endpoint, findings: Vec::new() };
    let Some(manifest) = newest_manifest(store, &endpoint.name)? else {
        audit.found(None, "objects without a manifest; `clari-lake verify --rebuild` rebuilds it");
        return Ok((None, audit.findings));
    };
    if let Some(torn) = torn_manifest(store, &endpoint.name)? {
        let message = "the newest manifest cannot be read; the next export repairs it";
        audit.found(Some(&torn), message);
    }
    audit.listing(store, &manifest)?;
    let schema = Arc::new(manifest.schema.clone());
    let mut decoder = RecordDecoder::new(Arc::clone(endpoint), schema, true, Arc::default());
    let mut seen = Seen { places: audit.key_map(store, &manifest), rows: HashMap::new() };
    let flat = audit.flat_index(store, &manifest);
    let names: BTreeSet<&String> =
        manifest.partitions.keys().chain(manifest.index.keys()).collect();
    for name in names {
        let entries = match &flat {
            Some(flat) => in_partition(flat, name, &manifest),
            None => audit.shard(store, name, &manifest),
        };
        let facts = match manifest.partitions.get(name) {
            Some(entry) => {
                let undated = Partition::of(None, manifest.granularity);
                let partition = name.parse().unwrap_or(undated);
                audit.object(store, (partition, entry), &manifest, &mut decoder)?
            }
            None => Some(Vec::new()),
        };
        if let Some(facts) = facts {
            audit.rows(name, &facts, &manifest, &entries, &mut seen);
        }
    }
    Ok((Some(manifest), audit.findings))
}

/// The entries of a format 1 index that belong to one partition.
fn in_partition(flat: &Entries, name: &str, manifest: &Manifest) -> Entries {
    let place = |day| Partition::of(day, manifest.granularity).to_string();
    let inside = flat.iter().filter(|(_, entry)| place(entry.day) == name);
    inside.map(|(key, entry)| (key.clone(), entry.clone())).collect()
}

/// What the audit has found in a table so far.
struct Seen {
    /// Where each key is according to the key map.
    places: Option<HashMap<i64, Option<i32>>>,
    /// Where each row actually is, by the hash of its key.
    rows: HashMap<i64, Partition>,
}

struct Audit<'a> {
    endpoint: &'a Endpoint,
    findings: Vec<Finding>,
}

impl Audit<'_> {
    fn found(&mut self, subject: Option<&str>, message: impl Into<String>) {
        let endpoint = self.endpoint.name.clone();
        let subject = subject.map(str::to_owned);
        self.findings.push(Finding { endpoint, subject, message: message.into() });
    }

    /// Compares what is in the table's folder with what should be there.
    fn listing(&mut self, store: &Store, manifest: &Manifest) -> Result<()> {
        let known: BTreeSet<&str> =
            manifest.partitions.values().map(|it| it.object.as_str()).collect();
        for listed in store.list(&self.endpoint.name)? {
            if !known.contains(listed.path.as_str()) {
                self.found(
                    Some(&listed.path),
                    "no manifest names it; the next export recovers or reports it",
                );
            }
        }
        Ok(())
    }

    /// Checks one object's presence, size, digest, rows, and schema. Returns its rows' facts if it
    /// can be read and is the one that the manifest names.
    fn object(
        &mut self,
        store: &Store,
        (partition, entry): (Partition, &PartitionEntry),
        manifest: &Manifest,
        decoder: &mut RecordDecoder,
    ) -> Result<Option<Vec<RowFacts>>> {
        let subject = Some(entry.object.as_str());
        let Some(object) = store.object_of(entry)? else {
            self.found(subject, "it is missing");
            return Ok(None);
        };
        let (bytes, digest) = object.digest();
        let is_replaced = bytes != entry.bytes || digest != entry.sha256;
        if is_replaced {
            self.found(subject, REPLACED);
        }
        let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(object.clone()) else {
            self.found(subject, "it is not a Parquet file");
            return Ok(None);
        };
        if !is_replaced && *builder.schema().fields() != *manifest.schema.arrow().fields() {
            let is_outdated = fingerprint(builder.schema()) == entry.schema;
            self.found(
                subject,
                if is_outdated { OUTDATED } else { "its schema is not the table's" },
            );
        }
        self.extra_json(subject, object.clone());
        let Ok(facts) = merge::read_facts(object, partition, decoder) else {
            self.found(subject, "its rows cannot be read");
            return Ok(None);
        };
        if is_replaced {
            // The index describes the rows of the previous object.
            return Ok(None);
        }
        if facts.len() as u64 != entry.rows {
            self.found(
                subject,
                format!("it has {} rows, the manifest says {}", facts.len(), entry.rows),
            );
        }
        Ok(Some(facts))
    }

    /// P5: `extra_json` is valid JSON, so that engines can read it.
    fn extra_json(&mut self, subject: Option<&str>, object: Object) {
        let mut broken = 0;
        let read = read_extra(object, |texts| {
            broken += texts.iter().flatten().filter(|text| !is_strict_json(text)).count();
            Ok(())
        });
        if broken > 0 && read.is_ok() {
            let message = format!(
                "extra_json of {broken} rows is not JSON: export their days again, with --from"
            );
            self.found(subject, message);
        }
    }

    /// The contents of the key map, if there is one and it can be read.
    fn key_map(&mut self, store: &Store, manifest: &Manifest) -> Option<HashMap<i64, Option<i32>>> {
        if manifest.keys.is_empty() {
            return None;
        }
        let mut places = HashMap::new();
        for file in &manifest.keys {
            match keys::read_all(store, &file.object) {
                Ok(read) => places.extend(read),
                Err(_) => self.found(Some(&file.object), "it cannot be read"),
            }
        }
        Some(places)
    }

    /// The index shard of a partition.
    fn shard(&mut self, store: &Store, name: &str, manifest: &Manifest) -> Entries {
        let mut entries = Entries::new();
        if let Some(file) = manifest.index.get(name) {
            let read = index::read(store, file);
            let read = read.and_then(|it| shard::read(it, &manifest.selectors, &mut entries));
            if read.is_err() {
                self.found(Some(&file.object), "it cannot be read");
            }
        }
        entries
    }

    /// The index of a format 1 table.
    fn flat_index(&mut self, store: &Store, manifest: &Manifest) -> Option<Entries> {
        let mut entries = Entries::new();
        for file in &manifest.flat_index {
            let read = index::read(store, file);
            let read = read.and_then(|it| shard::read(it, &[], &mut entries));
            if read.is_err() {
                self.found(Some(&file.object), "it cannot be read");
            }
        }
        (!manifest.flat_index.is_empty()).then_some(entries)
    }

    /// One row per key, each in the partition of its day and matching the index.
    fn rows(
        &mut self,
        name: &str,
        facts: &[RowFacts],
        manifest: &Manifest,
        entries: &Entries,
        seen: &mut Seen,
    ) {
        let by_run = self.endpoint.is_snapshot();
        // In a month's snapshot, each row has the day it was first read.
        let is_monthly = by_run && manifest.granularity == Granularity::Month;
        let mut present: BTreeSet<&str> = BTreeSet::new();
        for row in facts {
            let partition = Partition::of(row.day, manifest.granularity);
            if partition.to_string() != name && !is_monthly {
                let message = format!("it is dated {partition} and is in dt={name}");
                self.found(Some(&row.key), message);
            }
            if !present.insert(&row.key) {
                self.found(Some(&row.key), format!("it is in dt={name} twice"));
            }
            if by_run {
                self.row_of_snapshot(row, entries);
                continue;
            }
            if let Some(other) = seen.rows.insert(key_hash(&row.key), partition)
                && other != partition
            {
                self.found(Some(&row.key), format!("it is in dt={other} and in dt={name}"));
            }
            match entries.get(&row.key).filter(|entry| entry.in_lake) {
                Some(entry) if !row.has_content(entry.hash) => {
                    self.found(Some(&row.key), "its content differs from the index");
                }
                None => self.found(Some(&row.key), "it is not in the index"),
                Some(_) => {}
            }
        }
        if !by_run {
            self.entries(name, entries, &present, seen);
        }
    }

    /// In a snapshot table, only the newest snapshot is in the index.
    fn row_of_snapshot(&mut self, row: &RowFacts, entries: &Entries) {
        let entry = entries.get(&row.key).filter(|entry| entry.in_lake);
        if entry.is_some_and(|entry| !row.has_content(entry.hash)) {
            self.found(Some(&row.key), "its content differs from the index");
        }
    }

    /// Every row that the index lists exists, and every key is where the key map says.
    fn entries(&mut self, name: &str, entries: &Entries, present: &BTreeSet<&str>, seen: &Seen) {
        for (key, entry) in entries {
            if entry.in_lake && !present.contains(&**key) {
                self.found(
                    Some(key),
                    format!("the index has it in dt={name}, but the object does not"),
                );
            }
            let Some(places) = &seen.places else { continue };
            let day = name.parse::<Partition>().ok().and_then(|it| it.date()).map(day_of);
            if places.get(&key_hash(key)) != Some(&day) {
                self.found(Some(key), format!("the key map does not have it in dt={name}"));
            }
        }
    }
}
