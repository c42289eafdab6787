//! The source: records of generated endpoints that change, and an API in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::kind::{BuiltIn, Dated, Format, Kind, Paging, Reading, TYPES};

/// A record at the source.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The time by which windows find it; in the record itself where the endpoint says so.
    pub(super) at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    record: Map<String, Value>,
    /// The id that leads to it, of a child.
    pub(super) of: Option<String>,
    /// Whether it is listed only with private records.
    pub(super) hidden: bool,
}

impl Item {
    /// Whether it names this id.
    pub(super) fn refers_to(&self, id: &str) -> bool {
        self.record["refs"].as_array().is_some_and(|refs| refs.iter().any(|it| it == id))
    }
}

/// The records of all endpoints, and what became of them.
pub(super) struct Source {
    pub(super) kinds: Vec<Kind>,
    pub(super) names: Vec<String>,
    pub(super) items: Vec<BTreeMap<String, Item>>,
    /// Keys that the source lacked at some time since it had them.
    pub(super) gone: Vec<BTreeSet<String>>,
    /// Keys whose records were of another day at some time.
    pub(super) moved: Vec<BTreeSet<String>>,
    /// Keys that lists without private records lacked at some time.
    pub(super) veiled: Vec<BTreeSet<String>>,
    /// Records that were deleted and can come back.
    deleted: Vec<(usize, String, Item)>,
    /// What changes without a trace is no older than this.
    pub(super) silent_since: DateTime<Utc>,
    first: DateTime<Utc>,
    /// Whether the edges of a window are inside.
    edges_inside: bool,
    rng: Rng,
    born: u64,
}

/// What changes at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Schedule,
    Edit,
    EditSilently,
    Move,
    Delete,
    /// What was deleted is there again.
    Return,
    /// A record becomes private.
    Hide,
    /// A private record becomes public.
    Show,
}

impl Change {
    pub(super) const ALL: [Self; 9] = [
        Self::Create,
        Self::Schedule,
        Self::Edit,
        Self::EditSilently,
        Self::Move,
        Self::Delete,
        Self::Return,
        Self::Hide,
        Self::Show,
    ];
}

/// A page of an answer, and whose it is.
pub(super) struct Answer {
    pub(super) kind: usize,
    pub(super) body: Value,
    /// The keys, times and contents of its records.
    pub(super) records: Vec<(String, DateTime<Utc>, Value)>,
    /// Before which a record's time must be so that it is taken.
    pub(super) to: Option<DateTime<Utc>>,
    /// What the list is of, where a whole list says what is not there.
    pub(super) scope: Option<String>,
}

/// Why there is no page.
pub(super) enum NoAnswer {
    NotFound,
    Refused,
}

impl Source {
    pub(super) fn new(
        kinds: &[Kind],
        names: &[String],
        counts: &[u16],
        now: DateTime<Utc>,
        mut rng: Rng,
    ) -> Self {
        let first = now - TimeDelta::days(12);
        let mut source = Self {
            kinds: kinds.to_vec(),
            names: names.to_vec(),
            items: vec![BTreeMap::new(); kinds.len()],
            gone: vec![BTreeSet::new(); kinds.len()],
            moved: vec![BTreeSet::new(); kinds.len()],
            veiled: vec![BTreeSet::new(); kinds.len()],
            deleted: Vec::new(),
            silent_since: first,
            first,
            edges_inside: rng.bool(),
            rng,
            born: 0,
        };
        for (kind, count) in counts.iter().enumerate() {
            for _ in 0..*count {
                source.create(kind, first, now);
            }
        }
        source
    }

    fn instant(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
        let span = (to - from).num_milliseconds().max(1);
        let at = from + TimeDelta::milliseconds(self.rng.i64(0..span));
        // Every other record shares its instant with some other.
        let whole = if self.rng.bool() { 3_600_000 } else { 1 };
        let floored = at.timestamp_millis().div_euclid(whole) * whole;
        DateTime::from_timestamp_millis(floored).unwrap().max(from)
    }

