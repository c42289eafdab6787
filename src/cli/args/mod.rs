//! Flags: what was typed.

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
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 900)]
    pub(super) quiet: bool,
    /// Say more about what is happening; -vv tells of every request
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 901)]
    pub(super) verbose: u8,
    /// How stderr is written: as text, or as one JSON object a line
    #[arg(long, global = true, value_name = "text|json", default_value = "text")]
    #[arg(hide_default_value = true, hide_possible_values = true, display_order = 902)]
    pub(super) log_format: LogFormat,
}

/// How stderr is written.
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
    /// Try it: the embedded simulator into a local lake, then the numbers; no credentials
    Demo(DemoArgs),
    /// Export what changed since the last run (the first run: the last 30 days)
    Export(Box<ExportArgs>),
    /// Export a history, newest first, within its share of the week's quota; resumable
    Backfill(Box<BackfillArgs>),
    /// Show what an export (or a backfill, with --from) would ask for: windows, requests, quota, time
    Plan(Box<PlanArgs>),
    /// Show what the lake holds: coverage, freshness, sizes, quota, the last runs
    Status(StatusArgs),
    /// Check every promise that can be checked from the lake alone
    Verify(VerifyArgs),
    /// Show which partitions changed since a run or an instant, over any number of runs
    Changes(ChangesArgs),
    /// Try out credentials, what this workspace offers, and what the store really guarantees
    Doctor(DoctorArgs),
    /// Show the endpoints: what can be exported, and how each is asked for
    Endpoints(EndpointsArgs),
    /// Show an endpoint's columns and types
    Schema(SchemaArgs),
    /// Try an endpoint: one small request, what came, and what could be made of it
    Sample(Box<SampleArgs>),
    /// Check the configuration, or show every setting and where it came from
    Config(ConfigArgs),
    /// Give columns to what has gathered in `extra_json`, and rewrite every file of the table
    Evolve(EvolveArgs),
    /// Take a call, or a person's data, out of the lake, and keep it out
    Forget(ForgetArgs),
    /// Print the lake's tables and views as SQL, ready to paste
    Sql(SqlArgs),
    /// Serve the embedded simulator of the API, for trying things out
    Simulate(SimulateArgs),
    /// Print the completions of a shell: bash, zsh, fish, elvish or powershell
    Completions(CompletionsArgs),
    /// Write man pages, one for each command
    Man(ManArgs),
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
    /// The lake: a folder, which is made if it does not exist, or `s3://bucket/prefix`, `gs://…`, `az://…`
    /// [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Only this endpoint (repeatable); default: all but the per-id CRM look-ups
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// Only what belongs to this id, such as one call's details (repeatable); for one endpoint that
    /// is requested by id
    #[arg(long = "id", value_name = "ID", requires = "endpoints")]
    #[arg(conflicts_with_all = ["from", "to", "full"])]
    pub(super) ids: Vec<String>,
    /// List from here on, even what was exported before: a UTC date, an RFC 3339 instant, or a time
    /// ago such as 30d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: Option<DateTime<Utc>>,
    /// Export as if the run had begun at this UTC date or RFC 3339 instant
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) to: Option<DateTime<Utc>>,
    /// List all that is in the lake again
    #[arg(long)]
    pub(super) full: bool,
    /// At the end, give columns to what has gathered in `extra_json`
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
    /// The lake: a folder, which is made if it does not exist, or a store's URL [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Only this endpoint (repeatable); default: all that have a history
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// How far back to go: a UTC date, an RFC 3339 instant, or a time ago such as 90d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: DateTime<Utc>,
    /// Where to begin, going back from there [default: now]
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) to: Option<DateTime<Utc>>,
    /// Ask again for the details of the range's calls, also of those that are there
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
    /// The lake; one that does not exist yet is planned for too [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Only this endpoint (repeatable); default: all but the per-id CRM look-ups
    #[arg(long = "endpoint", value_name = "NAME")]
    pub(super) endpoints: Vec<String>,
    /// Plan a backfill from here on: a UTC date, an RFC 3339 instant, or a time ago such as 90d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: Option<DateTime<Utc>>,
    /// Where the backfill begins, going back from there [default: now]
    #[arg(long, value_name = "D", value_parser = instant, requires = "from")]
    pub(super) to: Option<DateTime<Utc>>,
    /// Plan an export that lists all that is in the lake again
    #[arg(long, conflicts_with = "from")]
    pub(super) full: bool,
    /// Ask the API for nothing: guess the number of records from those in the lake
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
    /// Exit with 1 when a table is staler than this (such as 26h), for monitoring
    #[arg(long, value_name = "TIME")]
    pub(super) max_age: Option<Span>,
    /// Write it as one HTML page that needs nothing else, to open, send or print; - for stdout
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
    /// First make manifests anew that are lost; what they covered is listed again by the next runs
    #[arg(long)]
    pub(super) rebuild: bool,
    /// Accept that a lost partition does not come back, so that it is not reported any more;
    /// repeatable
    #[arg(long, value_name = "TABLE/dt")]
    pub(super) accept_loss: Vec<String>,
    /// Print what was found as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ChangesArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Since when: a run's name, a UTC date or RFC 3339 instant, a time ago such as 2d, or the `next`
    /// of the last answer, with which no change is missed
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
    /// The lake; without it the API alone is looked at [env: `CLARI_LAKE`]
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
    /// Print the endpoint's file, to copy or to change
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
    /// A lake: its table's columns, inferred ones too; without it, the declared ones
    pub(super) lake: Option<String>,
    /// Print as JSON
    #[arg(long, conflicts_with = "ddl")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
    /// Print the statement that makes such a table
    #[arg(long, value_name = "duckdb|spark|athena", value_parser = engine)]
    pub(super) ddl: Option<Engine>,
    /// Print how the columns of the lake's manifest OLD differ from those of NEW, or of the newest
    #[arg(long, value_name = "OLD[..NEW]", value_parser = versions, requires = "lake")]
    #[arg(conflicts_with = "ddl")]
    pub(super) diff: Option<(u64, Option<u64>)>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SampleArgs {
    /// The endpoint, or an endpoint file (its name ends in .toml)
    #[arg(value_name = "ENDPOINT|FILE")]
    pub(super) endpoint: Option<String>,
    /// Ask this address instead, which may hold macros such as `{now-1}`; alone, it makes a first
    /// endpoint file
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Save the first endpoint file here
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "endpoint")]
    pub(super) init: Option<PathBuf>,
    /// The parent's id, for a chained endpoint [default: the first of its parent's sample]
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// Where the records are in the reply, such as `$.calls[*]`
    #[arg(long, value_name = "PATH")]
    pub(super) records: Option<String>,
    /// A field of the key (repeatable)
    #[arg(long = "key", value_name = "FIELD")]
    pub(super) keys: Vec<String>,
    /// A header of the request (repeatable); a secret as `NAME: env:VARIABLE`
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(super) headers: Vec<(String, String)>,
    /// The begin of the window: a UTC date, an RFC 3339 instant, or a time ago such as 30d
    #[arg(long, value_name = "D", value_parser = instant)]
    pub(super) from: Option<DateTime<Utc>>,
    /// The end of the window [default: now]
    #[arg(long, value_name = "D", value_parser = instant, requires = "from")]
    pub(super) to: Option<DateTime<Utc>>,
    /// How `{now}` and the window are written in --url, such as yyyy-MM-dd
    #[arg(long, value_name = "FORMAT", requires = "url", conflicts_with = "endpoint")]
    pub(super) date_format: Option<String>,
    /// How `{now-1}` is counted in --url [default: day]
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
    /// Check the configuration and endpoint files, and say what is wrong
    Check(ConfigCheckArgs),
    /// Show every setting, and where it came from
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
    /// The lake, as if it were exported to
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
    /// Add this column, such as `mood=string` or `users.team=int64`, and nothing that is not told
    /// (repeatable)
    #[arg(long, value_name = "PATH=TYPE", value_parser = promotion)]
    pub(super) promote: Vec<(String, String)>,
    /// Make this integer column a double, and nothing that is not told (repeatable)
    #[arg(long, value_name = "PATH=double", value_parser = widening)]
    pub(super) widen: Vec<String>,
    /// Say what would be added, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print what was done as JSON on stdout
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
    /// Forget this call: its rows go from every table, and it is not exported any more (repeatable)
    #[arg(long, value_name = "ID", value_parser = super::forget::name)]
    pub(super) call: Vec<String>,
    /// Forget this person: their own rows go, and wherever else they are named, that is blanked
    /// (repeatable)
    #[arg(long, value_name = "ADDRESS", value_parser = super::forget::address)]
    pub(super) email: Vec<String>,
    /// Show what would go, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) files: FileArgs,
    /// Print what was done as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// The lake [env: `CLARI_LAKE`]
    pub(super) lake: Option<String>,
    /// Who will read it
    #[arg(long, value_name = "duckdb|spark|athena", value_parser = engine)]
    pub(super) engine: Engine,
    /// Where the engine finds the lake, if not where it is now, such as `s3://bucket/prefix`
    #[arg(long, value_name = "URL")]
    pub(super) location: Option<String>,
    #[command(flatten)]
    pub(super) files: FileArgs,
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

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The folder to write to; it is made if it does not exist
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
