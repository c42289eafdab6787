//! The status: what the lake holds, how fresh it is, and what is still missing.
//!
//! Builds a [`Status`], and its [concerns](Concern), from a store, the catalogue, the limits and
//! the time. It sends no requests, reads no data objects, and writes nothing.

mod concerns;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use crate::endpoint::{Dated, Endpoint};
use crate::error::Result;
use crate::lake::{Children, Lake, Snapshot};
use crate::ledger::Ledger;
use crate::manifest::{CLOCKS_APART, Granularity, Manifest, Queue};
use crate::partition::Partition;
use crate::quota::Limits;
use crate::report::Week;
use crate::schema::{Difference, Schema};
use crate::window::{Coverage, Window};

pub use self::concerns::Concern;
pub use self::runs::{RUNS, Run, RunEndpoint, RunProblem, last_success};

/// What a lake holds, and how fresh it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The location of the lake.
    pub lake: String,
    /// When the status was read.
    pub now: DateTime<Utc>,
    /// Table by table.
    pub tables: Vec<TableStatus>,
    /// The week's use of the quota.
    pub week: Week,
    /// The last runs, newest first.
    pub runs: Vec<Run>,
}

impl Status {
    /// The average number of requests a day by incremental runs in the last week, among the runs
    /// listed.
    #[must_use]
    pub fn nightly_pace(&self) -> Option<u64> {
        let week = TimeDelta::days(7);
        let is_recent = |run: &&Run| run.is_nightly() && self.now - run.started_at < week;
        let recent: Vec<&Run> = self.runs.iter().filter(is_recent).collect();
        let first = recent.iter().map(|run| run.started_at).min()?;
        let days = ((self.now - first).num_days() + 1).clamp(1, 7).unsigned_abs();
        Some(recent.iter().map(|run| run.requests).sum::<u64>() / days)
    }
}

/// What one table holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableStatus {
    /// Its endpoint.
    pub endpoint: String,
    /// How many rows it has.
    pub rows: u64,
    /// In how many partitions.
    pub partitions: u64,
    /// Of how many bytes.
    pub bytes: u64,
    /// The windows that are complete in it.
    pub coverage: Vec<Window>,
    /// The partitions, by their value of `dt`, with rows of days that were not listed completely;
    /// days that are not over are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<String>,
    /// What was requested and is missing from it.
    pub gaps: Vec<Window>,
    /// The part of that which backfills requested.
    pub left_for_backfill: Vec<Window>,
    /// The instant up to which changes are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// The instant up to which it matches the source; none if nothing was ever completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_to: Option<DateTime<Utc>>,
    /// The age of that instant, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// The progress of the records that are looked up one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Whether it is filled only on request, such as the statistics of a range, and so is never too
    /// old.
    #[serde(skip)]
    pub is_by_hand: bool,
    /// Whether its schema is frozen.
    #[serde(rename = "settled")]
    pub schema_frozen: bool,
    /// What `evolve` would add, according to the reports of the last runs.
    pub evolvable: Vec<Difference>,
    /// The number of its newest manifest.
    pub version: u64,
    /// When that was committed.
    pub committed_at: DateTime<Utc>,
    /// How much time a partition holds.
    pub granularity: Granularity,
    /// Its columns.
    #[serde(skip)]
    pub schema: Schema,
    /// What each partition holds, by its value of `dt`.
    #[serde(skip)]
    pub held: BTreeMap<String, Held>,
    /// The progress of the records that are looked up one by one, by their parents' `dt`.
    #[serde(skip)]
    pub queues: BTreeMap<String, Queue>,
}

/// The contents of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// How many rows.
    pub rows: u64,
    /// Of how many bytes.
    pub bytes: u64,
}

impl Status {
    /// The tables that are older than this many seconds, or were never complete.
    pub fn staler_than(&self, seconds: i64) -> impl Iterator<Item = &TableStatus> {
        let is_stale = move |table: &&TableStatus| {
            !table.is_by_hand && table.age_seconds.is_none_or(|age| age > seconds)
        };
        self.tables.iter().filter(is_stale)
    }
}

/// Reads the status of a lake.
///
/// # Errors
/// `Newer` or `Corrupt` when a manifest cannot be read, or when the store fails.
pub fn status(lake: &Lake, limits: &Limits, now: DateTime<Utc>) -> Result<Status> {
    let store = lake.store();
    let runs = runs::newest(store, RUNS)?;
    let mut tables = Vec::new();
    for endpoint in lake.catalogue().endpoints() {
        tables.extend(table(lake, endpoint, &runs, now)?);
    }
    Ok(Status {
        lake: store.location(),
        now,
        tables,
        week: Ledger::new(Arc::clone(store), "").week(limits, now)?,
        runs,
    })
}

