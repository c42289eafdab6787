//! Records as JSON: the merge rule, written down a second time, and what counts as equal.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// What the columns and `extra_json` say together: objects by key, lists of one length item by
/// item, null where there is nothing to add, and anything else replaces.
pub(super) fn merge(columns: Value, extra: Value) -> Value {
    match (columns, extra) {
        (columns, Value::Null) => columns,
        (Value::Object(mut columns), Value::Object(extra)) => {
            for (name, addition) in extra {
                let known = columns.remove(&name).unwrap_or(Value::Null);
                columns.insert(name, merge(known, addition));
            }
            Value::Object(columns)
        }
        (Value::Array(columns), Value::Array(extra)) if columns.len() == extra.len() => {
            columns.into_iter().zip(extra).map(|(item, addition)| merge(item, addition)).collect()
        }
        (_, extra) => extra,
    }
}

/// The one spelling of equal records: null members are absent, 1.0 is 1, an instant is its
/// microseconds.
pub(crate) fn normal(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let present = members.into_iter().filter(|(_, member)| !member.is_null());
            let members: Map<_, _> = present.map(|(name, member)| (name, normal(member))).collect();
            Value::Object(members)
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::String(text) => match micros(&text) {
            Some(micros) => json!(format!("@{micros}")),
            None => Value::String(text),
        },
        Value::Number(number) => {
            let whole = number.as_f64().filter(|double| double.fract() == 0.0);
            let whole = whole.filter(|double| number.is_f64() && double.abs() < 1e15);
            #[allow(clippy::cast_possible_truncation, reason = "it is whole, and small")]
            whole.map_or(Value::Number(number), |double| json!(double as i64))
        }
        other => other,
    }
}

/// The instant that a text is, if microseconds hold it.
pub(super) fn micros(text: &str) -> Option<i64> {
    let instant = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()?
        .with_timezone(&Utc);
    (instant.timestamp_subsec_nanos() % 1_000 == 0).then(|| instant.timestamp_micros())
}

/// Where two normal values differ first, in words.
pub(crate) fn difference(expected: &Value, found: &Value) -> Option<String> {
    fn walk(path: &str, expected: &Value, found: &Value) -> Option<String> {
        match (expected, found) {
            (Value::Object(a), Value::Object(b)) => {
                a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))).find_map(|name| {
                    let path = format!("{path}.{name}");
                    let none = Value::Null;
                    walk(&path, a.get(name).unwrap_or(&none), b.get(name).unwrap_or(&none))
                })
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
                .iter()
                .zip(b)
                .enumerate()
                .find_map(|(at, (a, b))| walk(&format!("{path}[{at}]"), a, b)),
            (a, b) if a == b => None,
            (a, b) => Some(format!("{path}: expected {a}, found {b}")),
        }
    }
    walk("$", expected, found)
}

#[test]
fn the_merge_rule_joins_objects_and_lists_and_replaces_the_rest() {
    let columns = json!({"a": 1, "list": [{"x": 1, "y": null}, {"x": 2}], "short": [1], "t": null});
    let extra = json!({"list": [{"y": "odd"}, null], "short": [1, 2], "t": "TBD", "new": [3]});
    let merged = merge(columns, extra);
    let expected = json!({"a": 1, "list": [{"x": 1, "y": "odd"}, {"x": 2}], "short": [1, 2],
        "t": "TBD", "new": [3]});
    assert_eq!(difference(&expected, &merged), None);
    assert_eq!(
        normal(json!("2025-06-11T14:25:00+0200")),
        normal(json!("2025-06-11T12:25:00.000Z"))
    );
    assert_eq!(normal(json!({"n": 1.0, "gone": null})), json!({"n": 1}));
}
