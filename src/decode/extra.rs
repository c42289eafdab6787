//! `extra_json`: what the columns of a row do not hold.
//!
//! Writes one JSON object shaped like the record, with just the values that have no column, do not
//! fit their column, or were converted for it. Lists keep their length, and `null` in a list means
//! that there is nothing to add at that position. Members of an object that has columns are sorted
//! by name, so that the text does not depend on whether the row came from the API or predates a
//! wider schema.

use std::collections::BTreeMap;

use arrow::json::reader::{Tape, TapeElement};

use super::fit::{self, Fit};
use super::json;
use crate::schema::{Column, ColumnType};

/// How many values of each column did not fit, by path (`metrics.call_duration`).
pub type MisfitCounts = BTreeMap<String, u64>;

/// Writes the parts of one record that the columns do not hold.
pub(super) struct ExtraWriter<'a, 't> {
    tape: &'a Tape<'t>,
    /// The fields of the record's key.
    key: &'a [String],
    counts: &'a mut MisfitCounts,
    path: Vec<String>,
    /// How many members were dropped from values without a column, because another of the same name
    /// follows in the same object.
    pub(super) duplicates: u64,
}

impl<'a, 't> ExtraWriter<'a, 't> {
    pub(super) fn new(tape: &'a Tape<'t>, key: &'a [String], counts: &'a mut MisfitCounts) -> Self {
        Self { tape, key, counts, path: Vec::new(), duplicates: 0 }
    }

    /// The extra JSON of the record at `at`; `None` when the columns hold all of it.
    pub(super) fn record(&mut self, columns: &[Column], at: u32) -> Option<String> {
        let mut out = String::new();
        if matches!(self.tape.get(at), TapeElement::StartObject(_)) {
            return self.members(columns, at, &mut out).then_some(out);
        }
        self.bare(columns.first()?, at)
    }

    /// A bare value counts as a record of the first column.
    fn bare(&mut self, column: &Column, at: u32) -> Option<String> {
        let mut out = String::from("{");
        json::write_text(&column.name, &mut out);
        out.push(':');
        self.path.push(column.name.clone());
        let written = self.column(column, at, &mut out);
        self.path.pop();
        out.push('}');
        written.then_some(out)
    }

    /// Writes an object of what the columns lack; returns whether there was anything.
    fn members(&mut self, columns: &[Column], at: u32, out: &mut String) -> bool {
        let TapeElement::StartObject(end) = self.tape.get(at) else { return false };
        let start = out.len();
        let mut separator = '{';
        let mut members = json::distinct_members(self.tape, at, end);
        members.sort_unstable_by_key(|(name, _)| *name);
        for (name, member) in members {
            if matches!(self.tape.get(member), TapeElement::Null) {
                continue;
            }
            let before = out.len();
            out.push(separator);
            json::write_text(name, out);
            out.push(':');
            self.path.push(name.to_owned());
            let column = columns.iter().find(|column| column.name == name);
            let written = match column {
                Some(column) => self.column(column, member, out),
                None => self.whole(member, out),
            };
            self.path.pop();
            if written {
                separator = ',';
            } else {
                out.truncate(before);
            }
        }
        if out.len() > start {
            out.push('}');
        }
        out.len() > start
    }

    fn column(&mut self, column: &Column, at: u32, out: &mut String) -> bool {
        let is_link = column.never_stored && json::has_link(self.tape, at);
        let is_key = self.path.len() == 1 && fit::is_text_key(column, self.key);
        if is_link || (is_key && fit::digits(self.tape, at).is_some()) {
            return false;
        }
        self.value(&column.column_type, column.convert, at, out)
    }

    fn value(&mut self, column: &ColumnType, convert: bool, at: u32, out: &mut String) -> bool {
        let element = self.tape.get(at);
        match (column, element) {
            (ColumnType::Struct(fields), TapeElement::StartObject(_)) => {
                self.members(fields, at, out)
            }
            (ColumnType::List(item), TapeElement::StartList(_)) => {
                self.items(item, convert, at, out)
            }
            _ if self.is_held(column, convert, at) => false,
            _ => self.whole(at, out),
        }
    }

    fn items(&mut self, item: &ColumnType, convert: bool, at: u32, out: &mut String) -> bool {
        let start = out.len();
        let mut any = false;
        for (index, position) in json::items(self.tape, at).enumerate() {
            out.push(if index == 0 { '[' } else { ',' });
            if self.value(item, convert, position, out) {
                any = true;
            } else {
                out.push_str("null");
            }
        }
        out.push(']');
        if !any {
            out.truncate(start);
        }
        any
    }

    fn is_held(&self, column: &ColumnType, convert: bool, at: u32) -> bool {
        fn held<T>(fit: &Fit<T>) -> bool {
            matches!(fit, Fit::Null | Fit::Exact(_))
        }
        match column {
            ColumnType::Boolean => held(&fit::boolean(self.tape, at)),
            ColumnType::Int64 => held(&fit::int64(self.tape, at, convert)),
            ColumnType::Double => held(&fit::double(self.tape, at, convert)),
            ColumnType::Timestamp(written) => {
                held(&fit::timestamp(self.tape, at, *written, convert))
            }
            ColumnType::String => held(&fit::string(self.tape, at, convert)),
            ColumnType::List(_) | ColumnType::Struct(_) => {
                matches!(self.tape.get(at), TapeElement::Null)
            }
        }
    }

    fn whole(&mut self, at: u32, out: &mut String) -> bool {
        *self.counts.entry(self.path.join(".")).or_default() += 1;
        let superseded = json::superseded(self.tape, at);
        self.duplicates += superseded.len() as u64;
        json::write_without(self.tape, at, &superseded, out);
        true
    }
}
