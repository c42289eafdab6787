//! Children that are read by listing: each parent's key leads to a list.
//!
//! How long a list stays valid is set by the endpoint; a parent that does not exist is requested
//! less and less often. The parents' answers are stored separately from the rows.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures::StreamExt;

use super::by_id;
use super::parents::{ParentKeys, is_named, parent_keys, warn_unnamed};
use crate::commit_plan::{Listing, ParentAnswer, Scope};
use crate::endpoint::{Named, Parent, ParentRef};
use crate::error::Result;
use crate::manifest::{Attempt, IndexEntry, ParentVersion};
use crate::pipeline::Export;
use crate::pipeline::reading::{Listed, Scan, read};
use crate::pipeline::table_run::TableRun;
use crate::plan::queue::{self, Due};
use crate::report::Queue;

/// The version of every parent: only its key affects the request.
const KEY_ALONE: u128 = 1;

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
    let mut due = due(table, parent, keys, day).await?;
    leave_out_unnamed(table, &mut due).await;
    let is_asked = !due.is_empty();
    export.progress.update(&table.endpoint.name, |live| live.planned += due.len() as u64);
    let reads = due.iter().map(|due| read_one(export, table, parent, due, day));
    let mut reads = futures::stream::iter(reads).buffer_unordered(export.concurrency);
    while let Some(read) = reads.next().await {
        read?;
    }
    drop(reads);
    // If no request was answered, the day is that of this machine's clock. If that is ahead, the copy
    // of a snapshot would be the newest one for days. Where nothing is due, the day gets its copy.
    if is_asked && export.settings.by_clock && !export.client.has_read() {
        return Ok(false);
    }
    if is_whole && table.endpoint.is_snapshot() && !table.is_absent().await? {
        let listing = Listing { scope: Scope::Parents(day), keys: present, requested_at: asked_at };
        table.add(|change| change.statements.listings.push(listing)).await;
    }
    Ok(true)
}

/// Excludes parents whose records lack fields that the requests need.
async fn leave_out_unnamed(table: &TableRun<'_>, due: &mut Vec<DueParent>) {
    let before = due.len();
    due.retain(|parent| is_named(table, &parent.id, &parent.named));
    let count = before - due.len();
    if count > 0 {
        warn_unnamed(table, count);
        let queue = Queue { parked: count as u64, ..Queue::default() };
        table.owner.tell(move |state| state.set_queue(queue)).await;
    }
}

/// A parent, the fields that requests need from its record, and its last answer.
struct DueParent {
    /// Distinguishes it from the others.
    key: String,
    id: String,
    named: Named,
    before: Option<Attempt>,
}

/// The parents to request in this run.
async fn due(
    table: &TableRun<'_>,
    parent: &Parent,
    keys: BTreeMap<String, (String, Named)>,
    day: i32,
) -> Result<Vec<DueParent>> {
    let export = table.export();
    let now = export.settings.now.timestamp_micros();
    let server_now = export.clock.server_now();
    let latest = server_now.timestamp_micros().max(now);
    let good_for = parent.refresh.and_then(|it| it.delta().num_microseconds()).unwrap_or(0);
    // Explicitly specified parents are requested whatever their last answer was.
    let is_full = export.settings.full || !export.settings.ids.is_empty();
    let keeps = parent.refresh.is_some() && !is_full;
    let answers = table.owner.run(|state| state.read(crate::lake::Snapshot::parents)).await?;
    let rules = table.owner.ask(move |state| state.snapshot.rules(server_now)).await?;
    // With `--to` in the past, an answer may be for a snapshot that this one is not copied from.
    let is_elsewhere = |answer: Option<&IndexEntry>| {
        let day_of_answer = answer.and_then(|answer| answer.day);
        let partition = |day| rules.partition(Some(day));
        rules.is_snapshot && day_of_answer.is_some_and(|it| partition(it) > partition(day))
    };
    let is_due = |before: Option<&Attempt>, is_elsewhere: bool| match state(before, now) {
        State::Fresh => !keeps || is_elsewhere,
        State::Absent => is_full,
        State::Due => true,
    };
    let due = keys.into_iter().filter_map(|(key, (id, named))| {
        let answer = answers.get(key.as_str());
        let before = answer.and_then(|entry| entry.attempt.clone());
        // An answer that is valid for longer than possible was recorded with a wrong clock.
        let before = before.filter(|it| {
            let noted_at = it.next_try_at.saturating_sub(good_for);
            queue::is_near(if it.reason.is_none() { noted_at } else { it.next_try_at }, latest)
        });
        is_due(before.as_ref(), is_elsewhere(answer)).then_some(DueParent {
            key,
            id,
            named,
            before,
        })
    });
    Ok(due.collect())
}

enum State {
    Due,
    Fresh,
    Absent,
}

fn state(before: Option<&Attempt>, now: i64) -> State {
    match before {
        Some(before) if before.reason.is_none() && before.next_try_at > now => State::Fresh,
        Some(before) if before.reason.is_some() => match queue::due(Some(before), KEY_ALONE, now) {
            Due::Later | Due::Never => State::Absent,
            Due::Now | Due::Settled => State::Due,
        },
        _ => State::Due,
    }
}

/// Reads the list of one parent, and records its answer.
async fn read_one(
    export: &Export,
    table: &TableRun<'_>,
    parent: &Parent,
    due: &DueParent,
    day: i32,
) -> Result<()> {
    // If a parent's answer shows that this workspace has no such endpoint, no other is requested.
    if table.is_absent().await? {
        return Ok(());
    }
    let mut listed = Listed::default();
    let requested = ParentRef { key: &due.key, id: &due.id, named: &due.named };
    let scan = Scan { day: Some(day), parent: Some(requested), ..Scan::default() };
    let asked_at = export.clock.asked_at(Duration::ZERO);
    let outcome = read(table, &scan, Some(&mut listed)).await?;
    let now = export.settings.now.timestamp_micros();
    let parent_version = ParentVersion::Content(KEY_ALONE);
    let attempt = if outcome.is_absent {
        let reason = Some("not found (404)");
        if !export.settings.ids.is_empty() {
            by_id::report_missing(table, &due.id, "not found (404)").await;
        }
        Some(queue::attempt(due.before.as_ref(), KEY_ALONE, reason, now))
    } else if outcome.is_complete() {
        let good_for = parent.refresh.and_then(|it| it.delta().num_microseconds());
        let next_try_at = good_for.map_or(0, |good_for| now.saturating_add(good_for));
        Some(Attempt { parent: parent_version, next_try_at, ..Attempt::default() })
    } else {
        None
    };
    let Some(attempt) = attempt else { return Ok(()) };
    let id: Box<str> = due.key.as_str().into();
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
