//! Endpoints: one kind of record and how to request it, as data.
//!
//! Reads TOML, built in (`schemas/<name>.toml`) or the user's, into an [`Endpoint`] that is valid
//! by construction. There are no special cases for single endpoints.

mod catalogue;
mod check;
mod date_format;
mod headers;
mod name;
mod one_or_many;
mod overrides;
mod paging;
mod parent_ref;
mod path;
mod rules;
mod template;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

pub use self::catalogue::Catalogue;
pub use self::date_format::DateFormat;
pub use self::headers::{HeaderText, Headers, names_secret};
pub use self::name::{check_name, plain_name};
pub use self::one_or_many::OneOrMany;
pub use self::overrides::Overrides;
pub use self::paging::{Cursor, NextLink, PageNumber, Paging, SkipLimit};
pub use self::parent_ref::{ParentField, ParentRef, ParentValues, is_same_id};
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

/// One kind of record and how to request it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "keys of a file are bools")]
pub struct Endpoint {
    /// Its name, which is its table's folder: the file's name, never written in the file.
    #[serde(skip)]
    pub name: String,
    /// The text of its file, to locate mistakes that only the catalogue can detect.
    #[serde(skip)]
    pub source: Arc<str>,
    /// Whether it is built in.
    #[serde(skip)]
    pub built_in: bool,
    /// What its records are.
    pub description: String,
    /// The path below the base URL; may hold macros.
    pub path: Template,
    /// Where the records are in a reply; the first path that exists counts.
    pub records: OneOrMany<RecordPath>,
    /// The fields that together identify a record; `day` for the day of a window or run. A bare
    /// value is its own key. Records without an identity have `key = "content"`: two are the same
    /// if all of their content is.
    #[serde(deserialize_with = "key_fields")]
    pub key: Vec<String>,
    /// Where a reply has the metadata that is added to each of its records.
    #[serde(default)]
    pub metadata: Option<RecordPath>,
    /// The struct column that holds it.
    #[serde(default = "metadata_name")]
    pub metadata_column: String,
    /// Whether it is requested when no `--endpoint` names it.
    #[serde(default = "yes")]
    pub on: bool,
    /// Whether it is missing from the vendor's published description: a workspace that answers 403
    /// or 404 simply does not have it.
    #[serde(default)]
    pub experimental: bool,
    /// Whether its records can be deleted at the source, which is detected and marked.
    #[serde(default)]
    pub deletes: bool,
    /// How far back its records are listed again, if not as far as the run says.
    #[serde(default)]
    pub lookback: Option<Span>,
    /// How the macro `{now}` is written.
    #[serde(default)]
    pub date_format: DateFormat,
    /// The unit in which `{now-1}` is counted.
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
    /// What dates a row, and so determines its partition.
    pub dated: Dated,
    /// How a window of time is requested.
    #[serde(default)]
    pub window: Option<WindowParameters>,
    /// How changes are requested.
    #[serde(default)]
    pub modified: Option<ModifiedParameters>,
    /// How a reply is paged.
    #[serde(default)]
    pub paging: Paging,
    /// Its parent, if it is a child endpoint.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// The columns, by path, that hold spoken words.
    #[serde(default)]
    pub verbatim: Vec<String>,
    /// The call or person that a record belongs to.
    #[serde(default)]
    pub about: About,
    /// The rules applied to columns before anything is stored.
    #[serde(default, rename = "columns")]
    pub rules: ColumnRules,
    /// The declared columns.
    #[serde(default, rename = "column")]
    pub columns: Vec<Column>,
}

/// The call or person that a record belongs to, so that it is removed when they are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The field with the id of the call that the record belongs to.
    #[serde(default)]
    pub call: Option<String>,
    /// The fields with the addresses, or the id, of the person that the record belongs to.
    #[serde(default)]
    pub person: Vec<String>,
}

/// The parent of a child endpoint.
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
    /// Only parents whose fields have one of these values are requested.
    #[serde(default)]
    pub when: BTreeMap<String, Vec<String>>,
    /// How long a look-up by an id stays valid; without it, every run requests it again.
    #[serde(default)]
    pub refresh: Option<Span>,
    /// A list field of the reply that may still be empty for a while after the parent is ready.
    #[serde(default, alias = "settled_by")]
    pub completed_by: Option<String>,
    /// The key field, if a record repeats the id by which it was requested: then any other record
    /// is refused.
    #[serde(default)]
    pub repeats: Option<String>,
    /// Whether the ids are those of calls, according to the catalogue.
    #[serde(skip)]
    pub of_call: bool,
    /// Whether the ids are the parents' whole keys, according to the catalogue: then an id alone
    /// distinguishes parents.
    #[serde(skip)]
    pub by_key: bool,
}

impl Parent {
    /// Whether the child of this parent must be requested; `fields` holds the values that the index
    /// keeps of each parent, in its order.
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
    /// Whether a record with this key may be the one requested by this id.
    #[must_use]
    pub fn may_answer(&self, asked: &str, key: &str) -> bool {
        !self.returns_what_was_asked() || is_same_id(asked, key)
    }

    /// Whether each request is for the record with that id, so that only a 404 says that there is
    /// none.
    #[must_use]
    pub fn returns_what_was_asked(&self) -> bool {
        let Some(parent) = &self.parent else { return false };
        let is_key = |field: &str| self.key.len() == 1 && self.key[0] == field;
        parent.repeats.as_deref().is_some_and(is_key) && parent.column.is_none()
    }

    /// Reads an endpoint file.
    ///
    /// # Errors
    /// `Config`, naming the line and column, when the text is not an endpoint.
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

    /// A key must never be null, even if an id arrives as a number.
    fn convert_keys(&mut self) {
        let Self { columns, key, .. } = self;
        let keys = columns.iter_mut().filter(|column| key.contains(&column.name));
        keys.for_each(|column| column.convert = true);
    }

    /// The same endpoint, requested at another path with this query added to its own, minus the
    /// parameters that paging sets.
    ///
    /// # Errors
    /// `Config` when the path is invalid.
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

    /// The schema before anything is inferred.
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

    /// Whether it is among the chosen endpoints or, if none are chosen, on by default.
    #[must_use]
    pub fn is_chosen(&self, chosen: &[String]) -> bool {
        if chosen.is_empty() { self.on } else { chosen.contains(&self.name) }
    }

    /// Whether `name` is the day that dates rows without a date of their own.
    #[must_use]
    pub fn is_day(&self, name: &str) -> bool {
        name == DAY && self.time_field().is_none()
    }

    /// Whether records are identified by all of their content.
    #[must_use]
    pub fn has_content_key(&self) -> bool {
        self.key == [CONTENT_KEY]
    }

    /// The column for a bare value instead of a record.
    #[must_use]
    pub fn bare_column(&self) -> Option<&str> {
        match (self.key.as_slice(), self.columns.first()) {
            ([_], Some(column)) if self.has_content_key() => Some(&column.name),
            ([key], _) => Some(key),
            _ => None,
        }
    }

    /// Whether a partition is a snapshot: all records as of a day or month. If the key contains the
    /// day, each day has records of its own instead.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.dated == Dated::Run && !self.sums_up_days()
    }

    /// Whether its records are about their day, so that a reply is complete for it.
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

    /// Whether one request covers the whole range of a run, and its rows are those of the range.
    #[must_use]
    pub fn is_of_ranges(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.range_column.is_some())
    }

    /// A row's key in readable form. An address identifies a person and is not shown: reports are
    /// kept for a long time.
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

/// Reads the fields of a key; `"content"` instead of a list means no field.
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
pub(crate) const MOST_SHOWN: usize = 40;

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
