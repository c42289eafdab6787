//! One table during one run, with what has been read but not yet committed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};
use tokio::time::Instant;

use super::broken::{Broken, unreadable};
use super::findings::Findings;
use super::reading::Scan;
use super::{Export, Ran};
use crate::clock::TOLERANCE;
use crate::decode::{Decoded, DecodedMany, Origin, RecordDecoder, Rows, Undecodable, is_json};
use crate::endpoint::{Dated, Endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{FetchError, Reply, Request};
use crate::lake::{Change, Committed, Snapshot, Table, key_hash};
use crate::manifest::LostPartition;
use crate::page::Page;
use crate::paginate::Habits;
use crate::partition::Partition;
use crate::plan;
use crate::report::{Changed, EndpointReport, Outcome, Problem, Queue};
use crate::retry::Failure;
use crate::schema::{Column, Difference};
use crate::window::{Coverage, Window, day_of};

/// How much decoded data may wait in memory for its commit.
const BUFFER_BYTES: usize = 24 << 20;
/// How many windows that are not adjacent may have the same records.
const MOST_ALIKE: usize = 2;
/// How long decoded data may wait.
const BUFFER_TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// One table during one run.
pub(super) struct TableRun<'e> {
    export: &'e Export,
    pub(super) endpoint: Arc<Endpoint>,
    decoder: Arc<std::sync::Mutex<RecordDecoder>>,
    requests: AtomicU64,
    answered: AtomicBool,
    /// When the table was opened, and when the manifest it was opened on was committed.
    opened: (Instant, DateTime<Utc>),
    /// What the endpoint's lists have shown about its paging.
    habits: std::sync::Mutex<Habits>,
    /// The windows with the same records, by a digest of their keys.
    alike: std::sync::Mutex<HashMap<u64, Vec<Window>>>,
    /// Whether the schema was frozen when the table was opened.
    was_frozen: bool,
    /// Whether nothing has been said yet about the partition length of a table that is new.
    may_advise: AtomicBool,
    state: Arc<Mutex<State>>,
}

/// The state that the tasks of one table share.
#[expect(clippy::struct_excessive_bools, reason = "each is noted by itself")]
pub(super) struct State {
    pub(super) table: Table,
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
    /// The windows that were listed completely in this run, and the keys in them.
    pub(super) listed: Coverage,
    pub(super) seen: HashSet<i64>,
    pub(super) absent: bool,
    /// Whether the scan for changes is complete.
    pub(super) changes_complete: bool,
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

/// The contents of a reply to a request by key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// One record with a usable key.
    pub(super) is_one: bool,
    /// One record, which is complete.
    pub(super) is_settled: bool,
    /// A different record than the requested one.
    pub(super) is_other: bool,
}

/// One answered request.
pub(super) struct Answer {
    pub(super) page: Page,
    pub(super) rows: Rows,
    /// When it was requested, microseconds since 1970.
    pub(super) requested_at: i64,
}

impl<'e> TableRun<'e> {
    /// Opens the table. Writes nothing unless an earlier run was killed here.
    pub(super) async fn open(export: &'e Export, endpoint: &Endpoint, run: &str) -> Result<Self> {
        let table = export.lake(run).table(&endpoint.name)?;
        let (endpoint, now) = (Arc::clone(table.endpoint()), export.clock.server_now());
        let opened = table.clone();
        let snapshot = blocking(move || opened.open(now)).await?;
        let found_now = |lost: &(&String, &LostPartition)| lost.1.found_at == now;
        let lost = snapshot.manifest().lost.iter().filter(found_now);
        let report = EndpointReport {
            endpoint: endpoint.name.clone(),
            lost: lost.map(|(dt, _)| dt.clone()).collect(),
            ..EndpointReport::default()
        };
        let decoder = Arc::new(std::sync::Mutex::new(snapshot.decoder()?));
        let opened = (Instant::now(), snapshot.manifest().committed_at);
        let was_frozen = snapshot.manifest().settled;
        let may_advise = AtomicBool::new(snapshot.manifest().version == 0);
        let state = State {
            table,
            snapshot,
            pending: Change::default(),
            pending_bytes: 0,
            last_commit: Instant::now(),
            report,
            changed: Vec::new(),
            problems: Vec::new(),
            latest_change: None,
            server_date: None,
            listed: Coverage::default(),
            seen: HashSet::new(),
            absent: false,
            changes_complete: false,
            failed: false,
            deferred: false,
            halted: None,
            ended: Vec::new(),
            findings: Findings::default(),
        };
        let (requests, answered) = (AtomicU64::default(), AtomicBool::default());
        let state = Arc::new(Mutex::new(state));
        let (habits, alike) = (std::sync::Mutex::default(), std::sync::Mutex::default());
        Ok(Self {
            export,
            endpoint,
            decoder,
            requests,
            answered,
            opened,
            habits,
            alike,
            was_frozen,
            may_advise,
            state,
        })
    }

