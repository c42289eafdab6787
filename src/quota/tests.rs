//! Laws of claims: several concurrent runs, over several Sundays.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::manifest::Purpose;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn claimant<'a>(purpose: Purpose, unsent: &'a Unsent, now: &str) -> Claimant<'a> {
    Claimant { run: "r", purpose, unsent, now: at(now) }
}

fn newest(last: Block) -> Newest {
    Newest {
        week: week_of(last.from),
        busy_until: Some(last.to),
        backfill: last.backfill.clone(),
        last: Some(last),
    }
}

#[track_caller]
fn block(claim: Claim) -> (Block, Slot) {
    let Claim::Block(block, slot) = claim else { panic!("no block: {claim:?}") };
    (block, slot)
}

const NOON: &str = "2026-11-25T12:00:00Z";

#[test]
fn a_rate_of_none_has_slots_without_length() {
    let limits = Limits { rate: 0.0, ..Limits::default() };
    let (none, empty) = (Unsent::default(), Newest::of_nothing(week_of(at(NOON))));
    let (block, slot) = block(claim(&empty, &limits, &claimant(Purpose::Incremental, &none, NOON)));
    assert_eq!((block.from, block.to, slot.requests), (at(NOON), at(NOON), 100));
}

/// If a week's spend is unknown because its ledger was lost, backfills wait for the next week, or
/// for an explicit limit from the user. Exports continue.
#[test]
fn a_backfill_waits_where_the_weeks_spend_is_unknown() {
    let (limits, none) = (Limits::default(), Unsent::default());
    let lost = newest(unknown(at(NOON)));
    let asked = claim(&lost, &limits, &claimant(Purpose::Backfill, &none, NOON));
    assert_eq!(asked, Claim::Unknown { renewed_at: at("2026-11-29T00:00:00Z") });
    let (night, _) = block(claim(&lost, &limits, &claimant(Purpose::Incremental, &none, NOON)));
    assert!(night.unknown, "it is no better known afterwards");
    let is_explicit = Limits { is_explicit: true, ..limits };
    let claimed = claim(&newest(night), &is_explicit, &claimant(Purpose::Backfill, &none, NOON));
    assert!(!block(claimed).0.unknown, "the user has said so");
}

/// A9: a slot ends by the end of its week. If no time is left, the next slot belongs to the next
/// week, and begins when that of the previous week is over. What the old week paid for is paid for
/// again.
#[test]
fn a_slot_never_straddles_the_end_of_the_week() {
    let limits = Limits::default();
    let sunday = NaiveDate::from_ymd_opt(2026, 11, 29).unwrap();
    let old = week_before(sunday);
    let mut unsent = Unsent::default();
    unsent.add(old, 3);
    let edge = "2026-11-28T23:59:59Z";
    let of_old = Newest::of_nothing(old);
    let (last, slot) =
        block(claim(&of_old, &limits, &claimant(Purpose::Incremental, &unsent, edge)));
    assert_eq!((slot.requests, slot.carried, last.requests), (9, 3, 6));
    assert!(slot.to <= begin_of(sunday));
    let full = newest(last.clone());
    let next = claim(&full, &limits, &claimant(Purpose::Incremental, &unsent, edge));
    assert_eq!(next, Claim::NextWeek(sunday));
    // A slot of an older version straddles the edge; it counts until it is over.
    let busy_until = Some(at("2026-11-29T00:00:05Z"));
    let of_next = Newest { busy_until, ..Newest::of_nothing(sunday) };
    let (first, slot) =
        block(claim(&of_next, &limits, &claimant(Purpose::Incremental, &unsent, edge)));
    assert_eq!((first.from, first.spent), (at("2026-11-29T00:00:05Z"), 100));
    assert_eq!((slot.carried, slot.requests), (0, 100), "paid again by the new week");
    assert_eq!(slot.week_ends(), at("2026-12-06T00:00:00Z"));
}

