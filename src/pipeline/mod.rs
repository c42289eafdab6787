//! The pipeline: plan, fetch, decode, partition, merge, commit, report.
//!
//! It runs endpoints with a client, a store, and settings with a frozen `now`, and returns a
//! [`Report`]. This is the only module that joins the others; it makes none of their decisions, and
//! knows nothing of flags or a terminal.

mod blocking;
mod broken;
mod children;
mod count;
mod evolution;
mod export;
mod findings;
mod first;
mod gaps;
mod lists;
mod missing;
mod observed;
mod opened;
mod other_server;
mod owner;
mod reading;
mod scan;
mod snapshots;
mod spending;
mod table_run;
mod table_state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tracing::Instrument;

pub(crate) use self::blocking::blocking;
use self::children::{by_id, due, parents};
pub use self::export::{Export, run_name};
use self::opened::OpenedRun;
pub use self::spending::pay_from_ledger;
use self::table_run::{Ran, TableRun};
use crate::decode::NotJson;
use crate::endpoint::{Dated, Endpoint, Paging};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{BASE_URL, Client, FetchError, Reply, Request, Unreadable, first_page, request};
use crate::lake::clear_forgotten;
use crate::ledger::Ledger;
use crate::manifest::Granularity;
use crate::partition::Partition;
use crate::report::{EndpointReport, Outcome, Problem, Report, Week};
use crate::retry::Failure;
use crate::window::day_of;

impl Export {
    /// Exports what changed since the last run, for these endpoints and for those parents of theirs
    /// that the lake has nothing of yet.
    ///
    /// # Errors
    /// `Denied` when the credentials are refused, before anything is written; `Config`, `Newer`,
    /// `Corrupt`, or `Unavailable` when the lake cannot be read or written. If the API fails
    /// halfway, that is not an error: the report lists what is missing.
    pub async fn run(&self, endpoints: &[&Endpoint]) -> Result<Report> {
        self.check_ids(endpoints)?;
        self.client.correct(self.clock.clone());
        let (started_at, known) = (self.clock.now(), self.clock.ahead());
        let run = run_name(started_at);
        self.pay_from_ledger(&run);
        if let Some(time) = self.max_time {
            self.client.end_after(time);
        }
        let timer =
            self.max_time.map(|time| tokio::spawn(end_after(Arc::clone(&self.client), time)));
        let reported = self.run_by_right_clock(endpoints, run).await;
        if let Some(timer) = timer {
            timer.abort();
        }
        // What was paid for but not sent is returned, however the run ended.
        let given_back = self.client.give_back().await;
        let (mut report, forgotten) = reported?;
        given_back?;
        report.week = self.week()?;
        // If the clock is found wrong during the run, it was wrong from the start.
        let found = self.clock.ahead().unwrap_or_default() - known.unwrap_or_default();
        report.started_at = started_at - found;
        report.finished_at = self.clock.now();
        if self.store.write_report(&mut report)? > forgotten {
            // Tables that this run created were not there to be cleared.
            self.clear_forgotten(&report.run).await?;
        }
        Ok(report)
    }

    /// Runs the endpoints with the time corrected by the first reply. Returns the report, and the
    /// version of the list of the forgotten when the run began.
    async fn run_by_right_clock(&self, chosen: &[&Endpoint], run: String) -> Result<(Report, u64)> {
        let endpoints = parents::with_needed_parents(self, chosen).await?;
        let store = Arc::clone(&self.store);
        let committed = blocking(move || store.committed()).await?;
        if committed.is_empty() {
            // Checked before anything is requested or written: this may not be a place for a lake.
            let (store, catalogue) = (Arc::clone(&self.store), Arc::clone(&self.catalogue));
            blocking(move || store.check_place(&catalogue)).await?;
        }
        if !self.finds_clock_wrong(&endpoints, committed.is_empty()).await? {
            return self.run_endpoints(&endpoints, committed, run).await;
        }
        let (export, run) = self.corrected().await?;
        let endpoints = parents::with_needed_parents(&export, chosen).await?;
        export.run_endpoints(&endpoints, committed, run).await
    }

    async fn run_endpoints(
        &self,
        endpoints: &[&Endpoint],
        committed: BTreeSet<String>,
        run: String,
    ) -> Result<(Report, u64)> {
        // Registers every endpoint up front, so that the progress display shows the full list.
        for endpoint in endpoints {
            self.progress.update(&endpoint.name, |_| {});
        }
        let (mut ran, forgotten) = self.run_levels(endpoints, committed, &run).await?;
        let order = |name: &str| endpoints.iter().position(|endpoint| endpoint.name == name);
        ran.sort_by_key(|ran| order(&ran.report.endpoint));
        Ok((self.report(run, ran)?, forgotten))
    }

    /// From now on, every request is paid for from the lake's ledger.
    fn pay_from_ledger(&self, run: &str) {
        if let Some(limits) = self.limits {
            let ledger = Ledger::new(Arc::clone(&self.store), run);
            pay_from_ledger(&self.client, ledger, limits, self.clock.clone());
        }
    }