    /// Whether a window has exactly the same records as several windows that are not adjacent to
    /// it, so that the server seems to ignore the requested window. The digest is that of their
    /// keys.
    pub(super) fn is_like_others(&self, window: Window, digest: u64) -> bool {
        let mut alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = alike.entry(digest).or_default();
        let touches = |other: &Window| window.from <= other.to && other.from <= window.to;
        // A record may be found twice at the edge between two windows.
        if !windows.iter().any(touches) {
            windows.push(window);
        }
        windows.len() > MOST_ALIKE
    }

    /// What the endpoint's lists have shown so far.
    pub(super) fn habits(&self) -> Habits {
        *self.habits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what a list has shown.
    pub(super) fn note_habits(&self, habits: Habits) {
        let mut known = self.habits.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.and(habits);
    }

    /// Counts requests made only to confirm that nothing follows.
    pub(super) async fn note_confirmations(&self, confirmations: u64) {
        if confirmations > 0 {
            self.state.lock().await.report.confirmations += confirmations;
        }
    }

    /// Counts a record that came earlier in the same list with different content: it has changed in
    /// the meantime, or the key does not distinguish records.
    pub(super) async fn note_same_key(&self, key: &str) {
        let shown = || self.endpoint.shown_key(key);
        self.state.lock().await.report.same_key.note(shown);
    }

    /// Whether the lake has rows in the scope of a list: in its window's days, of its parent, or
    /// any.
    pub(super) async fn has_rows(&self, scan: &Scan<'_>, window: Option<Window>) -> Result<bool> {
        // If nothing has changed, that says nothing about what exists.
        if scan.modified_since.is_some() {
            return Ok(false);
        }
        let parent: Option<Box<str>> = scan.parent.map(|parent| parent.key.into());
        let today = plan::day(self.export.settings.now);
        let now = self.export.clock.server_now();
        let has_rows = move |state: &mut State| {
            if let Some(parent) = parent {
                return state.read(now, |snapshot| snapshot.has_rows_of(&parent, today));
            }
            let manifest = state.snapshot.manifest();
            let Some(window) = window else { return Ok(manifest.rows() > 0) };
            let granularity = manifest.granularity;
            let name = |at: DateTime<Utc>| {
                Partition::of(Some(day_of(at.date_naive())), granularity).to_string()
            };
            let mut found = manifest.partitions.range(name(window.from)..=name(window.to));
            Ok(found.any(|(_, entry)| entry.rows > 0))
        };
        Ok(self.with_state(has_rows).await?.0)
    }

    /// Says which partition length suits a new table, once the API says how many records a window
    /// has: before any row is written, while the user can still change it.
    pub(super) fn advise(&self, window: Option<Window>, total: Option<u64>) {
        let is_dated = matches!(self.endpoint.dated, Dated::Field { .. });
        let Some((window, total)) = window.zip(total).filter(|_| is_dated) else { return };
        let Some(suited) = plan::suited(total, &[window]) else { return };
        if self.may_advise.swap(false, Ordering::Relaxed)
            && let Some(advice) = suited.advice(&self.endpoint.name, self.export.granularity)
        {
            tracing::warn!(target: plan::ADVICE, "{advice}");
        }
    }

    /// Whether the lake has records in the window of a list that did not come: these, by the hashes
    /// of their keys, did.
    pub(super) async fn lacks_known(
        &self,
        scan: &Scan<'_>,
        window: Option<Window>,
        came: HashSet<i64>,
    ) -> Result<bool> {
        let is_dated = scan.modified_since.is_none() && scan.parent.is_none();
        let Some(window) = window.filter(|_| is_dated && !self.endpoint.is_snapshot()) else {
            return Ok(false);
        };
        let now = self.export.clock.server_now();
        let lacks = move |state: &mut State| {
            state.read(now, |snapshot| {
                snapshot.has_rows_besides(window, |key| came.contains(&key_hash(key)))
            })
        };
        Ok(self.with_state(lacks).await?.0)
    }

    pub(super) async fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// Whether the schema was frozen when the table was opened.
    pub(super) fn was_frozen(&self) -> bool {
        self.was_frozen
    }

    pub(super) fn export(&self) -> &'e Export {
        self.export
    }

