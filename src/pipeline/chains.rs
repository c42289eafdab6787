//! Chains: records that are looked up one by one, by the ids of another endpoint's.
//!
//! Enters: the parents' table and the chain's own. Leaves: whom to ask for, partition by partition,
//! and how far that has come. Never here: a request.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use chrono::NaiveTime;
use futures::{Stream, StreamExt};

use super::Export;
use super::look_ups::{Wanted, look_up};
use super::parents::{are_there, fields_in, is_named, open, warn_unnamed};
use super::table_run::{TableRun, blocking};
use crate::endpoint::{Endpoint, Named};
use crate::error::Result;
use crate::lake::{Chain, Link, Mark, Removal, Tried};
use crate::manifest::{ASK_AGAIN, Attempt, Purpose, UNKNOWN_PARENT};
use crate::partition::Partition;
use crate::plan::queue::{self, Due};
use crate::report::{Problem, Queue};
use crate::window::{Window, date_of};

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
    look_up(export, table, all_wanted(&chain, table, &survey.due)).await?;
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

/// Everybody who is due, read partition by partition as the requests go on.
fn all_wanted<'a>(
    chain: &'a SharedChain,
    table: &'a TableRun<'_>,
    due: &'a [(Partition, u64)],
) -> impl Stream<Item = Result<Wanted>> {
    futures::stream::iter(due).then(|(partition, _)| wanted(chain, table, *partition)).flat_map(
        |wanted| {
            let (wanted, failed) = match wanted {
                Ok(wanted) => (wanted, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            futures::stream::iter(wanted.into_iter().map(Ok).chain(failed))
        },
    )
}

/// Who is due in one partition of the parents, the newest first.
async fn wanted(
    chain: &SharedChain,
    table: &TableRun<'_>,
    partition: Partition,
) -> Result<Vec<Wanted>> {
    let (shared, now) = (Arc::clone(chain), table.export().queue_now());
    let (mut wanted, _) = table
        .with_state(move |state| {
            let mut chain = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let links = chain.links(&mut state.table, partition)?;
            let due = links.into_iter().filter(|link| is_due(&chain, link, now));
            let wanted = |link: Link| Wanted {
                purpose: chain.purpose(&link),
                id: link.id,
                named: Named::default(),
                hash: link.parent.hash,
                day: link.parent.day,
                before: link.own.and_then(|own| own.attempt),
            };
            Ok(due.map(wanted).collect::<Vec<_>>())
        })
        .await?;
    wanted.retain(|wanted| table.export().client.is_open(wanted.purpose));
    wanted.sort_unstable_by(|a, b| (b.day, &b.id).cmp(&(a.day, &a.id)));
    name(chain, table, partition, &mut wanted).await?;
    Ok(wanted)
}

/// Looks up what the requests name of the parents' records, where they name anything.
async fn name(
    chain: &SharedChain,
    table: &TableRun<'_>,
    partition: Partition,
    wanted: &mut [Wanted],
) -> Result<()> {
    let Some(parent) = &table.endpoint.parent else { return Ok(()) };
    if wanted.is_empty() || table.endpoint.parent_fields().is_empty() {
        return Ok(());
    }
    let fields = {
        let chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
        fields_in(table, parent, chain.parent_schema())?
    };
    let ids: HashSet<Box<str>> = wanted.iter().map(|wanted| wanted.id.clone()).collect();
    let (chain, named) = (Arc::clone(chain), fields.clone());
    let mut found = blocking(move || {
        let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.named(partition, &named, &ids)
    })
    .await?;
    are_there(table, parent, &fields, found.values()).await;
    for wanted in &mut *wanted {
        wanted.named = found.remove(&wanted.id).unwrap_or_default();
    }
    let lacking = wanted.iter().filter(|it| !is_named(table, &it.id, &it.named)).count();
    warn_unnamed(table, lacking);
    Ok(())
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

/// A problem of the whole endpoint.
fn problem(endpoint: &Endpoint, message: String) -> Problem {
    Problem { endpoint: endpoint.name.clone(), window: None, message }
}