    /// Yields the history to a running backfill, so that nothing is requested twice.
    async fn yield_to_backfill(&self, run: &str) -> Result<()> {
        let Some(limits) = self.limits.filter(|_| self.settings.backfill.is_none()) else {
            return Ok(());
        };
        let (ledger, now) = (Ledger::new(Arc::clone(&self.store), run), self.clock.now());
        if blocking(move || ledger.is_backfilling(&limits, now)).await? {
            self.client.defer_backfill("a running backfill continues with the history");
        }
        Ok(())
    }

    /// Runs the endpoints, parents before their children.
    async fn run_levels(
        &self,
        endpoints: &[&Endpoint],
        committed: BTreeSet<String>,
        run: &str,
    ) -> Result<(Vec<Ran>, u64)> {
        let is_new = committed.is_empty();
        if endpoints.iter().all(|endpoint| endpoint.experimental) || is_new {
            let checked = self.check_credentials(endpoints).await;
            let is_denied = checked.as_ref().is_err_and(|it| it.kind() == ErrorKind::Denied);
            if is_denied && is_new {
                self.client.give_back().await?;
                self.store.clear_traces()?;
            }
            checked?;
        }
        tokio::try_join!(self.clear_forgotten(run), self.yield_to_backfill(run))?;
        let store = Arc::clone(&self.store);
        let forgotten = blocking(move || Ok(store.forgotten(0)?.version)).await?;
        let run = &self.open_ahead(endpoints, committed, run).await?;
        let depth = |endpoint: &&Endpoint| self.catalogue.depth(endpoint).unwrap_or_default();
        let deepest = endpoints.iter().map(depth).max().unwrap_or_default();
        let mut ran = Vec::new();
        for level in 0..=deepest {
            let level = endpoints.iter().copied().filter(|it| depth(it) == level);
            let (sums, records): (Vec<_>, Vec<_>) = level.partition(|it| it.sums_up_days());
            ran.extend(self.run_all(&records, run, &[]).await?);
            let changed = self.days_that_changed(&ran);
            ran.extend(self.run_all(&sums, run, &changed).await?);
        }
        Ok((ran, forgotten))
    }

    /// Completes the erasure of everyone on the list of the forgotten, if it was interrupted.
    async fn clear_forgotten(&self, run: &str) -> Result<()> {
        let (lake, now) = (self.lake(run), self.clock.server_now());
        blocking(move || clear_forgotten(&lake, now).map(|_| ())).await
    }

    /// The days whose records changed in this run, so that aggregates of those days changed too. In
    /// tables with monthly partitions that is unknown; there, the lookback and the monthly re-list
    /// find the changes.
    fn days_that_changed(&self, ran: &[Ran]) -> Vec<i32> {
        let is_dated = |name: &str| {
            let endpoint = self.catalogue.find(name);
            endpoint.is_ok_and(|it| matches!(it.dated, Dated::Field { .. }))
        };
        let changed = ran.iter().flat_map(|ran| &ran.changed);
        let changed = changed.filter(|changed| is_dated(&changed.endpoint));
        let dates = changed.filter_map(|changed| changed.dt.parse::<Partition>().ok()?.date());
        if self.granularity == Granularity::Day { dates.map(day_of).collect() } else { Vec::new() }
    }

    async fn run_all(
        &self,
        endpoints: &[&Endpoint],
        run: &OpenedRun<'_>,
        changed: &[i32],
    ) -> Result<Vec<Ran>> {
        let runs = endpoints.iter().map(|endpoint| {
            let span = tracing::error_span!("endpoint", endpoint = endpoint.name);
            self.run_one(endpoint, run, changed).instrument(span)
        });
        let mut runs = futures::stream::iter(runs).buffer_unordered(4);
        let mut done = Vec::new();
        while let Some(ran) = runs.next().await {
            let mut ran = ran?;
            if let Some(error) = ran.halted.take_if(|it| self.must_be_fixed(it)) {
                return Err(error);
            }
            done.push(ran);
        }
        Ok(done)
    }

    async fn run_one(
        &self,
        endpoint: &Endpoint,
        run: &OpenedRun<'_>,
        changed: &[i32],
    ) -> Result<Ran> {
        tracing::info!("begun");
        let table = TableRun::open(self, endpoint, run).await?;
        evolution::go_on(self, &table).await?;
        if self.catalogue.looks_up(endpoint) && !self.settings.ids.is_empty() {
            by_id::run(self, &table).await?;
        } else if self.catalogue.looks_up(endpoint) {
            due::run(self, &table).await?;
        } else {
            lists::run(self, &table, changed).await?;
        }
        evolution::conclude(self, &table).await?;
        let ran = table.finish().await?;
        self.progress.update(&endpoint.name, |live| live.ended = true);
        let EndpointReport { requests, records, inserted, updated, .. } = ran.report;
        tracing::info!(requests, records, inserted, updated, "ended");
        Ok(ran)
    }

