//! The envelope: what a reply says besides its records.
//!
//! Determines, in any usual spelling, whether there is more, how many records there are, what
//! refers to the next page, and whether the reply is an error instead of a list. It never looks
//! inside records.
//!
//! Names are compared without case and punctuation, so that `hasMore`, `has_more` and `HAS-MORE`
//! are the same. An ambiguous name (`next`, `total`, `more`) counts only at the root or in an
//! object that is about paging.

use arrow::json::reader::{Tape, TapeElement};

use super::json;
use crate::page::{Pointer, PointerKind};

/// How deep objects are searched.
const DEPTH: usize = 3;
/// How much of the server's message is passed on.
const MOST_WORDS: usize = 200;

/// Objects that are about paging.
const ABOUT_PAGING: [&str; 16] = [
    "pagination",
    "paging",
    "page",
    "pageinfo",
    "paginginfo",
    "pagingmetadata",
    "paginationinfo",
    "meta",
    "metadata",
    "links",
    "link",
    "cursor",
    "cursors",
    "responsemetadata",
    "info",
    "next",
];
const MORE: [&str; 13] = [
    "hasmore",
    "hasnext",
    "hasnextpage",
    "hasmorepages",
    "hasmoreresults",
    "hasmorerecords",
    "hasmoreitems",
    "hasmoredata",
    "moreavailable",
    "moreresults",
    "morerecords",
    "istruncated",
    "morepages",
];
const MORE_IF_PAGING: [&str; 2] = ["more", "truncated"];
const LAST: [&str; 4] = ["islast", "islastpage", "endofrecords", "islastbatch"];
const LAST_IF_PAGING: [&str; 3] = ["last", "lastpage", "done"];
const TOTAL: [&str; 10] = [
    "totalcount",
    "totalrecords",
    "totalresults",
    "totalitems",
    "totalelements",
    "totalsize",
    "totalrows",
    "totalhits",
    "totalmatched",
    "totalentries",
];
const TOTAL_IF_PAGING: [&str; 2] = ["total", "matched"];
const COUNT_IF_PAGING: [&str; 4] = ["count", "recordcount", "resultcount", "itemcount"];
const PAGES: [&str; 5] = ["totalpages", "pagecount", "numpages", "pagetotal", "lastpage"];
const PAGE_IF_PAGING: [&str; 5] = ["page", "currentpage", "pagenumber", "pageno", "number"];
const NEXT: [&str; 16] = [
    "nextcursor",
    "nextpagetoken",
    "nexttoken",
    "continuationtoken",
    "continuation",
    "nextpage",
    "nextrecordsurl",
    "nextlink",
    "nexturl",
    "nextpageurl",
    "nextpagelink",
    "nexthref",
    "odatanextlink",
    "nextpageuri",
    "nexturi",
    "nextpagecursor",
];
const NEXT_SKIP: [&str; 4] = ["nextpageskip", "nextskip", "nextoffset", "nextstart"];
const NEXT_IF_PAGING: [&str; 4] = ["next", "after", "cursor", "endcursor"];
const LINKS_IN_OBJECT: [&str; 5] = ["href", "url", "link", "after", "cursor"];
const ERRORS: [&str; 6] =
    ["error", "errors", "errormessage", "errormessages", "fault", "exception"];
const WORDS: [&str; 8] =
    ["message", "detail", "details", "error", "errormessage", "description", "title", "reason"];

/// What a reply says besides its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) has_more: Option<bool>,
    pub(super) total: Option<u64>,
    pub(super) count: Option<u64>,
    pages: Option<u64>,
    page: Option<u64>,
    pub(super) pointer: Option<Pointer>,
    /// The server's message, if the reply reports a failure.
    pub(super) error: Option<String>,
}

impl Envelope {
    /// What the reply at `root` says besides its records.
    pub(super) fn of(tape: &Tape<'_>, root: u32, records: &[u32]) -> Self {
        let mut envelope = Self::default();
        // A record that is the whole reply says nothing about paging.
        if records.first() != Some(&root) {
            let mut walk = Walk { tape, records, envelope: &mut envelope };
            walk.object(root, "$", 0, true);
        }
        envelope
    }

