//! `doctor`: credentials, what this workspace offers, and what the store actually guarantees.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::args::DoctorArgs;
use super::exit::Exit;
use super::output::Printer;
use super::settings::{Flags, Settings};
use crate::check::{Check, Verdict};
use crate::clock::Clock;
use crate::doctor;
use crate::endpoint::Catalogue;
use crate::error::ErrorKind;
use crate::fetch::{Client, ClientSettings, Stop};
use crate::ledger::Ledger;
use crate::pipeline::{pay_from_ledger, run_name};

pub(super) fn run(args: &DoctorArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), api: args.api.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let catalogue = settings.catalogue()?;
    let store = store_checks(&settings, &catalogue)?;
    let api = api_checks(&settings, &store)?;
    if args.json {
        printer.data(&serde_json::to_string_pretty(&json!({"api": api, "store": store}))?);
    } else {
        tell("API", &settings.base_url.value, &api, printer);
        match settings.lake() {
            Ok(lake) => tell("store", lake, &store, printer),
            Err(_) => printer.note("\nstore: not checked, because no lake was given"),
        }
    }
    let worst = api.iter().chain(&store).map(|check| check.verdict).max();
    Ok(match worst {
        Some(Verdict::Bad) => Exit::Fix,
        Some(Verdict::Unavailable) => Exit::Incomplete,
        _ => Exit::Complete,
    })
}

fn api_checks(settings: &Settings, store: &[Check]) -> Result<Vec<Check>> {
    let client = match settings.client() {
        // The user is waiting.
        Ok(client) => ClientSettings { outage: Duration::from_secs(10), ..client },
        Err(error) => return Ok(vec![Check::failed("credentials", &error)]),
    };
    let catalogue = settings.catalogue_to_ask(&[])?;
    let (client, clock) = (Client::new(&client, Stop::default())?, Clock::system());
    if let Some(ledger) = ledger(settings, &catalogue, store, clock.now()) {
        pay_from_ledger(&client, ledger, settings.limits(), clock.clone());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let checks = doctor::api(&client, &catalogue, &clock).await;
        client.give_back().await?;
        Ok(checks)
    })
}

/// The ledger of a lake that exists and is writable. Otherwise the doctor still sends its requests:
/// its job is to say what is wrong.
fn ledger(
    settings: &Settings,
    catalogue: &Catalogue,
    checks: &[Check],
    now: DateTime<Utc>,
) -> Option<Ledger> {
    let is_well = |check: &Check| matches!(check.verdict, Verdict::Good | Verdict::Note);
    let lake = settings.present_lake(catalogue).ok().filter(|_| checks.iter().all(is_well))?;
    Some(Ledger::new(Arc::clone(&lake), &run_name(now)))
}

/// What the store does, where a lake exists or may be created. Any other place is refused at once:
/// a test would write to something that is not ours.
fn store_checks(settings: &Settings, catalogue: &Catalogue) -> Result<Vec<Check>> {
    if settings.lake().is_err() {
        return Ok(Vec::new());
    }
    match settings.place(catalogue) {
        Ok(store) => Ok(doctor::store(&store)),
        Err(error) if error.kind() == ErrorKind::Config => Err(error.into()),
        Err(error) => Ok(vec![Check::failed("location", &error)]),
    }
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
