//! The list of the forgotten, and the tables without anyone who is on it.
//!
//! The list grows first. Then each table's manifest says that the list is known: a run that commits
//! after that must have read it, or it loses the race for the next manifest. Then the partitions are
//! rewritten, and when all of them are, the manifest says that too. A run that is killed in between
//! leaves a table that is not cleared, and the next `forget` or export continues. The list holds
//! digests, never names.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::forgotten::{Forgotten, Kind};
use crate::lake::handle::Lake;
use crate::lake::store::{Store, token};

/// Where the lists are.
const FOLDER: &str = "_manifest/forgotten";
/// How often another writer may be faster.
const MOST_RACES: u32 = 64;

/// The content hashes that change because something goes, before and after.
pub(in crate::lake) type Renamed = HashMap<u128, u128>;

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

/// Takes everyone who is forgotten out of the tables where they may still be; what became of each
/// of these.
///
/// # Errors
/// When the store fails; what was done before stays so, and the next call goes on.
pub fn clear_forgotten(lake: &Lake, now: DateTime<Utc>) -> Result<Vec<Cleared>> {
    let (store, catalogue) = (lake.store(), lake.catalogue());
    if store.read_forgotten()?.is_empty() {
        return Ok(Vec::new());
    }
    let present = store.tables()?;
    // Children come before their parents, whose content hashes they know.
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
    /// Whether anything was taken out.
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
