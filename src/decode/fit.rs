//! Whether a value fits its column: the one place that decides it, for columns and `extra_json`.
//!
//! Enters: a value on the tape and a column's type. Leaves: the value as the column holds it, and
//! whether the original must be kept beside it. Never here: a value changed in passing.

use arrow::json::reader::{Tape, TapeElement};

use super::instant;
use super::number::Number;

/// What becomes of a value in a column of type `T`.
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
    fn exact(value: Option<T>) -> Self {
        value.map_or(Self::Misfit, Self::Exact)
    }

    fn converted(value: Option<T>, convert: bool) -> Self {
        value.filter(|_| convert).map_or(Self::Misfit, Self::Converted)
    }
}

pub(super) fn boolean(tape: &Tape<'_>, at: u32) -> Fit<bool> {
    match tape.get(at) {
        TapeElement::Null => Fit::Null,
        TapeElement::True => Fit::Exact(true),
        TapeElement::False => Fit::Exact(false),
        _ => Fit::Misfit,
    }
}

pub(super) fn int64(tape: &Tape<'_>, at: u32, convert: bool) -> Fit<i64> {
    let parse = |text| Number::parse(text).and_then(|number| number.as_i64());
    match tape.get(at) {
        TapeElement::Null => Fit::Null,
        TapeElement::Number(index) => Fit::exact(parse(tape.get_string(index))),
        TapeElement::String(index) => Fit::converted(parse(tape.get_string(index)), convert),
        _ => Fit::Misfit,
    }
}

pub(super) fn double(tape: &Tape<'_>, at: u32, convert: bool) -> Fit<f64> {
    let parse = |text| Number::parse(text).and_then(|number| number.as_f64());
    match tape.get(at) {
        TapeElement::Null => Fit::Null,
        TapeElement::Number(index) => Fit::exact(parse(tape.get_string(index))),
        TapeElement::String(index) => Fit::converted(parse(tape.get_string(index)), convert),
        _ => Fit::Misfit,
    }
}

pub(super) fn timestamp(tape: &Tape<'_>, at: u32, convert: bool) -> Fit<i64> {
    match tape.get(at) {
        TapeElement::Null => Fit::Null,
        TapeElement::String(index) => {
            let text = tape.get_string(index);
            match instant::parse(text) {
                Some(micros) => Fit::Exact(micros),
                // Down to the microsecond or the day's begin, beside the original.
                None => Fit::converted(instant::parse_down(text), convert),
            }
        }
        _ => Fit::Misfit,
    }
}

pub(super) fn string<'t>(tape: &'t Tape<'_>, at: u32, convert: bool) -> Fit<&'t str> {
    match tape.get(at) {
        TapeElement::Null => Fit::Null,
        TapeElement::String(index) => Fit::Exact(tape.get_string(index)),
        TapeElement::Number(index) => Fit::converted(Some(tape.get_string(index)), convert),
        TapeElement::True => Fit::converted(Some("true"), convert),
        TapeElement::False => Fit::converted(Some("false"), convert),
        _ => Fit::Misfit,
    }
}
