//! The client: one request at a time from each caller, retried where that can help.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::DATE;
use http::{HeaderMap, HeaderValue};
use reqwest::Url;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Stop;
use super::tally::{Tally, answer};
use super::throttle::{Allowance, Rate, Refusal, Throttle};
use super::transport::{Break, Exchanged, Get, Network, Severed, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Purpose;
use crate::report::Answers;
use crate::retry::{Failure, RetryPolicy};
use crate::secret::Credentials;

/// The API as its vendor publishes it.
pub const BASE_URL: &str = "https://rest-api.copilot.clari.com";

/// How many requests in a row may each be too large to be answered.
const MOST_EXHAUSTED: u32 = 3;

/// How to reach the API, and how fast.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where the API is.
    pub base_url: String,
    /// The key pair.
    pub credentials: Credentials,
    /// Requests a second; 0 for as fast as they go.
    pub rate: f64,
    /// How many requests are under way at once, at most.
    pub concurrency: usize,
    /// How often to try.
    pub retry: RetryPolicy,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long no request at all may succeed before the run ends.
    pub outage: Duration,
}

impl ClientSettings {
    /// The vendor's API at the rate that it allows.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self {
            base_url: BASE_URL.to_owned(),
            credentials,
            rate: 10.0,
            concurrency: 16,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(60),
            outage: Duration::from_secs(120),
        }
    }
}

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

