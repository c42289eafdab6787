//! Snapshots: everything there is as of a day, for every parent if there are parents.

use std::collections::HashSet;

use futures::StreamExt;

use super::Export;
use super::chains::parent_ids;
use super::lists::{Read, Scan, read};
use super::table_run::TableRun;
use crate::error::{Error, Result};
use crate::lake::SnapshotKeys;

/// Reads everything there is, for every parent if there are parents, and replaces the day's
/// snapshot by it.
pub(super) async fn snapshot(export: &Export, table: &TableRun<'_>, day: i32) -> Result<()> {
    let mut keys = HashSet::new();
    let complete = match &table.endpoint.parent {
        None => {
            let scan = Scan { day: Some(day), ..Scan::default() };
            matches!(read(table, &scan, Some(&mut keys)).await?, Read::Complete)
        }
        Some(parent) => {
            let parents = parent_ids(export, parent, day).await?;
            let Some(parents) = parents else { return Ok(()) };
            children(export, table, &parents, day, &mut keys).await?
        }
    };
    if complete {
        table.commit(|change| change.snapshots.push(SnapshotKeys { day, keys })).await?;
    }
    Ok(())
}

/// Reads the lists of all parents; whether all of them are complete.
async fn children(
    export: &Export,
    table: &TableRun<'_>,
    parents: &[String],
    day: i32,
    keys: &mut HashSet<Box<str>>,
) -> Result<bool> {
    export.progress.update(&table.endpoint.name, |live| live.planned += parents.len() as u64);
    let read_one = async |parent: &String| {
        let mut keys = HashSet::new();
        let scan = Scan { day: Some(day), parent: Some(parent), ..Scan::default() };
        let read = read(table, &scan, Some(&mut keys)).await?;
        export.progress.update(&table.endpoint.name, |live| live.done += 1);
        Ok::<_, Error>((matches!(read, Read::Complete), keys))
    };
    let mut reads =
        futures::stream::iter(parents.iter().map(read_one)).buffer_unordered(export.concurrency);
    let mut complete = true;
    while let Some(read) = reads.next().await {
        let (is_complete, found) = read?;
        complete &= is_complete;
        keys.extend(found);
    }
    Ok(complete)
}
