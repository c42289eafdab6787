//! Reading windows by skip and limit, from servers that change in the meantime.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use proptest::prelude::*;

use super::super::{Cause, Gap, Miss, Scope};
use super::*;
use crate::calendar::TimeUnit;
use crate::endpoint::{Paging, SkipLimit};
use crate::page::PageEntry;
use crate::window::{Coverage, Window};

/// A server's list of records, each with a time in seconds and a number.
#[derive(Debug, Clone)]
struct Server {
    records: BTreeSet<(i64, u32)>,
    reach: u32,
    most: u32,
    edges_inclusive: bool,
    ties_keep_their_order: bool,
    sorts_one_way: bool,
    /// The numbers of the records that no reply can contain.
    unreadable: BTreeSet<u32>,
}

impl Server {
    fn new(records: impl IntoIterator<Item = (i64, u32)>) -> Self {
        Self {
            records: records.into_iter().collect(),
            reach: u32::MAX,
            most: u32::MAX,
            edges_inclusive: false,
            ties_keep_their_order: false,
            sorts_one_way: false,
            unreadable: BTreeSet::new(),
        }
    }

    /// The page, unless one of its records is unreadable.
    fn answer(&self, window: Window, get: &Get) -> Option<Page> {
        let page = self.page(window, get);
        let is_unreadable =
            |entry: &PageEntry| self.unreadable.contains(&entry.key.parse::<u32>().unwrap());
        (!page.entries.iter().any(is_unreadable)).then_some(page)
    }

    fn page(&self, window: Window, get: &Get) -> Page {
        let Get::Slice(get) = get else { panic!("{get:?}") };
        assert!(get.skip.saturating_add(get.limit) <= self.reach, "{get:?} is beyond the reach");
        let (from, to) = (window.from.timestamp() - 1, window.to.timestamp());
        let inside = |time: i64| {
            let on_edge = time == from || time == to;
            (from < time && time < to) || (self.edges_inclusive && on_edge)
        };
        let mut records: Vec<_> = self.records.iter().filter(|it| inside(it.0)).collect();
        if get.order == Order::NewestFirst && !self.sorts_one_way {
            records.reverse();
            if self.ties_keep_their_order {
                records.sort_by_key(|record| (std::cmp::Reverse(record.0), record.1));
            }
        }
        let entry = |record: &&(i64, u32)| PageEntry {
            key: record.1.to_string().into(),
            time: Some(record.0 * 1_000_000),
        };
        let limit = get.limit.min(self.most) as usize;
        let entries = records.iter().skip(get.skip as usize).take(limit).map(entry).collect();
        Page { entries, ..Page::default() }
    }
}

/// The outcome of reading a window.
#[derive(Debug, Default)]
struct Outcome {
    keys: BTreeSet<String>,
    requests: u32,
    windows: BTreeSet<Window>,
    read: Coverage,
    gaps: Vec<Gap<&'static str>>,
    confirmations: u64,
}

impl Outcome {
    fn stuck(&self) -> Option<Stuck> {
        self.gaps.iter().find_map(|gap| match &gap.cause {
            Cause::Stuck(stuck) => Some(stuck.clone()),
            _ => None,
        })
    }
}

fn paging(page_size: u32, reach: u32) -> SkipLimit {
    let sort = |order: &str| BTreeMap::from([("sort".to_owned(), order.to_owned())]);
    let (oldest_first, newest_first) = (sort("asc"), sort("desc"));
    SkipLimit { page_size, reach, oldest_first, newest_first, ..SkipLimit::default() }
}

fn window(from: i64, to: i64) -> Window {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    Window::new(at(from), at(to))
}