/// Sends requests.
pub struct Client {
    transport: Arc<dyn Transport>,
    headers: HeaderMap,
    base_url: Url,
    timeout: Duration,
    throttle: OnceLock<Throttle>,
    rate: f64,
    slots: Semaphore,
    retry: RetryPolicy,
    outage: Duration,
    stop: Stop,
    requests: AtomicU64,
    tally: Tally,
    last_success: Mutex<Instant>,
    succeeded: AtomicBool,
    /// When the first request failed since one succeeded.
    failing_since: Mutex<Option<Instant>>,
    /// How many requests in a row got no reply but 502, 504 or silence, however often tried.
    exhausted: AtomicU32,
    halted: OnceLock<(ErrorKind, String)>,
    /// Why nothing more is sent for backfills.
    deferred: OnceLock<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl Client {
    /// A client over the network that has not sent anything yet.
    ///
    /// # Errors
    /// `Config` when the base URL is none.
    pub fn new(settings: &ClientSettings, stop: Stop) -> Result<Self> {
        Self::over(Arc::new(Network::new()?), settings, stop)
    }

    /// A client over another transport.
    ///
    /// # Errors
    /// `Config` when the base URL is none.
    pub fn over(
        transport: Arc<dyn Transport>,
        settings: &ClientSettings,
        stop: Stop,
    ) -> Result<Self> {
        Ok(Self {
            transport,
            headers: headers(&settings.credentials)?,
            base_url: parse_base_url(&settings.base_url)?,
            timeout: settings.timeout,
            throttle: OnceLock::new(),
            rate: settings.rate,
            slots: Semaphore::new(settings.concurrency.max(1)),
            retry: settings.retry,
            outage: settings.outage,
            stop,
            requests: AtomicU64::new(0),
            tally: Tally::default(),
            last_success: Mutex::new(Instant::now()),
            succeeded: AtomicBool::new(false),
            failing_since: Mutex::default(),
            exhausted: AtomicU32::new(0),
            halted: OnceLock::new(),
            deferred: OnceLock::new(),
        })
    }

    /// From here on `allowance` says what may be sent, and when; to be said before anything is.
    pub fn allow(&self, allowance: Arc<dyn Allowance>) {
        let _ = self.throttle.set(Throttle::new(allowance));
    }

    /// Gives back what was granted and not sent.
    ///
    /// # Errors
    /// When whoever grants it cannot take it.
    pub async fn give_back(&self) -> Result<()> {
        match self.throttle.get() {
            Some(throttle) => throttle.give_back().await,
            None => Ok(()),
        }
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What the requests for an endpoint came to, so far.
    pub fn answers(&self, endpoint: &str) -> Answers {
        self.tally.of(endpoint)
    }

    /// Sends `request` until a reply can be read by `read`, or there is no point in trying again.
    /// `attempts` counts the requests that it took.
    ///
    /// # Errors
    /// `Failed` for this request alone, `Halted` when no other will fare better.
    pub async fn get<T>(
        &self,
        request: &Request,
        attempts: &mut u64,
        mut read: impl FnMut(&Reply) -> Result<T, Unreadable>,
    ) -> Result<T, FetchError> {
        let begun = Instant::now();
        let mut too_large = 0;
        let url =
            self.url(request).map_err(|error| FetchError::Failed(Failure::Refused(0), error))?;
        let mut headers = request.headers.clone();
        headers.extend(self.headers.clone());
        for attempt in 1u32.. {
            let get = Get { url: url.clone(), headers: headers.clone() };
            let sent = self.send(get, request).await?;
            *attempts += 1;
            let (failure, error) = match sent {
                Ok(reply) => match read(&reply) {
                    Ok(value) => {
                        self.note_success();
                        return Ok(value);
                    }
                    Err(Unreadable::NotJson(why)) => {
                        (Failure::Broken, Error::new(ErrorKind::Data, why))
                    }
                    Err(Unreadable::Final(error)) => {
                        self.note_success();
                        return Err(FetchError::Failed(Failure::Broken, error));
                    }
                },
                Err(failed) => failed,
            };
            // That the quota is spent is nothing that one request is to blame for.
            if failure == Failure::QuotaSpent {
                return Err(self.halt(error));
            }
            let error = error.with_context(format!("GET {}", request.path));
            if failure.is_transient() {
                self.note_failure();
            }
            let shrink = request.shrinkable && failure == Failure::TooLarge;
            // Only what seems too large again and again is taken for it.
            too_large += u32::from(failure == Failure::TooLarge);
            let tries = if failure == Failure::TooLarge { too_large } else { attempt };
            match self.delay(failure, tries, begun) {
                Some(delay) if !shrink => {
                    tracing::info!(attempt, delay_ms = millis(delay), "{error}; trying again");
                    self.pause(delay).await?;
                }
                _ if self.is_out() => return Err(self.halt(outage(self.outage, error))),
                _ => return Err(FetchError::Failed(failure, error)),
            }
        }
        let error = Error::new(ErrorKind::Internal, "more attempts than can be counted");
        Err(FetchError::Halted(error))
    }

    /// Ends the run: from here on every request answers with the same error.
    pub fn halt(&self, error: Error) -> FetchError {
        if self.halted.set((error.kind(), error.to_string())).is_ok() {
            tracing::warn!("nothing more is asked: {error}");
        }
        FetchError::Halted(error)
    }

    /// One attempt; the outer error ends the run, the inner one this attempt.
    async fn send(
        &self,
        get: Get,
        request: &Request,
    ) -> Result<Result<Reply, (Failure, Error)>, FetchError> {
        let purpose = request.purpose;
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.ok();
        self.check()?;
        self.check_purpose(purpose)?;
        let ready = tokio::select! {
            biased;
            () = self.stop.requested() => Ok(()),
            ready = self.throttle().ready(purpose) => ready,
        };
        self.check()?;
        ready.map_err(|refusal| self.refused(purpose, refusal))?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let asked_at = Instant::now();
        let exchange = tokio::time::timeout(self.timeout, self.transport.get(get));
        let exchanged = exchange.await.unwrap_or_else(|_| Err(Break::NoAnswer.into()));
        let answer = answer(exchanged.as_ref());
        let path = &request.path;
        tracing::debug!(path, answer, elapsed_ms = millis(asked_at.elapsed()), "asked");
        self.tally.note(&request.endpoint, answer);
        Ok(exchanged.map_err(failed).and_then(|exchanged| judge(exchanged, asked_at)))
    }

    /// Sends nothing more for backfills, for this reason.
    pub fn defer_backfill(&self, why: &str) {
        let _ = self.deferred.set(why.to_owned());
    }

    /// Whether requests for this purpose are still sent.
    pub fn is_open(&self, purpose: Purpose) -> bool {
        self.closed(purpose).is_none()
    }

    /// Why no more requests for this purpose are sent, if that is so.
    pub fn closed(&self, purpose: Purpose) -> Option<FetchError> {
        self.check().and_then(|()| self.check_purpose(purpose)).err()
    }

    /// What ended a purpose is said to all later requests for it, without asking anew.
    fn check_purpose(&self, purpose: Purpose) -> Result<(), FetchError> {
        match self.deferred.get() {
            Some(message) if purpose == Purpose::Backfill => {
                let error = Error::new(ErrorKind::Exhausted, message.clone());
                Err(FetchError::Failed(Failure::Deferred, error))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, purpose: Purpose, refusal: Refusal) -> FetchError {
        match refusal {
            Refusal::Deferred(error) if purpose == Purpose::Backfill => {
                let _ = self.deferred.set(error.to_string());
                FetchError::Failed(Failure::Deferred, error)
            }
            Refusal::Deferred(error) | Refusal::Spent(error) => self.halt(error),
        }
    }

    fn throttle(&self) -> &Throttle {
        self.throttle.get_or_init(|| Throttle::new(Arc::new(Rate::new(self.rate))))
    }

    fn check(&self) -> Result<(), FetchError> {
        if self.stop.is_requested() {
            let error = Error::new(ErrorKind::Interrupted, "interrupted");
            return Err(FetchError::Halted(error));
        }
        match self.halted.get() {
            Some((kind, message)) => Err(FetchError::Halted(Error::new(*kind, message.clone()))),
            None => Ok(()),
        }
    }

    /// Where a request goes: never to another host, whatever a reply says.
    fn url(&self, request: &Request) -> Result<Url> {
        let mut url = self.base_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{}", request.path));
        if let Some(link) = &request.link {
            return same_host(&url, link)
                .map_err(|error| error.with_context(format!("GET {}", request.path)));
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }

    /// How long to wait before the next attempt. While nothing at all succeeds, a request is
    /// tried beyond its attempts, until that counts as an outage.
    fn delay(&self, failure: Failure, attempt: u32, begun: Instant) -> Option<Duration> {
        let random = fastrand::f64();
        if self.is_out() {
            return None;
        }
        if let Some(delay) = self.retry.delay(failure, attempt, random) {
            return Some(delay);
        }
        // One reply may be too large for ever; several in a row are an outage, and so is the first
        // of all.
        let is_alone = failure == Failure::TooLarge
            && self.succeeded.load(Ordering::Relaxed)
            && self.exhausted.fetch_add(1, Ordering::Relaxed) < MOST_EXHAUSTED;
        let nothing_since = failure.is_transient() && self.last_success() <= begun;
        (nothing_since && !is_alone).then_some(self.retry.longest)
    }

    async fn pause(&self, delay: Duration) -> Result<(), FetchError> {
        tokio::select! {
            () = self.stop.requested() => self.check(),
            () = tokio::time::sleep(delay) => Ok(()),
        }
    }

    fn last_success(&self) -> Instant {
        *self.last_success.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_success(&self) {
        self.succeeded.store(true, Ordering::Relaxed);
        self.exhausted.store(0, Ordering::Relaxed);
        *self.last_success.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        *self.failing_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes a failure that time may mend; waiting for a slot is none.
    fn note_failure(&self) {
        let mut since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now);
    }

    fn is_out(&self) -> bool {
        let since = *self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= self.outage)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn parse_base_url(text: &str) -> Result<Url> {
    let wrong = || {
        // What may be a password is not said again.
        let message = if text.contains('@') {
            "a base URL has no user name and no password".to_owned()
        } else {
            format!("`{text}` is no base URL")
        };
        Error::new(ErrorKind::Config, message).with_hint(format!("it looks like {BASE_URL}"))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.query().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        return Err(wrong());
    }
    Ok(url)
}

/// The address of a link, as seen from the page that gave it.
fn same_host(page: &Url, link: &str) -> Result<Url> {
    let wrong = |message: &str| Error::new(ErrorKind::Data, message);
    let url = page.join(link).map_err(|_| wrong("the link to the next page is no address"))?;
    let is_same = url.origin() == page.origin() && url.username().is_empty();
    if !is_same || url.password().is_some() {
        let message = "the link to the next page leads to another host, where nothing is sent";
        return Err(wrong(message));
    }
    Ok(url)
}

fn headers(credentials: &Credentials) -> Result<HeaderMap> {
    let sensitive = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            Error::new(ErrorKind::Config, "the credentials hold what no HTTP header can carry")
        })?;
        value.set_sensitive(true);
        Ok::<_, Error>(value)
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", sensitive(credentials.key())?);
    headers.insert("x-api-password", sensitive(credentials.password())?);
    Ok(headers)
}

/// What a whole exchange means; a failed reply's body is only looked at, never shown.
fn judge(exchanged: Exchanged, asked_at: Instant) -> Result<Reply, (Failure, Error)> {
    let status = exchanged.status().as_u16();
    if status != 200 {
        let failure = Failure::of_status(status, &String::from_utf8_lossy(exchanged.body()));
        return Err((failure, describe(failure, status)));
    }
    let date = exchanged.headers().get(DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()).map(|it| it.to_utc());
    Ok(Reply { body: exchanged.into_body(), date, asked_at })
}

fn failed(severed: Severed) -> (Failure, Error) {
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

fn outage(after: Duration, last: Error) -> Error {
    let message = format!("the API has not answered usefully for {} seconds", after.as_secs());
    Error::new(ErrorKind::Unavailable, message).with_source(last)
}
