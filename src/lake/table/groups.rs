//! Row groups: decides which of an object's row groups are copied and which are encoded again. The
//! result is the sequence of steps that writes the next version.
//!
//! A row group is copied if none of its rows changes and no new row belongs between its rows. A
//! small one is encoded together with its neighbor if that is encoded anyway, so that many small
//! commits leave few row groups; a larger one is never encoded just because of its size.

use std::ops::Range;

use super::object::RowOrder;

/// A row group with this many encoded bytes is large enough to be left alone.
pub(in crate::lake) const ENOUGH: u64 = 256 << 10;

/// What is known about a row group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::lake) struct Group {
    /// Its size, encoded.
    pub(in crate::lake) bytes: u64,
    /// The positions of its first and last rows; `None` when its rows are not in order.
    pub(in crate::lake) ends: Option<(RowOrder, RowOrder)>,
    /// Whether one of its rows is removed or gets another value.
    pub(in crate::lake) changes: bool,
}

/// A step that writes a part of the next version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lake) enum Step {
    /// Copy this row group.
    Copy(usize),
    /// Encode the rows of these row groups, merged with these new rows. Either may be empty.
    Encode {
        /// The row groups, by their number.
        groups: Range<usize>,
        /// The new rows, by their number in order.
        new: Range<usize>,
    },
}

/// The steps that write every row once, in order. The new rows are sorted.
pub(in crate::lake) fn plan(groups: &[Group], new: &[RowOrder]) -> Vec<Step> {
    let Some(ends) = ends(groups) else {
        return vec![Step::Encode { groups: 0..groups.len(), new: 0..new.len() }];
    };
    let mut steps = Vec::new();
    let mut placed = 0;
    for (at, (group, (first, last))) in groups.iter().zip(&ends).enumerate() {
        let before = placed + new[placed..].partition_point(|row| row < *first);
        let inside = before + new[before..].partition_point(|row| row < *last);
        if group.changes || inside > before {
            encode(&mut steps, at..at + 1, placed..inside);
            placed = inside;
        } else {
            encode(&mut steps, at..at, placed..before);
            steps.push(Step::Copy(at));
            placed = before;
        }
    }
    encode(&mut steps, groups.len()..groups.len(), placed..new.len());
    take_in_small(steps, groups)
}

/// Where each group begins and ends, if all of them are in order.
fn ends(groups: &[Group]) -> Option<Vec<(&RowOrder, &RowOrder)>> {
    let ends = groups.iter().map(|group| group.ends.as_ref().map(|(first, last)| (first, last)));
    let ends: Vec<_> = ends.collect::<Option<_>>()?;
    ends.windows(2).all(|pair| pair[0].1 < pair[1].0).then_some(ends)
}

/// Adds rows to encode, joined with the step before if that encodes too.
fn encode(steps: &mut Vec<Step>, groups: Range<usize>, new: Range<usize>) {
    match steps.last_mut() {
        Some(Step::Encode { groups: before, new: rows }) => {
            before.end = groups.end;
            rows.end = new.end;
        }
        _ if groups.is_empty() && new.is_empty() => {}
        _ => steps.push(Step::Encode { groups, new }),
    }
}