/// Reads a window to its end; the server may change before each request.
fn read_all(
    server: &mut Server,
    paging: &SkipLimit,
    whole: Window,
    mut before: impl FnMut(u32, &mut Server),
) -> Outcome {
    let mut outcome = Outcome::default();
    let paging = Paging::SkipLimit(paging.clone());
    let mut scope = Scope::new(Some(whole), TimeUnit::Second, &paging);
    while let Some(ask) = scope.ask() {
        before(outcome.requests, server);
        outcome.requests += 1;
        assert!(outcome.requests < 20_000, "paging does not end");
        let (window, get) = (ask.window.unwrap(), ask.get.unwrap().0);
        outcome.windows.insert(window);
        match server.answer(window, &get) {
            Some(page) => {
                outcome.keys.extend(page.entries.iter().map(|entry| entry.key.to_string()));
                scope.take(&page);
            }
            None => scope.miss(Miss::TooLarge, "502"),
        }
    }
    let extent = scope.into_extent();
    outcome.confirmations = extent.confirmations;
    (outcome.read, outcome.gaps) = (extent.read, extent.gaps);
    outcome
}

fn keys(server: &Server) -> BTreeSet<String> {
    server.records.iter().map(|record| record.1.to_string()).collect()
}

proptest! {
    /// P1: a list that does not change is read completely, within the reach, whether or not the
    /// edges are inclusive, and however dense a second is, if both ends together can cover it.
    #[test]
    fn an_unchanging_list_is_read_completely(
        times in prop::collection::vec(0i64..40, 0..150),
        page_size in 2u32..20,
        reach in 80u32..120,
        edges_inclusive: bool,
    ) {
        let mut server = Server::new(times.into_iter().zip(0..));
        server.reach = reach;
        server.edges_inclusive = edges_inclusive;
        let outcome = read_all(&mut server, &paging(page_size, reach), window(0, 40), |_, _| {});
        prop_assert_eq!(outcome.gaps, []);
        prop_assert_eq!(outcome.read.windows(), [window(0, 40)]);
        prop_assert_eq!(outcome.keys, keys(&server));
    }

    /// P7: pages overlap by one record, a window costs one additional request, and so does
    /// confirming a list that says nothing about its end; nothing else does.
    #[test]
    fn requests_are_few(times in prop::collection::vec(0i64..1000, 0..900)) {
        let mut server = Server::new(times.into_iter().zip(0..));
        let outcome = read_all(&mut server, &paging(100, 10_000), window(0, 1000), |_, _| {});
        let rows = u32::try_from(server.records.len()).unwrap();
        prop_assert_eq!(outcome.windows.len(), 1);
        prop_assert!(outcome.requests <= rows / 99 + 2, "{} for {rows}", outcome.requests);
        prop_assert!(outcome.confirmations <= 1);
    }

    /// P1: a record that existed all the time is read, whatever vanishes or arrives.
    #[test]
    fn stable_records_are_read_while_others_come_and_go(
        times in prop::collection::vec(0i64..60, 20..120),
        changes in prop::collection::vec(
            (any::<bool>(), 0i64..60, any::<prop::sample::Index>(), 1usize..8),
            0..30,
        ),
        page_size in 3u32..15,
    ) {
        let mut server = Server::new(times.into_iter().zip(0..));
        let all: Vec<_> = server.records.iter().copied().collect();
        let mut lasting = keys(&server);
        let mut gone = BTreeSet::new();
        let outcome = read_all(&mut server, &paging(page_size, 10_000), window(0, 60), |request, server| {
            let Some((arrives, time, index, count)) = changes.get(request as usize) else { return };
            if *arrives {
                server.records.insert((*time, 1000 + request));
            } else {
                // The overlap compensates for one vanished record, but not for several.
                for record in all.iter().skip(index.index(all.len())).take(*count) {
                    server.records.remove(record);
                    gone.insert(record.1.to_string());
                }
            }
        });
        lasting.retain(|key| !gone.contains(key));
        prop_assert_eq!(outcome.gaps, []);
        prop_assert!(outcome.keys.is_superset(&lasting), "missing {:?}", lasting.difference(&outcome.keys));
    }
}

