//! Everything in a workspace besides calls: users, topics, scorecards, CRM objects, and the rest,
//! generated from the catalogue. How they are requested is defined elsewhere.

use super::record::Record;
use serde_json::Value;
use std::collections::BTreeMap;

/// A kind of record other than calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `/users`
    Users,
    /// `/topics`; bare strings
    Topics,
    /// `/v2/topics`
    TopicsV2,
    /// `/scorecard`; carries no date
    Scorecards,
    /// `/scorecard-template`
    ScorecardTemplates,
    /// `/teams`
    Teams,
    /// `/playlists`
    Playlists,
    /// `/accounts`
    Accounts,
    /// `/opportunities`
    Opportunities,
    /// `/get-account`
    CrmAccounts,
    /// `/get-contact`
    CrmContacts,
    /// `/get-deal`
    CrmDeals,
}

impl Table {
    fn key(self) -> &'static str {
        match self {
            Self::TopicsV2 => "topic_id",
            Self::CrmAccounts | Self::CrmContacts | Self::CrmDeals => "crm_id",
            _ => "id",
        }
    }

    /// The row's key; a topic is its own key.
    pub(super) fn key_of(self, value: &Value) -> String {
        let key = value.as_str().or_else(|| value.get(self.key())?.as_str());
        key.unwrap_or_default().to_owned()
    }
}

/// A row, and what the API knows about it but does not return.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: String,
    /// When it was made or changed, in milliseconds; never part of the record.
    pub(super) time: i64,
    pub(super) value: Value,
}

/// All rows, sorted by the key used for look-ups.
#[derive(Debug, Default)]
pub(super) struct Tables {
    rows: BTreeMap<Table, Vec<Row>>,
    /// The calls on each playlist.
    pub(super) members: BTreeMap<String, Vec<String>>,
}

impl Tables {
    pub(super) fn fill(&mut self, table: Table, rows: impl Iterator<Item = (i64, Value)>) {
        let keyed = rows.map(|(time, value)| Row { key: table.key_of(&value), time, value });
        let mut keyed: Vec<Row> = keyed.collect();
        match table {
            Table::Scorecards => keyed.sort_by(|a, b| (a.time, &a.key).cmp(&(b.time, &b.key))),
            Table::CrmAccounts | Table::CrmContacts | Table::CrmDeals => {
                keyed.sort_by(|a, b| a.key.cmp(&b.key));
            }
            _ => {}
        }
        self.rows.insert(table, keyed);
    }

    pub(super) fn rows(&self, table: Table) -> &[Row] {
        self.rows.get(&table).map_or(&[], Vec::as_slice)
    }

    /// Looks up a CRM object; they are sorted by key.
    pub(super) fn find(&self, table: Table, key: &str) -> Option<&Value> {
        let rows = self.rows(table);
        let place = rows.binary_search_by(|row| row.key.as_str().cmp(key)).ok()?;
        rows.get(place).map(|row| &row.value)
    }

    /// Adds a row, or replaces the one with its key.
    pub(super) fn insert(&mut self, table: Table, time: i64, value: Value) {
        let key = table.key_of(&value);
        let rows = self.rows.remove(&table).unwrap_or_default();
        let kept = rows.into_iter().filter(|row| row.key != key).map(|row| (row.time, row.value));
        let rows: Vec<(i64, Value)> = kept.chain([(time, value)]).collect();
        self.fill(table, rows.into_iter());
    }

    pub(super) fn remove(&mut self, table: Table, key: &str) -> bool {
        let Some(rows) = self.rows.get_mut(&table) else { return false };
        let before = rows.len();
        rows.retain(|row| row.key != key);
        rows.len() < before
    }
}

/// An object from key-value pairs.
pub(super) fn object<const N: usize>(pairs: [(&str, Value); N]) -> Record {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
