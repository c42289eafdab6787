//! The views: what people ask a lake for, in words that every engine takes.

use super::activity;
use super::dialect::{Dialect, names, view};
use super::people;
use super::source::Source;
use super::table::{LakeTable, all_columns};
use super::talk;
use crate::schema::{DAY, DELETED_AT};

/// The tables that conversations are in.
#[derive(Clone, Copy)]
pub(super) struct Conversations<'a> {
    pub(super) dialect: &'a dyn Dialect,
    calls: &'a LakeTable,
    details: &'a LakeTable,
    users: &'a LakeTable,
}

impl<'a> Conversations<'a> {
    fn find(dialect: &'a dyn Dialect, tables: &'a [LakeTable]) -> Option<Self> {
        let find = |name: &str| tables.iter().find(|table| table.name == name);
        let (calls, details) = (find("calls")?, find("call_details")?);
        Some(Self { dialect, calls, details, users: find("users")? })
    }

    pub(super) fn calls(&self, alias: &'a str) -> Source<'a> {
        Source::new(self.dialect, self.calls, alias)
    }

    pub(super) fn details(&self, alias: &'a str) -> Source<'a> {
        Source::new(self.dialect, self.details, alias)
    }

    pub(super) fn users(&self, alias: &'a str) -> Source<'a> {
        Source::new(self.dialect, self.users, alias)
    }
}

/// The statements of all views, those that others read first. Views of conversations need the
/// tables `calls`, `call_details` and `users`.
pub(super) fn statements(dialect: &dyn Dialect, tables: &[LakeTable]) -> String {
    let mut text = String::new();
    let mut add = |name: &str, about: &str, query: String| {
        text.push_str(&format!("\n-- view {name}: {about}\n"));
        text.push_str(&view(dialect, &dialect.name(name), &query));
    };
    for table in tables {
        if let Some((about, query)) = current(dialect, table) {
            add(&format!("{}_current", table.name), about, query);
        }
    }
    let Some(of) = &Conversations::find(dialect, tables) else { return text };
    add("user_names", "the last known name of each user", people::user_names(of));
    add("participants", "each mention of a person in a call", people::participants(of));
    add("speakers", "who is behind a person_id of a call", people::speakers(of));
    add("turns", "each turn of a transcript, and who spoke", talk::turns(of));
    add("tracker_hits", "what trackers and models found in the turns", talk::tracker_hits(of));
    add("topics_discussed", "the sections of summaries", talk::topics_discussed(of));
    add("action_items", "what was agreed to be done", talk::action_items(of));
    add("daily_activity", "calls and conversation by UTC day", activity::daily(of));
    text
}

/// Rows that count today: records that are not known to be gone, and the newest snapshot.
fn current(dialect: &dyn Dialect, table: &LakeTable) -> Option<(&'static str, String)> {
    let relation = dialect.name(&table.name);
    let (about, condition) = if table.schema.added.deleted_at {
        let condition = format!("{} is null", dialect.name(DELETED_AT));
        ("without records that are known to be gone", condition)
    } else if table.is_snapshot {
        let day = dialect.name(DAY);
        ("the newest snapshot", format!("{day} = (select max({day}) from {relation})"))
    } else {
        return None;
    };
    let mut columns = all_columns(&table.schema);
    columns.retain(|column| column.name != DELETED_AT);
    let columns = names(dialect, &columns);
    Some((about, format!("select\n{columns}\nfrom {relation}\nwhere {condition}")))
}