    /// Requests one page and decodes it where it is read, so that a reply that ended early is
    /// requested again.
    pub(super) async fn ask(
        &self,
        request: &Request,
        origin: &Origin,
    ) -> Result<Answer, FetchError> {
        let mut attempts = 0;
        let mut broken = Broken::default();
        let read = |reply: &Reply| {
            let origin = Origin { fetched_at: self.fetched_at(reply), ..origin.clone() };
            let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
            let decoded = match decoder.decode(&reply.body, &origin) {
                Err(Undecodable::NotJson(why)) => {
                    let repaired = broken.again(&reply.body, &why)?;
                    decoder.decode(&repaired, &origin).map_err(|_| broken.garbled(&why))
                }
                decoded => decoded.map_err(unreadable),
            };
            let mut decoded = decoded?;
            let page = &mut decoded.page;
            page.total = page.total.or(reply.total);
            if self.endpoint.paging.next().is_none() {
                page.pointer = reply.next.clone().or(page.pointer.take());
            }
            Ok((decoded, reply.date, origin.fetched_at))
        };
        let answered = self.export.client.get(request, &mut attempts, read).await;
        self.note_requests(attempts, answered.is_ok());
        let (decoded, date, requested_at) = self.or_doubt(answered).await?;
        let mut state = self.state.lock().await;
        state.server_date = state.server_date.max(date);
        let records = decoded.page.entries.len() as u64;
        self.export.progress.update(&self.endpoint.name, |live| {
            live.pages += 1;
            live.records += records;
        });
        let (page, rows) = state.note(decoded);
        Ok(Answer { page, rows, requested_at })
    }

    /// When a reply was requested, by the server's clock. However late it is read, it describes
    /// that time only.
    ///
    /// A request that was sent after the table was opened is later than the manifest that the table
    /// was opened on. If another machine's clock disagrees, and may be right, the reply counts from
    /// the manifest's time. The run's first request may have been sent before.
    fn fetched_at(&self, reply: &Reply) -> i64 {
        let asked_at = self.export.clock.asked_at(reply.asked_at.elapsed());
        let (opened_at, committed_at) = self.opened;
        let known = committed_at.timestamp_micros();
        let tolerance = TOLERANCE.num_microseconds().unwrap_or_default();
        let is_earlier = known > asked_at && known - asked_at <= tolerance;
        if is_earlier && reply.asked_at >= opened_at { known } else { asked_at }
    }

    /// Requests a reply that can be decoded together with others, and checks that it looks like
    /// JSON.
    pub(super) async fn fetch(
        &self,
        request: &Request,
        passes: fn(&[u8]) -> bool,
    ) -> Result<(Bytes, Origin), FetchError> {
        let mut attempts = 0;
        let mut broken = Broken::default();
        let read = |reply: &Reply| {
            let origin = Origin { fetched_at: self.fetched_at(reply), ..Origin::default() };
            if passes(&reply.body) {
                return Ok((reply.body.clone(), origin));
            }
            let why = "the reply is not JSON";
            let repaired = broken.again(&reply.body, why)?;
            if is_json(&repaired) {
                Ok((repaired.into(), origin))
            } else {
                Err(broken.garbled(why))
            }
        };
        let answered = self.export.client.get(request, &mut attempts, read).await;
        self.note_requests(attempts, answered.is_ok());
        let pages = u64::from(answered.is_ok());
        self.export.progress.update(&self.endpoint.name, |live| live.pages += pages);
        self.or_doubt(answered).await
    }

