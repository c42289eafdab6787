//! A workspace, its API and a lake; and whether the lake says what the workspace says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::internals::simulator::{Options, Server, Settings, Table, Workspace};
use serde_json::{Value, json};

use super::json::{difference, micros, normal};
use super::lake::{Lake, Row};
use super::plain::get;
use super::run::Run;

/// A workspace, its API and a lake.
pub(crate) struct Site {
    pub(crate) workspace: Workspace,
    pub(crate) server: Server,
    pub(crate) lake: Lake,
    pub(crate) now: DateTime<Utc>,
}

/// The statuses in which a call's details can be had.
const READY: [&str; 2] = ["PROCESSED", "POST_PROCESSING_DONE"];

/// The fixed instant at which all workspaces and runs begin.
pub(crate) fn now() -> DateTime<Utc> {
    Options::default().now
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A workspace that is read in a moment, and still has every shape of record.
pub(crate) fn small() -> Options {
    Options {
        calls: 120,
        users: 8,
        scheduled: 4,
        turns: 4,
        oddities: 0.05,
        lone_surrogates: 0.0,
        scorecards: Some(24),
        transcript_delay: TimeDelta::zero(),
        ..Options::default()
    }
}

impl Site {
    pub(crate) fn new(options: &Options) -> Self {
        Self::with(options, Settings::default())
    }

    pub(crate) fn with(options: &Options, settings: Settings) -> Self {
        let workspace = Workspace::generate(options);
        let server = Server::start(workspace.clone(), settings).unwrap();
        Self { workspace, server, lake: Lake::new(), now: options.now }
    }

    /// The [`small`] workspace with its calls and their details in the lake already.
    pub(crate) fn exported() -> Self {
        static TEMPLATE: LazyLock<Lake> = LazyLock::new(|| {
            let site = Site { lake: Lake::lasting(), ..Site::new(&small()) };
            site.calls_and_details().complete();
            site.lake
        });
        Self { lake: TEMPLATE.twin(), ..Self::new(&small()) }
    }

    /// An export of calls and their details alone.
    pub(crate) fn calls_and_details(&self) -> Run {
        self.export().only(&["calls", "call_details"])
    }

    /// An export of this workspace into this lake, at the workspace's first instant.
    pub(crate) fn export(&self) -> Run {
        Run::new(self.server.base_url(), self.lake.location(), self.now)
    }

    /// The ids of the calls that are listed, oldest first, from this many days ago on.
    pub(crate) fn ids(&self, from_days_ago: i64, to_days_ago: i64) -> Vec<String> {
        let from = self.now - TimeDelta::days(from_days_ago);
        let to = self.now - TimeDelta::days(to_days_ago);
        let calls = self.workspace.calls_before(to, false).into_iter();
        calls.filter(|call| time(call) >= from).map(|call| id(&call)).collect()
    }

    /// One call whose details can be had and which began between so many days ago.
    pub(crate) fn a_call(&self, from_days_ago: i64, to_days_ago: i64) -> String {
        let done = |id: &String| self.workspace.call(id).unwrap()["status"] == READY[1];
        self.ids(from_days_ago, to_days_ago).into_iter().find(done).unwrap()
    }

    /// P1, P2, P5: `calls` and `call_details` say what the workspace says at `now`.
    #[track_caller]
    pub(crate) fn assert_calls(&self, now: DateTime<Utc>) {
        self.assert_calls_are(&self.workspace.calls_before(now, false));
    }

    /// P1, P2, P5: `calls` and `call_details` hold these calls and no other.
    #[track_caller]
    pub(crate) fn assert_calls_are(&self, calls: &[Value]) {
        assert_calls(&self.workspace, &self.lake, calls, &BTreeSet::new());
    }

    /// The same of `calls` alone.
    #[track_caller]
    pub(crate) fn assert_list_is(&self, calls: &[Value]) {
        assert_list(&self.lake, calls, &BTreeSet::new());
    }

    /// P1, P2, P5: a snapshot table says on `now`'s day what the workspace says.
    #[track_caller]
    pub(crate) fn assert_snapshot(&self, table: &str, of: Table, key: &str, now: DateTime<Utc>) {
        assert_snapshot(&self.workspace, &self.lake, (table, of, key), now);
    }

    /// The rows of a snapshot table for one day.
    pub(crate) fn rows_of_day(&self, table: &str, now: DateTime<Utc>) -> Vec<Row> {
        rows_of_day(&self.lake, table, now)
    }

    /// P1, P2, P5: every endpoint that is on by default says what the workspace says.
    #[track_caller]
    pub(crate) fn assert_everything(&self, now: DateTime<Utc>) {
        self.assert_calls(now);
        for (table, of, key) in [
            ("users", Table::Users, "id"),
            ("topics", Table::Topics, "topic"),
            ("topics_v2", Table::TopicsV2, "topic_id"),
            ("scorecard_templates", Table::ScorecardTemplates, "id"),
            ("teams", Table::Teams, "id"),
            ("playlists", Table::Playlists, "id"),
            ("accounts", Table::Accounts, "id"),
            ("opportunities", Table::Opportunities, "id"),
        ] {
            self.assert_snapshot(table, of, key, now);
        }
        assert_scorecards(&self.workspace, &self.lake);
        self.assert_playlist_calls(now);
    }

    fn assert_playlist_calls(&self, now: DateTime<Utc>) {
        let mut truth = BTreeMap::new();
        for playlist in self.workspace.rows(Table::Playlists) {
            let playlist = id(&playlist);
            let target = format!("/playlists/{playlist}/calls?limit=100");
            for call in get(&self.server.base_url(), &target)["calls"].as_array().unwrap() {
                truth.insert(format!("{playlist}/{}", id(call)), normal(call.clone()));
            }
        }
        let rows = self.rows_of_day("playlist_calls", now);
        let key = |row: &Row| format!("{}/{}", row.parent.as_deref().unwrap(), id(&row.record));
        assert_same("playlist_calls", &truth, &rows, &key);
    }

    /// P3: every call of a window that a manifest calls complete is in the lake.
    #[track_caller]
    pub(crate) fn assert_coverage_is_true(&self) {
        let Some(manifest) = self.lake.manifest("calls") else { return };
        let rows = self.lake.rows("calls");
        let present: BTreeSet<String> = rows.iter().map(|row| id(&row.record)).collect();
        assert_eq!(present.len(), rows.len(), "P2: one row per call");
        for window in manifest.coverage.windows() {
            for call in self.workspace.calls_before(window.to, false) {
                let is_claimed = time(&call) >= window.from;
                assert!(!is_claimed || present.contains(&id(&call)), "P3: {window} lacks a call");
            }
        }
    }
}

/// P1, P2, P5: `calls` and `call_details` hold these calls and no other, but for the hidden ones.
#[track_caller]
pub(crate) fn assert_calls(
    workspace: &Workspace,
    lake: &Lake,
    calls: &[Value],
    hidden: &BTreeSet<String>,
) {
    assert_list(lake, calls, hidden);
    let ready = calls.iter().filter(|call| READY.iter().any(|it| call["status"] == *it));
    let details = ready.map(|call| workspace.details(&id(call)).unwrap());
    let rows = live(lake, "call_details", hidden);
    assert_same("call_details", &by("id", details), &rows, &|row| id(&row.record));
}

/// The same of `calls` alone.
#[track_caller]
fn assert_list(lake: &Lake, calls: &[Value], hidden: &BTreeSet<String>) {
    let rows = live(lake, "calls", hidden);
    assert_same("calls", &by("id", calls.iter().cloned()), &rows, &|row| id(&row.record));
}

#[track_caller]
fn live(lake: &Lake, table: &str, hidden: &BTreeSet<String>) -> Vec<Row> {
    let mut rows = lake.live(table);
    assert_dated(&rows);
    rows.retain(|row| !hidden.contains(&id(&row.record)));
    rows
}

/// P1, P2, P5: a snapshot table, the simulator's and its key, says on `now`'s day what the
/// workspace says.
#[track_caller]
pub(crate) fn assert_snapshot(
    workspace: &Workspace,
    lake: &Lake,
    (table, of, key): (&str, Table, &str),
    now: DateTime<Utc>,
) {
    let truth = workspace.rows(of).into_iter().map(|row| match row {
        Value::String(_) => json!({ key: row }),
        row => row,
    });
    let rows = rows_of_day(lake, table, now);
    assert_same(table, &by(key, truth), &rows, &|row| text(&row.record[key]));
}

fn rows_of_day(lake: &Lake, table: &str, now: DateTime<Utc>) -> Vec<Row> {
    let day = now.date_naive().to_string();
    let rows = lake.rows(table).into_iter().filter(|row| row.dt == day);
    rows.inspect(|row| assert_eq!(row.day.as_ref(), Some(&day), "{table}")).collect()
}

/// P1, P2, P5: every scorecard of the workspace is in the lake once.
#[track_caller]
pub(crate) fn assert_scorecards(workspace: &Workspace, lake: &Lake) {
    let rows = lake.rows("scorecards");
    let truth = by("id", workspace.rows(Table::Scorecards));
    assert_same("scorecards", &truth, &rows, &|row| id(&row.record));
}

fn id(record: &Value) -> String {
    text(&record["id"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn time(call: &Value) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros(call["time"].as_str().unwrap()).unwrap()).unwrap()
}

fn by(key: &str, records: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    records.into_iter().map(|record| (text(&record[key]), normal(record))).collect()
}

/// Every row stands on the UTC day of its record's time, in the order of time and key.
#[track_caller]
fn assert_dated(rows: &[Row]) {
    let stamp = |row: &Row| row.record["time"].as_str().unwrap()[1..].parse::<i64>().unwrap();
    for row in rows {
        let date = DateTime::from_timestamp_micros(stamp(row)).unwrap().date_naive().to_string();
        assert!(row.dt == date || row.dt == format!("{}-01", &date[..7]), "{} at {date}", row.dt);
    }
    let order: Vec<_> = rows.iter().map(|row| (&row.dt, stamp(row), id(&row.record))).collect();
    assert!(order.is_sorted(), "rows are sorted by time, then key");
}

/// P1, P2, P5: the rows are the truth, each record once and unchanged.
#[track_caller]
pub(crate) fn assert_same(
    table: &str,
    truth: &BTreeMap<String, Value>,
    rows: &[Row],
    key: &dyn Fn(&Row) -> String,
) {
    let mut found: BTreeMap<String, &Value> = BTreeMap::new();
    for row in rows {
        let twin = found.insert(key(row), &row.record);
        assert!(twin.is_none(), "P2: {table} has {} twice", key(row));
    }
    let missing: Vec<_> = truth.keys().filter(|key| !found.contains_key(*key)).collect();
    let unknown: Vec<_> = found.keys().filter(|key| !truth.contains_key(*key)).collect();
    assert!(
        missing.is_empty(),
        "P1: {table} lacks {} of {}: {missing:.3?}",
        missing.len(),
        truth.len()
    );
    assert!(unknown.is_empty(), "{table} has {} that are not there: {unknown:?}", unknown.len());
    for (key, expected) in truth {
        if let Some(difference) = difference(expected, found[key]) {
            panic!("P5: {table} {key}: {difference}");
        }
    }
}
