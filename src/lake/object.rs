//! A partition's object: Parquet as every engine reads it.
//!
//! Enters: batches in the table's schema, in order. Leaves: one Parquet file, and the keys by
//! which its rows are ordered. Never here: which rows belong in it.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Column, ColumnType, DAY, EXTRA_JSON, Schema};

/// What a row group holds at most, encoded: small enough to read one transcript without the rest.
const ROW_GROUP_BYTES: usize = 16 << 20;
/// And in rows.
const ROW_GROUP_ROWS: usize = 100_000;

/// Text this long on average gains nothing from a dictionary; these names hold such text.
const LONG_TEXT: [&str; 7] =
    ["text", "phrase", "summary", "full_summary", "key_takeaways", "action_item", "reasoning"];
/// How much of such text is compressed at once: the more, the smaller it gets.
const TEXT_PAGE_BYTES: usize = 4 << 20;

/// What orders rows within a partition: time, then key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowOrder {
    pub(super) time: Option<i64>,
    pub(super) key: String,
}

/// Opens a Parquet writer for a table's object.
pub(super) fn writer<W: Write + Send>(
    sink: W,
    endpoint: &Endpoint,
    schema: &Schema,
    run: &str,
) -> Result<ArrowWriter<W>> {
    // Parquet's own types say it all; Arrow's schema beside them would be a third of a footer.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(endpoint, schema, run)?)
        .with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(sink, schema.arrow(), options)?)
}

fn properties(endpoint: &Endpoint, schema: &Schema, run: &str) -> Result<WriterProperties> {
    let said = |key: &str, value: String| KeyValue::new(format!("clari-lake.{key}"), value);
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("clari-lake version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_sorting_columns(Some(sorting_columns(endpoint, schema)))
        .set_key_value_metadata(Some(vec![
            said("version", env!("CARGO_PKG_VERSION").to_owned()),
            said("endpoint", endpoint.name.clone()),
            said("schema", schema.fingerprint()),
            said("run", run.to_owned()),
        ]));
    for (path, kind) in leaves_of(&schema.columns, &[]) {
        properties = match kind {
            Kind::LongText => properties
                .set_column_data_page_size_limit(path.clone(), TEXT_PAGE_BYTES)
                .set_column_dictionary_enabled(path, false),
            Kind::Measure => properties.set_column_dictionary_enabled(path, false),
            Kind::Other => properties,
        };
    }
    properties = properties.set_column_dictionary_enabled(EXTRA_JSON.into(), false);
    for key in endpoint.key.iter().filter(|key| !endpoint.is_day(key)) {
        let path = ColumnPath::from(key.as_str());
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_bloom_filter_enabled(path, endpoint.time_field().is_some());
    }
    Ok(properties.build())
}

/// What a leaf holds, as far as it matters to how it is written.
enum Kind {
    LongText,
    /// A double: seconds and ratios hardly ever repeat, and a dictionary makes them larger.
    Measure,
    Other,
}

/// The leaves of these columns.
fn leaves_of(columns: &[Column], parents: &[String]) -> Vec<(ColumnPath, Kind)> {
    let mut leaves = Vec::new();
    for column in columns {
        let mut path = parents.to_vec();
        path.push(column.name.clone());
        let mut inner = &column.column_type;
        while let ColumnType::List(element) = inner {
            path.extend(["list".to_owned(), "element".to_owned()]);
            inner = element;
        }
        let kind = match inner {
            ColumnType::Struct(fields) => {
                leaves.extend(leaves_of(fields, &path));
                continue;
            }
            ColumnType::String if LONG_TEXT.contains(&column.name.as_str()) => Kind::LongText,
            ColumnType::Double => Kind::Measure,
            _ => Kind::Other,
        };
        leaves.push((ColumnPath::new(path), kind));
    }
    leaves
}

/// The leading columns by which rows are ordered, if they are leaves of the file.
fn sorting_columns(endpoint: &Endpoint, schema: &Schema) -> Vec<SortingColumn> {
    let fields = schema.arrow();
    let leaf = |name: &str| {
        let at = fields.index_of(name).ok()?;
        let leaves: usize =
            fields.fields()[..at].iter().map(|field| leaves(field.data_type())).sum();
        i32::try_from(leaves).ok()
    };
    let day = (endpoint.time_field().is_none() && schema.added.day).then_some(DAY);
    let keys = endpoint.key_columns().filter(|name| !endpoint.is_day(name));
    let names = endpoint.time_field().or(day).into_iter().chain(keys);
    names
        .map_while(leaf)
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true })
        .collect()
}

