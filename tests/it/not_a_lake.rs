//! Design, section 1: a lake is what has a `_manifest` of ours. Any other place is refused with
//! exit code 2 and one message, and stays what it is, byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clari_lake::internals::check::Verdict;
use clari_lake::internals::clock::Clock;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::ErrorKind;
use clari_lake::internals::evolve::evolve;
use clari_lake::internals::forget::{Subjects, forget};
use clari_lake::internals::lake::{Store, Wanted};
use clari_lake::internals::manifest::Granularity;
use clari_lake::internals::verify::rebuild;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::{Bucket, Quirk, Site, clari_lake, now, small};

/// What reads or writes a lake that is there.
const OF_A_LAKE: [&[&str]; 12] = [
    &["status"],
    &["status", "--json"],
    &["verify"],
    &["verify", "--rebuild"],
    &["evolve"],
    &["evolve", "--dry-run"],
    &["forget", "--email", "a@example.com"],
    &["forget", "--dry-run", "--email", "a@example.com"],
    &["changes", "--since", "2d"],
    &["sql", "--engine", "duckdb"],
    &["schema", "calls"],
    &["schema", "calls", "--diff", "1"],
];

/// What makes a lake in an empty or new place, or plans or tries that.
const OF_A_PLACE: [&[&str]; 6] = [
    &["export"],
    &["backfill", "--from", "2026-01-01"],
    &["plan", "--offline"],
    &["plan"],
    &["doctor"],
    &["demo", "--calls", "5"],
];

/// Runs a command on a place: its exit code, then all that it says.
fn said(args: &[&str], place: &str, folder: &Path) -> String {
    let mut command = clari_lake(args);
    command.arg(place).current_dir(folder);
    command.envs([("CLARI_API_KEY", "k"), ("CLARI_API_PASSWORD", "p")]);
    // No server answers there.
    command.env("CLARI_BASE_URL", "http://127.0.0.1:9");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    format!("{code}\n{}{}", text(&output.stdout), text(&output.stderr))
}

/// Every file and folder with its bytes and time.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (bytes, modified));
        }
    }
    found
}

fn write(folder: &Path, path: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"somebody's").unwrap();
}

fn make(folder: &Path, path: &str) {
    if path.ends_with('/') {
        fs::create_dir_all(folder.join(path)).unwrap();
    } else {
        write(folder, path);
    }
}

/// A folder with a lake in it, and beside it what is none.
fn neighbourhood() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = said(&["demo", "--calls", "5", "-q"], "lakes/mine", folder.path());
    assert!(text.starts_with("0\n"), "{text}");
    for path in [
        "photos/2026/a.jpg",
        "warehouse/calls/dt=2026-01-01/part-0.parquet",
        "warehouse/orders/dt=2026-01-01/part-0.parquet",
        "other/_manifest/manifest.json",
        "file",
    ] {
        write(folder.path(), path);
    }
    folder
}

/// Each location that is not a lake, and what every message about it says.
const WRONG: [(&str, &[&str]); 8] = [
    ("photos", &["`2026`"]),
    ("warehouse", &["`calls`", "`orders`"]),
    ("other", &["`_manifest/manifest.json`"]),
    ("file", &["is a file"]),
    ("lakes", &["`mine`", "the lake is ", "lakes/mine"]),
    ("lakes/mine/_manifest", &["the lake is ", "lakes/mine"]),
    ("lakes/mine/calls", &["the lake is ", "lakes/mine"]),
    ("lakes/mine/no_table_yet", &["the lake is ", "lakes/mine"]),
];

#[test]
fn every_command_refuses_a_folder_that_is_not_a_lake() {
    let folder = neighbourhood();
    let before = contents(folder.path());
    for (place, words) in WRONG {
        for args in OF_A_LAKE.iter().chain(&OF_A_PLACE) {
            let text = said(args, place, folder.path());
            assert!(text.starts_with("2\n"), "{args:?} {place}: {text}");
            assert!(text.contains(place), "{args:?} {place}: {text}");
            let is_said = |word: &&str| text.contains(word);
            assert!(words.iter().all(is_said), "{args:?} {place}: {text}");
            assert!(!text.contains("well"), "{args:?} {place}: {text}");
            assert_eq!(contents(folder.path()), before, "{args:?} {place}");
        }
    }
}

#[test]
fn a_misspelled_url_is_not_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (place, right) in [
        ("s3:/bucket/x", "s3://bucket/x"),
        ("s3:bucket", "s3://bucket"),
        ("S3://bucket/x", "s3://bucket/x"),
        ("gs:/bucket/x", "gs://bucket/x"),
        ("az:/container/x", "az://container/x"),
        ("file:/tmp/x", "file:///tmp/x"),
        ("", "is empty"),
    ] {
        let commands = OF_A_LAKE.iter().chain(&OF_A_PLACE);
        // The demo's folder has a default, and an empty name is no value for the parser.
        for args in commands.filter(|args| args[0] != "demo" || !place.is_empty()) {
            let text = said(args, place, folder.path());
            assert!(text.starts_with("2\n") && text.contains(right), "{args:?} {place}: {text}");
        }
    }
    assert_eq!(contents(folder.path()), BTreeMap::new());
}

