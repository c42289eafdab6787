//! Requests: an endpoint's templates, filled in.

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Request;
use crate::calendar::TimeUnit;
use crate::endpoint::{
    Dated, Endpoint, HeaderText, Headers, Paging, ParentRef, SkipLimit, Values, WindowParameters,
};
use crate::manifest::Purpose;
use crate::paginate::{Get, Order, Paginator, Slice};
use crate::window::Window;

/// Everything that one request of a list depends on.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The run's frozen now, from which macros count.
    pub now: DateTime<Utc>,
    /// The window, if there is one.
    pub window: Option<Window>,
    /// Only what changed since then.
    pub modified_since: Option<DateTime<Utc>>,
    /// The parent of the request.
    pub parent: Option<ParentRef<'a>>,
    /// Which page, in which paging style.
    pub get: Option<(Get, &'a Paging)>,
    /// Whether private records are requested too.
    pub private: bool,
    /// The purpose of the request.
    pub purpose: Purpose,
}

impl Asked<'_> {
    /// Everything, in a run that counts from `now`.
    #[must_use]
    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            now,
            window: None,
            modified_since: None,
            parent: None,
            get: None,
            private: false,
            purpose: Purpose::default(),
        }
    }
}

/// The request for the first page of an endpoint, with pages of this kind. If the endpoint takes
/// windows, it is for this range; else for the last week, or for yesterday if windows date the
/// records.
#[must_use]
pub fn first_page<'a>(
    endpoint: &Endpoint,
    paging: &'a Paging,
    now: DateTime<Utc>,
    range: Option<Window>,
) -> Asked<'a> {
    let today = TimeUnit::Day.floor(now);
    let days = |count: i32| TimeUnit::Day.shift(today, -count).unwrap_or(today);
    let window = match endpoint.dated {
        _ if endpoint.window.is_none() => None,
        _ if range.is_some() => range,
        Dated::Window => Some(Window::new(days(1), today)),
        Dated::Field { .. } | Dated::Run => Some(Window::new(days(7), now)),
    };
    let unit = endpoint.window.as_ref().map_or(TimeUnit::Second, WindowParameters::resolution);
    let whole = Window::new(now, now);
    let paginator = Paginator::new(window.unwrap_or(whole), unit, paging);
    let get = paginator.map(|paginator| (paginator.asked(), paging));
    Asked { window, get, ..Asked::at(now) }
}

/// The request to `endpoint` for this.
#[must_use]
pub fn request(endpoint: &Endpoint, asked: &Asked<'_>) -> Request {
    let windowed = asked.window.zip(endpoint.window.as_ref());
    let edges = windowed.map(|(window, parameters)| parameters.edges(window));
    let fields = endpoint.parent_fields();
    let values = Values {
        now: asked.now,
        unit: endpoint.time_unit,
        format: &endpoint.date_format,
        window: edges.as_ref().map(|(from, to)| (from.as_str(), to.as_str())),
        parent: asked.parent,
        fields: &fields,
    };
    let mut query = Vec::new();
    for (name, texts) in &endpoint.query {
        let filled = texts.all().iter().map(|text| text.fill(&values, str::to_owned));
        query.extend(filled.map(|value| (name.clone(), value)));
    }
    if asked.private {
        query.extend(endpoint.private.clone());
    }
    if let (Some((window, parameters)), Some(edges)) = (windowed, &edges) {
        query.extend(window_query(window, parameters, edges));
    }
    if let (Some(since), Some(modified)) = (asked.modified_since, &endpoint.modified) {
        query.push((modified.from.clone(), modified.format.format(since)));
    }
    let mut link = None;
    if let Some((get, paging)) = &asked.get {
        if let (Get::Slice(slice), Paging::SkipLimit(names)) = (get, paging)
            && (slice.skip == 0 || slice.counts)
        {
            // The first page of a list requests the total; that costs the server more, so the
            // others do not unless the total decides whether the list is complete.
            query.retain(|(name, _)| !names.count.contains_key(name));
            query.extend(names.count.clone());
        }
        query.extend(page_query(get, paging));
        if let Get::Link(Some(address), _) = get {
            link = Some(address.to_string());
        }
    }
    Request {
        endpoint: endpoint.name.clone(),
        path: endpoint.path.fill(&values, percent_encode),
        query,
        headers: headers(&endpoint.headers),
        link,
        shrinkable: asked.get.as_ref().is_some_and(|(get, _)| get.is_shrinkable()),
        is_page: asked.get.is_some(),
        purpose: asked.purpose,
    }
}

/// A window that starts in 1970 has no start.
fn window_query(
    window: Window,
    parameters: &WindowParameters,
    (from, to): &(String, String),
) -> Vec<(String, String)> {
    let begins = window.from > DateTime::UNIX_EPOCH;
    let from = parameters.from.clone().filter(|_| begins).map(|name| (name, from.clone()));
    let to = parameters.to.clone().map(|name| (name, to.clone()));
    from.into_iter().chain(to).collect()
}

fn page_query(get: &Get, paging: &Paging) -> Vec<(String, String)> {
    let said = |name: &String, value: String| (name.clone(), value);
    let sized =
        |name: &Option<String>, size: u32| name.as_ref().map(|name| said(name, size.to_string()));
    match (get, paging) {
        (Get::Slice(slice), Paging::SkipLimit(names)) => slice_query(*slice, names),
        (Get::Number(number, size), Paging::PageNumber(names)) => {
            let number = said(&names.page, number.to_string());
            [Some(number), sized(&names.size, *size)].into_iter().flatten().collect()
        }
        (Get::Cursor(cursor, size), Paging::Cursor(names)) => {
            let cursor = cursor.as_ref().map(|it| said(&names.parameter, it.to_string()));
            [cursor, sized(&names.limit, *size)].into_iter().flatten().collect()
        }
        (Get::Link(None, size), Paging::NextLink(names)) => {
            sized(&names.limit, *size).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn slice_query(slice: Slice, names: &SkipLimit) -> Vec<(String, String)> {
    let order = match slice.order {
        Order::OldestFirst => &names.oldest_first,
        Order::NewestFirst => &names.newest_first,
    };
    let mut query: Vec<_> = order.clone().into_iter().collect();
    query.push((names.skip.clone(), slice.skip.to_string()));
    query.push((names.limit.clone(), slice.limit.to_string()));
    query
}

/// An endpoint's own headers; values from the environment are never shown.
#[must_use]
pub fn headers(texts: &Headers) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, text) in texts.iter() {
        let (value, is_secret) = match text {
            HeaderText::Plain(text) => (text.as_str(), false),
            HeaderText::Environment(_, value) => {
                (value.as_ref().map_or("", |value| value.expose()), true)
            }
        };
        // Both were checked when the file was read.
        if let (Ok(name), Ok(mut value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            value.set_sensitive(is_secret);
            headers.insert(name, value);
        }
    }
    headers
}

/// Encodes every reserved character, so that an id is one path segment whatever it contains.
#[must_use]
pub fn percent_encode(text: &str) -> String {
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
