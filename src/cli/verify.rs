//! `verify`: what can be checked from the lake alone.

use anyhow::Result;

use super::args::VerifyArgs;
use super::exit::Exit;
use super::output::{Printer, align_numbers, keep_names, number, table};
use super::settings::{Flags, Settings};
use crate::clock;
use crate::manifest::Granularity;
use crate::verify::{accept_loss, rebuild, verify};

/// How many findings are listed one by one.
const MAX_LISTED: usize = 50;

pub(super) fn run(args: &VerifyArgs, printer: Printer) -> Result<Exit> {
    let flags = Flags { lake: args.lake.clone(), ..Flags::default() };
    let settings = Settings::load(&args.files, &flags)?;
    let catalogue = settings.catalogue()?;
    let store = settings.lake_to_verify(&catalogue)?;
    if args.rebuild {
        rebuild(&store, &catalogue, Granularity::Day, clock::now())?;
    }
    for place in &args.accept_loss {
        accept_loss(&store, &catalogue, place, clock::now())?;
    }
    let verification = verify(&store, &catalogue)?;
    if args.json {
        printer.data(&serde_json::to_string_pretty(&verification)?);
    } else {
        let mut shown = table();
        shown.set_header(["table", "partitions", "rows", "findings"]);
        for of in &verification.tables {
            let findings = if of.findings == 0 { "ok".to_owned() } else { number(of.findings) };
            shown.add_row([of.endpoint.clone(), number(of.partitions), number(of.rows), findings]);
        }
        align_numbers(&mut shown, 1..=3);
        keep_names(&mut shown);
        printer.data(&shown.to_string());
    }
    for finding in verification.findings.iter().take(MAX_LISTED) {
        let subject = finding.subject.as_deref().map(|it| format!(" {it}")).unwrap_or_default();
        printer.warn(&format!("finding: {}{subject}: {}", finding.endpoint, finding.message));
    }
    let more = verification.findings.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        printer.warn(&format!("and {} more; --json lists all", number(more as u64)));
    }
    Ok(if verification.findings.is_empty() { Exit::Complete } else { Exit::Incomplete })
}
