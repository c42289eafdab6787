//! P2, P4, P5: row groups that do not change are copied, and nothing shows it but the cost.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use clari_lake::internals::commit_plan::Mark;
use clari_lake::internals::decode::Origin;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::lake::{self, Change, Snapshot, Store};
use clari_lake::internals::manifest::Granularity;
use clari_lake::internals::verify::verify;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::support::Lake;

fn now() -> DateTime<Utc> {
    "2026-11-28T07:00:00Z".parse().unwrap()
}

/// A table of calls, and what its rows should be.
struct Table {
    lake: Lake,
    snapshot: Snapshot,
    calls: BTreeMap<String, (u32, String)>,
    second: i64,
    /// How much longer each title is than what makes it large in a file.
    padding: usize,
}

impl Table {
    fn new(granularity: Granularity) -> Self {
        let lake = Lake::new();
        let store = Arc::new(Store::open(&lake.location()).unwrap());
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let opened = lake::Lake::new(&store, &catalogue, "run").with_granularity(granularity);
        let snapshot = opened.table("calls").unwrap().open(now()).unwrap();
        Self { lake, snapshot, calls: BTreeMap::new(), second: 0, padding: 0 }
    }

    fn commit(&mut self, change: &Change) {
        self.snapshot = self.snapshot.table().commit(&self.snapshot, change, now()).unwrap().0;
    }

