//! P6 from the beginning: until a table's first export completes, its schema grows with what the
//! records hold, whatever was killed on the way; then it is frozen, and every file has it.

use std::fs;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::lake::Store;
use clari_lake::internals::manifest::Granularity;
use clari_lake::internals::simulator::Options;
use clari_lake::internals::verify::{rebuild, verify};
use serde_json::{Value, json};

use crate::support::{Bucket, Canned, Lake, Run, Site, at, small};

/// Calls whose undeclared fields grow in number from day to day, the newest first: that is the
/// order in which a first export lists them.
fn moody() -> Site {
    let site = Site::new(&Options { calls: 0, scheduled: 0, ..small() });
    for (day, number) in (0..6).flat_map(|day| (0..3).map(move |number| (day, number))) {
        let time = site.now - TimeDelta::hours(day * 24 + number + 1);
        let time = time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let mut call = json!({
            "id": format!("c{day}-{number}"), "title": "t", "status": "CALL_DID_NOT_HAPPEN",
            "time": time, "last_modified_time": time, "mood": "good",
        });
        if day > 1 {
            call["weather"] = json!({ "sky": "blue" });
        }
        if day > 3 {
            call["score"] = json!(day);
            call["weather"]["wind"] = json!(1.5);
        }
        assert!(site.workspace.insert_call(call, false));
    }
    site
}

fn run(site: &Site) -> Run {
    site.export().only(&["calls"]).with_page_size(4).with_concurrency(1)
}

/// The table has all columns that its records can fill, one frozen schema, and passes.
#[track_caller]
fn assert_frozen(lake: &Lake, table: &str, columns: &[&str], catalogue: &Catalogue) {
    let schema = lake.schema(table);
    for name in columns {
        assert!(schema.field_with_name(name).is_ok(), "{table}.{name} is no column");
    }
    let manifest = lake.manifest(table).unwrap();
    assert!(manifest.schema_frozen);
    assert_eq!(manifest.schema.arrow().fields(), schema.fields());
    let store = Arc::new(Store::open(&lake.location()).unwrap());
    assert_eq!(verify(&store, catalogue).unwrap().findings, []);
}

#[track_caller]
fn assert_moody(site: &Site) {
    let built_in = Catalogue::built_in().unwrap();
    assert_frozen(&site.lake, "calls", &["mood", "weather", "score"], &built_in);
    site.assert_list_is(&site.workspace.calls_before(site.now, false));
}

#[test]
fn p6_a_first_export_that_is_killed_at_any_write_freezes_no_schema() {
    for write in 0.. {
        let site = moody();
        let monthly = write % 3 == 0;
        let run = || if monthly { run(&site).by_month() } else { run(&site) };
        let survived = run().breaking_down_at(write, write % 2 == 1).attempt().is_ok();
        run().complete();
        assert_moody(&site);
        if survived {
            assert!(write > 10, "only {write} writes are there to rehearse");
            break;
        }
    }
}

#[test]
fn p6_a_killed_export_to_a_bucket_freezes_no_schema_either() {
    for write in (0..14).step_by(2) {
        let mut site = moody();
        let bucket = Bucket::in_memory();
        let dying = run(&site).into(&bucket.again()).breaking_down_at(write, true);
        let _ = dying.attempt();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| run(&site).into(&bucket.again()).complete());
            }
        });
        site.lake = bucket.mirror();
        assert_moody(&site);
    }
}

const VISITS: &str = "description = 'd'\nkey = ['id']\npath = '/visits'\nrecords = '$.visits[*]'\n\
    experimental = true\ndated = { by = 'field', field = 'at' }\n\
    column = [{ name = 'id', type = 'string' }, { name = 'at', type = 'timestamp' }]\n\
    [window]\nfrom = 'since'\nto = 'until'\nformat = 'epoch_seconds'\nstep = 'day'\n";
const THINGS: &str = "description = 'd'\nkey = ['id']\npath = '/things'\nrecords = '$.things[*]'\n\
    dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }]\n";
const ABOUT: &str = "description = 'd'\nkey = ['id']\npath = '/about/{parent.id}'\nrecords = '$'\n\
    dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }]\n\
    parent = { endpoint = 'things', id = '$.id' }\n";
const FILES: [(&str, &str); 3] = [("visits", VISITS), ("things", THINGS), ("about", ABOUT)];

/// A visit every eight hours; the older it is, the more its record says.
fn visits(now: DateTime<Utc>) -> Vec<Value> {
    let visit = |number: i64| {
        let time = now - TimeDelta::hours(8 * number + 1);
        let mut visit = json!({ "id": format!("v{number}"), "at": time.to_rfc3339(), "mood": 1 });
        if number > 4 {
            visit["mood"] = json!(0.5);
            visit["late"] = json!({ "by": ["rain"] });
        }
        visit
    };
    (0..12).map(visit).collect()
}

