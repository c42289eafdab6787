//! Paths: where in a reply something stands.
//!
//! Enters: a plain `JSONPath` and a tape. Leaves: positions and values. Never here: a tree.

use arrow::json::reader::{Tape, TapeElement};

use super::json;
use crate::endpoint::{RecordPath, Step};

/// The positions of the records at `path`; `None` when the reply has no such place.
pub(super) fn locate(tape: &Tape<'_>, root: u32, path: &RecordPath) -> Option<Vec<u32>> {
    let mut places = vec![root];
    for step in path.steps() {
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
    let is_list = |at: &u32| matches!(tape.get(*at), TapeElement::StartList(_));
    if places.len() == 1 && places.iter().all(is_list) {
        places = return_items(tape, &places);
    }
    Some(places)
}

fn return_items(tape: &Tape<'_>, lists: &[u32]) -> Vec<u32> {
    lists.iter().flat_map(|list| json::items(tape, *list)).collect()
}

/// What the reply says about further pages, where it says anything.
pub(super) fn has_more(tape: &Tape<'_>, root: u32) -> Option<bool> {
    let pagination = json::member(tape, root, "pagination").unwrap_or(root);
    match json::member(tape, pagination, "hasMore").map(|at| tape.get(at)) {
        Some(TapeElement::True) => Some(true),
        Some(TapeElement::False) => Some(false),
        _ => None,
    }
}

/// The texts and numbers at `path` in each of the records; one that stands where a list is
/// expected counts as the list's only item.
pub(super) fn values_at(tape: &Tape<'_>, records: Vec<u32>, path: &RecordPath) -> Vec<String> {
    let places = path.steps().iter().fold(records, |places, step| match step {
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
    });
    let text = |at: u32| match tape.get(at) {
        TapeElement::String(index) | TapeElement::Number(index) => Some(tape.get_string(index)),
        _ => None,
    };
    places.into_iter().filter_map(text).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}
