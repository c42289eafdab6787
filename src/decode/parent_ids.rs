//! Parents: the ids in parents' records by which child records are requested, and the other fields
//! that the requests name.
//!
//! Reads them from rows of the parents' table, which may lack some columns. Choosing between
//! several parents with one id happens elsewhere.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::json::reader::{Tape, TapeElement};
use chrono::DateTime;
use serde_json::Value;

use super::path::{values_at, whole};
use super::{RecordDecoder, instant, json, rows};
use crate::endpoint::{Parent, ParentField, ParentValues};
use crate::error::{Error, ErrorKind, Result};

impl RecordDecoder {
    /// The ids by which child records are requested, from rows of the lake that may lack some
    /// columns, each with the fields of its record.
    ///
    /// # Errors
    /// `Corrupt` when this tool did not write the rows.
    pub fn parent_ids(
        &mut self,
        batch: &RecordBatch,
        rule: &Parent,
        fields: &[ParentField],
    ) -> Result<Vec<(String, ParentValues)>> {
        let text = Arc::new(rows::to_json(batch, &self.shape.schema, &mut self.reader)?);
        let grandparents = self.grandparents(batch);
        let (rule, fields, list) = (rule.clone(), fields.to_vec(), Arc::clone(&text));
        let parent_ids = self.reader.read(text.as_bytes(), move |tape, root| {
            let parsed: Vec<Value> = match rule.id.query() {
                Some(_) => serde_json::from_str(&list).unwrap_or_default(),
                None => Vec::new(),
            };
            let mut parent_ids = Vec::new();
            for (row, record) in json::items(tape, root).enumerate() {
                if !is_chosen(tape, record, &rule) {
                    continue;
                }
                let grandparent =
                    grandparents.as_ref().map(|(name, ids)| (name, ids[row].as_deref()));
                let values: ParentValues = fields
                    .iter()
                    .map(|field| match grandparent {
                        Some((name, id)) if field.name == *name => id.map(Into::into),
                        _ => field_of(tape, record, field),
                    })
                    .collect();
                let ids = values_at(tape, record, &rule.id, parsed.get(row)).into_iter();
                parent_ids.extend(ids.filter(|id| !id.is_empty()).map(|id| (id, values.clone())));
            }
            parent_ids
        });
        parent_ids.map_err(|why| Error::new(ErrorKind::Corrupt, why))
    }

    /// The ids of the parents by which these rows were requested, and the name of their column.
    fn grandparents(&self, batch: &RecordBatch) -> Option<(String, Vec<Option<String>>)> {
        let name = self.shape.schema.added.parent.clone()?;
        let ids = batch.column_by_name(&name)?.as_string_opt::<i32>()?;
        let ids = ids.iter().map(|id| id.map(str::to_owned)).collect();
        Some((name, ids))
    }
}

/// Whether a parent's record is selected by the rule.
fn is_chosen(tape: &Tape<'_>, record: u32, rule: &Parent) -> bool {
    rule.when.iter().all(|(field, values)| {
        match json::member(tape, record, field).map(|at| tape.get(at)) {
            Some(TapeElement::String(index)) => {
                values.iter().any(|value| value == tape.get_string(index))
            }
            _ => false,
        }
    })
}

/// A field of a record as it is written in a request; none when there is nothing to write.
fn field_of(tape: &Tape<'_>, record: u32, field: &ParentField) -> Option<Box<str>> {
    let at = field.names().try_fold(record, |at, name| json::member(tape, at, name))?;
    let text = match tape.get(at) {
        TapeElement::String(index) => tape.get_string(index),
        TapeElement::Number(index) => whole(tape.get_string(index)),
        TapeElement::True => "true",
        TapeElement::False => "false",
        _ => return None,
    };
    let instant = field.format.as_ref().zip(instant::parse_down(text));
    let written = instant
        .and_then(|(format, micros)| Some(format.format(DateTime::from_timestamp_micros(micros)?)));
    let text: Box<str> = written.map_or_else(|| text.into(), String::into_boxed_str);
    is_usable(&text).then_some(text)
}

/// Whether a text can be part of a request: not if it is empty, or a relative path segment.
pub fn is_usable(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
}
