//! Groups of flags that several commands have.

use std::path::PathBuf;

use super::values::{deletes, granularity, whole_number};
use crate::config::{Concurrency, Deletes, Rate, Share};
use crate::manifest::Granularity;
use crate::span::Span;

/// How tables are filled; the configuration file can say it too.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Tables")]
pub(in crate::cli) struct TableArgs {
    /// How far back records are listed again, to find silent edits (such as 12h, 4w) [default: 7d]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub(in crate::cli) lookback: Option<Span>,
    /// Records a page, of all exported endpoints that have pages [default: the endpoint's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) page_size: Option<u32>,
    /// Export private calls too
    #[arg(long)]
    pub(in crate::cli) include_private: bool,
    /// Leave out what people really said: transcripts, and the phrases that topics were found in
    #[arg(long)]
    pub(in crate::cli) no_transcripts: bool,
    /// How much time a partition of a new table holds [default: day]
    #[arg(long, value_name = "day|month", value_parser = granularity)]
    pub(in crate::cli) partition_by: Option<Granularity>,
    /// What becomes of rows whose calls are gone: marked, or taken out [default: mark]
    #[arg(long, value_name = "mark|drop", value_parser = deletes)]
    pub(in crate::cli) deletes: Option<Deletes>,
}

/// What a run may take; the configuration file can say it too.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct QuotaArgs {
    /// Requests a week, at most, of all runs on this lake; a week begins on Sunday 00:00 UTC
    /// [default: 100000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole_number)]
    pub(in crate::cli) weekly_quota: Option<u64>,
    /// The part of the week's quota that backfills may take, from 0 to 1 [default: 0.7]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(in crate::cli) quota_share: Option<Share>,
    /// How long the run may take (such as 90m, 6h); what is complete by then is committed
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) max_time: Option<Span>,
}

/// Where it is told what a run did.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Results")]
pub(in crate::cli) struct ResultArgs {
    /// Print the run report as JSON on stdout
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Write the run's numbers to this file at its end, as Prometheus reads them
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) metrics: Option<PathBuf>,
}

/// How the API is asked; the configuration file can say it too.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Requests")]
pub(in crate::cli) struct ApiArgs {
    /// Where the API is [env: `CLARI_BASE_URL`] [default: the vendor's]
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) base_url: Option<String>,
    /// Requests a second, at most; 0 for as fast as they go [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) rate: Option<Rate>,
    /// Requests under way at once, at most [default: 16]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) concurrency: Option<Concurrency>,
}

/// The files that say what flags do not.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Files")]
pub(in crate::cli) struct FileArgs {
    /// The configuration file [default: clari-lake.toml in this folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// A folder of endpoint files: your own endpoints, and changes to those that are built in
    #[arg(long = "endpoint-dir", alias = "endpoints", value_name = "DIR")]
    pub(in crate::cli) endpoints_dir: Option<PathBuf>,
}
