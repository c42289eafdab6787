//! Laws that hold in every style of paging, for servers that cap, count and stop as they like.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::endpoint::{Cursor, PageNumber, SkipLimit};
use crate::page::PageEntry;

/// What replies say about whether there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Silent,
    Said,
    Always,
}

#[derive(Debug, Clone)]
struct Server {
    rows: u32,
    /// The largest page.
    cap: u32,
    /// Records from this position on never come.
    stops_at: u32,
    honors_position: bool,
    more: More,
    says_total: bool,
    says_count: bool,
}

impl Server {
    /// Whether it returns whatever is requested, and says nothing wrong.
    fn is_honest(&self) -> bool {
        self.honors_position && self.stops_at >= self.rows && self.more != More::Always
    }

    fn page(&self, get: Option<&Get>) -> Page {
        let (begin, size) = match get {
            None => (0, 0),
            Some(Get::Slice(slice)) => (slice.skip, slice.limit),
            Some(Get::Number(number, size)) => ((number - 1) * self.cap.min(*size), *size),
            Some(Get::Cursor(place, size) | Get::Link(place, size)) => {
                (place.as_ref().map_or(0, |place| place.parse().unwrap()), *size)
            }
        };
        let size = if size == 0 { self.cap } else { size.min(self.cap) };
        let begin = if self.honors_position { begin } else { 0 };
        let shown = self.rows.min(self.stops_at);
        let end = begin.saturating_add(size).min(shown);
        let entry = |key: u32| PageEntry { key: key.to_string().into(), time: None };
        Page {
            entries: (begin.min(shown)..end).map(entry).collect(),
            has_more: match self.more {
                More::Silent => None,
                More::Said => Some(end < self.rows),
                More::Always => Some(true),
            },
            total: self.says_total.then_some(self.rows.into()),
            count: self.says_count.then_some(self.rows.into()),
            next: (end < shown).then(|| end.to_string().into()),
            ..Page::default()
        }
    }
}

fn any_server() -> impl Strategy<Value = Server> {
    let more = prop_oneof![
        3 => Just(More::Silent),
        3 => Just(More::Said),
        1 => Just(More::Always),
    ];
    let cap = prop_oneof![Just(1u32), 1u32..60];
    let stops_at = prop_oneof![3 => Just(u32::MAX), 1 => 0u32..60];
    let honors = prop_oneof![5 => Just(true), 1 => Just(false)];
    (0u32..120, cap, stops_at, honors, more, any::<bool>(), any::<bool>()).prop_map(
        |(rows, cap, stops_at, honors_position, more, says_total, says_count)| Server {
            rows,
            cap,
            stops_at,
            honors_position,
            more,
            says_total,
            says_count,
        },
    )
}

fn any_paging() -> impl Strategy<Value = Paging> {
    (0..4, 1u32..50).prop_map(|(style, page_size)| match style {
        0 => Paging::Whole,
        1 => Paging::SkipLimit(SkipLimit { page_size, ..SkipLimit::default() }),
        2 => Paging::PageNumber(PageNumber {
            page: "page".to_owned(),
            size: Some("size".to_owned()),
            page_size,
            first: 1,
            most: 1_000,
            has_more: None,
        }),
        _ => Paging::Cursor(Cursor {
            parameter: "cursor".to_owned(),
            next: "$.next".to_owned().try_into().unwrap(),
            limit: Some("limit".to_owned()),
            page_size,
            most: 1_000,
        }),
    })
}

/// The keys that came, whether the list counts as complete, and how many requests it took.
fn read(server: &Server, paging: &Paging) -> (BTreeSet<u32>, bool, u32) {
    let mut scope = Scope::<&str>::new(None, TimeUnit::Second, paging);
    let (mut keys, mut requests) = (BTreeSet::new(), 0);
    while let Some(ask) = scope.ask() {
        let page = server.page(ask.get.as_ref().map(|(get, _)| get));
        keys.extend(page.entries.iter().map(|entry| entry.key.parse::<u32>().unwrap()));
        requests += 1;
        assert!(requests < 5_000, "paging does not end");
        scope.take(&page);
    }
    (keys, scope.into_extent().is_complete(), requests)
}

proptest! {
    /// P1: a list whose replies count more records than came, or say that there is more, is never
    /// complete.
    #[test]
    fn what_replies_promise_came_or_the_list_is_not_complete(
        server in any_server(),
        paging in any_paging(),
    ) {
        let (keys, is_complete, _) = read(&server, &paging);
        let speaks = server.says_total || server.more == More::Said;
        if is_complete && speaks && server.more != More::Always {
            prop_assert_eq!(keys.len(), server.rows as usize);
        }
        prop_assert!(!is_complete || server.more != More::Always);
    }

    /// P1: an honest server's list is read completely, whatever the size of its pages.
    #[test]
    fn an_honest_list_is_read_completely(server in any_server(), paging in any_paging()) {
        let is_silent = server.more == More::Silent && !server.says_total;
        // A single record may be all there is of a list that is said to be whole.
        prop_assume!(server.is_honest() && !(is_silent && server.cap == 1 && paging == Paging::Whole));
        let (keys, is_complete, _) = read(&server, &paging);
        prop_assert!(is_complete);
        prop_assert_eq!(keys, (0..server.rows).collect::<BTreeSet<_>>());
    }

    /// P7: reading ends, after a number of requests that follows from what came.
    #[test]
    fn every_list_ends(server in any_server(), paging in any_paging()) {
        let (keys, _, requests) = read(&server, &paging);
        prop_assert!(requests as usize <= 3 * keys.len() + 40, "{} for {}", requests, keys.len());
    }
}
