//! P10: clocks that are wrong, and what the server's `Date` makes of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::fetch::{Break, Exchanged, Get, Severed, Transport};
use clari_lake::internals::lake::Store;
use clari_lake::internals::report::Report;
use clari_lake::internals::simulator::{Api, Settings, Table, Workspace};
use clari_lake::internals::verify::verify;
use serde_json::json;

use crate::support::{
    Bucket, Lake, Run, assert_calls, assert_scorecards, assert_snapshot, now, received, small,
};

/// A workspace, its API by the right clock, and a lake.
struct World {
    workspace: Workspace,
    right: Clock,
    transport: Arc<dyn Transport>,
    lake: Lake,
}

const ENDPOINTS: [&str; 6] =
    ["calls", "call_details", "users", "scorecards", "playlists", "playlist_calls"];

impl World {
    /// Its replies bear a `Date`, or none.
    fn new(has_date: bool) -> Self {
        let workspace = Workspace::generate(&small());
        let right = Clock::stopped_at(now() + TimeDelta::milliseconds(300));
        let api = Arc::new(Api::new(workspace.clone(), Settings::default()));
        let clock = right.clone();
        let transport: Arc<dyn Transport> = Arc::new(move |get: Get| {
            let mut reply: Exchanged = api.answer(&received(get)).0;
            let date = clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            reply.headers_mut().remove("date");
            if has_date {
                reply.headers_mut().insert("date", date.parse().unwrap());
            }
            std::future::ready(Ok::<_, Severed>(reply))
        });
        Self { workspace, right, transport, lake: Lake::in_memory() }
    }

    /// A run of a machine whose clock is so far ahead.
    fn run(&self, ahead: TimeDelta) -> Run {
        let clock = Clock::stopped_at(self.right.now() + ahead);
        Run::over(Arc::clone(&self.transport), self.lake.location(), &clock)
            .quickly()
            .only(&ENDPOINTS)
            .by_clock()
    }

    fn pass(&self, time: TimeDelta) {
        self.right.set(self.right.now() + time);
    }

    /// Everything has another content from now on.
    fn change(&self) {
        let at = self.right.now();
        let calls = self.workspace.calls_before(at, false);
        for call in calls.iter().rev().take(5) {
            let id = call["id"].as_str().unwrap();
            let status =
                if call["status"] == "PROCESSED" { "POST_PROCESSING_DONE" } else { "PROCESSED" };
            assert!(self.workspace.set_status(id, status, at));
        }
        let user = json!({ "id": "new-user", "email": "new@example.com" });
        self.workspace.insert_row(Table::Users, at, user);
    }

    #[track_caller]
    fn assert_holds(&self, report: &Report) {
        assert!(report.complete, "{:#?}", report.problems);
        let (now, hidden) = (self.right.now(), BTreeSet::new());
        let whole = DateTime::from_timestamp(now.timestamp(), 0).unwrap();
        assert_eq!(report.now, whole, "it counts from the right time");
        let calls = self.workspace.calls_before(whole, false);
        assert_calls(&self.workspace, &self.lake, &calls, &hidden);
        assert_snapshot(&self.workspace, &self.lake, ("users", Table::Users, "id"), now);
        assert_scorecards(&self.workspace, &self.lake);
        let store = Arc::new(Store::open(&self.lake.location()).unwrap());
        let found = verify(&store, &Catalogue::built_in().unwrap()).unwrap();
        assert_eq!(found.findings, [], "verify agrees with the exit code");
    }

    /// No instant in any manifest lies in the future.
    #[track_caller]
    fn assert_nothing_in_the_future(&self) {
        let latest: DateTime<Utc> = self.right.now() + TimeDelta::seconds(2);
        for table in ENDPOINTS {
            let manifest = self.lake.manifest(table).unwrap();
            assert!(manifest.committed_at <= latest, "{table}: {}", manifest.committed_at);
            let ends = [manifest.coverage.end(), manifest.goal.end(), manifest.watermark];
            assert!(ends.iter().flatten().all(|end| *end <= latest), "{table}: {ends:?}");
            let today = latest.format("%Y-%m-%d").to_string();
            assert!(manifest.partitions.keys().all(|dt| *dt <= today), "{table}");
        }
    }
}

