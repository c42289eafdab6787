//! What a run knows about one table: its snapshot, what has been read but not yet committed, and
//! the table's part of the report. One task owns it: the table's [`Owner`](super::owner::Owner).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tracing::Span;

use super::findings::Findings;
use super::owner::Owned;
use crate::clock::Clock;
use crate::decode::{Quarantined, RecordDecoder, Rows, Surprises};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::fetch::FetchError;
use crate::lake::{Change, Committed, Snapshot, Table};
use crate::manifest::LostPartition;
use crate::report::{Changed, EndpointReport, Outcome, Problem, Queue, Queued};
use crate::retry::Failure;
use crate::schema::Difference;
use crate::window::Window;

/// How much decoded data may wait in memory for its commit.
const BUFFER_BYTES: usize = 24 << 20;
/// How long decoded data may wait.
const BUFFER_TIME: Duration = Duration::from_secs(30);

/// A table's decoder. Replies are decoded beside each other and beside commits, so it is not part
/// of the state.
pub(super) type SharedDecoder = Arc<Mutex<RecordDecoder>>;

/// What a run knows about one table.
pub(super) struct State {
    pub(super) table: Table,
    endpoint: Arc<Endpoint>,
    decoder: SharedDecoder,
    clock: Clock,
    /// Whether private records are requested too.
    includes_private: bool,
    /// Where the table's log entries belong.
    span: Span,
    pub(super) snapshot: Snapshot,
    pending: Change,
    pending_bytes: usize,
    last_commit: Instant,
    report: EndpointReport,
    changed: Vec<Changed>,
    problems: Vec<Problem>,
    /// The latest change seen, microseconds since 1970.
    latest_change: Option<i64>,
    server_date: Option<DateTime<Utc>>,
    /// Whether something that the API has is missing.
    failed: bool,
    /// Whether something waits for the backfill's share of the quota.
    deferred: bool,
    halted: Option<Error>,
    /// What was reported about the end of the run, or of its backfill.
    ended: Vec<String>,
    /// Oddities in the records.
    findings: Findings,
}

/// The records of one page, or of several replies, as a reader sends them to the owner.
pub(super) struct Batch {
    pub(super) rows: Rows,
    /// Which of the rows are stored; the others only count as read.
    pub(super) kept: Kept,
    /// How many records came.
    pub(super) records: u64,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) surprises: Surprises,
    /// The server's date, if it is the reply to a list.
    pub(super) date: Option<DateTime<Utc>>,
}

/// Which rows of a batch are stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of them.
    All,
    /// Those at these positions.
    Only(Vec<u32>),
}

impl Owned for State {
    type Published = Snapshot;

    fn publish(&self) -> Snapshot {
        self.snapshot.clone()
    }
}

/// The result of a table's run, but for what only its requests know.
pub(super) struct Concluded {
    pub(super) report: EndpointReport,
    pub(super) changed: Vec<Changed>,
    pub(super) problems: Vec<Problem>,
    pub(super) halted: Option<Error>,
    pub(super) ended: Vec<String>,
}

