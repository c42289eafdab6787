//! The log: what happens during a run, on stderr, as text or as one JSON object a line.
//!
//! Only this program's own events are written: those of libraries below may name addresses, and an
//! address may hold a signature.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{LogFormat, Verbosity};
use super::escape::{shown, shown_with_colours};
use super::output::write_stderr;

/// Begins to write the log.
pub(super) fn start(verbosity: &Verbosity) {
    let own = Targets::new().with_target("clari_lake", level(verbosity));
    let registry = tracing_subscriber::registry();
    let begun = match verbosity.log_format {
        LogFormat::Text => {
            let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let has_colours = io::stderr().is_terminal() && !is_plain;
            let layer = tracing_subscriber::fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(has_colours)
                .with_writer(move || Line { has_colours });
            registry.with(layer.with_filter(own)).try_init()
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_writer(|| Line { has_colours: false });
            registry.with(layer.with_filter(own)).try_init()
        }
    };
    // A second start in one process keeps the first.
    drop(begun);
}

/// What is said: text for people tells little unless it is asked to, since progress and problems
/// are shown anyway; a log for machines tells how the run goes.
fn level(verbosity: &Verbosity) -> LevelFilter {
    let for_machines = verbosity.log_format == LogFormat::Json;
    match verbosity.verbose {
        _ if verbosity.quiet => LevelFilter::ERROR,
        0 if for_machines => LevelFilter::INFO,
        0 => LevelFilter::ERROR,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

/// One line of the log, which the progress display makes room for.
struct Line {
    has_colours: bool,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let shown = if self.has_colours { shown_with_colours(&text) } else { shown(&text) };
        write_stderr(shown.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
