//! Reading: one list, page by page, with all the windows that it is split into. Rows go to the
//! table, and the result is an [`Outcome`]. Every gap is in the report before the caller learns
//! about it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use chrono::{DateTime, Utc};
use tracing::{Instrument, Span};

use super::export::{Export, means_absent};
use super::gaps::report;
use super::scan::{Fault, Listed, Outcome, Scan};
use super::table_run::{Answer, TableRun};
use super::table_state::Kept;
use crate::calendar::TimeUnit;
use crate::decode::{Origin, Rows};
use crate::endpoint::{Dated, Endpoint, WindowParameters};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Asked, FetchError, Request, request};
use crate::lake::{Snapshot, key_hash};
use crate::paginate::{self, Ask, Miss};
use crate::partition::Partition;
use crate::plan;
use crate::retry::Failure;
use crate::window::{Window, day_of};

/// The hashes of a list's keys, each with its record's content hash.
type Came = BTreeMap<i64, u128>;

/// Reads a list, page by page, with all the windows that it is split into. The keys of all rows are
/// added to `listed`, if given.
pub(super) async fn read(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    mut listed: Option<&mut Listed>,
) -> Result<Outcome> {
    let mut scope = scope_of(&table.endpoint, scan).with_habits(table.observed.habits());
    let mut came = BTreeMap::new();
    while scope.ask().is_some() {
        let span = span(scope.window());
        let found = (listed.as_deref_mut(), &mut came);
        read_page(table, scan, &mut scope, found).instrument(span).await?;
        table.observed.note_habits(scope.habits());
    }
    let extent = scope.into_extent();
    let mut outcome = Outcome { more_was_refused: extent.more_was_refused, ..Outcome::default() };
    if extent.hidden > 0 {
        tracing::warn!(records = extent.hidden, "the API counts records that it does not return");
    }
    if extent.is_unfiltered {
        tracing::warn!(
            "most records are outside the requested window: the API seems to ignore the filter"
        );
    }
    if extent.confirmations > 0 {
        table.owner.note(move |state| state.note_confirmations(extent.confirmations)).await;
    }
    for gap in extent.gaps {
        report(table, scan, gap, &mut outcome).await;
    }
    if let Some(window) = same_records_in(table, scan, &came) {
        let message = "all windows contain the same records: the API seems to ignore the filter";
        let error = Error::new(ErrorKind::Unavailable, message);
        outcome.unreadable.push(Some(window));
        if scan.covers {
            table.add(move |change| change.progress.uncover(window)).await;
        }
        table.fail(Some(window), FetchError::Failed(Failure::Broken, error)).await;
    }
    Ok(outcome)
}

/// Requests the next page, and stores its records.
async fn read_page(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    scope: &mut paginate::Scope<Fault>,
    (listed, came): (Option<&mut Listed>, &mut Came),
) -> Result<()> {
    let Some(asked) = scope.ask() else { return Ok(()) };
    match ask(table, scan, asked).await {
        Ok(mut answer) => {
            tracing::debug!(records = answer.page.entries.len(), "page");
            if scope.needs_known(&answer.page) {
                let keys = || answer.rows.facts.iter().map(|facts| key_hash(&facts.key));
                let came = came.keys().copied().chain(keys()).collect();
                answer.page.lacks_known = lacks_known(table, scan, scope.window(), came).await?;
            }
            let none = Kept::Only(Vec::new());
            if scope.is_nothing(&answer.page) {
                return table.store(answer.batch(none)).await;
            }
            if let Some(refused) = refused(table, scan, scope, &answer).await? {
                scope.miss(Miss::Failed, refused);
                return table.store(answer.batch(none)).await;
            }
            for facts in &answer.rows.facts {
                let before = came.insert(key_hash(&facts.key), facts.hash);
                if let Some(before) = before.filter(|before| *before != facts.hash) {
                    let (key, contents) = (facts.key.clone(), [before, facts.hash]);
                    table.owner.note(move |state| state.note_same_key(&key, contents)).await;
                }
            }
            table.advise(scope.window(), answer.page.total);
            if let Some(listed) = listed {
                listed.take(&answer.rows, answer.requested_at);
            }
            let kept = begun(&answer.rows, scope.window().map(|_| table.export().settings.now));
            note_seen(table, &answer.rows, &kept);
            scope.take(&answer.page);
            table.store(answer.batch(kept)).await?;
        }
        Err(error) => {
            let error = halt_if_denied(table, error);
            let miss = miss_of(&error);
            scope.miss(miss, Fault(error));
            if miss == Miss::TooLarge && table.export().client.needs_proof() {
                scope.prove();
            }
        }
    }
    if scan.covers {
        cover(table, scope.take_read()).await;
    }
    Ok(())
}