impl State {
    /// The state of a table that was just opened.
    pub(super) fn new(
        table: Table,
        snapshot: Snapshot,
        decoder: SharedDecoder,
        clock: Clock,
        includes_private: bool,
    ) -> Self {
        let endpoint = Arc::clone(table.endpoint());
        let report =
            EndpointReport { endpoint: endpoint.name.clone(), ..EndpointReport::default() };
        Self {
            includes_private: includes_private && !endpoint.private.is_empty(),
            table,
            endpoint,
            decoder,
            clock,
            span: Span::current(),
            snapshot,
            pending: Change::default(),
            pending_bytes: 0,
            last_commit: Instant::now(),
            report,
            changed: Vec::new(),
            problems: Vec::new(),
            latest_change: None,
            server_date: None,
            failed: false,
            deferred: false,
            halted: None,
            ended: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Reports the partitions that were found lost when the table was opened.
    pub(super) fn note_lost(&mut self, opened_at: DateTime<Utc>) {
        let lost = self.snapshot.manifest().lost.iter();
        let found_now = lost.filter(|(_, lost)| lost.found_at == opened_at);
        self.report.lost = found_now.map(|(dt, _)| dt.clone()).collect();
    }

    /// Counts requests made only to confirm that nothing follows.
    pub(super) fn note_confirmations(&mut self, confirmations: u64) {
        self.report.confirmations += confirmations;
    }

    /// Counts a record that came earlier in the same list with different content: it has changed in
    /// the meantime, or the key does not distinguish records.
    pub(super) fn note_same_key(&mut self, key: &str, contents: [u128; 2]) {
        if self.findings.is_other_content(key, contents) {
            self.report.same_key.note(|| self.endpoint.shown_key(key));
        }
    }

    /// Counts the contents of a batch, and stores the rows that are kept.
    pub(super) fn take_in(&mut self, batch: Batch) -> Result<()> {
        let Batch { rows, kept, records, mut quarantined, surprises, date } = batch;
        self.server_date = self.server_date.max(date);
        self.report.records += records;
        self.findings.note(&mut self.report, &rows, &mut quarantined, &surprises);
        self.pending.quarantined.extend(quarantined);
        if self.snapshot.manifest().schema_frozen {
            self.findings.gather(&rows);
        }
        let latest = rows.facts.iter().filter_map(|facts| facts.modified).max();
        self.latest_change = self.latest_change.max(latest);
        match kept {
            Kept::All => self.absorb(rows),
            Kept::Only(places) => self.absorb(rows.take(&places)?),
        }
    }

    /// Buffers rows that the lake does not have yet, and commits the buffer when it is large or old.
    fn absorb(&mut self, rows: Rows) -> Result<()> {
        let now = self.clock.server_now();
        let (new, looked_up) = self.read(|snapshot| snapshot.changed_rows(&rows.facts, now))?;
        let rows = if new.len() == rows.len() { rows } else { rows.take(&new)? };
        if !rows.is_empty() {
            self.pending_bytes += rows.batch.get_array_memory_size();
            self.pending.add_rows(rows, looked_up);
        }
        let is_due = self.pending_bytes > BUFFER_BYTES || self.last_commit.elapsed() > BUFFER_TIME;
        if is_due { self.commit() } else { Ok(()) }
    }

    /// Commits what has been buffered for some time, so that what is complete is not requested
    /// again, however the run ends.
    pub(super) fn checkpoint(&mut self, since: Duration) -> Result<()> {
        let is_due = self.last_commit.elapsed() >= since;
        if is_due { self.commit() } else { Ok(()) }
    }

    /// Commits the buffer.
    pub(super) fn commit(&mut self) -> Result<()> {
        let mut change = std::mem::take(&mut self.pending);
        change.schema = Some(Arc::clone(lock(&self.decoder).schema()));
        change.progress.includes_private = self.includes_private;
        self.pending_bytes = 0;
        let now = self.clock.server_now();
        let (snapshot, committed) = self.table.commit(&self.snapshot, &change, now)?;
        self.snapshot = snapshot;
        self.conclude(committed)
    }

    /// Takes in the outcome of a commit.
    pub(super) fn conclude(&mut self, committed: Committed) -> Result<()> {
        self.last_commit = Instant::now();
        let manifest = self.snapshot.manifest();
        let (schema, is_frozen) = (Arc::new(manifest.schema.clone()), manifest.schema_frozen);
        let version = manifest.version;
        let forgotten = self.snapshot.forgotten()?;
        let mut decoder = lock(&self.decoder);
        decoder.set_schema(schema, is_frozen);
        decoder.set_forgotten(forgotten);
        drop(decoder);
        let partitions = committed.changed.len();
        self.span.in_scope(|| tracing::info!(version, partitions, "committed"));
        for change in committed.changed {
            self.report.inserted += change.inserted;
            self.report.updated += change.updated;
            self.report.deleted += change.deleted;
            self.changed.push(Changed {
                endpoint: self.endpoint.name.clone(),
                dt: change.partition.to_string(),
                inserted: change.inserted,
                updated: change.updated,
                deleted: change.deleted,
            });
        }
        Ok(())
    }

    /// Records that something is missing. An error that ended the run is reported once.
    pub(super) fn fail(&mut self, window: Option<Window>, error: FetchError) {
        let endpoint = self.endpoint.name.clone();
        match error {
            FetchError::Failed(Failure::Deferred, error) => {
                if !self.deferred {
                    self.deferred = true;
                    let message = error.with_causes();
                    self.ended.push(message.clone());
                    self.problems.push(Problem { endpoint, window: None, message });
                }
            }
            FetchError::Failed(Failure::Page, error) => {
                self.fail_by_page(endpoint, window, &error);
            }
            FetchError::Failed(_, error) => {
                self.failed = true;
                self.problems.push(Problem { endpoint, window, message: error.with_causes() });
            }
            FetchError::Halted(error) if self.halted.is_none() => {
                self.failed = true;
                let message = error.with_causes();
                self.ended.push(message.clone());
                self.problems.push(Problem { endpoint, window, message });
                self.halted = Some(error);
            }
            FetchError::Halted(_) => {}
        }
    }

    /// Leaves the table as the run ends: nothing of someone who was forgotten in the meantime, or
    /// of an older object that was recovered, and no files that are not used.
    pub(super) fn leave(&mut self) -> Result<()> {
        if !self.snapshot.is_cleared()? {
            self.snapshot = self.table.clear(&self.snapshot, self.clock.server_now())?.0;
        }
        self.snapshot.sweep(self.clock.now())
    }

    /// The result of the run. `is_absent` is whether this workspace has no such endpoint.
    pub(super) fn concluded(mut self, is_absent: bool) -> Concluded {
        let manifest = Arc::clone(self.snapshot.manifest());
        let name = &self.endpoint.name;
        if is_absent && manifest.rows() > 0 {
            let message =
                "this workspace had the endpoint before, and now answers 403 or 404".to_owned();
            self.problems.push(Problem { endpoint: name.clone(), window: None, message });
        }
        for (dt, lost) in &manifest.lost {
            let is_private = manifest.has_private && !self.includes_private;
            self.problems.push(lost_problem(name, dt, lost, is_private));
        }
        let same_key = self.findings.same_key_problem(name, &self.report.same_key);
        self.problems.extend(same_key);
        let mut report = self.report;
        (report.rows, report.bytes) = (manifest.rows(), manifest.bytes());
        report.partitions = manifest.partitions.len() as u64;
        report.partition_by = manifest.granularity;
        (report.watermark, report.covered_to) = (manifest.watermark, manifest.coverage.end());
        report.outcome = match (is_absent, self.problems.is_empty()) {
            (true, true) => Outcome::Absent,
            (_, true) => Outcome::Complete,
            (_, false) => Outcome::Incomplete,
        };
        Concluded {
            report,
            changed: merge_changes(self.changed),
            problems: self.problems,
            halted: self.halted,
            ended: self.ended,
        }
    }

    /// Counts the values in the lake that no column holds.
    pub(super) fn count_misfits(&mut self) -> Result<()> {
        let gathered = self.snapshot.gathered()?;
        let schema = self.snapshot.schema();
        self.report.misfits = gathered.counts(&schema.columns);
        self.report.too_wide = gathered.too_wide(schema);
        Ok(())
    }

    /// Records which columns were added to the table.
    pub(super) fn note_evolved(&mut self, evolved: Vec<Difference>) {
        self.report.evolved = evolved;
    }

    /// Whether columns were added to the table.
    pub(super) fn has_evolved(&self) -> bool {
        !self.report.evolved.is_empty()
    }

    /// Records which columns the findings would get.
    pub(super) fn note_evolvable(&mut self) {
        let declared = &self.endpoint.columns;
        self.findings.report_gathered(&mut self.report, self.snapshot.schema(), declared);
    }

    /// The time up to which changes are known once a scan for changes is complete: never later than
    /// what it saw, nor than either clock.
    pub(super) fn watermark(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let latest = self.latest_change.and_then(DateTime::from_timestamp_micros)?;
        let server = self.server_date.unwrap_or(now);
        Some(latest.min(now).min(server))
    }

    /// Reads from the table; an unreadable index is repaired first.
    pub(super) fn read<T>(&mut self, read: impl FnMut(&Snapshot) -> Result<T>) -> Result<T> {
        self.table.read(&mut self.snapshot, self.clock.server_now(), read)
    }

    /// The contents of the next commit.
    pub(super) fn change(&mut self) -> &mut Change {
        &mut self.pending
    }

    /// Whether something is missing, for whatever reason.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Whether something is missing that does not just wait for the backfill's share of the quota.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The progress of look-ups, and the first of those that are not done.
    pub(super) fn set_queue(&mut self, queue: Queue, queued: Vec<Queued>) {
        self.report.queue = Some(queue);
        self.report.queued = queued;
    }

    /// Reports that an HTML page came; if several came, once.
    fn fail_by_page(&mut self, endpoint: String, window: Option<Window>, error: &Error) {
        self.failed = true;
        let message = error.message();
        match self.problems.iter_mut().find(|it| it.message == message) {
            Some(known) => known.window = None,
            None => self.problems.push(Problem { endpoint, window, message: message.to_owned() }),
        }
    }

    /// Reports that something is missing from the endpoint.
    pub(super) fn push_failure(&mut self, message: String) {
        let endpoint = self.endpoint.name.clone();
        self.push_problem(Problem { endpoint, window: None, message });
    }

    pub(super) fn push_problem(&mut self, problem: Problem) {
        self.failed = true;
        self.problems.push(problem);
    }
}

/// The changes of a run, merged by partition.
fn merge_changes(changes: Vec<Changed>) -> Vec<Changed> {
    let mut merged: BTreeMap<String, Changed> = BTreeMap::new();
    for change in changes {
        let Changed { inserted, updated, deleted, .. } = change;
        match merged.get_mut(&change.dt) {
            Some(known) => {
                known.inserted += inserted;
                known.updated += updated;
                known.deleted += deleted;
            }
            None => {
                merged.insert(change.dt.clone(), change);
            }
        }
    }
    merged.into_values().collect()
}

/// Reports that a partition is lost, until its rows are back or the loss is accepted. Private rows
/// are back only once they are requested.
fn lost_problem(endpoint: &str, dt: &str, lost: &LostPartition, is_private: bool) -> Problem {
    let private = if is_private { "export with --include-private, " } else { "" };
    let message = format!(
        "dt={dt} is lost: its object with {} rows is missing since {}, and the API did not bring all \
         of it back; {private}restore the object, or accept the loss with `clari-lake verify LAKE \
         --accept-loss {endpoint}/{dt}`",
        lost.rows,
        lost.found_at.format("%FT%TZ"),
    );
    Problem { endpoint: endpoint.to_owned(), window: None, message }
}

/// The decoder, for as long as one reply or one batch of them takes.
pub(super) fn lock(decoder: &SharedDecoder) -> std::sync::MutexGuard<'_, RecordDecoder> {
    decoder.lock().unwrap_or_else(PoisonError::into_inner)
}
