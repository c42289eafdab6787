//! The throttle: each request waits for its place in a paid slot.
//!
//! Determines the moment at which the next request may be sent. No request is sent without a slot,
//! and no two are closer together than the rate allows.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::gate::{Gate, Pass};
use crate::error::{Error, ErrorKind};
use crate::manifest::Purpose;
use crate::quota::{FreePlaces, GivenBack, MOST_IN_BLOCK, Unsent, spacing};

/// Requests that are paid for, and the time in which they may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// How many requests.
    pub requests: u32,
    /// How many of them were paid earlier and not sent.
    pub carried: u32,
    /// The week whose quota pays for them.
    pub week: NaiveDate,
    /// When the first may be sent.
    pub from: Instant,
    /// The time between two requests; none if there is no rate.
    pub spacing: Duration,
    /// When that week, and with it the slot, ends; none if no week counts.
    pub week_ends: Option<Instant>,
}

impl Slot {
    /// When the next slot begins.
    fn to(&self) -> Instant {
        self.from + self.spacing * self.requests
    }

    /// Whether it begins where another ends; both instants were read from a clock.
    fn follows(&self, before: &Self) -> bool {
        self.from <= before.to() + Duration::from_millis(1)
    }

    /// Whether a request is too late for the slot: it would crowd the next slot's first request, or
    /// count in the next week.
    fn is_over(&self, at: Instant) -> bool {
        // If requests are seconds apart, a quarter of the time between them is longer than a second
        // has room for.
        let room = (self.spacing / 4).min(MOST_LATE);
        let is_late = !self.spacing.is_zero() && at + self.spacing > self.to() + room;
        is_late || self.week_ends.is_some_and(|ends| at >= ends)
    }
}

/// Why nothing may be sent.
#[derive(Debug)]
pub enum Refusal {
    /// Nothing for this purpose; requests for others may be sent.
    Deferred(Error),
    /// Nothing at all.
    Spent(Error),
}

/// Decides what may be sent, and when.
///
/// What it grants is paid: it counts as sent, whatever happens to the process.
pub trait Allowance: Send + Sync {
    /// The next slot. The part of `unsent` that its week has paid is sent in it, and not paid
    /// again.
    fn claim(&self, purpose: Purpose, unsent: Unsent) -> BoxFuture<'_, Result<Slot, Refusal>>;

    /// Takes back requests that were granted and not sent.
    fn give_back(&self, returned: GivenBack) -> BoxFuture<'_, Result<(), Error>>;
}

/// A rate that is not shared with other processes.
#[derive(Debug)]
pub(super) struct Rate {
    spacing: Duration,
    end: std::sync::Mutex<Option<Instant>>,
}

impl Rate {
    pub(super) fn new(rate: f64) -> Self {
        let spacing = spacing(rate).to_std().unwrap_or_default();
        Self { spacing, end: std::sync::Mutex::default() }
    }
}

impl Allowance for Rate {
    fn claim(&self, _: Purpose, _: Unsent) -> BoxFuture<'_, Result<Slot, Refusal>> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let from = end.map_or(now, |end| end.max(now));
        let (requests, spacing) = (MOST_IN_BLOCK, self.spacing);
        let week = NaiveDate::default();
        let slot = Slot { requests, carried: 0, week, from, spacing, week_ends: None };
        *end = Some(slot.to());
        Box::pin(std::future::ready(Ok(slot)))
    }

    fn give_back(&self, _: GivenBack) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Spaces requests out, each in a slot of its purpose.
pub(super) struct Throttle {
    allowance: Arc<dyn Allowance>,
    incremental: Lane,
    backfill: Lane,
    /// When the last request actually left: a process that was held up must not catch up in a
    /// burst.
    pace: Mutex<Pace>,
    /// Closed while the server requests a pause.
    gate: Gate,
}

/// When requests left.
#[derive(Default)]
struct Pace {
    left_at: Option<Instant>,
    /// How late recent requests left. Delays measured here also occur on the way to the wire, where
    /// they cannot be measured: each second keeps that much room.
    lag: Duration,
}

impl Pace {
    /// When the next may leave at the earliest.
    fn next(&self, spacing: Duration) -> Option<Instant> {
        let beyond = self.lag.saturating_sub(ROOM).mul_f64(spacing.as_secs_f64().min(1.0));
        Some(self.left_at? + closest(spacing) + beyond)
    }

