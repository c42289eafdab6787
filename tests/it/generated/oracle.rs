//! The oracle: of each key the statement that was requested last, as the replies said it.
//!
//! It knows nothing of how the exporter works: only who was told what, when it was asked, and
//! which runs came to an end. A statement is "this content"; a list that is whole says "and no
//! other". What a run that was killed had heard may count or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use serde_json::Value;

use super::kind::{Dated, Kind, Reading};
use super::source::Source;
use crate::support::Row;

/// One reply, and to whom it was given.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) run: usize,
    pub(super) kind: usize,
    pub(super) sent: DateTime<Utc>,
    pub(super) answered: DateTime<Utc>,
    pub(super) records: Vec<(String, DateTime<Utc>, Value)>,
    pub(super) to: Option<DateTime<Utc>>,
    pub(super) scope: Option<String>,
    /// Whether it may have been asked only to know whether there is such a record.
    pub(super) is_check: bool,
    /// Whether that may have been lost since.
    pub(super) is_lost: bool,
}

/// A 404 to a request for what an id of a parent leads to.
#[derive(Debug, Clone)]
pub(super) struct Absence {
    pub(super) kind: usize,
    pub(super) of: String,
    pub(super) sent: DateTime<Utc>,
}

/// What is known of a run.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The instant from which it counts.
    pub(super) now: DateTime<Utc>,
    /// When it began, by the server's clock.
    pub(super) begun: DateTime<Utc>,
    /// Whether no other run was running meanwhile.
    pub(super) alone: bool,
    /// Whether its clock is not the server's.
    pub(super) skewed: bool,
    /// How many of its first replies may only say whether the API answers, or what time it is.
    pub(super) probes: usize,
    /// Whether it sleeps while others go on.
    pub(super) sleeps: bool,
    /// When it is to end, if it is to: it is asked to stop, or its time is over.
    pub(super) ends_by: Option<DateTime<Utc>>,
    /// When it ended, in whatever way.
    pub(super) ended_at: Option<DateTime<Utc>>,
    /// Whether it came to an end, so that what it heard is in the lake.
    pub(super) ended: bool,
    /// The endpoints that it says are complete.
    pub(super) complete: BTreeSet<usize>,
}

/// Who was told what.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) said: Vec<Said>,
    pub(super) absences: Vec<Absence>,
    pub(super) runs: Vec<Told>,
}

/// What one reply says of one key.
#[derive(Debug)]
struct Statement<'a> {
    run: usize,
    sent: DateTime<Utc>,
    answered: DateTime<Utc>,
    scope: Option<&'a str>,
    content: &'a Value,
    /// Whether the exporter takes such a record: one that has begun.
    counts: bool,
}

/// When a list was begun, and the keys that came.
type List<'a> = (DateTime<Utc>, BTreeSet<&'a str>);

/// The whole lists of a snapshot, by partition, scope and run; those of days that are replaced
/// whole, whatever their partition.
type Lists<'a> = BTreeMap<(String, &'a str, usize), List<'a>>;

/// A row by its key and, in snapshot tables, its partition.
pub(super) type Rows<'a> = BTreeMap<(String, String), &'a Row>;

/// The partition of which a whole list says what is not there, in snapshots.
fn list_day(of: &Kind, run: &Told, is_monthly: bool) -> String {
    if of.dated == Dated::Run { partition(run.now, is_monthly) } else { String::new() }
}

impl Oracle {
    /// What was said of a table so far need not be in the lake any more: an object was lost.
    pub(super) fn forget(&mut self, kind: usize) {
        self.said.iter_mut().filter(|said| said.kind == kind).for_each(|said| said.is_lost = true);
    }

    /// When a look-up of this record was last answered with 404, where that says that it is gone.
    fn absent_at(&self, kind: usize, source: &Source, key: &str) -> Option<DateTime<Utc>> {
        let root_of = |kind: usize| source.kinds[kind].parent.as_ref().map_or(kind, |it| it.parent);
        let root = root_of(kind);
        let is_of =
            |it: &&Absence| source.detects(it.kind) && root_of(it.kind) == root && it.of == key;
        self.absences.iter().filter(is_of).map(|it| it.sent).max()
    }

