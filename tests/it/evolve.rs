//! P6 over the years: a table's schema gets wider, every object with it, whatever dies on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::DataType;
use chrono::TimeDelta;
use clari_lake::internals::clock::Clock;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::error::Result;
use clari_lake::internals::evolve::{Evolution, evolve};
use clari_lake::internals::lake::{Breakdown, Store, Wanted, schema_changes};
use clari_lake::internals::report::Report;
use clari_lake::internals::verify::verify;
use serde_json::{Value, json};

use crate::support::{Canned, Lake, Run, Site, now};

/// Evolves one table as the command does it.
fn evolve_in(store: Store, table: &str, wanted: &Wanted) -> Result<Evolution> {
    let catalogue = Catalogue::built_in().unwrap();
    let endpoint = catalogue.find(table).unwrap();
    let clock = Clock::stopped_at(now());
    let evolved = evolve(&Arc::new(store), &catalogue, &[endpoint], wanted, false, &clock)?;
    Ok(evolved.into_iter().next().unwrap())
}

fn store(lake: &Lake) -> Store {
    Store::open(&lake.location()).unwrap()
}

fn findings(lake: &Lake) -> Vec<String> {
    let found = verify(&Arc::new(store(lake)), &Catalogue::built_in().unwrap()).unwrap();
    found.findings.into_iter().map(|finding| finding.message).collect()
}

/// A column more, and another type for one that has data.
fn wanted() -> Wanted {
    let promote = vec![("crm_info.region".to_owned(), "string".to_owned())];
    Wanted { promote, doubles: vec!["metrics.call_duration".to_owned()] }
}

#[test]
fn the_manifests_show_when_columns_were_added() {
    let site = Site::exported();
    let changes = |table: &str| {
        let present = site.lake.manifest("calls").unwrap().schema;
        schema_changes(&store(&site.lake), table, &present).unwrap()
    };
    assert_eq!(changes("calls"), []);
    assert_eq!(changes("no_such_table"), []);
    let column = |path: &str| Wanted {
        promote: vec![(path.to_owned(), "string".to_owned())],
        ..Wanted::default()
    };
    for path in ["mood", "crm_info.region"] {
        evolve_in(store(&site.lake), "calls", &column(path)).unwrap();
        site.calls_and_details().complete();
    }
    let changes = changes("calls");
    let told = changes.iter().flat_map(|it| &it.differences).map(ToString::to_string);
    let told: Vec<_> = told.collect();
    assert_eq!(told, ["+ mood: string", "+ crm_info.region: string"]);
    assert!(changes[0].version < changes[1].version);
}

#[test]
fn p6_every_object_gets_the_wider_schema_and_every_record_stays_what_it_is() {
    let site = Site::exported();
    let evolved = evolve_in(store(&site.lake), "calls", &wanted()).unwrap();
    assert_eq!(evolved.rewritten, site.lake.objects("calls").len() as u64);
    let schema = site.lake.schema("calls");
    let DataType::Struct(metrics) = schema.field_with_name("metrics").unwrap().data_type() else {
        panic!("metrics is a struct")
    };
    let (_, duration) = metrics.find("call_duration").unwrap();
    assert_eq!(duration.data_type(), &DataType::Float64);
    site.assert_calls(site.now);
    assert_eq!(findings(&site.lake), [""; 0]);
    let data = site.lake.data();
    let again = evolve_in(store(&site.lake), "calls", &Wanted::default()).unwrap();
    assert!(again.changes.is_empty() && again.rewritten == 0);
    site.calls_and_details().complete();
    assert!(site.lake.data() == data, "P4: nothing has changed");
}

