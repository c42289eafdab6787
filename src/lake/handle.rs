//! Handles: which lake, and which table of it. They hold no state of a table.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::store::Store;
use crate::endpoint::{Catalogue, Endpoint};
use crate::error::Result;
use crate::manifest::{Granularity, Manifest};

/// A lake: its store, the endpoints that its tables are of, and the run that reads or writes it.
#[derive(Debug, Clone)]
pub struct Lake {
    store: Arc<Store>,
    catalogue: Arc<Catalogue>,
    run: Arc<str>,
    granularity: Granularity,
}

impl Lake {
    /// The lake in a store, as a run of this name reads and writes it.
    #[must_use]
    pub fn new(store: &Arc<Store>, catalogue: &Arc<Catalogue>, run: &str) -> Self {
        Self {
            store: Arc::clone(store),
            catalogue: Arc::clone(catalogue),
            run: run.into(),
            granularity: Granularity::default(),
        }
    }

    /// The lake in a store, to look into: what is opened with it is not written.
    #[must_use]
    pub fn reader(store: &Arc<Store>, catalogue: &Catalogue) -> Self {
        Self::new(store, &Arc::new(catalogue.clone()), "reader")
    }

    /// The same lake, whose new tables have partitions of this length.
    #[must_use]
    pub fn with_granularity(mut self, granularity: Granularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// Where the lake is.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The endpoints that its tables are of.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The table of an endpoint.
    ///
    /// # Errors
    /// `Config` when no endpoint has this name.
    pub fn table(&self, endpoint: &str) -> Result<Table> {
        let found = self.catalogue.find(endpoint)?;
        let selectors = self.catalogue.selectors(endpoint).into();
        Ok(Table { lake: self.clone(), endpoint: Arc::new(found.clone()), selectors })
    }
}

/// One table of a lake.
#[derive(Debug, Clone)]
pub struct Table {
    lake: Lake,
    endpoint: Arc<Endpoint>,
    /// The fields by which its children select their parents.
    selectors: Arc<[String]>,
}

impl Table {
    /// The endpoint whose records it holds.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.lake.store
    }

    pub(super) fn run(&self) -> &str {
        &self.lake.run
    }

    /// The manifest of the table before its first commit.
    pub(super) fn first_manifest(&self) -> Manifest {
        let endpoint = &self.endpoint;
        let mut first = Manifest::new(&endpoint.name, endpoint.schema(), self.lake.granularity);
        first.selectors = self.selectors.to_vec();
        first
    }

    /// Whether every shard of this manifest's index keeps what the table's children select by.
    pub(super) fn has_selectors(&self, manifest: &Manifest) -> bool {
        self.selectors.iter().all(|field| manifest.selectors.contains(field))
    }

    /// The fields that the index is to keep: those that it has, and those that children select by.
    pub(super) fn selectors(&self, manifest: &Manifest) -> Vec<String> {
        let all: BTreeSet<&String> = manifest.selectors.iter().chain(&*self.selectors).collect();
        all.into_iter().cloned().collect()
    }
}
