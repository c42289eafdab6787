//! The content hash: distinguishes a changed record from an unchanged one.
//!
//! 128 bits that are equal for equal content. They do not depend on anything that inference or
//! evolution can change: members count in any order, nulls count as absent, equal numbers are equal
//! however they are written, and so are equal instants in timestamp columns, which do not keep the
//! spelling. A whole number in a key of texts counts as its digits, which are all that its row
//! keeps. Any other text is compared as text.

use std::cell::Cell;

use arrow::json::reader::{Tape, TapeElement};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::number::Number;
use super::{fit, instant, json};
use crate::schema::{Column, ColumnType, Written};

/// Deeper values are hashed as text: the stack is finite, and real records are not that deep.
const MAX_DEPTH: usize = 200;

const INTEGER: u64 = 1;
const DOUBLE: u64 = 2;
const DECIMAL: u64 = 3;
const INSTANT: u64 = 4;
const LIST: u64 = 5;
const OBJECT: u64 = 6;
const MEMBER: u64 = 7;
const DEEP: u64 = 8;

/// The hashes by which two readings of a record have the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// The current hash, as kept in the index.
    pub(super) hash: u128,
    /// The hashes that an older index may keep instead: it treated equal instants as equal in text
    /// columns too, and numbers in keys of texts as numbers.
    pub(super) older: Box<[u128]>,
}

/// The content hash of the record at `at`, without the top-level members named in `leave_out`.
pub(super) fn content(
    tape: &Tape<'_>,
    at: u32,
    leave_out: &[&str],
    readings: &Readings,
) -> Content {
    let TapeElement::StartObject(end) = tape.get(at) else {
        let hash = |is_older| Hasher::new(tape, is_older).value(at, Some(readings), 0);
        return Content { hash: hash(false), older: Box::new([hash(true)]) };
    };
    of_members(tape, &counted(tape, at, end, leave_out), readings)
}

/// The content of a record with these members.
fn of_members(tape: &Tape<'_>, counted: &[(&str, u32)], readings: &Readings) -> Content {
    let hasher = Hasher::new(tape, false);
    // What the sum gains when the digits in keys count as numbers.
    let mut as_numbers = None::<u128>;
    let mut sum = 0u128;
    for (name, at) in counted {
        let reading = readings.member(name);
        let hash = member(name, hasher.value(*at, reading, 1));
        sum = sum.wrapping_add(hash);
        if reading == Some(&Readings::Digits)
            && let Some(digits) = fit::digits_of_text(tape, *at).or_else(|| fit::digits(tape, *at))
        {
            let gain = member(name, number(digits)).wrapping_sub(hash);
            as_numbers = Some(as_numbers.unwrap_or_default().wrapping_add(gain));
        }
    }
    let mut older = Vec::new();
    older.extend(as_numbers.map(|gain| object(sum.wrapping_add(gain))));
    if hasher.differs.get() {
        let hasher = Hasher::new(tape, true);
        let value =
            |(name, at): &(&str, u32)| member(name, hasher.value(*at, readings.member(name), 1));
        let sum = counted.iter().map(value).fold(0, u128::wrapping_add);
        older.push(object(sum));
        older.extend(as_numbers.map(|gain| object(sum.wrapping_add(gain))));
    }
    Content { hash: object(sum), older: older.into() }
}

/// A digest of the value at `at`, independent of the table.
pub(super) fn digest(tape: &Tape<'_>, at: u32) -> u128 {
    Hasher::new(tape, true).value(at, None, 0)
}

/// The content of a bare value, hashed like an object with the single member `name`.
pub(super) fn scalar(tape: &Tape<'_>, at: u32, name: &str, readings: &Readings) -> Content {
    of_members(tape, &[(name, at)], readings)
}

/// What the values of a table's columns count as; all others count as what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readings {
    /// Texts count as instants.
    Instant,
    /// Whole numbers count as their digits.
    Digits,
    Items(Box<Self>),
    Members(Vec<(String, Self)>),
}

impl Readings {
    /// For a table with these columns and this key.
    pub(super) fn of(columns: &[Column], key: &[String]) -> Self {
        let below = columns.iter().filter_map(|column| {
            let is_key = fit::is_text_key(column, key);
            let below =
                if is_key { Some(Self::Digits) } else { Self::of_type(&column.column_type) };
            Some((column.name.clone(), below?))
        });
        Self::Members(below.collect())
    }

