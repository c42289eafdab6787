//! Names the children that the lake lacks, or has only in part: the first of those that the queue
//! counts.

use crate::endpoint::MOST_SHOWN;
use crate::error::Result;
use crate::lake::{Children, ParentAndChild};
use crate::partition::Partition;
use crate::plan::queue::{self, Due, UNNAMED};
use crate::report::{QueueState, Queued};

/// How many are named in the report, and in a message.
const MOST_NAMED: usize = 20;
const MOST_IN_MESSAGE: usize = 5;

/// The first children that are not complete: those that are missing before the others, newest
/// first.
pub(super) fn all(children: &Children<'_>, open: &[Partition], now: i64) -> Result<Vec<Queued>> {
    let has_some = |partition: &Partition| {
        let checked = children.own.manifest().checked.get(&partition.to_string());
        let counted = checked.is_none_or(|it| it.queue.pending + it.queue.parked > 0);
        counted || open.contains(partition)
    };
    let (mut missing, mut others) = (Vec::new(), Vec::new());
    for partition in children.parents.indexed().rev().filter(has_some) {
        let mut pairs = children.pairs(partition)?;
        pairs.sort_by_cached_key(|pair| std::cmp::Reverse((pair.parent.time, pair.id.clone())));
        for pair in pairs.iter().filter(|pair| children.selects(pair)) {
            let Some(queued) = queued(pair, now) else { continue };
            let is_missing = pair.attempt().is_none_or(queue::is_missing);
            let named = if is_missing { &mut missing } else { &mut others };
            if named.len() < MOST_NAMED {
                named.push(queued);
            }
        }
        if missing.len() >= MOST_NAMED {
            break;
        }
    }
    missing.extend(others);
    missing.truncate(MOST_NAMED);
    Ok(missing)
}

/// A child that is still to be requested.
fn queued(pair: &ParentAndChild, now: i64) -> Option<Queued> {
    let state = match queue::due(pair.attempt(), pair.parent.hash, now) {
        Due::Now => QueueState::Pending,
        Due::Later => QueueState::Parked,
        Due::Done | Due::Never => return None,
    };
    let reason = pair.attempt().and_then(|it| it.reason.as_deref()).map(str::to_owned);
    Some(Queued { id: shown(&pair.id), state, reason })
}

/// Parents whose records lack what the request names.
pub(super) fn without_values<'p>(ids: impl Iterator<Item = &'p str>) -> Vec<Queued> {
    let queued = |id: &str| Queued {
        id: shown(id),
        state: QueueState::Parked,
        reason: Some(UNNAMED.to_owned()),
    };
    ids.take(MOST_NAMED).map(queued).collect()
}

/// An id that may be shown: an address identifies a person, and reports are kept for a long time.
fn shown(id: &str) -> String {
    if id.contains('@') { "***".to_owned() } else { id.chars().take(MOST_SHOWN).collect() }
}

/// Those of one state for a message: ` (a, b and 7 more)`, or nothing.
pub(super) fn in_words(queued: &[Queued], state: QueueState, count: u64) -> String {
    let is_missing = |it: &&Queued| {
        let reason = it.reason.as_deref();
        it.state == state && !reason.is_some_and(|it| [queue::EMPTY, UNNAMED].contains(&it))
    };
    let ids = queued.iter().filter(is_missing).map(|it| it.id.as_str());
    let ids: Vec<&str> = ids.take(MOST_IN_MESSAGE).collect();
    if ids.is_empty() {
        return String::new();
    }
    let more = count.saturating_sub(ids.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(" ({}{more})", ids.join(", "))
}
