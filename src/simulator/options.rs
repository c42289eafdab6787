//! What a simulated workspace is made from. Only values; nothing is generated
//! or served here.

use chrono::{DateTime, Duration, Utc};

/// The make-up of a generated [`Workspace`](super::Workspace).
///
/// Equal options give an equal workspace, byte for byte.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// Calls that began in the `days` before `now`.
    pub calls: usize,
    /// Over how many days before `now` the calls are spread.
    pub days: u32,
    /// The workspace's own clock; see [`Workspace::advance`](super::Workspace::advance).
    pub now: DateTime<Utc>,
    /// Seats of the workspace.
    pub users: usize,
    /// Calls that lie in the future with status `SCHEDULED`.
    pub scheduled: usize,
    /// Extra crowds of calls, for instance more in one day than paging reaches.
    pub dense: Vec<Dense>,
    /// How many turns an average transcript has.
    pub turns: usize,
    /// The share of values that come in a surprising type or spelling.
    pub oddities: f64,
    /// The share of titles that end in half a surrogate pair. Many parsers, and
    /// `serde_json` among them, refuse the whole page for it.
    pub lone_surrogates: f64,
    /// The share of calls that only `includePrivate=true` lists.
    pub private: f64,
    /// How many scorecards are filled in; a tenth of the calls if `None`.
    pub scorecards: Option<usize>,
    /// How many calls arrive, late or new, or vanish at each request for a list.
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
            // A fixed day, so that a test's numbers never depend on its date.
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

/// A crowd of calls in a short span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    /// The first instant of the span.
    pub from: DateTime<Utc>,
    /// The span's length; one millisecond puts all calls on one instant.
    pub span: Duration,
    /// How many calls fall into it.
    pub calls: usize,
}
