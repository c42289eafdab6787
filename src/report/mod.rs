//! The run report: what a run did.
//!
//! The JSON of `--json` and `_manifest/runs/`, and the live numbers behind a progress display. It
//! holds no record values or secrets.

mod metrics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

pub use self::metrics::Metrics;
use crate::manifest::Granularity;
pub use crate::manifest::Queue;
use crate::schema::Difference;
use crate::window::Window;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The run's name: when it began, and four hexadecimal digits.
    pub run: String,
    /// The version of the tool.
    pub tool: String,
    /// `export`, `backfill` or `demo`.
    pub command: String,
    /// Whether only the parents that the user named were read: `export --id`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_id: bool,
    /// The location of the lake.
    pub lake: String,
    /// When the run began, by this machine's clock, corrected by the API's if it is wrong.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// The instant from which its windows counted.
    pub now: DateTime<Utc>,
    /// How many seconds this machine's clock is ahead of the API's, or behind it if negative. Given
    /// only if it is more than a minute: then all instants were corrected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_off_seconds: Option<i64>,
    /// Whether everything that was planned is in the lake.
    pub complete: bool,
    /// How many requests were sent.
    pub requests: u64,
    /// How much of the week's quota is used, by the lake's ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub week: Option<Week>,
    /// The endpoints, in the order of the catalogue.
    pub endpoints: Vec<EndpointReport>,
    /// The partitions that changed, for downstream jobs.
    pub changed: Vec<Changed>,
    /// Why the run is not complete.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Replaces every text that names a record, or a field of one, for which `without` has another.
    pub(crate) fn clear(&mut self, without: &dyn Fn(&str) -> Option<String>) {
        let clear = |text: &mut String| {
            if let Some(cleared) = without(text) {
                *text = cleared;
            }
        };
        self.problems.iter_mut().for_each(|problem| clear(&mut problem.message));
        for endpoint in &mut self.endpoints {
            clear(&mut endpoint.undated.example);
            clear(&mut endpoint.same_key.example);
            endpoint.too_wide.iter_mut().for_each(clear);
            endpoint.queued.iter_mut().for_each(|queued| clear(&mut queued.id));
            let differences = endpoint.evolved.iter_mut().chain(&mut endpoint.evolvable);
            differences.for_each(|difference| clear(&mut difference.path));
            let named = endpoint.misfits.keys().filter(|path| without(path).is_some());
            for mut path in named.cloned().collect::<Vec<_>>() {
                let count = endpoint.misfits.remove(&path).unwrap_or_default();
                clear(&mut path);
                *endpoint.misfits.entry(path).or_default() += count;
            }
        }
    }
}

/// The use of a week's quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Week {
    /// The Sunday on which it began.
    pub begins: NaiveDate,
    /// When the next one begins.
    pub renewed_at: DateTime<Utc>,
    /// The requests that it allows.
    pub quota: u64,
    /// The part of them that backfills may use.
    pub backfill_quota: u64,
    /// Requests used, counting those reserved by killed runs as sent.
    pub spent: u64,
    /// The part of them that backfills have used.
    pub spent_on_backfill: u64,
    /// Whether more than that was used, by an unknown number: the lake's ledger was lost this week.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// The outcome of an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Everything that was planned is in the lake.
    Complete,
    /// Something is missing; see the problems.
    #[default]
    Incomplete,
    /// This workspace does not have it.
    Absent,
}

/// How many requests had each answer: a status such as `200`, or how the connection ended
/// (`no_connection`, `no_answer`, `torn`, `endless`).
pub type Answers = BTreeMap<String, u64>;

