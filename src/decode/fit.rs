//! Whether a value fits its column: the single decision for columns and `extra_json`.
//!
//! Given a value on the tape and a column's type, determines the value as the column holds it, and
//! whether the original must be kept. No value is changed silently.

use arrow::json::reader::{Tape, TapeElement};

use super::number::{Number, is_number};
use super::{instant, json};
use crate::schema::{Column, ColumnType, Written};

/// How a value fits a column of type `T`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fit<T> {
    /// Null or absent.
    Null,
    /// The column holds it.
    Exact(T),
    /// The column holds a lossless conversion; `extra_json` keeps the original.
    Converted(T),
    /// The column is null; `extra_json` keeps the original.
    Misfit,
}

impl<T> Fit<T> {
    /// What the column holds.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Exact(value) | Self::Converted(value) => Some(value),
            Self::Null | Self::Misfit => None,
        }
    }

    fn exact(value: Option<T>) -> Self {
        value.map_or(Self::Misfit, Self::Exact)
    }

    fn converted(value: Option<T>, convert: bool) -> Self {
        value.filter(|_| convert).map_or(Self::Misfit, Self::Converted)
    }
}

pub(super) fn boolean(tape: &Tape<'_>, at: u32) -> Fit<bool> {
    match json::element(tape, at) {
        TapeElement::Null => Fit::Null,
        TapeElement::True => Fit::Exact(true),
        TapeElement::False => Fit::Exact(false),
        _ => Fit::Misfit,
    }
}

pub(super) fn int64(tape: &Tape<'_>, at: u32, convert: bool) -> Fit<i64> {
    let parse = |text| Number::parse(text).and_then(|number| number.as_i64());
    match json::element(tape, at) {
        TapeElement::Null => Fit::Null,
        TapeElement::Number(index) => Fit::exact(parse(tape.get_string(index))),
        TapeElement::String(index) => Fit::converted(parse(tape.get_string(index)), convert),
        _ => Fit::Misfit,
    }
}

pub(super) fn double(tape: &Tape<'_>, at: u32, convert: bool) -> Fit<f64> {
    let parse = |text| Number::parse(text).and_then(|number| number.as_f64());
    match json::element(tape, at) {
        TapeElement::Null => Fit::Null,
        TapeElement::Number(index) => Fit::exact(parse(tape.get_string(index))),
        TapeElement::String(index) => Fit::converted(parse(tape.get_string(index)), convert),
        _ => Fit::Misfit,
    }
}

/// An instant, as microseconds since 1970. Fractions below a microsecond may be cut off, and the
/// time of day may be missing, if the original is kept.
pub(super) fn timestamp(tape: &Tape<'_>, at: u32, written: Written, convert: bool) -> Fit<i64> {
    match (json::element(tape, at), written.unit()) {
        (TapeElement::Null, _) => Fit::Null,
        (TapeElement::String(index), None) => {
            let text = tape.get_string(index);
            match instant::parse(text) {
                Some(micros) if written == Written::Iso => Fit::Exact(micros),
                Some(micros) if instant::spell(micros).as_deref() == Some(text) => {
                    Fit::Exact(micros)
                }
                _ => Fit::converted(instant::parse_down(text), convert),
            }
        }
        (TapeElement::Number(index), Some(unit)) => match count(tape.get_string(index), unit) {
            Some((micros, true)) => Fit::Exact(micros),
            micros => Fit::converted(micros.map(|(micros, _)| micros), convert),
        },
        (TapeElement::String(index), Some(unit)) => {
            let counted = count(tape.get_string(index), unit);
            Fit::converted(counted.map(|(micros, _)| micros), convert)
        }
        _ => Fit::Misfit,
    }
}

/// The instant that a number in these units denotes, and whether the number is whole.
fn count(text: &str, unit: i64) -> Option<(i64, bool)> {
    instant::of_count(&Number::parse(text)?, unit)
}

pub(super) fn string<'t>(tape: &'t Tape<'_>, at: u32, convert: bool) -> Fit<&'t str> {
    match json::element(tape, at) {
        TapeElement::Null => Fit::Null,
        TapeElement::String(index) => Fit::Exact(tape.get_string(index)),
        TapeElement::Number(index) => Fit::converted(Some(tape.get_string(index)), convert),
        TapeElement::True => Fit::converted(Some("true"), convert),
        TapeElement::False => Fit::converted(Some("false"), convert),
        _ => Fit::Misfit,
    }
}

/// A field of a key in a column of texts. Of a whole number, the digits are the text: the key tells
/// rows apart by them, and `extra_json` need not repeat what every row has.
pub(super) fn key<'t>(tape: &'t Tape<'_>, at: u32) -> Fit<&'t str> {
    digits(tape, at).map_or_else(|| string(tape, at, true), Fit::Exact)
}

/// A whole number as it is written, with neither a fraction nor an exponent.
pub(super) fn digits<'t>(tape: &'t Tape<'_>, at: u32) -> Option<&'t str> {
    let TapeElement::Number(index) = json::element(tape, at) else { return None };
    Some(tape.get_string(index)).filter(|text| !text.contains(['.', 'e', 'E']))
}

/// A text that such a number would have.
pub(super) fn digits_of_text<'t>(tape: &'t Tape<'_>, at: u32) -> Option<&'t str> {
    let TapeElement::String(index) = tape.get(at) else { return None };
    Some(tape.get_string(index)).filter(|text| is_number(text) && !text.contains(['.', 'e', 'E']))
}

/// Whether a column of the record holds a field of its key as text.
pub(super) fn is_text_key(column: &Column, key: &[String]) -> bool {
    column.column_type == ColumnType::String && key.contains(&column.name)
}
