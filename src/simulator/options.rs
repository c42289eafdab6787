//! The options for generating a simulated workspace. Only values; nothing is generated or served
//! here.

use chrono::{DateTime, Duration, Utc};

/// The contents of a generated [`Workspace`](super::Workspace).
///
/// Equal options produce equal workspaces, byte for byte.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The seed of all random choices.
    pub seed: u64,
    /// Calls that began in the `days` before `now`.
    pub calls: usize,
    /// The number of days before `now` over which the calls are spread.
    pub days: u32,
    /// The workspace's own clock; see [`Workspace::advance`](super::Workspace::advance).
    pub now: DateTime<Utc>,
    /// The number of users in the workspace.
    pub users: usize,
    /// Calls in the future with status `SCHEDULED`.
    pub scheduled: usize,
    /// Additional clusters of calls, for instance more in one day than paging can reach.
    pub dense: Vec<Dense>,
    /// The number of turns in an average transcript.
    pub turns: usize,
    /// The fraction of values with an unexpected type or spelling.
    pub oddities: f64,
    /// The fraction of titles that end in half a surrogate pair. Many parsers, including
    /// `serde_json`, reject the whole page because of it.
    pub lone_surrogates: f64,
    /// The fraction of calls that are listed only with `includePrivate=true`.
    pub private: f64,
    /// The number of completed scorecards; a tenth of the calls if `None`.
    pub scorecards: Option<usize>,
    /// How many calls arrive (late or new) or vanish on each request for a list.
    pub arrivals_per_request: f64,
    /// How long a finished call's transcript stays empty.
    pub transcript_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            calls: 1_000,
            days: 30,
            // A fixed day, so that a test's results never depend on the date.
            now: DateTime::from_timestamp(1_763_640_000, 0).unwrap_or_default(),
            users: 40,
            scheduled: 12,
            dense: Vec::new(),
            turns: 36,
            oddities: 0.01,
            lone_surrogates: 0.002,
            private: 0.03,
            scorecards: None,
            arrivals_per_request: 0.0,
            transcript_delay: Duration::minutes(20),
        }
    }
}

/// A cluster of calls in a short span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    /// The start of the span.
    pub from: DateTime<Utc>,
    /// The span's length; with one millisecond, all calls have the same time.
    pub span: Duration,
    /// The number of calls in the span.
    pub calls: usize,
}
