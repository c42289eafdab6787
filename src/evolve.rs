//! Evolving: every file of a table gets a wider schema.
//!
//! Enters: a store, endpoints, and what is told. Leaves: tables whose objects all have their wider
//! schema, and what changed. Never here: a request, or a value lost: what `extra_json` held moves
//! into columns.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::Clock;
use crate::endpoint::{Catalogue, Endpoint};
use crate::error::Result;
use crate::lake::{Store, Table, Wanted, clear_forgotten, unique_name};
use crate::manifest::Granularity;
use crate::schema::Difference;

/// What became of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evolution {
    /// The table.
    pub endpoint: String,
    /// The columns that are new or have another type.
    pub changes: Vec<Difference>,
    /// How many partitions were rewritten.
    pub rewritten: u64,
    /// How many are still to be rewritten.
    pub outdated: u64,
}

/// Evolves the tables of these endpoints, one after the other; a table that the lake lacks stays
/// absent. With `dry_run` nothing is written.
///
/// # Errors
/// `Config` when no lake is there or a column cannot have the wanted type, `Newer` or `Corrupt` when the lake
/// cannot be read, or when the store fails. What was rewritten before stays so, and the next run
/// goes on.
pub fn evolve(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    endpoints: &[&Endpoint],
    wanted: &Wanted,
    dry_run: bool,
    clock: &Clock,
) -> Result<Vec<Evolution>> {
    store.check_lake(catalogue)?;
    let run = unique_name("evolve");
    if !dry_run {
        clear_forgotten(store, catalogue, &run, clock.now())?;
    }
    let mut evolutions = Vec::new();
    for endpoint in endpoints {
        let watch = catalogue.watched_field(&endpoint.name).map(str::to_owned);
        let shared = Arc::new((*endpoint).clone());
        let (store, granularity) = (Arc::clone(store), Granularity::default());
        let open = if dry_run { Table::read } else { Table::open };
        let mut table = open(store, shared, granularity, &run, watch, clock.now())?;
        if table.manifest().version > 0 {
            evolutions.push(evolve_table(&mut table, wanted, dry_run, clock)?);
        }
    }
    Ok(evolutions)
}

fn evolve_table(
    table: &mut Table,
    wanted: &Wanted,
    dry_run: bool,
    clock: &Clock,
) -> Result<Evolution> {
    let changes =
        if dry_run { table.would_evolve(wanted)? } else { table.evolve(wanted, clock.now())? };
    let mut rewritten = 0;
    while !dry_run && table.outdated() > 0 {
        rewritten += table.renew(clock.now())?.changed.len() as u64;
    }
    let outdated = table.outdated() as u64;
    Ok(Evolution { endpoint: table.manifest().endpoint.clone(), changes, rewritten, outdated })
}
