//! Requests: an endpoint's words, filled in.

use chrono::{DateTime, TimeDelta, Utc};

use crate::endpoint::{Endpoint, SkipLimit, TimeFormat, WindowParameters};
use crate::fetch::Request;
use crate::manifest::Purpose;
use crate::paginate::{Get, Order};
use crate::window::Window;

/// Everything that one request of a list depends on.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked<'a> {
    pub(super) window: Option<Window>,
    pub(super) modified_since: Option<DateTime<Utc>>,
    pub(super) parent: Option<&'a str>,
    pub(super) get: Option<(Get, &'a SkipLimit)>,
    pub(super) private: bool,
    pub(super) purpose: Purpose,
}

/// The request that asks `endpoint` for this.
pub(super) fn request(endpoint: &Endpoint, asked: &Asked<'_>) -> Request {
    let fill = |text: &str, encode: bool| match asked.parent {
        Some(id) if encode => text.replace("{parent.id}", &percent_encode(id)),
        Some(id) => text.replace("{parent.id}", id),
        None => text.to_owned(),
    };
    let mut query: Vec<(String, String)> =
        endpoint.query.iter().map(|(name, value)| (name.clone(), fill(value, false))).collect();
    if asked.private {
        query.extend(endpoint.private.clone());
    }
    if let (Some(window), Some(parameters)) = (asked.window, &endpoint.window) {
        query.extend(window_query(window, parameters));
    }
    if let (Some(since), Some(modified)) = (asked.modified_since, &endpoint.modified) {
        query.push((modified.from.clone(), instant(since)));
    }
    if let Some((get, paging)) = asked.get {
        query.extend(page_query(get, paging));
    }
    Request {
        path: fill(&endpoint.path, true),
        query,
        shrinkable: asked.get.is_some_and(|(get, _)| get.limit > 1),
        purpose: asked.purpose,
    }
}

/// Nobody says whether the edges count, so a window is asked for from the second before it; what
/// comes twice falls out by key. One that begins in 1970 has no begin.
fn window_query(window: Window, parameters: &WindowParameters) -> Vec<(String, String)> {
    let (from, to) = match parameters.format {
        TimeFormat::Instant => {
            let from = window.from - TimeDelta::seconds(1);
            (Some(instant(from)).filter(|_| window.from > DateTime::UNIX_EPOCH), instant(window.to))
        }
        TimeFormat::Day => {
            let day = window.from.format("%Y-%m-%d").to_string();
            (Some(day.clone()), day)
        }
    };
    let from = from.map(|from| (parameters.from.clone(), from));
    from.into_iter().chain([(parameters.to.clone(), to)]).collect()
}

fn page_query(get: Get, paging: &SkipLimit) -> Vec<(String, String)> {
    let order = match get.order {
        Order::OldestFirst => &paging.oldest_first,
        Order::NewestFirst => &paging.newest_first,
    };
    let mut query: Vec<_> = order.clone().into_iter().collect();
    query.push((paging.skip.clone(), get.skip.to_string()));
    query.push((paging.limit.clone(), get.limit.to_string()));
    query
}

fn instant(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Encodes what is not unreserved, so that an id is one path segment whatever it holds.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
