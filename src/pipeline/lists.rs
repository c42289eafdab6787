//! Lists: windows, days and snapshots, page by page.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tracing::{Instrument, Span};

use super::pages::Pages;
use super::snapshots::snapshot;
use super::table_run::TableRun;
use super::{Export, children, means_absent};
use crate::calendar::TimeUnit;
use crate::decode::Rows;
use crate::endpoint::{Driver, Endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::FetchError;
use crate::lake::{Change, SnapshotKeys};
use crate::manifest::{Manifest, Purpose};
use crate::paginate::Step;
use crate::plan::{self, Planned, Task};
use crate::retry::Failure;
use crate::window::Window;

/// How many windows of a backfill are under way at once: few, so that little is asked for again
/// after a crash, and each partition is written by few commits.
const BACKFILL_WINDOWS: usize = 4;
/// How long what is complete of a backfill may wait for its commit.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// Runs an endpoint's tasks, and commits what they completed. Of an endpoint that sums up days,
/// those of `changed` are among them.
pub(super) async fn run(export: &Export, table: &TableRun<'_>, changed: &[i32]) -> Result<()> {
    let endpoint = &table.endpoint;
    let mut intent = Intent::of(export, endpoint, table.state().await.table.manifest(), changed);
    let (planned, mut goal) =
        (std::mem::take(&mut intent.planned), std::mem::take(&mut intent.goal));
    let is_backfill = intent.is_backfill;
    // An endpoint that may be absent gets no table before it has answered.
    if !goal.is_empty() && !endpoint.experimental {
        table
            .commit(|change| {
                aim(change, std::mem::take(&mut goal), is_backfill);
                change.begun_at = Some(export.settings.now);
                change.private = (!intent.private).then_some(false);
            })
            .await?;
    }
    export.progress.update(&endpoint.name, |live| live.planned += planned.len() as u64);
    // The first task alone tells whether the endpoint is there at all.
    let mut planned = planned.into_iter();
    if let Some(first) = planned.next() {
        run_task(export, table, first).await?;
    }
    if !table.state().await.absent {
        if !goal.is_empty() {
            // It has answered, so what it is to complete is committed before the rest is asked for.
            table.commit(|change| aim(change, std::mem::take(&mut goal), is_backfill)).await?;
        }
        let (nightly, backfill): (Vec<_>, Vec<_>) =
            planned.partition(|planned| planned.purpose == Purpose::Nightly);
        let at_once = export.concurrency;
        for (planned, at_once) in [(nightly, at_once), (backfill, at_once.min(BACKFILL_WINDOWS))] {
            let tasks = planned.into_iter().map(|planned| run_task(export, table, planned));
            let mut running = futures::stream::iter(tasks).buffer_unordered(at_once);
            while let Some(done) = running.next().await {
                done?;
            }
        }
    }
    table.add(|change| aim(change, goal, is_backfill)).await;
    super::missing::mark(export, table).await?;
    close(export, table, &intent).await
}

/// What a run is to do for one endpoint, and what it will have done then.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
struct Intent {
    planned: Vec<Planned>,
    goal: Vec<Window>,
    is_backfill: bool,
    /// Whether nothing is known of changes yet.
    is_first: bool,
    /// Whether it will have listed all that is covered, now or in the runs that began it.
    lists_all: bool,
    /// Whether private records are asked for too.
    private: bool,
    /// Whether all that is covered will have been listed with them.
    lists_all_private: bool,
}

impl Intent {
    fn of(export: &Export, endpoint: &Endpoint, manifest: &Manifest, changed: &[i32]) -> Self {
        let is_backfill = export.settings.backfill.is_some();
        let private = export.include_private && !endpoint.private.is_empty();
        let known = Some(manifest).filter(|manifest| manifest.version > 0);
        let settings = export.settings_for(endpoint, known);
        let goal = plan::goal(endpoint, known, &settings);
        let is_known = goal.iter().all(|window| manifest.goal.covers(*window));
        let mut planned = plan::tasks(endpoint, known, &settings);
        if is_of_the_day(endpoint) {
            plan::add_days(&mut planned, changed, manifest);
        }
        let is_full = manifest.coverage.is_empty() || plan::lists_all(known, &settings);
        Self {
            planned,
            goal: if is_known { Vec::new() } else { goal },
            is_backfill,
            is_first: manifest.watermark.is_none() && !is_backfill,
            lists_all: (is_full || !manifest.settled) && !is_backfill,
            private,
            lists_all_private: is_full && private && !is_backfill,
        }
    }
}

/// Notes what the run is to complete.
fn aim(change: &mut Change, goal: Vec<Window>, is_backfill: bool) {
    if is_backfill {
        change.backfill.extend(&goal);
    }
    change.goal.extend(goal);
}

/// Commits what is left, with the watermark and the settled schema if all is complete.
async fn close(export: &Export, table: &TableRun<'_>, intent: &Intent) -> Result<()> {
    let now = export.settings.now;
    let (watermark, complete) = {
        let state = table.state().await;
        if state.absent {
            return Ok(());
        }
        let complete = !state.has_failed();
        let is_known = state.changes_complete || (intent.is_first && complete);
        (state.watermark(now).filter(|_| is_known), complete)
    };
    table
        .commit(|change| {
            change.settle = complete;
            change.relisted_at = (complete && intent.lists_all).then_some(now);
            let is_private = complete && intent.lists_all_private;
            change.private = change.private.or(is_private.then_some(true));
            change.watermark = watermark;
        })
        .await
}

async fn run_task(export: &Export, table: &TableRun<'_>, planned: Planned) -> Result<()> {
    let Planned { task, purpose } = planned;
    match task {
        Task::List(window) => {
            list(table, window, None, None, purpose).await?;
        }
        Task::Day { window, day } if is_of_the_day(&table.endpoint) => {
            whole_day(table, window, day, purpose).await?;
        }
        Task::Day { window, day } => {
            for part in parts(&table.endpoint, window) {
                list(table, part, None, Some(day), purpose).await?;
            }
        }
        Task::Modified { since, before } => {
            let complete = if table.endpoint.window.is_some() {
                let window = Window::new(DateTime::UNIX_EPOCH, before);
                list(table, window, Some(since), None, purpose).await?
            } else {
                let scan = Scan { modified_since: Some(since), ..Scan::default() };
                matches!(read(table, &scan, None).await?, Read::Complete)
            };
            table.state().await.changes_complete = complete;
        }
        Task::All => match &table.endpoint.parent {
            Some(parent) => {
                let today = plan::day(export.settings.now);
                children::read_all(export, table, parent, today).await?;
            }
            None => {
                read(table, &Scan::default(), None).await?;
            }
        },
        Task::Snapshot { day } => snapshot(export, table, day).await?,
    }
    if purpose == Purpose::Backfill {
        table.checkpoint(CHECKPOINT).await?;
    }
    export.progress.update(&table.endpoint.name, |live| live.done += 1);
    Ok(())
}

/// Whether the endpoint's records say something of their day, so that a reply is all there is of it.
pub(super) fn is_of_the_day(endpoint: &Endpoint) -> bool {
    endpoint.key.iter().any(|key| endpoint.is_day(key))
}

/// Reads what there is of one day, which replaces what there was.
async fn whole_day(table: &TableRun<'_>, window: Window, day: i32, purpose: Purpose) -> Result<()> {
    let mut keys = HashSet::new();
    for part in parts(&table.endpoint, window) {
        let scan = Scan { window: Some(part), day: Some(day), purpose, ..Scan::default() };
        if !matches!(read(table, &scan, Some(&mut keys)).await?, Read::Complete) {
            return Ok(());
        }
    }
    table
        .add(|change| {
            change.coverage.push(window);
            change.snapshots.push(SnapshotKeys { day, keys });
        })
        .await;
    Ok(())
}

/// A day in the steps that are asked for, where they are shorter.
pub(super) fn parts(endpoint: &Endpoint, day: Window) -> Vec<Window> {
    let step = endpoint.window.as_ref().and_then(|window| window.step);
    match step.filter(|step| *step < TimeUnit::Day) {
        Some(step) => plan::steps(day, step),
        None => vec![day],
    }
}

/// Reads a window, and the windows that it falls into when it is too large; whether all of it was
/// read.
async fn list(
    table: &TableRun<'_>,
    window: Window,
    modified_since: Option<DateTime<Utc>>,
    day: Option<i32>,
    purpose: Purpose,
) -> Result<bool> {
    let mut windows = vec![window];
    let mut complete = true;
    while let Some(window) = windows.pop() {
        let scan = Scan { window: Some(window), modified_since, day, parent: None, purpose };
        let complete_to = match read(table, &scan, None).await? {
            Read::Complete => Some(window.to),
            Read::Split(rest) => {
                let complete_to = rest.first().map(|first| first.from);
                windows.extend(rest.into_iter().rev());
                complete_to
            }
            Read::Absent | Read::Failed => None,
        };
        complete &= complete_to.is_some();
        let covered = complete_to.map(|to| Window::new(window.from, to));
        let covered = covered.filter(|it| modified_since.is_none() && !it.is_empty());
        if let Some(covered) = covered {
            cover(table, covered).await;
        }
    }
    Ok(complete)
}

/// Notes that a window is complete.
async fn cover(table: &TableRun<'_>, window: Window) {
    let mut state = table.state().await;
    state.listed.add(window);
    state.change().coverage.push(window);
}

/// One list to read: of a window, of a parent, or all there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan<'a> {
    pub(super) window: Option<Window>,
    pub(super) modified_since: Option<DateTime<Utc>>,
    pub(super) day: Option<i32>,
    pub(super) parent: Option<Driver<'a>>,
    pub(super) purpose: Purpose,
}

