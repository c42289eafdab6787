//! The lake as a reader sees it: every Parquet object below a table's folder, back as records.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, SchemaRef, TimestampMicrosecondType,
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clari_lake::internals::lake::{Store, newest_manifest};
use clari_lake::internals::manifest::Manifest;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::json::{merge, normal};

/// A lake in a folder that goes when the test ends.
pub(crate) struct Lake {
    folder: TempDir,
}

/// One row of a table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The partition's value of `dt`.
    pub(crate) dt: String,
    /// The record: columns and `extra_json` merged, in normal form.
    pub(crate) record: Value,
    /// The row's `day`, where the table has one.
    pub(crate) day: Option<String>,
    /// The parent's id, where the table has one.
    pub(crate) parent: Option<String>,
    /// Whether the record is marked as gone.
    pub(crate) deleted: bool,
    /// When this version of it was requested.
    pub(crate) exported_at: DateTime<Utc>,
}

/// The files of a lake as they were, by their path below it.
pub(crate) type Backup = BTreeMap<PathBuf, Version>;

/// One file's bytes and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    bytes: Vec<u8>,
    modified: SystemTime,
}

impl Lake {
    pub(crate) fn new() -> Self {
        // On one disk with the template, whose files are linked and not copied.
        Self { folder: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap() }
    }

    /// A lake in memory, where this machine has a folder for it: nothing waits for a disk.
    pub(crate) fn in_memory() -> Self {
        let folder = TempDir::new_in("/dev/shm");
        folder.map_or_else(|_| Self::new(), |folder| Self { folder })
    }

    /// A lake below this folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: TempDir::new_in(folder).unwrap() }
    }

    /// A lake for as long as the process lives. Nothing removes it then, so those of processes
    /// that ended long ago go now.
    pub(crate) fn lasting() -> Self {
        let is_old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|it| it.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            age.is_some_and(|age| age.as_secs() > 3_600)
        };
        for entry in fs::read_dir(env!("CARGO_TARGET_TMPDIR")).unwrap().flatten() {
            // Another process may be faster; either way it is gone.
            let _ = is_old(&entry.path()).then(|| fs::remove_dir_all(entry.path()));
        }
        Self::new()
    }

    /// Another lake of the same files, inode and time included, each of them free to be replaced.
    pub(crate) fn twin(&self) -> Self {
        let twin = Self::new();
        link(&self.path(), &twin.path());
        // A lock is held by inode, and twins have nothing to do with each other.
        let _ = fs::remove_file(twin.path().join("_manifest/lock"));
        twin
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    pub(crate) fn location(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// The newest manifest of a table.
    pub(crate) fn manifest(&self, table: &str) -> Option<Manifest> {
        newest_manifest(&Store::open(&self.location()).unwrap(), table).unwrap()
    }

    /// Every file below a folder of the lake, whatever it is.
    pub(crate) fn files(&self, below: &str) -> Vec<PathBuf> {
        files_below(&self.path().join(below))
    }

    /// The files below a folder that hold this text anywhere, as bytes or, in Parquet, as a part of
    /// a value; whatever its case.
    pub(crate) fn files_with(&self, below: &str, text: &str) -> Vec<PathBuf> {
        let text = text.to_lowercase();
        let mut files = self.files(below);
        files.retain(|path| {
            let bytes = fs::read(path).unwrap();
            let is_parquet = bytes.starts_with(b"PAR1");
            let raw = String::from_utf8_lossy(&bytes).to_lowercase();
            raw.contains(&text) || (is_parquet && shown(path).to_lowercase().contains(&text))
        });
        files
    }

    /// The objects of a table, by the glob that a query engine would use.
    pub(crate) fn objects(&self, table: &str) -> Vec<PathBuf> {
        let is_object = |path: &PathBuf| path.extension().is_some_and(|it| it == "parquet");
        self.files(table).into_iter().filter(is_object).collect()
    }

    /// The folders of the lake that hold tables.
    pub(crate) fn tables(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path()) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('_')).collect();
        names.sort();
        names
    }

    /// The data objects of all tables, as they are now.
    pub(crate) fn data(&self) -> Backup {
        let tables = self.tables();
        let files = tables.iter().flat_map(|table| self.files(table));
        files.map(|path| self.version(&path)).collect()
    }

    fn version(&self, path: &Path) -> (PathBuf, Version) {
        let below = path.strip_prefix(self.path()).unwrap().to_owned();
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        (below, Version { bytes: fs::read(path).unwrap(), modified })
    }

    /// The schema that all objects of a table share.
    pub(crate) fn schema(&self, table: &str) -> SchemaRef {
        let mut schemas = self.objects(table).into_iter().map(|path| {
            let file = fs::File::open(path).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone()
        });
        let first = schemas.next().unwrap_or_else(|| panic!("{table} has no object"));
        for schema in schemas {
            assert_eq!(schema.fields(), first.fields(), "P6: {table} has one schema");
        }
        first
    }

    /// All rows of a table, in the order of its objects, and in theirs.
    pub(crate) fn rows(&self, table: &str) -> Vec<Row> {
        let Some(manifest) = self.manifest(table) else {
            assert!(self.objects(table).is_empty(), "{table} has objects and no manifest");
            return Vec::new();
        };
        let parent = manifest.schema.added.parent.as_deref();
        let mut rows = Vec::new();
        for path in self.objects(table) {
            let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
            let dt = folder.strip_prefix("dt=").unwrap().to_owned();
            let bytes = Bytes::from(fs::read(&path).unwrap());
            rows.extend(rows_in(bytes, &dt, parent, manifest.schema.added.day));
        }
        rows
    }

    /// The rows of a table whose records are not marked as gone.
    pub(crate) fn live(&self, table: &str) -> Vec<Row> {
        self.rows(table).into_iter().filter(|row| !row.deleted).collect()
    }

    /// The row of the record with this id; there must be one.
    pub(crate) fn row(&self, table: &str, id: &str) -> Row {
        let mut rows = self.rows(table).into_iter().filter(|row| row.record["id"] == id);
        let row = rows.next().unwrap_or_else(|| panic!("{table} has no {id}"));
        assert!(rows.next().is_none(), "P2: {table} has {id} twice");
        row
    }
}

