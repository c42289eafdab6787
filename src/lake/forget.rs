//! Forgetting: a lake's tables rid of whoever is on the list of the forgotten.
//!
//! Enters: the list, as numbered objects of which each is whole. Leaves: tables without these calls
//! and people, in rows, index and quarantine, and manifests that say how far that has come. Never
//! here: a name on the list, or a row of anybody else changed.
//!
//! The list is longer first. Then each table's manifest says that it is known: whoever commits
//! after that must have read it, since otherwise the race for the next manifest is lost. Then the
//! partitions are rewritten, and when all are, the manifest says that. A run that dies in between
//! leaves a table that is not cleared, which the next `forget` or export goes on with.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::store::{Store, token};
use super::table::Table;
use crate::endpoint::{Catalogue, Endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::forgotten::{Forgotten, Kind};
use crate::manifest::Granularity;

/// Where the lists are.
const FOLDER: &str = "_manifest/forgotten";
/// How often somebody else may be faster to write a longer list.
const MOST_RACES: u32 = 64;

/// The content hashes that change because something goes, before and after.
pub(super) type Renamed = HashMap<u128, u128>;

/// What became of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// The table.
    pub endpoint: String,
    /// How many partitions were rewritten.
    pub partitions: u64,
    /// Rows that were taken out.
    pub removed: u64,
    /// Rows of which something was taken out.
    pub blanked: u64,
    /// How many values that were.
    pub values: u64,
    /// Quarantined records that were taken out or changed.
    pub quarantined: u64,
}

impl Store {
    /// The list of the forgotten, read again if it was read before this number of it was written.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub(crate) fn forgotten(&self, at_least: u64) -> Result<Arc<Forgotten>> {
        let known = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known.filter(|known| known.version >= at_least) {
            Some(known) => Ok(known),
            None => self.read_forgotten(),
        }
    }

    /// The list of the forgotten, as it is now.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub fn read_forgotten(&self) -> Result<Arc<Forgotten>> {
        let names = self.names(FOLDER)?;
        let number = |name: &String| name.strip_suffix(".json")?.parse::<u64>().ok();
        let newest = match names.iter().filter_map(number).max() {
            None => Forgotten::default(),
            Some(version) => {
                let path = path(version);
                let text = self.read(&path)?.unwrap_or_default();
                let corrupt = || Error::new(ErrorKind::Corrupt, format!("{path} is no list"));
                Forgotten::from_json(version, &text).ok_or_else(corrupt)?
            }
        };
        let newest = Arc::new(newest);
        *self.forgotten.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&newest));
        Ok(newest)
    }

    /// Puts these on the list of the forgotten; whether one of them was not on it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(&self, kind: Kind, names: &[String], now: DateTime<Utc>) -> Result<bool> {
        for _ in 0..MOST_RACES {
            let known = self.read_forgotten()?;
            let known =
                if known.version == 0 { Forgotten::new(new_salt()) } else { (*known).clone() };
            let (longer, is_new) = known.with(kind, names, now);
            if !is_new {
                return Ok(false);
            }
            let _lock = self.lock()?;
            if self.create(&path(known.version + 1), &longer.to_json())? {
                self.read_forgotten()?;
                return Ok(true);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "others write the list of the forgotten all the time"))
    }
}

fn path(version: u64) -> String {
    format!("{FOLDER}/{version:020}.json")
}

/// It need not be hard to guess, since it stands beside the digests; it only must be another than
/// other lakes'.
fn new_salt() -> String {
    [(); 4].map(|()| format!("{:016x}", token())).concat()
}

/// Rids all tables of whoever is forgotten that are not yet; what became of each of these.
///
/// # Errors
/// When the store fails; what was done before stays so, and the next call goes on.
pub fn clear_forgotten(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    run: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Cleared>> {
    if store.read_forgotten()?.is_empty() {
        return Ok(Vec::new());
    }
    let present = store.tables()?;
    // Those that are driven come before those that drive them, whose content hashes they know.
    let endpoints = catalogue.endpoints().iter().filter(|it| present.contains(&it.name));
    let mut endpoints: Vec<&Endpoint> = endpoints.collect();
    endpoints.sort_by_key(|endpoint| std::cmp::Reverse(catalogue.depth(endpoint)));
    let open = |endpoint: &Endpoint| {
        let watch = catalogue.watched_field(&endpoint.name).map(str::to_owned);
        let (store, endpoint) = (Arc::clone(store), Arc::new(endpoint.clone()));
        Table::open(store, endpoint, Granularity::default(), run, watch, now)
    };
    let mut cleared = Vec::new();
    for endpoint in endpoints {
        let mut table = open(endpoint)?;
        if table.is_cleared()? {
            continue;
        }
        let renamed = match &endpoint.parent {
            Some(parent) if catalogue.looks_up(endpoint) && present.contains(&parent.endpoint) => {
                open(catalogue.find(&parent.endpoint)?)?.renamed()?
            }
            _ => Renamed::new(),
        };
        cleared.push(table.clear_knowing(&renamed)?);
    }
    Ok(cleared)
}

impl Cleared {
    pub(super) fn add(&mut self, other: &Self) {
        self.partitions += other.partitions;
        self.removed += other.removed;
        self.blanked += other.blanked;
        self.values += other.values;
        self.quarantined += other.quarantined;
    }
}