fn table(
    lake: &Lake,
    endpoint: &Endpoint,
    runs: &[Run],
    now: DateTime<Utc>,
) -> Result<Option<TableStatus>> {
    let snapshot = lake.table(&endpoint.name)?.snapshot()?;
    let manifest = snapshot.manifest();
    if manifest.version == 0 {
        return Ok(None);
    }
    let queues = queues(lake, endpoint, &snapshot, now)?;
    // A table that seems fresh up to a future instant was written, or is being read, with a wrong
    // clock: its age is unknown.
    let fresh_to = fresh_to(lake, &snapshot)?;
    let fresh_to = fresh_to.filter(|fresh_to| *fresh_to - now <= CLOCKS_APART);
    let goals = manifest.goal.windows().iter();
    let gaps: Coverage = goals.flat_map(|goal| manifest.coverage.gaps(*goal)).collect();
    let left = gaps.windows().iter().flat_map(|gap| manifest.backfill.common(*gap));
    Ok(Some(TableStatus {
        endpoint: endpoint.name.clone(),
        rows: manifest.rows(),
        partitions: manifest.partitions.len() as u64,
        bytes: manifest.bytes(),
        coverage: manifest.coverage.windows().to_vec(),
        partial: partial(manifest),
        left_for_backfill: left.collect(),
        gaps: gaps.windows().to_vec(),
        watermark: manifest.watermark,
        fresh_to,
        age_seconds: fresh_to.map(|fresh_to| (now - fresh_to).num_seconds()),
        queue: queues.as_ref().map(sum),
        is_by_hand: endpoint.is_of_ranges(),
        schema_frozen: manifest.schema_frozen,
        evolvable: runs::evolvable(runs, &endpoint.name, &manifest.schema),
        version: manifest.version,
        committed_at: manifest.committed_at,
        granularity: manifest.granularity,
        schema: manifest.schema.clone(),
        held: held(manifest),
        queues: queues.unwrap_or_default(),
    }))
}

/// Only a table that is listed by time has coverage; others have no partial days.
fn partial(manifest: &Manifest) -> Vec<String> {
    let Some(end) = manifest.coverage.end() else { return Vec::new() };
    let is_partial = |dt: &str| {
        let Ok(partition) = dt.parse::<Partition>() else { return false };
        let time = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        let window = partition.date().and_then(|first| {
            let after = match manifest.granularity {
                Granularity::Day => first.checked_add_days(Days::new(1)),
                Granularity::Month => first.checked_add_months(Months::new(1)),
            };
            Some(Window::new(time(first), time(after?).min(end)))
        });
        window.is_some_and(|it| !it.is_empty() && !manifest.coverage.covers(it))
    };
    let with_rows = manifest.partitions.iter().filter(|(_, entry)| entry.rows > 0);
    with_rows.map(|(dt, _)| dt).filter(|dt| is_partial(dt)).cloned().collect()
}

fn held(manifest: &Manifest) -> BTreeMap<String, Held> {
    let partitions = manifest.partitions.iter();
    partitions.map(|(dt, it)| (dt.clone(), Held { rows: it.rows, bytes: it.bytes })).collect()
}

fn sum(queues: &BTreeMap<String, Queue>) -> Queue {
    let mut sum = Queue::default();
    for queue in queues.values() {
        sum += *queue;
    }
    sum
}

/// The instant up to which a table matches the source: for a listed table, its coverage; for one
/// without windows and for a snapshot, when it was last read; for look-ups, the instant of their
/// parents.
fn fresh_to(lake: &Lake, snapshot: &Snapshot) -> Result<Option<DateTime<Utc>>> {
    let (endpoint, manifest) = (snapshot.table().endpoint(), snapshot.manifest());
    if endpoint.dated == Dated::Run {
        // A commit may hold a part of a snapshot. Manifests of older versions do not say when one
        // was last read completely, but only whether that ever happened.
        let committed_at = manifest.schema_frozen.then_some(manifest.committed_at);
        return Ok(manifest.relisted_at.or(committed_at));
    }
    let listed_to = manifest.coverage.end().or(manifest.relisted_at);
    match &endpoint.parent {
        Some(parent) if listed_to.is_none() => {
            fresh_to(lake, &lake.table(&parent.endpoint)?.snapshot()?)
        }
        _ => Ok(listed_to),
    }
}

/// The progress of a child table, by the partitions of its parents; unchanged partitions are not
/// read again.
fn queues(
    lake: &Lake,
    endpoint: &Endpoint,
    own: &Snapshot,
    now: DateTime<Utc>,
) -> Result<Option<BTreeMap<String, Queue>>> {
    let chained = endpoint.parent.as_ref().filter(|_| endpoint.dated != Dated::Run);
    let Some(rule) = chained else { return Ok(None) };
    let parents = lake.table(&rule.endpoint)?.snapshot()?;
    let present: Vec<String> = parents.indexed().map(|partition| partition.to_string()).collect();
    let children = Children { parents: &parents, own, rule, latest: None };
    let open = children.open(now.timestamp_micros());
    let checked = &own.manifest().checked;
    let known = present.into_iter().filter_map(|dt| Some((checked.get(&dt)?.queue, dt)));
    let mut queues: BTreeMap<String, Queue> = known.map(|(queue, dt)| (dt, queue)).collect();
    for tally in children.tallies(&open, now.timestamp_micros()) {
        let (partition, queue, _) = tally?;
        queues.insert(partition.to_string(), queue);
    }
    Ok(Some(queues))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::PartitionEntry;
    use crate::schema::AddedColumns;

    /// Rows outside the listed ranges do not make a day look complete.
    #[test]
    fn days_that_were_not_listed_completely_are_partial() {
        let schema = Schema { columns: Vec::new(), added: AddedColumns::default() };
        let mut manifest = Manifest::new("calls", schema, Granularity::Day);
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let covered = Window::new(time("2026-03-03T12:00:00Z"), time("2026-03-05T09:00:00Z"));
        manifest.coverage.add(covered);
        let entry = |rows| PartitionEntry {
            object: String::new(),
            rows,
            bytes: 1,
            etag: String::new(),
            sha256: String::new(),
            schema: String::new(),
        };
        for (dt, rows) in [
            ("2026-03-01", 2),
            ("2026-03-02", 0),
            ("2026-03-03", 9),
            ("2026-03-04", 9),
            ("2026-03-05", 9),
            ("2026-03-09", 1),
            ("__HIVE_DEFAULT_PARTITION__", 1),
        ] {
            manifest.partitions.insert(dt.to_owned(), entry(rows));
        }
        assert_eq!(partial(&manifest), ["2026-03-01", "2026-03-03"]);
    }
}
