//! The client: one request at a time from each caller, retried if that can help.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use reqwest::Url;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Stop;
use super::address::{BASE_URL, headers, parse_base_url, same_host};
use super::exchange::{
    FetchError, Reply, Request, Seen, Unanswered, Unreadable, date_of, failed, judge, outage,
};
use super::secrets::Secrets;
use super::tally::{Tally, answer};
use super::throttle::{Allowance, Rate, Refusal, Throttle};
use super::transport::{Break, Get, Network, Transport};
use crate::clock::{Clock, describe_offset};
use crate::decode::{NotJson, refused};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Purpose;
use crate::report::Answers;
use crate::retry::{Failure, Health, RetryPolicy, Waits};
use crate::secret::Credentials;

/// How to reach the API, and how fast.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The base URL of the API.
    pub base_url: String,
    /// The key pair.
    pub credentials: Credentials,
    /// Requests a second, at most; 0 for no limit.
    pub rate: f64,
    /// How many requests are under way at once, at most.
    pub concurrency: usize,
    /// When to retry.
    pub retry: RetryPolicy,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long requests may fail, with no answer settling one, before the run ends.
    pub outage: Duration,
    /// The environment's proxy, for messages.
    pub proxy: Option<String>,
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
            proxy: None,
        }
    }
}

/// A server as named in messages: its host, and the proxy's. Neither's path nor user is shown.
fn server_of(base_url: &Url, proxy: Option<&str>) -> String {
    let host = |url: &Url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", url.host_str().unwrap_or_default())
    };
    let proxy = proxy.map(|proxy| Url::parse(proxy).map_or("a proxy".to_owned(), |it| host(&it)));
    let through = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    format!("{}{through}", host(base_url))
}

/// The outcome of one attempt.
type Sent = Result<Reply, Unanswered>;

/// Sends requests.
pub struct Client {
    transport: Arc<dyn Transport>,
    headers: HeaderMap,
    base_url: Url,
    /// The server, and the proxy in front of it, for messages.
    server: String,
    timeout: Duration,
    throttle: Mutex<Arc<Throttle>>,
    /// The clock, corrected by replies.
    clock: OnceLock<Clock>,
    /// The request that was sent early, and its outcome.
    ahead: Mutex<Option<(Request, Sent)>>,
    slots: Semaphore,
    retry: RetryPolicy,
    outage: Duration,
    stop: Stop,
    /// Set when nothing more may be sent, so that every wait ends.
    halt: Stop,
    requests: AtomicU64,
    /// Whether a reply was read, so that the server is the API.
    has_read: AtomicBool,
    /// Whether a request was begun.
    has_asked: AtomicBool,
    tally: Tally,
    begun: Instant,
    health: Mutex<Health>,
    waits: Mutex<Waits>,
    /// When the run must end.
    ends_at: OnceLock<Instant>,
    halted: OnceLock<(ErrorKind, String, Option<String>)>,
    /// Why nothing more is sent for backfills.
    deferred: OnceLock<String>,
    /// The server's last reply.
    seen: Mutex<Option<Seen>>,
    /// What the client is waiting for, if anything.
    waiting: Mutex<Option<String>>,
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
    /// `Config` when the base URL is invalid.
    pub fn new(settings: &ClientSettings, stop: Stop) -> Result<Self> {
        Self::over(Arc::new(Network::new()?), settings, stop)
    }