fn own(now: DateTime<Utc>) -> Canned {
    Canned::start(move |target| {
        let url = reqwest::Url::parse(&format!("http://host{target}")).unwrap();
        let number = |name: &str| -> i64 {
            let found = url.query_pairs().find(|(it, _)| it == name);
            found.unwrap().1.parse().unwrap()
        };
        match url.path() {
            "/visits" => {
                let (from, to) = (number("since"), number("until"));
                let time = |it: &Value| at(it["at"].as_str().unwrap()).timestamp();
                let mut visits = visits(now);
                visits.retain(|it| (from..=to).contains(&time(it)));
                (200, json!({ "visits": visits }))
            }
            "/things" => (200, json!({ "things": [{ "id": "a", "mood": "good" }, { "id": "b" }] })),
            path => (200, json!({ "id": path.rsplit('/').next(), "mood": "good" })),
        }
    })
}

/// An endpoint that may be absent has no manifest before it has answered; its first objects are
/// written with what the newest window holds.
#[test]
fn p6_own_endpoints_of_few_columns_grow_after_a_kill() {
    let now = at("2026-11-23T12:00:00Z");
    let server = own(now);
    let mut catalogue = Catalogue::built_in().unwrap();
    for (name, text) in FILES {
        catalogue = catalogue.with_file(name, text).unwrap();
    }
    for write in 0.. {
        let lake = Lake::new();
        let run = || {
            let run = Run::new(server.base_url(), lake.location(), now).with_files(&FILES);
            run.only(&["visits", "things", "about"]).with_concurrency(1)
        };
        let survived = run().breaking_down_at(write, write % 2 == 1).attempt().is_ok();
        run().complete();
        assert_frozen(&lake, "visits", &["mood", "late"], &catalogue);
        assert_frozen(&lake, "things", &["mood"], &catalogue);
        assert_frozen(&lake, "about", &["mood"], &catalogue);
        assert_eq!(lake.rows("visits").len(), visits(now).len());
        if survived {
            assert!(write > 10, "only {write} writes are there to rehearse");
            break;
        }
    }
}

/// A kill of the process itself leaves objects and no manifest at all.
#[test]
fn p6_objects_of_a_first_export_without_any_manifest_grow() {
    let now = at("2026-11-23T12:00:00Z");
    let server = own(now);
    let lake = Lake::new();
    let run = || {
        let run = Run::new(server.base_url(), lake.location(), now).with_files(&FILES);
        run.only(&["visits"]).with_concurrency(1)
    };
    // The first manifest of all comes after the objects of the newest window.
    let is_there = |lake: &Lake| !lake.files("visits").is_empty();
    let write = (0..20).find(|write| {
        let _ = fs::remove_dir_all(lake.path());
        run().breaking_down_at(*write, false).attempt().is_err() && is_there(&lake)
    });
    assert!(write.is_some() && lake.manifest("visits").is_none());
    run().complete();
    let catalogue = Catalogue::built_in().unwrap().with_file("visits", VISITS).unwrap();
    assert_frozen(&lake, "visits", &["mood", "late"], &catalogue);
}

/// Where all manifests of a complete table are lost, no column appears by itself.
#[test]
fn p6_a_complete_table_whose_manifests_are_lost_stays_frozen() {
    for is_killed_before in [false, true] {
        let site = moody();
        if is_killed_before {
            // What completes the export then finds every row in its place, and writes one object.
            let killed = (0..40).find(|write| {
                let _ = fs::remove_dir_all(site.lake.path());
                let died = run(&site).breaking_down_at(*write, false).attempt().is_err();
                !died || site.lake.files("calls").len() >= 6
            });
            assert!(killed.is_some());
        }
        run(&site).complete();
        let before = site.lake.schema("calls");
        fs::remove_dir_all(site.lake.path().join("_manifest")).unwrap();
        let store = Arc::new(Store::open(&site.lake.location()).unwrap());
        let built_in = Catalogue::built_in().unwrap();
        rebuild(&store, &built_in, Granularity::Day, site.now).unwrap();
        assert!(site.lake.manifest("calls").unwrap().schema_frozen);
        let mut call = site.workspace.call("c0-0").unwrap();
        call["id"] = json!("new");
        call["surprise"] = json!(1);
        assert!(site.workspace.insert_call(call, false));
        run(&site).complete();
        assert_eq!(site.lake.schema("calls"), before);
        assert_moody(&site);
    }
}
