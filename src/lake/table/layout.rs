//! The layout: how each column of an object is encoded, compressed, and described. It is chosen by
//! the schema and by what is known about the rows. A wrong guess affects only the size of the file,
//! never its contents.
//!
//! A partition of few rows is mostly overhead: a footer, and a dictionary and a compressor for each
//! column. So a column of few values has no dictionary, a column of few bytes is not compressed, and
//! statistics that no engine uses are not written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Fields, SchemaRef};
use parquet::file::metadata::{KeyValue, RowGroupMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::freeze::{FROZEN, PARTITION_BY};
use crate::endpoint::Endpoint;
use crate::manifest::Granularity;
use crate::schema::{ColumnType, DAY, EXTRA_JSON, Schema, fingerprint};

/// The maximum encoded size of a row group: small enough to read one transcript without the rest.
pub(in crate::lake) const ROW_GROUP_BYTES: usize = 16 << 20;
/// The maximum number of rows.
pub(in crate::lake) const ROW_GROUP_ROWS: usize = 100_000;
/// The maximum size in memory: data that dictionaries make small is large again for the reader.
pub(in crate::lake) const ROW_GROUP_DECODED_BYTES: usize = 64 << 20;

/// A row group of this size in memory ends with its day, so that later days leave it unchanged.
/// Encoded, that is about five to ten megabytes; smaller ones repeat so many dictionaries that the
/// object grows by a tenth.
pub(in crate::lake) const DAYS_DECODED_BYTES: usize = 24 << 20;

/// The program that writes objects. Another version of it may use a different layout.
pub(in crate::lake) const CREATED_BY: &str =
    concat!("clari-lake version ", env!("CARGO_PKG_VERSION"));

/// Text with this average length gains nothing from a dictionary; columns with these names hold
/// such text.
const LONG_TEXT: [&str; 7] =
    ["text", "phrase", "summary", "full_summary", "key_takeaways", "action_item", "reasoning"];
/// How much of such text is compressed at once: the more, the better the compression.
const TEXT_PAGE_BYTES: usize = 4 << 20;

/// So few bytes of values need no dictionary, however many nulls are between them.
const TOO_FEW_BYTES_FOR_A_DICTIONARY: usize = 256;
/// About as many bytes of a chunk are the header of its page.
const PAGE_HEADER_BYTES: usize = 40;
/// So few values hardly repeat, and a dictionary costs an additional page.
const TOO_FEW_FOR_A_DICTIONARY: usize = 1024;

/// What is known about an object's rows before they are written.
#[derive(Debug, Default)]
pub(in crate::lake) struct Contents {
    /// The leaves of the schema, in order; empty while there are no rows.
    leaves: Vec<Leaf>,
    /// Whether there are rows with unknown contents.
    is_open: bool,
}

/// What is known about one leaf.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    /// Its approximate number of values, including nulls.
    values: usize,
    /// About how many bytes the values take that are not null.
    bytes: usize,
}

impl Leaf {
    /// About how many bytes it takes before it is compressed.
    fn plain_bytes(self) -> usize {
        // Where all values are null, one run says so.
        let nulls = if self.bytes > 0 { self.values / 8 } else { 0 };
        self.bytes.saturating_add(nulls)
    }
}

impl Contents {
    /// Adds this many rows of a batch, which is in the table's schema.
    pub(in crate::lake) fn add_batch(&mut self, batch: &RecordBatch, rows: usize) {
        let share = |values: usize| (values * rows).div_ceil(batch.num_rows().max(1));
        let mut at = 0;
        for column in batch.columns() {
            each_leaf(column, batch.num_rows(), &mut |values, bytes| {
                self.add(at, Leaf { values: share(values), bytes: share(bytes) });
                at += 1;
            });
        }
    }

    /// Adds the rows of a row group, which is in the table's schema or an older one.
    pub(in crate::lake) fn add_group(&mut self, group: &RowGroupMetaData, is_current: bool) {
        self.is_open |= !is_current;
        for (at, column) in group.columns().iter().enumerate().filter(|_| is_current) {
            let number = |it: i64| usize::try_from(it).unwrap_or(usize::MAX);
            let bytes = number(column.uncompressed_size()).saturating_sub(PAGE_HEADER_BYTES);
            self.add(at, Leaf { values: number(column.num_values()), bytes });
        }
    }

