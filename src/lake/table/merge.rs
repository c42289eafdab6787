//! Merging: a partition's rows and the new ones become its next version.
//!
//! Enters: the object as it is, the rows to put in, the keys to take out. Leaves: the next
//! object, staged. Never here: the whole object in memory, or two rows of one key.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Date32Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;

use super::freeze::Growth;
use super::layout::Contents;
use super::object::{self, RowOrder};
use crate::decode::{Cleansed, Origin, RecordDecoder, Rows};
use crate::endpoint::{Endpoint, Named, Parent, ParentField};
use crate::error::Result;
use crate::lake::store::Object;
use crate::partition::Partition;
use crate::row::RowFacts;
use crate::schema::{DAY, DELETED_AT, EXPORTED_AT, EXTRA_JSON};
use crate::window::day_of;

/// About how much of an object is in memory at once, uncompressed.
const BATCH_BYTES: i64 = 4 << 20;

/// The rows of one batch that go to one partition. The batch is shared, not copied.
#[derive(Debug)]
pub(in crate::lake) struct Selection {
    /// In the table's schema, with the columns that this tool adds.
    pub(in crate::lake) batch: RecordBatch,
    /// Which of its rows, each with its place in the partition.
    pub(in crate::lake) rows: Vec<(RowOrder, usize)>,
}

/// The next version of one partition.
pub(in crate::lake) struct Merge<'a> {
    pub(in crate::lake) endpoint: &'a Endpoint,
    /// Into whose schema everything is brought.
    pub(in crate::lake) decoder: &'a mut RecordDecoder,
    /// Of which partition.
    pub(in crate::lake) partition: Partition,
    /// The day that the rows get that are there already, days since 1970: those of a snapshot that
    /// begins as a copy of an older one.
    pub(in crate::lake) day: Option<i32>,
    /// The rows to put in, one per key, in the decoder's schema.
    pub(in crate::lake) selections: Vec<Selection>,
    /// The keys to take out, besides those that are put in.
    pub(in crate::lake) removed: HashSet<Box<str>>,
    /// The keys whose records are gone since an instant, or there after all.
    pub(in crate::lake) marked: HashMap<Box<str>, Option<i64>>,
}

impl Merge<'_> {
    /// Writes the next version; how many rows it has.
    pub(in crate::lake) fn write<W: Write + Send>(
        mut self,
        existing: Option<Existing>,
        writer: &mut ArrowWriter<W>,
    ) -> Result<u64> {
        let mut new = NewRows::of(std::mem::take(&mut self.selections));
        self.removed.extend(new.sorted.iter().map(|(row, _)| Box::from(row.key.as_str())));
        let mut count = 0;
        if let Some(Existing { reader, is_current, .. }) = existing {
            for batch in reader {
                count += self.write_between(batch?, is_current, &mut new, writer)?;
            }
        }
        Ok(count + new.write_rest(writer)?)
    }

    /// Writes a batch of the old object without what was taken out, and the new rows before its
    /// last one.
    fn write_between<W: Write + Send>(
        &mut self,
        batch: RecordBatch,
        is_current: bool,
        new: &mut NewRows,
        writer: &mut ArrowWriter<W>,
    ) -> Result<u64> {
        let batch = if is_current {
            batch
        } else {
            widen(&batch, self.partition, self.decoder)?.to_table()?
        };
        let batch = self.date(batch)?;
        let order = object::order(self.endpoint, &batch)?;
        let batch = self.mark(batch, &order)?;
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(batch.num_rows());
        for (row, at) in order.iter().enumerate() {
            while let Some((piece, next)) = new.next_before(at) {
                places.push((piece + 1, next));
            }
            if !self.removed.contains(at.key.as_str()) {
                places.push((0, row));
            }
        }
        if !places.is_empty() {
            let sources: Vec<_> = std::iter::once(&batch).chain(&new.batches).collect();
            writer.write(&interleave_record_batch(&sources, &places)?)?;
        }
        Ok(places.len() as u64)
    }
}

