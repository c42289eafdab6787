//! Records that are missing from a complete list: deleted, or just no longer listed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use futures::StreamExt;

use super::export::Export;
use super::table_run::TableRun;
use crate::commit_plan::{Entries, LookUp, Mark, Removal, Statements};
use crate::config::Deletes;
use crate::decode::{Origin, RecordDecoder};
use crate::endpoint::{Endpoint, ParentRef};
use crate::error::Result;
use crate::fetch::{Asked, FetchError, Reply, Unreadable, request};
use crate::lake::{Snapshot, key_hash};
use crate::manifest::{Attempt, CLOCKS_APART, Granularity, IndexEntry, ParentVersion};
use crate::partition::Partition;
use crate::retry::Failure;
use crate::window::{Coverage, Window, date_of};

/// Why an unlisted record is kept: it was rescheduled, or made private.
const UNLISTED: &str = "not in the list, and not gone";

/// How long that answer is valid for the same content, in microseconds: at first until the next
/// night, then twice as long each time, up to a week.
const ASK_AGAIN: i64 = 20 * 3_600_000_000;
const ASK_AT_LEAST: i64 = 7 * 86_400_000_000;

/// How long it is valid for a run that lists everything again, in microseconds: long enough that a
/// run that continues an interrupted one does not pay for it twice.
const FULL_ASKS_AGAIN: i64 = 3_600_000_000;

/// Marks as deleted, or removes, records that a complete list lacks and whose details answer 404.
/// Absence from a list is not treated as deletion: a rescheduled record has left the window, and a
/// private one has left the list.
pub(super) async fn mark(export: &Export, table: &TableRun<'_>) -> Result<()> {
    if !table.endpoint.deletes || table.endpoint.parent.is_some() {
        return Ok(());
    }
    let by_id = |endpoint: &&Endpoint| {
        let parent = endpoint.parent.as_ref().map(|parent| parent.endpoint.as_str());
        endpoint.deletes && parent == Some(table.endpoint.name.as_str())
    };
    let Some(details) = export.catalogue.endpoints().iter().find(by_id) else { return Ok(()) };
    let (ranges, Unlisted { missing, listed_again }) = find(export, table).await?;
    table.add(move |change| change.statements.look_ups.extend(listed_again)).await;
    let check = Check::new(export, details);
    let checked = missing.into_iter().map(async |missing| {
        // A 404 describes the time of the request, not of the reply.
        let asked_at = export.clock.asked_at(Duration::ZERO);
        let found = check.ask(&missing).await;
        (missing, found, asked_at)
    });
    let mut checked = futures::stream::iter(checked).buffer_unordered(export.concurrency);
    while let Some((missing, found, asked_at)) = checked.next().await {
        let ranges = Arc::clone(&ranges);
        table
            .add(move |change| ranges.conclude(missing, &found, asked_at, &mut change.statements))
            .await;
    }
    Ok(())
}

/// What this run's lists show about records that are not in them.
struct ListedRanges {
    /// The ranges that were listed completely.
    listed: Coverage,
    /// No list covers records that begin from this time on.
    unlisted_from: DateTime<Utc>,
    /// Records from this time on have not begun.
    begins_from: DateTime<Utc>,
    deletes: Deletes,
    /// Whether everything is listed again.
    full: bool,
    /// The run's reference time, microseconds since 1970.
    begun_at: i64,
}

/// A record that should have been listed.
struct Missing {
    id: Box<str>,
    day: Option<i32>,
    hash: u128,
    /// How often it has been requested and found since it was last listed.
    found_before: u32,
}

/// What the details of a missing record show.
enum Found {
    /// The record does not exist.
    Gone,
    /// The record exists and has this time.
    There(Option<DateTime<Utc>>),
    /// Unknown.
    Unknown,
}

/// What a comparison with the lake finds.
#[derive(Default)]
struct Unlisted {
    /// The records that are missing although their days were listed completely.
    missing: Vec<Missing>,
    /// Records that were listed are no longer marked as unlisted.
    listed_again: Vec<LookUp>,
}

