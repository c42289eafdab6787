//! P1, P12: what cannot be read is named, each missing thing by itself, and the rest is in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::lake::Store;
use clari_lake::internals::report::{Problem, Report};
use clari_lake::internals::verify::verify;
use serde_json::{Value, json};

use super::{Target, Trial, file, slice};
use crate::support::at;

const SORTED: &str = "style = 'skip_limit'\npage_size = 20\nreach = 50\n\
    oldest_first = { sort = 'asc' }\nnewest_first = { sort = 'desc' }";
const WINDOW: &str = "[window]\nfrom = 'since'\nto = 'until'\nformat = 'epoch_seconds'\n";
const BY_FIELD: &str = "dated = { by = 'field', field = 'at' }\n";

/// The ids of records that no reply can hold.
type Lost = Arc<Mutex<BTreeSet<String>>>;

/// A server that sorts by time, and answers 502 where a reply would hold a lost record.
fn trial(records: Vec<Value>, lost: &[&str]) -> (Trial, Lost) {
    let lost: Lost = Arc::new(Mutex::new(lost.iter().map(|id| (*id).to_owned()).collect()));
    let known = Arc::clone(&lost);
    let trial = Trial::new(records, move |records, target| {
        let page = page_of(&matching(records, target), target);
        let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
        if page.iter().any(|record| known.lock().unwrap().contains(&id(record))) {
            return (502, json!({}));
        }
        let skip = target.number("cursor", 0) + page.len();
        let is_cursor = target.get("skip").is_none() && target.get("page").is_none();
        let is_last = !is_cursor || skip >= matching(records, target).len();
        let next = (!is_last).then(|| skip.to_string());
        (200, json!({"items": page, "next": next}))
    });
    (trial, lost)
}

fn matching(records: &[Value], target: &Target) -> Vec<Value> {
    let since = target.get("since").map_or(i64::MIN, |it| it.parse().unwrap());
    let until = target.get("until").map_or(i64::MAX, |it| it.parse().unwrap());
    let changed = target.get("changed").map_or(i64::MIN, |it| it.parse().unwrap());
    let second = |record: &Value, name: &str| {
        record[name].as_str().map_or(since, |text| at(text).timestamp())
    };
    let is_asked = |record: &&Value| {
        let time = second(record, "at");
        since < time && time < until && second(record, "edited") >= changed
    };
    let mut matching: Vec<Value> = records.iter().filter(is_asked).cloned().collect();
    matching.sort_by_key(|record| second(record, "at"));
    if target.get("sort") == Some("desc") {
        matching.reverse();
    }
    matching
}

fn page_of(records: &[Value], target: &Target) -> Vec<Value> {
    if let Some(page) = target.get("page") {
        let size = target.number("size", 20);
        return slice(records, (page.parse::<usize>().unwrap() - 1) * size, size);
    }
    let skip = target.number("skip", target.number("cursor", 0));
    slice(records, skip, target.number("limit", 1000))
}

fn instant(number: i64) -> DateTime<Utc> {
    at("2026-11-20T09:00:00Z") + TimeDelta::minutes(number)
}

/// So many records, one a minute.
fn minutes(count: i64) -> Vec<Value> {
    let record = |number: i64| {
        let text = instant(number).to_rfc3339();
        json!({"id": format!("r{number:03}"), "at": text, "edited": text})
    };
    (0..count).map(record).collect()
}

fn listed(dated: &str, rest: &str, paging: &str) -> String {
    file(&format!("path = '/items'\nrecords = '$.items[*]'\n{dated}{rest}[paging]\n{paging}"))
}

fn findings(trial: &Trial, text: &str) -> Vec<String> {
    let store = Arc::new(Store::open(&trial.lake.location()).unwrap());
    let catalogue = Catalogue::built_in().unwrap().with_file("items", text).unwrap();
    let findings = verify(&store, &catalogue).unwrap().findings;
    findings.into_iter().filter_map(|finding| finding.subject).collect()
}

