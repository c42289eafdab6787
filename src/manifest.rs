//! The manifest: an endpoint's numbered, immutable record of what its table holds.
//!
//! What a commit records, and what the index records of each key. How they are stored is elsewhere.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::row::Selectors;
use crate::schema::Schema;
use crate::window::{Coverage, Window};

/// The manifest format that this version writes; it reads all earlier ones too.
///
/// Format 4 keeps every field by which child endpoints select a parent, each row's own time, what
/// is known of parents apart from rows, and how lists and losses ended. Format 3 keeps most
/// partitions of a large table in a base, and records only what differs from it. Format 2 recorded
/// every partition each time. Format 1 had one index for the whole table, which the first commit
/// converts; since format 2 the index is sharded, one shard per partition.
pub const FORMAT: u32 = 4;

/// How far apart two correct clocks may be. An instant further in the future was recorded by a
/// wrong clock.
pub const CLOCKS_APART: TimeDelta = TimeDelta::minutes(1);
/// How far back to list again when a wrong clock recorded the instants and nothing else tells.
const LOOKED_AT_AGAIN: TimeDelta = TimeDelta::days(30);
/// How far apart, in microseconds, the instants of statements may be that were corrected by the
/// server's `Date` header, which has a resolution of one second.
pub const STATEMENTS_APART: i64 = 2_000_000;

/// Whether one statement about a record was requested later than another, as seen at `now`, all in
/// microseconds since 1970. A statement that lies in the future was dated by a wrong clock, and
/// loses.
#[must_use]
pub fn is_later(one: i64, other: i64, now: i64) -> bool {
    let believed = |at: i64| if at - now > STATEMENTS_APART { i64::MIN } else { at };
    believed(one) > believed(other)
}

/// How much time one partition holds; fixed when a table is created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Granularity {
    /// A partition a day.
    #[default]
    Day,
    /// A partition a month, named by its first day.
    Month,
}

impl Granularity {
    /// Its name, as in settings, manifests and the footers of objects.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The one with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Day, Self::Month].into_iter().find(|it| it.name() == name)
    }
}

/// The purpose of requests.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// New and changed records: may spend the whole week's quota.
    #[default]
    #[serde(rename = "nightly")]
    Incremental,
    /// Years of history: limited to the backfills' share.
    Backfill,
}

/// What one commit records about a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this file.
    pub format: u32,
    /// Its number; the first is 1.
    pub version: u64,
    /// The table.
    pub endpoint: String,
    /// The run that committed it.
    pub run: String,
    /// The version of the tool that committed it.
    pub tool: String,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// How much time a partition holds.
    pub granularity: Granularity,
    /// The instant up to which changes are complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// When the first listing began. Until there is a watermark, changes are requested from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<DateTime<Utc>>,
    /// What was requested, whether or not it is complete.
    #[serde(default)]
    pub goal: Coverage,
    /// What is complete in the lake.
    #[serde(default)]
    pub coverage: Coverage,
    /// Whether everything covered was listed with private records.
    #[serde(default)]
    pub private: bool,
    /// Whether any list was read with private records, so that some rows may be private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_private: bool,
    /// When everything covered was last listed again in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relisted_at: Option<DateTime<Utc>>,
    /// The columns.
    pub schema: Schema,
    /// Whether the schema is frozen: the first export is complete, so that only `evolve` changes
    /// it.
    #[serde(rename = "settled")]
    pub schema_frozen: bool,
    /// The base from which this manifest is written as a difference, if it need not be written
    /// whole.
    #[serde(skip)]
    pub base: Option<Arc<Base>>,
    /// The partitions by their value of `dt`.
    pub partitions: BTreeMap<String, PartitionEntry>,
    /// The index shards: what is known of each partition's keys, by its value of `dt`.
    #[serde(default)]
    pub index: BTreeMap<String, IndexFile>,
    /// The partition of each key: a base first, then deltas, which override what comes before.
    #[serde(default)]
    pub keys: Vec<IndexFile>,
    /// The fields whose values every index shard keeps for its records: those by which child
    /// endpoints select their parents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<String>,
    /// For a child table read by listing: the file that records which parents exist, and how the
    /// list of each ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parents: Option<IndexFile>,
    /// When the last complete list of a day was requested, microseconds since 1970, by the day as
    /// `YYYY-MM-DD`; for a snapshot table, that of a partition, or of all parents of a partition's
    /// rows; for a table of ranges, that of a range. Older replies are ignored. Kept for a week.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listed: BTreeMap<String, i64>,
    /// The partitions whose objects are lost, by their value of `dt`, until their rows are back or
    /// the loss is accepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, LostPartition>,
    /// For a child table: the parents' partitions whose ids need not be checked one by one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checked: BTreeMap<String, Checked>,
    /// The ranges that backfills requested: what is missing there is paid from their share of the
    /// quota.
    #[serde(default, skip_serializing_if = "Coverage::is_empty")]
    pub backfill: Coverage,
    /// The partitions that this commit changed, by their value of `dt`; none in manifests of older
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<BTreeMap<String, Option<RowCounts>>>,
    /// How far the table has applied the list of the forgotten.
    #[serde(default, skip_serializing_if = "Clearance::is_none")]
    pub clearance: Clearance,
    /// The files of a format 1 index, the base first.
    #[serde(default, skip_serializing)]
    pub flat_index: Vec<IndexFile>,
}

