//! Handles that identify a lake, or a table of it. They hold no table state.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::store::{Store, manifest_folder};
use super::table::snapshot::Snapshot;
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

/// The tables of a lake as they are found when the first of them is read.
#[derive(Debug, Default)]
struct View(Mutex<Option<HashMap<String, Snapshot>>>);

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

    /// The same lake as it is now: the newest manifests of all tables are found together when the
    /// first is read, since a list of a bucket may take seconds, and do not change afterwards.
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

    /// All tables that have a manifest, by name.
    fn snapshots(&self) -> Result<HashMap<String, Snapshot>> {
        let committed = self.store.committed()?;
        let known = self.catalogue.endpoints().iter().map(|endpoint| &endpoint.name);
        let names: Vec<String> = known.filter(|name| committed.contains(*name)).cloned().collect();
        let listed = self.store.manifest_names(&names)?;
        let snapshot = |(name, manifests): (String, Vec<String>)| {
            let snapshot = self.table(&name)?.snapshot_of(&manifests)?;
            Ok((name, snapshot))
        };
        names.into_iter().zip(listed).map(snapshot).collect()
    }
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
    /// The table at its newest manifest, or a new one. Nothing is written, and files of a killed
    /// run are not looked for.
    ///
    /// # Errors
    /// `Newer` when the lake is from a newer version, `Corrupt` when a manifest cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let name = &self.endpoint.name;
        let Some(view) = &self.lake.view else {
            return self.snapshot_of(&self.store().names(&manifest_folder(name))?);
        };
        let mut view = view.0.lock().unwrap_or_else(PoisonError::into_inner);
        if view.is_none() {
            *view = Some(self.lake.snapshots()?);
        }
        let known = view.as_ref().and_then(|tables| tables.get(name)).cloned();
        known.map_or_else(|| self.snapshot_of(&[]), Ok)
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