impl Merge<'_> {
    /// The batch with the day that its rows get.
    fn date(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let column = batch.schema().index_of(DAY);
        let Some((day, column)) = self.day.zip(column.ok()) else { return Ok(batch) };
        let mut columns = batch.columns().to_vec();
        columns[column] = Arc::new(Date32Array::from(vec![day; batch.num_rows()]));
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }

    /// The batch with the instants of deletion of those rows that are marked.
    fn mark(&self, batch: RecordBatch, order: &[RowOrder]) -> Result<RecordBatch> {
        let is_marked = |row: &RowOrder| self.marked.contains_key(row.key.as_str());
        let Ok(column) = batch.schema().index_of(DELETED_AT) else { return Ok(batch) };
        if !order.iter().any(is_marked) {
            return Ok(batch);
        }
        let known = object::instants(&batch, DELETED_AT);
        let marked = order
            .iter()
            .zip(known)
            .map(|(row, known)| self.marked.get(row.key.as_str()).copied().unwrap_or(known));
        let marked: TimestampMicrosecondArray = marked.collect();
        let mut columns = batch.columns().to_vec();
        columns[column] = Arc::new(marked.with_timezone("UTC"));
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }
}

/// The rows to put in, in order. They stay where they are until they are written.
struct NewRows {
    batches: Vec<RecordBatch>,
    /// Each row's place in the partition, and where it stands: batch and row.
    sorted: Vec<(RowOrder, (usize, usize))>,
    written: usize,
}

impl NewRows {
    fn of(selections: Vec<Selection>) -> Self {
        let (mut batches, mut sorted) = (Vec::new(), Vec::new());
        for (batch, selection) in selections.into_iter().enumerate() {
            sorted.extend(selection.rows.into_iter().map(|(order, row)| (order, (batch, row))));
            batches.push(selection.batch);
        }
        sorted.sort_unstable();
        Self { batches, sorted, written: 0 }
    }

    fn next_before(&mut self, at: &RowOrder) -> Option<(usize, usize)> {
        let (order, place) = self.sorted.get(self.written)?;
        (order < at).then(|| {
            self.written += 1;
            *place
        })
    }

    fn write_rest<W: Write + Send>(&self, writer: &mut ArrowWriter<W>) -> Result<u64> {
        let rest = &self.sorted[self.written..];
        let bytes: usize = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let rows: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        let step = batch_rows(i64::try_from(bytes / rows.max(1)).unwrap_or(i64::MAX));
        let sources: Vec<_> = self.batches.iter().collect();
        for rows in rest.chunks(step) {
            let places: Vec<_> = rows.iter().map(|(_, place)| *place).collect();
            writer.write(&interleave_record_batch(&sources, &places)?)?;
        }
        Ok(rest.len() as u64)
    }
}

/// An object that is read.
pub(in crate::lake) struct Existing {
    reader: ParquetRecordBatchReader,
    /// Whether it has the decoder's schema already.
    is_current: bool,
    metadata: Arc<ParquetMetaData>,
}

impl Existing {
    /// Adds what it holds.
    pub(in crate::lake) fn add_to(&self, contents: &mut Contents) {
        contents.add_object(&self.metadata, self.is_current);
    }
}

/// Opens an object, which is in the decoder's schema or an older one.
pub(in crate::lake) fn open(object: Object, decoder: &RecordDecoder) -> Result<Existing> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(object)?;
    let is_current = *builder.schema().fields() == *decoder.schema().arrow().fields();
    let metadata = Arc::clone(builder.metadata());
    let bytes: i64 = metadata
        .row_groups()
        .iter()
        .map(parquet::file::metadata::RowGroupMetaData::total_byte_size)
        .sum();
    let rows = metadata.file_metadata().num_rows().max(1);
    let batch_rows = batch_rows(bytes / rows);
    let reader = builder.with_batch_size(batch_rows).build()?;
    Ok(Existing { reader, is_current, metadata })
}

/// How many rows of this size make a batch.
fn batch_rows(row_bytes: i64) -> usize {
    usize::try_from((BATCH_BYTES / row_bytes.max(1)).clamp(1, 8192)).unwrap_or(1)
}

/// Decodes rows of the lake anew, into the decoder's schema.
fn widen(batch: &RecordBatch, partition: Partition, decoder: &mut RecordDecoder) -> Result<Rows> {
    let deleted_at = object::instants(batch, DELETED_AT);
    let mut rows = decoder.decode_rows(batch, origins(batch, Some(partition), decoder))?;
    for (facts, deleted_at) in rows.facts.iter_mut().zip(deleted_at) {
        facts.deleted_at = deleted_at;
    }
    Ok(rows)
}

