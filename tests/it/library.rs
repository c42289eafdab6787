//! The library, as a program uses it: builders that report when they run, and snapshots that are
//! read as streams.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use clari_lake::{Catalogue, Client, Credentials, ErrorKind, Export, Lake, Simulator};
use futures::{StreamExt, TryStreamExt};
use tempfile::TempDir;

/// A lake with the calls of a simulated workspace.
async fn lake_of_calls() -> (TempDir, Simulator, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let simulator = Simulator::start(300).unwrap();
    let lake = Lake::open(folder.path().to_str().unwrap()).await.unwrap();
    let report = calls(&lake, &simulator).run().await.unwrap();
    assert!(report.complete, "{:?}", report.problems);
    (folder, simulator, lake)
}

fn calls(lake: &Lake, simulator: &Simulator) -> Export {
    lake.export(simulator.client()).endpoints(["calls"]).without_quota()
}

/// P1, P2: a snapshot's stream has the rows that its partitions and the report name, in one schema.
#[tokio::test]
async fn a_snapshots_stream_has_all_its_rows_in_one_schema() {
    let (_folder, simulator, lake) = lake_of_calls().await;
    let report = calls(&lake, &simulator).run().await.unwrap();
    let snapshot = lake.table("calls").unwrap().snapshot().await.unwrap();
    let partitions = snapshot.partitions();
    assert!(partitions.is_sorted_by_key(|partition| partition.dt));
    let batches: Vec<_> = snapshot.rows().try_collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.schema() == snapshot.schema()));
    let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(rows as u64, report.endpoints[0].rows);
    assert_eq!(rows as u64, partitions.iter().map(|partition| partition.rows).sum::<u64>());
    let newest = partitions.last().map(std::slice::from_ref).unwrap();
    let of_newest: Vec<_> = snapshot.rows_of(newest).try_collect().await.unwrap();
    let rows: usize = of_newest.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(rows as u64, newest[0].rows);
}

/// P2: a reader of an object that was replaced gets an error, never rows of two versions.
#[tokio::test]
async fn an_object_that_was_replaced_ends_the_stream_with_a_conflict() {
    let (folder, _simulator, lake) = lake_of_calls().await;
    let snapshot = lake.table("calls").unwrap().snapshot().await.unwrap();
    let newest = snapshot.partitions().pop().unwrap();
    let object = folder.path().join(&newest.path);
    let other = folder.path().join(".other");
    fs::copy(&object, &other).unwrap();
    fs::rename(&other, &object).unwrap();
    let mut rows = snapshot.rows();
    let mut read = 0;
    let error = loop {
        match rows.next().await.expect("the last partition was replaced") {
            Ok(batch) => read += batch.num_rows() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(read, snapshot.partitions().iter().map(|it| it.rows).sum::<u64>() - newest.rows);
    assert!(rows.next().await.is_none(), "nothing follows an error");
}

/// A setter cannot fail; the run says what is wrong, and then nothing has been written.
#[tokio::test]
async fn a_mistake_in_an_export_is_reported_when_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(folder.path().to_str().unwrap()).await.unwrap();
    let client = Client::new(Credentials::new("key", "password").unwrap());
    let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
    let export = || lake.export(client.clone());
    for (wrong, what) in [
        (export().to(Utc::now() + TimeDelta::hours(1)), "is in the future"),
        (export().from(now).to(now), "is not before the end"),
        (export().backfill(now, now - TimeDelta::days(1)), "is not before the end"),
        (export().endpoints(["cals"]), "no endpoint `cals`"),
        (lake.export(client.clone().base_url("example.com")), "base URL"),
    ] {
        let error = wrong.run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_missing_lake_or_table_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().to_str().unwrap();
    let lake = Lake::open(location).await.unwrap();
    let missing = lake.table("calls").unwrap().snapshot().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config);
    assert_eq!(lake.table("cals").unwrap_err().kind(), ErrorKind::Config);
    fs::write(folder.path().join("notes.txt"), "no lake").unwrap();
    assert_eq!(Lake::open(location).await.unwrap_err().kind(), ErrorKind::Config);
}

/// An endpoint file that is wrong is refused before anything is requested.
#[tokio::test]
async fn a_child_without_its_parent_is_refused_when_the_lake_is_opened() {
    let child = "description = \"notes\"\npath = \"/notes/{parent.id}\"\nrecords = \"$.notes[*]\"\n\
        key = [\"id\"]\n[dated]\nby = \"run\"\n[parent]\nendpoint = \"none\"\nid = \"$.id\"\n\
        [[column]]\nname = \"id\"\ntype = \"string\"\n";
    let endpoints = Catalogue::built_in().unwrap().with_file("notes", child).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let refused = Lake::open_with(folder.path().to_str().unwrap(), endpoints).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Config);
}
