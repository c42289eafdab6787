//! Decoding: JSON in memory to Arrow columns, in bytes a second, with allocations.
//!
//! `settled` decodes into the table's full schema, as every run after the first does. `learning`
//! knows the key and the time only and infers the rest, which is more than a first run has to.
//! `arrow_json` is the bare decoder with a fixed schema: it loses what does not fit, keeps no
//! `extra_json` and hashes nothing, so it says what parsing and building columns alone cost.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot run should say why")]

mod corpus;

use arrow::json::ReaderBuilder;
use corpus::{CASES, Case, Corpus};
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = CASES)]
fn settled(bencher: Bencher<'_, '_>, case: &Case) {
    let corpus = Corpus::of(*case);
    let mut decoder = corpus.decoder(corpus.schema.clone(), true);
    bencher.counter(BytesCount::new(corpus.bytes())).bench_local(|| {
        for batch in corpus.batches() {
            divan::black_box(decoder.decode_many(batch).expect("it is JSON"));
        }
    });
}

#[divan::bench(args = CASES)]
fn learning(bencher: Bencher<'_, '_>, case: &Case) {
    let corpus = Corpus::of(*case);
    bencher
        .counter(BytesCount::new(corpus.bytes()))
        .with_inputs(|| corpus.decoder(corpus.bare_schema(), false))
        .bench_local_values(|mut decoder| {
            for batch in corpus.batches() {
                divan::black_box(decoder.decode_many(batch).expect("it is JSON"));
            }
        });
}

#[divan::bench(args = CASES)]
fn arrow_json(bencher: Bencher<'_, '_>, case: &Case) {
    let corpus = Corpus::of(*case);
    // Batches of about 2 MB: larger ones leave the cache and are slower.
    let rows = ((2 << 20) * corpus.records / corpus.lines.len()).max(1);
    bencher.counter(BytesCount::new(corpus.bytes())).bench_local(|| {
        let reader = ReaderBuilder::new(corpus.arrow_schema()).with_batch_size(rows);
        for batch in reader.build(corpus.lines.as_slice()).expect("plain types") {
            divan::black_box(batch.expect("every value fits"));
        }
    });
}