/// What a commit did to the rows of one partition. It is unknown for objects that a killed run
/// wrote and that were recovered, and for objects put in place from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows that are new.
    pub inserted: u64,
    /// Rows that were replaced.
    pub updated: u64,
    /// Rows that were removed or marked as deleted.
    pub deleted: u64,
}

impl std::ops::AddAssign for RowCounts {
    fn add_assign(&mut self, later: Self) {
        self.inserted += later.inserted;
        self.updated += later.updated;
        self.deleted += later.deleted;
    }
}

/// The state of most partitions of a large table. It is written once, never changed, and referenced
/// by the manifests that differ little from it, so that the size of a commit is proportional to the
/// change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its path below the lake.
    #[serde(skip)]
    pub object: String,
    /// As in [`Manifest::partitions`].
    pub partitions: BTreeMap<String, PartitionEntry>,
    /// As in [`Manifest::index`].
    pub index: BTreeMap<String, IndexFile>,
    /// As in [`Manifest::checked`].
    pub checked: BTreeMap<String, Checked>,
}

/// What a base has and a manifest lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Absent {
    /// Partitions.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub partitions: BTreeSet<String>,
    /// Index shards.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub index: BTreeSet<String>,
    /// Checked partitions of parents.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub checked: BTreeSet<String>,
}

/// How far a table has applied the list of the forgotten, by the list's number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clearance {
    /// All later commits are checked against the list up to this number.
    pub known: u64,
    /// The table's existing rows, index and quarantine were checked up to this number.
    pub cleared: u64,
}

impl Clearance {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// One partition's object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionEntry {
    /// Its path below the lake.
    pub object: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The store's identifier of this version of it.
    pub etag: String,
    /// The SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// The fingerprint of its schema.
    pub schema: String,
}

/// A partition whose object is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPartition {
    /// How many rows it had.
    pub rows: u64,
    /// When a run found it missing.
    pub found_at: DateTime<Utc>,
    /// Whether a run has requested these rows from the API again.
    pub requested: bool,
    /// Whether an older object is in its place, so that the row count cannot be trusted.
    #[serde(default)]
    pub replaced: bool,
}

/// One index shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// Its path below the lake.
    pub object: String,
    /// How many entries it has.
    pub entries: u64,
}

/// The result of checking a child table against the ids of one of the parents' partitions, when
/// nothing had to be requested at once. It is valid as long as that partition has the same index
/// shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The parents' index shard, and the rule that selected the parents.
    pub parents: String,
    /// The progress of the records.
    #[serde(flatten)]
    pub queue: Queue,
    /// When the first parked record is due, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<i64>,
}

/// The progress of records that are looked up one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Queue {
    /// Keys whose record is complete in the lake.
    pub settled: u64,
    /// Keys not requested yet, or whose request failed temporarily.
    pub pending: u64,
    /// Keys whose record was absent or incomplete; they are requested again later.
    pub parked: u64,
    /// Keys whose record was absent for so long that they are no longer requested.
    pub unavailable: u64,
    /// The parked ones that have no row at all.
    #[serde(default)]
    pub missing: u64,
}

