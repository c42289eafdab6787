//! Endpoints: one kind of record and how to ask for it, as data.
//!
//! Enters: TOML, built in (`schemas/<name>.toml`) or the user's. Leaves: an [`Endpoint`] that is
//! right by construction. Never here: a request, a record, or a special case for one endpoint.

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::manifest::IndexEntry;
use crate::schema::{AddedColumns, Column, ColumnType, DAY, Schema};

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

/// One value or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

/// A plain `JSONPath`: `$`, then names, `[*]` after any of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RecordPath {
    steps: Vec<Step>,
    text: String,
}

/// One step of a [`RecordPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into the named member of an object.
    Member(String),
    /// Into every item of a list.
    Items,
}

impl RecordPath {
    /// Its steps from the reply's root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl std::fmt::Display for RecordPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RecordPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rest =
            text.strip_prefix('$').ok_or_else(|| format!("path `{text}` must begin with $"))?;
        let mut steps = Vec::new();
        for part in rest.split('.').enumerate().filter(|(at, part)| *at > 0 || !part.is_empty()) {
            let mut name = part.1;
            let mut items = 0;
            while let Some(shorter) = name.strip_suffix("[*]") {
                (name, items) = (shorter, items + 1);
            }
            let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
            if !plain || name.is_empty() != (part.0 == 0) {
                return Err(format!("path `{text}` is not of the form $.name.name[*]"));
            }
            if !name.is_empty() {
                steps.push(Step::Member(name.to_owned()));
            }
            steps.extend(std::iter::repeat_n(Step::Items, items));
        }
        Ok(Self { steps, text })
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
        endpoint.check().map_err(wrong)?;
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

    fn check(&self) -> Result<(), String> {
        if self.key.is_empty() {
            return Err("`key` needs at least one field".to_owned());
        }
        for key in self.key.iter().filter(|key| !self.is_day(key)) {
            let is_text =
                |column: &Column| column.name == *key && column.column_type == ColumnType::String;
            if !self.columns.iter().any(is_text) {
                return Err(format!("key `{key}` needs a [[column]] of type string"));
            }
        }
        if let Some(field) = self.time_field() {
            let is_time = |column: &Column| {
                column.name == field && column.column_type == ColumnType::Timestamp
            };
            if !self.columns.iter().any(is_time) {
                return Err(format!("date field `{field}` needs a [[column]] of type timestamp"));
            }
        }
        if self.dated == Dated::Window && self.window.is_none() {
            return Err("rows dated by window need a [window]".to_owned());
        }
        check_names(&self.columns)
    }
}

/// No two names that differ only in case, at any depth: engines that fold case would mix them up.
fn check_names(columns: &[Column]) -> Result<(), String> {
    for (at, column) in columns.iter().enumerate() {
        let twin = columns[..at].iter().find(|other| other.name.eq_ignore_ascii_case(&column.name));
        if let Some(twin) = twin {
            return Err(format!("columns `{}` and `{}` collide", twin.name, column.name));
        }
        let mut inner = &column.column_type;
        while let ColumnType::List(element) = inner {
            inner = element;
        }
        if let ColumnType::Struct(fields) = inner {
            check_names(fields)?;
        }
    }
    Ok(())
}

/// Endpoints by name, parents before the endpoints that they drive.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Vec<Endpoint>);

/// Every file of the folder is an endpoint; adding one is adding a file.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas");

impl Catalogue {
    /// The built-in endpoints.
    ///
    /// # Errors
    /// `Config` when one of the embedded files is wrong, which a test rules out.
    pub fn built_in() -> Result<Self> {
        let mut endpoints = Vec::new();
        for file in BUILT_IN.files() {
            let name = file.path().to_str().and_then(|path| path.strip_suffix(".toml"));
            if let Some((name, text)) = name.zip(file.contents_utf8()) {
                endpoints.push(Endpoint::from_toml(name, text)?);
            }
        }
        Ok(Self::new(endpoints))
    }

    /// A catalogue of these endpoints: those that are on first, parents before the endpoints that
    /// they drive, documented ones before experimental ones, by name.
    #[must_use]
    pub fn new(mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort_by(|a, b| {
            let rank = |it: &Endpoint| (!it.on, it.parent.is_some(), it.experimental);
            rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
        });
        Self(endpoints)
    }

    /// All endpoints, parents first.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0
    }

    /// The endpoint of this name.
    ///
    /// # Errors
    /// `Config`, naming those that exist.
    pub fn find(&self, name: &str) -> Result<&Endpoint> {
        self.0.iter().find(|endpoint| endpoint.name == name).ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|endpoint| endpoint.name.as_str()).collect();
            Error::new(ErrorKind::Config, format!("there is no endpoint `{name}`"))
                .with_hint(format!("the endpoints are: {}", names.join(", ")))
        })
    }

    /// The field by which endpoints that `name` drives choose whom to ask for.
    #[must_use]
    pub fn watched_field(&self, name: &str) -> Option<&str> {
        let driven = self.0.iter().filter_map(|it| it.parent.as_ref());
        let mut fields = driven.filter(|it| it.endpoint == name).flat_map(|it| it.when.keys());
        fields.next().map(String::as_str)
    }

    /// The endpoints to export: the named ones, or all that are on.
    ///
    /// # Errors
    /// `Config` when a name is unknown.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Endpoint>> {
        names.iter().try_for_each(|name| self.find(name).map(|_| ()))?;
        let wanted = |endpoint: &&Endpoint| {
            if names.is_empty() { endpoint.on } else { names.contains(&endpoint.name) }
        };
        Ok(self.0.iter().filter(wanted).collect())
    }
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
    fn every_built_in_endpoint_is_right_and_its_parent_comes_first() {
        let catalogue = Catalogue::built_in().unwrap();
        assert_eq!(catalogue.endpoints().len(), 17);
        assert_eq!(catalogue.endpoints()[0].name, "calls");
        for (at, endpoint) in catalogue.endpoints().iter().enumerate() {
            if let Some(parent) = &endpoint.parent {
                let earlier = &catalogue.endpoints()[..at];
                assert!(earlier.iter().any(|e| e.name == parent.endpoint), "{}", endpoint.name);
            }
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_column() {
        let error = Endpoint::from_toml("x", "description = \"d\"\npaths = \"/x\"").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2, column 1") && text.contains("paths"), "{text}");
    }

    #[test]
    fn paths_are_plain_or_refused() {
        let parse = |text: &str| RecordPath::try_from(text.to_owned());
        assert_eq!(parse("$").unwrap().steps(), []);
        assert_eq!(parse("$[*]").unwrap().steps(), [Step::Items]);
        let member = |name: &str| Step::Member(name.to_owned());
        assert_eq!(
            parse("$.data.items[*]").unwrap().steps(),
            [member("data"), member("items"), Step::Items]
        );
        for wrong in ["calls", "$calls", "$..calls", "$.calls[0]", "$.", "$.a b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
