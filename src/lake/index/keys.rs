//! The key map: it tells which partition each key is in, so that a record that moved is found
//! without reading the whole index. What is known about a key is in its partition's shard.
//!
//! It consists of a base and deltas, each a Parquet file sorted by key hash. For a large file, only
//! the bloom filter and the pages that can contain the requested keys are read, so the cost of a
//! look-up follows the number of requested keys.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Date32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind, Result};
use crate::lake::store::{Object, Store};
use crate::manifest::IndexFile;

/// Files with no more entries than this are read whole.
const SMALL: u64 = 20_000;
/// Entries per page of a large file, which is the amount read for each key that is looked up.
const PAGE_ROWS: usize = 1024;
/// The rate of absent keys that cause an unnecessary read.
const FALSE_POSITIVES: f64 = 0.01;

/// The hash of a key.
#[must_use]
pub fn key_hash(key: &str) -> i64 {
    xxh3_64(key.as_bytes()).cast_signed()
}

/// Where a key is: the key's hash, and the day that identifies its partition.
pub(in crate::lake) type Place = (i64, Option<i32>);

/// The files of a key map, as far as they have been read.
#[derive(Debug, Default)]
pub(in crate::lake) struct KeyMap(HashMap<String, File>);

/// What has been read of one file.
#[derive(Debug)]
enum File {
    Small(HashMap<i64, Option<i32>>),
    Large { object: Object, metadata: ArrowReaderMetadata, bloom: Box<Option<Sbbf>> },
}

impl KeyMap {
    /// The days of the known keys, by hash. If several files have a key, the last file wins.
    pub(in crate::lake) fn locate(
        &mut self,
        store: &Store,
        files: &[IndexFile],
        mut hashes: Vec<i64>,
    ) -> Result<HashMap<i64, Option<i32>>> {
        let mut found = HashMap::new();
        self.0.retain(|object, _| files.iter().any(|file| file.object == *object));
        for file in files.iter().rev() {
            if hashes.is_empty() {
                break;
            }
            hashes.sort_unstable();
            found.extend(self.open(store, file)?.locate(&hashes)?);
            hashes.retain(|hash| !found.contains_key(hash));
        }
        Ok(found)
    }

    fn open(&mut self, store: &Store, file: &IndexFile) -> Result<&File> {
        if !self.0.contains_key(&file.object) {
            self.0.insert(file.object.clone(), File::open(store, file)?);
        }
        let missing = || Error::new(ErrorKind::Internal, "a file was opened and is not there");
        self.0.get(&file.object).ok_or_else(missing)
    }
}

impl File {
    fn open(store: &Store, file: &IndexFile) -> Result<Self> {
        if file.entries <= SMALL {
            return Ok(Self::Small(read_all(store, &file.object)?.into_iter().collect()));
        }
        let object = store.existing(&file.object)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&object, options)?;
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(object.clone(), metadata.clone());
        let bloom = Box::new(builder.get_row_group_column_bloom_filter(0, 0)?);
        Ok(Self::Large { object, metadata, bloom })
    }

    /// Those of the (sorted) hashes that the file contains.
    fn locate(&self, hashes: &[i64]) -> Result<Vec<Place>> {
        match self {
            Self::Small(days) => {
                Ok(hashes.iter().filter_map(|hash| Some((*hash, *days.get(hash)?))).collect())
            }
            Self::Large { object, metadata, bloom } => {
                let may_be = |hash: &i64| bloom.as_ref().as_ref().is_none_or(|it| it.check(hash));
                let hashes: Vec<i64> = hashes.iter().copied().filter(may_be).collect();
                if hashes.is_empty() {
                    return Ok(Vec::new());
                }
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                    object.clone(),
                    metadata.clone(),
                );
                let builder = match pages(metadata, &hashes) {
                    Some(selection) => builder.with_row_selection(selection),
                    None => builder,
                };
                let mut places = Vec::new();
                for batch in builder.with_batch_size(PAGE_ROWS).build()? {
                    let wanted = |place: &Place| hashes.binary_search(&place.0).is_ok();
                    places.extend(from_batch(&batch?)?.into_iter().filter(wanted));
                }
                Ok(places)
            }
        }
    }
}

