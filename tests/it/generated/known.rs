//! What is known to go wrong, a seed for each: tests that must fail until it is mended.
//!
//! A test here that no longer panics has found its fault mended: then its name in [`Space`] goes, so
//! that every schedule draws what it allows.

use super::kind::Space;
use super::try_seed;

/// Lives through the schedule of a seed in which this is allowed.
#[track_caller]
fn fails(name: &str, seed: u64) {
    if let Err(failed) = try_seed(seed, Space::MENDED.with(name), 0) {
        panic!("{}", failed.0);
    }
}

/// A1: only one field of a parent is kept for its children to choose by.
#[test]
#[should_panic(expected = "P1: ")]
fn children_of_one_parent_choose_by_different_fields() {
    fails("several_selections", 1);
}

/// A2: what was asked for by an id, and when, is kept in a partition of its own, which is then taken
/// for the newest snapshot.
#[test]
#[should_panic(expected = "P7: ")]
fn an_id_of_a_snapshot_answers_404_or_is_good_for_days() {
    fails("kept_answers", 1);
}

/// A3: of two runs that read a day or a snapshot at once, the one that asked first and commits last
/// takes out what the other found, or brings back what the other did not find.
#[test]
#[should_panic(expected = "no record was removed")]
fn two_runs_replace_one_day() {
    fails("snapshot_races", 38);
}

/// A4: a snapshot of which a page cannot be read lacks what that page held.
#[test]
#[should_panic(expected = "P14: ")]
fn a_page_of_a_snapshot_is_refused() {
    fails("partial_snapshots", 3);
}

/// A5, A13: in a lake of months, each day's snapshot takes the place of the one before, and is read
/// anew.
#[test]
#[should_panic(expected = "P12: ")]
fn a_snapshot_is_kept_by_month() {
    fails("monthly_snapshots", 6);
}

/// A6: an object that no window brings back is lost, and no run says so.
#[test]
#[should_panic(expected = "was lost, and the run is complete")]
fn an_object_of_an_earlier_snapshot_is_lost() {
    fails("lost_snapshots", 12);
}

/// A relative of A6: an older version of an object is put in its place, as a restored backup does.
/// What it says is taken over, what it lacks is taken for removed, and no run lists it again.
#[test]
#[should_panic(expected = "P1: ")]
fn an_older_version_of_an_object_is_put_back() {
    fails("replaced_objects", 7);
}

/// Another: an object is overwritten with another partition's of its table. The run is complete,
/// and `verify` finds rows that are in no partition of theirs.
#[test]
#[should_panic(expected = "P12: ")]
fn an_object_is_overwritten_with_another_partition() {
    fails("swapped_objects", 1);
}

/// P10: of two runs at once, the one that asks last reads what is in the lake already, which it does
/// not commit; so the other, which asked before it and read something else, wins.
#[test]
#[should_panic(expected = "P10: ")]
fn a_reading_that_changes_nothing_is_forgotten() {
    fails("unchanged_readings", 7);
}
