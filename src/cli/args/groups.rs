//! Groups of flags that several commands share.

use std::path::PathBuf;

use super::values::{deletes, granularity, whole_number};
use crate::config::{Concurrency, Deletes, Rate, Share};
use crate::manifest::Granularity;
use crate::span::Span;

/// How tables are filled; also in the configuration file.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Tables")]
pub(in crate::cli) struct TableArgs {
    /// How far back to list records again, to find silent edits, such as 12h or 4w [default: 7d]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub(in crate::cli) lookback: Option<Span>,
    /// Records per page, for all exported endpoints with pages [default: the endpoint's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) page_size: Option<u32>,
    /// Export private calls too
    #[arg(long)]
    pub(in crate::cli) include_private: bool,
    /// Leave out transcripts, and the phrases in which topics were found
    #[arg(long)]
    pub(in crate::cli) no_transcripts: bool,
    /// Time per partition of new tables [default: day]
    #[arg(long, value_name = "day|month", value_parser = granularity)]
    pub(in crate::cli) partition_by: Option<Granularity>,
    /// Mark or drop the rows of deleted calls [default: mark]
    #[arg(long, value_name = "mark|drop", value_parser = deletes)]
    pub(in crate::cli) deletes: Option<Deletes>,
}

/// Limits of a run; also in the configuration file.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct QuotaArgs {
    /// Maximum requests per week, of all runs on this lake; weeks begin on Sunday 00:00 UTC
    /// [default: 100000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole_number)]
    pub(in crate::cli) weekly_quota: Option<u64>,
    /// Share of the weekly quota that backfills may use, from 0 to 1 [default: 0.7]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(in crate::cli) quota_share: Option<Share>,
    /// Maximum duration of the run, such as 90m or 6h; what is complete by then is committed
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) max_time: Option<Span>,
}

/// How the results of a run are reported.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Results")]
pub(in crate::cli) struct ResultArgs {
    /// Print the run report as JSON on stdout
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Write the run's metrics to this file at its end, for Prometheus
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) metrics: Option<PathBuf>,
}

/// How the API is requested; also in the configuration file.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Requests")]
pub(in crate::cli) struct ApiArgs {
    /// Base URL of the API [env: `CLARI_BASE_URL`] [default: the vendor's]
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) base_url: Option<String>,
    /// Maximum requests per second; 0 for no limit [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) rate: Option<Rate>,
    /// Maximum concurrent requests [default: 16]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) concurrency: Option<Concurrency>,
}

/// Configuration and endpoint files.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Files")]
pub(in crate::cli) struct FileArgs {
    /// Configuration file [default: clari-lake.toml in the current folder, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Folder of endpoint files: your own endpoints, and changes to built-in ones
    #[arg(long = "endpoint-dir", alias = "endpoints", value_name = "DIR")]
    pub(in crate::cli) endpoints_dir: Option<PathBuf>,
}
