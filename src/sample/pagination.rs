//! How a reply seems to be paged, judging by the reply and its query.
//!
//! Yields the lines of a `[paging]` section. It never suggests a style that would silently end a
//! list early.

use serde_json::Value;

use super::look::{quoted, step};

/// Names of members that hold a cursor, each with its usual query parameters.
const CURSORS: [(&str, &str); 10] = [
    ("next_cursor", "cursor"),
    ("nextCursor", "cursor"),
    ("next_page_token", "page_token"),
    ("nextPageToken", "pageToken"),
    ("nextToken", "nextToken"),
    ("next_token", "next_token"),
    ("continuation", "continuation"),
    ("after", "after"),
    ("next", "cursor"),
    ("cursor", "cursor"),
];
const LINKS: [&str; 6] =
    ["next", "next_url", "nextUrl", "nextLink", "next_page_url", "@odata.nextLink"];

/// Names of booleans that say whether there is more, and of numbers that say how many there are.
const MORE: [&str; 5] = ["hasMore", "has_more", "hasNextPage", "has_next", "more"];
const TOTALS: [&str; 6] =
    ["total", "total_count", "totalCount", "totalRecords", "total_records", "count"];
const PAGE_COUNTS: [&str; 4] = ["total_pages", "totalPages", "page_count", "pageCount"];

/// Query parameters for the number of records to skip, the page size, and the page number.
const SKIPS: [&str; 4] = ["skip", "offset", "start", "from_index"];
const SIZES: [&str; 7] = ["limit", "per_page", "page_size", "pageSize", "perPage", "count", "size"];
const PAGES: [&str; 4] = ["page", "page_number", "pageNumber", "pageNo"];

/// Whether paging sets this query parameter itself.
pub(super) fn is_paging(name: &str) -> bool {
    let cursors = CURSORS.iter().map(|(_, parameter)| *parameter);
    SKIPS.into_iter().chain(SIZES).chain(PAGES).chain(cursors).any(|it| it == name)
}

/// How a reply of this many records seems to be paged, as the lines of a `[paging]` section; `None`
/// when neither the reply, nor its `Link` header, nor its query says so.
#[must_use]
pub fn recognise_paging(
    reply: &Value,
    query: &[(String, String)],
    records: usize,
    has_next_link: bool,
) -> Option<String> {
    let mut members = Vec::new();
    shallow(reply, "$", 0, &mut members);
    let asked = Asked { query };
    if has_next_link {
        let size = asked.one_of(&SIZES).map(|_| asked.size("limit", None)).unwrap_or_default();
        return Some(format!("style = \"link_header\"\n{size}"));
    }
    by_link(&members, &asked)
        .or_else(|| by_cursor(&members, &asked))
        .or_else(|| by_number(&members, &asked, records))
        .or_else(|| by_skip(&members, &asked, records))
}

/// A member near the root: its path, its name, its value.
type Member<'v> = (String, &'v str, &'v Value);

/// What was requested.
struct Asked<'q> {
    query: &'q [(String, String)],
}

