//! P4 idempotent: a run that finds nothing new leaves every byte as it was.

use chrono::TimeDelta;
use clari_lake::internals::simulator::{Options, Table};

use crate::support::{Site, small};

#[test]
fn p4_a_second_run_on_an_unchanged_source_writes_no_data_object() {
    let site = Site::new(&small());
    site.export().complete();
    let before = site.lake.data();
    let report = site.export().complete();
    assert!(site.lake.data() == before, "bytes and times are as they were");
    assert_eq!(report.changed, []);
    let again = site.export().full().complete();
    assert!(site.lake.data() == before, "nor does listing all of it again");
    assert_eq!(again.changed, []);
}

#[test]
fn p4_the_next_run_adds_only_the_days_snapshots_and_statistics() {
    let site = Site::new(&Options { scheduled: 0, ..small() });
    site.export().complete();
    let before = site.lake.data();
    let tomorrow = site.now + TimeDelta::days(1);
    let report = site.export().at(tomorrow).complete();
    let after = site.lake.data();
    let changed = before.iter().filter(|(path, version)| after[*path] != **version);
    let names: Vec<_> = changed.map(|(path, _)| path.display().to_string()).collect();
    assert!(names.is_empty(), "{names:?}");
    let day = format!("dt={}", tomorrow.date_naive());
    let is_new = |path: &&std::path::PathBuf| !before.contains_key(*path);
    let new: Vec<_> = after.keys().filter(is_new).map(|path| path.display().to_string()).collect();
    assert!(!new.is_empty() && new.iter().all(|path| path.contains(&day)), "{new:?}");
    assert!(
        report.changed.iter().all(|it| !["calls", "call_details"].contains(&it.endpoint.as_str()))
    );
    site.assert_snapshot("users", Table::Users, "id", tomorrow);
    site.assert_snapshot("users", Table::Users, "id", site.now);
}

#[test]
fn p4_only_changed_partitions_are_written() {
    let site = Site::exported();
    let run = || site.calls_and_details();
    let before = site.lake.data();
    let call = site.a_call(20, 10);
    let dt = site.lake.row("calls", &call).dt;
    let later = site.now + TimeDelta::hours(1);
    assert!(site.workspace.set_status(&call, "PROCESSED", site.now + TimeDelta::minutes(1)));
    let report = run().at(later).complete();
    let after = site.lake.data();
    for (path, version) in &before {
        let path = path.display().to_string();
        assert_eq!(after[std::path::Path::new(&path)] != *version, path.contains(&dt), "{path}");
    }
    let changed: Vec<_> =
        report.changed.iter().map(|it| (&*it.endpoint, &*it.dt, it.updated)).collect();
    assert_eq!(changed, [("call_details", &*dt, 1), ("calls", &*dt, 1)]);
}

#[test]
fn p4_a_snapshot_of_the_same_day_is_replaced_whole_by_a_later_one() {
    let site = Site::new(&small());
    site.export().only(&["users"]).complete();
    let users = site.workspace.rows(Table::Users);
    let gone = users[0]["id"].as_str().unwrap();
    let mut renamed = users[1].clone();
    renamed["name"] = "Somebody Else".into();
    assert!(site.workspace.remove_row(Table::Users, gone));
    site.workspace.insert_row(Table::Users, site.now, renamed);
    site.export().only(&["users"]).complete();
    site.assert_snapshot("users", Table::Users, "id", site.now);
}
