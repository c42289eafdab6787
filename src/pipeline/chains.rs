//! Chains: records that are asked for one by one, by the ids of another endpoint's.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use chrono::NaiveTime;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::table_run::{TableRun, blocking};
use super::{Export, means_absent};
use crate::decode::{DecodedMany, Origin};
use crate::endpoint::{Dated, Endpoint, Parent};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Asked, FetchError, request};
use crate::lake::{Chain, Link, Mark, Removal, Table, Tried};
use crate::manifest::{ASK_AGAIN, Attempt, Purpose, UNKNOWN_PARENT};
use crate::partition::Partition;
use crate::plan::queue::{self, Due};
use crate::report::{Problem, Queue};
use crate::retry::Failure;
use crate::window::{Window, date_of};

/// How many replies are decoded together, at most, by size and by number: large enough to share
/// the cost of their columns, small enough to stay in a core's cache.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_REPLIES: usize = 256;

/// How many batches that are decoded may wait while others are committed.
const DECODED: usize = 2;

/// How many bytes of replies may wait to be decoded, beside those that are under way. The API's
/// largest reply has 6 MB, and no more of those than one waits.
const WAITING_BYTES: u32 = 8 << 20;

/// A parent whose record is to be asked for.
struct Wanted {
    id: Box<str>,
    hash: u128,
    day: Option<i32>,
    before: Option<Attempt>,
    purpose: Purpose,
}

/// The chain of the run, shared with the threads that read its tables.
type SharedChain = Arc<std::sync::Mutex<Chain>>;

/// Asks for every record whose parent changed since it was asked for last, the newest first.
pub(super) async fn run(export: &Export, table: &TableRun<'_>) -> Result<()> {
    let Some(parent) = &table.endpoint.parent else { return Ok(()) };
    let chain = Chain::new(open(export, &parent.endpoint).await?, parent.clone());
    let chain: SharedChain = Arc::new(std::sync::Mutex::new(chain));
    if let Some(window) = export.settings.backfill.filter(|_| export.settings.refetch) {
        ask_again(&chain, table, window).await?;
    }
    let survey = survey(&chain, table).await?;
    let planned = survey.due.iter().map(|due| due.1).sum::<u64>();
    export.progress.update(&table.endpoint.name, |live| live.planned += planned);
    let (sender, receiver) = mpsc::unbounded_channel();
    let (decoded, to_take_in) = mpsc::channel(DECODED);
    // All go on at once: what is being decoded or committed keeps no request waiting, and nobody
    // waits for a lock that is granted to somebody who is not polled.
    futures::try_join!(
        fetch_all(export, table, &chain, &survey.due, sender),
        decode_all(export, table, receiver, decoded),
        take_in_all(table, to_take_in)
    )?;
    let complete = !table.state().await.has_failed();
    table.commit(|change| change.settle = complete).await?;
    conclude_partitions(&chain, table, survey.open).await
}

/// Notes that the records of a range are to be asked for again, so that any later run goes on with
/// them.
async fn ask_again(chain: &SharedChain, table: &TableRun<'_>, window: Window) -> Result<()> {
    let chain = Arc::clone(chain);
    let ((attempts, checked), _) = table
        .with_state(move |state| {
            let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
            let mut attempts = Vec::new();
            let mut checked = Vec::new();
            for partition in chain.within(window) {
                let is_in_range = |day: i32| {
                    let date = date_of(day).map(|date| date.and_time(NaiveTime::MIN).and_utc());
                    date.is_some_and(|date| window.contains(date))
                };
                let links = chain.links(&mut state.table, partition)?;
                let again = links
                    .into_iter()
                    .filter(|link| link.own.is_some() && link.parent.day.is_some_and(is_in_range));
                let attempt = Attempt { parent_hash: ASK_AGAIN, ..Attempt::default() };
                attempts.extend(again.map(|link| Tried {
                    day: link.own.and_then(|own| own.day).or(link.parent.day),
                    key: link.id,
                    attempt: attempt.clone(),
                }));
                checked.push((partition.to_string(), None));
            }
            Ok((attempts, checked))
        })
        .await?;
    table
        .commit(|change| {
            change.attempts.extend(attempts);
            change.checked.extend(checked);
        })
        .await
}

