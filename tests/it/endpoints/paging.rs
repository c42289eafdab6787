//! Each style of paging: whole, again, and against servers that would lead astray.

use clari_lake::internals::report::Report;
use serde_json::{Value, json};

use super::{Target, Trial, between, file, hourly, slice};
use crate::support::at;

const BY_FIELD: &str = "dated = { by = 'field', field = 'at' }";

fn head(rest: &str) -> String {
    file(&format!("path = '/items'\nrecords = '$.items[*]'\n{BY_FIELD}\n{rest}"))
}

/// The first export is whole, the second finds nothing, the third finds what is new.
#[track_caller]
fn is_read_whole_and_again(trial: &Trial, text: &str) {
    trial.export("items", text);
    assert_eq!(trial.ids("items"), trial.expected());
    let before = trial.lake.data();
    trial.export("items", text);
    assert_eq!(trial.lake.data(), before, "P4: nothing is written that has not changed");
    trial.records().push(json!({"id": "new", "at": "2026-11-23T11:00:00Z"}));
    trial.records()[0]["n"] = json!(4711);
    let report = trial.export("items", text);
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.inserted, endpoint.updated), (1, 1));
    assert_eq!(trial.ids("items"), trial.expected());
    trial.verify(&[("items", text)]);
}

#[test]
fn skip_and_limit() {
    let trial = Trial::new(hourly(230), |records, target| {
        let limit = target.number("count", 1000);
        (200, json!({"items": slice(records, target.number("offset", 0), limit)}))
    });
    let text =
        head("paging = { style = 'skip_limit', skip = 'offset', limit = 'count', page_size = 50 }");
    is_read_whole_and_again(&trial, &text);
}

#[test]
fn page_numbers_from_one_with_a_word_on_more() {
    let trial = Trial::new(hourly(230), |records, target| {
        let size = target.number("per_page", 1000);
        let skip = (target.number("p", 1) - 1) * size;
        let more = skip + size < records.len();
        (200, json!({"items": slice(records, skip, size), "meta": {"more": more}}))
    });
    let text = head(
        "[paging]\nstyle = 'page_number'\npage = 'p'\nsize = 'per_page'\npage_size = 40\n\
         has_more = '$.meta.more'",
    );
    is_read_whole_and_again(&trial, &text);
    let targets = trial.server.targets();
    assert!(targets.iter().any(|it| it == "/items?p=6&per_page=40"), "{targets:#?}");
    assert!(targets.iter().all(|it| !it.contains("p=7")));
}

#[test]
fn page_numbers_from_zero_of_a_size_that_the_server_chose_and_404_at_the_end() {
    let trial = Trial::new(hourly(60), |records, target| {
        let items = slice(records, target.number("page", 0) * 20, 20);
        if items.is_empty() { (404, json!({})) } else { (200, json!({"items": items})) }
    });
    let text = head("paging = { style = 'page_number', first = 0 }");
    is_read_whole_and_again(&trial, &text);
}

#[test]
fn cursors_within_windows_of_an_hour() {
    let trial = Trial::new(hourly(72), |records, target| {
        let (from, to) = (target.get("since").unwrap(), target.get("until").unwrap());
        let items = between(records, from.parse().unwrap(), to.parse().unwrap());
        // One by one, so that an hour has pages.
        let skip: usize = target.get("after").map_or(0, |it| it[1..].parse().unwrap());
        let next = (skip + 1 < items.len()).then(|| format!("c{}", skip + 1));
        (200, json!({"items": slice(&items, skip, 1), "page": {"next": next}}))
    });
    let text = head(
        "[window]\nfrom = 'since'\nto = 'until'\nformat = 'epoch_seconds'\nstep = 'hour'\n\
         [paging]\nstyle = 'cursor'\nparameter = 'after'\nnext = '$.page.next'",
    );
    is_read_whole_and_again(&trial, &text);
    let targets = trial.server.targets();
    let second = at("2026-11-23T09:00:00Z").timestamp();
    let window = format!("/items?since={}&until={}", second - 1, second + 3600);
    assert!(targets.contains(&window), "{window}: {targets:#?}");
}

