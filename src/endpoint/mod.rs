//! Endpoints: one kind of record and how to ask for it, as data.
//!
//! Enters: TOML, built in (`schemas/<name>.toml`) or the user's. Leaves: an [`Endpoint`] that is
//! right by construction. Never here: a request, a record, or a special case for one endpoint.

mod catalogue;
mod check;
mod date_format;
mod driver;
mod headers;
mod name;
mod one_or_many;
mod overrides;
mod paging;
mod path;
mod rules;
mod template;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

pub use self::catalogue::Catalogue;
pub use self::date_format::DateFormat;
pub use self::driver::{Driver, Named, ParentField, is_same_id};
pub use self::headers::{HeaderText, Headers, names_secret};
pub use self::name::{check_name, plain_name};
pub use self::one_or_many::OneOrMany;
pub use self::overrides::Overrides;
pub use self::paging::{Cursor, NextLink, PageNumber, Paging, SkipLimit};
pub use self::path::{RecordPath, Step};
pub use self::rules::{ColumnRules, Rule, RuleNode};
pub use self::template::{Piece, Template, Values};
pub use self::time::{Dated, Ends, ModifiedParameters, WindowParameters};
use crate::calendar::TimeUnit;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::IndexEntry;
use crate::row::KEY_SEPARATOR;
use crate::schema::{AddedColumns, CONTENT_KEY, Column, DAY, Schema};
use crate::span::Span;

/// One kind of record and how to ask for it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "keys of a file are bools")]
pub struct Endpoint {
    /// Its name, which is its table's folder; the file's name, never written in the file.
    #[serde(skip)]
    pub name: String,
    /// The text of its file, for the places of mistakes that only the catalogue shows.
    #[serde(skip)]
    pub source: Arc<str>,
    /// Whether it is one of those that this program brings.
    #[serde(skip)]
    pub built_in: bool,
    /// What its records are.
    pub description: String,
    /// The path below the base URL; may hold macros.
    pub path: Template,
    /// Where the records are in a reply; the first path that exists counts.
    pub records: OneOrMany<RecordPath>,
    /// The fields that together identify a record; `day` for that of a window or run. A bare
    /// value is its own key. Records that nothing identifies have `key = "content"`: two are the
    /// same if all of their content is.
    #[serde(deserialize_with = "key_fields")]
    pub key: Vec<String>,
    /// Where in a reply stands what is added to every record of it.
    #[serde(default)]
    pub metadata: Option<RecordPath>,
    /// The struct column that holds it.
    #[serde(default = "metadata_name")]
    pub metadata_column: String,
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
    /// How the macro `{now}` is written.
    #[serde(default)]
    pub date_format: DateFormat,
    /// How `{now-1}` is counted.
    #[serde(default)]
    pub time_unit: TimeUnit,
    /// Query parameters of every request; values may hold macros, and a list repeats the key.
    #[serde(default)]
    pub query: BTreeMap<String, OneOrMany<Template>>,
    /// Headers of every request.
    #[serde(default)]
    pub headers: Headers,
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
    /// The columns, by path, that hold what people really said.
    #[serde(default)]
    pub verbatim: Vec<String>,
    /// Whose data a record is.
    #[serde(default)]
    pub about: About,
    /// What becomes of columns before anything is stored.
    #[serde(default, rename = "columns")]
    pub rules: ColumnRules,
    /// The declared columns.
    #[serde(default, rename = "column")]
    pub columns: Vec<Column>,
}

/// Whose data a record is, so that it goes when they are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The field that holds the id of the call that the record is of.
    #[serde(default)]
    pub call: Option<String>,
    /// The fields that hold addresses, or the id, of the person that the record is of.
    #[serde(default)]
    pub person: Vec<String>,
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
    /// How long what was read for an id is good; without it, every run asks anew.
    #[serde(default)]
    pub refresh: Option<Span>,
    /// A list field of the reply that may still be empty for a while after the parent is ready.
    #[serde(default)]
    pub settled_by: Option<String>,
    /// The key field, if a record repeats in it the id that it was asked for by: then another record
    /// is refused.
    #[serde(default)]
    pub repeats: Option<String>,
    /// Whether the ids are those of calls, as the catalogue says.
    #[serde(skip)]
    pub of_call: bool,
    /// Whether the ids are the whole keys of the parents, as the catalogue says: then an id alone
    /// tells one parent from another.
    #[serde(skip)]
    pub by_key: bool,
}

impl Parent {
    /// Whether the child of this parent is to be requested; `fields` names what the index keeps of
    /// each parent, in its order.
    #[must_use]
    pub fn selects(&self, entry: &IndexEntry, fields: &[String]) -> bool {
        let has_one_of = |(field, values): (&String, &Vec<String>)| {
            let at = fields.iter().position(|it| it == field);
            let value = at.and_then(|at| entry.selectors.get(at)?.as_deref());
            value.is_some_and(|value| values.iter().any(|it| it == value))
        };
        entry.in_lake && entry.deleted_at.is_none() && self.when.iter().all(has_one_of)
    }
}

