//! P1, P7, P12: what a reply says about its list and about itself is believed, followed or named,
//! however it says so: replies as they are on the wire, headers included.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{Target, Trial, between, file, hourly, slice};
use crate::support::{Canned, at, reply};

const BY_FIELD: &str = "dated = { by = 'field', field = 'at' }\n";
const BY_RUN: &str = "dated = { by = 'run' }\n";
const SKIP: &str = "[paging]\nstyle = 'skip_limit'\npage_size = 50\n";
const DAYS: &str =
    "[window]\nfrom = 'since'\nto = 'until'\nformat = 'epoch_seconds'\nstep = 'day'\n";

fn head(rest: &str) -> String {
    file(&format!("path = '/items'\nrecords = '$.items[*]'\n{rest}"))
}

/// A server that answers with headers and bytes, from a function of the request's number.
fn raw(answer: impl Fn(usize, &Target) -> Vec<u8> + Send + Sync + 'static) -> Trial {
    let count = AtomicUsize::new(0);
    Trial::over(Canned::start_raw(move |target| {
        answer(count.fetch_add(1, Ordering::Relaxed), &Target::of(target))
    }))
}

fn ids(records: &[Value]) -> Vec<String> {
    let mut ids: Vec<_> = records.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// The records of a window, and whether it is the day of the 21st, which has fewer than the others.
fn of_window(records: &[Value], target: &Target) -> (Vec<Value>, bool) {
    let number = |name: &str| target.get(name).unwrap().parse::<i64>().unwrap();
    let (since, until) = (number("since"), number("until"));
    let small = at("2026-11-21T12:00:00Z").timestamp();
    (between(records, since, until), (since..until).contains(&small))
}

/// Days of 24 records, but for one of 8.
fn days() -> Vec<Value> {
    let mut records = hourly(24 * 5);
    records.retain(|it| {
        let text = it["at"].as_str().unwrap();
        !text.starts_with("2026-11-21") || text < "2026-11-21T08"
    });
    records
}

/// 18.1: the lake knows records of a day that did not come, so the day's short page is confirmed,
/// at most once a window.
#[test]
fn p1_a_day_that_lacks_what_the_lake_has_is_asked_for_once_more() {
    let capped = Arc::new(AtomicUsize::new(usize::MAX));
    let cap = Arc::clone(&capped);
    let trial = Trial::new(days(), move |records, target| {
        let (items, is_small) = of_window(records, target);
        let most = if is_small { cap.load(Ordering::Relaxed) } else { usize::MAX };
        let limit = target.number("limit", 1_000).min(most);
        (200, json!({"items": slice(&items, target.number("skip", 0), limit)}))
    });
    let text = head(&[BY_FIELD, DAYS, SKIP].concat());
    let run = || trial.run("items", &text).with_concurrency(1);
    run().complete();
    assert_eq!(trial.ids("items"), trial.expected());
    for most in [4, 2] {
        capped.store(most, Ordering::Relaxed);
        trial.records().push(json!({"id": format!("new {most}"), "at": "2026-11-21T09:00:00Z"}));
        run().complete();
        assert_eq!(trial.ids("items"), trial.expected(), "P1: {most} a page");
    }
    // P7: what is gone for good costs one request a window, and no more.
    capped.store(usize::MAX, Ordering::Relaxed);
    trial.records().retain(|it| !it["at"].as_str().unwrap().starts_with("2026-11-21T0"));
    trial.server.targets();
    let report = run().complete();
    let targets = trial.server.targets();
    let small = targets.iter().filter(|it| of_window(&[], &Target::of(it)).1).count();
    assert_eq!(small, 2, "{targets:#?}");
    assert!(report.endpoints[0].confirmations <= 9, "{}", report.endpoints[0].confirmations);
}

/// C3: an empty list instead of known records counts only when it comes twice.
#[test]
fn p1_an_empty_day_in_place_of_known_records_is_asked_for_again() {
    let empty = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&empty);
    let trial = Trial::new(days(), move |records, target| {
        let (items, is_small) = of_window(records, target);
        let one_less = |left: usize| left.checked_sub(1);
        let is_empty =
            is_small && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        let items = if is_empty { Vec::new() } else { items };
        (200, json!({"items": slice(&items, target.number("skip", 0), 50)}))
    });
    let text = head(&[BY_FIELD, DAYS, SKIP].concat());
    trial.export("items", &text);
    empty.store(1, Ordering::Relaxed);
    trial.records().push(json!({"id": "new", "at": "2026-11-21T09:00:00Z"}));
    trial.export("items", &text);
    assert_eq!(trial.ids("items"), trial.expected());
}

