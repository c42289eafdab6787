//! Life: carries out a schedule, and checks the promises against the lake.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::{Error, ErrorKind};
use clari_lake::internals::fetch::Stop;
use clari_lake::internals::lake::{Observer as Hook, Store};
use clari_lake::internals::ledger::Ledger;
use clari_lake::internals::manifest::{CLOCKS_APART, Manifest};
use clari_lake::internals::quota::Limits;
use clari_lake::internals::report::{Outcome, Report};
use clari_lake::internals::verify::{accept_loss, verify};
use fastrand::Rng;
use proptest::test_runner::TestCaseError;

use super::draw::{Attack, Bad, Blow, Flags, Instead, Life, Night};
use super::end::End;
use super::kind::Dated;
use super::observer::Observer;
use super::oracle::{Oracle, Told, key_of};
use super::place::Place;
use super::source::{Change, Source};
use super::wire::{Trouble, Wire, World};
use crate::simulation::Blow as Fate;
use crate::support::{Bucket, Lake, Run, number, rows_in};

/// How long nothing may settle before that counts as an outage.
const OUTAGE: TimeDelta = TimeDelta::seconds(120);
/// For how many seconds the slots of a run may last that was cut off.
const LONGEST_HELD: i64 = 600;

/// Lives through a schedule.
pub(super) fn live(life: &Life) -> Result<(), TestCaseError> {
    // The exporter's own luck, which spreads its retries.
    fastrand::seed(life.luck);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // One at a time, so that the order of commits is the schedule's and not the machine's.
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async { Living::new(life).all().await }).map_err(TestCaseError::fail)
}

struct Living<'l> {
    life: &'l Life,
    rng: Rng,
    place: Place,
    names: Vec<String>,
    /// The files of those that are not built in.
    files: Vec<(String, String)>,
    server: Clock,
    world: Arc<Mutex<World>>,
    observer: Arc<Mutex<Observer>>,
    /// The runs that were killed, or whose store failed.
    cut_off: usize,
    /// Until when slots may be left that no run uses.
    slots_may_be_held_until: Option<Time>,
    /// Whether the last runs came to an end, so that nothing is left to recover.
    is_whole: bool,
    /// How many rows each partition had when it was looked at last.
    counts: Counts,
    /// Objects that were lost: the endpoint, the path and the value of `dt`.
    lost: Vec<(usize, String, String)>,
    /// The endpoints of which any object was ever lost.
    lossy: BTreeSet<usize>,
    /// The endpoints whose schema is frozen.
    frozen: BTreeSet<usize>,
    /// What each object was, the newest last.
    versions: BTreeMap<String, Vec<Bytes>>,
}

type Time = DateTime<Utc>;

/// What there is by endpoint and partition.
type Counts = BTreeMap<usize, BTreeMap<String, Count>>;

/// How many rows a partition has, and the keys of those that are marked as gone.
#[derive(Debug, Clone, Default)]
struct Count {
    rows: i128,
    marked: BTreeSet<String>,
}

/// How a run came out.
type Ended = Option<Result<Report, Error>>;

impl<'l> Living<'l> {
    fn new(life: &'l Life) -> Self {
        let begins: DateTime<Utc> = life.begins.parse().unwrap();
        let mut rng = Rng::with_seed(life.luck);
        let kinds = &life.kinds;
        let names: Vec<String> = kinds.iter().enumerate().map(|(at, it)| it.name(at)).collect();
        let own = kinds.iter().zip(&names).filter(|(it, _)| it.built_in.is_none());
        let files = own.map(|(it, name)| (name.clone(), it.file(name, &names))).collect();
        let source = Source::new(kinds, &names, &life.counts, begins, rng.fork());
        let world = World {
            source,
            oracle: Oracle::default(),
            sent: Vec::new(),
            settled: Vec::new(),
            ended: BTreeMap::new(),
        };
        let world = Arc::new(Mutex::new(world));
        let place = if life.in_bucket {
            Place::Bucket(Bucket::in_memory())
        } else {
            Place::Folder(Lake::in_memory())
        };
        let observer = Observer::new(Arc::clone(&world), place.reader());
        Self {
            life,
            rng,
            place,
            names,
            files,
            server: Clock::running_from(begins),
            world,
            observer: Arc::new(Mutex::new(observer)),
            cut_off: 0,
            slots_may_be_held_until: None,
            is_whole: true,
            counts: Counts::new(),
            lost: Vec::new(),
            lossy: BTreeSet::new(),
            frozen: BTreeSet::new(),
            versions: BTreeMap::new(),
        }
    }

    async fn all(mut self) -> Result<(), String> {
        for night in &self.life.nights {
            self.night(night).await?;
        }
        self.check_ledger().await
    }

