//! A page: what pagination needs from one response of a list.
//!
//! The interface between decoding and paging. It holds no record values.

/// What paging needs to know of one response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The records in order of arrival, including those in quarantine.
    pub entries: Vec<PageEntry>,
    /// Whether null came instead of the list.
    pub is_null: bool,
    /// Whether the server says that there is more, if it says so.
    pub has_more: Option<bool>,
    /// The total number of records in the list, if the server gives it. It may count records that
    /// the server does not return.
    pub total: Option<u64>,
    /// A number that may be the total, the number of records in this page, or the requested one.
    pub count: Option<u64>,
    /// A weaker hint that there is more: a count larger than the page, or several pages.
    pub hints_more: bool,
    /// Whether the lake has records of the list's window that did not come so far. The reply does
    /// not say so; its reader compares.
    pub lacks_known: bool,
    /// The next page's cursor or link, as configured by the endpoint.
    pub next: Option<Box<str>>,
    /// What looks like a reference to the next page, regardless of the endpoint's configuration.
    pub pointer: Option<Pointer>,
}

/// What looks like a reference to the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Where it is: a path in the reply, or the `Link` header.
    pub at: Box<str>,
    /// How it refers to the next page.
    pub kind: PointerKind,
    /// The cursor or the link itself.
    pub value: Box<str>,
}

/// How a reply refers to the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointerKind {
    /// A text for a query parameter.
    Cursor,
    /// The next page's address, in the reply.
    Link,
    /// The next page's address, in the reply's `Link` header.
    LinkHeader,
    /// The number of records to skip.
    Skip,
    /// The number of the next page.
    Number,
}

/// One record of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEntry {
    /// The record's key; a digest of its content when it has no usable one.
    pub key: Box<str>,
    /// Its date field, microseconds since 1970, if readable.
    pub time: Option<i64>,
}

impl Pointer {
    /// The lines of an endpoint file that follow this reference.
    #[must_use]
    pub fn paging(&self) -> String {
        match self.kind {
            PointerKind::Cursor => format!(
                "paging = {{ style = \"cursor\", parameter = \"cursor\", next = {:?} }}  # with the \
                 query parameter that takes it",
                self.at
            ),
            PointerKind::Link => {
                format!("paging = {{ style = \"next_link\", next = {:?} }}", self.at)
            }
            PointerKind::LinkHeader => "paging = { style = \"link_header\" }".to_owned(),
            PointerKind::Skip => "paging = { style = \"skip_limit\" }".to_owned(),
            PointerKind::Number => "paging = { style = \"page_number\" }".to_owned(),
        }
    }
}
