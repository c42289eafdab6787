//! Endpoints of the user's: asked as their files say, against servers that page in every style,
//! and against servers that mean no good.

mod bad_files;
mod chains;
mod evidence;
mod paging;
mod records;
mod sample;
mod templates;
mod unreadable;
mod values;

use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::lake::Store;
use clari_lake::internals::report::Report;
use clari_lake::internals::verify::verify;
use serde_json::{Value, json};

use crate::support::{Canned, Lake, Row, Run, at};

/// A server of records, each with an `id` and a time `at`, that answers as a test says.
struct Trial {
    records: Arc<Mutex<Vec<Value>>>,
    server: Canned,
    lake: Lake,
    now: DateTime<Utc>,
}

impl Trial {
    /// Answers each target from the records.
    fn new(
        records: Vec<Value>,
        answer: impl Fn(&[Value], &Target) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        let records = Arc::new(Mutex::new(records));
        let of = Arc::clone(&records);
        let server = Canned::start(move |target| answer(&of.lock().unwrap(), &Target::of(target)));
        Self { records, ..Self::over(server) }
    }

    /// A server that has no records, and answers by itself.
    fn over(server: Canned) -> Self {
        let records = Arc::default();
        Self { records, server, lake: Lake::new(), now: at("2026-11-23T12:00:00Z") }
    }

    fn records(&self) -> MutexGuard<'_, Vec<Value>> {
        self.records.lock().unwrap()
    }

    fn run(&self, name: &str, file: &str) -> Run {
        let run = Run::new(self.server.base_url(), self.lake.location(), self.now);
        run.with_files(&[(name, file)]).only(&[name])
    }

    /// Exports one endpoint, which must come out complete.
    #[track_caller]
    fn export(&self, name: &str, file: &str) -> Report {
        self.run(name, file).complete()
    }

    /// P12: what came out complete passes.
    #[track_caller]
    fn verify(&self, files: &[(&str, &str)]) {
        let store = Arc::new(Store::open(&self.lake.location()).unwrap());
        let catalogue = files.iter().fold(Catalogue::built_in().unwrap(), |it, (name, text)| {
            it.with_file(name, text).unwrap()
        });
        assert_eq!(verify(&store, &catalogue).unwrap().findings, []);
    }

    /// The ids in the lake, sorted.
    fn ids(&self, table: &str) -> Vec<String> {
        let id = |row: Row| match &row.record["id"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut ids: Vec<_> = self.lake.rows(table).into_iter().map(id).collect();
        ids.sort();
        ids
    }

    /// The ids that the server has, sorted.
    fn expected(&self) -> Vec<String> {
        let records = self.records();
        let mut ids: Vec<_> =
            records.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }
}

/// A request's target.
struct Target {
    path: String,
    query: Vec<(String, String)>,
}

impl Target {
    fn of(text: &str) -> Self {
        let url = reqwest::Url::parse(&format!("http://host{text}")).unwrap();
        let query = url.query_pairs().map(|(name, value)| (name.into(), value.into()));
        Self { path: url.path().to_owned(), query: query.collect() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(it, _)| it == name);
        found.next().map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, otherwise: usize) -> usize {
        self.get(name).and_then(|it| it.parse().ok()).unwrap_or(otherwise)
    }
}

/// So many records, one an hour, up to the morning of the run.
fn hourly(count: i64) -> Vec<Value> {
    let end = at("2026-11-23T10:00:00Z");
    let record = |number: i64| {
        let time = end - chrono::TimeDelta::hours(number);
        json!({"id": format!("r{number:04}"), "at": time.to_rfc3339(), "n": number})
    };
    (0..count).map(record).collect()
}

/// The records whose time is between two instants in seconds, edges included.
fn between(records: &[Value], from: i64, to: i64) -> Vec<Value> {
    let time = |record: &Value| at(record["at"].as_str().unwrap()).timestamp();
    records.iter().filter(|it| (from..=to).contains(&time(it))).cloned().collect()
}

fn slice(records: &[Value], skip: usize, limit: usize) -> Vec<Value> {
    records.iter().skip(skip).take(limit).cloned().collect()
}

/// What all files of these tests end with.
const COLUMNS: &str = "
    [[column]]
    name = 'id'
    type = 'string'
    [[column]]
    name = 'at'
    type = 'timestamp'
";

/// An endpoint file of these tests: what it has before the columns.
fn file(head: &str) -> String {
    format!("description = 'd'\nkey = ['id']\n{head}\n{COLUMNS}")
}
