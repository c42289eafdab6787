//! A piece of the index: what the lake knows of one partition's keys, as a Parquet file.
//!
//! Enters: entries. Leaves: bytes, and entries again. Never here: which files are the newest; that
//! is the manifest's.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, FixedSizeBinaryBuilder, Int64Array,
    RecordBatch, StringArray,
};
use arrow::datatypes::{Date32Type, Int64Type};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::layout::FEW;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Attempt, IndexEntry};

/// What is known of some keys.
pub type Entries = HashMap<Box<str>, IndexEntry>;

/// The entries as a Parquet file.
pub(super) fn write(entries: &Entries) -> Result<Vec<u8>> {
    let mut entries: Vec<_> = entries.iter().map(|(key, entry)| (&**key, entry)).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let batch = to_batch(&entries)?;
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
    // A small piece is read whole, and what is not a key in it is hardly worth a compressor.
    let others = if entries.len() > FEW { zstd } else { Compression::UNCOMPRESSED };
    let properties = WriterProperties::builder()
        .set_compression(others)
        .set_column_compression("key".into(), zstd)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// Reads a file that [`write`] made into `entries`, over what they say.
pub(super) fn read(bytes: Vec<u8>, entries: &mut Entries) -> Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))?.build()?;
    for batch in reader {
        from_batch(&batch?, entries)?;
    }
    Ok(())
}

fn to_batch(entries: &[(&str, &IndexEntry)]) -> Result<RecordBatch> {
    let int64 = |of: &dyn Fn(&IndexEntry) -> Option<i64>| -> ArrayRef {
        Arc::new(entries.iter().map(|(_, entry)| of(entry)).collect::<Int64Array>())
    };
    let hash = |of: &dyn Fn(&IndexEntry) -> Option<u128>| -> Result<ArrayRef> {
        let mut builder = FixedSizeBinaryBuilder::with_capacity(entries.len(), 16);
        for (_, entry) in entries {
            match of(entry) {
                Some(hash) => builder.append_value(hash.to_be_bytes())?,
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    };
    let attempt =
        |of: fn(&Attempt) -> i64| int64(&move |entry: &IndexEntry| entry.attempt.as_ref().map(of));
    let in_lake: BooleanArray = entries.iter().map(|(_, entry)| Some(entry.in_lake)).collect();
    let days: Date32Array = entries.iter().map(|(_, entry)| entry.day).collect();
    let status: StringArray = entries.iter().map(|(_, entry)| entry.status.as_deref()).collect();
    let reason: StringArray = entries
        .iter()
        .map(|(_, entry)| entry.attempt.as_ref().and_then(|attempt| attempt.reason.as_deref()))
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("key", Arc::new(entries.iter().map(|(key, _)| Some(*key)).collect::<StringArray>())),
        ("in_lake", Arc::new(in_lake)),
        ("day", Arc::new(days)),
        ("hash", hash(&|entry| Some(entry.hash))?),
        ("fetched_at", int64(&|entry| Some(entry.fetched_at))),
        ("status", Arc::new(status)),
        ("deleted_at", int64(&|entry| entry.deleted_at)),
        ("parent_hash", hash(&|entry| entry.attempt.as_ref().map(|it| it.parent_hash))?),
        ("reason", Arc::new(reason)),
        ("failures", attempt(|it| i64::from(it.failures))),
        ("first_failed_at", attempt(|it| it.first_failed_at)),
        ("next_try_at", attempt(|it| it.next_try_at)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn from_batch(batch: &RecordBatch, entries: &mut Entries) -> Result<()> {
    let column = |name: &str| {
        let missing = || Error::new(ErrorKind::Corrupt, format!("an index file lacks `{name}`"));
        batch.column_by_name(name).ok_or_else(missing)
    };
    let int64 = |name| column(name).map(arrow::array::AsArray::as_primitive::<Int64Type>);
    let keys = column("key")?.as_string::<i32>();
    let in_lake = column("in_lake")?.as_boolean();
    let days = column("day")?.as_primitive::<Date32Type>();
    let hashes = column("hash")?.as_fixed_size_binary();
    let (fetched_at, deleted_at) = (int64("fetched_at")?, int64("deleted_at")?);
    let status = column("status")?.as_string::<i32>();
    let parent_hashes = column("parent_hash")?.as_fixed_size_binary();
    let reasons = column("reason")?.as_string::<i32>();
    let failures = int64("failures")?;
    let (first_failed_at, next_try_at) = (int64("first_failed_at")?, int64("next_try_at")?);
    for row in 0..batch.num_rows() {
        let attempt = parent_hashes.is_valid(row).then(|| Attempt {
            parent_hash: hash_of(parent_hashes.value(row)),
            reason: reasons.is_valid(row).then(|| reasons.value(row).into()),
            failures: u32::try_from(failures.value(row)).unwrap_or(u32::MAX),
            first_failed_at: first_failed_at.value(row),
            next_try_at: next_try_at.value(row),
        });
        let entry = IndexEntry {
            in_lake: in_lake.value(row),
            day: days.is_valid(row).then(|| days.value(row)),
            hash: hash_of(hashes.value(row)),
            fetched_at: fetched_at.value(row),
            status: status.is_valid(row).then(|| status.value(row).into()),
            deleted_at: deleted_at.is_valid(row).then(|| deleted_at.value(row)),
            attempt,
        };
        entries.insert(keys.value(row).into(), entry);
    }
    Ok(())
}

fn hash_of(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_and_later_files_win() {
        let plain = IndexEntry {
            in_lake: true,
            day: Some(20_000),
            hash: u128::MAX - 5,
            ..IndexEntry::default()
        };
        let attempt = Attempt {
            parent_hash: 7,
            reason: Some("404".into()),
            failures: 2,
            first_failed_at: 1,
            next_try_at: 9,
        };
        let pending = IndexEntry {
            attempt: Some(attempt),
            status: Some("PROCESSED".into()),
            deleted_at: Some(4),
            fetched_at: 3,
            ..IndexEntry::default()
        };
        let older = Entries::from([("a".into(), plain.clone()), ("b".into(), plain.clone())]);
        let newer = Entries::from([("b".into(), pending.clone())]);
        let mut entries = Entries::new();
        read(write(&older).unwrap(), &mut entries).unwrap();
        read(write(&newer).unwrap(), &mut entries).unwrap();
        assert_eq!(entries, Entries::from([("a".into(), plain), ("b".into(), pending)]));
    }
}
