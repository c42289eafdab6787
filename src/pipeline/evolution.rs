//! Evolution during a run: an evolution that an earlier run left unfinished is completed before
//! anything is requested. At the end, columns are added for what has accumulated in `extra_json`,
//! or the run reports what they would be.

use super::Export;
use super::table_run::{State, TableRun};
use crate::error::Result;
use crate::lake::Wanted;

/// Rewrites the partitions that are still in an older schema, as far as the run gets.
pub(super) async fn go_on(export: &Export, table: &TableRun<'_>) -> Result<()> {
    while !export.stop.is_requested() && table.state().await.snapshot.outdated() > 0 {
        let now = export.clock.server_now();
        let rewrite = move |state: &mut State| {
            let (snapshot, committed) = state.table.rewrite_outdated(&state.snapshot, now)?;
            state.snapshot = snapshot;
            Ok(committed)
        };
        let (committed, state) = table.with_state(rewrite).await?;
        table.conclude(committed, state)?;
    }
    Ok(())
}

/// Evolves the table if requested, and otherwise reports what evolution would add.
pub(super) async fn conclude(export: &Export, table: &TableRun<'_>) -> Result<()> {
    if export.settings.evolve && !export.stop.is_requested() {
        let now = export.clock.server_now();
        let evolve = move |state: &mut State| {
            let (snapshot, evolved) =
                state.table.evolve(&state.snapshot, &Wanted::default(), now)?;
            state.snapshot = snapshot;
            state.note_evolved(evolved);
            Ok(())
        };
        drop(table.with_state(evolve).await?);
        go_on(export, table).await?;
    }
    let mut state = table.state().await;
    state.note_evolvable(&table.endpoint.columns);
    let has_new_columns = !table.was_frozen() || state.has_evolved();
    drop(state);
    if has_new_columns {
        // They hold values that were counted before the columns existed.
        drop(table.with_state(State::count_misfits).await?);
    }
    Ok(())
}