/// How a list came out.
pub(super) enum Read {
    /// All of it was read.
    Complete,
    /// Up to the first of these windows it was read.
    Split(Vec<Window>),
    /// The parent names what is not there; that is all there is to know.
    Absent,
    /// Something is missing; it has been reported.
    Failed,
}

/// Reads a list page by page. The keys of all rows go to `keys`, if given.
pub(super) async fn read(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    keys: Option<&mut HashSet<Box<str>>>,
) -> Result<Read> {
    read_pages(table, scan, keys).instrument(span(scan)).await
}

/// What the log says a list is of.
fn span(scan: &Scan<'_>) -> Span {
    let Some(Window { from, to }) = scan.window else { return Span::none() };
    tracing::error_span!("window", from = %from.format("%FT%TZ"), to = %to.format("%FT%TZ"))
}

async fn read_pages(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    mut keys: Option<&mut HashSet<Box<str>>>,
) -> Result<Read> {
    let mut pages = Pages::new(scan, &table.endpoint);
    let mut failed = false;
    loop {
        let answer = match pages.ask(table).await {
            Ok(answer) => answer,
            Err(FetchError::Failed(Failure::TooLarge, _)) if pages.shrink() => continue,
            Err(FetchError::Failed(Failure::TooLarge, error)) => {
                table.fail(scan.window, FetchError::Failed(Failure::TooLarge, error)).await;
                failed = true;
                match pages.pass_over() {
                    Some(Step::Get(_)) => continue,
                    _ => return Ok(Read::Failed),
                }
            }
            // The page before was the last, and happened to be full.
            Err(FetchError::Failed(Failure::NotFound, _)) if pages.is_beyond() => {
                return Ok(Read::Complete);
            }
            // A server that takes no `skip` has said it all.
            Err(FetchError::Failed(Failure::Refused(_), _)) if pages.is_suspicion() => {
                return Ok(Read::Complete);
            }
            Err(error) => return refuse(table, scan, error).await,
        };
        tracing::debug!(records = answer.page.entries.len(), "page");
        if let Some(keys) = &mut keys {
            keys.extend(answer.rows.facts.iter().map(|facts| facts.key.clone()));
        }
        let step = pages.next(&answer);
        let rows = begun(answer.rows, scan.window)?;
        table.absorb(rows).await?;
        match step {
            Step::Get(_) => {}
            Step::Done | Step::Split(_) if failed => return Ok(Read::Failed),
            Step::Done => return Ok(Read::Complete),
            Step::Split(windows) => return Ok(Read::Split(windows)),
            Step::Stuck(stuck) => {
                let error = Error::new(ErrorKind::Unavailable, stuck.to_string());
                table.fail(scan.window, FetchError::Failed(Failure::Broken, error)).await;
                return Ok(Read::Failed);
            }
        }
    }
}

