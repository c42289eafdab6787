//! What is forgotten is in no byte of the lake, comes back by no way, and costs its neighbours
//! nothing: no gap, no alarm, no request.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::commit_plan::{Listing, ParentAnswer, Scope};
use clari_lake::internals::decode::Origin;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::forget::{ForgetReport, Subjects, forget, preview};
use clari_lake::internals::lake::{self, Breakdown, Change, Snapshot, Store};
use clari_lake::internals::manifest::{Attempt, Granularity, ParentVersion};
use clari_lake::internals::secret::Salt;
use clari_lake::internals::simulator::Options;
use clari_lake::internals::verify::{rebuild, verify};
use clari_lake::internals::window::day_of;
use serde_json::{Value, json};

use crate::support::{Bucket, Canned, Lake, Run, SALT, Site, now, small};

fn store(lake: &Lake) -> Arc<Store> {
    Arc::new(Store::open(&lake.location()).unwrap())
}

fn built_in() -> Catalogue {
    Catalogue::built_in().unwrap()
}

fn a_call(id: &str) -> Subjects {
    Subjects { calls: vec![id.to_owned()], ..Subjects::default() }
}

fn a_person(address: &str) -> Subjects {
    Subjects { people: vec![address.to_owned()], ..Subjects::default() }
}

fn forgetting(lake: &Lake, subjects: &Subjects) -> ForgetReport {
    forget(&store(lake), &built_in(), subjects, None, &Clock::system()).unwrap()
}

fn removed(oblivion: &ForgetReport, table: &str) -> (u64, u64) {
    let table = oblivion.tables.iter().find(|it| it.endpoint == table).unwrap();
    (table.removed, table.blanked)
}

#[track_caller]
fn assert_nowhere(lake: &Lake, text: &str) {
    assert_eq!(lake.files_with("", text), Vec::<PathBuf>::new(), "{text}");
}

#[track_caller]
fn assert_sound(lake: &Lake) {
    assert_eq!(verify(&store(lake), &built_in()).unwrap().findings, []);
}

/// The ids of all rows of a table.
fn ids(lake: &Lake, table: &str) -> BTreeSet<String> {
    lake.rows(table).iter().map(|row| row.record["id"].to_string()).collect()
}

/// P15: reports name records, as examples and in problems, until they are forgotten.
#[test]
fn what_reports_name_is_forgotten_too() {
    let twice = |id: &str| [json!({"id": id, "v": 1}), json!({"id": id, "v": 2})];
    let server = Canned::start(move |target| {
        (200, json!(twice(if target.contains("/one") { "c-1" } else { "c-12" })))
    });
    let lake = Lake::new();
    for name in ["one", "other"] {
        let file = format!(
            "description = 'd'\npath = '/{name}'\nrecords = '$[*]'\nkey = ['id']\n\
             dated = {{ by = 'run' }}\nabout = {{ call = 'id' }}\n\
             column = [{{ name = 'id', type = 'string' }}]"
        );
        let run = Run::new(server.base_url(), lake.location(), now());
        let report = run.with_files(&[(name, &file)]).only(&[name]).run();
        assert!(report.endpoints[0].same_key.example.starts_with("id = c-1"));
    }
    let reports = |id: &str| lake.files_with("_manifest/runs", &format!("= {id}\"")).len();
    let other = reports("c-12");
    assert!(reports("c-1") > 0 && other > 0);
    forgetting(&lake, &a_call("c-1"));
    assert_eq!((reports("c-1"), reports("c-12")), (0, other), "the other one stays");
}

