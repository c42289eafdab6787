//! The content hash: what tells a changed record from an unchanged one.
//!
//! Enters: a record on the tape. Leaves: 128 bits that are equal for equal content. Never here:
//! anything that a schema could change, so that neither inference nor evolution makes a record
//! look changed: members count in any order, nulls count as absent, equal numbers and equal
//! instants are equal however they were written.

use arrow::json::reader::{Tape, TapeElement};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::number::Number;
use super::{instant, json};

/// Deeper values are hashed as text: the stack is finite, and no honest record is so deep.
const MAX_DEPTH: usize = 200;

const INTEGER: u64 = 1;
const DOUBLE: u64 = 2;
const DECIMAL: u64 = 3;
const INSTANT: u64 = 4;
const LIST: u64 = 5;
const OBJECT: u64 = 6;
const MEMBER: u64 = 7;
const DEEP: u64 = 8;

/// The hash of the record at `at`, its top-level members named in `leave_out` not counted.
pub(super) fn record(tape: &Tape<'_>, at: u32, leave_out: &[&str]) -> u128 {
    match tape.get(at) {
        TapeElement::StartObject(end) => object(tape, at, end, leave_out, 0),
        _ => value(tape, at, 0),
    }
}

fn value(tape: &Tape<'_>, at: u32, depth: usize) -> u128 {
    match tape.get(at) {
        TapeElement::StartObject(_) | TapeElement::StartList(_) if depth > MAX_DEPTH => {
            let mut text = String::new();
            json::write(tape, at, &mut text);
            xxh3_128_with_seed(text.as_bytes(), DEEP)
        }
        TapeElement::StartObject(end) => object(tape, at, end, &[], depth),
        TapeElement::StartList(end) => {
            let mut state = [0; 32];
            let mut item = at + 1;
            while item < end {
                state[16..].copy_from_slice(&value(tape, item, depth + 1).to_le_bytes());
                let next = xxh3_128_with_seed(&state, LIST);
                state[..16].copy_from_slice(&next.to_le_bytes());
                item = json::next(tape, item);
            }
            xxh3_128_with_seed(&state[..16], LIST)
        }
        TapeElement::String(index) => text(tape.get_string(index)),
        TapeElement::Number(index) => number(tape.get_string(index)),
        TapeElement::True => xxh3_128(b"\0true"),
        TapeElement::False => xxh3_128(b"\0false"),
        _ => xxh3_128(b"\0null"),
    }
}

fn object(tape: &Tape<'_>, at: u32, end: u32, leave_out: &[&str], depth: usize) -> u128 {
    let counts = |(name, member): &(&str, u32)| {
        !matches!(tape.get(*member), TapeElement::Null) && !leave_out.contains(name)
    };
    let hashed = |(name, member)| (name, value(tape, member, depth + 1));
    members(json::distinct_members(tape, at, end).into_iter().filter(counts).map(hashed))
}

/// The hash of an object from its members' hashes, in any order.
fn members<'n>(members: impl Iterator<Item = (&'n str, u128)>) -> u128 {
    let mut sum = 0u128;
    for (name, value) in members {
        let mut pair = [0; 32];
        pair[..16].copy_from_slice(&xxh3_128(name.as_bytes()).to_le_bytes());
        pair[16..].copy_from_slice(&value.to_le_bytes());
        sum = sum.wrapping_add(xxh3_128_with_seed(&pair, MEMBER));
    }
    xxh3_128_with_seed(&sum.to_le_bytes(), OBJECT)
}

fn text(text: &str) -> u128 {
    match instant::parse(text) {
        Some(micros) => xxh3_128_with_seed(&micros.to_le_bytes(), INSTANT),
        None => xxh3_128(text.as_bytes()),
    }
}

fn number(text: &str) -> u128 {
    match Number::parse(text) {
        Some(Number::Int(int)) => xxh3_128_with_seed(&int.to_le_bytes(), INTEGER),
        Some(Number::Double(double)) => xxh3_128_with_seed(&double.to_le_bytes(), DOUBLE),
        Some(Number::Decimal(decimal)) => xxh3_128_with_seed(decimal.as_bytes(), DECIMAL),
        None => xxh3_128_with_seed(text.as_bytes(), DEEP),
    }
}

/// The hash of a bare value, as that of the object whose one member, `name`, it is.
pub(super) fn scalar(tape: &Tape<'_>, at: u32, name: &str) -> u128 {
    members([(name, value(tape, at, 1))].into_iter())
}
