//! Records: anywhere in a reply, with any metadata, requested by macros.

use serde_json::{Value, json};

use super::{Trial, between, file, hourly};

#[test]
fn any_json_path_leads_to_records_and_their_values_are_the_reply_s_own() {
    let trial = Trial::new(Vec::new(), |_, _| {
        // A number that no double holds is still there, whichever way the path was followed.
        let text = r#"{"groups": [
            {"kind": "a", "rows": [{"id": "1", "big": 12345678901234567890123}, {"id": "2"}]},
            {"kind": "b", "rows": [{"id": "3"}]},
            {"kind": "a", "rows": [{"id": "4", "big": 0.1}]}]}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        (200, value)
    });
    let by_run = "dated = { by = 'run' }\npath = '/x'";
    for (name, path, ids) in [
        ("plain", "$.groups[*].rows[*]", &["1", "2", "3", "4"][..]),
        ("filtered", "$.groups[?@.kind == 'a'].rows[*]", &["1", "2", "4"]),
        ("deep", "$..rows[0]", &["1", "3", "4"]),
        ("one", "$.groups[1].rows[0]", &["3"]),
        ("a_list", "$['groups'][0].rows", &["1", "2"]),
        ("none", "$.groups[?@.kind == 'z'].rows[*]", &[]),
    ] {
        trial.export(name, &file(&format!("{by_run}\nrecords = \"{path}\"")));
        assert_eq!(trial.ids(name), ids, "{path}");
    }
    let report =
        trial.run("gone", &file(&format!("{by_run}\nrecords = \"$.calls[?@.x == 1]\""))).run();
    assert!(report.problems[0].message.contains("no records at"), "{:?}", report.problems);
}

#[test]
fn bare_values_and_a_single_object_are_records() {
    let trial = Trial::new(Vec::new(), |_, target| match target.path.as_str() {
        "/names" => (200, json!({"names": ["b", "a", 7]})),
        _ => (200, json!({"id": "the one", "at": "2026-11-01T00:00:00Z", "inner": {"x": 1}})),
    });
    let names = "description = 'd'\npath = '/names'\nrecords = '$.names[*]'\nkey = ['name']\n\
        dated = { by = 'run' }\ncolumn = [{ name = 'name', type = 'string' }]";
    trial.export("names", names);
    let mut found: Vec<_> =
        trial.lake.rows("names").into_iter().map(|row| row.record["name"].to_string()).collect();
    found.sort();
    assert_eq!(found, ["\"7\"", "\"a\"", "\"b\""]);
    let one = file("path = '/one'\nrecords = '$'\ndated = { by = 'field', field = 'at' }");
    trial.export("one", &one);
    let rows = trial.lake.rows("one");
    assert_eq!(
        (rows.len(), rows[0].dt.as_str(), &rows[0].record["inner"]["x"]),
        (1, "2026-11-01", &json!(1))
    );
}

#[test]
fn metadata_is_a_column_and_does_not_count_as_a_change() {
    let stamp = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(1));
    let now = std::sync::Arc::clone(&stamp);
    let trial = Trial::new(hourly(4), move |records, _| {
        let number = now.load(std::sync::atomic::Ordering::Relaxed);
        (200, json!({"meta": {"source": "crm", "reply": number}, "total": 4, "items": records}))
    });
    let head = "path = '/x'\nrecords = '$.items[*]'\ndated = { by = 'field', field = 'at' }";
    trial.export("items", &file(&format!("{head}\nmetadata = '$.meta'")));
    let schema = trial.lake.schema("items");
    let field = schema.field_with_name("metadata").unwrap();
    assert!(matches!(field.data_type(), arrow::datatypes::DataType::Struct(_)), "{field}");
    let rows = trial.lake.rows("items");
    assert!(rows.iter().all(|row| row.record["metadata"] == json!({"source": "crm", "reply": 1})));
    let before = trial.lake.data();
    stamp.store(2, std::sync::atomic::Ordering::Relaxed);
    trial.export("items", &file(&format!("{head}\nmetadata = '$.meta'")));
    assert_eq!(trial.lake.data(), before, "P4: a new reply is no new record");
    trial.records()[0]["n"] = json!("changed");
    trial.export("items", &file(&format!("{head}\nmetadata = '$.meta'")));
    let row = trial.lake.row("items", "r0000");
    assert_eq!(
        (&row.record["n"], &row.record["metadata"]["reply"]),
        (&json!("changed"), &json!(2))
    );
    // Bare values go by their names; several paths' values stand side by side.
    let bare = format!("{head}\nmetadata = \"$['total', 'meta']\"\nmetadata_column = 'reply'");
    trial.export("others", &file(&bare));
    let row = trial.lake.row("others", "r0001");
    assert_eq!(row.record["reply"]["total"], 4);
    assert_eq!(row.record["reply"]["meta"]["source"], "crm");
    let taken = format!("{head}\nmetadata = '$.meta'\nmetadata_column = 'n'");
    let report = trial.run("taken", &file(&taken)).run();
    assert!(
        report.problems[0].message.contains("already have a field `n`"),
        "{:?}",
        report.problems
    );
}