impl std::ops::AddAssign for Queue {
    fn add_assign(&mut self, other: Self) {
        self.settled += other.settled;
        self.pending += other.pending;
        self.parked += other.parked;
        self.unavailable += other.unavailable;
        self.missing += other.missing;
    }
}

/// The index entry of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// Whether the table has a row with this key; if not, only `attempt` is known.
    pub in_lake: bool,
    /// The day that dates the row, days since 1970.
    pub day: Option<i32>,
    /// The record's own time, microseconds since 1970, if it has a readable one.
    pub time: Option<i64>,
    /// The content hash of the row's version.
    pub hash: u128,
    /// When that version was requested, microseconds since 1970; for a removed row, when it was
    /// found gone.
    pub fetched_at: i64,
    /// The fields by which child endpoints select parents, in the order of
    /// [`Manifest::selectors`].
    pub selectors: Selectors,
    /// The key of the parent by which the row was requested, if the row itself does not say.
    pub parent: Option<Box<str>>,
    /// When the record was found gone, microseconds since 1970.
    pub deleted_at: Option<i64>,
    /// The outcome of the last request by this key, for endpoints that are looked up by key.
    pub attempt: Option<Attempt>,
}

impl IndexEntry {
    /// Whether the row was removed because its record is gone, or no longer counts as started.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        !self.in_lake && self.deleted_at.is_some()
    }

    /// When the last statement about the key was requested, microseconds since 1970: that it has
    /// this content, or that it is gone.
    #[must_use]
    pub fn stated_at(&self) -> i64 {
        self.deleted_at.map_or(self.fetched_at, |gone_at| gone_at.max(self.fetched_at))
    }
}

/// The version of a parent for which a child was requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParentVersion {
    /// Unknown: the run was killed before recording it.
    #[default]
    Unknown,
    /// None: the child must be requested again, whatever its parent's version.
    Refetch,
    /// The parent with this content hash.
    Content(u128),
}

/// The outcome of the last request by a parent's key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The version of the parent for which it was made.
    pub parent: ParentVersion,
    /// Why the record is absent or incomplete; none when the look-up is done.
    pub reason: Option<Box<str>>,
    /// How many requests in a row found it absent or incomplete.
    pub failures: u32,
    /// When the first of them was made, microseconds since 1970.
    pub first_failed_at: i64,
    /// When to request it again, microseconds since 1970.
    pub next_try_at: i64,
}

/// How the names in [`Manifest::listed`] of lists of all parents begin.
pub const PARENTS_OF: &str = "parents of ";

impl Manifest {
    /// Drops what is known about the parents, so that the lists of all of them are requested again.
    pub fn drop_parents(&mut self) {
        self.parents = None;
        // Without the parents' answers, it is not known which of them the list had.
        self.listed.retain(|scope, _| !scope.starts_with(PARENTS_OF));
    }

    /// The partitions, by their value of `dt`, that differ in a later manifest, or that only one of
    /// the two has.
    pub fn changed_partitions<'m>(&'m self, later: &'m Self) -> impl Iterator<Item = &'m str> {
        let is_other = |(name, entry): &(&String, _)| self.partitions.get(*name) != Some(*entry);
        let gone = self.partitions.keys().filter(|name| !later.partitions.contains_key(*name));
        let other = later.partitions.iter().filter(is_other).map(|(name, _)| name);
        other.chain(gone).map(String::as_str)
    }

    /// The first manifest of a table, not yet committed.
    #[must_use]
    pub fn new(endpoint: &str, schema: Schema, granularity: Granularity) -> Self {
        Self {
            format: FORMAT,
            version: 0,
            endpoint: endpoint.to_owned(),
            run: String::new(),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            committed_at: DateTime::UNIX_EPOCH,
            granularity,
            watermark: None,
            goal: Coverage::default(),
            coverage: Coverage::default(),
            schema,
            schema_frozen: false,
            base: None,
            partitions: BTreeMap::new(),
            index: BTreeMap::new(),
            keys: Vec::new(),
            selectors: Vec::new(),
            parents: None,
            listed: BTreeMap::new(),
            lost: BTreeMap::new(),
            checked: BTreeMap::new(),
            begun_at: None,
            backfill: Coverage::default(),
            changed: None,
            private: false,
            has_private: false,
            relisted_at: None,
            clearance: Clearance::default(),
            flat_index: Vec::new(),
        }
    }

