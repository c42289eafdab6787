//! The exchange: a request, its answer, and what a failure means.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{AGE, CONTENT_TYPE, DATE, LOCATION};
use reqwest::Url;
use tokio::time::Instant;

use super::address::shown;
use super::envelope::{is_lines, next_link, retry_after, total};
use super::secrets::Secrets;
use super::transport::{Break, Exchanged, Get, Severed};
use crate::decode::{NotJson, lines_as_list, refused};
use crate::error::{Error, ErrorKind};
use crate::manifest::Purpose;
use crate::page::Pointer;
use crate::retry::Failure;

/// What to request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The endpoint under which it is counted.
    pub endpoint: String,
    /// The path below the base URL, its variable parts percent-encoded.
    pub path: String,
    /// The query's keys and values, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Headers besides the credentials.
    pub headers: HeaderMap,
    /// A URL from a reply, instead of path and query: it must lead to the same host.
    pub link: Option<String>,
    /// Whether the caller can request less: then a reply that seems too large is not retried.
    pub shrinkable: bool,
    /// Whether it is for a page of a list: a page that cannot be sent is skipped.
    pub is_page: bool,
    /// Its purpose, which decides what pays for it.
    pub purpose: Purpose,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its body, decompressed.
    pub body: Bytes,
    /// The server's clock.
    pub date: Option<DateTime<Utc>>,
    /// The reference to the next page, from the reply's headers.
    pub next: Option<Pointer>,
    /// The number of records in the list, from the reply's headers.
    pub total: Option<u64>,
    /// When it was requested: later changes at the source may be missing from it.
    pub asked_at: Instant,
}

/// A server's last reply, whatever it was, for display.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The whole URL, without secrets.
    pub url: String,
    /// The status, if there was a reply.
    pub status: Option<u16>,
    /// The content type of the reply.
    pub content_type: Option<String>,
    /// The beginning of the body.
    pub beginning: String,
}

/// How many characters of a body are kept for display; more of it is searched for secrets.
const BEGINNING: usize = 300;
const LOOKED_THROUGH: usize = 4 << 10;

impl Seen {
    pub(super) fn of(sent: &Get, exchanged: Option<&Exchanged>) -> Self {
        let content_type = exchanged.and_then(|it| it.headers().get(CONTENT_TYPE));
        let body = exchanged.map(|it| &it.body()[..it.body().len().min(LOOKED_THROUGH)]);
        let body = String::from_utf8_lossy(body.unwrap_or_default());
        let secrets = Secrets::of(&sent.headers);
        let masked = |text: &str| secrets.masked(text);
        Self {
            url: masked(&shown(&sent.url)),
            status: exchanged.map(|it| it.status().as_u16()),
            content_type: content_type.and_then(|it| it.to_str().ok()).map(masked),
            beginning: masked(&body).chars().take(BEGINNING).collect(),
        }
    }
}

/// Why a caller could not read a reply.
#[derive(Debug)]
pub enum Unreadable {
    /// It ended early or is not JSON: worth a retry.
    NotJson(String),
    /// It is whole but unexpected: an error, or nothing. The server works, so the request is
    /// retried only a few times.
    NoList(Error),
    /// It is a page of HTML, so something else seems to answer for the API.
    Page(Error),
    /// The same body came twice, and a record in it is broken: the caller may request less.
    Garbled(Error),
    /// A retry will not help.
    Final(Error),
}

impl Unreadable {
    /// Why a reply in another format cannot be read.
    #[must_use]
    pub fn of(format: NotJson) -> Self {
        let error = refused(format);
        match format {
            NotJson::Html => Self::Page(error),
            _ if format.is_lasting() => Self::Final(error),
            _ => Self::NoList(error),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum FetchError {
    /// This request failed; others may not.
    Failed(Failure, Error),
    /// Nothing more can be requested in this run.
    Halted(Error),
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Failed(_, error) | FetchError::Halted(error) => error,
        }
    }
}

/// An attempt without a readable reply.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) failure: Failure,
    pub(super) error: Error,
    /// How long the server requests a pause.
    pub(super) wait: Option<Duration>,
}

/// Interprets a finished exchange. Only the message of a failed reply's body is passed on.
pub(super) fn judge(
    exchanged: Exchanged,
    asked_at: Instant,
    sent: &HeaderMap,
    server_now: impl FnOnce() -> DateTime<Utc>,
) -> Result<Reply, Unanswered> {
    let status = exchanged.status().as_u16();
    let date = date_of(&exchanged);
    if status != 200 {
        let failure = Failure::of_status(status, &String::from_utf8_lossy(exchanged.body()));
        let words = match status {
            300..=399 => redirected_to(exchanged.headers()),
            _ => words_of(exchanged.body()),
        };
        let words = words.filter(|words| !Secrets::of(sent).are_in(words));
        let words = words.map(|words| words.chars().take(MOST_WORDS).collect::<String>());
        let error = describe(failure, status, words.as_deref());
        let may_wait = matches!(status, 429 | 503) && failure != Failure::QuotaSpent;
        let now = || date.unwrap_or_else(server_now);
        let wait = retry_after(exchanged.headers(), now).filter(|_| may_wait);
        return Err(Unanswered { failure, error, wait });
    }
    let (next, total) = (next_link(exchanged.headers()), total(exchanged.headers()));
    let is_lines = is_lines(exchanged.headers());
    let mut body = exchanged.into_body();
    if is_lines {
        // A single line, or none, is a list too.
        let is_empty = body.trim_ascii().is_empty();
        let list = if is_empty { Some(b"[]".to_vec()) } else { lines_as_list(&body) };
        body = list.map_or(body, Bytes::from);
    }
    Ok(Reply { body, date, next, total, asked_at })
}

