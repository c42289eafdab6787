//! The end of a night, when the lake must be as the source is.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::kind::{Dated, Kind, Reading};
use super::oracle::{key_of, partition};
use super::source::{Item, Source};
use super::wire::World;
use crate::support::Row;

/// The end of a night: a clean run has ended, and nothing has changed since.
pub(super) struct End {
    pub(super) now: DateTime<Utc>,
    pub(super) is_monthly: bool,
    /// Whether private records were asked for too.
    pub(super) has_private: bool,
    /// Whether rows may lack what people said, since some run left it out.
    pub(super) lacks_words: bool,
    /// From when on everything was listed; `None` if everything was.
    pub(super) listed_since: Option<DateTime<Utc>>,
}

impl End {
    /// Whether a table has all that the source has, as it is now.
    pub(super) fn check_table(
        &self,
        source: &Source,
        kind: usize,
        rows: &[Row],
    ) -> Result<(), String> {
        let (of, name) = (&source.kinds[kind], &source.names[kind]);
        let today = partition(self.now, self.is_monthly);
        let mut found: HashMap<String, &Row> = HashMap::new();
        let is_now = |row: &&Row| !row.deleted && (!of.is_snapshot() || row.dt == today);
        for row in rows.iter().filter(is_now) {
            found.insert(key_of(of, row), row);
        }
        // Results of children are cached for days.
        if of.parent.as_ref().is_some_and(|it| it.refresh.is_some()) {
            return Ok(());
        }
        let expected = self.expected(source, kind, of);
        for (key, record) in &expected {
            let row = found.get(key).ok_or_else(|| {
                let item = &source.items[kind][key];
                format!(
                    "P1: {name} lacks {key} at the end: {item:?}, silent since {}",
                    source.silent_since
                )
            })?;
            let mut record = record.clone();
            if self.lacks_words && row.record.get(of.words().said).is_none() {
                record.as_object_mut().unwrap().remove(of.words().said);
            }
            if row.record != record {
                return Err(format!("P1: {name} {key} says {} and is {record}", row.record));
            }
        }
        if of.is_snapshot() && of.parent.as_ref().is_none_or(|it| it.reading == Reading::List) {
            let is_hidden = |row: &Row| {
                let parent = of.parent.as_ref().zip(row.parent.as_ref());
                parent.is_some_and(|(it, id)| source.veiled[it.parent].contains(id))
            };
            let is_known =
                |key: &String| is_hidden(found[key]) || expected.iter().any(|(it, _)| it == key);
            if let Some(key) = found.keys().find(|key| !is_known(key)) {
                return Err(format!("{name} has {key} in dt={today}, which is not there"));
            }
        }
        Ok(())
    }

    /// P11: what is gone from a complete list is removed or marked.
    pub(super) fn check_gone(
        &self,
        world: &World,
        kind: usize,
        rows: &[Row],
    ) -> Result<(), String> {
        let (source, of) = (&world.source, &world.source.kinds[kind]);
        if !of.deletes || !source.loses_rows(kind) {
            return Ok(());
        }
        let is_listed = |key: &String, row: &Row| match self.listed_since {
            None => true,
            Some(since) => {
                let at = row.record[of.words().at].as_str().unwrap_or_default();
                let is_young =
                    at[1..].parse::<i64>().is_ok_and(|it| it >= since.timestamp_micros());
                let is_quiet = !source.moved[kind].contains(key)
                    && !source.veiled[kind].contains(key)
                    && !world.oracle.was_checked(key);
                is_young && is_quiet
            }
        };
        let mut live = rows.iter().filter(|row| !row.deleted).map(|row| (key_of(of, row), row));
        match live.find(|(key, row)| !source.items[kind].contains_key(key) && is_listed(key, row)) {
            Some((key, row)) => {
                let name = &source.names[kind];
                Err(format!("P11: {name} has {key} in dt={}, which was deleted", row.dt))
            }
            None => Ok(()),
        }
    }

    /// The records that a clean run brings.
    fn expected(
        &self,
        source: &Source,
        kind: usize,
        of: &Kind,
    ) -> Vec<(String, serde_json::Value)> {
        let has_begun = |of: &Kind, item: &Item| match of.dated {
            Dated::Window => item.at < self.now,
            Dated::Field => of.window.is_none() || item.at < self.now,
            Dated::Run => true,
        };
        let is_listed =
            |of: &Kind, item: &Item| has_begun(of, item) && (!item.hidden || self.has_private);
        let is_there = |key: &String, item: &Item| match &of.parent {
            None => is_listed(of, item),
            Some(lineage) if lineage.reading == Reading::ByReference => {
                let parents = source.items[lineage.parent].values();
                let mut parents = parents.filter(|it| source.selects(kind, it));
                parents.any(|it| is_listed(&source.kinds[lineage.parent], it) && it.refers_to(key))
            }
            Some(lineage) => {
                let parent = item.of.as_ref().and_then(|id| source.items[lineage.parent].get(id));
                parent.is_some_and(|it| {
                    source.selects(kind, it) && is_listed(&source.kinds[lineage.parent], it)
                })
            }
        };
        let items = source.items[kind].iter().filter(|(key, item)| is_there(key, item));
        items
            .map(|(key, item)| (key.clone(), crate::support::normal(source.shown(kind, item))))
            .collect()
    }
}
