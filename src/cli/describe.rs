//! `endpoints` and `schema`: the catalogue in words.

use anyhow::Result;
use serde_json::json;

use super::args::{EndpointsArgs, SchemaArgs};
use super::exit::Exit;
use super::output::{Printer, table};
use super::settings::{Flags, Settings};
use crate::endpoint::{Dated, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::lake::{PresentLake, Store, manifest_at, newest_manifest};
use crate::schema::{
    CONTENT_KEY, Column, ColumnType, DAY, DELETED_AT, EXPORTED_AT, EXTRA_JSON, Schema,
};
use crate::sql::ddl;

pub(super) fn endpoints(args: &EndpointsArgs, printer: Printer) -> Result<Exit> {
    let catalogue = Settings::load(&args.files, &Flags::default())?.catalogue()?;
    let named = args.endpoint.as_ref().map(|name| catalogue.find(name)).transpose()?;
    if let Some(endpoint) = named.filter(|_| args.toml) {
        printer.data(&endpoint.source.trim_end().replace("\r\n", "\n"));
        return Ok(Exit::Complete);
    }
    let endpoints: Vec<&Endpoint> = match named {
        Some(endpoint) => vec![endpoint],
        None => catalogue.endpoints().iter().collect(),
    };
    if args.json {
        let all: Vec<_> = endpoints.iter().map(|endpoint| to_json(endpoint)).collect();
        printer.data(&serde_json::to_string_pretty(&all)?);
        return Ok(Exit::Complete);
    }
    let mut table = table();
    table.set_header(["endpoint", "path", "key", "dated by", "", "description"]);
    for endpoint in endpoints {
        table.add_row([
            endpoint.name.clone(),
            endpoint.path.as_str().to_owned(),
            endpoint.key_columns().collect::<Vec<_>>().join(", "),
            dated_by(endpoint).to_owned(),
            remark(endpoint).to_owned(),
            endpoint.description.clone(),
        ]);
    }
    printer.data(&table.to_string());
    Ok(Exit::Complete)
}

fn to_json(endpoint: &Endpoint) -> serde_json::Value {
    json!({
        "name": endpoint.name,
        "description": endpoint.description,
        "path": endpoint.path.as_str(),
        "key": endpoint.key_columns().collect::<Vec<_>>(),
        "dated_by": dated_by(endpoint),
        "on": endpoint.on,
        "experimental": endpoint.experimental,
        "parent": endpoint.parent.as_ref().map(|parent| &parent.endpoint),
    })
}

fn dated_by(endpoint: &Endpoint) -> &str {
    match &endpoint.dated {
        Dated::Field { field } => field,
        Dated::Window => "day of the window",
        Dated::Run => "day of the run",
    }
}

fn remark(endpoint: &Endpoint) -> &'static str {
    match (endpoint.on, endpoint.experimental) {
        (false, _) => "off",
        (true, true) => "experimental",
        (true, false) => "",
    }
}

pub(super) fn schema(args: &SchemaArgs, printer: Printer) -> Result<Exit> {
    let catalogue = Settings::load(&args.files, &Flags::default())?.catalogue()?;
    let endpoint = catalogue.find(&args.endpoint)?;
    if let Some((lake, (old, new))) = args.lake.as_ref().zip(args.diff) {
        let lake = PresentLake::of(Store::open(lake)?, &catalogue)?;
        return diff(&lake, &endpoint.name, old, new, args.json, printer);
    }
    let schema = match &args.lake {
        Some(lake) => {
            lake_schema(&PresentLake::of(Store::open(lake)?, &catalogue)?, &endpoint.name)?
        }
        None => endpoint.schema(),
    };
    if let Some(engine) = args.ddl {
        printer.data(ddl(engine, &endpoint.name, &schema).trim_end());
        return Ok(Exit::Complete);
    }
    if args.json {
        printer.data(&serde_json::to_string_pretty(&schema)?);
        return Ok(Exit::Complete);
    }
    let mut table = table();
    table.set_header(["column", "type", "description"]);
    for (name, type_name, description) in lines(&schema) {
        table.add_row([name, type_name, description]);
    }
    printer.data(&format!("{}: {}\n{table}", endpoint.name, endpoint.description));
    Ok(Exit::Complete)
}