#[test]
fn macros_count_from_the_run_s_frozen_now() {
    let trial = Trial::new(hourly(2), |records, _| (200, json!({"items": records})));
    let text = file(
        "path = '/x/{now-1}/items'\nrecords = '$.items[*]'\ndated = { by = 'run' }\n\
         date_format = 'yyyy-MM'\ntime_unit = 'month'\n\
         query = { from = '{now-12}', to = '{now}', kind = ['a', 'b'] }",
    );
    trial.export("items", &text);
    let expected = "/x/2026-10/items?from=2025-11&kind=a&kind=b&to=2026-11";
    // The reply says nothing of its end, so it is asked for once more from its last record on.
    let confirmed = format!("{expected}&skip=1&limit=2");
    assert_eq!(trial.server.targets(), [expected, expected, &confirmed]);
}

#[test]
fn windows_are_requested_by_macros_and_in_calendar_steps() {
    let trial = Trial::new(hourly(40 * 24), |records, target| {
        let day = |text: &str| crate::support::at(&format!("{text}T00:00:00Z")).timestamp();
        let (from, to) = target.path.trim_start_matches("/items/").split_once('_').unwrap();
        (200, json!({"items": between(records, day(from), day(to) + 86_399)}))
    });
    let text = file(
        "path = '/items/{window.from}_{window.to}'\nrecords = '$.items[*]'\n\
         dated = { by = 'field', field = 'at' }\nwindow = { format = 'day', step = 'month' }",
    );
    let from = trial.now - chrono::TimeDelta::days(39);
    trial.run("items", &text).from(from).complete();
    let mut targets = trial.server.targets();
    targets.sort();
    targets.dedup();
    // One of them is asked for once more, to see that nothing follows.
    targets.retain(|target| !target.contains("skip="));
    let expected = [
        "/items/2026-10-15_2026-10-31",
        "/items/2026-11-01_2026-11-23",
        "/items/2026-11-16_2026-11-23",
    ];
    assert_eq!(targets, expected, "the last one asks whether the credentials are right");
    // The format knows whole days, so the first one is read from its begin.
    assert_eq!(trial.ids("items").len(), 39 * 24 - 1 + 12);
}

#[test]
fn records_dated_by_windows_of_hours_keep_their_day() {
    let trial = Trial::new(hourly(48), |records, target| {
        let edge = |name| crate::support::at(target.get(name).unwrap()).timestamp();
        let items = between(records, edge("from"), edge("to") - 1);
        let dateless = |it: Value| json!({"id": it["id"], "n": it["n"]});
        (200, json!({"items": items.into_iter().map(dateless).collect::<Vec<_>>()}))
    });
    let text = "description = 'd'\nkey = ['id']\npath = '/x'\nrecords = '$.items[*]'\n\
        dated = { by = 'window' }\ncolumn = [{ name = 'id', type = 'string' }]\n\
        window = { from = 'from', to = 'to', step = 'hour' }";
    let from = trial.now - chrono::TimeDelta::days(3);
    trial.run("items", text).from(from).complete();
    assert_eq!(trial.ids("items"), trial.expected());
    let row = trial.lake.row("items", "r0012");
    assert_eq!((row.dt.as_str(), row.day.as_deref()), ("2026-11-22", Some("2026-11-22")));
    let before = trial.lake.data();
    trial.export("items", text);
    assert_eq!(trial.lake.data(), before);
}
