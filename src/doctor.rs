//! The doctor: tests whether an export can work here.
//!
//! Tests a client, the catalogue and a store, and yields one check per line. It shows no record
//! values or secrets, and leaves nothing in the store.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::check::{Check, Verdict};
use crate::clock::Clock;
use crate::decode::{self, Decoded, NotJson, Origin, RecordDecoder, Undecodable};
use crate::endpoint::{Catalogue, Endpoint, ParentRef};
use crate::error::{Error, ErrorKind};
use crate::fetch::{Asked, Client, FetchError, Reply, Request, Unreadable, first_page, request};
use crate::lake::Store;
use crate::retry::Failure;
use crate::window::day_of;

/// How far this machine's clock and the API's may differ.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// Tests the API: credentials, the clock, and each endpoint with one small request.
pub async fn api(client: &Client, catalogue: &Catalogue, clock: &Clock) -> Vec<Check> {
    let (checks, ids) = (Vec::new(), HashMap::new());
    let mut visit = Visit { client, clock, checks, ids, is_denied: false, date: None };
    let (chained, independent): (Vec<_>, Vec<_>) = catalogue
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.on)
        .partition(|endpoint| endpoint.parent.is_some());
    for endpoint in independent.into_iter().chain(chained) {
        if visit.ask(endpoint).await.is_break() {
            break;
        }
    }
    let mut checks = vec![visit.credentials(), visit.skew()];
    checks.extend(visit.checks);
    checks
}

/// Tests the store, waiting for its answers.
#[must_use]
pub fn store(store: &Store) -> Vec<Check> {
    store.examine()
}

