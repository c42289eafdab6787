//! `doctor`: credentials, what this workspace offers, and what the store really guarantees.

use anyhow::Result;
use serde_json::json;

use super::Exit;
use super::args::DoctorArgs;
use super::output::Printer;
use super::settings::{Flags, Settings};
use crate::check::{Check, Verdict};
use crate::clock::Clock;
use crate::doctor;
use crate::error::Error;
use crate::fetch::{Client, Stop};

pub(super) fn run(args: &DoctorArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), api: args.api.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let api = api_checks(&settings)?;
    let store = store_checks(&settings);
    if args.json {
        printer.data(&serde_json::to_string_pretty(&json!({"api": api, "store": store}))?);
    } else {
        tell("API", &settings.base_url.value, &api, printer);
        match settings.lake() {
            Ok(lake) => tell("store", lake, &store, printer),
            Err(_) => printer.note("\nstore: not looked at, since no lake is named"),
        }
    }
    let worst = api.iter().chain(&store).map(|check| check.verdict).max();
    Ok(match worst {
        Some(Verdict::Bad) => Exit::Fix,
        Some(Verdict::Unavailable) => Exit::Incomplete,
        _ => Exit::Complete,
    })
}

fn api_checks(settings: &Settings) -> Result<Vec<Check>> {
    let client = match settings.client() {
        Ok(client) => client,
        Err(error) => return Ok(vec![Check::failed("credentials", &error)]),
    };
    let catalogue = settings.catalogue_to_ask(&[])?;
    let client = Client::new(&client, Stop::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(doctor::api(&client, &catalogue, &Clock::system())))
}

fn store_checks(settings: &Settings) -> Vec<Check> {
    if settings.lake().is_err() {
        return Vec::new();
    }
    let failed = |error: Error| vec![Check::failed("location", &error)];
    settings.store().map_or_else(failed, |store| doctor::store(&store))
}

fn tell(what: &str, place: &str, checks: &[Check], printer: Printer) {
    printer.data(&format!("{what}: {place}"));
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Unavailable => "later",
            Verdict::Bad => "FAULT",
        };
        printer.data(&format!("  {verdict:5}  {:20}  {}", check.subject, check.message));
        if let Some(hint) = &check.hint {
            printer.data(&format!("         {:20}  hint: {hint}", ""));
        }
    }
}
