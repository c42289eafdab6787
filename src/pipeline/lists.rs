//! Lists: windows, days and snapshots, page by page.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::requests::{Asked, request};
use super::table_run::{Answer, TableRun};
use super::{Export, means_absent, plan_of};
use crate::decode::{Origin, Rows};
use crate::endpoint::{Endpoint, Paging, SkipLimit};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::FetchError;
use crate::lake::SnapshotKeys;
use crate::paginate::{Paginator, Step};
use crate::plan::{self, Task};
use crate::report::Problem;
use crate::retry::Failure;
use crate::window::Window;

/// Runs an endpoint's tasks, and commits what they completed.
pub(super) async fn run(export: &Export, table: &TableRun<'_>) -> Result<()> {
    let endpoint = &table.endpoint;
    let (tasks, mut goal, is_first) = {
        let state = table.state().await;
        let manifest = state.table.manifest();
        let goal =
            plan::goal(endpoint, Some(manifest).filter(|it| it.version > 0), &export.settings);
        let is_known = goal.iter().all(|window| manifest.goal.covers(*window));
        let goal = if is_known { Vec::new() } else { goal };
        (plan_of(export, endpoint, manifest), goal, manifest.watermark.is_none())
    };
    // An endpoint that may be absent gets no table before it has answered.
    if !goal.is_empty() && !endpoint.experimental {
        table.commit(|change| change.goal = std::mem::take(&mut goal)).await?;
    }
    let looks_for_changes = is_first || tasks.iter().any(|it| matches!(it, Task::Modified { .. }));
    export.progress.update(&endpoint.name, |live| live.planned += tasks.len() as u64);
    // The first task alone tells whether the endpoint is there at all.
    let mut tasks = tasks.into_iter();
    if let Some(first) = tasks.next() {
        run_task(export, table, first).await?;
    }
    if !table.state().await.absent {
        let mut rest = futures::stream::iter(tasks.map(|task| run_task(export, table, task)))
            .buffer_unordered(export.concurrency);
        while let Some(done) = rest.next().await {
            done?;
        }
    }
    table.add(|change| change.goal.extend(goal)).await;
    super::missing::mark(export, table).await?;
    close(export, table, looks_for_changes).await
}

/// Commits what is left, with the watermark and the settled schema if all is complete.
async fn close(export: &Export, table: &TableRun<'_>, looks_for_changes: bool) -> Result<()> {
    let (watermark, complete) = {
        let state = table.state().await;
        if state.absent {
            return Ok(());
        }
        (state.watermark(export.settings.now), !state.has_problems())
    };
    table
        .commit(|change| {
            change.settle = complete;
            change.watermark = watermark.filter(|_| complete && looks_for_changes);
        })
        .await
}

async fn run_task(export: &Export, table: &TableRun<'_>, task: Task) -> Result<()> {
    match task {
        Task::List(window) => list(table, window, None, None).await?,
        Task::Day { window, day } if is_of_the_day(&table.endpoint) => {
            whole_day(table, window, day).await?;
        }
        Task::Day { window, day } => list(table, window, None, Some(day)).await?,
        Task::Modified { since, before } => {
            let window = Window::new(DateTime::UNIX_EPOCH, before);
            list(table, window, Some(since), None).await?;
        }
        Task::Snapshot { day } => snapshot(export, table, day).await?,
    }
    export.progress.update(&table.endpoint.name, |live| live.done += 1);
    Ok(())
}

/// Whether the endpoint's records say something of their day, so that a reply is all there is of it.
fn is_of_the_day(endpoint: &Endpoint) -> bool {
    endpoint.key.iter().any(|key| endpoint.is_day(key))
}

/// Reads what there is of one day, which replaces what there was.
async fn whole_day(table: &TableRun<'_>, window: Window, day: i32) -> Result<()> {
    let mut keys = HashSet::new();
    let scan = Scan { window: Some(window), day: Some(day), ..Scan::default() };
    if matches!(read(table, &scan, Some(&mut keys)).await?, Read::Complete) {
        table
            .add(|change| {
                change.coverage.push(window);
                change.snapshots.push(SnapshotKeys { day, keys });
            })
            .await;
    }
    Ok(())
}

/// Reads a window, and the windows that it falls into when it is too large.
async fn list(
    table: &TableRun<'_>,
    window: Window,
    modified_since: Option<DateTime<Utc>>,
    day: Option<i32>,
) -> Result<()> {
    let mut windows = vec![window];
    while let Some(window) = windows.pop() {
        let scan = Scan { window: Some(window), modified_since, day, parent: None };
        let complete_to = match read(table, &scan, None).await? {
            Read::Complete => Some(window.to),
            Read::Split(rest) => {
                let complete_to = rest.first().map(|first| first.from);
                windows.extend(rest.into_iter().rev());
                complete_to
            }
            Read::Failed => None,
        };
        let covered = complete_to.map(|to| Window::new(window.from, to));
        let covered = covered.filter(|it| modified_since.is_none() && !it.is_empty());
        if let Some(covered) = covered {
            table.state().await.listed.add(covered);
        }
        table.add(|change| change.coverage.extend(covered)).await;
    }
    Ok(())
}

/// One list to read: of a window, of a parent, or all there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan<'a> {
    pub(super) window: Option<Window>,
    pub(super) modified_since: Option<DateTime<Utc>>,
    pub(super) day: Option<i32>,
    pub(super) parent: Option<&'a str>,
}

