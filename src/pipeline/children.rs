//! Children: the records that each of a parent's ids leads to, list by list.
//!
//! What was read for an id is good for as long as the endpoint says; an id that was not there is
//! asked for ever more rarely. Both are remembered by id, beside the keys of the rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::StreamExt;

use super::Export;
use super::parents::{drivers, is_named, warn_unnamed};
use super::reading::{Scan, read};
use super::table_run::TableRun;
use crate::decode::{KEY_SEPARATOR, RowFacts};
use crate::endpoint::{Dated, Driver, Named, Parent};
use crate::error::{Error, Result};
use crate::lake::Tried;
use crate::manifest::{Attempt, Granularity};
use crate::plan::queue::{self, Due};
use crate::report::Queue;

/// Stands for the content of a parent, of which only the id counts here.
const ID_ALONE: u128 = 1;

/// What became of the lists of all parents.
pub(super) struct Children {
    /// Whether all of them were read, or need not be.
    pub(super) complete: bool,
    /// The keys of their rows.
    pub(super) keys: HashSet<Box<str>>,
}

/// Reads the lists of all parents that are due; of the others, a snapshot takes over the rows.
/// `None` when this workspace has no such parent.
pub(super) async fn read_all(
    export: &Export,
    table: &TableRun<'_>,
    parent: &Parent,
    day: i32,
) -> Result<Option<Children>> {
    let Some(drivers) = drivers(export, table, parent, day).await? else { return Ok(None) };
    let mut family = Family::of(table, parent, drivers).await?;
    let mut keys = HashSet::new();
    if table.endpoint.dated == Dated::Run {
        keys.extend(carry(table, parent, &mut family, day).await?);
    }
    leave_out_unnamed(table, &mut family).await;
    export.progress.update(&table.endpoint.name, |live| live.planned += family.due.len() as u64);
    let reads = family.due.iter().map(|child| read_one(export, table, parent, child, day));
    let mut reads = futures::stream::iter(reads).buffer_unordered(export.concurrency);
    let mut complete = true;
    while let Some(read) = reads.next().await {
        let (is_complete, found) = read?;
        complete &= is_complete;
        keys.extend(found);
    }
    drop(reads);
    Ok(Some(Children { complete, keys }))
}

/// Leaves out whose records lack what the requests name of them.
async fn leave_out_unnamed(table: &TableRun<'_>, family: &mut Family) {
    let before = family.due.len();
    family.due.retain(|child| is_named(table, &child.id, &child.named));
    let count = before - family.due.len();
    if count > 0 {
        warn_unnamed(table, count);
        let queue = Queue { parked: count as u64, ..Queue::default() };
        table.state().await.set_queue(queue);
    }
}

/// A parent's id, what requests name of its record, and what was found when it was asked for last.
struct Child {
    id: String,
    named: Named,
    before: Option<Attempt>,
}

/// The ids that are asked for in this run, and those whose answer is still good.
struct Family {
    due: Vec<Child>,
    fresh: Vec<Child>,
}

impl Family {
    async fn of(
        table: &TableRun<'_>,
        parent: &Parent,
        drivers: BTreeMap<String, Named>,
    ) -> Result<Self> {
        let now = table.export().settings.now.timestamp_micros();
        let latest = table.export().clock.server_now().timestamp_micros().max(now);
        let good_for = parent.refresh.and_then(|it| it.delta().num_microseconds()).unwrap_or(0);
        let is_full = table.export().settings.full;
        let is_kept = parent.refresh.is_some() && !is_full;
        let is_snapshot = table.endpoint.dated == Dated::Run;
        let ((due, fresh), _) = table
            .with_state(move |state| {
                // A month's partition holds more than one snapshot: nothing is taken over there.
                let is_daily = state.table.manifest().granularity == Granularity::Day;
                let keeps = is_kept && (is_daily || !is_snapshot);
                let notes: Vec<_> = drivers.keys().map(|id| note_of(id)).collect();
                let wanted: Vec<_> = notes.iter().map(|note| (note.as_str(), None)).collect();
                let mut known = state.table.find(&wanted)?;
                let (mut due, mut fresh) = (Vec::new(), Vec::new());
                for ((id, named), note) in drivers.into_iter().zip(&notes) {
                    let before = known.remove(note.as_str()).and_then(|(_, entry)| entry.attempt);
                    // What is good for longer than it can be was noted by a wrong clock.
                    let before = before.filter(|it| {
                        let noted_at = it.next_try_at.saturating_sub(good_for);
                        queue::is_near(
                            if it.reason.is_none() { noted_at } else { it.next_try_at },
                            latest,
                        )
                    });
                    let child = Child { id, named, before };
                    match child.state(now) {
                        State::Fresh if keeps => fresh.push(child),
                        State::Absent if !is_full => {}
                        State::Due | State::Fresh | State::Absent => due.push(child),
                    }
                }
                Ok((due, fresh))
            })
            .await?;
        Ok(Self { due, fresh })
    }
}