/// Compares the lists of this run with the lake.
async fn find(export: &Export, table: &TableRun<'_>) -> Result<(Arc<ListedRanges>, Unlisted)> {
    let (now, full, deletes) = (export.settings.now, export.settings.full, export.settings.deletes);
    let clock_now = export.clock.server_now();
    let (listed, seen) = table.observed.take_listed();
    let covered = table.snapshot().manifest().as_of(clock_now).coverage.end();
    let unlisted_from = covered.map_or(now, |end| end.max(now));
    let ranges = Arc::new(ListedRanges {
        listed,
        unlisted_from,
        // What has begun stays, even if it begins after an earlier reference time.
        begins_from: unlisted_from.max(clock_now),
        deletes,
        full,
        begun_at: export.queue_now(),
    });
    let known = Arc::clone(&ranges);
    let find = move |snapshot: &Snapshot| {
        let mut found = Unlisted::default();
        let days = match snapshot.manifest().granularity {
            Granularity::Day => 1,
            Granularity::Month => 31,
        };
        for partition in snapshot.indexed().filter(|it| known.may_hold(*it, days)) {
            known.look_through(&*snapshot.shard(partition)?, &seen, &mut found);
        }
        Ok(found)
    };
    Ok((ranges, table.read(find).await?))
}

impl ListedRanges {
    /// Compares one partition with the lists.
    fn look_through(&self, shard: &Entries, seen: &[i64], found: &mut Unlisted) {
        for (id, entry) in shard {
            if !entry.in_lake || entry.deleted_at.is_some() {
                continue;
            }
            let (key, day) = (id.clone(), entry.day);
            let unlisted = entry.attempt.as_ref().filter(|it| it.reason.is_some());
            if seen.binary_search(&key_hash(id)).is_ok() {
                // The look-up is not marked as done, so the next run that misses the record
                // requests it again.
                let attempt = Attempt::default();
                found.listed_again.extend(unlisted.map(|_| LookUp { key, day, attempt }));
                continue;
            }
            let is_answered = unlisted.is_some_and(|it| {
                let full_to = it.first_failed_at + FULL_ASKS_AGAIN;
                let holds_to = if self.full { full_to } else { it.next_try_at };
                // A note dated in the future was recorded with a wrong clock.
                let apart = CLOCKS_APART.num_microseconds().unwrap_or_default();
                let is_past = it.first_failed_at <= self.begun_at + apart;
                it.parent == ParentVersion::Content(entry.hash)
                    && is_past
                    && holds_to > self.begun_at
            });
            if self.was_listed(entry) && !is_answered {
                let found_before = unlisted.map_or(0, |it| it.failures);
                found.missing.push(Missing { id: key, day, hash: entry.hash, found_before });
            }
        }
    }

    /// What the answer means for the lake.
    fn conclude(&self, missing: Missing, found: &Found, now: i64, statements: &mut Statements) {
        let Missing { id: key, day, hash, found_before } = missing;
        let removal = |key, day| Removal { key, day, at: now };
        match found {
            Found::Gone if self.deletes == Deletes::Drop => {
                statements.removals.push(removal(key, day));
            }
            Found::Gone => statements.marks.push(Mark { key, day, deleted_at: Some(now) }),
            // It has not begun yet according to its new time, and returns when it has.
            Found::There(Some(time)) if *time >= self.begins_from => {
                statements.removals.push(removal(key, day));
            }
            Found::There(_) => {
                // The next night, then at increasing intervals, up to a week.
                let nights = 1 << found_before.min(3);
                let attempt = Attempt {
                    parent: ParentVersion::Content(hash),
                    reason: Some(UNLISTED.into()),
                    failures: found_before + 1,
                    first_failed_at: self.begun_at,
                    next_try_at: self.begun_at + (ASK_AGAIN * nights).min(ASK_AT_LEAST),
                };
                statements.look_ups.push(LookUp { key, day, attempt });
            }
            Found::Unknown => {}
        }
    }

