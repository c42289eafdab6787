//! Look-ups: children are requested one by one, several at once, and decoded in batches.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::parents::{DueParent, has_values, report_missing};
use crate::commit_plan::LookUp;
use crate::decode::{DecodedMany, Origin, is_json, looks_whole};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Asked, FetchError, request};
use crate::manifest::Attempt;
use crate::pipeline::export::{Export, means_absent};
use crate::pipeline::table_run::TableRun;
use crate::plan::queue;
use crate::retry::Failure;

/// How many replies are decoded together, at most, by size and by number: large enough to share the
/// overhead of the columns, small enough to stay in a core's cache.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_REPLIES: usize = 256;

/// Why a record is requested again when its reply was a different one: a cache on the way may
/// ignore the query.
const OTHER: &str = "the reply is a different record from the requested one";

/// How many bytes of replies may wait to be decoded, besides those in flight. The API's largest
/// reply is 6 MB, so at most one of those waits.
const WAITING_BYTES: u32 = 8 << 20;

/// Requests all due children and stores the results.
pub(super) async fn look_up(
    export: &Export,
    table: &TableRun<'_>,
    due: impl Stream<Item = Result<DueParent>>,
) -> Result<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // Both run concurrently, so that neither decoding nor committing ever blocks a request.
    let fetched = fetch_all(export, table, due, sender);
    futures::try_join!(fetched, decode_all(export, table, receiver))?;
    Ok(())
}