    /// Records that a request due at `due` leaves now.
    fn leave(&mut self, due: Instant, now: Instant) {
        let late = now.saturating_duration_since(due).min(MOST_LAG);
        self.lag = late.max(self.lag * 63 / 64);
        self.left_at = Some(now);
    }
}

/// How late the last request of a slot may leave without crowding the next slot's first, which may
/// be another process's.
const MOST_LATE: Duration = Duration::from_millis(25);
/// The room that a second always has, since the spacing is slightly wider than the rate.
const ROOM: Duration = Duration::from_millis(20);
/// The longest lag that is allowed for: a longer one means that the machine was suspended.
const MOST_LAG: Duration = Duration::from_millis(200);

/// The slots of one purpose.
#[derive(Default)]
struct Lane {
    slots: Mutex<Slots>,
    /// What is paid and was not sent: its slot has passed, or the request was given up.
    unsent: std::sync::Mutex<Unsent>,
    /// The requests sent, by the week that paid for them.
    sent: std::sync::Mutex<Unsent>,
}

impl Lane {
    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) -> MutexGuard<'_, Unsent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The current slot, and the next one.
#[derive(Default)]
struct Slots {
    slot: Option<Slot>,
    used: u32,
    /// Whether anything was granted.
    claimed: bool,
    last: Option<Instant>,
    /// The next slot, claimed before it is needed.
    ahead: Option<JoinHandle<Result<Slot, Refusal>>>,
}

/// One request's place in a slot. Unless the request leaves, it returns to the unsent ones, even
/// when the wait for it is canceled.
struct Place<'t> {
    lane: &'t Lane,
    slot: Slot,
    at: Instant,
    is_used: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.lane.unsent().add(self.slot.week, 1);
        }
    }
}

impl Throttle {
    pub(super) fn new(allowance: Arc<dyn Allowance>) -> Self {
        let (incremental, backfill) = (Lane::default(), Lane::default());
        Self { allowance, incremental, backfill, pace: Mutex::default(), gate: Gate::default() }
    }

    /// Sends nothing before this instant, and then one request before all others.
    pub(super) fn close_until(&self, until: Instant) {
        self.gate.close_until(until);
    }

