//! One export, told as a sentence: `site.export().only(&["calls"]).at(later).complete()`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::config::{Conditional, Deletes, FullRelist};
use clari_lake::internals::endpoint::{Catalogue, Paging};
use clari_lake::internals::error::Error;
use clari_lake::internals::fetch::{ClientSettings, Stop, Transport};
use clari_lake::internals::lake::{Breakdown, Observer, Store};
use clari_lake::internals::manifest::Granularity;
use clari_lake::internals::plan::RunSettings;
use clari_lake::internals::quota::Limits;
use clari_lake::internals::report::Report;
use clari_lake::internals::retry::RetryPolicy;
use clari_lake::internals::secret::{Credentials, Salt};
use clari_lake::internals::simulator::Settings;
use clari_lake::internals::window::Window;
use clari_lake::{Client, Lake};

use super::Bucket;

/// An export that has not begun.
#[derive(Clone)]
pub(crate) struct Run {
    base_url: String,
    transport: Option<Arc<dyn Transport>>,
    retry: RetryPolicy,
    page_size: Option<u32>,
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
    observer: Option<Observer>,
    stop: Stop,
    clock: Clock,
    bucket: Option<Arc<Bucket>>,
    conditional: Conditional,
    files: Vec<(String, String)>,
    no_transcripts: bool,
    max_time: Option<Duration>,
}

