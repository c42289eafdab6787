//! Columns and their types: declared by an endpoint, inferred from its data, written to Parquet.
//!
//! Builds a [`Schema`] and its Arrow form from type names as spelled in endpoint files and
//! manifests.
//!
//! All files of a table have one schema, so the types are few and every engine reads them the same
//! way: no Arrow `Null`, no empty struct, list items called `element`, instants in microseconds
//! `UTC`.

mod diff;
mod promote;
mod union;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

pub use self::diff::Difference;
pub use self::promote::is_plain_name;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// A whole number in 64 bits.
    Int64,
    /// An IEEE 754 double.
    Double,
    /// Text.
    String,
    /// An instant: microseconds since 1970, UTC.
    Timestamp(Written),
    /// Items of one type.
    List(Box<ColumnType>),
    /// Named fields, never none.
    Struct(Vec<Column>),
}

/// How the API writes the instants of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// As ISO 8601. Equal instants are equal, however they are spelled.
    Iso,
    /// As a text that `evolve` promoted. Its spelling is kept in `extra_json`, unless the instant
    /// formats back to it.
    Spelled,
    /// As seconds since 1970.
    EpochSeconds,
    /// As milliseconds since 1970.
    EpochMillis,
    /// As microseconds since 1970.
    EpochMicros,
}

impl Written {
    /// How many microseconds one counted unit has, if instants are counted.
    #[must_use]
    pub fn unit(self) -> Option<i64> {
        match self {
            Self::Iso | Self::Spelled => None,
            Self::EpochSeconds => Some(1_000_000),
            Self::EpochMillis => Some(1_000),
            Self::EpochMicros => Some(1),
        }
    }

    /// The type name for instants written this way.
    fn type_name(self) -> &'static str {
        match self {
            Self::Iso => "timestamp",
            Self::Spelled => "spelled_timestamp",
            Self::EpochSeconds => "epoch_seconds",
            Self::EpochMillis => "epoch_millis",
            Self::EpochMicros => "epoch_micros",
        }
    }
}

/// A named, nullable column or field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ColumnText", into = "ColumnText")]
pub struct Column {
    /// The API's own name.
    pub name: String,
    /// What it holds.
    pub column_type: ColumnType,
    /// Its description, if there is one.
    pub description: Option<String>,
    /// Whether a scalar of another type is also shown in this column if that is lossless; the
    /// original is kept in `extra_json`.
    pub convert: bool,
    /// Whether URLs in it never reach the lake (they are signed).
    pub never_stored: bool,
}

impl Column {
    /// A column without description that accepts only its own type.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            name: name.into(),
            column_type,
            description: None,
            convert: false,
            never_stored: false,
        }
    }

    /// Its Arrow field; always nullable.
    #[must_use]
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.column_type.data_type(), true)
    }
}

impl ColumnType {
    /// Its Arrow type.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int64 => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::String => DataType::Utf8,
            Self::Timestamp(_) => timestamp(),
            Self::List(element) => DataType::List(element_field(element)),
            Self::Struct(fields) => DataType::Struct(fields_of(fields)),
        }
    }
}

/// The Arrow type of all instants in the lake.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow field of a list's items.
#[must_use]
pub fn element_field(element: &ColumnType) -> FieldRef {
    Arc::new(Field::new("element", element.data_type(), true))
}

/// The Arrow fields of a struct.
#[must_use]
pub fn fields_of(columns: &[Column]) -> Fields {
    columns.iter().map(Column::field).collect()
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int64 => f.write_str("int64"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            // Promoted timestamps look like any other timestamp to users.
            Self::Timestamp(Written::Spelled) => f.write_str(Written::Iso.type_name()),
            Self::Timestamp(written) => f.write_str(written.type_name()),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, field) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", field.name, field.column_type)?;
                }
                f.write_str(">")
            }
        }
    }
}

/// The name of the column that holds what fits no other column.
pub const EXTRA_JSON: &str = "extra_json";
/// The name of the column for when a row's version was fetched.
pub const EXPORTED_AT: &str = "exported_at";
/// The name of the column for when a record was found gone.
pub const DELETED_AT: &str = "deleted_at";
/// The name of the column that dates rows whose own record has no date.
pub const DAY: &str = "day";

/// The name of the column that identifies rows whose records have no key.
pub const CONTENT_KEY: &str = "content_key";

/// The columns that this tool adds to the records' own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedColumns {
    /// The column that carries the parent's key, in child tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether rows are identified by their content, so that they carry `content_key`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub content_key: bool,
    /// Whether rows are dated by window or run, so that they carry `day`.
    #[serde(default)]
    pub day: bool,
    /// Whether records can vanish, so that rows carry `deleted_at`.
    #[serde(default)]
    pub deleted_at: bool,
}

