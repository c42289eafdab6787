use std::time::{Duration, Instant};

use chrono::{DateTime, Days, TimeDelta, Utc};

use super::*;
use crate::manifest::{Granularity, Queue};
use crate::report::Week;
use crate::schema::{AddedColumns, Difference, Schema};
use crate::status::{Held, RunProblem};
use crate::window::Window;

fn now() -> DateTime<Utc> {
    "2026-11-25T08:00:00Z".parse().unwrap()
}

/// A table of this many days up to today, which grows by a row a day and has none on the first.
fn table(name: &str, days: u64) -> TableStatus {
    let first = now().date_naive() - Days::new(days - 1);
    let held = |day: u64| Held { rows: day % 90, bytes: day % 90 * 1_000 };
    let held: std::collections::BTreeMap<_, _> =
        (0..days).map(|day| ((first + Days::new(day)).to_string(), held(day))).collect();
    let from = first.and_time(chrono::NaiveTime::MIN).and_utc();
    TableStatus {
        endpoint: name.to_owned(),
        rows: held.values().map(|held| held.rows).sum(),
        partitions: days,
        bytes: held.values().map(|held| held.bytes).sum(),
        coverage: vec![Window::new(from, now())],
        partial: Vec::new(),
        gaps: Vec::new(),
        left_for_backfill: Vec::new(),
        watermark: Some(now()),
        fresh_to: Some(now() - TimeDelta::hours(3)),
        age_seconds: Some(3 * 3_600),
        queue: None,
        is_by_hand: false,
        schema_frozen: true,
        evolvable: Vec::new(),
        version: 3,
        committed_at: now(),
        granularity: Granularity::Day,
        schema: Schema { columns: Vec::new(), added: AddedColumns::default() },
        held,
        queues: std::collections::BTreeMap::new(),
    }
}

fn run(at: DateTime<Utc>) -> Run {
    Run {
        run: String::new(),
        command: "export".to_owned(),
        started_at: at,
        finished_at: at + TimeDelta::minutes(4),
        by_id: false,
        complete: true,
        requests: 700,
        problems: Vec::new(),
        endpoints: Vec::new(),
    }
}

fn status(tables: Vec<TableStatus>) -> Status {
    let week = Week {
        begins: "2026-11-22".parse().unwrap(),
        renewed_at: "2026-11-29T00:00:00Z".parse().unwrap(),
        quota: 100_000,
        backfill_quota: 70_000,
        spent: 12_000,
        spent_on_backfill: 9_000,
        unknown: false,
    };
    let runs = (0..30).map(|day| run(now() - TimeDelta::days(day))).collect();
    Status { lake: "./lake".to_owned(), now: now(), tables, week, runs }
}

fn forecast(backfill: u64) -> Forecast {
    Forecast {
        now: now(),
        endpoints: Vec::new(),
        requests: 100 + backfill,
        requests_for_backfill: backfill,
        week_left: 88_000,
        week_left_for_backfill: 61_000,
        weekly_quota: 100_000,
        weekly_quota_for_backfill: 70_000,
        seconds: 10,
        complete_at: now() + TimeDelta::days(9),
        bytes: None,
        is_guess: true,
    }
}

fn page(status: &Status, backfill: u64) -> String {
    render(status, &forecast(backfill), &[], 36 * 3_600).unwrap()
}

#[test]
fn thirty_tables_of_two_thousand_days_are_a_small_page_made_in_a_second() {
    let mut tables: Vec<_> = (1..30).map(|at| table(&format!("table_{at}"), 2_000)).collect();
    tables.insert(0, table("calls", 2_000));
    let status = status(tables);
    let begun = Instant::now();
    let page = page(&status, 0);
    assert!(page.len() < 500_000, "{} bytes", page.len());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let cells = page.matches("height=\"10\" class=").count();
    assert!((2_000..2_020).contains(&cells), "a cell a day, and the legend's: {cells}");
}

#[test]
fn a_healthy_lake_says_so_first() {
    let page = page(&status(vec![table("calls", 40)]), 0);
    assert!(page.contains("<h1 class=\"well\">All is well.</h1>"));
    assert!(page.contains("12,000 of 100,000 requests are spent since Sunday, 22 November"));
    // 700 a day for the four days left in the week.
    assert!(page.contains("about 14,800 will be spent"), "3 days and 16 hours are 4 nights");
    assert!(!page.contains("The history needs"));
}

#[test]
fn a_gap_is_marked_with_the_runs_message_and_text_is_escaped() {
    let mut calls = table("calls", 40);
    let day: DateTime<Utc> = "2026-11-10T00:00:00Z".parse().unwrap();
    let gap = Window::new(day, day + TimeDelta::days(2));
    let later = Window::new(day - TimeDelta::days(9), day - TimeDelta::days(8));
    calls.gaps = vec![later, gap];
    calls.left_for_backfill = vec![later];
    let mut status = status(vec![calls]);
    let window = Some(Window::new(day, day + TimeDelta::hours(6)));
    let message = "<script>alert('503')</script>".to_owned();
    status.runs[0].complete = false;
    status.runs[0].problems = vec![RunProblem { endpoint: "calls".to_owned(), window, message }];
    let page = page(&status, 500);
    assert!(page.contains("<h1 class=\"grave\">2 things need attention.</h1>"));
    assert!(page.contains("calls: requested but missing: 2026-11-10 to 2026-11-11"));
    assert!(page.contains("class=\"f\"><title>Tue 10 Nov 2026: requested but missing: &#60;"));
    assert!(page.contains("class=\"g\"><title>Wed 11 Nov 2026: requested but missing</title>"));
    assert!(page.contains("class=\"h\"><title>Sun 1 Nov 2026: waits for the backfill</title>"));
    assert!(page.contains("The backfill needs about 500 more"));
    assert!(!page.contains("<script"));
}

#[test]
fn pending_ranges_are_listed_by_month_and_by_day() {
    let mut details = table("call_details", 40);
    let queue = Queue { settled: 90, pending: 4, parked: 6, ..Queue::default() };
    details.queue = Some(queue);
    details.queues = [("2026-11-09".to_owned(), queue)].into();
    details.evolvable =
        vec![Difference { path: "mood".to_owned(), from: None, to: Some("string".to_owned()) }];
    let page = page(&status(vec![table("calls", 40), details]), 0);
    assert!(page.contains("90 of 100 are complete (90.0%)."));
    assert!(page.contains("<title>November 2026: 90 complete, 4 pending, 6 parked</title>"));
    assert!(page.contains(", 4 of call_details pending, 6 of call_details parked"));
    assert!(page.contains("<code>+ mood: string</code>"));
    assert!(page.contains("<h1 class=\"well\">"), "what the next run asks for is no worry");
}

#[test]
fn the_page_has_no_external_links() {
    let page = page(&status(vec![table("calls", 400)]), 0);
    for outside in ["http:", "https:", "//", "src=", "@import", "<script", "onload"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let charts = page.matches("role=\"img\"><title>").count();
    assert_eq!(charts, page.matches("role=\"img\"").count(), "every chart has a text");
}

#[test]
fn a_lake_in_which_nothing_was_ever_complete_has_a_page_too() {
    let mut bare = table("calls", 1);
    bare.coverage.clear();
    bare.held.clear();
    (bare.fresh_to, bare.age_seconds, bare.schema_frozen) = (None, None, false);
    let mut status = status(vec![bare]);
    status.runs.clear();
    let page = page(&status, 0);
    assert!(page.contains("calls: never complete"));
    assert!(page.contains("No run has left a report here."));
}
