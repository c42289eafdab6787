//! `changes`: which partitions changed, for downstream jobs.

use anyhow::Result;

use super::args::ChangesArgs;
use super::exit::Exit;
use super::output::{Printer, align_numbers, keep_names, number, table};
use super::settings::{Flags, Settings};
use crate::changes::{Changes, changes};

pub(super) fn run(args: &ChangesArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let store = settings.present_lake(&settings.catalogue()?)?;
    let changes = changes(&store, &args.since)?;
    if args.json {
        printer.data(&serde_json::to_string_pretty(&changes)?);
    } else {
        printer.data(&text(&changes));
    }
    Ok(Exit::Complete)
}

fn text(changes: &Changes) -> String {
    let mut table = table();
    table.set_header(["table", "dt", "new", "changed", "deleted"]);
    let count = |count: Option<u64>| count.map_or("unknown".to_owned(), number);
    for partition in &changes.changed {
        table.add_row([
            partition.endpoint.clone(),
            partition.dt.clone(),
            count(partition.inserted),
            count(partition.updated),
            count(partition.deleted),
        ]);
    }
    align_numbers(&mut table, 2..=4);
    keep_names(&mut table);
    let partitions = match changes.changed.len() {
        0 => "nothing changed".to_owned(),
        _ => table.to_string(),
    };
    format!("{partitions}\nnext: {}", changes.next)
}
