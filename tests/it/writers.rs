//! P10: the most recently requested version of a row wins, whichever is written last.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clari_lake::internals::commit_plan::Mark;
use clari_lake::internals::decode::Origin;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::lake::{self, Change, Snapshot, Store};
use clari_lake::internals::manifest::Checked;

use crate::support::Lake;

fn now() -> DateTime<Utc> {
    "2026-11-25T07:00:00Z".parse().unwrap()
}

/// A writer that has opened the table of calls.
struct Writer(Snapshot);

impl Writer {
    fn new(lake: &Lake) -> Self {
        let store = Arc::new(Store::open(&lake.location()).unwrap());
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let calls = lake::Lake::new(&store, &catalogue, "writer").table("calls").unwrap();
        Self(calls.open(now()).unwrap())
    }

    fn commit(&mut self, change: &Change) {
        self.0 = self.0.table().commit(&self.0, change, now()).unwrap().0;
    }
}

/// One call as it was fetched at a second, on a day of November.
fn fetched(writer: &Writer, title: &str, day: u32, second: i64) -> Change {
    let time = format!("2026-11-{day:02}T09:00:00.000Z");
    let body = format!(r#"{{"calls": [{{"id": "c1", "title": "{title}", "time": "{time}"}}]}}"#);
    let fetched_at = now().timestamp_micros() + second * 1_000_000;
    let origin = Origin { fetched_at, ..Origin::default() };
    let rows = writer.0.decoder().unwrap().decode(body.as_bytes(), &origin).unwrap().rows;
    // As a run does: looked up when it is read, and again only if another run has committed since.
    let (_, looked_up) = writer.0.changed_rows(&rows.facts, now()).unwrap();
    let mut change = Change::default();
    change.add_rows(rows, looked_up);
    change
}

#[track_caller]
fn assert_says(lake: &Lake, title: &str, dt: &str) {
    let rows = lake.rows("calls");
    assert_eq!(rows.len(), 1, "P2: one row per call");
    assert_eq!((rows[0].record["title"].as_str(), rows[0].dt.as_str()), (Some(title), dt));
}

#[test]
fn p10_a_writer_with_older_data_that_wakes_late_changes_nothing() {
    for (day, dt) in [(20, "2026-11-20"), (21, "2026-11-21")] {
        let lake = Lake::new();
        let (mut sleeper, mut other) = (Writer::new(&lake), Writer::new(&lake));
        let old = fetched(&sleeper, "old", 20, 1);
        other.commit(&fetched(&other, "new", day, 2));
        sleeper.commit(&old);
        assert_says(&lake, "new", dt);
    }
}

#[test]
fn p10_newer_data_wins_although_another_wrote_in_between() {
    let lake = Lake::new();
    let (mut one, mut other) = (Writer::new(&lake), Writer::new(&lake));
    let new = fetched(&one, "new", 21, 2);
    other.commit(&fetched(&other, "old", 20, 1));
    one.commit(&new);
    assert_says(&lake, "new", "2026-11-21");
}

#[test]
fn p10_an_older_delete_mark_does_not_delete_a_restored_call() {
    let lake = Lake::new();
    let (mut sleeper, mut other) = (Writer::new(&lake), Writer::new(&lake));
    let gone_at = now().timestamp_micros() + 1_000_000;
    other.commit(&fetched(&other, "back", 20, 2));
    let day = lake.manifest("calls").map(|_| 20_777);
    let mut change = Change::default();
    change.statements.marks = vec![Mark { key: "c1".into(), day, deleted_at: Some(gone_at) }];
    sleeper.commit(&change);
    assert!(!lake.rows("calls")[0].deleted);
}

/// P1, P10: a comparison of children with their parents is complete only for what it saw. Once
/// another run has committed, in either order, the partition is compared again: a row could have
/// come for a parent that has been removed in the meantime.
#[test]
fn p10_a_comparison_with_the_parents_does_not_vouch_for_another_runs_rows() {
    let compared = || {
        let checked = Checked { parents: "shard".into(), ..Checked::default() };
        let mut change = Change::default();
        change.progress.checked = vec![("2026-11-20".into(), Some(checked))];
        change
    };
    let is_compared = |lake: &Lake| !lake.manifest("calls").unwrap().checked.is_empty();
    for rows_first in [false, true] {
        let lake = Lake::new();
        let (mut one, mut other) = (Writer::new(&lake), Writer::new(&lake));
        let rows = fetched(&one, "title", 20, 1);
        if rows_first {
            one.commit(&rows);
            other.commit(&compared());
        } else {
            other.commit(&compared());
            assert!(is_compared(&lake), "one writer's own comparison stays");
            one.commit(&rows);
        }
        assert!(!is_compared(&lake), "rows first: {rows_first}");
        let mut alone = Writer::new(&lake);
        alone.commit(&compared());
        alone.commit(&Change::default());
        assert!(is_compared(&lake));
    }
}
