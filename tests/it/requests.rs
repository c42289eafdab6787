//! P7 the quota is sacred, P8 only GET: what was asked, by the simulator's own ledger.

use clari_lake::internals::error::ErrorKind;
use clari_lake::internals::simulator::{Options, Settings};
use serde_json::{Value, json};

use crate::support::{Canned, Lake, Run, Site, now, small};

#[test]
fn p7_a_list_takes_hardly_more_requests_than_it_has_pages() {
    let site = Site::new(&Options { calls: 1_200, ..small() });
    site.export().only(&["calls"]).complete();
    let windows = 5;
    let calls = site.lake.rows("calls").len();
    let asked = site.server.count("/calls");
    assert!(asked <= (calls * 103).div_ceil(10_000) + windows, "{asked} for {calls}");
}

#[test]
fn p7_p8_no_rule_of_the_api_is_broken() {
    let site = Site::new(&small());
    site.export().complete();
    site.export().full().with_private().complete();
    assert_eq!(site.server.violations().total(), 0, "{:?}", site.server.violations());
    let requests = site.server.requests();
    assert!(requests.iter().all(|it| it.method == "GET"));
    let media = ["includeAudio", "includeVideo"];
    assert!(!requests.iter().any(|it| media.iter().any(|word| it.query.contains(word))));
    // A first run requests nothing twice, except the page that looks as if there were more.
    let refused = requests.iter().filter(|it| it.status != 200).count();
    assert_eq!(refused, 0);
}

#[test]
fn p7_settled_details_are_not_requested_again() {
    let site = Site::new(&small());
    let run = || site.calls_and_details();
    let report = run().complete();
    let queue = report.endpoints[1].queue.unwrap();
    assert!(queue.settled > 60 && queue.pending + queue.parked + queue.unavailable == 0);
    assert_eq!(site.server.count("/call-details") as u64, queue.settled);
    site.server.clear();
    run().complete();
    assert_eq!(site.server.count("/call-details"), 0);
    site.assert_calls(site.now);
}

#[test]
fn p7_a_later_run_sends_few_requests() {
    let site = Site::exported();
    site.calls_and_details().complete();
    // The modified scan, and the week of lookback.
    assert!(site.server.requests().len() <= 4, "{:#?}", site.server.requests());
}

#[test]
fn pages_shrink_while_replies_are_too_large_and_everything_is_read() {
    let settings = Settings { max_reply_bytes: 30_000, ..Settings::default() };
    let site = Site::with(&Options { calls: 160, ..small() }, settings);
    site.export().only(&["calls", "call_details", "accounts"]).complete();
    site.assert_calls(site.now);
    let requests = site.server.requests();
    let refused = requests.iter().filter(|it| it.status == 502).count();
    assert!(refused > 0 && refused < requests.len() / 4, "{refused} of {}", requests.len());
}

#[test]
fn wrong_credentials_are_denied_and_nothing_is_written() {
    let site = Site::new(&small());
    let error = site.export().with_credentials("wrong", "pair").attempt().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.hint().unwrap().contains("CLARI_API_KEY"), "{error}");
    assert_eq!(site.lake.files(""), Vec::<std::path::PathBuf>::new());
    assert_eq!(site.server.requests().len(), 1, "a refusal is final");
}

#[test]
fn a_401_is_denied_as_a_403_is() {
    for (status, body) in [(401, "Unauthorized"), (403, "Forbidden")] {
        let api = Canned::start(move |_| (status, json!({ "message": body })));
        let lake = Lake::new();
        let run = Run::new(api.base_url(), lake.location(), now());
        assert_eq!(run.attempt().unwrap_err().kind(), ErrorKind::Denied, "{status}");
        assert!(lake.files("").is_empty() && api.requests() == 1, "{status}");
    }
}

#[test]
fn revoked_credentials_change_nothing_in_the_lake() {
    let site = Site::new(&small());
    site.export().complete();
    let before = site.lake.data();
    let error = site.export().with_credentials("wrong", "pair").attempt().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(site.lake.data() == before);
}

#[test]
fn p3_p7_a_spent_quota_ends_the_run_at_once_and_a_new_week_finishes_it() {
    let settings = Settings { quota: Some(60), ..Settings::default() };
    let site = Site::with(&small(), settings);
    let concurrency = 4;
    let mut weeks = 0;
    loop {
        site.server.clear();
        let report = site.export().with_concurrency(concurrency).run();
        let requests = site.server.requests();
        let refused = requests.iter().filter(|it| it.status == 429).count();
        assert!(refused <= concurrency, "{refused} requests after the quota was spent");
        site.assert_coverage_is_true();
        weeks += 1;
        if report.complete {
            break;
        }
        let spent = report.problems.iter().filter(|it| it.message.contains("quota is spent"));
        assert_eq!(spent.count(), 1, "said once: {:?}", report.problems);
        assert!(weeks < 10, "a week goes on where the last one ended");
        site.server.refill_quota();
    }
    assert!(weeks > 2, "{weeks}");
    site.server.refill_quota();
    site.assert_calls(site.now);
}

/// P3: what an unfinished run was asked to do is part of what the next one does.
#[test]
fn p3_a_requested_range_is_finished_by_a_later_run_without_flags() {
    let settings = Settings { quota: Some(5), ..Settings::default() };
    let site = Site::with(&Options { calls: 500, days: 120, ..small() }, settings);
    let from = now() - chrono::TimeDelta::days(125);
    let first = site.export().only(&["calls"]).from(from).with_concurrency(1).run();
    assert!(!first.complete);
    for _ in 0..9 {
        site.server.refill_quota();
        site.assert_coverage_is_true();
        if site.export().only(&["calls"]).with_concurrency(1).run().complete {
            let calls: Vec<Value> = site.workspace.calls_before(site.now, false);
            return site.assert_list_is(&calls);
        }
    }
    panic!("ten weeks were not enough");
}
