//! Inference: columns for fields that nobody declared.
//!
//! Enters: records on the tape and the columns so far. Leaves: wider columns. Never here: a type
//! guessed from nothing (`null`, `[]`, `{}` and mixed values wait in `extra_json`), a declared
//! column changed, or a text column turned into anything else.

use arrow::json::reader::{Tape, TapeElement};

use super::json;
use super::number::Number;
use crate::schema::{Column, ColumnType, is_plain_name};

/// Deeper values stay in `extra_json`.
pub(super) const MAX_DEPTH: usize = 16;
/// An object with more members than this has keys that are data, not names.
pub(super) const MAX_FIELDS: usize = 200;

/// Widens `columns` by what the object at `at` has beyond them; whether anything changed.
/// `declared` columns keep their scalar types; a name for which `refuse` holds gets no column.
pub(super) fn widen(
    tape: &Tape<'_>,
    at: u32,
    columns: &mut Vec<Column>,
    declared: &[Column],
    refuse: &dyn Fn(&str) -> bool,
) -> bool {
    widen_columns(tape, at, columns, declared, refuse, 0)
}

fn widen_columns(
    tape: &Tape<'_>,
    at: u32,
    columns: &mut Vec<Column>,
    declared: &[Column],
    refuse: &dyn Fn(&str) -> bool,
    depth: usize,
) -> bool {
    let TapeElement::StartObject(end) = tape.get(at) else { return false };
    let mut changed = false;
    for (name, member) in json::members(tape, at, end) {
        if let Some(known) = columns.iter_mut().find(|column| column.name == name) {
            let declared = declared.iter().find(|column| column.name == name);
            let declared = declared.map(|column| &column.column_type);
            changed |= widen_type(tape, member, &mut known.column_type, declared, depth + 1);
        } else if admits(columns, name)
            && !refuse(name)
            && let Some(column_type) = infer(tape, member, depth)
        {
            columns.push(Column::new(name, column_type));
            changed = true;
        }
    }
    changed
}

fn widen_type(
    tape: &Tape<'_>,
    at: u32,
    column: &mut ColumnType,
    declared: Option<&ColumnType>,
    depth: usize,
) -> bool {
    match column {
        ColumnType::Struct(fields) => {
            let declared = match declared {
                Some(ColumnType::Struct(declared)) => declared.as_slice(),
                _ => &[],
            };
            widen_columns(tape, at, fields, declared, &|_| false, depth)
        }
        ColumnType::List(element) => {
            let declared = match declared {
                Some(ColumnType::List(declared)) => Some(declared.as_ref()),
                _ => None,
            };
            let mut changed = false;
            for item in json::items(tape, at) {
                changed |= widen_type(tape, item, element, declared, depth + 1);
            }
            changed
        }
        ColumnType::Int64 if declared.is_none() => {
            let fraction = matches!(infer(tape, at, 0), Some(ColumnType::Double));
            if fraction {
                *column = ColumnType::Double;
            }
            fraction
        }
        _ => false,
    }
}

/// Whether a new column may have this name: one that every engine takes, and no twin of another
/// but for case.
pub(super) fn admits(columns: &[Column], name: &str) -> bool {
    is_plain_name(name)
        && columns.len() < MAX_FIELDS
        && !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name))
}

/// The type of one value, if it has one yet.
fn infer(tape: &Tape<'_>, at: u32, depth: usize) -> Option<ColumnType> {
    if depth > MAX_DEPTH {
        return None;
    }
    match tape.get(at) {
        TapeElement::True | TapeElement::False => Some(ColumnType::Boolean),
        TapeElement::String(_) => Some(ColumnType::String),
        TapeElement::Number(index) => match Number::parse(tape.get_string(index))? {
            Number::Int(_) => Some(ColumnType::Int64),
            Number::Double(_) => Some(ColumnType::Double),
            Number::Decimal(_) => None,
        },
        TapeElement::StartObject(end) => {
            let mut fields: Vec<Column> = Vec::new();
            for (name, member) in json::members(tape, at, end) {
                if admits(&fields, name) {
                    let column_type = infer(tape, member, depth + 1);
                    fields.extend(column_type.map(|it| Column::new(name, it)));
                }
            }
            (!fields.is_empty() && fields.len() < MAX_FIELDS).then_some(ColumnType::Struct(fields))
        }
        TapeElement::StartList(_) => {
            let items = json::items(tape, at).filter_map(|item| infer(tape, item, depth + 1));
            let element = items.map(Some).reduce(|a, b| unify(a?, b?))??;
            Some(ColumnType::List(Box::new(element)))
        }
        _ => None,
    }
}

/// The one type that holds both, if there is one.
fn unify(a: ColumnType, b: ColumnType) -> Option<ColumnType> {
    match (a, b) {
        (ColumnType::Int64, ColumnType::Double) | (ColumnType::Double, ColumnType::Int64) => {
            Some(ColumnType::Double)
        }
        (ColumnType::List(a), ColumnType::List(b)) => {
            Some(ColumnType::List(Box::new(unify(*a, *b)?)))
        }
        (ColumnType::Struct(mut a), ColumnType::Struct(b)) => {
            for column in b {
                let known = a.iter().position(|known| known.name == column.name);
                if let Some(at) = known {
                    a[at].column_type = unify(a[at].column_type.clone(), column.column_type)?;
                } else if admits(&a, &column.name) {
                    a.push(column);
                }
            }
            Some(ColumnType::Struct(a))
        }
        (a, b) => (a == b).then_some(a),
    }
}