    /// Whether a count or a number of pages suggests that there are more records than these.
    pub(super) fn hints_more(&self, records: usize) -> bool {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        let counts_more = self.count.is_some_and(|count| count > records);
        let is_before = |pages: u64| match self.page {
            Some(0) => pages > 1,
            Some(page) => page < pages,
            None => false,
        };
        counts_more || self.pages.is_some_and(is_before)
    }

    /// Whether the reply mentions several pages without saying which one it is.
    pub(super) fn has_pages(&self) -> bool {
        self.page.is_none() && self.pages.is_some_and(|pages| pages > 1)
    }
}

/// The error message of a reply without records, if there is one.
pub(super) fn words(tape: &Tape<'_>, root: u32) -> Option<String> {
    let TapeElement::StartObject(end) = tape.get(root) else { return None };
    let found = json::members(tape, root, end).find_map(|(name, at)| {
        let name = plain(name);
        let is_word = ERRORS.contains(&&*name) || WORDS.contains(&&*name);
        is_word.then(|| said(tape, at, 0)).flatten()
    });
    found.map(|words| shown(&words))
}

/// The part of the server's message that is shown: one line, without URLs, which may be signed.
fn shown(words: &str) -> String {
    if words.contains("://") {
        return "it names an address, which is not shown".to_owned();
    }
    words.chars().map(|it| if it.is_control() { ' ' } else { it }).take(MOST_WORDS).collect()
}

struct Walk<'w, 't> {
    tape: &'w Tape<'t>,
    records: &'w [u32],
    envelope: &'w mut Envelope,
}

impl Walk<'_, '_> {
    fn object(&mut self, at: u32, path: &str, depth: usize, is_paging: bool) {
        let TapeElement::StartObject(end) = self.tape.get(at) else { return };
        for (name, member) in json::distinct_members(self.tape, at, end) {
            if self.records.contains(&member) {
                continue;
            }
            let plain = plain(name);
            let path = format!("{path}{}", step(name));
            self.member(&plain, &path, member, is_paging);
            if depth == 0 && ERRORS.contains(&&*plain) && self.envelope.error.is_none() {
                let words = said(self.tape, member, 0);
                self.envelope.error = words.map(|words| shown(&words));
            }
            if depth + 1 < DEPTH {
                let is_paging = ABOUT_PAGING.contains(&&*plain);
                self.object(member, &path, depth + 1, is_paging);
            }
        }
    }

    fn member(&mut self, name: &str, path: &str, at: u32, is_paging: bool) {
        let is = |names: &[&str], weak: &[&str]| {
            names.contains(&name) || (is_paging && weak.contains(&name))
        };
        let envelope = &mut *self.envelope;
        if is(&MORE, &MORE_IF_PAGING) {
            envelope.has_more = envelope.has_more.or(truth(self.tape, at));
        }
        if is(&LAST, &[]) || (is(&[], &LAST_IF_PAGING) && is_boolean(self.tape, at)) {
            envelope.has_more = envelope.has_more.or(truth(self.tape, at).map(|last| !last));
        }
        if is(&TOTAL, &TOTAL_IF_PAGING) {
            envelope.total = envelope.total.or(number(self.tape, at));
        }
        if is(&[], &COUNT_IF_PAGING) {
            envelope.count = envelope.count.or(number(self.tape, at));
        }
        if is(&PAGES, &["pages"]) {
            envelope.pages = envelope.pages.or(number(self.tape, at));
        }
        if is(&[], &PAGE_IF_PAGING) {
            envelope.page = envelope.page.or(number(self.tape, at));
        }
        if envelope.pointer.is_some() {
            return;
        }
        if NEXT_SKIP.contains(&name) {
            let value = number(self.tape, at).filter(|it| *it > 0);
            envelope.pointer =
                value.map(|value| pointer(path, PointerKind::Skip, &value.to_string()));
        } else if is(&NEXT, &NEXT_IF_PAGING) {
            if matches!(self.tape.get(at), TapeElement::True) {
                envelope.has_more = envelope.has_more.or(Some(true));
            }
            envelope.pointer = next(self.tape, at, name, path);
        }
    }
}