enum State {
    Due,
    Fresh,
    Absent,
}

impl Child {
    /// The day on which it was asked for last, in days since 1970.
    fn asked_on(&self, parent: &Parent) -> i32 {
        let until = self.before.as_ref().map_or(0, |before| before.next_try_at);
        let good_for = parent.refresh.and_then(|it| it.delta().num_microseconds());
        let asked_at = until.saturating_sub(good_for.unwrap_or(0));
        i32::try_from(asked_at.div_euclid(86_400_000_000)).unwrap_or(i32::MAX)
    }

    fn state(&self, now: i64) -> State {
        match &self.before {
            Some(before) if before.reason.is_none() && before.next_try_at > now => State::Fresh,
            Some(before) if before.reason.is_some() => {
                match queue::due(Some(before), ID_ALONE, now) {
                    Due::Later | Due::Never => State::Absent,
                    Due::Now | Due::Settled => State::Due,
                }
            }
            _ => State::Due,
        }
    }
}

/// Under what an id is remembered; no record has such a key.
fn note_of(id: &str) -> String {
    format!("{KEY_SEPARATOR}{id}")
}

/// Takes the rows whose answer is still good from the snapshot before into that of `day`. An id of
/// which no row is found is asked for again: it may have none, or a run died before it was taken
/// over.
async fn carry(
    table: &TableRun<'_>,
    parent: &Parent,
    family: &mut Family,
    day: i32,
) -> Result<HashSet<Box<str>>> {
    let mut keys = HashSet::new();
    if family.fresh.is_empty() {
        return Ok(keys);
    }
    let ((today, before), _) = table.with_state(move |state| state.table.snapshots(day)).await?;
    let fresh: BTreeMap<String, i32> =
        family.fresh.iter().map(|child| (child.id.clone(), child.asked_on(parent))).collect();
    let mut found = BTreeSet::new();
    for facts in today.iter().flat_map(|rows| &rows.facts) {
        if fresh.contains_key(owner(facts)) {
            found.insert(owner(facts).to_owned());
            keys.insert(facts.key.clone());
        }
    }
    let is_carried = |facts: &RowFacts| {
        let asked_on = fresh.get(owner(facts));
        asked_on.is_some_and(|asked_on| *asked_on < day) && !found.contains(owner(facts))
    };
    let mut carried = BTreeSet::new();
    for mut rows in before {
        let mut places = Vec::new();
        for (place, facts) in (0u32..).zip(&mut rows.facts) {
            if is_carried(facts) {
                carried.insert(owner(facts).to_owned());
                keys.insert(facts.key.clone());
                facts.day = Some(day);
                places.push(place);
            }
        }
        table.absorb(rows.take(&places)?).await?;
    }
    let lost = std::mem::take(&mut family.fresh).into_iter();
    family.due.extend(lost.filter(|it| !found.contains(&it.id) && !carried.contains(&it.id)));
    Ok(keys)
}

/// The id that led to a row: its parent's, or its own where the table has no column for that.
fn owner(facts: &RowFacts) -> &str {
    facts.parent.as_deref().unwrap_or(&facts.key)
}

/// Reads the list of one parent, and remembers how that went.
async fn read_one(
    export: &Export,
    table: &TableRun<'_>,
    parent: &Parent,
    child: &Child,
    day: i32,
) -> Result<(bool, HashSet<Box<str>>)> {
    let mut keys = HashSet::new();
    // What answered that this workspace has no such thing is not asked again.
    if table.state().await.absent {
        return Ok((false, keys));
    }
    let driver = Driver { id: &child.id, named: &child.named };
    let scan = Scan { day: Some(day), parent: Some(driver), ..Scan::default() };
    let outcome = read(table, &scan, Some(&mut keys)).await?;
    let now = export.settings.now.timestamp_micros();
    let (is_complete, is_absent) = (outcome.is_complete(), outcome.is_absent);
    let attempt = match parent.refresh {
        _ if is_absent => {
            let reason = Some("not found (404)");
            Some(queue::attempt(child.before.as_ref(), ID_ALONE, reason, now))
        }
        Some(refresh) if is_complete => {
            let until = now + refresh.delta().num_microseconds().unwrap_or(i64::MAX / 2);
            Some(Attempt { parent_hash: ID_ALONE, next_try_at: until, ..Attempt::default() })
        }
        None if is_complete && child.before.is_some() => {
            Some(Attempt { parent_hash: ID_ALONE, ..Attempt::default() })
        }
        _ => None,
    };
    if let Some(attempt) = attempt {
        let key = note_of(&child.id).into();
        table.add(|change| change.attempts.push(Tried { key, day: None, attempt })).await;
    }
    export.progress.update(&table.endpoint.name, |live| live.done += 1);
    Ok::<_, Error>((is_complete || is_absent, keys))
}
