//! A page: one response of a list, as far as paging goes on it.
//!
//! Enters: nothing. Leaves: the words between decoding and paging. Never here: record values.

/// What paging needs to know of one response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The records in the order in which they came, those in quarantine included.
    pub entries: Vec<PageEntry>,
    /// Whether null came in place of the list.
    pub is_null: bool,
    /// Whether the server says that there is more, where it says anything.
    pub has_more: Option<bool>,
    /// How many records the list has in all, where the server says so. It may count records that
    /// it does not show.
    pub total: Option<u64>,
    /// Something less plain says that there is more: a count larger than the page, or more pages.
    pub hints_more: bool,
    /// What asks for the next page, where the endpoint says that it is: a cursor, or a link.
    pub next: Option<Box<str>>,
    /// What seems to ask for the next page, whatever the endpoint says.
    pub pointer: Option<Pointer>,
}

/// What seems to ask for the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Where it is: a path in the reply, or the `Link` header.
    pub at: Box<str>,
    /// How it asks.
    pub kind: PointerKind,
    /// The cursor or the link itself.
    pub value: Box<str>,
}

/// How something asks for the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointerKind {
    /// A text that a query parameter takes.
    Cursor,
    /// The address of the next page, in the reply.
    Link,
    /// The address of the next page, in the reply's `Link` header.
    LinkHeader,
    /// The number of records to skip.
    Skip,
    /// The number of the next page.
    Number,
}

/// One record of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEntry {
    /// The record's key; a digest of its content when it has none that is usable.
    pub key: Box<str>,
    /// Its date field, microseconds since 1970, where it has one that can be read.
    pub time: Option<i64>,
}

impl Pointer {
    /// What the lines of an endpoint file are that follow it.
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