/// Why a reply is not taken for what was requested, if so: it may be another's, or an empty list
/// that is none.
async fn refused(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    scope: &paginate::Scope<Fault>,
    answer: &Answer,
) -> Result<Option<Fault>> {
    let page = &answer.page;
    if page.entries.is_empty() && scan.parent.is_some() && table.endpoint.returns_what_was_asked() {
        let message = "the reply holds no record, and does not say that there is none (404)";
        return Ok(Some(broken(ErrorKind::Data, message)));
    }
    let emptied = if page.is_null {
        Some("null came twice instead of a list of which the lake has rows")
    } else {
        let message = "the reply counts records but has none, and the lake has rows";
        scope.empties(page).then_some(message)
    };
    if let Some(message) = emptied
        && has_rows(table, scan, scope.window()).await?
    {
        return Ok(Some(broken(ErrorKind::Unavailable, message)));
    }
    let is_other =
        |key: &str| scan.parent.is_some_and(|parent| !table.endpoint.may_answer(parent.id, key));
    let is_anothers = answer.rows.facts.iter().any(|facts| is_other(&facts.key));
    let message = "the reply is a different record from the requested one";
    Ok(is_anothers.then(|| broken(ErrorKind::Data, message)))
}

/// Whether the lake has rows in the scope of a list: in its window's days, of its parent, or
/// any.
async fn has_rows(table: &TableRun<'_>, scan: &Scan<'_>, window: Option<Window>) -> Result<bool> {
    // If nothing has changed, that says nothing about what exists.
    if scan.modified_since.is_some() {
        return Ok(false);
    }
    let parent: Option<Box<str>> = scan.parent.map(|parent| parent.key.into());
    let today = plan::day(table.export().settings.now);
    let has_rows = move |snapshot: &Snapshot| {
        if let Some(parent) = &parent {
            return snapshot.has_rows_of(parent, today);
        }
        let manifest = snapshot.manifest();
        let Some(window) = window else { return Ok(manifest.rows() > 0) };
        let granularity = manifest.granularity;
        let name = |at: DateTime<Utc>| {
            Partition::of(Some(day_of(at.date_naive())), granularity).to_string()
        };
        let mut found = manifest.partitions.range(name(window.from)..=name(window.to));
        Ok(found.any(|(_, entry)| entry.rows > 0))
    };
    table.read(has_rows).await
}

/// Whether the lake has records in the window of a list that did not come: these, by the hashes
/// of their keys, did.
async fn lacks_known(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    window: Option<Window>,
    came: HashSet<i64>,
) -> Result<bool> {
    let is_dated = scan.modified_since.is_none() && scan.parent.is_none();
    let Some(window) = window.filter(|_| is_dated && !table.endpoint.is_snapshot()) else {
        return Ok(false);
    };
    let lacks = move |snapshot: &Snapshot| {
        snapshot.has_rows_besides(window, |key| came.contains(&key_hash(key)))
    };
    table.read(lacks).await
}

/// A reply that is not what was requested.
fn broken(kind: ErrorKind, message: &'static str) -> Fault {
    Fault(FetchError::Failed(Failure::Broken, Error::new(kind, message)))
}

/// The window, if its records are dated by it and also occur in other windows. A single record may
/// be found twice, and if the day is part of the key, each day has its own record.
fn same_records_in(table: &TableRun<'_>, scan: &Scan<'_>, came: &Came) -> Option<Window> {
    let endpoint = &table.endpoint;
    let is_dated = endpoint.dated == Dated::Window && !endpoint.sums_up_days();
    let window = scan.window.filter(|_| is_dated && came.len() > 1)?;
    let digest = came.keys().fold(0u64, |digest, key| digest.rotate_left(7) ^ key.cast_unsigned());
    table.observed.is_like_others(window, digest).then_some(window)
}

/// The list's range, for the log.
fn span(window: Option<Window>) -> Span {
    let Some(Window { from, to }) = window else { return Span::none() };
    tracing::error_span!("window", from = %from.format("%FT%TZ"), to = %to.format("%FT%TZ"))
}

