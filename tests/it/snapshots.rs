//! P12, P14: snapshot tables through everything that can fail while they are read, and children that
//! select their parents by different fields.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::lake::Store;
use clari_lake::internals::report::Report;
use clari_lake::internals::verify::{accept_loss, verify};
use serde_json::{Value, json};

use crate::support::{Canned, Lake, Run, now};

const TEAMS: &str = "description = 'd'\nkey = ['id']\npath = '/teams'\nrecords = '$.teams[*]'\n\
    dated = { by = 'run' }\npaging = { style = 'page_number', page_size = 2 }\n\
    column = [{ name = 'id', type = 'string' }, { name = 'title', type = 'string' }]";

const MEMBERS: &str = "description = 'd'\nkey = ['id']\npath = '/members/{parent.id}'\nrecords = '$'\n\
    dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }]\n\
    parent = { endpoint = 'teams', id = '$.id', refresh = '7d' }";

/// What the API has, and which page of `/teams` it refuses.
#[derive(Default)]
struct Source {
    teams: BTreeMap<String, &'static str>,
    refused: Option<usize>,
    gone: Vec<String>,
    /// What comes instead of a member.
    instead: Option<(u16, Value)>,
}

struct Trial {
    api: Canned,
    source: Arc<Mutex<Source>>,
    lake: Lake,
    /// The file of the look-ups.
    members: String,
}

impl Trial {
    fn new(teams: &[&str]) -> Self {
        let source = Arc::new(Mutex::new(Source::default()));
        source.lock().unwrap().teams = teams.iter().map(|id| ((*id).to_owned(), "old")).collect();
        let shared = Arc::clone(&source);
        let api = Canned::start(move |target| {
            let source = shared.lock().unwrap();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            if let Some(id) = path.strip_prefix("/members/") {
                if let Some(instead) = source.instead.clone().filter(|_| id == "a") {
                    return instead;
                }
                let is_gone = source.gone.iter().any(|gone| gone == id);
                return if is_gone { (404, json!({})) } else { (200, json!({ "id": id })) };
            }
            let page = query.split('&').find_map(|it| it.strip_prefix("page="));
            let page: usize = page.map_or(1, |page| page.parse().unwrap());
            if source.refused == Some(page) {
                return (400, json!({}));
            }
            let teams = source.teams.iter().map(|(id, title)| json!({ "id": id, "title": title }));
            let teams: Vec<Value> = teams.skip((page - 1) * 2).take(2).collect();
            (200, json!({ "teams": teams }))
        });
        Self { api, source, lake: Lake::new(), members: MEMBERS.to_owned() }
    }

    fn run(&self, day: i64, monthly: bool) -> Report {
        let run = Run::new(self.api.base_url(), self.lake.location(), at(day))
            .with_files(&[("teams", TEAMS), ("members", &self.members)])
            .only(&["teams", "members"]);
        if monthly { run.monthly().run() } else { run.run() }
    }

    fn verify(&self) -> Vec<String> {
        let store = Arc::new(Store::open(&self.lake.location()).unwrap());
        let found = verify(&store, &catalogue()).unwrap();
        found.findings.into_iter().map(|finding| finding.message).collect()
    }

    /// The look-ups' ids in the newest snapshot.
    fn members(&self) -> Vec<String> {
        let rows = self.lake.rows("members");
        let newest = rows.iter().map(|row| row.dt.clone()).max().unwrap_or_default();
        let rows = rows.into_iter().filter(|row| row.dt == newest);
        let mut ids: Vec<_> = rows.map(|row| row.record["id"].as_str().unwrap().into()).collect();
        ids.sort();
        ids
    }

    /// The titles of the newest snapshot, by id.
    fn newest(&self) -> BTreeMap<String, String> {
        let rows = self.lake.rows("teams");
        let newest = rows.iter().map(|row| row.dt.clone()).max().unwrap();
        let rows = rows.into_iter().filter(|row| row.dt == newest);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rows.map(|row| (text(&row.record["id"]), text(&row.record["title"]))).collect()
    }
}

fn at(day: i64) -> DateTime<Utc> {
    now() + TimeDelta::days(day)
}

fn catalogue() -> Catalogue {
    let built_in = Catalogue::built_in().unwrap();
    built_in.with_file("teams", TEAMS).unwrap().with_file("members", MEMBERS).unwrap()
}