    /// P7: what the lake's ledger says of each week is what was sent in it, or more where a run was
    /// cut off.
    async fn check_ledger(&self) -> Result<(), String> {
        // What a run sends before its first reply is dated by its own clock.
        if self.has_wrong_clocks() {
            return Ok(());
        }
        let mut weeks: BTreeMap<NaiveDate, u64> = BTreeMap::new();
        for (at, _) in &self.world.lock().unwrap().sent {
            let date = at.date_naive();
            let sunday = date - TimeDelta::days(date.weekday().num_days_from_sunday().into());
            *weeks.entry(sunday).or_default() += 1;
        }
        for (sunday, sent) in weeks {
            let store = Arc::new(self.place.store());
            let noon = sunday.and_hms_opt(12, 0, 0).unwrap().and_utc();
            let limits = Limits::default();
            let week = move || Ledger::new(store, "").week(&limits, noon).unwrap();
            let spent = tokio::task::spawn_blocking(week).await.unwrap().spent;
            if spent < sent || (spent > sent && self.cut_off == 0) {
                return Err(format!("P7: the week of {sunday} took {sent} requests, not {spent}"));
            }
        }
        Ok(())
    }

    async fn night(&mut self, night: &Night) -> Result<(), String> {
        let rest = self.rest(night);
        // What changes in silence is young enough for the clean run at the end to see it.
        let longest = night.attacks.iter().map(|attack| i64::from(attack.pause)).sum::<i64>();
        let end = self.server.now()
            + TimeDelta::from_std(rest).unwrap()
            + TimeDelta::seconds(longest)
            + TimeDelta::hours(30);
        if !night.full {
            let since = end - TimeDelta::days(i64::from(night.lookback));
            self.with_source(|source, _| source.silent_since = source.silent_since.max(since));
        }
        for change in &night.changes {
            self.change(*change, false);
        }
        tokio::time::sleep(rest).await;
        if let Some(which) = night.loses {
            self.lose(which);
        }
        if let Some((which, instead)) = night.replaces {
            self.replace(which, instead);
        }
        for attack in &night.attacks {
            self.attack(attack).await?;
            tokio::time::sleep(Duration::from_secs(u64::from(attack.pause))).await;
        }
        // What is parked is due again.
        tokio::time::sleep(Duration::from_secs(26 * 3_600)).await;
        self.conclude(night).await
    }

    /// How long it is until the first run of a night.
    fn rest(&self, night: &Night) -> Duration {
        let minutes = Duration::from_secs(u64::from(night.minutes) * 60);
        let Some(seconds) = night.before_sunday else { return minutes };
        let now = self.server.now();
        let days = 7 - i64::from(now.weekday().num_days_from_sunday());
        let sunday = now.date_naive() + TimeDelta::days(days);
        let at = sunday.and_time(NaiveTime::MIN).and_utc() - TimeDelta::seconds(seconds.into());
        (at - now).to_std().unwrap_or(minutes)
    }

    fn with_source<T>(&self, act: impl FnOnce(&mut Source, DateTime<Utc>) -> T) -> T {
        act(&mut self.world.lock().unwrap().source, self.server.now())
    }

    fn change(&self, (kind, change): (usize, Change), read: bool) {
        let kind = kind % self.life.kinds.len();
        self.with_source(|source, now| source.change(kind, change, now, read));
    }

