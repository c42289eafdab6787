//! What a lake must not hold: fields that rules drop, what people said, and what is forgotten.
//! Every byte below the lake is read, and every value of every Parquet file.

use clari_lake::internals::secret::Salt;
use serde_json::{Value, json};

use crate::support::{Canned, Lake, Run, SALT, Site, now, small};

const RULES: &str = r#"
[columns]
title = "mask"
users.userEmail = "hash"
users.personId = "hash"
"externalParticipants.phone" = "drop"
externalParticipants.email = "hash"
joinedParticipants = "mask"
"joinedParticipants.personId" = "keep"
metrics.talk_listen_ratio = "drop"
contact_names = "hash"
deal_value = "mask"
diary = "drop?"
notes.author = "mask?"
"#;

fn call(id: &Value) -> Value {
    json!({
        "id": id, "time": "2025-11-18T10:00:00Z", "status": "SCHEDULED", "title": "SECRET-title",
        "users": [{"userId": "u1", "userEmail": "SECRET-rep@example.com", "personId": 0}],
        "externalParticipants": [
            {"name": "Ann", "email": " SECRET-Ann@Example.com", "phone": "SECRET-1", "personId": 1},
            {"name": "Bob", "email": null, "phone": "SECRET-2", "personId": "2"},
            "SECRET-bare@example.com",
        ],
        "joinedParticipants": [{"name": "SECRET-Ann", "personId": 1, "odd": {"deep": ["SECRET"]}}],
        "metrics": {"talk_listen_ratio": "SECRET-0.5", "num_questions_asked": 3},
        "contact_names": ["SECRET-Ann", null],
        "deal_value": 77_777_777,
        "diary": {"entry": "SECRET-diary"},
        "notes": [{"author": "SECRET-author", "text": "plain"}],
    })
}

/// Rules hold for columns, lists, undeclared fields, values of another type, and for
/// records that no row can hold.
#[test]
fn dropped_columns_never_reach_the_lake() {
    let calls = vec![call(&json!("a")), call(&json!("b")), call(&json!({"no": "key"}))];
    let api = Canned::start(move |target| {
        let is_calls = target.starts_with("/calls");
        (200, if is_calls { json!({ "calls": calls }) } else { json!({ "topics": [] }) })
    });
    let lake = Lake::new();
    let run = || {
        let run = Run::new(api.base_url(), lake.location(), now()).only(&["calls"]);
        run.with_files(&[("calls", RULES)])
    };
    let report = run().complete();
    assert_eq!((report.endpoints[0].rows, report.endpoints[0].quarantined > 0), (2, true));
    assert_eq!(lake.files("_quarantine/calls").len(), 1);
    for secret in ["SECRET", "77777777", "77_777_777"] {
        assert_eq!(lake.files_with("", secret), Vec::<std::path::PathBuf>::new(), "{secret}");
    }
    let salt = Salt::new(SALT).unwrap();
    let record = lake.row("calls", "a").record;
    assert_eq!(record["title"], "***");
    assert_eq!(record["users"][0]["userEmail"], salt.hash("secret-rep@example.com"));
    assert_eq!(record["users"][0]["personId"], salt.hash("0"));
    let (ann, bob) = (&record["externalParticipants"][0], &record["externalParticipants"][1]);
    assert_eq!(ann["email"], salt.hash("secret-ann@example.com"), "however it is spelt");
    assert_eq!((&ann["name"], &bob["personId"]), (&json!("Ann"), &json!("2")));
    assert_eq!(record["joinedParticipants"][0]["odd"]["deep"][0], "***");
    assert_eq!(record["joinedParticipants"][0]["personId"], 1);
    assert_eq!(record["metrics"], json!({"num_questions_asked": 3}));
    assert_eq!(record["notes"][0], json!({"author": "***", "text": "plain"}));
    // A column that is dropped is no column of a new table.
    let schema = lake.manifest("calls").unwrap().schema;
    let column = |name: &str| schema.columns.iter().find(|it| it.name == name).unwrap();
    assert!(!column("externalParticipants").column_type.to_string().contains("phone"));
    assert!(column("users").column_type.to_string().contains("personId: string"));
    // P4: the same again is no change.
    let before = lake.data();
    run().complete();
    assert_eq!(lake.data(), before);
}

/// A rule that is new holds from then on, loses nothing, and for all after `--full`.
#[test]
fn a_new_rule_rewrites_what_is_listed_again() {
    let site = Site::exported();
    let email =
        site.workspace.rows(clari_lake::internals::simulator::Table::Users)[0]["email"].clone();
    let email = email.as_str().unwrap();
    let calls = "[columns]\nusers.userEmail = \"hash\"\njoinedParticipants.email = \"hash\"\n";
    assert!(!site.lake.files_with("calls", email).is_empty());
    let details = calls.replace("hash", "drop");
    let rules = [("calls", calls), ("call_details", details.as_str())];
    let run = || site.calls_and_details().with_files(&rules).full();
    let report = run().complete();
    assert_eq!(report.endpoints[0].inserted, 0, "no row is new");
    assert_eq!(site.lake.files_with("calls", email), Vec::<std::path::PathBuf>::new());
    // The calls changed, so their details were read again.
    assert_eq!(site.lake.files_with("call_details", email), Vec::<std::path::PathBuf>::new());
    site.lake.schema("call_details");
    let before = site.lake.data();
    run().complete();
    assert_eq!(site.lake.data(), before, "P4");
}

/// `--no-transcripts`: nothing of what was said is stored, nothing is asked for twice because of
/// that, and a lake whose manifests are lost requests nothing again either.
#[test]
fn without_transcripts_no_words_are_stored_and_nothing_is_requested_twice() {
    let site = Site::new(&small());
    let run = || site.calls_and_details().without_transcripts();
    run().complete();
    let rows = site.lake.rows("call_details");
    let others: String = rows.iter().map(|row| row.record.to_string()).collect();
    let mut phrases = 0;
    for call in rows {
        let id = call.record["id"].as_str().unwrap().to_owned();
        assert_eq!(call.record.get("transcript"), None);
        let details = site.workspace.details(&id).unwrap();
        let turns = details["transcript"].as_array().unwrap().iter();
        let texts = turns.filter_map(|turn| turn["text"].as_str());
        // A summary may say it too.
        for text in texts.filter(|text| !others.contains(*text)).take(1) {
            phrases += 1;
            assert!(site.lake.files_with("call_details", text).is_empty(), "{text}");
        }
    }
    assert!(phrases > 50, "{phrases}");
    for table in ["calls", "call_details"] {
        let schema = site.lake.schema(table);
        assert!(!format!("{schema:?}").contains("phrases_matched"), "{table}");
    }
    site.server.clear();
    run().complete();
    assert_eq!(site.server.count("/call-details"), 0);
    std::fs::remove_dir_all(site.lake.path().join("_manifest/call_details")).unwrap();
    run().complete();
    assert_eq!(site.server.count("/call-details"), 0);
}
