//! Evolution: a settled table's schema gets wider, and every object with it.
//!
//! Enters: what a wider schema is to have. Leaves: the manifest that says it, and every partition
//! rewritten, the oldest first. Never here: an object that is neither in the one schema nor in the
//! other.
//!
//! The schema is committed first. From then on whatever is written has it, and a partition whose
//! entry has another fingerprint is yet to be rewritten. So a run that dies in between leaves all
//! that is needed to go on: the next one that writes to the table does.

use std::sync::Arc;

use arrow::array::AsArray;
use chrono::{DateTime, Utc};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::statistics::Statistics;

use super::change::{Committed, PartitionChange, PartitionWork, Work};
use super::store::Object;
use super::table::Table;
use crate::decode::Gathered;
use crate::error::{Error, ErrorKind, Result};
use crate::partition::Partition;
use crate::schema::{Difference, EXTRA_JSON, Schema};

/// About how much is rewritten in one commit.
const COMMIT_BYTES: u64 = 256 << 20;
/// And in how many partitions, at most.
const COMMIT_PARTITIONS: usize = 64;

/// What a wider schema is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Columns to add: path and type.
    pub promote: Vec<(String, String)>,
    /// Integer columns that become doubles, by path.
    pub doubles: Vec<String>,
}

impl Wanted {
    /// Whether nothing is told, so that `extra_json` says what is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.promote.is_empty() && self.doubles.is_empty()
    }

    fn apply(&self, schema: &Schema) -> Result<Schema, String> {
        let promoted = self
            .promote
            .iter()
            .try_fold(schema.clone(), |schema, (path, name)| schema.promoted(path, name))?;
        self.doubles.iter().try_fold(promoted, |schema, path| schema.with_double(path))
    }
}

impl Table {
    /// What evolution would change: as told, or what `extra_json` asks for. Nothing is written.
    ///
    /// # Errors
    /// `Config` when a column cannot have the wanted type, `Corrupt` when an object cannot be read.
    pub fn would_evolve(&self, wanted: &Wanted) -> Result<Vec<Difference>> {
        Ok(self.manifest.schema.differences(&self.wider(wanted, &self.gather(wanted)?)?))
    }

    /// Makes the table's schema wider: as told, or by what `extra_json` asks for. The objects are
    /// rewritten by [`Self::renew`].
    ///
    /// # Errors
    /// `Config` when a column cannot have the wanted type; when the store fails.
    pub fn evolve(&mut self, wanted: &Wanted, now: DateTime<Utc>) -> Result<Vec<Difference>> {
        if !self.manifest.settled {
            return Ok(Vec::new());
        }
        let gathered = self.gather(wanted)?;
        self.now = now;
        self.in_turn(|table| table.evolve_once(wanted, &gathered))
    }

    fn evolve_once(&mut self, wanted: &Wanted, gathered: &Gathered) -> Result<Vec<Difference>> {
        self.refresh()?;
        let wider = self.wider(wanted, gathered)?;
        let differences = self.manifest.schema.differences(&wider);
        if !differences.is_empty() {
            let mut next = self.manifest.clone();
            next.schema = wider;
            self.write_manifest(next)?;
            self.decoder.set_schema(Arc::new(self.manifest.schema.clone()), true);
        }
        Ok(differences)
    }

    /// How many partitions are still in an older schema.
    #[must_use]
    pub fn outdated(&self) -> usize {
        self.outdated_partitions().count()
    }

    /// Rewrites some partitions that are in an older schema, and commits them; none when all are
    /// in the table's.
    ///
    /// # Errors
    /// When the store fails; what was rewritten before stays so.
    pub fn renew(&mut self, now: DateTime<Utc>) -> Result<Committed> {
        if self.outdated() == 0 {
            return Ok(Committed { changed: Vec::new() });
        }
        self.now = now;
        let mut changed = Vec::new();
        self.in_turn(|table| table.renew_once(&mut changed))?;
        Ok(Committed { changed })
    }

    fn renew_once(&mut self, changed: &mut Vec<PartitionChange>) -> Result<()> {
        self.refresh()?;
        let mut next = self.manifest.clone();
        let mut work = Work::new();
        let mut bytes = 0;
        for (partition, size) in self.outdated_partitions() {
            work.insert(partition, PartitionWork::default());
            bytes += size;
            if bytes > COMMIT_BYTES || work.len() == COMMIT_PARTITIONS {
                break;
            }
        }
        self.write_partitions(work, &mut next, changed)?;
        if next != self.manifest {
            self.write_manifest(next)?;
        }
        Ok(())
    }

    /// The partitions in an older schema with their sizes, oldest first. While the schema is not
    /// settled, objects of several are as they should be.
    fn outdated_partitions(&self) -> impl Iterator<Item = (Partition, u64)> {
        let current = self.manifest.schema.fingerprint();
        let entries = self.manifest.partitions.iter().filter(|_| self.manifest.settled);
        let outdated = entries.filter(move |(_, entry)| entry.schema != current);
        outdated.filter_map(|(name, entry)| Some((name.parse().ok()?, entry.bytes)))
    }

    fn wider(&self, wanted: &Wanted, gathered: &Gathered) -> Result<Schema> {
        let schema = &self.manifest.schema;
        if wanted.is_empty() {
            return Ok(gathered.widened(schema, &self.endpoint.columns));
        }
        wanted.apply(schema).map_err(|why| {
            Error::new(ErrorKind::Config, format!("{}: {why}", self.endpoint.name)).with_hint(
                format!("`clari-lake schema {} LAKE` shows its columns", self.endpoint.name),
            )
        })
    }

    /// What stands in the `extra_json` of all rows, where that says what is wanted.
    fn gather(&self, wanted: &Wanted) -> Result<Gathered> {
        let mut gathered = Gathered::default();
        let is_asked = wanted.is_empty() && self.manifest.settled;
        for entry in self.manifest.partitions.values().filter(|_| is_asked) {
            gather_object(self.store.existing(&entry.object)?, &mut gathered)?;
        }
        Ok(gathered)
    }
}

/// Reads one column of an object, and of that only row groups that have any of it.
fn gather_object(object: Object, gathered: &mut Gathered) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(object)?;
    let leaves = builder.parquet_schema().columns();
    let Some(leaf) = leaves.iter().position(|leaf| leaf.path().string() == EXTRA_JSON) else {
        return Ok(());
    };
    let groups = builder.metadata().row_groups().iter().enumerate().filter(|(_, group)| {
        let nulls = group.column(leaf).statistics().and_then(Statistics::null_count_opt);
        nulls.is_none_or(|nulls| i64::try_from(nulls) != Ok(group.num_rows()))
    });
    let groups = groups.map(|(at, _)| at).collect();
    let mask = ProjectionMask::leaves(builder.parquet_schema(), [leaf]);
    for batch in builder.with_projection(mask).with_row_groups(groups).build()? {
        let batch = batch?;
        if let Some(texts) = batch.column(0).as_string_opt::<i32>() {
            gathered.add(texts.iter().flatten())?;
        }
    }
    Ok(())
}
