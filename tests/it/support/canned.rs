//! An API in thirty lines, for replies that the simulator never sends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

type Answer = dyn Fn(&str) -> (u16, Value) + Send + Sync;

/// A server that answers every path by one function; its thread ends with the test's process.
pub(crate) struct Canned {
    base_url: String,
    requests: Arc<AtomicUsize>,
}

impl Canned {
    /// Answers each target, path and query, with a status and a body.
    pub(crate) fn start(answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (answer, count): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                std::thread::spawn(move || serve(&stream, &*answer, &count));
            }
        });
        Self { base_url, requests }
    }

    pub(crate) fn base_url(&self) -> String {
        self.base_url.clone()
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: &TcpStream, answer: &Answer, count: &AtomicUsize) {
    let mut lines = BufReader::new(stream).lines();
    // A client that goes away between two requests ends the loop.
    while let Some(Ok(first)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        count.fetch_add(1, Ordering::Relaxed);
        let (status, body) = answer(first.split(' ').nth(1).unwrap_or_default());
        let body = body.to_string();
        let reply = format!(
            "HTTP/1.1 {status} Canned\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}
