//! What was said in a call, and what was made of it.

use super::query::Query;
use super::source::{Items, Source};
use super::table::SqlType;
use super::views::Conversations;
use crate::schema::ColumnType;

/// What a text has to look like to be taken for a number of seconds: no `NaN`, no clock.
const SECONDS: &str = "-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?";

/// One row for each turn of each transcript.
pub(super) fn turns(of: &Conversations<'_>) -> String {
    let call = of.details("c");
    let turns = call.items(&["transcript"], "e");
    let inner =
        turn_columns(rows(&call, &turns), &turns).column("text", turns.item().text(&["text"]));
    with_speakers(&dated(inner, &call), &["turn_index"])
        .column("start_seconds", "t.start_seconds")
        .column("end_seconds", "t.end_seconds")
        .column("seconds", "t.end_seconds - t.start_seconds")
        .column("text", "t.text")
        .column("call_time", "t.call_time")
        .column("dt", "t.dt")
        .text()
}

/// One row for each annotation of each turn.
pub(super) fn tracker_hits(of: &Conversations<'_>) -> String {
    let call = of.details("c");
    let turns = call.items(&["transcript"], "e");
    let turn = turns.item();
    let hits = turn.items(&["annotations"], "a");
    let hit = hits.item();
    let mut inner = turn_columns(rows(&call, &turns).join(hits.join()), &turns)
        .column("hit_index", hits.place());
    for field in ["tracker", "category", "label", "phrase"] {
        inner = inner.column(field, hit.text(&[field]));
    }
    let inner = if hits.exist() { inner } else { inner.condition("1 = 0") };
    let mut outer = with_speakers(&dated(inner, &call), &["turn_index", "hit_index"]);
    for column in ["tracker", "category", "label", "phrase"] {
        outer = outer.column(column, format!("t.{column}"));
    }
    outer
        .column("start_seconds", "t.start_seconds")
        .column("end_seconds", "t.end_seconds")
        .column("call_time", "t.call_time")
        .column("dt", "t.dt")
        .text()
}

/// One row for each section of each summary.
pub(super) fn topics_discussed(of: &Conversations<'_>) -> String {
    passages(of, "topics_discussed", "topic_index", &[("topic", "name"), ("summary", "summary")])
}

/// One row for each action item of each summary.
pub(super) fn action_items(of: &Conversations<'_>) -> String {
    let fields = [("action_item", "action_item"), ("speaker_name", "speaker_name")];
    passages(of, "key_action_items", "item_index", &fields)
}

/// The items of a list of the summary, each a passage of the call.
fn passages(of: &Conversations<'_>, list: &str, index: &str, fields: &[(&str, &str)]) -> String {
    let call = of.details("c");
    let passages = call.items(&["summary", list], "e");
    let passage = passages.item();
    let mut query = rows(&call, &passages).column(index, passages.place());
    for (name, field) in fields {
        query = query.column(name, passage.text(&[field]));
    }
    let query = query
        .column("start_seconds", seconds(of, &passage.text(&["start_timestamp"])))
        .column("end_seconds", seconds(of, &passage.text(&["end_timestamp"])));
    dated(query, &call).text()
}

/// A text as a number of seconds, if it is one.
fn seconds(of: &Conversations<'_>, text: &str) -> String {
    let double = of.dialect.type_name(&SqlType::Of(ColumnType::Double));
    let is_number = of.dialect.is_like(text, SECONDS);
    format!("case when {is_number} then try_cast({text} as {double}) end")
}

/// The rows of a list of the details; none where the table has no such list.
fn rows(call: &Source<'_>, items: &Items<'_>) -> Query {
    let query = Query::from("call_details_current as c")
        .join(items.join())
        .column("call_id", call.text(&["id"]));
    if items.exist() { query } else { query.condition("1 = 0") }
}

fn turn_columns(rows: Query, turns: &Items<'_>) -> Query {
    let turn = turns.item();
    rows.column("turn_index", turns.place())
        .column("person_id", turn.scalar(&["personId"], &ColumnType::Int64))
        .column("start_seconds", turn.double(&["start"]))
        .column("end_seconds", turn.double(&["end"]))
}

fn dated(query: Query, call: &Source<'_>) -> Query {
    query
        .column("call_time", call.scalar(&["time"], &ColumnType::Timestamp))
        .column("dt", call.dt())
}

/// What turns are known by, and who spoke in them.
fn with_speakers(turns: &Query, indexes: &[&str]) -> Query {
    let on = "s.call_id = t.call_id and s.person_id = t.person_id";
    let mut query = Query::from(turns.within("t"))
        .join(format!("left join speakers as s on {on}"))
        .column("call_id", "t.call_id");
    for index in indexes {
        query = query.column(index, format!("t.{index}"));
    }
    query
        .column("person_id", "t.person_id")
        .column("speaker_kind", "coalesce(s.speaker_kind, 'unknown')")
        .column("speaker_name", "s.speaker_name")
        .column("speaker_email", "s.speaker_email")
        .column("speaker_user_id", "s.speaker_user_id")
}
