//! Paths: where something is in a reply.
//!
//! Resolves a `JSONPath` to positions and values on a tape. A plain path is followed on the tape
//! itself; for any other, a library finds the locations in a tree of values, and the values are
//! taken from the tape.

use std::collections::HashMap;

use arrow::json::reader::{Tape, TapeElement};
use serde_json::Value;
use serde_json_path::PathElement;

use super::{envelope, json};
use crate::endpoint::{RecordPath, Step};

/// The targets in one reply of the paths that are not plain, by the path's text.
#[derive(Debug, Default)]
pub(super) struct Selections(HashMap<String, Vec<Location>>);

/// The path from the root to a value.
type Location = Vec<Place>;

#[derive(Debug, Clone)]
enum Place {
    Member(String),
    Item(usize),
}

impl Selections {
    /// Calls the library if a path is not plain.
    pub(super) fn of<'p>(
        body: &[u8],
        paths: impl Iterator<Item = &'p RecordPath>,
    ) -> Result<Self, String> {
        let mut selections = Self::default();
        let mut root = None;
        for path in paths.filter(|path| path.query().is_some()) {
            let value = match &root {
                Some(value) => value,
                None => root.insert(serde_json::from_slice(body).map_err(|it| it.to_string())?),
            };
            selections.0.insert(path.as_str().to_owned(), locations(path, value));
        }
        Ok(selections)
    }

    fn nodes(&self, tape: &Tape<'_>, root: u32, path: &RecordPath) -> Vec<u32> {
        let locations = self.0.get(path.as_str()).map(Vec::as_slice).unwrap_or_default();
        let mut walker = Walker { tape, items: HashMap::new() };
        locations.iter().filter_map(|location| walker.walk(root, location)).collect()
    }
}

fn locations(path: &RecordPath, value: &Value) -> Vec<Location> {
    let Some(query) = path.query() else { return Vec::new() };
    let place = |element: &PathElement<'_>| match element {
        PathElement::Name(name) => Place::Member((*name).to_owned()),
        PathElement::Index(index) => Place::Item(*index),
    };
    let located = query.query_located(value);
    located.locations().map(|location| location.iter().map(place).collect()).collect()
}

/// Walks a tape along locations, counting the items of each list only once.
struct Walker<'t> {
    tape: &'t Tape<'t>,
    items: HashMap<u32, Vec<u32>>,
}

impl Walker<'_> {
    fn walk(&mut self, root: u32, location: &[Place]) -> Option<u32> {
        location.iter().try_fold(root, |at, place| match place {
            Place::Member(name) => json::member(self.tape, at, name),
            Place::Item(number) => {
                let count = || json::items(self.tape, at).collect();
                self.items.entry(at).or_insert_with(count).get(*number).copied()
            }
        })
    }
}

/// The positions of the records at `path`; `None` when the reply has no such path.
pub(super) fn locate(
    tape: &Tape<'_>,
    root: u32,
    path: &RecordPath,
    selections: &Selections,
) -> Option<Vec<u32>> {
    let mut places = follow(tape, root, path.steps())?;
    if path.query().is_some() {
        places = selections.nodes(tape, root, path);
    }
    let is_list = |at: &u32| matches!(tape.get(*at), TapeElement::StartList(_));
    if places.len() == 1 && places.iter().all(is_list) {
        places = return_items(tape, &places);
    }
    Some(places)
}

fn follow(tape: &Tape<'_>, root: u32, steps: &[Step]) -> Option<Vec<u32>> {
    let mut places = vec![root];
    for step in steps {
        places = match step {
            Step::Member(name) => {
                places.iter().filter_map(|at| json::member(tape, *at, name)).collect()
            }
            Step::Items => {
                let is_list = |at: &&u32| {
                    matches!(tape.get(**at), TapeElement::StartList(_) | TapeElement::Null)
                };
                let lists: Vec<u32> = places.iter().filter(is_list).copied().collect();
                if lists.is_empty() {
                    return None;
                }
                return_items(tape, &lists)
            }
        };
        if places.is_empty() && matches!(step, Step::Member(_)) {
            return None;
        }
    }
    Some(places)
}

fn return_items(tape: &Tape<'_>, lists: &[u32]) -> Vec<u32> {
    lists.iter().flat_map(|list| json::items(tape, *list)).collect()
}

