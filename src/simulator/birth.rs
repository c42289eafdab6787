//! Generates calls from the options: when they are held, how they end, and their titles. The result
//! is [`Slot`]s; the records are generated elsewhere.

use super::options::{Dense, Options};
use super::slot::Slot;
use super::text::{chance, generator, hex24, uuid};
use chrono::{DateTime, Datelike, Utc, Weekday};
use fastrand::Rng;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Statuses of calls that are over, with weights.
const OVER: [(&str, u32); 11] = [
    ("POST_PROCESSING_DONE", 820),
    ("PROCESSED", 60),
    ("CALL_DID_NOT_HAPPEN", 40),
    ("NOBODY_JOINED_CALL", 30),
    ("BOTJOIN_DENIED", 10),
    ("UNABLE_TO_JOIN", 10),
    ("IGNORED_BY_USER", 10),
    ("NO_DATA_INCALL", 6),
    ("BOTJOIN_DISABLED", 5),
    ("ERROR_IN_TRANSCRIBE", 6),
    ("ERROR_IN_RECORDING", 3),
];

/// Kinds of calls, with weights. `RECORDING` does not occur in the published documentation.
const KINDS: [(&str, u32); 8] = [
    ("ZOOM", 450),
    ("GOOGLE_MEET", 200),
    ("MS_TEAMS", 170),
    ("DIALPAD", 80),
    ("AIRCALL_RECORDING", 50),
    ("RECORDING", 20),
    ("OUTREACH", 20),
    ("RINGCENTRAL", 10),
];

/// Every call of a new workspace, in no order.
pub(super) fn slots(options: &Options) -> Vec<Slot> {
    let now = options.now.timestamp_millis();
    let mut rng = generator(options.seed, 10);
    let mut slots = Vec::with_capacity(options.calls + options.scheduled);
    for _ in 0..options.calls {
        let time = working_time(&mut rng, now, i64::from(options.days.max(1)));
        slots.push(slot(&mut rng, options, time, now));
    }
    for _ in 0..options.scheduled {
        let time = working_time(&mut rng, now + 14 * DAY, 13) + DAY;
        slots.push(slot(&mut rng, options, time.max(now + HOUR), now));
    }
    for dense in &options.dense {
        slots.extend((0..dense.calls).map(|_| crowded(&mut rng, options, *dense, now)));
    }
    slots
}

/// One call held at `time`, seen at `now`.
pub(super) fn slot(rng: &mut Rng, options: &Options, time: i64, now: i64) -> Slot {
    let seconds = rng.u32(90..2_000) + rng.u32(..1_800);
    let end = time + i64::from(seconds) * 1_000;
    let lag =
        if chance(rng, 0.03) { rng.i64(DAY..6 * DAY) } else { rng.i64(5 * MINUTE..90 * MINUTE) };
    let (status, modified) = state(rng, time, end, lag, now);
    Slot {
        id: if rng.u8(..10) < 7 { uuid(rng) } else { hex24(rng) }.into(),
        birth: rng.u64(..),
        time,
        modified,
        ready: end + options.transcript_delay.num_milliseconds(),
        seconds,
        status: status.into(),
        kind: weighted(rng, &KINDS).into(),
        private: chance(rng, options.private),
        kept: None,
    }
}

fn crowded(rng: &mut Rng, options: &Options, dense: Dense, now: i64) -> Slot {
    let span = dense.span.num_milliseconds().max(1);
    let time = dense.from.timestamp_millis() + rng.i64(0..span);
    slot(rng, options, time, now)
}

/// The status of a call at `now`, and when it began.
fn state(rng: &mut Rng, time: i64, end: i64, lag: i64, now: i64) -> (&'static str, i64) {
    if time >= now {
        ("SCHEDULED", (time - rng.i64(DAY..20 * DAY)).min(now - MINUTE))
    } else if end >= now {
        ("INPROGRESS", time)
    } else if end + lag > now {
        let waiting = ["WAITING_IN_QUEUE", "PROCESSING", "PROCESSED"];
        (rng.choice(waiting).unwrap_or("PROCESSING"), end.min(now))
    } else {
        (weighted(rng, &OVER), end + lag)
    }
}

/// A random time in the `days` before `now`, mostly during office hours.
pub(super) fn working_time(rng: &mut Rng, now: i64, days: i64) -> i64 {
    for _ in 0..64 {
        let day = (now / DAY - rng.i64(0..=days)) * DAY;
        let hour = (rng.i64(7..13) + rng.i64(0..7)) * HOUR;
        let minute = if rng.bool() { rng.i64(0..4) * 15 * MINUTE } else { rng.i64(0..HOUR) };
        let time = day + hour + minute;
        if time < now && time >= now - days * DAY && (!weekend(time) || chance(rng, 0.06)) {
            return time;
        }
    }
    // The span contains no working hour.
    now - 1 - rng.i64(0..days * DAY)
}

fn weekend(time: i64) -> bool {
    let date: DateTime<Utc> = DateTime::from_timestamp_millis(time).unwrap_or_default();
    matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
}

fn weighted(rng: &mut Rng, weights: &[(&'static str, u32)]) -> &'static str {
    let mut left = rng.u32(..weights.iter().map(|(_, weight)| weight).sum::<u32>().max(1));
    for (name, weight) in weights {
        if left < *weight {
            return name;
        }
        left -= weight;
    }
    weights.first().map_or("", |(name, _)| name)
}
