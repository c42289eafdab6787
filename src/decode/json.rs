//! Reading the tape: the flat form of a JSON text that arrow-json's parser makes.
//!
//! Reads positions on the tape, and writes JSON text from them. It builds no tree of values, and
//! does not recurse over the data's depth.

use std::collections::{HashMap, HashSet};

use arrow::json::reader::{Tape, TapeElement};
use xxhash_rust::xxh3::xxh3_64;

use super::number::is_number;

/// Up to this many members, comparing each with each is cheaper than a map.
const FEW: usize = 24;

/// The element at `at`. The parser accepts tokens such as `007` and `5-3` as numbers: anything that
/// is not a number in JSON's grammar is treated as text, so that invalid JSON is never written.
pub(super) fn element(tape: &Tape<'_>, at: u32) -> TapeElement {
    match tape.get(at) {
        TapeElement::Number(index) if !is_number(tape.get_string(index)) => {
            TapeElement::String(index)
        }
        element => element,
    }
}

/// The position after the value at `at`.
pub(super) fn next(tape: &Tape<'_>, at: u32) -> u32 {
    match tape.get(at) {
        TapeElement::StartObject(end) | TapeElement::StartList(end) => end + 1,
        TapeElement::I64(_) | TapeElement::F64(_) => at + 2,
        _ => at + 1,
    }
}

/// The members of the object between `at` and `end`: name, and position of the value.
pub(super) fn members<'t>(
    tape: &'t Tape<'_>,
    at: u32,
    end: u32,
) -> impl Iterator<Item = (&'t str, u32)> {
    let mut at = at + 1;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let TapeElement::String(name) = tape.get(at) else { return None };
        let member = at + 1;
        at = next(tape, member);
        Some((tape.get_string(name), member))
    })
}

/// The value of the named member, the last one if there are several; `None` when absent.
pub(super) fn member(tape: &Tape<'_>, at: u32, name: &str) -> Option<u32> {
    let TapeElement::StartObject(end) = tape.get(at) else { return None };
    members(tape, at, end).filter(|(it, _)| *it == name).last().map(|(_, member)| member)
}

/// The members of the object between `at` and `end`; for duplicate names, only the last.
pub(super) fn distinct_members<'t>(tape: &'t Tape<'_>, at: u32, end: u32) -> Vec<(&'t str, u32)> {
    let mut all: Vec<_> = members(tape, at, end).collect();
    if all.len() <= FEW {
        let is_last = |at: usize| all[at + 1..].iter().all(|(name, _)| *name != all[at].0);
        if !(0..all.len()).all(is_last) {
            all = (0..all.len()).filter(|at| is_last(*at)).map(|at| all[at]).collect();
        }
        return all;
    }
    // Almost no object names a member twice, so that is checked first, by their hashes.
    let mut hashes: Vec<u64> = all.iter().map(|(name, _)| xxh3_64(name.as_bytes())).collect();
    hashes.sort_unstable();
    if hashes.windows(2).all(|pair| pair[0] != pair[1]) {
        return all;
    }
    let last: HashMap<&str, u32> = all.iter().copied().collect();
    all.retain(|(name, member)| last[name] == *member);
    all
}

/// The items of the list at `at`; none when it is not a list.
pub(super) fn items(tape: &Tape<'_>, at: u32) -> impl Iterator<Item = u32> {
    let (mut at, end) = match tape.get(at) {
        TapeElement::StartList(end) => (at + 1, end),
        _ => (at, at),
    };
    std::iter::from_fn(move || {
        let item = (at < end).then_some(at)?;
        at = next(tape, item);
        Some(item)
    })
}

/// Whether there is a URL anywhere in the value at `at`.
pub(super) fn has_link(tape: &Tape<'_>, at: u32) -> bool {
    (at..next(tape, at)).any(|at| match tape.get(at) {
        TapeElement::String(index) => tape.get_string(index).contains("://"),
        _ => false,
    })
}

/// The members within the value at `at` that a later one of the same name in the same object
/// supersedes.
pub(super) fn superseded(tape: &Tape<'_>, at: u32) -> HashSet<u32> {
    let mut superseded = HashSet::new();
    for at in at..next(tape, at) {
        if let TapeElement::StartObject(end) = tape.get(at) {
            let mut kept = distinct_members(tape, at, end).into_iter().peekable();
            for (_, member) in members(tape, at, end) {
                if kept.next_if(|(_, last)| *last == member).is_none() {
                    superseded.insert(member);
                }
            }
        }
    }
    superseded
}

/// How a value is changed when it is written.
pub(super) enum Change<'c> {
    /// A member is omitted, an item becomes null.
    LeftOut,
    /// This text is written instead.
    Text(&'c str),
}

/// Writes the value at `at` as JSON text.
pub(super) fn write(tape: &Tape<'_>, at: u32, out: &mut String) {
    write_changed(tape, at, |_| None, out);
}

/// Writes the value at `at` as JSON text, without the members at these positions.
pub(super) fn write_without(tape: &Tape<'_>, at: u32, without: &HashSet<u32>, out: &mut String) {
    let change = |at| without.contains(&at).then_some(Change::LeftOut);
    write_changed(tape, at, change, out);
}

/// Writes the value at `at` as JSON text, with changes of the values at some positions.
pub(super) fn write_changed<'c>(
    tape: &Tape<'_>,
    at: u32,
    change: impl Fn(u32) -> Option<Change<'c>>,
    out: &mut String,
) {
    // The open containers: whether each is an object, and how many names and values it has so far.
    let mut open: Vec<(bool, usize)> = Vec::new();
    let end = next(tape, at);
    let mut here = at;
    while here < end {
        let at = here;
        // A name comes right before its value.
        if is_name(&open) && matches!(change(at + 1), Some(Change::LeftOut)) {
            here = next(tape, at + 1);
            continue;
        }
        here += 1;
        let element = element(tape, at);
        if !matches!(element, TapeElement::EndObject(_) | TapeElement::EndList(_)) {
            separate(&mut open, out);
        }
        if let Some(change) = change(at) {
            here = next(tape, at);
            match change {
                Change::LeftOut => out.push_str("null"),
                Change::Text(text) => write_text(text, out),
            }
            continue;
        }
        match element {
            TapeElement::StartObject(_) => {
                out.push('{');
                open.push((true, 0));
            }
            TapeElement::StartList(_) => {
                out.push('[');
                open.push((false, 0));
            }
            TapeElement::EndObject(_) => {
                out.push('}');
                open.pop();
            }
            TapeElement::EndList(_) => {
                out.push(']');
                open.pop();
            }
            TapeElement::String(index) => write_text(tape.get_string(index), out),
            TapeElement::Number(index) => out.push_str(tape.get_string(index)),
            TapeElement::True => out.push_str("true"),
            TapeElement::False => out.push_str("false"),
            _ => out.push_str("null"),
        }
    }
}

/// Whether a member's name comes next.
fn is_name(open: &[(bool, usize)]) -> bool {
    open.last().is_some_and(|(is_object, written)| *is_object && written % 2 == 0)
}

fn separate(open: &mut [(bool, usize)], out: &mut String) {
    if let Some((is_object, written)) = open.last_mut() {
        match (*is_object, *written) {
            (_, 0) => {}
            (true, odd) if odd % 2 == 1 => out.push(':'),
            _ => out.push(','),
        }
        *written += 1;
    }
}

/// Writes a JSON string.
pub(super) fn write_text(text: &str, out: &mut String) {
    // Serializing text cannot fail; the empty default is never used.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