/// P14: a page that is refused costs no row, by day or by month; what was read is new, what was not
/// is as it was, and the run says so.
#[test]
fn p14_a_snapshot_with_a_refused_page_lacks_nothing() {
    for monthly in [false, true] {
        let trial = Trial::new(&["a", "b", "c", "d", "e"]);
        assert!(trial.run(0, monthly).complete);
        {
            let mut source = trial.source.lock().unwrap();
            source.teams.values_mut().for_each(|title| *title = "new");
            source.refused = Some(2);
        }
        let report = trial.run(1, monthly);
        assert!(!report.complete, "monthly: {monthly}");
        let titles: Vec<_> = trial.newest().into_values().collect();
        assert_eq!(titles, ["new", "new", "old", "old", "old"], "monthly: {monthly}");
        assert_eq!(trial.verify(), Vec::<String>::new());
        trial.source.lock().unwrap().refused = None;
        trial.source.lock().unwrap().teams.remove("d");
        assert!(trial.run(2, monthly).complete);
        assert_eq!(trial.newest().into_keys().collect::<Vec<_>>(), ["a", "b", "c", "e"]);
    }
}

/// P7, P4: what is good for days is not requested again, by day or by month, also beside a parent
/// that answers 404; and a child goes with its parent.
#[test]
fn p7_children_of_a_snapshot_are_requested_when_due() {
    for monthly in [false, true] {
        let trial = Trial::new(&["a", "b", "c"]);
        trial.source.lock().unwrap().gone = vec!["c".to_owned()];
        assert!(trial.run(0, monthly).complete);
        let asked = |trial: &Trial| {
            trial.api.targets().iter().filter(|it| it.starts_with("/members/")).count()
        };
        assert_eq!(asked(&trial), 3);
        let again = trial.run(0, monthly);
        assert_eq!((asked(&trial), again.changed.len()), (0, 0), "monthly: {monthly}");
        assert!(trial.run(1, monthly).complete);
        assert!(asked(&trial) <= 1, "the one that was not there may be tried again");
        trial.source.lock().unwrap().teams.remove("b");
        assert!(trial.run(2, monthly).complete);
        let members = trial.lake.rows("members");
        let newest = members.iter().map(|row| row.dt.clone()).max().unwrap();
        let members = members.into_iter().filter(|row| row.dt == newest);
        let ids: Vec<_> = members.map(|row| row.record["id"].clone()).collect();
        assert_eq!(ids, ["a"], "monthly: {monthly}");
        assert_eq!(trial.verify(), Vec::<String>::new());
    }
}

/// P12: what no request brings back is named, each time, until the loss is accepted.
#[test]
fn p12_a_lost_snapshot_is_named_until_the_loss_is_accepted() {
    let trial = Trial::new(&["a", "b", "c"]);
    assert!(trial.run(0, false).complete);
    assert!(trial.run(1, false).complete);
    let objects = trial.lake.objects("teams");
    let dt = at(0).date_naive().to_string();
    let lost = objects.iter().find(|path| path.to_str().unwrap().contains(&dt)).unwrap();
    std::fs::remove_file(lost).unwrap();
    for day in [1, 1, 2] {
        let report = trial.run(day, false);
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        let message = &report.problems[0].message;
        assert!(message.contains(&format!("--accept-loss teams/{dt}")), "{message}");
        assert_eq!(trial.verify().len(), 1);
    }
    let store = Arc::new(Store::open(&trial.lake.location()).unwrap());
    assert!(accept_loss(&store, &catalogue(), "teams/2001-01-01", at(2)).is_err());
    accept_loss(&store, &catalogue(), &format!("teams/{dt}"), at(2)).unwrap();
    assert_eq!(trial.verify(), Vec::<String>::new());
    assert!(trial.run(2, false).complete);
    // Today's is brought back as a whole.
    let today = at(2).date_naive().to_string();
    let objects = trial.lake.objects("teams");
    let lost = objects.iter().find(|path| path.to_str().unwrap().contains(&today)).unwrap();
    std::fs::remove_file(lost).unwrap();
    assert!(trial.run(2, false).complete);
    assert_eq!(trial.newest().len(), 3);
}

/// P12: a look-up that fails is named by the id it was for.
#[test]
fn p12_a_look_up_that_fails_is_named_by_its_id() {
    let trial = Trial::new(&["a", "b"]);
    trial.source.lock().unwrap().instead = Some((400, json!({"message": "no such member"})));
    let report = trial.run(1, false);
    let [problem] = report.problems.as_slice() else { panic!("{:?}", report.problems) };
    assert!(problem.message.starts_with("members of a: "), "{}", problem.message);
    assert!(problem.message.contains("(400): no such member"), "{}", problem.message);
}