proptest! {
    /// P7: reading ends, even if every page is full, never the last, and starts anywhere in a
    /// finite list, so that pages do not fit together.
    #[test]
    fn pages_that_never_overlap_end_the_list(
        starts in prop::collection::vec(0u32..1_000, 1..40),
        count in 5u32..1_000,
        page_size in 1u32..30,
    ) {
        let mut paginator = Skipping::new(window(0, 100), TimeUnit::Second, &paging(page_size, 10_000));
        let mut requests = 0;
        loop {
            let Get::Slice(asked) = paginator.asked() else { unreachable!() };
            let start = starts[requests % starts.len()];
            let entry = |at: u32| PageEntry { key: ((start + at) % count).to_string().into(), time: Some(1) };
            let page = Page { entries: (0..asked.limit).map(entry).collect(), has_more: Some(true), ..Page::default() };
            requests += 1;
            prop_assert!(requests < 20_000, "paging does not end");
            if !matches!(paginator.next(&page, 100), Step::Get(_)) {
                break;
            }
        }
    }
}

/// The largest possible gaps: for each run of unreadable records, from the second of the record
/// before it to the end of the second of the record after it.
fn largest_gaps(server: &Server, whole: Window) -> Vec<Window> {
    let mut gaps: Vec<Window> = Vec::new();
    let (mut from, mut is_open) = (whole.from, false);
    for (time, number) in &server.records {
        if server.unreadable.contains(number) {
            is_open = true;
            continue;
        }
        let second = window(*time, *time + 1);
        if std::mem::take(&mut is_open) {
            gaps.push(Window::new(from, second.to));
        }
        from = second.from;
    }
    gaps.extend(is_open.then_some(Window::new(from, whole.to)));
    gaps
}

fn windows_of(outcome: &Outcome) -> Vec<Window> {
    let mut windows: Vec<_> = outcome.gaps.iter().map(|gap| gap.window.unwrap()).collect();
    windows.sort();
    windows
}

