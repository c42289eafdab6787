//! Gaps: what is missing from a list, in the report, in the outcome, and in the table's coverage.

use chrono::DateTime;

use super::export::means_absent;
use super::scan::{Fault, Outcome, Scan};
use super::table_run::TableRun;
use crate::error::{Error, ErrorKind};
use crate::fetch::FetchError;
use crate::paginate::{Cause, Gap, Place};
use crate::retry::Failure;
use crate::window::Window;

/// Adds what is missing to the report and the outcome. What the API has but cannot deliver is no
/// longer covered, so that the next run requests it again.
pub(super) async fn report(
    table: &TableRun<'_>,
    scan: &Scan<'_>,
    Gap { window, cause }: Gap<Fault>,
    outcome: &mut Outcome,
) {
    let error = match cause {
        Cause::Failed(Fault(error)) => {
            outcome.has_failed = true;
            let error = match (scan.parent, error) {
                // Each list that is missing is named by its parent (P12), but for what ends the whole
                // run.
                (Some(_), FetchError::Failed(failure, error))
                    if !matches!(failure, Failure::Deferred | Failure::Page) =>
                {
                    let of = name_of(&table.endpoint.name, scan, None);
                    FetchError::Failed(failure, error.within(&of))
                }
                (_, error) => error,
            };
            return report_failure(table, window, error, outcome).await;
        }
        Cause::Stuck(stuck) => {
            let error = Error::new(ErrorKind::Unavailable, stuck.to_string());
            match scan.parent {
                Some(parent) => error.with_context(format!("the list of {}", parent.id)),
                None => error,
            }
        }
        Cause::Unreadable { place, of, error } => {
            let list = name_of(&table.endpoint.name, scan, of);
            let message = unreadable(place, &list, &error, window);
            Error::new(ErrorKind::Unavailable, message)
        }
    };
    outcome.unreadable.push(window);
    if let Some(window) = window.filter(|_| scan.covers) {
        table.add(move |change| change.progress.uncover(window)).await;
    }
    table.fail(window, FetchError::Failed(Failure::Broken, error)).await;
}

/// A failed request means that something is missing, that the parent does not exist, or that this
/// workspace has no such endpoint.
async fn report_failure(
    table: &TableRun<'_>,
    window: Option<Window>,
    error: FetchError,
    outcome: &mut Outcome,
) {
    match error {
        FetchError::Failed(Failure::NotFound, _) if table.endpoint.parent.is_some() => {
            outcome.is_absent = true;
        }
        FetchError::Failed(failure, _) if means_absent(&table.endpoint, failure) => {
            table.observed.note_absent();
        }
        error => table.fail(window, error).await,
    }
}

/// The name of a list in which something is missing.
fn name_of(endpoint: &str, scan: &Scan<'_>, of: Option<Window>) -> String {
    let list = match (of, scan.parent) {
        (Some(window), _) => window.to_string(),
        (None, Some(parent)) => format!("{endpoint} of {}", parent.id),
        (None, None) => endpoint.to_owned(),
    };
    match scan.modified_since {
        Some(since) => format!("{list} modified since {}", since.format("%FT%TZ")),
        None => list,
    }
}

/// Describes what cannot be read, between which times it is, and what happens to it.
fn unreadable(place: Place, list: &str, error: &str, window: Option<Window>) -> String {
    let why = error.strip_prefix("the API failed ").map(str::to_owned);
    let why = why.unwrap_or_else(|| format!("({error})"));
    let (is, what, them) = match place {
        Place::Records { first, last, .. } if first == last => ("it is", "everything around", "it"),
        Place::Records { .. } => ("they are", "everything around", "them"),
        Place::Page(_) => ("it is", "everything around", "it"),
        Place::From(_) | Place::FromPage(_) => ("it is", "everything before", "it"),
    };
    let between = match window {
        Some(Window { from, to }) if from > DateTime::UNIX_EPOCH => {
            format!(": {is} between {} and {};", from.format("%FT%TZ"), to.format("%FT%TZ"))
        }
        Some(Window { to, .. }) => format!(": {is} before {};", to.format("%FT%TZ")),
        None => ":".to_owned(),
    };
    format!(
        "{place} of {list} cannot be read {why}{between} {what} {them} was read; the next run \
         requests {them} again"
    )
}
