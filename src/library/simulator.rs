//! A simulated workspace, for trying the library out and for tests without credentials.

use super::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Credentials;
use crate::simulator::{Options, Server, Settings, Workspace};

/// A simulated workspace behind the paths of the API, on this machine, until it is dropped. It is
/// deterministic: the same number of calls at the same instant gives the same workspace.
pub struct Simulator {
    server: Server,
    credentials: Credentials,
}

impl Simulator {
    /// Serves a workspace with this many calls, all from the last 30 days.
    ///
    /// # Errors
    /// `Internal` when no port or no thread is left.
    pub fn start(calls: usize) -> Result<Self> {
        let now = crate::clock::Clock::system().now();
        Self::of(&Options { calls, now, ..Options::default() })
    }

    /// Serves a workspace with these settings.
    #[doc(hidden)]
    pub fn of(options: &Options) -> Result<Self> {
        let settings = Settings::default();
        let credentials = Credentials::new(&settings.api_key, &settings.api_password)?;
        let server = Server::start(Workspace::generate(options), settings).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot serve the simulated workspace")
                .with_source(error)
        })?;
        Ok(Self { server, credentials })
    }

    /// The URL on which it listens.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// A client of it without a rate limit.
    pub fn client(&self) -> Client {
        Client::new(self.credentials.clone()).base_url(self.base_url()).rate(0.0)
    }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("base_url", &self.base_url()).finish_non_exhaustive()
    }
}
