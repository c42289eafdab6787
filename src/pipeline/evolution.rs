//! Evolution during a run: an evolution that an earlier run left unfinished is completed before
//! anything is requested. At the end, columns are added for what has accumulated in `extra_json`,
//! or the run reports what they would be.

use super::Export;
use super::table_run::TableRun;
use super::table_state::State;
use crate::error::Result;
use crate::lake::Wanted;

/// Rewrites the partitions that are still in an older schema, as far as the run gets.
pub(super) async fn go_on(export: &Export, table: &TableRun<'_>) -> Result<()> {
    let outdated = |state: &mut State| state.snapshot.outdated();
    while !export.stop.is_requested() && table.owner.ask(outdated).await? > 0 {
        let now = export.clock.server_now();
        let rewrite = move |state: &mut State| {
            let (snapshot, committed) = state.table.rewrite_outdated(&state.snapshot, now)?;
            state.snapshot = snapshot;
            state.conclude(committed)
        };
        table.owner.run(rewrite).await?;
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
        table.owner.run(evolve).await?;
        go_on(export, table).await?;
    }
    let note = |state: &mut State| {
        state.note_evolvable();
        state.has_evolved()
    };
    let has_evolved = table.owner.ask(note).await?;
    if !table.was_frozen() || has_evolved {
        // They hold values that were counted before the columns existed.
        table.owner.run(State::count_misfits).await?;
    }
    Ok(())
}
