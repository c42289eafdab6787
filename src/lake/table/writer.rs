//! Writes an object, row group by row group: some are encoded, others are copied from the previous
//! version. No page begins where the previous version has another page.
//!
//! The reason: some readers fetch an object in several requests without specifying its version. If
//! they read the footer of the old version and pages of the new one, they must find garbage where
//! they expect a page, not a page with other values. So if one of its pages would begin at such an
//! offset, a row group begins some bytes later.

use std::collections::HashSet;
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions,
    compute_leaves,
};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedFileWriter;

use super::layout::{DAYS_DECODED_BYTES, ROW_GROUP_BYTES, ROW_GROUP_DECODED_BYTES, ROW_GROUP_ROWS};
use super::pages::Pages;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::store::Object;

/// About how much is encoded before the decoded size of the row group is checked again.
const STEP_BYTES: usize = 2 << 20;
/// How much is copied at once.
const COPY_BYTES: usize = 256 << 10;

/// An object that is being written.
pub(in crate::lake) struct ObjectWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    group: Option<OpenGroup>,
    /// What is encoded of the row group.
    pages: Pages,
    /// Where the previous version has pages.
    taken: HashSet<u64>,
}

/// The row group that is being encoded.
struct OpenGroup {
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
    decoded_bytes: usize,
}

impl OpenGroup {
    /// Its approximate encoded size.
    fn bytes(&self, pages: &Pages) -> usize {
        let columns = self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes);
        columns.sum::<usize>().saturating_sub(pages.saved())
    }
}

