//! The API without the network: takes the head of a request, and returns a reply and the fault to
//! apply in transit. A ledger records what clients did. Nothing waits here, and no socket is
//! opened: [`Server`](super::Server) serves the same API over HTTP.

use super::faults::Fault;
use super::gate::Gate;
use super::ledger::{Request, Violations};
use super::reply::Reply;
use super::settings::Settings;
use super::workspace::Workspace;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Below this, compression costs more than it saves.
const GZIP_FROM: usize = 1_024;

/// A simulated API; clones are handles to the same one.
#[derive(Clone)]
pub struct Api {
    gate: Arc<Gate>,
}

impl Api {
    /// The API of a workspace.
    #[must_use]
    pub fn new(workspace: Workspace, settings: Settings) -> Self {
        Self { gate: Arc::new(Gate::new(workspace, settings)) }
    }

    /// Its workspace.
    #[must_use]
    pub fn workspace(&self) -> &Workspace {
        &self.gate.workspace
    }

    /// Every request received, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.gate.ledger.requests()
    }

    /// How many requests had exactly this path.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.gate.ledger.count(path)
    }

    /// The rules that clients have broken.
    #[must_use]
    pub fn violations(&self) -> Violations {
        self.gate.ledger.violations()
    }

    /// Clears requests and violations, but not the remaining quota.
    pub fn clear(&self) {
        self.gate.ledger.clear();
    }

    /// Applies a fault to the next `times` requests for a path.
    pub fn fail_next(&self, path: &str, fault: Fault, times: u32) {
        self.gate.plan(path, fault, times);
    }

    /// Changes the workspace just before the `nth` successful request for a path from now on is
    /// answered; 1 is the next one.
    pub fn before(&self, path: &str, nth: u32, change: impl FnOnce(&Workspace) + Send + 'static) {
        self.gate.change(path, nth, Box::new(change));
    }

    /// Begins a new week with the full quota.
    pub fn refill_quota(&self) {
        self.gate.refill();
    }

    /// Answers a request. The fault, if any, is already in the reply, except for two that must be
    /// applied when the reply is sent: [`Fault::Reset`] and [`Fault::Stall`].
    #[must_use]
    pub fn answer<B>(&self, request: &http::Request<B>) -> (Response<Bytes>, Option<Fault>) {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let number = self.gate.ledger.receive(request.method().as_str(), path, query);
        let (reply, fault) = self.gate.reply(request.method(), request.headers(), path, query);
        self.gate.ledger.answer(number, reply.status, fault);
        (finished(&self.gate.settings, request.headers(), reply), fault)
    }

    /// How long a reply with this fault keeps its client waiting.
    pub(super) fn pause(&self, fault: Option<Fault>) -> Duration {
        let settings = &self.gate.settings;
        let pause = settings.latency + settings.jitter.mul_f64(fastrand::f64());
        pause + if fault == Some(Fault::Stall) { settings.faults.stall_for } else { Duration::ZERO }
    }
}

fn finished(settings: &Settings, asked: &HeaderMap, reply: Reply) -> Response<Bytes> {
    let accepts = asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepts = settings.gzip && accepts.is_some_and(|value| value.contains("gzip"));
    let packed =
        (accepts && reply.body.len() >= GZIP_FROM).then(|| compress(&reply.body)).flatten();
    let gzip = packed.is_some();
    let body = Bytes::from(packed.unwrap_or(reply.body));
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let date = settings.date.map(|date| date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    if let Some(date) = date.and_then(|text| HeaderValue::try_from(text).ok()) {
        // If this is omitted, a server adds the real time.
        headers.insert(header::DATE, date);
    }
    response
}

fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}