/// The first block of a week still records that a backfill is running.
#[test]
fn a_running_backfill_is_recognized_across_the_end_of_the_week() {
    let (limits, none) = (Limits::default(), Unsent::default());
    let now = "2026-11-29T00:00:01Z";
    let at_work = RunningBackfill { run: "b".to_owned(), to: at("2026-11-29T00:00:00Z") };
    let backfill = Some(at_work.clone());
    let first = Newest { backfill: backfill.clone(), ..Newest::of_nothing(week_of(at(now))) };
    let (block, _) = block(claim(&first, &limits, &claimant(Purpose::Incremental, &none, now)));
    assert_eq!(block.backfill, backfill);
    for (now, is_so) in [
        ("2026-11-29T00:01:59Z", true),
        ("2026-11-29T00:02:00Z", false),
        ("2026-11-28T23:59:00Z", true),
        ("2026-11-26T00:00:00Z", false),
    ] {
        assert_eq!(is_running(&at_work, &limits, at(now)), is_so, "{now}");
    }
}

/// C15: a slot that no active run can hold is not waited for.
#[test]
fn a_slot_that_no_live_run_holds_starts_now() {
    let limits = Limits::default();
    let slot = |claimed: Option<&str>, from: &str, to: &str| Block {
        from: at(from),
        to: at(to),
        claimed_at: claimed.map(at),
        ..presumed(None, &limits, at(from))
    };
    let of = |block: &Block, holder| slot_state(block, holder, &limits, at(NOON));
    let soon = slot(Some("2026-11-25T12:00:00Z"), "2026-11-25T12:00:04Z", "2026-11-25T12:00:14Z");
    assert_eq!(of(&soon, Holder::MayLive), SlotState::Until(soon.to));
    assert_eq!(of(&soon, Holder::Killed), SlotState::Skipped);
    let begun = slot(Some("2026-11-25T11:59:55Z"), "2026-11-25T11:59:55Z", "2026-11-25T12:00:05Z");
    assert_eq!(of(&begun, Holder::MayLive), SlotState::Until(begun.to));
    let SlotState::Until(free) = of(&begun, Holder::Killed) else { panic!("it may have sent one") };
    assert_eq!(free, at(NOON) + limits.spacing());
    let over = slot(None, "2026-11-25T11:00:00Z", "2026-11-25T11:00:10Z");
    assert_eq!(of(&over, Holder::MayLive), SlotState::Over);
    for (claimed, from, to) in [
        (None, "2026-11-25T12:30:00Z", "2026-11-25T12:30:10Z"),
        (None, "2026-11-28T12:00:00Z", "2026-11-28T12:00:10Z"),
        (Some("2026-11-25T12:10:00Z"), "2026-11-25T12:10:00Z", "2026-11-25T12:10:10Z"),
        (Some("2026-11-25T12:02:00Z"), "2026-11-25T12:02:00Z", "2026-11-25T12:02:10Z"),
        (Some("2026-11-25T11:00:00Z"), "2026-11-25T13:00:00Z", "2026-11-25T13:00:10Z"),
    ] {
        assert_eq!(of(&slot(claimed, from, to), Holder::MayLive), SlotState::Skipped, "{from}");
    }
}

/// C15: a block that returns requests repeats the end of the slot before it. No run waits for that
/// where it would not wait for the slot: its holder was killed, or its clock was wrong.
#[test]
fn requests_that_are_returned_keep_no_slot_that_no_live_run_holds() {
    let limits = Limits::default();
    let returned =
        Returned { run: "r", purpose: Purpose::Incremental, requests: 3, places: 0, ends: true };
    let claimed = |at: DateTime<Utc>, run: &str| Block {
        run: run.to_owned(),
        from: at + TimeDelta::seconds(5),
        to: at + TimeDelta::seconds(15),
        claimed_at: Some(at),
        ..presumed(None, &limits, at)
    };
    let killed = claimed(at(NOON), "killed");
    let back = give_back(&killed, &limits, &returned, at(NOON));
    assert_eq!((back.holder(), back.to), ("killed", killed.to));
    assert_eq!(slot_state(&back, Holder::Killed, &limits, at(NOON)), SlotState::Skipped);
    assert_eq!(slot_state(&back, Holder::MayLive, &limits, at(NOON)), SlotState::Until(killed.to));
    let again = give_back(&back, &limits, &Returned { run: "s", ..returned }, at(NOON));
    assert_eq!(again.holder(), "killed");
    // Its own, by a clock that the first reply has corrected since.
    let ahead = claimed(at(NOON) + TimeDelta::seconds(127), "r");
    let back = give_back(&ahead, &limits, &returned, at(NOON));
    assert_eq!(back.holder(), "r");
    assert_eq!(slot_state(&back, Holder::MayLive, &limits, at(NOON)), SlotState::Skipped);
}

