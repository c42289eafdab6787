//! Every promise at once, under a schedule that one seed decides: paused time, a source that
//! changes while it is read, a network and a store that fail in every way, runs that are killed,
//! stopped or asleep for hours, two at a time. After each night one clean run, and the lake must
//! be the source, record by record.
//!
//! `CLARI_LAKE_SEED` is the first seed (1), `CLARI_LAKE_SEEDS` how many, `CLARI_LAKE_SECONDS` for
//! how long new ones are begun (20); a seed that fails is named.

mod attack;
mod night;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

pub(crate) use self::attack::Blow;

/// A number that the environment decides.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn p1_p2_p3_p4_p10_p11_p12_the_lake_is_the_source_after_any_schedule() {
    let first = number("CLARI_LAKE_SEED").unwrap_or(1);
    let seconds = number("CLARI_LAKE_SECONDS").unwrap_or(20);
    let most = number("CLARI_LAKE_SEEDS").unwrap_or(u64::MAX - first);
    let begun = Instant::now();
    for seed in first..first + most {
        if begun.elapsed() > Duration::from_secs(seconds) {
            println!("{} schedules from seed {first} on", seed - first);
            return;
        }
        if let Err(failed) = catch_unwind(AssertUnwindSafe(|| live(seed))) {
            println!(
                "replay: CLARI_LAKE_SEED={seed} CLARI_LAKE_SEEDS=1 cargo test --test it simulation"
            );
            resume_unwind(failed);
        }
    }
}

/// Lives through the nights of one seed.
fn live(seed: u64) {
    println!("seed {seed}");
    // The exporter's own luck, which spreads its retries.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // One at a time, so that the order of commits is the schedule's and not the machine's.
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(night::live(seed));
}