impl Endpoint {
    /// Whether a record with this key may be what was asked for by this id.
    #[must_use]
    pub fn may_answer(&self, asked: &str, key: &str) -> bool {
        let repeats = self.parent.as_ref().and_then(|parent| parent.repeats.as_deref());
        let is_key = repeats.is_some_and(|field| self.key.len() == 1 && self.key[0] == field);
        let has_parent = self.parent.as_ref().is_some_and(|parent| parent.column.is_some());
        !is_key || has_parent || is_same_id(asked, key)
    }

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
        endpoint.source = text.into();
        endpoint.check().map_err(|mistake| wrong(mistake.shown_in(text)))?;
        endpoint.convert_keys();
        Ok(endpoint)
    }

    /// A key must never be null, even where an id comes as a number.
    fn convert_keys(&mut self) {
        let Self { columns, key, .. } = self;
        let keys = columns.iter_mut().filter(|column| key.contains(&column.name));
        keys.for_each(|column| column.convert = true);
    }

    /// The same endpoint, asked for at another path with this query beside its own, but for what
    /// paging says by itself.
    ///
    /// # Errors
    /// `Config` when the path is none.
    pub fn redirected(mut self, path: &str, query: &[(String, String)]) -> Result<Self> {
        let wrong = |message: String| {
            Error::new(ErrorKind::Config, message).with_context(format!("endpoint {}", self.name))
        };
        let path = Template::try_from(path.to_owned()).map_err(wrong)?;
        let mut replaced: BTreeMap<String, Vec<Template>> = BTreeMap::new();
        let paged = self.paging.parameters();
        for (name, value) in query.iter().filter(|(name, _)| !paged.contains(&name.as_str())) {
            let value = Template::try_from(value.clone()).map_err(wrong)?;
            replaced.entry(name.clone()).or_default().push(value);
        }
        self.path = path;
        self.query.extend(replaced.into_iter().map(|(name, it)| (name, OneOrMany::Many(it))));
        Ok(self)
    }

    /// The schema before anything was inferred.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema {
            columns: self.rules.applied(&self.columns),
            added: AddedColumns {
                parent: self.parent_column().map(str::to_owned),
                content_key: self.has_content_key(),
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

    /// Whether it is among the chosen endpoints; of none, whether it is on.
    #[must_use]
    pub fn is_chosen(&self, chosen: &[String]) -> bool {
        if chosen.is_empty() { self.on } else { chosen.contains(&self.name) }
    }

    /// Whether `name` is the day that dates rows without a date of their own.
    #[must_use]
    pub fn is_day(&self, name: &str) -> bool {
        name == DAY && self.time_field().is_none()
    }

    /// Whether records are told apart by all of their content.
    #[must_use]
    pub fn has_content_key(&self) -> bool {
        self.key == [CONTENT_KEY]
    }

    /// The column that a bare value in the place of a record is.
    #[must_use]
    pub fn bare_column(&self) -> Option<&str> {
        match (self.key.as_slice(), self.columns.first()) {
            ([_], Some(column)) if self.has_content_key() => Some(&column.name),
            ([key], _) => Some(key),
            _ => None,
        }
    }

    /// Whether a partition is a snapshot: all there is, as of a day or month. Where the key holds the
    /// day, each day has records of its own instead.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.dated == Dated::Run && !self.sums_up_days()
    }

    /// Whether its records say something of their day, so that a reply is all there is of it.
    #[must_use]
    pub fn sums_up_days(&self) -> bool {
        self.key.iter().any(|key| self.is_day(key))
    }

    /// The column that this tool adds in front of the key: the parent's id, or the range.
    #[must_use]
    pub fn parent_column(&self) -> Option<&str> {
        let parent = self.parent.as_ref().and_then(|parent| parent.column.as_deref());
        parent.or_else(|| self.window.as_ref()?.range_column.as_deref())
    }

    /// Whether one request asks for the whole range of a run, and its rows are those of the range.
    #[must_use]
    pub fn is_of_ranges(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.range_column.is_some())
    }

    /// A row's key as people read it. An address names a person, and is not shown: reports are kept
    /// for long.
    #[must_use]
    pub fn shown_key(&self, key: &str) -> String {
        let parts = self.key_columns().zip(key.split(KEY_SEPARATOR));
        let shown = parts.map(|(name, part)| {
            let part = if part.contains('@') { "***" } else { part };
            format!("{name} = {}", part.chars().take(MOST_SHOWN).collect::<String>())
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The columns of a row's key: the parent's, then the record's own.
    pub fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.parent_column().into_iter().chain(self.key.iter().map(String::as_str))
    }
}

/// Reads the fields of a key; `"content"` in the place of a list is no field.
fn key_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(fields) => Ok(fields),
        OneOrMany::One(word) if word == "content" => Ok(vec![CONTENT_KEY.to_owned()]),
        OneOrMany::<String>::One(_) => {
            Err(serde::de::Error::custom("a key is a list of fields, or \"content\""))
        }
    }
}

/// How much of a key is shown.
const MOST_SHOWN: usize = 40;

fn yes() -> bool {
    true
}

fn metadata_name() -> String {
    "metadata".to_owned()
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
