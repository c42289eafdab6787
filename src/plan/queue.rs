//! The queue: when the children of a parent are due.
//!
//! A child that is read by look-up is due when its parent's record has changed since; a list of
//! children is due when the last one is no longer valid. Both follow from the outcome of the last
//! request, and from the time. The list of pending records is not stored, since it follows from the
//! indexes.

use crate::manifest::{Attempt, ParentVersion, Queue};

/// Why an existing record is requested again: the field that shows it to be complete was still
/// empty.
pub const EMPTY: &str = "nothing in it yet";

/// Why a record is not requested: the parent's record lacks the fields that the request needs.
pub const UNNAMED: &str = "the parent's record lacks what the request names of it";

/// Why a record is missing when its reply never came: the API may just have been unavailable.
pub const TOO_LARGE: &str = "no answer in time, or too large for one (502, 504)";

/// Why a record is missing that the API does not have, or not yet.
pub const NOT_FOUND: &str = "not found (404)";

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// After this many runs, a reply that never came counts as too large.
const EAGER: u32 = 2;
/// How long a missing record is requested.
const PATIENCE: i64 = 14 * DAY;

/// When a record should be requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Not at all: the lake has it for the parent's current version.
    Done,
    /// In this run.
    Now,
    /// In a later run.
    Later,
    /// Not until its parent changes: it was unavailable for two weeks.
    Never,
}

/// When a record is due, given its parent's content hash and the last outcome `before`.
#[must_use]
pub fn due(before: Option<&Attempt>, parent_hash: u128, now: i64) -> Due {
    match before {
        Some(before) if before.parent == ParentVersion::Content(parent_hash) => {
            match &before.reason {
                None => Due::Done,
                Some(_) if is_given_up(before) => Due::Never,
                Some(_) if before.next_try_at > now => Due::Later,
                Some(_) => Due::Now,
            }
        }
        _ => Due::Now,
    }
}

/// What to record about a request that found everything, or, for this `reason`, nothing complete.
#[must_use]
pub fn attempt(
    before: Option<&Attempt>,
    parent_hash: u128,
    reason: Option<&str>,
    now: i64,
) -> Attempt {
    let parent = ParentVersion::Content(parent_hash);
    let Some(reason) = reason else { return Attempt { parent, ..Attempt::default() } };
    let before = before.filter(|it| it.parent == parent && it.reason.is_some());
    let failures = before.map_or(0, |it| it.failures) + 1;
    let eager = if reason == TOO_LARGE { EAGER } else { 0 };
    let delay = match failures.saturating_sub(eager) {
        0 => 0,
        tries => (15 * MINUTE).saturating_mul(1 << (tries - 1).min(10)).min(DAY),
    };
    Attempt {
        parent,
        reason: Some(reason.into()),
        failures,
        first_failed_at: before.map_or(now, |it| it.first_failed_at),
        next_try_at: now + delay,
    }
}

/// When the lists of a parent's children are requested again.
#[derive(Debug, Clone, Copy)]
pub struct ListSchedule {
    /// How long a complete list is valid, in microseconds; without it, each run requests it.
    pub valid_for: Option<i64>,
    /// Whether the lists are requested whatever their last outcome was.
    pub is_full: bool,
    /// The run's reference time, microseconds since 1970.
    pub now: i64,
    /// The latest time that any clock can be trusted to have shown, microseconds since 1970.
    pub latest: i64,
}

impl ListSchedule {
    /// The version of every parent of a list: only its key affects the request.
    const VERSION: u128 = 1;

    /// Whether a list is due after this outcome. `is_elsewhere`: the last answer is about another
    /// snapshot, so that its rows would have to be requested again.
    #[must_use]
    pub fn is_due(&self, before: Option<&Attempt>, is_elsewhere: bool) -> bool {
        let Some(before) = before.filter(|it| self.is_believed(it)) else { return true };
        if before.reason.is_none() {
            let is_valid = self.valid_for.is_some() && before.next_try_at > self.now;
            return !is_valid || self.is_full || is_elsewhere;
        }
        let is_later =
            matches!(due(Some(before), Self::VERSION, self.now), Due::Later | Due::Never);
        !is_later || self.is_full
    }

    /// What to record about a list that was read to its end.
    #[must_use]
    pub fn complete(&self) -> Attempt {
        let next_try_at = self.valid_for.map_or(0, |valid_for| self.now.saturating_add(valid_for));
        Attempt { next_try_at, ..attempt(None, Self::VERSION, None, self.now) }
    }

    /// What to record about a parent that does not exist.
    #[must_use]
    pub fn absent(&self, before: Option<&Attempt>) -> Attempt {
        let before = before.filter(|it| self.is_believed(it));
        attempt(before, Self::VERSION, Some(NOT_FOUND), self.now)
    }

    /// Whether what is recorded can have been recorded by now. A list that is valid for longer than
    /// possible was recorded with a wrong clock.
    fn is_believed(&self, before: &Attempt) -> bool {
        let valid_for = self.valid_for.filter(|_| before.reason.is_none()).unwrap_or(0);
        is_near(before.next_try_at.saturating_sub(valid_for), self.latest)
    }
}

/// Whether the time of the next try is no later than what a request at `now` can have set; a later
/// one was set by a wrong clock.
#[must_use]
pub fn is_near(next_try_at: i64, now: i64) -> bool {
    next_try_at <= now + DAY + MINUTE
}

/// Whether what is recorded about a request can have been recorded by `now`. Otherwise it was
/// recorded with a wrong clock, and the record is requested again.
#[must_use]
pub fn is_believed(attempt: &Attempt, now: i64) -> bool {
    attempt.reason.is_none() || is_near(attempt.next_try_at, now)
}