#[test]
fn links_absolute_and_relative() {
    let trial = Trial::new(hourly(100), |records, target| {
        let skip = target.number("from", 0);
        let next = match skip + 30 {
            next if next >= records.len() => Value::Null,
            30 => json!("?from=30&limit=30"),
            next => json!(format!("/items?from={next}")),
        };
        (200, json!({"items": slice(records, skip, 30), "links": {"next": next}}))
    });
    let text = head(
        "paging = { style = 'next_link', next = '$.links.next', limit = 'limit', page_size = 30 }",
    );
    is_read_whole_and_again(&trial, &text);
    let targets = trial.server.targets();
    assert_eq!(&targets[..3], ["/items?limit=1", "/items?limit=30", "/items?from=30&limit=30"]);
}

#[test]
fn a_reply_without_pages_is_requested_once() {
    let trial = Trial::new(hourly(100), |records, _| (200, json!({"items": records})));
    trial.export("items", &head("paging = { style = 'none' }"));
    assert_eq!(trial.ids("items").len(), 100);
    // One that tells whether the credentials are right, one that reads.
    assert_eq!(trial.server.requests(), 2);
}

/// A server that would lead astray: the export ends, says why, and claims nothing.
#[track_caller]
fn is_stopped(
    rest: &str,
    most: usize,
    answer: impl Fn(&[Value], &Target) -> (u16, Value) + Send + Sync + 'static,
) -> Report {
    let trial = Trial::new(hourly(90), answer);
    let report = trial.run("items", &head(rest)).run();
    assert!(!report.complete, "it must be said");
    assert!(trial.server.requests() <= most, "{} requests", trial.server.requests());
    let manifest = trial.lake.manifest("items");
    assert!(manifest.is_none_or(|it| it.coverage.is_empty() && !it.schema_frozen));
    report
}

#[track_caller]
fn says(report: &Report, words: &str) {
    let problem = &report.problems[0].message;
    assert!(report.problems.len() == 1 && problem.contains(words), "{:?}", report.problems);
}

#[test]
fn a_server_that_ignores_the_position_is_stopped() {
    let first = |records: &[Value]| (200, json!({"items": slice(records, 0, 30)}));
    let skip = "paging = { style = 'skip_limit', page_size = 30 }";
    says(&is_stopped(skip, 9, move |records, _| first(records)), "repeats its pages");
    let number = "paging = { style = 'page_number', size = 'size', page_size = 30 }";
    says(&is_stopped(number, 4, move |records, _| first(records)), "repeats its pages");
}

#[test]
fn a_cursor_that_loops_or_never_ends_is_stopped() {
    let cursor = "paging = { style = 'cursor', next = '$.next' }";
    let report = is_stopped(cursor, 5, |records, target| {
        let next = if target.get("cursor") == Some("a") { "b" } else { "a" };
        (200, json!({"items": slice(records, 0, 3), "next": next}))
    });
    says(&report, "pagination loops");
    let report = is_stopped(cursor, 24, |records, target| {
        let next = target.number("cursor", 0) + 1;
        (200, json!({"items": slice(records, 0, 3), "next": next}))
    });
    says(&report, "repeats its pages");
    let most = "paging = { style = 'cursor', next = '$.next', most = 10 }";
    let report = is_stopped(most, 11, |records, target| {
        let next = target.number("cursor", 0) + 1;
        (200, json!({"items": slice(records, next, 1), "next": next}))
    });
    says(&report, "more pages than `most`");
}

#[test]
fn a_link_to_another_host_is_not_followed_and_nothing_is_sent_there() {
    let other = crate::support::Canned::start(|_| (200, json!({"items": []})));
    for link in [
        format!("{}/items", other.base_url()),
        other.base_url().replacen("http://", "//", 1),
        other.base_url().replacen("127.0.0.1", "127.0.0.1@localhost", 1),
        "https://example.com/items".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let next = link.clone();
        let link = "paging = { style = 'next_link', next = '$.next' }";
        let report = is_stopped(link, 2, move |records, _| {
            (200, json!({"items": slice(records, 0, 3), "next": next}))
        });
        says(&report, "another host");
    }
    assert_eq!(other.requests(), 0);
}

#[test]
fn a_redirect_to_another_host_is_not_followed_either() {
    let report = is_stopped("", 2, |_, _| (302, json!({})));
    says(&report, "302");
}