    /// Waits until the next request may be sent. The wait may be canceled at any time: what it paid
    /// is eventually given back.
    pub(super) async fn ready(&self, purpose: Purpose) -> Result<Pass<'_>, Refusal> {
        loop {
            let pass = self.gate.pass().await;
            let mut place = self.place(purpose).await?;
            if place.at > Instant::now() {
                tokio::time::sleep_until(place.at).await;
            }
            // A request that is too late for its slot is sent in a later one, and so is one that
            // finds the gate closed meanwhile.
            place.is_used = self.leave(&place.slot, place.at).await && pass.is_valid();
            if place.is_used {
                place.lane.sent().add(place.slot.week, 1);
                return Ok(pass);
            }
        }
    }

    /// The next place in a slot.
    async fn place(&self, purpose: Purpose) -> Result<Place<'_>, Refusal> {
        let lane = self.lane(purpose);
        let mut slots = lane.slots.lock().await;
        loop {
            if let Some((slot, at)) = slots.next(Instant::now(), &lane.unsent) {
                if slots.is_nearly_used() && slots.ahead.is_none() {
                    slots.ahead = Some(self.claim(purpose));
                }
                return Ok(Place { lane, slot, at, is_used: false });
            }
            let slot = self.next_slot(purpose, &mut slots).await?;
            (slots.slot, slots.used, slots.claimed) = (Some(slot), 0, true);
            self.settle(purpose, &slot).await?;
        }
    }

    /// Lets a request go when it is far enough from the previous one; returns false when its slot
    /// is over.
    async fn leave(&self, slot: &Slot, planned: Instant) -> bool {
        if slot.spacing.is_zero() {
            return !slot.is_over(Instant::now());
        }
        let mut pace = self.pace.lock().await;
        let due = pace.next(slot.spacing).map_or(planned, |next| next.max(planned));
        tokio::time::sleep_until(due).await;
        let now = Instant::now();
        let is_in_time = !slot.is_over(now);
        if is_in_time {
            pace.leave(due, now);
        }
        is_in_time
    }

    /// Removes from the unsent requests what a new slot has adopted, and gives back what a past
    /// week paid, which can no longer be sent.
    async fn settle(&self, purpose: Purpose, slot: &Slot) -> Result<(), Refusal> {
        let unsent = {
            let mut unsent = self.lane(purpose).unsent();
            unsent.remove(slot.week, slot.carried);
            unsent.take_before(slot.week)
        };
        if unsent.is_empty() {
            return Ok(());
        }
        let returned = GivenBack { purpose, unsent, free: None, ends: false };
        self.allowance.give_back(returned).await.map_err(Refusal::Spent)
    }

    /// Gives back what was paid and not sent.
    pub(super) async fn give_back(&self) -> Result<(), Error> {
        for purpose in [Purpose::Incremental, Purpose::Backfill] {
            let lane = self.lane(purpose);
            let mut slots = lane.slots.lock().await;
            let mut unsent = std::mem::take(&mut *lane.unsent());
            let mut free = None;
            let slot = slots.slot.take();
            if let Some(slot) = slot {
                let places = slot.requests - std::mem::take(&mut slots.used);
                unsent.add(slot.week, places);
                free = Some(FreePlaces { week: slot.week, places });
            }
            if let Some(ahead) = join(&mut slots.ahead).await {
                slots.claimed = true;
                // What is left of the slot before is free too, unless others have the time between.
                let adjoining = free.filter(|it| {
                    it.week == ahead.week && slot.is_some_and(|slot| ahead.follows(&slot))
                });
                let before = adjoining.map_or(0, |it: FreePlaces| it.places);
                free = Some(FreePlaces { week: ahead.week, places: before + ahead.requests });
                unsent.remove(ahead.week, ahead.carried);
                unsent.add(ahead.week, ahead.requests);
            }
            if std::mem::take(&mut slots.claimed) {
                let returned = GivenBack { purpose, unsent, free, ends: true };
                self.allowance.give_back(returned).await?;
            }
        }
        Ok(())
    }

    /// Gives back everything paid, including what was sent, because another allowance pays for it;
    /// returns the purpose of each request that was sent.
    pub(super) async fn take_back(&self) -> Result<Vec<Purpose>, Error> {
        let mut purposes = Vec::new();
        for purpose in [Purpose::Incremental, Purpose::Backfill] {
            let lane = self.lane(purpose);
            for (week, requests) in std::mem::take(&mut *lane.sent()).iter() {
                lane.unsent().add(week, requests);
                purposes.extend((0..requests).map(|_| purpose));
            }
        }
        self.give_back().await?;
        Ok(purposes)
    }

    fn lane(&self, purpose: Purpose) -> &Lane {
        match purpose {
            Purpose::Incremental => &self.incremental,
            Purpose::Backfill => &self.backfill,
        }
    }

    /// The slot after the one that is used up. A claim continues when the wait for it is canceled,
    /// and its slot is used by the next request, or given back.
    async fn next_slot(&self, purpose: Purpose, slots: &mut Slots) -> Result<Slot, Refusal> {
        let ahead = slots.ahead.get_or_insert_with(|| self.claim(purpose));
        let claimed = ahead.await;
        slots.ahead = None;
        claimed.unwrap_or_else(|error| {
            let message = "the claim of a slot ended abruptly";
            Err(Refusal::Spent(Error::new(ErrorKind::Internal, message).with_source(error)))
        })
    }

    fn claim(&self, purpose: Purpose) -> JoinHandle<Result<Slot, Refusal>> {
        let (allowance, unsent) =
            (Arc::clone(&self.allowance), self.lane(purpose).unsent().clone());
        tokio::spawn(async move { allowance.claim(purpose, unsent).await })
    }
}

/// The slot that was claimed ahead, if one was granted.
async fn join(ahead: &mut Option<JoinHandle<Result<Slot, Refusal>>>) -> Option<Slot> {
    ahead.take()?.await.ok()?.ok()
}

/// The minimum distance between two requests: a late one may catch up, but not beyond the agreed
/// rate.
fn closest(spacing: Duration) -> Duration {
    spacing * 99 / 100
}

impl Slots {
    /// When the next request of the slot may be sent; `None` when the slot is used up or over.
    fn next(&mut self, now: Instant, unsent: &std::sync::Mutex<Unsent>) -> Option<(Slot, Instant)> {
        let slot = self.slot?;
        if self.used >= slot.requests {
            self.slot = None;
            return None;
        }
        let planned = slot.from + slot.spacing * self.used;
        let apart = self.last.map_or(planned, |last| last + closest(slot.spacing));
        let at = planned.max(apart).max(now);
        if slot.is_over(at) {
            let mut unsent = unsent.lock().unwrap_or_else(PoisonError::into_inner);
            unsent.add(slot.week, slot.requests - self.used);
            self.slot = None;
            return None;
        }
        self.used += 1;
        self.last = Some(at);
        Some((slot, at))
    }