/// The values at `path`, whether or not it is a list, each with its name.
pub(super) fn named(
    tape: &Tape<'_>,
    root: u32,
    path: &RecordPath,
    selections: &Selections,
) -> Vec<(String, u32)> {
    if path.query().is_none() {
        let name = path.last_name().unwrap_or("value");
        let places = follow(tape, root, path.steps()).unwrap_or_default();
        return places.into_iter().map(|at| (name.to_owned(), at)).collect();
    }
    let locations = selections.0.get(path.as_str()).map(Vec::as_slice).unwrap_or_default();
    let mut walker = Walker { tape, items: HashMap::new() };
    let named = locations.iter().filter_map(|location| {
        let name = location.iter().rev().find_map(|place| match place {
            Place::Member(name) => Some(name.clone()),
            Place::Item(_) => None,
        });
        Some((name.unwrap_or_else(|| "value".to_owned()), walker.walk(root, location)?))
    });
    named.collect()
}

/// Whether there is null where `path` expects a list.
pub(super) fn is_null(tape: &Tape<'_>, root: u32, path: &RecordPath) -> bool {
    let steps = path.steps();
    let list = steps.strip_suffix(&[Step::Items]).unwrap_or(steps);
    let places = follow(tape, root, list).unwrap_or_default();
    let is_null = |at: &u32| matches!(tape.get(*at), TapeElement::Null);
    path.query().is_none() && !places.is_empty() && places.iter().all(is_null)
}

/// The boolean at `path`, in any spelling.
pub(super) fn truth_at(
    tape: &Tape<'_>,
    root: u32,
    path: &RecordPath,
    selections: &Selections,
) -> Option<bool> {
    let (_, at) = *named(tape, root, path, selections).first()?;
    envelope::truth(tape, at)
}

/// The number at `path`.
pub(super) fn number_at(
    tape: &Tape<'_>,
    root: u32,
    path: &RecordPath,
    selections: &Selections,
) -> Option<u64> {
    let (_, at) = *named(tape, root, path, selections).first()?;
    envelope::number(tape, at)
}

/// The reference to the next page, if the reply has one: a nonempty text, a number, or an object
/// with a link in it; none if the reply says that there is none.
///
/// # Errors
/// What the value is, if it is none of these.
pub(super) fn next_page(
    tape: &Tape<'_>,
    root: u32,
    path: &RecordPath,
    selections: &Selections,
) -> Result<Option<Box<str>>, &'static str> {
    let Some((_, at)) = named(tape, root, path, selections).first().cloned() else {
        return Ok(None);
    };
    match tape.get(at) {
        TapeElement::String(index) | TapeElement::Number(index) => {
            let text = tape.get_string(index).trim();
            Ok(Some(text).filter(|text| !text.is_empty()).map(Into::into))
        }
        TapeElement::StartObject(_) => {
            let link = ["href", "url", "link"].iter().find_map(|it| json::member(tape, at, it));
            match link.map(|at| tape.get(at)) {
                Some(TapeElement::String(index)) => Ok(Some(tape.get_string(index).into())),
                Some(TapeElement::Null) => Ok(None),
                _ => Err("an object without a link in it"),
            }
        }
        TapeElement::StartList(_) => Err("a list"),
        TapeElement::True => Err("`true`"),
        _ => Ok(None),
    }
}

/// The texts and numbers at `path` in a record, which is `value` if the path is not plain; a single
/// value where a list is expected counts as the list's only item.
pub(super) fn values_at(
    tape: &Tape<'_>,
    record: u32,
    path: &RecordPath,
    value: Option<&Value>,
) -> Vec<String> {
    let places: Vec<u32> = match value {
        Some(value) => {
            let mut walker = Walker { tape, items: HashMap::new() };
            let found = locations(path, value);
            found.iter().filter_map(|location| walker.walk(record, location)).collect()
        }
        None => path.steps().iter().fold(vec![record], |at, step| step_into(tape, at, step)),
    };
    let is_list = |at: &u32| matches!(tape.get(*at), TapeElement::StartList(_));
    let (lists, others): (Vec<u32>, Vec<u32>) = places.into_iter().partition(is_list);
    let places = others.into_iter().chain(return_items(tape, &lists));
    let text = |at: u32| match tape.get(at) {
        TapeElement::String(index) => Some(tape.get_string(index)),
        TapeElement::Number(index) => Some(whole(tape.get_string(index))),
        _ => None,
    };
    places.filter_map(text).map(str::to_owned).collect()
}

/// A number as written in a URL: a column of doubles holds 20 as 20.0.
pub(super) fn whole(number: &str) -> &str {
    number.strip_suffix(".0").unwrap_or(number)
}

fn step_into(tape: &Tape<'_>, places: Vec<u32>, step: &Step) -> Vec<u32> {
    match step {
        Step::Member(name) => {
            places.iter().filter_map(|at| json::member(tape, *at, name)).collect()
        }
        Step::Items => {
            let is_list = |at: &u32| matches!(tape.get(*at), TapeElement::StartList(_));
            let items = |at: u32| {
                if is_list(&at) { json::items(tape, at).collect() } else { vec![at] }
            };
            places.into_iter().flat_map(items).collect()
        }
    }
}