/// What one run holds for one purpose.
#[derive(Debug, Clone, Default)]
struct Lane {
    slot: Option<Slot>,
    used: u32,
    unsent: Unsent,
}

/// A ledger, several runs that share it, and the requests they sent.
struct World {
    limits: Limits,
    now: DateTime<Utc>,
    weeks: BTreeMap<NaiveDate, Vec<Block>>,
    lanes: BTreeMap<(usize, Purpose), Lane>,
    sent: Vec<(DateTime<Utc>, Purpose)>,
}

impl World {
    fn newest(&self, week: NaiveDate) -> Newest {
        let of = |week| self.weeks.get(&week).into_iter().flat_map(|blocks| blocks.iter().rev());
        let mut newest = Newest::of_nothing(week);
        newest.last = of(week).next().cloned();
        let all = || of(week).chain(of(week_before(week)));
        newest.backfill = all().next().and_then(|last| last.backfill.clone());
        for block in all() {
            match slot_state(block, Holder::MayLive, &self.limits, self.now) {
                SlotState::Until(until) => newest.busy_until = Some(until),
                SlotState::Over => {}
                SlotState::Skipped => continue,
            }
            break;
        }
        newest
    }

    fn claim(&mut self, run: usize, purpose: Purpose) {
        let name = run.to_string();
        let mut lane = self.lanes.remove(&(run, purpose)).unwrap_or_default();
        let mut week = week_of(self.now);
        for _ in 0..2 {
            let newest = self.newest(week);
            let claimant = Claimant { run: &name, purpose, unsent: &lane.unsent, now: self.now };
            match claim(&newest, &self.limits, &claimant) {
                Claim::Block(block, slot) => {
                    self.weeks.entry(week).or_default().push(block);
                    lane.unsent.remove(week, slot.carried);
                    (lane.slot, lane.used) = (Some(slot), 0);
                    for (old, requests) in lane.unsent.take_before(slot.week()).iter() {
                        self.give_back(old, &name, purpose, (requests, 0), false);
                    }
                    break;
                }
                Claim::NextWeek(next) => week = next,
                Claim::Spent { .. } | Claim::Unknown { .. } => break,
            }
        }
        self.lanes.insert((run, purpose), lane);
    }

    fn give_back(
        &mut self,
        week: NaiveDate,
        run: &str,
        purpose: Purpose,
        (requests, places): (u32, u32),
        ends: bool,
    ) {
        let blocks = self.weeks.entry(week).or_default();
        let returned = Returned { run, purpose, requests, places, ends };
        let last = blocks.last().unwrap();
        blocks.push(give_back(last, &self.limits, &returned, self.now));
    }

    /// Sends what is due by `until`, unless the run is delayed: then its places pass unused.
    fn pass(&mut self, until: DateTime<Utc>, held_up: &[usize]) {
        for ((run, purpose), lane) in &mut self.lanes {
            let Some(slot) = lane.slot else { continue };
            while lane.used < slot.requests {
                let place = slot.from + slot.spacing * i32::try_from(lane.used).unwrap();
                if place > until {
                    break;
                }
                if held_up.contains(run) {
                    lane.unsent.add(slot.week(), 1);
                } else {
                    self.sent.push((place, *purpose));
                }
                lane.used += 1;
            }
        }
        self.now = until;
    }