/// What a run did for one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EndpointReport {
    /// Its name.
    pub endpoint: String,
    /// Its outcome.
    pub outcome: Outcome,
    /// How many requests it took, including retries.
    pub requests: u64,
    /// The outcomes of the requests: how many had each status, or broke off in each way.
    pub answers: Answers,
    /// How many of them only established that nothing follows, because replies do not say so.
    pub confirmations: u64,
    /// How many records came, including duplicates.
    pub records: u64,
    /// How many rows its table has.
    pub rows: u64,
    /// In how many partitions.
    pub partitions: u64,
    /// The time per partition, as the table was created.
    pub partition_by: Granularity,
    /// Of how many bytes.
    pub bytes: u64,
    /// The instant up to which its changes are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<DateTime<Utc>>,
    /// The instant up to which it is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covered_to: Option<DateTime<Utc>>,
    /// Rows that are new.
    pub inserted: u64,
    /// Rows whose content changed.
    pub updated: u64,
    /// Rows that were removed, some of which may now be in another partition.
    pub deleted: u64,
    /// Records without a usable key.
    pub quarantined: u64,
    /// Records whose own date cannot be read; another day dates them.
    #[serde(skip_serializing_if = "Noted::is_none")]
    pub undated: Noted,
    /// Records with the same key as another of the same list and different content.
    #[serde(skip_serializing_if = "Noted::is_none")]
    pub same_key: Noted,
    /// Values that no column holds as they are, by path; they are in `extra_json`.
    pub misfits: BTreeMap<String, u64>,
    /// Columns of the key, of type string, for which numbers came: the digits of whole numbers are
    /// their text.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub numbers_as_text: BTreeSet<String>,
    /// Objects that get no columns, because their names look like data or the table would have too
    /// many columns; they are in `extra_json`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub too_wide: Vec<String>,
    /// Columns that this run added to the table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evolved: Vec<Difference>,
    /// Columns that `evolve` would add for values that this run found and no column holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evolvable: Vec<Difference>,
    /// Members superseded by another of the same name in the same record.
    pub duplicate_members: u64,
    /// Lone surrogates, replaced.
    pub lone_surrogates: u64,
    /// Partitions whose objects had vanished: their contents are requested again, except old
    /// snapshots, which cannot be restored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// The progress of records that are looked up one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// The first of the records that are pending or parked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<Queued>,
}

/// A record that is looked up by its key and is not complete in the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Queued {
    /// The key that is looked up.
    pub id: String,
    /// When it is requested again.
    pub state: QueueState,
    /// Why the last request was not enough; none if there was no request, or no reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// When a record that is not complete is requested again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QueueState {
    /// In the next run.
    Pending,
    /// Later.
    Parked,
}

/// Records with an irregularity: how many, and an example.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Noted {
    /// How many there are.
    pub records: u64,
    /// The irregularity of the first one.
    pub example: String,
}

impl Noted {
    /// Counts a record; only the first is described.
    pub fn note(&mut self, describe: impl FnOnce() -> String) {
        if self.records == 0 {
            self.example = describe();
        }
        self.records += 1;
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.records == 0
    }
}

/// A partition that changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Changed {
    /// Its table.
    pub endpoint: String,
    /// Its value of `dt`.
    pub dt: String,
    /// Rows that are new.
    pub inserted: u64,
    /// Rows whose content changed.
    pub updated: u64,
    /// Rows that were removed.
    pub deleted: u64,
}

/// Why a run is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Which endpoint it concerns.
    pub endpoint: String,
    /// Which window, if it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// What happened.
    pub message: String,
}

/// What a run is doing now, endpoint by endpoint.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<String, Live>>);

/// The live numbers of one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// Requests answered.
    pub requests: u64,
    /// Replies that could be read.
    pub pages: u64,
    /// Records read.
    pub records: u64,
    /// Windows, snapshots or keys that are done.
    pub done: u64,
    /// The total number of them.
    pub planned: u64,
    /// Whether the endpoint has finished.
    pub ended: bool,
}

impl Progress {
    /// Updates the numbers of one endpoint.
    #[doc(hidden)]
    pub fn update(&self, endpoint: &str, change: impl FnOnce(&mut Live)) {
        let mut live = self.lock();
        if let Some(live) = live.get_mut(endpoint) {
            change(live);
        } else {
            change(live.entry(endpoint.to_owned()).or_default());
        }
    }

    /// The numbers of all endpoints, by name; endpoints that have not begun have none planned.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Live> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
