//! `sql`: the tables and views of a lake, for one engine.

use std::sync::Arc;

use anyhow::Result;

use super::args::SqlArgs;
use super::exit::Exit;
use super::output::Printer;
use super::settings::{Flags, Settings};
use crate::endpoint::Catalogue;
use crate::error::{Error, ErrorKind};
use crate::lake::{Lake, Store, newest_manifest};
use crate::sql::{Engine, LakeTable, statements};

pub(super) fn run(args: &SqlArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let catalogue = settings.catalogue()?;
    let store = settings.present_lake(&catalogue)?;
    let location = location(args, &store)?;
    let tables = known_tables(&store, &catalogue)?;
    printer.data(statements(args.engine, &tables, &location).trim_end());
    Ok(Exit::Complete)
}

/// Where the engine finds the lake: its location, unless `--location` overrides it.
fn location(args: &SqlArgs, store: &Store) -> Result<String, Error> {
    let location = args.location.clone().unwrap_or_else(|| store.location());
    if location.contains("://") {
        return Ok(location);
    }
    if args.engine == Engine::Athena {
        let message = format!("Athena reads from S3, but {location} is a folder");
        let hint = "pass the lake's future URL: --location s3://bucket/prefix";
        return Err(Error::new(ErrorKind::Config, message).with_hint(hint));
    }
    let absolute = std::path::absolute(&location).map_err(|error| {
        Error::new(ErrorKind::Config, format!("{location} is not a path")).with_source(error)
    })?;
    Ok(absolute.display().to_string())
}

/// The catalogue's tables, with or without rows, then those that only the lake has.
fn known_tables(store: &Arc<Store>, catalogue: &Catalogue) -> Result<Vec<LakeTable>, Error> {
    let (mut known, lake) = (Vec::new(), Lake::reader(store, catalogue).at_once());
    for endpoint in catalogue.endpoints() {
        let snapshot = lake.table(&endpoint.name)?.snapshot()?;
        known.push(match snapshot.manifest().version {
            0 => LakeTable::declared(endpoint),
            _ => LakeTable::of(snapshot.manifest(), Some(endpoint)),
        });
    }
    for name in store.tables()?.iter().filter(|name| catalogue.find(name).is_err()) {
        known.extend(newest_manifest(store, name)?.map(|it| LakeTable::of(&it, None)));
    }
    Ok(known)
}
