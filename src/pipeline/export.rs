//! What an export needs, and what follows from that for every part of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::endpoint::{Catalogue, Endpoint};
use crate::fetch::{Client, Stop};
use crate::lake::{Lake, Store, unique_name};
use crate::manifest::{Granularity, Manifest};
use crate::plan::{self, RunSettings};
use crate::quota::Limits;
use crate::report::Progress;
use crate::retry::Failure;

/// What an export needs.
#[derive(Debug, Clone)]
pub struct Export {
    /// The API client.
    pub client: Arc<Client>,
    /// The lake's store.
    pub store: Arc<Store>,
    /// All endpoints, whether chosen or not.
    pub catalogue: Arc<Catalogue>,
    /// What to request.
    pub settings: RunSettings,
    /// The limits of the weekly quota, enforced by the lake's ledger; without them, nothing is
    /// counted.
    pub limits: Option<Limits>,
    /// How long the run may take.
    pub max_time: Option<Duration>,
    /// The partition length of new tables.
    pub granularity: Granularity,
    /// Whether private records are requested too.
    pub include_private: bool,
    /// How many windows or keys are in progress at once.
    pub concurrency: usize,
    /// Receives the live numbers.
    pub progress: Arc<Progress>,
    /// The request to stop.
    pub stop: Stop,
    /// The clock for fetch and commit times.
    pub clock: Clock,
    /// The command to show in the report.
    pub command: String,
    /// Whether the server was checked because its first replies are not the API's.
    pub checked: Arc<tokio::sync::OnceCell<()>>,
    /// Today by the server's clock, from the first reply that showed its time.
    pub today: Arc<OnceLock<i32>>,
}

impl Export {
    /// The lake, as read and written by the run of this name.
    pub(super) fn lake(&self, run: &str) -> Lake {
        Lake::new(&self.store, &self.catalogue, run).with_granularity(self.granularity)
    }

    /// The settings of the run for one endpoint.
    pub(super) fn settings_for(
        &self,
        endpoint: &Endpoint,
        manifest: Option<&Manifest>,
    ) -> RunSettings {
        let mut settings = self.settings.clone();
        // What was listed without private records must be listed again when they are requested.
        let private = self.include_private && !endpoint.private.is_empty();
        let is_listed = |it: &Manifest| !it.private && !it.coverage.is_empty();
        settings.full |= private && manifest.is_some_and(is_listed);
        settings
    }

    /// The day, or today by the server's clock if that day has not begun: this machine's clock may
    /// have been found to be ahead after the run was planned. Once a reply has shown the server's
    /// time, it is the same throughout the run.
    pub(super) fn begun(&self, day: i32) -> i32 {
        if !self.settings.by_clock {
            return day;
        }
        let today = plan::day(self.clock.server_now());
        let is_known = self.clock.is_confirmed();
        day.min(if is_known { *self.today.get_or_init(|| today) } else { today })
    }

    /// The time that decides which records are due: the run's reference time, so that a run with a
    /// past `--to` requests what was due then.
    pub(super) fn queue_now(&self) -> i64 {
        self.settings.now.timestamp_micros()
    }
}

/// Whether a failed request means that the endpoint does not exist.
pub(super) fn means_absent(endpoint: &Endpoint, failure: Failure) -> bool {
    let none = matches!(failure, Failure::NoSuchPath | Failure::Forbidden | Failure::NotFound);
    endpoint.experimental && none
}

/// A unique name for a run that begins now.
pub fn run_name(started_at: DateTime<Utc>) -> String {
    unique_name(&started_at.format("%Y%m%dT%H%M%SZ").to_string())
}
