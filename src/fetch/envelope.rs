//! The envelope: what a reply's headers say about the list and the next request.
//!
//! Reads the link to the next page (RFC 8288), a total, and how long to wait. Bodies are read
//! elsewhere.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LINK, RETRY_AFTER};

use crate::page::{Pointer, PointerKind};

/// Headers with the number of records in a list.
const TOTALS: [&str; 3] = ["x-total-count", "x-total", "total-count"];

/// The reference to the next page in the `Link` header.
pub(super) fn next_link(headers: &HeaderMap) -> Option<Pointer> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let next = values.flat_map(links).find(Link::is_next)?;
    let (at, kind) = ("the `Link` header".into(), PointerKind::LinkHeader);
    Some(Pointer { at, kind, value: next.target.into() })
}

/// The number of records in the list, from the headers that some servers send.
pub(super) fn total(headers: &HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let counted = TOTALS.iter().find_map(|name| text(name)?.trim().parse().ok());
    let ranged = || text(CONTENT_RANGE.as_str())?.rsplit_once('/')?.1.trim().parse().ok();
    counted.or_else(ranged)
}

/// Whether the content type says that each line is JSON.
pub(super) fn is_lines(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_ascii_lowercase();
    ["ndjson", "jsonl", "json-lines", "jsonlines"].iter().any(|it| media_type.contains(it))
}

/// How long the server requests a pause: in seconds, or until a date by its own clock.
pub(super) fn retry_after(
    headers: &HeaderMap,
    server_now: impl FnOnce() -> DateTime<Utc>,
) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<f64>() {
        Duration::try_from_secs_f64(seconds).ok()?
    } else {
        let until = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
        (until - server_now()).to_std().ok()?
    };
    // A pause of zero is no pause: the request is retried like after any failure.
    (!wait.is_zero()).then_some(wait)
}

/// One link of a header.
struct Link<'h> {
    target: &'h str,
    parameters: &'h str,
}

impl Link<'_> {
    fn is_next(&self) -> bool {
        split(self.parameters, ';').into_iter().any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.into_iter().any(|it| it.eq_ignore_ascii_case("next"))
        })
    }
}

/// The links of a header, which commas separate.
fn links(header: &str) -> Vec<Link<'_>> {
    let link = |text: &'_ str| -> Option<(usize, usize)> {
        let open = text.find('<')?;
        Some((open + 1, open + 1 + text[open + 1..].find('>')?))
    };
    let parts = split(header, ',').into_iter();
    let found = parts.filter_map(|part| {
        let (from, to) = link(part)?;
        Some(Link { target: part[from..to].trim(), parameters: &part[to + 1..] })
    });
    found.collect()
}

/// Splits a text at separators that are neither quoted nor inside a URL.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut is_quoted, mut is_address) = (Vec::new(), 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' if !is_address => is_quoted = !is_quoted,
            '<' if !is_quoted => is_address = true,
            '>' if !is_quoted => is_address = false,
            it if it == separator && !is_quoted && !is_address => {
                parts.push(&text[from..at]);
                from = at + it.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn the_next_page_is_found_in_any_link_header() {
        for (value, target) in [
            ("</x?page=2>; rel=\"next\"", Some("/x?page=2")),
            (
                "</a>; rel=prev, <https://h/b?x=1,2;3>; title=\"a, b\"; REL=NEXT",
                Some("https://h/b?x=1,2;3"),
            ),
            ("</x>; rel=\"last next\"", Some("/x")),
            ("</x>; rel=\"prev\"; title=\"rel=next\"", None),
            ("</x>; rel=nextish", None),
            ("nonsense", None),
        ] {
            let found = next_link(&headers("link", value)).map(|it| it.value);
            assert_eq!(found.as_deref(), target, "{value}");
        }
    }

    #[test]
    fn totals_and_waits_are_read() {
        assert_eq!(total(&headers("x-total-count", "90")), Some(90));
        assert_eq!(total(&headers("content-range", "items 0-24/90")), Some(90));
        assert_eq!(total(&headers("content-range", "items 0-24/*")), None);
        let now: DateTime<Utc> = "2026-11-30T10:00:00Z".parse().unwrap();
        let wait = |value: &str| retry_after(&headers("retry-after", value), || now);
        assert_eq!(wait("100"), Some(Duration::from_secs(100)));
        assert_eq!(wait("Mon, 30 Nov 2026 10:01:40 GMT"), Some(Duration::from_secs(100)));
        for value in ["0", "soon", "-3", "Mon, 30 Nov 2026 09:00:00 GMT", "NaN"] {
            assert_eq!(wait(value), None, "{value}");
        }
    }
}
