//! How the simulated API behaves where the real one varies or its behavior is unknown. Only values.

use super::faults::Faults;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The behavior of a [`Server`](super::Server).
///
/// Has no `Debug`, because it contains the client's secrets.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question the API leaves open")]
pub struct Settings {
    /// The port on 127.0.0.1; 0 selects a free one.
    pub port: u16,
    /// The required value of `X-Api-Key`.
    pub api_key: String,
    /// The required value of `X-Api-Password`.
    pub api_password: String,
    /// Whether `filter…Gt` and `filter…Lt` include the boundary itself.
    pub edges_inclusive: bool,
    /// The effect of a `skip` above 10,000.
    pub beyond_cap: BeyondCap,
    /// Whether calls with the same time are sorted by ascending id in newest-first order too;
    /// otherwise that order is the exact reverse.
    pub ties_ascending: bool,
    /// Pages the endpoints that normally return everything, with this page size.
    pub paged_whole: Option<usize>,
    /// Omits `pagination` from those pages, so that only their size shows that there are more.
    pub paged_whole_silent: bool,
    /// Paths that this workspace does not have, such as `/teams`.
    pub absent: Vec<String>,
    /// The key of scorecard templates; clients have seen two spellings.
    pub template_key: String,
    /// Whether `/stats` includes the day given as `to`; if not, a span of one day still counts.
    pub stats_to_inclusive: bool,
    /// Whether replies are compressed for clients that accept it.
    pub gzip: bool,
    /// The minimum duration of each reply.
    pub latency: Duration,
    /// The maximum random addition to it.
    pub jitter: Duration,
    /// Requests per second before 429; unlimited if `None`.
    pub rate: Option<u32>,
    /// Requests before the weekly quota is used up; unlimited if `None`.
    pub quota: Option<u64>,
    /// Replies larger than this before compression are a permanent 502.
    pub max_reply_bytes: usize,
    /// The `Date` header; the real time if `None`.
    pub date: Option<DateTime<Utc>>,
    /// Random faults.
    pub faults: Faults,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            api_key: "demo-key".to_owned(),
            api_password: "demo-password".to_owned(),
            edges_inclusive: false,
            beyond_cap: BeyondCap::Refuse,
            ties_ascending: false,
            paged_whole: None,
            paged_whole_silent: false,
            absent: Vec::new(),
            template_key: "scoreCardTemplates".to_owned(),
            stats_to_inclusive: true,
            gzip: true,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            quota: None,
            max_reply_bytes: 6 * 1024 * 1024,
            date: None,
            faults: Faults::default(),
        }
    }
}

/// The API's response to a `skip` above 10,000, which is undocumented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeyondCap {
    /// Answers 400.
    Refuse,
    /// Treats it as 10,000.
    Clamp,
    /// Returns an empty list.
    Empty,
}