fn incomplete(report: &Report) -> &[Problem] {
    assert!(!report.complete && !report.problems.is_empty(), "P12: it must be said");
    &report.problems
}

fn span(problem: &Problem) -> (DateTime<Utc>, DateTime<Utc>) {
    let window = problem.window.unwrap();
    (window.from, window.to)
}

/// Everything but the lost records is in, and once they can be read, they are, too.
#[track_caller]
fn is_in_but_for(trial: &Trial, text: &str, lost: &Lost) {
    let mut expected = trial.expected();
    expected.retain(|id| !lost.lock().unwrap().contains(id));
    assert_eq!(trial.ids("items"), expected, "P1: the rest is in");
    assert!(!findings(trial, text).is_empty(), "P12: verify and the run agree");
    lost.lock().unwrap().clear();
    trial.run("items", text).complete();
    assert_eq!(trial.ids("items"), trial.expected());
    assert_eq!(findings(trial, text), [] as [&str; 0]);
}

fn second(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant + TimeDelta::seconds(1)
}

/// A8: one record that is never sent. Today's lists go on behind it, and past their reach.
#[test]
fn p1_p12_one_record_that_cannot_be_read_is_one_gap_and_the_rest_is_read() {
    let (trial, lost) = trial(minutes(120), &["r037"]);
    let text = listed(BY_FIELD, WINDOW, SORTED);
    let report = trial.run("items", &text).run();
    let [problem] = incomplete(&report) else { panic!("{:?}", report.problems) };
    assert_eq!(span(problem), (instant(36), second(instant(38))));
    let message = &problem.message;
    assert!(message.starts_with("record 37 of ["), "{message}");
    assert!(
        message.contains(
            "cannot be read (502): it is between 2026-11-20T09:36:00Z and 2026-11-20T09:38:01Z"
        ),
        "{message}"
    );
    assert_eq!(
        findings(&trial, &text),
        ["[2026-11-20T09:36:00Z, 2026-11-20T09:38:01Z)"],
        "P12: verify names the same"
    );
    // A later night asks for that window alone, beside its lookback.
    trial.server.targets();
    let later = at("2026-12-03T12:00:00Z");
    let report = trial.run("items", &text).at(later).run();
    assert_eq!(incomplete(&report).len(), 1);
    let targets = trial.server.targets();
    let since = |target: &String| Target::of(target).number("since", 0);
    let old: Vec<_> = targets
        .iter()
        .filter(|it| since(it) < usize::try_from(at("2026-11-22T00:00:00Z").timestamp()).unwrap())
        .collect();
    let begin = instant(36).timestamp() - 1;
    assert!(
        !old.is_empty() && old.iter().all(|it| it.contains(&format!("since={begin}&"))),
        "P7: {old:#?}"
    );
    assert!(old.len() < 14, "P7: {old:#?}");
    is_in_but_for(&trial, &text, &lost);
}

/// P12: several are several gaps, adjacent ones are one, whatever ends a list or its reach.
#[test]
fn p12_each_missing_thing_is_named_by_itself() {
    let lost = ["first", "r020", "r048", "r049", "r050", "r090", "r119"];
    let (trial, lost) = trial(minutes(120), &lost);
    let text = listed(BY_FIELD, WINDOW, SORTED);
    trial.records().insert(0, json!({"id": "first", "at": "2026-11-01T00:00:00Z"}));
    let report = trial.run("items", &text).run();
    let spans: BTreeSet<_> = incomplete(&report).iter().map(span).collect();
    let expected = [
        (at("2026-10-26T00:00:00Z"), at("2026-11-02T00:00:00Z")),
        (instant(19), second(instant(21))),
        (instant(47), second(instant(51))),
        (instant(89), second(instant(91))),
        (instant(118), trial.now),
    ];
    // Of the first nothing is known but its window, which is a week.
    assert_eq!(spans, BTreeSet::from(expected));
    let named = |what: &str| report.problems.iter().any(|it| it.message.starts_with(what));
    assert!(named("records 1 to 3 of [2026-11-20T09:47:00Z, "), "{:#?}", report.problems);
    is_in_but_for(&trial, &text, &lost);
}

