//! `/calls`: which calls match a query, in which order, and which of them are on the page. A time
//! window alone costs two binary searches; every other filter only checks the calls in that window.

use super::query::{Query, Span};
use super::record::{record, texts};
use super::reply::Reply;
use super::settings::Settings;
use super::slot::Slot;
use super::workspace::State;
use serde_json::Value;
use std::cmp::Reverse;

/// A request for calls.
pub(super) struct Listing {
    /// Half-open, in milliseconds, like all bounds here.
    time: (i64, i64),
    modified: (i64, i64),
    seconds: (i64, i64),
    private: bool,
    statuses: Vec<String>,
    kinds: Vec<String>,
    users: Vec<String>,
    attendees: Vec<String>,
    topics: Vec<String>,
    sources: Vec<String>,
    order: Order,
    ties_ascending: bool,
    pub(super) span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Oldest,
    Newest,
    LeastProcessed,
    LastProcessed,
}

/// A page and the total number of matching calls.
pub(super) struct Page<'a> {
    pub(super) calls: Vec<&'a Slot>,
    pub(super) matched: usize,
}

/// Both bounds of a filter as a half-open range.
pub(super) fn bounds(
    query: &Query<'_>,
    name: &str,
    settings: &Settings,
) -> Result<(i64, i64), Reply> {
    let edge = i64::from(settings.edges_inclusive);
    let after = query.instant(&format!("filter{name}Gt"))?;
    let before = query.instant(&format!("filter{name}Lt"))?;
    Ok((after.map_or(i64::MIN, |at| at + 1 - edge), before.map_or(i64::MAX, |at| at + edge)))
}

impl Listing {
    pub(super) fn of(query: &Query<'_>, settings: &Settings) -> Result<Self, Reply> {
        let edge = i64::from(settings.edges_inclusive);
        let longer = query.integer("filterDurationGt")?;
        let shorter = query.integer("filterDurationLt")?;
        Ok(Self {
            time: bounds(query, "Time", settings)?,
            modified: bounds(query, "Modified", settings)?,
            seconds: (
                longer.map_or(i64::MIN, |value| value.saturating_add(1 - edge)),
                shorter.map_or(i64::MAX, |value| value.saturating_add(edge)),
            ),
            private: query.flag("includePrivate", false)?,
            statuses: query.many("filterStatus"),
            kinds: query.many("filterType"),
            users: query.many("filterUser"),
            attendees: query.many("filterAttendees"),
            topics: query.many("filterTopics"),
            sources: query.many("filterSourceId"),
            order: order(query)?,
            ties_ascending: settings.ties_ascending,
            span: query.span(25, settings.beyond_cap)?,
        })
    }

    pub(super) fn page<'a>(&self, state: &'a State) -> Page<'a> {
        let line = state.calls.range(self.time.0, self.time.1, self.private);
        let at = |place: usize| state.calls.at(place);
        let Span { skip, limit } = self.span;
        let newest = self.order == Order::Newest && !self.ties_ascending;
        if self.only_time() && (newest || self.order == Order::Oldest) {
            let places = line.iter().map(|(_, place)| *place);
            let calls = if newest {
                places.rev().skip(skip).take(limit).filter_map(at).collect()
            } else {
                places.skip(skip).take(limit).filter_map(at).collect()
            };
            return Page { calls, matched: line.len() };
        }
        let slots = line.iter().filter_map(|(_, place)| at(*place));
        let mut slots: Vec<&Slot> = slots.filter(|slot| self.matches(state, slot)).collect();
        self.sort(&mut slots);
        let matched = slots.len();
        Page { calls: slots.into_iter().skip(skip).take(limit).collect(), matched }
    }

    /// Sorts calls from oldest-first into the requested order.
    fn sort(&self, slots: &mut [&Slot]) {
        match self.order {
            Order::Oldest => {}
            Order::Newest if self.ties_ascending => slots.sort_by_key(|slot| Reverse(slot.time)),
            Order::Newest => slots.reverse(),
            Order::LeastProcessed => slots.sort_by_key(|slot| slot.modified),
            Order::LastProcessed => slots.sort_by_key(|slot| Reverse(slot.modified)),
        }
    }

    fn only_time(&self) -> bool {
        let unbounded = (i64::MIN, i64::MAX);
        let words = [&self.statuses, &self.kinds];
        self.modified == unbounded
            && self.seconds == unbounded
            && words.into_iter().all(Vec::is_empty)
            && !self.needs_record()
    }

    fn needs_record(&self) -> bool {
        let words = [&self.users, &self.attendees, &self.topics, &self.sources];
        !words.into_iter().all(Vec::is_empty)
    }

    fn matches(&self, state: &State, slot: &Slot) -> bool {
        let seconds = i64::from(slot.seconds);
        within(slot.modified, self.modified)
            && within(seconds, self.seconds)
            && (self.statuses.is_empty() || self.statuses.iter().any(|word| *word == *slot.status))
            && (self.kinds.is_empty() || self.kinds.iter().any(|word| *word == *slot.kind))
            && (!self.needs_record() || self.matches_record(state, slot))
    }

    fn matches_record(&self, state: &State, slot: &Slot) -> bool {
        let record = record(&state.catalogue, slot);
        let metrics = record.get("metrics").and_then(Value::as_object);
        let topics =
            metrics.map(|metrics| texts(metrics, "categories", "name")).unwrap_or_default();
        let source = record.get("source_id").and_then(Value::as_str);
        any(&self.users, &texts(&record, "users", "userEmail"))
            && any(&self.attendees, &texts(&record, "externalParticipants", "email"))
            && any(&self.topics, &topics)
            && any(&self.sources, &source.into_iter().collect::<Vec<_>>())
    }
}

fn order(query: &Query<'_>) -> Result<Order, Reply> {
    let words = ["asc", "desc"];
    let (time, processed) = (query.word("sortTime", &words)?, query.word("sortProcessed", &words)?);
    Ok(match (time, processed) {
        (Some("asc"), _) => Order::Oldest,
        (None, Some("asc")) => Order::LeastProcessed,
        (None, Some(_)) => Order::LastProcessed,
        _ => Order::Newest,
    })
}

fn within(value: i64, bounds: (i64, i64)) -> bool {
    bounds.0 <= value && value < bounds.1
}

/// An empty filter matches everything; several values match any of them.
fn any(wanted: &[String], found: &[&str]) -> bool {
    wanted.is_empty() || wanted.iter().any(|word| found.contains(&word.as_str()))
}
