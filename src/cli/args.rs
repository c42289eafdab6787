//! Flags: what was typed.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::{ArgAction, Parser, Subcommand};

use crate::manifest::Granularity;

/// Exports a Clari Copilot workspace to a partitioned Parquet lake, exactly once.
///
/// Credentials come from `CLARI_API_KEY` and `CLARI_API_PASSWORD`, or from the files that
/// `CLARI_API_KEY_FILE` and `CLARI_API_PASSWORD_FILE` name; never from a flag.
#[derive(Debug, Parser)]
#[command(name = "clari-lake", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 complete; 1 incomplete but safe, run again; 2 fix something \
    first; 130 or 143 interrupted, safe.\n\nTry it without credentials: clari-lake demo"
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) verbosity: Verbosity,
}

/// How much is said on stderr.
#[derive(Debug, clap::Args)]
pub(super) struct Verbosity {
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more about what is happening
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Try it: the embedded simulator into a local lake, then the numbers; no credentials
    Demo(DemoArgs),
    /// Export what changed since the last run (the first run: the last 30 days)
    Export(Box<ExportArgs>),
    /// Check every promise that can be checked from the lake alone
    Verify(VerifyArgs),
    /// Show the endpoints: what can be exported, and how each is asked for
    Endpoints(EndpointsArgs),
    /// Show an endpoint's columns and types
    Schema(SchemaArgs),
    /// Serve the embedded simulator of the API, for trying things out
    Simulate(SimulateArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Where to put the lake
    #[arg(default_value = "./clari-demo")]
    pub(super) dir: PathBuf,
    /// How many calls the simulated workspace has
    #[arg(long, default_value_t = 5000)]
    pub(super) calls: usize,
    /// Another seed, another workspace
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// Print the run report as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags are bools")]
pub(super) struct ExportArgs {
    /// The lake: a folder; it is made if it does not exist
    #[arg(env = "CLARI_LAKE")]
    pub(super) lake: String,
    /// Only this endpoint (repeatable); default: all but the per-id CRM look-ups
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// List from this UTC date or RFC 3339 instant on, also what was listed before
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: Option<DateTime<Utc>>,
    /// Export as if the run had begun at this UTC date or RFC 3339 instant
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) to: Option<DateTime<Utc>>,
    /// How far back records are listed again, to find silent edits (such as 12h, 7d, 4w)
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    pub(super) lookback: TimeDelta,
    /// List all that is in the lake again
    #[arg(long)]
    pub(super) full: bool,
    /// Export private calls too
    #[arg(long)]
    pub(super) include_private: bool,
    /// How much time a partition of a new table holds
    #[arg(long, value_name = "day|month", default_value = "day", value_parser = granularity)]
    pub(super) partition_by: Granularity,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    /// Print the run report as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ApiArgs {
    /// Where the API is
    #[arg(long, value_name = "URL", env = "CLARI_BASE_URL", default_value = crate::fetch::BASE_URL)]
    pub(super) base_url: String,
    /// Requests a second, at most; 0 for as fast as they go
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = rate)]
    pub(super) rate: f64,
    /// Requests under way at once, at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) concurrency: u16,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The lake
    #[arg(env = "CLARI_LAKE")]
    pub(super) lake: String,
    /// First make manifests anew that are lost; what they covered is listed again by the next runs
    #[arg(long)]
    pub(super) rebuild: bool,
    /// Print what was found as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EndpointsArgs {
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// The endpoint
    pub(super) endpoint: String,
    /// A lake: its table's columns, inferred ones too; without it, the declared ones
    pub(super) lake: Option<String>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// The port to listen on, on this machine only; 0 for any free one
    #[arg(long, default_value_t = 8899)]
    pub(super) port: u16,
    /// How many calls the workspace has
    #[arg(long, default_value_t = 5000)]
    pub(super) calls: usize,
    /// Over how many days they spread
    #[arg(long, default_value_t = 30)]
    pub(super) days: u32,
    /// Another seed, another workspace
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// The share of records with a value of another type
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub(super) oddities: f64,
    /// The share of requests that fail, in every way there is
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) faults: f64,
    /// How many calls arrive or vanish with each list request
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub(super) arrivals: f64,
    /// How long every reply takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) latency: u64,
    /// Refuse more requests a second than this
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<u32>,
    /// Refuse everything after this many requests
    #[arg(long, value_name = "N")]
    pub(super) quota: Option<u64>,
    /// Whether Gt and Lt include the edge
    #[arg(long)]
    pub(super) edges_inclusive: bool,
    /// What lies beyond skip 10000: refuse, clamp or empty
    #[arg(long, value_name = "HOW", default_value = "refuse", value_parser = ["refuse", "clamp", "empty"])]
    pub(super) beyond_cap: String,
    /// A path that this workspace does not have (repeatable)
    #[arg(long, value_name = "PATH", action = ArgAction::Append)]
    pub(super) absent: Vec<String>,
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc()).map_err(|_| {
        "expected a date such as 2026-11-01 or an instant such as 2026-11-01T06:00:00Z".to_owned()
    })
}

fn duration(text: &str) -> Result<TimeDelta, String> {
    let wrong = || "expected a number and a unit, such as 90m, 12h, 7d or 4w".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(wrong()),
    };
    let total = number.checked_mul(minutes).filter(|total| (0..=60 * 24 * 36_525).contains(total));
    total.and_then(TimeDelta::try_minutes).ok_or_else(wrong)
}

fn granularity(text: &str) -> Result<Granularity, String> {
    match text {
        "day" => Ok(Granularity::Day),
        "month" => Ok(Granularity::Month),
        _ => Err("expected day or month".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    let sensible = rate == 0.0 || (0.001..=10_000.0).contains(&rate);
    if sensible { Ok(rate) } else { Err("expected 0, or from 0.001 to 10000".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("7d").unwrap(), TimeDelta::days(7));
        assert_eq!(duration("90m").unwrap(), TimeDelta::minutes(90));
        for wrong in ["", "7", "d", "-1d", "7y", "99999999999999999w", "1é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
