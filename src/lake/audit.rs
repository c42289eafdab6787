//! The audit: whether a table is what its manifest and index say.
//!
//! Enters: a store and an endpoint. Leaves: findings. Never here: anything written.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::index::{self, Index};
use super::manifests::newest_manifest;
use super::merge;
use super::store::{Store, sha256_of};
use crate::decode::{RecordDecoder, RowFacts};
use crate::endpoint::{Dated, Endpoint};
use crate::error::Result;
use crate::manifest::{Manifest, PartitionEntry};
use crate::partition::Partition;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The table.
    pub endpoint: String,
    /// The object or key that it concerns, where it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// The tables that a lake has, by their folders or their manifests.
///
/// # Errors
/// When the store cannot be listed.
pub fn tables(store: &Store) -> Result<BTreeSet<String>> {
    let folder = |path: &str| path.split('/').next().map(str::to_owned);
    let manifests = store.list("_manifest")?;
    let manifests = manifests.iter().filter_map(|it| folder(it.path.strip_prefix("_manifest/")?));
    let objects = store.list("")?;
    let objects = objects.iter().filter_map(|object| folder(&object.path));
    Ok(manifests
        .filter(|name| !["lock", "runs", "quota"].contains(&name.as_str()))
        .chain(objects.filter(|name| !name.starts_with('_')))
        .collect())
}

/// Holds a table's objects against its manifest and index; the manifest, if there is one.
///
/// # Errors
/// `Newer` or `Corrupt` when the manifest cannot be read, or when the store fails.
pub fn audit(
    store: &Store,
    endpoint: &Arc<Endpoint>,
    watch: Option<String>,
) -> Result<(Option<Manifest>, Index, Vec<Finding>)> {
    let Some(manifest) = newest_manifest(store, &endpoint.name)? else {
        let mut audit = Audit { endpoint, findings: Vec::new() };
        audit
            .found(None, "objects without a manifest; `clari-lake verify --rebuild` makes it anew");
        return Ok((None, Index::new(), audit.findings));
    };
    let index = index::read_all(store, &manifest)?;
    let mut audit = Audit { endpoint, findings: Vec::new() };
    audit.listing(store, &manifest)?;
    let schema = Arc::new(manifest.schema.clone());
    let mut decoder = RecordDecoder::new(Arc::clone(endpoint), schema, true, watch);
    let mut seen: HashMap<Box<str>, Partition> = HashMap::new();
    for (name, entry) in &manifest.partitions {
        if let Some(facts) = audit.object(store, entry, &manifest, &mut decoder)? {
            audit.rows(name, &facts, &manifest, &index, &mut seen);
        }
    }
    audit.index(&index, &seen);
    Ok((Some(manifest), index, audit.findings))
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

    /// What stands in the table's folder, against what should.
    fn listing(&mut self, store: &Store, manifest: &Manifest) -> Result<()> {
        let known: BTreeSet<&str> =
            manifest.partitions.values().map(|it| it.object.as_str()).collect();
        for listed in store.list(&self.endpoint.name)? {
            if !known.contains(listed.path.as_str()) {
                self.found(
                    Some(&listed.path),
                    "no manifest knows it; the next export adopts or reports it",
                );
            }
        }
        Ok(())
    }

    /// One object's presence, size, digest, rows and schema; its rows' facts if it can be read.
    fn object(
        &mut self,
        store: &Store,
        entry: &PartitionEntry,
        manifest: &Manifest,
        decoder: &mut RecordDecoder,
    ) -> Result<Option<Vec<RowFacts>>> {
        let subject = Some(entry.object.as_str());
        let Ok(mut file) = store.file(&entry.object) else {
            self.found(subject, "it is missing");
            return Ok(None);
        };
        let (bytes, digest) = sha256_of(&mut Read::by_ref(&mut file));
        if bytes != entry.bytes || digest != entry.sha256 {
            self.found(subject, "its bytes are not those that the manifest says");
        }
        let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(store.file(&entry.object)?)
        else {
            self.found(subject, "it is no Parquet file");
            return Ok(None);
        };
        if *builder.schema().fields() != *manifest.schema.arrow().fields() {
            self.found(subject, "its schema is not the table's");
        }
        let Ok(facts) = merge::read_facts(store.file(&entry.object)?, decoder) else {
            self.found(subject, "its rows cannot be read");
            return Ok(None);
        };
        if facts.len() as u64 != entry.rows {
            self.found(
                subject,
                format!("it has {} rows, the manifest says {}", facts.len(), entry.rows),
            );
        }
        Ok(Some(facts))
    }

    /// One row per key, each in the partition of its day, each as the index says.
    fn rows(
        &mut self,
        name: &str,
        facts: &[RowFacts],
        manifest: &Manifest,
        index: &Index,
        seen: &mut HashMap<Box<str>, Partition>,
    ) {
        let by_run = self.endpoint.dated == Dated::Run;
        for row in facts {
            let partition = Partition::of(row.day, manifest.granularity);
            if partition.to_string() != name {
                self.found(
                    Some(&row.key),
                    format!("it is dated {partition} and stands in dt={name}"),
                );
            }
            let key = if by_run { format!("{name}/{}", row.key).into() } else { row.key.clone() };
            if let Some(other) = seen.insert(key, partition) {
                self.found(Some(&row.key), format!("it stands in dt={other} and in dt={name}"));
            }
            let entry = index.get(&row.key).filter(|entry| entry.in_lake);
            let is_current = !by_run || entry.is_some_and(|entry| entry.day == row.day);
            match entry {
                Some(entry) if is_current && entry.hash != row.hash => {
                    self.found(Some(&row.key), "its content is not what the index says");
                }
                None if !by_run => self.found(Some(&row.key), "the index does not know it"),
                _ => {}
            }
        }
    }

    fn index(&mut self, index: &Index, seen: &HashMap<Box<str>, Partition>) {
        if self.endpoint.dated == Dated::Run {
            return;
        }
        let lost = index.iter().filter(|(key, entry)| entry.in_lake && !seen.contains_key(*key));
        for (key, _) in lost {
            self.found(Some(key), "the index has it, and no object");
        }
    }
}
