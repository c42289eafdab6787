//! Seeds that found a fault, which must stay fixed.

use super::kind::Space;
use super::try_seed;

/// A parent's answer for another snapshot, a call after `--to`, goals and snapshots of wrong clocks
/// (also where another endpoint's requests got no reply), private records after runs without them,
/// numbered lists that grow while they are read, and coverage that a killed run committed without
/// the goal of its experimental endpoint.
#[test]
fn p1_p10_p12_p14_fixed_faults_stay_fixed() {
    for seed in [1542, 1550, 1566, 1639, 1719, 3023, 5285, 7033, 20_119, 30_106] {
        let space = Space { is_plain: true, ..Space::default() };
        if let Err(failed) = try_seed(seed, space, 0) {
            panic!("seed {seed}: {}", failed.0);
        }
    }
}
