//! Output: data to stdout, everything else to stderr, errors with cause and hint.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::OnceLock;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use terminal_size::{Width, terminal_size};

use super::args::{LogFormat, Verbosity};
use super::bars::beside_bars;
use super::escape::shown;
use super::exit::Exit;
use crate::error::{Error, ErrorKind};
use crate::lake::unique_name;
use crate::report::{EndpointReport, Outcome, Report};

/// Why data could not be written to stdout.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Where output goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    quiet: bool,
    pub(super) verbose: bool,
    /// Whether everything on stderr is one JSON object per line.
    json: bool,
}

impl Printer {
    pub(super) fn new(verbosity: &Verbosity) -> Self {
        Self {
            quiet: verbosity.quiet,
            verbose: verbosity.verbose > 0,
            json: verbosity.log_format == LogFormat::Json,
        }
    }

    /// Whether a progress display makes sense.
    pub(super) fn shows_progress(self) -> bool {
        !self.quiet
    }

    /// Whether stderr is a terminal and shows text.
    pub(super) fn is_terminal(self) -> bool {
        std::io::stderr().is_terminal() && !self.json
    }

    /// Whether stderr is for people.
    pub(super) fn is_for_people(self) -> bool {
        !self.json
    }

    /// Prints data. A reader that closed the pipe is not an error; any other failure to write is
    /// reported as one when the command has finished.
    pub(super) fn data(self, text: &str) {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{}", shown(text)).and_then(|()| stdout.flush());
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let _ = LOST.set(error);
        }
    }

    /// Why data could not be written to stdout, if it failed.
    pub(super) fn lost() -> Option<anyhow::Error> {
        let why = LOST.get()?.to_string();
        let error = Error::new(ErrorKind::Config, "cannot write to stdout").with_source(why);
        Some(error.into())
    }

    /// A remark.
    pub(super) fn note(self, text: &str) {
        if self.json {
            tracing::info!("{}", text.trim());
        } else if !self.quiet {
            write_stderr(format!("{}\n", shown(text)).as_bytes());
        }
    }

    /// What the user must know, even in quiet mode.
    pub(super) fn warn(self, text: &str) {
        if self.json {
            tracing::error!("{text}");
        } else {
            write_stderr(format!("{}\n", shown(text)).as_bytes());
        }
    }

    /// Prints an error with its causes and hint, and returns its exit code.
    pub(super) fn error(self, error: &anyhow::Error) -> Exit {
        if self.json {
            let causes: Vec<_> = error.chain().skip(1).map(ToString::to_string).collect();
            let hint = error.downcast_ref::<Error>().and_then(Error::hint);
            tracing::error!(causes = causes.join(": "), hint, "{error}");
        } else {
            write_stderr(format!("{}\n", shown(&render(error))).as_bytes());
        }
        Exit::of(error)
    }
}

/// Writes to stderr above the progress display. A reader that closed the pipe is not an error.
pub(super) fn write_stderr(bytes: &[u8]) {
    beside_bars(|| {
        let _ = io::stderr().lock().write_all(bytes);
    });
}

/// An error as shown to the user.
fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  caused by: {cause}"));
    }
    if let Some(hint) = error.downcast_ref::<Error>().and_then(Error::hint) {
        text.push_str(&format!("\n\nhint: {hint}"));
    }
    text
}

/// An empty table as wide as the terminal; of any width where there is none.
pub(super) fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if io::stdout().is_terminal()
        && let Some((Width(width), _)) = terminal_size()
    {
        table.set_width(width);
    }
    table
}

/// Keeps the names in the first column unwrapped, however narrow the terminal is.
pub(super) fn keep_names(table: &mut Table) {
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Aligns these columns to the right.
pub(super) fn align_numbers(table: &mut Table, columns: RangeInclusive<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The run as a table, followed by remarks on single endpoints.
pub(super) fn summary(report: &Report) -> String {
    let mut table = table();
    table.set_header(["endpoint", "partitions", "rows", "size", "requests", "new", "changed"]);
    for endpoint in &report.endpoints {
        table.add_row([
            endpoint.endpoint.clone(),
            number(endpoint.partitions),
            number(endpoint.rows),
            size(endpoint.bytes),
            number(endpoint.requests),
            number(endpoint.inserted),
            number(endpoint.updated),
        ]);
    }
    let sum = |of: fn(&EndpointReport) -> u64| report.endpoints.iter().map(of).sum::<u64>();
    table.add_row([
        "total".to_owned(),
        number(sum(|it| it.partitions)),
        number(sum(|it| it.rows)),
        size(sum(|it| it.bytes)),
        number(report.requests),
        number(sum(|it| it.inserted)),
        number(sum(|it| it.updated)),
    ]);
    align_numbers(&mut table, 1..=6);
    keep_names(&mut table);
    let remarks = report.endpoints.iter().map(|it| (it.endpoint.as_str(), remark(it)));
    let remarks = remarks.filter(|(_, remark)| !remark.is_empty());
    let lines = remarks.map(|(endpoint, remark)| format!("\n  {endpoint}: {remark}"));
    format!("{table}{}", lines.collect::<String>())
}

fn remark(endpoint: &EndpointReport) -> String {
    let mut remarks = Vec::new();
    match endpoint.outcome {
        Outcome::Complete => {}
        Outcome::Incomplete => remarks.push("incomplete".to_owned()),
        Outcome::Absent => remarks.push("absent in this workspace".to_owned()),
    }
    let mut count = |count: u64, what: &str| {
        if count > 0 {
            remarks.push(format!("{} {what}", number(count)));
        }
    };
    count(endpoint.quarantined, "in quarantine");
    let misfits = endpoint.misfits.values().sum();
    count(misfits, if misfits == 1 { "value in extra_json" } else { "values in extra_json" });
    if let Some(queue) = endpoint.queue {
        count(queue.pending, "pending");
        count(queue.parked, "parked");
        count(queue.unavailable, "unavailable");
    }
    remarks.join(", ")
}

/// Replaces a file atomically, so that no reader sees half of it.
///
/// # Errors
/// `Config` when it cannot be written there.
#[expect(clippy::disallowed_methods, reason = "the file is the user's, not a lake's")]
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{}.tmp", unique_name(&name)));
    let write = || -> io::Result<()> {
        let mut file = fs::File::create_new(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&beside);
        let message = format!("cannot write {}", path.display());
        Error::new(ErrorKind::Config, message).with_source(error)
    })
}

/// 1234567 as `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, whose singular is `thing`.
pub(super) fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {thing}{ending}", number(count))
}

/// Bytes in a readable unit.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 99.95);
    format!("{value:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_readable() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_500), "1.5 kB");
        assert_eq!(size(999_999), "1.0 MB");
        assert_eq!(size(151_400_000), "151 MB");
    }

    #[test]
    fn an_error_names_its_causes_and_what_to_do() {
        let cause = std::io::Error::other("connection refused");
        let error = Error::new(ErrorKind::Unavailable, "no connection")
            .with_context("GET /calls")
            .with_source(cause);
        let text = render(&anyhow::Error::new(error));
        let expected = "error: GET /calls: no connection\n  caused by: connection refused\n\n\
            hint: everything complete is in the lake; run the same command again";
        assert_eq!(text, expected);
    }
}