    fn end(&mut self, run: usize) {
        for purpose in [Purpose::Incremental, Purpose::Backfill] {
            let Some(mut lane) = self.lanes.remove(&(run, purpose)) else { continue };
            let rest = lane.slot.map_or(0, |slot| slot.requests - lane.used);
            let week = lane.slot.map(|slot| slot.week());
            if let Some(week) = week {
                lane.unsent.add(week, rest);
            }
            for (of, requests) in lane.unsent.iter() {
                let places = if Some(of) == week { rest } else { 0 };
                self.give_back(of, &run.to_string(), purpose, (requests, places), true);
            }
        }
    }

    fn sent_in(&self, week: NaiveDate, purpose: Option<Purpose>) -> u64 {
        let is_of = |it: &&(DateTime<Utc>, Purpose)| {
            week_of(it.0) == week && purpose.is_none_or(|purpose| purpose == it.1)
        };
        self.sent.iter().filter(is_of).count() as u64
    }
}

#[derive(Debug, Clone)]
enum Act {
    Claim(usize, bool),
    Pass { millis: i64, held_up: Vec<usize> },
    End(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let claim = (0usize..3, any::<bool>()).prop_map(|(run, backfill)| Act::Claim(run, backfill));
    // Mostly seconds, occasionally into another week.
    let millis = prop_oneof![8 => 0i64..20_000, 1 => 0i64..700_000_000];
    let pass = (millis, prop::collection::vec(0usize..3, 0..2))
        .prop_map(|(millis, held_up)| Act::Pass { millis, held_up });
    let end = (0usize..3).prop_map(Act::End);
    prop::collection::vec(prop_oneof![4 => claim, 4 => pass, 1 => end], 0..120)
}

proptest! {
    /// P7, A9: whatever runs claim concurrently, in any order and over any number of Sundays, no
    /// second exceeds the rate, no week exceeds its quota, backfills do not exceed their share, and
    /// each week's ledger counts what was sent in it.
    #[test]
    fn quota_share_and_rate_hold_over_the_ends_of_weeks(
        acts in acts(),
        weekly in 0u64..2_000,
        share in 0.0f64..1.0,
        rate in 0.5f64..50.0,
        block in 0u32..200,
        before_the_edge in 0i64..60_000,
    ) {
        let limits = Limits { weekly, share, rate, is_explicit: false, block };
        let now = at("2026-11-29T00:00:00Z") - TimeDelta::milliseconds(before_the_edge);
        let (weeks, lanes) = (BTreeMap::new(), BTreeMap::new());
        let mut world = World { limits, now, weeks, lanes, sent: Vec::new() };
        for act in acts {
            match act {
                Act::Claim(run, backfill) => {
                    let purpose = if backfill { Purpose::Backfill } else { Purpose::Incremental };
                    let is_used = |lane: &Lane| {
                        lane.slot.is_none_or(|slot| lane.used == slot.requests)
                    };
                    if world.lanes.get(&(run, purpose)).is_none_or(is_used) {
                        world.claim(run, purpose);
                    }
                }
                Act::Pass { millis, held_up } => {
                    world.pass(world.now + TimeDelta::milliseconds(millis), &held_up);
                }
                Act::End(run) => world.end(run),
            }
        }
        (0..3).for_each(|run| world.end(run));
        for (week, blocks) in &world.weeks {
            let last = blocks.last().unwrap();
            prop_assert_eq!(last.spent, world.sent_in(*week, None), "week {}", week);
            let on_backfill = world.sent_in(*week, Some(Purpose::Backfill));
            prop_assert_eq!(last.spent_on_backfill, on_backfill);
            prop_assert!(last.spent <= weekly && last.spent_on_backfill <= limits.backfill());
            prop_assert!(blocks.iter().all(|it| it.to <= renewed_at(begin_of(*week))));
        }
        world.sent.sort_unstable_by_key(|it| it.0);
        for pair in world.sent.windows(2) {
            let apart = pair[1].0 - pair[0].0;
            prop_assert!(apart.as_seconds_f64() >= 1.0 / rate, "{pair:?}");
        }
    }
}