/// Asks for everything that is due, partition by partition.
async fn fetch_all(
    export: &Export,
    table: &TableRun<'_>,
    chain: &SharedChain,
    due: &[(Partition, u64)],
    sender: mpsc::UnboundedSender<Waiting>,
) -> Result<()> {
    let wanted = futures::stream::iter(due)
        .then(|(partition, _)| wanted(chain, table, *partition))
        .flat_map(|wanted| {
            let (wanted, failed) = match wanted {
                Ok(wanted) => (wanted, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            futures::stream::iter(wanted.into_iter().map(Ok).chain(failed))
        });
    let room = Arc::new(Semaphore::new(WAITING_BYTES as usize));
    let fetch_one = async |wanted: Result<Wanted>| {
        let fetched = fetch(export, table, wanted?).await?;
        // The semaphore is never closed.
        let place = Arc::clone(&room).acquire_many_owned(fetched.size()).await.ok();
        Ok::<_, Error>((fetched, place))
    };
    let mut fetches = std::pin::pin!(wanted.map(fetch_one).buffer_unordered(export.concurrency));
    while let Some(fetched) = fetches.next().await {
        if sender.send(fetched?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Decodes what came, several replies at once.
async fn decode_all(
    export: &Export,
    table: &TableRun<'_>,
    mut receiver: mpsc::UnboundedReceiver<Waiting>,
    sender: mpsc::Sender<DecodedBatch>,
) -> Result<()> {
    let mut batch = Batch::default();
    while let Some((fetched, _place)) = receiver.recv().await {
        if let Fetched::Reply(wanted, body, origin) = fetched {
            batch.push(wanted, body, origin);
        }
        if batch.is_full() {
            let decoded = std::mem::take(&mut batch).decode(table)?;
            if sender.send(decoded).await.is_err() {
                return Ok(());
            }
        }
        export.progress.update(&table.endpoint.name, |live| live.done += 1);
    }
    if !batch.bodies.is_empty() {
        // Whoever would take it in has failed, and says so.
        let _ = sender.send(batch.decode(table)?).await;
    }
    Ok(())
}

/// Takes in what was decoded, and only then notes what was found.
async fn take_in_all(
    table: &TableRun<'_>,
    mut receiver: mpsc::Receiver<DecodedBatch>,
) -> Result<()> {
    while let Some((wanted, decoded)) = receiver.recv().await {
        let found = table.take_in(decoded).await?;
        for (wanted, found) in wanted.into_iter().zip(found) {
            let reason = match (found.is_one, found.is_settled) {
                (true, true) => None,
                (true, false) => Some(queue::EMPTY),
                (false, _) => Some("the reply holds no usable record"),
            };
            conclude(table, wanted, reason).await;
        }
    }
    Ok(())
}

/// What there is to do, partition by partition of the parents.
struct Survey {
    /// The partitions that must be looked at.
    open: Vec<Partition>,
    /// Those with records to ask for, and how many; the newest first.
    due: Vec<(Partition, u64)>,
}

/// Looks at what changed, and takes over what needs no request: what is gone is gone here too, and
/// what a run brought and did not live to note is settled.
async fn survey(chain: &SharedChain, table: &TableRun<'_>) -> Result<Survey> {
    let (chain, now) = (Arc::clone(chain), table.export().queue_now());
    let ((survey, presumed), _) = table
        .with_state(move |state| {
            let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
            let open = chain.open(state.table.manifest(), now);
            let mut due = Vec::new();
            let mut presumed = Vec::new();
            for partition in &open {
                let links = chain.links(&mut state.table, *partition)?;
                state.change().marks.extend(links.iter().filter_map(followed_delete));
                state.change().removals.extend(links.iter().filter_map(followed_removal));
                presumed.extend(links.iter().filter_map(settled_presumption));
                let count = links.iter().filter(|link| is_due(&chain, link, now)).count();
                due.extend((count > 0).then_some((*partition, count as u64)));
            }
            Ok((Survey { open, due }, presumed))
        })
        .await?;
    if !presumed.is_empty() {
        table.commit(|change| change.attempts.extend(presumed)).await?;
    }
    Ok(survey)
}

/// What is gone is gone here too, and what is back is back.
fn followed_delete(link: &Link) -> Option<Mark> {
    let own = link.own.as_ref().filter(|own| own.in_lake && link.parent.in_lake)?;
    let deleted_at = link.parent.deleted_at;
    let differs = deleted_at.is_some() != own.deleted_at.is_some();
    differs.then(|| Mark { key: link.id.clone(), day: own.day, deleted_at })
}

/// What was taken out is taken out here too.
fn followed_removal(link: &Link) -> Option<Removal> {
    let own = link.own.as_ref().filter(|own| own.in_lake && link.parent.is_removed())?;
    Some(Removal { key: link.id.clone(), day: own.day, at: link.parent.deleted_at? })
}

/// A record that a run brought and did not live to note is of the parent's present version if it
/// was fetched after it.
fn settled_presumption(link: &Link) -> Option<Tried> {
    let own = link.own.as_ref()?;
    let presumed = own.attempt.as_ref().filter(|it| it.parent_hash == UNKNOWN_PARENT)?;
    let is_of_present = presumed.reason.is_none() && own.fetched_at >= link.parent.fetched_at;
    let attempt = Attempt { parent_hash: link.parent.hash, ..Attempt::default() };
    is_of_present.then(|| Tried { key: link.id.clone(), day: own.day, attempt })
}

fn is_due(chain: &Chain, link: &Link, now: i64) -> bool {
    let is_presumed = settled_presumption(link).is_some();
    let due = queue::due(link.attempt(), link.parent.hash, now);
    chain.selects(link) && due == Due::Now && !is_presumed
}

/// Who is due in one partition of the parents, the newest first.
async fn wanted(
    chain: &SharedChain,
    table: &TableRun<'_>,
    partition: Partition,
) -> Result<Vec<Wanted>> {
    let (chain, now) = (Arc::clone(chain), table.export().queue_now());
    let (mut wanted, _) = table
        .with_state(move |state| {
            let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
            let links = chain.links(&mut state.table, partition)?;
            let due = links.into_iter().filter(|link| is_due(&chain, link, now));
            let wanted = |link: Link| Wanted {
                purpose: chain.purpose(&link),
                id: link.id,
                hash: link.parent.hash,
                day: link.parent.day,
                before: link.own.and_then(|own| own.attempt),
            };
            Ok(due.map(wanted).collect::<Vec<_>>())
        })
        .await?;
    wanted.retain(|wanted| table.export().client.is_open(wanted.purpose));
    wanted.sort_unstable_by(|a, b| (b.day, &b.id).cmp(&(a.day, &a.id)));
    Ok(wanted)
}

/// Says how far the records have come, and remembers the partitions where nothing is left to do.
async fn conclude_partitions(
    chain: &SharedChain,
    table: &TableRun<'_>,
    open: Vec<Partition>,
) -> Result<()> {
    let (chain, now) = (Arc::clone(chain), table.export().queue_now());
    let ((queue, checked), _) = table
        .with_state(move |state| {
            let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
            let mut whole = chain.closed(state.table.manifest(), &open);
            let mut news = Vec::new();
            for partition in open {
                let (queue, checked) = chain.tally(&mut state.table, partition, now)?;
                whole += queue;
                let name = partition.to_string();
                if state.table.manifest().checked.get(&name) != checked.as_ref() {
                    news.push((name, checked));
                }
            }
            Ok((whole, news))
        })
        .await?;
    if !checked.is_empty() {
        table.commit(|change| change.checked = checked).await?;
    }
    let closed = table.export().client.closed(Purpose::Backfill);
    if let Some(closed) = closed.filter(|_| queue.pending > 0) {
        table.fail(None, closed).await;
    }
    report(table, queue).await;
    Ok(())
}

/// What came of one request.
enum Fetched {
    Reply(Wanted, Bytes, Origin),
    Nothing,
}

impl Fetched {
    /// How much room it takes among those that wait.
    fn size(&self) -> u32 {
        match self {
            Self::Reply(_, body, _) => {
                u32::try_from(body.len()).map_or(WAITING_BYTES, |size| size.min(WAITING_BYTES))
            }
            Self::Nothing => 0,
        }
    }
}

/// What came of one request, and its place among those that wait to be decoded.
type Waiting = (Fetched, Option<OwnedSemaphorePermit>);

/// Asks for one record; a failure is noted at once, a reply is decoded with others.
async fn fetch(export: &Export, table: &TableRun<'_>, wanted: Wanted) -> Result<Fetched> {
    let purpose = wanted.purpose;
    let asked = Asked { parent: Some(&wanted.id), purpose, ..Asked::at(export.settings.now) };
    match table.fetch(&request(&table.endpoint, &asked)).await {
        Ok((body, origin)) => return Ok(Fetched::Reply(wanted, body, origin)),
        Err(FetchError::Failed(failure, error)) => match parked(&table.endpoint, failure) {
            Some(reason) => conclude(table, wanted, Some(reason)).await,
            None => refuse(export, table, failure, error).await,
        },
        Err(halted) => table.fail(None, halted).await,
    }
    Ok(Fetched::Nothing)
}

/// Whom was asked for, and what was decoded together.
type DecodedBatch = (Vec<Wanted>, DecodedMany);

/// Replies that wait to be decoded together.
#[derive(Default)]
struct Batch {
    wanted: Vec<Wanted>,
    bodies: Vec<(Bytes, Origin)>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, wanted: Wanted, body: Bytes, origin: Origin) {
        self.bytes += body.len();
        self.wanted.push(wanted);
        self.bodies.push((body, origin));
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.bodies.len() >= BATCH_REPLIES
    }

    fn decode(self, table: &TableRun<'_>) -> Result<DecodedBatch> {
        Ok((self.wanted, table.decode(&self.bodies)?))
    }
}

/// Remembers what a request found.
async fn conclude(table: &TableRun<'_>, wanted: Wanted, reason: Option<&str>) {
    let Wanted { id: key, hash, day, before, .. } = wanted;
    let attempt = queue::attempt(before.as_ref(), hash, reason, table.export().queue_now());
    table.add(|change| change.attempts.push(Tried { key, day, attempt })).await;
}

/// Why a record is put off, if it is not simply asked for again in the next run.
fn parked(endpoint: &Endpoint, failure: Failure) -> Option<&'static str> {
    match failure {
        _ if means_absent(endpoint, failure) => None,
        Failure::NotFound => Some("not found (404)"),
        Failure::Refused(_) => Some("refused (400)"),
        Failure::TooLarge => Some(queue::TOO_LARGE),
        _ => None,
    }
}

async fn refuse(export: &Export, table: &TableRun<'_>, failure: Failure, error: Error) {
    if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Config) {
        let halted = export.client.halt(error);
        table.fail(None, halted).await;
    } else if failure != Failure::Broken {
        table.fail(None, FetchError::Failed(failure, error)).await;
    }
}

/// Says what is still missing.
async fn report(table: &TableRun<'_>, queue: Queue) {
    let mut state = table.state().await;
    state.set_queue(queue);
    if queue.pending > 0 && !state.has_problems() {
        let message =
            format!("{} could not be read and are asked for again in the next run", queue.pending);
        state.push_problem(problem(&table.endpoint, message));
    }
    let put_off = queue.missing.min(queue.parked);
    if put_off > 0 {
        let message = format!(
            "{put_off} could not be had in several tries and are asked for again later (`clari-lake \
             status` counts them)"
        );
        state.push_problem(problem(&table.endpoint, message));
    }
}

/// Opens another endpoint's table to read from.
async fn open(export: &Export, name: &str) -> Result<Table> {
    let endpoint = Arc::new(export.catalogue.find(name)?.clone());
    let (store, granularity) = (Arc::clone(&export.store), export.granularity);
    let watch = export.catalogue.watched_field(name).map(str::to_owned);
    let now = export.clock.now();
    blocking(move || Table::open(store, endpoint, granularity, "reader", watch, now)).await
}

/// The ids that drive a snapshot: those of today's snapshot of the parent, or of all its rows;
/// `None` when this workspace has no such parent.
pub(super) async fn parent_ids(
    export: &Export,
    parent: &Parent,
    day: i32,
) -> Result<Option<Vec<String>>> {
    let table = open(export, &parent.endpoint).await?;
    let is_snapshot = export.catalogue.find(&parent.endpoint)?.dated == Dated::Run;
    let today = Partition::of(Some(day), table.manifest().granularity).to_string();
    let partitions = &table.manifest().partitions;
    if partitions.is_empty() || (is_snapshot && !partitions.contains_key(&today)) {
        return Ok(None);
    }
    let rule = parent.clone();
    let ids = blocking(move || table.values(&rule, day)).await?;
    Ok(Some(ids.into_iter().collect()))
}

/// A problem of the whole endpoint.
fn problem(endpoint: &Endpoint, message: String) -> Problem {
    Problem { endpoint: endpoint.name.clone(), window: None, message }
}
