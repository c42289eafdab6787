//! P1 no loss, P2 one row per key, P5 nothing changed in passing: what the lake says is what the
//! workspace says, however the API pages, caps, filters or shifts.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::simulator::{BeyondCap, Options, Settings, Table};
use serde_json::{Value, json};

use crate::support::{Row, Site, assert_same, at, get, normal, now, small};

#[test]
fn p1_p2_p5_every_endpoint_equals_its_source() {
    let site = Site::new(&small());
    site.export().complete();
    site.assert_everything(site.now);
    assert_days_equal_their_source(&site);
}

/// A workspace in which every tenth value comes in another type, and titles hold anything.
#[test]
fn p5_values_of_unexpected_types_round_trip() {
    let site = Site::new(&Options { calls: 60, oddities: 0.4, ..small() });
    let report = site.export().complete();
    let misfits: usize = report.endpoints.iter().map(|it| it.misfits.len()).sum();
    assert!(misfits > 5, "the workspace is odd: {misfits}");
    site.assert_everything(site.now);
}

#[test]
fn p5_half_a_surrogate_pair_is_replaced_and_nothing_else_changes() {
    let site = Site::new(&Options { lone_surrogates: 0.5, ..small() });
    let report = site.export().only(&["calls"]).complete();
    let calls = report.endpoints.first().unwrap();
    assert!(calls.lone_surrogates > 20, "{}", calls.lone_surrogates);
    let truth: Vec<Value> = site.workspace.calls_before(site.now, false);
    let whole = |title: &Value| title.as_str().unwrap().replace(['\u{f8fe}', '\u{fffd}'], "?");
    let truth: BTreeMap<_, _> =
        truth.iter().map(|call| (call["id"].as_str().unwrap().to_owned(), call)).collect();
    let rows = site.lake.rows("calls");
    assert_eq!(rows.len(), truth.len());
    for row in rows {
        let call = truth[row.record["id"].as_str().unwrap()];
        assert_eq!(whole(&row.record["title"]), whole(&call["title"]));
    }
}

/// Usage numbers have no truth but the API's own answer for each day.
fn assert_days_equal_their_source(site: &Site) {
    let base_url = site.server.base_url();
    let (mut stats, mut sums) = (BTreeMap::new(), BTreeMap::new());
    let first = (site.now - TimeDelta::days(30)).date_naive();
    for day in first.iter_days().take_while(|day| *day <= site.now.date_naive()) {
        let reply = get(&base_url, &format!("/stats?from={day}&to={day}"));
        for row in reply["stats"].as_array().unwrap() {
            let key = format!("{day}/{}", row["user_id"].as_str().unwrap());
            stats.insert(key, normal(row.clone()));
        }
        let reply = get(&base_url, &format!("/stats/aggregate?from={day}&to={day}"));
        sums.insert(day.to_string(), normal(reply["aggregate"].clone()));
    }
    let day = |row: &Row| {
        assert_eq!(row.day.as_ref(), Some(&row.dt));
        row.dt.clone()
    };
    let user = |row: &Row| format!("{}/{}", day(row), row.record["user_id"].as_str().unwrap());
    assert_same("user_stats", &stats, &site.lake.rows("user_stats"), &user);
    assert_same("aggregate_stats", &sums, &site.lake.rows("aggregate_stats"), &day);
}

/// A late import and a change long before the lookback: what sums up their days is read again.
#[test]
fn p1_usage_numbers_follow_calls_that_change_on_old_days() {
    let site = Site::new(&small());
    let run = || site.export().only(&["calls", "user_stats", "aggregate_stats"]);
    run().complete();
    site.server.clear();
    site.workspace.advance(site.now + TimeDelta::minutes(30));
    let now = site.workspace.now();
    assert!(site.workspace.reschedule(&site.a_call(28, 20), now - TimeDelta::days(15), false));
    let mut call = site.workspace.call(&site.a_call(12, 10)).unwrap();
    call["id"] = json!("late");
    call["time"] = json!((now - TimeDelta::days(25)).to_rfc3339());
    call["last_modified_time"] = json!(now.to_rfc3339());
    assert!(site.workspace.insert_call(call, false));
    run().at(site.now + TimeDelta::hours(1)).complete();
    // The simulator's numbers do not follow its calls; that they are requested again can be seen.
    for path in ["/stats", "/stats/aggregate"] {
        let mut asked = site.server.requests();
        asked.retain(|it| it.path == path && it.query.contains("2025-10-26"));
        assert_eq!(asked.len(), 1, "{path}");
    }
    assert_days_equal_their_source(&site);
}

