//! The configuration file, `clari-lake.toml`: everything that is not a secret.
//!
//! Parses TOML into a [`Config`] that is valid by construction, whether or not each key is given.
//! Reading the file, the environment and the defaults happen elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::endpoint::{ColumnRules, Overrides};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Granularity;
use crate::place::Mistake;
use crate::span::Span;

/// What a configuration file says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The lake: a folder or a store's URL.
    pub lake: Option<String>,
    /// The URL of the API.
    pub base_url: Option<String>,
    /// Requests a second, at most.
    pub rate: Option<Rate>,
    /// Requests under way at once, at most.
    pub concurrency: Option<Concurrency>,
    /// Requests a week, at most, across everything that uses the key pair.
    pub weekly_quota: Option<u64>,
    /// How much of the week's quota a backfill may use.
    pub quota_share: Option<Share>,
    /// How far back records are listed again.
    pub lookback: Option<Span>,
    /// How long a run may take.
    pub max_time: Option<Span>,
    /// Whether private calls are exported too.
    pub include_private: Option<bool>,
    /// How much time a partition of a new table holds.
    pub partition_by: Option<Granularity>,
    /// What happens to rows whose records are gone.
    pub deletes: Option<Deletes>,
    /// Whether an export widens table schemas at its end.
    pub evolve: Option<bool>,
    /// How often everything is listed again.
    pub full_relist: Option<FullRelist>,
    /// Whether spoken words are kept out of the lake.
    pub no_transcripts: Option<bool>,
    /// Column rules for all endpoints that have these columns.
    #[serde(default, rename = "columns")]
    pub rules: ColumnRules,
    /// Where the user's own endpoint files are.
    pub endpoints_dir: Option<String>,
    /// How the lake's store is used.
    #[serde(default)]
    pub store: StoreConfig,
    /// Settings of single endpoints.
    #[serde(default)]
    pub endpoint: BTreeMap<String, Overrides>,
    /// The text, to locate mistakes that only the catalogue can detect.
    #[serde(skip)]
    source: Source,
}

/// How the lake's store is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Which conditional writes the store honors.
    pub conditional: Option<Conditional>,
}

/// Which conditional writes a store honors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conditional {
    /// An object is created if absent, and replaced if it is still the version that was read.
    #[default]
    Etag,
    /// An object is created if absent; nothing else is conditional.
    CreateOnly,
    /// Nothing is conditional: the user must ensure a single writer.
    None,
}

/// What happens to rows whose records are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Deletes {
    /// They stay, with the time in `deleted_at`.
    #[default]
    Mark,
    /// They are removed.
    Drop,
}

/// How often everything is listed again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FullRelist {
    /// Once a month.
    Monthly,
    /// Only by `--full`.
    #[default]
    Never,
}

/// Requests a second; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(pub f64);

/// How many requests are under way at once, from 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct Concurrency(pub u16);

/// A share, above 0 and up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Share(pub f64);

/// The source of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Source {
    name: String,
    text: String,
}

impl Config {
    /// Reads a configuration file; `name` identifies it in errors.
    ///
    /// # Errors
    /// `Config`, naming the line and column.
    pub fn from_toml(name: &str, text: &str) -> Result<Self> {
        let source = Source { name: name.to_owned(), text: text.to_owned() };
        match toml::from_str::<Self>(text) {
            Ok(config) => Ok(Self { source, ..config }),
            Err(error) => Err(source.error(error.to_string().trim_end())),
        }
    }

    /// The settings of single endpoints as written: name, key and value.
    #[must_use]
    pub fn endpoint_entries(&self) -> Vec<(String, String, toml::Value)> {
        let table: toml::Table = toml::from_str(&self.source.text).unwrap_or_default();
        let endpoints = table.get("endpoint").and_then(toml::Value::as_table);
        let entries = endpoints.into_iter().flatten().filter_map(|(name, keys)| {
            let keys = keys.as_table()?.iter();
            Some(keys.flat_map(|(key, value)| {
                let shown = if key == "columns" {
                    leaves(key, value)
                } else {
                    vec![(key.clone(), value.clone())]
                };
                shown.into_iter().map(|(key, value)| (name.clone(), key, value))
            }))
        });
        entries.flatten().collect()
    }

    /// The column rules for all endpoints as written: column and rule.
    #[must_use]
    pub fn column_entries(&self) -> Vec<(String, toml::Value)> {
        let table: toml::Table = toml::from_str(&self.source.text).unwrap_or_default();
        table.get("columns").map(|columns| leaves("columns", columns)).unwrap_or_default()
    }

    /// The error for a mistake at one of the file's keys.
    #[must_use]
    pub fn error(&self, mistake: &Mistake) -> Error {
        self.source.error(&mistake.shown_in(&self.source.text))
    }
}

