//! Paging, as endpoint files describe it: how a reply is continued.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::RecordPath;

/// How a reply is continued.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PagingText")]
pub enum Paging {
    /// The reply is whole. If it looks paged after all, one more request is made.
    #[default]
    Whole,
    /// The reply is whole, even if it looks paged.
    None,
    /// A number of records to skip, and how many to send.
    SkipLimit(SkipLimit),
    /// The number of a page.
    PageNumber(PageNumber),
    /// A token in the reply that requests the next page.
    Cursor(Cursor),
    /// The address of the next page, in the reply.
    NextLink(NextLink),
}

/// The parameters and limits of paging by skip and limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipLimit {
    /// The query parameter of the number of records to skip.
    pub skip: String,
    /// The query parameter of the page size.
    pub limit: String,
    /// The page size to request.
    pub page_size: u32,
    /// The largest page that the API sends, if known.
    pub max_page_size: Option<u32>,
    /// `skip + limit` never passes this.
    pub reach: u32,
    /// The query that sorts by the date field, oldest first.
    pub oldest_first: BTreeMap<String, String>,
    /// The query that sorts by the date field, newest first.
    pub newest_first: BTreeMap<String, String>,
    /// Where the reply says whether there is more, if not in the API's usual place.
    pub has_more: Option<RecordPath>,
    /// The query that makes a reply say how many records a window holds.
    pub count: BTreeMap<String, String>,
    /// Where that number is.
    pub matched: Option<RecordPath>,
}

/// The parameters and limits of paging by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageNumber {
    /// The query parameter of the page's number.
    pub page: String,
    /// The query parameter of the page size, if there is one.
    pub size: Option<String>,
    /// The page size to request, or to expect.
    pub page_size: u32,
    /// The number of the first page.
    pub first: u32,
    /// The highest number of pages that are requested.
    pub most: u32,
    /// Where the reply says whether there is more, if not in the API's usual place.
    pub has_more: Option<RecordPath>,
}

/// The parameters and limits of paging by a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The query parameter of the cursor.
    pub parameter: String,
    /// Where the reply has the next cursor; the last page has none, null or an empty text.
    pub next: RecordPath,
    /// The query parameter of the page size, if there is one.
    pub limit: Option<String>,
    /// The page size to request.
    pub page_size: u32,
    /// The highest number of pages that are requested.
    pub most: u32,
}

/// The parameters and limits of paging by links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextLink {
    /// Where the reply has the address of the next page; `None` for its `Link` header. The last
    /// page has none.
    pub next: Option<RecordPath>,
    /// The query parameter of the page size, if there is one.
    pub limit: Option<String>,
    /// The page size to request.
    pub page_size: u32,
    /// The highest number of pages that are requested.
    pub most: u32,
}

impl Default for SkipLimit {
    fn default() -> Self {
        Self {
            skip: "skip".to_owned(),
            limit: "limit".to_owned(),
            page_size: PAGE_SIZE,
            max_page_size: None,
            reach: REACH,
            oldest_first: BTreeMap::new(),
            newest_first: BTreeMap::new(),
            has_more: None,
            count: BTreeMap::new(),
            matched: None,
        }
    }
}

const PAGE_SIZE: u32 = 100;
const REACH: u32 = 10_000;
const MOST: u32 = 10_000;

impl Paging {
    /// The page size to request, if pages have a size.
    #[must_use]
    pub fn page_size(&self) -> Option<u32> {
        match self {
            Self::Whole | Self::None => None,
            Self::SkipLimit(it) => Some(it.page_size),
            Self::PageNumber(it) => Some(it.page_size),
            Self::Cursor(it) => it.limit.as_ref().map(|_| it.page_size),
            Self::NextLink(it) => it.limit.as_ref().map(|_| it.page_size),
        }
    }

    /// The same paging with at most this many records a page.
    #[must_use]
    pub fn at_most(&self, size: u32) -> Self {
        let mut smaller = self.clone();
        if let Some(own) = self.page_size() {
            smaller.set_page_size(own.min(size));
        }
        smaller
    }