    fn add(&mut self, at: usize, more: Leaf) {
        match self.leaves.get_mut(at) {
            Some(leaf) => {
                leaf.values = leaf.values.saturating_add(more.values);
                leaf.bytes = leaf.bytes.saturating_add(more.bytes);
            }
            None => self.leaves.push(more),
        }
    }

    fn leaf(&self, at: usize) -> Option<Leaf> {
        self.leaves.get(at).copied().filter(|_| !self.is_open)
    }
}

/// Visits the leaves below an array, each with its approximate number of values, and of bytes of
/// those that are not null.
fn each_leaf(array: &ArrayRef, values: usize, take: &mut impl FnMut(usize, usize)) {
    match array.data_type() {
        DataType::List(_) => {
            let items = array.as_list::<i32>().values();
            each_leaf(items, values.max(items.len()), take);
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                each_leaf(column, values, take);
            }
        }
        _ => take(values, leaf_bytes(array)),
    }
}

/// About how many bytes the values of a leaf take that are not null.
fn leaf_bytes(array: &ArrayRef) -> usize {
    let filled = array.len() - array.null_count();
    match array.data_type() {
        DataType::Utf8 => {
            let offsets = array.as_string::<i32>().offsets();
            // Before each text is its length.
            let text = offsets[offsets.len() - 1] - offsets[0];
            usize::try_from(text).unwrap_or_default() + 4 * filled
        }
        DataType::Boolean => filled.div_ceil(8),
        _ => 8 * filled,
    }
}

/// The schema of an object's columns, in the forms in which it is needed for each object.
pub(in crate::lake) struct FileSchema {
    pub(in crate::lake) table: Arc<Schema>,
    pub(in crate::lake) arrow: SchemaRef,
    pub(in crate::lake) fingerprint: String,
}

impl FileSchema {
    pub(in crate::lake) fn of(table: &Arc<Schema>) -> Self {
        let arrow = table.arrow();
        let fingerprint = fingerprint(&arrow);
        Self { table: Arc::clone(table), arrow, fingerprint }
    }
}

/// What an object's footer records about its table, besides the schema: a lake that loses its
/// manifests has nothing else.
#[derive(Debug, Clone, Copy)]
pub(in crate::lake) struct Footer<'a> {
    /// The run that writes the object.
    pub(in crate::lake) run: &'a str,
    /// Whether the table's schema is frozen, or still grows.
    pub(in crate::lake) is_frozen: bool,
    /// How much time a partition of the table holds.
    pub(in crate::lake) granularity: Granularity,
}

