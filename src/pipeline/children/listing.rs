//! Children that are read by listing: each parent's key leads to a list.
//!
//! How long a list stays valid is set by the endpoint; a parent that does not exist is requested
//! less and less often. The parents' answers are stored separately from the rows.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures::StreamExt;

use super::by_id;
use super::parents::{
    DueParent, ParentKeys, has_values, parent_keys, report_missing, warn_without_values,
};
use super::queued;
use crate::commit_plan::{Listing, ParentAnswer, Scope};
use crate::endpoint::{Parent, ParentValues};
use crate::error::Result;
use crate::lake::Snapshot;
use crate::manifest::{IndexEntry, Purpose};
use crate::pipeline::export::Export;
use crate::pipeline::reading::read;
use crate::pipeline::scan::{Listed, Scan};
use crate::pipeline::table_run::TableRun;
use crate::plan::queue::{self, ListSchedule};
use crate::report::Queue;

/// Reads the lists of all due parents. In a snapshot table, a list that was read to its end
/// replaces what its parent had, and children whose parents are gone are removed. Returns `false`
/// when there can be no snapshot of this day: the lake has no such parent, or no request was
/// answered.
pub(in crate::pipeline) async fn read_all(
    export: &Export,
    table: &TableRun<'_>,
    parent: &Parent,
    day: i32,
) -> Result<bool> {
    let asked_at = export.clock.asked_at(Duration::ZERO);
    let parents = if export.settings.ids.is_empty() {
        parent_keys(export, table, parent, day).await?
    } else {
        by_id::named_parents(export, table, parent, day).await?
    };
    let Some(ParentKeys { keys, is_whole }) = parents else { return Ok(false) };
    let present: HashSet<Box<str>> = keys.keys().map(|key| key.as_str().into()).collect();
    let schedule = schedule(export, parent);
    let mut due = due(table, schedule, keys, day).await?;
    leave_out_incomplete(table, &mut due).await;
    export.progress.update(&table.endpoint.name, |live| live.planned += due.len() as u64);
    let reads = due.iter().map(|due| read_one(export, table, schedule, due, day));
    let mut reads = futures::stream::iter(reads).buffer_unordered(export.concurrency);
    while let Some(read) = reads.next().await {
        read?;
    }
    drop(reads);
    // If no request was answered, of this endpoint or another, the day is that of this machine's
    // clock. If that is ahead, the copy of a snapshot would be the newest one for days. Where nothing
    // is due at all, the day gets its copy.
    if export.settings.by_clock && export.client.is_unanswered() {
        return Ok(false);
    }
    if is_whole && table.endpoint.is_snapshot() && !table.is_absent() {
        let listing = Listing { scope: Scope::Parents(day), keys: present, requested_at: asked_at };
        table.add(|change| change.statements.listings.push(listing)).await;
    }
    Ok(true)
}

/// When lists are requested again. Those of explicitly specified parents are requested whatever
/// their last answer was.
fn schedule(export: &Export, parent: &Parent) -> ListSchedule {
    let now = export.queue_now();
    ListSchedule {
        valid_for: parent.refresh.and_then(|it| it.delta().num_microseconds()),
        is_full: export.settings.full || !export.settings.ids.is_empty(),
        now,
        latest: export.clock.server_now().timestamp_micros().max(now),
    }
}

/// Excludes parents whose records lack fields that the requests need.
async fn leave_out_incomplete(table: &TableRun<'_>, due: &mut Vec<DueParent>) {
    let is_incomplete = |parent: &mut DueParent| !has_values(table, &parent.id, &parent.values);
    let incomplete: Vec<DueParent> = due.extract_if(.., is_incomplete).collect();
    if !incomplete.is_empty() {
        warn_without_values(table, incomplete.len());
        let queue = Queue { parked: incomplete.len() as u64, ..Queue::default() };
        let queued = queued::without_values(incomplete.iter().map(|parent| &*parent.id));
        table.owner.note(move |state| state.set_queue(queue, queued)).await;
    }
}

/// The parents to request in this run.
async fn due(
    table: &TableRun<'_>,
    schedule: ListSchedule,
    keys: BTreeMap<String, (String, ParentValues)>,
    day: i32,
) -> Result<Vec<DueParent>> {
    let server_now = table.export().clock.server_now();
    let answers = table.read(Snapshot::parents).await?;
    let rules = table.snapshot().rules(server_now);
    // With `--to` in the past, an answer may be for a snapshot that this one is not copied from.
    let is_elsewhere = |answer: Option<&IndexEntry>| {
        let day_of_answer = answer.and_then(|answer| answer.day);
        let partition = |day| rules.partition(Some(day));
        rules.is_snapshot && day_of_answer.is_some_and(|it| partition(it) > partition(day))
    };
    let due = keys.into_iter().filter_map(|(key, (id, values))| {
        let answer = answers.get(key.as_str());
        let before = answer.and_then(|entry| entry.attempt.clone());
        let is_due = schedule.is_due(before.as_ref(), is_elsewhere(answer));
        is_due.then(|| DueParent {
            key: key.into(),
            values,
            before,
            ..DueParent::of(id.into(), Purpose::default())
        })
    });
    Ok(due.collect())
}

/// Reads the list of one parent, and records its answer.
async fn read_one(
    export: &Export,
    table: &TableRun<'_>,
    schedule: ListSchedule,
    due: &DueParent,
    day: i32,
) -> Result<()> {
    // If a parent's answer shows that this workspace has no such endpoint, no other is requested.
    if table.is_absent() {
        return Ok(());
    }
    let mut listed = Listed::default();
    let scan = Scan { day: Some(day), parent: Some(due.parent()), ..Scan::default() };
    let asked_at = export.clock.asked_at(Duration::ZERO);
    let outcome = read(table, &scan, Some(&mut listed)).await?;
    let attempt = if outcome.is_absent {
        if !export.settings.ids.is_empty() {
            report_missing(table, &due.id, queue::NOT_FOUND).await;
        }
        Some(schedule.absent(due.before.as_ref()))
    } else {
        outcome.is_complete().then(|| schedule.complete())
    };
    let Some(attempt) = attempt else { return Ok(()) };
    let id = due.key.clone();
    let is_snapshot = table.endpoint.is_snapshot();
    // A parent that does not exist has no children.
    let scope = Scope::Parent { id: id.clone(), day };
    let none = Listing { scope: scope.clone(), keys: HashSet::new(), requested_at: asked_at };
    let listing = listed.complete(scope).unwrap_or(none);
    table
        .add(move |change| {
            let answered_at = listing.requested_at;
            change.statements.answers.push(ParentAnswer { id, day, answered_at, attempt });
            change.statements.listings.extend(is_snapshot.then_some(listing));
        })
        .await;
    export.progress.update(&table.endpoint.name, |live| live.done += 1);
    Ok(())
}