/// The one schema of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The records' own columns: declared ones first, then inferred ones.
    pub columns: Vec<Column>,
    /// What this tool adds.
    pub added: AddedColumns,
}

impl Schema {
    /// The Arrow schema of every file of the table.
    #[must_use]
    pub fn arrow(&self) -> SchemaRef {
        let parent = self.added.parent.iter().map(|name| Field::new(name, DataType::Utf8, true));
        let key = self.added.content_key.then(|| Field::new(CONTENT_KEY, DataType::Utf8, true));
        let columns = self.columns.iter().map(Column::field);
        let mut fields: Vec<Field> = parent.chain(key).chain(columns).collect();
        if self.added.day {
            fields.push(Field::new(DAY, DataType::Date32, true));
        }
        fields.push(Field::new(EXTRA_JSON, DataType::Utf8, true));
        fields.push(Field::new(EXPORTED_AT, timestamp(), true));
        if self.added.deleted_at {
            fields.push(Field::new(DELETED_AT, timestamp(), true));
        }
        Arc::new(arrow::datatypes::Schema::new(fields))
    }

    /// The same schema with the record columns of one of the table's files: declared ones as
    /// declared where the types agree, others by their type alone. `None` when the file has a type
    /// that this tool never writes.
    #[must_use]
    pub fn of_file(&self, file: &arrow::datatypes::Schema) -> Option<Self> {
        let records = file.fields().iter().filter(|field| !self.reserves(field.name()));
        let column = |field: &FieldRef| {
            let declared = self.columns.iter().find(|it| it.field() == **field);
            declared.cloned().or_else(|| column_of(field, self.columns.iter()))
        };
        let columns = records.map(column).collect::<Option<Vec<_>>>()?;
        Some(Self { columns, added: self.added.clone() })
    }

    /// Sixteen hexadecimal digits that change with any name or type.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.arrow())
    }

    /// Whether a column with this name is added by this tool rather than part of the record.
    #[must_use]
    pub fn reserves(&self, name: &str) -> bool {
        self.reserved().any(|ours| ours == name)
    }

    /// Whether an engine that folds case would confuse a column of this name with one of this
    /// tool's.
    #[must_use]
    pub fn collides(&self, name: &str) -> bool {
        self.reserved().any(|ours| ours.eq_ignore_ascii_case(name))
    }

    fn reserved(&self) -> impl Iterator<Item = &str> {
        let AddedColumns { parent, content_key, day, .. } = &self.added;
        let added = [day.then_some(DAY), content_key.then_some(CONTENT_KEY), parent.as_deref()];
        let added = added.into_iter().flatten();
        [EXTRA_JSON, EXPORTED_AT, DELETED_AT, "dt"].into_iter().chain(added)
    }
}

/// Sixteen hexadecimal digits that change with any name or type of a file's columns.
#[must_use]
pub fn fingerprint(file: &arrow::datatypes::Schema) -> String {
    let mut text = String::new();
    for field in file.fields() {
        text.push_str(&format!("{}:{}\n", field.name(), field.data_type()));
    }
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// The column for a file's field; declarations of it, or of its fields, are kept.
fn column_of<'c>(field: &Field, declared: impl Iterator<Item = &'c Column>) -> Option<Column> {
    let mut declared = declared.filter(|it| it.name == *field.name());
    let declared = declared.next();
    let column_type = type_of(field.data_type(), declared.map(|it| &it.column_type))?;
    Some(match declared {
        Some(declared) => Column { column_type, ..declared.clone() },
        None => Column::new(field.name(), column_type),
    })
}

