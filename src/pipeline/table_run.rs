//! One table during one run: its requests, and the way to its state.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::blocking::blocking;
use super::broken::{Broken, unreadable};
use super::export::Export;
use super::observed::Observed;
use super::opened::OpenedRun;
use super::owner::Owner;
use super::table_state::{Batch, Concluded, Kept, SharedDecoder, State, lock};
use crate::clock::TOLERANCE;
use crate::decode::{
    Decoded, DecodedMany, Origin, Quarantined, Rows, Surprises, Undecodable, is_json,
};
use crate::endpoint::{Dated, Endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{FetchError, Reply, Request, Unreadable};
use crate::lake::{Change, Snapshot};
use crate::manifest::STATEMENTS_APART;
use crate::page::Page;
use crate::plan;
use crate::report::{Changed, EndpointReport, Problem};
use crate::window::Window;

/// How many bytes of decoded rows may wait for the owner, besides those that it works on.
const WAITING_BYTES: u32 = 4 << 20;

/// One table during one run.
pub(super) struct TableRun<'e> {
    export: &'e Export,
    pub(super) endpoint: Arc<Endpoint>,
    decoder: SharedDecoder,
    requests: AtomicU64,
    answered: AtomicBool,
    /// When the table was opened, and when the manifest it was opened on was committed.
    opened: (Instant, DateTime<Utc>),
    /// Whether the schema was frozen when the table was opened.
    was_frozen: bool,
    /// Whether nothing has been said yet about the partition length of a table that is new.
    may_advise: AtomicBool,
    /// What its lists have shown so far.
    pub(super) observed: Observed,
    /// How many more bytes of decoded rows may wait for the owner.
    room: Arc<Semaphore>,
    /// The task that holds the table's state.
    pub(super) owner: Owner<State>,
}

/// The result of one endpoint.
pub(super) struct Ran {
    pub(super) report: EndpointReport,
    pub(super) changed: Vec<Changed>,
    pub(super) problems: Vec<Problem>,
    /// Whether the endpoint's path returned any answer.
    pub(super) answered: bool,
    /// Why nothing more can be requested.
    pub(super) halted: Option<Error>,
    /// The messages of those problems that ended the run, or its backfill.
    pub(super) ended: Vec<String>,
}

/// The contents of a reply to a request by key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// One record with a usable key.
    pub(super) is_one: bool,
    /// One record, which is complete.
    pub(super) is_complete: bool,
    /// A different record than the requested one.
    pub(super) is_other: bool,
}

/// One answered request.
pub(super) struct Answer {
    pub(super) page: Page,
    pub(super) rows: Rows,
    /// When it was requested, microseconds since 1970.
    pub(super) requested_at: i64,
    quarantined: Vec<Quarantined>,
    surprises: Surprises,
    date: Option<DateTime<Utc>>,
}

impl Answer {
    /// What the owner of the table takes of it.
    pub(super) fn batch(self, kept: Kept) -> Batch {
        let Self { page, rows, quarantined, surprises, date, .. } = self;
        let records = page.entries.len() as u64;
        Batch { rows, kept, records, quarantined, surprises, date }
    }
}

impl<'e> TableRun<'e> {
    /// Opens the table. Writes nothing unless an earlier run was killed here.
    pub(super) async fn open(
        export: &'e Export,
        endpoint: &Endpoint,
        run: &OpenedRun<'_>,
    ) -> Result<Self> {
        let (table, snapshot, now) = run.open(export, &endpoint.name).await?;
        let endpoint = Arc::clone(table.endpoint());
        let decoder = Arc::new(Mutex::new(snapshot.decoder()?));
        let manifest = snapshot.manifest();
        let opened = (Instant::now(), manifest.committed_at);
        let was_frozen = manifest.schema_frozen;
        let may_advise = AtomicBool::new(manifest.version == 0);
        let (shared, clock) = (Arc::clone(&decoder), export.clock.clone());
        let mut state = State::new(table, snapshot, shared, clock, export.include_private);
        state.note_lost(now);
        let (requests, answered) = (AtomicU64::default(), AtomicBool::default());
        let owner = Owner::start(state);
        Ok(Self {
            export,
            endpoint,
            decoder,
            requests,
            answered,
            opened,
            was_frozen,
            may_advise,
            observed: Observed::default(),
            room: Arc::new(Semaphore::new(WAITING_BYTES as usize)),
            owner,
        })
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

    /// Whether the schema was frozen when the table was opened.
    pub(super) fn was_frozen(&self) -> bool {
        self.was_frozen
    }

    pub(super) fn export(&self) -> &'e Export {
        self.export
    }

