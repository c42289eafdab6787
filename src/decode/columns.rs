//! Columns from the tape.
//!
//! Builds Arrow arrays from the positions of values on the tape, one per row, and the schema. No
//! value is lost: values that do not fit, are unknown or were converted are noted, so that
//! `extra_json` can keep it.
//!
//! arrow-json's own decoders are used only at the root: they silently change values (1.5 into an
//! integer, text into numbers, unknown fields dropped).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder,
    StringBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::json::reader::{Tape, TapeElement};

use super::fit::{self, Fit};
use super::json;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Column, ColumnType, element_field, fields_of};

/// The position of an absent value: the tape's first element is always null.
pub(super) const ABSENT: u32 = 0;

/// Up to this many columns, a name is compared with each.
const FEW: usize = 16;
/// With more, it is compared with this many first.
const NEAR: usize = 3;

/// The names of the column that holds a person's address.
pub(super) const ADDRESSES: [&str; 2] = ["email", "userEmail"];

/// Builds arrays from one tape.
pub(super) struct ColumnBuilder<'a, 't> {
    tape: &'a Tape<'t>,
    /// The fields of the records' key.
    key: &'a [String],
    /// The columns of the key that hold numbers as texts.
    pub(super) numbers_as_text: BTreeSet<String>,
    /// The positions of values that the columns do not hold as they are, in any order.
    pub(super) misfits: Vec<u32>,
    /// How many members were superseded by a later member of the same name in their object.
    pub(super) duplicates: u64,
}

impl<'a, 't> ColumnBuilder<'a, 't> {
    pub(super) fn new(tape: &'a Tape<'t>, key: &'a [String]) -> Self {
        let numbers_as_text = BTreeSet::new();
        Self { tape, key, numbers_as_text, misfits: Vec::new(), duplicates: 0 }
    }

    /// The positions of each row's members, column by column.
    fn positions(&mut self, columns: &[Column], rows: &[u32]) -> Vec<u32> {
        let mut positions = vec![ABSENT; columns.len() * rows.len()];
        let names = Names::of(columns);
        for (row, at) in rows.iter().enumerate() {
            if let TapeElement::StartObject(end) = self.tape.get(*at) {
                self.place(&names, &mut positions, rows.len(), row, (*at, end));
            }
        }
        positions
    }

    fn arrays(
        &mut self,
        columns: &[Column],
        rows: usize,
        positions: &[u32],
        key: &[String],
    ) -> Result<Vec<ArrayRef>> {
        let of_column = |at: usize| &positions[at * rows..(at + 1) * rows];
        let arrays = columns.iter().enumerate().map(|(at, column)| {
            if fit::is_text_key(column, key) {
                return Ok(self.keys(&column.name, of_column(at)));
            }
            self.array(column, of_column(at))
        });
        arrays.collect()
    }

    /// The arrays of records; bare values go into the first column.
    pub(super) fn records(&mut self, columns: &[Column], rows: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut positions = self.positions(columns, rows);
        for (row, at) in rows.iter().enumerate().filter(|_| !columns.is_empty()) {
            if !matches!(self.tape.get(*at), TapeElement::StartObject(_)) {
                positions[row] = *at;
            }
        }
        self.arrays(columns, rows.len(), &positions, self.key)
    }

    /// A field of the records' key as text.
    fn keys(&mut self, name: &str, rows: &[u32]) -> ArrayRef {
        let tape = self.tape;
        if rows.iter().any(|at| fit::digits(tape, *at).is_some()) {
            self.numbers_as_text.insert(name.to_owned());
        }
        self.texts(rows, &|at| fit::key(tape, at))
    }

    /// Records the positions of one object's members.
    fn place(
        &mut self,
        names: &Names<'_>,
        positions: &mut [u32],
        rows: usize,
        row: usize,
        (at, end): (u32, u32),
    ) {
        // Records usually list their members in the schema's order.
        let mut expected = 0;
        for (name, member) in json::members(self.tape, at, end) {
            match names.find(name, expected) {
                Some(found) => {
                    let position = &mut positions[found * rows + row];
                    self.duplicates += u64::from(*position != ABSENT);
                    *position = member;
                    expected = found + 1;
                }
                None if matches!(self.tape.get(member), TapeElement::Null) => {}
                None => self.misfits.push(member),
            }
        }
    }

    fn array(&mut self, column: &Column, rows: &[u32]) -> Result<ArrayRef> {
        if column.never_stored {
            let stored = |at: &u32| if json::has_link(self.tape, *at) { ABSENT } else { *at };
            let rows: Vec<u32> = rows.iter().map(stored).collect();
            return self.typed(&column.column_type, column.convert, &rows);
        }
        self.typed(&column.column_type, column.convert, rows)
    }

