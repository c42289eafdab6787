//! Evolution: a frozen schema gets wider, and every object with it.
//!
//! The schema is committed first. From then on every write has it, and a partition whose entry has
//! another fingerprint is yet to be rewritten. So a run that is killed in between leaves all that the
//! next one needs to continue.

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
    /// Whether it names nothing, so that `extra_json` says what is wanted.
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
    /// What evolution would change: as `wanted` says, or as `extra_json` suggests. Nothing is
    /// written.
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
    /// frozen, objects of several are as they should be.
    fn outdated_partitions(&self) -> impl Iterator<Item = (Partition, u64)> {
        let manifest = self.manifest();
        let current = manifest.schema.fingerprint();
        let entries = manifest.partitions.iter().filter(|_| manifest.settled);
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

    /// What is in the `extra_json` of all rows, where that says what is wanted.
    fn gather(&self, wanted: &Wanted) -> Result<Gathered> {
        if wanted.is_empty() && self.manifest().settled {
            self.gathered()
        } else {
            Ok(Gathered::default())
        }
    }

    /// What is in the `extra_json` of all rows.
    ///
    /// # Errors
    /// `Corrupt` when an object cannot be read, or has an `extra_json` that is no JSON.
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
    /// Makes the table's schema wider: as `wanted` says, or as `extra_json` suggests. The objects
    /// are rewritten by [`Self::rewrite_outdated`].
    ///
    /// # Errors
    /// `Config` when a column cannot have the wanted type; when the store fails.
    pub fn evolve(
        &self,
        snapshot: &Snapshot,
        wanted: &Wanted,
        now: DateTime<Utc>,
    ) -> Result<(Snapshot, Vec<Difference>)> {
        if !snapshot.manifest().settled {
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

    /// Rewrites some partitions that are in an older schema, and commits them; none when all are
    /// in the table's.
    ///
    /// # Errors
    /// When the store fails; what was rewritten before stays so.
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

/// Reads the `extra_json` of an object's rows, and of that only row groups that have any.
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
