//! P5: what the records themselves can hold: numbers that are none, dates that are counts, keys
//! that tell nothing apart, formats beside JSON.

use std::fs;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::evolve::evolve;
use clari_lake::internals::forget::{Subjects, forget};
use clari_lake::internals::lake::{Store, Wanted};
use clari_lake::internals::report::EndpointReport;
use clari_lake::internals::verify::verify;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::{Trial, file};
use crate::support::{Canned, Lake, Run, at};

const BY_RUN: &str = "path = '/x'\nrecords = '$[*]'\ndated = { by = 'run' }";

/// A server that answers everything with this text.
fn texts(content_type: &'static str, text: &str) -> (Trial, Arc<Mutex<String>>) {
    let text = Arc::new(Mutex::new(text.to_owned()));
    let said = Arc::clone(&text);
    let answer = move |_: &str| (200, content_type, said.lock().unwrap().clone());
    (Trial::over(Canned::start_with(answer)), text)
}

fn by_field(name: &str, key: &str, of_type: &str) -> String {
    format!(
        "description = 'd'\npath = '/x'\nrecords = '$[*]'\nkey = {key}\n\
         dated = {{ by = 'field', field = '{name}' }}\n\
         [[column]]\nname = 'id'\ntype = 'int64'\n[[column]]\nname = '{name}'\ntype = '{of_type}'"
    )
}

/// The texts of one column of a table, nulls left out.
fn column(lake: &Lake, table: &str, name: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for path in lake.objects(table) {
        for batch in batches(&path) {
            let column = batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            texts.extend(column.iter().flatten().map(str::to_owned));
        }
    }
    texts
}