impl<W: Write + Send> ObjectWriter<W> {
    /// Creates a writer for an object that replaces another one, if any. The properties leave
    /// compression to the writer.
    pub(in crate::lake) fn new(
        sink: W,
        schema: &SchemaRef,
        properties: WriterProperties,
        before: Option<&ParquetMetaData>,
    ) -> Result<Self> {
        // Parquet's own types are sufficient; Arrow's schema beside them would be a third of the
        // footer.
        let pages = Pages::new()?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true)
            .with_page_store_factory(Arc::new(pages.clone()));
        let writer = ArrowWriter::try_new_with_options(sink, SchemaRef::clone(schema), options)?;
        let (file, columns) = writer.into_serialized_writer()?;
        let taken = before.map(page_starts).unwrap_or_default();
        Ok(Self { file, columns, schema: SchemaRef::clone(schema), group: None, pages, taken })
    }

    /// The schema of the rows.
    pub(in crate::lake) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Encodes rows that come after everything written so far; `bytes` is their approximate decoded
    /// size.
    pub(in crate::lake) fn write(&mut self, batch: &RecordBatch, bytes: usize) -> Result<()> {
        let row_bytes = (bytes / batch.num_rows().max(1)).max(1);
        let step = (STEP_BYTES / row_bytes).clamp(1, ROW_GROUP_ROWS);
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = step.min(batch.num_rows() - from);
            let bytes = rows * row_bytes;
            if self.group.as_ref().is_some_and(|group| {
                group.rows + rows > ROW_GROUP_ROWS
                    || group.decoded_bytes + bytes > ROW_GROUP_DECODED_BYTES
                    || group.bytes(&self.pages) + bytes > ROW_GROUP_BYTES
            }) {
                self.end_group()?;
            }
            self.encode(&batch.slice(from, rows), bytes)?;
            from += rows;
        }
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch, decoded_bytes: usize) -> Result<()> {
        let group = match &mut self.group {
            Some(group) => group,
            none => {
                let number = self.file.flushed_row_groups().len();
                let columns = self.columns.create_column_writers(number)?;
                none.insert(OpenGroup { columns, rows: 0, decoded_bytes: 0 })
            }
        };
        let mut columns = group.columns.iter_mut();
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, array)? {
                let column = columns.next().ok_or_else(|| unlike("a batch"))?;
                column.write(&leaf)?;
            }
        }
        group.rows += batch.num_rows();
        group.decoded_bytes += decoded_bytes;
        Ok(())
    }

    /// Whether the current row group, with this much more, is large enough to end with its day.
    pub(in crate::lake) fn may_end_with_day(&self, more: usize) -> bool {
        let decoded = self.group.as_ref().map_or(0, |group| group.decoded_bytes);
        decoded + more >= DAYS_DECODED_BYTES
    }

    /// Ends the current row group, if there is one.
    pub(in crate::lake) fn end_group(&mut self) -> Result<()> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let chunks = group.columns.into_iter().map(ArrowColumnWriter::close);
        let chunks: Vec<ArrowColumnChunk> = chunks.collect::<Result<_, _>>()?;
        let chunks = self.pages.end(chunks.iter().map(ArrowColumnChunk::close))?;
        let pages = chunks.iter().map(|chunk| {
            let close = &chunk.close;
            (length(close.metadata.compressed_size()), close.offset_index.as_ref())
        });
        self.pad(&starts(pages))?;
        let mut writer = self.file.next_row_group()?;
        for chunk in chunks {
            let (bytes, close) = chunk.into_bytes();
            writer.append_column(&bytes, close)?;
        }
        writer.close()?;
        Ok(())
    }

    /// Copies a row group of the previous version with the same columns. Returns its number of
    /// rows.
    pub(in crate::lake) fn copy(
        &mut self,
        object: &Object,
        metadata: &ParquetMetaData,
        number: usize,
    ) -> Result<u64> {
        self.end_group()?;
        let group = metadata.row_group(number);
        let index = metadata.page_index_for_row_group(number);
        let begins = group.columns().first().map_or(0, |column| column.byte_range().0);
        if begins != self.file.bytes_written() as u64 || !is_contiguous(group) {
            self.pad(&starts(pages(group, &index)))?;
        }
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        let mut writer = self.file.next_row_group()?;
        for (at, column) in group.columns().iter().enumerate() {
            let close = ColumnCloseResult {
                bytes_written: column.byte_range().1,
                rows_written: rows,
                bloom_filter: Sbbf::read_from_column_chunk(column, object)?,
                column_index: index.column_index(at).cloned(),
                offset_index: index.offset_index(at).cloned(),
                metadata: column.clone(),
            };
            let source = Source { object, length: place(column.byte_range().1) };
            writer.append_column(&source, close)?;
        }
        writer.close()?;
        Ok(rows)
    }

    /// Moves the next row group so that none of its pages begins where the previous version has
    /// one.
    fn pad(&mut self, starts: &[u64]) -> Result<()> {
        let at = self.file.bytes_written() as u64;
        let padding = padding(&self.taken, at, starts);
        self.file.write_all(&vec![0; padding]).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "an object cannot be written").with_source(error)
        })
    }

    /// Ends the object.
    pub(in crate::lake) fn close(mut self) -> Result<()> {
        self.end_group()?;
        self.file.close()?;
        Ok(())
    }
}

fn unlike(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the columns of {what} differ from those of its table"))
}

/// By how many bytes a row group that begins at `at` must be moved so that none of its pages, at
/// the relative offsets `starts`, begins at a taken offset.
fn padding(taken: &HashSet<u64>, at: u64, starts: &[u64]) -> usize {
    let is_free =
        |by: &usize| starts.iter().all(|start| !taken.contains(&(at + start + *by as u64)));
    // At most `taken` times `starts` of them are taken.
    (0..=usize::MAX).find(is_free).unwrap_or_default()
}

/// Where an object's pages begin.
fn page_starts(metadata: &ParquetMetaData) -> HashSet<u64> {
    let mut all = HashSet::new();
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let index = metadata.page_index_for_row_group(number);
        for (at, column) in group.columns().iter().enumerate() {
            let (begins, length) = column.byte_range();
            let starts = starts(std::iter::once((length, index.offset_index(at))));
            all.extend(starts.into_iter().map(|start| begins + start));
        }
    }
    all
}