    /// The manifest as it is written beside its base: differences from the base, and what is
    /// absent.
    #[must_use]
    pub fn beyond_base(&self) -> (Self, Absent) {
        let mut beyond = self.clone();
        let Some(base) = &self.base else { return (beyond, Absent::default()) };
        let absent = Absent {
            partitions: subtract(&mut beyond.partitions, &base.partitions),
            index: subtract(&mut beyond.index, &base.index),
            checked: subtract(&mut beyond.checked, &base.checked),
        };
        (beyond, absent)
    }

    /// Restores the whole manifest from what [`Self::beyond_base`] left of it.
    #[must_use]
    pub fn over(mut self, base: Arc<Base>, absent: &Absent) -> Self {
        add(&mut self.partitions, &base.partitions, &absent.partitions);
        add(&mut self.index, &base.index, &absent.index);
        add(&mut self.checked, &base.checked, &absent.checked);
        self.base = Some(base);
        self
    }

    /// A base with everything this manifest records of its partitions.
    #[must_use]
    pub fn to_base(&self, object: String) -> Base {
        Base {
            object,
            partitions: self.partitions.clone(),
            index: self.index.clone(),
            checked: self.checked.clone(),
        }
    }

    /// The manifest corrected for a wrong clock, as of `now`. An instant that lies in the future
    /// was recorded by a wrong clock: coverage that ends there is trusted as far as changes are
    /// known, else up to a month ago. The rest is requested again.
    #[must_use]
    pub fn as_of(&self, now: DateTime<Utc>) -> Cow<'_, Self> {
        let latest = now + CLOCKS_APART;
        let is_future = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > latest);
        let ends = [self.goal.end(), self.coverage.end(), self.backfill.end()];
        let instants = [self.watermark, self.begun_at, self.relisted_at];
        if !ends.into_iter().chain(instants).any(is_future) {
            return Cow::Borrowed(self);
        }
        let mut believed = self.clone();
        let known = |at: Option<DateTime<Utc>>| at.filter(|at| *at <= latest);
        let since = known(self.watermark).unwrap_or(now - LOOKED_AT_AGAIN);
        believed.watermark = self.watermark.map(|at| if at > latest { since } else { at });
        believed.begun_at = self.begun_at.map(|at| if at > latest { since } else { at });
        believed.relisted_at = known(self.relisted_at);
        // What was never listed stays a goal: if it were cut, it would be forgotten. Every export
        // lists the last day anyway, up to its own time, which is some time before `now`.
        let yesterday = (now - TimeDelta::days(1)).date_naive().and_time(NaiveTime::MIN).and_utc();
        let mut unlisted = self.goal.clone();
        self.coverage.windows().iter().for_each(|window| unlisted.remove(*window));
        cut(&mut unlisted, yesterday, latest);
        for coverage in [&mut believed.goal, &mut believed.backfill, &mut believed.coverage] {
            cut(coverage, since.min(now), latest);
        }
        unlisted.windows().iter().for_each(|window| believed.goal.add(*window));
        Cow::Owned(believed)
    }

    /// How many entries it has about single partitions.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.partitions.len() + self.index.len() + self.checked.len()
    }

    /// The index files, in any format.
    pub fn index_files(&self) -> impl Iterator<Item = &IndexFile> {
        let shards = self.index.values().chain(&self.keys);
        shards.chain(&self.parents).chain(&self.flat_index)
    }

    /// How many rows the table has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.partitions.values().map(|partition| partition.rows).sum()
    }

    /// The size of the table's objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.partitions.values().map(|partition| partition.bytes).sum()
    }
}

/// Removes from a coverage that ends in the future what is beyond `to`.
fn cut(coverage: &mut Coverage, to: DateTime<Utc>, latest: DateTime<Utc>) {
    if let Some(end) = coverage.end().filter(|end| *end > latest) {
        coverage.remove(Window::new(to, end));
    }
}

