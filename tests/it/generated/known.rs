//! Seeds that have found a fault once, which must stay mended, and faults that are known and not
//! mended yet: those are `should_panic`, in a [`Space`] that allows them.

use super::kind::Space;
use super::try_seed;

/// A1 to A6 and A13: children that select by several fields, answers that are kept, races and lost
/// pages of snapshots, snapshots by month, lost objects.
#[test]
fn p1_p4_p10_p12_p14_what_was_found_once_stays_mended() {
    for seed in [1, 4, 8, 34, 86] {
        if let Err(failed) = try_seed(seed, Space::MENDED, 0) {
            panic!("seed {seed}: {}", failed.0);
        }
    }
}
