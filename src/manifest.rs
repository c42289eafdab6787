//! The manifest: an endpoint's numbered, immutable record of truth.
//!
//! Enters: nothing. Leaves: what a commit says, and what the index says of each key. Never here:
//! how either is stored, or a secret.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::row::Selectors;
use crate::schema::Schema;
use crate::window::{Coverage, Window};

/// The format of the manifests that this version writes; it reads all up to it.
///
/// Format 4 keeps every field by which child endpoints select a parent, the row's own time, what is
/// known of parents apart from rows, and how lists and losses ended. Format 3 keeps what it says of most partitions of a large table in a base, and says itself only
/// what differs. Format 2 said all of it each time. Format 1 had one index for the whole table, which
/// is taken over by the first commit; since then it is in pieces, one per partition.
pub const FORMAT: u32 = 4;

/// How far apart two clocks may be that are both right. An instant that lies further in the future
/// was noted by a clock that is wrong.
pub const CLOCKS_APART: TimeDelta = TimeDelta::minutes(1);
/// How much is looked at again where nothing else tells when a wrong clock noted its instants.
const LOOKED_AT_AGAIN: TimeDelta = TimeDelta::days(30);
/// How far apart the instants of statements may be that were corrected by the server's `Date`, which
/// says no more than the second, in microseconds.
const STATEMENTS_APART: i64 = 2_000_000;

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

/// What requests are for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// What changed, and what was never seen: all of the week's quota may be spent on it.
    #[default]
    Nightly,
    /// Years of history, which take no more than their share.
    Backfill,
}

/// What one commit says of a table.
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
    /// When.
    pub committed_at: DateTime<Utc>,
    /// How much time a partition holds.
    pub granularity: Granularity,
    /// Up to where changes are complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// When the first listing began. Until there is a watermark, changes are looked for from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<DateTime<Utc>>,
    /// What was asked for, whether or not it is complete.
    #[serde(default)]
    pub goal: Coverage,
    /// What is completely in the lake.
    #[serde(default)]
    pub coverage: Coverage,
    /// Whether all that is covered was listed with private records.
    #[serde(default)]
    pub private: bool,
    /// When everything that is covered was last listed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relisted_at: Option<DateTime<Utc>>,
    /// The columns.
    pub schema: Schema,
    /// Whether the first export is complete, so that only `evolve` changes the schema.
    pub settled: bool,
    /// Where this manifest need not be written whole: what it is written as the difference from.
    #[serde(skip)]
    pub base: Option<Arc<Base>>,
    /// The partitions by their value of `dt`.
    pub partitions: BTreeMap<String, PartitionEntry>,
    /// The index: of each partition, by its value of `dt`, what is known of its keys.
    #[serde(default)]
    pub index: BTreeMap<String, IndexFile>,
    /// In which partition each key is: a base first, then deltas, which override what is before.
    #[serde(default)]
    pub keys: Vec<IndexFile>,
    /// The fields of which every index shard says what the records have there: those by which child
    /// endpoints select their parents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<String>,
    /// Of a child table that is read parent by parent: the file that says how each of them answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parents: Option<IndexFile>,
    /// When the last complete list of a day was requested, microseconds since 1970, by the day as
    /// `YYYY-MM-DD`; of a snapshot table, that of a partition; of a table of ranges, that of a range. What an older reply says comes too
    /// late. Kept for a week.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listed: BTreeMap<String, i64>,
    /// The partitions whose objects are lost, by their value of `dt`, until their rows are back or
    /// the loss is accepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, LostPartition>,
    /// Of a child table: the parents' partitions whose ids need not be looked at one by one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checked: BTreeMap<String, Checked>,
    /// What backfills were asked for: what is missing there is paid from their share of the quota.
    #[serde(default, skip_serializing_if = "Coverage::is_empty")]
    pub backfill: Coverage,
    /// The partitions that this commit changed, by their value of `dt`; none in manifests of older
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<BTreeMap<String, Option<RowCounts>>>,
    /// How far the table has come with the list of the forgotten.
    #[serde(default, skip_serializing_if = "Clearance::is_none")]
    pub clearance: Clearance,
    /// The files of a format 1 index, the base first.
    #[serde(default, skip_serializing)]
    pub flat_index: Vec<IndexFile>,
}

/// What a commit did to the rows of one partition. It is not known of objects that were written by
/// a killed run and recovered, or put into their place from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows that were there and are replaced.
    pub updated: u64,
    /// Rows that are there no more, or marked as deleted.
    pub deleted: u64,
}

impl std::ops::AddAssign for RowCounts {
    fn add_assign(&mut self, later: Self) {
        self.inserted += later.inserted;
        self.updated += later.updated;
        self.deleted += later.deleted;
    }
}

/// What most partitions of a large table are like. It is written once, never changed, and named by
/// the manifests that differ little from it, so that what a commit writes follows what changed.
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

/// What a base has and a manifest has not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Absent {
    /// Of the partitions.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub partitions: BTreeSet<String>,
    /// Of the index.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub index: BTreeSet<String>,
    /// Of what was checked.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub checked: BTreeSet<String>,
}

/// How far a table has come with the list of the forgotten, by the list's number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clearance {
    /// Whatever is committed from now on was held against the list up to here.
    pub known: u64,
    /// The table's rows, index and quarantine were, too.
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
    /// What the store calls this very version of it.
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
    /// Whether a run has asked the API for these rows again.
    pub requested: bool,
    /// Whether an older object is in its place, so that the number of rows says nothing.
    #[serde(default)]
    pub replaced: bool,
}

