//! What the rows of a partition's object record about themselves: their order, and the columns that
//! this tool adds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimestampMicrosecondType};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{DAY, Schema};

/// The order of rows within a partition: time, then key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::lake) struct RowOrder {
    pub(in crate::lake) time: Option<i64>,
    pub(in crate::lake) key: String,
}

/// The position of each row of a table's batch.
pub(in crate::lake) fn order(endpoint: &Endpoint, batch: &RecordBatch) -> Result<Vec<RowOrder>> {
    let times = row_times(endpoint, batch);
    let keys = row_keys(endpoint, batch)?;
    Ok(keys.into_iter().zip(times).map(|(key, time)| RowOrder { time, key }).collect())
}

fn row_times(endpoint: &Endpoint, batch: &RecordBatch) -> Vec<Option<i64>> {
    if let Some(name) = endpoint.time_field().filter(|name| batch.column_by_name(name).is_some()) {
        return instants(batch, name);
    }
    match days(batch) {
        Some(days) => days.into_iter().map(|day| day.map(i64::from)).collect(),
        None => vec![None; batch.num_rows()],
    }
}

/// The key of each row, as computed when decoding.
fn row_keys(endpoint: &Endpoint, batch: &RecordBatch) -> Result<Vec<String>> {
    let mut keys = vec![String::new(); batch.num_rows()];
    for (at, name) in endpoint.key_columns().enumerate() {
        let column =
            batch.column_by_name(name).filter(|column| endpoint.is_day(name) || is_key(column));
        let column = column.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("a {} object lacks `{name}`", endpoint.name))
        })?;
        let texts: Option<&StringArray> = column.as_string_opt();
        let days = column.as_primitive_opt::<Date32Type>();
        let numbers = column.as_primitive_opt::<Int64Type>();
        for (row, key) in keys.iter_mut().enumerate() {
            if at > 0 {
                key.push(crate::row::KEY_SEPARATOR);
            }
            match (texts, days, numbers) {
                (Some(texts), ..) => key.push_str(texts.value(row)),
                (_, Some(days), _) => key.push_str(&days.value(row).to_string()),
                (.., Some(numbers)) => key.push_str(&numbers.value(row).to_string()),
                _ => {}
            }
        }
    }
    Ok(keys)
}

/// Whether a column can hold the field of a key.
fn is_key(column: &ArrayRef) -> bool {
    matches!(column.data_type(), DataType::Utf8 | DataType::Int64)
}

/// The `day` of each row, in tables that have one.
pub(in crate::lake) fn days(batch: &RecordBatch) -> Option<Vec<Option<i32>>> {
    let column = batch.column_by_name(DAY)?.as_primitive_opt::<Date32Type>()?;
    Some((0..batch.num_rows()).map(|row| column.is_valid(row).then(|| column.value(row))).collect())
}

/// A column of timestamps; `None` values if the batch lacks it, or it has another type.
pub(in crate::lake) fn instants(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    let column = batch.column_by_name(name);
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    (0..batch.num_rows())
        .map(|row| column.filter(|column| column.is_valid(row)).map(|column| column.value(row)))
        .collect()
}

/// The parent's id of each row, in child tables.
pub(in crate::lake) fn parents(batch: &RecordBatch, schema: &Schema) -> Vec<Option<Arc<str>>> {
    let column = schema.added.parent.as_deref().and_then(|name| batch.column_by_name(name));
    let column = column.and_then(|column| column.as_string_opt::<i32>());
    (0..batch.num_rows())
        .map(|row| column.filter(|it| it.is_valid(row)).map(|it| it.value(row).into()))
        .collect()
}
