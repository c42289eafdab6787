//! Records from a file into a lake, without an API: what decoding and writing alone cost.
//!
//! ```sh
//! cargo run --release --example replay -- call_details details.ndjson LAKE
//! ```
//!
//! The file holds a record a line, of `calls` or `call_details`; the lake is a new folder, or one that
//! an earlier replay made. With `--by-month` a new one has a partition for each month. Without any,
//! the calls of a made-up workspace go into a lake that is thrown away. They go the way of an export: replies are decoded a few at a time, what is new is kept until it is much,
//! and is then merged into the partitions of its days and committed.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "here is where it is used")]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use clari_lake::internals::decode::{Origin, RecordDecoder};
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::lake::{Change, Lake, Snapshot, Store};
use clari_lake::internals::manifest::Granularity;
use clari_lake::internals::simulator::{Options, Workspace};

/// As many replies are decoded at once as an export decodes.
const BATCH_BYTES: usize = 2 << 20;
/// As much is committed at once as an export commits.
const BUFFER_BYTES: usize = 24 << 20;
/// As many records make a page as the API sends at most.
const PAGE: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    clari_lake::internals::allocator::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [endpoint, file, lake] => replay(endpoint, Path::new(file), lake, Granularity::Day),
        [endpoint, file, lake, by] if by == "--by-month" => {
            replay(endpoint, Path::new(file), lake, Granularity::Month)
        }
        [] => replay_made_up(),
        _ => Err("usage: replay [calls|call_details NDJSON LAKE [--by-month]]".into()),
    }
}

/// A made-up workspace's calls into a lake that is thrown away.
fn replay_made_up() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("calls.ndjson");
    let calls = Workspace::generate(&Options::default()).calls();
    let lines: Vec<String> = calls.iter().map(ToString::to_string).collect();
    std::fs::write(&file, lines.join("\n"))?;
    replay("calls", &file, &folder.path().join("lake").to_string_lossy(), Granularity::Day)
}

fn replay(
    endpoint: &str,
    file: &Path,
    lake: &str,
    granularity: Granularity,
) -> Result<(), Box<dyn Error>> {
    let mut replay = Replay::open(endpoint, lake, granularity)?;
    let mut lines = BufReader::with_capacity(1 << 20, File::open(file)?);
    let (begin, end): (&[u8], &[u8]) =
        if replay.page == 1 { (b"{\"call\":", b"}") } else { (b"{\"calls\":[", b"]}") };
    let (mut body, mut records) = (begin.to_vec(), 0);
    while lines.read_until(b'\n', &mut body)? > 0 {
        records += 1;
        if records == replay.page {
            body.extend(end);
            replay.reply(std::mem::replace(&mut body, begin.to_vec()))?;
            records = 0;
        } else {
            body.push(b',');
        }
    }
    if body.pop_if(|last| *last == b',').is_some() {
        body.extend(end);
        replay.reply(body)?;
    }
    println!("{} rows", replay.finish()?);
    Ok(())
}

struct Replay {
    snapshot: Snapshot,
    decoder: RecordDecoder,
    /// How many records a reply holds.
    page: usize,
    /// When all of it is taken to be requested.
    fetched_at: i64,
    replies: Vec<(Bytes, Origin)>,
    change: Change,
    bytes: usize,
}

impl Replay {
    fn open(endpoint: &str, lake: &str, granularity: Granularity) -> Result<Self, Box<dyn Error>> {
        let catalogue = Arc::new(Catalogue::built_in()?);
        let page = if catalogue.find(endpoint)?.parent.is_some() { 1 } else { PAGE };
        let store = Arc::new(Store::open(lake)?);
        let table = Lake::new(&store, &catalogue, "replay")
            .with_granularity(granularity)
            .table(endpoint)?;
        let snapshot = table.open(Utc::now())?;
        let decoder = snapshot.decoder()?;
        let (replies, change) = (Vec::new(), Change::default());
        let fetched_at = Utc::now().timestamp_micros();
        Ok(Self { snapshot, decoder, page, fetched_at, replies, change, bytes: 0 })
    }

    /// A reply, as the API would send it.
    fn reply(&mut self, body: Vec<u8>) -> Result<(), Box<dyn Error>> {
        self.replies
            .push((body.into(), Origin { fetched_at: self.fetched_at, ..Origin::default() }));
        let bytes: usize = self.replies.iter().map(|(body, _)| body.len()).sum();
        if bytes >= BATCH_BYTES { self.decode() } else { Ok(()) }
    }

    fn decode(&mut self) -> Result<(), Box<dyn Error>> {
        let replies = std::mem::take(&mut self.replies);
        let rows = self.decoder.decode_many(&replies)?.decoded.rows;
        let (new, looked_up) = self.snapshot.changed_rows(&rows.facts, Utc::now())?;
        let rows = if new.len() == rows.len() { rows } else { rows.take(&new)? };
        self.bytes += rows.batch.get_array_memory_size();
        self.change.add_rows(rows, looked_up);
        if self.bytes >= BUFFER_BYTES { self.commit(false) } else { Ok(()) }
    }

    fn commit(&mut self, freeze: bool) -> Result<(), Box<dyn Error>> {
        let mut change = std::mem::take(&mut self.change);
        change.schema = Some(Arc::clone(self.decoder.schema()));
        change.progress.freeze = freeze;
        self.bytes = 0;
        let table = self.snapshot.table().clone();
        self.snapshot = table.commit(&self.snapshot, &change, Utc::now())?.0;
        let manifest = self.snapshot.manifest();
        self.decoder.set_schema(Arc::new(manifest.schema.clone()), manifest.schema_frozen);
        Ok(())
    }

    fn finish(mut self) -> Result<u64, Box<dyn Error>> {
        if !self.replies.is_empty() {
            self.decode()?;
        }
        self.commit(true)?;
        Ok(self.snapshot.manifest().rows())
    }
}
