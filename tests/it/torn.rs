//! What disks do: a manifest that ends early, all manifests lost, no room left. The lake reads
//! well at once, `verify` says what is wrong, and the next run mends it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chrono::TimeDelta;
use clari_lake::internals::clock;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::ErrorKind;
use clari_lake::internals::lake::Store;
use clari_lake::internals::manifest::Granularity;
use clari_lake::internals::verify::{Verification, rebuild, verify};

use crate::support::{Lake, Site, small};

fn verification(lake: &Lake) -> Verification {
    let store = Arc::new(Store::open(&lake.location()).unwrap());
    verify(&store, &Catalogue::built_in().unwrap()).unwrap()
}

fn tear(path: &Path, to: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..to.min(bytes.len())]).unwrap();
}

#[test]
fn p3_p12_a_torn_manifest_is_found_and_rebuilt() {
    for to in [0, 1, 500] {
        let site = Site::exported();
        let later = site.now + TimeDelta::hours(1);
        site.workspace.advance(site.now + TimeDelta::minutes(30));
        assert!(site.workspace.set_status(&site.a_call(20, 10), "PROCESSED", site.workspace.now()));
        site.calls_and_details().at(later).complete();
        for table in ["calls", "call_details"] {
            let manifests = site.lake.files(&format!("_manifest/{table}"));
            let json = |path: &&std::path::PathBuf| path.extension().is_some_and(|it| it == "json");
            tear(manifests.iter().filter(json).max().unwrap(), to);
        }
        let found = verification(&site.lake).findings;
        let torn = found.iter().filter(|it| it.message.contains("manifest cannot be read"));
        assert_eq!(torn.count(), 2, "P12: {found:#?}");
        site.calls_and_details().at(later).complete();
        site.assert_calls(later);
        assert_eq!(verification(&site.lake).findings, []);
    }
}

/// Nothing but the objects is left, and they say by themselves how much time each holds.
#[test]
fn p2_a_lake_by_month_is_rebuilt_by_month() {
    let site = Site::new(&small());
    site.calls_and_details().by_month().complete();
    fs::remove_dir_all(site.lake.path().join("_manifest")).unwrap();
    let store = Arc::new(Store::open(&site.lake.location()).unwrap());
    rebuild(&store, &Catalogue::built_in().unwrap(), Granularity::Day, clock::now()).unwrap();
    site.server.clear();
    site.calls_and_details().complete();
    assert_eq!(site.server.count("/call-details"), 0, "details that are there are known");
    site.assert_calls(site.now);
    assert_eq!(verification(&site.lake).findings, []);
    assert_eq!(site.lake.objects("calls").len(), 2, "{:?}", site.lake.objects("calls"));
}

/// P2: a snapshot made on the first of a month looks like that of a day; its footer says otherwise.
#[test]
fn p2_a_month_that_has_only_its_first_day_is_rebuilt_by_month() {
    let site = Site::new(&small());
    let first = "2025-12-01T05:00:00Z".parse().unwrap();
    site.export().only(&["users"]).by_month().at(first).complete();
    fs::remove_dir_all(site.lake.path().join("_manifest")).unwrap();
    let store = Arc::new(Store::open(&site.lake.location()).unwrap());
    rebuild(&store, &Catalogue::built_in().unwrap(), Granularity::Day, clock::now()).unwrap();
    assert_eq!(site.lake.manifest("users").unwrap().granularity, Granularity::Month);
    site.export().only(&["users"]).at(first + TimeDelta::days(1)).complete();
    assert_eq!(site.lake.objects("users").len(), 1, "one snapshot a month");
    assert_eq!(verification(&site.lake).findings, []);
}

/// P7: what was spent before the ledger was lost is unknown. History waits for the next
/// week or for an explicit quota; exports continue.
#[test]
fn p7_after_a_rebuild_the_weeks_spend_is_unknown_until_a_quota_is_passed() {
    let site = Site::exported();
    fs::remove_dir_all(site.lake.path().join("_manifest")).unwrap();
    let store = Arc::new(Store::open(&site.lake.location()).unwrap());
    rebuild(&store, &Catalogue::built_in().unwrap(), Granularity::Day, clock::now()).unwrap();
    let run = || site.calls_and_details();
    let night = run().complete();
    assert!(night.week.unwrap().unknown);
    let (from, to) = (site.now - TimeDelta::days(60), site.now - TimeDelta::days(30));
    site.server.clear();
    let waiting = run().backfilling(from, to).run();
    assert!(!waiting.complete && site.server.requests().is_empty(), "{waiting:#?}");
    assert!(waiting.problems[0].message.contains("it is unknown"), "{:#?}", waiting.problems);
    let told = run().backfilling(from, to).told().complete();
    assert!(!told.week.unwrap().unknown);
    run().complete();
}

/// A disk with room for half of it; only root can make one.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::TempDir::new().unwrap();
        let options = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let mounted = Command::new("mount").args(arguments).arg(folder.path()).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(folder))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn p2_p3_a_full_disk_loses_nothing_and_says_so() {
    let Some(disk) = TinyDisk::mount("600k") else {
        println!("not tried: only root can make a disk that is this small");
        return;
    };
    let site = Site { lake: Lake::at(disk.0.path()), ..Site::new(&small()) };
    let error = site.calls_and_details().attempt().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let said = format!("{error} {:?}", error.hint());
    assert!(said.contains("the disk is full"), "{said}");
    site.assert_coverage_is_true();
    disk.grow("64m");
    site.calls_and_details().complete();
    site.assert_calls(site.now);
    assert_eq!(verification(&site.lake).findings, []);
}
