//! `evolve`: columns for fields collected in `extra_json`.

use anyhow::Result;
use serde_json::json;

use super::args::EvolveArgs;
use super::exit::Exit;
use super::output::{Printer, counted};
use super::settings::{Flags, Settings};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::evolve::{Evolution, evolve};
use crate::lake::Wanted;

pub(super) fn run(args: &EvolveArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let catalogue = settings.catalogue()?;
    let store = settings.present_lake(&catalogue)?;
    let present = store.tables()?;
    let wanted = Wanted { promote: args.promote.clone(), doubles: args.widen.clone() };
    if !wanted.is_empty() && args.endpoints.len() != 1 {
        let message = "--promote and --widen need one table";
        let hint = "name it: --endpoint calls";
        return Err(Error::new(ErrorKind::Config, message).with_hint(hint).into());
    }
    args.endpoints.iter().try_for_each(|name| catalogue.find(name).map(|_| ()))?;
    let is_chosen = |name: &String| args.endpoints.is_empty() || args.endpoints.contains(name);
    let chosen = catalogue.endpoints().iter().filter(|endpoint| is_chosen(&endpoint.name));
    let chosen: Vec<_> = chosen.filter(|endpoint| present.contains(&endpoint.name)).collect();
    let clock = Clock::system();
    let evolutions = evolve(&store, &catalogue, &chosen, &wanted, args.dry_run, &clock)?;
    if args.json {
        printer.data(&serde_json::to_string_pretty(&json!({ "tables": evolutions }))?);
    } else {
        for evolution in &evolutions {
            tell(evolution, args.dry_run, printer);
        }
    }
    Ok(Exit::Complete)
}

fn tell(evolution: &Evolution, dry_run: bool, printer: Printer) {
    let Evolution { endpoint, changes, rewritten, .. } = evolution;
    if changes.is_empty() && *rewritten == 0 {
        return printer.data(&format!("{endpoint}: nothing to add"));
    }
    let shown = if dry_run {
        "would get".to_owned()
    } else {
        format!("{} rewritten", counted(*rewritten, "partition"))
    };
    printer.data(&format!("{endpoint}: {shown}"));
    for change in changes {
        printer.data(&format!("  {change}"));
    }
}
