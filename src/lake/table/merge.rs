//! Merging: combines a partition's existing rows with the new ones into its next version, which is
//! staged. Unchanged row groups are copied. The object is never in memory as a whole, and never has
//! two rows with one key.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Date32Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;

use super::existing::{BATCH_BYTES, Existing};
use super::freeze::{Growth, granularity_said};
use super::groups::{self, Group, Step};
use super::layout::Contents;
use super::object::{self, RowOrder};
use super::writer::ObjectWriter;
use crate::decode::{Cleansed, Origin, RecordDecoder, Rows};
use crate::endpoint::{Endpoint, Parent, ParentField, ParentValues};
use crate::error::Result;
use crate::lake::store::Object;
use crate::manifest::Granularity;
use crate::partition::Partition;
use crate::row::RowFacts;
use crate::schema::{DAY, DELETED_AT, EXPORTED_AT, EXTRA_JSON};
use crate::window::day_of;

const DAY_MICROS: i64 = 86_400_000_000;

/// The rows of one batch that belong to one partition. The batch is shared, not copied.
#[derive(Debug)]
pub(in crate::lake) struct Selection {
    /// In the table's schema, including the columns that this tool adds.
    pub(in crate::lake) batch: RecordBatch,
    /// The rows of the batch that belong here, each with its order in the partition.
    pub(in crate::lake) rows: Vec<(RowOrder, usize)>,
}

/// The next version of one partition.
pub(in crate::lake) struct Merge<'a> {
    pub(in crate::lake) endpoint: &'a Endpoint,
    /// The decoder whose schema all rows are converted to.
    pub(in crate::lake) decoder: &'a mut RecordDecoder,
    /// The partition.
    pub(in crate::lake) partition: Partition,
    /// The day that existing rows get, days since 1970; set for a snapshot that begins as a copy of
    /// an older one.
    pub(in crate::lake) day: Option<i32>,
    /// Whether it holds a month's rows.
    pub(in crate::lake) is_monthly: bool,
    /// The rows to insert, one per key, in the decoder's schema.
    pub(in crate::lake) selections: Vec<Selection>,
    /// The keys to remove, besides those that are inserted.
    pub(in crate::lake) removed: HashSet<Box<str>>,
    /// The keys whose records are gone since an instant, or exist after all (`None`).
    pub(in crate::lake) marked: HashMap<Box<str>, Option<i64>>,
}

impl<'a> Merge<'a> {
    /// Decides which parts of the object are copied and which are encoded.
    pub(in crate::lake) fn plan(
        mut self,
        existing: Option<Existing>,
        schema: &SchemaRef,
    ) -> Result<Planned<'a>> {
        let new = NewRows::of(std::mem::take(&mut self.selections));
        self.removed.extend(new.order.iter().map(|row| Box::from(row.key.as_str())));
        let is_current =
            existing.as_ref().is_some_and(|it| it.schema().fields() == schema.fields());
        let steps = match &existing {
            Some(existing) if self.keeps_rows(schema) && existing.can_be_copied(schema) => {
                self.steps(existing, &new)?
            }
            Some(existing) => {
                let groups = vec![Group::default(); existing.metadata().num_row_groups()];
                groups::plan(&groups, &new.order)
            }
            None => groups::plan(&[], &new.order),
        };
        Ok(Planned { merge: self, existing, is_current, new, steps, day: None })
    }

    /// Whether existing rows that are not removed or marked stay as they are. In a snapshot that
    /// begins as a copy of an older one they get its day, if rows have one.
    fn keeps_rows(&self, schema: &SchemaRef) -> bool {
        self.day.is_none() || schema.index_of(DAY).is_err()
    }

    /// The steps that write the next version of an object whose row groups can be copied.
    fn steps(&self, existing: &Existing, new: &NewRows) -> Result<Vec<Step>> {
        // Most often, a snapshot of today is that of yesterday: its rows need not even be read.
        if new.order.is_empty() && self.removed.is_empty() && self.marked.is_empty() {
            return Ok((0..existing.metadata().num_row_groups()).map(Step::Copy).collect());
        }
        let changes = |key: &str| self.removed.contains(key) || self.marked.contains_key(key);
        Ok(groups::plan(&existing.groups(self.endpoint, changes)?, &new.order))
    }
}

/// The next version of one partition, with a plan for writing it.
pub(in crate::lake) struct Planned<'a> {
    merge: Merge<'a>,
    existing: Option<Existing>,
    /// Whether the object has the table's schema.
    is_current: bool,
    new: NewRows,
    steps: Vec<Step>,
    /// The day of the last written row.
    day: Option<i64>,
}