    /// Commits these calls, each on a day of November with a title that is large in memory, and not small in a file.
    fn put(&mut self, calls: &[(u32, u32)]) {
        self.second += 1;
        let fetched_at = now().timestamp_micros() - 3_600_000_000 + self.second * 1_000_000;
        let mut records = Vec::new();
        for (number, day) in calls {
            let id = format!("call-{number:04}");
            let unlike: String = (0..5_000).map(|_| fastrand::alphanumeric()).collect();
            let title = unlike + &" ".repeat(self.padding);
            let time =
                format!("2026-11-{day:02}T{:02}:{:02}:00.000Z", number / 60 % 24, number % 60);
            records.push(format!(r#"{{"id": "{id}", "title": "{title}", "time": "{time}"}}"#));
            self.calls.insert(id, (*day, title));
        }
        let body = format!(r#"{{"calls": [{}]}}"#, records.join(","));
        let origin = Origin { fetched_at, ..Origin::default() };
        let decoded = self.snapshot.decoder().unwrap().decode(body.as_bytes(), &origin).unwrap();
        let mut change = Change { rows: vec![decoded.rows], ..Change::default() };
        change.progress.freeze = true;
        self.commit(&change);
    }

    /// Says that a call is gone.
    fn mark(&mut self, number: u32) {
        self.second += 1;
        let deleted_at = Some(now().timestamp_micros() - 3_600_000_000 + self.second * 1_000_000);
        let key = format!("call-{number:04}");
        let day = self.calls[&key].0.cast_signed() + 20_757;
        let mut change = Change::default();
        change.statements.marks =
            vec![Mark { key: key.as_str().into(), day: Some(day), deleted_at }];
        self.commit(&change);
    }

    #[track_caller]
    fn assert_whole(&self) {
        let rows = self.lake.rows("calls");
        let found: Vec<(String, String)> = rows
            .iter()
            .map(|row| {
                let text = |name: &str| row.record[name].as_str().unwrap().to_owned();
                (text("id"), text("title"))
            })
            .collect();
        let mut sorted = found.clone();
        sorted.sort_unstable();
        let expected: Vec<_> =
            self.calls.iter().map(|(id, (_, title))| (id.clone(), title.clone())).collect();
        let unlike = sorted.iter().zip(&expected).filter(|(found, expected)| found != expected);
        let unlike: Vec<_> = unlike.map(|(found, expected)| (&found.0, &expected.0)).collect();
        assert!(sorted == expected, "{} rows of {}: {unlike:?}", found.len(), expected.len());
        let store = Arc::new(Store::open(&self.lake.location()).unwrap());
        assert_eq!(verify(&store, &Catalogue::built_in().unwrap()).unwrap().findings, []);
        for path in self.objects() {
            let (_, metadata) = read(&path);
            let times = metadata.row_groups().iter().map(|group| {
                let at = group.columns().iter().position(|it| it.column_path().string() == "time");
                let statistics = group.column(at.unwrap()).statistics().unwrap();
                (
                    statistics.min_bytes_opt().unwrap().to_vec(),
                    statistics.max_bytes_opt().unwrap().to_vec(),
                )
            });
            let times: Vec<_> = times
                .map(|(min, max)| {
                    (
                        i64::from_le_bytes(min.try_into().unwrap()),
                        i64::from_le_bytes(max.try_into().unwrap()),
                    )
                })
                .collect();
            assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "in order: {times:?}");
        }
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut files = self.lake.objects("calls");
        files.sort_unstable();
        files
    }

    /// The bytes of each row group of the only object.
    fn groups(&self) -> Vec<Bytes> {
        let objects = self.objects();
        assert_eq!(objects.len(), 1);
        let (bytes, metadata) = read(&objects[0]);
        let ranges = metadata.row_groups().iter().map(|group| {
            let columns = group.columns().iter().map(ColumnChunkMetaData::byte_range);
            let begins = columns.clone().map(|(begins, _)| begins).min().unwrap();
            let ends = columns.map(|(begins, length)| begins + length).max().unwrap();
            usize::try_from(begins).unwrap()..usize::try_from(ends).unwrap()
        });
        ranges.map(|range| bytes.slice(range)).collect()
    }
}

fn read(path: &PathBuf) -> (Bytes, ParquetMetaData) {
    let bytes = Bytes::from(fs::read(path).unwrap());
    let reader = SerializedFileReader::new(bytes.clone()).unwrap();
    (bytes, reader.metadata().clone())
}

/// The calls of some days, a hundred each, which are more than a row group needs to be left alone.
fn days(of: std::ops::Range<u32>) -> Vec<(u32, u32)> {
    of.flat_map(|day| (0..100).map(move |number| (day * 100 + number, day))).collect()
}

#[test]
fn p2_a_months_row_groups_end_with_days_and_those_without_changes_are_copied() {
    let mut table = Table::new(Granularity::Month);
    // So that a day is enough for a row group.
    table.padding = 250_000;
    table.put(&days(1..4));
    table.assert_whole();
    let before = table.groups();
    assert_eq!(before.len(), 3, "a row group for each day");

    // A changed call of the last day, and a new one before all others.
    table.put(&[(307, 3), (2, 1)]);
    table.assert_whole();
    let after = table.groups();
    assert_eq!(after.len(), 4, "a small row group is not added to a large one");
    assert_eq!(after[1..3], before[..2]);
    assert!(after[0] != before[0] && after[3] != before[2]);

    // A small one is encoded with what comes beside it.
    table.put(&[(3, 1)]);
    table.assert_whole();
    let last = table.groups();
    assert_eq!((last.len(), &last[1..]), (4, &after[1..]));

    table.mark(203);
    table.assert_whole();
    assert!(table.lake.rows("calls").iter().any(|row| row.deleted), "P11");
    let marked = table.groups();
    assert_eq!((&marked[1], &marked[3]), (&last[1], &last[3]));
    assert_ne!(marked[2], last[2]);
}

#[test]
fn p2_each_call_is_in_the_lake_once_whatever_changes() {
    for granularity in [Granularity::Month, Granularity::Day] {
        let mut table = Table::new(granularity);
        // Two commits, and so two row groups in a month.
        table.put(&days(1..2));
        table.put(&days(2..4));
        for seed in 0..3 {
            let mut random = fastrand::Rng::with_seed(seed);
            let calls: BTreeMap<u32, u32> = (0..random.usize(1..30))
                .map(|_| (random.u32(100..500), random.u32(1..5)))
                .collect();
            // Calls change, appear, and move to another day.
            table.put(&calls.into_iter().collect::<Vec<_>>());
            table.assert_whole();
        }
    }
}
