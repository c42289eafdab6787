//! The list of the forgotten, and the clearance of all tables.
//!
//! The list grows first. Each table's manifest then records that the list is known, so a run that
//! commits afterwards must have read the list or it loses the commit race. Then the partitions are
//! rewritten, and once all of them are done, the manifest records that too. If a run is killed in
//! between, the table is not yet cleared, and the next `forget` or export continues. The list holds
//! digests, never names.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::forgotten::{Forgotten, Kind};
use crate::lake::handle::Lake;
use crate::lake::store::{Store, token};

/// The folder of the lists.
const FOLDER: &str = "_manifest/forgotten";
/// How many times another writer may win the race.
const MOST_RACES: u32 = 64;

/// Content hashes that change because something is erased: before and after.
pub(in crate::lake) type Renamed = HashMap<u128, u128>;

/// What happened to one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// The table.
    pub endpoint: String,
    /// How many partitions were rewritten.
    pub partitions: u64,
    /// Rows that were removed.
    pub removed: u64,
    /// Rows from which values were removed.
    pub blanked: u64,
    /// How many values were removed from them.
    pub values: u64,
    /// Quarantined records that were removed or changed.
    pub quarantined: u64,
}

impl Store {
    /// The list of the forgotten; read again if the cached copy is older than this version.
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

    /// The current list of the forgotten.
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
                let corrupt =
                    || Error::new(ErrorKind::Corrupt, format!("{path} is not such a list"));
                Forgotten::from_json(version, &text).ok_or_else(corrupt)?
            }
        };
        let newest = Arc::new(newest);
        *self.forgotten.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&newest));
        Ok(newest)
    }

    /// Adds these to the list of the forgotten. Returns whether any of them was new.
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
        Err(Error::new(
            ErrorKind::Conflict,
            "other processes keep writing the list of forgotten ids",
        ))
    }
}

fn path(version: u64) -> String {
    format!("{FOLDER}/{version:020}.json")
}

/// The salt need not be hard to guess, since it is stored beside the digests. It only has to differ
/// from the salts of other lakes.
fn new_salt() -> String {
    [(); 4].map(|()| format!("{:016x}", token())).concat()
}

/// Removes everyone on the list from the tables that may still contain them. Returns what happened
/// to each of those tables.
///
/// # Errors
/// When the store fails; completed work stays, and the next call continues.
pub fn clear_forgotten(lake: &Lake, now: DateTime<Utc>) -> Result<Vec<Cleared>> {
    let (store, catalogue) = (lake.store(), lake.catalogue());
    if store.read_forgotten()?.is_empty() {
        return Ok(Vec::new());
    }
    let present = store.tables()?;
    // Children come before their parents, because they store the parents' content hashes.
    let endpoints = catalogue.endpoints().iter().rev();
    let mut cleared = Vec::new();
    for endpoint in endpoints.filter(|endpoint| present.contains(&endpoint.name)) {
        let table = lake.table(&endpoint.name)?;
        let snapshot = table.open(now)?;
        if snapshot.is_cleared()? {
            continue;
        }
        let renamed = match &endpoint.parent {
            Some(parent) if catalogue.looks_up(endpoint) && present.contains(&parent.endpoint) => {
                lake.table(&parent.endpoint)?.open(now)?.renamed()?
            }
            _ => Renamed::new(),
        };
        cleared.push(table.clear_knowing(&snapshot, &renamed, now)?.1);
    }
    Ok(cleared)
}

impl Cleared {
    /// Whether anything was removed.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.removed + self.blanked + self.quarantined > 0
    }

    pub(in crate::lake) fn add(&mut self, other: &Self) {
        self.partitions += other.partitions;
        self.removed += other.removed;
        self.blanked += other.blanked;
        self.values += other.values;
        self.quarantined += other.quarantined;
    }
}
