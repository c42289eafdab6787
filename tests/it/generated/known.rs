//! Seeds that found a fault, which must stay fixed, and known faults: tests
//! that must fail until they are fixed.
//!
//! If a test here no longer panics, its fault is fixed: then its name in [`Space`] goes, so
//! that every schedule draws what it allows.

use super::kind::Space;
use super::try_seed;

/// Lives through the schedule of a seed in which this is allowed.
#[track_caller]
fn fails(name: &str, seed: u64) {
    if let Err(failed) = try_seed(seed, Space::of(name), 0) {
        panic!("{}", failed.0);
    }
}

/// A1 to A6 and A13: children that select by several fields, answers that are kept, races and lost
/// pages of snapshots, snapshots by month, lost objects.
#[test]
fn p1_p4_p10_p12_p14_fixed_faults_stay_fixed() {
    for seed in [1, 3, 6, 12, 24, 28, 38, 76, 91, 618, 687, 300_147, 300_235, 300_331] {
        if let Err(failed) = try_seed(seed, Space::default(), 0) {
            panic!("seed {seed}: {}", failed.0);
        }
    }
}

/// A relative of A6: an object of a month is overwritten with another month's of its table, and a
/// reader sees rows of it come and go before all is listed again.
#[test]
#[should_panic(expected = "P1: ")]
fn an_object_is_overwritten_with_another_partition() {
    fails("swapped_objects", 76);
}

/// A relative of A6: an older version of a snapshot is put in its place; children of parents that it
/// lacks are removed until the parents are listed again.
#[test]
#[should_panic(expected = "P1: ")]
fn an_older_snapshot_is_put_back() {
    fails("replaced_snapshots", 3);
}