fn offsets() -> [TimeDelta; 4] {
    [3 * 86_400, 3_600, -600, -3 * 86_400].map(TimeDelta::seconds)
}

/// A14: whatever a machine's clock says, what it writes is dated by the server's, and the newer
/// content of the next run wins; the run says by how much the clock is off.
#[test]
fn a_run_by_a_wrong_clock_is_a_run_at_the_right_time() {
    for ahead in offsets() {
        for is_first in [true, false] {
            let world = World::new(true);
            if !is_first {
                world.assert_holds(&world.run(TimeDelta::zero()).complete());
                world.pass(TimeDelta::hours(20));
                world.change();
            }
            let report = world.run(ahead).run();
            let off = report.clock_off_seconds.unwrap();
            assert!((off - ahead.num_seconds()).abs() <= 1, "{off} for {ahead}");
            world.assert_holds(&report);
            world.assert_nothing_in_the_future();
            world.pass(TimeDelta::minutes(5));
            world.change();
            let report = world.run(TimeDelta::zero()).run();
            assert_eq!(report.clock_off_seconds, None);
            world.assert_holds(&report);
        }
    }
}

/// P7: a run by a right clock takes no request more for knowing that it is right; by a wrong one, it
/// takes one more.
#[test]
fn only_a_wrong_clock_costs_a_request() {
    let requests = |ahead: TimeDelta, has_date: bool, is_first: bool| {
        let world = World::new(has_date);
        if !is_first {
            world.run(TimeDelta::zero()).complete();
            world.pass(TimeDelta::hours(20));
        }
        let report = world.run(ahead).complete();
        let week = report.week.unwrap();
        let before = if is_first { 0 } else { week.spent - report.requests };
        assert_eq!(week.spent - before, report.requests, "each is paid for once");
        report.requests
    };
    for is_first in [true, false] {
        let without = requests(TimeDelta::zero(), false, is_first);
        assert_eq!(requests(TimeDelta::zero(), true, is_first), without);
        assert_eq!(requests(TimeDelta::seconds(40), true, is_first), without);
        assert_eq!(requests(TimeDelta::days(3), true, is_first), without + 1);
    }
}

/// A14: where no reply bears a `Date`, a lake that a wrong clock has written to is set right by the
/// next run at the right time: newer content wins, and nothing counts as listed that was not.
#[test]
fn a_lake_written_with_a_wrong_clock_is_corrected_by_the_next_run() {
    for ahead in [3 * 86_400, 3_600, 600].map(TimeDelta::seconds) {
        let world = World::new(false);
        world.run(TimeDelta::zero()).complete();
        world.pass(TimeDelta::hours(2));
        world.run(ahead).complete();
        world.pass(TimeDelta::minutes(30));
        world.change();
        let report = world.run(TimeDelta::zero()).run();
        world.assert_holds(&report);
        let again = world.run(TimeDelta::zero()).run();
        world.assert_holds(&again);
        let changed: Vec<_> = again.changed.iter().map(|it| (&it.endpoint, &it.dt)).collect();
        assert!(changed.is_empty(), "P4 {ahead}: {changed:?}");
    }
}

