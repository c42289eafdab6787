//! `forget`: removes calls and people, and keeps them out.

use anyhow::Result;

use super::args::ForgetArgs;
use super::exit::Exit;
use super::output::{Printer, counted};
use super::settings::{Flags, Settings, salt};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::forget::{ForgetReport, Subjects, forget, preview};

pub(super) fn run(args: &ForgetArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let catalogue = settings.catalogue()?;
    let store = settings.present_lake(&catalogue)?;
    let salt = salt()?;
    let is_hashed = catalogue.endpoints().iter().any(|endpoint| endpoint.rules.needs_salt());
    if is_hashed && salt.is_none() && !args.email.is_empty() {
        let message = "columns are hashed, and CLARI_LAKE_SALT is not set";
        let hint = "without the salt, hashes of the address cannot be found";
        return Err(Error::new(ErrorKind::Config, message).with_hint(hint).into());
    }
    let subjects = Subjects { calls: args.call.clone(), people: args.email.clone() };
    let clock = Clock::system();
    let oblivion = if args.dry_run {
        preview(&store, &catalogue, &subjects, salt.as_ref(), &clock)?
    } else {
        forget(&store, &catalogue, &subjects, salt.as_ref(), &clock)?
    };
    if args.json {
        printer.data(&serde_json::to_string_pretty(&oblivion)?);
    } else {
        tell(&oblivion, args.dry_run, printer);
    }
    for name in oblivion.unmatched.iter().filter(|_| !args.json) {
        printer.note(&format!("{name}: nothing in the lake matches; check the spelling"));
    }
    let rewritten = oblivion.tables.iter().map(|table| table.partitions).sum();
    if store.keeps_versions() && rewritten > 0 && !args.dry_run {
        printer.note(&format!(
            "{} keeps old versions: those of {} contain the rows until they expire; \
             docs/object-stores.md shows how to expire them",
            store.location(),
            counted(rewritten, "rewritten object"),
        ));
    }
    for table in &oblivion.unknown {
        printer.warn(&format!("{table}: no endpoint has this name, so the table was not searched"));
    }
    Ok(if oblivion.unknown.is_empty() { Exit::Complete } else { Exit::Incomplete })
}

fn tell(oblivion: &ForgetReport, dry_run: bool, printer: Printer) {
    let is_news = |rows: u64| rows > 0;
    for table in &oblivion.tables {
        if !is_news(table.removed + table.blanked + table.quarantined) {
            continue;
        }
        printer.data(&format!(
            "{}: {} removed, {} blanked ({}), {} rewritten, {} changed",
            table.endpoint,
            counted(table.removed, "row"),
            counted(table.blanked, "row"),
            counted(table.values, "value"),
            counted(table.partitions, "partition"),
            counted(table.quarantined, "quarantined record")
        ));
    }
    if dry_run {
        printer.data("dry run: nothing was written; without --dry-run, this would be removed");
        return;
    }
    printer.data(match (oblivion.is_new, oblivion.tables.is_empty()) {
        (true, _) => "forgotten; it will not be exported again",
        (false, false) => "already forgotten; the remaining data is now removed",
        (false, true) => "already forgotten; nothing was left to remove",
    });
}