    /// The result of a request; if the server may not be the API, it is checked first.
    async fn or_doubt<T>(&self, answered: Result<T, FetchError>) -> Result<T, FetchError> {
        match answered {
            Err(error) => Err(self.export.doubt(&self.endpoint, error).await),
            answered => answered,
        }
    }

    /// Counts requests. Does not lock the state: while it commits, other requests are sent and
    /// answered.
    fn note_requests(&self, attempts: u64, answered: bool) {
        self.export.progress.update(&self.endpoint.name, |live| live.requests += attempts);
        self.requests.fetch_add(attempts, Ordering::Relaxed);
        self.answered.fetch_or(answered, Ordering::Relaxed);
    }

    /// Decodes fetched replies, while others are requested and committed; `None` when one of them
    /// is not JSON.
    pub(super) async fn decode(&self, bodies: Vec<(Bytes, Origin)>) -> Result<Option<DecodedMany>> {
        let decoder = Arc::clone(&self.decoder);
        let decode = move || {
            let mut decoder = decoder.lock().unwrap_or_else(PoisonError::into_inner);
            match decoder.decode_many(&bodies) {
                Ok(decoded) => Ok(Some(decoded)),
                Err(Undecodable::NotJson(_)) => Ok(None),
                Err(Undecodable::Other(error)) => Err(error),
                Err(other) => Err(Error::new(ErrorKind::Data, other.to_string())),
            }
        };
        blocking(decode).await
    }

    /// Stores the decoded records of replies to requests by these ids. Returns for each reply
    /// whether it contained one record, and whether that was complete. If a reply is a different
    /// record than the requested one, it is not stored.
    pub(super) async fn take_in(&self, decoded: DecodedMany, ids: &[&str]) -> Result<Vec<Found>> {
        let DecodedMany { decoded, counts } = decoded;
        let (page, rows) = self.state.lock().await.note(decoded);
        self.export.progress.update(&self.endpoint.name, |live| {
            live.records += page.entries.len() as u64;
        });
        let mut facts = (0u32..).zip(&rows.facts).peekable();
        let mut entries = page.entries.iter();
        let mut kept = Vec::with_capacity(rows.len());
        let mut found = Vec::with_capacity(counts.len());
        for (count, id) in counts.iter().zip(ids) {
            // Entries without a row are in quarantine.
            let of_reply: Vec<_> = entries.by_ref().take(*count).collect();
            let of_reply = of_reply
                .iter()
                .filter_map(|entry| facts.next_if(|(_, facts)| facts.key == entry.key));
            let of_reply: Vec<_> = of_reply.collect();
            let (right, other): (Vec<_>, Vec<_>) = of_reply
                .into_iter()
                .partition(|(_, facts)| self.endpoint.may_answer(id, &facts.key));
            found.push(Found {
                is_one: *count == 1 && right.len() == 1,
                is_settled: right.first().is_some_and(|(_, facts)| facts.settled),
                is_other: !other.is_empty(),
            });
            kept.extend(right.iter().map(|(row, _)| *row));
        }
        let is_whole = kept.len() == rows.len();
        let rows = if is_whole { rows } else { rows.take(&kept)? };
        self.absorb(rows).await?;
        Ok(found)
    }