    /// Whether an answer that is kept for some days ends within this range.
    pub(super) fn has_answer_ending_in(
        &self,
        kinds: &[Kind],
        range: &Range<DateTime<Utc>>,
    ) -> bool {
        self.said.iter().any(|said| {
            let refresh = kinds[said.kind].parent.as_ref().and_then(|it| it.refresh);
            let ends = refresh.map(|days| said.sent + TimeDelta::days(days.into()));
            ends.is_some_and(|ends| range.contains(&ends))
        })
    }

    /// Whether a row may be gone though it was told: P11.
    pub(super) fn may_go(&self, kind: usize, source: &Source, key: &str) -> bool {
        let of = &source.kinds[kind];
        let is_replaced = of.dated == Dated::Run || of.day_key;
        // What was put off is not there until it begins, and a child goes with its parent.
        let is_absent = |id: &str| self.absent_at(kind, source, id).is_some();
        let is_off = source.moved[kind].contains(key)
            || is_absent(key)
            || self.parents_of(kind, source, key).into_iter().any(is_absent);
        (is_replaced && source.gone[kind].contains(key)) || (source.loses_rows(kind) && is_off)
    }

    /// The ids of the parents by whose records a child was read.
    fn parents_of<'a>(&'a self, kind: usize, source: &Source, key: &'a str) -> Vec<&'a str> {
        match &source.kinds[kind].parent {
            Some(it) if it.reading == Reading::List => {
                key.split_once('/').map(|(id, _)| id).into_iter().collect()
            }
            Some(it) if it.reading == Reading::ByReference => {
                let lists = self.said.iter().filter(|said| said.kind == it.parent);
                let records = lists.flat_map(|said| &said.records);
                let refers = |content: &Value| {
                    content["refs"].as_array().is_some_and(|refs| refs.iter().any(|it| it == key))
                };
                let parents = records.filter(|(.., content)| refers(content));
                parents.map(|(id, ..)| id.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it was asked whether there is such a record, and there was.
    pub(super) fn was_checked(&self, key: &str) -> bool {
        let mut checks = self.said.iter().filter(|said| said.is_check);
        checks.any(|said| said.records.iter().any(|(it, ..)| it == key))
    }

    /// Whether this run was told of the parent that this id leads from, in a reply that counts.
    pub(super) fn has_listed(&self, run: usize, source: &Source, kind: usize, id: &str) -> bool {
        let parent = source.kinds[kind].parent.as_ref().map(|it| it.parent);
        let said = self.said.iter().filter(|said| said.run == run);
        let mut lists = said.skip(self.runs[run].probes).filter(|said| Some(said.kind) == parent);
        lists.any(|said| said.records.iter().any(|(key, ..)| key == id))
    }

    fn statements(&self, kind: usize, of: &Kind) -> HashMap<&str, Vec<Statement<'_>>> {
        let mut found: HashMap<&str, Vec<Statement<'_>>> = HashMap::new();
        let mut heard: HashMap<usize, usize> = HashMap::new();
        for said in &self.said {
            let run = &self.runs[said.run];
            let heard = heard.entry(said.run).or_default();
            *heard += 1;
            let is_probe = *heard <= run.probes;
            if said.kind != kind {
                continue;
            }
            let to = said.to.map(|to| to.min(run.now));
            for (key, at, content) in &said.records {
                let has_begun = of.dated != Dated::Field || to.is_none_or(|to| *at < to);
                let counts = has_begun && !said.is_lost && !said.is_check && !is_probe;
                let Said { run, sent, answered, .. } = *said;
                let scope = said.scope.as_deref();
                let statement = Statement { run, sent, answered, scope, content, counts };
                found.entry(key).or_default().push(statement);
            }
        }
        found
    }

    /// How far apart two requests must be so that their order is beyond doubt.
    fn slack(&self, a: &Statement<'_>) -> TimeDelta {
        if self.runs.iter().any(|run| run.skewed) {
            TimeDelta::seconds(2) + (a.answered - a.sent) * 2
        } else {
            TimeDelta::zero()
        }
    }

    /// Whether a table says what was said last: P1, P2, P5, P10.
    pub(super) fn check(
        &self,
        kind: usize,
        source: &Source,
        rows: &[Row],
        is_monthly: bool,
        is_whole: bool,
    ) -> Result<(), String> {
        let of = &source.kinds[kind];
        let name = &source.names[kind];
        let statements = self.statements(kind, of);
        let may_move = |key: &str| source.may_move(kind, key);
        let rows = keyed(of, name, rows, |key| !is_whole && may_move(key))?;
        for ((dt, key), row) in &rows {
            let said = statements.get(key.as_str()).ok_or_else(|| {
                format!("P5: {name} has {key} in dt={dt}, of which no reply speaks")
            })?;
            self.check_row(of, name, (dt, key), row, said, is_monthly)?;
            if row.deleted {
                self.check_mark(kind, source, key, said)?;
            }
        }
        let lists = self.lists(kind, of, is_monthly);
        for (key, said) in &statements {
            if !self.may_go(kind, source, key) {
                self.check_presence(of, name, key, said, &rows, (&lists, is_monthly))?;
            }
        }
        self.check_absence(kind, source, &statements, &rows, lists)
    }

    /// The whole lists of a table; none where a list says nothing of what it lacks.
    fn lists(&self, kind: usize, of: &Kind, is_monthly: bool) -> Lists<'_> {
        let mut lists = Lists::new();
        let mut heard: HashMap<usize, usize> = HashMap::new();
        let mut only_probed = BTreeSet::new();
        for said in &self.said {
            let run = &self.runs[said.run];
            let heard = heard.entry(said.run).or_default();
            *heard += 1;
            if said.kind != kind {
                continue;
            }
            let Some(scope) = said.scope.as_deref() else { continue };
            // With an object goes what was known to be absent from it: until all is listed again, the
            // snapshot before it is used.
            if said.is_lost || !run.ended || !run.complete.contains(&kind) {
                continue;
            }
            let day = list_day(of, run, is_monthly);
            let place = (day, scope, said.run);
            // A page that may only have been a probe makes no list.
            if *heard > run.probes {
                only_probed.remove(&place);
            } else if !lists.contains_key(&place) {
                only_probed.insert(place.clone());
            }
            let list = lists.entry(place).or_insert((said.sent, BTreeSet::new()));
            list.0 = list.0.min(said.sent);
            list.1.extend(said.records.iter().map(|(key, ..)| key.as_str()));
        }
        lists.retain(|place, _| !only_probed.contains(place));
        lists
    }

    /// P14: no snapshot lacks a row of the one before because something failed.
    pub(super) fn check_carried(
        &self,
        kind: usize,
        source: &Source,
        rows: &[Row],
        is_monthly: bool,
    ) -> Result<(), String> {
        let of = &source.kinds[kind];
        let mut days: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for row in rows.iter().filter(|_| of.is_snapshot()) {
            days.entry(&row.dt).or_default().insert(key_of(of, row));
        }
        let mut newest = days.iter().rev().take(2);
        let (Some((dt, now)), Some((_, before))) = (newest.next(), newest.next()) else {
            return Ok(());
        };
        // A run that counts from a day before may be the first to be told of a record.
        let said = || self.said.iter().filter(|said| said.kind == kind);
        let is_of_newest = |run: usize| partition(self.runs[run].now, is_monthly) == **dt;
        let begun = said().filter(|said| is_of_newest(said.run)).map(|said| said.sent).min();
        let is_new = |key: &String| {
            let of_key = said().filter(|said| said.records.iter().any(|(it, ..)| it == key));
            let first = of_key.map(|said| said.sent).min();
            first.zip(begun).is_some_and(|(first, begun)| first > begun)
        };
        let lacks =
            before.difference(now).find(|key| !source.gone[kind].contains(*key) && !is_new(key));
        match lacks {
            Some(key) => {
                let name = &source.names[kind];
                Err(format!("P14: {name} lacks {key} in dt={dt}, and had it the day before"))
            }
            None => Ok(()),
        }
    }

    /// The last statement that counts for a row of this partition.
    fn last<'s>(
        &self,
        of: &Kind,
        said: &'s [Statement<'s>],
        dt: &str,
        is_monthly: bool,
    ) -> Option<&'s Statement<'s>> {
        let is_of = |it: &&Statement<'_>| {
            of.dated != Dated::Run || partition(self.runs[it.run].now, is_monthly) == dt
        };
        let counts = said.iter().filter(|it| it.counts && self.runs[it.run].ended).filter(is_of);
        counts.max_by_key(|it| it.sent)
    }

    fn check_row(
        &self,
        of: &Kind,
        name: &str,
        (dt, key): (&str, &str),
        row: &Row,
        said: &[Statement<'_>],
        is_monthly: bool,
    ) -> Result<(), String> {
        let same: Vec<_> = said.iter().filter(|it| *it.content == row.record).collect();
        if same.is_empty() {
            return Err(format!("P5: {name} {key} says what no reply said: {}", row.record));
        }
        // Another machine's wrong clock is corrected to the second, and a run keeps behind what it
        // has read.
        let skewed = self.runs.iter().any(|run| run.skewed);
        let is_then = |it: &&&Statement<'_>| {
            let room = TimeDelta::milliseconds(if skewed { 1_100 } else { 1 });
            let to = if skewed { it.answered } else { it.sent };
            let from = if skewed { it.sent - (it.answered - it.sent) } else { it.sent };
            from - room <= row.exported_at && row.exported_at <= to + room
        };
        if !same.iter().any(|it| is_then(&it)) {
            let sent: Vec<_> = same.iter().map(|it| it.sent).collect();
            let message = format!(
                "P10: {name} {key} is dated {} and was asked for at {sent:?}",
                row.exported_at
            );
            return Err(message);
        }
        let Some(last) = self.last(of, said, dt, is_monthly) else { return Ok(()) };
        let slack = self.slack(last);
        let is_late = |it: &&Statement<'_>| it.sent >= last.sent - slack;
        if said.iter().filter(is_late).any(|it| *it.content == row.record) {
            return Ok(());
        }
        // A reading that says what the lake has already is not written down, so it does not hold
        // against another run's that was requested before it and commits after it.
        let is_known =
            |it: &&Statement<'_>| it.sent <= row.exported_at + slack && it.content == last.content;
        let is_other = |it: &&&Statement<'_>| it.run != last.run && is_then(it);
        if same.iter().any(|it| is_other(&it)) && said.iter().any(|it| is_known(&it)) {
            return Ok(());
        }
        Err(format!(
            "P10: {name} {key} in dt={dt} says {} of {}, and at {} it was said: {}",
            row.record, row.exported_at, last.sent, last.content
        ))
    }

    /// P11: what is marked as gone was answered with 404, and not listed since.
    fn check_mark(
        &self,
        kind: usize,
        source: &Source,
        key: &str,
        said: &[Statement<'_>],
    ) -> Result<(), String> {
        let name = &source.names[kind];
        let Some(absent_at) = self.absent_at(kind, source, key) else {
            return Err(format!("P11: {name} {key} is marked as gone, and no reply said so"));
        };
        // A child follows its parent's mark when it is exported itself.
        let is_root = source.kinds[kind].parent.is_none();
        let counts = said.iter().filter(|it| it.counts && self.runs[it.run].ended);
        match counts.max_by_key(|it| it.sent).filter(|_| is_root) {
            Some(last) if last.sent - self.slack(last) > absent_at => Err(format!(
                "P11: {name} {key} is marked as gone since {absent_at}, and was listed at {}",
                last.sent
            )),
            _ => Ok(()),
        }
    }

    fn check_presence(
        &self,
        of: &Kind,
        name: &str,
        key: &str,
        said: &[Statement<'_>],
        rows: &Rows<'_>,
        (lists, is_monthly): (&Lists<'_>, bool),
    ) -> Result<(), String> {
        let ended = said.iter().filter(|it| it.counts && self.runs[it.run].ended);
        for statement in ended {
            let run = &self.runs[statement.run];
            let (dt, day_of_list) = (partition(run.now, is_monthly), list_day(of, run, is_monthly));
            let is_there =
                rows.keys().any(|(at, it)| it == key && (of.dated != Dated::Run || *at == dt));
            // A whole list that was requested later may be answered before, and have less.
            let is_overtaken = lists.iter().any(|((day, scope, _), (sent, keys))| {
                let is_of = *day == day_of_list && Some(*scope) == statement.scope;
                is_of && *sent >= statement.sent - self.slack(statement) && !keys.contains(key)
            });
            if !is_there && !is_overtaken {
                return Err(format!(
                    "P1: {name} lacks {key}, which run {} was told at {}",
                    statement.run, statement.sent
                ));
            }
        }
        Ok(())
    }

    /// Of each day and scope, what the last whole list did not have is not there.
    fn check_absence(
        &self,
        kind: usize,
        source: &Source,
        statements: &HashMap<&str, Vec<Statement<'_>>>,
        rows: &Rows<'_>,
        lists: Lists<'_>,
    ) -> Result<(), String> {
        let of = &source.kinds[kind];
        let is_by_reference =
            of.parent.as_ref().is_some_and(|it| it.reading == Reading::ByReference);
        for ((day, scope, run), (sent, keys)) in lists {
            let in_scope = rows.iter().filter(|((dt, key), row)| {
                let of_row =
                    if is_by_reference { Some(key.as_str()) } else { row.parent.as_deref() };
                *dt == day && of_row.unwrap_or_default() == scope
            });
            for ((_, key), _) in in_scope.filter(|((_, key), _)| !keys.contains(key.as_str())) {
                let said = &statements[key.as_str()];
                let is_later = |it: &Statement<'_>| it.sent >= sent - self.slack(it);
                if !said.iter().any(is_later) {
                    return Err(format!(
                        "{} has {key} in dt={day}, which run {run} did not find at {sent}",
                        source.names[kind]
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The rows by partition and key: no key twice, but for one that moved while a run was cut off.
fn keyed<'r>(
    of: &Kind,
    name: &str,
    rows: &'r [Row],
    may_be_twice: impl Fn(&str) -> bool,
) -> Result<Rows<'r>, String> {
    let mut keyed = Rows::new();
    let mut places: HashMap<String, String> = HashMap::new();
    for row in rows {
        let key = key_of(of, row);
        if keyed.insert((row.dt.clone(), key.clone()), row).is_some() {
            return Err(format!("P2: {name} has {key} twice in dt={}", row.dt));
        }
        let Some(other) = places.insert(key.clone(), row.dt.clone()) else { continue };
        if of.dated != Dated::Run && !may_be_twice(&key) {
            return Err(format!("P2: {name} has {key} in dt={other} and in dt={}", row.dt));
        }
    }
    Ok(keyed)
}

/// A row's key, as the source has it.
pub(super) fn key_of(of: &Kind, row: &Row) -> String {
    let id = row.record["id"].as_str().unwrap_or_default();
    match (&row.parent, of.day_key) {
        (Some(parent), _) => format!("{parent}/{id}"),
        (None, true) => format!("{id}@{}", row.day.as_deref().unwrap_or_default()),
        (None, false) => id.to_owned(),
    }
}

/// The partition of what a run snapshots that counts from `now`.
pub(super) fn partition(now: DateTime<Utc>, is_monthly: bool) -> String {
    let date = now.date_naive();
    let date = if is_monthly { date.with_day(1).unwrap_or(date) } else { date };
    NaiveDate::to_string(&date)
}
