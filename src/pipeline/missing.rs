//! Records that a complete list lacks: gone, or just not listed any more.

use chrono::{NaiveTime, TimeDelta};
use futures::StreamExt;

use super::Export;
use super::requests::{Asked, request};
use super::table_run::{State, TableRun};
use crate::clock;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::fetch::FetchError;
use crate::manifest::Attempt;
use crate::retry::Failure;
use crate::window::Window;
use crate::window::date_of;

/// Why a record that is not listed is kept: it was rescheduled, or made private.
const UNLISTED: &str = "not in the list, and not gone";

/// How long that answer holds for the same content, in microseconds.
const ASK_AGAIN: i64 = 7 * 86_400_000_000;

/// Marks as deleted what a complete list lacks and whose details answer 404. Missing alone proves
/// nothing: a rescheduled record has left the window, a private one the list.
pub(super) async fn mark(export: &Export, table: &TableRun<'_>) -> Result<()> {
    if !table.endpoint.deletes || table.endpoint.parent.is_some() {
        return Ok(());
    }
    let by_id = |endpoint: &&Endpoint| {
        let parent = endpoint.parent.as_ref().map(|parent| parent.endpoint.as_str());
        endpoint.deletes && parent == Some(table.endpoint.name.as_str())
    };
    let Some(details) = export.catalogue.endpoints().iter().find(by_id) else { return Ok(()) };
    let missing = missing(&*table.state().await, export);
    let checked = missing.into_iter().map(|missing| check(export, details, missing));
    let mut checked = futures::stream::iter(checked).buffer_unordered(export.concurrency);
    while let Some((missing, found)) = checked.next().await {
        let now = clock::now_micros();
        match found {
            Some(false) => table.add(|change| change.marks.push((missing.id, Some(now)))).await,
            Some(true) => {
                let attempt = Attempt {
                    parent_hash: missing.hash,
                    reason: Some(UNLISTED.into()),
                    failures: 1,
                    first_failed_at: now,
                    next_try_at: now + ASK_AGAIN,
                };
                table.add(|change| change.attempts.push((missing.id, attempt))).await;
            }
            None => {}
        }
    }
    Ok(())
}

/// A record that should have been listed.
struct Missing {
    id: Box<str>,
    hash: u128,
}

/// The records of days that were listed completely, which did not come.
fn missing(state: &State, export: &Export) -> Vec<Missing> {
    let now = export.settings.now;
    let was_listed = |day: i32| {
        let from = date_of(day).map(|date| date.and_time(NaiveTime::MIN).and_utc());
        from.is_some_and(|from| {
            let to = (from + TimeDelta::days(1)).min(now);
            from < to && state.listed.covers(Window::new(from, to))
        })
    };
    let mut missing = Vec::new();
    for (id, entry) in state.table.index() {
        let is_candidate = entry.in_lake
            && entry.deleted_at.is_none()
            && entry.day.is_some_and(was_listed)
            && !state.seen.contains(id);
        let is_answered = entry.attempt.as_ref().is_some_and(|attempt| {
            attempt.parent_hash == entry.hash && attempt.next_try_at > clock::now_micros()
        });
        if is_candidate && !is_answered {
            missing.push(Missing { id: id.clone(), hash: entry.hash });
        }
    }
    missing
}

/// Whether the record is still there; `None` when that cannot be told.
async fn check(export: &Export, details: &Endpoint, missing: Missing) -> (Missing, Option<bool>) {
    let asked = Asked { parent: Some(&missing.id), ..Asked::default() };
    let request = request(details, &asked);
    let found = match export.client.get(&request, &mut 0, |_| Ok(())).await {
        Ok(()) => Some(true),
        Err(FetchError::Failed(Failure::NotFound, _)) => Some(false),
        Err(_) => None,
    };
    (missing, found)
}