/// P1: page numbers pass over a record, too, and pages grow back.
#[test]
fn p1_page_numbers_continue_after_an_unreadable_record() {
    let (trial, lost) = trial(minutes(120), &["r037", "r100"]);
    let paging = "style = 'page_number'\npage = 'page'\nsize = 'size'\npage_size = 20";
    let text = listed(BY_FIELD, WINDOW, paging);
    let report = trial.run("items", &text).run();
    let spans: Vec<_> = incomplete(&report).iter().map(span).collect();
    let gap = |number: i64| (instant(number - 1), second(instant(number + 1)));
    assert_eq!(spans, [gap(37), gap(100)], "{:?}", report.problems);
    assert!(trial.server.requests() < 75, "P7: {}", trial.server.requests());
    is_in_but_for(&trial, &text, &lost);
}

/// P1, P12: many records in a row that are too large are one gap, and no outage, as the server still
/// answers everything else: neither in this run nor in the next.
#[test]
fn p1_p12_a_row_of_unreadable_records_is_one_gap_and_no_outage() {
    let numbers = "style = 'page_number'\npage = 'page'\nsize = 'size'\npage_size = 20";
    for (paging, first) in [(SORTED, 20), (SORTED, 0), (numbers, 20), (numbers, 0)] {
        let ids: Vec<_> = (first..first + 15).map(|number| format!("r{number:03}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let (trial, lost) = trial(minutes(80), &ids);
        let text = listed(BY_FIELD, WINDOW, paging);
        for night in 0..2 {
            let run = trial.run("items", &text).at(trial.now + TimeDelta::days(night));
            let report = run.with_outage(Duration::from_secs(2)).run();
            let [problem] = incomplete(&report) else { panic!("{:?}", report.problems) };
            assert!(problem.message.contains("cannot be read (502)"), "{}", problem.message);
        }
        is_in_but_for(&trial, &text, &lost);
    }
}

/// P12: nothing leads past a page of a cursor, so the rest of the list is one gap.
#[test]
fn p12_everything_after_a_broken_cursor_is_one_gap() {
    let (trial, lost) = trial(minutes(120), &["r037"]);
    let paging = "style = 'cursor'\nparameter = 'cursor'\nnext = '$.next'\nlimit = 'limit'\n\
                  page_size = 20";
    let text = listed(BY_FIELD, WINDOW, paging);
    let report = trial.run("items", &text).run();
    let [problem] = incomplete(&report) else { panic!("{:?}", report.problems) };
    assert!(problem.message.starts_with("everything from record 37 of ["), "{problem:?}");
    assert_eq!(problem.window.unwrap().from, instant(36));
    assert_eq!(trial.ids("items").len(), 37, "what comes before is in");
    lost.lock().unwrap().clear();
    trial.run("items", &text).complete();
    assert_eq!(trial.ids("items"), trial.expected());
}

/// P12: a list without windows names the record's place, and takes nothing out because of it.
#[test]
fn p12_a_snapshot_with_a_record_that_cannot_be_read_loses_nothing() {
    let (trial, lost) = trial(minutes(60), &[]);
    let text = listed("dated = { by = 'run' }\n", "", SORTED);
    trial.run("items", &text).complete();
    trial.records().remove(10);
    lost.lock().unwrap().insert("r030".to_owned());
    let report = trial.run("items", &text).run();
    let [problem] = incomplete(&report) else { panic!("{:?}", report.problems) };
    assert!(
        problem.message.starts_with("record 29 of items cannot be read (502)"),
        "{}",
        problem.message
    );
    assert_eq!(trial.ids("items").len(), 60, "nothing is taken out");
    lost.lock().unwrap().clear();
    trial.run("items", &text).complete();
    assert_eq!(trial.ids("items").len(), 59);
}

/// P3: the watermark moves on, and what was not read of the changes is listed by its time.
#[test]
fn p3_an_unreadable_change_blocks_no_other() {
    let (trial, lost) = trial(minutes(120), &[]);
    let changes = "[modified]\nfrom = 'changed'\nfield = 'edited'\nformat = 'epoch_seconds'\n";
    let text = listed(BY_FIELD, &format!("{changes}{WINDOW}"), SORTED).replace(
        "[[column]]\n    name = 'at'",
        "[[column]]\n    name = 'edited'\n    type = 'timestamp'\n    [[column]]\n    name = 'at'",
    );
    trial.run("items", &text).complete();
    let before = trial.lake.manifest("items").unwrap().watermark.unwrap();
    // Ten days later, beyond the lookback, some are edited, and one of them is too large.
    let later = at("2026-12-10T12:00:00Z");
    for number in 40..50 {
        trial.records()[number]["edited"] = json!(later.to_rfc3339());
        trial.records()[number]["n"] = json!(1);
    }
    lost.lock().unwrap().insert("r045".to_owned());
    let report = trial.run("items", &text).at(later).run();
    let [problem] = incomplete(&report) else { panic!("{:?}", report.problems) };
    assert_eq!(span(problem), (instant(44), second(instant(46))));
    let manifest = trial.lake.manifest("items").unwrap();
    assert!(manifest.watermark.unwrap() > before, "the watermark moves");
    assert_eq!(findings(&trial, &text).len(), 1, "and the gap is to be read again");
    let next = later + TimeDelta::days(1);
    let report = trial.run("items", &text).at(next).run();
    let gap = (instant(44), second(instant(46)));
    // Once as a change, which the overlap requests again, and once by its time.
    assert!(incomplete(&report).iter().all(|it| span(it) == gap), "{:?}", report.problems);
    assert_eq!(report.problems.len(), 2);
    lost.lock().unwrap().clear();
    trial.run("items", &text).at(next + TimeDelta::days(1)).complete();
    let rows = trial.lake.rows("items");
    let edited = rows.iter().filter(|row| row.record["edited"] != row.record["at"]).count();
    assert_eq!((rows.len(), edited), (120, 10));
    assert_eq!(findings(&trial, &text), [] as [&str; 0]);
}

const OF_THE_DAY: &str = "dated = { by = 'window' }\n";

/// An endpoint whose records say something of their day.
fn of_the_day(step: &str, paging: &str) -> String {
    let text = listed(OF_THE_DAY, &format!("{WINDOW}step = '{step}'\n"), paging);
    text.replace("key = ['id']", "key = ['id', 'day']")
}

/// A7: what is read of a day in split windows is the day.
#[test]
fn p1_a_day_that_is_read_in_parts_is_whole() {
    for step in ["hour", "day"] {
        for (lost, count) in [(None, 80), (Some("r040"), 79)] {
            let (trial, losing) = trial(minutes(80), &[]);
            // All in one hour, and from there on nothing.
            for (number, record) in (0..).zip(trial.records().iter_mut()) {
                let time = at("2026-11-20T09:00:00Z") + TimeDelta::seconds(number * 40);
                record["at"] = json!(time.to_rfc3339());
            }
            losing.lock().unwrap().extend(lost.map(str::to_owned));
            let text = of_the_day(step, SORTED);
            let report = trial.run("items", &text).run();
            assert_eq!(trial.ids("items").len(), count, "{step}: {:?}", report.problems);
            assert_eq!(report.complete, lost.is_none(), "{:?}", report.problems);
            assert_eq!(report.problems.len(), 80 - count);
            assert_eq!(findings(&trial, &text).is_empty(), report.complete);
            // A day is replaced only when all of it was read.
            trial.records().remove(70);
            let again = trial.run("items", &text).run();
            assert_eq!(again.complete, lost.is_none());
            assert_eq!(trial.ids("items").len(), 79, "{step}");
            losing.lock().unwrap().clear();
            trial.run("items", &text).complete();
            assert_eq!(trial.ids("items").len(), 79);
            assert_eq!(findings(&trial, &text), [] as [&str; 0]);
        }
    }
}

/// A7's kin: what cannot be split is read from both ends, and what no request reaches is a gap,
/// whatever dates the rows.
#[test]
fn p12_records_beyond_all_reach_are_a_gap() {
    let plain = "style = 'skip_limit'\npage_size = 20\nreach = 50";
    let dates = "[window]\nfrom = 'since'\nto = 'until'\nformat = 'epoch_seconds'\n";
    for dated in [BY_FIELD, OF_THE_DAY] {
        for key in ["key = ['id']", "key = ['id', 'day']"] {
            for (paging, count) in [(plain, 80), (SORTED, 80), (SORTED, 130)] {
                if dated == BY_FIELD && key.contains("day") {
                    continue;
                }
                let (trial, _) = trial(minutes(count), &[]);
                for record in trial.records().iter_mut() {
                    record["at"] = json!("2026-11-20T09:00:00Z");
                }
                let text = listed(dated, dates, paging).replace("key = ['id']", key);
                let report = trial.run("items", &text).run();
                let is_whole = paging == SORTED && count == 80;
                assert_eq!(report.complete, is_whole, "{dated} {key} {:?}", report.problems);
                assert_eq!(findings(&trial, &text).is_empty(), is_whole);
                assert_eq!(report.problems.len(), usize::from(!is_whole));
                if is_whole {
                    assert_eq!(trial.ids("items"), trial.expected());
                }
            }
        }
    }
}

/// A8 as it was reported: 10,300 records in one window, of which number 507 is never sent.
#[test]
fn p1_records_beyond_the_reach_are_read_despite_an_unreadable_one() {
    let begin = at("2026-11-20T00:00:00Z").timestamp();
    let trial = Trial::new(Vec::new(), move |_, target| {
        let (since, until) = (target.number("since", 0), target.number("until", 0));
        let skip = target.number("skip", 0);
        if skip + target.number("limit", 25) > 10_000 {
            return (400, json!({}));
        }
        // One every five seconds.
        let second = |number: usize| usize::try_from(begin).unwrap() + number * 5;
        let inside =
            (0..10_300).filter(|number| since < second(*number) && second(*number) < until);
        let page: Vec<usize> = inside.skip(skip).take(target.number("limit", 25)).collect();
        if page.contains(&507) {
            return (502, json!({}));
        }
        let record = |number: usize| {
            let time = DateTime::from_timestamp(i64::try_from(second(number)).unwrap(), 0).unwrap();
            json!({"id": format!("r{number:05}"), "at": time.to_rfc3339()})
        };
        (200, json!({"items": page.into_iter().map(record).collect::<Vec<_>>()}))
    });
    let paging = "style = 'skip_limit'\noldest_first = { sort = 'asc' }\n\
                  newest_first = { sort = 'desc' }";
    let text = listed(BY_FIELD, WINDOW, paging);
    let report = trial.run("items", &text).run();
    let [problem] = incomplete(&report) else { panic!("{:?}", report.problems) };
    let second = |number: i64| DateTime::from_timestamp(begin + number, 0).unwrap();
    assert_eq!(span(problem), (second(506 * 5), second(508 * 5 + 1)));
    assert!(problem.message.starts_with("record 507 of ["), "{problem:?}");
    assert_eq!(trial.ids("items").len(), 10_299);
    assert!(trial.server.requests() < 170, "P7: {}", trial.server.requests());
    assert_eq!(findings(&trial, &text).len(), 1);
}

/// P12: two endpoints that lack something for the same reason are two problems.
#[test]
fn p12_the_same_reason_is_named_for_each_endpoint() {
    let trial =
        Trial::new(minutes(60), |records, _| (200, json!({"items": slice(records, 0, 20)})));
    let text = listed("dated = { by = 'run' }\n", "", SORTED);
    let run = trial.run("items", &text).with_files(&[("things", &text)]);
    let report = run.only(&["items", "things"]).run();
    let named: Vec<_> = incomplete(&report).iter().map(|it| it.endpoint.as_str()).collect();
    assert_eq!(named, ["items", "things"], "{:?}", report.problems);
}