fn type_of(data_type: &DataType, declared: Option<&ColumnType>) -> Option<ColumnType> {
    Some(match (data_type, declared) {
        (DataType::Boolean, _) => ColumnType::Boolean,
        (DataType::Int64, _) => ColumnType::Int64,
        (DataType::Float64, _) => ColumnType::Double,
        (DataType::Utf8, _) => ColumnType::String,
        (DataType::Timestamp(..), Some(ColumnType::Timestamp(written))) => {
            ColumnType::Timestamp(*written)
        }
        (DataType::Timestamp(..), _) => ColumnType::Timestamp(Written::Iso),
        (DataType::List(element), declared) => {
            let declared = match declared {
                Some(ColumnType::List(declared)) => Some(declared.as_ref()),
                _ => None,
            };
            ColumnType::List(Box::new(type_of(element.data_type(), declared)?))
        }
        (DataType::Struct(fields), declared) => {
            let declared: &[Column] = match declared {
                Some(ColumnType::Struct(declared)) => declared,
                _ => &[],
            };
            let fields = fields.iter().map(|field| column_of(field, declared.iter()));
            ColumnType::Struct(fields.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// A column as spelled in endpoint files and manifests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnText {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    convert: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    never_stored: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Column>,
}

impl TryFrom<ColumnText> for Column {
    type Error = String;

    fn try_from(text: ColumnText) -> Result<Self, String> {
        let column_type = parse_type(&text.type_name, &text.fields)
            .map_err(|error| format!("column `{}`: {error}", text.name))?;
        Ok(Self {
            name: text.name,
            column_type,
            description: text.description,
            convert: text.convert,
            never_stored: text.never_stored,
        })
    }
}

impl From<Column> for ColumnText {
    fn from(column: Column) -> Self {
        let (type_name, fields) = spell_type(column.column_type);
        Self {
            name: column.name,
            type_name,
            description: column.description,
            convert: column.convert,
            never_stored: column.never_stored,
            fields,
        }
    }
}

fn parse_type(name: &str, fields: &[Column]) -> Result<ColumnType, String> {
    let name = if name == "epoch_milliseconds" { "epoch_millis" } else { name };
    if let Some(element) = name.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
        return Ok(ColumnType::List(Box::new(parse_type(element, fields)?)));
    }
    if name == "struct" && fields.is_empty() {
        return Err("a struct needs `fields`".to_owned());
    }
    if name != "struct" && !fields.is_empty() {
        return Err(format!("`fields` belong to a struct, not to `{name}`"));
    }
    Ok(match name {
        "boolean" => ColumnType::Boolean,
        "int64" => ColumnType::Int64,
        "double" => ColumnType::Double,
        "string" => ColumnType::String,
        "struct" => ColumnType::Struct(fields.to_vec()),
        _ => {
            use Written::{EpochMicros, EpochMillis, EpochSeconds, Iso, Spelled};
            let all = [Iso, Spelled, EpochSeconds, EpochMillis, EpochMicros];
            let written = all.into_iter().find(|written| written.type_name() == name);
            ColumnType::Timestamp(written.ok_or_else(|| {
                format!(
                    "unknown type `{name}`: use boolean, int64, double, string, timestamp, \
                     epoch_seconds, epoch_millis, epoch_micros, struct or list<…>"
                )
            })?)
        }
    })
}

fn spell_type(column_type: ColumnType) -> (String, Vec<Column>) {
    match column_type {
        ColumnType::List(element) => {
            let (name, fields) = spell_type(*element);
            (format!("list<{name}>"), fields)
        }
        ColumnType::Struct(fields) => ("struct".to_owned(), fields),
        ColumnType::Timestamp(written) => (written.type_name().to_owned(), Vec::new()),
        scalar => (scalar.to_string(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_gives_back_the_schema_it_was_given() {
        let inner = Column::new("n", ColumnType::List(Box::new(ColumnType::Int64)));
        let list = ColumnType::List(Box::new(ColumnType::Struct(vec![inner])));
        let schema = Schema {
            columns: vec![
                Column::new("a", list),
                Column::new("t", ColumnType::Timestamp(Written::Iso)),
            ],
            added: AddedColumns { day: true, ..AddedColumns::default() },
        };
        let text = serde_json::to_string(&schema).unwrap();
        let read: Schema = serde_json::from_str(&text).unwrap();
        assert_eq!(read, schema);
        assert_eq!(read.fingerprint(), schema.fingerprint());
    }

    /// P13: a lake whose manifests are lost can still tell what its columns are.
    #[test]
    fn a_file_says_its_schema() {
        let mut convert = Column::new("id", ColumnType::String);
        convert.convert = true;
        let inner = vec![convert.clone(), Column::new("new", ColumnType::Double)];
        let columns = vec![
            convert.clone(),
            Column::new("list", ColumnType::List(Box::new(ColumnType::Struct(inner)))),
            Column::new("at", ColumnType::Timestamp(Written::Iso)),
        ];
        let written =
            Schema { columns, added: AddedColumns { day: true, ..AddedColumns::default() } };
        let declared = Schema { columns: vec![convert.clone()], ..written.clone() };
        let read = declared.of_file(&written.arrow()).unwrap();
        assert_eq!(read.fingerprint(), written.fingerprint());
        assert!(read.columns[0].convert);
    }

    #[test]
    fn a_type_that_does_not_exist_is_named() {
        let error = serde_json::from_str::<Column>(r#"{"name":"x","type":"int32"}"#).unwrap_err();
        assert!(error.to_string().contains("column `x`: unknown type `int32`"), "{error}");
    }
}