    /// Changes the page size; false when pages have no size. A user who gives a size to a reply
    /// declared whole knows that it is paged.
    pub(super) fn set_page_size(&mut self, size: u32) -> bool {
        match self {
            Self::Whole => {
                *self = Self::SkipLimit(SkipLimit { page_size: size, ..SkipLimit::default() });
            }
            Self::SkipLimit(it) => it.page_size = size,
            Self::PageNumber(it) => it.page_size = size,
            Self::Cursor(it) if it.limit.is_some() => it.page_size = size,
            Self::NextLink(it) if it.limit.is_some() => it.page_size = size,
            Self::None | Self::Cursor(_) | Self::NextLink(_) => return false,
        }
        true
    }

    /// Where the reply says whether there is more, if the endpoint gives a place.
    #[must_use]
    pub fn has_more(&self) -> Option<&RecordPath> {
        match self {
            Self::SkipLimit(it) => it.has_more.as_ref(),
            Self::PageNumber(it) => it.has_more.as_ref(),
            _ => None,
        }
    }

    /// Where the reply says how many records the list has, if the endpoint gives a place.
    #[must_use]
    pub fn total(&self) -> Option<&RecordPath> {
        match self {
            Self::SkipLimit(it) => it.matched.as_ref(),
            _ => None,
        }
    }

    /// Where the reply has the reference to the next page.
    #[must_use]
    pub fn next(&self) -> Option<&RecordPath> {
        match self {
            Self::Cursor(it) => Some(&it.next),
            Self::NextLink(it) => it.next.as_ref(),
            _ => None,
        }
    }

    /// The query parameters that paging itself sets.
    pub(super) fn parameters(&self) -> Vec<&str> {
        match self {
            Self::Whole | Self::None => Vec::new(),
            Self::SkipLimit(it) => vec![&it.skip, &it.limit],
            Self::PageNumber(it) => [Some(&it.page), it.size.as_ref()]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
            Self::Cursor(it) => [Some(&it.parameter), it.limit.as_ref()]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
            Self::NextLink(it) => it.limit.iter().map(String::as_str).collect(),
        }
    }

    /// Limits that are impossible: the key, and what is wrong with it.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let size = self.page_size().unwrap_or(1);
        let (reach, most) = match self {
            Self::SkipLimit(it) => (it.reach.min(it.max_page_size.unwrap_or(it.reach)), 1),
            Self::PageNumber(it) => (u32::MAX, it.most),
            Self::Cursor(it) => (u32::MAX, it.most),
            Self::NextLink(it) => (u32::MAX, it.most),
            Self::Whole | Self::None => (u32::MAX, 1),
        };
        if size == 0 || size > reach.min(100_000) {
            let most = reach.min(100_000);
            return Err(("page_size", format!("a page has from 1 to {most} records")));
        }
        if most == 0 {
            return Err(("most", "it must be at least 1".to_owned()));
        }
        let parameters = self.parameters();
        if parameters.iter().any(|name| name.is_empty()) {
            return Err(("style", "a query parameter needs a name".to_owned()));
        }
        if parameters.len() == 2 && parameters[0] == parameters[1] {
            let message = format!("`{}` cannot be used for two purposes", parameters[0]);
            return Err(("style", message));
        }
        Ok(())
    }
}

/// Paging as a file spells it: all keys of all styles, so that each mistake can be located.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PagingText {
    style: Style,
    page_size: Option<u32>,
    max_page_size: Option<u32>,
    skip: Option<String>,
    limit: Option<String>,
    reach: Option<u32>,
    #[serde(default)]
    oldest_first: BTreeMap<String, String>,
    #[serde(default)]
    newest_first: BTreeMap<String, String>,
    has_more: Option<RecordPath>,
    #[serde(default)]
    count: BTreeMap<String, String>,
    matched: Option<RecordPath>,
    page: Option<String>,
    size: Option<String>,
    first: Option<u32>,
    most: Option<u32>,
    parameter: Option<String>,
    next: Option<RecordPath>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Style {
    #[default]
    Whole,
    None,
    SkipLimit,
    PageNumber,
    Cursor,
    NextLink,
    LinkHeader,
}