fn batches(path: &std::path::Path) -> Vec<RecordBatch> {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

fn only(report: &clari_lake::internals::report::Report) -> &EndpointReport {
    &report.endpoints[0]
}

/// C8: a number that JSON does not allow is kept as text, whether its column is known or not.
#[test]
fn invalid_numbers_become_text() {
    let (trial, text) = texts("application/json", r#"[{"id": "a", "odd": 1}]"#);
    let file = file(BY_RUN);
    trial.export("odd", &file);
    *text.lock().unwrap() =
        r#"[{"id": 007, "odd": 008, "range": 5-3, "x": [1e, {"y": 1.}], "at": --1}]"#.to_owned();
    trial.export("odd", &file);
    let extra = column(&trial.lake, "odd", "extra_json");
    assert_eq!(extra, [r#"{"at":"--1","odd":"008","range":"5-3","x":["1e",{"y":"1."}]}"#]);
    assert_eq!(column(&trial.lake, "odd", "id"), ["007"]);
    trial.verify(&[("odd", &file)]);
}

/// C8: what an older version wrote is found.
#[test]
fn verify_parses_extra_json() {
    let (trial, _) = texts("application/json", r#"[{"id": "a", "at": 7}]"#);
    let file = file(BY_RUN);
    trial.export("odd", &file);
    let path = trial.lake.objects("odd").pop().unwrap();
    let batch = batches(&path).pop().unwrap();
    let mut columns = batch.columns().to_vec();
    let at = batch.schema().index_of("extra_json").unwrap();
    let broken: ArrayRef = Arc::new(StringArray::from(vec![r#"{"at":007}"#]));
    columns[at] = broken;
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    fs::write(&path, writer.into_inner().unwrap()).unwrap();
    let store = Arc::new(Store::open(&trial.lake.location()).unwrap());
    let catalogue = Catalogue::built_in().unwrap().with_file("odd", &file).unwrap();
    let findings = verify(&store, &catalogue).unwrap().findings;
    let is_it =
        |it: &clari_lake::internals::lake::Finding| it.message.contains("extra_json of 1 rows");
    assert!(findings.iter().any(is_it), "{findings:#?}");
}

/// C9: in a text column another spelling is another text.
#[test]
fn a_text_that_is_an_instant_is_a_text() {
    let (trial, text) = texts(
        "application/json",
        r#"[{"id": "a", "title": "2026-11-28T10:00:00Z", "at": "2026-11-20T10:00:00Z"}]"#,
    );
    let file = file("path = '/x'\nrecords = '$[*]'\ndated = { by = 'field', field = 'at' }");
    trial.export("texts", &file);
    for (title, at, updated) in [
        ("2026-11-28T10:00:00Z", "2026-11-20T11:00:00+01:00", 0),
        ("2026-11-28T11:00:00+01:00", "2026-11-20T10:00:00Z", 1),
        ("2026-11-28T11:00:00+01:00", "2026-11-20T10:00:00Z", 0),
    ] {
        *text.lock().unwrap() = json!([{"id": "a", "title": title, "at": at}]).to_string();
        let report = trial.export("texts", &file);
        assert_eq!(only(&report).updated, updated, "{title} {at}");
        trial.verify(&[("texts", &file)]);
    }
}

/// C9: a text that is promoted to a timestamp keeps its spelling, so that neither the promotion nor
/// the next run takes it for changed.
#[test]
fn a_promoted_timestamp_keeps_its_spelling() {
    let record = |id: &str, seen: &str| json!({"id": id, "seen": seen});
    let (trial, text) = texts("application/json", r#"[{"id": "0"}]"#);
    let file = file(BY_RUN);
    trial.export("seen", &file);
    let mut records = vec![
        record("a", "2026-11-28T11:00:00+01:00"),
        record("b", "2026-11-28T10:00:00Z"),
        record("c", "2026-11-28T10:00:00.000Z"),
    ];
    *text.lock().unwrap() = Value::from(records.clone()).to_string();
    trial.export("seen", &file);
    let store = Arc::new(Store::open(&trial.lake.location()).unwrap());
    let catalogue = Catalogue::built_in().unwrap().with_file("seen", &file).unwrap();
    let promote = vec![("seen".to_owned(), "timestamp".to_owned())];
    let wanted = Wanted { promote, ..Wanted::default() };
    let endpoints = [catalogue.find("seen").unwrap()];
    evolve(&store, &catalogue, &endpoints, &wanted, false, &Clock::system()).unwrap();
    trial.verify(&[("seen", &file)]);
    let extra = column(&trial.lake, "seen", "extra_json");
    assert_eq!(extra.len(), 2, "{extra:?}");
    let report = trial.export("seen", &file);
    assert_eq!((only(&report).inserted, only(&report).updated), (0, 0));
    records[0] = record("a", "2026-11-28T10:00:00Z");
    *text.lock().unwrap() = Value::from(records).to_string();
    assert_eq!(only(&trial.export("seen", &file)).updated, 1);
    trial.verify(&[("seen", &file)]);
}

/// B5: dates may be counts from 1970; what is no such count is reported.
#[test]
fn counts_from_1970_date_records() {
    let days = ["2026-11-20T10:00:00Z", "2026-11-21T23:59:59Z"].map(|day| at(day).timestamp());
    let records =
        json!([{"id": 1, "start": days[0] * 1000 + 5}, {"id": 2, "start": days[1] * 1000}]);
    let (trial, text) = texts("application/json", &records.to_string());
    let file = by_field("start", "['id']", "epoch_millis");
    let report = trial.export("counted", &file);
    assert!(only(&report).undated.is_none());
    let dates: Vec<_> = trial.lake.rows("counted").into_iter().map(|row| row.dt).collect();
    assert_eq!(dates, ["2026-11-20", "2026-11-21"]);
    assert_eq!(column(&trial.lake, "counted", "extra_json"), Vec::<String>::new());
    trial.verify(&[("counted", &file)]);
    // C13: a record that was emptied stays where it is, and is counted.
    *text.lock().unwrap() = json!([{"id": 1, "start": null, "title": null}]).to_string();
    let report = trial.export("counted", &file);
    assert_eq!((only(&report).updated, &*only(&report).undated.example), (1, "`start` is null"));
    let dates: Vec<_> = trial.lake.rows("counted").into_iter().map(|row| row.dt).collect();
    assert_eq!(dates, ["2026-11-20", "2026-11-21"]);
    // The wrong unit leads to no year that anything has.
    *text.lock().unwrap() = records.to_string();
    let seconds = by_field("start", "['id']", "epoch_seconds");
    let report = trial.export("wrong", &seconds);
    assert_eq!(only(&report).undated.records, 2);
    assert_eq!(only(&report).undated.example, "`start` is a number of 13 digits");
    trial.verify(&[("counted", &file), ("wrong", &seconds)]);
    let micros = json!([{"id": 1, "start": days[0] * 1_000_000 + 1}, {"id": 2, "start": 0}]);
    *text.lock().unwrap() = micros.to_string();
    let by_micros = by_field("start", "['id']", "epoch_micros");
    assert!(only(&trial.export("micros", &by_micros)).undated.is_none());
    assert_eq!(column(&trial.lake, "micros", "extra_json"), Vec::<String>::new());
    assert!(trial.lake.rows("micros").iter().any(|row| row.dt == "2026-11-20"));
    trial.verify(&[("counted", &file), ("wrong", &seconds), ("micros", &by_micros)]);
}

/// B11: numbers that are keys have a column of numbers.
#[test]
fn numeric_keys_are_not_repeated() {
    let records =
        r#"[{"id": 9, "n": 1}, {"id": 10, "n": 2}, {"id": 1.5}, {"id": "x"}, {"id": "11"}]"#;
    let (trial, _) = texts("application/json", records);
    let file =
        file(BY_RUN).replace("name = 'id'\n    type = 'string'", "name = 'id'\n    type = 'int64'");
    let report = trial.export("numbered", &file);
    assert_eq!(only(&report).quarantined, 2);
    assert_eq!(trial.ids("numbered"), ["10", "11", "9"]);
    assert_eq!(column(&trial.lake, "numbered", "extra_json"), [r#"{"id":"11"}"#]);
    trial.verify(&[("numbered", &file)]);
    assert_eq!(only(&trial.export("numbered", &file)).inserted, 0);
}

/// P5, B11: the digits of a number are its text in a key of texts, so no row repeats them, and the
/// report names the column. What has a fraction or an exponent keeps its number beside its text,
/// and each spelling is a key of its own.
#[test]
fn numeric_keys_of_texts_are_their_digits() {
    let records = r#"[{"id": 9, "n": 1}, {"id": "10", "n": 2}, {"id": 1}, {"id": 1.0}, {"id": 1e0},
        {"id": -0}, {"id": 0}, {"id": 12345678901234567890123}, {"id": 007}]"#;
    let (trial, text) = texts("application/json", records);
    let file = file(BY_RUN);
    let report = trial.export("numbered", &file);
    let ids = ["-0", "0", "007", "1", "1.0", "10", "12345678901234567890123", "1e0", "9"];
    assert_eq!(column(&trial.lake, "numbered", "id"), ids);
    assert_eq!(only(&report).numbers_as_text.iter().collect::<Vec<_>>(), ["id"]);
    let extra = [r#"{"id":1.0}"#, r#"{"id":1e0}"#];
    assert_eq!(column(&trial.lake, "numbered", "extra_json"), extra);
    trial.verify(&[("numbered", &file)]);
    // P4: neither of them is a change, whichever way the id is written.
    for (id, of_text) in [("9", "10"), ("\"9\"", "\"10\""), ("\"9\"", "10")] {
        *text.lock().unwrap() = format!(r#"[{{"id": {id}, "n": 1}}, {{"id": {of_text}, "n": 2}}]"#);
        let report = trial.export("numbered", &file);
        assert_eq!((only(&report).inserted, only(&report).updated), (0, 0), "{id} {of_text}");
        trial.verify(&[("numbered", &file)]);
    }
    *text.lock().unwrap() =
        r#"[{"id": 1, "n": 1}, {"id": "1", "n": 1}, {"id": "1", "n": 2}]"#.to_owned();
    let report = trial.export("numbered", &file);
    assert_eq!((only(&report).inserted, only(&report).same_key.records), (1, 2));
    trial.verify(&[("numbered", &file)]);
}

/// B3: a key that does not tell records apart is named, in one reply and in several.
#[test]
fn records_of_one_key_are_reported() {
    let records: Vec<Value> =
        [("1", "a"), ("1", "b"), ("2", "a")].map(|(id, v)| json!({"id": id, "v": v})).to_vec();
    let trial = Trial::new(records, |records, target| {
        let (skip, limit) = (target.number("skip", 0), target.number("limit", 1000));
        (200, json!(super::slice(records, skip, limit)))
    });
    let one = file(BY_RUN);
    let report = trial.export("one", &one);
    assert_eq!((only(&report).rows, only(&report).quarantined), (2, 1));
    assert_eq!((only(&report).same_key.records, &*only(&report).same_key.example), (1, "id = 1"));
    assert_eq!(trial.lake.files("_quarantine/one").len(), 1, "P1: it is kept aside");
    let paging = "paging = { style = 'skip_limit', page_size = 1 }";
    let many = file(&format!("{BY_RUN}\n{paging}"));
    let report = trial.run("many", &many).run();
    assert_eq!((only(&report).same_key.records, &*only(&report).same_key.example), (1, "id = 1"));
    // Where it is all that there is, the key is wrong.
    *trial.records() = (0..300).map(|v| json!({"id": "1", "v": v})).collect();
    let report = trial.run("wrong", &one).run();
    let message = &report.problems[0].message;
    assert!(message.starts_with("299 records have the same key as"), "{message}");
    assert_eq!(trial.lake.files("_quarantine/wrong").len(), 100);
}

/// Records without an identifying field are distinguished by their whole content.
#[test]
fn content_is_a_key() {
    let records = vec![
        json!({"m": 1, "v": "a"}),
        json!({"m": 1, "v": "b", "email": "ann@example.com"}),
        json!({"v": "a", "m": 1.0}),
    ];
    let trial = Trial::new(records, |records, _| (200, json!(records)));
    let file = format!("description = 'd'\n{BY_RUN}\nkey = 'content'");
    let report = trial.export("log", &file);
    assert_eq!((only(&report).rows, only(&report).quarantined), (2, 0));
    assert_eq!(column(&trial.lake, "log", "content_key").len(), 2);
    let report = trial.export("log", &file);
    assert_eq!((only(&report).inserted, only(&report).updated), (0, 0), "P4");
    trial.verify(&[("log", &file)]);
    // P15: what is forgotten changes the content, and so the key.
    let store = Arc::new(Store::open(&trial.lake.location()).unwrap());
    let catalogue = Catalogue::built_in().unwrap().with_file("log", &file).unwrap();
    let ann = Subjects { people: vec!["ann@example.com".to_owned()], ..Subjects::default() };
    forget(&store, &catalogue, &ann, None, &Clock::system()).unwrap();
    assert_eq!(trial.lake.files_with("log", "ann@example.com").len(), 0);
    assert_eq!(trial.lake.rows("log").len(), 2);
    trial.verify(&[("log", &file)]);
    let report = trial.export("log", &file);
    assert_eq!((only(&report).rows, only(&report).inserted), (2, 0), "it stays out");
    trial.verify(&[("log", &file)]);
}

/// B14: lines of JSON are records; other formats are refused by their names, at once.
#[test]
fn lines_are_read_and_other_formats_are_refused_by_name() {
    let file = file(BY_RUN);
    for (content_type, lines, ids) in [
        ("application/x-ndjson", "{\"id\":\"a\"}\n{\"id\":\"b\"}\n", &["a", "b"][..]),
        ("text/plain", "{\"id\":\"a\"}\r\n\r\n{\"id\":\"b\"}", &["a", "b"]),
        ("application/jsonl; charset=utf-8", "{\"id\":\"a\"}", &["a"]),
        ("application/x-ndjson", "\n", &[]),
    ] {
        let (trial, _) = texts(content_type, lines);
        trial.export("lines", &file);
        assert_eq!(trial.ids("lines"), ids, "{content_type}");
    }
    // One request more asks whether the credentials are good.
    for (body, name, requests) in [
        ("id,name\na,Ann\n", "CSV", 2),
        ("<?xml version='1.0'?><calls/>", "XML", 2),
        ("<!doctype html><p>Sign in</p>", "an HTML page", 5),
    ] {
        let (trial, _) = texts("text/plain", body);
        let report = trial.run("other", &file).run();
        let message = &report.problems[0].message;
        assert!(message.contains(&format!("{name} came instead of JSON")), "{message}");
        assert!(trial.server.requests() <= requests, "{name}: {}", trial.server.requests());
    }
}

/// B16: counts say what is in the lake at the end, not what was there before its columns came.
#[test]
fn counts_are_those_of_the_end() {
    let mut records: Vec<Value> =
        (0..40).map(|n| json!({"id": format!("r{n}"), "tags": []})).collect();
    records.push(json!({"id": "last", "tags": ["x"], "mixed": [1, "x"]}));
    let trial = Trial::new(records, |records, target| {
        let (skip, limit) = (target.number("skip", 0), target.number("limit", 100));
        (200, json!(super::slice(records, skip, limit)))
    });
    let file = file(&format!("{BY_RUN}\npaging = {{ style = 'skip_limit', page_size = 20 }}"));
    let report = trial.export("late", &file);
    let misfits: Vec<_> = only(&report).misfits.clone().into_iter().collect();
    assert_eq!(misfits, [("mixed".to_owned(), 1)]);
    assert_eq!(column(&trial.lake, "late", "extra_json").len(), 1);
}

/// C10: a table whose names are data stays narrow, and the report says which they are.
#[test]
fn names_that_are_data_are_named() {
    let person = |_| (0..100).map(|at| (format!("p{at}"), json!({"talk": at}))).collect::<Value>();
    let people: Value = (0..100).map(|at| (format!("p{at}"), person(at))).collect();
    let trial =
        Trial::new(vec![json!({"id": "a", "matrix": people})], |records, _| (200, json!(records)));
    let file = file(BY_RUN);
    let report = trial.export("wide", &file);
    assert_eq!(only(&report).too_wide, ["matrix"]);
    assert_eq!(trial.lake.schema("wide").fields().len(), 5);
    assert_eq!(only(&trial.export("wide", &file)).too_wide, ["matrix"]);
    // The record itself has no name.
    let names = (0..450).map(|at| (format!("f{at}"), json!(at)));
    *trial.records() = vec![names.chain([("id".to_owned(), json!("b"))]).collect()];
    let report = trial.export("wide", &file);
    assert!(only(&report).too_wide.contains(&"*".to_owned()), "{:?}", only(&report).too_wide);
}

/// C12: what is beside the call is of the call, and null in its place is no call.
#[test]
fn details_of_odd_shapes_are_details() {
    let call = |id: &str| {
        json!({"id": id, "status": "POST_PROCESSING_DONE", "time": "2026-11-20T10:00:00Z",
            "last_modified_time": "2026-11-20T12:00:00Z"})
    };
    let server = Canned::start(move |target| match target.split(['?', '&']).next() {
        Some("/calls") => (200, json!({"calls": [call("a"), call("b")]})),
        _ if target.contains("id=b") => (200, json!({"call": null})),
        _ => {
            let turn = json!({"text": "hello", "start": 0, "end": 1.5, "personId": 0});
            (200, json!({"call": call("a"), "transcript": [turn, turn]}))
        }
    });
    let lake = Lake::new();
    let run = Run::new(server.base_url(), lake.location(), at("2026-11-23T12:00:00Z"));
    let report = run.only(&["calls", "call_details"]).run();
    let details = &report.endpoints[1];
    assert_eq!((details.rows, details.quarantined), (1, 0), "{:#?}", report.problems);
    assert_eq!(details.queue.unwrap().settled, 1);
    let row = lake.row("call_details", "a");
    assert_eq!(row.record["transcript"].as_array().unwrap().len(), 2);
}