/// How a list came out.
pub(super) enum Read {
    /// All of it was read.
    Complete,
    /// Up to the first of these windows it was read.
    Split(Vec<Window>),
    /// Something is missing; it has been reported.
    Failed,
}

/// Reads a list page by page. The keys of all rows go to `keys`, if given.
pub(super) async fn read(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    mut keys: Option<&mut HashSet<Box<str>>>,
) -> Result<Read> {
    let paged = match &table.endpoint.paging {
        Paging::SkipLimit(paging) => Some(paging.clone()),
        Paging::Whole => None,
    };
    let mut pages = Pages::new(scan, paged);
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
            Err(error) => return refuse(table, scan, error).await,
        };
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
            // The parent names what is not there; that is all there is to know.
            return Ok(Read::Complete);
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

/// The pages of one list, whether the server pages it or says that it does not.
struct Pages<'a> {
    scan: &'a Scan<'a>,
    paging: Option<SkipLimit>,
    paginator: Option<Paginator>,
    /// The keys of a reply that is said to be whole and does not look it.
    suspected: Option<HashSet<Box<str>>>,
}

/// Page sizes that make a whole reply look like the first page of more.
const USUAL_PAGE_SIZES: [usize; 3] = [25, 50, 100];

impl<'a> Pages<'a> {
    fn new(scan: &'a Scan<'a>, paging: Option<SkipLimit>) -> Self {
        let window = scan.window.unwrap_or(Window::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH));
        let paginator = paging.as_ref().map(|paging| Paginator::new(window, paging));
        Self { scan, paging, paginator, suspected: None }
    }

    async fn ask(&self, table: &TableRun<'_>) -> Result<Answer, FetchError> {
        let get = self.paginator.as_ref().map(Paginator::asked).zip(self.paging.as_ref());
        let asked = Asked {
            window: self.scan.window,
            modified_since: self.scan.modified_since,
            parent: self.scan.parent,
            get,
            private: table.export().include_private,
        };
        let origin =
            Origin { fetched_at: 0, parent: self.scan.parent.map(Into::into), day: self.scan.day };
        table.ask(&request(&table.endpoint, &asked), &origin).await
    }

    fn shrink(&mut self) -> bool {
        self.paginator.as_mut().is_some_and(|paginator| paginator.shrink().is_some())
    }

    /// Leaves out a single record that is too large to be sent.
    fn pass_over(&mut self) -> Option<Step> {
        self.paginator.as_mut().map(Paginator::pass_over)
    }

    fn next(&mut self, answer: &Answer) -> Step {
        if let Some(suspected) = self.suspected.take() {
            let is_known = |entry: &crate::page::PageEntry| suspected.contains(&entry.key);
            if answer.page.entries.iter().all(is_known) {
                return Step::Done;
            }
        }
        if let Some(paginator) = &mut self.paginator {
            return paginator.next(&answer.page);
        }
        let count = answer.page.entries.len();
        let looks_paged = USUAL_PAGE_SIZES.contains(&count) || answer.page.has_more == Some(true);
        if !looks_paged || count < 2 {
            return Step::Done;
        }
        // Asked once more, beginning with the last record: new keys mean that it was paged.
        let paging = SkipLimit {
            page_size: u32::try_from(count).unwrap_or(100).min(100),
            ..SkipLimit::default()
        };
        let mut paginator =
            Paginator::new(Window::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH), &paging);
        let step = paginator.next(&answer.page);
        self.suspected = Some(answer.page.entries.iter().map(|entry| entry.key.clone()).collect());
        (self.paging, self.paginator) = (Some(paging), Some(paginator));
        step
    }
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

/// Reads everything there is, for every parent if there are parents, and replaces the day's
/// snapshot by it.
async fn snapshot(export: &Export, table: &TableRun<'_>, day: i32) -> Result<()> {
    let mut keys = HashSet::new();
    let complete = match &table.endpoint.parent {
        None => {
            let scan = Scan { day: Some(day), ..Scan::default() };
            matches!(read(table, &scan, Some(&mut keys)).await?, Read::Complete)
        }
        Some(parent) => {
            let parents = super::chains::parent_ids(export, parent, day).await?;
            let Some(parents) = parents else { return Ok(()) };
            children(export, table, &parents, day, &mut keys).await?
        }
    };
    if complete {
        table.commit(|change| change.snapshots.push(SnapshotKeys { day, keys })).await?;
    }
    Ok(())
}

/// Reads the lists of all parents; whether all of them are complete.
async fn children(
    export: &Export,
    table: &TableRun<'_>,
    parents: &[String],
    day: i32,
    keys: &mut HashSet<Box<str>>,
) -> Result<bool> {
    export.progress.update(&table.endpoint.name, |live| live.planned += parents.len() as u64);
    let read_one = async |parent: &String| {
        let mut keys = HashSet::new();
        let scan = Scan { day: Some(day), parent: Some(parent), ..Scan::default() };
        let read = read(table, &scan, Some(&mut keys)).await?;
        export.progress.update(&table.endpoint.name, |live| live.done += 1);
        Ok::<_, Error>((matches!(read, Read::Complete), keys))
    };
    let mut reads =
        futures::stream::iter(parents.iter().map(read_one)).buffer_unordered(export.concurrency);
    let mut complete = true;
    while let Some(read) = reads.next().await {
        let (is_complete, found) = read?;
        complete &= is_complete;
        keys.extend(found);
    }
    Ok(complete)
}

/// A problem of the whole endpoint.
pub(super) fn problem(endpoint: &Endpoint, message: String) -> Problem {
    Problem { endpoint: endpoint.name.clone(), window: None, message }
}
