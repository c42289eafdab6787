//! Snapshots: everything that exists as of a day, for every parent if there are parents.

use super::children::listing;
use super::export::Export;
use super::reading::read;
use super::scan::{Listed, Scan};
use super::table_run::TableRun;
use crate::commit_plan::Scope;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::FetchError;
use crate::retry::Failure;

/// Reads everything that exists, for every parent if there are parents, into the snapshot of a day.
/// A list that was read to its end replaces the existing rows; the others stay as they are.
pub(super) async fn snapshot(export: &Export, table: &TableRun<'_>, day: i32) -> Result<()> {
    if let Some(parent) = &table.endpoint.parent {
        if listing::read_all(export, table, parent, day).await? && !table.is_absent() {
            table.commit(move |change| change.statements.snapshot = Some(day)).await?;
        }
        return Ok(());
    }
    let mut listed = Listed::default();
    let scan = Scan { day: Some(day), ..Scan::default() };
    let outcome = read(table, &scan, Some(&mut listed)).await?;
    // Its own replies may have shown that the day has not begun.
    let day = export.begun(day);
    if outcome.more_was_refused {
        let known = table.read(move |known| known.newest_keys(day)).await?;
        let lacking = listed.lacks(known.iter().map(|key| &**key));
        if lacking > 0 {
            let message = format!(
                "the request for more records was refused, and {lacking} records in the lake were \
                 missing from the reply; they are kept"
            );
            let error = Error::new(ErrorKind::Unavailable, message);
            table.fail(None, FetchError::Failed(Failure::Broken, error)).await;
            return Ok(());
        }
    }
    if outcome.is_complete() {
        let listing = listed.complete(Scope::Day(day));
        table.commit(|change| change.statements.listings.extend(listing)).await?;
    }
    Ok(())
}
