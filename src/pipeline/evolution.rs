//! Evolution during a run: what an earlier one left half done is completed before anything is
//! asked for, and at the end columns are given to what has gathered, or it is said which.

use super::Export;
use super::table_run::{State, TableRun};
use crate::error::Result;
use crate::lake::Wanted;

/// Rewrites the partitions that are still in an older schema, as far as the run goes.
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

/// Evolves the table if that is wanted, and reports what there is to gain if it is not.
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
        // They hold values that were counted before they came.
        drop(table.with_state(State::count_misfits).await?);
    }
    Ok(())
}
