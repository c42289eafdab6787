//! The content hash: distinguishes a changed record from an unchanged one.
//!
//! 128 bits that are equal for equal content. They do not depend on anything that inference or
//! evolution can change: members count in any order, nulls count as absent, equal numbers are equal
//! however they are written, and so are equal instants in timestamp columns, which do not keep the
//! spelling. Any other text is compared as text.

use std::cell::Cell;

use arrow::json::reader::{Tape, TapeElement};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::number::Number;
use super::{instant, json};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    /// The current hash, as kept in the index.
    pub(super) hash: u128,
    /// The hash that an older index keeps instead, if it differs: it treated equal instants as
    /// equal in text columns too.
    pub(super) older: Option<u128>,
}

/// The content hash of the record at `at`, without the top-level members named in `leave_out`.
pub(super) fn content(
    tape: &Tape<'_>,
    at: u32,
    leave_out: &[&str],
    instants: &Instants,
) -> Content {
    let hash = |is_older| {
        let hasher = Hasher { tape, is_older, differs: Cell::new(false) };
        let hash = hasher.record(at, leave_out, Some(instants));
        (hash, hasher.differs.get())
    };
    let (new, differs) = hash(false);
    Content { hash: new, older: differs.then(|| hash(true).0) }
}

/// A digest of the value at `at`, independent of the table.
pub(super) fn digest(tape: &Tape<'_>, at: u32) -> u128 {
    let hasher = Hasher { tape, is_older: true, differs: Cell::new(false) };
    hasher.record(at, &[], None)
}

/// The content of a bare value, hashed like an object with the single member `name`.
pub(super) fn scalar(tape: &Tape<'_>, at: u32, name: &str, instants: &Instants) -> Content {
    let hash = |is_older| {
        let hasher = Hasher { tape, is_older, differs: Cell::new(false) };
        let value = hasher.value(at, instants.member(name), 1);
        (members([(name, value)].into_iter()), hasher.differs.get())
    };
    let (new, differs) = hash(false);
    Content { hash: new, older: differs.then(|| hash(true).0) }
}

/// Which of a table's columns hold instants written as texts; all other texts are plain texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instants {
    Instant,
    Items(Box<Self>),
    Members(Vec<(String, Self)>),
}

impl Instants {
    /// For a table with these columns.
    pub(super) fn of(columns: &[Column]) -> Self {
        let below = columns.iter().filter_map(|column| {
            let below = Self::of_type(&column.column_type)?;
            Some((column.name.clone(), below))
        });
        Self::Members(below.collect())
    }

    fn of_type(column_type: &ColumnType) -> Option<Self> {
        match column_type {
            ColumnType::Timestamp(Written::Iso) => Some(Self::Instant),
            ColumnType::List(element) => Some(Self::Items(Box::new(Self::of_type(element)?))),
            ColumnType::Struct(fields) => match Self::of(fields) {
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

impl Hasher<'_, '_> {
    fn record(&self, at: u32, leave_out: &[&str], instants: Option<&Instants>) -> u128 {
        match self.tape.get(at) {
            TapeElement::StartObject(end) => self.object(at, end, leave_out, instants, 0),
            _ => self.value(at, instants, 0),
        }
    }

    fn value(&self, at: u32, instants: Option<&Instants>, depth: usize) -> u128 {
        let tape = self.tape;
        match json::element(tape, at) {
            TapeElement::StartObject(_) | TapeElement::StartList(_) if depth > MAX_DEPTH => {
                let mut text = String::new();
                json::write(tape, at, &mut text);
                xxh3_128_with_seed(text.as_bytes(), DEEP)
            }
            TapeElement::StartObject(end) => self.object(at, end, &[], instants, depth),
            TapeElement::StartList(end) => {
                let instants = instants.and_then(Instants::items);
                let mut state = [0; 32];
                let mut item = at + 1;
                while item < end {
                    let value = self.value(item, instants, depth + 1);
                    state[16..].copy_from_slice(&value.to_le_bytes());
                    let next = xxh3_128_with_seed(&state, LIST);
                    state[..16].copy_from_slice(&next.to_le_bytes());
                    item = json::next(tape, item);
                }
                xxh3_128_with_seed(&state[..16], LIST)
            }
            TapeElement::String(index) => {
                self.text(tape.get_string(index), instants == Some(&Instants::Instant))
            }
            TapeElement::Number(index) => number(tape.get_string(index)),
            TapeElement::True => xxh3_128(b"\0true"),
            TapeElement::False => xxh3_128(b"\0false"),
            _ => xxh3_128(b"\0null"),
        }
    }

    fn object(
        &self,
        at: u32,
        end: u32,
        leave_out: &[&str],
        instants: Option<&Instants>,
        depth: usize,
    ) -> u128 {
        let tape = self.tape;
        let counts = |(name, member): &(&str, u32)| {
            !matches!(tape.get(*member), TapeElement::Null) && !leave_out.contains(name)
        };
        let hashed = |(name, member)| {
            let instants = instants.and_then(|it| it.member(name));
            (name, self.value(member, instants, depth + 1))
        };
        members(json::distinct_members(tape, at, end).into_iter().filter(counts).map(hashed))
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
