//! A lake in an object store keeps the promises of one in a folder: through crashes, beside other
//! writers, one of which was stopped and wakes up, and on stores that misbehave.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::check::{Check, Verdict};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::config::Conditional;
use clari_lake::internals::doctor;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::ErrorKind;
use clari_lake::internals::fetch::{Client, ClientSettings, Stop};
use clari_lake::internals::forecast::{Counted, forecast};
use clari_lake::internals::lake::Lake;
use clari_lake::internals::manifest::Granularity;
use clari_lake::internals::plan::RunSettings;
use clari_lake::internals::quota::Limits;
use clari_lake::internals::secret::Credentials;
use clari_lake::internals::simulator::{Options, Settings};
use clari_lake::internals::status::status;
use clari_lake::internals::verify::{rebuild, verify};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::support::{Bucket, Quirk, Run, Site, small};

fn run(site: &Site, bucket: &Arc<Bucket>) -> Run {
    site.calls_and_details().into(bucket)
}

/// The small workspace with its calls and their details in a bucket already.
fn exported() -> (Site, Arc<Bucket>) {
    static TEMPLATE: LazyLock<Arc<InMemory>> = LazyLock::new(|| {
        let memory = Arc::new(InMemory::new());
        let bucket = Bucket::on(Arc::clone(&memory) as Arc<dyn ObjectStore>, Quirk::None);
        run(&Site::new(&small()), &bucket).complete();
        memory
    });
    let bucket = Bucket::on(Arc::new(TEMPLATE.fork()), Quirk::None);
    (Site::new(&small()), bucket)
}

/// The bucket says what the workspace says at `now`, and passes.
#[track_caller]
fn assert_holds(site: &mut Site, bucket: &Arc<Bucket>, now: DateTime<Utc>) {
    site.lake = bucket.mirror();
    site.assert_calls(now);
    let store = Arc::new(bucket.again().store());
    let found = verify(&store, &Catalogue::built_in().unwrap()).unwrap();
    assert_eq!(found.findings, [], "P12: what is complete passes");
}

/// Every kind of change, an hour after the first export.
fn change(site: &Site) -> DateTime<Utc> {
    site.workspace.advance(site.now + TimeDelta::minutes(30));
    let now = site.workspace.now();
    assert!(site.workspace.reschedule(&site.a_call(28, 20), now - TimeDelta::days(12), false));
    assert!(site.workspace.reschedule(&site.a_call(6, 4), now - TimeDelta::days(2), true));
    assert!(site.workspace.set_status(&site.a_call(20, 10), "PROCESSED", now));
    assert!(site.workspace.delete_call(&site.a_call(3, 1)));
    site.now + TimeDelta::hours(1)
}

