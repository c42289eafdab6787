//! Opens the tables of a run beside each other, before the first of them is needed: on a bucket, a
//! list may take seconds.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::blocking::blocking;
use super::export::Export;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::lake::{Snapshot, Table, open_all};

/// A run, with the tables that were opened ahead.
pub(super) struct OpenedRun<'r> {
    /// The run's name.
    name: &'r str,
    opened_at: DateTime<Utc>,
    snapshots: Mutex<HashMap<String, Snapshot>>,
}

impl OpenedRun<'_> {
    /// Opens a table, or returns it as it was opened ahead if that is recent. Also returns the time
    /// that it was opened for.
    pub(super) async fn open(
        &self,
        export: &Export,
        endpoint: &str,
    ) -> Result<(Table, Snapshot, DateTime<Utc>)> {
        let table = export.lake(self.name).table(endpoint)?;
        let ahead = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
        if let Some(snapshot) = ahead.filter(Snapshot::is_recent) {
            return Ok((table, snapshot, self.opened_at));
        }
        let (opened, now) = (table.clone(), export.clock.server_now());
        let snapshot = blocking(move || opened.open(now)).await?;
        Ok((table, snapshot, now))
    }
}

impl Export {
    /// Opens the tables of a run, and all others of the lake, which a killed run may have left
    /// something in.
    pub(super) async fn open_ahead<'r>(
        &self,
        endpoints: &[&Endpoint],
        committed: BTreeSet<String>,
        run: &'r str,
    ) -> Result<OpenedRun<'r>> {
        let opened_at = self.clock.server_now();
        let known = |name: &str| {
            committed.contains(name) || endpoints.iter().any(|chosen| chosen.name == name)
        };
        let store = Arc::clone(&self.store);
        let (mut opened, with_objects) = tokio::try_join!(
            self.open_those(run, opened_at, known),
            blocking(move || store.with_objects())
        )?;
        let unknown = |name: &str| with_objects.contains(name) && !known(name);
        self.open_those(run, opened_at, unknown).await?;
        opened.retain(|snapshot| {
            let name = &snapshot.table().endpoint().name;
            endpoints.iter().any(|chosen| chosen.name == *name)
        });
        let named = |snapshot: Snapshot| (snapshot.table().endpoint().name.clone(), snapshot);
        let snapshots = Mutex::new(opened.into_iter().map(named).collect());
        Ok(OpenedRun { name: run, opened_at, snapshots })
    }

    /// Opens the tables whose names satisfy a condition.
    async fn open_those(
        &self,
        run: &str,
        now: DateTime<Utc>,
        is_one: impl Fn(&str) -> bool,
    ) -> Result<Vec<Snapshot>> {
        let lake = self.lake(run);
        let names = self.catalogue.endpoints().iter().map(|endpoint| endpoint.name.as_str());
        let tables = names.filter(|name| is_one(name)).map(|name| lake.table(name));
        let tables = tables.collect::<Result<Vec<_>>>()?;
        blocking(move || open_all(&tables, now)).await
    }
}
