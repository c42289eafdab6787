//! What a run tells of itself: its report, its metrics and its log agree with the API's own ledger,
//! with their documentation, and with each other.

use std::collections::BTreeMap;

use clari_lake::internals::report::{Answers, Metrics, Report};
use clari_lake::internals::simulator::{Faults, Options, Settings};
use serde_json::{Value, json};

use crate::support::{JsonSchema, Site, small};

/// The schema of the report, closed, so that a key which it does not describe is a mistake.
fn closed_schema() -> Value {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(fields) => {
                fields.values_mut().for_each(close);
                if fields.contains_key("properties") {
                    fields.insert("additionalProperties".to_owned(), json!(false));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }
    let mut schema =
        serde_json::from_str(include_str!("../../schemas/report.schema.json")).unwrap();
    close(&mut schema);
    schema
}

fn assert_described(report: &Report) {
    let report = serde_json::to_value(report).unwrap();
    assert_eq!(JsonSchema::new(closed_schema()).mistakes(&report), [""; 0]);
}

#[test]
fn the_schema_of_the_report_describes_every_key_of_it() {
    let settings = Settings { quota: Some(60), ..Settings::default() };
    let short = Site::with(&small(), settings);
    let incomplete = short.export().run();
    assert!(!incomplete.complete && incomplete.week.is_some());
    assert_described(&incomplete);

    let site = Site::new(&Options { oddities: 0.4, ..small() });
    let complete = site.export().complete();
    assert!(complete.endpoints.iter().any(|it| !it.misfits.is_empty() && it.watermark.is_some()));
    assert!(complete.endpoints.iter().any(|it| it.queue.is_some()));
    assert_described(&complete);
    let kept = std::fs::read(site.lake.path().join("_manifest/runs/latest.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept, serde_json::to_value(&complete).unwrap());

    let schema = JsonSchema::new(closed_schema());
    for (key, value) in
        [("requests", json!("9")), ("unheard_of", json!(1)), ("command", json!("x"))]
    {
        let mut wrong = kept.clone();
        wrong[key] = value;
        assert!(!schema.is_valid(&wrong), "{key}");
    }
}

#[test]
fn requests_are_reported_by_outcome_as_the_api_counted_them() {
    let settings = Settings { faults: Faults::all(5, 0.15), ..Settings::default() };
    let site = Site::with(&small(), settings);
    let report = site.export().only(&["calls", "call_details"]).run();
    for endpoint in &report.endpoints {
        let sum: u64 = endpoint.answers.values().sum();
        assert_eq!(sum, endpoint.requests, "{endpoint:?}");
        assert!(endpoint.answers["200"] > 0);
    }
    let mut told = Answers::new();
    for (answer, count) in report.endpoints.iter().flat_map(|it| it.answers.clone()) {
        *told.entry(answer).or_default() += count;
    }
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    let own = site
        .server
        .requests()
        .into_iter()
        .filter(|it| ["/calls", "/call-details"].contains(&&*it.path));
    for request in own {
        *counted.entry(request.status.to_string()).or_default() += 1;
    }
    for status in ["429", "500", "502", "503"] {
        assert_eq!(told.get(status), counted.get(status), "{status}: {told:?} and {counted:?}");
    }
    assert!(told.len() > 2, "the faults are of many kinds: {told:?}");
}

#[test]
fn the_metrics_of_a_run_are_those_of_its_report() {
    let site = Site::new(&small());
    let report = site.calls_and_details().complete();
    let metrics = Metrics {
        command: "export",
        exit: 0,
        started_at: report.started_at,
        finished_at: report.finished_at,
        last_success: Some(report.finished_at),
        report: Some(&report),
    };
    let text = metrics.text();
    let calls = &report.endpoints[0];
    let week = report.week.as_ref().unwrap();
    for line in [
        format!("clari_lake_rows{{endpoint=\"calls\"}} {}", calls.rows),
        format!("clari_lake_bytes{{endpoint=\"calls\"}} {}", calls.bytes),
        format!("clari_lake_run_rows{{endpoint=\"calls\",change=\"inserted\"}} {}", calls.inserted),
        format!("clari_lake_quota_left_requests {}", week.quota - week.spent),
        "clari_lake_run_exit_code{command=\"export\"} 0".to_owned(),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
}