/// How the columns of two manifests differ; one line for each difference.
fn diff(
    store: &Store,
    endpoint: &str,
    old: u64,
    new: Option<u64>,
    json: bool,
    printer: Printer,
) -> Result<Exit> {
    let missing = |what: String| {
        Error::new(ErrorKind::Config, format!("{} has no {what}", store.location()))
            .with_hint("manifests are numbered files below _manifest; old ones are removed")
    };
    let numbered = |version: u64| {
        let found = manifest_at(store, endpoint, version)?;
        found.ok_or_else(|| missing(format!("manifest {version} of `{endpoint}`")))
    };
    let new = match new {
        Some(version) => numbered(version)?,
        None => newest_manifest(store, endpoint)?
            .ok_or_else(|| missing(format!("table `{endpoint}`")))?,
    };
    let differences = numbered(old)?.schema.differences(&new.schema);
    if json {
        printer.data(&serde_json::to_string_pretty(&differences)?);
    } else {
        for difference in &differences {
            printer.data(&difference.to_string());
        }
    }
    Ok(Exit::Complete)
}

fn lake_schema(lake: &PresentLake, endpoint: &str) -> Result<Schema> {
    let manifest = newest_manifest(lake, endpoint)?;
    let none = || {
        let message = format!("{} has no table `{endpoint}`", lake.location());
        Error::new(ErrorKind::Config, message)
            .with_hint("without a lake, `clari-lake schema` shows the declared columns")
    };
    Ok(manifest.ok_or_else(none)?.schema)
}

/// One line for each column and field, then the columns that this tool adds.
fn lines(schema: &Schema) -> Vec<(String, String, String)> {
    let line = |name: &str, type_name: &str, description: &str| {
        (name.to_owned(), type_name.to_owned(), description.to_owned())
    };
    let mut lines = vec![line("dt", "date", "The partition: a folder, not a column in the files")];
    if let Some(parent) = &schema.added.parent {
        lines.push(line(
            parent,
            "string",
            "The key of the record that this row belongs to, or the range",
        ));
    }
    if schema.added.content_key {
        lines.push(line(CONTENT_KEY, "string", "A hash of the whole record: its key"));
    }
    schema.columns.iter().for_each(|column| column_lines(column, 0, &mut lines));
    if schema.added.day {
        lines.push(line(DAY, "date", "The day of the window or run in which the row was found"));
    }
    lines.push(line(
        EXTRA_JSON,
        "string",
        "Values that the other columns do not hold, shaped like the record",
    ));
    lines.push(line(EXPORTED_AT, "timestamp", "When this version of the row was fetched"));
    if schema.added.deleted_at {
        lines.push(line(DELETED_AT, "timestamp", "When the record was found to be deleted"));
    }
    lines
}

fn column_lines(column: &Column, depth: usize, lines: &mut Vec<(String, String, String)>) {
    let mut inner = &column.column_type;
    let mut type_name = String::new();
    let mut closing = String::new();
    while let ColumnType::List(element) = inner {
        type_name.push_str("list<");
        closing.push('>');
        inner = element;
    }
    match inner {
        ColumnType::Struct(_) => type_name.push_str("struct"),
        scalar => type_name.push_str(&scalar.to_string()),
    }
    type_name.push_str(&closing);
    let name = format!("{}{}", "  ".repeat(depth), column.name);
    lines.push((name, type_name, column.description.clone().unwrap_or_default()));
    if let ColumnType::Struct(fields) = inner {
        for field in fields {
            column_lines(field, depth + 1, lines);
        }
    }
}
