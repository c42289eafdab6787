//! Decoding in bytes a second: pages of calls, and call details of three sizes.
//!
//! `settled` decodes into the table's full schema, as every run after the first does. `learning`
//! knows the key and the time only and infers the rest, which is more than a first run has to.
//! `arrow-json` is the bare decoder with a fixed schema: it loses what does not fit, keeps no
//! `extra_json` and hashes nothing, so it says what parsing and building columns alone cost.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot run should say why")]

use std::hint::black_box;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use arrow::json::ReaderBuilder;
use clari_lake::decode::{Origin, RecordDecoder};
use clari_lake::endpoint::{Catalogue, Endpoint};
use clari_lake::schema::{ColumnType, Schema};
use clari_lake::simulator::{Options, Workspace};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

/// A reply, and the same records one a line.
struct Body {
    name: String,
    reply: Vec<u8>,
    lines: Vec<u8>,
}

fn pages_of_calls(criterion: &mut Criterion) {
    let calls = workspace(36).calls();
    let page = &calls[..100];
    let name = "100 calls".to_owned();
    let body = Body { name, reply: text(&json!({ "calls": page })), lines: lines(page) };
    measure(criterion, "calls", &body);
}

fn details(criterion: &mut Criterion) {
    let sizes = [("5 KB", 5_000, 2), ("30 KB", 30_000, 100), ("1 MB", 1_000_000, 4_000)];
    for (name, target, turns) in sizes {
        let call = details_of_about(target, &workspace(turns));
        let (name, lines) = (name.to_owned(), lines(std::slice::from_ref(&call)));
        let body = Body { name, reply: text(&json!({ "call": call })), lines };
        measure(criterion, "call_details", &body);
    }
}

fn measure(criterion: &mut Criterion, endpoint: &str, body: &Body) {
    let catalogue = Catalogue::built_in().expect("the built-in endpoints are right");
    let endpoint = Arc::new(catalogue.find(endpoint).expect("it is built in").clone());
    let mut group = criterion.benchmark_group(format!("{} {}", endpoint.name, body.name));
    group.throughput(Throughput::Bytes(body.reply.len() as u64));
    let origin = Origin::default();
    let mut settled = decoder(&endpoint, full_schema(&endpoint, body), true);
    group.bench_function("settled", |bencher| {
        bencher.iter(|| settled.decode(black_box(&body.reply), &origin).expect("it is JSON"));
    });
    let learning = decoder(&endpoint, bare_schema(&endpoint), false);
    group.bench_function("learning", |bencher| {
        let decode = |mut decoder: RecordDecoder| decoder.decode(&body.reply, &origin);
        bencher.iter_batched(|| learning.another(), decode, BatchSize::SmallInput);
    });
    let schema = without_zones(&full_schema(&endpoint, body));
    group.bench_function("arrow-json", |bencher| {
        let mut decoder = ReaderBuilder::new(schema.clone()).build_decoder().expect("plain types");
        bencher.iter(|| {
            decoder.decode(black_box(&body.lines)).expect("every value fits");
            decoder.flush().expect("the records are whole")
        });
    });
    group.finish();
}

fn decoder(endpoint: &Arc<Endpoint>, schema: Schema, settled: bool) -> RecordDecoder {
    RecordDecoder::new(Arc::clone(endpoint), Arc::new(schema), settled, None)
}

/// The schema that this body settles.
fn full_schema(endpoint: &Arc<Endpoint>, body: &Body) -> Schema {
    let mut decoder = decoder(endpoint, endpoint.schema(), false);
    decoder.decode(&body.reply, &Origin::default()).expect("it is JSON");
    decoder.schema().as_ref().clone()
}

/// The schema that knows nothing but the key and the time.
fn bare_schema(endpoint: &Endpoint) -> Schema {
    let mut schema = endpoint.schema();
    let time = endpoint.time_field();
    schema.columns.retain(|it| endpoint.key.contains(&it.name) || time == Some(&it.name));
    schema
}

/// The record's columns as arrow-json takes them: it knows no zone by name.
fn without_zones(schema: &Schema) -> Arc<ArrowSchema> {
    let field = |name: &str, of: &ColumnType| Field::new(name, without_zone(&of.data_type()), true);
    let fields = schema.columns.iter().map(|column| field(&column.name, &column.column_type));
    Arc::new(ArrowSchema::new(fields.collect::<Fields>()))
}

fn without_zone(data_type: &DataType) -> DataType {
    let plain = |field: &Field| Field::new(field.name(), without_zone(field.data_type()), true);
    match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        DataType::List(item) => DataType::List(Arc::new(plain(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|it| plain(it)).collect()),
        other => other.clone(),
    }
}

/// A workspace without surprising values: arrow-json would stop at them.
fn workspace(turns: usize) -> Workspace {
    let options = Options { calls: 300, turns, ..Options::default() };
    Workspace::generate(&Options { oddities: 0.0, lone_surrogates: 0.0, ..options })
}

/// The details whose text comes nearest to the size.
fn details_of_about(target: usize, workspace: &Workspace) -> Value {
    let calls = workspace.calls();
    let ids = calls.iter().filter_map(|call| call["id"].as_str());
    let details = ids.filter_map(|id| workspace.details(id));
    let nearest = details.min_by_key(|call| text(call).len().abs_diff(target));
    nearest.expect("some call is finished")
}

fn text(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value is JSON")
}

fn lines(records: &[Value]) -> Vec<u8> {
    records.iter().map(text).collect::<Vec<_>>().join(&b'\n')
}

criterion_group!(benches, pages_of_calls, details);
criterion_main!(benches);
