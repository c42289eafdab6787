//! The client: where the API is, and how fast to send requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::fetch::{self, ClientSettings, Stop, Transport};
use crate::secret::Credentials;

/// How to reach a workspace's API. It sends nothing by itself; each export makes its own
/// connections from it.
///
/// ```
/// use clari_lake::{Client, Credentials};
///
/// # fn main() -> Result<(), clari_lake::Error> {
/// let credentials = Credentials::new("the key", "the password")?;
/// let client = Client::new(credentials).rate(5.0).concurrency(8);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Client {
    settings: ClientSettings,
    transport: Option<Arc<dyn Transport>>,
}

impl Client {
    /// The vendor's API at the rate that it allows: 10 requests a second, 16 at once.
    pub fn new(credentials: Credentials) -> Self {
        Self { settings: ClientSettings::new(credentials), transport: None }
    }

    /// The API at another URL. An invalid URL is an error when the export runs.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.settings.base_url = url.into();
        self
    }

    /// At most this many requests a second; 0 for no limit.
    pub fn rate(mut self, requests_per_second: f64) -> Self {
        self.settings.rate = requests_per_second;
        self
    }

    /// At most this many requests at once.
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.settings.concurrency = requests;
        self
    }

    /// How long one request may take.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.settings.timeout = time;
        self
    }

    /// How long requests may fail, without one succeeding, before the run ends.
    pub fn outage(mut self, time: Duration) -> Self {
        self.settings.outage = time;
        self
    }

    /// A client with all its settings.
    #[doc(hidden)]
    pub fn with_settings(settings: ClientSettings) -> Self {
        Self { settings, transport: None }
    }

    /// The same client over another transport than the network.
    #[doc(hidden)]
    pub fn over(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    pub(super) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// A client that sends requests until a stop is requested.
    pub(super) fn connect(&self, stop: &Stop) -> Result<fetch::Client> {
        match &self.transport {
            Some(transport) => {
                fetch::Client::over(Arc::clone(transport), &self.settings, stop.clone())
            }
            None => fetch::Client::new(&self.settings, stop.clone()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}
