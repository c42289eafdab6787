//! Inference: columns for undeclared fields.
//!
//! Widens the columns by the fields of records on the tape. It never guesses a type from nothing
//! (`null`, `[]`, `{}` and mixed values wait in `extra_json`), never changes a declared column, and
//! never turns a text column into anything else.

use arrow::json::reader::{Tape, TapeElement};

use super::json;
use super::number::Number;
use crate::schema::{Column, ColumnType, is_plain_name};

/// Deeper values stay in `extra_json`.
pub(super) const MAX_DEPTH: usize = 16;
/// An object with more members than this has keys that are data, not names.
pub(super) const MAX_FIELDS: usize = 200;
/// So does one with more members than this that are themselves objects.
pub(super) const MAX_OBJECTS: usize = 50;
/// A table has no more columns than this, those of structs counted one by one: each costs bytes in
/// every file, and memory in every reader and writer.
const MAX_LEAVES: usize = 1000;

/// How many more columns a table may have.
pub(super) fn room(columns: &[Column]) -> usize {
    MAX_LEAVES.saturating_sub(leaves(columns))
}

fn leaves(columns: &[Column]) -> usize {
    columns.iter().map(|column| leaves_of(&column.column_type)).sum()
}

fn leaves_of(column_type: &ColumnType) -> usize {
    match column_type {
        ColumnType::Struct(fields) => leaves(fields),
        ColumnType::List(element) => leaves_of(element),
        _ => 1,
    }
}

/// Adds a column to `columns` if there is room for its leaves and the names of `columns` are not
/// data.
pub(super) fn push(columns: &mut Vec<Column>, column: Column, room: &mut usize) -> bool {
    let leaves = leaves_of(&column.column_type);
    let is_struct = |it: &Column| matches!(it.column_type, ColumnType::Struct(_));
    let is_data =
        is_struct(&column) && columns.iter().filter(|it| is_struct(it)).count() >= MAX_OBJECTS;
    if is_data || leaves > *room {
        return false;
    }
    *room -= leaves;
    columns.push(column);
    true
}

/// Whether the fields of an object are names rather than data.
fn are_names(fields: &[Column]) -> bool {
    let is_struct = |it: &&Column| matches!(it.column_type, ColumnType::Struct(_));
    let objects = fields.iter().filter(is_struct).count();
    !fields.is_empty() && fields.len() < MAX_FIELDS && objects <= MAX_OBJECTS
}

/// Widens `columns` by what the object at `at` has beyond them; returns whether anything changed.
/// `declared` columns keep their scalar types; a name for which `refuse` holds gets no column.
pub(super) fn widen(
    tape: &Tape<'_>,
    at: u32,
    columns: &mut Vec<Column>,
    declared: &[Column],
    refuse: &dyn Fn(&str) -> bool,
) -> bool {
    let mut room = room(columns);
    Widening { tape, room: &mut room }.columns(at, columns, declared, refuse, 0)
}

struct Widening<'a, 't> {
    tape: &'a Tape<'t>,
    /// How many more columns the table may have.
    room: &'a mut usize,
}

impl Widening<'_, '_> {
    fn columns(
        &mut self,
        at: u32,
        columns: &mut Vec<Column>,
        declared: &[Column],
        refuse: &dyn Fn(&str) -> bool,
        depth: usize,
    ) -> bool {
        let tape = self.tape;
        let TapeElement::StartObject(end) = tape.get(at) else { return false };
        let mut changed = false;
        for (name, member) in json::members(tape, at, end) {
            if let Some(known) = columns.iter_mut().find(|column| column.name == name) {
                let declared = declared.iter().find(|column| column.name == name);
                let declared = declared.map(|column| &column.column_type);
                changed |= self.column_type(member, &mut known.column_type, declared, depth + 1);
            } else if admits(columns, name)
                && !refuse(name)
                && let Some(column_type) = infer(tape, member, depth)
            {
                changed |= push(columns, Column::new(name, column_type), self.room);
            }
        }
        changed
    }

    fn column_type(
        &mut self,
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
                self.columns(at, fields, declared, &|_| false, depth)
            }
            ColumnType::List(element) => {
                let declared = match declared {
                    Some(ColumnType::List(declared)) => Some(declared.as_ref()),
                    _ => None,
                };
                let mut changed = false;
                for item in json::items(self.tape, at) {
                    changed |= self.column_type(item, element, declared, depth + 1);
                }
                changed
            }
            ColumnType::Int64 if declared.is_none() => {
                let fraction = matches!(infer(self.tape, at, 0), Some(ColumnType::Double));
                if fraction {
                    *column = ColumnType::Double;
                }
                fraction
            }
            _ => false,
        }
    }
}

/// Whether a new column may have this name: valid in every engine, and not equal to another name
/// except for case.
pub(super) fn admits(columns: &[Column], name: &str) -> bool {
    is_plain_name(name)
        && columns.len() < MAX_FIELDS
        && !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name))
}

/// The type of one value, if it can be determined yet.
fn infer(tape: &Tape<'_>, at: u32, depth: usize) -> Option<ColumnType> {
    if depth > MAX_DEPTH {
        return None;
    }
    match json::element(tape, at) {
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
            are_names(&fields).then_some(ColumnType::Struct(fields))
        }
        TapeElement::StartList(_) => {
            let items = json::items(tape, at).filter_map(|item| infer(tape, item, depth + 1));
            let element = items.map(Some).reduce(|a, b| unify(a?, b?))??;
            let has_names = match &element {
                ColumnType::Struct(fields) => are_names(fields),
                _ => true,
            };
            has_names.then(|| ColumnType::List(Box::new(element)))
        }
        _ => None,
    }
}

/// The type that holds both, if there is one.
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
