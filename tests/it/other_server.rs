//! B12, P12: a server that is not the API is named within seconds, once, in every state of the lake.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use serde_json::json;

use crate::support::{Canned, Lake, Run, Site, clari_lake_at, get, now, reply, small};

const SIGN_IN: &[u8] = b"<!doctype html><html><body>Please sign in</body></html>";

/// A server of every kind that is not the API: its base URL, the exit code, and what is said.
fn other_servers() -> Vec<(&'static str, String, i32, &'static str)> {
    let html = [("Content-Type", "text/html")];
    let pages = Canned::start_raw(move |_| reply(200, &html, SIGN_IN));
    let nothing = Canned::start(|_| (404, json!({"message": "no such page"})));
    let gateway = Canned::start(|_| (403, json!({"message": "Missing Authentication Token"})));
    let to = [("Location", "https://login.example.com/?next=secret")];
    let redirects = Canned::start_raw(move |_| reply(302, &to, b""));
    let plain = nothing.base_url().replace("http:", "https:");
    vec![
        ("html", pages.base_url(), 2, "an HTML page came instead of JSON"),
        ("404", nothing.base_url(), 2, "the API does not seem to be at"),
        ("gateway", gateway.base_url(), 2, "the API does not seem to be at"),
        ("redirect", redirects.base_url(), 2, "it redirects to login.example.com"),
        ("self-signed", self_signed(), 2, "the server's certificate cannot be verified"),
        ("no TLS", plain, 1, "the TLS handshake failed"),
        ("no host", "https://no-such-host.invalid".to_owned(), 1, "does not resolve"),
    ]
}

/// A server with a certificate that no machine trusts; returns its base URL.
fn self_signed() -> String {
    let pem = include_bytes!("support/self_signed.pem");
    let certificate = CertificateDer::from_pem_slice(pem).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            // The client refuses the certificate, so that the handshake never ends well.
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&reply(200, &[], b"{}"));
        }
    });
    base_url
}

/// A command ends within seconds, with this exit code, and says this once, with the host's name.
#[track_caller]
fn says_once(what: &str, args: &[&str], server: &(&str, String, i32, &str)) {
    let (kind, base_url, code, words) = server;
    let begun = Instant::now();
    let output = clari_lake_at(args, base_url).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let case = format!("{what}, {kind}: {err}");
    assert_eq!(output.status.code(), Some(*code), "{case}");
    let host = base_url.split("//").nth(1).unwrap();
    assert!(err.contains(words) && err.contains(host), "{case}");
    let problems =
        err.lines().filter(|it| it.starts_with("incomplete:") || it.starts_with("error:"));
    assert_eq!(problems.count(), 1, "{case}");
    assert!(!err.contains("secret") && !err.contains("CLARI_API_KEY"), "{case}");
    let seconds = begun.elapsed();
    assert!(seconds < Duration::from_secs(15), "{seconds:?} {case}");
}

#[test]
fn a_server_that_is_not_the_api_is_named_once_within_seconds_in_every_state_of_the_lake() {
    let (full, due) = (Site::exported(), Site::new(&small()));
    due.export().only(&["calls"]).complete();
    let all_states = |server: (&str, String, i32, &str)| {
        let (new_lake, full_lake, due_lake) = (Lake::new(), full.lake.twin(), due.lake.twin());
        let data = || (full_lake.data(), due_lake.data());
        let before = data();
        let (new, full) = (new_lake.location(), full_lake.location());
        let due = due_lake.location();
        for (what, args) in [
            ("a new lake", &["export", &new][..]),
            ("a lake with data", &["export", &full]),
            ("a backfill", &["backfill", &full, "--from", "2026-06-01", "--to", "2026-08-01"]),
            ("children due", &["export", &due, "--endpoint", "call_details"]),
        ] {
            says_once(what, args, &server);
        }
        assert!(data() == before, "{}: every row is as before", server.0);
        due_lake
    };
    let lakes = std::thread::scope(|scope| {
        let run = |server| scope.spawn(|| all_states(server));
        let running: Vec<_> = other_servers().into_iter().map(run).collect();
        running.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    // Nothing was concluded about a record from what another server answered.
    for lake in lakes {
        let site = Site { lake, ..Site::new(&small()) };
        site.calls_and_details().complete();
        site.assert_calls(site.now);
    }
}

/// C8, B14: `doctor` and `sample` name another format at once, and blame no credentials.
#[test]
fn another_format_is_named_at_once_by_doctor_and_sample() {
    for (body, name) in [
        ("id,name\na,Ann\nb,Bob\n", "CSV"),
        ("<?xml version='1.0'?><calls/>", "XML"),
        ("<!doctype html><p>Sign in</p>", "an HTML page"),
    ] {
        let server = Canned::start_with(move |_| (200, "text/plain", body.to_owned()));
        for args in [&["doctor"][..], &["sample", "users"]] {
            let begun = Instant::now();
            let output = clari_lake_at(args, &server.base_url()).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(text).unwrap();
            assert!(said.contains(&format!("{name} came instead of JSON")), "{args:?}: {said}");
            assert!(!said.contains("CLARI_API_KEY"), "{args:?}: {said}");
            let seconds = begun.elapsed();
            assert!(seconds < Duration::from_secs(6), "{args:?}: {seconds:?} {said}");
        }
    }
}

/// A proxy's page in the middle of a run: what was read is in, and each endpoint says it once.
#[test]
fn a_page_of_html_in_the_middle_of_a_run_is_named_once_an_endpoint() {
    let site = Site::new(&small());
    let (base_url, requests) = (site.server.base_url(), AtomicUsize::new(0));
    let server = Canned::start_raw(move |target| match requests.fetch_add(1, Ordering::Relaxed) {
        0..4 => {
            let body = get(&base_url, target).to_string();
            reply(200, &[("Content-Type", "application/json")], body.as_bytes())
        }
        _ => reply(200, &[("Content-Type", "text/html")], SIGN_IN),
    });
    let run = Run::new(server.base_url(), site.lake.location(), now());
    let report = run.only(&["calls", "call_details"]).run();
    let named: Vec<&str> = report.problems.iter().map(|it| &*it.endpoint).collect();
    assert!(!report.complete && named.starts_with(&["calls"]), "{:?}", report.problems);
    assert!(named.len() <= 2, "{:?}", report.problems);
    assert!(report.problems[0].message.contains("an HTML page"), "{:?}", report.problems);
    assert!(server.requests() < 120, "{}", server.requests());
    site.calls_and_details().complete();
    site.assert_calls(site.now);
}
