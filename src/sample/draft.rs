//! A draft of an endpoint file, made from one reply.

use chrono::DateTime;
use serde::Serialize;
use serde_json::{Map, Value};

use super::address::Address;
use super::look::{Place, key_of, places, quoted};
use super::pagination::{is_paging, recognise_paging};
use crate::endpoint::{DateFormat, HeaderText, Headers};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Column;

/// An endpoint file for an address and its reply: records, key and date as chosen, or guessed.
/// `None` when nothing in the reply could be a record.
#[must_use]
pub fn draft(address: &Address, reply: &Value, has_next_link: bool) -> Option<String> {
    let path = match &address.records {
        Some(path) => path.clone(),
        None => likeliest(reply)?,
    };
    let query_of = serde_json_path::JsonPath::parse(&path).ok()?;
    let records = match query_of.query(reply).all().as_slice() {
        [Value::Array(items)] => items.iter().collect(),
        found => found.to_vec(),
    };
    if records.is_empty() {
        return None;
    }
    let objects: Vec<&Map<String, Value>> =
        records.iter().filter_map(|it| it.as_object()).collect();
    let key = key_fields(address, &objects);
    let key_line = match &key {
        Some(key) => {
            let names: Vec<String> = key.iter().map(|key| quoted(key)).collect();
            format!("key = [{}]", names.join(", "))
        }
        None => {
            "key = \"content\"  # no single field identifies these records: list the fields that do"
                .to_owned()
        }
    };
    let mut text = format!(
        "description = {}\npath = {}\nrecords = {}\n{key_line}\n",
        quoted(&format!("Records of {}", address.path.as_str())),
        quoted(address.path.as_str()),
        quoted(&path),
    );
    if let Some(format) = &address.date_format {
        text.push_str(&format!("date_format = {}\n", quoted(format.as_str())));
    }
    if let Some(unit) = address.time_unit.and_then(|unit| toml::Value::try_from(unit).ok()) {
        text.push_str(&format!("time_unit = {unit}\n"));
    }
    let query: Vec<(String, String)> = address
        .query
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().to_owned()))
        .collect();
    let paging = recognise_paging(reply, &query, records.len(), has_next_link);
    text.push_str(&query_table(&query, paging.as_deref()));
    text.push_str(&headers_table(&address.headers));
    let date = date_of(&objects);
    text.push_str(&dated_tables(address, date.as_ref().map(|(field, _)| field.as_str())));
    if let Some(paging) = paging {
        text.push_str(&format!("\n[paging]\n{paging}"));
    }
    text.push_str(&key_and_date_columns(&objects, &key.unwrap_or_default(), date));
    Some(text)
}

/// The columns of the key, and of the field that dates the records.
fn key_and_date_columns(
    objects: &[&Map<String, Value>],
    key: &[String],
    date: Option<(String, &'static str)>,
) -> String {
    let column = |name: &str, type_name: &str| {
        let name = quoted(name);
        format!("\n[[column]]\nname = {name}\ntype = \"{type_name}\"\nconvert = true\n")
    };
    let of_key = key.iter().map(|name| {
        let is_whole = |it: &&Map<String, Value>| it.get(name).is_some_and(Value::is_i64);
        let is_number = !objects.is_empty() && objects.iter().all(is_whole);
        column(name, if is_number { "int64" } else { "string" })
    });
    let of_date = date.filter(|(field, _)| !key.contains(field));
    of_key.chain(of_date.map(|(field, type_name)| column(&field, type_name))).collect()
}

/// The likeliest place, unless it is just the envelope of a list that happens to be empty.
fn likeliest(reply: &Value) -> Option<String> {
    let place = places(reply).into_iter().next().filter(|place| !is_empty(place, reply))?;
    Some(place.path)
}

/// The fields of the key, as chosen, or one that is guessed; none if no field distinguishes the
/// records.
fn key_fields(address: &Address, objects: &[&Map<String, Value>]) -> Option<Vec<String>> {
    if !address.key.is_empty() {
        return Some(address.key.clone());
    }
    if objects.is_empty() {
        return Some(vec!["value".to_owned()]);
    }
    key_of(objects).map(|key| vec![key])
}

/// The headers, without the values of secrets.
fn headers_table(headers: &Headers) -> String {
    let lines = headers.iter().map(|(name, text)| {
        let value = match text {
            HeaderText::Plain(text) => text.clone(),
            HeaderText::Environment(variable, _) => format!("env:{variable}"),
        };
        format!("{} = {}\n", quoted(name), quoted(&value))
    });
    if headers.is_empty() {
        String::new()
    } else {
        format!("\n[headers]\n{}", lines.collect::<String>())
    }
}

/// What dates the records, and the window if the address names one.
fn dated_tables(address: &Address, date: Option<&str>) -> String {
    let dated = match (date, address.names_window()) {
        (Some(field), _) => format!("\n[dated]\nby = \"field\"\nfield = {}\n", quoted(field)),
        (None, true) => "\n[dated]\nby = \"window\"\n".to_owned(),
        (None, false) => "\n[dated]\nby = \"run\"\n".to_owned(),
    };
    if !address.names_window() {
        return dated;
    }
    let format = address.date_format.as_ref().map_or("instant", DateFormat::as_str);
    format!("{dated}\n[window]\nformat = {}\n", quoted(format))
}

/// Whether the likeliest place is just the envelope of a list that happens to be empty.
fn is_empty(place: &Place, reply: &Value) -> bool {
    let is_nothing = |it: &Value| it.is_null() || it.as_array().is_some_and(Vec::is_empty);
    let has_nothing = reply.as_object().is_some_and(|it| it.values().any(is_nothing));
    place.path == "$" && place.key.is_none() && has_nothing
}

/// The query, minus the parameters that paging sets.
fn query_table(query: &[(String, String)], paging: Option<&str>) -> String {
    let stays = |name: &str| paging.is_none() || !is_paging(name);
    let mut table: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, value) in query.iter().filter(|(name, _)| stays(name)) {
        let value = quoted(value);
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

/// The field that dates the records, and its type: an instant in every record, with a usual name
/// for one.
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

/// The type of a column for an instant like this one: a text, or a count from 1970 that falls in
/// this century.
fn instant_type(value: &Value) -> Option<&'static str> {
    if let Some(text) = value.as_str() {
        return DateTime::parse_from_rfc3339(text).is_ok().then_some("timestamp");
    }
    let number = value.as_f64()?;
    let seconds = 946_684_800.0..4_102_444_800.0;
    let units = [(1.0, "epoch_seconds"), (1e3, "epoch_millis"), (1e6, "epoch_micros")];
    let found = units.into_iter().find(|(unit, _)| seconds.contains(&(number / unit)));
    found.map(|(_, type_name)| type_name)
}

/// Columns in an endpoint file's format.
///
/// # Errors
/// `Internal` when they cannot be serialized, which their types rule out.
pub fn columns(columns: &[Column]) -> Result<String> {
    #[derive(Serialize)]
    struct Columns<'c> {
        column: &'c [Column],
    }
    toml::to_string(&Columns { column: columns }).map_err(|error| {
        Error::new(ErrorKind::Internal, "the columns could not be written").with_source(error)
    })
}