/// P15: a run that is under way while something is forgotten names it nowhere.
#[test]
fn a_run_under_way_names_nothing_that_is_forgotten_meanwhile() {
    let lake = Arc::new(Lake::new());
    let of = Arc::clone(&lake);
    let file = "description = 'd'\npath = '/x'\nrecords = '$[*]'\nkey = ['id']\n\
                dated = { by = 'run' }\nabout = { call = 'id' }\n\
                paging = { style = 'skip_limit', page_size = 4 }\n\
                column = [{ name = 'id', type = 'string' }]";
    let catalogue = built_in().with_file("one", file).unwrap();
    let server = Canned::start(move |target| {
        if target.starts_with("/users") {
            return (200, json!({"users": []}));
        }
        let record = |id: &str, v: usize| json!({"id": id, "v": v, "at": {"n": 1, "ann.lee@example.com": {"n": 1}}});
        let ids = ["c-1", "c-1", "c-12", "c-12", "c-3"];
        let all: Vec<_> = ids.iter().zip(0..).map(|(id, v)| record(id, v)).collect();
        let skip = target.split_once("skip=").map_or("0", |(_, it)| it.split('&').next().unwrap());
        let skip: usize = skip.parse().unwrap();
        if skip > 0 {
            for subjects in [a_call("c-1"), a_person("ann.lee@example.com")] {
                forget(&store(&of), &catalogue, &subjects, None, &Clock::system()).unwrap();
            }
        }
        (200, json!(all.into_iter().skip(skip).take(4).collect::<Vec<_>>()))
    });
    let run = || Run::new(server.base_url(), lake.location(), now()).with_files(&[("one", file)]);
    run().only(&["users"]).complete();
    let report = run().only(&["one"]).complete();
    assert_eq!(report.endpoints[0].same_key.records, 2);
    assert_eq!(lake.rows("one").len(), 2);
    let report = format!("{report:?}");
    assert!(report.contains("at.***") && !report.contains("c-1\"") && !report.contains("ann.lee"));
    assert_nowhere(&lake, "c-1\"");
    assert_nowhere(&lake, "ann.lee");
}

#[test]
fn a_forgotten_call_is_in_no_byte_and_never_comes_back() {
    let site = Site::new(&small());
    site.export().complete();
    let id = site.a_call(20, 3);
    assert!(site.lake.files_with("", &id).len() >= 4, "objects and index");
    let aside = site.lake.link_aside();
    let before = ids(&site.lake, "calls");
    let oblivion = forgetting(&site.lake, &a_call(&id));
    assert!(oblivion.is_new);
    assert_eq!((removed(&oblivion, "calls"), removed(&oblivion, "call_details")), ((1, 0), (1, 0)));
    assert_nowhere(&site.lake, &id);
    assert_sound(&site.lake);
    let left = ids(&site.lake, "calls");
    assert_eq!(before.difference(&left).count(), 1, "nobody else went");
    // Runs of every kind: nothing comes, nothing is missed, and nothing is asked for.
    let asked = format!("/call-details?id={id}");
    let from = site.now - TimeDelta::days(40);
    for run in [
        site.export(),
        site.export().full(),
        site.export().at(site.now + TimeDelta::days(1)),
        site.export().backfilling(from, site.now).refetching(),
        site.export().evolving(),
    ] {
        site.server.clear();
        run.complete();
        assert_nowhere(&site.lake, &id);
        assert_sound(&site.lake);
        assert_eq!(ids(&site.lake, "calls"), left);
        let requests = format!("{:?}", site.server.requests());
        assert!(!requests.contains(&id) && !requests.contains(&asked), "it is not asked for");
    }
    // Manifests that are lost.
    for table in ["calls", "call_details", "scorecards"] {
        std::fs::remove_dir_all(site.lake.path().join("_manifest").join(table)).unwrap();
    }
    rebuild(&store(&site.lake), &built_in(), Granularity::Day, site.now).unwrap();
    assert_nowhere(&site.lake, &id);
    site.export().complete();
    assert_sound(&site.lake);
    // An object of a run that was killed long ago, or a restored backup.
    site.lake.put_back(&aside, std::path::Path::new("calls"));
    assert!(!site.lake.files_with("calls", &id).is_empty());
    site.export().complete();
    assert_nowhere(&site.lake, &id);
    assert_sound(&site.lake);
    let again = forgetting(&site.lake, &a_call(&id));
    assert_eq!((again.is_new, again.tables.len()), (false, 0), "nothing is left to do");
}