    fn typed(&mut self, column_type: &ColumnType, convert: bool, rows: &[u32]) -> Result<ArrayRef> {
        let tape = self.tape;
        Ok(match column_type {
            ColumnType::Boolean => {
                let mut builder = BooleanBuilder::with_capacity(rows.len());
                for at in rows {
                    builder.append_option(self.take(*at, fit::boolean(tape, *at)));
                }
                Arc::new(builder.finish())
            }
            ColumnType::Int64 => {
                let mut builder = Int64Builder::with_capacity(rows.len());
                for at in rows {
                    builder.append_option(self.take(*at, fit::int64(tape, *at, convert)));
                }
                Arc::new(builder.finish())
            }
            ColumnType::Double => {
                let mut builder = Float64Builder::with_capacity(rows.len());
                for at in rows {
                    builder.append_option(self.take(*at, fit::double(tape, *at, convert)));
                }
                Arc::new(builder.finish())
            }
            ColumnType::Timestamp(written) => {
                let mut builder = TimestampMicrosecondBuilder::with_capacity(rows.len());
                for at in rows {
                    builder.append_option(
                        self.take(*at, fit::timestamp(tape, *at, *written, convert)),
                    );
                }
                Arc::new(builder.finish().with_timezone("UTC"))
            }
            ColumnType::String => self.texts(rows, &|at| fit::string(tape, at, convert)),
            ColumnType::List(element) => self.list(element, convert, rows)?,
            ColumnType::Struct(fields) => self.structure(fields, rows)?,
        })
    }

    fn take<T>(&mut self, at: u32, fit: Fit<T>) -> Option<T> {
        match fit {
            Fit::Null => None,
            Fit::Exact(value) => Some(value),
            Fit::Converted(value) => {
                self.misfits.push(at);
                Some(value)
            }
            Fit::Misfit => {
                self.misfits.push(at);
                None
            }
        }
    }

    fn texts<'f>(&mut self, rows: &[u32], fit: &dyn Fn(u32) -> Fit<&'f str>) -> ArrayRef {
        let tape = self.tape;
        let size = |at: &u32| match tape.get(*at) {
            TapeElement::String(index) => tape.get_string(index).len(),
            _ => 0,
        };
        let mut builder = StringBuilder::with_capacity(rows.len(), rows.iter().map(size).sum());
        for at in rows {
            builder.append_option(self.take(*at, fit(*at)));
        }
        Arc::new(builder.finish())
    }

    fn list(&mut self, element: &ColumnType, convert: bool, rows: &[u32]) -> Result<ArrayRef> {
        let mut nulls = NullBufferBuilder::new(rows.len());
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        let mut items = Vec::new();
        offsets.push(0);
        for at in rows {
            let is_list = matches!(self.tape.get(*at), TapeElement::StartList(_));
            nulls.append(is_list);
            items.extend(json::items(self.tape, *at));
            self.note_unless(is_list, *at);
            offsets.push(offset(items.len())?);
        }
        let values = self.typed(element, convert, &items)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let list = ListArray::try_new(element_field(element), offsets, values, nulls.finish())?;
        Ok(Arc::new(list))
    }

    /// Objects. A bare address instead of a person goes into the person's address column, so that
    /// queries see it; `extra_json` keeps that it came bare.
    fn structure(&mut self, fields: &[Column], rows: &[u32]) -> Result<ArrayRef> {
        let is_address_column =
            |it: &Column| ADDRESSES.contains(&&*it.name) && it.column_type == ColumnType::String;
        let address = fields.iter().position(is_address_column);
        let mut positions = self.positions(fields, rows);
        let mut nulls = NullBufferBuilder::new(rows.len());
        for (row, at) in rows.iter().enumerate() {
            let is_object = matches!(self.tape.get(*at), TapeElement::StartObject(_));
            let address = address.filter(|_| is_address(self.tape, *at));
            if let Some(column) = address {
                positions[column * rows.len() + row] = *at;
            }
            nulls.append(is_object || address.is_some());
            self.note_unless(is_object, *at);
        }
        let arrays = self.arrays(fields, rows.len(), &positions, &[])?;
        Ok(Arc::new(StructArray::try_new(fields_of(fields), arrays, nulls.finish())?))
    }

    fn note_unless(&mut self, fits: bool, at: u32) {
        if !fits && !matches!(self.tape.get(at), TapeElement::Null) {
            self.misfits.push(at);
        }
    }
}

/// The names of columns.
struct Names<'c> {
    columns: &'c [Column],
    /// Where each of many is.
    places: HashMap<&'c str, usize>,
}

impl<'c> Names<'c> {
    fn of(columns: &'c [Column]) -> Self {
        let names = columns.iter().enumerate().map(|(at, column)| (column.name.as_str(), at));
        let is_many = columns.len() > FEW;
        Self { columns, places: names.filter(|_| is_many).collect() }
    }

    /// The column of this name, which is likely the expected one or one soon after it.
    fn find(&self, name: &str, expected: usize) -> Option<usize> {
        let is_it = |at: &usize| self.columns[*at].name == name;
        if self.places.is_empty() {
            return (expected..self.columns.len()).chain(0..expected).find(is_it);
        }
        let mut near = expected..self.columns.len().min(expected + NEAR);
        near.find(is_it).or_else(|| self.places.get(name).copied())
    }
}

/// Whether a value is a bare address.
pub(super) fn is_address(tape: &Tape<'_>, at: u32) -> bool {
    let TapeElement::String(index) = tape.get(at) else { return false };
    let text = tape.get_string(index);
    text.contains('@') && !text.contains(char::is_whitespace)
}

fn offset(length: usize) -> Result<i32> {
    i32::try_from(length)
        .map_err(|_| Error::new(ErrorKind::Data, "a page holds more than 2^31 list items"))
}