#[test]
fn p1_p4_everything_is_exported_into_a_bucket_and_nothing_twice() {
    let mut site = Site::new(&small());
    let bucket = Bucket::in_memory();
    site.export().into(&bucket).complete();
    site.lake = bucket.mirror();
    site.assert_everything(site.now);
    let data = |bucket: &Bucket| {
        let mut versions = bucket.versions();
        versions.retain(|(name, _)| !name.starts_with('_'));
        versions
    };
    let before = data(&bucket);
    assert!(before.len() > 100);
    let idle = bucket.with(Quirk::ListsSlowly);
    let report = site.export().into(&idle).complete();
    assert_eq!(report.changed, []);
    assert_eq!(data(&bucket), before, "no object was written again");
    assert!(idle.lists_at_once() >= 14, "all tables are listed at once: {}", idle.lists_at_once());
    let lists = idle.requests().into_iter().filter(|it| it.starts_with("LIST")).count();
    assert!(lists <= 42, "{lists} lists");
    let left = bucket.versions().into_iter().map(|it| it.0);
    let left: Vec<_> = left.filter(|it| it.contains("probe") || it.ends_with("lease")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn p2_p3_a_run_killed_at_any_write_loses_and_duplicates_nothing() {
    // Every write takes two runs; CLARI_LAKE_EVERY_WRITE=1 rehearses all of them.
    let step = if std::env::var_os("CLARI_LAKE_EVERY_WRITE").is_some() { 1 } else { 9 };
    let mut write = 0;
    loop {
        let (mut site, bucket) = exported();
        let later = change(&site);
        let dying = run(&site, &bucket).at(later).breaking_down_at(write, write % 2 == 1);
        let survived = dying.attempt().is_ok();
        run(&site, &bucket).at(later).complete();
        assert_holds(&mut site, &bucket, later);
        if survived {
            break;
        }
        write += step;
    }
    assert!(write > 10, "only {write} writes are there to rehearse");
}

#[test]
fn p2_p10_two_concurrent_runs_equal_the_source() {
    let mut site = Site::new(&small());
    let bucket = Bucket::in_memory();
    let both = |site: &Site, now| {
        std::thread::scope(|scope| {
            let twins = [(); 2].map(|()| {
                let bucket = bucket.again();
                scope.spawn(move || run(site, &bucket).at(now).attempt())
            });
            twins.map(|twin| twin.join().unwrap().unwrap())
        })
    };
    both(&site, site.now);
    let now = site.now;
    assert_holds(&mut site, &bucket, now);
    let later = change(&site);
    both(&site, later);
    assert_holds(&mut site, &bucket, later);
}

/// A writer is stopped at one of its writes, with the lease in its hands; another does the whole
/// job meanwhile; then the first wakes up and goes on as if no time had passed.
#[test]
fn p2_p10_a_writer_that_wakes_after_another_has_finished_destroys_nothing() {
    let step = if std::env::var_os("CLARI_LAKE_EVERY_WRITE").is_some() { 1 } else { 11 };
    for write in (0..40).step_by(step) {
        let (mut site, bucket) = exported();
        let later = change(&site);
        let sleeper = bucket.stopping_at(write);
        std::thread::scope(|scope| {
            let asleep = scope.spawn(|| run(&site, &sleeper).at(later).attempt());
            while !sleeper.is_stopped() && !asleep.is_finished() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            run(&site, &bucket.again()).at(later + TimeDelta::minutes(1)).complete();
            sleeper.wake();
            asleep.join().unwrap().unwrap();
        });
        let end = later + TimeDelta::minutes(2);
        run(&site, &bucket).at(end).complete();
        assert_holds(&mut site, &bucket, end);
    }
}

#[test]
fn replies_that_are_lost_and_refusals_without_reason_change_nothing() {
    for quirk in [Quirk::LosesReplies, Quirk::RefusesOnce] {
        let mut site = Site::new(&small());
        let bucket = Bucket::on(Arc::new(InMemory::new()), quirk);
        run(&site, &bucket).complete();
        let now = site.now;
        assert_holds(&mut site, &bucket, now);
    }
}

#[test]
fn a_store_without_conditional_writes_is_refused_or_used_as_configured() {
    for (quirk, most) in [
        (Quirk::IgnoresIfNoneMatch, Conditional::None),
        (Quirk::NeverMatches, Conditional::CreateOnly),
        (Quirk::IgnoresIfMatch, Conditional::CreateOnly),
    ] {
        let mut site = Site::new(&small());
        let bucket = Bucket::on(Arc::new(InMemory::new()), quirk);
        let error = run(&site, &bucket).attempt().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{quirk:?}: {error}");
        let hint = error.hint().unwrap();
        let name = if most == Conditional::None { "\"none\"" } else { "\"create-only\"" };
        assert!(hint.contains(name), "{quirk:?}: {hint}");
        assert_eq!(bucket.versions(), [], "{quirk:?}: nothing was written, and nothing left");
        let told = || run(&site, &bucket).expecting(most);
        told().complete();
        let later = change(&site);
        told().at(later).complete();
        assert_holds(&mut site, &bucket, later);
    }
}

#[test]
fn a_forbidden_object_is_not_treated_as_absent() {
    let (site, bucket) = exported();
    let before = bucket.versions();
    for part in ["_manifest/calls/0", "_manifest/calls/index", "calls/dt="] {
        let forbidding = Bucket::on(bucket.again(), Quirk::Forbids(part));
        let later = site.now + TimeDelta::hours(1);
        let call = site.a_call(20, 10);
        assert!(site.workspace.set_status(&call, "PROCESSED", site.now - TimeDelta::days(1)));
        let error = run(&site, &forbidding).full().at(later).attempt().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{part}: {error}");
        let data = |(name, _): &(String, String)| name.starts_with("calls/");
        let now = bucket.versions();
        assert!(now.iter().filter(|it| data(it)).eq(before.iter().filter(|it| data(it))));
    }
}

#[test]
fn doctor_names_missing_guarantees_and_leaves_nothing() {
    let fault = |quirk| {
        let bucket = Bucket::on(Arc::new(InMemory::new()), quirk);
        let checks = bucket.store().examine();
        assert_eq!(bucket.versions(), [], "{quirk:?}: nothing is left");
        bad(&checks).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(fault(Quirk::None), Vec::<String>::new());
    assert_eq!(fault(Quirk::IgnoresIfNoneMatch), ["create if absent", "store.conditional"]);
    assert_eq!(fault(Quirk::NeverMatches), ["replace if unchanged", "store.conditional"]);
    assert_eq!(fault(Quirk::IgnoresIfMatch), ["replace if unchanged", "store.conditional"]);
    assert_eq!(fault(Quirk::Forbids("_manifest")), ["writing"]);
}

/// What the doctor says of the API by a clock that goes wrong by this much.
fn api_checks(site: &Site, key: &str, wrong_by: TimeDelta) -> Vec<Check> {
    let credentials = Credentials::new(key, &Settings::default().api_password).unwrap();
    let settings = ClientSettings {
        base_url: site.server.base_url(),
        rate: 0.0,
        ..ClientSettings::new(credentials)
    };
    let client = Client::new(&settings, Stop::default()).unwrap();
    let clock = Clock::stopped_at(site.now + wrong_by);
    let catalogue = Catalogue::built_in().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(doctor::api(&client, &catalogue, &clock))
}

fn bad(checks: &[Check]) -> Vec<&str> {
    let bad = checks.iter().filter(|check| check.verdict == Verdict::Bad);
    bad.map(|check| check.subject.as_str()).collect()
}

#[test]
fn doctor_shows_what_a_workspace_offers() {
    let date = Some(small().now);
    let absent = Settings { absent: vec!["/stats".to_owned()], date, ..Settings::default() };
    let site = Site::with(&small(), absent);
    let key = Settings::default().api_key;
    let checks = api_checks(&site, &key, TimeDelta::zero());
    assert_eq!(bad(&checks), Vec::<&str>::new(), "{checks:#?}");
    let message = |name: &str| &checks.iter().find(|it| it.subject == name).unwrap().message;
    assert!(message("user_stats").starts_with("absent"), "{}", message("user_stats"));
    assert!(message("calls").starts_with("available"), "{}", message("calls"));
    assert!(message("call_details").starts_with("available"), "{}", message("call_details"));
    assert_eq!(bad(&api_checks(&site, &key, TimeDelta::minutes(10))), ["clock"]);
    let refused = api_checks(&site, "wrong", TimeDelta::zero());
    assert_eq!(bad(&refused)[0], "credentials");
    assert!(bad(&refused).contains(&"calls"));
}

/// A night that finds nothing new asks the store little, however many dates the lake has.
#[test]
fn an_idle_night_on_three_tables_of_a_thousand_dates_is_few_requests() {
    let options = Options { calls: 2_500, days: 1_100, ..small() };
    let site = Site::new(&options);
    let bucket = Bucket::in_memory();
    let three = |bucket| site.export().only(&["calls", "call_details", "user_stats"]).into(bucket);
    three(&bucket).from(site.now - TimeDelta::days(1_050)).complete();
    let partitions = bucket.versions().iter().filter(|(name, _)| !name.starts_with('_')).count();
    assert!(partitions > 2_500, "{partitions}");
    let idle = bucket.again();
    let report = three(&idle).at(site.now + TimeDelta::hours(20)).complete();
    assert_eq!(report.changed.iter().filter(|it| it.endpoint != "user_stats").count(), 0);
    let requests = idle.requests();
    assert!(requests.len() <= 62, "{} requests: {requests:#?}", requests.len());
}

/// `status` reads manifests, and of the index only the days on which something is left to request,
/// each file once; also after `verify --rebuild`, when nothing is known of the look-ups that found
/// nothing.
#[test]
fn a_status_is_few_requests_also_after_a_rebuild() {
    let (site, bucket) = exported();
    let catalogue = Catalogue::built_in().unwrap();
    let requests = || {
        let asked = bucket.again();
        let lake = Lake::reader(&Arc::new(asked.store()), &catalogue).at_once();
        let found = status(&lake, &Limits::default(), site.now).unwrap();
        let endpoints = ["calls", "call_details"].map(|it| catalogue.find(it).unwrap());
        let (run, limits) = (RunSettings::new(site.now), Limits::default());
        forecast(&lake, &endpoints, &run, &limits, &Counted::new()).unwrap();
        let queues = found.tables.into_iter().flat_map(|it| it.queues.into_values());
        let open = queues.filter(|queue| queue.pending > 0).count();
        let (index, others): (Vec<_>, Vec<_>) =
            asked.requests().into_iter().partition(|it| it.contains("/index/"));
        assert!(others.len() <= 12, "{others:#?}");
        (index, open)
    };
    assert_eq!(requests(), (Vec::new(), 0));
    for (name, _) in bucket.versions().iter().filter(|(name, _)| name.starts_with('_')) {
        bucket.damage(name, None);
    }
    let store = Arc::new(bucket.again().store());
    rebuild(&store, &catalogue, Granularity::Day, site.now).unwrap();
    let (mut index, open) = requests();
    let days = bucket.versions().iter().filter(|(name, _)| name.starts_with("calls/")).count();
    assert!(open < days, "{open} of {days}");
    index.sort_unstable();
    assert!(index.is_sorted_by(|a, b| a < b), "twice: {index:#?}");
    // The shards of both tables, and the key map.
    assert!(index.len() <= 2 * open + 1, "{index:#?} for {open}");
}

/// P1, P2: a write whose reply is lost and which the client repeats, and an object that comes cut
/// short, are no faults of the store: the run goes on, and nothing is taken for damaged.
#[test]
fn lost_replies_and_objects_cut_short_are_overcome() {
    for quirk in [Quirk::MeetsItself, Quirk::CutsShort] {
        let (mut site, bucket) = exported();
        let bucket = bucket.with(quirk);
        let now = change(&site);
        run(&site, &bucket).at(now).complete();
        assert_holds(&mut site, &bucket, now);
    }
}

/// What consoles make where a folder is to be shown troubles neither an export nor `verify`.
#[test]
fn empty_folder_objects_are_ignored() {
    let (mut site, bucket) = exported();
    for folder in ["calls", "calls/dt=2026-11-20", "calls/dt=2026-12-31", "_manifest/calls"] {
        bucket.damage(folder, Some(bytes::Bytes::new()));
    }
    let report = run(&site, &bucket).complete();
    assert_eq!(report.changed, []);
    for folder in ["calls", "calls/dt=2026-11-20", "calls/dt=2026-12-31", "_manifest/calls"] {
        assert!(bucket.read(folder).is_some(), "and are left alone");
        bucket.damage(folder, None);
    }
    let now = site.now;
    assert_holds(&mut site, &bucket, now);
}