async fn refuse(table: &TableRun<'_>, scan: &Scan<'_>, error: FetchError) -> Result<Read> {
    if let FetchError::Failed(failure, error) = error {
        if failure == Failure::NotFound && scan.parent.is_some() {
            return Ok(Read::Absent);
        }
        if means_absent(&table.endpoint, failure) {
            table.state().await.absent = true;
        } else if error.kind() == ErrorKind::Denied {
            let halted = table.export().client.halt(error);
            table.fail(scan.window, halted).await;
        } else {
            table.fail(scan.window, FetchError::Failed(failure, error)).await;
        }
    } else {
        table.fail(scan.window, error).await;
    }
    Ok(Read::Failed)
}

/// The rows of calls that have begun when the window ends; a call is exported once it has begun.
fn begun(rows: Rows, window: Option<Window>) -> Result<Rows> {
    let Some(to) = window.map(|window| window.to.timestamp_micros()) else { return Ok(rows) };
    let has_begun = |time: Option<i64>| time.is_none_or(|time| time < to);
    if rows.facts.iter().all(|facts| has_begun(facts.time)) {
        return Ok(rows);
    }
    let kept = (0u32..).zip(&rows.facts).filter(|(_, facts)| has_begun(facts.time));
    rows.take(&kept.map(|(row, _)| row).collect::<Vec<_>>())
}