/// What hashes are made with.
pub(crate) const SALT: &str = "a salt that only tests know";

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
            transport: None,
            retry: quick(),
            page_size: None,
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
            observer: None,
            stop: Stop::default(),
            clock: Clock::system(),
            bucket: None,
            conditional: Conditional::Etag,
            files: Vec::new(),
            no_transcripts: false,
            max_time: None,
        }
    }

    /// An export by `clock`, whose requests this transport carries and which waits as in earnest.
    pub(crate) fn over(transport: Arc<dyn Transport>, lake: String, clock: &Clock) -> Self {
        let now = DateTime::from_timestamp(clock.now().timestamp(), 0).unwrap();
        Self {
            transport: Some(transport),
            retry: RetryPolicy::default(),
            clock: clock.clone(),
            timeout: Duration::from_secs(60),
            outage: Duration::from_secs(120),
            ..Self::new("http://simulated".to_owned(), lake, now)
        }
    }

    /// Without waiting between attempts, or for an API that does not answer.
    pub(crate) fn quickly(mut self) -> Self {
        self.retry = quick();
        self.outage = Duration::from_millis(200);
        self
    }

    /// Only these endpoints, and also those that are off by default.
    pub(crate) fn only(mut self, endpoints: &[&str]) -> Self {
        self.endpoints = endpoints.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Whether it names the endpoints to export.
    pub(crate) fn has_chosen(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// With these endpoint files of the user's.
    pub(crate) fn with_files(mut self, files: &[(&str, &str)]) -> Self {
        let owned = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        self.files.extend(owned);
        self
    }

    /// Without what people really said.
    pub(crate) fn without_transcripts(mut self) -> Self {
        self.no_transcripts = true;
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

    /// Lists all coverage again when a month has passed.
    pub(crate) fn monthly(mut self) -> Self {
        self.settings.full_relist = FullRelist::Monthly;
        self
    }

    /// Completes this range instead of an export.
    pub(crate) fn backfilling(mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        self.settings.backfill = Some(Window::new(from, to));
        self
    }

    /// Requests the children of these parents, and nothing else.
    pub(crate) fn by_id(mut self, ids: &[&str]) -> Self {
        self.settings.ids = ids.iter().map(|id| (*id).to_owned()).collect();
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

    /// At most so many requests a second.
    pub(crate) fn with_rate(mut self, rate: f64) -> Self {
        self.limits.rate = rate;
        self
    }

    /// Ends after this time.
    pub(crate) fn with_max_time(mut self, time: Duration) -> Self {
        self.max_time = Some(time);
        self
    }

    /// From the time of its clock, which replies may correct, as without `--to`.
    pub(crate) fn by_clock(mut self) -> Self {
        self.settings.by_clock = true;
        self
    }

    /// The user has said how much the week may take.
    pub(crate) fn told(mut self) -> Self {
        self.limits.is_explicit = true;
        self
    }

    /// Lists all coverage again.
    pub(crate) fn full(mut self) -> Self {
        self.settings.full = true;
        self
    }

    pub(crate) fn with_lookback(mut self, lookback: TimeDelta) -> Self {
        self.settings.lookback = lookback;
        self
    }

    /// Asks for calls in pages of this size.
    pub(crate) fn with_page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }

    /// Is asked to stop when this is.
    pub(crate) fn with_stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Removes rows of deleted calls instead of marking them.
    pub(crate) fn dropping_deletes(mut self) -> Self {
        self.settings.deletes = Deletes::Drop;
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

    /// Evolves the tables at the end.
    pub(crate) fn evolving(mut self) -> Self {
        self.settings.evolve = true;
        self
    }

    /// Is killed at this write, before it or, if it `lands`, after it.
    pub(crate) fn breaking_down_at(mut self, write: u64, lands: bool) -> Self {
        self.breakdown = Some((write, lands));
        self
    }

    /// Under the eyes of a reader who looks after every write.
    pub(crate) fn observed(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Into a bucket instead of a folder, as a writer of its own.
    pub(crate) fn into(mut self, bucket: &Arc<Bucket>) -> Self {
        self.bucket = Some(Arc::clone(bucket));
        self
    }

    /// With no more expected of the store than this.
    pub(crate) fn expecting(mut self, conditional: Conditional) -> Self {
        self.conditional = conditional;
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
        runtime.block_on(self.perform())
    }

    /// The same, in the caller's runtime.
    pub(crate) async fn perform(self) -> Result<Report, Error> {
        let catalogue = self.catalogue()?;
        let settings = ClientSettings {
            base_url: self.base_url,
            rate: self.limits.rate,
            concurrency: self.concurrency,
            retry: self.retry,
            timeout: self.timeout,
            outage: self.outage,
            ..ClientSettings::new(self.credentials)
        };
        let mut client = Client::with_settings(settings);
        if let Some(transport) = self.transport {
            client = client.over(transport);
        }
        let mut store = match &self.bucket {
            Some(bucket) => bucket.store().with_conditional(self.conditional),
            None => Store::open(&self.lake)?,
        };
        if let Some((write, lands)) = self.breakdown {
            store = store.with_breakdown(Breakdown::at(write, lands));
        }
        if let Some(observer) = self.observer {
            store = store.with_observer(observer);
        }
        let lake = Lake::of(store, catalogue);
        // Tests run at days that are still to come, too.
        let is_ahead = self.settings.now > self.clock.now();
        let clock = if is_ahead { Clock::running_from(self.settings.now) } else { self.clock };
        let mut export = lake.export(client).endpoints(self.endpoints).settings(self.settings);
        export = export.limits(Some(self.limits)).partition_by(self.granularity);
        export = export.salt(Salt::new(SALT)?).stop_on(self.stop).clock(clock);
        if let Some(time) = self.max_time {
            export = export.max_time(time);
        }
        if self.private {
            export = export.include_private();
        }
        export.run().await
    }
}

impl Run {
    /// The built-in endpoints, those that are paged in pages of this size, and what files say.
    pub(crate) fn catalogue(&self) -> Result<Catalogue, Error> {
        let mut built_in = Catalogue::built_in()?;
        for (name, text) in &self.files {
            built_in = built_in.with_file(name, text)?;
        }
        if self.no_transcripts {
            built_in = built_in.without_verbatim();
        }
        built_in.check()?;
        let Some(size) = self.page_size else { return Ok(built_in) };
        let resized = built_in.endpoints().iter().cloned().map(|mut endpoint| {
            if let Paging::SkipLimit(paging) = &mut endpoint.paging {
                paging.page_size = size;
            }
            endpoint
        });
        Ok(Catalogue::new(resized.collect()))
    }
}
