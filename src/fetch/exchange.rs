//! The exchange: what is asked, what is answered, and what it means when nothing is.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{AGE, DATE};
use tokio::time::Instant;

use super::transport::{Break, Exchanged, Severed};
use crate::error::{Error, ErrorKind};
use crate::manifest::Purpose;
use crate::retry::Failure;

/// What to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The endpoint by which it is counted.
    pub endpoint: String,
    /// The path below the base URL, its variable parts percent-encoded.
    pub path: String,
    /// The query's keys and values, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Headers beside the credentials.
    pub headers: HeaderMap,
    /// An address that a reply gave, in place of path and query: it must lead to the same host.
    pub link: Option<String>,
    /// Whether the caller can ask for less: then a reply that seems too large is not tried again.
    pub shrinkable: bool,
    /// Whether it asks for a page of a list: one that cannot be sent is passed over.
    pub is_page: bool,
    /// What it is for, which decides what pays for it.
    pub purpose: Purpose,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its body, decompressed.
    pub body: Bytes,
    /// The server's clock.
    pub date: Option<DateTime<Utc>>,
    /// When it was asked for: what changed at the source since may not be in it.
    pub asked_at: Instant,
}

/// Why a caller could not read a reply.
#[derive(Debug)]
pub enum Unreadable {
    /// It ended early or is not JSON: worth another try.
    NotJson(String),
    /// It will not be better next time.
    Final(Error),
}

/// Why there is no answer.
#[derive(Debug)]
pub enum FetchError {
    /// This request failed; others may not.
    Failed(Failure, Error),
    /// Nothing more can be asked in this run.
    Halted(Error),
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Failed(_, error) | FetchError::Halted(error) => error,
        }
    }
}

/// What a whole exchange means; a failed reply's body is only looked at, never shown.
pub(super) fn judge(exchanged: Exchanged, asked_at: Instant) -> Result<Reply, (Failure, Error)> {
    let status = exchanged.status().as_u16();
    if status != 200 {
        let failure = Failure::of_status(status, &String::from_utf8_lossy(exchanged.body()));
        return Err((failure, describe(failure, status)));
    }
    let date = date_of(&exchanged);
    Ok(Reply { body: exchanged.into_body(), date, asked_at })
}

/// The server's clock, as a reply says it; none of a reply that was kept somewhere on the way.
pub(super) fn date_of(exchanged: &Exchanged) -> Option<DateTime<Utc>> {
    if exchanged.headers().get(AGE).is_some_and(|age| age != "0") {
        return None;
    }
    let text = exchanged.headers().get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// What an exchange means that was cut off.
pub(super) fn failed(severed: Severed) -> (Failure, Error) {
    let (failure, kind) = match severed.at {
        Break::NoAnswer => (Failure::TooLarge, ErrorKind::Unavailable),
        Break::Endless => (Failure::TooLarge, ErrorKind::Data),
        Break::NoConnection | Break::Torn => (Failure::Broken, ErrorKind::Unavailable),
    };
    let error = Error::new(kind, severed.at.to_string());
    let error = match severed.source {
        Some(source) => error.with_source(source),
        None => error,
    };
    (failure, error)
}

fn describe(failure: Failure, status: u16) -> Error {
    let (kind, message) = match failure {
        Failure::QuotaSpent => {
            let message = "the API says that the quota is spent; it is renewed on Sunday 00:00 UTC";
            (ErrorKind::Exhausted, message.to_owned())
        }
        Failure::Unauthorized => (ErrorKind::Denied, "no credentials arrived (401)".to_owned()),
        Failure::Forbidden => (ErrorKind::Denied, "the credentials were refused (403)".to_owned()),
        Failure::NoSuchPath => (ErrorKind::Config, "the API has no such path (403)".to_owned()),
        Failure::NotFound => (ErrorKind::Data, "not found (404)".to_owned()),
        Failure::Refused(_) if (200..300).contains(&status) => {
            (ErrorKind::Data, format!("the API answered, but with nothing to read ({status})"))
        }
        Failure::Refused(_) => (ErrorKind::Data, format!("the API refused the request ({status})")),
        Failure::TooFast => (ErrorKind::Unavailable, "too many requests (429)".to_owned()),
        Failure::Deferred | Failure::TooLarge | Failure::Broken => {
            (ErrorKind::Unavailable, format!("the API failed ({status})"))
        }
    };
    let error = Error::new(kind, message);
    match failure {
        Failure::NoSuchPath => error.with_hint(
            "check the base URL; where one endpoint is elsewhere, an endpoint file says so",
        ),
        _ => error,
    }
}

/// No request has succeeded for so long that the run ends.
pub(super) fn outage(after: Duration, last: Error) -> Error {
    let message = format!("the API has not answered usefully for {} seconds", after.as_secs());
    Error::new(ErrorKind::Unavailable, message).with_source(last)
}
