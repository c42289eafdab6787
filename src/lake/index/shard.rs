//! An index shard: what the lake knows about one partition's keys, as a Parquet file.

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

use crate::commit_plan::Entries;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Attempt, IndexEntry, ParentVersion};

/// The column name of a selector is this prefix followed by the field.
const SELECTOR: &str = "when.";
/// The columns that have a value for each entry.
const ALWAYS: [&str; 4] = ["key", "in_lake", "hash", "fetched_at"];
/// With so few entries, only the keys are worth compressing.
const FEW: usize = 1024;
/// Room for more entries than this is made as they come: a damaged file may announce any number.
const MOST_EXPECTED: usize = 1_000_000;

/// How many entries are encoded at once: each is read once for each column, and so few stay in the
/// processor's cache meanwhile.
const BATCH_ENTRIES: usize = 2048;

/// Encodes the entries as a Parquet file; `selectors` names the fields to keep.
pub(in crate::lake) fn write(entries: &Entries, selectors: &[String]) -> Result<Vec<u8>> {
    let mut entries: Vec<_> = entries.iter().map(|(key, entry)| (&**key, entry)).collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let schema = to_batch(&[], selectors)?.schema();
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
    // A small shard is read whole, and except for its keys it is hardly worth compressing.
    let others = if entries.len() > FEW { zstd } else { Compression::UNCOMPRESSED };
    let properties = WriterProperties::builder()
        .set_compression(others)
        .set_column_compression("key".into(), zstd)
        // A hash cannot be compressed.
        .set_column_compression("hash".into(), Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    for entries in entries.chunks(BATCH_ENTRIES) {
        writer.write(&to_batch(entries, selectors)?)?;
    }
    Ok(writer.into_inner()?)
}

/// Reads a file written by [`write`], in this format or an older one, and merges it over `entries`.
/// Selectors that the file lacks are read as `None`.
pub(in crate::lake) fn read(
    bytes: Vec<u8>,
    selectors: &[String],
    entries: &mut Entries,
) -> Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))?;
    let rows = reader.metadata().file_metadata().num_rows();
    entries.reserve(usize::try_from(rows).unwrap_or_default().min(MOST_EXPECTED));
    for batch in reader.build()? {
        from_batch(&batch?, selectors, entries)?;
    }
    Ok(())
}