fn leaves(data_type: &arrow::datatypes::DataType) -> usize {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::List(element) => leaves(element.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}

/// What orders each row of a table's batch.
pub(super) fn order(endpoint: &Endpoint, batch: &RecordBatch) -> Result<Vec<RowOrder>> {
    let times = row_times(endpoint, batch);
    let keys = row_keys(endpoint, batch)?;
    Ok(keys.into_iter().zip(times).map(|(key, time)| RowOrder { time, key }).collect())
}

fn row_times(endpoint: &Endpoint, batch: &RecordBatch) -> Vec<Option<i64>> {
    let rows = 0..batch.num_rows();
    if let Some(column) = endpoint.time_field().and_then(|name| batch.column_by_name(name)) {
        let column = column.as_primitive::<TimestampMicrosecondType>();
        return rows.map(|row| column.is_valid(row).then(|| column.value(row))).collect();
    }
    match days(batch) {
        Some(days) => days.into_iter().map(|day| day.map(i64::from)).collect(),
        None => vec![None; batch.num_rows()],
    }
}

/// The key of each row, as decoding makes it.
fn row_keys(endpoint: &Endpoint, batch: &RecordBatch) -> Result<Vec<String>> {
    let mut keys = vec![String::new(); batch.num_rows()];
    for (at, name) in endpoint.key_columns().enumerate() {
        let column = batch
            .column_by_name(name)
            .filter(|column| endpoint.is_day(name) || column.as_string_opt::<i32>().is_some());
        let column = column.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("a {} object lacks `{name}`", endpoint.name))
        })?;
        let texts: Option<&StringArray> = column.as_string_opt();
        let days = column.as_primitive_opt::<Date32Type>();
        for (row, key) in keys.iter_mut().enumerate() {
            if at > 0 {
                key.push(crate::decode::KEY_SEPARATOR);
            }
            match (texts, days) {
                (Some(texts), _) => key.push_str(texts.value(row)),
                (None, Some(days)) => key.push_str(&days.value(row).to_string()),
                (None, None) => {}
            }
        }
    }
    Ok(keys)
}

/// The `day` of each row, in tables that have one.
pub(super) fn days(batch: &RecordBatch) -> Option<Vec<Option<i32>>> {
    let column = batch.column_by_name(DAY)?.as_primitive_opt::<Date32Type>()?;
    Some((0..batch.num_rows()).map(|row| column.is_valid(row).then(|| column.value(row))).collect())
}

/// A column of instants that this tool added; none where the batch lacks it.
pub(super) fn instants(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    let column = batch.column_by_name(name);
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    (0..batch.num_rows())
        .map(|row| column.filter(|column| column.is_valid(row)).map(|column| column.value(row)))
        .collect()
}

/// The parent's id of each row, in chained tables.
pub(super) fn parents(batch: &RecordBatch, schema: &Schema) -> Vec<Option<Arc<str>>> {
    let column = schema.added.parent.as_deref().and_then(|name| batch.column_by_name(name));
    let column = column.and_then(|column| column.as_string_opt::<i32>());
    (0..batch.num_rows())
        .map(|row| column.filter(|it| it.is_valid(row)).map(|it| it.value(row).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::endpoint::Catalogue;

    #[test]
    fn an_object_says_its_columns_without_arrows_own_schema() {
        for endpoint in Catalogue::built_in().unwrap().endpoints() {
            let schema = endpoint.schema();
            let writer = writer(Vec::new(), endpoint, &schema, "run").unwrap();
            let bytes = bytes::Bytes::from(writer.into_inner().unwrap());
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            assert_eq!(reader.schema().fields(), schema.arrow().fields(), "{}", endpoint.name);
        }
    }
}
