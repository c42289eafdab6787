//! Looking around in a reply: where records may be, and how it may go on.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::endpoint::RecordPath;

/// A place where records may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The path, ready for `records`.
    pub path: String,
    /// How many there are.
    pub count: usize,
    /// The names of their fields; none when they are bare values.
    pub fields: Vec<String>,
    /// The field that seems to tell them apart, and its value in the first one.
    pub key: Option<(String, String)>,
}

/// Deeper places are not looked for.
const MAX_DEPTH: usize = 8;

/// Every list of a reply whose items may be records, the likeliest first.
#[must_use]
pub fn places(reply: &Value) -> Vec<Place> {
    let mut lists = BTreeMap::new();
    gather(reply, "$", 0, &mut lists);
    let mut places: Vec<Place> =
        lists.into_iter().filter_map(|(path, items)| place(path, &items)).collect();
    if let Value::Object(_) = reply {
        places.extend(place("$".to_owned(), &[reply]));
    }
    places.sort_by_key(rank);
    places
}

/// The likeliest come first: whole objects before bare values, and those before the reply itself if
/// nothing in it is an id; lists before what is inside of their items, with a key before without, many fields before few.
fn rank(place: &Place) -> (bool, usize, bool, std::cmp::Reverse<usize>, String) {
    let nested = place.path.matches("[*]").count();
    let depth = if nested == 0 { usize::MAX } else { nested };
    let fields = std::cmp::Reverse(place.fields.len());
    let is_envelope = place.path == "$" && place.key.is_none();
    (place.fields.is_empty() || is_envelope, depth, place.key.is_none(), fields, place.path.clone())
}

fn gather<'v>(
    value: &'v Value,
    path: &str,
    depth: usize,
    lists: &mut BTreeMap<String, Vec<&'v Value>>,
) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Array(items) => {
            let path = format!("{path}[*]");
            lists.entry(path.clone()).or_default().extend(items);
            for item in items {
                gather(item, &path, depth + 1, lists);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                gather(member, &format!("{path}{}", step(name)), depth + 1, lists);
            }
        }
        _ => {}
    }
}

/// A member's name as a path has it.
pub(super) fn step(name: &str) -> String {
    let plain = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
        && name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
    if plain {
        return format!(".{name}");
    }
    format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn place(path: String, items: &[&Value]) -> Option<Place> {
    let objects: Vec<&Map<String, Value>> =
        items.iter().filter_map(|item| item.as_object()).collect();
    let is_bare = |item: &&Value| item.is_string() || item.is_number();
    if objects.is_empty() && (items.is_empty() || !items.iter().all(is_bare)) {
        return None;
    }
    let mut fields: Vec<String> = Vec::new();
    for name in objects.iter().flat_map(|object| object.keys()) {
        if !fields.contains(name) {
            fields.push(name.clone());
        }
    }
    let key = key_of(&objects).and_then(|field| {
        let value = objects.first()?.get(&field).and_then(text_of)?;
        Some((field, value))
    });
    Some(Place { path, count: items.len(), fields, key })
}

/// The field that tells objects apart: one that all have, each with another text or number, by
/// the names that such fields usually have.
pub(super) fn key_of(objects: &[&Map<String, Value>]) -> Option<String> {
    let first = objects.first()?;
    let tells_apart = |name: &&String| {
        let mut values: Vec<_> = objects.iter().map(|it| it.get(*name).and_then(text_of)).collect();
        values.sort();
        values.dedup();
        values.len() == objects.len() && values.iter().all(Option::is_some)
    };
    let usual = |name: &&String| {
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "id" => 0,
            "uuid" | "guid" | "_id" => 1,
            _ if lower.ends_with("_id") || name.ends_with("Id") || name.ends_with("ID") => 2,
            "key" | "code" | "slug" | "name" | "email" => 3,
            _ => 4,
        }
    };
    let mut names: Vec<_> = first.keys().filter(tells_apart).collect();
    names.sort_by_key(usual);
    names.into_iter().find(|name| usual(name) < 4 || objects.len() > 1).cloned()
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The records at the first of these paths that exists, as the decoder would find them.
pub(super) fn records<'v>(
    reply: &'v Value,
    paths: &[RecordPath],
) -> Option<(String, Vec<&'v Value>)> {
    paths.iter().find_map(|path| {
        let query = serde_json_path::JsonPath::parse(path.as_str()).ok()?;
        let found = query.query(reply).all();
        let found = match found.as_slice() {
            [Value::Array(items)] => items.iter().collect(),
            _ => found,
        };
        (!found.is_empty()).then(|| (path.to_string(), found))
    })
}

/// A text as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_list_of_records_is_found_and_the_likeliest_comes_first() {
        let reply = json!({"meta": {"tags": ["a", "b"]}, "data": {"odd name": [
            {"id": "x", "people": [{"email": "a@example.com"}], "n": 1},
            {"id": "y", "people": [{"email": "b@example.com"}, {"email": "c@example.com"}]},
        ]}});
        let places = places(&reply);
        let paths: Vec<_> = places.iter().map(|it| (it.path.as_str(), it.count)).collect();
        let expected = [
            ("$.data['odd name'][*]", 2),
            ("$.data['odd name'][*].people[*]", 3),
            ("$.meta.tags[*]", 2),
            ("$", 1),
        ];
        assert_eq!(paths, expected);
        assert_eq!(places[0].key, Some(("id".to_owned(), "x".to_owned())));
        assert_eq!(places[0].fields, ["id", "n", "people"]);
        for place in &places {
            RecordPath::try_from(place.path.clone()).unwrap();
        }
    }
}