/// The rows of the pages that can contain any of the hashes; `None` without a page index.
fn pages(metadata: &ArrowReaderMetadata, hashes: &[i64]) -> Option<RowSelection> {
    let parquet = metadata.metadata();
    let page_index = parquet.page_index()?;
    let ColumnIndexMetaData::INT64(index) = page_index.column_index(0, 0)? else {
        return None;
    };
    let pages = page_index.offset_index(0, 0)?.page_locations();
    let total = usize::try_from(parquet.file_metadata().num_rows()).ok()?;
    let starts = pages.iter().map(|page| usize::try_from(page.first_row_index).unwrap_or(total));
    let starts: Vec<usize> = starts.chain([total]).collect();
    let can_hold = |page: &usize| {
        let least = index.min_values().get(*page).copied().unwrap_or(i64::MIN);
        let most = index.max_values().get(*page).copied().unwrap_or(i64::MAX);
        hashes.get(hashes.partition_point(|hash| *hash < least)).is_some_and(|hash| *hash <= most)
    };
    let ranges = (0..pages.len()).filter(can_hold).map(|page| starts[page]..starts[page + 1]);
    Some(RowSelection::from_consecutive_ranges(ranges, total))
}

/// All entries of a file, by hash.
pub(in crate::lake) fn read_all(store: &Store, object: &str) -> Result<Vec<Place>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.existing(object)?)?.build()?;
    let mut places = Vec::new();
    for batch in reader {
        places.extend(from_batch(&batch?)?);
    }
    Ok(places)
}

/// Merges the entries of a base and its deltas.
pub(in crate::lake) fn fold(
    base: Vec<Place>,
    deltas: impl Iterator<Item = Vec<Place>>,
) -> Vec<Place> {
    let mut changed: HashMap<i64, Option<i32>> = deltas.flatten().collect();
    let kept = |(hash, day)| (hash, changed.remove(&hash).unwrap_or(day));
    let mut places: Vec<Place> = base.into_iter().map(kept).collect();
    places.extend(changed);
    places
}

/// Encodes the entries as a file.
pub(in crate::lake) fn write(mut places: Vec<Place>) -> Result<Vec<u8>> {
    places.sort_unstable();
    let hashes: Int64Array = places.iter().map(|place| place.0).collect::<Vec<_>>().into();
    let days: Date32Array = places.iter().map(|place| place.1).collect();
    let batch = RecordBatch::try_from_iter([
        ("hash", Arc::new(hashes) as Arc<dyn Array>),
        ("day", Arc::new(days)),
    ])?;
    let hash = ColumnPath::from("hash");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(None)
        .set_write_batch_size(PAGE_ROWS)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_column_encoding(hash.clone(), Encoding::DELTA_BINARY_PACKED);
    if places.len() as u64 > SMALL {
        properties = properties
            .set_column_bloom_filter_fpp(hash.clone(), FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(hash, places.len() as u64);
    }
    let properties = properties.build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

fn from_batch(batch: &RecordBatch) -> Result<Vec<Place>> {
    let columns = (batch.column_by_name("hash"), batch.column_by_name("day"));
    let hashes = columns.0.and_then(|it| it.as_primitive_opt::<Int64Type>());
    let days = columns.1.and_then(|it| it.as_primitive_opt::<Date32Type>());
    let Some((hashes, days)) = hashes.zip(days) else {
        return Err(Error::new(ErrorKind::Corrupt, "a key map lacks a column"));
    };
    let day = |row: usize| days.is_valid(row).then(|| days.value(row));
    Ok((0..batch.num_rows()).map(|row| (hashes.value(row), day(row))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(places: Vec<Place>) -> (tempfile::TempDir, Store, IndexFile) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let file = IndexFile { object: "keys.parquet".to_owned(), entries: places.len() as u64 };
        let lock = store.lock().unwrap();
        store.overwrite(&file.object, &write(places).unwrap()).unwrap();
        drop(lock);
        (folder, store, file)
    }

    /// P2: every existing key is found, whatever the size of the file, and no other key is.
    #[test]
    fn a_large_map_answers_like_a_small_one() {
        let place = |n: i32| (key_hash(&n.to_string()), (n % 7 > 0).then_some(n % 700));
        for count in [0, 1, 500, 60_000] {
            let (_folder, store, file) = map((0..count).map(place).collect());
            let wanted = (0..count).step_by(97).chain(count..count + 2_000);
            let hashes = wanted.map(|n| place(n).0).collect();
            let found = KeyMap::default().locate(&store, &[file], hashes).unwrap();
            let expected: HashMap<_, _> = (0..count).step_by(97).map(place).collect();
            assert_eq!(found, expected, "{count}");
        }
    }

    #[test]
    fn deltas_override_what_is_before() {
        let folded =
            fold(vec![(1, Some(1)), (2, Some(2))], [vec![(2, None), (3, Some(3))]].into_iter());
        let folded: HashMap<_, _> = folded.into_iter().collect();
        assert_eq!(folded, HashMap::from([(1, Some(1)), (2, None), (3, Some(3))]));
    }
}
