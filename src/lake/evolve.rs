//! Evolution: widens a frozen schema, and every object with it.
//!
//! The new schema is committed first. From then on every write uses it, and a partition whose entry
//! has a different fingerprint still has to be rewritten. If a run is killed in between, the next
//! one has all it needs to continue.

use arrow::array::{AsArray, StringArray};
use chrono::{DateTime, Utc};
use parquet::arrow::ProjectionMask;
use parquet::file::statistics::Statistics;

use super::commit::Committed;
use super::handle::Table;
use super::store::Object;
use super::table::existing::Existing;
use super::table::snapshot::Snapshot;
use super::table::transaction::{Outcome, Transaction};
use crate::commit_plan::{CommitPlan, PartitionRewrite};
use crate::decode::Gathered;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Manifest;
use crate::partition::Partition;
use crate::schema::{Difference, EXTRA_JSON, Schema};

/// About how many bytes are rewritten in one commit.
const COMMIT_BYTES: u64 = 256 << 20;
/// The maximum number of partitions in one commit.
const COMMIT_PARTITIONS: usize = 64;

/// What to add to the schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Columns to add: path and type.
    pub promote: Vec<(String, String)>,
    /// Integer columns that become doubles, by path.
    pub doubles: Vec<String>,
}

impl Wanted {
    /// Whether it names nothing, so that the contents of `extra_json` decide.
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

impl Snapshot {
    /// What evolution would change, as given by `wanted` or as suggested by `extra_json`. Nothing
    /// is written.
    ///
    /// # Errors
    /// `Config` when a column cannot have the wanted type, `Corrupt` when an object cannot be read.
    pub fn would_evolve(&self, wanted: &Wanted) -> Result<Vec<Difference>> {
        let gathered = self.gather(wanted)?;
        Ok(self.schema().differences(&self.wider(wanted, &gathered)?))
    }

    /// How many partitions are still in an older schema.
    #[must_use]
    pub fn outdated(&self) -> usize {
        self.outdated_partitions().count()
    }

    /// The partitions in an older schema with their sizes, oldest first. While the schema is not
    /// frozen, objects may have different schemas.
    fn outdated_partitions(&self) -> impl Iterator<Item = (Partition, u64)> {
        let manifest = self.manifest();
        let current = manifest.schema.fingerprint();
        let entries = manifest.partitions.iter().filter(|_| manifest.schema_frozen);
        let outdated = entries.filter(move |(_, entry)| entry.schema != current);
        outdated.filter_map(|(name, entry)| Some((name.parse().ok()?, entry.bytes)))
    }

    fn wider(&self, wanted: &Wanted, gathered: &Gathered) -> Result<Schema> {
        let (schema, endpoint) = (self.schema(), self.table().endpoint());
        if wanted.is_empty() {
            return Ok(gathered.widened(schema, &endpoint.columns));
        }
        wanted.apply(schema).map_err(|why| {
            Error::new(ErrorKind::Config, format!("{}: {why}", endpoint.name))
                .with_hint(format!("`clari-lake schema {} LAKE` shows its columns", endpoint.name))
        })
    }

    /// The contents of all rows' `extra_json`, where they decide what to add.
    fn gather(&self, wanted: &Wanted) -> Result<Gathered> {
        if wanted.is_empty() && self.manifest().schema_frozen {
            self.gathered()
        } else {
            Ok(Gathered::default())
        }
    }

    /// The contents of all rows' `extra_json`.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read, or its `extra_json` is not JSON.
    pub fn gathered(&self) -> Result<Gathered> {
        let mut gathered = Gathered::default();
        for entry in self.manifest().partitions.values() {
            let object = self.table().store().existing_of(entry)?;
            read_extra(object, |texts| gathered.add(texts.iter().flatten()))?;
        }
        Ok(gathered)
    }
}

impl Table {
    /// Widens the table's schema, as given by `wanted` or as suggested by `extra_json`.
    /// [`Self::rewrite_outdated`] then rewrites the objects.
    ///
    /// # Errors
    /// `Config` when a column cannot have the wanted type; when the store fails.
    pub fn evolve(
        &self,
        snapshot: &Snapshot,
        wanted: &Wanted,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Vec<Difference>)> {
        if !snapshot.manifest().schema_frozen {
            return Ok((snapshot.clone(), Vec::new()));
        }
        let gathered = snapshot.gather(wanted)?;
        let evolve = |transaction: &mut Transaction<'_>| {
            transaction.refresh()?;
            let wider = transaction.snapshot().wider(wanted, &gathered)?;
            let differences = transaction.snapshot().schema().differences(&wider);
            if differences.is_empty() {
                return Ok(Outcome::Committed(differences));
            }
            let mut next = Manifest::clone(transaction.snapshot().manifest());
            next.schema = wider;
            Ok(transaction.commit_schema(next)?.with(differences))
        };
        let evolved = self.transact(snapshot, now, evolve)?;
        Ok((evolved.snapshot, evolved.value))
    }

    /// Rewrites some of the partitions in an older schema and commits them; none when all have the
    /// table's schema.
    ///
    /// # Errors
    /// When the store fails; what has been rewritten up to then stays.
    pub fn rewrite_outdated(
        &self,
        snapshot: &Snapshot,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Committed)> {
        if snapshot.outdated() == 0 {
            return Ok((snapshot.clone(), Committed::default()));
        }
        let rewrite = |transaction: &mut Transaction<'_>| {
            transaction.refresh()?;
            let snapshot = transaction.snapshot();
            let mut plan = CommitPlan::of(Manifest::clone(snapshot.manifest()));
            let mut bytes = 0;
            for (partition, size) in snapshot.outdated_partitions() {
                plan.rewrites.insert(partition, PartitionRewrite::default());
                bytes += size;
                if bytes > COMMIT_BYTES || plan.rewrites.len() == COMMIT_PARTITIONS {
                    break;
                }
            }
            transaction.commit(plan, Vec::new())
        };
        let rewritten = self.transact(snapshot, now, rewrite)?;
        Ok((rewritten.snapshot, Committed { changed: rewritten.changed }))
    }
}

/// Reads the `extra_json` of an object's rows, skipping row groups that have none.
pub(super) fn read_extra(
    object: Object,
    mut take: impl FnMut(&StringArray) -> Result<()>,
) -> Result<()> {
    let existing = Existing::open(object)?;
    let file = existing.metadata().file_metadata().schema_descr();
    let Some(leaf) = file.columns().iter().position(|leaf| leaf.path().string() == EXTRA_JSON)
    else {
        return Ok(());
    };
    let mask = ProjectionMask::leaves(file, [leaf]);
    for (number, group) in existing.metadata().row_groups().iter().enumerate() {
        let nulls = group.column(leaf).statistics().and_then(Statistics::null_count_opt);
        if nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(group.num_rows())) {
            continue;
        }
        for batch in existing.batches_of(number..number + 1, mask.clone()) {
            if let Some(texts) = batch?.column(0).as_string_opt::<i32>() {
                take(texts)?;
            }
        }
    }
    Ok(())
}