/// The values below a key that are not tables, each with its whole path.
fn leaves(path: &str, value: &toml::Value) -> Vec<(String, toml::Value)> {
    match value {
        toml::Value::Table(members) => members
            .iter()
            .flat_map(|(name, member)| leaves(&format!("{path}.{name}"), member))
            .collect(),
        scalar => vec![(path.to_owned(), scalar.clone())],
    }
}

impl Source {
    fn error(&self, message: &str) -> Error {
        Error::new(ErrorKind::Config, message).with_context(self.name.clone())
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        let sensible = rate == 0.0 || (0.001..=10_000.0).contains(&rate);
        sensible
            .then_some(Self(rate))
            .ok_or_else(|| "expected 0, or from 0.001 to 10000".to_owned())
    }
}

impl TryFrom<u16> for Concurrency {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        let sensible = (1..=256).contains(&number);
        sensible.then_some(Self(number)).ok_or_else(|| "expected a number from 1 to 256".to_owned())
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        let sensible = share > 0.0 && share <= 1.0;
        sensible
            .then_some(Self(share))
            .ok_or_else(|| "expected a number above 0 and up to 1".to_owned())
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.parse::<f64>().map_err(|_| "expected a number".to_owned())?)
    }
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<u16>();
        Self::try_from(number.map_err(|_| "expected a number from 1 to 256".to_owned())?)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.parse::<f64>().map_err(|_| "expected a number".to_owned())?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Conditional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etag => "etag",
            Self::CreateOnly => "create-only",
            Self::None => "none",
        })
    }
}

impl fmt::Display for Deletes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mark => "mark",
            Self::Drop => "drop",
        })
    }
}

impl fmt::Display for FullRelist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monthly => "monthly",
            Self::Never => "never",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        lake = "./lake"
        base_url = "https://example.com"
        rate = 8.5
        concurrency = 4
        weekly_quota = 50000
        quota_share = 0.5
        lookback = "14d"
        max_time = "6h"
        include_private = true
        partition_by = "month"
        deletes = "drop"
        evolve = true
        no_transcripts = true
        full_relist = "never"
        endpoints_dir = "endpoints"

        [store]
        conditional = "create-only"

        [columns]
        users.userEmail = "hash"
        "externalParticipants.phone" = "drop"

        [endpoint.calls]
        page_size = 25
        lookback = "30d"
        query = { filterType = "ZOOM" }

        [endpoint.crm_deals]
        on = true
    "#;

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::from_toml("clari-lake.toml", WHOLE).unwrap();
        assert_eq!(config.rate, Some(Rate(8.5)));
        assert_eq!(config.max_time.unwrap().to_string(), "6h");
        assert_eq!((config.deletes, config.evolve), (Some(Deletes::Drop), Some(true)));
        assert_eq!(config.store.conditional, Some(Conditional::CreateOnly));
        let columns: Vec<_> = config.column_entries().into_iter().map(|it| it.0).collect();
        assert_eq!(columns, ["columns.externalParticipants.phone", "columns.users.userEmail"]);
        assert_eq!(config.endpoint["calls"].page_size, Some(25));
        assert_eq!(config.endpoint["crm_deals"].on, Some(true));
        assert_eq!(Config::from_toml("x", "").unwrap().lake, None);
    }

    #[test]
    fn every_mistake_is_named_with_its_line_and_column() {
        let cases = [
            ("laek = \"x\"", "line 1, column 1", "unknown field `laek`"),
            ("\nrate = -1", "line 2, column 8", "expected 0, or from 0.001 to 10000"),
            ("rate = \"fast\"", "line 1, column 8", "invalid type"),
            ("concurrency = 0", "line 1, column 15", "from 1 to 256"),
            ("quota_share = 1.5", "line 1, column 15", "up to 1"),
            ("lookback = \"7\"", "line 1, column 12", "such as 90m"),
            ("lookback = 7", "line 1, column 12", "invalid type"),
            ("weekly_quota = -5", "line 1, column 16", "invalid value"),
            ("partition_by = \"year\"", "line 1, column 16", "unknown variant `year`"),
            ("deletes = \"keep\"", "line 1, column 11", "unknown variant `keep`"),
            ("[store]\nconditional = \"maybe\"", "line 2, column 15", "unknown variant"),
            ("[endpoint.calls]\npage = 5", "line 2, column 1", "unknown field `page`"),
            ("[endpoint.calls]\nrecords = \"calls\"", "line 2, column 11", "begin with $"),
            ("lake = 'a'\nlake = 'b'", "line 2, column 1", "duplicate key"),
            ("[columns]\nemail = \"hide\"", "line 2, column 9", "`hide` is not a rule"),
        ];
        for (text, place, what) in cases {
            let error = Config::from_toml("my.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("my.toml: "), "{error}");
            assert!(error.contains(place) && error.contains(what), "{text}: {error}");
        }
    }
}