    /// A run in bad conditions, or two at once, while the source changes.
    async fn attack(&mut self, attack: &Attack) -> Result<(), String> {
        let beside = attack.beside.as_ref();
        let alone = beside.is_none();
        let around = self.around_unreadable(attack);
        let first = self.bad_run(&attack.run, alone);
        let second = beside.map(|bad| {
            let after = if attack.together { attack.run.after } else { bad.after };
            self.bad_run(&Bad { after, ..bad.clone() }, alone)
        });
        let both = async {
            match second {
                Some(second) => {
                    let (first, second) = futures::join!(first, second);
                    vec![first, second]
                }
                None => vec![first.await],
            }
        };
        let mut rng = self.rng.fork();
        let go_on = async {
            let mut pace = 1.0;
            loop {
                let pause = Duration::from_millis(rng.u64(50..1_000)).mul_f64(pace);
                tokio::time::sleep(pause).await;
                pace *= 1.2;
                let kind = rng.usize(..16);
                self.change((kind, Change::ALL[rng.usize(..Change::ALL.len())]), true);
            }
        };
        let ended = tokio::select! {
            biased;
            ended = both => ended,
            never = go_on => never,
        };
        // A killed run's last commit may still be under way, or the claim of its next slot, which
        // is a task of its own: here they outlive it.
        for _ in 0..3 {
            tokio::task::yield_now().await;
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
        let report = match ended.as_slice() {
            [(_, Some(Ok(report)))] => Some(report.clone()),
            _ => None,
        };
        if ended.iter().any(|(_, it)| it.is_none()) {
            self.place.leave_locks();
        }
        let was_whole = self.is_whole;
        self.is_whole = ended.iter().all(|(_, it)| matches!(it, Some(Ok(_))));
        for (run, ended) in ended {
            self.note(run, ended)?;
        }
        if let Some((kind, keys)) = around {
            self.check_around(kind, &keys)?;
        }
        let before = self.counts.clone();
        self.check()?;
        match report.filter(|_| was_whole) {
            Some(report) => self.check_report(&before, &report),
            None => Ok(()),
        }
    }

    /// The records around one that no reply can hold, in a run that meets nothing else and is the
    /// first, so that it lists them all: the endpoint, their keys and times.
    fn around_unreadable(&self, attack: &Attack) -> Option<(usize, BTreeMap<String, Time>)> {
        let (run, options) = (&attack.run, &attack.run.options);
        let meets_more = run.share > 0.0 || run.outage.is_some() || run.skew != 0;
        let ends = run.breakdown.is_some() || !matches!(run.blow, Blow::None);
        let is_less = options.to.is_some() || options.subset != 0 || options.quota.is_some();
        let is_first = self.world.lock().unwrap().oracle.runs.is_empty();
        let is_short = options.max_time.is_some() || !is_first || attack.beside.is_some();
        let (kind, which) =
            run.unreadable.filter(|_| !meets_more && !ends && !is_less && !is_short)?;
        let kind = kind % self.life.kinds.len();
        if !self.life.kinds[kind].is_split() {
            return None;
        }
        self.with_source(|source, now| {
            let items = &source.items[kind];
            let unreadable = items.keys().nth(which % items.len().max(1));
            let around = items
                .iter()
                .filter(|(key, it)| Some(*key) != unreadable && it.at < now && !it.hidden);
            Some((kind, around.map(|(key, it)| (key.clone(), it.at)).collect()))
        })
    }

    /// P1: what is around a record that cannot be read was read, as far as it stayed where it was.
    fn check_around(&self, kind: usize, keys: &BTreeMap<String, Time>) -> Result<(), String> {
        let world = self.world.lock().unwrap();
        let said = world.oracle.said.iter().filter(|said| said.kind == kind);
        let read: BTreeSet<&String> =
            said.flat_map(|said| said.records.iter().map(|(key, ..)| key)).collect();
        let items = &world.source.items[kind];
        // What was deleted meanwhile, or private, may be there again.
        let was_away = |key: &String| {
            world.source.gone[kind].contains(key) || world.source.veiled[kind].contains(key)
        };
        let is_still =
            |key: &String, at: Time| items.get(key).is_some_and(|it| it.at == at) && !was_away(key);
        match keys.iter().find(|(key, at)| !read.contains(key) && is_still(key, **at)) {
            Some((key, at)) => {
                let name = &world.source.names[kind];
                Err(format!("P1: {name} {key} of {at} was not read, and could be"))
            }
            None => Ok(()),
        }
    }

    /// A report names every partition whose rows it made more or fewer, and by how many.
    fn check_report(&self, before: &Counts, report: &Report) -> Result<(), String> {
        for (kind, name) in self.names.iter().enumerate() {
            let of = |counts: &Counts| counts.get(&kind).cloned().unwrap_or_default();
            let (before, after) = (of(before), of(&self.counts));
            let partitions: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for dt in partitions {
                let changed = report.changed.iter().find(|it| it.endpoint == *name && it.dt == *dt);
                let said = changed.map_or(0, |it| i128::from(it.inserted) - i128::from(it.deleted));
                let of =
                    |counts: &BTreeMap<String, Count>| counts.get(dt).cloned().unwrap_or_default();
                let (before, after) = (of(&before), of(&after));
                // What is marked counts as deleted, and its row stays.
                let is = after.rows
                    - before.rows
                    - after.marked.difference(&before.marked).count() as i128;
                if said != is {
                    return Err(format!(
                        "P12: {name} dt={dt} has {is} more rows, and {said} are reported"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What goes wrong on the way during a run.
    fn trouble(&self, bad: &Bad) -> Trouble {
        let unreadable = bad.unreadable.and_then(|(kind, which)| {
            let kind = kind % self.life.kinds.len();
            let keys = self
                .with_source(|source, _| source.items[kind].keys().cloned().collect::<Vec<_>>());
            let key = keys.get(which % keys.len().max(1))?;
            Some((kind, key.clone()))
        });
        let seconds = |it: u32| Duration::from_secs(u64::from(it));
        Trouble {
            share: bad.share,
            slow: bad.slow,
            outage: bad.outage.map(|(from, length)| (seconds(from), seconds(length))),
            refused: bad.refused.map(|kind| kind % self.life.kinds.len()),
            absent: bad.absent,
            unreadable,
        }
    }

    /// A run in bad conditions; its number, and how it came out.
    fn bad_run(&mut self, bad: &Bad, alone: bool) -> impl Future<Output = (usize, Ended)> + use<> {
        let skew = TimeDelta::seconds(bad.skew);
        let here = Clock::running_from(self.server.now() + skew);
        let seconds = |it: u32| Duration::from_secs(u64::from(it));
        let trouble = self.trouble(bad);
        let after = Duration::from_millis(u64::from(bad.after));
        let now = here.now() + TimeDelta::from_std(after).unwrap();
        let to = bad.options.to.map(|minutes| now - TimeDelta::minutes(i64::from(minutes)));
        let flags = bad.options.flags;
        let (place, run) = self.run(trouble, &here, to.unwrap_or(now), bad.skew != 0, flags);
        // Its first reply is for later, and may find it stopped, or with another plan.
        {
            let told = &mut self.world.lock().unwrap().oracle.runs[place];
            told.sleeps = matches!(bad.blow, Blow::Asleep(..));
            told.alone = alone && !told.sleeps;
            told.begun += TimeDelta::from_std(after).unwrap();
            let stopped = match bad.blow {
                Blow::Stopped(millis) => Some(Duration::from_millis(millis)),
                _ => bad.options.max_time.map(seconds),
            };
            let begun = told.begun;
            told.ends_by = stopped.map(|it| begun + TimeDelta::from_std(it).unwrap());
        }
        let may_end = matches!(bad.blow, Blow::Stopped(_)) || bad.options.max_time.is_some();
        if bad.skew != 0 || !alone || may_end {
            self.world.lock().unwrap().oracle.runs[place].probes += 1;
        }
        let run = if to.is_none() { run.by_clock() } else { run };
        let stop = Stop::default();
        let mut run = run
            .with_stop(stop.clone())
            .with_concurrency(bad.options.concurrency)
            .only(&self.chosen(bad).iter().map(String::as_str).collect::<Vec<_>>());
        if let Some(minutes) = bad.options.lookback {
            run = run.with_lookback(TimeDelta::minutes(i64::from(minutes)));
        }
        if let Some((write, lands)) = bad.breakdown {
            run = run.breaking_down_at(write, lands);
        }
        if let Some(quota) = bad.options.quota {
            run = run.with_quota(quota, 0.7);
        }
        if let Some(time) = bad.options.max_time {
            run = run.with_max_time(seconds(time));
        }
        run = if bad.options.full { run.full() } else { run };
        run = if bad.options.evolve { run.evolving() } else { run };
        let fate = match bad.blow {
            Blow::None => Fate::None,
            Blow::Killed(polls) => Fate::Killed(polls),
            Blow::Stopped(millis) => Fate::Stopped(Duration::from_millis(millis)),
            Blow::Asleep(polls, seconds) => Fate::Asleep(polls, Duration::from_secs(seconds)),
        };
        let (server, world) = (self.server.clone(), Arc::clone(&self.world));
        async move {
            tokio::time::sleep(after).await;
            let ended = fate.befall(stop, run.perform()).await;
            world.lock().unwrap().oracle.runs[place].ended_at = Some(server.now());
            (place, ended)
        }
    }

    /// The endpoints that a run exports.
    fn chosen(&self, bad: &Bad) -> Vec<String> {
        let is_chosen = |at: &usize| bad.options.subset == 0 || bad.options.subset & (1 << at) > 0;
        let all: Vec<usize> = (0..self.life.kinds.len()).collect();
        let chosen: Vec<usize> = all.iter().copied().filter(is_chosen).collect();
        let chosen = if chosen.is_empty() { all } else { chosen };
        chosen.into_iter().map(|at| self.names[at].clone()).collect()
    }

    /// A run that counts from `now`, and its number.
    fn run(
        &mut self,
        trouble: Trouble,
        here: &Clock,
        now: DateTime<Utc>,
        skewed: bool,
        flags: Flags,
    ) -> (usize, Run) {
        let now = DateTime::from_timestamp(now.timestamp(), 0).unwrap();
        let mut world = self.world.lock().unwrap();
        let number = world.oracle.runs.len();
        let is_new = world.source.names.iter().all(|it| !self.place.has_manifest(it));
        let probes = usize::from(is_new || self.life.kinds.iter().any(|it| it.experimental));
        let told = Told {
            now,
            begun: self.server.now(),
            alone: true,
            skewed,
            probes,
            sleeps: false,
            ends_by: None,
            ended_at: None,
            ended: false,
            complete: BTreeSet::new(),
        };
        world.oracle.runs.push(told);
        drop(world);
        let wire = Wire {
            world: Arc::clone(&self.world),
            server: self.server.clone(),
            run: number,
            trouble,
            no_transcripts: flags.no_transcripts,
            begun: self.server.now(),
            rng: Mutex::new(self.rng.fork()),
        };
        let observer = Arc::clone(&self.observer);
        let hook = Hook::new(move |path| observer.lock().unwrap().look(path));
        let files: Vec<_> = self.files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let run = Run::over(wire.transport(), self.place.location(), here)
            .at(now)
            .with_files(&files)
            .with_rate(f64::from(self.life.rate.unwrap_or(0)))
            .observed(hook);
        let run = if self.life.is_monthly { run.by_month() } else { run };
        let run = if flags.drop_deletes { run.dropping_deletes() } else { run };
        let run = if flags.include_private { run.with_private() } else { run };
        let run = if flags.no_transcripts { run.without_transcripts() } else { run };
        let run = match &self.place {
            Place::Folder(_) => run,
            Place::Bucket(bucket) => run.into(&bucket.again()),
        };
        (number, run)
    }

    /// Notes how a run came out, which must be one of the ways that a run may.
    fn note(&mut self, run: usize, ended: Ended) -> Result<(), String> {
        if ended.is_some() {
            self.check_end(run)?;
        }
        if !matches!(ended, Some(Ok(_))) {
            self.note_cut_off(&ended);
        }
        let report = match ended {
            None => return Ok(()),
            Some(Err(error)) => {
                let kinds = [ErrorKind::Unavailable, ErrorKind::Exhausted, ErrorKind::Interrupted];
                let is_known = kinds.contains(&error.kind());
                return if is_known { Ok(()) } else { Err(format!("run {run} failed: {error:?}")) };
            }
            Some(Ok(report)) => report,
        };
        if number("CLARI_LAKE_VERBOSE").is_some() {
            println!("run {run}: {:#?}", report.problems);
        }
        if report.complete != report.problems.is_empty() {
            return Err(format!("P12: complete: {}, {:?}", report.complete, report.problems));
        }
        let mut world = self.world.lock().unwrap();
        let end = self.server.now();
        let settled = world.settled.iter().filter(|(_, it)| *it == run).map(|(at, _)| *at);
        // What was under way when the run gave up may have been answered after that.
        let mut heard: Vec<_> =
            settled.chain([world.oracle.runs[run].begun, end]).filter(|at| *at <= end).collect();
        heard.sort();
        let longest = heard.windows(2).map(|it| it[1] - it[0]).max();
        let is_out = report.problems.iter().any(|it| it.message.contains("given no useful answer"));
        let is_quiet = longest.is_some_and(|it| it >= OUTAGE);
        // A run that slept has been without an answer for as long.
        if is_out && !is_quiet && !world.oracle.runs[run].sleeps {
            return Err(format!("run {run} ended as in an outage, and was answered at {heard:?}"));
        }
        let first = world.sent.iter().filter(|(_, it)| *it == run).map(|(at, _)| *at).min();
        let begun = world.oracle.runs[run].begun;
        let waited = first.map_or(TimeDelta::zero(), |at| at - begun);
        if world.oracle.runs[run].alone && waited > self.longest_wait(begun) {
            return Err(format!("P7: run {run} was alone, and sent nothing for {waited}"));
        }
        let names = world.source.names.clone();
        let told = &mut world.oracle.runs[run];
        // Where the first reply was cut off, its plan is the wrong clock's, and what it found is of
        // the server's day.
        let is_ahead = report.now - begun > CLOCKS_APART;
        told.now = if is_ahead { begun } else { report.now };
        told.ended = true;
        let complete = report.endpoints.iter().filter(|it| it.outcome == Outcome::Complete);
        let places = complete.filter_map(|it| names.iter().position(|name| *name == it.endpoint));
        told.complete = places.collect();
        Ok(())
    }

    /// C15: every wait of a run that is to end is over; what is under way may still be answered.
    fn check_end(&self, run: usize) -> Result<(), String> {
        let world = self.world.lock().unwrap();
        let told = &world.oracle.runs[run];
        let Some((by, at)) = told.ends_by.zip(told.ended_at).filter(|_| !told.sleeps) else {
            return Ok(());
        };
        let heard = world.ended.get(&run).copied().unwrap_or(by);
        if at > by.max(heard) + TimeDelta::seconds(2) {
            return Err(format!(
                "P7: run {run} was to end at {by}, heard the last reply at {heard}, and ended at {at}"
            ));
        }
        Ok(())
    }

    /// C15: how long a run may wait for the slots of others that have all ended, or were killed: no
    /// longer than the time between two requests.
    fn longest_wait(&self, begun: Time) -> TimeDelta {
        // What was cut off has not returned its slots, and no run can tell that it will not use them.
        if self.slots_may_be_held_until.is_some_and(|until| begun < until) {
            let is_folder = matches!(self.place, Place::Folder(_));
            return TimeDelta::seconds(if is_folder { 30 } else { LONGEST_HELD });
        }
        let apart = self.life.rate.map_or(0, |rate| 2_200 / i64::from(rate));
        // Clocks that are this far apart count as right.
        let clocks_apart = if self.has_wrong_clocks() { CLOCKS_APART } else { TimeDelta::zero() };
        TimeDelta::milliseconds(apart + 100) + clocks_apart
    }

    /// Notes that a run was cut off: in a bucket no run can tell whether another was killed, and
    /// where the store failed, it looks as if the run had ended.
    fn note_cut_off(&mut self, ended: &Ended) {
        self.cut_off += 1;
        if ended.is_some() || self.life.in_bucket {
            let until = self.server.now() + TimeDelta::seconds(LONGEST_HELD);
            self.slots_may_be_held_until = Some(until);
        }
    }

    /// What must hold at any time.
    fn check(&mut self) -> Result<(), String> {
        if let Some(wrong) = self.observer.lock().unwrap().wrong.take() {
            return Err(format!("between two writes: {wrong}"));
        }
        let lake = self.place.lake();
        let world = self.world.lock().unwrap();
        for (kind, name) in world.source.names.iter().enumerate() {
            if lake.get().manifest(name).is_none() {
                continue;
            }
            let rows = lake.get().rows(name);
            let counts = self.counts.entry(kind).or_default();
            counts.clear();
            for row in &rows {
                let count: &mut Count = counts.entry(row.dt.clone()).or_default();
                count.rows += 1;
                count.marked.extend(row.deleted.then(|| key_of(&self.life.kinds[kind], row)));
            }
            world.oracle.check(kind, &world.source, &rows, self.life.is_monthly, self.is_whole)?;
            let manifest = lake.get().manifest(name);
            if let Some(manifest) = manifest.filter(|it| it.schema_frozen)
                && self.frozen.insert(kind)
                && world.oracle.runs.last().is_some_and(|it| it.alone)
                && !rows.is_empty()
            {
                check_columns(&manifest, name)?;
            }
            world.oracle.check_carried(kind, &world.source, &rows, self.life.is_monthly)?;
        }
        let (rate, sent) = (self.life.rate, world.sent.clone());
        drop(world);
        self.remember();
        // Until its first reply, a run whose clock is wrong does not know when others send.
        if self.has_wrong_clocks() { Ok(()) } else { Self::check_rate(rate, &sent) }
    }

    fn has_wrong_clocks(&self) -> bool {
        let attacks = self.life.nights.iter().flat_map(|night| &night.attacks);
        let mut runs =
            attacks.flat_map(|attack| std::iter::once(&attack.run).chain(&attack.beside));
        runs.any(|run| run.skew != 0)
    }

    /// P7: never above the rate in any second, over all runs.
    fn check_rate(rate: Option<u32>, sent: &[(DateTime<Utc>, usize)]) -> Result<(), String> {
        let Some(rate) = rate else { return Ok(()) };
        let most = rate as usize;
        let mut sent = sent.to_vec();
        sent.sort();
        let is_crowded =
            |it: &&[(DateTime<Utc>, usize)]| it[most].0 - it[0].0 < TimeDelta::seconds(1);
        match sent.windows(most + 1).find(is_crowded) {
            Some(it) => Err(format!("P7: more than {most} requests in a second: {it:?}")),
            None => Ok(()),
        }
    }

    /// A run in the best of conditions, and all is as it is at the source; another has nothing to do.
    async fn conclude(&mut self, night: &Night) -> Result<(), String> {
        let report = self.clean_run(night).await?;
        self.is_whole = true;
        self.check()?;
        self.check_complete(&report, night)?;
        let before = self.place.data();
        let again = self.clean_run(night).await?;
        self.check()?;
        // At midnight a new day's snapshots are due, answers that were kept for days end, and what
        // was put off is new when it begins.
        let is_same_day = again.now.date_naive() == report.now.date_naive();
        let between = report.now..self.server.now();
        let world = Arc::clone(&self.world);
        let ends = world.lock().unwrap().oracle.has_answer_ending_in(&self.life.kinds, &between);
        let begins = self.with_source(|source, _| source.begins_in(report.now..again.now));
        let is_same = is_same_day && !ends && !begins;
        let is_changed = !again.changed.is_empty() || self.place.data() != before;
        // What changed last is listed again, with the words that other runs brought or without.
        let keeps_words = again.changed.iter().any(|it| self.has_words_of_some_runs(&it.endpoint));
        if is_same && is_changed && !keeps_words {
            return Err(format!("P4: nothing is new, and this was written: {:?}", again.changed));
        }
        if !begins && !ends {
            self.check_kept(night)?;
        }
        self.accept_losses(&again)
    }

    /// Whether only some runs left out what people said, in a table of which changes are listed.
    fn has_words_of_some_runs(&self, table: &str) -> bool {
        let nights = self.life.nights.iter();
        let attacks = nights.clone().flat_map(|it| &it.attacks);
        let runs = attacks.flat_map(|it| std::iter::once(&it.run).chain(&it.beside));
        let mut flags = runs.map(|it| it.options.flags).chain(nights.map(|it| it.flags));
        let is_left_out = flags.clone().any(|it| it.no_transcripts);
        let is_kept = flags.any(|it| !it.no_transcripts);
        let of = self.names.iter().position(|it| it == table).map(|at| &self.life.kinds[at]);
        is_left_out && is_kept && of.is_some_and(|it| it.verbatim && it.modified)
    }

    /// P12: what is lost is named until it is accepted, and not any more after that.
    fn accept_losses(&mut self, report: &Report) -> Result<(), String> {
        for (kind, _, dt) in std::mem::take(&mut self.lost) {
            let place = format!("{}/{dt}", self.names[kind]);
            let is_named = report.problems.iter().any(|it| it.message.contains(&place));
            let store = Arc::new(self.place.store());
            let catalogue = self.catalogue();
            let accepted = accept_loss(&store, &catalogue, &place, report.now);
            if accepted.is_ok() != is_named {
                return Err(format!("P12: {place} is named: {is_named}, accepted: {accepted:?}"));
            }
        }
        Ok(())
    }

    fn catalogue(&self) -> Catalogue {
        let mut catalogue = Catalogue::built_in().unwrap();
        for (name, text) in &self.files {
            catalogue = catalogue.with_file(name, text).unwrap();
        }
        catalogue
    }

    /// P7: what is good for days is not asked for twice in a row.
    fn check_kept(&self, night: &Night) -> Result<(), String> {
        let world = self.world.lock().unwrap();
        let last = world.oracle.runs.len() - 1;
        let is_kept = |kind: usize| {
            let lineage = world.source.kinds[kind].parent.as_ref();
            lineage.is_some_and(|it| it.refresh.is_some()) && !night.full
        };
        match world.oracle.said.iter().find(|said| said.run == last && is_kept(said.kind)) {
            Some(said) => {
                let name = &world.source.names[said.kind];
                Err(format!("P7: {name} was asked for again, though the answer is good for days"))
            }
            None => Ok(()),
        }
    }

    async fn clean_run(&mut self, night: &Night) -> Result<Report, String> {
        let here = self.server.clone();
        let (place, run) = self.run(Trouble::default(), &here, here.now(), false, night.flags);
        let run = run.by_clock();
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let run = run.only(&names);
        let run = if night.full {
            run.full()
        } else {
            run.with_lookback(TimeDelta::days(i64::from(night.lookback)))
        };
        let report = run.perform().await.map_err(|error| format!("the clean run: {error:?}"))?;
        if !self.is_known(&report) {
            return Err(format!("the clean run is not complete: {:#?}", report.problems));
        }
        self.note(place, Some(Ok(report.clone())))?;
        Ok(report)
    }

    /// Whether nothing is missing but what was deleted before it was looked up, and what was lost.
    fn is_known(&self, report: &Report) -> bool {
        let world = self.world.lock().unwrap();
        report.problems.iter().all(|problem| {
            let place = world.source.names.iter().position(|it| *it == problem.endpoint);
            place.is_some_and(|at| {
                let of = &world.source.kinds[at];
                let is_gone = !world.source.gone[at].is_empty();
                let is_lost = self.lost.iter().any(|(kind, _, dt)| {
                    *kind == at && problem.message.contains(&format!("/{dt}`"))
                });
                (of.is_look_up() && is_gone) || is_lost
            })
        })
    }

    /// P1, P12: after a clean run the lake is the source, and `verify` agrees.
    fn check_complete(&self, report: &Report, night: &Night) -> Result<(), String> {
        let lake = self.place.lake();
        let is_back = |path: &str| lake.get().path().join(path).exists();
        let is_named = |kind: usize, dt: &str| {
            let place = format!("{}/{dt}", self.names[kind]);
            report.problems.iter().any(|problem| problem.message.contains(&place))
        };
        for (kind, path, dt) in &self.lost {
            if !is_back(path) && !is_named(*kind, dt) {
                return Err(format!("P12: {path} was lost, and the run does not say so"));
            }
        }
        let catalogue = self.catalogue();
        let store = Arc::new(Store::open(&lake.get().location()).unwrap());
        let found = verify(&store, &catalogue).unwrap();
        // A lake that was copied out of a bucket has other times and inodes.
        if !found.findings.is_empty() && report.complete && !self.life.in_bucket {
            return Err(format!("P12: complete, and verify finds {:?}", found.findings));
        }
        let world = self.world.lock().unwrap();
        let runs = self.life.nights.iter().flat_map(|night| &night.attacks);
        let flags = runs.flat_map(|it| std::iter::once(&it.run).chain(&it.beside));
        let mut flags =
            flags.map(|bad| bad.options.flags).chain(self.life.nights.iter().map(|it| it.flags));
        let ended = End {
            now: report.now,
            is_monthly: self.life.is_monthly,
            has_private: night.flags.include_private,
            lacks_words: flags.any(|it| it.no_transcripts),
            listed_since: (!night.full)
                .then(|| report.now - TimeDelta::days(i64::from(night.lookback) - 1)),
        };
        for (kind, name) in world.source.names.iter().enumerate() {
            let rows = lake.get().rows(name);
            ended.check_table(&world.source, kind, &rows)?;
            // Nothing says that a record is gone which the lake knew only by a lost object of the
            // table's parents. The run names the loss until it is accepted.
            let parent = self.life.kinds[kind].parent.as_ref().map(|it| it.parent);
            if parent.is_none_or(|parent| !self.lossy.contains(&parent)) {
                ended.check_gone(&world, kind, &rows)?;
            }
        }
        Ok(())
    }

    /// The objects, with the endpoints that they are of, that a window brings back.
    fn that_can_return(&self, snapshots: bool) -> Vec<(usize, String)> {
        let (kinds, lake) = (&self.life.kinds, self.place.lake());
        // Where a parent's rows are lost, so are those of its children's snapshots.
        let leads_on = |at: &usize| {
            let mut children = kinds.iter().filter(|it| it.is_snapshot());
            children.any(|it| it.parent.as_ref().is_some_and(|parent| parent.parent == *at))
        };
        let can_return = |at: &usize| snapshots || (kinds[*at].window.is_some() && !leads_on(at));
        let kinds = (0..kinds.len()).filter(can_return);
        let objects = kinds
            .flat_map(|at| lake.get().objects(&self.names[at]).into_iter().map(move |it| (at, it)));
        let below = |path: PathBuf| {
            path.strip_prefix(lake.get().path()).unwrap().to_str().unwrap().to_owned()
        };
        objects.map(|(at, path)| (at, below(path))).collect()
    }

    /// Loses an object that a window brings back.
    fn lose(&mut self, which: usize) {
        let objects = self.that_can_return(true);
        let Some((kind, path)) = objects.get(which % objects.len().max(1)) else { return };
        self.place.damage(path, None);
        let dt = path.split("/dt=").nth(1).and_then(|it| it.split('/').next()).unwrap_or_default();
        self.lossy.insert(*kind);
        self.lost.push((*kind, path.clone(), dt.to_owned()));
        self.forget(*kind, path);
    }

    /// Puts an older version, or another partition's object, in an object's place.
    fn replace(&mut self, which: usize, instead: Instead) {
        let mut choices = Vec::new();
        for (kind, path) in self.that_can_return(self.life.space.replaced_snapshots) {
            for (other, versions) in &self.versions {
                let is_of = other.split('/').next() == path.split('/').next();
                let older = match instead {
                    Instead::Older if *other == path => &versions[..versions.len() - 1],
                    Instead::Other if *other != path && is_of => &versions[versions.len() - 1..],
                    _ => &[],
                };
                choices.extend(older.iter().map(|bytes| (kind, path.clone(), bytes.clone())));
            }
        }
        let count = choices.len().max(1);
        let Some((kind, path, bytes)) = choices.into_iter().nth(which % count) else { return };
        let keys = |bytes: Bytes| -> BTreeSet<String> {
            let of = &self.life.kinds[kind];
            let rows = rows_in(bytes, "", of.parent_column(), of.dated != Dated::Field);
            rows.iter().map(|row| key_of(of, row)).collect()
        };
        let before = self.place.reader()(&path).map(keys).unwrap_or_default();
        let after = keys(bytes.clone());
        self.place.damage(&path, Some(bytes));
        self.forget(kind, &path);
        let source = &mut self.world.lock().unwrap().source;
        // What the object lacked is taken for removed, and its children go with it.
        for of in std::iter::once(kind).chain(source.children_of(kind)) {
            source.gone[of].extend(before.difference(&after).cloned());
        }
        // What it had is perhaps elsewhere too.
        source.moved[kind].extend(after);
    }

    /// What was said of a table, and of what is looked up by its rows, may not be in the lake any
    /// more.
    fn forget(&mut self, kind: usize, path: &str) {
        self.is_whole = false;
        let mut world = self.world.lock().unwrap();
        let children = world.source.children_of(kind);
        for of in children.into_iter().filter(|it| self.life.kinds[*it].is_look_up()).chain([kind])
        {
            world.oracle.forget(of);
        }
        drop(world);
        self.observer.lock().unwrap().accept(path);
    }

    /// Remembers what the objects are now.
    fn remember(&mut self) {
        if self.life.nights.iter().all(|night| night.replaces.is_none()) {
            return;
        }
        let lake = self.place.lake();
        for path in self.names.iter().flat_map(|name| lake.get().objects(name)) {
            let bytes = Bytes::from(std::fs::read(&path).unwrap());
            let below = path.strip_prefix(lake.get().path()).unwrap().to_str().unwrap().to_owned();
            let versions = self.versions.entry(below).or_default();
            if versions.last() != Some(&bytes) {
                versions.push(bytes);
            }
        }
    }
}

/// P6: a schema is frozen with a column for what all records have, declared or not.
fn check_columns(manifest: &Manifest, name: &str) -> Result<(), String> {
    let has_mood = manifest.schema.columns.iter().any(|column| column.name == "mood");
    if has_mood {
        Ok(())
    } else {
        Err(format!("P6: the schema of {name} is frozen without `mood`"))
    }
}
