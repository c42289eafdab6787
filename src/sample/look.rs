//! Looking around in a reply: candidate record paths.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::endpoint::RecordPath;

/// A candidate record path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The path, ready for `records`.
    pub path: String,
    /// How many records there are.
    pub count: usize,
    /// The names of their fields; none when they are bare values.
    pub fields: Vec<String>,
    /// The field that seems to identify them, and its value in the first one.
    pub key: Option<(String, String)>,
    /// How many of the first one's members are neither lists, objects nor null.
    #[serde(skip)]
    plain: usize,
}

/// How deep places are searched.
const MAX_DEPTH: usize = 8;

/// Every place in a reply whose values may be records, the likeliest first: lists, single objects,
/// and maps of objects.
#[must_use]
pub fn places(reply: &Value) -> Vec<Place> {
    let mut found = BTreeMap::new();
    gather(reply, "$", 0, &mut found);
    let mut places: Vec<Place> =
        found.into_iter().filter_map(|(path, items)| place(path, &items)).collect();
    let records: Vec<String> =
        places.iter().filter(|it| it.is_record()).map(|it| it.path.clone()).collect();
    let is_inside = |place: &Place| {
        records.iter().any(|record| {
            let rest = place.path.strip_prefix(record.as_str());
            rest.is_some_and(|rest| rest.starts_with(['.', '[']))
        })
    };
    places.sort_by_key(|place| place.rank(is_inside(place)));
    places
}

/// The minimum number of plain members for an object to count as a record rather than an envelope.
const MEMBERS: usize = 3;

impl Place {
    /// Whether the field that identifies records has a usual name for a key, rather than being
    /// unique by chance.
    fn has_real_key(&self) -> bool {
        self.key.as_ref().is_some_and(|(name, _)| usual(name) < CHANCE)
    }

    fn is_single(&self) -> bool {
        !self.path.contains('*')
    }

    /// Whether it is a single object that is certainly a record.
    fn is_record(&self) -> bool {
        self.is_single() && self.has_real_key() && self.plain >= MEMBERS
    }

    /// The order of likelihood: objects before bare values and before the envelope of a list; a
    /// real key before one that is unique by chance; a record before the lists inside it, and any
    /// list before what is inside its items; many fields before few.
    fn rank(&self, is_inside: bool) -> impl Ord + use<> {
        let nested = self.path.matches('*').count();
        let is_weak = self.is_single() && !self.is_record();
        (
            self.fields.is_empty() || (is_weak && self.key.is_none()),
            !self.has_real_key(),
            is_inside,
            is_weak,
            nested,
            self.key.is_none(),
            Reverse(self.fields.len()),
            self.path.clone(),
        )
    }
}

fn gather<'v>(
    value: &'v Value,
    path: &str,
    depth: usize,
    places: &mut BTreeMap<String, Vec<&'v Value>>,
) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Array(items) => {
            let path = format!("{path}[*]");
            places.entry(path.clone()).or_default().extend(items);
            for item in items {
                gather(item, &path, depth + 1, places);
            }
        }
        Value::Object(members) if is_map(members) => {
            // The names are data: one path leads to all the values they name.
            let path = format!("{path}.*");
            places.entry(path.clone()).or_default().extend(members.values());
            for member in members.values() {
                gather(member, &path, depth + 1, places);
            }
        }
        Value::Object(members) => {
            if !path.contains('*') && (path == "$" || members.values().any(is_plain)) {
                places.entry(path.to_owned()).or_default().push(value);
            }
            for (name, member) in members {
                gather(member, &format!("{path}{}", step(name)), depth + 1, places);
            }
        }
        _ => {}
    }
}

/// Whether an object is a map: several objects with the same members, named by data.
fn is_map(members: &Map<String, Value>) -> bool {
    let mut objects = members.values().map(Value::as_object);
    let Some(Some(first)) = objects.next() else { return false };
    let alike = |it: Option<&Map<String, Value>>| {
        it.is_some_and(|it| {
            it.keys().filter(|name| first.contains_key(*name)).count() * 2 > first.len()
        })
    };
    members.len() > 1 && first.values().any(is_plain) && objects.all(alike)
}

fn is_plain(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

/// A member's name as written in a path.
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
    let plain = objects.first().map_or(0, |it| it.values().filter(|it| is_plain(it)).count());
    Some(Place { path, count: items.len(), fields, key, plain })
}

/// The field that distinguishes objects: one that all have, each with a different text or number,
/// chosen by the usual names of such fields.
pub(super) fn key_of(objects: &[&Map<String, Value>]) -> Option<String> {
    let first = objects.first()?;
    let tells_apart = |name: &&String| {
        let mut values: Vec<_> = objects.iter().map(|it| it.get(*name).and_then(text_of)).collect();
        values.sort();
        values.dedup();
        values.len() == objects.len() && values.iter().all(Option::is_some)
    };
    let mut names: Vec<_> = first.keys().filter(tells_apart).collect();
    names.sort_by_key(|name| usual(name));
    names.into_iter().find(|name| usual(name) < NO_KEY || objects.len() > 1).cloned()
}

/// From this rank on, a name is that of a key by chance.
const CHANCE: u8 = 3;
/// From this rank on, it is not a usual name for a key.
const NO_KEY: u8 = 4;

/// How usual a name is for an identifying field, 0 first.
fn usual(name: &str) -> u8 {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "id" => 0,
        "uuid" | "guid" | "_id" => 1,
        _ if lower.ends_with("_id") || name.ends_with("Id") || name.ends_with("ID") => 2,
        "key" | "code" | "slug" | "name" | "email" => CHANCE,
        _ => NO_KEY,
    }
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

/// A text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_and_single_objects_are_places_too() {
        let reply = json!({"users": {"u1": {"id": "u1", "n": 1}, "u2": {"id": "u2", "n": 2}},
            "meta": {"took": 3, "unit": "ms"}});
        let places = places(&reply);
        let paths: Vec<_> = places.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["$.users.*", "$", "$.meta"]);
        assert_eq!(places[0].key, Some(("id".to_owned(), "u1".to_owned())));
    }

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