    /// A client over another transport.
    ///
    /// # Errors
    /// `Config` when the base URL is invalid.
    pub fn over(
        transport: Arc<dyn Transport>,
        settings: &ClientSettings,
        stop: Stop,
    ) -> Result<Self> {
        let base_url = parse_base_url(&settings.base_url)?;
        Ok(Self {
            transport,
            headers: headers(&settings.credentials)?,
            server: server_of(&base_url, settings.proxy.as_deref()),
            base_url,
            timeout: settings.timeout,
            throttle: Mutex::new(Arc::new(Throttle::new(Arc::new(Rate::new(settings.rate))))),
            clock: OnceLock::new(),
            ahead: Mutex::default(),
            slots: Semaphore::new(settings.concurrency.max(1)),
            retry: settings.retry,
            outage: settings.outage,
            stop,
            halt: Stop::default(),
            requests: AtomicU64::new(0),
            has_read: AtomicBool::new(false),
            has_asked: AtomicBool::new(false),
            tally: Tally::default(),
            begun: Instant::now(),
            health: Mutex::default(),
            waits: Mutex::default(),
            ends_at: OnceLock::new(),
            halted: OnceLock::new(),
            deferred: OnceLock::new(),
            seen: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// Sets the allowance, which decides what may be sent, and when; call it before anything is
    /// sent.
    pub fn allow(&self, allowance: Arc<dyn Allowance>) {
        *self.lock_throttle() = Arc::new(Throttle::new(allowance));
    }

    /// Replaces the allowance, and pays again for what was sent: the previous one paid by a wrong
    /// clock, and takes everything back.
    ///
    /// # Errors
    /// When either allowance fails, or nothing may be sent.
    pub async fn allow_again(&self, allowance: Arc<dyn Allowance>) -> Result<()> {
        let next = Arc::new(Throttle::new(allowance));
        let before = std::mem::replace(&mut *self.lock_throttle(), next);
        for purpose in before.take_back().await? {
            let throttle = self.throttle();
            let ready = self.unless_ended(throttle.ready(purpose)).await?;
            ready.map_err(|refusal| Error::from(self.refused(purpose, refusal)))?;
        }
        Ok(())
    }

    /// Ends the run after this time, so that no wait begins that lasts longer.
    pub fn end_after(&self, time: Duration) {
        let _ = self.ends_at.set(Instant::now() + time);
    }

    /// Lets the `Date` of each reply correct `clock`; call it before anything is sent.
    pub fn correct(&self, clock: Clock) {
        let _ = self.clock.set(clock);
    }

    /// Gives back what was granted and not sent.
    ///
    /// # Errors
    /// When the allowance cannot take it back.
    pub async fn give_back(&self) -> Result<()> {
        let throttle = self.throttle();
        throttle.give_back().await
    }

    /// Sends a request once, ahead of its turn. When its turn comes, the outcome is used, and the
    /// request is not sent again.
    ///
    /// # Errors
    /// `Failed` when it cannot be sent, `Halted` when no other can be either.
    pub async fn send_ahead(&self, request: &Request) -> Result<(), FetchError> {
        let sent = self.send(self.get_of(request)?, request).await?;
        if sent.as_ref().is_ok_and(|reply| NotJson::of(&reply.body).is_none()) {
            self.has_read.store(true, Ordering::Relaxed);
        }
        *self.lock_ahead() = Some((request.clone(), sent));
        Ok(())
    }

    /// Drops the request that was sent early.
    pub fn forget_ahead(&self) {
        *self.lock_ahead() = None;
    }

    /// The base URL of the API.
    pub fn base_url(&self) -> &str {
        self.base_url.as_str().trim_end_matches('/')
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether it is time to see if the server still answers what it has answered before.
    pub fn needs_proof(&self) -> bool {
        self.health().needs_proof(self.begun.elapsed(), self.outage)
    }

    /// Whether any reply has been read. Until then, another server may be answering for the API.
    pub fn has_read(&self) -> bool {
        self.has_read.load(Ordering::Relaxed)
    }

    /// Whether there were requests, but none could be sent or was answered.
    pub fn is_unanswered(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed) && !self.has_read()
    }

    /// The outcomes of an endpoint's requests so far.
    pub fn answers(&self, endpoint: &str) -> Answers {
        self.tally.of(endpoint)
    }

    /// Sends `request` until `read` accepts a reply, or retrying is pointless. `attempts` counts
    /// the requests sent.
    ///
    /// # Errors
    /// `Failed` for this request alone, `Halted` when no other can succeed.
    pub async fn get<T>(
        &self,
        request: &Request,
        attempts: &mut u64,
        mut read: impl FnMut(&Reply) -> Result<T, Unreadable>,
    ) -> Result<T, FetchError> {
        self.get_and(request, attempts, |reply| std::future::ready(read(&reply))).await
    }

    /// Like [`get`](Self::get), for replies that take long to read.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn get_and<T, F: Future<Output = Result<T, Unreadable>>>(
        &self,
        request: &Request,
        attempts: &mut u64,
        mut read: impl FnMut(Reply) -> F,
    ) -> Result<T, FetchError> {
        self.has_asked.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        let (mut too_large, mut no_list, mut waits) = (0, 0, 0);
        let get = self.get_of(request)?;
        for attempt in 1u32.. {
            let sent = match self.take_ahead(request) {
                Some(sent) => sent,
                None => self.send(get.clone(), request).await?,
            };
            *attempts += 1;
            let (failure, error) = match sent {
                Ok(reply) => match read(reply).await {
                    Ok(value) => {
                        self.note_read(&request.endpoint);
                        return Ok(value);
                    }
                    Err(why) => self.unreadable(why, &get.headers)?,
                },
                Err(Unanswered { error, wait: Some(wait), .. }) => {
                    self.wait(wait, error.with_context(format!("GET {}", request.path))).await?;
                    waits += 1;
                    continue;
                }
                // A server that has answered before is reachable.
                Err(Unanswered { failure: Failure::Unreachable, error, .. })
                    if self.health().has_answered() =>
                {
                    (Failure::Broken, error)
                }
                Err(Unanswered { failure, error, .. }) => (failure, error),
            };
            // A wait that the server requested is not a failed attempt.
            let attempt = attempt - waits;
            // A spent quota is not the fault of a single request.
            if failure == Failure::QuotaSpent {
                return Err(self.halt(error));
            }
            let error = error.with_context(format!("GET {}", request.path));
            self.health().fail(failure, self.begun.elapsed());
            let shrink = request.shrinkable && failure == Failure::TooLarge;
            // Only a reply that seems too large repeatedly is treated as too large.
            too_large += u32::from(failure == Failure::TooLarge);
            no_list += u32::from(matches!(failure, Failure::NoList | Failure::Page));
            let tries = match failure {
                Failure::TooLarge => too_large,
                Failure::NoList | Failure::Page => no_list,
                _ => attempt,
            };
            match self.delay(failure, request.is_page, tries, begun) {
                Some(delay) if !shrink => {
                    tracing::info!(attempt, delay_ms = millis(delay), "{error}; retrying");
                    self.note_waiting(Some(format!("{error}; retrying")));
                    self.pause(delay).await?;
                }
                _ => return Err(self.give_up(failure, error, &request.endpoint)),
            }
        }
        let error = Error::new(ErrorKind::Internal, "more attempts than can be counted");
        Err(FetchError::Halted(error))
    }

    /// Ends a request that is not retried, and the run with it if nothing else can succeed.
    fn give_up(&self, failure: Failure, error: Error, endpoint: &str) -> FetchError {
        match failure {
            Failure::Unreachable => return self.halt(error),
            _ if self.is_out() => return self.halt(outage(self.outage, error)),
            Failure::Page => self.tally.note_page(endpoint),
            _ => {}
        }
        FetchError::Failed(failure, error)
    }

    /// Handles a reply that its caller could not read: as a failed attempt, or as the end.
    fn unreadable(
        &self,
        why: Unreadable,
        sent: &HeaderMap,
    ) -> Result<(Failure, Error), FetchError> {
        let safe = |error: Error| {
            if !Secrets::of(sent).are_in(&error.with_causes()) {
                return error;
            }
            let message = "the reply is an error that repeats the credentials";
            Error::new(error.kind(), message)
        };
        let (failure, error) = match why {
            Unreadable::NotJson(why) => {
                return Ok((Failure::Broken, safe(Error::new(ErrorKind::Data, why))));
            }
            Unreadable::NoList(error) => return Ok((Failure::NoList, safe(error))),
            Unreadable::Page(error) => return Ok((Failure::Page, safe(self.page(&error)))),
            Unreadable::Garbled(error) => (Failure::Garbled, safe(error)),
            Unreadable::Final(error) => (Failure::Broken, safe(error)),
        };
        self.note_answer();
        Err(FetchError::Failed(failure, error))
    }

    /// The error for a page of HTML, which names the server that may not be the API.
    fn page(&self, error: &Error) -> Error {
        let named = Error::new(error.kind(), format!("{} ({})", error.message(), self.server));
        error.hint().into_iter().fold(named, Error::with_hint)
    }

    /// Sends nothing for as long as the server requests: what was paid and not sent is given back.
    /// If that is too long, the run ends, and says when to continue.
    async fn wait(&self, wait: Duration, error: Error) -> Result<(), FetchError> {
        let left = self.ends_at.get().map(|ends| ends.saturating_duration_since(Instant::now()));
        let now = self.begun.elapsed();
        // The server answers, so this is not an outage.
        self.health().settle(now);
        let fits = {
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            waits.ask(now, wait, left)
        };
        if !fits {
            let at = self.clock.get().map_or_else(|| Clock::system().now(), Clock::server_now);
            let until = at + chrono::TimeDelta::from_std(wait).unwrap_or_default();
            let until = until.format("%FT%TZ");
            let message =
                format!("the API asks not to be called before {until}: run again after that");
            let error = Error::new(ErrorKind::Unavailable, message).with_source(error);
            return Err(self.halt(error));
        }
        tracing::warn!(seconds = wait.as_secs(), "the API asks to wait: {error}");
        self.note_waiting(Some(format!("waiting for {} s, as the API asks", wait.as_secs())));
        let throttle = self.throttle();
        throttle.close_until(Instant::now() + wait);
        let given_back = throttle.give_back().await;
        given_back.map_err(|error| self.halt(error))
    }

    /// Ends the run: from here on every request returns the same error, and none waits for anything
    /// but a reply already under way.
    pub fn halt(&self, error: Error) -> FetchError {
        let hint = error.hint().map(str::to_owned);
        let is_first = self.halted.set((error.kind(), error.with_causes(), hint)).is_ok();
        self.halt.request();
        if is_first {
            tracing::warn!("no more requests are sent: {error}");
            return FetchError::Halted(error);
        }
        // Several requests may fail at once; the run ends for one reason.
        self.check().err().unwrap_or(FetchError::Halted(error))
    }

    /// The URL and headers to send: never to another host, whatever the request says.
    fn get_of(&self, request: &Request) -> Result<Get, FetchError> {
        let url =
            self.url(request).map_err(|error| FetchError::Failed(Failure::Refused(0), error))?;
        let mut headers = request.headers.clone();
        headers.extend(self.headers.clone());
        Ok(Get { url, headers })
    }

    /// The outcome of the request that was sent early, if it was this one.
    fn take_ahead(&self, request: &Request) -> Option<Sent> {
        let sent = self.lock_ahead().take_if(|(ahead, _)| ahead == request);
        sent.map(|(_, sent)| sent)
    }

    /// One attempt; the outer error ends the run, the inner one this attempt.
    async fn send(&self, get: Get, request: &Request) -> Result<Sent, FetchError> {
        let purpose = request.purpose;
        if self.tally.gets_pages(&request.endpoint) {
            let error = self.page(&refused(NotJson::Html));
            return Err(FetchError::Failed(Failure::Page, error));
        }
        // The semaphore is never closed.
        let _slot = self.unless_ended(self.slots.acquire()).await?.ok();
        self.check_purpose(purpose)?;
        let throttle = self.throttle();
        let ready = self.unless_ended(throttle.ready(purpose)).await?;
        let pass = ready.map_err(|refusal| self.refused(purpose, refusal))?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let asked_at = Instant::now();
        let sent = get.clone();
        let exchange = tokio::time::timeout(self.timeout, self.transport.get(get));
        let exchanged = exchange.await.unwrap_or_else(|_| Err(Break::NoAnswer.into()));
        *self.lock_seen() = Some(Seen::of(&sent, exchanged.as_ref().ok()));
        let answer = answer(exchanged.as_ref());
        let path = &request.path;
        tracing::debug!(path, answer, elapsed_ms = millis(asked_at.elapsed()), "asked");
        self.tally.note(&request.endpoint, answer);
        self.compare_clocks(exchanged.as_ref().ok().and_then(date_of), asked_at);
        let server_now =
            || self.clock.get().map_or_else(|| Clock::system().now(), Clock::server_now);
        let judged = |exchanged| judge(exchanged, asked_at, &sent.headers, server_now);
        let sent = exchanged.map_err(|severed| failed(severed, &self.server)).and_then(judged);
        match &sent {
            Err(Unanswered { wait: Some(wait), .. }) => {
                throttle.close_until(Instant::now() + *wait);
            }
            Err(Unanswered { failure, .. }) if !failure.settles() => {}
            _ => pass.open(),
        }
        Ok(sent)
    }

    /// Stops sending for backfills, for this reason.
    pub fn defer_backfill(&self, why: &str) {
        let _ = self.deferred.set(why.to_owned());
    }

    /// Whether requests for this purpose are still sent.
    pub fn is_open(&self, purpose: Purpose) -> bool {
        self.closed(purpose).is_none()
    }

    /// Why requests for this purpose are no longer sent, if so.
    pub fn closed(&self, purpose: Purpose) -> Option<FetchError> {
        self.check().and_then(|()| self.check_purpose(purpose)).err()
    }

    /// The error that ended a purpose is returned to all its later requests, without another claim.
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

    /// Corrects the clock from a reply, and logs it if it is wrong.
    fn compare_clocks(&self, date: Option<DateTime<Utc>>, asked_at: Instant) {
        let Some((clock, date)) = self.clock.get().zip(date) else { return };
        let Some(ahead) = clock.observe(date, asked_at.elapsed()) else { return };
        tracing::warn!("{}", describe_offset(ahead.num_seconds()));
    }

    fn throttle(&self) -> Arc<Throttle> {
        Arc::clone(&self.lock_throttle())
    }

    fn lock_throttle(&self) -> MutexGuard<'_, Arc<Throttle>> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reply repeats a secret that was sent: then it must not be shown.
    pub fn repeats_secret(&self, request: &Request, reply: &Reply) -> bool {
        let body = String::from_utf8_lossy(&reply.body);
        self.get_of(request).is_ok_and(|sent| Secrets::of(&sent.headers).are_in(&body))
    }

    /// The server's last reply, for display.
    #[must_use]
    pub fn last_seen(&self) -> Option<Seen> {
        self.lock_seen().clone()
    }

    fn lock_seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_ahead(&self) -> MutexGuard<'_, Option<(Request, Sent)>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), FetchError> {
        if self.stop.is_requested() {
            let error = Error::new(ErrorKind::Interrupted, "interrupted");
            return Err(FetchError::Halted(error));
        }
        match self.halted.get() {
            Some((kind, message, hint)) => {
                let error = Error::new(*kind, message.clone());
                let hinted = hint.iter().fold(error, Error::with_hint);
                Err(FetchError::Halted(hinted))
            }
            None => Ok(()),
        }
    }

    /// The URL of a request: never on another host, whatever a reply says.
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

    /// How long to wait before the next attempt. While nothing at all is answered, a request is
    /// retried beyond its attempts, until that counts as an outage.
    fn delay(
        &self,
        failure: Failure,
        is_page: bool,
        attempt: u32,
        begun: Instant,
    ) -> Option<Duration> {
        let random = fastrand::f64();
        if self.is_out() {
            return None;
        }
        if let Some(delay) = self.retry.delay(failure, attempt, random) {
            return Some(delay);
        }
        if matches!(failure, Failure::Unreachable | Failure::Page) {
            return None;
        }
        let begun = begun.saturating_duration_since(self.begun);
        self.health().tries_on(failure, is_page, begun).then_some(self.retry.longest)
    }

    async fn pause(&self, delay: Duration) -> Result<(), FetchError> {
        self.unless_ended(tokio::time::sleep(delay)).await
    }

    /// Waits for something, but no longer than the run may last.
    async fn unless_ended<T>(&self, wait: impl Future<Output = T>) -> Result<T, FetchError> {
        let waited = tokio::select! {
            biased;
            () = self.stop.requested() => None,
            () = self.halt.requested() => None,
            waited = wait => Some(waited),
        };
        self.check()?;
        waited.ok_or_else(|| FetchError::Halted(Error::new(ErrorKind::Interrupted, "interrupted")))
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the client is waiting for, if anything.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_waiting(&self, what: Option<String>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn note_read(&self, endpoint: &str) {
        self.note_answer();
        self.has_read.store(true, Ordering::Relaxed);
        self.tally.note_read(endpoint);
    }

    fn note_answer(&self) {
        self.note_waiting(None);
        self.health().settle(self.begun.elapsed());
    }

    fn is_out(&self) -> bool {
        self.health().is_out(self.begun.elapsed(), self.outage)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
