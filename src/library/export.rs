//! The export, as a program requests it: a builder whose setters cannot fail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Client, range};
use crate::clock::Clock;
use crate::config::Deletes;
use crate::endpoint::Catalogue;
use crate::error::Result;
use crate::fetch::Stop;
use crate::lake::Store;
use crate::manifest::Granularity;
use crate::pipeline;
use crate::plan::RunSettings;
use crate::quota::Limits;
use crate::report::{Progress, Report};
use crate::secret::Salt;
use crate::window::Window;

/// Looks up the value of a variable.
type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// An export that has not begun: by default, what changed since the last run in all endpoints that
/// are on by default. The first run reaches back 30 days.
///
/// Setters only record the settings. [`Export::run`] reports what is wrong with them.
#[derive(Clone)]
#[must_use = "an export does nothing until it runs"]
pub struct Export {
    store: Arc<Store>,
    catalogue: Arc<Catalogue>,
    client: Client,
    endpoints: Vec<String>,
    to: Option<DateTime<Utc>>,
    settings: RunSettings,
    limits: Option<Limits>,
    max_time: Option<Duration>,
    granularity: Granularity,
    include_private: bool,
    variables: Variables,
    salt: Option<Salt>,
    progress: Arc<Progress>,
    stop: Stop,
    clock: Clock,
    command: String,
}

impl Export {
    pub(super) fn new(store: Arc<Store>, catalogue: Arc<Catalogue>, client: Client) -> Self {
        Self {
            store,
            catalogue,
            client,
            endpoints: Vec::new(),
            to: None,
            // The current time is determined when the run begins.
            settings: RunSettings::new(DateTime::UNIX_EPOCH),
            limits: Some(Limits::default()),
            max_time: None,
            granularity: Granularity::default(),
            include_private: false,
            variables: Arc::new(|_| None),
            salt: None,
            progress: Arc::default(),
            stop: Stop::default(),
            clock: Clock::system(),
            command: "export".to_owned(),
        }
    }

