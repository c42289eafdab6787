//! Endpoints: one kind of record and how to ask for it, as data.
//!
//! Enters: TOML, built in (`schemas/<name>.toml`) or the user's. Leaves: an [`Endpoint`] that is
//! right by construction. Never here: a request, a record, or a special case for one endpoint.

mod catalogue;
mod overrides;
mod path;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::catalogue::Catalogue;
pub use self::overrides::Overrides;
pub use self::path::{RecordPath, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::IndexEntry;
use crate::place::Mistake;
use crate::schema::{AddedColumns, Column, ColumnType, DAY, Schema};
use crate::span::Span;

/// One kind of record and how to ask for it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its name, which is its table's folder; the file's name, never written in the file.
    #[serde(skip)]
    pub name: String,
    /// What its records are.
    pub description: String,
    /// The path below the base URL; may hold `{parent.id}`.
    pub path: String,
    /// Where the records are in a reply; the first path that exists counts.
    pub records: OneOrMany<RecordPath>,
    /// The fields that together identify a record; `day` for that of a window or run. A bare
    /// value is its own key.
    pub key: Vec<String>,
    /// Whether it is asked for when no `--endpoint` names it.
    #[serde(default = "yes")]
    pub on: bool,
    /// Whether the vendor's published description lacks it: a workspace that answers 403 or 404
    /// just does not have it.
    #[serde(default)]
    pub experimental: bool,
    /// Whether its records can be deleted at the source, which is found out and marked.
    #[serde(default)]
    pub deletes: bool,
    /// How far back its records are listed again, where that is not what the run says.
    #[serde(default)]
    pub lookback: Option<Span>,
    /// Query parameters of every request; values may hold `{parent.id}`.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Query parameters added by `--include-private`.
    #[serde(default)]
    pub private: BTreeMap<String, String>,
    /// What dates a row, hence its partition.
    pub dated: Dated,
    /// How a window of time is asked for.
    #[serde(default)]
    pub window: Option<WindowParameters>,
    /// How changes are asked for.
    #[serde(default)]
    pub modified: Option<ModifiedParameters>,
    /// How a reply goes on.
    #[serde(default)]
    pub paging: Paging,
    /// Whose ids drive it.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// The declared columns.
    #[serde(default, rename = "column")]
    pub columns: Vec<Column>,
}

/// What dates a row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Dated {
    /// The record's own time, in the named field.
    Field {
        /// A top-level timestamp field.
        field: String,
    },
    /// The day of the window it was asked for in; a record keeps the first such day.
    Window,
    /// The day of the run: one snapshot per day of export, replaced whole.
    Run,
}

/// How a window of time is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowParameters {
    /// The query parameter of its begin.
    pub from: String,
    /// The query parameter of its end.
    pub to: String,
    /// How an instant is written.
    #[serde(default)]
    pub format: TimeFormat,
}

/// How an instant is written in a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// `2020-01-01T00:00:00Z`: whole seconds, UTC.
    #[default]
    Instant,
    /// `2020-01-01`: the whole day, named by both parameters.
    Day,
}

/// How changes are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifiedParameters {
    /// The query parameter: modified after.
    pub from: String,
    /// The record's field that it looks at.
    pub field: String,
}

/// How a reply goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "style", rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// The reply is whole. One that looks paged after all is asked once more with these.
    #[default]
    Whole,
    /// A number of records to skip, and how many to send.
    SkipLimit(SkipLimit),
}

/// The parameters and caps of skip and limit paging.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipLimit {
    /// The query parameter of the number of records to skip.
    #[serde(default = "skip_name")]
    pub skip: String,
    /// The query parameter of the page size.
    #[serde(default = "limit_name")]
    pub limit: String,
    /// The page size to ask for.
    #[serde(default = "hundred")]
    pub page_size: u32,
    /// `skip + limit` never passes this.
    #[serde(default = "ten_thousand")]
    pub reach: u32,
    /// The query that sorts by the date field, oldest first.
    #[serde(default)]
    pub oldest_first: BTreeMap<String, String>,
    /// The query that sorts by the date field, newest first.
    #[serde(default)]
    pub newest_first: BTreeMap<String, String>,
    /// The query that makes a reply say how many records a window holds.
    #[serde(default)]
    pub count: BTreeMap<String, String>,
    /// Where that number stands.
    #[serde(default)]
    pub matched: Option<RecordPath>,
}

impl Default for SkipLimit {
    fn default() -> Self {
        Self {
            skip: skip_name(),
            limit: limit_name(),
            page_size: hundred(),
            reach: ten_thousand(),
            oldest_first: BTreeMap::new(),
            newest_first: BTreeMap::new(),
            count: BTreeMap::new(),
            matched: None,
        }
    }
}

/// Whose ids drive a chained endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The parent endpoint.
    pub endpoint: String,
    /// Where the ids are in the parent's record, such as `$.crm_info.contact_ids[*]`.
    pub id: RecordPath,
    /// The column of this table that carries the parent's id.
    #[serde(default)]
    pub column: Option<String>,
    /// Only parents whose fields have one of these values are asked for.
    #[serde(default)]
    pub when: BTreeMap<String, Vec<String>>,
    /// A list field of the reply that may still be empty for a while after the parent is ready.
    #[serde(default)]
    pub settled_by: Option<String>,
}