impl Planned<'_> {
    /// What is known about the rows to encode.
    pub(in crate::lake) fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        let mut rows = vec![0; self.new.batches.len()];
        self.new.places.iter().for_each(|(batch, _)| rows[*batch] += 1);
        for (batch, rows) in self.new.batches.iter().zip(rows) {
            contents.add_batch(batch, rows);
        }
        let encoded = self.steps.iter().filter_map(|step| match step {
            Step::Encode { groups, .. } => Some(groups.clone()),
            Step::Copy(_) => None,
        });
        for number in encoded.flatten() {
            if let Some(existing) = &self.existing {
                contents.add_group(existing.metadata().row_group(number), self.is_current);
            }
        }
        contents
    }

    /// Writes the next version. Returns its number of rows.
    pub(in crate::lake) fn write<W: Write + Send>(
        mut self,
        writer: &mut ObjectWriter<W>,
    ) -> Result<u64> {
        let mut count = 0;
        for step in std::mem::take(&mut self.steps) {
            count += match (step, &self.existing) {
                (Step::Copy(number), Some(existing)) => {
                    let copied = writer.copy(existing.object(), existing.metadata(), number)?;
                    existing.release(number);
                    copied
                }
                (Step::Encode { groups, new }, existing) => {
                    let existing = existing.clone();
                    let batches =
                        existing.into_iter().flat_map(|it| it.last_batches_of(groups.clone()));
                    self.encode(batches, new.end, writer)?
                }
                (Step::Copy(_), None) => 0,
            };
        }
        Ok(count)
    }

    /// Encodes old rows except removed ones, and the new rows before the given position.
    fn encode<W: Write + Send>(
        &mut self,
        old: impl Iterator<Item = Result<RecordBatch>>,
        end: usize,
        writer: &mut ObjectWriter<W>,
    ) -> Result<u64> {
        let mut count = 0;
        for batch in old {
            count += self.write_between(batch?, writer)?;
        }
        while self.new.written < end {
            let places = self.new.next_places(end);
            count += places.len() as u64;
            self.write_places(None, &places, writer)?;
        }
        // What is copied or encoded next follows different rules.
        writer.end_group()?;
        self.day = None;
        Ok(count)
    }

    /// Writes a batch of the old object except removed rows, and the new rows that come before its
    /// last row.
    fn write_between<W: Write + Send>(
        &mut self,
        batch: RecordBatch,
        writer: &mut ObjectWriter<W>,
    ) -> Result<u64> {
        let merge = &mut self.merge;
        let batch = if self.is_current {
            batch
        } else {
            widen(&batch, merge.partition, merge.decoder)?.to_table()?
        };
        let batch = merge.date(batch)?;
        let order = object::order(merge.endpoint, &batch)?;
        let batch = merge.mark(batch, &order)?;
        let mut places: Vec<Place> = Vec::with_capacity(batch.num_rows());
        for (row, at) in order.iter().enumerate() {
            while let Some(place) = self.new.next_before(at) {
                places.push(place);
            }
            if !self.merge.removed.contains(at.key.as_str()) {
                places.push(Place { batch: 0, row, time: at.time });
            }
        }
        self.write_places(Some(&batch), &places, writer)?;
        Ok(places.len() as u64)
    }

    /// Writes rows. In a month's object, a row group ends with a day if it is large enough.
    fn write_places<W: Write + Send>(
        &mut self,
        old: Option<&RecordBatch>,
        places: &[Place],
        writer: &mut ObjectWriter<W>,
    ) -> Result<()> {
        let none = old.is_none().then(|| RecordBatch::new_empty(SchemaRef::clone(writer.schema())));
        let sources: Vec<_> = old.or(none.as_ref()).into_iter().chain(&self.new.batches).collect();
        let row_bytes: Vec<usize> = sources.iter().map(|batch| row_bytes(batch)).collect();
        let rows: Vec<_> = places.iter().map(|place| (place.batch, place.row)).collect();
        let (mut begun, mut bytes) = (0, 0);
        for (at, place) in places.iter().enumerate() {
            let day = self.merge.day_of(place);
            let is_next = self.day.replace(day).is_some_and(|before| before != day);
            if is_next && writer.may_end_with_day(bytes) {
                writer.write(&gathered(&sources, &rows[begun..at])?, bytes)?;
                writer.end_group()?;
                (begun, bytes) = (at, 0);
            }
            bytes += row_bytes[place.batch];
        }
        writer.write(&gathered(&sources, &rows[begun..])?, bytes)
    }
}

