//! Handles that identify a lake, or a table of it. They hold no table state.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::index::IndexCache;
use super::store::{Store, manifest_folder};
use super::table::manifests;
use crate::endpoint::{Catalogue, Endpoint};
use crate::error::Result;
use crate::manifest::{Granularity, Manifest};

/// A lake: its store, the endpoints of its tables, and the run that reads or writes it.
#[derive(Debug, Clone)]
pub struct Lake {
    store: Arc<Store>,
    catalogue: Arc<Catalogue>,
    run: Arc<str>,
    granularity: Granularity,
    view: Option<Arc<View>>,
}

/// A lake as it was when the first of its tables was read.
#[derive(Debug, Default)]
struct View(Mutex<Viewed>);

/// What has been read for a view.
#[derive(Debug, Default)]
struct Viewed {
    /// The names of the manifests of all tables.
    names: Option<HashMap<String, Vec<String>>>,
    /// The tables that have been read.
    tables: HashMap<String, TableState>,
}

impl Lake {
    /// The lake in a store, as read and written by the run of this name.
    #[must_use]
    pub fn new(store: &Arc<Store>, catalogue: &Arc<Catalogue>, run: &str) -> Self {
        Self {
            store: Arc::clone(store),
            catalogue: Arc::clone(catalogue),
            run: run.into(),
            granularity: Granularity::default(),
            view: None,
        }
    }

    /// The lake in a store, opened for reading only.
    #[must_use]
    pub fn reader(store: &Arc<Store>, catalogue: &Catalogue) -> Self {
        Self::new(store, &Arc::new(catalogue.clone()), "reader")
    }

    /// The same lake as it is now: the manifests of all tables are found together when the first
    /// table is read, since a list of a bucket may take seconds; later ones do not count. Each table
    /// is read once, however often it is requested.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { view: Some(Arc::default()), ..self }
    }

    /// The same lake, with this partition length for new tables.
    #[must_use]
    pub fn with_granularity(mut self, granularity: Granularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// The lake's store.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The endpoints of its tables.
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

    /// The names of the manifests of all tables that have any.
    fn manifest_names(&self) -> Result<HashMap<String, Vec<String>>> {
        let committed = self.store.committed()?;
        let known = self.catalogue.endpoints().iter().map(|endpoint| &endpoint.name);
        let tables: Vec<String> = known.filter(|name| committed.contains(*name)).cloned().collect();
        let listed = self.store.manifest_names(&tables)?;
        Ok(tables.into_iter().zip(listed).collect())
    }
}

/// What is known of a table at one manifest.
#[derive(Debug, Clone)]
pub(super) struct TableState {
    pub(super) manifest: Arc<Manifest>,
    /// The index shards read so far, shared with the states before and after.
    pub(super) index: Arc<Mutex<IndexCache>>,
    /// When the manifest was last known to be the newest.
    pub(super) read_at: Instant,
}

/// One table of a lake.
#[derive(Debug, Clone)]
pub struct Table {
    lake: Lake,
    endpoint: Arc<Endpoint>,
    /// The fields by which child endpoints select its records.
    selectors: Arc<[String]>,
}

impl Table {
    /// Its state at its newest manifest, or that of a new table.
    pub(super) fn state(&self) -> Result<TableState> {
        let name = &self.endpoint.name;
        let Some(view) = &self.lake.view else {
            return self.state_of(&self.store().names(&manifest_folder(name))?);
        };
        let mut view = view.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Viewed { names, tables } = &mut *view;
        if let Some(known) = tables.get(name) {
            return Ok(known.clone());
        }
        let names = match names {
            Some(names) => names,
            None => names.insert(self.lake.manifest_names()?),
        };
        let state = self.state_of(names.get(name).map_or(&[], Vec::as_slice))?;
        tables.insert(name.clone(), state.clone());
        Ok(state)
    }

    /// Its state at the newest of the manifests with these names, which were just listed.
    pub(super) fn state_of(&self, names: &[String]) -> Result<TableState> {
        let read_at = Instant::now();
        let newest = manifests::newest_of(self.store(), &self.endpoint.name, names, 0)?;
        let manifest = Arc::new(newest.unwrap_or_else(|| self.first_manifest()));
        Ok(TableState { manifest, index: Arc::default(), read_at })
    }

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

    /// The table's manifest before its first commit.
    pub(super) fn first_manifest(&self) -> Manifest {
        let endpoint = &self.endpoint;
        let mut first = Manifest::new(&endpoint.name, endpoint.schema(), self.lake.granularity);
        first.selectors = self.selectors.to_vec();
        first
    }

    /// Whether every shard of this manifest's index keeps the fields that the table's children
    /// select by.
    pub(super) fn has_selectors(&self, manifest: &Manifest) -> bool {
        self.selectors.iter().all(|field| manifest.selectors.contains(field))
    }

    /// The fields that the index must keep: those it already has, and those that children select
    /// by.
    pub(super) fn selectors(&self, manifest: &Manifest) -> Vec<String> {
        let all: BTreeSet<&String> = manifest.selectors.iter().chain(&*self.selectors).collect();
        all.into_iter().cloned().collect()
    }
}
