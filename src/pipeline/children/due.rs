//! Determines which children read by look-up are due, and reports how far they have come. Parents
//! are compared with the child table partition by partition, so that memory depends on the largest
//! partition.

use chrono::NaiveTime;
use futures::{Stream, StreamExt, TryStreamExt};

use super::look_up::look_up;
use super::parents::{DueParent, Parents, read, read_values};
use super::queued;
use crate::commit_plan::{LookUp, Mark, Removal};
use crate::error::Result;
use crate::lake::{Change, Children, ParentAndChild};
use crate::manifest::{Attempt, ParentVersion, Purpose};
use crate::partition::Partition;
use crate::pipeline::export::Export;
use crate::pipeline::table_run::TableRun;
use crate::pipeline::table_state::State;
use crate::plan::queue::{self, Due};
use crate::report::{Queue, QueueState, Queued};
use crate::window::{Window, date_of};

/// Requests every child whose parent has changed since the child was last requested, newest first.
pub(in crate::pipeline) async fn run(export: &Export, table: &TableRun<'_>) -> Result<()> {
    let Some(parents) = Parents::of(table).await? else { return Ok(()) };
    if let Some(window) = export.settings.backfill.filter(|_| export.settings.refetch) {
        refetch(&parents, table, window).await?;
    }
    let comparison = compare(&parents, table).await?;
    let planned = comparison.due.iter().map(|due| due.1).sum::<u64>();
    export.progress.update(&table.endpoint.name, |live| live.planned += planned);
    look_up(export, table, all_due(&parents, table, &comparison.due)).await?;
    let close = |state: &mut State| {
        let complete = !state.has_failed();
        let progress = &mut state.change().progress;
        (progress.freeze, progress.requested_lost) = (complete, complete);
        state.commit()
    };
    table.owner.finish(close).await?;
    conclude_partitions(&parents, table, comparison.open).await
}

/// Records that the children of a range are to be requested again, so that any later run continues
/// with them.
async fn refetch(parents: &Parents, table: &TableRun<'_>, window: Window) -> Result<()> {
    let find = move |children: &Children<'_>| {
        let mut look_ups = Vec::new();
        let mut checked = Vec::new();
        for partition in children.within(window) {
            let is_in_range = |day: i32| {
                let date = date_of(day).map(|date| date.and_time(NaiveTime::MIN).and_utc());
                date.is_some_and(|date| window.contains(date))
            };
            let pairs = children.pairs(partition)?;
            let again = pairs
                .into_iter()
                .filter(|pair| pair.own.is_some() && pair.parent.day.is_some_and(is_in_range));
            let attempt = Attempt { parent: ParentVersion::Refetch, ..Attempt::default() };
            look_ups.extend(again.map(|pair| LookUp {
                day: pair.own.and_then(|own| own.day).or(pair.parent.day),
                key: pair.id,
                attempt: attempt.clone(),
            }));
            checked.push((partition.to_string(), None));
        }
        Ok((look_ups, checked))
    };
    let (look_ups, checked) = read(parents, table, find).await?;
    table
        .commit(move |change| {
            change.statements.look_ups.extend(look_ups);
            change.progress.checked.extend(checked);
        })
        .await
}

/// The work to do, partition by partition of the parents.
#[derive(Default)]
struct Comparison {
    /// The partitions that must be compared.
    open: Vec<Partition>,
    /// The partitions with children to request, and how many; newest first.
    due: Vec<(Partition, u64)>,
    followed: Followed,
    /// The partitions with any of those. Another run may have compared them with newer parents: if
    /// this run is killed, the next one compares them again.
    reopened: Vec<Partition>,
    /// Children that a killed run wrote without recording their look-ups.
    presumed: Vec<LookUp>,
}

/// What the children carry over from their parents.
#[derive(Default)]
struct Followed {
    marks: Vec<Mark>,
    removals: Vec<Removal>,
}

impl Followed {
    /// What the children of these parents have yet to carry over.
    fn of(children: &Children<'_>, pairs: &[ParentAndChild]) -> Self {
        Self {
            marks: children.marks(pairs).collect(),
            removals: children.removals(pairs).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.removals.is_empty()
    }

    fn extend(&mut self, more: Self) {
        self.marks.extend(more.marks);
        self.removals.extend(more.removals);
    }

    fn add_to(self, change: &mut Change) {
        change.statements.marks.extend(self.marks);
        change.statements.removals.extend(self.removals);
    }
}

/// Compares what has changed, and records what needs no request: deletions are carried over from
/// the parents, and look-ups of a killed run are marked as done.
async fn compare(parents: &Parents, table: &TableRun<'_>) -> Result<Comparison> {
    let now = table.export().queue_now();
    let find = move |children: &Children<'_>| {
        let mut found = Comparison { open: children.open(now), ..Comparison::default() };
        for partition in found.open.clone() {
            let pairs = children.pairs(partition)?;
            let followed = Followed::of(children, &pairs);
            if !followed.is_empty() {
                found.reopened.push(partition);
            }
            found.followed.extend(followed);
            found.presumed.extend(pairs.iter().filter_map(presumed_done));
            let count = pairs.iter().filter(|pair| is_due(children, pair, now)).count();
            found.due.extend((count > 0).then_some((partition, count as u64)));
        }
        Ok(found)
    };
    let mut found = read(parents, table, find).await?;
    let (followed, reopened) =
        (std::mem::take(&mut found.followed), std::mem::take(&mut found.reopened));
    table
        .add(move |change| {
            followed.add_to(change);
            let reopened = reopened.iter().map(|partition| (partition.to_string(), None));
            change.progress.checked.extend(reopened);
        })
        .await;
    let presumed = std::mem::take(&mut found.presumed);
    if !presumed.is_empty() {
        table.commit(|change| change.statements.look_ups.extend(presumed)).await?;
    }
    Ok(found)
}

