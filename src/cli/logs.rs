//! The log: what happens during a run, on stderr, as text or as one JSON object a line.
//!
//! Only this program's own events are written: those of underlying libraries may contain URLs, and
//! a URL may contain a signature.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{LogFormat, Verbosity};
use super::escape::{shown, shown_with_colours};
use super::output::write_stderr;
use crate::plan::ADVICE;

/// Starts the log.
pub(super) fn start(verbosity: &Verbosity) {
    let level = level(verbosity);
    // Advice is shown by default: it is given once in a table's life.
    let advice = if verbosity.quiet { level } else { level.max(LevelFilter::WARN) };
    let own = Targets::new().with_target("clari_lake", level).with_target(ADVICE, advice);
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
    // A second start in the same process keeps the first log.
    drop(begun);
}

/// What is logged: text for people is brief by default, since progress and problems are shown
/// anyway; a log for machines covers the course of the run.
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

/// One line of the log, printed above the progress display.
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
