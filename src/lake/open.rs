//! Opening: tables at their newest manifests, with what killed runs left in them recovered.

use chrono::{DateTime, Utc};

use super::handle::Table;
use super::recovery;
use super::store::TableListing;
use super::table::snapshot::Snapshot;
use super::table::transaction::Transaction;
use crate::error::Result;

/// Opens tables of one lake, as [`Table::open`] does. Their folders are listed beside each other,
/// because a list of a bucket may take seconds.
///
/// # Errors
/// As for [`Table::open`].
pub fn open_all(tables: &[Table], now: DateTime<Utc>) -> Result<Vec<Snapshot>> {
    let Some(first) = tables.first() else { return Ok(Vec::new()) };
    let names: Vec<_> = tables.iter().map(|table| table.endpoint().name.clone()).collect();
    let listings = first.store().list_tables(&names)?;
    tables.iter().zip(listings).map(|(table, listing)| table.open_as(listing, now)).collect()
}

impl Table {
    /// The table at its newest manifest, or a new one. Recovers objects that a killed run wrote but
    /// did not commit, and upgrades an index of an older format. Writes nothing if there is
    /// neither.
    ///
    /// # Errors
    /// `Newer` when the lake is from a newer version, `Corrupt` when a manifest cannot be read.
    pub fn open(&self, now: DateTime<Utc>) -> Result<Snapshot> {
        let name = std::slice::from_ref(&self.endpoint().name);
        let listing = self.store().list_tables(name)?.pop().unwrap_or_default();
        self.open_as(listing, now)
    }

    /// The same for a table whose folders were just listed.
    fn open_as(&self, listing: TableListing, now: DateTime<Utc>) -> Result<Snapshot> {
        let snapshot = self.snapshot_of(&listing.manifests)?;
        if !recovery::is_needed(&snapshot, listing.objects) {
            return Ok(snapshot);
        }
        // Whether there really is something to recover is decided by another list: this one may be
        // from before another run's last commit.
        let recover = |transaction: &mut Transaction<'_>| {
            // Objects without a manifest may belong to a writer that is about to commit.
            self.store().hold()?;
            transaction.refresh()?;
            recovery::recover(transaction)
        };
        Ok(self.transact(&snapshot, now, recover)?.snapshot)
    }
}
