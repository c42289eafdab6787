//! A first endpoint file, made from one reply.

use chrono::DateTime;
use serde::Serialize;
use serde_json::{Map, Value};

use super::going_on::{is_paging, recognise_paging};
use super::look::{Place, key_of, places, quoted};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Column;

/// An endpoint file for a path and its reply: records at the likeliest place, its key and date
/// guessed. `None` when nothing in the reply could be a record.
#[must_use]
pub fn draft(path: &str, query: &[(String, String)], reply: &Value) -> Option<String> {
    let place = places(reply).into_iter().next().filter(|place| !is_empty(place, reply))?;
    let query_of = serde_json_path::JsonPath::parse(&place.path).ok()?;
    let records = query_of.query(reply).all();
    let objects: Vec<&Map<String, Value>> =
        records.iter().filter_map(|it| it.as_object()).collect();
    let key = if objects.is_empty() { Some("value".to_owned()) } else { key_of(&objects) };
    let key_line = match &key {
        Some(key) => format!("key = [{}]", quoted(key)),
        None => {
            "key = \"content\"  # no field tells these records apart: name those that do".to_owned()
        }
    };
    let mut text = format!(
        "description = {}\npath = {}\nrecords = {}\n{key_line}\n",
        quoted(&format!("Records of {path}")),
        quoted(path),
        quoted(&place.path),
    );
    let paging = recognise_paging(reply, query, place.count);
    text.push_str(&query_table(query, paging.as_deref()));
    let date = date_of(&objects);
    match &date {
        Some((field, _)) => {
            text.push_str(&format!("\n[dated]\nby = \"field\"\nfield = {}\n", quoted(field)));
        }
        None => text.push_str("\n[dated]\nby = \"run\"\n"),
    }
    if let Some(paging) = paging {
        text.push_str(&format!("\n[paging]\n{paging}"));
    }
    let mut column = |name: &str, type_name: &str| {
        let name = quoted(name);
        text.push_str(&format!(
            "\n[[column]]\nname = {name}\ntype = \"{type_name}\"\nconvert = true\n"
        ));
    };
    if let Some(key) = &key {
        let is_whole = |it: &&Map<String, Value>| it.get(key).is_some_and(Value::is_i64);
        let is_number = !objects.is_empty() && objects.iter().all(is_whole);
        column(key, if is_number { "int64" } else { "string" });
    }
    if let Some((field, type_name)) = date.filter(|(field, _)| Some(field) != key.as_ref()) {
        column(&field, type_name);
    }
    Some(text)
}

/// Whether the likeliest place is but the reply around a list that happens to be empty.
fn is_empty(place: &Place, reply: &Value) -> bool {
    let is_nothing = |it: &Value| it.is_null() || it.as_array().is_some_and(Vec::is_empty);
    let has_nothing = reply.as_object().is_some_and(|it| it.values().any(is_nothing));
    place.path == "$" && place.key.is_none() && has_nothing
}

/// The query, but for what paging sets by itself.
fn query_table(query: &[(String, String)], paging: Option<&str>) -> String {
    let stays = |name: &str| paging.is_none() || !is_paging(name);
    let mut table: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, value) in query.iter().filter(|(name, _)| stays(name)) {
        let value = quoted(&value.replace(['{', '}'], ""));
        match table.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => table.push((name, vec![value])),
        }
    }
    if table.is_empty() {
        return String::new();
    }
    let mut text = "\n[query]\n".to_owned();
    for (name, values) in table {
        let value = match values.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        text.push_str(&format!("{} = {value}\n", quoted(name)));
    }
    text
}

/// The field that dates the records, and its type: an instant in every one, by the names that it
/// usually has.
fn date_of(objects: &[&Map<String, Value>]) -> Option<(String, &'static str)> {
    let first = objects.first()?;
    let type_in_all = |name: &String| {
        let mut types = objects.iter().map(|object| object.get(name).and_then(instant_type));
        let first = types.next()??;
        types.all(|it| it == Some(first)).then_some(first)
    };
    let usual = ["time", "date", "timestamp", "started", "start", "created", "occurred"];
    let rank = |name: &String| {
        let lower = name.to_ascii_lowercase().replace('_', "");
        let by_name = usual.iter().position(|usual| lower.starts_with(usual));
        by_name.or((lower == "at").then_some(usual.len()))
    };
    let dates = first.keys().filter_map(|name| Some((rank(name)?, name, type_in_all(name)?)));
    let (_, name, type_name) = dates.min_by_key(|(rank, ..)| *rank)?;
    Some((name.clone(), type_name))
}