/// P15: a dry run says what would go and writes nothing; what matches nothing is said, and what is
/// forgotten is not even requested by its id.
#[test]
fn a_dry_run_shows_what_would_be_removed() {
    let site = Site::exported();
    let id = site.a_call(20, 3);
    let before = site.lake.data();
    let look = |subjects: &Subjects| {
        let (store, clock) = (store(&site.lake), Clock::system());
        preview(&store, &built_in(), subjects, None, &clock).unwrap()
    };
    let previewed = look(&a_call(&id));
    assert_eq!((removed(&previewed, "calls"), previewed.unmatched.len()), ((1, 0), 0));
    assert_eq!(site.lake.data(), before);
    assert_eq!(look(&a_person("nobody@example.com")).unmatched, ["nobody@example.com"]);
    let both = Subjects { calls: vec![id.clone(), "none".to_owned()], people: Vec::new() };
    assert_eq!(look(&both).unmatched, ["none"]);
    let done = forgetting(&site.lake, &both);
    assert_eq!(done.unmatched, ["none"]);
    assert_eq!(removed(&done, "calls"), removed(&previewed, "calls"));
    assert_eq!(forgetting(&site.lake, &a_person("nobody@example.com")).unmatched.len(), 1);
    site.server.clear();
    let refused = site.export().only(&["call_details"]).by_id(&[&id]).attempt().unwrap_err();
    assert!(refused.to_string().contains("forgotten") && !refused.to_string().contains(&id));
    assert!(site.server.requests().is_empty());
}

/// A person who is named in lists, by name alone, in texts, in undeclared fields, in
/// quarantine, in another call, and of whom the CRM has a record.
fn people() -> Canned {
    Canned::start(|target| {
        let call = |id: Value, more: Value| {
            let mut call = json!({
                "id": id, "time": "2025-11-18T10:00:00Z", "status": "POST_PROCESSING_DONE",
                "title": "With ann.lee@example.com about it", "type": "ZOOM",
                "users": [{"userId": "u-ann", "userEmail": "Ann.Lee@example.com", "personId": 0, "via": "ZOOM"},
                          {"userId": "u-bob", "userEmail": "bob@example.com", "personId": 1}],
                "externalParticipants": [
                    {"name": "Cleo", "email": "cleo@elsewhere.com", "phone": "1", "personId": 2,
                     "state": "ZOOM"}],
                "joinedParticipants": [{"name": "Ann Lee-Mobile", "personId": "0"},
                                       {"name": "Cleo", "personId": 2}],
                "contact_names": ["Ann Lee-Mobile", "Cleo"],
                "crm_info": {"contact_ids": ["k-ann", "k-cleo"]},
                "notes": [{"author": "ANN.LEE@EXAMPLE.COM", "phone": "555-ann", "stars": 5}],
            });
            call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            call
        };
        let body = match target.split('?').next().unwrap() {
            "/calls" => json!({"calls": [
                call(json!("c1"), json!({})),
                call(json!("c2"), json!({"users": [], "joinedParticipants": [], "contact_names": []})),
                call(json!(["no key"]), json!({}))]}),
            "/call-details" => {
                let turns = json!([{"text": "Write to ann.lee@example.com", "personId": 0},
                                   {"text": "ann.lee@example.com", "personId": 2},
                                   {"text": "I will", "personId": 2}]);
                let items = json!({"key_action_items": [
                    {"action_item": "Write", "speaker_name": "Ann Lee-Mobile"}]});
                let id = target.rsplit('=').next().unwrap();
                json!({"call": call(json!(id), json!({"transcript": turns, "summary": items}))})
            }
            "/users" => json!({"users": [
                {"id": "u-ann", "email": "ann.lee@example.com", "name": "Ann Lee"},
                {"id": "u-bob", "email": "bob@example.com", "name": "Bob", "manager_id": "u-ann"}]}),
            "/stats" => json!({"stats": [
                {"user_id": "u-ann", "user_name": "Ann Lee", "calls": 3},
                {"user_id": "u-bob", "user_name": "Bob", "calls": 4}]}),
            "/get-contact" => {
                let id = target.rsplit('=').next().unwrap();
                let emails = json!([format!("{}@example.com", id.replace("k-ann", "ann.lee"))]);
                json!({"crm_id": id, "first_name": "Ann", "emails": emails})
            }
            _ => json!({"topics": []}),
        };
        (200, body)
    })
}