/// Rows from several batches; not copied if they are consecutive rows of one batch.
fn gathered(sources: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch> {
    let (batch, first) = rows.first().copied().unwrap_or_default();
    if rows.iter().enumerate().all(|(at, row)| *row == (batch, first + at)) {
        return Ok(sources[batch].slice(first, rows.len()));
    }
    Ok(interleave_record_batch(sources, rows)?)
}

/// The size of a row in memory.
fn row_bytes(batch: &RecordBatch) -> usize {
    batch.get_array_memory_size() / batch.num_rows().max(1)
}

impl Merge<'_> {
    /// The day after which a row group may end; the same for all rows of a day's object.
    fn day_of(&self, row: &Place) -> i64 {
        let is_timed = self.endpoint.time_field().is_some();
        match row.time.filter(|_| self.is_monthly) {
            Some(time) if is_timed => time.div_euclid(DAY_MICROS),
            Some(day) => day,
            None => 0,
        }
    }

    /// The batch with its rows' day set.
    fn date(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let column = batch.schema().index_of(DAY);
        let Some((day, column)) = self.day.zip(column.ok()) else { return Ok(batch) };
        let mut columns = batch.columns().to_vec();
        columns[column] = Arc::new(Date32Array::from(vec![day; batch.num_rows()]));
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }

    /// The batch with the deletion times of the marked rows set.
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

/// The source of a row to write: the old rows, which are batch 0, or the new ones.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: usize,
    row: usize,
    /// The time that it is ordered by.
    time: Option<i64>,
}

/// The rows to insert, in order. They stay in place until they are written.
struct NewRows {
    batches: Vec<RecordBatch>,
    order: Vec<RowOrder>,
    /// The batch and row number of each row.
    places: Vec<(usize, usize)>,
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
        let (order, places) = sorted.into_iter().unzip();
        Self { batches, order, places, written: 0 }
    }

    fn next_before(&mut self, at: &RowOrder) -> Option<Place> {
        (self.order.get(self.written)? < at).then(|| self.next())
    }

    fn next(&mut self) -> Place {
        let (batch, row) = self.places[self.written];
        let time = self.order[self.written].time;
        self.written += 1;
        Place { batch: batch + 1, row, time }
    }

    /// The next rows up to this position, as many as form a batch.
    fn next_places(&mut self, end: usize) -> Vec<Place> {
        let row_bytes: Vec<u64> = self.batches.iter().map(|it| row_bytes(it) as u64).collect();
        let (mut places, mut bytes) = (Vec::new(), 0);
        while self.written < end && bytes < BATCH_BYTES {
            let place = self.next();
            bytes += row_bytes[place.batch - 1];
            places.push(place);
        }
        places
    }
}

/// Decodes existing rows again, into the decoder's schema.
fn widen(batch: &RecordBatch, partition: Partition, decoder: &mut RecordDecoder) -> Result<Rows> {
    let deleted_at = object::instants(batch, DELETED_AT);
    let mut rows = decoder.decode_rows(batch, origins(batch, Some(partition), decoder))?;
    for (facts, deleted_at) in rows.facts.iter_mut().zip(deleted_at) {
        facts.deleted_at = deleted_at;
    }
    Ok(rows)
}

/// Where the rows came from, according to the rows themselves. A record whose own time cannot be
/// read belongs to its partition's day.
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