/// How a member refers to the next page, judging by its name.
fn next(tape: &Tape<'_>, at: u32, name: &str, path: &str) -> Option<Pointer> {
    match tape.get(at) {
        TapeElement::String(index) => text_pointer(path, tape.get_string(index)),
        TapeElement::Number(index) => {
            let value = tape.get_string(index);
            let is_page = matches!(name, "nextpage" | "next");
            let kind = if is_page { PointerKind::Number } else { PointerKind::Cursor };
            let is_none = value.starts_with('-') || value == "0";
            (!is_none).then(|| pointer(path, kind, value))
        }
        TapeElement::StartObject(end) => {
            let mut members = json::distinct_members(tape, at, end).into_iter();
            let (inner, at) = members.find(|(name, _)| LINKS_IN_OBJECT.contains(&&*plain(name)))?;
            let TapeElement::String(index) = tape.get(at) else { return None };
            text_pointer(&format!("{path}{}", step(inner)), tape.get_string(index))
        }
        _ => None,
    }
}

fn text_pointer(path: &str, text: &str) -> Option<Pointer> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let is_link = text.contains("://") || text.starts_with('/') || text.starts_with('?');
    let kind = if is_link { PointerKind::Link } else { PointerKind::Cursor };
    Some(pointer(path, kind, text))
}

fn pointer(at: &str, kind: PointerKind, value: &str) -> Pointer {
    Pointer { at: at.into(), kind, value: value.into() }
}