impl<'q> Asked<'q> {
    /// The first parameter that has one of these names, and its value.
    fn one_of(&self, names: &[&str]) -> Option<(&'q str, &'q str)> {
        let mut found = self.query.iter().filter(|(name, _)| names.contains(&name.as_str()));
        found.next().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The parameter of the page size, as lines that begin with `key`.
    fn size(&self, key: &str, otherwise: Option<usize>) -> String {
        let asked = self.one_of(&SIZES);
        let name = asked.map(|(name, _)| format!("{key} = {}\n", quoted(name)));
        let size = asked.and_then(|(_, value)| value.parse().ok()).or(otherwise);
        let size = size.filter(|size| (1..=10_000).contains(size));
        let size = size.map(|size| format!("page_size = {size}\n"));
        name.into_iter().chain(size).collect()
    }
}

fn by_link(members: &[Member<'_>], asked: &Asked<'_>) -> Option<String> {
    let is_link = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.starts_with("http") || text.starts_with('/') || text.starts_with('?')
    };
    let link = |(_, name, value): &&Member<'_>| LINKS.contains(name) && is_link(value);
    let (path, ..) = members.iter().find(link)?;
    let size = asked.one_of(&SIZES).map(|_| asked.size("limit", None)).unwrap_or_default();
    Some(format!("style = \"next_link\"\nnext = {}\n{size}", quoted(path)))
}

fn by_cursor(members: &[Member<'_>], asked: &Asked<'_>) -> Option<String> {
    let (path, parameter) = CURSORS.iter().find_map(|(known, parameter)| {
        let is_it = |(_, name, value): &&Member<'_>| name == known && value.is_string();
        Some((&members.iter().find(is_it)?.0, *parameter))
    })?;
    let size = asked.one_of(&SIZES).map(|_| asked.size("limit", None)).unwrap_or_default();
    let parameter =
        format!("parameter = {}  # check the name of this query parameter", quoted(parameter));
    Some(format!("style = \"cursor\"\n{parameter}\nnext = {}\n{size}", quoted(path)))
}

fn by_number(members: &[Member<'_>], asked: &Asked<'_>, records: usize) -> Option<String> {
    let page_count = members.iter().find(|(_, name, value)| PAGES.contains(name) && value.is_u64());
    let parameter = asked.one_of(&PAGES);
    let is_counted = members.iter().any(|(_, name, _)| PAGE_COUNTS.contains(name));
    if page_count.is_none() && parameter.is_none() && !is_counted {
        return None;
    }
    let name = parameter.map_or("page", |(name, _)| name);
    // Pages are numbered from 0 if the request was for page 0, or for no page and the reply is page
    // 0.
    let is_zero = parameter.map_or_else(
        || page_count.is_some_and(|(.., value)| value.as_u64() == Some(0)),
        |(_, value)| value == "0",
    );
    let first = if is_zero { "first = 0\n" } else { "" };
    let size = asked.one_of(&SIZES).map(|_| asked.size("size", Some(records)));
    let size = size.unwrap_or_else(|| whole_page(members, records));
    let more = more(members);
    Some(format!("style = \"page_number\"\npage = {}\n{first}{size}{more}", quoted(name)))
}

fn by_skip(members: &[Member<'_>], asked: &Asked<'_>, records: usize) -> Option<String> {
    let is_there = |names: &[&str]| members.iter().any(|(_, name, _)| names.contains(name));
    let is_told = is_there(&["nextPageSkip", "skip", "offset"]) || has_more(members, records);
    let is_asked = asked.one_of(&SKIPS).or_else(|| asked.one_of(&SIZES)).is_some();
    if !is_told && !is_asked {
        return None;
    }
    let offset = if is_there(&["offset"]) { "offset" } else { "skip" };
    let name = asked.one_of(&SKIPS).map_or(offset, |(name, _)| name);
    let skip = if name == "skip" { String::new() } else { format!("skip = {}\n", quoted(name)) };
    let size = asked.size("limit", has_more(members, records).then_some(records));
    let size = size.replace("limit = \"limit\"\n", "");
    Some(format!("style = \"skip_limit\"\n{skip}{size}{}", more(members)))
}

/// Whether a reply says that there is more than it contains.
fn has_more(members: &[Member<'_>], records: usize) -> bool {
    members.iter().any(|(_, name, value)| {
        let total = value.as_u64().filter(|_| TOTALS.contains(name));
        let is_short = total.is_some_and(|total| total > records as u64);
        is_short || (MORE.contains(name) && value.is_boolean())
    })
}

/// The default size of the pages, if this is one of several.
fn whole_page(members: &[Member<'_>], records: usize) -> String {
    let is_whole = has_more(members, records) && records > 0;
    if is_whole { format!("page_size = {records}\n") } else { String::new() }
}

/// The line that names where a reply says whether there is more.
fn more(members: &[Member<'_>]) -> String {
    let mut found = members.iter().filter(|(_, name, it)| MORE.contains(name) && it.is_boolean());
    found.next().map(|(path, ..)| format!("has_more = {}\n", quoted(path))).unwrap_or_default()
}

/// The members near the root, outside of lists: path, name and value.
fn shallow<'v>(
    value: &'v Value,
    path: &str,
    depth: usize,
    members: &mut Vec<(String, &'v str, &'v Value)>,
) {
    let Value::Object(object) = value else { return };
    for (name, member) in object {
        let path = format!("{path}{}", step(name));
        if depth < 2 {
            shallow(member, &path, depth + 1, members);
        }
        members.push((path, name.as_str(), member));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::Paging;

    #[test]
    fn pagination_is_recognized_by_usual_fields() {
        for (reply, expected) in [
            (
                json!({"calls": [], "pagination": {"hasMore": true, "nextPageSkip": 25}}),
                "skip_limit",
            ),
            (json!({"meta": {"nextCursor": "abc"}, "items": []}), "cursor"),
            (json!({"links": {"next": "https://example.com/x?page=2"}}), "next_link"),
            (json!({"@odata.nextLink": "/x?$skip=1"}), "next_link"),
            (json!({"page": 1, "total_pages": 3, "rows": []}), "page_number"),
        ] {
            let paging = recognise_paging(&reply, &[], 1, false).unwrap();
            assert!(paging.contains(&format!("style = \"{expected}\"")), "{reply}: {paging}");
            let paging: Paging = toml::from_str(&paging).unwrap();
            assert_ne!(paging, Paging::Whole);
        }
        assert_eq!(recognise_paging(&json!([{"id": 1, "next": "x"}]), &[], 1, false), None);
        assert_eq!(recognise_paging(&json!({"items": [], "next": null}), &[], 1, false), None);
    }

    /// What would be lost silently if a first reply were taken for the whole.
    #[test]
    fn a_reply_that_says_more_is_never_treated_as_whole() {
        let asked = |text: &str| -> Vec<(String, String)> {
            let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        for (reply, query, expected) in [
            (json!({"total": 107}), "", "style = 'skip_limit'\npage_size = 20"),
            (json!({"total": 20}), "", ""),
            (
                json!({"has_more": true, "meta": {"offset": 0}}),
                "",
                "style = 'skip_limit'\nskip = 'offset'\npage_size = 20\nhas_more = '$.has_more'",
            ),
            (json!({}), "limit=20", "style = 'skip_limit'\npage_size = 20"),
            (
                json!({}),
                "offset=0&count=5",
                "style = 'skip_limit'\nskip = 'offset'\nlimit = 'count'\npage_size = 5",
            ),
            (json!({"page": 0}), "", "style = 'page_number'\npage = 'page'\nfirst = 0"),
            (
                json!({"page": 1, "total": 107}),
                "",
                "style = 'page_number'\npage = 'page'\npage_size = 20",
            ),
            (
                json!({}),
                "pageNo=0&size=50",
                "style = 'page_number'\npage = 'pageNo'\nfirst = 0\nsize = 'size'\npage_size = 50",
            ),
            (
                json!({"nextPageToken": "x"}),
                "pageSize=7",
                "style = 'cursor'\nparameter = 'pageToken'\nnext = '$.nextPageToken'\n\
                 limit = 'pageSize'\npage_size = 7",
            ),
        ] {
            let lines = recognise_paging(&reply, &asked(query), 20, false).unwrap_or_default();
            let paging = |text: &str| toml::from_str::<Paging>(text).ok();
            assert_eq!(paging(&lines), paging(expected), "{reply} {query}: {lines}");
            assert_eq!(lines.is_empty(), expected.is_empty());
        }
    }
}
