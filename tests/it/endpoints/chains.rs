//! Chains: the ids of one endpoint drive another, each once, and no more often than needed.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Target, Trial, hourly};
use crate::support::Run;

const DEALS: &str = "description = 'd'\nkey = ['id']\npath = '/deals'\nrecords = '$.deals[*]'\n\
    dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }]";

/// A server of deals, each with contacts; the contact `gone` is not there.
fn trial() -> Trial {
    let deals = vec![
        json!({"id": "d1", "stage": "won", "people": {"ids": ["c1", "c2"]}}),
        json!({"id": "d2", "stage": "lost", "people": {"ids": ["c2", "gone"]}}),
        json!({"id": "d3", "stage": "won", "people": {"ids": "c3"}}),
    ];
    Trial::new(deals, |records, target| {
        let parts: Vec<&str> = target.path.split('/').skip(1).collect();
        match parts.as_slice() {
            ["deals"] => (200, json!({"deals": records})),
            ["contacts", "gone"] => (404, json!({})),
            ["contacts", id] => (200, json!({"id": id, "name": format!("name of {id}")})),
            ["deals", id, "notes"] => {
                let mut notes = hourly(3);
                for note in &mut notes {
                    note["of"] = json!(id);
                }
                let skip = target.number("skip", 0);
                let notes: Vec<Value> =
                    notes.into_iter().skip(skip).take(target.number("limit", 9)).collect();
                (200, json!({"notes": notes}))
            }
            _ => (400, json!({})),
        }
    })
}

fn run(trial: &Trial, files: &[(&str, &str)], days: i64) -> Run {
    let now = trial.now + TimeDelta::days(days);
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).chain(["deals"]).collect();
    let run = Run::new(trial.server.base_url(), trial.lake.location(), now);
    run.with_files(&[("deals", DEALS)]).with_files(files).only(&names)
}

fn asked(trial: &Trial, part: &str) -> Vec<String> {
    let mut targets = trial.server.targets();
    targets.retain(|target| target.contains(part));
    targets.sort();
    targets
}

