//! P1 for records that no row can hold: they are kept aside, and cost their neighbours nothing.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Canned, Lake, Run, now};

fn call(id: &Value, time: &str) -> Value {
    json!({ "id": id, "title": format!("call {id}"), "status": "SCHEDULED", "time": time })
}

/// An API with one page of these calls.
fn serve(calls: Vec<Value>) -> Canned {
    Canned::start(move |target| {
        let is_calls = target.starts_with("/calls");
        (200, if is_calls { json!({ "calls": calls }) } else { json!({ "topics": [] }) })
    })
}

const TIME: &str = "2025-11-18T10:00:00Z";

#[test]
fn p1_a_record_without_a_usable_key_goes_to_quarantine_alone() {
    let mut nameless = call(&json!("x"), TIME);
    nameless.as_object_mut().unwrap().remove("id");
    let calls = vec![
        call(&json!("a"), TIME),
        nameless,
        call(&Value::Null, TIME),
        call(&json!({ "nested": 1 }), TIME),
        call(&json!(""), TIME),
        json!("no object at all"),
        call(&json!("b"), TIME),
        call(&json!(42), TIME),
    ];
    let api = serve(calls.clone());
    let lake = Lake::new();
    let run = || Run::new(api.base_url(), lake.location(), now()).only(&["calls"]);
    let report = run().complete();
    assert!(report.endpoints[0].quarantined >= 5, "{}", report.endpoints[0].quarantined);
    let mut ids: Vec<_> =
        lake.rows("calls").iter().map(|row| row.record["id"].to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["\"42\"", "\"a\"", "\"b\""]);
    let kept = lake.files("_quarantine/calls");
    let mut records: Vec<Value> = kept.iter().map(|path| read(path)["record"].clone()).collect();
    let mut expected =
        [calls[1].clone(), calls[2].clone(), calls[3].clone(), calls[4].clone(), calls[5].clone()];
    records.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(records, expected, "each once, as it was");
    assert!(kept.iter().all(|path| read(path)["reason"].as_str().is_some_and(|it| it.len() > 5)));
    // A second run keeps the same ones, once.
    run().complete();
    assert_eq!(lake.files("_quarantine/calls"), kept);
}

fn read(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn p1_a_record_with_an_unreadable_date_gets_the_day_it_was_found() {
    let calls = vec![call(&json!("a"), TIME), call(&json!("b"), "next Tuesday")];
    let api = serve(calls);
    let lake = Lake::new();
    let run = || Run::new(api.base_url(), lake.location(), now()).only(&["calls"]).complete();
    run();
    assert_eq!(lake.row("calls", "a").dt, "2025-11-18");
    let undated = lake.row("calls", "b");
    // This server shows it in every window, so it is the first day of any of them.
    assert!(undated.dt.starts_with("2025-1"), "{}", undated.dt);
    assert_eq!(undated.record["time"], "next Tuesday");
    run();
    assert_eq!(lake.row("calls", "b").dt, undated.dt, "it keeps its date");
}

/// P1: a reply without the records' list is no empty list.
#[test]
fn p12_a_reply_without_records_is_an_error_and_not_an_empty_workspace() {
    let api = Canned::start(|target| {
        let body = if target.starts_with("/calls") {
            json!({ "data": [] })
        } else {
            json!({ "topics": [] })
        };
        (200, body)
    });
    let lake = Lake::new();
    let report = Run::new(api.base_url(), lake.location(), now()).only(&["calls"]).run();
    assert!(!report.complete);
    assert!(report.problems[0].message.contains("$.calls"), "{:?}", report.problems);
    assert!(lake.manifest("calls").unwrap().coverage.is_empty());
}
