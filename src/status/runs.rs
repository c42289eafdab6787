//! The last runs, according to their reports.
//!
//! Reads runs, and the columns that `evolve` could add, from a store. Unreadable reports are
//! skipped.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::lake::Store;
use crate::schema::{Difference, Schema};
use crate::window::Window;

/// How many runs are listed.
pub const RUNS: usize = 30;

/// One run, according to its report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub run: String,
    /// `export`, `backfill` or `demo`.
    pub command: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// Whether it only read the parents that the user named, so that nothing follows for the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_id: bool,
    /// Whether everything that was planned is in the lake.
    pub complete: bool,
    /// How many requests it sent.
    pub requests: u64,
    /// Why it is not complete.
    pub problems: Vec<RunProblem>,
    /// What it did for each endpoint.
    #[serde(default)]
    pub endpoints: Vec<RunEndpoint>,
}

/// Why a run is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProblem {
    /// Which endpoint it concerns.
    pub endpoint: String,
    /// Which window, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// What happened.
    pub message: String,
}

/// What a run did for one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunEndpoint {
    /// Its name.
    pub endpoint: String,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows whose content changed.
    pub updated: u64,
    /// Rows that were removed.
    pub deleted: u64,
    /// Columns that it added to the table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evolved: Vec<Difference>,
    /// Columns that `evolve` would have added for what it found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evolvable: Vec<Difference>,
}

impl Run {
    /// The number of new and changed rows in all tables.
    #[must_use]
    pub fn rows(&self) -> (u64, u64) {
        let of = |count: fn(&RunEndpoint) -> u64| self.endpoints.iter().map(count).sum();
        (of(|it| it.inserted), of(|it| it.updated))
    }

    /// Whether it was an incremental run rather than a backfill.
    #[must_use]
    pub fn is_nightly(&self) -> bool {
        self.command != "backfill" && !self.by_id
    }
}

/// When a run last exported everything it was meant to, according to the last reports.
///
/// # Errors
/// When the store fails.
pub fn last_success(store: &Store) -> Result<Option<DateTime<Utc>>> {
    let runs = newest(store, RUNS)?;
    Ok(runs.iter().find(|run| run.complete && !run.by_id).map(|run| run.finished_at))
}

/// The last runs, newest first.
pub(super) fn newest(store: &Store, most: usize) -> Result<Vec<Run>> {
    let texts = store.reports(most)?;
    Ok(texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect())
}

/// What `evolve` would add to a table: what the runs found, as far as the table has not changed
/// since.
pub(super) fn evolvable(runs: &[Run], endpoint: &str, schema: &Schema) -> Vec<Difference> {
    let of_table = |run: &'_ Run| run.endpoints.iter().position(|it| it.endpoint == endpoint);
    let mut found: Vec<Difference> = Vec::new();
    for run in runs {
        let Some(at) = of_table(run) else { continue };
        for difference in &run.endpoints[at].evolvable {
            let now = schema.type_at(&difference.path).map(ToString::to_string);
            let is_open = now == difference.from;
            if is_open && found.iter().all(|it| it.path != difference.path) {
                found.push(difference.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{AddedColumns, Column, ColumnType};

    fn plus(path: &str, to: &str) -> Difference {
        Difference { path: path.to_owned(), from: None, to: Some(to.to_owned()) }
    }

    fn run(evolvable: Vec<Difference>) -> Run {
        let at = DateTime::UNIX_EPOCH;
        let of = RunEndpoint { endpoint: "calls".to_owned(), evolvable, ..RunEndpoint::default() };
        Run {
            run: String::new(),
            command: "export".to_owned(),
            started_at: at,
            finished_at: at,
            by_id: false,
            complete: true,
            requests: 1,
            problems: Vec::new(),
            endpoints: vec![of],
        }
    }

    #[test]
    fn evolve_would_add_fields_that_runs_found_and_no_column_holds() {
        let runs = [
            run(Vec::new()),
            run(vec![plus("mood", "string"), plus("team", "int64")]),
            run(vec![plus("mood", "boolean"), plus("score", "double")]),
        ];
        let columns = vec![Column::new("score", ColumnType::Double)];
        let schema = Schema { columns, added: AddedColumns::default() };
        let found = evolvable(&runs, "calls", &schema);
        assert_eq!(found, [plus("mood", "string"), plus("team", "int64")]);
        assert_eq!(evolvable(&runs, "users", &schema), []);
    }
}