/// What erasure removes from an object's rows: for each batch, the keys of its rows and the result
/// of clearing them.
pub(in crate::lake) fn cleanse(
    object: Object,
    partition: Partition,
    endpoint: &Endpoint,
    decoder: &mut RecordDecoder,
    mut take: impl FnMut(Vec<String>, Cleansed),
) -> Result<()> {
    for batch in Existing::open(object)?.batches() {
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

/// How an object's own records identify the forgotten people.
pub(in crate::lake) fn people(object: Object, decoder: &mut RecordDecoder) -> Result<Vec<String>> {
    let mut people = Vec::new();
    for batch in Existing::open(object)?.batches() {
        people.extend(decoder.people(&batch?)?);
    }
    Ok(people)
}

/// The same for rows that are not in the lake yet.
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
    let existing = Existing::open(object)?;
    let schema = decoder.schema().arrow();
    let is_current = existing.schema().fields() == schema.fields();
    Ok(existing.batches().map(move |batch| match batch? {
        batch if is_current => Ok(batch.with_schema(Arc::clone(&schema))?),
        batch => Ok(widen(&batch, partition, decoder)?.batch),
    }))
}

/// The facts of each row of an object.
pub(in crate::lake) fn read_facts(
    object: Object,
    partition: Partition,
    decoder: &mut RecordDecoder,
) -> Result<Vec<RowFacts>> {
    let mut facts = Vec::new();
    for batch in Existing::open(object)?.batches() {
        facts.extend(widen(&batch?, partition, decoder)?.facts);
    }
    for row in &mut facts {
        row.day = row.day.or(row.found_on);
    }
    Ok(facts)
}

/// The Arrow schema of an object, and what it records about the table's schema.
pub(in crate::lake) fn file_schema(object: Object) -> Result<(SchemaRef, Growth)> {
    let existing = Existing::open(object)?;
    let growth = Growth::said(existing.metadata().file_metadata().key_value_metadata());
    Ok((SchemaRef::clone(existing.schema()), growth))
}

/// The partition length of the table that an object was written for, if it records that.
pub(in crate::lake) fn granularity_of(object: Object) -> Result<Option<Granularity>> {
    let existing = Existing::open(object)?;
    Ok(granularity_said(existing.metadata().file_metadata().key_value_metadata()))
}

/// The parent keys in an object's records, by which children are requested, each with the fields
/// that requests take from its record.
pub(in crate::lake) fn read_parent_ids(
    object: Object,
    rule: &Parent,
    fields: &[ParentField],
    decoder: &mut RecordDecoder,
    mut take: impl FnMut(String, ParentValues),
) -> Result<()> {
    let existing = Existing::open(object)?;
    let file = existing.metadata().file_metadata().schema_descr();
    let mask = match rule.id.root() {
        Some(root) => {
            let chosen_by = rule.when.keys().map(String::as_str);
            let roots = fields.iter().map(ParentField::root);
            let wanted = chosen_by.chain(roots).chain([root, EXTRA_JSON]);
            ProjectionMask::columns(file, wanted)
        }
        None => ProjectionMask::all(),
    };
    for batch in existing.batches_of(0..existing.metadata().num_row_groups(), mask) {
        for (id, values) in decoder.parent_ids(&batch?, rule, fields)? {
            take(id, values);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::layout::{self, FileSchema, Footer};
    use super::*;
    use crate::decode::Origin;
    use crate::endpoint::Catalogue;

    /// Today's snapshot is a copy of yesterday's: row groups are copied however small they are,
    /// unless their rows have a day, which becomes today.
    #[test]
    fn an_unchanged_snapshot_is_copied() {
        let users = Catalogue::built_in().unwrap().find("users").unwrap().clone();
        let endpoint = Arc::new(users);
        for is_monthly in [false, true] {
            let mut schema = endpoint.schema();
            schema.added.day = is_monthly;
            let schema = Arc::new(schema);
            let mut decoder = RecordDecoder::new(
                Arc::clone(&endpoint),
                Arc::clone(&schema),
                true,
                Arc::default(),
            );
            let body = br#"{"users": [{"id": "u1"}, {"id": "u2"}]}"#;
            let decoded = decoder.decode(body, &Origin::default()).unwrap();
            let schema = FileSchema::of(&schema);
            let footer = Footer { run: "run", is_frozen: true, granularity: Granularity::Day };
            let properties = layout::properties(&endpoint, &schema, footer, &Contents::default());
            let mut bytes = Vec::new();
            let mut writer =
                ObjectWriter::new(&mut bytes, &schema.arrow, properties, None).unwrap();
            writer.write(&decoded.rows.to_table().unwrap(), 0).unwrap();
            writer.close().unwrap();
            let object = Object::of_bytes(Bytes::from(bytes));
            let existing = Existing::open_with_pages(object).unwrap();
            let merge = Merge {
                endpoint: &endpoint,
                decoder: &mut decoder,
                partition: Partition::of(Some(20_757), crate::manifest::Granularity::Day),
                day: Some(20_757),
                is_monthly,
                selections: Vec::new(),
                removed: HashSet::new(),
                marked: HashMap::new(),
            };
            let expected =
                if is_monthly { Step::Encode { groups: 0..1, new: 0..0 } } else { Step::Copy(0) };
            assert_eq!(merge.plan(Some(existing), &schema.arrow).unwrap().steps, [expected]);
        }
    }
}
