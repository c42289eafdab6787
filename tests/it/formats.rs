//! P13, and an index that is torn: what older versions wrote and what a disk spoiled stays readable.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use clari_lake::endpoint::Catalogue;
use clari_lake::error::ErrorKind;
use clari_lake::lake::Store;
use clari_lake::verify::verify;
use serde_json::{Value, json};

use crate::support::Site;

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
fn p13_a_lake_of_format_1_is_read_and_taken_over_without_asking_anew() {
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
/// the objects, and asks for nothing that is there.
#[test]
fn p1_p2_a_torn_index_is_made_anew_from_the_objects() {
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