const TABLES: [&str; 5] = ["calls", "call_details", "users", "user_stats", "crm_contacts"];

#[test]
fn a_forgotten_person_is_blanked_everywhere_and_stays_out() {
    let api = people();
    let lake = Lake::new();
    let run = || Run::new(api.base_url(), lake.location(), now()).only(&TABLES);
    run().complete();
    let traces = ["ann.lee@example.com", "Ann Lee", "555-ann", "u-ann\n"];
    for trace in &traces[..3] {
        assert!(!lake.files_with("", trace).is_empty(), "{trace}");
    }
    api.targets();
    let oblivion = forgetting(&lake, &a_person(" Ann.Lee@Example.com "));
    assert_eq!(removed(&oblivion, "users"), (1, 0));
    assert_eq!(removed(&oblivion, "calls"), (0, 2));
    assert!(
        removed(&oblivion, "user_stats").0 >= 1 && removed(&oblivion, "crm_contacts") == (1, 0)
    );
    let assert_blank = || {
        for trace in &traces[..3] {
            assert_nowhere(&lake, trace);
        }
        assert_sound(&lake);
        let call = lake.row("calls", "c1").record;
        assert_eq!(call["title"], "With *** about it");
        assert_eq!(call["users"][0], json!({"personId": 0}));
        assert_eq!(call["users"][1]["userEmail"], "bob@example.com");
        assert_eq!(call["externalParticipants"][0]["email"], "cleo@elsewhere.com");
        assert_eq!(
            call["joinedParticipants"],
            json!([{"personId": "0"}, {"name": "Cleo", "personId": 2}])
        );
        assert_eq!(call["contact_names"], json!([null, "Cleo"]));
        assert_eq!(call["notes"], json!([{"stars": 5}]));
        assert_eq!(call["type"], "ZOOM", "a value like one of the person's is not the person's");
        let details = lake.row("call_details", "c1").record;
        assert_eq!(details["transcript"][0], json!({"text": "Write to ***", "personId": 0}));
        assert_eq!(details["transcript"][1], json!({"personId": 2}));
        assert_eq!(details["summary"]["key_action_items"][0], json!({"action_item": "Write"}));
        assert_eq!(
            lake.rows("users").iter().filter(|row| row.record["id"] == "u-bob").count(),
            lake.rows("users").len()
        );
        assert!(lake.rows("user_stats").iter().all(|row| row.record["user_id"] == "u-bob"));
        let contacts: Vec<_> =
            lake.rows("crm_contacts").iter().map(|row| row.record["crm_id"].clone()).collect();
        assert_eq!(contacts, ["k-cleo"]);
        assert_eq!(lake.files("_quarantine/calls").len(), 1);
    };
    assert_blank();
    // P4: the API still says it; the lake says what it said, and no details are requested again.
    let before = lake.data();
    run().complete();
    assert_blank();
    assert_eq!(lake.data(), before, "P4");
    assert!(api.targets().iter().all(|target| !target.starts_with("/call-details")));
    run().full().complete();
    assert_blank();
}

