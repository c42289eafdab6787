//! Checks that precede the API, in the platform's order: credentials, rate, quota, and random
//! faults. Takes a request's head, and returns a finished reply and the fault to apply in transit.

use super::faults::Fault;
use super::ledger::Ledger;
use super::reply::Reply;
use super::routes::Desk;
use super::settings::Settings;
use super::text::hash;
use super::workspace::Workspace;
use http::{HeaderMap, Method};
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const RATE_SPAN: Duration = Duration::from_secs(1);

/// The part of a server that outlasts its connections.
pub(super) struct Gate {
    pub(super) workspace: Workspace,
    pub(super) settings: Settings,
    pub(super) ledger: Ledger,
    luck: Mutex<Luck>,
}

/// A workspace change that is waiting for a request.
type Change = Box<dyn FnOnce(&Workspace) + Send>;

/// The gate's counters.
#[derive(Default)]
struct Luck {
    /// How often each target was requested.
    attempts: HashMap<u64, u32>,
    /// Faults scheduled by a test: path, fault, remaining count.
    planned: Vec<(String, Fault, u32)>,
    /// Changes scheduled by a test: path, how many requests to wait, change.
    changes: Vec<(String, u32, Change)>,
    /// When the requests of the last second were admitted.
    recent: VecDeque<Instant>,
    /// Requests counted against the quota.
    spent: u64,
    /// All requests.
    total: u64,
}

impl Gate {
    pub(super) fn new(workspace: Workspace, settings: Settings) -> Self {
        let luck = Mutex::default();
        Self { workspace, settings, ledger: Ledger::default(), luck }
    }

    /// Makes the next requests for a path fail.
    pub(super) fn plan(&self, path: &str, fault: Fault, times: u32) {
        self.luck().planned.push((path.to_owned(), fault, times));
    }

    /// Changes the workspace right before the `nth` request for a path.
    pub(super) fn change(&self, path: &str, nth: u32, change: Change) {
        self.luck().changes.push((path.to_owned(), nth, change));
    }

    /// Begins a new week.
    pub(super) fn refill(&self) {
        self.luck().spent = 0;
    }

    /// The reply to a request, and the fault to apply to it.
    pub(super) fn reply(
        &self,
        method: &Method,
        headers: &HeaderMap,
        path: &str,
        query: &str,
    ) -> (Reply, Option<Fault>) {
        if method != Method::GET {
            self.ledger.violate(|violations| violations.non_get += 1);
        }
        if let Err(reply) = self.admit(headers) {
            return (reply, None);
        }
        let fault = match self.limit().or_else(|| self.fate(path, query)) {
            Some(Fault::DetailsMissing) if path != "/call-details" => None,
            fault => fault,
        };
        if let Some(reply) = fault.and_then(instead) {
            return (reply, fault);
        }
        if method != Method::GET {
            return (Reply::message(405, "Method Not Allowed"), fault);
        }
        self.happen(path);
        let Self { workspace, settings, ledger, .. } = self;
        let desk = Desk { workspace, settings, ledger, nonce: self.luck().total };
        let mut reply = desk.reply(path, query);
        if fault == Some(Fault::Truncated) {
            reply.body.truncate(reply.body.len() / 2);
        }
        (reply, fault)
    }

    /// Credentials are checked before routing: an unknown path without them is 401 too.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Reply> {
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(key), Some(password)) = (value("x-api-key"), value("x-api-password")) else {
            self.ledger.violate(|violations| violations.missing_headers += 1);
            let message = json!({ "errorMessage": "Unauthorized: missing api key or password" });
            return Err(Reply::json(401, &message));
        };
        if key == self.settings.api_key && password == self.settings.api_password {
            return Ok(());
        }
        Err(Reply::message(403, "Forbidden"))
    }

    /// Applies the changes that were waiting for this request.
    fn happen(&self, path: &str) {
        let mut luck = self.luck();
        luck.changes.iter_mut().filter(|(at, ..)| at == path).for_each(|(_, left, _)| {
            *left = left.saturating_sub(1);
        });
        let due: Vec<_> = luck.changes.extract_if(.., |(_, left, _)| *left == 0).collect();
        // A change may take time, or send a request to the server.
        drop(luck);
        for (.., change) in due {
            change(&self.workspace);
        }
    }

    /// A refused request costs neither rate nor quota.
    fn limit(&self) -> Option<Fault> {
        let mut luck = self.luck();
        luck.total += 1;
        let now = Instant::now();
        if let Some(rate) = self.settings.rate {
            while luck.recent.front().is_some_and(|at| now.duration_since(*at) >= RATE_SPAN) {
                luck.recent.pop_front();
            }
            if luck.recent.len() >= usize::try_from(rate).unwrap_or(usize::MAX) {
                return Some(Fault::TooFast);
            }
        }
        if self.settings.quota.is_some_and(|quota| luck.spent >= quota) {
            return Some(Fault::QuotaSpent);
        }
        luck.spent += 1;
        if self.settings.rate.is_some() {
            luck.recent.push_back(now);
        }
        None
    }

    /// Scheduled faults first, then the random ones.
    fn fate(&self, path: &str, query: &str) -> Option<Fault> {
        let mut luck = self.luck();
        let planned = luck.planned.iter_mut().find(|(at, _, left)| at == path && *left > 0);
        if let Some((_, fault, left)) = planned {
            *left -= 1;
            return Some(*fault);
        }
        let target = format!("{path}?{query}");
        let attempt = luck.attempts.entry(hash(target.as_bytes())).or_default();
        *attempt += 1;
        self.settings.faults.decide(&target, *attempt)
    }

    fn luck(&self) -> MutexGuard<'_, Luck> {
        self.luck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reply that replaces the API's; `None` if the fault only affects how the real one is sent.
fn instead(fault: Fault) -> Option<Reply> {
    let html = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
    Some(match fault {
        Fault::TooFast => Reply::message(429, "Too Many Requests"),
        Fault::QuotaSpent => Reply::message(429, "Limit Exceeded"),
        Fault::ServerError => Reply::message(500, "Internal server error"),
        Fault::BadGateway => Reply::page(502, html),
        Fault::Unavailable => Reply::message(503, "Service Unavailable"),
        Fault::GatewayTimeout => Reply::message(504, "Endpoint request timed out"),
        Fault::NotJson => Reply::page(200, "<!doctype html><title>Scheduled maintenance</title>"),
        Fault::DetailsMissing => Reply::not_found(),
        Fault::Reset | Fault::Truncated | Fault::Stall => return None,
    })
}