/// Sends several requests at once.
async fn fetch_all(
    export: &Export,
    table: &TableRun<'_>,
    due: impl Stream<Item = Result<DueParent>>,
    sender: mpsc::UnboundedSender<Waiting>,
) -> Result<()> {
    let room = Arc::new(Semaphore::new(WAITING_BYTES as usize));
    let fetch_one = async |due: Result<DueParent>| {
        let fetched = fetch(export, table, due?, looks_whole).await?;
        // The semaphore is never closed.
        let place = Arc::clone(&room).acquire_many_owned(room_of(fetched.as_ref())).await.ok();
        Ok::<_, Error>((fetched, place))
    };
    let mut fetches = std::pin::pin!(due.map(fetch_one).buffer_unordered(export.concurrency));
    while let Some(fetched) = fetches.next().await {
        if sender.send(fetched?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Decodes the replies, several at once, and stores their records.
async fn decode_all(
    export: &Export,
    table: &TableRun<'_>,
    mut receiver: mpsc::UnboundedReceiver<Waiting>,
) -> Result<()> {
    let mut batch = Batch::default();
    while let Some((fetched, _place)) = receiver.recv().await {
        if let Some(fetched) = fetched {
            batch.push(fetched);
        }
        if batch.is_full() {
            take_in(table, std::mem::take(&mut batch).decode(export, table).await?).await?;
        }
        export.progress.update(&table.endpoint.name, |live| live.done += 1);
    }
    if batch.bodies.is_empty() {
        return Ok(());
    }
    take_in(table, batch.decode(export, table).await?).await
}

/// Stores the decoded records, and only then records the look-ups' outcomes.
async fn take_in(table: &TableRun<'_>, (due, decoded): DecodedBatch) -> Result<()> {
    let ids: Vec<&str> = due.iter().map(|due| &*due.id).collect();
    let found = table.take_in(decoded, &ids).await?;
    for (due, found) in due.into_iter().zip(found) {
        if found.is_other {
            tracing::warn!(id = &*due.id, "{OTHER}");
        }
        let reason = match (found.is_one, found.is_complete) {
            _ if found.is_other => Some(OTHER),
            (true, true) => None,
            (true, false) => Some(queue::EMPTY),
            (false, _) => Some("the reply holds no usable record"),
        };
        conclude(table, due, reason).await;
    }
    Ok(())
}

/// A reply, and what was requested.
struct Fetched {
    due: DueParent,
    body: Bytes,
    origin: Origin,
}

/// How much room the result of a request takes in the decoding queue.
fn room_of(fetched: Option<&Fetched>) -> u32 {
    let size = fetched.map_or(0, |fetched| fetched.body.len());
    u32::try_from(size).map_or(WAITING_BYTES, |size| size.min(WAITING_BYTES))
}

/// The result of a request, and its place in the decoding queue.
type Waiting = (Option<Fetched>, Option<OwnedSemaphorePermit>);

/// Requests one record. A failure is recorded at once; a successful reply is decoded together with
/// others.
async fn fetch(
    export: &Export,
    table: &TableRun<'_>,
    due: DueParent,
    passes: fn(&[u8]) -> bool,
) -> Result<Option<Fetched>> {
    let purpose = due.purpose;
    if !has_values(table, &due.id, &due.values) {
        conclude(table, due, Some(queue::UNNAMED)).await;
        return Ok(None);
    }
    let asked = Asked { parent: Some(due.parent()), purpose, ..Asked::at(export.settings.now) };
    match table.fetch(&request(&table.endpoint, &asked), passes).await {
        Ok((body, origin)) => {
            // A child without a readable time of its own gets its parent's date.
            let origin = Origin { found_on: due.day, ..origin };
            return Ok(Some(Fetched { due, body, origin }));
        }
        Err(FetchError::Failed(failure, error)) => match parked(&table.endpoint, failure) {
            Some(reason) => conclude(table, due, Some(reason)).await,
            None => refuse(export, table, failure, error).await,
        },
        Err(halted) => table.fail(None, halted).await,
    }
    Ok(None)
}

/// What was requested, and what was decoded together.
type DecodedBatch = (Vec<DueParent>, DecodedMany);

/// Replies that wait to be decoded together.
#[derive(Default)]
struct Batch {
    due: Vec<DueParent>,
    bodies: Vec<(Bytes, Origin)>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, Fetched { due, body, origin }: Fetched) {
        self.bytes += body.len();
        self.due.push(due);
        self.bodies.push((body, origin));
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.bodies.len() >= BATCH_REPLIES
    }

    /// Decodes the replies. A reply that only looked complete is requested again, and checked
    /// before it is used.
    async fn decode(mut self, export: &Export, table: &TableRun<'_>) -> Result<DecodedBatch> {
        if let Some(decoded) = table.decode(self.bodies.clone()).await? {
            return Ok((self.due, decoded));
        }
        let (due, bodies) = (std::mem::take(&mut self.due), std::mem::take(&mut self.bodies));
        for (due, (body, origin)) in due.into_iter().zip(bodies) {
            if is_json(&body) {
                self.push(Fetched { due, body, origin });
            } else if let Some(fetched) = fetch(export, table, due, is_json).await? {
                self.push(fetched);
            }
        }
        let decoded = table.decode(self.bodies).await?;
        let broken = || Error::new(ErrorKind::Data, "replies that are JSON are not when together");
        Ok((self.due, decoded.ok_or_else(broken)?))
    }
}

/// Records the outcome of a request.
async fn conclude(table: &TableRun<'_>, due: DueParent, reason: Option<&str>) {
    let DueParent { key, hash, day, before, .. } = due;
    let export = table.export();
    if let Some(reason) = reason.filter(|_| !export.settings.ids.is_empty()) {
        report_missing(table, &key, reason).await;
    }
    let attempt = match hash {
        Some(hash) => queue::attempt(before.as_ref(), hash, reason, export.queue_now()),
        // When the parent arrives, its version is compared with the time of this request.
        None if reason.is_none() => Attempt::default(),
        None => return,
    };
    table.add(move |change| change.statements.look_ups.push(LookUp { key, day, attempt })).await;
}

/// Why a record is deferred, unless it is simply requested again in the next run.
fn parked(endpoint: &Endpoint, failure: Failure) -> Option<&'static str> {
    match failure {
        _ if means_absent(endpoint, failure) => None,
        Failure::NotFound => Some(queue::NOT_FOUND),
        Failure::Refused(_) => Some("refused (400)"),
        Failure::TooLarge => Some(queue::TOO_LARGE),
        _ => None,
    }
}

async fn refuse(export: &Export, table: &TableRun<'_>, failure: Failure, error: Error) {
    if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Config) {
        let halted = export.client.halt(error);
        table.fail(None, halted).await;
    } else if failure != Failure::Broken || !export.settings.ids.is_empty() {
        // Children that the queue counts are reported at the end; those named by id are not in it.
        table.fail(None, FetchError::Failed(failure, error)).await;
    }
}
