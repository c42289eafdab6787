//! The cli: flags, environment, terminal and exit codes.
//!
//! Turns what the user typed into calls to the library, and their outcome into words. Anything a
//! user of the library would need belongs in the library.

#![expect(clippy::disallowed_methods, reason = "settings and credentials are read here")]

mod args;
mod bars;
mod changes;
mod config;
mod demo;
mod describe;
#[cfg(test)]
mod docs;
mod doctor;
mod escape;
mod evolve;
mod exit;
mod export;
mod forget;
mod logs;
mod output;
mod plan;
mod progress;
mod sample;
mod settings;
mod shell;
mod simulate;
mod sql;
mod status;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Args, Command};
use self::output::Printer;

/// Runs the command line and returns the process's exit code: 0 complete, 1 incomplete but safe,
/// 2 fix something first, 130 or 143 interrupted and safe.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    logs::start(&args.verbosity);
    let printer = Printer::new(&args.verbosity);
    let outcome = match args.command {
        Command::Demo(args) => demo::run(&args, printer),
        Command::Export(args) => export::run(&args, printer),
        Command::Backfill(args) => export::backfill(&args, printer),
        Command::Plan(args) => plan::run(&args, printer),
        Command::Status(args) => status::run(&args, printer),
        Command::Changes(args) => changes::run(&args, printer),
        Command::Verify(args) => verify::run(&args, printer),
        Command::Doctor(args) => doctor::run(&args, printer),
        Command::Endpoints(args) => describe::endpoints(&args, printer),
        Command::Schema(args) => describe::schema(&args, printer),
        Command::Sample(args) => sample::run(&args, printer),
        Command::Config(args) => config::run(&args, printer),
        Command::Evolve(args) => evolve::run(&args, printer),
        Command::Forget(args) => forget::run(&args, printer),
        Command::Sql(args) => sql::run(&args, printer),
        Command::Simulate(args) => simulate::run(&args, printer),
        Command::Completions(args) => shell::completions(&args, printer),
        Command::Man(args) => shell::man(&args, printer),
    };
    let outcome = outcome.and_then(|exit| Printer::lost().map_or(Ok(exit), Err));
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => printer.error(&error).into(),
    }
}