#[test]
fn p1_crm_objects_are_looked_up_for_every_call_that_names_one() {
    let site = Site::new(&small());
    let tables = ["crm_accounts", "crm_contacts", "crm_deals"];
    let mut all = vec!["calls"];
    all.extend(tables);
    site.export().only(&all).complete();
    let calls = site.workspace.calls_before(site.now, false);
    let info = calls.iter().map(|call| &call["crm_info"]);
    let named: BTreeSet<&str> = info
        .flat_map(|info| {
            let contacts = info["contact_ids"].as_array().into_iter().flatten();
            contacts.chain([&info["contact_ids"], &info["account_id"], &info["deal_id"]])
        })
        .filter_map(Value::as_str)
        .collect();
    let sources = [Table::CrmAccounts, Table::CrmContacts, Table::CrmDeals];
    for (table, source) in tables.into_iter().zip(sources) {
        let key = |record: &Value| record["crm_id"].as_str().unwrap().to_owned();
        let rows = site.workspace.rows(source).into_iter();
        let rows = rows.filter(|row| named.contains(row["crm_id"].as_str().unwrap()));
        let truth: BTreeMap<_, _> = rows.map(|row| (key(&row), normal(row))).collect();
        assert!(!truth.is_empty());
        let found = site.rows_of_day(table, site.now);
        assert_same(table, &truth, &found, &|row| key(&row.record));
    }
}

#[test]
fn p5_p6_declared_columns_have_their_declared_types_in_every_object() {
    let site = Site::new(&Options { calls: 20, oddities: 0.2, ..small() });
    site.export().complete();
    let catalogue = Catalogue::built_in().unwrap();
    for table in site.lake.tables() {
        let schema = site.lake.schema(&table);
        let manifest = site.lake.manifest(&table).unwrap();
        assert_eq!(schema.fields(), manifest.schema.arrow().fields(), "{table}");
        for column in &catalogue.find(&table).unwrap().columns {
            let found = schema.field_with_name(&column.name).unwrap().data_type();
            assert!(holds(found, column.field().data_type()), "{table}.{}: {found}", column.name);
        }
        schema.fields().iter().for_each(|field| assert_readable(field));
    }
    // And some of them by hand, in case a declaration is read wrongly.
    let calls = site.lake.schema("calls");
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(*calls.field_with_name("time").unwrap().data_type(), instant);
    assert_eq!(*calls.field_with_name("exported_at").unwrap().data_type(), instant);
    assert_eq!(*calls.field_with_name("deleted_at").unwrap().data_type(), instant);
    let DataType::Struct(metrics) = calls.field_with_name("metrics").unwrap().data_type() else {
        panic!("metrics is a struct");
    };
    let ratio = metrics.iter().find(|field| field.name() == "talk_listen_ratio").unwrap();
    assert_eq!(*ratio.data_type(), DataType::Float64);
}

/// Whether a type is the declared one, or that with fields added by inference.
fn holds(found: &DataType, declared: &DataType) -> bool {
    match (found, declared) {
        (DataType::List(found), DataType::List(declared)) => {
            found.name() == "element" && holds(found.data_type(), declared.data_type())
        }
        (DataType::Struct(found), DataType::Struct(declared)) => declared.iter().all(|field| {
            let same = found.iter().find(|it| it.name() == field.name());
            same.is_some_and(|it| holds(it.data_type(), field.data_type()))
        }),
        (found, declared) => found == declared,
    }
}

/// Section 2: no Null type, no empty struct, no two names that differ only in case.
fn assert_readable(field: &Field) {
    match field.data_type() {
        DataType::List(item) => assert_readable(item),
        DataType::Struct(fields) => {
            let names: BTreeSet<_> = fields.iter().map(|it| it.name().to_lowercase()).collect();
            assert!(!fields.is_empty() && names.len() == fields.len(), "{field}");
            fields.iter().for_each(|field| assert_readable(field));
        }
        other => assert_ne!(*other, DataType::Null, "{field}"),
    }
}

/// A site of nothing but this many plain calls at `from` and evenly over the `span` after it, in
/// an order of ids that is not that of time.
fn crowd(crowds: &[(&str, TimeDelta, i32)], settings: Settings) -> Site {
    let options = Options { calls: 0, scheduled: 0, ..small() };
    let site = Site::with(&options, Settings { gzip: false, ..settings });
    for (from, span, count) in crowds {
        for number in 0..*count {
            let time = at(from) + *span * number / *count;
            let id = format!("{:08x}", number.wrapping_mul(0x0019_660d).wrapping_add(count + 1));
            let id = format!("{id}-{count}");
            assert!(site.workspace.insert_call(plain_call(&id, time), false));
        }
    }
    site
}

