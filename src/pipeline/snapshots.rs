//! Snapshots: everything there is as of a day, for every parent if there are parents.

use std::collections::HashSet;

use super::reading::{Scan, read};
use super::table_run::TableRun;
use super::{Export, children};
use crate::error::Result;
use crate::lake::SnapshotKeys;

/// Reads everything there is, for every parent if there are parents, and replaces the day's
/// snapshot by it.
pub(super) async fn snapshot(export: &Export, table: &TableRun<'_>, day: i32) -> Result<()> {
    let mut keys = HashSet::new();
    let complete = match &table.endpoint.parent {
        None => {
            let scan = Scan { day: Some(day), ..Scan::default() };
            read(table, &scan, Some(&mut keys)).await?.is_complete()
        }
        Some(parent) => {
            let children = children::read_all(export, table, parent, day).await?;
            let Some(children) = children else { return Ok(()) };
            keys = children.keys;
            children.complete
        }
    };
    if complete {
        table.commit(|change| change.snapshots.push(SnapshotKeys { day, keys })).await?;
    }
    Ok(())
}
