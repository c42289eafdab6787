//! Evolution during a run: an evolution that an earlier run left unfinished is completed before
//! anything is requested. At the end, columns are added for what has accumulated in `extra_json`,
//! or the run reports what they would be.

use super::export::Export;
use super::table_run::TableRun;
use super::table_state::State;
use crate::error::Result;
use crate::lake::Wanted;

/// Rewrites the partitions that are still in an older schema, as far as the run gets.
pub(super) async fn go_on(export: &Export, table: &TableRun<'_>) -> Result<()> {
    while !export.stop.is_requested() && table.snapshot().outdated() > 0 {
        let now = export.clock.server_now();
        let rewrite = move |state: &mut State| {
            let (snapshot, committed) = state.table.rewrite_outdated(&state.snapshot, now)?;
            state.snapshot = snapshot;
            state.conclude(committed)
        };
        table.owner.finish(rewrite).await?;
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
        table.owner.finish(evolve).await?;
        go_on(export, table).await?;
    }
    let was_frozen = table.was_frozen();
    let note = move |state: &mut State| {
        state.note_evolvable();
        if was_frozen && !state.has_evolved() {
            return Ok(());
        }
        // They hold values that were counted before the columns existed.
        state.count_misfits()
    };
    table.owner.finish(note).await
}