/// Requests one page.
async fn ask(table: &TableRun<'_>, scan: &Scan<'_>, ask: Ask<'_>) -> Result<Answer, FetchError> {
    let parent = scan.parent.map(|parent| parent.key.into());
    let origin = Origin {
        fetched_at: 0,
        parent,
        day: scan.day,
        found_on: Some(found_on(table, scan, ask.window)),
    };
    table.ask(&request_of(table.export(), &table.endpoint, scan, ask), &origin).await
}

/// The day of a record whose own time cannot be read: that of the window in which it is found, or
/// of the run.
fn found_on(table: &TableRun<'_>, scan: &Scan<'_>, window: Option<Window>) -> i32 {
    let begins = window.map(|window| window.from);
    let begins = begins.filter(|from| *from > DateTime::UNIX_EPOCH);
    let day = begins.unwrap_or(table.export().settings.now).date_naive();
    scan.day.unwrap_or_else(|| day_of(day))
}

/// The request for the first page of a list.
pub(super) fn first_request(
    export: &Export,
    endpoint: &Endpoint,
    scan: &Scan<'_>,
) -> Option<Request> {
    let scope = scope_of::<Fault>(endpoint, scan);
    scope.ask().map(|ask| request_of(export, endpoint, scan, ask))
}

fn request_of(
    export: &Export,
    endpoint: &Endpoint,
    scan: &Scan<'_>,
    Ask { window, get }: Ask<'_>,
) -> Request {
    let asked = Asked {
        window,
        modified_since: scan.modified_since,
        parent: scan.parent,
        get,
        private: export.include_private,
        purpose: scan.purpose,
        ..Asked::at(export.settings.now)
    };
    request(endpoint, &asked)
}

fn scope_of<E: fmt::Display>(endpoint: &Endpoint, scan: &Scan<'_>) -> paginate::Scope<E> {
    let unit = endpoint.window.as_ref().map_or(TimeUnit::Second, WindowParameters::resolution);
    paginate::Scope::new(scan.window, unit, &endpoint.paging)
}

/// Refused credentials end the run, unless the endpoint may just not exist.
fn halt_if_denied(table: &TableRun<'_>, error: FetchError) -> FetchError {
    match error {
        FetchError::Failed(failure, error)
            if error.kind() == ErrorKind::Denied && !means_absent(&table.endpoint, failure) =>
        {
            table.export().client.halt(error)
        }
        other => other,
    }
}

fn miss_of(error: &FetchError) -> Miss {
    match error {
        FetchError::Failed(Failure::TooLarge | Failure::Garbled, _) => Miss::TooLarge,
        FetchError::Failed(Failure::NotFound, _) => Miss::NotThere,
        FetchError::Failed(Failure::Refused(_), _) => Miss::Refused,
        FetchError::Failed(Failure::Deferred, _) | FetchError::Halted(_) => Miss::Ended,
        FetchError::Failed(..) => Miss::Failed,
    }
}

/// Records that windows are complete.
async fn cover(table: &TableRun<'_>, windows: Vec<Window>) {
    if windows.is_empty() {
        return;
    }
    table.observed.note_listed(&windows);
    table.add(move |change| change.progress.coverage.extend(windows)).await;
}

/// Remembers which records were listed, where the absence of others is followed up.
fn note_seen(table: &TableRun<'_>, rows: &Rows, kept: &Kept) {
    if !table.endpoint.deletes || table.endpoint.parent.is_some() {
        return;
    }
    let hashes = rows.facts.iter().map(|facts| key_hash(&facts.key));
    match kept {
        Kept::All => table.observed.note_seen(hashes),
        Kept::Only(places) => {
            let mut places = places.iter().copied().peekable();
            let kept = (0u32..).zip(hashes).filter(|(at, _)| places.next_if_eq(at).is_some());
            table.observed.note_seen(kept.map(|(_, hash)| hash));
        }
    }
}

/// The rows of calls that have begun by the run's reference time, if there is one: a call is exported
/// once it has begun. Where a window is sent in whole days, a reply also has calls from after the
/// window. They have begun, and the reply is the latest statement about them.
fn begun(rows: &Rows, now: Option<DateTime<Utc>>) -> Kept {
    let Some(now) = now.map(|now| now.timestamp_micros()) else { return Kept::All };
    let has_begun = |time: Option<i64>| time.is_none_or(|time| time < now);
    if rows.facts.iter().all(|facts| has_begun(facts.time)) {
        return Kept::All;
    }
    let kept = (0u32..).zip(&rows.facts).filter(|(_, facts)| has_begun(facts.time));
    Kept::Only(kept.map(|(row, _)| row).collect())
}
