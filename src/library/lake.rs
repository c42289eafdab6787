//! The lake, as a program holds it.

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::client::Client;
use super::export::Export;
use super::table::Table;
use crate::endpoint;
use crate::error::Result;
use crate::lake::{Lake as Tables, Store};
use crate::pipeline::blocking;

/// A lake: a folder or a bucket that holds tables, or an empty place where the first export makes
/// one. Its methods need a Tokio runtime.
#[derive(Debug, Clone)]
pub struct Lake {
    store: Arc<Store>,
    catalogue: Arc<endpoint::Catalogue>,
}

impl Lake {
    /// Opens the lake at a path or at an `s3://`, `gs://` or `az://` URL, with the built-in
    /// endpoints. Nothing is written. Credentials of a store come from the environment, as its own
    /// tools read them.
    ///
    /// # Errors
    /// `Config` when the location is wrong, or when something other than a lake is there;
    /// `Unavailable` or `Denied` when the store does not answer.
    pub async fn open(location: &str) -> Result<Self> {
        Self::open_with(location, Catalogue::built_in()?).await
    }

    /// Opens a lake with these endpoints, such as the built-in ones and some of yours.
    ///
    /// # Errors
    /// As for [`Self::open`]; `Config` when an endpoint's parent is missing.
    pub async fn open_with(location: &str, endpoints: Catalogue) -> Result<Self> {
        endpoints.check()?;
        let endpoints = endpoints.shared();
        let location = location.to_owned();
        blocking(move || {
            let store = Store::open(&location)?;
            store.check_place(&endpoints)?;
            Ok(Self::of(store, endpoints))
        })
        .await
    }

    /// The lake in a store that was opened elsewhere.
    #[doc(hidden)]
    #[must_use]
    pub fn of(
        store: impl Into<Arc<Store>>,
        endpoints: impl Into<Arc<endpoint::Catalogue>>,
    ) -> Self {
        Self { store: store.into(), catalogue: endpoints.into() }
    }

    /// Its location.
    #[must_use]
    pub fn location(&self) -> String {
        self.store.location()
    }

    /// The endpoints that it knows.
    #[must_use]
    pub fn endpoints(&self) -> Catalogue {
        Catalogue::new(Arc::clone(&self.catalogue))
    }

    /// The names of the tables that an export has committed.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(store.committed()?.into_iter().collect())).await
    }

    /// The table of an endpoint.
    ///
    /// # Errors
    /// `Config` when no endpoint has this name.
    pub fn table(&self, endpoint: &str) -> Result<Table> {
        Tables::reader(&self.store, &self.catalogue).table(endpoint).map(Table::new)
    }

    /// An export into this lake, which does nothing until it runs.
    pub fn export(&self, client: Client) -> Export {
        Export::new(Arc::clone(&self.store), Arc::clone(&self.catalogue), client)
    }
}