/// P14, A14: a run that gets no reply cannot know that its clock is wrong, so it copies no snapshot
/// into the future, which would be the newest one for days. That also holds for children whose lists
/// are still valid, so that the requests without a reply are other endpoints'.
#[test]
fn a_run_without_a_reply_makes_no_snapshot_of_a_day_that_may_be_wrong() {
    let valid =
        "[parent]\nendpoint = 'playlists'\nid = '$.id'\ncolumn = 'playlist_id'\nrefresh = '7d'";
    for file in ["", valid] {
        let world = World::new(true);
        let run = |ahead| world.run(ahead).with_files(&[("playlist_calls", file)]);
        run(TimeDelta::zero()).complete();
        let days = || {
            let rows = world.lake.rows("playlist_calls");
            rows.into_iter().map(|row| row.dt).collect::<BTreeSet<_>>()
        };
        let before = days();
        let report = run(TimeDelta::days(3)).with_quota(0, 0.7).run();
        assert!(!report.complete && report.requests == 0, "{:?}", report.problems);
        assert_eq!(days(), before, "{file:?}");
    }
}

/// A14: the first replies of a run may be cut off, so that it is planned by a wrong clock. What it
/// lists is of the server's day anyway: a snapshot of a later day would be the newest for days.
#[test]
fn a14_a_run_whose_first_replies_are_cut_off_makes_no_snapshot_of_a_later_day() {
    let mut world = World::new(true);
    let (transport, sent) = (Arc::clone(&world.transport), Arc::new(AtomicU64::new(0)));
    world.run(TimeDelta::zero()).only(&["users"]).complete();
    world.pass(TimeDelta::hours(2));
    world.transport = Arc::new(move |get: Get| {
        let (transport, number) = (Arc::clone(&transport), sent.fetch_add(1, Ordering::Relaxed));
        async move { if number < 2 { Err(Break::Torn.into()) } else { transport.get(get).await } }
    });
    world.change();
    world.run(TimeDelta::days(3)).only(&["users"]).run();
    assert_snapshot(
        &world.workspace,
        &world.lake,
        ("users", Table::Users, "id"),
        world.right.now(),
    );
    let days: BTreeSet<_> = world.lake.rows("users").into_iter().map(|row| row.dt).collect();
    assert_eq!(days.len(), 1, "{days:?}");
}

/// P10: a run that gets no reply commits its goal by its own clock. The next run's rows are dated by
/// the server's `Date` anyway: a row that is dated later than its request would win over
/// newer content.
#[test]
fn p10_no_row_is_dated_later_than_its_request_because_of_another_machines_clock() {
    let world = World::new(true);
    world.run(TimeDelta::zero()).complete();
    world.pass(TimeDelta::hours(2));
    let committed_at = || world.lake.manifest("scorecards").unwrap().committed_at;
    let before = committed_at();
    let report = world.run(TimeDelta::seconds(30)).with_quota(0, 0.7).run();
    assert_eq!(report.requests, 0);
    assert!(committed_at() > before, "it has committed its goal");
    let mut card = world.workspace.rows(Table::Scorecards)[0].clone();
    card["id"] = json!("new-card");
    let filled_in = world.right.now() - TimeDelta::minutes(1);
    world.workspace.insert_row(Table::Scorecards, filled_in, card);
    world.run(TimeDelta::zero()).complete();
    let rows = world.lake.rows("scorecards");
    let newest = rows.iter().map(|row| row.exported_at).max().unwrap();
    assert!((newest - world.right.now()).abs() < TimeDelta::seconds(1), "{newest}");
}

/// The same in months, and on an object store.
#[test]
fn a_wrong_clock_is_corrected_in_month_lakes_and_on_an_object_store() {
    let (world, bucket) = (World::new(true), Bucket::in_memory());
    let run = |ahead| world.run(ahead).by_month().into(&bucket);
    let report = run(TimeDelta::days(3)).complete();
    assert!(report.clock_off_seconds.is_some());
    world.pass(TimeDelta::minutes(5));
    world.change();
    let report = run(TimeDelta::zero()).complete();
    let users = report.changed.iter().find(|it| it.endpoint == "users").unwrap();
    assert_eq!((users.inserted, users.updated), (1, 0), "the newer content won");
    let calls = report.changed.iter().filter(|it| it.endpoint == "calls");
    assert_eq!(calls.map(|it| it.updated).sum::<u64>(), 5);
}
