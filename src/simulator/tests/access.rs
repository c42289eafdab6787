//! Credentials, methods, paths, quotas and faults.

use super::super::{Fault, Faults, Settings, Table};
use super::{CREDENTIALS, ask, get, serve, small};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, Instant};

/// An unknown path without credentials is not reported as absent.
#[test]
fn credentials_are_checked_before_the_path() {
    let (_, server) = serve(&small(), Settings::default());
    for headers in ["", "X-Api-Key: demo-key\r\n"] {
        let reply = ask(&server, "GET", "/nowhere", headers);
        assert_eq!(reply.status, 401);
        assert!(reply.json()["errorMessage"].is_string());
    }
    let wrong = "X-Api-Key: demo-key\r\nX-Api-Password: no\r\n";
    let reply = ask(&server, "GET", "/calls", wrong);
    assert_eq!((reply.status, reply.text()), (403, r#"{"message":"Forbidden"}"#.to_owned()));
    let reply = get(&server, "/nowhere");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["message"], "Missing Authentication Token");
    assert_eq!(server.violations().missing_headers, 2);
}

/// Guards against requests that create or delete something.
#[test]
fn only_get_is_served_and_anything_else_is_counted() {
    let (_, server) = serve(&small(), Settings::default());
    assert_eq!(ask(&server, "DELETE", "/calls", CREDENTIALS).status, 405);
    assert_eq!(ask(&server, "POST", "/create-call", CREDENTIALS).status, 405);
    assert_eq!(server.violations().non_get, 2);
}

/// Secrets do not appear in test output.
#[test]
fn the_ledger_knows_requests_but_no_header_values() {
    let (_, server) = serve(&small(), Settings::default());
    get(&server, "/users?x=%20y");
    get(&server, "/call-details?id=unknown");
    let requests = server.requests();
    assert_eq!((requests[0].path.as_str(), requests[0].query.as_str()), ("/users", "x=%20y"));
    assert_eq!((requests[1].status, server.count("/call-details")), (404, 1));
    assert!(!format!("{requests:?}").contains("demo-"));
    server.clear();
    assert!(server.requests().is_empty());
}

/// An exhausted quota differs from a temporarily exceeded rate.
#[test]
fn a_rate_limit_differs_from_a_spent_quota() {
    let settings = Settings { rate: Some(3), quota: Some(4), ..Settings::default() };
    let (_, server) = serve(&small(), settings);
    let replies: Vec<_> = (0..6).map(|_| get(&server, "/topics")).collect();
    let fast = replies.iter().find(|reply| reply.status == 429).unwrap();
    assert_eq!(fast.json()["message"], "Too Many Requests");
    std::thread::sleep(Duration::from_millis(1_050));
    assert_eq!(get(&server, "/topics").status, 200);
    let spent = get(&server, "/topics");
    assert_eq!((spent.status, spent.json()["message"].as_str()), (429, Some("Limit Exceeded")));
    server.refill_quota();
    assert_eq!(get(&server, "/topics").status, 200);
}

/// A truncated or short reply cannot be mistaken for a complete one.
#[test]
fn planned_faults_do_what_their_names_say() {
    let (_, server) = serve(&small(), Settings::default());
    let whole = get(&server, "/calls").body.len();
    let fault = |fault| {
        server.fail_next("/calls", fault, 1);
        get(&server, "/calls")
    };
    let reset = fault(Fault::Reset);
    assert_eq!((reset.promised_length(), reset.body.len()), (whole, whole / 2));
    let short = fault(Fault::Truncated);
    assert_eq!((short.promised_length(), short.body.len()), (whole / 2, whole / 2));
    let plain = fault(Fault::NotJson);
    assert_eq!((plain.status, plain.text().starts_with('<')), (200, true));
    let gateway = fault(Fault::BadGateway);
    assert_eq!((gateway.status, gateway.text().starts_with("<html>")), (502, true));
    for (kind, status) in [
        (Fault::TooFast, 429),
        (Fault::QuotaSpent, 429),
        (Fault::ServerError, 500),
        (Fault::Unavailable, 503),
        (Fault::GatewayTimeout, 504),
    ] {
        assert_eq!(fault(kind).status, status);
    }
    assert_eq!(get(&server, "/calls").body.len(), whole);
    assert_eq!(server.requests().iter().filter(|request| request.fault.is_some()).count(), 9);
}

/// A failing run can be replayed.
#[test]
fn random_faults_are_counted_and_follow_the_seed() {
    let run = |seed| {
        let settings = Settings { faults: Faults::all(seed, 0.6), ..Settings::default() };
        let (_, server) = serve(&small(), settings);
        for _ in 0..60 {
            get(&server, "/call-details?id=unknown");
        }
        let faults = server.requests().into_iter().filter_map(|request| request.fault);
        faults.fold(BTreeMap::new(), |mut counts, fault| {
            *counts.entry(fault).or_insert(0) += 1;
            counts
        })
    };
    let counts = run(1);
    assert!((20..50).contains(&counts.values().sum::<i32>()), "{counts:?}");
    assert_eq!(counts, run(1));
    assert_ne!(counts, run(2));
}

/// A reply too large for the platform keeps failing.
#[test]
fn a_page_over_the_limit_is_a_lasting_502_and_a_smaller_one_is_not() {
    let settings = Settings { max_reply_bytes: 60_000, ..Settings::default() };
    let (_, server) = serve(&small(), settings);
    for _ in 0..3 {
        assert_eq!(get(&server, "/calls?limit=100").status, 502);
    }
    assert_eq!(get(&server, "/calls?limit=10").status, 200);
}

/// A missing endpoint is distinguishable from bad credentials.
#[test]
fn absent_endpoints_look_like_paths_that_do_not_exist() {
    let absent = vec!["/teams".to_owned(), "/playlists".to_owned()];
    let (workspace, server) = serve(&small(), Settings { absent, ..Settings::default() });
    let playlist = workspace.rows(Table::Playlists)[0]["id"].as_str().unwrap().to_owned();
    for path in ["/teams", "/playlists", &format!("/playlists/{playlist}/calls")] {
        assert_eq!(get(&server, path).json()["message"], "Missing Authentication Token");
    }
    assert_eq!(get(&server, "/accounts").status, 200);
}

/// Gzip is sent to clients that accept it, and only to them.
#[test]
fn compression_is_sent_where_it_is_accepted() {
    let (_, server) = serve(&small(), Settings::default());
    let asked = format!("{CREDENTIALS}Accept-Encoding: gzip\r\n");
    let packed = ask(&server, "GET", "/calls?limit=50", &asked);
    let plain = get(&server, "/calls?limit=50");
    assert!(packed.head.contains("content-encoding: gzip") && packed.head.contains("date: "));
    assert!(!plain.head.contains("content-encoding"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

/// The configured latency takes effect.
#[test]
fn slow_replies_are_slow_and_shutting_down_does_not_wait_for_them() {
    let faults = Faults { stall_for: Duration::from_secs(60), ..Faults::default() };
    let settings = Settings { latency: Duration::from_millis(80), faults, ..Settings::default() };
    let (_, server) = serve(&small(), settings);
    let start = Instant::now();
    get(&server, "/topics");
    assert!(start.elapsed() >= Duration::from_millis(80));
    server.fail_next("/topics", Fault::Stall, 1);
    let address = server.base_url().replace("http://", "");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("GET /topics HTTP/1.1\r\nHost: x\r\n{CREDENTIALS}\r\n");
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    while server.requests().len() < 2 {
        std::thread::yield_now();
    }
    server.shutdown();
    assert!(start.elapsed() < Duration::from_secs(20));
}
