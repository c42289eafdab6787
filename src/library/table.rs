//! Tables, as a program reads them: a snapshot, its partitions, and their rows as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, NaiveDate, Utc};
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::lake;
use crate::pipeline::blocking;

/// How many batches are read ahead of the reader.
const READ_AHEAD: usize = 2;

/// One table of a lake.
#[derive(Debug, Clone)]
pub struct Table {
    table: lake::Table,
}

impl Table {
    pub(super) fn new(table: lake::Table) -> Self {
        Self { table }
    }

    /// Its name, which is its endpoint's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.table.endpoint().name
    }

    /// The table according to its newest manifest. Later commits do not change a snapshot.
    ///
    /// # Errors
    /// `Config` when no export has committed this table; `Newer` when a newer version wrote the
    /// lake; `Corrupt` when its manifest cannot be read; when the store fails.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let table = self.table.clone();
        let snapshot = blocking(move || table.snapshot()).await?;
        if snapshot.manifest().version == 0 {
            let message = format!("the lake has no table `{}` yet", self.name());
            return Err(Error::new(ErrorKind::Config, message).with_hint("export it first"));
        }
        Ok(Snapshot { snapshot: Arc::new(snapshot) })
    }
}

/// A table according to one manifest. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Snapshot {
    snapshot: Arc<lake::Snapshot>,
}

impl Snapshot {
    /// The number of its manifest, which grows by one with each commit.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.snapshot.manifest().version
    }

    /// When it was committed.
    #[must_use]
    pub fn committed_at(&self) -> DateTime<Utc> {
        self.snapshot.manifest().committed_at
    }

    /// The instant up to which all changes are in it, if its endpoint supports requests for
    /// changes.
    #[must_use]
    pub fn watermark(&self) -> Option<DateTime<Utc>> {
        self.snapshot.manifest().watermark
    }

    /// Its columns. All its batches have this schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.snapshot.schema().arrow()
    }

    /// Its partitions, oldest first.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        let entries = self.snapshot.manifest().partitions.iter();
        let partition = |(name, entry): (&String, &crate::manifest::PartitionEntry)| {
            let hive = name.parse::<crate::partition::Partition>().ok()?;
            let path = entry.object.clone();
            Some(Partition { dt: hive.date(), rows: entry.rows, bytes: entry.bytes, path })
        };
        let mut partitions: Vec<_> = entries.filter_map(partition).collect();
        partitions.sort_by_key(|partition| partition.dt);
        partitions
    }

    /// All its rows, partition by partition.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.rows_of(&self.partitions())
    }

    /// The rows of some of its partitions, in this order.
    #[must_use]
    pub fn rows_of(&self, partitions: &[Partition]) -> Rows {
        let paths = partitions.iter().map(|partition| partition.path.clone()).collect();
        Rows::new(Arc::clone(&self.snapshot), paths)
    }
}

/// One partition of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its value of `dt`, which its rows do not repeat. Partitions of old lakes can lack it.
    pub dt: Option<NaiveDate>,
    /// How many rows it has.
    pub rows: u64,
    /// The size of its object.
    pub bytes: u64,
    /// The path of its object below the lake.
    pub path: String,
}

/// Rows of a snapshot, as a stream of batches. They are read in the background, a little ahead.
///
/// A snapshot is not a copy. When another run replaces an object of the snapshot before it is
/// read, the stream ends with an error of the kind `Conflict`, never with rows of two versions; a
/// new snapshot has the new rows.
#[derive(Debug)]
pub struct Rows(State);

#[derive(Debug)]
enum State {
    Waiting(Arc<lake::Snapshot>, Vec<String>),
    Reading(mpsc::Receiver<Result<RecordBatch>>, Option<JoinHandle<()>>),
}

impl Rows {
    fn new(snapshot: Arc<lake::Snapshot>, paths: Vec<String>) -> Self {
        Self(State::Waiting(snapshot, paths))
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Reading begins here, so that a stream dropped unread costs nothing.
        if let State::Waiting(snapshot, paths) = &mut self.0 {
            let (snapshot, paths) = (Arc::clone(snapshot), std::mem::take(paths));
            let (batches, reading) = read(snapshot, paths);
            self.0 = State::Reading(batches, Some(reading));
        }
        match &mut self.0 {
            State::Reading(batches, reading) => {
                if let Some(batch) = ready!(batches.poll_recv(context)) {
                    return Poll::Ready(Some(batch));
                }
                // The last batch is read. A task that panicked has not read all of them.
                let Some(task) = reading.as_mut() else { return Poll::Ready(None) };
                let ended = ready!(Pin::new(task).poll(context));
                *reading = None;
                Poll::Ready(ended.err().map(|error| {
                    let message = "the task that read the rows was aborted";
                    Err(Error::new(ErrorKind::Internal, message).with_source(error))
                }))
            }
            State::Waiting(..) => Poll::Ready(None),
        }
    }
}

/// Reads objects one after the other until all are read, one fails, or the reader is gone.
fn read(
    snapshot: Arc<lake::Snapshot>,
    paths: Vec<String>,
) -> (mpsc::Receiver<Result<RecordBatch>>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        for path in paths {
            let taken = snapshot.read_rows(&path, |batch| sender.blocking_send(Ok(batch)).is_ok());
            if let Err(error) = taken {
                let _ = sender.blocking_send(Err(error));
                return;
            }
            if sender.is_closed() {
                return;
            }
        }
    });
    (receiver, reading)
}