    /// Buffers rows, and commits the buffer when it is large or old.
    pub(super) async fn absorb(&self, rows: Rows) -> Result<()> {
        let by_list = self.endpoint.deletes && self.endpoint.parent.is_none();
        let now = self.export.clock.server_now();
        let (rows, mut state) = self
            .with_state(move |state| {
                if by_list {
                    state.seen.extend(rows.facts.iter().map(|facts| key_hash(&facts.key)));
                }
                let new = state.read(now, |snapshot| snapshot.changed_rows(&rows.facts, now))?;
                if new.len() == rows.len() { Ok(rows) } else { rows.take(&new) }
            })
            .await?;
        if !rows.is_empty() {
            state.pending_bytes += rows.batch.get_array_memory_size();
            state.pending.rows.push(rows);
        }
        let is_due =
            state.pending_bytes > BUFFER_BYTES || state.last_commit.elapsed() > BUFFER_TIME;
        drop(state);
        if is_due { self.commit(|_| {}).await } else { Ok(()) }
    }

    /// Runs blocking work on the state, and then returns the state.
    pub(super) async fn with_state<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T> + Send + 'static,
    ) -> Result<(T, OwnedMutexGuard<State>)> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        blocking(move || {
            let done = work(&mut state)?;
            Ok((done, state))
        })
        .await
    }

    /// Commits what has been buffered for some time, so that what is complete is not requested
    /// again, however the run ends.
    pub(super) async fn checkpoint(&self, since: std::time::Duration) -> Result<()> {
        let is_due = self.state.lock().await.last_commit.elapsed() >= since;
        if is_due { self.commit(|_| {}).await } else { Ok(()) }
    }

    /// Adds to the contents of the next commit.
    pub(super) async fn add(&self, addition: impl FnOnce(&mut Change)) {
        addition(&mut self.state.lock().await.pending);
    }

    /// Commits the buffer, and this addition.
    pub(super) async fn commit(&self, addition: impl FnOnce(&mut Change)) -> Result<()> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let mut change = std::mem::take(&mut state.pending);
        addition(&mut change);
        change.schema = Some(Arc::clone(self.lock_decoder().schema()));
        let has_private = !self.endpoint.private.is_empty();
        change.progress.includes_private = self.export.include_private && has_private;
        state.pending_bytes = 0;
        let now = self.export.clock.server_now();
        let (committed, state) = blocking(move || {
            let (snapshot, committed) = state.table.commit(&state.snapshot, &change, now)?;
            state.snapshot = snapshot;
            Ok((committed, state))
        })
        .await?;
        self.conclude(committed, state)
    }

    /// Takes in the outcome of a commit.
    pub(super) fn conclude(
        &self,
        committed: Committed,
        mut state: OwnedMutexGuard<State>,
    ) -> Result<()> {
        state.last_commit = Instant::now();
        let manifest = state.snapshot.manifest();
        let (schema, settled) = (Arc::new(manifest.schema.clone()), manifest.settled);
        let version = manifest.version;
        let forgotten = state.snapshot.forgotten()?;
        let mut decoder = self.lock_decoder();
        decoder.set_schema(schema, settled);
        decoder.set_forgotten(forgotten);
        drop(decoder);
        tracing::info!(version, partitions = committed.changed.len(), "committed");
        for change in committed.changed {
            state.report.inserted += change.inserted;
            state.report.updated += change.updated;
            state.report.deleted += change.deleted;
            state.changed.push(Changed {
                endpoint: self.endpoint.name.clone(),
                dt: change.partition.to_string(),
                inserted: change.inserted,
                updated: change.updated,
                deleted: change.deleted,
            });
        }
        Ok(())
    }

    fn lock_decoder(&self) -> std::sync::MutexGuard<'_, RecordDecoder> {
        self.decoder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that something is missing. An error that ended the run is reported once.
    pub(super) async fn fail(&self, window: Option<Window>, error: FetchError) {
        if let FetchError::Failed(_, error) = &error {
            tracing::warn!("{}", error.with_causes());
        }
        let mut state = self.state.lock().await;
        let endpoint = self.endpoint.name.clone();
        match error {
            FetchError::Failed(Failure::Deferred, error) => {
                if !state.deferred {
                    state.deferred = true;
                    let message = error.with_causes();
                    state.ended.push(message.clone());
                    state.problems.push(Problem { endpoint, window: None, message });
                }
            }
            FetchError::Failed(Failure::Page, error) => {
                state.fail_by_page(endpoint, window, &error);
            }
            FetchError::Failed(_, error) => {
                state.failed = true;
                state.problems.push(Problem { endpoint, window, message: error.with_causes() });
            }
            FetchError::Halted(error) if state.halted.is_none() => {
                state.failed = true;
                let message = error.with_causes();
                state.ended.push(message.clone());
                state.problems.push(Problem { endpoint, window, message });
                state.halted = Some(error);
            }
            FetchError::Halted(_) => {}
        }
    }

    /// Completes the table's part of the report.
    pub(super) async fn finish(self) -> Result<Ran> {
        let now = self.export.clock.now();
        let committed_at = self.export.clock.server_now();
        self.with_state(move |state| {
            // Someone may have been forgotten in the meantime, or an older object recovered.
            if !state.snapshot.is_cleared()? {
                state.snapshot = state.table.clear(&state.snapshot, committed_at)?.0;
            }
            state.snapshot.sweep(now)
        })
        .await?;
        let mut state = self.state.lock().await;
        let manifest = Arc::clone(state.snapshot.manifest());
        let (rows, bytes) = (manifest.rows(), manifest.bytes());
        let partitions = manifest.partitions.len() as u64;
        if state.absent && rows > 0 {
            let endpoint = self.endpoint.name.clone();
            let message = "this workspace had it before and answers 403 or 404 now".to_owned();
            state.problems.push(Problem { endpoint, window: None, message });
        }
        for (dt, lost) in &manifest.lost {
            let is_private = manifest.has_private && !self.export.include_private;
            let problem = lost_problem(&self.endpoint.name, dt, lost, is_private);
            state.problems.push(problem);
        }
        let same_key = state.findings.same_key_problem(&self.endpoint.name, &state.report.same_key);
        state.problems.extend(same_key);
        let mut report = state.report.clone();
        (report.rows, report.bytes, report.partitions) = (rows, bytes, partitions);
        (report.watermark, report.covered_to) = (manifest.watermark, manifest.coverage.end());
        report.answers = self.export.client.answers(&self.endpoint.name);
        report.requests = self.requests.into_inner();
        report.outcome = match (state.absent, state.problems.is_empty()) {
            (true, true) => Outcome::Absent,
            (_, true) => Outcome::Complete,
            (_, false) => Outcome::Incomplete,
        };
        Ok(Ran {
            report,
            changed: merge_changes(std::mem::take(&mut state.changed)),
            problems: std::mem::take(&mut state.problems),
            answered: self.answered.into_inner(),
            halted: state.halted.take(),
            ended: std::mem::take(&mut state.ended),
        })
    }
}