/// One file of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// Its path below the lake.
    pub object: String,
    /// How many entries it has.
    pub entries: u64,
}

/// What was found when the ids of one of the parents' partitions were held against a chained table,
/// and nothing was to be asked for at once. It holds as long as the parents' index of that partition
/// is the same file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The file of the parents' index, and what rule the parents were chosen by.
    pub parents: String,
    /// How far the records had come.
    #[serde(flatten)]
    pub queue: Queue,
    /// When the first of the parked ones is to be asked for, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<i64>,
}

/// How far records have come that are asked for key by key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Queue {
    /// Keys whose record is in the lake as it should be.
    pub settled: u64,
    /// Keys that were not asked for yet, or failed in passing.
    pub pending: u64,
    /// Keys that had nothing, or nothing whole yet; they are asked for again later.
    pub parked: u64,
    /// Keys that had nothing for so long that they are not asked for any more.
    pub unavailable: u64,
    /// Those of the parked ones that have no row at all.
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

/// What the index says of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// Whether the table has a row of this key; if not, it is known only by `attempt`.
    pub in_lake: bool,
    /// The day that dates the row, days since 1970.
    pub day: Option<i32>,
    /// The record's own time, microseconds since 1970, where it has one that can be read.
    pub time: Option<i64>,
    /// The content hash of the row's version.
    pub hash: u128,
    /// When that version was requested, microseconds since 1970; of a row that was removed, when
    /// it was found gone.
    pub fetched_at: i64,
    /// The fields by which child endpoints select parents, in the order of
    /// [`Manifest::selectors`].
    pub selectors: Selectors,
    /// The key of the parent that the row was requested by, where the row itself does not say.
    pub parent: Option<Box<str>>,
    /// Since when the record is known to be gone, microseconds since 1970.
    pub deleted_at: Option<i64>,
    /// What the last request by this key found, for endpoints that are asked key by key.
    pub attempt: Option<Attempt>,
}

impl IndexEntry {
    /// Whether the row was taken out because its record is gone, or has not begun any more.
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
    /// Not known: a run was killed before it could say.
    #[default]
    Unknown,
    /// None: the child is to be requested again, whatever its parent says.
    Refetch,
    /// The parent with this content hash.
    Content(u128),
}

/// How the last request by a parent's key ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The version of the parent for which it was made.
    pub parent: ParentVersion,
    /// Why there is nothing, or nothing whole; none when it is settled.
    pub reason: Option<Box<str>>,
    /// How many requests found nothing whole, in a row.
    pub failures: u32,
    /// When the first of them was made, microseconds since 1970.
    pub first_failed_at: i64,
    /// When to ask again, microseconds since 1970.
    pub next_try_at: i64,
}

impl Manifest {
    /// The partitions, by their value of `dt`, that a later manifest has otherwise, or only one of
    /// the two.
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
            settled: false,
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
            relisted_at: None,
            clearance: Clearance::default(),
            flat_index: Vec::new(),
        }
    }

    /// The manifest as it is written beside its base: what differs from that, and what is absent.
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

    /// The whole manifest again, of what [`Self::beyond_base`] left of it.
    #[must_use]
    pub fn over(mut self, base: Arc<Base>, absent: &Absent) -> Self {
        add(&mut self.partitions, &base.partitions, &absent.partitions);
        add(&mut self.index, &base.index, &absent.index);
        add(&mut self.checked, &base.checked, &absent.checked);
        self.base = Some(base);
        self
    }

    /// A base that says all that this manifest says of its partitions.
    #[must_use]
    pub fn to_base(&self, object: String) -> Base {
        Base {
            object,
            partitions: self.partitions.clone(),
            index: self.index.clone(),
            checked: self.checked.clone(),
        }
    }

    /// What may be believed of the manifest at `now`. An instant that lies in the future was noted
    /// by a clock that was wrong: what ends there is believed as far as changes are known, or else up
    /// to a month ago. The rest is asked for again.
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
        for coverage in [&mut believed.goal, &mut believed.backfill, &mut believed.coverage] {
            cut(coverage, since.min(now), latest);
        }
        Cow::Owned(believed)
    }

    /// How much it says of single partitions.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.partitions.len() + self.index.len() + self.checked.len()
    }

    /// The files of the index, of whatever format.
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

/// Takes out of a coverage that ends in the future what is beyond `to`.
fn cut(coverage: &mut Coverage, to: DateTime<Utc>, latest: DateTime<Utc>) {
    if let Some(end) = coverage.end().filter(|end| *end > latest) {
        coverage.remove(Window::new(to, end));
    }
}

/// Leaves of `map` what `base` does not say; the names that only `base` has.
fn subtract<V: PartialEq>(
    map: &mut BTreeMap<String, V>,
    base: &BTreeMap<String, V>,
) -> BTreeSet<String> {
    let absent = base.keys().filter(|name| !map.contains_key(*name)).cloned().collect();
    map.retain(|name, value| base.get(name) != Some(value));
    absent
}

/// Adds to `map` what `base` says beside it, but for what is absent.
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

    /// A14: what a clock that was ahead has noted is not believed, and what was noted at the right
    /// time is.
    #[test]
    fn what_lies_in_the_future_is_not_believed() {
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
    }

    #[test]
    fn a_manifest_is_its_base_and_what_differs_from_it() {
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
