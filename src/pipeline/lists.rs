//! Lists: reads windows, days, and changes, and determines what a commit may state about them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;

use super::children::listing;
use super::export::Export;
use super::reading::read;
use super::scan::{Listed, Scan};
use super::snapshots::snapshot;
use super::table_run::TableRun;
use super::table_state::State;
use crate::calendar::TimeUnit;
use crate::commit_plan::{Listing, Scope};
use crate::endpoint::{Endpoint, ParentRef};
use crate::error::Result;
use crate::manifest::{Manifest, Purpose};
use crate::plan::{self, Planned, Task};
use crate::window::Window;

/// How many windows of a backfill are in progress at once: few, so that little is requested again
/// after a crash, and few commits write each partition.
const BACKFILL_WINDOWS: usize = 4;
/// How long completed parts of a backfill may wait for their commit.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// Runs an endpoint's tasks, and commits what they completed. If the endpoint aggregates by day,
/// the days in `changed` are included.
pub(super) async fn run(export: &Export, table: &TableRun<'_>, changed: &[i32]) -> Result<()> {
    let endpoint = &table.endpoint;
    let manifest = Arc::clone(table.snapshot().manifest());
    let EndpointPlan { planned, goal, once_complete } =
        EndpointPlan::of(export, endpoint, &manifest, changed);
    let has_goal = !goal.is_empty();
    // Whatever is committed first carries the goal: if a run is killed, coverage without a goal
    // would hide what it has not listed.
    add_goal(export, table, goal).await;
    // An endpoint that may not exist gets no table until it has answered.
    if has_goal && !endpoint.experimental {
        table.commit(|_| {}).await?;
    }
    export.progress.update(&endpoint.name, |live| live.planned += planned.len() as u64);
    // Only the first task shows whether the endpoint exists.
    let mut planned = planned.into_iter();
    if let Some(first) = planned.next() {
        run_task(export, table, first).await?;
    }
    if !table.is_absent() {
        if has_goal && endpoint.experimental {
            // It has answered, so its goal is committed before the rest is requested.
            table.commit(|_| {}).await?;
        }
        let (incremental, backfill): (Vec<_>, Vec<_>) =
            planned.partition(|planned| planned.purpose == Purpose::Incremental);
        let at_once = export.concurrency;
        for (planned, at_once) in
            [(incremental, at_once), (backfill, at_once.min(BACKFILL_WINDOWS))]
        {
            let tasks = planned.into_iter().map(|planned| run_task(export, table, planned));
            let mut running = futures::stream::iter(tasks).buffer_unordered(at_once);
            while let Some(done) = running.next().await {
                done?;
            }
        }
    }
    super::missing::mark(export, table).await?;
    close(export, table, once_complete).await
}

/// What a run is going to do for one endpoint.
struct EndpointPlan {
    planned: Vec<Planned>,
    /// What it intends to complete, unless that is recorded already.
    goal: Vec<Window>,
    once_complete: OnceComplete,
}

/// What is known of a table once everything planned is complete.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
struct OnceComplete {
    /// Changes have been read, for the first time.
    knows_changes: bool,
    /// Everything covered was listed, in this run or in the runs that began it.
    lists_all: bool,
    /// Everything covered was listed including private records.
    lists_all_private: bool,
    /// Everything that can be in lost partitions was listed.
    lists_lost: bool,
}

