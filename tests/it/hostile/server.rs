//! The server: records, how it pages, and what it does wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use clari_lake::internals::fetch::{Exchanged, Get, Severed, Transport};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::at;

/// How the endpoint is declared, and paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The built-in list of calls, by windows of time.
    Calls,
    /// Skip and limit, without a date: a snapshot.
    Listed,
    /// Said to be whole: a snapshot.
    Whole,
    /// Skip and limit, dated by a field, in no window.
    Dated,
    Numbered,
    Cursor,
    NextLink,
    LinkHeader,
}

/// What a reply says of how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Nothing,
    More(usize),
    Total(usize),
    Both,
}

const MORE: [&str; 7] = [
    "hasMore",
    "has_more",
    "has_next_page",
    "HasMoreResults",
    "isLast",
    "pagination.hasMore",
    "meta.more",
];
const TOTAL: [&str; 7] = [
    "total",
    "totalCount",
    "meta.total",
    "pagination.matched",
    "X-Total-Count",
    "count",
    "pagination.total",
];

/// How it is hostile.
#[derive(Debug, Clone)]
struct Ways {
    says: Says,
    /// No page has more records.
    cap: usize,
    /// Ties are broken differently in each reply.
    unstable: bool,
    /// Some records are left out of pages that were cut before.
    filters_after: bool,
    /// Totals count what is left out.
    counts_hidden: bool,
    /// Nothing from this position on ever comes, though replies say that there is more.
    stops_at: Option<usize>,
    /// Replies say that there is more after the last record, too.
    always_more: bool,
    /// Replies in a hundred that are an error, null, a page for people, or nothing.
    faults: u32,
    /// Chances in a hundred that something comes or goes before a reply.
    drift: u32,
    vanishes: bool,
    /// A bare NaN in a record.
    broken: bool,
    /// Asks to wait now and then.
    waits: bool,
}

#[derive(Debug, Clone)]
struct Record {
    id: String,
    second: i64,
    hidden: bool,
    broken: bool,
}

struct State {
    rng: Rng,
    ways: Ways,
    records: Vec<Record>,
    /// What was there when the run began and has not gone since.
    lasting: BTreeSet<String>,
    ever: BTreeSet<String>,
    next: u32,
    /// Whether null came instead of a list. A list that is null twice in a row is empty.
    was_null: bool,
}

pub(super) struct Server {
    pub(super) style: Style,
    page_size: usize,
    is_plain: bool,
    ways: Ways,
    count: usize,
    state: Mutex<State>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} of {} in pages of {}, {:?}",
            self.style, self.count, self.page_size, self.ways
        )
    }
}

/// What it does wrong about where its lists end. Drawn by themselves, so that seeds which found
/// something keep what they draw.
struct Lies {
    /// Pages have one record.
    is_single: bool,
    stops_at: Option<usize>,
    always_more: bool,
}

impl Lies {
    fn draw(seed: u64, style: Style, says: Says, is_plain: bool) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0xE4D);
        let is_told = says != Says::Nothing;
        // The only record of a silent reply that is said to be whole may well be all there is, and
        // one with a page number looks like the last one again once another has come before it.
        let may_be_single = is_told || !matches!(style, Style::Whole | Style::Numbered);
        let is_single = may_be_single && rng.u32(..8) == 0;
        let lie = if is_plain || !is_told { 9 } else { rng.u32(..9) };
        Self {
            is_single,
            stops_at: (lie == 0).then(|| rng.usize(..40)),
            always_more: lie == 1 && matches!(says, Says::More(_) | Says::Both),
        }
    }
}

impl Says {
    fn draw(rng: &mut Rng) -> Self {
        match rng.u32(..5) {
            0 | 1 => Self::Nothing,
            2 => Self::More(rng.usize(..MORE.len())),
            3 => Self::Total(rng.usize(..TOTAL.len())),
            _ => Self::Both,
        }
    }
}

/// How many records a list has: few, any number, or as many as fill its pages.
fn draw_count(rng: &mut Rng, page_size: usize, cap: usize) -> usize {
    match rng.u32(..6) {
        0 => rng.usize(..4),
        1 => page_size * rng.usize(1..4),
        2 => cap * rng.usize(1..5),
        _ => rng.usize(..400),
    }
}