/// The type of a column for an instant like this one: a text, or a count from 1970 that leads to
/// this century.
fn instant_type(value: &Value) -> Option<&'static str> {
    if let Some(text) = value.as_str() {
        return DateTime::parse_from_rfc3339(text).is_ok().then_some("timestamp");
    }
    let number = value.as_f64()?;
    let seconds = 946_684_800.0..4_102_444_800.0;
    if seconds.contains(&number) {
        return Some("epoch_seconds");
    }
    seconds.contains(&(number / 1000.0)).then_some("epoch_millis")
}

/// Columns as an endpoint file has them.
///
/// # Errors
/// `Internal` when they cannot be written, which their types rule out.
pub fn columns(columns: &[Column]) -> Result<String> {
    #[derive(Serialize)]
    struct Columns<'c> {
        column: &'c [Column],
    }
    toml::to_string(&Columns { column: columns }).map_err(|error| {
        Error::new(ErrorKind::Internal, "the columns could not be written").with_source(error)
    })
}

/// A draft with these columns in place of its own.
pub(super) fn with_columns(text: &str, columns: &str) -> String {
    let head = text.find("\n[[column]]").map_or(text, |at| &text[..at]);
    format!("{head}\n{columns}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::{Endpoint, Paging};

    #[test]
    fn a_draft_is_an_endpoint() {
        let reply = json!({"items": [
            {"uuid": "a", "created_at": "2026-11-20T10:00:00Z", "n": 1},
            {"uuid": "b", "created_at": "2026-11-20T11:00:00Z", "n": 1},
        ], "nextCursor": "c2"});
        let query = [("filter", "x"), ("filter", "y"), ("cursor", "c1")];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = draft("/v2/items", &query, &reply).unwrap();
        let endpoint = Endpoint::from_toml("items", &text).unwrap();
        assert_eq!(
            (endpoint.key.as_slice(), endpoint.time_field()),
            (&["uuid".to_owned()][..], Some("created_at"))
        );
        assert_eq!(endpoint.query["filter"].all().len(), 2);
        assert!(
            matches!(endpoint.paging, Paging::Cursor(_)) && !endpoint.query.contains_key("cursor")
        );
        let counted = json!([{"id": 7, "n": 1, "start": 1_764_500_000_000_i64},
            {"id": 8, "n": 1, "start": 1_764_500_060_000_i64}]);
        let counted = draft("/x", &[], &counted).unwrap();
        let types: Vec<_> = Endpoint::from_toml("x", &counted).unwrap().columns;
        let types: Vec<_> = types.iter().map(|it| it.column_type.to_string()).collect();
        assert_eq!(types, ["int64", "epoch_millis"]);
        let alike = draft("/x", &[], &json!([{"m": 1, "v": "a"}, {"m": 1, "v": "a"}])).unwrap();
        assert!(Endpoint::from_toml("x", &alike).unwrap().has_content_key(), "{alike}");
        let bare = draft("/x", &[], &json!(["a", "b"])).unwrap();
        assert_eq!(Endpoint::from_toml("x", &bare).unwrap().key, ["value"]);
        let one = draft("/x", &[], &json!({"id": 5, "name": "n"})).unwrap();
        assert!(one.contains("records = \"$\""), "{one}");
        let tags = draft("/x", &[], &json!({"tags": ["a", "b"], "ok": true})).unwrap();
        assert!(tags.contains("records = \"$.tags[*]\"") && tags.contains("\"value\""), "{tags}");
        assert_eq!(draft("/x", &[], &json!({"items": [], "total": 0})), None);
        assert_eq!(draft("/x", &[], &json!({"items": null})), None);
        assert_eq!(draft("/x", &[], &json!("text")), None);
        assert_eq!(draft("/x", &[], &json!([])), None);
    }
}