    /// Requests one page, and decodes it before the request counts as answered, so that a reply that
    /// ended early is requested again.
    pub(super) async fn ask(
        &self,
        request: &Request,
        origin: &Origin,
    ) -> Result<Answer, FetchError> {
        let mut attempts = 0;
        let broken = Arc::new(Mutex::new(Broken::default()));
        let is_of_day = self.endpoint.is_snapshot() && self.endpoint.parent.is_none();
        let read = |reply: Reply| {
            // The first reply of a run may show only now that the day has not begun.
            let day = origin.day.map(|day| if is_of_day { self.export.begun(day) } else { day });
            let origin = Origin { fetched_at: self.fetched_at(&reply), day, ..origin.clone() };
            let (decoder, broken) = (Arc::clone(&self.decoder), Arc::clone(&broken));
            let follows_header = self.endpoint.paging.next().is_none();
            let decode = move || {
                let requested_at = origin.fetched_at;
                let decoded = decode_page(&decoder, &broken, &reply.body, &origin);
                Ok(decoded.map(|mut decoded| {
                    let page = &mut decoded.page;
                    page.total = page.total.or(reply.total);
                    if follows_header {
                        page.pointer = reply.next.or(page.pointer.take());
                    }
                    (decoded, reply.date, requested_at)
                }))
            };
            async { blocking(decode).await.unwrap_or_else(|error| Err(Unreadable::Final(error))) }
        };
        let answered = self.export.client.get_and(request, &mut attempts, read).await;
        self.note_requests(attempts, answered.is_ok());
        let (decoded, date, requested_at) = self.or_doubt(answered).await?;
        let records = decoded.page.entries.len() as u64;
        self.export.progress.update(&self.endpoint.name, |live| {
            live.pages += 1;
            live.records += records;
        });
        let Decoded { rows, quarantined, page, surprises } = decoded;
        Ok(Answer { page, rows, requested_at, quarantined, surprises, date })
    }