/// P1, P12, P14: a reply that is no record does not say that the record is gone. Its row stays, it
/// is named, and the next run requests it again.
#[test]
fn p14_a_look_up_that_is_answered_with_no_record_removes_nothing() {
    let is_one = MEMBERS.replace("refresh = '7d'", "refresh = '7d', repeats = 'id'");
    for (instead, members) in [
        (json!({"error": "upstream timed out"}), MEMBERS),
        (json!({"users": null, "error": "upstream timed out"}), MEMBERS),
        (json!({"message": "upstream timed out"}), MEMBERS),
        (json!({}), MEMBERS),
        (json!({"id": null, "name": "x"}), MEMBERS),
        (json!(null), is_one.as_str()),
        (json!([]), is_one.as_str()),
    ] {
        for monthly in [false, true] {
            let trial = Trial { members: members.to_owned(), ..Trial::new(&["a", "b"]) };
            trial.source.lock().unwrap().instead = Some((200, instead.clone()));
            let report = trial.run(1, monthly);
            assert!(!report.complete, "P12: it is named at first, too: {instead}");
            trial.source.lock().unwrap().instead = None;
            assert!(trial.run(1, monthly).complete, "{instead}");
            assert_eq!(trial.members(), ["a", "b"], "it is requested again: {instead}");
            trial.source.lock().unwrap().instead = Some((200, instead.clone()));
            let report = trial.run(9, monthly);
            assert!(!report.complete && !report.problems.is_empty(), "P12: {instead}");
            assert_eq!(trial.members(), ["a", "b"], "P14: {instead}, monthly: {monthly}");
            trial.source.lock().unwrap().instead = None;
            assert!(trial.run(10, monthly).complete, "{instead}");
            assert_eq!(trial.members(), ["a", "b"], "{instead}");
        }
    }
}

/// P1: children of one parent that select by different fields, or by two, are all read.
#[test]
fn p1_children_select_their_parents_by_any_fields() {
    let deal = |id: usize, kind: &str, stage: &str| json!({ "id": format!("d{id}"), "at": "2025-11-18T10:00:00Z", "kind": kind, "stage": stage });
    let deals = [deal(1, "new", "won"), deal(2, "new", "lost"), deal(3, "old", "won")];
    let api = Canned::start(move |target| match target.strip_prefix("/notes/") {
        Some(id) => (200, json!({ "id": id, "at": "2025-11-18T11:00:00Z" })),
        None => (200, json!({ "deals": deals })),
    });
    let deals = "description = 'd'\nkey = ['id']\npath = '/deals'\nrecords = '$.deals[*]'\n\
        dated = { by = 'field', field = 'at' }\n\
        column = [{ name = 'id', type = 'string' }, { name = 'at', type = 'timestamp' }]";
    let notes = |when: &str| {
        format!(
            "description = 'd'\nkey = ['id']\npath = '/notes/{{parent.id}}'\nrecords = '$'\n\
             dated = {{ by = 'field', field = 'at' }}\n\
             column = [{{ name = 'id', type = 'string' }}, {{ name = 'at', type = 'timestamp' }}]\n\
             parent = {{ endpoint = 'deals', id = '$.id', when = {{ {when} }} }}"
        )
    };
    let files = [
        ("a_notes", notes("kind = ['new']")),
        ("b_notes", notes("stage = ['won']")),
        ("c_notes", notes("stage = ['won'], kind = ['new']")),
    ];
    let lake = Lake::new();
    let run = |names: &[&str]| {
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let run = Run::new(api.base_url(), lake.location(), now());
        run.with_files(&[("deals", deals)]).with_files(&files).only(names).complete();
    };
    run(&["deals", "a_notes"]);
    // The other two select by a field that no shard of the index had to keep before.
    run(&["deals", "a_notes", "b_notes", "c_notes"]);
    let ids = |table: &str| {
        let rows = lake.rows(table).into_iter();
        rows.map(|row| row.record["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("a_notes"), ["d1", "d2"]);
    assert_eq!(ids("b_notes"), ["d1", "d3"]);
    assert_eq!(ids("c_notes"), ["d1"]);
}