/// What is hashed by a rule is found by its hash.
#[test]
fn a_person_whose_address_is_hashed_is_found() {
    let api = people();
    let lake = Lake::new();
    let rules = "[columns]\nusers.userEmail = \"hash\"\n";
    let run = || {
        let run = Run::new(api.base_url(), lake.location(), now()).only(&["calls"]);
        run.with_files(&[("calls", rules)])
    };
    run().complete();
    let salt = Salt::new(SALT).unwrap();
    let hash = salt.hash("ann.lee@example.com");
    assert!(!lake.files_with("calls", &hash).is_empty());
    let person = a_person("ann.lee@example.com");
    forget(&store(&lake), &built_in(), &person, Some(&salt), &Clock::system()).unwrap();
    assert_nowhere(&lake, &hash);
    let before = lake.data();
    run().complete();
    assert_eq!(lake.data(), before, "P4");
}

/// Killed at every write in turn, before and after it lands: whatever comes next finishes it.
#[test]
fn a_forget_killed_anywhere_is_finished_by_the_next_run() {
    let site = Site::new(&Options { calls: 24, days: 8, ..small() });
    site.calls_and_details().complete();
    let id = site.a_call(8, 0);
    let address = site.workspace.call(&id).unwrap()["users"][0]["userEmail"].clone();
    let address = address.as_str().unwrap().to_owned();
    let subjects = Subjects { calls: vec![id.clone()], people: vec![address.clone()] };
    let mut deaths = 0;
    for write in (0..).step_by(5) {
        let lake = site.lake.twin();
        let lands = write % 2 == 0;
        let store = Store::open(&lake.location()).unwrap();
        let store = Arc::new(store.with_breakdown(Breakdown::at(write / 2, lands)));
        let done = forget(&store, &built_in(), &subjects, None, &Clock::system());
        if done.is_ok() {
            break;
        }
        deaths += 1;
        let is_on_the_list = !lake.files("_manifest/forgotten").is_empty();
        let found = verify(&self::store(&lake), &built_in()).unwrap().findings;
        if is_on_the_list {
            assert!(!found.is_empty(), "at {write}: verify says that it is not done");
        }
        // Sometimes the same command, sometimes an export.
        if write % 3 == 0 || !is_on_the_list {
            forgetting(&lake, &subjects);
        } else {
            let run = Run::new(site.server.base_url(), lake.location(), site.now);
            run.only(&["calls", "call_details"]).complete();
            forgetting(&lake, &subjects);
        }
        assert_nowhere(&lake, &id);
        assert_nowhere(&lake, &address);
        assert_sound(&lake);
    }
    assert!(deaths > 10, "{deaths}");
}

/// Two writers: rows that were read before, and are written after, bring no one back.
#[test]
fn a_writer_that_started_before_forget_brings_no_one_back() {
    let lake = Lake::new();
    let writer = || {
        let calls = lake::Lake::new(&store(&lake), &Arc::new(built_in()), "writer");
        calls.table("calls").unwrap().open(now()).unwrap()
    };
    let body = |ids: &[&str]| {
        let calls: Vec<_> = ids
            .iter()
            .map(|id| {
                json!({"id": id, "time": format!("2025-11-1{}T09:00:00Z", ids.len()),
                    "users": [{"userEmail": format!("{id}@example.com")}]})
            })
            .collect();
        json!({ "calls": calls }).to_string()
    };
    let change = |calls: &Snapshot, ids: &[&str]| {
        let mut decoder = calls.decoder().unwrap();
        let decoded = decoder.decode(body(ids).as_bytes(), &Origin::default()).unwrap();
        Change { rows: vec![decoded.rows], quarantined: decoded.quarantined, ..Change::default() }
    };
    let (one, late) = (writer(), writer());
    one.table().commit(&one, &change(&one, &["a", "b"]), now()).unwrap();
    let read_before = change(&late, &["a", "b", "c"]);
    let subjects =
        Subjects { calls: vec!["a".to_owned()], people: vec!["c@example.com".to_owned()] };
    forgetting(&lake, &subjects);
    late.table().commit(&late, &read_before, now()).unwrap();
    assert_eq!(ids(&lake, "calls"), BTreeSet::from(["\"b\"".to_owned(), "\"c\"".to_owned()]));
    assert_nowhere(&lake, "a@example.com");
    assert_nowhere(&lake, "c@example.com");
    assert_sound(&lake);
}

