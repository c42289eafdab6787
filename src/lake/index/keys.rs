//! The key map: it tells which partition each key is in, so that a record that moved is found
//! without reading the whole index. What is known about a key is in its partition's shard.
//!
//! It consists of a base and deltas, each a Parquet file sorted by key hash. For a large file, only
//! the bloom filter and the pages that can contain the requested keys are read, so the cost of a
//! look-up follows the number of requested keys.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema};
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
/// Entries that are encoded at once.
const BATCH_ROWS: usize = 16 * PAGE_ROWS;
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
    entries(store, object)?.collect()
}

/// The entries of a file, by hash, read as they are needed.
fn entries(store: &Store, object: &str) -> Result<impl Iterator<Item = Result<Place>> + use<>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.existing(object)?)?.build()?;
    Ok(reader.flat_map(|batch| match batch.map_err(Error::from).and_then(|it| from_batch(&it)) {
        Ok(places) => places.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }))
}

/// Encodes the entries of a base and its deltas as one file. The base, which may be large, is never
/// in memory as a whole. Returns the file and its number of entries.
pub(in crate::lake) fn fold(
    store: &Store,
    base: Option<&IndexFile>,
    deltas: impl Iterator<Item = Result<Vec<Place>>>,
) -> Result<(Vec<u8>, usize)> {
    let mut changed = HashMap::new();
    for delta in deltas {
        changed.extend(delta?);
    }
    let mut changed: Vec<Place> = changed.into_iter().collect();
    changed.sort_unstable();
    let most = base.map_or(0, |base| base.entries) + changed.len() as u64;
    let base = base.map(|base| entries(store, &base.object)).transpose()?;
    encode(merged(base.into_iter().flatten(), changed), most)
}

/// The entries of both, by hash. For a key in both, the change is the newer entry.
fn merged(
    base: impl Iterator<Item = Result<Place>>,
    changed: Vec<Place>,
) -> impl Iterator<Item = Result<Place>> {
    let (mut base, mut changed) = (base.peekable(), changed.into_iter().peekable());
    std::iter::from_fn(move || {
        let order = match (base.peek(), changed.peek()) {
            (Some(Ok(base)), Some(changed)) => changed.0.cmp(&base.0),
            (None, Some(_)) => Ordering::Less,
            _ => Ordering::Greater,
        };
        if order == Ordering::Equal {
            base.next();
        }
        if order == Ordering::Greater { base.next() } else { changed.next().map(Ok) }
    })
}

/// Encodes the entries as a file.
pub(in crate::lake) fn write(mut places: Vec<Place>) -> Result<Vec<u8>> {
    places.sort_unstable();
    let most = places.len() as u64;
    Ok(encode(places.into_iter().map(Ok), most)?.0)
}

/// Encodes entries that are sorted by hash, at most this many. Returns the file and their number.
fn encode(places: impl Iterator<Item = Result<Place>>, most: u64) -> Result<(Vec<u8>, usize)> {
    let hash = ColumnPath::from("hash");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(None)
        .set_write_batch_size(PAGE_ROWS)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_column_encoding(hash.clone(), Encoding::DELTA_BINARY_PACKED);
    if most > SMALL {
        properties = properties
            .set_column_bloom_filter_fpp(hash.clone(), FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(hash, most);
    }
    let schema = Arc::new(Schema::new(vec![
        Field::new("hash", DataType::Int64, false),
        Field::new("day", DataType::Date32, true),
    ]));
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties.build()))?;
    let (mut places, mut count) = (places.peekable(), 0);
    while places.peek().is_some() {
        let some: Vec<Place> = places.by_ref().take(BATCH_ROWS).collect::<Result<_>>()?;
        let hashes: Int64Array = some.iter().map(|place| place.0).collect::<Vec<_>>().into();
        let days: Date32Array = some.iter().map(|place| place.1).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(hashes), Arc::new(days)];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        count += some.len();
    }
    Ok((writer.into_inner()?, count))
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

    /// P2: the newest entry of each key counts, whichever file it is in.
    #[test]
    fn deltas_override_what_is_before() {
        for count in [0, 1, 3, 40_000] {
            let before: Vec<Place> = (0..count).map(|n| (n * 2, Some(1))).collect();
            let (_folder, store, file) = map(before.clone());
            let older = [(0, Some(8)), (5, Some(8))];
            let newer: Vec<Place> = (0..9).map(|n| (n * 3, None)).collect();
            let deltas = [older.to_vec(), newer.clone()];
            let base = (count > 0).then_some(&file);
            let (bytes, folded) = fold(&store, base, deltas.into_iter().map(Ok)).unwrap();
            let lock = store.lock().unwrap();
            store.overwrite("folded.parquet", &bytes).unwrap();
            drop(lock);
            let read = read_all(&store, "folded.parquet").unwrap();
            let expected: std::collections::BTreeMap<_, _> =
                before.into_iter().chain(older).chain(newer).collect();
            assert_eq!(read, expected.into_iter().collect::<Vec<_>>());
            assert_eq!(read.len(), folded);
        }
    }
}