#[test]
fn a_look_up_requests_each_id_once_and_copies_fresh_results() {
    let trial = trial();
    let text = |refresh: &str| {
        format!(
            "description = 'd'\nkey = ['id']\npath = '/contacts/{{parent.id}}'\nrecords = '$'\n\
             dated = {{ by = 'run' }}\ncolumn = [{{ name = 'id', type = 'string' }}]\n\
             parent = {{ endpoint = 'deals', id = '$.people.ids[*]'{refresh} }}"
        )
    };
    let weekly = text(", refresh = '7d'");
    let files = [("contacts", weekly.as_str())];
    let all = ["/contacts/c1", "/contacts/c2", "/contacts/c3", "/contacts/gone"];
    run(&trial, &files, 0).complete();
    assert_eq!(asked(&trial, "contacts"), all, "each id once, in lists and bare");
    run(&trial, &files, 0).complete();
    assert_eq!(asked(&trial, "contacts"), [""; 0], "what is fresh or not there is not asked for");
    run(&trial, &files, 1).complete();
    assert_eq!(asked(&trial, "contacts"), ["/contacts/gone"], "but ever more rarely");
    let rows = trial.lake.rows("contacts");
    let on = |dt: &str| rows.iter().filter(|row| row.dt == dt).count();
    assert_eq!((on("2026-11-23"), on("2026-11-24")), (3, 3), "yet every snapshot is whole");
    run(&trial, &files, 1).complete();
    assert_eq!(asked(&trial, "contacts"), [""; 0], "nor in another run of the same day");
    let again = trial.lake.rows("contacts");
    assert_eq!(again.len(), rows.len(), "which takes nothing away");
    // A new id is asked for, and one that no deal names any more is in no new snapshot.
    trial.records()[0]["people"]["ids"] = json!(["c9", "c2"]);
    run(&trial, &files, 2).complete();
    assert_eq!(asked(&trial, "contacts"), ["/contacts/c9", "/contacts/gone"]);
    let rows = trial.lake.rows("contacts");
    let mut ids: Vec<_> = rows.iter().filter(|row| row.dt == "2026-11-25").collect();
    ids.sort_by_key(|row| row.record["id"].to_string());
    let ids: Vec<_> = ids.iter().map(|row| row.record["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["c2", "c3", "c9"]);
    run(&trial, &files, 2).full().complete();
    assert_eq!(asked(&trial, "contacts").len(), 4, "--full asks for all");
    trial.verify(&[("deals", DEALS), files[0]]);
    let daily = text("");
    run(&trial, &[("contacts", daily.as_str())], 3).complete();
    let daily = asked(&trial, "contacts");
    assert_eq!(daily, ["/contacts/c2", "/contacts/c3", "/contacts/c9", "/contacts/gone"]);
}

#[test]
fn lists_of_the_chosen_parents_are_read_page_by_page() {
    let trial = trial();
    let text = "description = 'd'\nkey = ['id']\npath = '/deals/{parent.id}/notes'\n\
        records = '$.notes[*]'\ndated = { by = 'field', field = 'at' }\n\
        paging = { style = 'skip_limit', page_size = 2 }\n\
        column = [{ name = 'id', type = 'string' }, { name = 'at', type = 'timestamp' }]\n\
        [parent]\nendpoint = 'deals'\nid = '$.id'\ncolumn = 'deal_id'\n\
        when = { stage = ['won'] }\nrefresh = '7d'";
    let files = [("notes", text)];
    run(&trial, &files, 0).complete();
    let rows = trial.lake.rows("notes");
    assert_eq!(rows.len(), 6, "three notes of two deals: the key is the deal's and the note's");
    assert!(rows.iter().all(|row| row.parent.as_deref() == row.record["of"].as_str()));
    assert!(rows.iter().all(|row| row.dt == "2026-11-23"));
    assert!(asked(&trial, "notes").iter().all(|target| !target.contains("d2")));
    run(&trial, &files, 1).complete();
    assert_eq!(asked(&trial, "notes"), [""; 0]);
}

/// A snapshot of lists takes over what is fresh, and a list that became empty stays so.
#[test]
fn lists_in_snapshots_are_copied_whole() {
    let trial = trial();
    let text = "description = 'd'\nkey = ['id']\npath = '/deals/{parent.id}/notes'\n\
        records = '$.notes[*]'\ndated = { by = 'run' }\n\
        column = [{ name = 'id', type = 'string' }]\n\
        parent = { endpoint = 'deals', id = '$.id', column = 'deal_id', refresh = '7d' }";
    let files = [("notes", text)];
    let on = |dt: &str| trial.lake.rows("notes").iter().filter(|row| row.dt == dt).count();
    run(&trial, &files, 0).complete();
    trial.server.targets();
    run(&trial, &files, 0).complete();
    run(&trial, &files, 1).complete();
    run(&trial, &files, 1).complete();
    assert_eq!(asked(&trial, "notes"), [""; 0]);
    assert_eq!((on("2026-11-23"), on("2026-11-24")), (9, 9));
    trial.records().pop();
    run(&trial, &files, 2).complete();
    assert_eq!(on("2026-11-25"), 6, "the notes of a deal that is gone are in no new snapshot");
    trial.verify(&[("deals", DEALS), files[0]]);
}

#[test]
fn children_of_children_are_exported_in_order() {
    let trial = trial();
    let notes = "description = 'd'\nkey = ['id']\npath = '/deals/{parent.id}/notes'\n\
        records = '$.notes[*]'\ndated = { by = 'run' }\n\
        column = [{ name = 'id', type = 'string' }]\n\
        parent = { endpoint = 'deals', id = '$.id', column = 'deal_id' }";
    let authors = "description = 'd'\nkey = ['id']\npath = '/contacts/{parent.of}'\nrecords = '$'\n\
        dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }]\n\
        parent = { endpoint = 'notes', id = '$.of' }";
    run(&trial, &[("authors", authors), ("notes", notes)], 0).complete();
    assert_eq!(trial.ids("authors"), ["d1", "d2", "d3"]);
}

/// Deals with owners, of whom one is not known, and contacts that answer to any address.
fn owned() -> Trial {
    let deals = vec![
        json!({"id": "d1", "won": true, "closed": "2026-11-20T22:30:00Z", "sum": 1.50,
            "owner": {"id": 7}, "people": ["c1", "c2", ".."]}),
        json!({"id": "d2", "won": false, "closed": "2026-11-21T10:00:00.250Z", "sum": 20,
            "owner": {"id": "o/9 ü"}, "people": ["c2", "c3"]}),
        json!({"id": "d3", "won": true, "closed": null, "owner": {"id": null}, "people": ["c4"]}),
        json!({"id": "d4", "won": true, "closed": "2026-11-21T10:00:00Z", "sum": 3,
            "owner": {"id": ".."}, "people": ["c5"]}),
    ];
    Trial::new(deals, |records, target| match target.path.as_str() {
        "/deals" => (200, json!({"deals": records})),
        path => (200, json!({"id": path.rsplit('/').next(), "at": "2026-11-22T08:00:00Z"})),
    })
}

const OWNED: &str = "description = 'd'\nkey = ['id']\npath = '/deals'\nrecords = '$.deals[*]'\n\
    dated = { by = 'run' }\n\
    column = [{ name = 'id', type = 'string' }, { name = 'closed', type = 'timestamp' }]";

/// The user asks for more of the parent than its id: each combination of the values in its records,
/// and nothing where there is none.
#[test]
fn requests_name_any_field_of_the_parents_record() {
    let trial = owned();
    let contacts = "description = 'd'\nkey = ['id']\nrecords = '$'\n\
        path = '/owners/{parent.owner.id}/contacts/{parent.id}'\n\
        query = { closed = '{parent.closed}', flag = 'won:{parent.won}', sum = '{parent.sum}' }\n\
        date_format = 'dd.MM.yyyy'\ndated = { by = 'run' }\n\
        column = [{ name = 'id', type = 'string' }]\n\
        parent = { endpoint = 'deals', id = '$.people[*]', refresh = '7d' }";
    let files = [("deals", OWNED), ("contacts", contacts)];
    let report = run(&trial, &files, 0).complete();
    let expected = [
        "/owners/7/contacts/c1?closed=20.11.2026&flag=won%3Atrue&sum=1.5",
        "/owners/7/contacts/c2?closed=20.11.2026&flag=won%3Atrue&sum=1.5",
        "/owners/o%2F9%20%C3%BC/contacts/c2?closed=21.11.2026&flag=won%3Afalse&sum=20",
        "/owners/o%2F9%20%C3%BC/contacts/c3?closed=21.11.2026&flag=won%3Afalse&sum=20",
    ];
    assert_eq!(asked(&trial, "contacts"), expected, "c4 has no owner, c5 one that is no segment");
    let queue = report.endpoints.iter().find(|it| it.endpoint == "contacts").unwrap().queue;
    assert_eq!(queue.unwrap().parked, 3, "which is reported, as is an id that is a way");
    assert_eq!(trial.ids("contacts"), ["c1", "c2", "c3"]);
    run(&trial, &files, 0).complete();
    assert_eq!(asked(&trial, "contacts"), [""; 0], "what is fresh is not asked for");
    trial.records()[2]["owner"]["id"] = json!("o4");
    trial.records()[2]["closed"] = json!("2026-11-22T00:00:00Z");
    trial.records()[2]["sum"] = json!(4);
    run(&trial, &files, 1).complete();
    let later = ["/owners/o4/contacts/c4?closed=22.11.2026&flag=won%3Atrue&sum=4"];
    assert_eq!(asked(&trial, "contacts"), later, "but what has an owner now is");
    trial.verify(&files);
}

/// P1 (B4): parents that share an id are distinguished by all that requests name of them, in the lists
/// that are requested, in whose rows a list replaces, and in the rows' keys.
#[test]
fn p1_parents_with_one_id_are_distinguished_by_all_named_fields() {
    let repos: Vec<Value> = (0..15)
        .map(|at| json!({"owner": format!("o{}", at % 5), "name": format!("n{}", at / 5)}))
        .collect();
    // Every repository has two issues, numbered alike; some have none since the second day.
    let trial = Trial::new(repos, |records, target| {
        let parts: Vec<&str> = target.path.split('/').skip(1).collect();
        match parts.as_slice() {
            ["repos"] => (200, json!({"repos": records})),
            ["repos", owner, name, "issues"] => {
                let is_empty =
                    records.iter().any(|it| it["name"] == *name && it["empty"] == *owner);
                let issues: Vec<Value> = (1..3)
                    .map(|number| json!({"number": format!("#{number}"), "in": format!("{owner}/{name}")}))
                    .filter(|_| !is_empty)
                    .collect();
                (200, json!({"issues": issues}))
            }
            _ => (400, json!({})),
        }
    });
    let repos = "description = 'd'\nkey = ['owner', 'name']\npath = '/repos'\n\
        records = '$.repos[*]'\ndated = { by = 'run' }\n\
        column = [{ name = 'owner', type = 'string' }, { name = 'name', type = 'string' }]";
    let issues = "description = 'd'\nkey = ['number']\nrecords = '$.issues[*]'\n\
        path = '/repos/{parent.owner}/{parent.name}/issues'\ndated = { by = 'run' }\n\
        column = [{ name = 'number', type = 'string' }]\n\
        parent = { endpoint = 'repos', id = '$.name', column = 'repo' }";
    let files = [("repos", repos), ("issues", issues)];
    let run = |days: i64| {
        let now = trial.now + TimeDelta::days(days);
        let run = Run::new(trial.server.base_url(), trial.lake.location(), now);
        run.with_files(&files).only(&["repos", "issues"]).complete();
    };
    let rows = |dt: &str| {
        let mut rows = trial.lake.rows("issues");
        rows.retain(|row| row.dt == dt);
        rows
    };
    run(0);
    let lists: BTreeSet<String> =
        asked(&trial, "issues").iter().map(|it| Target::of(it).path).collect();
    assert_eq!(lists.len(), 15, "each repository by its owner and name");
    let first = rows("2026-11-23");
    assert_eq!(first.len(), 30, "issues of the same number are of different repositories");
    for row in &first {
        let repo = row.record["in"].as_str().unwrap();
        let (owner, name) = repo.split_once('/').unwrap();
        assert_eq!(row.parent.as_deref(), Some(format!("{name}/{owner}").as_str()));
    }
    trial.records()[0]["empty"] = json!("o0");
    run(1);
    let second = rows("2026-11-24");
    assert_eq!(second.len(), 28, "an empty list takes out the rows of its own repository alone");
    assert!(second.iter().all(|row| row.record["in"] != "o0/n0"));
    trial.verify(&files);
}

/// A look-up is repeated when the parent's record changes, at the
/// address that follows from it then.
#[test]
fn look_ups_use_the_parents_current_record() {
    let trial = owned();
    let deals = OWNED.replace("by = 'run'", "by = 'field', field = 'closed'");
    let details = "description = 'd'\nkey = ['id']\nrecords = '$'\n\
        path = '/owners/{parent.owner.id}/{parent.id}'\ndated = { by = 'field', field = 'at' }\n\
        column = [{ name = 'id', type = 'string' }, { name = 'at', type = 'timestamp' }]\n\
        parent = { endpoint = 'deals', id = '$.id' }";
    let files = [("deals", deals.as_str()), ("details", details)];
    run(&trial, &files, 0).complete();
    assert_eq!(asked(&trial, "owners"), ["/owners/7/d1", "/owners/o%2F9%20%C3%BC/d2"]);
    run(&trial, &files, 0).complete();
    assert_eq!(asked(&trial, "owners"), [""; 0], "what lacks something is no reason to ask");
    trial.records()[0]["owner"]["id"] = json!(8);
    trial.records()[2]["owner"]["id"] = json!("o4");
    run(&trial, &files, 1).complete();
    assert_eq!(asked(&trial, "owners"), ["/owners/8/d1", "/owners/o4/d3"]);
    trial.verify(&files);
}

/// A field that no record has is a mistake, and it is said which.
#[test]
fn a_field_that_no_parent_has_is_named() {
    let trial = owned();
    let contacts = "description = 'd'\nkey = ['id']\nrecords = '$'\n\
        path = '/owners/{parent.ovner.id}/{parent.id}'\ndated = { by = 'run' }\n\
        column = [{ name = 'id', type = 'string' }]\n\
        parent = { endpoint = 'deals', id = '$.people[*]' }";
    let files = [("deals", OWNED), ("contacts", contacts)];
    let report = run(&trial, &files, 0).run();
    let problems: Vec<_> = report.problems.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(problems, ["no record of deals has a field `ovner.id`"]);
    assert_eq!(trial.ids("deals").len(), 4, "which keeps nobody else from being exported");
    assert_eq!(asked(&trial, "owners"), [""; 0]);
}

/// A list below a list: its requests name the grandparent's id by the column that carries it.
#[test]
fn a_child_of_a_child_can_name_its_grandparent() {
    let trial = trial();
    let notes = "description = 'd'\nkey = ['id']\npath = '/deals/{parent.id}/notes'\n\
        records = '$.notes[*]'\ndated = { by = 'run' }\n\
        column = [{ name = 'id', type = 'string' }]\n\
        parent = { endpoint = 'deals', id = '$.id', column = 'deal_id', when = { stage = ['lost'] } }";
    let authors = "description = 'd'\nkey = ['id']\npath = '/contacts/{parent.id}'\nrecords = '$'\n\
        query = { of = '{parent.deal_id}' }\ndated = { by = 'run' }\n\
        column = [{ name = 'id', type = 'string' }]\n\
        parent = { endpoint = 'notes', id = '$.id' }";
    run(&trial, &[("authors", authors), ("notes", notes)], 0).complete();
    let expected = ["/contacts/r0000?of=d2", "/contacts/r0001?of=d2", "/contacts/r0002?of=d2"];
    assert_eq!(asked(&trial, "contacts"), expected);
}