/// A name without case and punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A member as written in a path.
fn step(name: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_';
    if !name.is_empty() && name.chars().all(is_plain) {
        format!(".{name}")
    } else {
        format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

fn is_boolean(tape: &Tape<'_>, at: u32) -> bool {
    matches!(tape.get(at), TapeElement::True | TapeElement::False)
}

/// Yes or no, in any spelling.
pub(super) fn truth(tape: &Tape<'_>, at: u32) -> Option<bool> {
    match tape.get(at) {
        TapeElement::True => Some(true),
        TapeElement::False => Some(false),
        TapeElement::String(index) | TapeElement::Number(index) => {
            match &*tape.get_string(index).trim().to_ascii_lowercase() {
                "true" | "yes" | "y" | "1" => Some(true),
                "false" | "no" | "n" | "0" => Some(false),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A number, which may be written as text.
pub(super) fn number(tape: &Tape<'_>, at: u32) -> Option<u64> {
    match tape.get(at) {
        TapeElement::String(index) | TapeElement::Number(index) => {
            let text = tape.get_string(index).trim();
            text.strip_suffix(".0").unwrap_or(text).parse().ok()
        }
        _ => None,
    }
}

/// The message of an error; none if the value says that there is no error.
fn said(tape: &Tape<'_>, at: u32, depth: usize) -> Option<String> {
    match tape.get(at) {
        TapeElement::String(index) => {
            Some(tape.get_string(index).trim()).filter(|it| !it.is_empty()).map(str::to_owned)
        }
        TapeElement::Number(index) => {
            let number = tape.get_string(index);
            (!number.trim_matches(['0', '.']).is_empty()).then(|| number.to_owned())
        }
        TapeElement::True => Some("true".to_owned()),
        TapeElement::StartObject(end) => {
            let members = json::distinct_members(tape, at, end);
            let spoken = members.iter().find_map(|(name, at)| {
                (depth < DEPTH && WORDS.contains(&&*plain(name)))
                    .then(|| said(tape, *at, depth + 1))
            });
            let is_empty = members.is_empty();
            spoken.flatten().or_else(|| (!is_empty).then(|| whole(tape, at)))
        }
        TapeElement::StartList(_) => {
            let first = json::items(tape, at).next()?;
            if depth >= DEPTH { Some(whole(tape, at)) } else { said(tape, first, depth + 1) }
        }
        _ => None,
    }
}

fn whole(tape: &Tape<'_>, at: u32) -> String {
    let mut text = String::new();
    json::write(tape, at, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::super::tape::TapeReader;
    use super::*;

    fn envelope(text: &str) -> Envelope {
        let visit = |tape: &Tape<'_>, root| Envelope::of(tape, root, &[]);
        TapeReader::default().read(text.as_bytes(), visit).unwrap()
    }

    /// P1: every spelling of whether there is more is understood.
    #[test]
    fn any_spelling_of_more_is_recognized() {
        for (text, more) in [
            (r#"{"hasMore": true}"#, Some(true)),
            (r#"{"has_more": "true"}"#, Some(true)),
            (r#"{"pagination": {"HasNextPage": 1}}"#, Some(true)),
            (r#"{"data": {"pageInfo": {"hasNextPage": false}}}"#, Some(false)),
            (r#"{"last": true}"#, Some(false)),
            (r#"{"is_last_page": false}"#, Some(true)),
            (r#"{"info": {"more_records": true}}"#, Some(true)),
            (r#"{"done": false}"#, Some(true)),
            (r#"{"week": {"more": true}, "hasMore": null}"#, None),
            (r#"{"next": true}"#, Some(true)),
        ] {
            assert_eq!(envelope(text).has_more, more, "{text}");
        }
    }

    /// P1: references to the next page are found in the usual places, and nowhere else.
    #[test]
    fn the_next_cursor_or_link_is_found() {
        use PointerKind::{Cursor, Link, Number, Skip};
        for (text, found) in [
            (r#"{"next_cursor": "x"}"#, Some((Cursor, "$.next_cursor"))),
            (r#"{"links": {"next": "/x?page=2"}}"#, Some((Link, "$.links.next"))),
            (r#"{"_links": {"next": {"href": "/x"}}}"#, Some((Link, "$._links.next.href"))),
            (r#"{"@odata.nextLink": "https://h/x"}"#, Some((Link, "$['@odata.nextLink']"))),
            (r#"{"paging": {"next": {"after": "7"}}}"#, Some((Cursor, "$.paging.next.after"))),
            (r#"{"pagination": {"nextPageSkip": 25}}"#, Some((Skip, "$.pagination.nextPageSkip"))),
            (r#"{"nextPage": 2}"#, Some((Number, "$.nextPage"))),
            (r#"{"nextPage": null, "next": "", "next_token": false}"#, None),
            (r#"{"week": {"next": "2026-12-01"}, "nextPage": 0}"#, None),
        ] {
            let pointer = envelope(text).pointer;
            let got = pointer.as_ref().map(|it| (it.kind, &*it.at));
            assert_eq!(got, found, "{text}");
        }
    }

    #[test]
    fn totals_and_hints_are_distinguished() {
        assert_eq!(envelope(r#"{"meta": {"total": "90"}}"#).total, Some(90));
        assert_eq!(envelope(r#"{"owner": {"total": 90}}"#).total, None);
        assert_eq!(envelope(r#"{"owner": {"totalRecords": 90}}"#).total, Some(90));
        assert!(envelope(r#"{"count": 90}"#).hints_more(25));
        assert!(envelope(r#"{"page": 1, "total_pages": 3}"#).hints_more(25));
        assert!(!envelope(r#"{"page": 3, "total_pages": 3, "count": 25}"#).hints_more(25));
    }

    /// P1: an error is not a list, and its message is passed on.
    #[test]
    fn an_error_is_recognized_by_its_text() {
        for (text, words) in [
            (r#"{"error": "upstream timed out"}"#, Some("upstream timed out")),
            (r#"{"errors": [{"detail": "no"}]}"#, Some("no")),
            (r#"{"error": {"code": 7, "message": "no"}}"#, Some("no")),
            (r#"{"errorMessage": "no"}"#, Some("no")),
            (r#"{"error": null, "errors": [], "fault": {}, "exception": ""}"#, None),
            (r#"{"error": false}"#, None),
            (r#"{"error": 0}"#, None),
        ] {
            assert_eq!(envelope(text).error.as_deref(), words, "{text}");
        }
    }
}
