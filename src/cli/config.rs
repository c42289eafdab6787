//! `config`: whether the files are valid, and every setting with its source.

use std::fmt::Display;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::args::{ConfigArgs, ConfigCheckArgs, ConfigCommand, ConfigShowArgs};
use super::exit::Exit;
use super::output::{Printer, table};
use super::settings::{Flags, Origin, Setting, Settings};

pub(super) fn run(args: &ConfigArgs, printer: Printer) -> Result<Exit> {
    match &args.command {
        ConfigCommand::Check(args) => check(args, printer),
        ConfigCommand::Show(args) => show(args, printer),
    }
}

fn check(args: &ConfigCheckArgs, printer: Printer) -> Result<Exit> {
    let settings = Settings::load(&args.files, &Flags::default())?;
    let catalogue = settings.catalogue()?;
    let endpoints = catalogue.endpoints().len();
    if args.json {
        let report = json!({"ok": true, "file": settings.file, "endpoints": endpoints});
        printer.data(&serde_json::to_string_pretty(&report)?);
    } else {
        let file = settings.file.as_deref().unwrap_or("no configuration file");
        printer.data(&format!("ok: {file}, {endpoints} endpoints"));
    }
    Ok(Exit::Complete)
}

fn show(args: &ConfigShowArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags::new(args.lake.as_ref(), &args.table, &args.api, &args.quota);
    let settings = Settings::load(&args.files, &flags)?;
    settings.catalogue()?;
    let mut lines = lines(&settings);
    lines.extend(endpoint_lines(&settings)?);
    lines.extend(["CLARI_API_KEY", "CLARI_API_PASSWORD", "CLARI_LAKE_SALT"].map(secret_line));
    if args.json {
        let entry =
            |line: &Line| (line.key.clone(), json!({"value": line.value, "origin": line.origin}));
        let all: Map<String, Value> = lines.iter().map(entry).collect();
        printer.data(&serde_json::to_string_pretty(&all)?);
        return Ok(Exit::Complete);
    }
    let mut table = table();
    table.set_header(["setting", "value", "from"]);
    for line in &lines {
        let value = match &line.value {
            Value::String(text) => text.clone(),
            Value::Null => "none".to_owned(),
            other => other.to_string(),
        };
        table.add_row([&line.key, &value, &line.origin]);
    }
    printer.data(&table.to_string());
    Ok(Exit::Complete)
}

/// One setting as displayed.
struct Line {
    key: String,
    value: Value,
    origin: String,
}

fn lines(settings: &Settings) -> Vec<Line> {
    let endpoints_dir = settings.endpoints_dir.value.as_ref();
    let endpoints_dir = endpoints_dir.map(|dir| dir.display().to_string());
    let granularity = settings.partition_by.value.name();
    vec![
        line("lake", settings.lake.value.as_deref().map(masked), &settings.lake.origin),
        line("base_url", masked(&settings.base_url.value), &settings.base_url.origin),
        line("rate", settings.rate.value.0, &settings.rate.origin),
        line("concurrency", settings.concurrency.value.0, &settings.concurrency.origin),
        line("weekly_quota", settings.weekly_quota.value, &settings.weekly_quota.origin),
        line("quota_share", settings.quota_share.value.0, &settings.quota_share.origin),
        spelt("lookback", &settings.lookback),
        line("max_time", settings.max_time.value.map(spell), &settings.max_time.origin),
        line("include_private", settings.include_private.value, &settings.include_private.origin),
        line("partition_by", granularity, &settings.partition_by.origin),
        spelt("deletes", &settings.deletes),
        line("evolve", settings.evolve.value, &settings.evolve.origin),
        spelt("full_relist", &settings.full_relist),
        spelt("store.conditional", &settings.conditional),
        line("no_transcripts", settings.no_transcripts.value, &settings.no_transcripts.origin),
        line("endpoints_dir", endpoints_dir, &settings.endpoints_dir.origin),
    ]
}

/// The configuration file's settings of columns and of single endpoints.
fn endpoint_lines(settings: &Settings) -> Result<Vec<Line>> {
    let origin = Origin::File(settings.file.clone().unwrap_or_default());
    let columns = settings.config.column_entries().into_iter();
    let shown = |(path, value): (String, toml::Value)| {
        Ok(line(&path, serde_json::to_value(value)?, &origin))
    };
    let columns: Vec<Line> = columns.map(shown).collect::<Result<_>>()?;
    let entries = settings.config.endpoint_entries().into_iter();
    let shown = |(name, key, value): (String, String, toml::Value)| {
        Ok(line(&format!("endpoint.{name}.{key}"), serde_json::to_value(value)?, &origin))
    };
    columns.into_iter().map(Ok).chain(entries.map(shown)).collect()
}

fn line(key: &str, value: impl Into<Value>, origin: &Origin) -> Line {
    Line { key: key.to_owned(), value: value.into(), origin: origin.to_string() }
}

fn spelt<T: Display>(key: &str, setting: &Setting<T>) -> Line {
    line(key, spell(&setting.value), &setting.origin)
}

fn spell(value: impl Display) -> String {
    value.to_string()
}

/// Whether a secret is set, and its source; never the secret.
fn secret_line(name: &str) -> Line {
    let file = format!("{name}_FILE");
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let (value, origin) = match (is_set(name), is_set(&file)) {
        (true, _) => ("***", Origin::Environment(name.to_owned())),
        (false, true) => ("***", Origin::Environment(file)),
        (false, false) => ("not set", Origin::Default),
    };
    line(name, value, &origin)
}

/// A URL without its secrets: a name and password before the host, and the values of its query.
fn masked(address: &str) -> String {
    let (address, query) = match address.split_once('?') {
        Some((address, _)) => (address, "?***"),
        None => (address, ""),
    };
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() + query };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://***{}{query}", &rest[at..]),
        None => format!("{address}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        assert_eq!(masked("https://example.com/x"), "https://example.com/x");
        assert_eq!(masked("https://me:canary@example.com/x"), "https://***@example.com/x");
        assert_eq!(masked("az://box/lake?sig=canary"), "az://box/lake?***");
        assert_eq!(masked("./lake"), "./lake");
    }
}