impl Parent {
    /// Whether this parent's record is to be asked for.
    #[must_use]
    pub fn selects(&self, entry: &IndexEntry) -> bool {
        let status = entry.status.as_deref();
        let allowed = self
            .when
            .values()
            .all(|values| status.is_some_and(|status| values.iter().any(|value| value == status)));
        entry.in_lake && entry.deleted_at.is_none() && allowed
    }
}

/// One text, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Alternatives, the likeliest first.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them, the likeliest first.
    #[must_use]
    pub fn all(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Reads one text or a list, and tells a wrong one in its own words, which serde's untagged enums
/// do not.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(text.into_deserializer()).map(OneOrMany::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(OneOrMany::Many)
    }
}

impl Endpoint {
    /// Reads an endpoint file.
    ///
    /// # Errors
    /// `Config`, naming the line and column, when the text is no endpoint.
    pub fn from_toml(name: &str, text: &str) -> Result<Self> {
        let wrong = |message: String| {
            Error::new(ErrorKind::Config, message).with_context(format!("endpoint {name}"))
        };
        let mut endpoint: Self =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        name.clone_into(&mut endpoint.name);
        endpoint.check().map_err(|mistake| wrong(mistake.shown_in(text)))?;
        // A key must never be null, even where an id comes as a number.
        let is_key = |column: &&mut Column| endpoint.key.contains(&column.name);
        endpoint.columns.iter_mut().filter(is_key).for_each(|column| column.convert = true);
        Ok(endpoint)
    }

    /// The schema before anything was inferred.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema {
            columns: self.columns.clone(),
            added: AddedColumns {
                parent: self.parent.as_ref().and_then(|parent| parent.column.clone()),
                day: !matches!(self.dated, Dated::Field { .. }),
                deleted_at: self.deletes,
            },
        }
    }

    /// The record's own date field, if it has one.
    #[must_use]
    pub fn time_field(&self) -> Option<&str> {
        match &self.dated {
            Dated::Field { field } => Some(field),
            Dated::Window | Dated::Run => None,
        }
    }

    /// Whether `name` is the day that dates rows without a date of their own.
    #[must_use]
    pub fn is_day(&self, name: &str) -> bool {
        name == DAY && self.time_field().is_none()
    }

    /// The columns of a row's key: the parent's, then the record's own.
    pub fn key_columns(&self) -> impl Iterator<Item = &str> {
        let parent = self.parent.as_ref().and_then(|parent| parent.column.as_deref());
        parent.into_iter().chain(self.key.iter().map(String::as_str))
    }

    /// What no type rules out.
    fn check(&self) -> Result<(), Mistake> {
        if self.key.is_empty() {
            return Err(Mistake::at(["key"], "`key` needs at least one field"));
        }
        for key in self.key.iter().filter(|key| !self.is_day(key)) {
            let is_text =
                |column: &Column| column.name == *key && column.column_type == ColumnType::String;
            if !self.columns.iter().any(is_text) {
                let message = format!("key `{key}` needs a [[column]] of type string");
                return Err(Mistake::at(["key"], message));
            }
        }
        if let Some(field) = self.time_field() {
            let is_time = |column: &Column| {
                column.name == field && column.column_type == ColumnType::Timestamp
            };
            if !self.columns.iter().any(is_time) {
                let message = format!("date field `{field}` needs a [[column]] of type timestamp");
                return Err(Mistake::at(["dated", "field"], message));
            }
        }
        if self.dated == Dated::Window && self.window.is_none() {
            return Err(Mistake::at(["dated"], "rows dated by window need a [window]"));
        }
        if let Paging::SkipLimit(SkipLimit { page_size, reach, .. }) = &self.paging
            && (*page_size == 0 || page_size > reach)
        {
            let message = format!("a page has at least 1 record and at most {reach}, the reach");
            return Err(Mistake::at(["paging", "page_size"], message));
        }
        check_names(&self.columns, &["column".to_owned()])
    }
}

/// No two names that differ only in case, at any depth: engines that fold case would mix them up.
fn check_names(columns: &[Column], path: &[String]) -> Result<(), Mistake> {
    for (at, column) in columns.iter().enumerate() {
        let place = |name: &str| [path, &[at.to_string(), name.to_owned()]].concat();
        let twin = columns[..at].iter().find(|other| other.name.eq_ignore_ascii_case(&column.name));
        if let Some(twin) = twin {
            let message = format!("columns `{}` and `{}` collide", twin.name, column.name);
            return Err(Mistake { path: place("name"), message });
        }
        let mut inner = &column.column_type;
        while let ColumnType::List(element) = inner {
            inner = element;
        }
        if let ColumnType::Struct(fields) = inner {
            check_names(fields, &place("fields"))?;
        }
    }
    Ok(())
}

fn yes() -> bool {
    true
}

fn skip_name() -> String {
    "skip".to_owned()
}

fn limit_name() -> String {
    "limit".to_owned()
}

fn hundred() -> u32 {
    100
}

fn ten_thousand() -> u32 {
    10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named_with_its_line_and_column() {
        let error = Endpoint::from_toml("x", "description = \"d\"\npaths = \"/x\"").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2, column 1") && text.contains("paths"), "{text}");
    }
}