/// 18.1: however a reply says that there is more, the list is read on, or the run names the lines
/// that would read it; and with these lines it does.
#[test]
fn p12_more_in_any_spelling_is_followed_or_named_with_the_toml_that_reads_it() {
    type More = fn(usize) -> Value;
    let spellings: [More; 11] = [
        |next| json!({"hasMore": next < 60}),
        |next| json!({"has_more": next < 60}),
        |next| json!({"paging": {"HasMore": next < 60}}),
        |next| json!({"pagination": {"more": next < 60}}),
        |next| json!({"isLast": next >= 60}),
        |next| json!({"nextPageToken": (next < 60).then(|| next.to_string())}),
        |next| json!({"next_cursor": if next < 60 { next.to_string() } else { String::new() }}),
        |next| json!({"links": {"next": (next < 60).then(|| format!("/items?from={next}"))}}),
        |next| json!({"@odata.nextLink": (next < 60).then(|| format!("?from={next}"))}),
        |next| json!({"meta": {"total": 60, "next": (next < 60).then_some(next)}}),
        |_| json!({"totalCount": 60}),
    ];
    for more in spellings {
        let case = more(25).to_string();
        let trial = Trial::new(hourly(60), move |records, target| {
            let named = ["skip", "from", "cursor", "pageToken", "token"];
            let skip = named.iter().find_map(|name| target.get(name)?.parse().ok());
            let page = target.get("page").and_then(|it| it.parse::<usize>().ok());
            let skip = skip.or(page.map(|page| page.saturating_sub(1) * 25)).unwrap_or(0);
            let items = slice(records, skip, 25);
            let mut body = more(skip + items.len());
            body["items"] = json!(items);
            (200, body)
        });
        let report = trial.run("items", &head(BY_FIELD)).run();
        if report.complete {
            assert_eq!(trial.ids("items"), trial.expected(), "P1: {case}");
            continue;
        }
        let message = &report.problems[0].message;
        let (_, toml) = message.split_once("add to an endpoint file: ").expect(message);
        assert!(toml.contains("paging"), "{case}: {message}");
    }
}

/// P1, P14: a total larger than what came is never complete, wherever it is and however the list is
/// paged, and an empty list beside one removes nothing; unless the reply says that the list ends.
#[test]
fn p1_p14_a_total_larger_than_what_came_is_named_and_removes_nothing() {
    let totals: [fn(usize) -> Value; 7] = [
        |total| json!({"total": total}),
        |total| json!({"totalCount": total}),
        |total| json!({"pagination": {"total": total}}),
        |total| json!({"pagination": {"matched": total}}),
        |total| json!({"meta": {"total": total}}),
        |total| json!({"count": total}),
        |total| json!({"total": total, "hasMore": false}),
    ];
    let styles = [
        "",
        "paging = { style = 'skip_limit', page_size = 50 }",
        "paging = { style = 'page_number', size = 'size', page_size = 50 }",
        "paging = { style = 'cursor', next = '$.next_cursor' }",
        "paging = { style = 'next_link', next = '$.links.next' }",
    ];
    for (style, total) in styles.iter().flat_map(|style| totals.map(|total| (style, total))) {
        for came in [25, 0] {
            let case = format!("{style} {} {came}", total(90));
            let failing = Arc::new(AtomicUsize::new(0));
            let fails = Arc::clone(&failing);
            let trial = Trial::new(hourly(25), move |records, target| {
                let is_first = target.number("skip", 0) == 0 && target.number("page", 1) == 1;
                let is_failing = fails.load(Ordering::Relaxed) == 1;
                let mut body = if is_failing { total(90) } else { json!({}) };
                let most = if is_failing { came } else { 25 };
                body["items"] = json!(slice(records, 0, if is_first { most } else { 0 }));
                (200, body)
            });
            let text = head(&[BY_RUN, style].concat());
            trial.export("items", &text);
            trial.server.targets();
            failing.store(1, Ordering::Relaxed);
            let report = trial.run("items", &text).run();
            assert_eq!(trial.ids("items"), trial.expected(), "P14: {case}");
            let requests = trial.server.targets().len();
            assert!(requests <= 8, "P7: {case}: {requests} requests");
            let is_ended = total(90).get("hasMore").is_some() && came > 0;
            assert_eq!(report.complete, is_ended, "P1: {case}: {:?}", report.problems);
        }
    }
}

