//! How much was talked, day by day.

use super::query::Query;
use super::table::SqlType;
use super::views::Conversations;
use crate::schema::{ColumnType, DAY};

/// One row for each UTC day that has calls; calls without a time share one without a day.
pub(super) fn daily(of: &Conversations<'_>) -> String {
    let call = of.calls("c");
    let day = of.dialect.day_of(&call.scalar(&["time"], &ColumnType::Timestamp));
    let metric = |name: &str| call.double(&["metrics", name]);
    let whole = |sum: String| cast(of, "try_cast", &sum, &ColumnType::Int64);
    let total = |column: &str| whole(format!("coalesce(sum({column}), 0)"));
    let ratio = metric("talk_listen_ratio");
    let mean = format!("{} / nullif(count({ratio}), 0)", sum(of, &ratio));
    Query::from("calls_current as c")
        .join(by_call(&[("turns", "count(*)")], "turns", "t"))
        .join(by_call(
            &[("users", &count("user")), ("externals", &count("external"))],
            "participants",
            "p",
        ))
        .column(DAY, &day)
        .column("calls", "count(*)")
        .column("transcribed_calls", "count(t.call_id)")
        .column("call_seconds", sum(of, &metric("call_duration")))
        .column("speak_seconds", sum(of, &metric("total_speak_duration")))
        .column("mean_talk_listen_ratio", mean)
        .column("questions", sum(of, &metric("num_questions_asked")))
        .column("turns", total("t.turns"))
        .column("users", total("p.users"))
        .column("external_participants", total("p.externals"))
        .group_by(day)
        .text()
}

/// A relation with one row for each call that has any in `view`.
fn by_call(counts: &[(&str, &str)], view: &str, alias: &str) -> String {
    let query = Query::from(view).column("call_id", "call_id").group_by("call_id");
    let query = counts.iter().fold(query, |query, (name, count)| query.column(name, count));
    format!("left join {} on {alias}.call_id = c.id", query.within(alias))
}

fn count(kind: &str) -> String {
    format!("sum(case when participant_kind = '{kind}' then 1 else 0 end)")
}

/// The sum of doubles, the same in every engine: in which order they come must not matter.
fn sum(of: &Conversations<'_>, number: &str) -> String {
    let sum = format!("sum(try_cast({number} as decimal(18, 6)))");
    cast(of, "cast", &sum, &ColumnType::Double)
}

fn cast(of: &Conversations<'_>, how: &str, expression: &str, column_type: &ColumnType) -> String {
    format!("{how}({expression} as {})", of.dialect.type_name(&SqlType::Of(column_type.clone())))
}
