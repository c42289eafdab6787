//! P2 and P3 through crashes: whatever a run that died left behind, a reader finds every row once,
//! and the next run makes it whole.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clari_lake::internals::simulator::Options;
use serde_json::Value;

use crate::support::{Lake, Run, Site, small};

fn run(site: &Site) -> Run {
    site.calls_and_details()
}

/// A lake before a run, the run that changes it in every way, and what the lake was before.
fn changed() -> (Site, PathBuf, Vec<PathBuf>) {
    let site = Site::exported();
    let aside = site.lake.link_aside();
    let before = site.lake.data();
    site.workspace.advance(site.now + TimeDelta::minutes(30));
    let now = site.workspace.now();
    let moved = site.a_call(28, 20);
    assert!(site.workspace.reschedule(&moved, now - TimeDelta::days(12), false));
    let moved = site.a_call(6, 4);
    assert!(site.workspace.reschedule(&moved, now - TimeDelta::days(2), true));
    assert!(site.workspace.set_status(&site.a_call(20, 10), "PROCESSED", now));
    assert!(site.workspace.delete_call(&site.a_call(3, 1)));
    run(&site).at(later(&site)).complete();
    site.assert_calls(later(&site));
    let after = site.lake.data();
    let is_changed = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let changed = after.keys().filter(is_changed).cloned().collect();
    (site, aside, changed)
}

fn later(site: &Site) -> chrono::DateTime<chrono::Utc> {
    site.now + TimeDelta::hours(1)
}

#[test]
fn p3_objects_written_without_their_manifest_are_recovered() {
    let (site, aside, _) = changed();
    site.lake.put_back(&aside, Path::new("_manifest"));
    run(&site).at(later(&site)).complete();
    site.assert_calls(later(&site));
}

/// The run died somewhere between its objects: of any two of them, one is new and the other as it
/// was before in one of these cases.
#[test]
fn p2_p3_a_run_killed_between_any_two_objects_is_repaired() {
    let (mut site, aside, objects) = changed();
    assert!(objects.len() >= 6, "{objects:?}");
    let done = std::mem::replace(&mut site.lake, Lake::new());
    for bit in 0..=objects.len().ilog2() {
        site.lake = done.twin();
        site.lake.put_back(&aside, Path::new("_manifest"));
        let old = objects.iter().enumerate().filter(|(number, _)| number >> bit & 1 == 1);
        old.for_each(|(_, object)| site.lake.put_back(&aside, object));
        run(&site).at(later(&site)).complete();
        site.assert_calls(later(&site));
    }
}

/// A lake in which a call has moved to another day.
struct Moved {
    site: Site,
    /// The lake as it was before.
    aside: PathBuf,
    call: String,
    /// The `dt` on which the call was.
    old: String,
}

fn moved() -> Moved {
    let site = Site::exported();
    let aside = site.lake.link_aside();
    let call = site.a_call(28, 20);
    let old = site.lake.row("calls", &call).dt;
    site.workspace.advance(site.now + TimeDelta::minutes(30));
    let time = site.workspace.now() - TimeDelta::days(12);
    assert!(site.workspace.reschedule(&call, time, false));
    run(&site).at(later(&site)).complete();
    Moved { site, aside, call, old }
}

/// A call that moved is on both days if the run is killed in between; the next run, which knows
/// only the lake, leaves the later one.
#[test]
fn p2_a_call_on_two_days_is_repaired_by_the_next_run() {
    let Moved { site, aside, call: moved, old } = moved();
    let new = site.lake.row("calls", &moved).dt;
    assert_ne!(old, new);
    site.lake.put_back(&aside, Path::new("_manifest"));
    for table in ["calls", "call_details"] {
        site.lake.put_back(&aside, Path::new(&format!("{table}/dt={old}")));
    }
    let rows = site.lake.rows("calls").into_iter();
    assert_eq!(rows.filter(|row| row.record["id"] == moved.as_str()).count(), 2);
    run(&site).at(later(&site)).complete();
    assert_eq!(site.lake.row("calls", &moved).dt, new);
    site.assert_calls(later(&site));
}

/// P10: an object that is recovered does not beat what was requested after it: the old day's object,
/// put back with the call's old row, loses to the row that is committed on the new day.
#[test]
fn p10_a_recovered_row_loses_to_a_later_one() {
    let Moved { site, aside, call: moved, old } = moved();
    let new = site.lake.row("calls", &moved);
    site.lake.put_back(&aside, Path::new(&format!("calls/dt={old}")));
    // A day later no scan for changes and no lookback reaches the call: recovery alone decides.
    run(&site).at(later(&site) + TimeDelta::days(1)).complete();
    let now = site.lake.row("calls", &moved);
    assert_eq!((now.dt, now.exported_at), (new.dt, new.exported_at));
}

#[test]
fn p3_a_lake_without_its_newest_manifest_reads_its_data_again() {
    let (site, aside, objects) = changed();
    site.lake.put_back(&aside, Path::new("_manifest/calls"));
    run(&site).at(later(&site)).complete();
    site.assert_calls(later(&site));
    for object in &objects {
        assert!(site.lake.path().join(object).exists(), "P2: no partition is ever deleted");
    }
}