/// The host that a redirect leads to; its path may hold what must not be shown.
fn redirected_to(headers: &HeaderMap) -> Option<String> {
    let target = Url::parse(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    target.host_str().map(|host| format!("it redirects to {host}"))
}

/// The members of an error's body that hold its message, the likeliest first.
const WORDS: [&str; 8] = [
    "message",
    "errorMessage",
    "error_message",
    "detail",
    "error",
    "errors",
    "error_description",
    "title",
];
/// How much of the message is passed on.
const MOST_WORDS: usize = 200;

/// The message of a failed reply: a member of its JSON, or its text if that is short and plain.
fn words_of(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let said = match serde_json::from_str(text) {
        Ok(value) => said(&value, 0)?,
        // Truncated JSON or an HTML page is not a message.
        Err(_) if text.starts_with(['<', '{', '[']) => return None,
        Err(_) => text.to_owned(),
    };
    // Messages are shown on one line.
    let said: String = said.chars().filter(|it| !it.is_control()).collect();
    (!said.trim().is_empty() && !said.contains("://")).then_some(said)
}

fn said(value: &serde_json::Value, depth: usize) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => items.iter().find_map(|item| said(item, depth + 1)),
        Value::Object(members) if depth < 3 => {
            WORDS.iter().find_map(|name| said(members.get(*name)?, depth + 1))
        }
        _ => None,
    }
}

/// The server's clock, from the reply's headers; none if the reply came from a cache.
pub(super) fn date_of(exchanged: &Exchanged) -> Option<DateTime<Utc>> {
    if exchanged.headers().get(AGE).is_some_and(|age| age != "0") {
        return None;
    }
    let text = exchanged.headers().get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// Interprets an exchange that was cut off.
pub(super) fn failed(severed: Severed, server: &str) -> Unanswered {
    let (failure, kind) = match severed.at {
        Break::NoSuchHost | Break::NoTls => (Failure::Unreachable, ErrorKind::Unavailable),
        Break::Untrusted => (Failure::Unreachable, ErrorKind::Config),
        Break::NoAnswer => (Failure::TooLarge, ErrorKind::Unavailable),
        Break::Endless => (Failure::TooLarge, ErrorKind::Data),
        Break::NoConnection | Break::Torn => (Failure::Broken, ErrorKind::Unavailable),
    };
    let error = Error::new(kind, format!("{} ({server})", severed.at));
    let error = if failure == Failure::Unreachable {
        error.with_hint(
            "check the base URL, the proxy, and the certificates that this machine trusts",
        )
    } else {
        error
    };
    let error = match severed.source {
        Some(source) => error.with_source(source),
        None => error,
    };
    Unanswered { failure, error, wait: None }
}

/// Describes a failure, with the server's message if it adds to the status.
fn describe(failure: Failure, status: u16, words: Option<&str>) -> Error {
    let (kind, message) = match failure {
        Failure::QuotaSpent => {
            let message = "the API says that the quota is spent; it renews on Sunday 00:00 UTC";
            (ErrorKind::Exhausted, message.to_owned())
        }
        Failure::Unauthorized => {
            (ErrorKind::Denied, "the credentials were not accepted (401)".to_owned())
        }
        Failure::Forbidden => (ErrorKind::Denied, "the credentials were refused (403)".to_owned()),
        Failure::NoSuchPath => (ErrorKind::Config, "the API has no such path (403)".to_owned()),
        Failure::NotFound => (ErrorKind::Data, "not found (404)".to_owned()),
        Failure::Refused(_) if (200..300).contains(&status) => {
            (ErrorKind::Data, format!("the API answered with an empty reply ({status})"))
        }
        Failure::Refused(_) => (ErrorKind::Data, format!("the API refused the request ({status})")),
        Failure::TooFast => (ErrorKind::Unavailable, "too many requests (429)".to_owned()),
        Failure::Deferred
        | Failure::TooLarge
        | Failure::Unreachable
        | Failure::Broken
        | Failure::NoList
        | Failure::Page
        | Failure::Garbled => (ErrorKind::Unavailable, format!("the API failed ({status})")),
    };
    let tells_more = matches!(
        failure,
        Failure::Unauthorized | Failure::Forbidden | Failure::Refused(_) | Failure::NotFound
    );
    let error = match words.filter(|_| tells_more) {
        Some(words) => Error::new(kind, format!("{message}: {words}")),
        None => Error::new(kind, message),
    };
    match failure {
        Failure::NoSuchPath => error.with_hint(
            "check the base URL; if only this endpoint has another path, set it in an endpoint \
             file",
        ),
        _ => error,
    }
}

/// No request has succeeded for so long that the run ends.
pub(super) fn outage(after: Duration, last: Error) -> Error {
    let message = format!("the API has given no useful answer for {} seconds", after.as_secs());
    Error::new(ErrorKind::Unavailable, message).with_source(last)
}