/// P1: a page that does not exist ends no list whose replies say that there is more.
#[test]
fn p1_a_page_number_that_is_not_there_ends_only_a_list_that_may_end_there() {
    for more in [json!({"total": 90}), json!({"hasMore": true}), json!({"nextPage": 2})] {
        let case = more.to_string();
        let trial = Trial::new(hourly(25), move |records, target| {
            let mut body = more.clone();
            body["items"] = json!(slice(records, 0, 25));
            if target.number("page", 1) == 1 { (200, body) } else { (404, json!({})) }
        });
        let paging = "paging = { style = 'page_number', size = 'size', page_size = 25 }";
        let report = trial.run("items", &head(&[BY_FIELD, paging].concat())).run();
        assert!(!report.complete, "{case}");
    }
}

/// P1, P7: a server that sends one record a page, or does so in the middle of its list, is read to
/// the end, and one that says for ever that there is more is named after a few requests.
#[test]
fn p1_p7_pages_of_one_record_are_read_and_endless_ones_end() {
    type Says = fn(usize, usize) -> Value;
    let told: [(Says, bool); 5] = [
        (|_, _| json!({}), false),
        (|_, count| json!({"total": count}), true),
        (|end, count| json!({"hasMore": end < count}), true),
        (|end, count| json!({"pagination": {"matched": count, "hasMore": end < count}}), true),
        (|_, _| json!({"hasMore": true}), true),
    ];
    for (says, speaks) in told {
        for ones in [0..usize::MAX, 10..20] {
            let case = format!("{} {ones:?}", says(1, 30));
            let is_silent_inside = !speaks && ones.start > 0;
            let trial = Trial::new(hourly(30), move |records, target| {
                let (skip, limit) = (target.number("skip", 0), target.number("limit", 100));
                let limit = if ones.contains(&skip) { limit.min(1) } else { limit.min(10) };
                let items = slice(records, skip, limit);
                let mut body = says(skip + items.len(), records.len());
                body["items"] = json!(items);
                (200, body)
            });
            let text = head(&[BY_FIELD, SKIP].concat());
            let report = trial.run("items", &text).run();
            let requests = trial.server.targets().len();
            // Single records are read twice, and the first time each with the one before it.
            assert!(requests <= 95, "P7: {case}: {requests} requests");
            let is_endless = says(30, 30) == json!({"hasMore": true});
            assert_eq!(report.complete, !is_endless, "{case}: {:?}", report.problems);
            // In silence, the last of several pages cannot be told from a page of one.
            if !is_silent_inside {
                assert_eq!(trial.ids("items"), trial.expected(), "P1: {case}");
            }
        }
    }
}