/// How far records have come, given the last outcome and the parent's content hash of each, and
/// when the first of the deferred ones is due.
#[must_use]
pub fn tally<'a>(
    records: impl Iterator<Item = (Option<&'a Attempt>, u128)>,
    now: i64,
) -> (Queue, Option<i64>) {
    let mut queue = Queue::default();
    let mut due_at: Option<i64> = None;
    for (attempt, parent_hash) in records {
        match due(attempt, parent_hash, now) {
            Due::Done => queue.settled += 1,
            Due::Now => queue.pending += 1,
            Due::Never => queue.unavailable += 1,
            Due::Later => {
                queue.parked += 1;
                let next = attempt.map_or(now, |attempt| attempt.next_try_at);
                due_at = Some(due_at.map_or(next, |due_at| due_at.min(next)));
            }
        }
        queue.missing += u64::from(attempt.is_some_and(is_missing));
    }
    (queue, due_at)
}

/// Whether a record is still missing that may become available.
#[must_use]
pub fn is_missing(attempt: &Attempt) -> bool {
    let is_at_fault = |reason: &str| ![EMPTY, UNNAMED].contains(&reason);
    attempt.reason.as_deref().is_some_and(is_at_fault) && !is_given_up(attempt)
}

/// Whether the last try came after two weeks of failures.
fn is_given_up(attempt: &Attempt) -> bool {
    attempt.next_try_at - attempt.first_failed_at > PATIENCE + DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 6.7: a complete record is requested again when its parent changes, and only then.
    #[test]
    fn a_done_look_up_is_not_repeated_until_its_parent_changes() {
        let done = attempt(None, 7, None, 0);
        assert_eq!(due(Some(&done), 7, i64::MAX), Due::Done);
        assert_eq!(due(Some(&done), 8, 0), Due::Now);
        assert_eq!(due(None, 8, 0), Due::Now);
    }

    /// Section 6.7: after a temporary failure, a record is requested again in the next run, and
    /// deferred only if it fails that way in several runs.
    #[test]
    fn a_reply_that_never_came_is_due_in_the_next_two_runs() {
        let first = attempt(None, 7, Some(TOO_LARGE), 0);
        assert_eq!(due(Some(&first), 7, 0), Due::Now);
        let second = attempt(Some(&first), 7, Some(TOO_LARGE), 1);
        assert_eq!(due(Some(&second), 7, 1), Due::Now);
        let third = attempt(Some(&second), 7, Some(TOO_LARGE), 2);
        assert_eq!(due(Some(&third), 7, 3), Due::Later);
    }

    /// A14: what was deferred by a clock that was ahead is requested again, and is not given up.
    #[test]
    fn a_delay_set_by_a_wrong_clock_is_ignored() {
        let not_found = Some(NOT_FOUND);
        let first = attempt(None, 7, not_found, 0);
        for ahead in [3 * DAY, 30 * DAY] {
            let wrong = attempt(Some(&first), 7, not_found, ahead);
            assert!(!is_believed(&wrong, DAY), "{ahead}");
        }
        let mut last = first;
        for tries in 1..40 {
            assert!(is_believed(&last, last.next_try_at - DAY), "{tries}");
            last = attempt(Some(&last), 7, not_found, last.next_try_at);
        }
        assert!(is_believed(&attempt(None, 7, None, i64::MAX / 2), 0), "done is done");
    }

    /// Tries become less frequent, and end after two weeks.
    #[test]
    fn absent_details_are_requested_less_often_and_then_never() {
        let mut now = 0;
        let mut last = attempt(None, 7, Some(NOT_FOUND), now);
        let mut tries = 1;
        while due(Some(&last), 7, i64::MAX) != Due::Never {
            assert_eq!(due(Some(&last), 7, last.next_try_at - 1), Due::Later);
            assert!(is_missing(&last));
            now = last.next_try_at;
            last = attempt(Some(&last), 7, Some(NOT_FOUND), now);
            tries += 1;
        }
        assert!((14 * DAY..16 * DAY).contains(&now), "{now}");
        assert!(tries < 30, "{tries}");
        assert!(!is_missing(&last));
    }

    /// A13, A14: a list is requested again when it is no longer valid, when everything is, and when
    /// its answer cannot be of this time; a parent that does not exist, less and less often.
    #[test]
    fn a_list_is_due_when_its_last_answer_is_no_longer_valid() {
        let schedule =
            |now| ListSchedule { valid_for: Some(7 * DAY), is_full: false, now, latest: now };
        let complete = schedule(0).complete();
        assert!(schedule(0).is_due(None, false));
        assert!(!schedule(7 * DAY - 1).is_due(Some(&complete), false));
        assert!(schedule(7 * DAY).is_due(Some(&complete), false));
        assert!(schedule(DAY).is_due(Some(&complete), true), "its rows are in another snapshot");
        assert!(schedule(-2 * DAY).is_due(Some(&complete), false), "of a clock that was ahead");
        let full = ListSchedule { is_full: true, ..schedule(DAY) };
        assert!(full.is_due(Some(&complete), false));
        let each_run = ListSchedule { valid_for: None, ..schedule(DAY) };
        assert!(each_run.is_due(Some(&each_run.complete()), false));

        let absent = schedule(0).absent(None);
        assert!(!schedule(MINUTE).is_due(Some(&absent), false));
        assert!(schedule(15 * MINUTE).is_due(Some(&absent), false));
        assert!(ListSchedule { is_full: true, ..schedule(MINUTE) }.is_due(Some(&absent), false));
        let again = schedule(15 * MINUTE).absent(Some(&absent));
        assert!(!schedule(30 * MINUTE).is_due(Some(&again), false));
    }
}
