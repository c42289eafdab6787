//! Rows: decoded records with the facts of each, and the conversion back to JSON.
//!
//! Converts batches to the table's schema, or back to the records' JSON. Neither way changes a
//! value (P5: columns and `extra_json` together are the record).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, UInt32Array, make_array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field};
use arrow::json::reader::{Tape, TapeElement};
use arrow::json::{LineDelimitedWriter, writer::WriterBuilder};

use super::json;
use super::tape::TapeReader;
use crate::error::{Error, ErrorKind, Result};
use crate::row::{KEY_SEPARATOR, RowFacts};
use crate::schema::{Column, ColumnType, EXTRA_JSON, Schema};

/// Decoded records: the record columns and `extra_json`, and the facts of each row.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The schema of the table, of which `batch` holds the record columns.
    pub schema: Arc<Schema>,
    /// The record columns, then `extra_json`.
    pub batch: RecordBatch,
    /// One entry per row.
    pub facts: Vec<RowFacts>,
    /// The number of the list of the forgotten that they were checked against.
    pub forgotten: u64,
}

impl Rows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// The rows at these positions, in this order.
    ///
    /// # Errors
    /// `Internal` when a position is out of bounds.
    pub fn take(&self, places: &[u32]) -> Result<Self> {
        let batch = take_record_batch(&self.batch, &UInt32Array::from(places.to_vec()))?;
        let facts = places.iter().map(|place| self.facts[*place as usize].clone()).collect();
        Ok(Self { schema: Arc::clone(&self.schema), batch, facts, forgotten: self.forgotten })
    }

    /// The rows as the table's files hold them, with the columns that this tool adds.
    ///
    /// # Errors
    /// `Internal` when the batch is not in the schema.
    pub fn to_table(&self) -> Result<RecordBatch> {
        let added = &self.schema.added;
        let facts = &self.facts;
        let instants = |of: &dyn Fn(&RowFacts) -> Option<i64>| -> ArrayRef {
            let instants: TimestampMicrosecondArray = facts.iter().map(of).collect();
            Arc::new(instants.with_timezone("UTC"))
        };
        let mut arrays: Vec<ArrayRef> = Vec::new();
        if added.parent.is_some() {
            arrays.push(Arc::new(
                facts.iter().map(|it| it.parent.as_deref()).collect::<StringArray>(),
            ));
        }
        if added.content_key {
            let key = |it: &RowFacts| it.key.rsplit(KEY_SEPARATOR).next().map(str::to_owned);
            arrays.push(Arc::new(facts.iter().map(key).collect::<StringArray>()));
        }
        let (extra, columns) = self
            .batch
            .columns()
            .split_last()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "rows without columns"))?;
        arrays.extend(columns.iter().cloned());
        if added.day {
            arrays.push(Arc::new(facts.iter().map(|it| it.day).collect::<Date32Array>()));
        }
        arrays.push(Arc::clone(extra));
        arrays.push(instants(&|it| Some(it.fetched_at)));
        if added.deleted_at {
            arrays.push(instants(&|it| it.deleted_at));
        }
        Ok(RecordBatch::try_new(self.schema.arrow(), arrays)?)
    }
}

/// The records of a table's batch as one JSON array.
pub(super) fn to_json(
    batch: &RecordBatch,
    schema: &Schema,
    reader: &mut TapeReader,
) -> Result<String> {
    let file = batch.schema();
    let is_record = |at: &usize| !schema.reserves(file.field(*at).name());
    let columns: Vec<usize> = (0..batch.num_columns()).filter(is_record).collect();
    let lines = write_lines(&batch.project(&columns)?, &schema.columns)?;
    let extra = batch.column_by_name(EXTRA_JSON).and_then(|column| column.as_string_opt::<i32>());
    let mut out = String::from("[");
    for (row, line) in lines.lines().enumerate() {
        if row > 0 {
            out.push(',');
        }
        match extra.filter(|extra| extra.is_valid(row)) {
            Some(extra) => out.push_str(&merge_texts(line, extra.value(row), reader)?),
            None => out.push_str(line),
        }
    }
    out.push(']');
    Ok(out)
}

fn write_lines(batch: &RecordBatch, columns: &[Column]) -> Result<String> {
    let batch = &as_written(batch, columns)?;
    let mut lines = Vec::new();
    let mut writer: LineDelimitedWriter<_> = WriterBuilder::new().build(&mut lines);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    String::from_utf8(lines)
        .map_err(|error| Error::new(ErrorKind::Internal, "rows are not text").with_source(error))
}