/// 18.2: a `Link` header is followed where the endpoint says nothing of pages, days included.
#[test]
fn p1_link_headers_are_followed_and_days_have_pages() {
    let linked = |records: Vec<Value>, target: &Target| {
        let skip = target.number("from", 0);
        let query: String = target
            .query
            .iter()
            .filter(|(name, _)| name != "from")
            .fold(String::new(), |text, (name, value)| format!("{text}{name}={value}&"));
        let next = format!("</items?{query}from={}>; title=\"a, b\"; REL=\"last next\"", skip + 10);
        let links = [("Link", "</items>; rel=first"), ("Link", next.as_str())];
        let links = if skip + 10 < records.len() { &links[..] } else { &links[..1] };
        let body = json!({"items": slice(&records, skip, 10)}).to_string();
        reply(200, links, body.as_bytes())
    };
    let trial = raw(move |_, target| linked(hourly(60), target));
    trial.export("items", &head(BY_FIELD));
    assert_eq!(trial.ids("items"), ids(&hourly(60)));
    let trial = raw(move |_, target| linked(of_window(&days(), target).0, target));
    trial.export("items", &head(&format!("dated = {{ by = 'window' }}\n{DAYS}")));
    assert_eq!(trial.ids("items"), ids(&days()));
}

/// 18.2: a `next` that is no text, number or link is an error, and no end.
#[test]
fn p12_a_next_that_is_none_is_named() {
    for next in [json!({"page": 2}), json!(true), json!([1])] {
        let trial = Trial::new(hourly(60), move |records, _| {
            (200, json!({"items": slice(records, 0, 25), "next": next}))
        });
        let paging = "paging = { style = 'cursor', next = '$.next' }";
        let report = trial.run("items", &head(&[BY_FIELD, paging].concat())).run();
        assert!(!report.complete && report.problems.len() == 1, "{:?}", report.problems);
    }
}

/// 18.3: where the order of one instant differs in each reply, and it spans a page's edge, all of it
/// is read.
#[test]
fn p1_ties_across_an_edge_of_pages_are_read_whole() {
    let turn = AtomicUsize::new(0);
    let minutes = |count: i64| -> Vec<Value> {
        let begin = at("2026-11-23T08:00:00Z");
        let time = |number: i64| (begin + TimeDelta::minutes(number / 8)).to_rfc3339();
        (0..count).map(|it| json!({"id": format!("r{it:03}"), "at": time(it)})).collect()
    };
    let trial = Trial::new(minutes(200), move |records, target| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let mut records = records.to_vec();
        records.chunks_mut(8).for_each(|ties| ties.rotate_left((turn * 3) % 8));
        (
            200,
            json!({"items": slice(&records, target.number("skip", 0), target.number("limit", 50))}),
        )
    });
    let paging = SKIP.replace("50", "20");
    trial.export("items", &head(&[BY_FIELD, &paging].concat()));
    assert_eq!(trial.ids("items"), trial.expected());
}

/// 18.4: what is no list empties no snapshot and covers no window; once it heals, all is in.
#[test]
fn p14_what_is_no_list_is_a_failure_and_removes_nothing() {
    for body in [
        r#"{"items": null, "error": "upstream timed out"}"#,
        r#"{"items": null}"#,
        r#"{"error": {"message": "upstream timed out"}}"#,
        r#"{"items": [], "errors": ["upstream timed out"]}"#,
        "",
        "<!doctype html><title>Maintenance</title>",
    ] {
        for rest in [BY_RUN.to_owned(), [BY_FIELD, DAYS].concat()] {
            let failing = Arc::new(AtomicUsize::new(0));
            let fails = Arc::clone(&failing);
            let trial = raw(move |_, target| {
                let good = match target.get("since") {
                    Some(_) => of_window(&days(), target).0,
                    None => days(),
                };
                match fails.load(Ordering::Relaxed) {
                    0 => reply(200, &[], json!({"items": good}).to_string().as_bytes()),
                    _ => reply(200, &[], body.as_bytes()),
                }
            });
            let text = head(&rest);
            trial.export("items", &text);
            let before = trial.ids("items");
            failing.store(1, Ordering::Relaxed);
            let begun = Instant::now();
            let report = trial.run("items", &text).run();
            assert!(!report.complete, "P12: {body} {rest}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{body}: {:?}", begun.elapsed());
            assert_eq!(trial.ids("items"), before, "P14: {body} {rest}");
            failing.store(0, Ordering::Relaxed);
            trial.export("items", &text);
            assert_eq!(trial.ids("items"), before, "{body} {rest}");
        }
    }
}