fn assert_crowd_is_read(crowds: &[(&str, TimeDelta, i32)], settings: Settings) {
    let site = crowd(crowds, settings);
    site.export().only(&["calls"]).complete();
    site.assert_list_is(&site.workspace.calls_before(site.now, false));
    assert_eq!(site.server.violations().total(), 0);
}

const NOON: &str = "2025-11-12T12:00:00Z";

#[test]
fn p1_a_day_of_12500_calls_with_two_thirds_in_one_hour_is_read_whole() {
    let day = ("2025-11-12T00:00:00Z", TimeDelta::days(1), 4_200);
    // No request goes beyond the cap, so its reply there does not matter.
    let settings = Settings { beyond_cap: BeyondCap::Clamp, ..Settings::default() };
    assert_crowd_is_read(&[day, (NOON, TimeDelta::hours(1), 8_300)], settings);
}

#[test]
fn p1_3000_calls_on_one_instant_are_read_whole() {
    let settings = Settings { ties_ascending: true, ..Settings::default() };
    assert_crowd_is_read(&[(NOON, TimeDelta::zero(), 3_000)], settings);
}

/// One second that holds more than skip reaches is read from both ends.
#[test]
fn p1_10300_calls_in_one_second_are_read_whole() {
    let (beyond_cap, edges_inclusive) = (BeyondCap::Empty, true);
    let settings = Settings { beyond_cap, edges_inclusive, ..Settings::default() };
    assert_crowd_is_read(&[(NOON, TimeDelta::seconds(1), 10_300)], settings);
}

/// What no request can reach is a gap that is said, not a loss that is not.
#[test]
fn p1_p12_unreachable_records_are_reported_and_the_rest_is_exported() {
    let crowds =
        [(NOON, TimeDelta::zero(), 10_150), ("2025-11-14T12:00:00Z", TimeDelta::hours(1), 50)];
    let site = crowd(&crowds, Settings { ties_ascending: true, ..Settings::default() });
    let report = site.export().only(&["calls"]).run();
    assert!(!report.complete, "150 calls on one instant are out of reach from either end");
    site.assert_coverage_is_true();
    let rows = site.lake.rows("calls");
    assert!(rows.len() > 10_000, "{}", rows.len());
    assert_eq!(rows.iter().filter(|row| row.dt == "2025-11-14").count(), 50);
}

#[test]
fn p1_calls_on_window_edges_are_read_whether_edges_are_inclusive_or_not() {
    for edges_inclusive in [false, true] {
        let settings = Settings { edges_inclusive, ..Settings::default() };
        let site = Site::with(&Options { calls: 20, ..small() }, settings);
        for (days, shift) in (0..=35).flat_map(|days| [-1_000, -1, 0, 1].map(|it| (days, it))) {
            let time = site.now - TimeDelta::days(days) + TimeDelta::milliseconds(shift);
            let id = format!("edge-{days}-{shift}");
            assert!(site.workspace.insert_call(plain_call(&id, time), false));
        }
        let first = site.now - TimeDelta::days(30);
        site.export().only(&["calls"]).complete();
        let in_range = |call: &Value| call["time"].as_str().unwrap().parse::<DateTime<Utc>>();
        let mut truth = site.workspace.calls_before(site.now, false);
        truth.retain(|call| in_range(call).is_ok_and(|time| time >= first - TimeDelta::seconds(1)));
        // A window is requested from a second before it; what that returns may stay or not.
        let rows = site.lake.rows("calls");
        let is_before = |id: &str| ["edge-30--1", "edge-30--1000"].contains(&id);
        let present: BTreeSet<_> =
            rows.iter().map(|it| it.record["id"].as_str().unwrap()).collect();
        truth.retain(|call| {
            let id = call["id"].as_str().unwrap();
            present.contains(id) || !is_before(id)
        });
        site.assert_list_is(&truth);
    }
}

fn plain_call(id: &str, time: DateTime<Utc>) -> Value {
    let time = time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let status = "CALL_DID_NOT_HAPPEN";
    json!({ "id": id, "title": id, "status": status, "time": time, "last_modified_time": time })
}

