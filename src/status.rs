//! The status: what the lake holds, how fresh it is, and what is still to come.
//!
//! Enters: a store, the catalogue, the limits, the time. Leaves: a [`Status`]. Never here: a
//! request, a data object read, or anything written.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::endpoint::{Catalogue, Dated, Endpoint};
use crate::error::Result;
use crate::lake::{Chain, Ledger, Store, Table};
use crate::manifest::{Manifest, Queue};
use crate::quota::Limits;
use crate::report::Week;
use crate::window::{Coverage, Window};

/// How many runs are told of.
const RUNS: usize = 10;

/// What a lake holds, and how fresh it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Where the lake is.
    pub lake: String,
    /// When it was looked at.
    pub now: DateTime<Utc>,
    /// Table by table.
    pub tables: Vec<TableStatus>,
    /// What the week has taken.
    pub week: Week,
    /// The last runs, the newest first.
    pub runs: Vec<Run>,
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
    /// The windows that are completely in it.
    pub coverage: Vec<Window>,
    /// What was asked for and is not in it.
    pub gaps: Vec<Window>,
    /// What of that backfills were asked for.
    pub left_for_backfill: Vec<Window>,
    /// Up to where changes are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// Up to when it is what the source was; none if nothing was ever completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_to: Option<DateTime<Utc>>,
    /// How long ago that is, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// How far the records have come that are asked for one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Whether its schema is settled.
    pub settled: bool,
    /// The number of its newest manifest.
    pub version: u64,
    /// When that was committed.
    pub committed_at: DateTime<Utc>,
}

/// One run, as its report tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub run: String,
    /// `export`, `backfill` or `demo`.
    pub command: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// Whether everything that was planned is in the lake.
    pub complete: bool,
    /// How many requests it sent.
    pub requests: u64,
    /// Why it is not complete.
    pub problems: Vec<RunProblem>,
}

/// Why a run is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProblem {
    /// Which endpoint it concerns.
    pub endpoint: String,
    /// What happened.
    pub message: String,
}

impl Status {
    /// The tables that are staler than so many seconds; a table that never was complete is.
    pub fn staler_than(&self, seconds: i64) -> impl Iterator<Item = &TableStatus> {
        let is_stale =
            move |table: &&TableStatus| table.age_seconds.is_none_or(|age| age > seconds);
        self.tables.iter().filter(is_stale)
    }
}

/// Looks at a lake.
///
/// # Errors
/// `Newer` or `Corrupt` when a manifest cannot be read, or when the store fails.
pub fn status(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<Status> {
    let present = store.tables()?;
    let mut tables = Vec::new();
    for endpoint in catalogue.endpoints().iter().filter(|it| present.contains(&it.name)) {
        tables.extend(table(store, catalogue, endpoint, now)?);
    }
    Ok(Status {
        lake: store.location(),
        now,
        tables,
        week: Ledger::new(Arc::clone(store), "").week(limits, now)?,
        runs: runs(store)?,
    })
}

fn table(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    endpoint: &Endpoint,
    now: DateTime<Utc>,
) -> Result<Option<TableStatus>> {
    let mut table = Table::reader(store, catalogue, endpoint)?;
    if table.manifest().version == 0 {
        return Ok(None);
    }
    let queue = queue(store, catalogue, endpoint, &mut table, now)?;
    let fresh_to = fresh_to(store, catalogue, endpoint, table.manifest())?;
    let manifest = table.manifest();
    let goals = manifest.goal.windows().iter();
    let gaps: Coverage = goals.flat_map(|goal| manifest.coverage.gaps(*goal)).collect();
    let left = gaps.windows().iter().flat_map(|gap| manifest.backfill.common(*gap));
    Ok(Some(TableStatus {
        endpoint: endpoint.name.clone(),
        rows: manifest.rows(),
        partitions: manifest.partitions.len() as u64,
        bytes: manifest.bytes(),
        coverage: manifest.coverage.windows().to_vec(),
        left_for_backfill: left.collect(),
        gaps: gaps.windows().to_vec(),
        watermark: manifest.watermark,
        fresh_to,
        age_seconds: fresh_to.map(|fresh_to| (now - fresh_to).num_seconds()),
        queue,
        settled: manifest.settled,
        version: manifest.version,
        committed_at: manifest.committed_at,
    }))
}

/// Up to when a table is what the source was: a listed one as far as it is covered, a snapshot when
/// it was committed, and records that are asked for one by one as far as their parents.
fn fresh_to(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    endpoint: &Endpoint,
    manifest: &Manifest,
) -> Result<Option<DateTime<Utc>>> {
    Ok(match (&endpoint.parent, &endpoint.dated) {
        (_, Dated::Run) => (!manifest.partitions.is_empty()).then_some(manifest.committed_at),
        (Some(parent), _) => Table::reader(store, catalogue, catalogue.find(&parent.endpoint)?)?
            .manifest()
            .coverage
            .end(),
        (None, _) => manifest.coverage.end(),
    })
}

/// How far a chained table has come; what nothing changed in is not looked at again.
fn queue(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    endpoint: &Endpoint,
    own: &mut Table,
    now: DateTime<Utc>,
) -> Result<Option<Queue>> {
    let chained = endpoint.parent.as_ref().filter(|_| endpoint.dated != Dated::Run);
    let Some(rule) = chained else { return Ok(None) };
    let parents = Table::reader(store, catalogue, catalogue.find(&rule.endpoint)?)?;
    let mut chain = Chain::new(parents, rule.clone());
    let open = chain.open(own.manifest(), now.timestamp_micros());
    let mut queue = chain.closed(own.manifest(), &open);
    for partition in open {
        queue += chain.tally(own, partition, now.timestamp_micros())?.0;
    }
    Ok(Some(queue))
}

/// The last runs, by their reports; one that cannot be read is left out.
fn runs(store: &Arc<Store>) -> Result<Vec<Run>> {
    let texts = store.reports(RUNS)?;
    Ok(texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect())
}
