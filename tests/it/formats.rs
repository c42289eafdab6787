//! P13, and an index that is torn: what older versions wrote and what a disk spoiled stays readable.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::ErrorKind;
use clari_lake::internals::lake::Store;
use clari_lake::internals::simulator::Options;
use clari_lake::internals::verify::verify;
use serde_json::{Value, json};

use crate::support::{Site, small};

fn newest_manifest(site: &Site, table: &str) -> PathBuf {
    let manifests = site.lake.files(&format!("_manifest/{table}"));
    manifests.into_iter().filter(|it| it.extension().is_some_and(|it| it == "json")).max().unwrap()
}

/// Rewrites a table's newest manifest as `change` says.
fn rewrite(site: &Site, table: &str, change: impl FnOnce(&mut Value)) {
    let path = newest_manifest(site, table);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::remove_file(&path).unwrap();
    fs::write(path, manifest.to_string()).unwrap();
}

/// What format 1 said: one index for the whole table, as a base and deltas.
fn as_format_1(manifest: &mut Value) {
    let pieces = manifest["index"].as_object().unwrap().values().cloned().collect::<Vec<_>>();
    manifest["format"] = json!(1);
    manifest["index"] = Value::Array(pieces);
    for field in ["keys", "checked"] {
        manifest.as_object_mut().unwrap().remove(field);
    }
}

#[track_caller]
fn assert_verified(site: &Site) {
    let store = Arc::new(Store::open(&site.lake.location()).unwrap());
    assert_eq!(verify(&store, &Catalogue::built_in().unwrap()).unwrap().findings, []);
}

#[test]
fn p13_a_lake_of_format_1_is_upgraded_without_new_requests() {
    let site = Site::exported();
    rewrite(&site, "calls", as_format_1);
    rewrite(&site, "call_details", as_format_1);
    assert_verified(&site);
    let before = site.lake.data();
    let report = site.calls_and_details().complete();
    assert_eq!(site.lake.data(), before, "P4: nothing is written that is there");
    let details = report.endpoints.iter().find(|it| it.endpoint == "call_details").unwrap();
    assert_eq!(details.requests, 0, "P7: what is settled stays settled");
    assert_verified(&site);
    let taken = site.lake.manifest("calls").unwrap();
    assert!(taken.flat_index.is_empty() && !taken.index.is_empty() && !taken.keys.is_empty());
    let later = site.now + TimeDelta::hours(1);
    assert!(site.workspace.reschedule(&site.a_call(28, 20), site.now - TimeDelta::days(3), false));
    site.workspace.advance(later);
    site.calls_and_details().at(later).complete();
    site.assert_calls(later);
}

#[test]
fn p13_a_newer_format_is_refused_in_one_line() {
    let site = Site::exported();
    rewrite(&site, "calls", |manifest| manifest["format"] = json!(99));
    let error = site.calls_and_details().attempt().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Newer);
    assert_eq!(error.to_string().lines().count(), 1);
}

/// P1, P2: whichever file of the index a disk has spoiled, the next run reads what it needs from
/// the objects, and requests nothing that is there.
#[test]
fn p1_p2_a_torn_index_is_rebuilt_from_the_objects() {
    for torn in ["keys", "-2", "parquet"] {
        for table in ["calls", "call_details"] {
            let site = Site::exported();
            let files = site.lake.files(&format!("_manifest/{table}/index"));
            let is_torn =
                |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().contains(torn);
            let files: Vec<_> = files.iter().filter(is_torn).collect();
            assert!(!files.is_empty(), "{torn} of {table}");
            for file in files {
                let bytes = fs::read(file).unwrap();
                fs::remove_file(file).unwrap();
                fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
            }
            let later = site.now + TimeDelta::hours(1);
            let call = site.a_call(28, 20);
            assert!(site.workspace.reschedule(&call, site.now - TimeDelta::days(3), false));
            site.workspace.advance(later);
            let report = site.calls_and_details().at(later).complete();
            site.assert_calls(later);
            assert_verified(&site);
            let asked = report.endpoints.iter().find(|it| it.endpoint == "call_details").unwrap();
            assert!(asked.requests < 20, "{torn} of {table}: {} details asked", asked.requests);
        }
    }
}

/// A table of so many dates that its manifests have a base.
fn of_many_dates() -> Site {
    let site = Site::new(&Options { calls: 400, days: 300, ..small() });
    site.calls_and_details().from(site.now - TimeDelta::days(310)).complete();
    site
}

fn bases(site: &Site, table: &str) -> Vec<PathBuf> {
    let mut files = site.lake.files(&format!("_manifest/{table}/index"));
    files.retain(|path| path.to_str().unwrap().ends_with("base.json.zst"));
    files
}

/// Section 6.6: what a commit writes follows what changed, not how many dates the table has.
#[test]
fn a_manifest_of_many_dates_says_only_what_changed() {
    let site = of_many_dates();
    assert_eq!(bases(&site, "calls").len(), 1);
    let later = site.now + TimeDelta::hours(1);
    assert!(site.workspace.reschedule(
        &site.a_call(28, 20),
        site.now - TimeDelta::days(200),
        false
    ));
    site.workspace.advance(later);
    site.calls_and_details().at(later).complete();
    site.assert_calls(later);
    assert_eq!(bases(&site, "calls").len(), 1);
    let newest = newest_manifest(&site, "calls");
    let written: Value = serde_json::from_slice(&fs::read(newest).unwrap()).unwrap();
    let partitions = written["partitions"].as_object().unwrap().len();
    assert!((2..6).contains(&partitions), "the call's two dates and today's: {partitions}");
    let manifest = site.lake.manifest("calls").unwrap();
    assert!(manifest.partitions.len() > 150);
    assert_verified(&site);
}

/// P1, P3, P12: a base that a disk has spoiled costs neither coverage nor a request; it is found, and
/// the objects say what it said.
#[test]
fn p1_p3_a_torn_base_is_found_and_rebuilt_from_the_objects() {
    for table in ["calls", "call_details"] {
        let site = of_many_dates();
        let covered = site.lake.manifest("calls").unwrap().coverage;
        for base in bases(&site, table) {
            let bytes = fs::read(&base).unwrap();
            fs::write(base, &bytes[..bytes.len() / 2]).unwrap();
        }
        let store = Arc::new(Store::open(&site.lake.location()).unwrap());
        let found = verify(&store, &Catalogue::built_in().unwrap()).unwrap().findings;
        let is_torn = |message: &String| message.contains("manifest cannot be read");
        assert!(found.iter().any(|it| is_torn(&it.message)), "{table}: {found:#?}");
        site.server.clear();
        site.calls_and_details().complete();
        assert_eq!(site.server.count("/call-details"), 0, "P7, {table}");
        assert_eq!(site.lake.manifest("calls").unwrap().coverage, covered);
        site.assert_calls(site.now);
        assert_verified(&site);
    }
}
