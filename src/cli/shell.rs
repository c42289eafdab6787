//! `completions` and `man`: shell completions and man pages, generated from the parser.
//!
//! Their texts are those of `--help`.

use std::path::Path;

use anyhow::Result;
use clap::CommandFactory;

use super::args::{Args, CompletionsArgs, ManArgs};
use super::exit::Exit;
use super::output::Printer;
use crate::error::{Error, ErrorKind};

pub(super) fn completions(args: &CompletionsArgs, printer: Printer) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "clari-lake", &mut script);
    printer.data(String::from_utf8(script)?.trim_end());
    Ok(Exit::Complete)
}

pub(super) fn man(args: &ManArgs, printer: Printer) -> Result<Exit> {
    write_pages(&args.dir).map_err(|error| {
        let message = format!("cannot write man pages to {}", args.dir.display());
        Error::new(ErrorKind::Config, message).with_source(error)
    })?;
    printer.note(&format!("read them with: man {}", args.dir.join("clari-lake.1").display()));
    Ok(Exit::Complete)
}

#[expect(clippy::disallowed_methods, reason = "the folder is the user's, not a lake's")]
fn write_pages(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Args::command(), dir)
}
