//! Reading windows by skip and limit, from servers that change meanwhile.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A list of records, each a time in seconds and a number, as a server would page it.
#[derive(Debug, Clone)]
struct Server {
    records: BTreeSet<(i64, u32)>,
    reach: u32,
    most: u32,
    edges_inclusive: bool,
    ties_keep_their_order: bool,
}

impl Server {
    fn new(records: impl IntoIterator<Item = (i64, u32)>) -> Self {
        let records = records.into_iter().collect();
        let (reach, most) = (u32::MAX, u32::MAX);
        Self { records, reach, most, edges_inclusive: false, ties_keep_their_order: false }
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
        if get.order == Order::NewestFirst {
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

/// What reading a window came to.
#[derive(Debug, Default)]
struct Outcome {
    keys: BTreeSet<String>,
    requests: u32,
    windows: u32,
    stuck: Option<Stuck>,
}

fn paging(page_size: u32, reach: u32) -> SkipLimit {
    SkipLimit { page_size, reach, ..SkipLimit::default() }
}

fn window(from: i64, to: i64) -> Window {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    Window::new(at(from), at(to))
}

/// Reads a window to its end; before each request the server may change.
fn read_all(
    server: &mut Server,
    paging: &SkipLimit,
    whole: Window,
    mut before: impl FnMut(u32, &mut Server),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut windows = vec![whole];
    while let Some(window) = windows.pop() {
        outcome.windows += 1;
        let mut paginator = Skipping::new(window, TimeUnit::Second, paging);
        loop {
            before(outcome.requests, server);
            outcome.requests += 1;
            assert!(outcome.requests < 20_000, "paging does not end");
            let page = server.page(window, &paginator.asked());
            outcome.keys.extend(page.entries.iter().map(|entry| entry.key.to_string()));
            match paginator.next(&page) {
                Step::Get(_) => {}
                Step::Done => break,
                Step::Split(rest) => {
                    windows.extend(rest);
                    break;
                }
                Step::Stuck(stuck) => {
                    outcome.stuck = Some(stuck);
                    break;
                }
            }
        }
    }
    outcome
}

fn keys(server: &Server) -> BTreeSet<String> {
    server.records.iter().map(|record| record.1.to_string()).collect()
}

proptest! {
    /// P1: whatever stands still is read completely, within the reach, whether the edges
    /// count or not, however dense a second is, if both ends together can reach it.
    #[test]
    fn a_list_that_stands_still_is_read_completely(
        times in prop::collection::vec(0i64..40, 0..150),
        page_size in 2u32..20,
        reach in 80u32..120,
        edges_inclusive: bool,
    ) {
        let mut server = Server::new(times.into_iter().zip(0..));
        server.reach = reach;
        server.edges_inclusive = edges_inclusive;
        let outcome = read_all(&mut server, &paging(page_size, reach), window(0, 40), |_, _| {});
        prop_assert_eq!(outcome.stuck, None);
        prop_assert_eq!(outcome.keys, keys(&server));
    }

    /// P7: pages overlap by a record and a window costs one request more, and that is all.
    #[test]
    fn requests_are_few(times in prop::collection::vec(0i64..1000, 0..900)) {
        let mut server = Server::new(times.into_iter().zip(0..));
        let outcome = read_all(&mut server, &paging(100, 10_000), window(0, 1000), |_, _| {});
        let rows = u32::try_from(server.records.len()).unwrap();
        prop_assert_eq!(outcome.windows, 1);
        prop_assert!(outcome.requests <= rows / 99 + 1 + u32::from(rows == 25 || rows == 50), "{} for {rows}", outcome.requests);
    }

    /// P1: a record that was there all the time is read, whatever vanishes or arrives.
    #[test]
    fn what_stays_is_read_while_others_come_and_go(
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
                // One that vanishes is made up for by the overlap; several are not.
                for record in all.iter().skip(index.index(all.len())).take(*count) {
                    server.records.remove(record);
                    gone.insert(record.1.to_string());
                }
            }
        });
        lasting.retain(|key| !gone.contains(key));
        prop_assert_eq!(outcome.stuck, None);
        prop_assert!(outcome.keys.is_superset(&lasting), "missing {:?}", lasting.difference(&outcome.keys));
    }
}

#[test]
fn a_second_beyond_the_reach_of_both_ends_is_a_gap_and_said_so() {
    let mut server = Server::new((0..250).map(|number| (5, number)));
    server.reach = 100;
    let outcome = read_all(&mut server, &paging(10, 100), window(0, 10), |_, _| {});
    assert_eq!(outcome.stuck, Some(Stuck::Unreachable));
    let mut server = Server::new((0..190).map(|number| (5, number)));
    server.reach = 100;
    let outcome = read_all(&mut server, &paging(10, 100), window(0, 10), |_, _| {});
    assert_eq!((outcome.stuck, outcome.keys.len()), (None, 190));
    server.ties_keep_their_order = true;
    let outcome = read_all(&mut server, &paging(10, 100), window(0, 10), |_, _| {});
    assert_eq!(outcome.stuck, Some(Stuck::Unreachable));
}

#[test]
fn a_server_that_ignores_skip_is_found_out() {
    let server = Server::new((0..100).map(|number| (number, u32::try_from(number).unwrap())));
    let mut paginator = Skipping::new(window(0, 100), TimeUnit::Second, &paging(100, 10_000));
    let first = Get::Slice(Slice { skip: 0, limit: 100, order: Order::OldestFirst });
    for _ in 0..10 {
        let page = server.page(window(0, 100), &first);
        if let Step::Stuck(stuck) = paginator.next(&page) {
            assert_eq!(stuck, Stuck::Repeats);
            return;
        }
    }
    panic!("it went on for ever");
}

#[test]
fn a_page_cut_to_a_usual_size_is_not_taken_for_the_last() {
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
        match paginator.next(&page) {
            Step::Get(get) => largest = largest.max(limit(get)),
            step => break assert_eq!(step, Step::Done),
        }
    }
    assert_eq!(largest, 100);
    server.records.clear();
}