/// Encodes small groups together with what is encoded before or after them.
fn take_in_small(steps: Vec<Step>, groups: &[Group]) -> Vec<Step> {
    let is_small = |at: usize| groups[at].bytes < ENOUGH;
    let mut taken: Vec<Step> = Vec::new();
    // The small groups copied last, which are absorbed by the next encoding step.
    let mut small = 0;
    for step in steps {
        match (step, taken.last_mut()) {
            (Step::Copy(at), Some(Step::Encode { groups, .. })) if is_small(at) => {
                groups.end = at + 1;
            }
            (Step::Copy(at), _) => {
                small = if is_small(at) { small + 1 } else { 0 };
                taken.push(Step::Copy(at));
            }
            (Step::Encode { groups, new }, _) => {
                taken.truncate(taken.len() - small);
                encode(&mut taken, groups.start - small..groups.end, new);
                small = 0;
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(time: i64) -> RowOrder {
        RowOrder { time: Some(time), key: String::new() }
    }

    fn group(times: &[i64], bytes: u64, changes: bool) -> Group {
        let ends = Some((row(times[0]), row(times[times.len() - 1])));
        Group { bytes, ends, changes }
    }

    /// The steps for groups of `bytes` between these times.
    fn steps(groups: &[(i64, i64, bool)], new: &[i64], bytes: u64) -> Vec<Step> {
        let groups: Vec<_> = groups
            .iter()
            .map(|(from, to, changes)| group(&[*from, *to], bytes, *changes))
            .collect();
        let new: Vec<_> = new.iter().map(|time| row(*time)).collect();
        plan(&groups, &new)
    }

    fn encode(groups: Range<usize>, new: Range<usize>) -> Step {
        Step::Encode { groups, new }
    }

    const BIG: u64 = ENOUGH;

    #[test]
    fn unchanged_row_groups_are_copied() {
        let three = [(0, 10, false), (20, 30, false), (40, 50, false)];
        let copy = Step::Copy;
        assert_eq!(steps(&three, &[], BIG), [copy(0), copy(1), copy(2)]);
        assert_eq!(steps(&three, &[60], BIG), [copy(0), copy(1), copy(2), encode(3..3, 0..1)]);
        assert_eq!(
            steps(&three, &[-1, 15], BIG),
            [encode(0..0, 0..1), copy(0), encode(1..1, 1..2), copy(1), copy(2)]
        );
        assert_eq!(steps(&three, &[25, 35], BIG), [copy(0), encode(1..2, 0..2), copy(2)]);
        let changed = [(0, 10, false), (20, 30, true), (40, 50, true)];
        assert_eq!(steps(&changed, &[45], BIG), [copy(0), encode(1..3, 0..1)]);
    }

    #[test]
    fn rows_in_no_order_are_encoded_whole() {
        let overlapping = [(0, 10, false), (10, 30, false)];
        assert_eq!(steps(&overlapping, &[5], BIG), [encode(0..2, 0..1)]);
        let unordered = Group { bytes: BIG, ends: None, changes: false };
        assert_eq!(plan(&[unordered], &[]), [encode(0..1, 0..0)]);
    }

    #[test]
    fn small_neighbors_are_encoded_too() {
        let small = |times: &[i64], changes| group(times, ENOUGH - 1, changes);
        let big = |times: &[i64]| group(times, ENOUGH, false);
        let (one, two, three) = (&[0, 10], &[20, 30], &[40, 50]);
        let groups = [small(one, false), small(two, true), small(three, false)];
        assert_eq!(plan(&groups, &[]), [encode(0..3, 0..0)]);
        let groups = [small(one, false), big(two), small(three, false)];
        assert_eq!(plan(&groups, &[row(60)]), [Step::Copy(0), Step::Copy(1), encode(2..3, 0..1)]);
        // Nothing changes, so nothing is encoded, however small.
        let groups = [small(one, false), small(two, false)];
        assert_eq!(plan(&groups, &[]), [Step::Copy(0), Step::Copy(1)]);
    }

    proptest! {
        /// P2: whichever groups are copied, the next version has each row once, in order, as if all
        /// of it had been encoded.
        #[test]
        fn copying_gives_the_rows_that_encoding_the_whole_does(
            times in prop::collection::btree_set(0i64..400, 1..60),
            cuts in prop::collection::vec(1usize..12, 1..12),
            sizes in prop::collection::vec(1u64..(3 * ENOUGH), 12),
            changed in prop::collection::vec(prop::bool::weighted(0.2), 60),
            new in prop::collection::btree_set(0i64..400, 0..20),
        ) {
            let mut rest: Vec<i64> = times.into_iter().collect();
            let mut objects = Vec::new();
            for cut in cuts {
                let after = rest.split_off(cut.min(rest.len()));
                objects.push(std::mem::replace(&mut rest, after));
            }
            objects.retain(|times| !times.is_empty());
            // A new version of a row replaces the existing one.
            let taken_out = |time: &i64| new.contains(time) || changed[usize::try_from(*time).unwrap() % 60];
            let groups: Vec<_> = objects.iter().zip(&sizes).map(|(times, bytes)| {
                group(times, *bytes, times.iter().any(taken_out))
            }).collect();
            let new: Vec<i64> = new.iter().copied().collect();
            let rows: Vec<_> = new.iter().map(|time| row(*time)).collect();
            let steps = plan(&groups, &rows);
            let mut written = Vec::new();
            for step in &steps {
                match step {
                    Step::Copy(at) => {
                        prop_assert!(!groups[*at].changes);
                        written.extend(&objects[*at]);
                    }
                    Step::Encode { groups, new: rows } => {
                        let known = objects[groups.clone()].iter().flatten();
                        let mut merged: Vec<i64> = known.copied().filter(|it| !taken_out(it)).collect();
                        merged.extend(&new[rows.clone()]);
                        merged.sort_unstable();
                        written.extend(merged);
                    }
                }
            }
            let known = objects.iter().flatten().copied().filter(|it| !taken_out(it));
            let mut whole: Vec<i64> = known.chain(new.iter().copied()).collect();
            whole.sort_unstable();
            prop_assert_eq!(written, whole, "{:?}", steps);
            let is_encoded = |step: &Step| matches!(step, Step::Encode { .. });
            prop_assert!(!steps.windows(2).any(|it| it.iter().all(is_encoded)), "{:?}", steps);
        }
    }
}