impl Style {
    /// Its name, and the keys that it takes besides `style`.
    fn keys(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Whole => ("whole", &[]),
            Self::None => ("none", &[]),
            Self::SkipLimit => (
                "skip_limit",
                &[
                    "skip",
                    "limit",
                    "page_size",
                    "max_page_size",
                    "reach",
                    "oldest_first",
                    "newest_first",
                    "has_more",
                    "count",
                    "matched",
                ],
            ),
            Self::PageNumber => {
                ("page_number", &["page", "size", "page_size", "first", "most", "has_more"])
            }
            Self::Cursor => ("cursor", &["parameter", "next", "limit", "page_size", "most"]),
            Self::NextLink => ("next_link", &["next", "limit", "page_size", "most"]),
            Self::LinkHeader => ("link_header", &["limit", "page_size", "most"]),
        }
    }
}

impl PagingText {
    /// The keys that were given.
    fn given(&self) -> Vec<&'static str> {
        let keys = [
            ("page_size", self.page_size.is_some()),
            ("max_page_size", self.max_page_size.is_some()),
            ("skip", self.skip.is_some()),
            ("limit", self.limit.is_some()),
            ("reach", self.reach.is_some()),
            ("oldest_first", !self.oldest_first.is_empty()),
            ("newest_first", !self.newest_first.is_empty()),
            ("has_more", self.has_more.is_some()),
            ("count", !self.count.is_empty()),
            ("matched", self.matched.is_some()),
            ("page", self.page.is_some()),
            ("size", self.size.is_some()),
            ("first", self.first.is_some()),
            ("most", self.most.is_some()),
            ("parameter", self.parameter.is_some()),
            ("next", self.next.is_some()),
        ];
        keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
    }
}

impl TryFrom<PagingText> for Paging {
    type Error = String;

    fn try_from(text: PagingText) -> Result<Self, String> {
        let (style, takes) = text.style.keys();
        if let Some(key) = text.given().iter().find(|key| !takes.contains(key)) {
            let takes = if takes.is_empty() { "no other key".to_owned() } else { takes.join(", ") };
            return Err(format!("`{key}` does not belong to style `{style}`, which takes {takes}"));
        }
        let page_size = text.page_size.unwrap_or(PAGE_SIZE);
        let most = text.most.unwrap_or(MOST);
        let next = text.next.ok_or_else(|| {
            format!(
                "style `{style}` needs `next`, the path in the reply of the next cursor or link"
            )
        });
        Ok(match text.style {
            Style::Whole => Self::Whole,
            Style::None => Self::None,
            Style::SkipLimit => Self::SkipLimit(SkipLimit {
                skip: text.skip.unwrap_or_else(|| "skip".to_owned()),
                limit: text.limit.unwrap_or_else(|| "limit".to_owned()),
                page_size,
                max_page_size: text.max_page_size,
                reach: text.reach.unwrap_or(REACH),
                oldest_first: text.oldest_first,
                newest_first: text.newest_first,
                has_more: text.has_more,
                count: text.count,
                matched: text.matched,
            }),
            Style::PageNumber => Self::PageNumber(PageNumber {
                page: text.page.unwrap_or_else(|| "page".to_owned()),
                size: text.size,
                page_size,
                first: text.first.unwrap_or(1),
                most,
                has_more: text.has_more,
            }),
            Style::Cursor => Self::Cursor(Cursor {
                parameter: text.parameter.unwrap_or_else(|| "cursor".to_owned()),
                next: next?,
                limit: text.limit,
                page_size,
                most,
            }),
            Style::NextLink => {
                let next = Some(next?);
                Self::NextLink(NextLink { next, limit: text.limit, page_size, most })
            }
            Style::LinkHeader => {
                Self::NextLink(NextLink { next: None, limit: text.limit, page_size, most })
            }
        })
    }
}