    /// A new record of a root, with its children.
    fn create(&mut self, kind: usize, from: DateTime<Utc>, to: DateTime<Utc>) {
        if self.kinds[kind].parent.is_some() {
            return;
        }
        self.born += 1;
        let id = format!("{}-{}", self.names[kind], self.born);
        let mut at = self.instant(from, to);
        if self.kinds[kind].day_key {
            at = away_from_midnight(at);
        }
        let mut record = self.content(kind);
        record.insert("id".to_owned(), json!(id));
        record.insert("refs".to_owned(), json!(self.references()));
        let hidden = self.kinds[kind].private && self.rng.u8(..4) == 0;
        let item = Item { at, changed_at: to, record, of: None, hidden };
        let key = self.key(kind, &id, at);
        if hidden {
            self.veiled[kind].insert(key.clone());
        }
        self.items[kind].insert(key, item);
        self.create_children(kind, &id);
    }

    fn references(&mut self) -> Vec<String> {
        (0..self.rng.usize(..3)).map(|_| format!("ref-{}", self.rng.u8(..5))).collect()
    }

    /// What a record says beside its id and time.
    fn content(&mut self, kind: usize) -> Map<String, Value> {
        let of = &self.kinds[kind];
        let (statuses, words) = (of.statuses(), of.words());
        let (is_verbatim, is_built_in) = (of.verbatim, of.built_in.is_some());
        let mut record = Map::new();
        let mut say = |name: &str, value: Value| record.insert(name.to_owned(), value);
        say("status", json!(statuses[self.rng.usize(..statuses.len())]));
        say("type", json!(TYPES[self.rng.usize(..TYPES.len())]));
        say(words.owner, json!(format!("owner {}", self.rng.u8(..3))));
        say("mood", json!(format!("mood {}", self.rng.u16(..))));
        let n = match self.rng.u8(..12) {
            0 => json!("many"),
            1 => Value::Null,
            _ => json!(self.rng.i32(..1_000)),
        };
        say("n", n);
        if is_verbatim {
            let text = format!("words {}", self.rng.u16(..));
            let turn = json!([{ "text": text, "personId": 0 }]);
            say(words.said, if is_built_in { turn } else { json!(text) });
        }
        record
    }

    fn create_children(&mut self, parent: usize, id: &str) {
        for kind in self.children_of(parent) {
            match self.reading(kind) {
                Reading::LookUp => {
                    let record = self.content(kind);
                    self.put_child(kind, id, id.to_owned(), record);
                }
                Reading::List => {
                    for _ in 0..self.rng.u8(..4) {
                        self.born += 1;
                        let child = format!("child-{}", self.rng.u8(..6));
                        let record = self.content(kind);
                        self.put_child(kind, id, child, record);
                    }
                }
                Reading::ByReference => {
                    for number in 0..5 {
                        let child = format!("ref-{number}");
                        if !self.items[kind].contains_key(&child) {
                            let record = self.content(kind);
                            self.put_child(kind, &child.clone(), child, record);
                        }
                    }
                }
            }
        }
    }

    fn put_child(&mut self, kind: usize, of: &str, id: String, mut record: Map<String, Value>) {
        record.insert("id".to_owned(), json!(id));
        let lineage = self.kinds[kind].parent.clone().unwrap();
        let parent = self.items[lineage.parent].get(of).map(|it| (it.at, it.changed_at));
        let (at, changed_at) = parent.unwrap_or((self.first, self.first));
        let key = match self.kinds[kind].parent_column() {
            Some(_) => format!("{of}/{id}"),
            None => id,
        };
        let item = Item { at, changed_at, record, of: Some(of.to_owned()), hidden: false };
        self.items[kind].insert(key, item);
    }

    /// Whether a window finds something from some instant of these on.
    pub(super) fn begins_in(&self, span: Range<DateTime<Utc>>) -> bool {
        self.items.iter().any(|items| items.values().any(|item| span.contains(&item.at)))
    }

    pub(super) fn children_of(&self, parent: usize) -> Vec<usize> {
        let is_child = |kind: &Kind| kind.parent.as_ref().is_some_and(|it| it.parent == parent);
        (0..self.kinds.len()).filter(|at| is_child(&self.kinds[*at])).collect()
    }

    fn reading(&self, kind: usize) -> Reading {
        self.kinds[kind].parent.as_ref().unwrap().reading
    }

    fn key(&self, kind: usize, id: &str, at: DateTime<Utc>) -> String {
        if self.kinds[kind].day_key { format!("{id}@{}", at.date_naive()) } else { id.to_owned() }
    }

