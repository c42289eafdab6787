//! How the simulated API behaves where the real one is fast or slow, generous
//! or strict, or simply unknown. Only values.

use super::faults::Faults;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The behaviour of a [`Server`](super::Server).
///
/// Has no `Debug`, because it holds what a client must keep secret.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question the API leaves open")]
pub struct Settings {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// What `X-Api-Key` must say.
    pub api_key: String,
    /// What `X-Api-Password` must say.
    pub api_password: String,
    /// Whether `filter…Gt` and `filter…Lt` include the edge itself.
    pub edges_inclusive: bool,
    /// What `skip` beyond 10,000 does.
    pub beyond_cap: BeyondCap,
    /// Whether calls of one instant are sorted by ascending id when newest
    /// come first too; otherwise that order is the exact reverse.
    pub ties_ascending: bool,
    /// Makes the endpoints that come whole come in pages of this size.
    pub paged_whole: Option<usize>,
    /// Leaves `pagination` out of those pages, so that only their size tells.
    pub paged_whole_silent: bool,
    /// Paths that this workspace does not have, such as `/teams`.
    pub absent: Vec<String>,
    /// The key around scorecard templates; clients have seen two spellings.
    pub template_key: String,
    /// Whether `/stats` counts the day given as `to`; if not, a span of one
    /// day still counts.
    pub stats_to_inclusive: bool,
    /// Whether replies are compressed for clients that accept it.
    pub gzip: bool,
    /// How long each reply takes at least.
    pub latency: Duration,
    /// How much longer it may take, at random.
    pub jitter: Duration,
    /// Requests a second before 429; unlimited if `None`.
    pub rate: Option<u32>,
    /// Requests before the week's quota is spent for good; unlimited if `None`.
    pub quota: Option<u64>,
    /// Larger replies, counted before compression, are a lasting 502.
    pub max_reply_bytes: usize,
    /// The `Date` header; the real time if `None`.
    pub date: Option<DateTime<Utc>>,
    /// What goes wrong at random.
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

/// What the API does with a `skip` beyond 10,000; nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeyondCap {
    /// Answers 400.
    Refuse,
    /// Reads it as 10,000.
    Clamp,
    /// Answers an empty list.
    Empty,
}