impl Server {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let styles = [
            Style::Calls,
            Style::Listed,
            Style::Whole,
            Style::Dated,
            Style::Numbered,
            Style::Cursor,
            Style::NextLink,
            Style::LinkHeader,
        ];
        let style = styles[rng.usize(..styles.len())];
        let page_size = if style == Style::Calls { 100 } else { rng.usize(10..60) };
        let is_plain = rng.u32(..4) == 0;
        let says = Says::draw(&mut rng);
        let chance = |rng: &mut Rng| !is_plain && rng.u32(..3) == 0;
        // Positions are all that these styles go by.
        let by_position = !matches!(style, Style::Cursor | Style::NextLink | Style::LinkHeader);
        let cap = if rng.bool() { rng.usize(8..page_size.max(9)) } else { page_size };
        let Lies { is_single, stops_at, always_more } = Lies::draw(seed, style, says, is_plain);
        let unstable = by_position && style != Style::Numbered && chance(&mut rng);
        // In silence, single records in another order each time show nothing about an end.
        let is_single = is_single && !(unstable && says == Says::Nothing);
        let cap = if is_single { 1 } else { cap };
        // A page of which nothing is left looks like the end, so pages that are filtered are large.
        let filters_after =
            by_position && style != Style::Numbered && cap >= 20 && chance(&mut rng);
        let drift = if chance(&mut rng) { rng.u32(5..40) } else { 0 };
        let ways = Ways {
            says,
            cap,
            unstable: unstable && !filters_after,
            filters_after,
            // A plain server whose totals count what it leaves out says where its lists end.
            counts_hidden: rng.bool() && !(is_plain && matches!(says, Says::Total(_))),
            stops_at,
            always_more,
            faults: if chance(&mut rng) { rng.u32(1..25) } else { 0 },
            // In silence, a single record that comes again may be the last one, or have moved.
            drift: if cap == 1 && says == Says::Nothing { 0 } else { drift },
            vanishes: by_position && style != Style::Numbered && rng.bool(),
            broken: chance(&mut rng),
            waits: chance(&mut rng),
        };
        let most = if is_single { 60 } else { usize::MAX };
        let count = draw_count(&mut rng, page_size, cap).min(most);
        let span = [1, 60, 3_600, 20 * 86_400][rng.usize(..4)];
        let mut state = State {
            rng,
            ways: ways.clone(),
            records: Vec::new(),
            lasting: BTreeSet::new(),
            ever: BTreeSet::new(),
            next: 0,
            was_null: false,
        };
        for _ in 0..count {
            state.add(span);
        }
        Self { style, page_size, is_plain, ways, count, state: Mutex::new(state) }
    }

    /// Whether it does nothing wrong but to cap its pages and to say little.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether its replies to a list never say that it ends.
    pub(super) fn never_ends(&self) -> bool {
        self.ways.always_more
    }

    /// From here on it does nothing wrong any more.
    pub(super) fn rest(&self) {
        let mut state = self.state.lock().unwrap();
        (state.ways.faults, state.ways.drift, state.ways.waits) = (0, 0, false);
    }

    /// What a run must find if it stays.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock().unwrap();
        state.was_null = false;
        state.lasting =
            state.records.iter().filter(|it| !it.hidden).map(|it| it.id.clone()).collect();
    }

    /// What stayed.
    pub(super) fn end(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().lasting.clone()
    }

    pub(super) fn ever_had(&self, id: &str) -> bool {
        self.state.lock().unwrap().ever.contains(id)
    }

    /// The endpoint's name, and its file unless it is built in.
    pub(super) fn endpoint(&self) -> (&'static str, Option<String>) {
        if self.style == Style::Calls {
            return ("calls", None);
        }
        let size = self.page_size;
        let has_more = match self.ways.says {
            // What is said in a place of its own may be declared, and need not be.
            Says::More(6) => ", has_more = '$.meta.more'",
            _ => "",
        };
        let paging = match self.style {
            Style::Whole | Style::Calls => String::new(),
            Style::Listed | Style::Dated => {
                format!("paging = {{ style = 'skip_limit', page_size = {size}{has_more} }}")
            }
            Style::Numbered => {
                format!("paging = {{ style = 'page_number', size = 'size', page_size = {size} }}")
            }
            Style::Cursor => "paging = { style = 'cursor', next = '$.next_cursor' }".to_owned(),
            Style::NextLink => "paging = { style = 'next_link', next = '$.links.next' }".to_owned(),
            Style::LinkHeader => "paging = { style = 'link_header' }".to_owned(),
        };
        let dated = match self.style {
            Style::Whole | Style::Listed => "by = 'run'",
            _ => "by = 'field', field = 'time'",
        };
        let text = format!(
            "description = 'd'\npath = '/items'\nrecords = '$.items[*]'\nkey = ['id']\n\
             dated = {{ {dated} }}\n{paging}\n\
             [[column]]\nname = 'id'\ntype = 'string'\n[[column]]\nname = 'time'\ntype = 'timestamp'\n"
        );
        ("items", Some(text))
    }

    pub(super) fn transport(self: &Arc<Self>) -> Arc<dyn Transport> {
        let server = Arc::clone(self);
        Arc::new(move |get: Get| Arc::clone(&server).exchange(get))
    }

    async fn exchange(self: Arc<Self>, get: Get) -> Result<Exchanged, Severed> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let query: BTreeMap<String, String> =
            get.url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
        Ok(self.answer(&query))
    }

    fn answer(&self, query: &BTreeMap<String, String>) -> Exchanged {
        let mut state = self.state.lock().unwrap();
        state.live(self.style);
        if let Some(fault) = state.fault(self.list()) {
            return fault;
        }
        let number = |name: &str| query.get(name).and_then(|it| it.parse::<usize>().ok());
        let instant = |name: &str| {
            query.get(name).map(|it| it.parse::<DateTime<chrono::Utc>>().unwrap().timestamp())
        };
        let (from, to) = (instant("filterTimeGt"), instant("filterTimeLt"));
        let inside = |it: &&Record| {
            from.is_none_or(|from| it.second > from) && to.is_none_or(|to| it.second < to)
        };
        let mut records: Vec<Record> = state.records.iter().filter(inside).cloned().collect();
        records.sort_by_key(|it| (it.second, it.id.clone()));
        if query.get("sortTime").is_some_and(|it| it == "desc") {
            records.reverse();
        }
        if state.ways.unstable {
            state.rng.shuffle(&mut records);
            let descending = query.get("sortTime").is_some_and(|it| it == "desc");
            records.sort_by_key(|it| if descending { -it.second } else { it.second });
        }
        let ways = state.ways.clone();
        if !ways.filters_after {
            let shown = records.iter().filter(|it| !it.hidden).count();
            let hidden = records.len() - shown;
            records.retain(|it| !it.hidden);
            return self.page(
                &ways,
                records,
                if ways.counts_hidden { hidden } else { 0 },
                query,
                number,
            );
        }
        self.page(&ways, records, 0, query, number)
    }

    fn list(&self) -> &'static str {
        if self.style == Style::Calls { "calls" } else { "items" }
    }

    fn page(
        &self,
        ways: &Ways,
        records: Vec<Record>,
        hidden: usize,
        query: &BTreeMap<String, String>,
        number: impl Fn(&str) -> Option<usize>,
    ) -> Exchanged {
        let limit = number("limit").or(number("size")).unwrap_or(self.page_size).min(ways.cap);
        let skip = match self.style {
            Style::Numbered => (number("page").unwrap_or(1) - 1) * limit,
            // What asks for the next page names the last record, so nothing moves it.
            Style::Cursor | Style::NextLink | Style::LinkHeader => {
                let last = query.get("cursor").map(|it| it.split_once('~').unwrap());
                let last = last.map(|(second, id)| (second.parse::<i64>().unwrap(), id.to_owned()));
                let is_before = |it: &Record| {
                    last.as_ref().is_some_and(|last| (it.second, it.id.clone()) <= *last)
                };
                records.partition_point(is_before)
            }
            _ => number("skip").unwrap_or(0),
        };
        let total = records.len() + hidden;
        let end = (skip + limit).min(records.len());
        let goes_on = end < records.len();
        let is_cut = ways.stops_at.is_some_and(|stop| stop < records.len());
        let more = goes_on || is_cut || ways.always_more;
        let last = records.get(end.wrapping_sub(1)).map(|it| format!("{}~{}", it.second, it.id));
        let left = ways.stops_at.unwrap_or(usize::MAX).saturating_sub(skip);
        let mut page: Vec<Record> = records.into_iter().skip(skip).take(limit.min(left)).collect();
        page.retain(|it| !it.hidden);
        let items: Vec<Value> = page.iter().map(Record::json).collect();
        let mut body = json!({ self.list(): items });
        let mut headers = Vec::new();
        if matches!(ways.says, Says::More(_) | Says::Both) {
            let name = match ways.says {
                Says::More(spelling) => MORE[spelling],
                _ => MORE[0],
            };
            let value = if name == "isLast" { !more } else { more };
            set(&mut body, name, json!(value));
        }
        let counted = query.get("includePagination").is_none_or(|it| it == "true");
        if matches!(ways.says, Says::Total(_) | Says::Both) && counted {
            match ways.says {
                Says::Total(4) => headers.push(("x-total-count", total.to_string())),
                Says::Total(spelling) => set(&mut body, TOTAL[spelling], json!(total)),
                _ => set(&mut body, TOTAL[0], json!(total)),
            }
        }
        if goes_on && let Some(last) = last {
            let address = format!("/items?cursor={last}");
            match self.style {
                Style::Cursor => set(&mut body, "next_cursor", json!(last)),
                Style::NextLink => set(&mut body, "links.next", json!(address)),
                Style::LinkHeader => headers.push(("link", format!("<{address}>; rel=\"next\""))),
                _ => {}
            }
        }
        let body = body.to_string().replace("\"@NaN@\"", "NaN");
        reply(200, body, &headers)
    }
}