/// Nothing is there to read, and nothing is in the way of an export.
#[test]
fn an_empty_or_new_folder_can_become_a_lake() {
    let left = [
        "_manifest/lock",
        "_manifest/quota/2026-11-29/000000000001.json",
        "_manifest/runs/latest.json",
        "_staging/loose-1.tmp",
        "calls/dt=2026-11-20/",
    ];
    for files in [&[][..], &[".gitkeep", "lost+found/x", "clari-lake.toml"], &left] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        let is_new = files.is_empty();
        for file in files {
            make(&place, file);
        }
        let _ = fs::write(place.join("clari-lake.toml"), "");
        let before = contents(folder.path());
        for args in OF_A_LAKE {
            let text = said(args, "place", folder.path());
            let is_refused = text.starts_with("2\n") && text.contains("there is no lake at place");
            assert!(is_refused, "{args:?} {files:?}: {text}");
            assert_eq!(contents(folder.path()), before, "{args:?} {files:?}");
        }
        let text = said(&["plan", "--offline"], "place", folder.path());
        assert!(text.starts_with("0\n"), "{files:?}: {text}");
        assert_eq!(contents(folder.path()), before, "{files:?}");
        let text = said(&["demo", "--calls", "5", "-q"], "place", folder.path());
        assert!(text.starts_with("0\n"), "{files:?}, new: {is_new}: {text}");
        let text = said(&["verify"], "place", folder.path());
        assert!(text.starts_with("0\n"), "{files:?}: {text}");
    }
}

/// The doctor tries a place out and leaves it as it was: one that is empty, and one that is not there.
#[test]
fn doctor_leaves_a_folder_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for place in ["empty", "new"] {
        let place = folder.path().join(place);
        let store = Store::open(place.to_str().unwrap()).unwrap();
        store.check_place(&Catalogue::built_in().unwrap()).unwrap();
        let checks = store.examine();
        assert!(checks.iter().all(|it| it.verdict == Verdict::Good), "{checks:?}");
    }
    let names: Vec<_> = contents(folder.path()).into_keys().collect();
    assert_eq!(names, [folder.path().join("empty")]);
}

/// What is left of a lake whose manifests are lost is read again by an export or by `verify
/// --rebuild`, and by nothing else.
#[test]
fn tables_whose_manifests_are_lost_are_rebuilt_first() {
    for is_exported in [false, true] {
        let folder = neighbourhood();
        fs::remove_dir_all(folder.path().join("lakes/mine/_manifest")).unwrap();
        let before = contents(folder.path());
        for args in OF_A_LAKE.iter().filter(|args| args[0] != "verify") {
            let text = said(args, "lakes/mine", folder.path());
            assert!(text.starts_with("2\n") && text.contains("--rebuild"), "{args:?}: {text}");
            assert_eq!(contents(folder.path()), before, "{args:?}");
        }
        let text = said(&["verify"], "lakes/mine", folder.path());
        assert!(text.starts_with("1\n") && text.contains("--rebuild"), "{text}");
        assert_eq!(contents(folder.path()), before);
        let again: &[&str] =
            if is_exported { &["demo", "--calls", "5"] } else { &["verify", "--rebuild"] };
        let text = said(again, "lakes/mine", folder.path());
        assert!(text.starts_with("0\n"), "{text}");
        assert!(said(&["status"], "lakes/mine", folder.path()).starts_with("0\n"));
    }
}

/// The same for an object store, and for users of the library.
#[test]
fn a_prefix_with_other_objects_is_not_a_lake() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for path in ["photos/a.jpg", "calls/dt=2026-01-01/part-0.parquet"] {
        runtime.block_on(memory.put(&path.into(), "somebody's".into())).unwrap();
    }
    let bucket = Bucket::on(memory, Quirk::None);
    let before = bucket.versions();
    let (store, catalogue) = (|| Arc::new(bucket.store()), Catalogue::built_in().unwrap());
    let people = Subjects { people: vec!["a@example.com".to_owned()], ..Subjects::default() };
    let (clock, wanted) = (Clock::stopped_at(now()), Wanted::default());
    let site = Site::new(&small());
    let errors = [
        forget(&store(), &catalogue, &people, None, &clock).unwrap_err(),
        evolve(&store(), &catalogue, &[], &wanted, false, &clock).unwrap_err(),
        rebuild(&store(), &catalogue, Granularity::Day, now()).unwrap_err(),
        site.export().into(&bucket).attempt().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("`calls`, `photos`"), "{error}");
    }
    assert_eq!(site.server.requests().len(), 0);
    assert_eq!(bucket.versions(), before);
}

/// P7: a folder is no lake for the ledger of a run either, before its first request.
#[test]
fn an_export_into_a_foreign_folder_sends_no_request() {
    let site = Site::new(&small());
    write(&site.lake.path(), "photos/a.jpg");
    let before = contents(&site.lake.path());
    let error = site.export().attempt().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(contents(&site.lake.path()), before);
    assert_eq!(site.server.requests().len(), 0);
    let store = Store::open(&site.lake.location()).unwrap();
    assert!(store.check_lake(&Catalogue::built_in().unwrap()).is_err());
}
