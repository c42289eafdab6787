//! From JSON in memory to the lake, in bytes of JSON a second, with allocations.
//!
//! `lake` is the way of an export without its requests: decode, look for what is new, partition,
//! merge into an empty lake in memory, commit. `ceiling` is arrow-json with a perfect fixed schema
//! and one `ArrowWriter` with the same settings: it learns nothing, checks nothing, hashes nothing and
//! writes one file. The first should come near the second. `merge` replaces every tenth row of a
//! lake that is there, and `export` is everything, requests included, over an API in this process.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot run should say why")]

mod corpus;

use std::sync::Arc;

use arrow::json::ReaderBuilder;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use clari_lake::internals::clock::Clock;
use clari_lake::internals::decode::Origin;
use clari_lake::internals::endpoint::Catalogue;
use clari_lake::internals::fetch::Get;
use clari_lake::internals::lake::{Change, Lake, Snapshot, Store};
use clari_lake::internals::simulator::{Api, Options, Settings};
use clari_lake::{Client, Credentials};
use corpus::{CASES, Case, Corpus};
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use object_store::memory::InMemory;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// As much is committed at once as an export commits.
const BUFFER_BYTES: usize = 24 << 20;

fn main() {
    divan::main();
}

#[divan::bench(args = CASES, sample_count = 20)]
fn lake(bencher: Bencher<'_, '_>, case: &Case) {
    let corpus = Corpus::of(*case);
    bencher.counter(BytesCount::new(corpus.bytes())).bench_local(|| {
        let mut snapshot = open(&corpus, &memory());
        put(&corpus, &mut snapshot);
        snapshot
    });
}

#[divan::bench(args = CASES, sample_count = 20)]
fn ceiling(bencher: Bencher<'_, '_>, case: &Case) {
    let corpus = Corpus::of(*case);
    let rows = ((2 << 20) * corpus.records / corpus.lines.len()).max(1);
    bencher.counter(BytesCount::new(corpus.bytes())).bench_local(|| {
        let schema = corpus.arrow_schema();
        let properties = Some(properties());
        let mut writer =
            ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), properties).expect("it is plain");
        let reader = ReaderBuilder::new(schema).with_batch_size(rows);
        for batch in reader.build(corpus.lines.as_slice()).expect("plain types") {
            writer.write(&batch.expect("every value fits")).expect("memory takes it");
        }
        writer.into_inner().expect("memory takes it")
    });
}

#[divan::bench(args = CASES, sample_count = 20)]
fn merge(bencher: Bencher<'_, '_>, case: &Case) {
    let corpus = Corpus::of(*case);
    let mut snapshot = open(&corpus, &memory());
    put(&corpus, &mut snapshot);
    let mut decoder = snapshot.decoder().expect("memory answers");
    let tenth: Vec<(Bytes, Origin)> = corpus.replies.iter().step_by(10).cloned().collect();
    let mut fetched_at = 1;
    bencher
        .counter(BytesCount::new(corpus.bytes()))
        .with_inputs(|| {
            fetched_at += 1;
            let mut rows = decoder.decode_many(&tenth).expect("it is JSON").decoded.rows;
            for facts in &mut rows.facts {
                // As if something in it had changed.
                facts.hash ^= fetched_at;
                facts.fetched_at = i64::try_from(fetched_at).expect("it is small");
            }
            Change { rows: vec![rows], ..Change::default() }
        })
        .bench_local_values(|change| commit(&mut snapshot, &change));
}

#[divan::bench(sample_count = 10)]
fn export(bencher: Bencher<'_, '_>) {
    let options = Options { calls: 1_000, now: now(), ..Options::default() };
    let settings = Settings::default();
    let credentials =
        Credentials::new(&settings.api_key, &settings.api_password).expect("they are text");
    let api = Arc::new(Api::new(
        clari_lake::internals::simulator::Workspace::generate(&options),
        settings,
    ));
    let transport = move |get: Get| {
        let (reply, _) = api.answer(&head(get));
        std::future::ready(Ok(reply))
    };
    let client = Client::new(credentials).rate(0.0).over(Arc::new(transport));
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    bencher.bench_local(|| {
        let catalogue = Catalogue::built_in().expect("the built-in endpoints are right");
        let export = clari_lake::Lake::of(memory(), catalogue).export(client.clone());
        let export = export.to(now()).without_quota().clock(Clock::stopped_at(now()));
        runtime.block_on(export.run()).expect("the API answers")
    });
}

/// The settings of the lake's objects.
fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(3).expect("there is such a level");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_bytes(Some(16 << 20))
        .set_max_row_group_row_count(Some(100_000))
        .set_column_dictionary_enabled("id".into(), false)
        .set_column_bloom_filter_enabled("id".into(), true);
    for path in [
        "transcript.list.element.text",
        "transcript.list.element.annotations.list.element.phrase",
        "summary.full_summary",
        "summary.topics_discussed.list.element.summary",
        "summary.key_takeaways",
        "competitor_sentiments.list.element.reasoning",
    ] {
        let path = ColumnPath::new(path.split('.').map(str::to_owned).collect());
        properties = properties.set_column_dictionary_enabled(path, false);
    }
    properties.build()
}

fn put(corpus: &Corpus, snapshot: &mut Snapshot) {
    let mut decoder = snapshot.decoder().expect("memory answers");
    let (mut change, mut bytes) = (Change::default(), 0);
    for batch in corpus.batches() {
        let rows = decoder.decode_many(batch).expect("it is JSON").decoded.rows;
        let (_, looked_up) = snapshot.changed_rows(&rows.facts, now()).expect("memory answers");
        bytes += rows.batch.get_array_memory_size();
        change.add_rows(rows, looked_up);
        if bytes > BUFFER_BYTES {
            change.schema = Some(Arc::clone(decoder.schema()));
            commit(snapshot, &std::mem::take(&mut change));
            bytes = 0;
        }
    }
    change.schema = Some(Arc::clone(decoder.schema()));
    change.progress.freeze = true;
    commit(snapshot, &change);
}

fn commit(snapshot: &mut Snapshot, change: &Change) {
    let committed = snapshot.table().commit(snapshot, change, now()).expect("memory takes it");
    *snapshot = committed.0;
}

fn open(corpus: &Corpus, store: &Arc<Store>) -> Snapshot {
    let catalogue = Arc::new(Catalogue::built_in().expect("it is sound"));
    let table = Lake::new(store, &catalogue, "bench").table(&corpus.endpoint.name);
    table.and_then(|table| table.open(now())).expect("it is new")
}

fn memory() -> Arc<Store> {
    Arc::new(Store::on(Arc::new(InMemory::new()), "memory").expect("there are threads"))
}

fn now() -> DateTime<Utc> {
    Options::default().now
}

fn head(get: Get) -> http::Request<Bytes> {
    let query = get.url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}{query}", get.url.path());
    let mut head = http::Request::new(Bytes::new());
    *head.uri_mut() = target.parse().expect("it was one");
    *head.headers_mut() = get.headers;
    head
}
