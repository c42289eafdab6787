//! The client against functions that answer, in paused time: minutes pass in milliseconds.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Break, Client, ClientSettings, Exchanged, FetchError, Get, Request, Severed, Stop, Transport,
};
use crate::error::ErrorKind;
use crate::retry::Failure;
use crate::secret::Credentials;

fn settings() -> ClientSettings {
    let credentials = Credentials::new("a key", "a password").unwrap();
    ClientSettings { rate: 0.0, ..ClientSettings::new(credentials) }
}

fn client(transport: impl Transport + 'static) -> Client {
    Client::over(Arc::new(transport), &settings(), Stop::default()).unwrap()
}

fn request() -> Request {
    let query = vec![("id".to_owned(), "a b&c".to_owned())];
    Request { path: "/call-details".to_owned(), query, ..Request::default() }
}

fn answered(status: u16, body: &'static str) -> Ready<Result<Exchanged, Severed>> {
    let reply = http::Response::builder().status(status).body(Bytes::from_static(body.as_bytes()));
    ready(Ok(reply.unwrap()))
}

async fn outcome(client: &Client, attempts: &mut u64) -> Result<String, FetchError> {
    let read = |reply: &super::Reply| Ok(String::from_utf8_lossy(&reply.body).into_owned());
    client.get(&request(), attempts, read).await
}