/// The length of each column chunk of a row group, and its pages.
fn pages<'m>(
    group: &'m RowGroupMetaData,
    index: &'m RowGroupPageIndex,
) -> impl Iterator<Item = (u64, Option<&'m OffsetIndexMetaData>)> {
    let columns = group.columns().iter().enumerate();
    columns.map(|(at, column)| (column.byte_range().1, index.offset_index(at)))
}

/// The offsets of the pages of consecutive column chunks, relative to the first chunk.
fn starts<'m>(chunks: impl Iterator<Item = (u64, Option<&'m OffsetIndexMetaData>)>) -> Vec<u64> {
    let (mut starts, mut begins) = (Vec::new(), 0);
    for (bytes, index) in chunks {
        let pages = index.map_or(&[][..], |index| &index.page_locations);
        let lengths = pages.iter().map(|page| length(page.compressed_page_size.into()));
        // Before the data there is a dictionary.
        let mut at = begins + bytes.saturating_sub(lengths.clone().sum());
        starts.push(begins);
        for length in lengths {
            starts.push(at);
            at += length;
        }
        begins += bytes;
    }
    starts
}

fn place(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn length(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}

/// Whether a row group has no gaps between its column chunks.
fn is_contiguous(group: &RowGroupMetaData) -> bool {
    let ranges: Vec<_> = group.columns().iter().map(ColumnChunkMetaData::byte_range).collect();
    ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0)
}

/// An object that is read from one offset on, in few large reads.
struct Source<'o> {
    object: &'o Object,
    length: usize,
}

impl Length for Source<'_> {
    fn len(&self) -> u64 {
        self.object.len()
    }
}