/// The rows of one object: of a partition, of a table with this column for the parent's id, and
/// with a `day` or without.
pub(crate) fn rows_in(bytes: Bytes, dt: &str, parent: Option<&str>, has_day: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        rows.extend((0..batch.num_rows()).map(|row| read(&batch, row, dt, parent, has_day)));
    }
    rows
}

fn read(batch: &RecordBatch, row: usize, dt: &str, parent: Option<&str>, has_day: bool) -> Row {
    let mut columns = Map::new();
    let mut added = Map::new();
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let name = field.name().as_str();
        let is_added = ["extra_json", "exported_at", "deleted_at"].contains(&name)
            || parent == Some(name)
            || (has_day && name == "day");
        let place = if is_added { &mut added } else { &mut columns };
        place.insert(name.to_owned(), value(column, row));
    }
    let exported_at = added["exported_at"].as_str().expect("a row says when it was requested");
    let exported_at = exported_at.parse().unwrap();
    let text = |name: &str| added.get(name).and_then(Value::as_str).map(str::to_owned);
    let extra = text("extra_json").map_or(Value::Null, |it| serde_json::from_str(&it).unwrap());
    Row {
        dt: dt.to_owned(),
        record: normal(merge(Value::Object(columns), extra)),
        day: text("day"),
        parent: parent.and_then(text),
        deleted: text("deleted_at").is_some(),
        exported_at,
    }
}

/// All numbers and texts of a column.
fn texts(column: &dyn Array, text: &mut String) {
    match column.data_type() {
        DataType::List(_) => texts(column.as_list::<i32>().values(), text),
        DataType::Struct(_) => {
            column.as_struct().columns().iter().for_each(|column| texts(column, text));
        }
        DataType::Utf8 | DataType::Int64 | DataType::Float64 => {
            let values = (0..column.len()).map(|row| value(column, row).to_string());
            text.extend(values.map(|value| value + "\n"));
        }
        _ => {}
    }
}

/// All numbers and texts of a Parquet file, be it of the index, line by line.
fn shown(path: &Path) -> String {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut text = String::new();
    for batch in reader.map(Result::unwrap) {
        batch.columns().iter().for_each(|column| texts(column, &mut text));
    }
    text
}

/// One value of a column as JSON.
fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => json!(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Timestamp(_, zone) => {
            assert_eq!(zone.as_deref(), Some("UTC"));
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            json!(DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339())
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row);
            let date = NaiveDate::default() + TimeDelta::days(i64::from(days));
            json!(date.to_string())
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(&items, item)).collect()
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct();
            let members = fields.iter().zip(columns.columns());
            members.map(|(field, member)| (field.name().clone(), value(member, row))).collect()
        }
        other => panic!("no table holds {other}"),
    }
}

/// All files below a folder, sorted.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect();
    files.sort();
    files
}

/// Crashes, acted out: files of a lake are linked aside and put back with inode and time, as if
/// what came later had never been written.
impl Lake {
    /// Links every file aside.
    pub(crate) fn link_aside(&self) -> PathBuf {
        let aside = self.folder.path().join("aside");
        link(&self.path(), &aside);
        aside
    }

    /// Makes a file, or all files of a folder, what it was when it was linked aside.
    pub(crate) fn put_back(&self, aside: &Path, below: &Path) {
        let now = self.path().join(below);
        if now.is_dir() {
            fs::remove_dir_all(&now).unwrap();
        } else if now.exists() {
            fs::remove_file(&now).unwrap();
        }
        let then = aside.join(below);
        if then.is_dir() {
            link(&then, &now);
        } else if then.exists() {
            fs::hard_link(&then, &now).unwrap();
        }
    }
}

/// Links all files below a folder into another.
fn link(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::hard_link(&file, &target).unwrap();
    }
}
