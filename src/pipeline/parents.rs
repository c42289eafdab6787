//! Parents: another endpoint's table, read for the ids that drive a chain.

use std::sync::Arc;

use super::Export;
use super::table_run::blocking;
use crate::endpoint::{Dated, Parent};
use crate::error::Result;
use crate::lake::Table;
use crate::partition::Partition;

/// Opens another endpoint's table to read from.
pub(super) async fn open(export: &Export, name: &str) -> Result<Table> {
    let endpoint = Arc::new(export.catalogue.find(name)?.clone());
    let (store, granularity) = (Arc::clone(&export.store), export.granularity);
    let watch = export.catalogue.watched_field(name).map(str::to_owned);
    let now = export.clock.now();
    blocking(move || Table::open(store, endpoint, granularity, "reader", watch, now)).await
}

/// The ids that drive a snapshot: those of today's snapshot of the parent, or of all its rows;
/// `None` when this workspace has no such parent.
pub(super) async fn parent_ids(
    export: &Export,
    parent: &Parent,
    day: i32,
) -> Result<Option<Vec<String>>> {
    let table = open(export, &parent.endpoint).await?;
    let is_snapshot = export.catalogue.find(&parent.endpoint)?.dated == Dated::Run;
    let today = Partition::of(Some(day), table.manifest().granularity).to_string();
    let partitions = &table.manifest().partitions;
    if partitions.is_empty() || (is_snapshot && !partitions.contains_key(&today)) {
        return Ok(None);
    }
    let rule = parent.clone();
    let ids = blocking(move || table.values(&rule, day)).await?;
    Ok(Some(ids.into_iter().collect()))
}