/// 18.5: a filter that the server ignores is noticed where windows date the records.
#[test]
fn p12_a_filter_that_is_ignored_is_named() {
    let trial = Trial::new(hourly(5), |records, _| (200, json!({"items": records})));
    let text = head(&format!("dated = {{ by = 'window' }}\n{DAYS}"));
    let report = trial.run("items", &text).run();
    let said = report.problems.iter().any(|it| it.message.contains("seems to ignore the filter"));
    assert!(!report.complete && said, "{:?}", report.problems);
}

/// 18.6: one bad record costs one record: it is repaired and stored, and all around it is read.
#[test]
fn p1_one_bad_record_is_repaired_and_costs_no_other() {
    for (bad, stored) in [
        (&b"\"n\": NaN"[..], json!("NaN")),
        (b"\"n\": 007", json!("007")),
        (b"\"n\": \"cut \xe2\x82\"", json!("cut \u{fffd}")),
    ] {
        let bad = bad.to_vec();
        let trial = raw(move |_, target| {
            let items = slice(&hourly(60), target.number("skip", 0), target.number("limit", 50));
            let text = json!({"items": items}).to_string();
            let (before, after) = text.split_once("\"n\":33").unwrap_or((&text, ""));
            let bad = if after.is_empty() { &b""[..] } else { &bad };
            reply(200, &[], &[before.as_bytes(), bad, after.as_bytes()].concat())
        });
        let text = head(&[BY_FIELD, SKIP].concat());
        trial.export("items", &text);
        let before = trial.lake.data();
        trial.export("items", &text);
        assert_eq!(trial.lake.data(), before, "P4: it is repaired alike each time");
        assert_eq!(trial.ids("items"), ids(&hourly(60)));
        let rows = trial.lake.rows("items");
        let row = rows.iter().find(|row| row.record["id"] == "r0033").unwrap();
        assert_eq!(row.record["n"], stored);
    }
}

/// 18.7: a wait is kept, in seconds or until a date, and nothing is sent before it is over.
#[test]
fn p7_a_wait_that_the_server_asks_for_is_kept() {
    for status in [429, 503] {
        for as_date in [false, true] {
            let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
            let instants = Arc::clone(&asked);
            let trial = raw(move |number, _| {
                instants.lock().unwrap().push(Instant::now());
                let date = |at: chrono::DateTime<Utc>| at.format("%a, %d %b %Y %T GMT").to_string();
                let now = Utc::now();
                // A date has whole seconds.
                let until = date(now + TimeDelta::seconds(3));
                let wait = if as_date { until } else { "2".to_owned() };
                let body = json!({"items": hourly(3)}).to_string();
                match number {
                    1 => reply(status, &[("Retry-After", &wait), ("Date", &date(now))], b"later"),
                    _ => reply(200, &[], body.as_bytes()),
                }
            });
            trial.export("items", &head(BY_FIELD));
            assert_eq!(trial.ids("items").len(), 3);
            let asked = asked.lock().unwrap();
            let waited = asked[2] - asked[1];
            assert!(waited >= Duration::from_millis(1_900), "{status} {as_date}: {waited:?}");
        }
    }
}

/// 18.7: gzip in several members, by any of its names.
#[test]
fn p1_gzip_is_read_in_any_spelling_and_any_number_of_members() {
    for name in ["gzip", "GZIP", "x-gzip", "X-GZip"] {
        let trial = raw(move |_, _| {
            let body = json!({"items": hourly(60)}).to_string();
            let member = |bytes: &[u8]| {
                let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
                packer.write_all(bytes).unwrap();
                packer.finish().unwrap()
            };
            let packed: Vec<u8> = body.as_bytes().chunks(1_000).flat_map(member).collect();
            reply(200, &[("Content-Encoding", name)], &packed)
        });
        trial.export("items", &head(BY_FIELD));
        assert_eq!(trial.ids("items"), ids(&hourly(60)), "{name}");
    }
}