    /// Only these endpoints, even if they are off by default. Parents that they need and that the
    /// lake lacks are exported too.
    pub fn endpoints<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.endpoints = names.into_iter().map(Into::into).collect();
        self
    }

    /// Lists everything dated from this instant on again.
    pub fn from(mut self, from: DateTime<Utc>) -> Self {
        self.settings.from = Some(from);
        self
    }

    /// Exports as if the run had begun at this instant, which itself is excluded.
    pub fn to(mut self, to: DateTime<Utc>) -> Self {
        self.to = Some(to);
        self
    }

    /// Completes a range of history instead of new changes, newest first, within the backfills'
    /// share of the quota.
    pub fn backfill(mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        self.settings.backfill = Some(Window::new(from, to));
        "backfill".clone_into(&mut self.command);
        self
    }

    /// Lists everything again that was ever listed.
    pub fn full(mut self) -> Self {
        self.settings.full = true;
        self
    }

    /// How far back records are listed again to find silent edits; 7 days by default.
    pub fn lookback(mut self, time: TimeDelta) -> Self {
        self.settings.lookback = time;
        self
    }

    /// At the end of the run, adds columns for fields found in `extra_json`.
    pub fn evolve(mut self) -> Self {
        self.settings.evolve = true;
        self
    }

    /// What happens to rows whose records are gone; they are marked by default.
    pub fn deletes(mut self, deletes: Deletes) -> Self {
        self.settings.deletes = deletes;
        self
    }

    /// Requests private records too.
    pub fn include_private(mut self) -> Self {
        self.include_private = true;
        self
    }

    /// How much time a partition of a new table holds. Existing tables keep theirs.
    pub fn partition_by(mut self, granularity: Granularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// At most this many requests a week, counted in the lake over all runs; 100,000 by default.
    pub fn weekly_quota(mut self, requests: u64) -> Self {
        let limits = self.limits.unwrap_or_default();
        self.limits = Some(Limits { weekly: requests, is_explicit: true, ..limits });
        self
    }

    /// The part of the week's quota that backfills may take, from 0 to 1; 0.7 by default.
    pub fn backfill_share(mut self, share: f64) -> Self {
        self.limits = Some(Limits { share, ..self.limits.unwrap_or_default() });
        self
    }

    /// Does not count requests in the lake. Only a simulated workspace has no quota.
    pub fn without_quota(mut self) -> Self {
        self.limits = None;
        self
    }

    /// Ends the run after this time; what is complete by then is committed.
    pub fn max_time(mut self, time: Duration) -> Self {
        self.max_time = Some(time);
        self
    }

    /// The values of the variables that headers in endpoint files name.
    pub fn variables(
        mut self,
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.variables = Arc::new(variables);
        self
    }

    /// The salt of columns that are stored as hashes.
    pub fn salt(mut self, salt: Salt) -> Self {
        self.salt = Some(salt);
        self
    }

    /// Ends the run early, but safely, when a stop is requested.
    pub fn stop_on(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// The live numbers of the run, to read while it is under way.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Runs it.
    ///
    /// # Errors
    /// `Config` when a setting, an endpoint's name or the location is wrong; `Denied` when the
    /// credentials are refused, before anything is written; `Newer`, `Corrupt` or `Unavailable`
    /// when the lake cannot be read or written. An API that fails halfway is not an error: the
    /// [`Report`] says whether the run is complete, and names what is missing.
    pub async fn run(self) -> Result<Report> {
        let export = self.prepare()?;
        let endpoints = export.catalogue.select(&self.endpoints)?;
        Box::pin(export.run(&endpoints)).await
    }

    /// The run with everything it needs, once every setting is validated.
    #[doc(hidden)]
    pub fn prepare(&self) -> Result<pipeline::Export> {
        let catalogue = Catalogue::clone(&self.catalogue);
        let catalogue = catalogue.ready(&self.endpoints, &*self.variables, self.salt.as_ref())?;
        catalogue.select(&self.endpoints)?;
        let client = self.client.settings();
        Ok(pipeline::Export {
            client: Arc::new(self.client.connect(&self.stop)?),
            store: Arc::clone(&self.store),
            catalogue: Arc::new(catalogue),
            settings: self.run_settings()?,
            // The ledger's slots and the client's pace use the same rate.
            limits: self.limits.map(|limits| Limits { rate: client.rate, ..limits }),
            max_time: self.max_time,
            granularity: self.granularity,
            include_private: self.include_private,
            concurrency: client.concurrency,
            progress: Arc::clone(&self.progress),
            stop: self.stop.clone(),
            clock: self.clock.clone(),
            checked: Arc::default(),
            today: Arc::default(),
            command: self.command.clone(),
        })
    }

    fn run_settings(&self) -> Result<RunSettings> {
        let (clock, settings) = (self.clock.now(), &self.settings);
        let now = range::end(self.to, clock)?;
        let mut backfill = settings.backfill;
        match &mut backfill {
            Some(window) => {
                window.to = range::end(Some(window.to), clock)?;
                range::check(Some(window.from), window.to)?;
            }
            None => range::check(settings.from, now)?,
        }
        // An end given by the user stays, even if replies show that this machine's clock is wrong.
        let by_clock = self.to.is_none() || settings.by_clock;
        Ok(RunSettings { now, by_clock, backfill, ..settings.clone() })
    }
}

/// Used by the command line, tests and benchmarks, to set everything at once or to replace the
/// environment.
impl Export {
    /// With all settings of the run.
    #[doc(hidden)]
    pub fn settings(mut self, settings: RunSettings) -> Self {
        self.to = Some(settings.now);
        self.settings = settings;
        self
    }

    /// With these limits.
    #[doc(hidden)]
    pub fn limits(mut self, limits: Option<Limits>) -> Self {
        self.limits = limits;
        self
    }

    /// With this clock.
    #[doc(hidden)]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Under this command name in the report.
    #[doc(hidden)]
    pub fn command(mut self, command: &str) -> Self {
        command.clone_into(&mut self.command);
        self
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("lake", &self.store.location())
            .field("endpoints", &self.endpoints)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
