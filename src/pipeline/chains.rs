//! Chains: records that are asked for one by one, by the ids of another endpoint's.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use super::requests::{Asked, request};
use super::table_run::{TableRun, blocking};
use super::{Export, means_absent};
use crate::clock;
use crate::decode::Origin;
use crate::endpoint::{Dated, Endpoint, Parent};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::FetchError;
use crate::lake::Table;
use crate::manifest::{Attempt, UNKNOWN_PARENT};
use crate::partition::Partition;
use crate::plan::queue::{self, Due};
use crate::report::{Problem, Queue};
use crate::retry::Failure;

/// How many replies are decoded together, at most, by size and by number: large enough to share
/// the cost of their columns, small enough to stay in a core's cache.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_REPLIES: usize = 256;

/// A parent whose record is to be asked for.
struct Wanted {
    id: Box<str>,
    hash: u128,
    day: Option<i32>,
    before: Option<Attempt>,
}

/// Asks for every record whose parent changed since it was asked for last.
pub(super) async fn run(export: &Export, table: &TableRun<'_>) -> Result<()> {
    let Some(parent) = &table.endpoint.parent else { return Ok(()) };
    let parents = open(export, &parent.endpoint).await?;
    follow_deletes(&parents, table).await;
    settle_presumed(&parents, table).await?;
    let (wanted, mut counts) = wanted(parent, &parents, table).await;
    export.progress.update(&table.endpoint.name, |live| live.planned += wanted.len() as u64);
    let fetches = wanted.iter().map(|wanted| fetch(export, table, wanted));
    let mut fetches = futures::stream::iter(fetches).buffer_unordered(export.concurrency);
    let mut batch = Batch::default();
    while let Some(fetched) = fetches.next().await {
        match fetched? {
            Fetched::Reply(wanted, body, origin) => batch.push(wanted, body, origin),
            Fetched::Due(due) => count(&mut counts, due),
        }
        if batch.is_full() {
            std::mem::take(&mut batch).decode(table, &mut counts).await?;
        }
        export.progress.update(&table.endpoint.name, |live| live.done += 1);
    }
    drop(fetches);
    batch.decode(table, &mut counts).await?;
    let complete = !table.state().await.has_problems();
    table.commit(|change| change.settle = complete).await?;
    report(parent, &parents, table, counts).await;
    Ok(())
}

/// What is gone is gone here too, and what is back is back.
async fn follow_deletes(parents: &Table, table: &TableRun<'_>) {
    let marks: Vec<(Box<str>, Option<i64>)> = {
        let state = table.state().await;
        let rows = state.table.index().iter().filter(|(_, entry)| entry.in_lake);
        let differs = rows.filter_map(|(id, entry)| {
            let deleted_at = parents.index().get(id)?.deleted_at;
            let differs = deleted_at.is_some() != entry.deleted_at.is_some();
            differs.then(|| (id.clone(), deleted_at))
        });
        differs.collect()
    };
    table.add(|change| change.marks.extend(marks)).await;
}

/// Records that a run brought and did not live to note: they are of the parent's present version
/// if they were fetched after it.
async fn settle_presumed(parents: &Table, table: &TableRun<'_>) -> Result<()> {
    let state = table.state().await;
    let presumed = state.table.index().iter().filter_map(|(id, entry)| {
        let attempt = entry.attempt.as_ref().filter(|it| it.parent_hash == UNKNOWN_PARENT)?;
        let parent = parents.index().get(id)?;
        let is_of_present = attempt.reason.is_none() && entry.fetched_at >= parent.fetched_at;
        let settled = Attempt { parent_hash: parent.hash, ..Attempt::default() };
        is_of_present.then(|| (id.clone(), settled))
    });
    let presumed: Vec<_> = presumed.collect();
    drop(state);
    if presumed.is_empty() {
        return Ok(());
    }
    table.commit(|change| change.attempts.extend(presumed)).await
}

/// Who is due, the newest first; the others are counted.
async fn wanted(parent: &Parent, parents: &Table, table: &TableRun<'_>) -> (Vec<Wanted>, Queue) {
    let now = clock::now_micros();
    let state = table.state().await;
    let known = state.table.index();
    let mut counts = Queue::default();
    let mut wanted = Vec::new();
    for (id, entry) in parents.index().iter().filter(|(_, entry)| parent.selects(entry)) {
        let before = known.get(id).and_then(|entry| entry.attempt.clone());
        match queue::due(before.as_ref(), entry.hash, now) {
            Due::Settled => counts.settled += 1,
            Due::Later => counts.parked += 1,
            Due::Never => counts.unavailable += 1,
            Due::Now => {
                let (id, hash, day) = (id.clone(), entry.hash, entry.day);
                wanted.push(Wanted { id, hash, day, before });
            }
        }
    }
    wanted.sort_unstable_by(|a, b| (b.day, &b.id).cmp(&(a.day, &a.id)));
    (wanted, counts)
}

/// What came of one request.
enum Fetched<'a> {
    Reply(&'a Wanted, Bytes, Origin),
    Due(Due),
}

