//! Every promise, for generated catalogues.
//!
//! A schedule draws endpoint files of every kind, a lake of days or months in a folder or in an
//! object store, and nights: what changes at the source, runs that are killed, stopped, asleep, two
//! at once, with any options, with clocks that are wrong, and objects that are lost. After every
//! run an oracle of what was said on the wire must agree with the lake, the report, the exit code
//! and `verify`; between any two writes an observer reads the lake.
//!
//! What is known to go wrong is left out, but for what `CLARI_LAKE_SPACE` names; [`known`] has seeds
//! that found faults.
//!
//! [`Seeds`] says which seeds are lived through. One that fails is named, and shrunk: what is printed
//! last is the least schedule that still fails. `CLARI_LAKE_GO_ON` goes on after a failure,
//! `CLARI_LAKE_SHRINKS` bounds the tries to shrink (80), `CLARI_LAKE_SPACE` names what is drawn
//! although it is known to go wrong, such as `swapped_objects`, or `plain` for what was drawn when
//! the seeds in [`known`] were found. `CLARI_LAKE_WATCH` prints each request, and what is said of
//! that key; `CLARI_LAKE_VERBOSE` the problems of each run.

mod draw;
mod end;
mod kind;
mod known;
mod life;
mod observer;
mod oracle;
mod place;
mod source;
mod wire;

use std::cell::RefCell;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::draw::Life;
use self::kind::Space;
use crate::support::{Seeds, number};

/// How many schedules a test run lives through.
const USUALLY: u64 = 12;

#[test]
fn p1_p2_p3_p4_p5_p10_p12_the_lake_holds_the_last_statement_for_any_endpoints() {
    let space = Space::of(&std::env::var("CLARI_LAKE_SPACE").unwrap_or_default());
    let shrinks = number("CLARI_LAKE_SHRINKS").and_then(|it| u32::try_from(it).ok()).unwrap_or(80);
    let mut failed = Vec::new();
    for seed in Seeds::usually(USUALLY) {
        if let Err(least) = try_seed(seed, space, shrinks) {
            let (reason, life) = *least;
            println!("seed {seed}: {reason}\n{life:#?}");
            let replay = format!(
                "CLARI_LAKE_SEED={seed} CLARI_LAKE_SEEDS=1 cargo test --test it -- generated"
            );
            // What is said last is not cut out of long output.
            failed.push(format!("seed {seed}: {reason}\nreplay: {replay}"));
            if number("CLARI_LAKE_GO_ON").is_none() {
                break;
            }
        }
    }
    assert!(failed.is_empty(), "seeds that fail:\n{}", failed.join("\n"));
}

/// A reason without what differs between faults of one kind: names, keys, instants.
fn kind_of(reason: &str) -> String {
    let words = reason.split(' ').filter(|word| !word.contains(|it: char| it.is_ascii_digit()));
    let promise = reason.split(':').next().unwrap_or_default();
    std::iter::once(promise).chain(words.take(6)).collect::<Vec<_>>().join(" ")
}

/// Lives through the schedule of one seed; if that fails, why, and the least schedule that does.
fn try_seed(seed: u64, space: Space, shrinks: u32) -> Result<(), Box<(String, Life)>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config =
        Config { failure_persistence: None, max_shrink_iters: shrinks, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tree = draw::life(space).new_tree(&mut runner).map_err(|it| it.to_string()).unwrap();
    let first = tree.current();
    // What is least must fail as the first did, and not in some other way.
    let fault = RefCell::new(None);
    let tried = runner.run_one(tree, |life| match life::live(&life) {
        Err(TestCaseError::Fail(reason)) => {
            let found = kind_of(reason.message());
            let first = fault.borrow_mut().get_or_insert_with(|| found.clone()).clone();
            if found == first { Err(TestCaseError::Fail(reason)) } else { Ok(()) }
        }
        other => other,
    });
    match tried {
        Ok(_) => Ok(()),
        Err(TestError::Fail(reason, life)) => Err(Box::new((reason.message().to_owned(), life))),
        Err(TestError::Abort(reason)) => Err(Box::new((reason.message().to_owned(), first))),
    }
}