/// A draft with these columns instead of its own.
pub(super) fn with_columns(text: &str, columns: &str) -> String {
    let head = text.find("\n[[column]]").map_or(text, |at| &text[..at]);
    format!("{head}\n{columns}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::{Endpoint, Paging};

    fn draft(path: &str, query: &[(String, String)], reply: &Value) -> Option<String> {
        super::draft(&Address::new(path, query).unwrap(), reply, false)
    }

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
        for (unit, of_start) in
            [(1, "epoch_seconds"), (1000, "epoch_millis"), (1_000_000, "epoch_micros")]
        {
            let record = |id: i64| json!({"id": id, "n": 1, "start": (1_764_500_000 + id) * unit});
            let counted = draft("/x", &[], &json!([record(7), record(8)])).unwrap();
            let types: Vec<_> = Endpoint::from_toml("x", &counted).unwrap().columns;
            let types: Vec<_> = types.iter().map(|it| it.column_type.to_string()).collect();
            assert_eq!(types, ["int64", of_start]);
        }
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

    /// B15: one call by its id is one record, whatever lists it contains.
    #[test]
    fn one_record_is_chosen_before_the_lists_in_it() {
        let call = json!({"call": {"id": "c", "title": "t", "status": "DONE", "duration": 5,
            "transcript": [{"text": "a", "start": 0, "end": 1}, {"text": "b", "start": 1, "end": 2}],
            "users": [{"userId": "u", "userEmail": "a@example.com"}]}});
        let text = draft("/call-details", &[], &call).unwrap();
        assert!(text.contains("records = \"$.call\"\nkey = [\"id\"]"), "{text}");
        let whole = json!({"id": "a", "name": "n", "kind": "k", "contacts": [{"id": "x"}]});
        assert!(draft("/x", &[], &whole).unwrap().contains("records = \"$\""));
        let list = json!({"id": "request-1", "calls": [{"id": "x"}, {"id": "y"}]});
        assert!(draft("/x", &[], &list).unwrap().contains("records = \"$.calls[*]\""));
    }

    /// B2: macros stay macros, and chosen options are not guessed.
    #[test]
    fn macros_and_choices_are_kept() {
        let query = [("since", "{now-1}"), ("until", "{window.to}")];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut address = Address::new("/x/{now}", &query).unwrap();
        address.records = Some("$.b[*]".to_owned());
        address.key = vec!["m".to_owned(), "n".to_owned()];
        address.date_format = DateFormat::try_from("day".to_owned()).ok();
        let reply = json!({"a": [{"id": 1}], "b": [{"m": 1, "n": "a"}, {"m": 1, "n": "b"}]});
        let text = super::draft(&address, &reply, true).unwrap();
        let endpoint = Endpoint::from_toml("x", &text).unwrap();
        assert_eq!(endpoint.query["since"].all()[0].as_str(), "{now-1}");
        assert_eq!((endpoint.path.as_str(), endpoint.key.len()), ("/x/{now}", 2));
        assert!(matches!(endpoint.paging, Paging::NextLink(_)), "{text}");
    }
}