proptest! {
    /// P1, P12: whatever cannot be read, however long the list and its pages are and wherever they
    /// end, all other records are read, and each run of unreadable records is one gap that is no
    /// larger than the time between its neighbors.
    #[test]
    fn an_unreadable_record_is_a_gap_and_the_rest_is_read(
        times in prop::collection::vec(0i64..400, 0..150),
        unreadable in prop::collection::btree_set(0u32..150, 0..12),
        page_size in 1u32..30,
        reach in 20u32..120,
    ) {
        let whole = window(0, 400);
        let mut server = Server::new(times.into_iter().zip(0..));
        let second = |time: i64| server.records.iter().filter(|it| it.0 == time).count();
        prop_assume!((0..400).all(|time| second(time) < 10));
        server.reach = reach;
        server.unreadable = unreadable;
        let outcome = read_all(&mut server, &paging(page_size, reach), whole, |_, _| {});
        let mut readable = keys(&server);
        readable.retain(|key| !server.unreadable.contains(&key.parse().unwrap()));
        prop_assert_eq!(&outcome.keys, &readable);
        let (gaps, largest) = (windows_of(&outcome), largest_gaps(&server, whole));
        prop_assert_eq!(gaps.len(), largest.len());
        for (gap, largest) in gaps.iter().zip(largest) {
            // A split may show that it is even smaller.
            prop_assert!(largest.from <= gap.from && gap.to <= largest.to, "{gap} {largest}");
        }
        let gaps: Coverage = gaps.into_iter().collect();
        for (time, _) in server.records.iter().filter(|it| server.unreadable.contains(&it.1)) {
            prop_assert!(gaps.covers(window(*time, time + 1)));
        }
        let mut read: Coverage = std::iter::once(whole).collect();
        gaps.windows().iter().for_each(|gap| read.remove(*gap));
        prop_assert_eq!(outcome.read, read);
    }

    /// P1: the same for dense seconds, which are read from both ends, for inclusive edges, and
    /// while new records arrive after those already read: no readable record is lost, no gap is too
    /// small, and the read windows and the gaps together cover the window.
    #[test]
    fn an_unreadable_record_in_a_dense_second_is_a_gap_too(
        times in prop::collection::vec(0i64..6, 0..150),
        unreadable in prop::collection::btree_set(0u32..150, 0..8),
        arrivals in prop::collection::vec(0u32..60, 0..10),
        page_size in 1u32..30,
        reach in 20u32..120,
        edges_inclusive: bool,
        ties_keep_their_order: bool,
        sorts_one_way: bool,
    ) {
        let whole = window(0, 10);
        let mut server = Server::new(times.into_iter().zip(0..));
        (server.reach, server.unreadable) = (reach, unreadable);
        (server.edges_inclusive, server.sorts_one_way) = (edges_inclusive, sorts_one_way);
        server.ties_keep_their_order = ties_keep_their_order;
        let readable: Vec<_> = server.records.iter().copied()
            .filter(|(_, number)| !server.unreadable.contains(number)).collect();
        let lost: Vec<_> = server.records.iter().copied()
            .filter(|(_, number)| server.unreadable.contains(number)).collect();
        let outcome = read_all(&mut server, &paging(page_size, reach), whole, |request, server| {
            if arrivals.contains(&request) {
                server.records.insert((9, 1000 + request));
            }
        });
        let is_missing = |time: i64| {
            outcome.gaps.iter().any(|gap| gap.window.unwrap().contains(window(time, 10).from))
        };
        for (time, number) in readable {
            let is_read = outcome.keys.contains(&number.to_string());
            let is_stuck = outcome.stuck().is_some() && is_missing(time);
            prop_assert!(is_read || is_stuck, "{number} at {time}: {:?}", outcome.gaps);
        }
        for (time, number) in lost {
            prop_assert!(is_missing(time), "{number} at {time}: {:?}", outcome.gaps);
        }
        let tiles: Coverage = outcome.gaps.iter().map(|gap| gap.window.unwrap())
            .chain(outcome.read.windows().iter().copied()).collect();
        prop_assert_eq!(tiles.windows(), [whole]);
        for gap in &outcome.gaps {
            prop_assert_eq!(outcome.read.common(gap.window.unwrap()), []);
        }
    }

    /// P1: in an unsorted list nothing encloses a record, so the whole list is requested again.
    #[test]
    fn an_unreadable_record_in_an_unsorted_list_may_be_anywhere(
        times in prop::collection::vec(0i64..40, 2..60),
        unreadable in 0u32..60,
        page_size in 1u32..20,
    ) {
        // Records are sorted by number, and the times are in no order.
        let mut server = Server::new((0i64..).zip(0..).take(times.len()));
        server.unreadable = BTreeSet::from([unreadable]);
        let plain = SkipLimit { page_size, ..SkipLimit::default() };
        let mut scope = Scope::new(Some(window(0, 40)), TimeUnit::Second, &Paging::SkipLimit(plain));
        while let Some(ask) = scope.ask() {
            let page = server.answer(window(0, 100), &ask.get.unwrap().0);
            match page {
                Some(mut page) => {
                    for entry in &mut page.entries {
                        let at = entry.key.parse::<usize>().unwrap();
                        entry.time = Some(times[at] * 1_000_000);
                    }
                    scope.take(&page);
                }
                None => scope.miss(Miss::TooLarge, "502"),
            }
        }
        let gaps = scope.into_extent().gaps;
        let read: Vec<_> = (0..).zip(&times).filter(|(number, _)| *number != unreadable).collect();
        let sorted = read.is_sorted_by_key(|it| it.1) || read.is_sorted_by_key(|it| std::cmp::Reverse(it.1));
        if !sorted && times.len() > unreadable as usize {
            prop_assert_eq!(gaps[0].window, Some(window(0, 40)));
        }
        prop_assert_eq!(gaps.len(), usize::from(times.len() > unreadable as usize));
    }
}

/// P7: around an unreadable record, pages are halved and grow back; this costs no more than before.
#[test]
fn requests_around_an_unreadable_record_are_few() {
    for (number, position) in [(1, 0), (2, 99), (3, 507), (4, 9_999)] {
        let mut server = Server::new((0..10_300).map(|at| (i64::from(at), at)));
        server.reach = 10_000;
        let whole = window(0, 11_000);
        let plain = read_all(&mut server, &paging(100, 10_000), whole, |_, _| {}).requests;
        server.unreadable = BTreeSet::from([position]);
        let outcome = read_all(&mut server, &paging(100, 10_000), whole, |_, _| {});
        assert_eq!(outcome.gaps.len(), 1);
        let more = outcome.requests - plain;
        assert!(more <= 45, "{number}: {more} more than {plain} around {position}");
    }
}