/// Keeps only the entries of `map` that differ from `base`; returns the names that only `base` has.
fn subtract<V: PartialEq>(
    map: &mut BTreeMap<String, V>,
    base: &BTreeMap<String, V>,
) -> BTreeSet<String> {
    let absent = base.keys().filter(|name| !map.contains_key(*name)).cloned().collect();
    map.retain(|name, value| base.get(name) != Some(value));
    absent
}

/// Adds the entries of `base` that `map` lacks, except those in `absent`.
fn add<V: Clone>(
    map: &mut BTreeMap<String, V>,
    base: &BTreeMap<String, V>,
    absent: &BTreeSet<String>,
) {
    for (name, value) in base.iter().filter(|(name, _)| !absent.contains(*name)) {
        map.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::AddedColumns;

    fn manifest(days: &[(&str, u64)]) -> Manifest {
        let mut manifest = {
            let schema = Schema { columns: Vec::new(), added: AddedColumns::default() };
            Manifest::new("calls", schema, Granularity::Day)
        };
        for (day, entries) in days {
            let file = IndexFile { object: format!("{day}.parquet"), entries: *entries };
            manifest.index.insert((*day).to_owned(), file);
        }
        manifest
    }

    /// P10: a stored instant that lies in the future loses.
    #[test]
    fn a_statement_from_the_future_loses() {
        let (second, now) = (1_000_000, 1_000_000_000);
        for (stored, new, later) in [
            (now - 5 * second, now - 9 * second, true),
            (now - 9 * second, now - 5 * second, false),
            (now + second, now - 5 * second, true),
            (now + 60 * second, now - 5 * second, false),
            (i64::MAX, now, false),
        ] {
            assert_eq!(is_later(stored, new, now), later, "{stored} {new}");
        }
    }

    /// A14: what a clock that was ahead recorded is not trusted, and what was recorded at the right
    /// time is.
    #[test]
    fn instants_in_the_future_are_ignored() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = at("2026-11-20T12:00:00Z");
        let mut right = manifest(&[]);
        let begin = at("2026-10-01T00:00:00Z");
        right.coverage.add(Window::new(begin, now));
        right.goal.add(Window::new(begin, now));
        right.watermark = Some(at("2026-11-20T11:00:00Z"));
        assert!(matches!(right.as_of(now), Cow::Borrowed(_)));
        let mut wrong = right.clone();
        let ahead = now + TimeDelta::days(3);
        wrong.coverage.add(Window::new(begin, ahead));
        wrong.goal.add(Window::new(begin, ahead));
        wrong.relisted_at = Some(ahead);
        let believed = wrong.as_of(now);
        assert_eq!(believed.coverage.end(), right.watermark, "as far as changes are known");
        assert_eq!((believed.goal.end(), believed.relisted_at), (right.watermark, None));
        wrong.watermark = Some(ahead);
        let believed = wrong.as_of(now);
        assert_eq!(believed.coverage.end(), Some(now - LOOKED_AT_AGAIN));
        assert_eq!(believed.watermark, Some(now - LOOKED_AT_AGAIN));
        wrong.coverage = Coverage::default();
        let goal = wrong.as_of(now).goal.clone();
        // What was never listed is still to be listed, but nothing after the time of the next run.
        assert_eq!(goal.windows(), [Window::new(begin, at("2026-11-19T00:00:00Z"))]);
    }

    #[test]
    fn a_manifest_is_its_base_plus_differences() {
        let base = manifest(&[("a", 1), ("b", 2), ("c", 3)]).to_base("base".to_owned());
        let mut whole = manifest(&[("a", 1), ("b", 5), ("d", 4)]);
        whole.base = Some(Arc::new(base.clone()));
        let (beyond, absent) = whole.beyond_base();
        assert_eq!(beyond.index.keys().collect::<Vec<_>>(), ["b", "d"]);
        assert_eq!(absent.index.iter().collect::<Vec<_>>(), ["c"]);
        let beyond = Manifest { base: None, ..beyond };
        assert_eq!(beyond.over(Arc::new(base), &absent), whole);
    }
}