fn to_batch(entries: &[(&str, &IndexEntry)], selectors: &[String]) -> Result<RecordBatch> {
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
    let parent: StringArray = entries.iter().map(|(_, entry)| entry.parent.as_deref()).collect();
    let reason: StringArray = entries
        .iter()
        .map(|(_, entry)| entry.attempt.as_ref().and_then(|attempt| attempt.reason.as_deref()))
        .collect();
    let refetch: BooleanArray = entries
        .iter()
        .map(|(_, entry)| entry.attempt.as_ref().map(|it| it.parent == ParentVersion::Refetch))
        .collect();
    let content = |entry: &IndexEntry| match entry.attempt.as_ref()?.parent {
        ParentVersion::Content(hash) => Some(hash),
        ParentVersion::Unknown | ParentVersion::Refetch => None,
    };
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (at, field) in selectors.iter().enumerate() {
        let value = |entry: &&(&str, &IndexEntry)| entry.1.selectors.get(at)?.clone();
        let values: StringArray = entries.iter().map(|entry| value(&entry)).collect();
        columns.push((format!("{SELECTOR}{field}"), Arc::new(values)));
    }
    let fixed: Vec<(&str, ArrayRef)> = vec![
        ("key", Arc::new(entries.iter().map(|(key, _)| Some(*key)).collect::<StringArray>())),
        ("in_lake", Arc::new(in_lake)),
        ("day", Arc::new(days)),
        ("time", int64(&|entry| entry.time)),
        ("hash", hash(&|entry| Some(entry.hash))?),
        ("fetched_at", int64(&|entry| Some(entry.fetched_at))),
        ("parent", Arc::new(parent)),
        ("deleted_at", int64(&|entry| entry.deleted_at)),
        ("refetch", Arc::new(refetch)),
        ("parent_hash", hash(&content)?),
        ("reason", Arc::new(reason)),
        ("failures", attempt(|it| i64::from(it.failures))),
        ("first_failed_at", attempt(|it| it.first_failed_at)),
        ("next_try_at", attempt(|it| it.next_try_at)),
    ];
    columns.extend(fixed.into_iter().map(|(name, column)| (name.to_owned(), column)));
    let columns = columns.into_iter().map(|(name, column)| {
        let is_optional = !ALWAYS.contains(&name.as_str());
        (name, column, is_optional)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn from_batch(batch: &RecordBatch, selectors: &[String], entries: &mut Entries) -> Result<()> {
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
    let text = |name: &str| batch.column_by_name(name).and_then(|it| it.as_string_opt::<i32>());
    let text_at = |column: Option<&StringArray>, row: usize| {
        column.filter(|it| it.is_valid(row)).map(|it| Box::from(it.value(row)))
    };
    let selected: Vec<_> =
        selectors.iter().map(|field| text(&format!("{SELECTOR}{field}"))).collect();
    let parents = text("parent");
    let times = batch.column_by_name("time").and_then(|it| it.as_primitive_opt::<Int64Type>());
    let refetch = batch.column_by_name("refetch").and_then(|it| it.as_boolean_opt());
    let parent_hashes = column("parent_hash")?.as_fixed_size_binary();
    let reasons = column("reason")?.as_string::<i32>();
    let failures = int64("failures")?;
    let (first_failed_at, next_try_at) = (int64("first_failed_at")?, int64("next_try_at")?);
    for row in 0..batch.num_rows() {
        let content = parent_hashes.is_valid(row).then(|| hash_of(parent_hashes.value(row)));
        let attempt = failures.is_valid(row).then(|| Attempt {
            parent: match (refetch, content) {
                (Some(refetch), None) if refetch.value(row) => ParentVersion::Refetch,
                (Some(_), Some(hash)) => ParentVersion::Content(hash),
                (None, Some(hash)) => parent_of_format_3(hash),
                (_, None) => ParentVersion::Unknown,
            },
            reason: reasons.is_valid(row).then(|| reasons.value(row).into()),
            failures: u32::try_from(failures.value(row)).unwrap_or(u32::MAX),
            first_failed_at: first_failed_at.value(row),
            next_try_at: next_try_at.value(row),
        });
        let entry = IndexEntry {
            in_lake: in_lake.value(row),
            day: days.is_valid(row).then(|| days.value(row)),
            time: times.filter(|it| it.is_valid(row)).map(|it| it.value(row)),
            hash: hash_of(hashes.value(row)),
            fetched_at: fetched_at.value(row),
            selectors: selected.iter().map(|column| text_at(*column, row)).collect(),
            parent: text_at(parents, row),
            deleted_at: deleted_at.is_valid(row).then(|| deleted_at.value(row)),
            attempt,
        };
        entries.insert(keys.value(row).into(), entry);
    }
    Ok(())
}

/// Up to format 3, two reserved hashes meant "no version".
fn parent_of_format_3(hash: u128) -> ParentVersion {
    match hash {
        0 => ParentVersion::Unknown,
        1 => ParentVersion::Refetch,
        hash => ParentVersion::Content(hash),
    }
}

fn hash_of(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_and_later_files_win() {
        let selectors = ["status".to_owned(), "type".to_owned()];
        let plain = IndexEntry {
            in_lake: true,
            day: Some(20_000),
            time: Some(5),
            hash: u128::MAX - 5,
            selectors: Box::new([Some("DONE".into()), None]),
            ..IndexEntry::default()
        };
        let attempt = |parent| Attempt {
            parent,
            reason: Some("404".into()),
            failures: 2,
            first_failed_at: 1,
            next_try_at: 9,
        };
        let pending = |parent| IndexEntry {
            attempt: Some(attempt(parent)),
            selectors: Box::new([None, Some("ZOOM".into())]),
            parent: Some("p".into()),
            deleted_at: Some(4),
            fetched_at: 3,
            ..IndexEntry::default()
        };
        let older = Entries::from([("a".into(), plain.clone()), ("b".into(), plain.clone())]);
        let newer = Entries::from([
            ("b".into(), pending(ParentVersion::Content(0))),
            ("c".into(), pending(ParentVersion::Refetch)),
            ("d".into(), pending(ParentVersion::Unknown)),
        ]);
        let mut entries = Entries::new();
        for file in [&older, &newer] {
            read(write(file, &selectors).unwrap(), &selectors, &mut entries).unwrap();
        }
        assert_eq!(entries.remove("a"), Some(plain));
        assert_eq!(entries, newer);
    }
}