#[tokio::test(start_paused = true)]
async fn a_function_is_a_transport_and_gets_the_url_and_credentials_that_do_not_show() {
    let client = client(|get: Get| {
        assert_eq!(get.url.as_str(), "https://rest-api.copilot.clari.com/call-details?id=a+b%26c");
        assert_eq!(get.headers["x-api-key"], "a key");
        assert_eq!(get.headers["x-api-password"], "a password");
        assert!(!format!("{get:?}").contains("a password"), "P8");
        answered(200, "{}")
    });
    let mut attempts = 0;
    assert_eq!(outcome(&client, &mut attempts).await.unwrap(), "{}");
    assert_eq!((attempts, client.requests()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_the_run_after_two_minutes_and_nothing_is_sent_any_more() {
    let client = client(|_: Get| answered(500, ""));
    let begun = Instant::now();
    let ended = outcome(&client, &mut 0).await.unwrap_err();
    assert!(matches!(ended, FetchError::Halted(error) if error.kind() == ErrorKind::Unavailable));
    assert!((120..200).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let sent = client.requests();
    assert!(matches!(outcome(&client, &mut 0).await, Err(FetchError::Halted(_))));
    assert_eq!(client.requests(), sent);
}

/// A10, design 6.3: an API that answers 404 works; one whose replies cannot be read does not.
#[tokio::test(start_paused = true)]
async fn answers_that_settle_requests_keep_a_run_going() {
    for (status, body, is_outage) in
        [(404, "", false), (400, "", false), (410, "", false), (200, "not JSON", true)]
    {
        let failures = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = Arc::clone(&failures);
        let client =
            client(move |_: Get| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => answered(502, ""),
                _ => answered(status, body),
            });
        let begun = Instant::now();
        let mut ended = None;
        while begun.elapsed().as_secs() < 600 && ended.is_none() {
            let read = |_: &super::Reply| -> Result<(), _> {
                Err(super::Unreadable::NotJson("not JSON".to_owned()))
            };
            if let Err(FetchError::Halted(error)) = client.get(&request(), &mut 0, read).await {
                ended = Some(error.to_string());
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        assert_eq!(ended.is_some(), is_outage, "{status}: {ended:?}");
    }
}

/// P8: the display of a failed request holds no secret, even if the server repeats it.
#[tokio::test(start_paused = true)]
async fn what_was_seen_last_holds_no_secret() {
    let client = client(|get: Get| {
        let key = get.headers["x-api-key"].to_str().unwrap().to_owned();
        let reply = http::Response::builder().status(400).header("content-type", "text/plain");
        ready(Ok(reply.body(Bytes::from(format!("no such thing, {key}"))).unwrap()))
    });
    let query = [("token", "canary"), ("since", "a key")];
    let query = query.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let asked = Request { query, ..request() };
    client.get(&asked, &mut 0, |_| Ok(())).await.unwrap_err();
    let seen = client.last_seen().unwrap();
    assert_eq!((seen.status, seen.beginning.as_str()), (Some(400), "no such thing, ***"));
    assert_eq!(seen.content_type.as_deref(), Some("text/plain"));
    assert!(seen.url.contains("since=") && !seen.url.contains("canary"), "{}", seen.url);
}

/// B12: a server that was never reached and whose name does not resolve ends the run in seconds;
/// one that has answered before is waited for as in any outage.
#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_resolve_ends_a_run_that_nothing_has_answered() {
    for (answers, seconds) in [(0, 0..5), (1, 120..200)] {
        let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let sent = move |_: Get| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            sent if sent < answers => answered(200, "{}"),
            _ => ready(Err(Break::NoSuchHost.into())),
        };
        let client = client(sent);
        for _ in 0..answers {
            outcome(&client, &mut 0).await.unwrap();
        }
        let begun = Instant::now();
        let Err(FetchError::Halted(error)) = outcome(&client, &mut 0).await else {
            panic!("the run goes on");
        };
        assert!(seconds.contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let host = "does not resolve (rest-api.copilot.clari.com)";
        assert!(answers > 0 || error.to_string().contains(host), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_patience_ends_and_is_taken_for_a_reply_that_is_too_large() {
    let client = client(|_: Get| async {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Err(Break::Torn.into())
    });
    let asked = Request { shrinkable: true, ..request() };
    let begun = Instant::now();
    let ended = client.get(&asked, &mut 0, |_| Ok(())).await.unwrap_err();
    assert!(matches!(ended, FetchError::Failed(Failure::TooLarge, _)));
    assert_eq!(begun.elapsed(), settings().timeout);
}

#[tokio::test(start_paused = true)]
async fn a_link_is_followed_on_the_same_host_and_nowhere_else() {
    let asked = |get: Get| {
        let team = get.headers["x-team"].to_str().unwrap_or_default().to_owned();
        assert_eq!(team, "sales");
        assert_eq!(get.headers["x-api-key"], "a key");
        let reply = http::Response::new(Bytes::from(get.url.to_string()));
        ready(Ok::<_, Severed>(reply))
    };
    let client = client(asked);
    let follow = async |link: &str| {
        let mut request = Request { link: Some(link.to_owned()), ..request() };
        request.headers.insert("x-team", http::HeaderValue::from_static("sales"));
        let read = |reply: &super::Reply| Ok(String::from_utf8_lossy(&reply.body).into_owned());
        client.get(&request, &mut 0, read).await
    };
    for (link, url) in [
        ("?page=2", "https://rest-api.copilot.clari.com/call-details?page=2"),
        ("/v2/calls?c=%20", "https://rest-api.copilot.clari.com/v2/calls?c=%20"),
        ("https://rest-api.copilot.clari.com/x", "https://rest-api.copilot.clari.com/x"),
        ("https://rest-api.copilot.clari.com:443/x", "https://rest-api.copilot.clari.com/x"),
    ] {
        assert_eq!(follow(link).await.unwrap(), url);
    }
    for link in [
        "https://example.com/x",
        "//example.com/x",
        "http://rest-api.copilot.clari.com/x",
        "https://rest-api.copilot.clari.com:8443/x",
        "https://rest-api.copilot.clari.com@example.com/x",
        "https://me:secret@rest-api.copilot.clari.com/x",
        "file:///etc/passwd",
        "https://",
    ] {
        let error = follow(link).await.unwrap_err();
        assert!(matches!(error, FetchError::Failed(Failure::Refused(_), _)), "{link}: {error:?}");
    }
}

/// C14, P8: the server's message is shown on one line, unless it repeats a secret.
#[tokio::test(start_paused = true)]
async fn the_words_of_an_error_are_shown_without_secrets() {
    for (status, body, said) in [
        (400, r#"{"errors": [{"detail": "no such\r\nfield"}]}"#, ": no suchfield"),
        (403, r#"{"message": "the key `a key` is no longer valid"}"#, "(403)"),
        (400, r#"{"message": "bad header: Basic YSBrZXk6YSBwYXNzd29yZA=="}"#, "(400)"),
        (400, r#"{"error": "see https://h/x?signature=1"}"#, "(400)"),
        (403, "Forbidden", ": Forbidden"),
    ] {
        let client = client(move |_: Get| answered(status, body));
        let FetchError::Failed(_, error) = outcome(&client, &mut 0).await.unwrap_err() else {
            panic!("{body}")
        };
        assert!(error.message().ends_with(said), "{}", error.message());
    }
}

/// P7, design 6.3: when a wait that the server requested is over, one request goes first; the
/// others follow when it is answered, at the agreed rate.
#[tokio::test(start_paused = true)]
async fn p7_after_a_wait_one_request_goes_first() {
    for rate in [10.0, 0.0] {
        let begun = Instant::now();
        let sent = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&sent);
        let transport = move |_: Get| {
            let log = Arc::clone(&log);
            async move {
                let at = begun.elapsed();
                let is_refused = at < Duration::from_secs(20);
                log.lock().unwrap().push((at, is_refused));
                tokio::time::sleep(Duration::from_secs(2)).await;
                let reply = http::Response::builder().status(if is_refused { 429 } else { 200 });
                let reply = if is_refused { reply.header("retry-after", "8") } else { reply };
                Ok::<_, Severed>(reply.body(Bytes::from_static(b"{}")).unwrap())
            }
        };
        let settings = ClientSettings { rate, ..settings() };
        let client = Client::over(Arc::new(transport), &settings, Stop::default()).unwrap();
        let client = Arc::new(client);
        let ask = |client: Arc<Client>| async move { outcome(&client, &mut 0).await };
        let asked: Vec<_> = (0..40).map(|_| tokio::spawn(ask(Arc::clone(&client)))).collect();
        for one in asked {
            one.await.unwrap().unwrap();
        }
        let sent = sent.lock().unwrap();
        let refused = sent.iter().filter(|(_, is_refused)| *is_refused).count();
        // The door was closed for two waits: each of them ended with one request.
        assert_eq!(refused, settings.concurrency + 1, "{rate}: {sent:?}");
        let mut answered = sent.iter().filter(|(_, is_refused)| !is_refused).map(|(at, _)| *at);
        let (first, second) = (answered.next().unwrap(), answered.next().unwrap());
        assert!(second >= first + Duration::from_secs(2), "{rate}: {sent:?}");
    }
}

/// A request that goes first and fails, or is given up, lets the next one go first.
#[tokio::test(start_paused = true)]
async fn a_request_that_goes_first_and_is_not_answered_holds_up_no_other() {
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let client = Arc::new(client(move |_: Get| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            match number {
                0 => {
                    let reply = http::Response::builder().status(503).header("retry-after", "8");
                    Ok(reply.body(Bytes::new()).unwrap())
                }
                1 => std::future::pending().await,
                2 => Err(Break::Torn.into()),
                _ => Ok(http::Response::new(Bytes::from_static(b"{}"))),
            }
        }
    }));
    let ask = |client: Arc<Client>| async move { outcome(&client, &mut 0).await };
    let first = tokio::spawn(ask(Arc::clone(&client)));
    tokio::time::sleep(Duration::from_secs(9)).await;
    let second = tokio::spawn(ask(Arc::clone(&client)));
    let third = tokio::spawn(ask(Arc::clone(&client)));
    first.abort();
    second.await.unwrap().unwrap();
    third.await.unwrap().unwrap();
    assert_eq!(client.requests(), 5);
}