impl State {
    /// A record comes, somewhere in this span.
    fn add(&mut self, span: i64) {
        let base = at("2026-11-01T00:00:00Z").timestamp();
        let second = base + self.rng.i64(0..span);
        let hidden = self.rng.u32(..5) == 0 && (self.ways.filters_after || self.ways.counts_hidden);
        let id = format!("r{:05}", self.next);
        let broken = self.ways.broken && self.rng.u32(..40) == 0;
        self.next += 1;
        if !hidden {
            self.ever.insert(id.clone());
        }
        self.records.push(Record { id, second, hidden, broken });
    }

    /// Something comes or goes.
    fn live(&mut self, style: Style) {
        if self.rng.u32(..100) >= self.ways.drift {
            return;
        }
        if self.ways.vanishes && self.rng.bool() && !self.records.is_empty() {
            let gone = self.records.swap_remove(self.rng.usize(..self.records.len()));
            self.lasting.remove(&gone.id);
        } else {
            let span = if style == Style::Calls { 20 * 86_400 } else { 3_600 };
            self.add(span);
        }
    }

    /// A reply that is not a list.
    fn fault(&mut self, list: &str) -> Option<Exchanged> {
        if self.ways.waits && self.rng.u32(..60) == 0 {
            return Some(reply(
                429,
                "{}".to_owned(),
                &[("retry-after", self.rng.u32(1..40).to_string())],
            ));
        }
        if self.rng.u32(..100) >= self.ways.faults {
            return None;
        }
        Some(match self.rng.u32(..8) {
            1 if std::mem::replace(&mut self.was_null, true) => reply(503, "busy".to_owned(), &[]),
            0 => reply(200, json!({list: null, "error": "upstream timed out"}).to_string(), &[]),
            1 => reply(200, json!({list: null}).to_string(), &[]),
            2 => reply(200, String::new(), &[]),
            3 => reply(200, "<html><body>Sign in</body></html>".to_owned(), &[]),
            4 => reply(200, json!({"error": {"message": "no"}}).to_string(), &[]),
            5 => reply(200, format!("{{\"{list}\": [{{\"id\""), &[]),
            6 => reply(502, "{\"message\": \"Internal server error\"}".to_owned(), &[]),
            _ => reply(503, "busy".to_owned(), &[]),
        })
    }
}

impl Record {
    fn json(&self) -> Value {
        let time = DateTime::from_timestamp(self.second, 0).unwrap().to_rfc3339();
        let mut record = json!({
            "id": self.id, "time": time, "last_modified_time": time, "status": "SCHEDULED",
        });
        if self.broken {
            record["score"] = json!("@NaN@");
        }
        record
    }
}

/// Sets a member, or a member of a member.
fn set(body: &mut Value, path: &str, value: Value) {
    match path.split_once('.') {
        Some((outer, inner)) => body[outer][inner] = value,
        None => body[path] = value,
    }
}

fn reply(status: u16, body: String, headers: &[(&'static str, String)]) -> Exchanged {
    let mut reply = Exchanged::new(Bytes::from(body));
    *reply.status_mut() = http::StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        reply.headers_mut().insert(*name, value.parse().unwrap());
    }
    reply
}