/// P1: a record that cannot be read for a while is read alone, and meanwhile an earlier one is
/// deleted, before any of the requests.
#[test]
fn nothing_is_missed_when_records_move_up_while_one_is_read_alone() {
    for (failing, until, at) in (0..30)
        .flat_map(|failing| (3..16).map(move |until| (failing, until)))
        .flat_map(|(failing, until)| (0..20).map(move |at| (failing, until, at)))
    {
        let mut server = Server::new((0..30).map(|number| (i64::from(number) * 10, number)));
        server.unreadable.insert(failing);
        let before = |request: u32, server: &mut Server| {
            if request == until {
                server.unreadable.clear();
            }
            if request == at {
                server.records.remove(&(0, 0));
            }
        };
        let outcome = read_all(&mut server, &paging(8, u32::MAX), window(-10, 1_000), before);
        // What is in a reported gap is requested again by the next run.
        let is_reported = |key: &String| {
            let at = DateTime::from_timestamp(key.parse::<i64>().unwrap() * 10, 0).unwrap();
            let windows = outcome.gaps.iter().filter_map(|gap| gap.window);
            windows.into_iter().any(|window| window.contains(at))
        };
        let (of_server, came) = (keys(&server), &outcome.keys);
        let missed: Vec<_> = of_server.difference(came).filter(|key| !is_reported(key)).collect();
        assert!(missed.is_empty(), "{failing} {until} {at}: {missed:?} {:?}", outcome.gaps);
    }
}

/// P1: if a server has only one order, the window does not count as read from both ends.
#[test]
fn a_second_that_is_sorted_one_way_is_a_gap() {
    let mut server = Server::new((0..80).map(|number| (5, number)));
    (server.reach, server.sorts_one_way) = (50, true);
    for paging in [paging(10, 50), SkipLimit { page_size: 10, reach: 50, ..SkipLimit::default() }] {
        let outcome = read_all(&mut server, &paging, window(0, 10), |_, _| {});
        assert_eq!(outcome.stuck(), Some(Stuck::Unreachable));
        assert_eq!(windows_of(&outcome), [window(5, 6)]);
    }
}

#[test]
fn a_second_beyond_the_reach_of_both_ends_is_a_reported_gap() {
    let mut server = Server::new((0..250).map(|number| (5, number)));
    server.reach = 100;
    let outcome = read_all(&mut server, &paging(10, 100), window(0, 10), |_, _| {});
    assert_eq!(outcome.stuck(), Some(Stuck::Unreachable));
    let mut server = Server::new((0..190).map(|number| (5, number)));
    server.reach = 100;
    let outcome = read_all(&mut server, &paging(10, 100), window(0, 10), |_, _| {});
    assert_eq!((outcome.stuck(), outcome.keys.len()), (None, 190));
    server.ties_keep_their_order = true;
    let outcome = read_all(&mut server, &paging(10, 100), window(0, 10), |_, _| {});
    assert_eq!(outcome.stuck(), Some(Stuck::Unreachable));
}

#[test]
fn a_server_that_ignores_skip_is_detected() {
    let server = Server::new((0..100).map(|number| (number, u32::try_from(number).unwrap())));
    let mut paginator = Skipping::new(window(0, 100), TimeUnit::Second, &paging(100, 10_000));
    let first = Get::Slice(Slice { skip: 0, limit: 100, order: Order::OldestFirst, counts: false });
    for _ in 0..10 {
        let page = server.page(window(0, 100), &first);
        if let Step::Stuck(stuck) = paginator.next(&page, 100) {
            assert_eq!(stuck, Stuck::Repeats);
            return;
        }
    }
    panic!("it went on for ever");
}