/// The same values as the API writes them: instants as numbers where the API counts them. Elsewhere
/// UTC is written as `+00:00`, since arrow-json needs a time zone database for any named zone.
fn as_written(batch: &RecordBatch, columns: &[Column]) -> Result<RecordBatch> {
    let file = batch.schema();
    let fields = file.fields().iter().zip(batch.columns());
    let written = fields.map(|(field, array)| {
        let array = make_array(written(array.to_data(), type_of(columns, field.name()))?);
        Ok((Field::new(field.name(), array.data_type().clone(), true), array))
    });
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) =
        written.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let schema = arrow::datatypes::Schema::new(fields);
    // Rows whose columns were all left out, or that have none, still count.
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)?)
}

fn type_of<'c>(columns: &'c [Column], name: &str) -> Option<&'c ColumnType> {
    columns.iter().find(|column| column.name == name).map(|column| &column.column_type)
}

fn written(data: ArrayData, column_type: Option<&ColumnType>) -> Result<ArrayData> {
    if let Some(ColumnType::Timestamp(written)) = column_type
        && let (DataType::Timestamp(..), Some(unit)) = (data.data_type(), written.unit())
    {
        let instants = TimestampMicrosecondArray::from(data);
        let counts: Int64Array = instants.unary(|micros| micros.div_euclid(unit));
        return Ok(counts.into_data());
    }
    let below = |at: usize| match (column_type, data.data_type()) {
        (Some(ColumnType::List(element)), _) => Some(&**element),
        (Some(ColumnType::Struct(columns)), DataType::Struct(fields)) => {
            type_of(columns, fields[at].name())
        }
        _ => None,
    };
    let children = data.child_data().iter().cloned().enumerate();
    let children = children.map(|(at, child)| written(child, below(at)));
    let children = children.collect::<Result<Vec<_>>>()?;
    let renamed = |field: &Field, child: &ArrayData| {
        Arc::new(Field::new(field.name(), child.data_type().clone(), true))
    };
    let data_type = match data.data_type() {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(element) => DataType::List(renamed(element, &children[0])),
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().zip(&children).map(|(field, child)| renamed(field, child)).collect(),
        ),
        other => other.clone(),
    };
    Ok(data.into_builder().data_type(data_type).child_data(children).build()?)
}

fn merge_texts(columns: &str, extra: &str, reader: &mut TapeReader) -> Result<String> {
    let pair = format!("[{columns},{extra}]");
    let merged = reader.read(pair.as_bytes(), |tape, root| {
        let mut out = String::new();
        let pair: Vec<u32> = json::items(tape, root).collect();
        if let [columns, extra] = pair[..] {
            merge(tape, columns, extra, &mut out);
        }
        out
    });
    merged.map_err(|why| Error::new(ErrorKind::Corrupt, format!("an extra_json is no JSON: {why}")))
}

/// Writes the merged columns and `extra_json`: objects are merged member by member, lists of equal
/// length item by item, and anything else in `extra_json` takes precedence.
fn merge(tape: &Tape<'_>, columns: u32, extra: u32, out: &mut String) {
    match (tape.get(columns), tape.get(extra)) {
        (_, TapeElement::Null) => json::write(tape, columns, out),
        (TapeElement::StartObject(end), TapeElement::StartObject(extra_end)) => {
            out.push('{');
            let start = out.len();
            for (name, member) in json::members(tape, columns, end) {
                write_name(name, start, out);
                match json::member(tape, extra, name) {
                    Some(addition) => merge(tape, member, addition, out),
                    None => json::write(tape, member, out),
                }
            }
            for (name, member) in json::members(tape, extra, extra_end) {
                if json::member(tape, columns, name).is_none() {
                    write_name(name, start, out);
                    json::write(tape, member, out);
                }
            }
            out.push('}');
        }
        (TapeElement::StartList(_), TapeElement::StartList(_)) => {
            let items: Vec<u32> = json::items(tape, columns).collect();
            let additions: Vec<u32> = json::items(tape, extra).collect();
            if items.len() != additions.len() {
                return json::write(tape, extra, out);
            }
            out.push('[');
            for (at, (item, addition)) in items.iter().zip(&additions).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                merge(tape, *item, *addition, out);
            }
            out.push(']');
        }
        _ => json::write(tape, extra, out),
    }
}

fn write_name(name: &str, start: usize, out: &mut String) {
    if out.len() > start {
        out.push(',');
    }
    json::write_text(name, out);
    out.push(':');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P5: rows of which no column was read are still records, such as those of `extra_json` alone.
    #[test]
    fn rows_without_columns_are_records() {
        let schema = arrow::datatypes::Schema::empty();
        let options = RecordBatchOptions::new().with_row_count(Some(2));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), Vec::new(), &options);
        assert_eq!(write_lines(&batch.unwrap(), &[]).unwrap(), "{}\n{}\n");
    }
}
