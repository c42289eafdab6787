//! Recovery: takes what a killed run left into the table, and repairs an index that is damaged or
//! has an older format.

pub(in crate::lake) mod audit;
mod index;
mod orphans;
pub(in crate::lake) mod sweep;

use super::store::Listed;
use super::table::snapshot::Snapshot;
use super::table::transaction::{Outcome, Transaction};
use crate::error::Result;

pub(super) use self::index::repair;

/// Whether a table, whose folder has these objects, has anything to recover.
pub(super) fn is_needed(snapshot: &Snapshot, listed: Vec<Listed>) -> bool {
    index::is_outdated(snapshot) || orphans::differences(snapshot, listed).is_some()
}

/// Recovers everything.
pub(super) fn recover(transaction: &mut Transaction<'_>) -> Result<Outcome<()>> {
    if let Outcome::Conflict = index::upgrade(transaction)? {
        return Ok(Outcome::Conflict);
    }
    match orphans::recover(transaction) {
        Err(error) if error.kind() == crate::error::ErrorKind::Corrupt => repair(transaction),
        done => done,
    }
}
