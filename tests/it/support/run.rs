//! One export, told as a sentence: `site.export().only(&["calls"]).at(later).complete()`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clari_lake::clock::Clock;
use clari_lake::endpoint::Catalogue;
use clari_lake::error::Error;
use clari_lake::fetch::{Client, ClientSettings, Stop};
use clari_lake::lake::{Breakdown, Store};
use clari_lake::manifest::Granularity;
use clari_lake::pipeline::Export;
use clari_lake::plan::RunSettings;
use clari_lake::quota::Limits;
use clari_lake::report::{Progress, Report};
use clari_lake::retry::RetryPolicy;
use clari_lake::secret::Credentials;
use clari_lake::simulator::Settings;
use clari_lake::window::Window;

/// An export that has not begun.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    base_url: String,
    lake: String,
    credentials: Credentials,
    endpoints: Vec<String>,
    settings: RunSettings,
    limits: Limits,
    private: bool,
    granularity: Granularity,
    concurrency: usize,
    timeout: Duration,
    outage: Duration,
    breakdown: Option<(u64, bool)>,
}

/// Retries as often as in earnest, without the waiting.
fn quick() -> RetryPolicy {
    let (first, longest) = (Duration::from_millis(1), Duration::from_millis(8));
    RetryPolicy { first, longest, ..RetryPolicy::default() }
}

impl Run {
    pub(crate) fn new(base_url: String, lake: String, now: DateTime<Utc>) -> Self {
        let Settings { api_key, api_password, .. } = Settings::default();
        Self {
            base_url,
            lake,
            credentials: Credentials::new(&api_key, &api_password).unwrap(),
            endpoints: Vec::new(),
            settings: RunSettings::new(now),
            limits: Limits { rate: 0.0, ..Limits::default() },
            private: false,
            granularity: Granularity::Day,
            concurrency: 8,
            timeout: Duration::from_secs(20),
            outage: Duration::from_secs(20),
            breakdown: None,
        }
    }

    /// Only these endpoints, and also those that are off by default.
    pub(crate) fn only(mut self, endpoints: &[&str]) -> Self {
        self.endpoints = endpoints.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// As if it began at this instant.
    pub(crate) fn at(mut self, now: DateTime<Utc>) -> Self {
        self.settings.now = now;
        self
    }

    /// Lists again from this instant.
    pub(crate) fn from(mut self, from: DateTime<Utc>) -> Self {
        self.settings.from = Some(from);
        self
    }

    /// Completes this range in place of an export.
    pub(crate) fn backfilling(mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        self.settings.backfill = Some(Window::new(from, to));
        self
    }

    /// Asks again for the details of the backfill's range.
    pub(crate) fn refetching(mut self) -> Self {
        self.settings.refetch = true;
        self
    }

    /// Within this week's quota, and this share of it for backfills.
    pub(crate) fn with_quota(mut self, weekly: u64, share: f64) -> Self {
        self.limits = Limits { weekly, share, ..self.limits };
        self
    }

    /// Lists all coverage again.
    pub(crate) fn full(mut self) -> Self {
        self.settings.full = true;
        self
    }

    pub(crate) fn with_private(mut self) -> Self {
        self.private = true;
        self
    }

    pub(crate) fn by_month(mut self) -> Self {
        self.granularity = Granularity::Month;
        self
    }

    pub(crate) fn with_credentials(mut self, key: &str, password: &str) -> Self {
        self.credentials = Credentials::new(key, password).unwrap();
        self
    }

    pub(crate) fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends when nothing succeeds for so long.
    pub(crate) fn with_outage(mut self, outage: Duration) -> Self {
        self.outage = outage;
        self
    }

    /// Is killed at this write, before it or, if it `lands`, after it.
    pub(crate) fn breaking_down_at(mut self, write: u64, lands: bool) -> Self {
        self.breakdown = Some((write, lands));
        self
    }

    /// Runs until all is in.
    #[track_caller]
    pub(crate) fn complete(self) -> Report {
        let report = self.run();
        assert!(report.complete, "problems: {:#?}", report.problems);
        report
    }

    /// Runs until all is in, or something is reported as missing.
    #[track_caller]
    pub(crate) fn run(self) -> Report {
        self.attempt().unwrap()
    }

    /// Runs, and says how that came out.
    pub(crate) fn attempt(self) -> Result<Report, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let stop = Stop::default();
            let client = ClientSettings {
                base_url: self.base_url,
                rate: 0.0,
                concurrency: self.concurrency,
                retry: quick(),
                timeout: self.timeout,
                outage: self.outage,
                ..ClientSettings::new(self.credentials)
            };
            let mut store = Store::open(&self.lake)?;
            if let Some((write, lands)) = self.breakdown {
                store = store.with_breakdown(Breakdown::at(write, lands));
            }
            let export = Export {
                client: Arc::new(Client::new(&client, stop.clone())?),
                store: Arc::new(store),
                catalogue: Arc::new(Catalogue::built_in()?),
                settings: self.settings,
                limits: Some(self.limits),
                max_time: None,
                granularity: self.granularity,
                include_private: self.private,
                concurrency: self.concurrency,
                progress: Arc::new(Progress::default()),
                stop,
                clock: Clock::system(),
                command: "export".to_owned(),
            };
            let endpoints = export.catalogue.select(&self.endpoints)?;
            export.run(&endpoints).await
        })
    }
}