impl State {
    /// Counts the contents of a page.
    fn note(&mut self, decoded: Decoded) -> (Page, Rows) {
        let Decoded { rows, mut quarantined, page, surprises } = decoded;
        self.report.records += page.entries.len() as u64;
        self.findings.note(&mut self.report, &rows, &mut quarantined, &surprises);
        self.pending.quarantined.extend(quarantined);
        if self.snapshot.manifest().settled {
            self.findings.gather(&rows);
        }
        let latest = rows.facts.iter().filter_map(|facts| facts.modified).max();
        self.latest_change = self.latest_change.max(latest);
        (page, rows)
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
    pub(super) fn note_evolvable(&mut self, declared: &[Column]) {
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
    pub(super) fn read<T>(
        &mut self,
        now: DateTime<Utc>,
        read: impl FnMut(&Snapshot) -> Result<T>,
    ) -> Result<T> {
        self.table.read(&mut self.snapshot, now, read)
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

    pub(super) fn set_queue(&mut self, queue: Queue) {
        self.report.queue = Some(queue);
    }

    /// Reports that a page of HTML came; if several came, once.
    fn fail_by_page(&mut self, endpoint: String, window: Option<Window>, error: &Error) {
        self.failed = true;
        let message = error.message();
        match self.problems.iter_mut().find(|it| it.message == message) {
            Some(known) => known.window = None,
            None => self.problems.push(Problem { endpoint, window, message: message.to_owned() }),
        }
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

/// Runs blocking work where it does not block other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a task ended abruptly").with_source(error))
    })
}