#[test]
fn a_page_capped_at_a_usual_size_is_not_treated_as_the_last() {
    let mut server = Server::new((0..130).map(|number| (i64::from(number), number)));
    server.most = 25;
    let outcome = read_all(&mut server, &paging(100, 10_000), window(0, 200), |_, _| {});
    assert_eq!(outcome.keys, keys(&server));
}

#[test]
fn a_page_that_is_too_large_is_halved_and_grows_back() {
    let mut paginator = Skipping::new(window(0, 100), TimeUnit::Second, &paging(100, 10_000));
    let limit = |get| {
        let Get::Slice(slice) = get else { panic!("{get:?}") };
        slice.limit
    };
    assert_eq!(paginator.shrink().map(limit), Some(50));
    for _ in 0..5 {
        paginator.shrink();
    }
    assert_eq!((limit(paginator.asked()), paginator.shrink()), (1, None));
    let mut server = Server::new((0..900).map(|number| (i64::from(number), number)));
    let mut largest = 0;
    loop {
        let page = server.page(window(0, 1000), &paginator.asked());
        match paginator.next(&page, 100) {
            Step::Get(get) => largest = largest.max(limit(get)),
            step => break assert_eq!(step, Step::Done),
        }
    }
    assert_eq!(largest, 100);
    server.records.clear();
}

/// P7: a stable list costs at most 1.02 requests per full page, one per window, and the
/// confirmations.
#[test]
fn a_quiet_list_costs_what_it_should() {
    // 56,400 calls, with a total on each window's first page, and without.
    for says_total in [true, false] {
        let mut scope = Scope::<&str>::new(
            Some(window(0, 60_000)),
            TimeUnit::Second,
            &Paging::SkipLimit(paging(100, 10_000)),
        );
        let server = Server::new((0..56_400).map(|at| (i64::from(at), at)));
        let (mut requests, mut windows) = (0, BTreeSet::new());
        while let Some(ask) = scope.ask() {
            let (window, get) = (ask.window.unwrap(), ask.get.unwrap().0);
            (requests, _) = (requests + 1, windows.insert(window));
            let is_first = matches!(get, Get::Slice(Slice { skip: 0, .. }));
            let mut page = server.page(window, &get);
            let inside = server
                .records
                .iter()
                .filter(|it| window.from.timestamp() - 1 < it.0 && it.0 < window.to.timestamp());
            page.total = (says_total && is_first).then(|| inside.count() as u64);
            scope.take(&page);
        }
        let extent = scope.into_extent();
        assert!(extent.is_complete());
        let (windows, confirmations) = (windows.len() as u64, extent.confirmations);
        assert!(requests <= 56_400 * 102 / 10_000 + windows + confirmations, "{requests}");
        assert!(confirmations <= if says_total { 0 } else { windows }, "{confirmations}");
        assert_eq!((requests, confirmations), if says_total { (570, 0) } else { (571, 1) });
    }
    // 1,100 days of scorecards, none to 20 per day, without any indication of the end.
    let mut habits = super::super::Habits::default();
    let (mut requests, mut confirmations) = (0, 0);
    for day in 0..1_100 {
        let begin = day * 86_400;
        let count = u32::try_from(day * 7 % 21).unwrap();
        let server = Server::new((0..count).map(|at| (begin + 60 * i64::from(at), at)));
        let mut scope = Scope::<&str>::new(
            Some(window(begin, begin + 86_400)),
            TimeUnit::Second,
            &Paging::SkipLimit(paging(100, 10_000)),
        )
        .with_habits(habits);
        while let Some(ask) = scope.ask() {
            requests += 1;
            let page = server.page(ask.window.unwrap(), &ask.get.unwrap().0);
            scope.take(&page);
        }
        habits = habits.and(scope.habits());
        let extent = scope.into_extent();
        assert!(extent.is_complete() && extent.confirmations <= 1);
        confirmations += extent.confirmations;
    }
    assert_eq!(requests, 1_100 + confirmations);
    assert_eq!((requests, confirmations), (1_833, 733));
}