    fn is_nearly_used(&self) -> bool {
        self.slot.is_some_and(|slot| slot.requests - self.used <= (slot.requests / 2).min(16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(rate: f64) -> Throttle {
        Throttle::new(Arc::new(Rate::new(rate)))
    }

    /// P7: at most the rate in any second, and hardly fewer, across slot boundaries too.
    #[tokio::test(start_paused = true)]
    async fn requests_are_evenly_spaced() {
        let throttle = throttle(10.0);
        let begun = tokio::time::Instant::now();
        let mut sent = Vec::new();
        for _ in 0..1_000 {
            throttle.ready(Purpose::Incremental).await.unwrap();
            sent.push(begun.elapsed());
        }
        for window in sent.windows(11) {
            assert!(window[10] >= window[0] + Duration::from_secs(1), "{window:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(105), "{:?}", begun.elapsed());
    }

    /// P7: the last request of a slot leaves room for the first of the next, which may be another
    /// process's: as much as a second has, however far apart requests are.
    #[test]
    fn a_late_request_leaves_room_for_the_next_slot() {
        for rate in [0.5, 1.0, 3.0, 10.0, 50.0] {
            let spacing = crate::quota::spacing(rate).to_std().unwrap();
            let from = Instant::now();
            let (week, week_ends) = (chrono::NaiveDate::default(), None);
            let slot = Slot { requests: 1, carried: 0, week, from, spacing, week_ends };
            let room =
                (0..300).map(Duration::from_millis).take_while(|it| !slot.is_over(from + *it));
            let last = room.last().unwrap();
            // After this many more requests, the second must be over.
            let span = spacing.mul_f64(f64::max(rate, 1.0)).saturating_sub(last);
            assert!(span >= Duration::from_secs(1), "{rate}: {last:?} late, {span:?} for a second");
        }
    }

    /// A late request finds the slot over, and no burst catches up.
    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_made_up_for() {
        let throttle = throttle(10.0);
        let mut sent = Vec::new();
        for round in 0..300 {
            if round % 70 == 0 {
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
            throttle.ready(Purpose::Incremental).await.unwrap();
            sent.push(tokio::time::Instant::now());
        }
        for window in sent.windows(11) {
            assert!(window[10] - window[0] >= Duration::from_secs(1), "{window:?}");
        }
    }

    /// P7: a process that was held up sends overdue requests one by one, not all at once.
    #[tokio::test]
    async fn delayed_requests_do_not_leave_in_a_burst() {
        let throttle = Arc::new(throttle(50.0));
        let sent = Arc::new(std::sync::Mutex::new(Vec::new()));
        let one = |throttle: Arc<Throttle>, sent: Arc<std::sync::Mutex<Vec<Instant>>>| async move {
            throttle.ready(Purpose::Incremental).await.unwrap();
            sent.lock().unwrap().push(Instant::now());
        };
        let waiting: Vec<_> =
            (0..20).map(|_| tokio::spawn(one(Arc::clone(&throttle), Arc::clone(&sent)))).collect();
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(150));
        for task in waiting {
            task.await.unwrap();
        }
        let sent = sent.lock().unwrap();
        for pair in sent.windows(2) {
            assert!(pair[1] - pair[0] >= Duration::from_millis(18), "{pair:?}");
        }
    }

    /// Grants a slot of one week, then one of the next, and records what is given back.
    #[derive(Default)]
    struct Weeks {
        claims: std::sync::atomic::AtomicU32,
        returned: std::sync::Mutex<Vec<GivenBack>>,
    }

    impl Weeks {
        fn week(number: u32) -> NaiveDate {
            NaiveDate::default() + chrono::TimeDelta::weeks(number.into())
        }
    }

    impl Allowance for Weeks {
        fn claim(&self, _: Purpose, _: Unsent) -> BoxFuture<'_, Result<Slot, Refusal>> {
            let number = self.claims.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let week = Self::week(number);
            let requests = if number == 0 { 4 } else { 100 };
            let (from, spacing) = (Instant::now(), Duration::from_secs(1));
            let slot = Slot { requests, carried: 0, week, from, spacing, week_ends: None };
            Box::pin(std::future::ready(Ok(slot)))
        }

        fn give_back(&self, returned: GivenBack) -> BoxFuture<'_, Result<(), Error>> {
            self.returned.lock().unwrap().push(returned);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    /// P7: a run that ends at the end of a week, with a slot of the next week claimed ahead, frees
    /// none of the old week's places that it has used.
    #[tokio::test(start_paused = true)]
    async fn p7_places_are_given_back_to_the_week_of_their_slot() {
        let weeks = Arc::new(Weeks::default());
        let throttle = Throttle::new(Arc::clone(&weeks) as Arc<dyn Allowance>);
        for _ in 0..3 {
            throttle.ready(Purpose::Incremental).await.unwrap();
        }
        throttle.give_back().await.unwrap();
        let returned = weeks.returned.lock().unwrap();
        let [GivenBack { unsent, free, .. }] = returned.as_slice() else { panic!("{returned:?}") };
        assert_eq!((unsent.of(Weeks::week(0)), unsent.of(Weeks::week(1))), (1, 100));
        assert_eq!(*free, Some(FreePlaces { week: Weeks::week(1), places: 100 }));
    }

    /// Grants slots of four, each where the one before ends, or so much later.
    #[derive(Default)]
    struct InARow {
        claims: std::sync::atomic::AtomicU32,
        apart: Duration,
        begun: Option<Instant>,
        returned: std::sync::Mutex<Vec<GivenBack>>,
    }

    impl Allowance for InARow {
        fn claim(&self, _: Purpose, _: Unsent) -> BoxFuture<'_, Result<Slot, Refusal>> {
            let number = self.claims.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let spacing = Duration::from_secs(1);
            let from = self.begun.unwrap() + (spacing * 4 + self.apart) * number;
            let week = NaiveDate::default();
            let slot = Slot { requests: 4, carried: 0, week, from, spacing, week_ends: None };
            Box::pin(std::future::ready(Ok(slot)))
        }

        fn give_back(&self, returned: GivenBack) -> BoxFuture<'_, Result<(), Error>> {
            self.returned.lock().unwrap().push(returned);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    /// C15: a run that ends frees what is left of its slot and of the one claimed ahead, unless
    /// another run has the time between them.
    #[tokio::test(start_paused = true)]
    async fn c15_the_rest_of_both_slots_is_free_when_a_run_ends() {
        for (apart, freed) in [(0, 5), (3, 4)] {
            let (apart, begun) = (Duration::from_secs(apart), Some(Instant::now()));
            let slots = Arc::new(InARow { apart, begun, ..InARow::default() });
            let throttle = Throttle::new(Arc::clone(&slots) as Arc<dyn Allowance>);
            for _ in 0..3 {
                throttle.ready(Purpose::Incremental).await.unwrap();
            }
            throttle.give_back().await.unwrap();
            let returned = slots.returned.lock().unwrap();
            let [GivenBack { unsent, free, .. }] = returned.as_slice() else { panic!() };
            let week = NaiveDate::default();
            assert_eq!(unsent.of(week), 5);
            assert_eq!(*free, Some(FreePlaces { week, places: freed }));
        }
    }

    /// P7: if the machine lags, each second also keeps room for delays that cannot be measured.
    #[test]
    fn a_machine_that_lags_sends_a_little_more_slowly() {
        let spacing = crate::quota::spacing(10.0).to_std().unwrap();
        let begun = Instant::now();
        let second_after = |late: Duration| {
            let mut pace = Pace::default();
            pace.leave(begun, begun + late);
            for _ in 0..10 {
                let due = pace.next(spacing).unwrap();
                pace.leave(due, due);
            }
            pace.left_at.unwrap() - (begun + late)
        };
        for harmless in [0, 20] {
            assert!(second_after(Duration::from_millis(harmless)) < Duration::from_millis(1_025));
        }
        assert!(second_after(Duration::from_millis(80)) > Duration::from_millis(1_075));
        let stopped = second_after(Duration::from_secs(3_600));
        assert!(stopped < Duration::from_millis(1_200), "{stopped:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let throttle = throttle(0.0);
        let begun = tokio::time::Instant::now();
        for _ in 0..1_000 {
            throttle.ready(Purpose::Backfill).await.unwrap();
        }
        assert!(begun.elapsed().is_zero());
    }
}
