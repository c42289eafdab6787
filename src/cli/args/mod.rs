//! Command-line flags, as typed.

mod groups;
mod values;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ArgAction, ArgGroup, Parser, Subcommand};

pub(super) use self::groups::{ApiArgs, FileArgs, QuotaArgs, ResultArgs, TableArgs};
use self::values::{engine, header, instant, point, promotion, unit, versions, widening};
use crate::calendar::TimeUnit;
use crate::changes::Point;
use crate::span::Span;
use crate::sql::Engine;

/// Exports a Clari Copilot workspace to a partitioned Parquet lake, exactly and incrementally.
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

/// How much is logged to stderr.
#[derive(Debug, clap::Args)]
pub(super) struct Verbosity {
    /// Log only errors
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 900)]
    pub(super) quiet: bool,
    /// Log progress; -vv logs every request
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 901)]
    pub(super) verbose: u8,
    /// Format of stderr: text, or one JSON object per line
    #[arg(long, global = true, value_name = "text|json", default_value = "text")]
    #[arg(hide_default_value = true, hide_possible_values = true, display_order = 902)]
    pub(super) log_format: LogFormat,
}

/// The format of stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Export a simulated workspace to a local lake; needs no credentials
    Demo(DemoArgs),
    /// Export what changed since the last run (first run: the last 30 days)
    Export(Box<ExportArgs>),
    /// Export history, newest first, within a share of the weekly quota; resumable
    Backfill(Box<BackfillArgs>),
    /// Show what an export (with --from, a backfill) would request: windows, requests, quota, time
    Plan(Box<PlanArgs>),
    /// Show coverage, freshness, sizes, quota and the last runs of a lake
    Status(StatusArgs),
    /// Check every object of a lake against its manifest and index
    Verify(VerifyArgs),
    /// Show which partitions changed since a run or a time, over any number of runs
    Changes(ChangesArgs),
    /// Check the credentials, the workspace's endpoints, and the store's guarantees
    Doctor(DoctorArgs),
    /// Show the endpoints: what can be exported, and how each is requested
    Endpoints(EndpointsArgs),
    /// Show an endpoint's columns and types
    Schema(SchemaArgs),
    /// Send one small request to an endpoint and show its records, columns and pagination
    Sample(Box<SampleArgs>),
    /// Check the configuration, or show every setting and its source
    Config(ConfigArgs),
    /// Add columns for the fields in `extra_json`, and rewrite every file of the table
    Evolve(EvolveArgs),
    /// Remove a call or a person's data from the lake, and keep it out
    Forget(ForgetArgs),
    /// Print the lake's tables and views as SQL statements
    Sql(SqlArgs),
    /// Serve a simulated API on this machine
    Simulate(SimulateArgs),
    /// Print shell completions for bash, zsh, fish, elvish or powershell
    Completions(CompletionsArgs),
    /// Write man pages, one per command
    Man(ManArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Folder of the lake
    #[arg(default_value = "./clari-demo")]
    pub(super) dir: PathBuf,
    /// Number of calls in the simulated workspace
    #[arg(long, default_value_t = 5000)]
    pub(super) calls: usize,
    /// Seed of the simulated workspace
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// Print the run report as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags are bools")]
pub(super) struct ExportArgs {
    /// The lake: a folder, which is created if it does not exist, or `s3://bucket/prefix`,
    /// `gs://…`,
    /// `az://…` [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Only this endpoint (repeatable); default: all but the CRM endpoints and ranges
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// Export only this id, such as one call's details (repeatable); needs one --endpoint that is
    /// requested by id
    #[arg(long = "id", value_name = "ID", requires = "endpoints")]
    #[arg(conflicts_with_all = ["from", "to", "full"])]
    pub(super) ids: Vec<String>,
    /// List from this time on, even if it was exported before: a UTC date, an RFC 3339 instant, or
    /// a
    /// time ago such as 30d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: Option<DateTime<Utc>>,
    /// Export as if the run had started at this UTC date or RFC 3339 instant
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) to: Option<DateTime<Utc>>,
    /// List everything in the lake again
    #[arg(long)]
    pub(super) full: bool,
    /// At the end, add columns for the fields in `extra_json`
    #[arg(long)]
    pub(super) evolve: bool,
    #[command(flatten)]
    pub(super) table: TableArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) quota: QuotaArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
    #[command(flatten)]
    pub(super) results: ResultArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct BackfillArgs {
    /// The lake: a folder, which is created if it does not exist, or a bucket's URL [env:
    /// `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Only this endpoint (repeatable); default: all that have history
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// Where the history begins: a UTC date, an RFC 3339 instant, or a time ago such as 90d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: DateTime<Utc>,
    /// Where the history ends [default: now]
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) to: Option<DateTime<Utc>>,
    /// Request the details of all calls in the range, even if they are in the lake
    #[arg(long)]
    pub(super) refetch: bool,
    #[command(flatten)]
    pub(super) table: TableArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) quota: QuotaArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
    #[command(flatten)]
    pub(super) results: ResultArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// The lake; it does not have to exist yet [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Only this endpoint (repeatable); default: all but the CRM endpoints and ranges
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// Plan a backfill from this time on: a UTC date, an RFC 3339 instant, or a time ago such as
    /// 90d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: Option<DateTime<Utc>>,
    /// Where the backfill's history ends [default: now]
    #[arg(long, value_name = "D", value_parser = instant, requires = "from")]
    pub(super) to: Option<DateTime<Utc>>,
    /// Plan an export that lists everything in the lake again
    #[arg(long, conflicts_with = "from")]
    pub(super) full: bool,
    /// Send no requests: estimate the number of records from those in the lake
    #[arg(long)]
    pub(super) offline: bool,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) table: TableArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) quota: QuotaArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Exit with 1 if a table is older than this, such as 26h; for monitoring
    #[arg(long, value_name = "TIME")]
    pub(super) max_age: Option<Span>,
    /// Write the status as a self-contained HTML page; - for stdout
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) quota: QuotaArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// First rebuild lost manifests from the objects; the next runs list their ranges again
    #[arg(long)]
    pub(super) rebuild: bool,
    /// Accept that a lost partition does not come back, and stop reporting it (repeatable)
    #[arg(long, value_name = "TABLE/dt")]
    pub(super) accept_loss: Vec<String>,
    /// Print the findings as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ChangesArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// A run's name, a UTC date or RFC 3339 instant, a time ago such as 2d, or the `next` that the
    /// last `changes` printed, which misses no change and repeats none
    #[arg(long, value_name = "RUN|TIME|NEXT", value_parser = point)]
    pub(super) since: Point,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// The lake; without it, only the API is checked [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Print the checks as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct EndpointsArgs {
    /// Only this endpoint
    pub(super) endpoint: Option<String>,
    /// Print the endpoint's file, to copy or change
    #[arg(long, requires = "endpoint", conflicts_with = "json")]
    pub(super) toml: bool,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// The endpoint
    pub(super) endpoint: String,
    /// Show this lake's columns, including inferred ones; without it, the declared columns
    pub(super) lake: Option<String>,
    /// Print as JSON
    #[arg(long, conflicts_with = "ddl")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
    /// Print the statement that creates the table
    #[arg(long, value_name = "duckdb|spark|athena", value_parser = engine)]
    pub(super) ddl: Option<Engine>,
    /// Print how the columns changed between manifests OLD and NEW (default: the newest)
    #[arg(long, value_name = "OLD[..NEW]", value_parser = versions, requires = "lake")]
    #[arg(conflicts_with = "ddl")]
    pub(super) diff: Option<(u64, Option<u64>)>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SampleArgs {
    /// The endpoint, or an endpoint file whose name ends in .toml
    #[arg(value_name = "ENDPOINT|FILE")]
    pub(super) endpoint: Option<String>,
    /// Request this URL instead, which may contain macros such as `{now-1}`; without ENDPOINT,
    /// draft
    /// an endpoint file
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Save the draft of the endpoint file here
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "endpoint")]
    pub(super) init: Option<PathBuf>,
    /// The parent's id, for a child endpoint [default: the first in a sample of its parent]
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// Path of the records in the reply, such as `$.calls[*]`
    #[arg(long, value_name = "PATH")]
    pub(super) records: Option<String>,
    /// Field of the key (repeatable)
    #[arg(long = "key", value_name = "FIELD")]
    pub(super) keys: Vec<String>,
    /// Request header (repeatable); write secrets as `NAME: env:VARIABLE`
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(super) headers: Vec<(String, String)>,
    /// Start of the window: a UTC date, an RFC 3339 instant, or a time ago such as 30d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: Option<DateTime<Utc>>,
    /// End of the window [default: now]
    #[arg(long, value_name = "D", value_parser = instant, requires = "from")]
    pub(super) to: Option<DateTime<Utc>>,
    /// Format of `{now}` and the window in --url, such as yyyy-MM-dd
    #[arg(long, value_name = "FORMAT", requires = "url", conflicts_with = "endpoint")]
    pub(super) date_format: Option<String>,
    /// Unit of `{now-1}` in --url [default: day]
    #[arg(long, value_name = "UNIT", requires = "url", conflicts_with = "endpoint")]
    #[arg(value_parser = unit)]
    pub(super) time_unit: Option<TimeUnit>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration and endpoint files
    Check(ConfigCheckArgs),
    /// Show every setting and its source
    Show(Box<ConfigShowArgs>),
}

