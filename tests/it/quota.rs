//! P7: the quota of weeks and the rate, over Sundays, kills and clocks that are wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::fetch::{Exchanged, Get, Severed, Stop, Transport};
use clari_lake::internals::lake::Store;
use clari_lake::internals::ledger::Ledger;
use clari_lake::internals::manifest::Purpose;
use clari_lake::internals::quota::{Claim, Limits, Unsent};
use clari_lake::internals::simulator::{Api, Options, Settings, Workspace};

use crate::support::{Lake, Run, at, received, small};

/// When requests arrived.
type Arrivals = Arc<Mutex<Vec<DateTime<Utc>>>>;

/// A workspace that answers in no time, as of this clock, and what was asked of it when.
fn api(options: &Options, clock: &Clock) -> (Arc<dyn Transport>, Arrivals) {
    let api = Arc::new(Api::new(Workspace::generate(options), Settings::default()));
    let arrivals = Arrivals::default();
    let (clock, noted) = (clock.clone(), Arc::clone(&arrivals));
    let answer = move |get: Get| {
        noted.lock().unwrap().push(clock.now());
        let mut reply: Exchanged = api.answer(&received(get)).0;
        let date = clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        reply.headers_mut().insert("date", date.parse().unwrap());
        std::future::ready(Ok::<_, Severed>(reply))
    };
    (Arc::new(answer), arrivals)
}

fn store(lake: &Lake) -> Arc<Store> {
    Arc::new(Store::open(&lake.location()).unwrap())
}

fn spent(lake: &Lake, now: DateTime<Utc>) -> u64 {
    let last = Ledger::new(store(lake), "").last(&Limits::default(), now).unwrap();
    last.map_or(0, |block| block.spent)
}

#[track_caller]
fn assert_rate(arrivals: &mut [DateTime<Utc>], rate: usize) {
    arrivals.sort_unstable();
    for window in arrivals.windows(rate + 1) {
        let time = window[rate] - window[0];
        assert!(time >= TimeDelta::seconds(1), "{} requests in {time}: {window:?}", rate + 1);
    }
}

/// A9: two exports over Sunday 00:00 UTC keep to the rate together, and each week's ledger records
/// what was sent in it, with a rate or without one.
#[tokio::test(start_paused = true)]
async fn two_exports_over_the_end_of_the_week_share_the_rate_and_each_week_counts_its_own() {
    for (rate, before) in [(10u8, 0), (10, 900), (10, 4_700), (3, 9_000), (0, 30)] {
        let edge = at("2025-11-23T00:00:00Z");
        let clock = Clock::running_from(edge - TimeDelta::milliseconds(before));
        let (transport, arrivals) = api(&Options { now: edge, ..small() }, &clock);
        let lake = Lake::in_memory();
        let run = || {
            let run = Run::over(Arc::clone(&transport), lake.location(), &clock);
            run.only(&["calls", "call_details", "scorecards"]).with_rate(f64::from(rate))
        };
        let late = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            run().perform().await
        };
        let (one, two) = tokio::join!(run().perform(), late);
        assert!(one.unwrap().complete && two.unwrap().complete);
        let mut arrivals = arrivals.lock().unwrap().clone();
        if rate > 0 {
            assert_rate(&mut arrivals, usize::from(rate));
        }
        let mut weeks: BTreeMap<bool, u64> = BTreeMap::new();
        for at in &arrivals {
            *weeks.entry(*at >= edge).or_default() += 1;
        }
        for (is_new, at) in [(false, edge - TimeDelta::seconds(1)), (true, edge)] {
            let sent = weeks.get(&is_new).copied().unwrap_or_default();
            assert_eq!(spent(&lake, at), sent, "rate {rate}, {before} ms before, {is_new}");
        }
    }
}

/// A block of another run, claimed by a clock that is so far ahead, whose run is not running.
fn claim_ahead(lake: &Lake, now: DateTime<Utc>, ahead: TimeDelta) {
    let ledger = Ledger::new(store(lake), "20251120T120000Z-0000");
    for _ in 0..3 {
        let claimed =
            ledger.claim(&Limits::default(), Purpose::Incremental, &Unsent::default(), now + ahead);
        assert!(matches!(claimed.unwrap(), Claim::Block(..)));
    }
}

/// C15: a run waits for no slot of a clock that was wrong.
#[tokio::test(start_paused = true)]
async fn a_slot_of_a_clock_that_was_ahead_keeps_no_run_waiting() {
    for ahead in [
        TimeDelta::minutes(2),
        TimeDelta::minutes(10),
        TimeDelta::hours(1),
        TimeDelta::hours(7),
        TimeDelta::days(3),
    ] {
        let now = at("2025-11-20T12:00:00Z");
        let clock = Clock::running_from(now);
        let (transport, arrivals) = api(&small(), &clock);
        let lake = Lake::in_memory();
        claim_ahead(&lake, now, ahead);
        let run = Run::over(transport, lake.location(), &clock).with_rate(10.0);
        assert!(run.only(&["users"]).perform().await.unwrap().complete);
        let arrivals = arrivals.lock().unwrap();
        assert!(arrivals[0] - now < TimeDelta::seconds(1), "{ahead}: {}", arrivals[0]);
    }
}

/// C15: every wait ends when the run is to end: by its time, or because it is asked to stop. What
/// was paid for the requests that waited is given back.
#[tokio::test(start_paused = true)]
async fn a_wait_for_a_slot_ends_with_the_runs_time_and_when_it_is_stopped() {
    for is_stopped in [false, true] {
        let now = at("2025-11-20T12:00:00Z");
        let clock = Clock::running_from(now);
        let (transport, arrivals) = api(&small(), &clock);
        let lake = Lake::in_memory();
        // Another live run has reserved what a slow rate allows in several minutes.
        let slow = Limits { rate: 0.5, ..Limits::default() };
        let other = Ledger::new(store(&lake), "20251120T115900Z-0000");
        other.claim(&slow, Purpose::Incremental, &Unsent::default(), now).unwrap();
        let stop = Stop::default();
        let run = Run::over(transport, lake.location(), &clock).only(&["users", "calls"]);
        let run = run.with_rate(0.5).with_stop(stop.clone());
        let begun = tokio::time::Instant::now();
        let run = if is_stopped {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                stop.request();
            });
            run
        } else {
            run.with_max_time(Duration::from_secs(60))
        };
        let ended = run.perform().await;
        assert!(ended.is_err() || !ended.unwrap().complete);
        assert!((60..62).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert_eq!(arrivals.lock().unwrap().len(), 0);
        assert_eq!(spent(&lake, now), 100, "what was not sent is given back");
    }
}