/// The writer's properties for an object with these rows.
pub(in crate::lake) fn properties(
    endpoint: &Endpoint,
    schema: &FileSchema,
    footer: Footer<'_>,
    contents: &Contents,
) -> WriterProperties {
    let said = |key: &str, value: String| KeyValue::new(format!("clari-lake.{key}"), value);
    let columns = columns(schema.arrow.fields());
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(CREATED_BY.to_owned())
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_sorting_columns(Some(sorting_columns(endpoint, &schema.table, &columns)))
        .set_key_value_metadata(Some(vec![
            said("version", env!("CARGO_PKG_VERSION").to_owned()),
            said("endpoint", endpoint.name.clone()),
            said("schema", schema.fingerprint.clone()),
            said("run", footer.run.to_owned()),
            KeyValue::new(FROZEN.to_owned(), footer.is_frozen.to_string()),
            KeyValue::new(PARTITION_BY.to_owned(), footer.granularity.name().to_owned()),
        ]));
    for (at, Column { path, kind, is_listed }) in columns.into_iter().enumerate() {
        let leaf = contents.leaf(at);
        let has_up_to = |values| leaf.is_some_and(|leaf| leaf.values <= values);
        let is_small =
            leaf.is_some_and(|leaf| leaf.plain_bytes() <= TOO_FEW_BYTES_FOR_A_DICTIONARY);
        let repeats = !matches!(kind, Kind::LongText | Kind::Measure | Kind::Boolean);
        if !repeats || is_small || has_up_to(TOO_FEW_FOR_A_DICTIONARY) {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        if kind == Kind::LongText {
            properties = properties.set_column_data_page_size_limit(path.clone(), TEXT_PAGE_BYTES);
        }
        // No engine can skip a file or a page based on values inside a list.
        if is_listed {
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    properties = properties.set_column_dictionary_enabled(EXTRA_JSON.into(), false);
    for key in endpoint.key.iter().filter(|key| !endpoint.is_day(key)) {
        let path = ColumnPath::from(key.as_str());
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_bloom_filter_enabled(path, endpoint.time_field().is_some());
    }
    properties.build()
}

/// A column of the file: a leaf of the schema.
struct Column {
    path: ColumnPath,
    kind: Kind,
    /// Whether it is inside a list.
    is_listed: bool,
}

/// What a column holds, as far as it affects how it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    LongText,
    /// Seconds, ratios, and instants hardly ever repeat, and a dictionary makes them larger.
    Measure,
    Boolean,
    Other,
}

fn columns(fields: &Fields) -> Vec<Column> {
    let mut columns = Vec::new();
    for field in fields {
        add_columns(field.name(), field.data_type(), &[field.name().clone()], &mut columns);
    }
    columns
}

/// Adds the leaves below a field with this name.
fn add_columns(name: &str, data_type: &DataType, path: &[String], columns: &mut Vec<Column>) {
    let kind = match data_type {
        DataType::List(element) => {
            let path = [path, &["list".to_owned(), "element".to_owned()]].concat();
            let before = columns.len();
            add_columns(name, element.data_type(), &path, columns);
            columns[before..].iter_mut().for_each(|column| column.is_listed = true);
            return;
        }
        DataType::Struct(fields) => {
            for field in fields {
                let path = [path, &[field.name().clone()]].concat();
                add_columns(field.name(), field.data_type(), &path, columns);
            }
            return;
        }
        DataType::Utf8 if LONG_TEXT.contains(&name) => Kind::LongText,
        DataType::Float64 | DataType::Timestamp(..) => Kind::Measure,
        DataType::Boolean => Kind::Boolean,
        _ => Kind::Other,
    };
    columns.push(Column { path: ColumnPath::new(path.to_vec()), kind, is_listed: false });
}

/// The leading columns that rows are ordered by, if they are leaves of the file.
fn sorting_columns(endpoint: &Endpoint, schema: &Schema, columns: &[Column]) -> Vec<SortingColumn> {
    let leaf = |name: &str| {
        let is_it = |column: &Column| column.path.parts() == [name];
        i32::try_from(columns.iter().position(is_it)?).ok()
    };
    let day = (endpoint.time_field().is_none() && schema.added.day).then_some(DAY);
    // Rows are ordered by their keys as text, which is not the numeric order.
    let is_number = |name: &str| {
        let mut columns = schema.columns.iter();
        columns.any(|it| it.name == name && it.column_type == ColumnType::Int64)
    };
    let keys = endpoint.key_columns().filter(|name| !endpoint.is_day(name));
    let keys = keys.take_while(|name| !is_number(name));
    let names = endpoint.time_field().or(day).into_iter().chain(keys);
    names
        .map_while(leaf)
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Compression;
    use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

    use super::super::writer::ObjectWriter;
    use super::*;
    use crate::decode::{Origin, RecordDecoder};
    use crate::endpoint::Catalogue;

    fn endpoint() -> Arc<Endpoint> {
        Arc::new(Catalogue::built_in().unwrap().find("calls").unwrap().clone())
    }

    /// This many calls between two people whose phone numbers are unknown.
    fn rows(count: usize) -> RecordBatch {
        let person = r#"{"userId": "u1", "isOrganizer": true}"#;
        let record = |at| {
            let (id, time) = (format!("c{at}"), "2026-11-20T09:30:00.000Z");
            format!(r#"{{"id": "{id}", "time": "{time}", "users": [{person}, {person}]}}"#)
        };
        let records: Vec<String> = (0..count).map(record).collect();
        let body = format!(r#"{{"calls": [{}]}}"#, records.join(","));
        let schema = Arc::new(endpoint().schema());
        let mut decoder = RecordDecoder::new(endpoint(), schema, true, Arc::default());
        decoder.decode(body.as_bytes(), &Origin::default()).unwrap().rows.to_table().unwrap()
    }

    fn write(batch: &RecordBatch, contents: &Contents) -> ParquetMetaData {
        let schema = FileSchema::of(&Arc::new(endpoint().schema()));
        let footer = Footer { run: "run", is_frozen: true, granularity: Granularity::Day };
        let properties = properties(&endpoint(), &schema, footer, contents);
        let mut bytes = Vec::new();
        let mut writer = ObjectWriter::new(&mut bytes, &schema.arrow, properties, None).unwrap();
        writer.write(batch, 0).unwrap();
        writer.close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
        let metadata = ParquetMetaData::clone(reader.metadata());
        let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let read = arrow::compute::concat_batches(&batch.schema(), &read).unwrap();
        assert_eq!(read.columns(), batch.columns());
        metadata
    }

    fn column<'m>(metadata: &'m ParquetMetaData, path: &str) -> &'m ColumnChunkMetaData {
        let columns = metadata.row_group(0).columns();
        columns.iter().find(|it| it.column_path().string() == path).unwrap()
    }

    fn is_compressed(metadata: &ParquetMetaData, path: &str) -> bool {
        column(metadata, path).compression() != Compression::UNCOMPRESSED
    }

    fn has_dictionary(metadata: &ParquetMetaData, path: &str) -> bool {
        column(metadata, path).dictionary_page_offset().is_some()
    }

    const ORGANIZER: &str = "users.list.element.isOrganizer";
    const USER: &str = "users.list.element.userId";

    #[test]
    fn few_rows_have_no_dictionaries_and_few_bytes_are_not_compressed() {
        let (batch, mut contents) = (rows(60), Contents::default());
        contents.add_batch(&batch, 60);
        let metadata = write(&batch, &contents);
        for path in ["disposition", "extra_json", "deleted_at", ORGANIZER] {
            assert!(!is_compressed(&metadata, path), "{path}");
        }
        for path in ["id", "time", USER] {
            assert!(is_compressed(&metadata, path), "{path}");
        }
        let columns = metadata.row_group(0).columns();
        assert!(columns.iter().all(|it| it.dictionary_page_offset().is_none()));
        assert!(column(&metadata, "time").statistics().is_some());
        assert!(column(&metadata, "time").bloom_filter_offset().is_none());
        assert!(column(&metadata, "id").bloom_filter_offset().is_some());
        assert!(column(&metadata, USER).statistics().is_none());
        assert!(columns.iter().all(|it| it.offset_index_offset().is_some()));
        assert!(column(&metadata, "time").column_index_offset().is_some());
    }

    #[test]
    fn many_rows_have_dictionaries() {
        let (batch, mut contents) = (rows(2000), Contents::default());
        contents.add_batch(&batch, 2000);
        let metadata = write(&batch, &contents);
        assert!(is_compressed(&metadata, "time") && is_compressed(&metadata, ORGANIZER));
        assert!(!is_compressed(&metadata, "disposition"), "there is nothing to compress");
        assert!(has_dictionary(&metadata, USER));
    }

    /// P1: what is known about rows only affects how they are stored; all of them are there, even
    /// if it was wrong.
    #[test]
    fn a_column_expected_to_be_empty_is_stored_if_it_is_not() {
        let (batch, mut contents) = (rows(2000), Contents::default());
        for at in 0..columns(endpoint().schema().arrow().fields()).len() {
            contents.add(at, Leaf { values: 0, bytes: 0 });
        }
        let metadata = write(&batch, &contents);
        assert!(is_compressed(&metadata, USER) && !has_dictionary(&metadata, USER));
    }

    #[test]
    fn an_empty_column_stays_empty_until_a_value_comes() {
        let (batch, mut before) = (rows(60), Contents::default());
        before.add_batch(&batch, 60);
        let written = write(&batch, &before);
        let again = |batch: &RecordBatch, is_current: bool| {
            let mut contents = Contents::default();
            contents.add_group(written.row_group(0), is_current);
            contents.add_batch(batch, batch.num_rows());
            write(batch, &contents)
        };
        assert!(!has_dictionary(&again(&rows(10), true), "disposition"));
        // Rows with an older schema may have values for a column that it did not have.
        assert!(has_dictionary(&again(&rows(10), false), "disposition"));
        let index = batch.schema().index_of("disposition").unwrap();
        let mut columns = rows(1).columns().to_vec();
        columns[index] = Arc::new(arrow::array::StringArray::from(vec!["answered ".repeat(50)]));
        let answered = RecordBatch::try_new(batch.schema(), columns).unwrap();
        assert!(is_compressed(&again(&answered, true), "disposition"));
        assert_eq!(again(&rows(1000), true).row_group(0).num_rows(), 1000);
    }
}
