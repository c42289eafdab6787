//! An API in thirty lines, for replies that the simulator never sends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A status, a content type and a body.
type Body = (u16, &'static str, String);
/// Gives the reply to a target, from its status line to the end of its body.
type Answer = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// A reply with these headers besides its length.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers = lines.collect::<Vec<_>>().concat();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Canned\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A server that answers every path by one function; its thread ends with the test's process.
pub(crate) struct Canned {
    base_url: String,
    requests: Arc<AtomicUsize>,
    heads: Heads,
}

/// The heads of all requests, line by line.
type Heads = Arc<Mutex<Vec<Vec<String>>>>;

impl Canned {
    /// Answers each target, path and query, with a status and a body.
    pub(crate) fn start(answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self::start_with(move |target| {
            match answer(target) {
                // A page for people is no JSON.
                (status, Value::String(text)) if text.starts_with('<') => {
                    (status, "text/html", text)
                }
                (status, body) => (status, "application/json", body.to_string()),
            }
        })
    }

    /// Answers each target with a status, a content type and any text.
    pub(crate) fn start_with(answer: impl Fn(&str) -> Body + Send + Sync + 'static) -> Self {
        Self::start_raw(move |target| {
            let (status, content_type, body) = answer(target);
            reply(status, &[("Content-Type", content_type)], body.as_bytes())
        })
    }

    /// Answers each target with a whole [`reply`].
    pub(crate) fn start_raw(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (answer, count): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&requests));
        let heads = Heads::default();
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(&stream, &*answer, &count, &kept));
            }
        });
        Self { base_url, requests, heads }
    }

    pub(crate) fn base_url(&self) -> String {
        self.base_url.clone()
    }

    /// The targets that were asked for, path and query, since this was asked last.
    pub(crate) fn targets(&self) -> Vec<String> {
        let heads = std::mem::take(&mut *self.heads.lock().unwrap());
        let target = |head: &Vec<String>| head[0].split(' ').nth(1).unwrap_or_default().to_owned();
        heads.iter().map(target).collect()
    }

    /// The header lines of the request that came last.
    pub(crate) fn last_headers(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.last().map(|head| head[1..].to_vec()).unwrap_or_default()
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: &TcpStream, answer: &Answer, count: &AtomicUsize, heads: &Heads) {
    let mut lines = BufReader::new(stream).lines();
    // A client that goes away between two requests ends the loop.
    while let Some(Ok(first)) = lines.next() {
        let is_header = |line: &String| !line.is_empty();
        let rest = lines.by_ref().map_while(Result::ok).take_while(is_header);
        let head: Vec<String> = std::iter::once(first.clone()).chain(rest).collect();
        heads.lock().unwrap().push(head);
        count.fetch_add(1, Ordering::Relaxed);
        let reply = answer(first.split(' ').nth(1).unwrap_or_default());
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}