    /// One small request, so that wrong credentials are detected before anything is written, and so
    /// that an endpoint missing from this workspace can be told from a workspace that denies
    /// access. If all endpoints are the user's own, nothing else is known to exist, so one of them
    /// is requested.
    async fn check_credentials(&self, endpoints: &[&Endpoint]) -> Result<()> {
        let Some(request) = self.credentials_request(endpoints) else { return Ok(()) };
        let is_own = endpoints.iter().all(|endpoint| !endpoint.built_in);
        let read = |reply: &Reply| match NotJson::of(&reply.body) {
            Some(format) if !is_own => Err(Unreadable::of(format)),
            _ => Ok(()),
        };
        match self.client.get(&request, &mut 0, read).await {
            Err(FetchError::Failed(_, error)) if is_own && error.kind() != ErrorKind::Denied => {
                Ok(())
            }
            Err(FetchError::Failed(Failure::NotFound | Failure::NoSuchPath, _)) => {
                Err(self.no_api(&format!("it has no {}", request.path)))
            }
            Err(FetchError::Failed(failure, error))
                if failure == Failure::NoList || failure.may_be_another_servers() =>
            {
                Err(self.no_api(error.message()))
            }
            Err(FetchError::Failed(_, error) | FetchError::Halted(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    /// The error that the base URL seems to belong to another server.
    fn no_api(&self, why: &str) -> Error {
        let base_url = self.client.base_url();
        let message = format!("the API does not seem to be at {base_url}: {why}");
        Error::new(ErrorKind::Config, message)
            .with_hint(format!("check --base-url or CLARI_BASE_URL; the vendor's is {BASE_URL}"))
    }

    fn credentials_request(&self, endpoints: &[&Endpoint]) -> Option<Request> {
        let is_plain = |endpoint: &&Endpoint| {
            let documented = !endpoint.experimental && endpoint.parent.is_none();
            let whole = endpoint.paging == Paging::Whole && endpoint.window.is_none();
            endpoint.built_in && documented && whole
        };
        let known = self.catalogue.endpoints().iter().filter(is_plain);
        let smallest = known.min_by_key(|endpoint| endpoint.columns.len());
        let own = endpoints.iter().copied().find(|endpoint| endpoint.parent.is_none());
        let is_own = endpoints.iter().all(|endpoint| !endpoint.built_in);
        let endpoint = if is_own { own } else { smallest }?;
        let paging = endpoint.paging.at_most(1);
        Some(request(endpoint, &first_page(endpoint, &paging, self.settings.now, None)))
    }

    /// What the week has spent so far.
    fn week(&self) -> Result<Option<Week>> {
        let Some(limits) = self.limits else { return Ok(None) };
        let ledger = Ledger::new(Arc::clone(&self.store), "");
        ledger.week(&limits, self.clock.now()).map(Some)
    }

    fn report(&self, run: String, ran: Vec<Ran>) -> Result<Report> {
        let mut problems: Vec<Problem> = Vec::new();
        let mut changed = Vec::new();
        let mut endpoints = Vec::new();
        let answered = ran.iter().any(|ran| ran.answered);
        for ran in ran {
            let has_status = |status: &str| ran.report.answers.contains_key(status);
            if ran.report.outcome == Outcome::Absent && !answered && !has_status("403") {
                return Err(self.no_api("every request was answered with not found (404)"));
            }
            if ran.report.outcome == Outcome::Absent && !answered {
                return Err(Error::new(ErrorKind::Denied, "the API refused every request"));
            }
            changed.extend(ran.changed);
            // An error that ended the run ended it for every endpoint and is reported once.
            // Everything else that is missing is listed individually, even if the cause is the
            // same.
            let is_news = |problem: &Problem| {
                let is_known = problems.iter().any(|it| it.message == problem.message);
                !(is_known && ran.ended.contains(&problem.message))
            };
            let news: Vec<_> = ran.problems.into_iter().filter(is_news).collect();
            problems.extend(news);
            endpoints.push(ran.report);
        }
        changed.sort();
        let now = self.clock.now();
        Ok(Report {
            week: None,
            run,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            command: self.command.clone(),
            by_id: !self.settings.ids.is_empty(),
            lake: self.store.location(),
            started_at: now,
            finished_at: now,
            now: self.settings.now,
            clock_off_seconds: self.clock.ahead().map(|ahead| ahead.num_seconds()),
            complete: problems.is_empty(),
            requests: self.client.requests(),
            endpoints,
            changed,
            problems,
        })
    }
}

/// Ends the run when its time is over: what is in progress is finished and committed.
async fn end_after(client: Arc<Client>, time: Duration) {
    tokio::time::sleep(time).await;
    let message = format!("the maximum duration of the run ({} s) is over", time.as_secs());
    client.halt(Error::new(ErrorKind::Exhausted, message));
}