/// Asks for one record; a failure is noted at once, a reply is decoded with others.
async fn fetch<'a>(
    export: &Export,
    table: &TableRun<'_>,
    wanted: &'a Wanted,
) -> Result<Fetched<'a>> {
    let asked = Asked { parent: Some(&wanted.id), ..Asked::default() };
    let due = match table.fetch(&request(&table.endpoint, &asked)).await {
        Ok((body, origin)) => return Ok(Fetched::Reply(wanted, body, origin)),
        Err(FetchError::Failed(failure, error)) => match parked(&table.endpoint, failure) {
            Some(reason) => conclude(table, wanted, Some(reason)).await,
            None => refuse(export, table, failure, error).await,
        },
        Err(halted) => {
            table.fail(None, halted).await;
            Due::Now
        }
    };
    Ok(Fetched::Due(due))
}

/// Replies that wait to be decoded together.
#[derive(Default)]
struct Batch<'a> {
    wanted: Vec<&'a Wanted>,
    bodies: Vec<(Bytes, Origin)>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn push(&mut self, wanted: &'a Wanted, body: Bytes, origin: Origin) {
        self.bytes += body.len();
        self.wanted.push(wanted);
        self.bodies.push((body, origin));
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.bodies.len() >= BATCH_REPLIES
    }

    async fn decode(self, table: &TableRun<'_>, counts: &mut Queue) -> Result<()> {
        if self.bodies.is_empty() {
            return Ok(());
        }
        let found = table.decode(&self.bodies).await?;
        for (wanted, found) in self.wanted.into_iter().zip(found) {
            let reason = match (found.is_one, found.is_settled) {
                (true, true) => None,
                (true, false) => Some(queue::EMPTY),
                (false, _) => Some("the reply holds no usable record"),
            };
            let due = conclude(table, wanted, reason).await;
            count(counts, due);
        }
        Ok(())
    }
}

/// Remembers what a request found.
async fn conclude(table: &TableRun<'_>, wanted: &Wanted, reason: Option<&str>) -> Due {
    let now = clock::now_micros();
    let attempt = queue::attempt(wanted.before.as_ref(), wanted.hash, reason, now);
    let due = queue::due(Some(&attempt), wanted.hash, now);
    table.add(|change| change.attempts.push((wanted.id.clone(), attempt))).await;
    due
}

fn count(counts: &mut Queue, due: Due) {
    match due {
        Due::Settled => counts.settled += 1,
        Due::Now => counts.pending += 1,
        Due::Later => counts.parked += 1,
        Due::Never => counts.unavailable += 1,
    }
}

/// Why a record is put off, if it is not simply asked for again in the next run.
fn parked(endpoint: &Endpoint, failure: Failure) -> Option<&'static str> {
    match failure {
        _ if means_absent(endpoint, failure) => None,
        Failure::NotFound => Some("not found (404)"),
        Failure::Refused(_) => Some("refused (400)"),
        Failure::TooLarge => Some("no answer in time, or too large for one (502, 504)"),
        _ => None,
    }
}

async fn refuse(export: &Export, table: &TableRun<'_>, failure: Failure, error: Error) -> Due {
    if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Config) {
        let halted = export.client.halt(error);
        table.fail(None, halted).await;
    } else if failure != Failure::Broken {
        table.fail(None, FetchError::Failed(failure, error)).await;
    }
    Due::Now
}

/// Says what is still missing.
async fn report(parent: &Parent, parents: &Table, table: &TableRun<'_>, counts: Queue) {
    let mut state = table.state().await;
    state.set_queue(counts);
    let ready = parents.index().iter().filter(|(_, entry)| parent.selects(entry));
    let known = state.table.index();
    let failed = ready.filter_map(|(id, _)| known.get(id)?.attempt.as_ref());
    let missing = failed.filter(|it| queue::is_missing(it)).count();
    if counts.pending > 0 && !state.has_problems() {
        let message =
            format!("{} could not be read and are asked for again in the next run", counts.pending);
        state.push_problem(problem(&table.endpoint, message));
    }
    if missing > 0 {
        let message = format!(
            "{missing} are not to be had yet (see the queue) and are asked for again later"
        );
        state.push_problem(problem(&table.endpoint, message));
    }
}

/// Opens another endpoint's table to read from.
async fn open(export: &Export, name: &str) -> Result<Table> {
    let endpoint = Arc::new(export.catalogue.find(name)?.clone());
    let (store, granularity) = (Arc::clone(&export.store), export.granularity);
    let watch = export.catalogue.watched_field(name).map(str::to_owned);
    blocking(move || Table::open(store, endpoint, granularity, "reader", watch, clock::now())).await
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
    let path = parent.id.clone();
    let ids = blocking(move || table.values(&path, day)).await?;
    Ok(Some(ids.into_iter().collect()))
}

/// A problem of the whole endpoint.
fn problem(endpoint: &Endpoint, message: String) -> Problem {
    Problem { endpoint: endpoint.name.clone(), window: None, message }
}
