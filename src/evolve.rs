//! Evolving: rewrites every file of a table to a wider schema.
//!
//! Rewrites objects from the lake alone, without requests. No value is lost: what `extra_json` held
//! moves into columns.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::Clock;
use crate::endpoint::{Catalogue, Endpoint};
use crate::error::Result;
use crate::lake::{Lake, Snapshot, Store, Wanted, clear_forgotten, unique_name};
use crate::schema::Difference;

/// The outcome for one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evolution {
    /// The table.
    pub endpoint: String,
    /// The columns that are new or have another type.
    pub changes: Vec<Difference>,
    /// How many partitions were rewritten.
    pub rewritten: u64,
    /// How many remain to be rewritten.
    pub outdated: u64,
}

/// Evolves the tables of these endpoints, one after the other; tables that the lake lacks are
/// skipped. With `dry_run` nothing is written.
///
/// # Errors
/// `Config` when there is no lake or a column cannot have the wanted type, `Newer` or `Corrupt`
/// when the lake cannot be read, or when the store fails. Partitions already rewritten stay
/// rewritten, and the next run continues.
pub fn evolve(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    endpoints: &[&Endpoint],
    wanted: &Wanted,
    dry_run: bool,
    clock: &Clock,
) -> Result<Vec<Evolution>> {
    store.check_lake(catalogue)?;
    let lake = Lake::new(store, &Arc::new(catalogue.clone()), &unique_name("evolve"));
    if !dry_run {
        clear_forgotten(&lake, clock.now())?;
    }
    let mut evolutions = Vec::new();
    for endpoint in endpoints {
        let table = lake.table(&endpoint.name)?;
        let snapshot = if dry_run { table.snapshot()? } else { table.open(clock.now())? };
        if snapshot.manifest().version > 0 {
            evolutions.push(evolve_table(snapshot, wanted, dry_run, clock)?);
        }
    }
    Ok(evolutions)
}

fn evolve_table(
    mut snapshot: Snapshot,
    wanted: &Wanted,
    dry_run: bool,
    clock: &Clock,
) -> Result<Evolution> {
    let table = snapshot.table().clone();
    let changes = if dry_run {
        snapshot.would_evolve(wanted)?
    } else {
        let (evolved, changes) = table.evolve(&snapshot, wanted, clock.now())?;
        snapshot = evolved;
        changes
    };
    let mut rewritten = 0;
    while !dry_run && snapshot.outdated() > 0 {
        let (newer, committed) = table.rewrite_outdated(&snapshot, clock.now())?;
        rewritten += committed.changed.len() as u64;
        snapshot = newer;
    }
    let outdated = snapshot.outdated() as u64;
    Ok(Evolution { endpoint: table.endpoint().name.clone(), changes, rewritten, outdated })
}