#[derive(Debug, clap::Args)]
pub(super) struct ConfigCheckArgs {
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ConfigShowArgs {
    /// The lake, as for export
    pub(super) lake: Option<String>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) table: TableArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
    #[command(flatten)]
    pub(super) quota: QuotaArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct EvolveArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Only this table (repeatable); default: all
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// Add only this column, such as `mood=string` or `users.team=int64` (repeatable)
    #[arg(long, value_name = "PATH=TYPE", value_parser = promotion)]
    pub(super) promote: Vec<(String, String)>,
    /// Change only this integer column to double (repeatable)
    #[arg(long, value_name = "PATH=double", value_parser = widening)]
    pub(super) widen: Vec<String>,
    /// Show what would be added, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group(ArgGroup::new("subjects").args(["call", "email"]).required(true).multiple(true)))]
pub(super) struct ForgetArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Remove this call's rows from every table, and never export it again (repeatable)
    #[arg(long, value_name = "ID", value_parser = values::subject)]
    pub(super) call: Vec<String>,
    /// Remove this person's own rows, and blank the person in all others (repeatable)
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub(super) email: Vec<String>,
    /// Show what would be removed, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// The engine that will read the lake
    #[arg(long, value_name = "duckdb|spark|athena", value_parser = engine)]
    pub(super) engine: Engine,
    /// The lake's URL as the engine sees it, if it differs, such as `s3://bucket/prefix`
    #[arg(long, value_name = "URL")]
    pub(super) location: Option<String>,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// Local port to listen on; 0 for any free port
    #[arg(long, default_value_t = 8899)]
    pub(super) port: u16,
    /// Number of calls in the workspace
    #[arg(long, default_value_t = 5000)]
    pub(super) calls: usize,
    /// Number of days over which the calls are spread
    #[arg(long, default_value_t = 30)]
    pub(super) days: u32,
    /// Seed of the simulated workspace
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// Share of records with a value of an unexpected type
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub(super) oddities: f64,
    /// Share of requests that fail, in various ways
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) faults: f64,
    /// Number of calls that appear or disappear per list request
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub(super) arrivals: f64,
    /// Delay of every reply, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) latency: u64,
    /// Refuse more requests per second than this
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<u32>,
    /// Refuse everything after this many requests
    #[arg(long, value_name = "N")]
    pub(super) quota: Option<u64>,
    /// Let the filters Gt and Lt include the boundary
    #[arg(long)]
    pub(super) edges_inclusive: bool,
    /// Reply to requests beyond skip 10000: refuse, clamp or empty
    #[arg(long, value_name = "HOW", default_value = "refuse", value_parser = ["refuse", "clamp", "empty"])]
    pub(super) beyond_cap: String,
    /// Path that the workspace does not have (repeatable)
    #[arg(long, value_name = "PATH", action = ArgAction::Append)]
    pub(super) absent: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The folder to write to; it is created if it does not exist
    pub(super) dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }
}
