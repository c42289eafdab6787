//! Reading the rows of a snapshot.

use arrow::record_batch::RecordBatch;

use super::merge;
use super::snapshot::Snapshot;
use crate::error::{Error, ErrorKind, Result};
use crate::partition::Partition;

impl Snapshot {
    /// Reads the rows of one of its objects, in the table's schema, until `take` returns that it is
    /// done.
    ///
    /// # Errors
    /// `Conflict` when another run has replaced the object in the meantime; `Corrupt` when it
    /// cannot be read.
    pub fn read_rows(&self, object: &str, mut take: impl FnMut(RecordBatch) -> bool) -> Result<()> {
        let mut entries = self.manifest().partitions.iter();
        let Some((name, entry)) = entries.find(|(_, entry)| entry.object == object) else {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{object} is not part of this snapshot"),
            ));
        };
        let undated = || Partition::of(None, self.manifest().granularity);
        let partition = name.parse().unwrap_or_else(|_| undated());
        let found = self.table().store().existing(object)?;
        if found.version().etag() != entry.etag {
            let message = format!("another run has replaced {object}");
            return Err(Error::new(ErrorKind::Conflict, message).with_hint("take a new snapshot"));
        }
        let mut decoder = self.decoder()?;
        for batch in merge::rows(found, partition, &mut decoder)? {
            if !take(batch?) {
                break;
            }
        }
        Ok(())
    }
}
