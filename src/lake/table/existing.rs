//! Reads an existing object: its rows in batches, and the properties of its row groups. Batches are
//! of about equal size in memory, however the rows are encoded, and the object is never in memory
//! as a whole.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowSchemaConverter, ProjectionMask};
use parquet::basic::Type;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, RowGroupMetaData,
};

use super::groups::{ENOUGH, Group};
use super::layout::CREATED_BY;
use super::object::{self, RowOrder};
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::lake::store::Object;
use crate::schema::DAY;

/// About how much of an object is in memory at once.
pub(in crate::lake) const BATCH_BYTES: u64 = 4 << 20;
/// The assumed size of a text if the file does not tell it.
const TEXT_BYTES: u64 = 64;

/// An object to read.
#[derive(Clone)]
pub(in crate::lake) struct Existing {
    object: Object,
    metadata: ArrowReaderMetadata,
}

impl Existing {
    /// Opens an object to read rows from it.
    pub(in crate::lake) fn open(object: Object) -> Result<Self> {
        Self::open_with(object, PageIndexPolicy::Skip)
    }

    /// Opens an object to copy row groups from it.
    pub(in crate::lake) fn open_with_pages(object: Object) -> Result<Self> {
        Self::open_with(object, PageIndexPolicy::Optional)
    }

    fn open_with(object: Object, pages: PageIndexPolicy) -> Result<Self> {
        let options = ArrowReaderOptions::new().with_page_index_policy(pages);
        let metadata = ArrowReaderMetadata::load(&object, options)?;
        Ok(Self { object, metadata })
    }

    /// The object itself.
    pub(in crate::lake) fn object(&self) -> &Object {
        &self.object
    }

    /// What its footer says.
    pub(in crate::lake) fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.metadata.metadata()
    }

    /// The Arrow schema of its rows.
    pub(in crate::lake) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Whether its row groups can be copied into an object with this schema, as this version writes
    /// them.
    pub(in crate::lake) fn can_be_copied(&self, schema: &SchemaRef) -> bool {
        let file = self.metadata().file_metadata();
        let columns = || ArrowSchemaConverter::new().convert(schema).ok();
        file.created_by() == Some(CREATED_BY)
            && self.metadata().page_index().is_some_and(|index| index.has_offset_indexes())
            && columns().is_some_and(|columns| columns == *file.schema_descr())
    }

    /// All its rows.
    pub(in crate::lake) fn batches(&self) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
        self.batches_of(0..self.metadata().num_row_groups(), ProjectionMask::all())
    }

    /// Some columns of the rows of some row groups.
    pub(in crate::lake) fn batches_of(
        &self,
        groups: Range<usize>,
        columns: ProjectionMask,
    ) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
        let Self { object, metadata } = self.clone();
        groups.flat_map(move |number| {
            let group = metadata.metadata().row_group(number);
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                object.clone(),
                metadata.clone(),
            )
            .with_projection(columns.clone())
            .with_row_groups(vec![number])
            .with_batch_size(batch_rows(group, &columns));
            let (batches, failed) = match builder.build() {
                Ok(batches) => (Some(batches), None),
                Err(error) => (None, Some(Err(error.into()))),
            };
            failed.into_iter().chain(batches.into_iter().flatten().map(|batch| Ok(batch?)))
        })
    }

    /// The rows of some row groups, which are released as soon as they are read.
    pub(in crate::lake) fn last_batches_of(
        self,
        groups: Range<usize>,
    ) -> impl Iterator<Item = Result<RecordBatch>> {
        groups.flat_map(move |number| {
            self.release(number);
            self.batches_of(number..number + 1, ProjectionMask::all())
        })
    }

    /// Releases what is before a row group, if it is in memory; it is not read again.
    pub(in crate::lake) fn release(&self, before: usize) {
        let columns = self.metadata().row_group(before).columns();
        if let Some(begins) = columns.iter().map(|column| column.byte_range().0).min() {
            self.object.release(begins);
        }
    }

    /// Where its row groups begin and end, and which of them have a row that satisfies the
    /// condition. Row groups too small to copy are not read for this.
    pub(in crate::lake) fn groups(
        &self,
        endpoint: &Endpoint,
        changes: impl Fn(&str) -> bool,
    ) -> Result<Vec<Group>> {
        let sizes = self.metadata().row_groups().iter().map(|group| bytes(group.compressed_size()));
        let sizes: Vec<u64> = sizes.collect();
        let is_small = sizes.iter().all(|bytes| *bytes < ENOUGH);
        let mut groups = Vec::with_capacity(sizes.len());
        for (number, bytes) in sizes.into_iter().enumerate() {
            let mut group = Group { bytes, ends: None, changes: false };
            if !is_small {
                self.look_into(number, endpoint, &changes, &mut group)?;
            }
            groups.push(group);
        }
        Ok(groups)
    }

    fn look_into(
        &self,
        number: usize,
        endpoint: &Endpoint,
        changes: &impl Fn(&str) -> bool,
        group: &mut Group,
    ) -> Result<()> {
        let names = endpoint.key_columns().chain(endpoint.time_field()).chain([DAY]);
        let file = self.metadata().file_metadata().schema_descr();
        let columns = ProjectionMask::columns(file, names);
        let mut last: Option<RowOrder> = None;
        for batch in self.batches_of(number..number + 1, columns) {
            for row in object::order(endpoint, &batch?)? {
                group.changes |= changes(&row.key);
                if last.as_ref().is_some_and(|last| *last >= row) {
                    // No row can be inserted between rows that are not in order.
                    group.ends = None;
                    return Ok(());
                }
                let (first, _) = group.ends.take().unwrap_or_else(|| (row.clone(), row.clone()));
                group.ends = Some((first, row.clone()));
                last = Some(row);
            }
        }
        Ok(())
    }
}

/// How many rows of a group form a batch.
fn batch_rows(group: &RowGroupMetaData, columns: &ProjectionMask) -> usize {
    let leaves = group.columns().iter().enumerate();
    let leaves = leaves.filter(|(at, _)| columns.leaf_included(*at));
    let decoded: u64 = leaves.map(|(_, leaf)| decoded_bytes(leaf)).sum();
    rows_of(decoded / bytes(group.num_rows()).max(1))
}

/// How many rows of this size form a batch.
pub(in crate::lake) fn rows_of(row_bytes: u64) -> usize {
    usize::try_from((BATCH_BYTES / row_bytes.max(1)).clamp(1, 8192)).unwrap_or(1)
}

/// The approximate size of a column chunk in memory. With a dictionary, its encoded size does not
/// show that.
fn decoded_bytes(column: &ColumnChunkMetaData) -> u64 {
    let values = bytes(column.num_values());
    let width = match column.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        _ => 8,
    };
    let texts = match (column.column_type(), column.unencoded_byte_array_data_bytes()) {
        (Type::BYTE_ARRAY, Some(said)) => bytes(said),
        (Type::BYTE_ARRAY, None) => bytes(column.uncompressed_size()).max(values * TEXT_BYTES),
        _ => 0,
    };
    // While a column is read, levels take 16 bits each.
    values * (width + 4) + texts
}

fn bytes(said: i64) -> u64 {
    u64::try_from(said).unwrap_or_default()
}