/// What the rows themselves say of where they came from. A record whose own time cannot be read is
/// of the day that names its partition.
fn origins(
    batch: &RecordBatch,
    partition: Option<Partition>,
    decoder: &RecordDecoder,
) -> Vec<Origin> {
    let found_on = partition.and_then(|it| it.date()).map(day_of);
    let fetched_at = object::instants(batch, EXPORTED_AT);
    let days = object::days(batch).unwrap_or_else(|| vec![None; batch.num_rows()]);
    let parents = object::parents(batch, decoder.schema());
    let origins = fetched_at.into_iter().zip(days).zip(parents);
    origins
        .map(|((fetched_at, day), parent)| Origin {
            fetched_at: fetched_at.unwrap_or_default(),
            parent,
            day,
            found_on,
        })
        .collect()
}

/// What goes of an object's rows because of who is forgotten: of each batch, the keys of its rows,
/// and what becomes of them.
pub(in crate::lake) fn cleanse(
    object: Object,
    partition: Partition,
    endpoint: &Endpoint,
    decoder: &mut RecordDecoder,
    mut take: impl FnMut(Vec<String>, Cleansed),
) -> Result<()> {
    for batch in open(object, decoder)?.reader {
        let batch = batch?;
        let keys = object::order(endpoint, &batch)?.into_iter().map(|row| row.key).collect();
        let mut cleansed = decoder.cleanse(&batch, &origins(&batch, Some(partition), decoder))?;
        let deleted_at = object::instants(&batch, DELETED_AT);
        for (facts, row) in cleansed.rows.facts.iter_mut().zip(&cleansed.changed) {
            facts.deleted_at = deleted_at[*row];
        }
        take(keys, cleansed);
    }
    Ok(())
}

/// How people's own records in an object name them, of those who are forgotten.
pub(in crate::lake) fn people(object: Object, decoder: &mut RecordDecoder) -> Result<Vec<String>> {
    let mut people = Vec::new();
    for batch in open(object, decoder)?.reader {
        people.extend(decoder.people(&batch?)?);
    }
    Ok(people)
}

/// The same of rows that are not in the lake yet.
pub(in crate::lake) fn cleanse_rows(rows: &Rows, decoder: &mut RecordDecoder) -> Result<Cleansed> {
    let batch = rows.to_table()?;
    let mut added = origins(&batch, None, decoder);
    for (origin, facts) in added.iter_mut().zip(&rows.facts) {
        origin.found_on = facts.found_on;
    }
    decoder.cleanse(&batch, &added)
}

/// The rows of an object, in the decoder's schema.
pub(in crate::lake) fn rows(
    object: Object,
    partition: Partition,
    decoder: &mut RecordDecoder,
) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let Existing { reader, is_current, .. } = open(object, decoder)?;
    let schema = decoder.schema().arrow();
    Ok(reader.map(move |batch| match batch? {
        batch if is_current => Ok(batch.with_schema(Arc::clone(&schema))?),
        batch => Ok(widen(&batch, partition, decoder)?.batch),
    }))
}

/// What an object says of each of its rows.
pub(in crate::lake) fn read_facts(
    object: Object,
    partition: Partition,
    decoder: &mut RecordDecoder,
) -> Result<Vec<RowFacts>> {
    let mut facts = Vec::new();
    for batch in open(object, decoder)?.reader {
        facts.extend(widen(&batch?, partition, decoder)?.facts);
    }
    for row in &mut facts {
        row.day = row.day.or(row.found_on);
    }
    Ok(facts)
}

/// The Arrow schema of an object, and what it says of the table's.
pub(in crate::lake) fn file_schema(object: Object) -> Result<(SchemaRef, Growth)> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(object)?;
    let growth = Growth::said(builder.metadata().file_metadata().key_value_metadata());
    Ok((Arc::clone(builder.schema()), growth))
}

/// The ids that drive a chain, in an object's records, each with what is named of its record.
pub(in crate::lake) fn read_drivers(
    object: Object,
    rule: &Parent,
    fields: &[ParentField],
    decoder: &mut RecordDecoder,
    mut take: impl FnMut(String, Named),
) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(object)?;
    let mask = match rule.id.root() {
        Some(root) => {
            let chosen_by = rule.when.keys().map(String::as_str);
            let named = fields.iter().map(ParentField::root);
            let wanted = chosen_by.chain(named).chain([root, EXTRA_JSON]);
            ProjectionMask::columns(builder.parquet_schema(), wanted)
        }
        None => ProjectionMask::all(),
    };
    for batch in builder.with_projection(mask).build()? {
        for (id, named) in decoder.drivers(&batch?, rule, fields)? {
            take(id, named);
        }
    }
    Ok(())
}
