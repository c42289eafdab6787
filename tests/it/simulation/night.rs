//! Nights: what happens in each, in which order, and what must hold after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::ErrorKind;
use clari_lake::internals::fetch::Stop;
use clari_lake::internals::lake::Store;
use clari_lake::internals::simulator::{BeyondCap, Faults, Options, Settings, Table, Workspace};
use clari_lake::internals::verify::verify;
use fastrand::Rng;

use super::attack::Blow;
use super::note;
use super::wire::Wire;
use super::world::World;
use crate::support::{Lake, Run, assert_calls, assert_scorecards, assert_snapshot};

/// Everything that lives through a schedule.
struct Life {
    rng: Rng,
    world: World,
    lake: Lake,
    settings: Settings,
    /// The server's clock, and the exporter's, which is not the same.
    server: Clock,
    here: Clock,
}

/// How the clean run at the end of a night looks back.
#[derive(Debug, Clone, Copy)]
enum Scope {
    Full,
    Lookback(TimeDelta),
}

/// Lives through the nights of one seed.
pub(super) async fn live(seed: u64) {
    let mut life = Life::new(seed);
    for night in 1..=life.rng.u32(1..4) {
        life.night(night).await;
    }
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let options = Options {
            seed,
            calls: rng.usize(1..90),
            days: rng.u32(1..14),
            users: 6,
            scheduled: 6,
            turns: 3,
            oddities: 0.05,
            lone_surrogates: 0.0,
            scorecards: Some(12),
            transcript_delay: TimeDelta::minutes(rng.i64(0..90)),
            ..Options::default()
        };
        let workspace = Workspace::generate(&options);
        let first = options.now - TimeDelta::days(i64::from(options.days));
        let server = Clock::running_from(options.now);
        let here = Clock::running_from(options.now + TimeDelta::seconds(rng.i64(-300..300)));
        let settings = Settings {
            edges_inclusive: rng.bool(),
            ties_ascending: rng.bool(),
            beyond_cap: [BeyondCap::Refuse, BeyondCap::Clamp, BeyondCap::Empty][rng.usize(..3)],
            ..Settings::default()
        };
        note(format!("{} calls in {} days", options.calls, options.days));
        let world = World::new(&workspace, &server, rng.fork(), first);
        Self { rng, world, lake: Lake::in_memory(), settings, server, here }
    }

    async fn night(&mut self, night: u32) {
        // The clean run begins a day after the last of the others, when nothing is parked still.
        let clean_at = self.here.now() + TimeDelta::hours(self.rng.i64(40..60));
        let scope = match self.rng.u8(..3) {
            0 => Scope::Full,
            _ => Scope::Lookback(TimeDelta::days(self.rng.i64(3..10))),
        };
        self.world.silent_since = match scope {
            Scope::Full => self.world.first,
            Scope::Lookback(lookback) => {
                self.world.first.max(clean_at - lookback + TimeDelta::days(1))
            }
        };
        self.world.restless.clear();
        note(format!("night {night}: {scope:?}"));
        tokio::time::sleep(Duration::from_secs(self.rng.u64(60..36_000))).await;
        for _ in 0..self.rng.u32(..6) {
            self.world.change();
        }
        for _ in 0..self.rng.u32(..4) {
            self.attack().await;
            tokio::time::sleep(Duration::from_secs(self.rng.u64(1..3_600))).await;
        }
        let rest = (clean_at - self.here.now()).to_std().unwrap();
        tokio::time::sleep(rest).await;
        self.conclude(scope).await;
    }

    /// One run or two in the worst of conditions, while the source changes.
    async fn attack(&mut self) {
        let before = self.ids();
        let runs = if self.rng.u8(..4) == 0 { 2 } else { 1 };
        let runs: Vec<_> = (0..runs).map(|_| self.bad_run()).collect();
        let runs = futures::future::join_all(runs);
        tokio::select! {
            biased;
            _ = runs => {}
            never = self.world.go_on() => never,
        }
        // A killed run's last commit may still be under way: its thread outlives it here.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        let after = self.ids();
        let gone = before.iter().filter(|(table, id)| {
            !after.contains(&(*table, id.clone())) && !self.world.postponed.contains(id)
        });
        assert_eq!(gone.collect::<Vec<_>>(), Vec::<&_>::new(), "P1: rows are gone");
    }

    /// A run in bad conditions.
    fn bad_run(&mut self) -> impl Future<Output = ()> + use<> {
        let rng = &mut self.rng;
        let share = if rng.bool() { 0.0 } else { rng.f64() * 0.6 };
        let faults = Faults { stall: share / 20.0, ..Faults::all(rng.u64(..), share) };
        let quota = (rng.u8(..8) == 0).then(|| rng.u64(..200));
        let settings = Settings { faults, quota, ..self.settings.clone() };
        let mut wire = Wire::new(&self.world.workspace, settings, &self.server, rng.fork());
        if rng.u8(..6) == 0 {
            let from = self.server.now() + TimeDelta::milliseconds(rng.i64(0..5_000));
            wire.outage = Some((from, from + TimeDelta::seconds(rng.i64(1..400))));
        }
        let (blow, stop) = (Blow::random(rng), Stop::default());
        let mut run = Run::over(Arc::new(wire).transport(), self.lake.location(), &self.here)
            .with_stop(stop.clone())
            .with_concurrency(rng.usize(1..9))
            .with_page_size(rng.u32(2..40))
            .with_lookback(TimeDelta::minutes(rng.i64(1..20_000)));
        if rng.u8(..6) == 0 {
            run = run.at(self.here.now() - TimeDelta::minutes(rng.i64(1..10_000)));
        }
        if rng.u8(..6) == 0 {
            run = run.full();
        }
        if rng.u8(..4) == 0 {
            run = run.breaking_down_at(rng.u64(..60), rng.bool());
        }
        if rng.u8(..4) == 0 {
            run = run.only(&["calls", "call_details"]);
        }
        note(format!("  run: share {share:.2}, quota {quota:?}, {blow:?}"));
        async move {
            let ended = blow.befall(stop, run.only_tables().perform()).await;
            match ended {
                None => note("  killed".to_owned()),
                Some(Ok(report)) => note(format!("  ended, complete: {}", report.complete)),
                Some(Err(error)) => {
                    note(format!("  ended: {error}"));
                    let kinds =
                        [ErrorKind::Unavailable, ErrorKind::Exhausted, ErrorKind::Interrupted];
                    assert!(kinds.contains(&error.kind()), "{error:?}");
                }
            }
        }
    }

    /// One run in the best of conditions; then the lake is the source.
    async fn conclude(&mut self, scope: Scope) {
        self.world.workspace.advance(self.server.now());
        let now = DateTime::from_timestamp(self.here.now().timestamp(), 0).unwrap();
        let wire = self.calm();
        let report = self.clean(&wire, scope).perform().await.unwrap();
        assert!(report.complete, "problems: {:#?}", report.problems);
        self.assert_true(now);
        assert_eq!(wire.api.violations().total(), 0, "{:?}", wire.api.violations());
        // P4: and another finds nothing to write and no details to ask for.
        let (before, wire) = (self.lake.data(), self.calm());
        let report = self.clean(&wire, scope).perform().await.unwrap();
        assert!(report.complete, "problems: {:#?}", report.problems);
        // What was put off may have begun meanwhile.
        let calls = |at| self.world.workspace.calls_before(at, true).len();
        if calls(now) != calls(report.now) {
            return;
        }
        assert!(self.lake.data() == before, "P4: something was written: {:?}", report.changed);
        let mut asked = wire.api.requests();
        asked.retain(|request| request.path == "/call-details");
        assert_eq!(asked, [], "P4: details were asked for");
    }

    fn calm(&mut self) -> Arc<Wire> {
        let settings = self.settings.clone();
        let mut wire = Wire::new(&self.world.workspace, settings, &self.server, self.rng.fork());
        wire.lives = false;
        Arc::new(wire)
    }

    fn clean(&self, wire: &Arc<Wire>, scope: Scope) -> Run {
        let run = Run::over(wire.transport(), self.lake.location(), &self.here).only_tables();
        match scope {
            Scope::Full => run.full(),
            Scope::Lookback(lookback) => run.with_lookback(lookback),
        }
    }

    /// The lake says what the source says, and `verify` passes.
    fn assert_true(&self, now: DateTime<Utc>) {
        let (workspace, lake) = (&self.world.workspace, &self.lake);
        assert_calls(workspace, lake, &workspace.calls_before(now, false), &self.world.private);
        assert_scorecards(workspace, lake);
        assert_snapshot(workspace, lake, ("users", Table::Users, "id"), now);
        let store = Arc::new(Store::open(&lake.location()).unwrap());
        let found = verify(&store, &Catalogue::built_in().unwrap()).unwrap();
        assert_eq!(found.findings, [], "P12: what is complete passes");
    }

    /// The ids of all rows by table, each of which is in a partition no more than once.
    fn ids(&self) -> BTreeSet<(&'static str, String)> {
        let mut places = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let tables = ["calls", "call_details"].into_iter();
        for table in tables.filter(|it| self.lake.manifest(it).is_some()) {
            for row in self.lake.rows(table) {
                let id = row.record["id"].as_str().unwrap().to_owned();
                let is_new = places.insert((table, row.dt.clone(), id.clone()));
                assert!(is_new, "P2: {table} has {id} twice in {}", row.dt);
                ids.insert((table, id));
            }
        }
        ids
    }
}

impl Run {
    /// The tables that are compared, unless it has chosen others.
    fn only_tables(self) -> Self {
        if self.has_chosen() {
            self
        } else {
            self.only(&["calls", "call_details", "users", "scorecards"])
        }
    }
}