/// If a killed run wrote a child without recording its look-up, the child belongs to the parent's
/// current version if it was requested after that version.
fn presumed_done(pair: &ParentAndChild) -> Option<LookUp> {
    let own = pair.own.as_ref()?;
    let presumed = own.attempt.as_ref().filter(|it| it.parent == ParentVersion::Unknown)?;
    let is_of_present = presumed.reason.is_none() && own.fetched_at >= pair.parent.fetched_at;
    let parent = ParentVersion::Content(pair.parent.hash);
    let attempt = Attempt { parent, ..Attempt::default() };
    is_of_present.then(|| LookUp { key: pair.id.clone(), day: own.day, attempt })
}

fn is_due(children: &Children<'_>, pair: &ParentAndChild, now: i64) -> bool {
    let is_done = presumed_done(pair).is_some();
    let due = queue::due(pair.attempt(), pair.parent.hash, now);
    children.selects(pair) && due == Due::Now && !is_done
}

/// Everything that is due, read partition by partition as the requests proceed.
fn all_due<'a>(
    parents: &'a Parents,
    table: &'a TableRun<'_>,
    partitions: &'a [(Partition, u64)],
) -> impl Stream<Item = Result<DueParent>> {
    let partitions = futures::stream::iter(partitions);
    partitions
        .then(|(partition, _)| due_in(parents, table, *partition))
        .map_ok(|due| futures::stream::iter(due.into_iter().map(Ok)))
        .try_flatten()
}

/// What is due in one partition of the parents, newest first.
async fn due_in(
    parents: &Parents,
    table: &TableRun<'_>,
    partition: Partition,
) -> Result<Vec<DueParent>> {
    let now = table.export().queue_now();
    let find = move |children: &Children<'_>| {
        let pairs = children.pairs(partition)?;
        let due = pairs.into_iter().filter(|pair| is_due(children, pair, now));
        let due = due.map(|pair| DueParent {
            before: pair.attempt().cloned(),
            ..DueParent::of(pair.id.clone(), children.purpose(&pair)).at(&pair.parent)
        });
        Ok(due.collect::<Vec<_>>())
    };
    let mut due = read(parents, table, find).await?;
    due.retain(|due| table.export().client.is_open(due.purpose));
    // So a run that ends early has read the children that users are most likely to need.
    due.sort_unstable_by(|a, b| (b.day, b.time, &b.id).cmp(&(a.day, a.time, &a.id)));
    read_values(parents, table, partition, &mut due).await?;
    Ok(due)
}

/// Reports how far the children have come, and records the partitions where nothing is left to do.
async fn conclude_partitions(
    parents: &Parents,
    table: &TableRun<'_>,
    open: Vec<Partition>,
) -> Result<()> {
    let now = table.export().queue_now();
    let find = move |children: &Children<'_>| {
        let mut whole = children.closed(&open);
        let (mut changed, mut late) = (Vec::new(), Followed::default());
        for partition in &open {
            let pairs = children.pairs(*partition)?;
            // What another run has committed meanwhile has not been compared yet.
            let followed = Followed::of(children, &pairs);
            late.extend(followed);
            let (queue, checked) = children.tally(*partition, &pairs, now);
            whole += queue;
            let name = partition.to_string();
            if children.own.manifest().checked.get(&name) != checked.as_ref() {
                changed.push((name, checked));
            }
        }
        let queued = queued::all(children, &open, now)?;
        Ok((whole, changed, late, queued))
    };
    let (queue, checked, late, queued) = read(parents, table, find).await?;
    if !checked.is_empty() || !late.is_empty() {
        let conclude = |change: &mut Change| {
            change.progress.checked = checked;
            late.add_to(change);
        };
        table.commit(conclude).await?;
    }
    let closed = table.export().client.closed(Purpose::Backfill);
    if let Some(closed) = closed.filter(|_| queue.pending > 0) {
        table.fail(None, closed).await;
    }
    table.owner.note(move |state| report(state, queue, queued)).await;
    Ok(())
}

/// Reports what is still missing.
fn report(state: &mut State, queue: Queue, queued: Vec<Queued>) {
    if queue.pending > 0 && !state.has_problems() {
        let (count, are) = (queue.pending, if queue.pending == 1 { "is" } else { "are" });
        let named = queued::in_words(&queued, QueueState::Pending, count);
        let message =
            format!("{count} could not be read{named} and {are} requested again in the next run");
        state.push_failure(message);
    }
    let put_off = queue.missing.min(queue.parked);
    if put_off > 0 {
        let are = if put_off == 1 { "is" } else { "are" };
        let named = queued::in_words(&queued, QueueState::Parked, put_off);
        let message = format!(
            "{put_off} could not be read in several tries{named} and {are} requested again later \
             (`clari-lake status` counts them)"
        );
        state.push_failure(message);
    }
    state.set_queue(queue, queued);
}