    /// Whether a list that was read completely covers a row: its time if it has one, since a run with
    /// `--to` lists part of a day, and otherwise its whole day.
    fn was_listed(&self, entry: &IndexEntry) -> bool {
        let time = entry.time.and_then(DateTime::from_timestamp_micros);
        let day = || entry.day.and_then(date_of).map(|it| it.and_time(NaiveTime::MIN).and_utc());
        let span = match time {
            Some(time) => Some((time, time + TimeDelta::microseconds(1))),
            None => day().map(|from| (from, from + TimeDelta::days(1))),
        };
        span.is_some_and(|(from, to)| {
            let to = to.min(self.unlisted_from);
            from < to && self.listed.covers(Window::new(from, to))
        })
    }

    /// Whether a partition of this many days can contain listed days.
    fn may_hold(&self, partition: Partition, days: i64) -> bool {
        let Some(date) = partition.date() else { return false };
        let from = date.and_time(NaiveTime::MIN).and_utc();
        let whole = Window::new(from, from + TimeDelta::days(days));
        self.listed.gaps(whole) != [whole]
    }
}

/// Requests the details of missing records.
struct Check<'e> {
    export: &'e Export,
    details: &'e Endpoint,
    decoder: Mutex<RecordDecoder>,
}

impl<'e> Check<'e> {
    fn new(export: &'e Export, details: &'e Endpoint) -> Self {
        let schema = Arc::new(details.schema());
        let decoder = RecordDecoder::new(Arc::new(details.clone()), schema, true, Arc::default());
        Self { export, details, decoder: Mutex::new(decoder) }
    }

    async fn ask(&self, missing: &Missing) -> Found {
        // An unlisted record has no current record to take the fields from, and a 404 for an
        // incomplete address would prove nothing.
        if !self.details.parent_fields().is_empty() {
            return Found::Unknown;
        }
        let parent = Some(ParentRef::of(&missing.id));
        let asked = Asked { parent, ..Asked::at(self.export.settings.now) };
        let request = request(self.details, &asked);
        match self.export.client.get(&request, &mut 0, |reply| self.time_in(reply)).await {
            Ok(time) => Found::There(time),
            Err(FetchError::Failed(Failure::NotFound, _)) => Found::Gone,
            Err(_) => Found::Unknown,
        }
    }

    /// The record's time, the only field needed.
    fn time_in(&self, reply: &Reply) -> Result<Option<DateTime<Utc>>, Unreadable> {
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        let decoded = decoder.decode(&reply.body, &Origin::default());
        let decoded = decoded.map_err(super::broken::unreadable)?;
        let time = decoded.rows.facts.first().and_then(|facts| facts.time);
        Ok(time.and_then(DateTime::from_timestamp_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::day_of;

    /// P1: a run with `--to` in the past lists a part of its last day. What another run found later
    /// on that day is not missing from this one's list.
    #[test]
    fn only_what_a_list_covers_can_be_missing_from_it() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (from, to) = (at("2026-11-20T00:00:00Z"), at("2026-11-24T06:37:03Z"));
        let mut listed = Coverage::default();
        listed.add(Window::new(from, to));
        let ranges = ListedRanges {
            listed,
            unlisted_from: to,
            begins_from: to,
            deletes: Deletes::Drop,
            full: false,
            begun_at: to.timestamp_micros(),
        };
        let was_listed = |time: &str, has_time: bool| {
            let time = at(time);
            let day = Some(day_of(time.date_naive()));
            let time = has_time.then_some(time.timestamp_micros());
            ranges.was_listed(&IndexEntry { day, time, ..IndexEntry::default() })
        };
        assert!(was_listed("2026-11-24T06:37:02Z", true));
        assert!(!was_listed("2026-11-24T22:00:00Z", true), "after the end of the run");
        assert!(!was_listed("2026-11-19T23:59:59Z", true), "before the lookback");
        // Without a time of its own, a row was found by its whole day, as far as that is listed.
        assert!(was_listed("2026-11-24T22:00:00Z", false));
        assert!(!was_listed("2026-11-25T00:00:00Z", false));
    }
}