impl EndpointPlan {
    fn of(export: &Export, endpoint: &Endpoint, manifest: &Manifest, changed: &[i32]) -> Self {
        let is_backfill = export.settings.backfill.is_some();
        let private = export.include_private && !endpoint.private.is_empty();
        let known = Some(manifest).filter(|manifest| manifest.version > 0);
        let settings = export.settings_for(endpoint, known);
        let goal = plan::goal(endpoint, known, &settings);
        let is_known = goal.iter().all(|window| manifest.goal.covers(*window));
        let mut planned = plan::tasks(endpoint, known, &settings);
        if endpoint.sums_up_days() {
            plan::add_days(&mut planned, endpoint, changed, manifest);
        }
        let is_full = manifest.coverage.is_empty() || plan::lists_all(known, &settings);
        // With `--to` in the past, a run lists nothing of what was covered after it.
        let covered = manifest.as_of(export.clock.server_now()).coverage.end();
        let reaches_end = covered.is_none_or(|end| end <= export.settings.now);
        let reaches_end = reaches_end && !is_backfill;
        let once_complete = OnceComplete {
            knows_changes: manifest.watermark.is_none() && !is_backfill,
            lists_all: (is_full || !manifest.schema_frozen) && reaches_end,
            lists_all_private: is_full && private && reaches_end,
            lists_lost: reaches_end,
        };
        Self { planned, goal: if is_known { Vec::new() } else { goal }, once_complete }
    }
}

/// Adds the goal to the next commit.
async fn add_goal(export: &Export, table: &TableRun<'_>, goal: Vec<Window>) {
    if goal.is_empty() {
        return;
    }
    let (is_backfill, begun_at) = (export.settings.backfill.is_some(), export.settings.now);
    table
        .add(move |change| {
            if is_backfill {
                change.progress.backfill.extend(&goal);
            }
            change.progress.goal.extend(goal);
            change.progress.begun_at = Some(begun_at);
        })
        .await;
}

/// Commits what is left, with the watermark and the frozen schema if everything is complete.
async fn close(export: &Export, table: &TableRun<'_>, once_complete: OnceComplete) -> Result<()> {
    let now = export.settings.now;
    // For explicitly specified parents, nothing is known about the rest.
    let lists_rest = export.settings.ids.is_empty();
    let has_changes = table.observed.knows_changes();
    if table.is_absent() {
        return Ok(());
    }
    let close = move |state: &mut State| {
        let OnceComplete { knows_changes, lists_all, lists_all_private, lists_lost } =
            once_complete;
        let complete = !state.has_failed() && lists_rest;
        let is_known = has_changes || (knows_changes && complete);
        let watermark = state.watermark(now).filter(|_| is_known);
        let progress = &mut state.change().progress;
        progress.freeze = complete;
        progress.requested_lost = complete && lists_lost;
        progress.relisted_at = (complete && lists_all).then_some(now);
        progress.lists_all_private = complete && lists_all_private;
        progress.watermark = watermark;
        state.commit()
    };
    table.owner.finish(close).await
}

async fn run_task(export: &Export, table: &TableRun<'_>, planned: Planned) -> Result<()> {
    let Planned { task, purpose } = planned;
    match task {
        Task::List(window) => list(table, window, None, purpose).await?,
        Task::Day { window, day } if table.endpoint.sums_up_days() => {
            whole_day(table, window, day, purpose).await?;
        }
        Task::Day { window, day } => {
            for part in parts(&table.endpoint, window) {
                list(table, part, Some(day), purpose).await?;
            }
        }
        Task::Modified { since, before } => {
            let complete = modified(table, since, before, purpose).await?;
            table.observed.note_changes(complete);
        }
        Task::All => match &table.endpoint.parent {
            Some(parent) => {
                let today = export.begun(plan::day(export.settings.now));
                listing::read_all(export, table, parent, today).await?;
            }
            None => {
                // This adds no coverage. If something is missing, the report shows it and the
                // watermark does not move.
                let _ = read(table, &Scan::default(), None).await?;
            }
        },
        Task::Range(window) => range(table, window, purpose).await?,
        Task::Snapshot { day } => snapshot(export, table, export.begun(day)).await?,
    }
    if purpose == Purpose::Backfill && !table.is_absent() {
        table.owner.store(|state| state.checkpoint(CHECKPOINT)).await?;
    }
    export.progress.update(&table.endpoint.name, |live| live.done += 1);
    Ok(())
}