/// Notes of calls, read by run.
const NOTES: &str = r#"
        description = "Notes"
        path = "/notes"
        records = "$"
        key = ["id"]
        [query]
        id = "{parent.id}"
        [dated]
        by = "run"
        [parent]
        endpoint = "calls"
        id = "$.id"
        refresh = "7d"
        repeats = "id"
        [[column]]
        name = "id"
        type = "string"
        description = "Id of the call"
"#;

/// P15: children of calls by run, in the newest snapshot and in those before it; what a run under way
/// has read for a forgotten call is not committed, nor that the call exists or has answered.
#[test]
fn children_of_a_forgotten_call_are_in_no_snapshot() {
    let lake = Lake::new();
    let files = vec![("notes".to_owned(), NOTES.to_owned())];
    let catalogue = built_in().with_files(files).unwrap();
    let writer = |at| {
        let notes = lake::Lake::new(&store(&lake), &Arc::new(catalogue.clone()), "writer");
        notes.table("notes").unwrap().open(at).unwrap()
    };
    let change = |notes: &Snapshot, at: DateTime<Utc>, ids: &[&str]| {
        let mut change = Change::default();
        for id in ids {
            let day = day_of(at.date_naive());
            let body = json!({ "id": id, "text": format!("about {id}") }).to_string();
            let origin = Origin {
                fetched_at: at.timestamp_micros(),
                parent: Some((*id).into()),
                day: Some(day),
                ..Origin::default()
            };
            let decoded = notes.decoder().unwrap().decode(body.as_bytes(), &origin).unwrap();
            change.statements.answers.push(ParentAnswer {
                id: (*id).into(),
                day,
                answered_at: at.timestamp_micros(),
                attempt: Attempt { parent: ParentVersion::Content(1), ..Attempt::default() },
            });
            change.rows.push(decoded.rows);
        }
        change
    };
    let yesterday = now() - TimeDelta::days(1);
    let (kept, gone, late) = ("call-kept-1", "call-gone-2", "call-late-3");
    for at in [yesterday, now()] {
        let notes = writer(at);
        notes.table().commit(&notes, &change(&notes, at, &[kept, gone]), at).unwrap();
    }
    let under_way = writer(now());
    let mut read_before = change(&under_way, now(), &[kept, gone, late]);
    read_before.statements.listings.push(Listing {
        scope: Scope::Parents(day_of(now().date_naive())),
        keys: [kept, gone, late].map(Into::into).into(),
        requested_at: now().timestamp_micros(),
    });
    let calls = Subjects { calls: vec![gone.to_owned(), late.to_owned()], people: Vec::new() };
    let done = forget(&store(&lake), &catalogue, &calls, None, &Clock::system()).unwrap();
    assert_eq!(removed(&done, "notes"), (2, 0));
    under_way.table().commit(&under_way, &read_before, now()).unwrap();
    for id in [gone, late] {
        assert_nowhere(&lake, id);
    }
    assert_eq!(lake.rows("notes").len(), 2, "the other call's, in each snapshot");
    assert!(verify(&store(&lake), &catalogue).unwrap().findings.is_empty());
}

/// The same in a store.
#[test]
fn a_store_forgets_too() {
    let site = Site::new(&small());
    let bucket = Bucket::in_memory();
    let run = || site.calls_and_details().into(&bucket);
    run().complete();
    let id = site.a_call(20, 3);
    let subjects = a_call(&id);
    let oblivion =
        forget(&Arc::new(bucket.store()), &built_in(), &subjects, None, &Clock::system()).unwrap();
    assert_eq!(removed(&oblivion, "calls"), (1, 0));
    assert_nowhere(&bucket.mirror(), &id);
    run().full().complete();
    let mirror = bucket.mirror();
    assert_nowhere(&mirror, &id);
    assert_sound(&mirror);
}