    /// Changes one thing; while lists are `read`, nothing that a page's number cannot show.
    pub(super) fn change(&mut self, kind: usize, change: Change, now: DateTime<Utc>, read: bool) {
        let is_root = self.kinds[kind].parent.is_none();
        let by_number = read && self.kinds[kind].paging.is_positional();
        let since = if self.kinds[kind].modified { self.first } else { self.silent_since };
        match change {
            Change::Create if is_root => self.create(kind, since.min(now), now),
            Change::Schedule if is_root && !by_number => {
                self.create(kind, now, now + TimeDelta::hours(40));
            }
            Change::Edit => self.edit(kind, since, now, true),
            // Where nothing but changes is asked for, a silent one is never seen.
            Change::EditSilently => {
                let is_seen = self.kinds[kind].window.is_some() || !self.kinds[kind].modified;
                self.edit(kind, self.silent_since, now, !is_seen);
            }
            Change::Move if is_root && !by_number => self.move_one(kind, since, now),
            Change::Delete if !by_number => self.delete(kind, now),
            Change::Return if !by_number => self.put_back(kind, now),
            Change::Hide if !by_number => self.veil(kind, true),
            Change::Show if !by_number => self.veil(kind, false),
            _ => {}
        }
    }

    fn any(&mut self, kind: usize, since: DateTime<Utc>) -> Option<String> {
        let ours = self.items[kind]
            .iter()
            .filter(|(_, item)| self.kinds[kind].is_snapshot() || item.at >= since);
        let keys: Vec<String> = ours.map(|(key, _)| key.clone()).collect();
        self.rng.choice(keys)
    }

    fn edit(&mut self, kind: usize, since: DateTime<Utc>, now: DateTime<Utc>, noted: bool) {
        // What is looked up changes with its parent only, which is how its change is known.
        if self.kinds[kind].is_look_up() {
            return;
        }
        let Some(key) = self.any(kind, since) else { return };
        let content = self.content(kind);
        let refs = self.references();
        let item = self.items[kind].get_mut(&key).unwrap();
        item.record.extend(content);
        if self.kinds[kind].parent.is_none() {
            item.record.insert("refs".to_owned(), json!(refs));
        }
        if noted {
            item.changed_at = now;
        }
        let id = item.record["id"].as_str().unwrap().to_owned();
        for child in self.children_of(kind) {
            if self.kinds[child].is_look_up() {
                let content = self.content(child);
                if let Some(item) = self.items[child].get_mut(&id) {
                    item.record.extend(content);
                }
            } else {
                self.note_unselected(child, kind, &key, now);
            }
        }
    }

    /// Notes the children that nothing leads to since their parent says something else: no parent
    /// that every run sees.
    fn note_unselected(&mut self, child: usize, parent: usize, key: &str, now: DateTime<Utc>) {
        let is_selected = self.selects(child, &self.items[parent][key]);
        let id = self.items[parent][key].record["id"].as_str().unwrap().to_owned();
        let led_to = self.led_to_by(child, &|it| !it.hidden && it.at <= now);
        let is_lost = |key: &String, item: &Item| match self.reading(child) {
            Reading::ByReference => !led_to.contains(key),
            _ => !is_selected && item.of.as_deref() == Some(&id),
        };
        let lost = self.items[child].iter().filter(|(key, item)| is_lost(key, item));
        let lost: Vec<String> = lost.map(|(key, _)| key.clone()).collect();
        self.gone[child].extend(lost);
    }

    /// Whether a parent's record is one that the child asks by.
    pub(super) fn selects(&self, child: usize, parent: &Item) -> bool {
        let when = &self.kinds[child].parent.as_ref().unwrap().when;
        when.iter().all(|(field, values)| values.iter().any(|it| parent.record[*field] == *it))
    }

