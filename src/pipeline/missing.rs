//! Records that a complete list lacks: gone, or just not listed any more.

use chrono::{NaiveTime, TimeDelta};
use futures::StreamExt;

use super::Export;
use super::requests::{Asked, request};
use super::table_run::TableRun;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::fetch::FetchError;
use crate::lake::{Mark, Tried, key_hash};
use crate::manifest::Attempt;
use crate::partition::Partition;
use crate::retry::Failure;
use crate::window::{Coverage, Window, date_of};

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
    let missing = missing(export, table).await?;
    let checked = missing.into_iter().map(|missing| check(export, details, missing));
    let mut checked = futures::stream::iter(checked).buffer_unordered(export.concurrency);
    while let Some((missing, found)) = checked.next().await {
        let now = export.clock.now_micros();
        match found {
            Some(false) => {
                let Missing { id: key, day, .. } = missing;
                table.add(|it| it.marks.push(Mark { key, day, deleted_at: Some(now) })).await;
            }
            Some(true) => {
                let attempt = Attempt {
                    parent_hash: missing.hash,
                    reason: Some(UNLISTED.into()),
                    failures: 1,
                    first_failed_at: now,
                    next_try_at: now + ASK_AGAIN,
                };
                let Missing { id: key, day, .. } = missing;
                table.add(|change| change.attempts.push(Tried { key, day, attempt })).await;
            }
            None => {}
        }
    }
    Ok(())
}

/// A record that should have been listed.
struct Missing {
    id: Box<str>,
    day: Option<i32>,
    hash: u128,
}

/// The records of days that were listed completely, which did not come.
async fn missing(export: &Export, table: &TableRun<'_>) -> Result<Vec<Missing>> {
    let now = export.settings.now;
    let asked_before = export.clock.now_micros();
    let (missing, _) = table
        .with_state(move |state| {
            let listed = std::mem::take(&mut state.listed);
            let was_listed = |day: i32| {
                let from = date_of(day).map(|date| date.and_time(NaiveTime::MIN).and_utc());
                from.is_some_and(|from| {
                    let to = (from + TimeDelta::days(1)).min(now);
                    from < to && listed.covers(Window::new(from, to))
                })
            };
            let mut missing = Vec::new();
            for partition in
                state.table.indexed().filter(|it| may_hold(*it, &listed)).collect::<Vec<_>>()
            {
                for (id, entry) in state.table.entries(partition)? {
                    let is_candidate = entry.in_lake
                        && entry.deleted_at.is_none()
                        && entry.day.is_some_and(was_listed)
                        && !state.seen.contains(&key_hash(id));
                    let is_answered = entry.attempt.as_ref().is_some_and(|attempt| {
                        attempt.parent_hash == entry.hash && attempt.next_try_at > asked_before
                    });
                    if is_candidate && !is_answered {
                        let (id, day, hash) = (id.clone(), entry.day, entry.hash);
                        missing.push(Missing { id, day, hash });
                    }
                }
            }
            Ok(missing)
        })
        .await?;
    Ok(missing)
}

/// Whether a partition, of a day or of a month, can hold days of these windows.
fn may_hold(partition: Partition, listed: &Coverage) -> bool {
    let Some(date) = partition.date() else { return false };
    let from = date.and_time(NaiveTime::MIN).and_utc();
    let whole = Window::new(from, from + TimeDelta::days(31));
    listed.gaps(whole) != [whole]
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