#[test]
fn p6_an_evolution_killed_at_any_write_is_reported_and_completed_by_the_next_run() {
    let mut site = Site::exported();
    let before = std::mem::replace(&mut site.lake, Lake::new());
    let old = before.schema("calls");
    let step = if std::env::var_os("CLARI_LAKE_EVERY_WRITE").is_some() { 1 } else { 7 };
    let (mut write, mut half_done) = (0, 0);
    loop {
        site.lake = before.twin();
        let broken = store(&site.lake).with_breakdown(Breakdown::at(write, write % 2 == 1));
        let survived = evolve_in(broken, "calls", &wanted()).is_ok();
        site.assert_calls(site.now);
        let told = findings(&site.lake);
        half_done += u64::from(told.iter().any(|it| it.contains("before the last evolution")));
        site.calls_and_details().complete();
        site.assert_calls(site.now);
        assert_eq!(findings(&site.lake), [""; 0], "write {write}");
        // Either nothing had begun, or all of it is done.
        let is_old = site.lake.schema("calls") == old;
        assert!(!is_old || write <= 1, "write {write}");
        if survived {
            break;
        }
        write += step;
    }
    assert!(half_done > 0, "verify said nothing of what was half done");
}

/// A workspace whose calls have new fields from some day on: at the top, in a struct, in a list.
fn growing(has_grown: &Arc<AtomicBool>) -> Canned {
    let has_grown = Arc::clone(has_grown);
    Canned::start(move |target| {
        if !target.starts_with("/calls?") {
            return (200, json!({ "users": [] }));
        }
        (200, json!({ "calls": calls(has_grown.load(Ordering::Relaxed)) }))
    })
}

fn calls(have_grown: bool) -> Vec<Value> {
    let time = |days| (now() - TimeDelta::days(days)).to_rfc3339();
    let old = json!({"id": "old", "time": time(3), "users": [{"userId": "u"}], "metrics": {}});
    let new = json!({"id": "new", "time": time(1), "mood": "good", "users": [{"team": 7}],
        "metrics": {"calm": 0.5}, "none": null, "odd name": 1});
    if have_grown { vec![new, old] } else { vec![old] }
}

fn run(api: &Canned, lake: &Lake) -> Run {
    Run::new(api.base_url(), lake.location(), now()).only(&["calls"])
}

fn told(report: &Report) -> (Vec<String>, Vec<String>) {
    let calls = &report.endpoints[0];
    let spelled = |it: &[_]| it.iter().map(ToString::to_string).collect();
    (spelled(&calls.evolved), spelled(&calls.evolvable))
}

#[test]
fn p6_new_fields_wait_until_evolve_gives_them_columns_in_every_object() {
    let has_grown = Arc::new(AtomicBool::new(false));
    let (api, lake) = (growing(&has_grown), Lake::new());
    assert_eq!(told(&run(&api, &lake).complete()), (vec![], vec![]));
    let old = lake.schema("calls");
    has_grown.store(true, Ordering::Relaxed);
    let expected =
        ["+ users[].team: int64", "+ metrics.calm: double", "+ mood: string"].map(str::to_owned);
    let report = run(&api, &lake).complete();
    assert_eq!(told(&report), (vec![], expected.to_vec()));
    assert_eq!(lake.schema("calls"), old, "only evolve changes the columns");
    let report = run(&api, &lake).evolving().complete();
    assert_eq!(told(&report), (expected.to_vec(), vec![]));
    assert_eq!(report.changed.len(), 2, "downstream has both partitions to read again");
    let schema = lake.schema("calls");
    assert_eq!(schema.field_with_name("mood").unwrap().data_type(), &DataType::Utf8);
    let row = lake.row("calls", "new").record;
    let expected = json!({"mood": "good", "metrics": {"calm": 0.5}, "odd name": 1});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&row[name], value);
    }
    assert_eq!(findings(&lake), [""; 0]);
    assert!(run(&api, &lake).evolving().complete().changed.is_empty());
}

#[test]
fn an_impossible_column_is_refused_and_nothing_is_written() {
    let site = Site::exported();
    let data = site.lake.data();
    let promote = vec![("title".to_owned(), "int64".to_owned())];
    let wanted = Wanted { promote, doubles: vec![] };
    let error = evolve_in(store(&site.lake), "calls", &wanted).unwrap_err();
    assert_eq!(error.to_string(), "calls: `title` already exists, with type string");
    assert!(site.lake.data() == data);
}