    /// When a reply was requested, by the server's clock. However late it is read, it describes
    /// that time only.
    ///
    /// A request that was sent after the table was opened is later than the manifest that the table
    /// was opened on. If another machine's clock disagrees, and may be right, the reply counts from
    /// the manifest's time. Once a reply has shown the server's time, that clock can only be right
    /// within the resolution of a `Date`: a run that got no reply commits by its own clock. The
    /// run's first request may have been sent before.
    fn fetched_at(&self, reply: &Reply) -> i64 {
        let asked_at = self.export.clock.asked_at(reply.asked_at.elapsed());
        let (opened_at, committed_at) = self.opened;
        let known = committed_at.timestamp_micros();
        let tolerance = if self.export.clock.is_confirmed() {
            STATEMENTS_APART
        } else {
            TOLERANCE.num_microseconds().unwrap_or_default()
        };
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

    /// Counts requests, without waiting for the owner: while it commits, other requests are sent
    /// and answered.
    fn note_requests(&self, attempts: u64, answered: bool) {
        self.export.progress.update(&self.endpoint.name, |live| live.requests += attempts);
        self.requests.fetch_add(attempts, Ordering::Relaxed);
        self.answered.fetch_or(answered, Ordering::Relaxed);
    }

    /// Decodes fetched replies, while others are requested and committed; `None` when one of them
    /// is not JSON.
    pub(super) async fn decode(&self, bodies: Vec<(Bytes, Origin)>) -> Result<Option<DecodedMany>> {
        let decoder = Arc::clone(&self.decoder);
        let decode = move || match lock(&decoder).decode_many(&bodies) {
            Ok(decoded) => Ok(Some(decoded)),
            Err(Undecodable::NotJson(_)) => Ok(None),
            Err(Undecodable::Other(error)) => Err(error),
            Err(other) => Err(Error::new(ErrorKind::Data, other.to_string())),
        };
        blocking(decode).await
    }

    /// Stores the decoded records of replies to requests by these ids. Returns for each reply
    /// whether it contained one record, and whether that was complete. If a reply is a different
    /// record than the requested one, it is not stored.
    pub(super) async fn take_in(&self, decoded: DecodedMany, ids: &[&str]) -> Result<Vec<Found>> {
        let DecodedMany { decoded: Decoded { rows, quarantined, page, surprises }, counts } =
            decoded;
        let records = page.entries.len() as u64;
        self.export.progress.update(&self.endpoint.name, |live| live.records += records);
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
                is_complete: right.first().is_some_and(|(_, facts)| facts.is_complete),
                is_other: !other.is_empty(),
            });
            kept.extend(right.iter().map(|(row, _)| *row));
        }
        let kept = if kept.len() == rows.len() { Kept::All } else { Kept::Only(kept) };
        self.store(Batch { rows, kept, records, quarantined, surprises, date: None }).await?;
        Ok(found)
    }

    /// Sends records to the owner, which commits them when it has many, or has had them for long.
    /// Waits only while many others wait there.
    pub(super) async fn store(&self, batch: Batch) -> Result<()> {
        let size = u32::try_from(batch.rows.batch.get_array_memory_size());
        let size = size.map_or(WAITING_BYTES, |size| size.min(WAITING_BYTES));
        // The semaphore is never closed.
        let place = Arc::clone(&self.room).acquire_many_owned(size).await.ok();
        let take_in = move |state: &mut State| {
            drop(place);
            state.take_in(batch)
        };
        self.owner.store(take_in).await
    }

    /// The table as last committed in this run.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.owner.published()
    }

    /// Reads from the table as last committed, where that blocks no other task. An unreadable index
    /// is repaired first.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnMut(&Snapshot) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (mut snapshot, now) = (self.snapshot(), self.export.clock.server_now());
        let table = snapshot.table().clone();
        blocking(move || table.read(&mut snapshot, now, read)).await
    }

    /// Adds to the contents of the next commit.
    pub(super) async fn add(&self, addition: impl FnOnce(&mut Change) + Send + 'static) {
        self.owner.note(move |state| addition(state.change())).await;
    }

    /// Commits everything read so far, and this addition.
    pub(super) async fn commit(
        &self,
        addition: impl FnOnce(&mut Change) + Send + 'static,
    ) -> Result<()> {
        let commit = move |state: &mut State| {
            addition(state.change());
            state.commit()
        };
        self.owner.finish(commit).await
    }

    /// Whether this workspace has no such endpoint.
    pub(super) fn is_absent(&self) -> bool {
        self.observed.is_absent()
    }

    /// Records that something is missing. An error that ended the run is reported once.
    pub(super) async fn fail(&self, window: Option<Window>, error: FetchError) {
        if let FetchError::Failed(_, error) = &error {
            tracing::warn!("{}", error.with_causes());
        }
        self.owner.note(move |state| state.fail(window, error)).await;
    }

    /// Completes the table's part of the report.
    pub(super) async fn finish(self) -> Result<Ran> {
        let (mut state, is_absent) = (self.owner.end().await?, self.observed.is_absent());
        let conclude = move || {
            state.leave()?;
            Ok(state.concluded(is_absent))
        };
        let Concluded { mut report, changed, problems, halted, ended } = blocking(conclude).await?;
        report.answers = self.export.client.answers(&self.endpoint.name);
        report.requests = self.requests.into_inner();
        let answered = self.answered.into_inner();
        Ok(Ran { report, changed, problems, answered, halted, ended })
    }
}

/// Decodes a page. A body that is not JSON is repaired if the same one comes again.
fn decode_page(
    decoder: &SharedDecoder,
    broken: &Mutex<Broken>,
    body: &[u8],
    origin: &Origin,
) -> Result<Decoded, Unreadable> {
    let mut decoder = lock(decoder);
    match decoder.decode(body, origin) {
        Err(Undecodable::NotJson(why)) => {
            let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
            let repaired = broken.again(body, &why)?;
            decoder.decode(&repaired, origin).map_err(|_| broken.garbled(&why))
        }
        decoded => decoded.map_err(unreadable),
    }
}