/// The very first run died: there are objects, and no manifest that knows any of them.
#[test]
fn p3_objects_of_a_killed_first_run_are_recovered() {
    let site = Site::exported();
    fs::remove_dir_all(site.lake.path().join("_manifest")).unwrap();
    run(&site).complete();
    site.assert_calls(site.now);
}

#[test]
fn files_staged_by_a_killed_run_are_removed_by_the_next() {
    let site = Site::exported();
    let staging = site.lake.path().join("_staging");
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("4711-0.tmp"), b"PAR1 and no end").unwrap();
    run(&site).complete();
    assert_eq!(site.lake.files("_staging"), Vec::<PathBuf>::new());
    site.assert_calls(site.now);
    run(&site).complete();
    assert_eq!(site.lake.files("_staging"), Vec::<PathBuf>::new());
}

/// P2, P10: two runs on one lake, from nothing, then after changes.
#[test]
fn p2_p10_two_concurrent_runs_equal_the_source() {
    let site = Site::new(&small());
    let both = |now| {
        std::thread::scope(|scope| {
            let twins = [(); 2].map(|()| scope.spawn(|| run(&site).at(now).attempt()));
            twins.map(|twin| twin.join().unwrap().unwrap())
        })
    };
    both(site.now);
    site.assert_calls(site.now);
    site.workspace.advance(site.now + TimeDelta::minutes(30));
    let now = site.workspace.now();
    assert!(site.workspace.reschedule(&site.a_call(28, 20), now - TimeDelta::days(12), false));
    assert!(site.workspace.set_status(&site.a_call(20, 10), "PROCESSED", now));
    both(later(&site));
    site.assert_calls(later(&site));
}

/// Section 2: a call that moved may stand on both days after a crash; the next run repairs it
/// whatever it exports, and of the two versions the later fetched one stays.
#[test]
fn p2_a_run_of_any_scope_repairs_what_another_left() {
    let (mut site, aside, objects) = changed();
    let done = std::mem::replace(&mut site.lake, Lake::new());
    let mut healed = 0;
    for object in objects.iter().filter(|object| object.starts_with("calls")) {
        site.lake = done.twin();
        site.lake.put_back(&aside, Path::new("_manifest"));
        site.lake.put_back(&aside, object);
        let twice = twice(&site.lake);
        site.export().only(&["users"]).at(later(&site)).complete();
        for id in &twice {
            let time = site.workspace.call(id).unwrap()["time"].as_str().unwrap().to_owned();
            let rows = site.lake.rows("calls");
            let rows: Vec<_> = rows.iter().filter(|row| row.record["id"] == *id.as_str()).collect();
            assert_eq!(rows.len(), 1, "P2: one row per call");
            assert_eq!(rows[0].dt, time[..10], "the later fetched version stays");
        }
        healed += twice.len();
    }
    assert!(healed > 0, "no call stood on two days");
}

/// The calls that are in two partitions.
fn twice(lake: &Lake) -> Vec<String> {
    let rows = lake.rows("calls");
    let mut ids: Vec<_> = rows.iter().map(|row| row.record["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let pairs = ids.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs.map(|pair| pair[0].to_owned()).collect()
}

/// P12: a removed object is detected, reported, and its rows are requested again.
#[test]
fn p12_the_rows_of_a_missing_object_are_requested_again() {
    let site = Site::exported();
    for table in ["calls", "call_details"] {
        let objects = site.lake.objects(table);
        fs::remove_file(&objects[objects.len() / 2]).unwrap();
    }
    let report = run(&site).complete();
    assert_eq!(report.endpoints[0].lost.len(), 1);
    assert_eq!(report.endpoints[1].lost.len(), 1);
    site.assert_calls(site.now);
}

/// P1, P12: lost rows that are private are reported until a run that includes private records
/// brings them back, also if there is nothing else to list by then.
#[test]
fn p1_p12_private_rows_that_are_lost_wait_for_a_run_that_includes_them() {
    let site = Site::new(&Options { calls: 80, private: 0.3, ..small() });
    let run = || site.calls_and_details();
    run().with_private().complete();
    let hidden = site.workspace.calls_before(site.now, true).into_iter().find(|call| {
        let is_it = |public: &Value| public["id"] == call["id"];
        !site.workspace.calls_before(site.now, false).iter().any(is_it)
    });
    let day = hidden.unwrap()["time"].as_str().unwrap()[..10].to_owned();
    let objects = site.lake.objects("calls");
    let object = objects.iter().find(|it| it.to_str().unwrap().contains(&day)).unwrap();
    fs::remove_file(object).unwrap();
    for _ in 0..2 {
        let report = run().run();
        let messages: Vec<_> = report.problems.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains("export with --include-private"), "{messages:?}");
    }
    run().with_private().complete();
    site.assert_calls_are(&site.workspace.calls_before(site.now, true));
}