    /// The ids that the present parents of a child lead to, of those that satisfy `is_seen`.
    fn led_to_by(&self, child: usize, is_seen: &dyn Fn(&Item) -> bool) -> BTreeSet<String> {
        let lineage = self.kinds[child].parent.as_ref().unwrap();
        let parents = self.items[lineage.parent].values();
        let parents = parents.filter(|it| self.selects(child, it) && is_seen(it));
        let ids = parents.flat_map(|it| match lineage.reading {
            Reading::ByReference => it.record["refs"].as_array().unwrap().clone(),
            _ => vec![it.record["id"].clone()],
        });
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    fn move_one(&mut self, kind: usize, since: DateTime<Utc>, now: DateTime<Utc>) {
        if self.kinds[kind].dated != Dated::Field {
            return;
        }
        let Some(key) = self.any(kind, since) else { return };
        let at = self.instant(since.min(now), now);
        let id = {
            let item = self.items[kind].get_mut(&key).unwrap();
            (item.at, item.changed_at) = (at, now);
            item.record["id"].as_str().unwrap().to_owned()
        };
        self.moved[kind].insert(key);
        for child in self.children_of(kind) {
            for (key, item) in &mut self.items[child] {
                if item.of.as_deref() == Some(&id) && self.kinds[child].dated == Dated::Field {
                    item.at = at;
                    self.moved[child].insert(key.clone());
                }
            }
        }
    }

    /// Makes a record private, or public; where that leaves no trace but in lists.
    fn veil(&mut self, kind: usize, hidden: bool) {
        if !self.kinds[kind].private {
            return;
        }
        let Some(key) = self.any(kind, self.silent_since) else { return };
        self.items[kind].get_mut(&key).unwrap().hidden = hidden;
        self.veiled[kind].insert(key);
    }

    /// What was deleted last is there again.
    fn put_back(&mut self, kind: usize, now: DateTime<Utc>) {
        let since = self.silent_since;
        let is_seen = |(of, _, item): &(usize, String, Item)| *of == kind && item.at >= since;
        let Some(place) = self.deleted.iter().rposition(is_seen) else { return };
        let (_, key, mut item) = self.deleted.remove(place);
        // As all that is looked up it says something new only where its parent does.
        item.changed_at = now;
        item.record.extend(self.content(kind));
        let id = item.record["id"].as_str().unwrap().to_owned();
        self.items[kind].insert(key.clone(), item);
        self.create_children(kind, &id);
        // A run that still knows the record as it was may read them.
        for child in self.children_of(kind) {
            if !self.kinds[child].is_look_up() {
                self.note_unselected(child, kind, &key, now);
            }
        }
    }

    fn delete(&mut self, kind: usize, now: DateTime<Utc>) {
        if self.kinds[kind].is_look_up() {
            return;
        }
        let Some(key) = self.any(kind, self.silent_since) else { return };
        let Some(item) = self.items[kind].remove(&key) else { return };
        if self.kinds[kind].parent.is_none() {
            self.deleted.push((kind, key.clone(), item.clone()));
        }
        let id = item.record["id"].as_str().unwrap().to_owned();
        self.gone[kind].insert(key);
        for child in self.children_of(kind) {
            if self.reading(child) == Reading::ByReference {
                // Not every run sees the parents that still lead there.
                let led_to = self.led_to_by(child, &|it| !it.hidden && it.at <= now);
                let lost = self.items[child].keys().filter(|key| !led_to.contains(*key));
                let lost: Vec<String> = lost.cloned().collect();
                self.gone[child].extend(lost);
                continue;
            }
            let is_of = |item: &Item| item.of.as_deref() == Some(&id);
            let keys = self.items[child].iter().filter(|(_, item)| is_of(item));
            let keys: Vec<String> = keys.map(|(key, _)| key.clone()).collect();
            for key in keys {
                self.items[child].remove(&key);
                self.gone[child].insert(key);
            }
        }
    }

    /// Whether a row may be put into another partition: its record moved, or was found in the window
    /// of a day before.
    pub(super) fn may_move(&self, kind: usize, key: &str) -> bool {
        self.kinds[kind].dated == Dated::Window || self.moved[kind].contains(key)
    }

    /// Whether look-ups of this endpoint tell which of the parent's records are gone.
    pub(super) fn detects(&self, kind: usize) -> bool {
        let of = &self.kinds[kind];
        of.deletes && of.is_look_up()
    }

    /// Whether rows of this endpoint go, or are marked, when a look-up answers 404.
    pub(super) fn loses_rows(&self, kind: usize) -> bool {
        let root = self.kinds[kind].parent.as_ref().map_or(kind, |it| it.parent);
        self.children_of(root).into_iter().any(|child| self.detects(child))
    }

    /// A record as the API shows it.
    pub(super) fn shown(&self, kind: usize, item: &Item) -> Value {
        let mut record = item.record.clone();
        let of = &self.kinds[kind];
        if of.dated == Dated::Field {
            record.insert(of.words().at.to_owned(), json!(stamp(item.at)));
        }
        if of.modified {
            record.insert(of.words().changed_at.to_owned(), json!(stamp(item.changed_at)));
        }
        Value::Object(record)
    }

    /// Answers a request.
    pub(super) fn answer(
        &self,
        path: &str,
        query: &[(String, String)],
        now: DateTime<Utc>,
    ) -> Result<Answer, NoAnswer> {
        let (kind, of) = self.route(path, query).ok_or(NoAnswer::NotFound)?;
        let asked = Asked { query, of };
        let found = self.find(kind, &asked, now)?;
        let is_single = self.kinds[kind].is_single();
        if is_single && found.is_empty() {
            return Err(NoAnswer::NotFound);
        }
        let (from, count) = asked.page(self.kinds[kind].paging, found.len())?;
        let page = found.iter().skip(from).take(count);
        let records: Vec<_> =
            page.map(|(key, item)| ((*key).clone(), item.at, self.shown(kind, item))).collect();
        let shown: Vec<&Value> = records.iter().map(|(_, _, record)| record).collect();
        let words = self.kinds[kind].words();
        let mut body = if is_single {
            json!({ words.single: shown[0] })
        } else {
            json!({ words.list: shown })
        };
        let behind = from + records.len();
        if behind < found.len() {
            match self.kinds[kind].paging {
                Paging::Cursor { .. } => body["next"] = json!(format!("c{behind}")),
                Paging::Link { size } => {
                    let rest = query.iter().filter(|(name, _)| name != "cursor" && name != "limit");
                    let rest: Vec<_> = rest.map(|(name, it)| format!("&{name}={it}")).collect();
                    let link = format!("{path}?cursor=c{behind}&limit={size}{}", rest.concat());
                    body["next"] = json!(link);
                }
                _ => {}
            }
        }
        Ok(Answer {
            kind,
            body,
            records,
            to: asked.to(&self.kinds[kind]),
            scope: self.scope(kind, &asked),
        })
    }

    /// The endpoint that a path is of, and the id of the parent.
    pub(super) fn route(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Option<(usize, Option<String>)> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let built_in = |it: BuiltIn| self.kinds.iter().position(|kind| kind.built_in == Some(it));
        let is_below = |it: BuiltIn| parts.len() > 1 && it == BuiltIn::PlaylistCalls;
        if let Some(own) = self.names.iter().position(|it| *it == parts[0])
            && self.kinds[own].built_in.is_none()
        {
            return Some((own, (parts.len() > 1).then(|| decoded(parts[parts.len() - 1]))));
        }
        let is_named = |kind: &Kind| {
            let it = kind.built_in.filter(|it| it.path() == parts[0]);
            it.is_some_and(|it| is_below(it) == (parts.len() > 1))
        };
        let kind = self.kinds.iter().position(is_named)?;
        let of = if Some(kind) == built_in(BuiltIn::CallDetails) {
            query.iter().find(|(name, _)| name == "id").map(|(_, id)| id.clone())
        } else {
            parts.get(1).map(|id| decoded(id))
        };
        Some((kind, of))
    }

    /// What a whole list says that it is all of: a snapshot, a parent's children, a day.
    fn scope(&self, kind: usize, asked: &Asked<'_>) -> Option<String> {
        let of = &self.kinds[kind];
        if of.is_snapshot() {
            return Some(asked.of.clone().filter(|_| of.parent.is_some()).unwrap_or_default());
        }
        of.day_key.then(|| asked.edges(of).0.map(|from| from.date_naive().to_string())).flatten()
    }

    /// What a request asks for, all pages of it.
    fn find(
        &self,
        kind: usize,
        asked: &Asked<'_>,
        now: DateTime<Utc>,
    ) -> Result<Vec<(&String, &Item)>, NoAnswer> {
        let of = &self.kinds[kind];
        let (from, to) = asked.edges(of);
        // A day that is named is all of it, however edges count.
        let is_day = of.window.is_some_and(|it| it.format == Format::Day);
        let edges_inside = self.edges_inside || is_day;
        let is_inside = |at: DateTime<Utc>| {
            let after = from.is_none_or(|from| at > from || (at == from && edges_inside));
            let before = to.is_none_or(|to| at < to || (at == to && edges_inside));
            after && before
        };
        let words = of.words();
        let since = asked.get(words.since).map(parsed);
        let shows_all = asked.get(words.private) == Some("true");
        let mut found: Vec<_> = self.items[kind]
            .iter()
            .filter(|(_, item)| of.parent.is_none() || item.of == asked.of)
            .filter(|(_, item)| !item.hidden || shows_all)
            .filter(|(_, item)| of.window.is_none() || is_inside(item.at))
            // What has no date of its own is not there before its time.
            .filter(|(_, item)| of.dated != Dated::Window || item.at <= now)
            .filter(|(_, item)| since.is_none_or(|since| item.changed_at >= since))
            .collect();
        // A parent's list is there as long as the parent is.
        if let Some(lineage) = of.parent.as_ref().filter(|it| it.reading == Reading::List) {
            let is_there =
                asked.of.as_ref().is_some_and(|it| self.items[lineage.parent].contains_key(it));
            if !is_there {
                return Err(NoAnswer::NotFound);
            }
        }
        match asked.get(words.sort) {
            Some("asc") if of.dated != Dated::Run => {
                found.sort_by_key(|(key, item)| (item.at, *key));
            }
            Some("desc") if of.dated != Dated::Run => {
                found.sort_by_key(|(key, item)| (std::cmp::Reverse(item.at), *key));
            }
            Some("desc") => found.reverse(),
            _ => {}
        }
        Ok(found)
    }
}

/// What a request says.
struct Asked<'a> {
    query: &'a [(String, String)],
    /// The id of the parent.
    of: Option<String>,
}