/// What is known about the API so far.
struct Visit<'a> {
    client: &'a Client,
    clock: &'a Clock,
    checks: Vec<Check>,
    /// One id of each endpoint that had one.
    ids: HashMap<&'a str, Box<str>>,
    /// Whether the credentials were refused.
    is_denied: bool,
    /// The API's clock and this machine's, at one reply.
    date: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl<'a> Visit<'a> {
    /// Requests one record of an endpoint; breaks when no other endpoint can do better.
    async fn ask(&mut self, endpoint: &'a Endpoint) -> std::ops::ControlFlow<()> {
        let id = endpoint.parent.as_ref().map(|parent| self.ids.get(parent.endpoint.as_str()));
        let id = match id {
            Some(Some(_)) if !endpoint.parent_fields().is_empty() => {
                let message = "not checked: its requests need more than the parent's id";
                self.checks.push(Check::new(&endpoint.name, Verdict::Note, message));
                return std::ops::ControlFlow::Continue(());
            }
            Some(None) => {
                let message = "not checked: there was no id to request";
                self.checks.push(Check::new(&endpoint.name, Verdict::Note, message));
                return std::ops::ControlFlow::Continue(());
            }
            Some(Some(id)) => Some(id.clone()),
            None => None,
        };
        let now = self.clock.now();
        let schema = Arc::new(endpoint.schema());
        let mut decoder =
            RecordDecoder::new(Arc::new(endpoint.clone()), schema, true, Arc::default());
        let origin = Origin {
            day: Some(day_of((now - TimeDelta::days(1)).date_naive())),
            parent: id.as_deref().map(Into::into),
            ..Origin::default()
        };
        let read = |reply: &Reply| {
            // The user is waiting, and can try again.
            if let Some(format) = NotJson::of(&reply.body) {
                return Err(Unreadable::Final(decode::refused(format)));
            }
            let decoded = decoder.decode(&reply.body, &origin).map_err(unreadable)?;
            Ok((decoded, reply.date))
        };
        let request = smallest(endpoint, id.as_deref(), now);
        match self.client.get(&request, &mut 0, read).await {
            Ok((decoded, date)) => {
                self.date = self.date.or(date.map(|date| (date, self.clock.now())));
                if let Some(entry) = decoded.page.entries.first() {
                    self.ids.insert(&endpoint.name, entry.key.clone());
                }
                self.checks.push(found(endpoint, &decoded));
            }
            Err(FetchError::Failed(failure, error)) => {
                self.is_denied |= matches!(failure, Failure::Forbidden | Failure::Unauthorized);
                self.checks.push(refused(endpoint, failure, &error));
            }
            Err(FetchError::Halted(error)) => {
                self.checks.push(Check::failed(&endpoint.name, &error));
                return std::ops::ControlFlow::Break(());
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Credentials are good if any endpoint answered.
    fn credentials(&self) -> Check {
        let answered = |check: &Check| matches!(check.verdict, Verdict::Good | Verdict::Note);
        if self.checks.iter().any(answered) && self.date.is_some() {
            return Check::new("credentials", Verdict::Good, "accepted by the API");
        }
        if self.checks.iter().all(|check| check.verdict == Verdict::Unavailable) {
            let message = "unknown: the API gives no useful answer";
            return Check::new("credentials", Verdict::Unavailable, message);
        }
        if !self.is_denied {
            let message = "unknown: no reply came that an API would send";
            return Check::new("credentials", Verdict::Unavailable, message);
        }
        let error = Error::new(ErrorKind::Denied, "the API refuses every request");
        Check::failed("credentials", &error)
    }

    fn skew(&self) -> Check {
        let Some((theirs, ours)) = self.date else {
            return Check::new("clock", Verdict::Note, "not compared: no reply had a Date header");
        };
        let skew = (ours - theirs).abs();
        let seconds = skew.num_seconds();
        if skew <= SKEW {
            let message = format!("within {} seconds of the API's", seconds.max(1));
            return Check::new("clock", Verdict::Good, message);
        }
        let direction = if ours > theirs { "ahead of" } else { "behind" };
        let message = format!("this machine's clock is {seconds} seconds {direction} the API's");
        Check::new("clock", Verdict::Bad, message)
            .with_hint("set the clock, for instance with an NTP client")
    }
}

/// The smallest request that shows whether an endpoint exists.
fn smallest(endpoint: &Endpoint, parent: Option<&str>, now: DateTime<Utc>) -> Request {
    let paging = endpoint.paging.at_most(1);
    let parent = parent.map(ParentRef::of);
    request(endpoint, &Asked { parent, ..first_page(endpoint, &paging, now, None) })
}

fn unreadable(error: Undecodable) -> Unreadable {
    match error {
        Undecodable::NotJson(why) => Unreadable::NotJson(why),
        error @ Undecodable::IsError(_) => {
            Unreadable::NoList(Error::new(ErrorKind::Data, error.to_string()))
        }
        Undecodable::NoRecords(path) => {
            let message = format!("unexpected reply: no records at {path}");
            Unreadable::Final(Error::new(ErrorKind::Data, message))
        }
        Undecodable::Other(error) => Unreadable::Final(error),
    }
}

/// What an endpoint that answered has.
fn found(endpoint: &Endpoint, decoded: &Decoded) -> Check {
    let records = decoded.page.entries.len();
    let strange: Vec<&str> = decoded.surprises.misfits.keys().map(String::as_str).collect();
    let unusable = decoded.quarantined.len();
    if records > 0 && unusable == records {
        let message =
            format!("unexpected reply: no record has the key `{}`", endpoint.key.join("`, `"));
        return Check::new(&endpoint.name, Verdict::Bad, message).with_hint(
            "`clari-lake schema` shows the expected columns; an endpoint file can override them",
        );
    }
    if records == 0 {
        return Check::new(
            &endpoint.name,
            Verdict::Good,
            "available; the requested range was empty",
        );
    }
    if strange.is_empty() {
        return Check::new(&endpoint.name, Verdict::Good, "available");
    }
    let message =
        format!("available; {} fields are undeclared or have another type", strange.len());
    Check::new(&endpoint.name, Verdict::Note, message)
}

/// What it means when an endpoint did not answer.
fn refused(endpoint: &Endpoint, failure: Failure, error: &Error) -> Check {
    let name = &endpoint.name;
    let may_be_absent = endpoint.experimental;
    match failure {
        Failure::NoSuchPath | Failure::NotFound | Failure::Forbidden if may_be_absent => {
            Check::new(name, Verdict::Note, "absent: this workspace does not have it")
        }
        Failure::NotFound if endpoint.parent.is_some() => {
            let message = "404 for the requested id, as is usual for a recent call";
            Check::new(name, Verdict::Note, message)
        }
        Failure::Forbidden | Failure::Unauthorized => Check::failed(name, error),
        Failure::NoSuchPath | Failure::NotFound => {
            Check::new(name, Verdict::Bad, "the API has no such path")
                .with_hint("check the base URL; an endpoint file can override the path")
        }
        _ if failure.is_transient() && error.kind() == ErrorKind::Unavailable => {
            Check::failed(name, error)
        }
        _ => {
            let failed = Check::failed(name, error);
            Check { verdict: Verdict::Bad, ..failed }
        }
    }
}