    fn of_type(column_type: &ColumnType) -> Option<Self> {
        match column_type {
            ColumnType::Timestamp(Written::Iso) => Some(Self::Instant),
            ColumnType::List(element) => Some(Self::Items(Box::new(Self::of_type(element)?))),
            ColumnType::Struct(fields) => match Self::of(fields, &[]) {
                Self::Members(below) if below.is_empty() => None,
                below => Some(below),
            },
            _ => None,
        }
    }

    fn member(&self, name: &str) -> Option<&Self> {
        let Self::Members(below) = self else { return None };
        below.iter().find(|(known, _)| known == name).map(|(_, below)| below)
    }

    fn items(&self) -> Option<&Self> {
        if let Self::Items(below) = self { Some(below) } else { None }
    }
}

struct Hasher<'a, 't> {
    tape: &'a Tape<'t>,
    /// Whether hashes are those of an older index.
    is_older: bool,
    /// Whether the older hashes would differ.
    differs: Cell<bool>,
}

impl<'a, 't> Hasher<'a, 't> {
    fn new(tape: &'a Tape<'t>, is_older: bool) -> Self {
        Self { tape, is_older, differs: Cell::new(false) }
    }

    fn value(&self, at: u32, readings: Option<&Readings>, depth: usize) -> u128 {
        let tape = self.tape;
        match json::element(tape, at) {
            TapeElement::StartObject(_) | TapeElement::StartList(_) if depth > MAX_DEPTH => {
                let mut text = String::new();
                json::write(tape, at, &mut text);
                xxh3_128_with_seed(text.as_bytes(), DEEP)
            }
            TapeElement::StartObject(end) => self.object(at, end, readings, depth),
            TapeElement::StartList(end) => {
                let readings = readings.and_then(Readings::items);
                let mut state = [0; 32];
                let mut item = at + 1;
                while item < end {
                    let value = self.value(item, readings, depth + 1);
                    state[16..].copy_from_slice(&value.to_le_bytes());
                    let next = xxh3_128_with_seed(&state, LIST);
                    state[..16].copy_from_slice(&next.to_le_bytes());
                    item = json::next(tape, item);
                }
                xxh3_128_with_seed(&state[..16], LIST)
            }
            TapeElement::String(index) => {
                self.text(tape.get_string(index), readings == Some(&Readings::Instant))
            }
            TapeElement::Number(index) => {
                let digits = fit::digits(tape, at).filter(|_| readings == Some(&Readings::Digits));
                let as_text = digits.map(|digits| xxh3_128(digits.as_bytes()));
                as_text.unwrap_or_else(|| number(tape.get_string(index)))
            }
            TapeElement::True => xxh3_128(b"\0true"),
            TapeElement::False => xxh3_128(b"\0false"),
            _ => xxh3_128(b"\0null"),
        }
    }

    fn object(&self, at: u32, end: u32, readings: Option<&Readings>, depth: usize) -> u128 {
        let hashes = counted(self.tape, at, end, &[]).into_iter().map(|(name, at)| {
            let readings = readings.and_then(|it| it.member(name));
            member(name, self.value(at, readings, depth + 1))
        });
        object(hashes.fold(0, u128::wrapping_add))
    }

    fn text(&self, text: &str, is_instant: bool) -> u128 {
        match instant::parse(text) {
            Some(micros) if is_instant || self.is_older => {
                xxh3_128_with_seed(&micros.to_le_bytes(), INSTANT)
            }
            micros => {
                if micros.is_some() {
                    self.differs.set(true);
                }
                xxh3_128(text.as_bytes())
            }
        }
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

/// The members of an object that count: those that are not null.
fn counted<'t>(tape: &'t Tape<'_>, at: u32, end: u32, leave_out: &[&str]) -> Vec<(&'t str, u32)> {
    let mut members = json::distinct_members(tape, at, end);
    members.retain(|(name, member)| {
        !matches!(tape.get(*member), TapeElement::Null) && !leave_out.contains(name)
    });
    members
}

fn member(name: &str, value: u128) -> u128 {
    let mut pair = [0; 32];
    pair[..16].copy_from_slice(&xxh3_128(name.as_bytes()).to_le_bytes());
    pair[16..].copy_from_slice(&value.to_le_bytes());
    xxh3_128_with_seed(&pair, MEMBER)
}

/// The hash of an object from the sum of its members' hashes, which has no order.
fn object(sum: u128) -> u128 {
    xxh3_128_with_seed(&sum.to_le_bytes(), OBJECT)
}