impl Asked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.get(name).and_then(|text| text.parse().ok())
    }

    /// The instants that a window reaches to.
    fn edges(&self, kind: &Kind) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let Some(window) = kind.window else { return (None, None) };
        let at = |text: &str, days: i64| match window.format {
            Format::Instant => parsed(text),
            Format::EpochSeconds => DateTime::from_timestamp(text.parse().unwrap(), 0).unwrap(),
            Format::Day => {
                let date: NaiveDate = text.parse().unwrap();
                let begin = date.and_hms_opt(0, 0, 0).unwrap().and_utc();
                begin + TimeDelta::days(days) - TimeDelta::milliseconds(days)
            }
        };
        let words = kind.words();
        let edge = |name: &str, days| self.get(name).map(|text| at(text, days));
        (edge(words.from, 0), edge(words.to, 1))
    }

    /// Before which a record's time must be, as far as the request's window says.
    fn to(&self, kind: &Kind) -> Option<DateTime<Utc>> {
        self.edges(kind).1
    }

    /// The page's place in the list, and its size.
    fn page(&self, paging: Paging, count: usize) -> Result<(usize, usize), NoAnswer> {
        let limit = || self.number("limit").unwrap_or(25);
        match paging {
            Paging::Whole => {
                Ok((self.number("skip").unwrap_or(0), self.number("limit").unwrap_or(count)))
            }
            Paging::SkipLimit { reach, .. } => {
                let skip = self.number("skip").unwrap_or(0);
                let is_beyond = skip + limit() > reach as usize;
                if is_beyond { Err(NoAnswer::Refused) } else { Ok((skip, limit())) }
            }
            Paging::Number { first, .. } => {
                let size = self.number("size").unwrap_or(25);
                let number = self.number("page").unwrap_or(first as usize);
                Ok((number.saturating_sub(first as usize) * size, size))
            }
            Paging::Cursor { .. } | Paging::Link { .. } => {
                let place = self.get("cursor").map_or("0", |it| it.trim_start_matches('c'));
                Ok((place.parse().unwrap(), limit()))
            }
        }
    }
}

/// The same day's instant, but in no second that the windows of two days share: what sums up a day
/// is of one day alone.
fn away_from_midnight(at: DateTime<Utc>) -> DateTime<Utc> {
    let begin = at.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
    at.clamp(begin + TimeDelta::seconds(2), begin + TimeDelta::seconds(86_397))
}

fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn parsed(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A path's segment without its percent signs.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