/// Reads one day, replacing its previous contents.
async fn whole_day(table: &TableRun<'_>, window: Window, day: i32, purpose: Purpose) -> Result<()> {
    let mut listed = Listed::default();
    let (mut is_complete, mut lacks_records) = (true, false);
    for part in parts(&table.endpoint, window) {
        let scan = Scan { window: Some(part), day: Some(day), purpose, ..Scan::default() };
        let outcome = read(table, &scan, Some(&mut listed)).await?;
        is_complete &= outcome.is_complete();
        lacks_records |= outcome.lacks_records();
    }
    // A window that ends before its day does says nothing about later records. Windows end on whole
    // seconds.
    let ends = plan::day_step(&table.endpoint).next(window.from);
    let is_part = ends.is_some_and(|end| window.to < end);
    let speaks_to = (window.to + TimeDelta::seconds(1)).timestamp_micros();
    let speaks_to = if is_part { speaks_to } else { i64::MAX };
    table
        .add(move |change| {
            // A day is replaced as a whole, so either all of it is covered or none.
            if is_complete {
                change.progress.coverage.push(window);
                let listing = listed.complete(Scope::Day(day));
                change.statements.listings.extend(listing.map(|listing| Listing {
                    requested_at: listing.requested_at.min(speaks_to),
                    ..listing
                }));
            } else if lacks_records {
                change.progress.uncover(window);
            }
        })
        .await;
    Ok(())
}

/// Reads the records of a whole range, replacing those that the same range had.
async fn range(table: &TableRun<'_>, window: Window, purpose: Purpose) -> Result<()> {
    let Some(parameters) = &table.endpoint.window else { return Ok(()) };
    let (name, day) = (parameters.range_name(window), plan::day(window.from));
    let parent = Some(ParentRef::of(&name));
    let scan = Scan { window: Some(window), day: Some(day), parent, purpose, ..Scan::default() };
    let mut listed = Listed::default();
    let outcome = read(table, &scan, Some(&mut listed)).await?;
    if outcome.is_complete() && !table.is_absent() {
        let listing = listed.complete(Scope::Parent { id: name.into(), day });
        table.add(|change| change.statements.listings.extend(listing)).await;
    }
    Ok(())
}

/// A day in the requested steps, if they are shorter.
pub(super) fn parts(endpoint: &Endpoint, day: Window) -> Vec<Window> {
    let step = endpoint.window.as_ref().and_then(|window| window.step);
    match step.filter(|step| *step < TimeUnit::Day) {
        Some(step) => plan::steps(day, step),
        None => vec![day],
    }
}

/// Reads the records of a window; what has been read becomes covered.
async fn list(
    table: &TableRun<'_>,
    window: Window,
    day: Option<i32>,
    purpose: Purpose,
) -> Result<()> {
    let scan = Scan { window: Some(window), day, purpose, covers: true, ..Scan::default() };
    // What could not be read is not covered, and the report lists it as missing.
    let _ = read(table, &scan, None).await?;
    Ok(())
}

/// Reads what changed since an instant. Returns whether all of it is known, or will be listed again
/// by its time.
async fn modified(
    table: &TableRun<'_>,
    since: DateTime<Utc>,
    before: DateTime<Utc>,
    purpose: Purpose,
) -> Result<bool> {
    let is_windowed = table.endpoint.window.is_some();
    let window = is_windowed.then(|| Window::new(DateTime::UNIX_EPOCH, before));
    let scan = Scan { window, modified_since: Some(since), purpose, ..Scan::default() };
    let outcome = read(table, &scan, None).await?;
    let Some(gaps) = outcome.gaps().filter(|_| is_windowed || outcome.is_complete()) else {
        return Ok(false);
    };
    if !gaps.is_empty() {
        // Committed first, because what this run lists later covers it again.
        table.commit(|change| change.progress.not_covered.extend(gaps)).await?;
    }
    Ok(true)
}