impl ChunkReader for Source<'_> {
    type T = BufReader<Box<dyn Read + Send>>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let capacity = self.length.min(COPY_BYTES);
        Ok(BufReader::with_capacity(capacity, self.object.get_read(start)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.object.get_bytes(start, length)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use arrow::array::{ArrayRef, Int64Array, ListBuilder, StringArray, StringBuilder};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::ProjectionMask;
    use parquet::arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
        RowSelector,
    };
    use parquet::file::metadata::PageIndexPolicy;
    use proptest::prelude::*;

    use super::super::layout::{self, Contents, FileSchema, Footer};
    use super::*;
    use crate::endpoint::Catalogue;
    use crate::manifest::Granularity;

    #[test]
    fn an_object_says_its_columns_without_arrows_own_schema() {
        for endpoint in Catalogue::built_in().unwrap().endpoints() {
            let schema = FileSchema::of(&Arc::new(endpoint.schema()));
            let footer = Footer { run: "run", is_frozen: true, granularity: Granularity::Day };
            let contents = Contents::default();
            let properties = layout::properties(endpoint, &schema, footer, &contents);
            let mut bytes = Vec::new();
            let writer = ObjectWriter::new(&mut bytes, &schema.arrow, properties, None).unwrap();
            writer.close().unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
            assert_eq!(reader.schema().fields(), schema.arrow.fields(), "{}", endpoint.name);
        }
    }

    fn schema() -> SchemaRef {
        let element = Field::new("element", DataType::Utf8, true);
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, true),
            Field::new("count", DataType::Int64, true),
            Field::new("tags", DataType::List(Arc::new(element)), true),
            Field::new("nothing", DataType::Utf8, true),
        ]))
    }

    /// Rows with these numbers, whose contents differ in each version but have the same lengths.
    fn batch(rows: &[u16], version: u8) -> RecordBatch {
        let id = |row: &u16| format!("{row:05}-{version}");
        let ids: StringArray = rows.iter().map(|row| Some(id(row))).collect();
        let counts: Int64Array =
            rows.iter().map(|row| Some(i64::from(*row ^ u16::from(version)))).collect();
        let mut tags = ListBuilder::new(StringBuilder::new()).with_field(Field::new(
            "element",
            DataType::Utf8,
            true,
        ));
        for row in rows {
            for tag in 0..row % 4 {
                tags.values().append_value(if tag == 0 { "plain".to_owned() } else { id(row) });
            }
            tags.append(row % 5 > 0);
        }
        let nothing: StringArray = rows.iter().map(|_| None::<&str>).collect();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(ids), Arc::new(counts), Arc::new(tags.finish()), Arc::new(nothing)];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    fn properties() -> WriterProperties {
        WriterProperties::builder()
            .set_column_dictionary_enabled("id".into(), false)
            .set_column_bloom_filter_enabled("id".into(), true)
            // Several pages, as in objects with many rows.
            .set_data_page_row_count_limit(7)
            .set_write_batch_size(7)
            .build()
    }

    /// A written object.
    struct Written {
        bytes: Bytes,
        metadata: ArrowReaderMetadata,
    }

    impl Written {
        fn of(bytes: Vec<u8>) -> Self {
            let bytes = Bytes::from(bytes);
            let options =
                ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
            let metadata = ArrowReaderMetadata::load(&bytes, options).unwrap();
            Self { bytes, metadata }
        }

        fn object(&self) -> Object {
            Object::of_bytes(self.bytes.clone())
        }

        fn rows(&self) -> RecordBatch {
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.bytes.clone(),
                self.metadata.clone(),
            );
            let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
            concat_batches(&schema(), &batches).unwrap()
        }

        /// What a reader sees that read this version's footer and reads a column's pages from these
        /// bytes.
        fn column_of(&self, bytes: &Bytes, group: usize, leaf: usize) -> Option<Vec<ArrayRef>> {
            let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), [leaf]);
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(
                bytes.clone(),
                self.metadata.clone(),
            );
            let reader = reader.with_projection(mask).with_row_groups(vec![group]).build().ok()?;
            // On bytes that happen to look like a page, such as a dictionary of no values, the
            // library's reader panics. That is no silent mix of versions either.
            let read = catch_unwind(AssertUnwindSafe(|| reader.collect::<Result<_, _>>()));
            let batches: Vec<_> = read.ok()?.ok()?;
            Some(batches.into_iter().map(|batch| Arc::clone(batch.column(0))).collect())
        }
    }

    /// What happens to a row group in the next version.
    #[derive(Debug, Clone)]
    enum Fate {
        Copied,
        Encoded(u8),
        Gone,
        /// Copied after this many new rows.
        After(u8),
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            3 => Just(Fate::Copied),
            3 => (0u8..3).prop_map(Fate::Encoded),
            1 => Just(Fate::Gone),
            1 => (1u8..9).prop_map(Fate::After),
        ]
    }

    fn first_version(groups: &[Vec<u16>]) -> Written {
        let mut bytes = Vec::new();
        let mut writer = ObjectWriter::new(&mut bytes, &schema(), properties(), None).unwrap();
        for rows in groups {
            writer.write(&batch(rows, 0), 0).unwrap();
            writer.end_group().unwrap();
        }
        writer.close().unwrap();
        Written::of(bytes)
    }

    /// The next version, and its expected rows.
    fn next_version(
        old: &Written,
        groups: &[Vec<u16>],
        fates: &[Fate],
    ) -> (Written, Vec<RecordBatch>) {
        let (mut bytes, mut rows) = (Vec::new(), Vec::new());
        let metadata = Arc::clone(old.metadata.metadata());
        let mut writer =
            ObjectWriter::new(&mut bytes, &schema(), properties(), Some(&metadata)).unwrap();
        for (at, (group, fate)) in groups.iter().zip(fates).enumerate() {
            let mut encode = |rows_of: &[u16], version| {
                let encoded = batch(rows_of, version);
                writer.write(&encoded, 0).unwrap();
                writer.end_group().unwrap();
                rows.push(encoded);
            };
            match fate {
                Fate::Encoded(version) => encode(group, *version),
                Fate::After(count) => encode(&vec![7; usize::from(*count)], 1),
                Fate::Copied | Fate::Gone => {}
            }
            if matches!(fate, Fate::Copied | Fate::After(_)) {
                let copied = writer.copy(&old.object(), &metadata, at).unwrap();
                assert_eq!(copied, group.len() as u64);
                rows.push(batch(group, 0));
            }
        }
        writer.close().unwrap();
        (Written::of(bytes), rows)
    }

    proptest! {
        /// P1: all that is copied or encoded is read back in full, with all of its metadata. P2: a
        /// reader that takes the footer of one version and pages of the next gets the old values or
        /// an error.
        #[test]
        fn copied_row_groups_are_whole_and_versions_never_mix(
            sizes in prop::collection::vec(1usize..40, 1..5),
            fates in prop::collection::vec(fate(), 5),
            skipped in 0usize..60,
        ) {
            let mut next = 0u16;
            let groups: Vec<Vec<u16>> = sizes.iter().map(|size| {
                (0..*size).map(|_| { next += 1; next }).collect()
            }).collect();
            let old = first_version(&groups);
            let (new, expected) = next_version(&old, &groups, &fates);
            let expected = concat_batches(&schema(), &expected).unwrap();
            prop_assert_eq!(&new.rows(), &expected);

            // Pages are located by the page index.
            let skipped = skipped.min(expected.num_rows());
            let selection = RowSelection::from(vec![
                RowSelector::skip(skipped),
                RowSelector::select(expected.num_rows() - skipped),
            ]);
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(
                new.bytes.clone(),
                new.metadata.clone(),
            );
            let read: Vec<_> =
                reader.with_row_selection(selection).build().unwrap().map(Result::unwrap).collect();
            let read = concat_batches(&schema(), &read).unwrap();
            prop_assert_eq!(&read, &expected.slice(skipped, expected.num_rows() - skipped));

            let mut row = 0;
            for (number, group) in new.metadata.metadata().row_groups().iter().enumerate() {
                let rows = usize::try_from(group.num_rows()).unwrap();
                let ids = expected.column(0).slice(row, rows);
                let ids = ids.as_any().downcast_ref::<StringArray>().unwrap();
                let column = group.column(0);
                let bloom = Sbbf::read_from_column_chunk(column, &new.bytes).unwrap().unwrap();
                prop_assert!(ids.iter().flatten().all(|id| bloom.check(id)));
                let statistics = column.statistics().unwrap();
                let least = ids.iter().flatten().min().map(str::as_bytes);
                prop_assert_eq!(statistics.min_bytes_opt(), least);
                let index = new.metadata.metadata().page_index_for_row_group(number);
                prop_assert!(index.column_index(0).is_some());
                row += rows;
            }

            for (group, rows_of) in groups.iter().enumerate() {
                for leaf in 0..4 {
                    // A reader that has read the footer treats too few rows as an error.
                    let rows = |batches: &[ArrayRef]| batches.iter().map(|it| it.len()).sum::<usize>();
                    let torn = old.column_of(&new.bytes, group, leaf);
                    let torn = torn.filter(|torn| rows_of.len() == rows(torn));
                    let whole = old.column_of(&old.bytes, group, leaf);
                    prop_assert!(torn.is_none() || torn == whole, "{} {}: {:?}", group, leaf, fates);
                }
            }
        }
    }

    #[test]
    fn padded_pages_begin_at_no_page_of_the_previous_version() {
        let taken = HashSet::from([4, 5, 10]);
        assert_eq!(padding(&taken, 6, &[0, 3]), 0);
        assert_eq!(padding(&taken, 4, &[0]), 2);
        assert_eq!(padding(&taken, 4, &[0, 4]), 3);
    }
}