/// Calls arrive and vanish between any two pages; those that were there all the time are read.
#[test]
fn p1_no_call_slips_through_while_others_arrive_and_vanish() {
    let site = Site::new(&Options { calls: 300, arrivals_per_request: 4.0, ..small() });
    let later = site.now + TimeDelta::minutes(1);
    let run = || site.calls_and_details().full();
    let ids =
        || -> BTreeSet<String> { site.workspace.ids_before(later, false).into_iter().collect() };
    let before = ids();
    run().at(later).run();
    let after = ids();
    assert!(after != before && before.len() > 280);
    let listed = |rows: Vec<Row>| -> BTreeSet<String> {
        rows.iter().map(|row| row.record["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = listed(site.lake.rows("calls"));
    let lost: Vec<_> = before.intersection(&after).filter(|id| !first.contains(*id)).collect();
    assert!(lost.is_empty(), "P1: {} of {} were lost", lost.len(), before.len());
    // The second run finds what came behind the first one, and marks what had gone by then.
    run().at(later).run();
    let last = ids();
    let live = listed(site.lake.live("calls"));
    let lost: Vec<_> = after.intersection(&last).filter(|id| !live.contains(*id)).collect();
    assert!(lost.is_empty(), "P1: {} of {} were lost", lost.len(), after.len());
    let ghosts: Vec<_> =
        first.iter().filter(|id| !after.contains(*id) && live.contains(*id)).collect();
    assert!(ghosts.is_empty(), "P11: {} are gone and not marked", ghosts.len());
    let rows = site.lake.live("calls").into_iter();
    let steady: Vec<Row> =
        rows.filter(|row| last.contains(row.record["id"].as_str().unwrap())).collect();
    let truth = steady.iter().map(|row| {
        let id = row.record["id"].as_str().unwrap();
        (id.to_owned(), normal(site.workspace.call(id).unwrap()))
    });
    let truth = truth.collect();
    assert_same("calls", &truth, &steady, &|row| row.record["id"].as_str().unwrap().to_owned());
}

#[test]
fn p1_a_shifting_page_loses_no_record() {
    let site = Site::new(&Options { calls: 700, ..small() });
    let gone: Vec<String> = site.ids(7, 0).into_iter().take(30).collect();
    // Thirty calls vanish from the front of the newest window right before its second page.
    let vanished = gone.clone();
    site.server.before("/calls", 2, move |workspace| {
        assert!(vanished.iter().all(|id| workspace.delete_call(id)));
    });
    site.export().only(&["calls"]).with_concurrency(1).complete();
    let rows = site.lake.rows("calls");
    let present: BTreeSet<_> = rows.iter().map(|it| it.record["id"].as_str().unwrap()).collect();
    for id in site.workspace.ids_before(site.now, false) {
        assert!(present.contains(id.as_str()), "P1: {id} moved up a page and was lost");
    }
    assert!(gone.iter().any(|id| present.contains(id.as_str())), "they were on the first page");
}

#[test]
fn p1_endpoints_that_come_whole_are_read_to_the_end_when_they_come_in_pages() {
    let cases = [(25, true), (50, true), (100, true), (10, false), (30, false)];
    for (size, silent) in cases {
        let settings =
            Settings { paged_whole: Some(size), paged_whole_silent: silent, ..Settings::default() };
        let site = Site::with(&Options { calls: 20, users: 230, ..small() }, settings);
        let tables = ["users", "topics", "topics_v2", "scorecard_templates", "teams"];
        site.export().only(&tables).complete();
        site.assert_snapshot("users", Table::Users, "id", site.now);
        site.assert_snapshot("topics", Table::Topics, "topic", site.now);
        site.assert_snapshot("topics_v2", Table::TopicsV2, "topic_id", site.now);
    }
    // Twenty-five users that are all there are: asked once more, and that is that.
    let site = Site::new(&Options { users: 25, ..small() });
    site.export().only(&["users"]).complete();
    site.assert_snapshot("users", Table::Users, "id", site.now);
    assert!(site.server.count("/users") <= 2);
}

#[test]
fn p1_either_spelling_of_the_templates_key_is_read() {
    let settings =
        Settings { template_key: "scorecardTemplates".to_owned(), ..Settings::default() };
    let site = Site::with(&small(), settings);
    site.export().only(&["scorecard_templates"]).complete();
    site.assert_snapshot("scorecard_templates", Table::ScorecardTemplates, "id", site.now);
}

#[test]
fn private_calls_are_not_exported_by_default() {
    let site = Site::new(&Options { calls: 80, private: 0.3, ..small() });
    let all = site.workspace.calls_before(site.now, true);
    let public = site.workspace.calls_before(site.now, false);
    assert!(all.len() > public.len() + 10);
    let run = || site.calls_and_details();
    run().complete();
    site.assert_calls_are(&public);
    assert!(!site.server.requests().iter().any(|it| it.query.contains("includePrivate")));
    // Switched on, they are listed from the beginning; once.
    run().with_private().complete();
    site.assert_calls_are(&all);
    site.server.clear();
    run().with_private().complete();
    let again = site.server.count("/calls");
    run().with_private().full().complete();
    assert!(site.server.count("/calls") > 2 * again, "{again} requests list a week");
    // Switched off and on again, what came meanwhile is listed too.
    let later = site.now + TimeDelta::days(20);
    site.workspace.advance(later);
    let hidden = site.workspace.ids_before(later, false).pop().unwrap();
    assert!(site.workspace.set_private(&hidden, true));
    run().at(later).complete();
    run().at(later).with_private().complete();
    site.assert_calls_are(&site.workspace.calls_before(later, true));
}

/// P1: with `--to` in the past, a run lists nothing of what lies after it, so that a later run which
/// includes private calls still has to list them from the beginning.
#[test]
fn private_calls_after_an_earlier_end_are_listed_by_the_next_run() {
    let site = Site::new(&Options { calls: 80, private: 0.3, ..small() });
    site.calls_and_details().complete();
    let end = site.now - TimeDelta::days(20);
    site.calls_and_details().at(end).with_private().full().complete();
    site.calls_and_details().with_private().complete();
    site.assert_calls_are(&site.workspace.calls_before(site.now, true));
}

#[test]
fn a_call_is_exported_once_it_has_begun_and_not_before() {
    let site = Site::new(&Options { scheduled: 30, ..small() });
    let run = || site.calls_and_details();
    run().complete();
    site.assert_calls(site.now);
    let later = site.now + TimeDelta::days(15);
    site.workspace.advance(later);
    // All of it, since the simulated clock also changes calls of before without a trace.
    run().at(later).full().complete();
    site.assert_calls(later);
    assert!(site.lake.live("calls").len() > 130);
}

#[test]
fn a_table_by_month_holds_the_same_rows() {
    let site = Site::new(&small());
    site.calls_and_details().by_month().complete();
    site.assert_calls(site.now);
    let months: BTreeSet<_> = site.lake.rows("calls").into_iter().map(|row| row.dt).collect();
    assert_eq!(months.into_iter().collect::<Vec<_>>(), ["2025-10-01", "2025-11-01"]);
}

#[test]
fn a_longer_range_is_listed_on_request() {
    let site = Site::new(&Options { days: 90, ..small() });
    site.export().only(&["calls"]).complete();
    assert!(site.lake.rows("calls").len() < 80);
    let from = now() - TimeDelta::days(95);
    site.export().only(&["calls"]).from(from).complete();
    site.assert_list_is(&site.workspace.calls_before(site.now, false));
}

#[test]
fn p3_a_watermark_passes_neither_the_run_nor_the_clock_of_the_server() {
    let slow = now() - TimeDelta::days(2);
    let site = Site::with(&small(), Settings { date: Some(slow), ..Settings::default() });
    site.export().only(&["calls"]).complete();
    let watermark = site.lake.manifest("calls").unwrap().watermark.unwrap();
    assert!(watermark <= slow, "{watermark}");
    // A run as of an earlier instant does not take it back.
    site.export().only(&["calls"]).at(now() - TimeDelta::days(10)).complete();
    assert!(site.lake.manifest("calls").unwrap().watermark.unwrap() >= watermark);
    site.assert_list_is(&site.workspace.calls_before(site.now, false));
}

/// P8: signed URLs are never stored, even where the API sends them unasked.
#[test]
fn p8_a_signed_url_never_reaches_the_lake() {
    let site = Site::new(&small());
    let url = "https://recordings.example/a.mp3?X-Signature=canary";
    let mut call = plain_call("signed", now() - TimeDelta::days(1));
    call["status"] = json!("POST_PROCESSING_DONE");
    call["transcript"] = json!([{ "text": "hello", "start": 0, "end": 1, "personId": 0 }]);
    (call["audio_url"], call["video_url"]) = (json!(url), json!([url]));
    assert!(site.workspace.insert_call(call, false));
    site.calls_and_details().complete();
    for table in ["calls", "call_details"] {
        let text = site.lake.row(table, "signed").record.to_string();
        assert!(!text.contains("canary"), "{table}: {text}");
    }
}
