//! The laws of a commit plan, checked against a model of a few lines: a map from key to the most
//! recently requested statement.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use super::*;
use crate::manifest::{Attempt, Granularity, ParentVersion, PartitionEntry};
use crate::partition::Partition;
use crate::row::RowFacts;
use crate::schema::{AddedColumns, Schema};
use crate::window::Window;

/// After every statement, so that none is in the future.
const NOW: i64 = 20_002 * 86_400_000_000;
/// The day of the first statements, days since 1970.
const TODAY: i32 = 20_000;

/// A table in memory: its manifest and index, and the rows of its objects. A plan is applied
/// without writing an object.
#[derive(Clone)]
struct Table {
    rules: Rules,
    manifest: Manifest,
    index: BTreeMap<Partition, Entries>,
    parents: Entries,
    /// The rows of each partition: the content and the request time of each key.
    rows: BTreeMap<Partition, BTreeMap<Box<str>, (u128, i64)>>,
}

impl Table {
    fn new(rules: Rules) -> Self {
        let schema = Schema { columns: Vec::new(), added: AddedColumns::default() };
        let manifest = Manifest::new("t", schema, rules.granularity);
        let (index, rows) = (BTreeMap::new(), BTreeMap::new());
        Self { rules, manifest, index, parents: Entries::new(), rows }
    }

    fn known(&self, needs: &Needs) -> Known {
        let mut known = Known { parents: self.parents.clone(), ..Known::default() };
        for partition in &needs.shards {
            let shard = self.index.get(partition).cloned().unwrap_or_default();
            known.shards.insert(*partition, shard);
        }
        for (key, _) in &needs.keys {
            let place = self.index.iter().find(|(_, shard)| shard.contains_key(key));
            if let Some((partition, shard)) = place {
                known.entries.insert(key.clone(), (*partition, shard[key].clone()));
            }
        }
        known
    }

    /// Commits statements; returns how many partitions were written.
    fn commit(&mut self, statements: Statements) -> usize {
        let needs = needs(&self.manifest, &self.rules, &statements, RowKeys::Needed);
        let known = self.known(&needs);
        let plan = plan(&self.manifest, &self.rules, &known, statements, &Progress::default());
        let written = plan.rewrites.len();
        let before = self.rows.clone();
        for (partition, rewrite) in &plan.rewrites {
            let copied = rewrite.copied.and_then(|(from, _)| before.get(&from).cloned());
            let mut rows = before.get(partition).cloned().or(copied).unwrap_or_default();
            rows.retain(|key, _| !rewrite.removed.contains(key));
            for (batch, row) in &rewrite.rows {
                let facts = &plan.rows[*batch][*row];
                rows.insert(facts.key.clone(), (facts.hash, facts.fetched_at));
            }
            let entry = PartitionEntry {
                object: String::new(),
                rows: rows.len() as u64,
                bytes: 0,
                etag: String::new(),
                sha256: String::new(),
                schema: String::new(),
            };
            self.rows.insert(*partition, rows);
            self.manifest.partitions.insert(partition.to_string(), entry);
        }
        for (partition, shard) in plan.copied_shards {
            self.index.insert(partition, shard);
        }
        for (partition, delta) in plan.index {
            let shard = self.index.entry(partition).or_default();
            for (key, entry) in delta {
                match entry {
                    Some(entry) => shard.insert(key, entry),
                    None => shard.remove(&key),
                };
            }
        }
        for (id, entry) in plan.parents {
            match entry {
                Some(entry) => self.parents.insert(id, entry),
                None => self.parents.remove(&id),
            };
        }
        self.manifest = Manifest { partitions: self.manifest.partitions.clone(), ..plan.next };
        written
    }

    /// The content of each key, which is in exactly one of the partitions that count.
    fn content(&self, newest_only: bool) -> BTreeMap<Box<str>, u128> {
        let mut content = BTreeMap::new();
        let skipped = if newest_only { self.rows.len().saturating_sub(1) } else { 0 };
        for (key, (hash, _)) in self.rows.values().skip(skipped).flatten() {
            assert_eq!(content.insert(key.clone(), *hash), None, "P2: {key} twice");
        }
        content
    }

    /// The index agrees with the rows.
    fn assert_index(&self) {
        for (partition, shard) in &self.index {
            let there = shard.iter().filter(|(_, entry)| entry.in_lake);
            let indexed: BTreeMap<_, _> =
                there.map(|(key, entry)| (key.clone(), (entry.hash, entry.fetched_at))).collect();
            let rows = self.rows.get(partition).cloned().unwrap_or_default();
            let newest = self.rows.keys().next_back() == Some(partition);
            assert!(indexed == rows || (self.rules.is_snapshot && !newest), "{indexed:?} {rows:?}");
        }
    }
}

fn rules(is_snapshot: bool, granularity: Granularity) -> Rules {
    Rules {
        granularity,
        is_snapshot,
        keeps_first_day: false,
        is_child: false,
        has_parent_column: false,
        has_marks: true,
        now: NOW,
    }
}

fn at(minute: u16) -> i64 {
    i64::from(TODAY) * 86_400_000_000 + i64::from(minute) * 60_000_000
}

fn row(key: u8, hash: u8, day: i32, minute: u16) -> RowFacts {
    RowFacts {
        key: key.to_string().into(),
        hash: u128::from(hash),
        day: Some(day),
        fetched_at: at(minute),
        is_complete: true,
        ..RowFacts::default()
    }
}

fn listing(scope: Scope, keys: &BTreeSet<u8>, minute: u16) -> Listing {
    let keys = keys.iter().map(|key| key.to_string().into()).collect();
    Listing { scope, keys, requested_at: at(minute) }
}

/// What one reply says, with the time of its request.
#[derive(Debug, Clone)]
enum Said {
    /// A key has this content, on this day.
    Content { key: u8, hash: u8, day: u8 },
    /// A key is gone.
    Gone { key: u8 },
}

/// Statements with distinct times, in commit order.
fn said() -> impl Strategy<Value = Vec<(u16, Said)>> {
    let content =
        (0u8..4, 1u8..4, 0u8..3).prop_map(|(key, hash, day)| Said::Content { key, hash, day });
    let gone = (0u8..4).prop_map(|key| Said::Gone { key });
    let one = prop_oneof![3 => content, 1 => gone];
    prop::collection::vec(one, 1..12)
        .prop_flat_map(|said| {
            let instants: Vec<u16> = (0..u16::try_from(said.len()).unwrap_or(0)).collect();
            (Just(said), Just(instants).prop_shuffle())
        })
        .prop_map(|(said, instants)| instants.into_iter().zip(said).collect())
}

proptest! {
    /// P2, P10: of all statements about a record, the most recently requested one wins, in whatever
    /// order they are committed, and no key is in two partitions.
    #[test]
    fn the_last_requested_statement_wins(said in said(), monthly in any::<bool>()) {
        let granularity = if monthly { Granularity::Month } else { Granularity::Day };
        let mut table = Table::new(rules(false, granularity));
        // What never existed cannot be found to be gone: a removal requires a row.
        let mut last: HashMap<u8, (u16, Option<(u8, u8)>)> = HashMap::new();
        for (minute, said) in said {
            let mut statements = Statements::default();
            let (key, content) = match said {
                Said::Content { key, hash, day } => {
                    let on = TODAY - 40 * i32::from(day);
                    statements.rows = vec![vec![row(key, hash, on, minute)]];
                    (key, Some((hash, day)))
                }
                Said::Gone { key } => {
                    let removal = Removal { key: key.to_string().into(), day: None, at: at(minute) };
                    statements.removals = vec![removal];
                    (key, None)
                }
            };
            let known = last.get(&key).copied();
            let is_late = known.is_some_and(|(other, _)| other > minute);
            let is_about_nothing = content.is_none() && known.is_none_or(|known| known.1.is_none());
            // A row identical to the existing one leaves the time of the first in place. Then a
            // statement requested between the two cannot be told from one later than both.
            let stays = known.is_some_and(|known| known.1 == content && content.is_some());
            if !is_late && !is_about_nothing && !stays {
                last.insert(key, (minute, content));
            }
            table.commit(statements);
            table.assert_index();
        }
        let expected: BTreeMap<Box<str>, u128> = last
            .iter()
            .filter_map(|(key, (_, content))| Some((key.to_string().into(), u128::from((*content)?.0))))
            .collect();
        prop_assert_eq!(table.content(false), expected);
    }

    /// P4: committing the same statements again, at any later time, writes nothing.
    #[test]
    fn a_repeated_statement_writes_nothing(
        keys in prop::collection::btree_set(0u8..20, 0..12),
        is_snapshot in any::<bool>(),
        later in 1u16..400,
    ) {
        let mut table = Table::new(rules(is_snapshot, Granularity::Day));
        let statements = |minute| Statements {
            rows: vec![keys.iter().map(|key| row(*key, 1, TODAY, minute)).collect()],
            listings: vec![listing(Scope::Day(TODAY), &keys, minute)],
            ..Statements::default()
        };
        table.commit(statements(0));
        prop_assert_eq!(table.commit(statements(later)), 0);
        table.assert_index();
    }

    /// P10: for two complete lists of a snapshot, and the rows of either, the one requested later
    /// wins, in either order of committing.
    #[test]
    fn of_two_lists_of_a_snapshot_the_later_requested_wins(
        before in prop::collection::btree_set(0u8..6, 0..6),
        one in prop::collection::btree_map(0u8..6, 1u8..4, 0..6),
        other in prop::collection::btree_map(0u8..6, 1u8..4, 0..6),
        monthly in any::<bool>(),
    ) {
        let granularity = if monthly { Granularity::Month } else { Granularity::Day };
        let list = |content: &BTreeMap<u8, u8>, minute| Statements {
            rows: vec![content.iter().map(|(key, hash)| row(*key, *hash, TODAY, minute)).collect()],
            listings: vec![
                listing(Scope::Day(TODAY), &content.keys().copied().collect(), minute),
            ],
            ..Statements::default()
        };
        let expected: BTreeMap<Box<str>, u128> =
            other.iter().map(|(key, hash)| (key.to_string().into(), u128::from(*hash))).collect();
        for later_first in [false, true] {
            let mut table = Table::new(rules(true, granularity));
            table.commit(list(&before.iter().map(|key| (*key, 1)).collect(), 0));
            let mut both = [list(&one, 10), list(&other, 20)];
            if later_first {
                both.reverse();
            }
            for statements in both {
                table.commit(statements);
                table.assert_index();
            }
            prop_assert_eq!(&table.content(false), &expected, "later first: {}", later_first);
        }
    }

    /// P14: a snapshot that could be read only in part has every row of the one before, replaced
    /// where it was read; carried rows keep their times.
    #[test]
    fn a_snapshot_that_was_read_in_part_lacks_nothing(
        before in prop::collection::btree_map(0u8..10, 1u8..4, 0..10),
        read in prop::collection::btree_map(0u8..10, 1u8..4, 1..10),
        monthly in any::<bool>(),
    ) {
        let granularity = if monthly { Granularity::Month } else { Granularity::Day };
        let mut table = Table::new(rules(true, granularity));
        let rows = |content: &BTreeMap<u8, u8>, day, minute| {
            vec![content.iter().map(|(key, hash)| row(*key, *hash, day, minute)).collect()]
        };
        table.commit(Statements {
            rows: rows(&before, TODAY, 0),
            listings: vec![listing(Scope::Day(TODAY), &before.keys().copied().collect(), 0)],
            ..Statements::default()
        });
        let tomorrow = Statements { rows: rows(&read, TODAY + 1, 1_500), ..Statements::default() };
        table.commit(tomorrow.clone());
        table.assert_index();
        let mut expected: BTreeMap<Box<str>, u128> = BTreeMap::new();
        for (key, hash) in before.iter().chain(&read) {
            expected.insert(key.to_string().into(), u128::from(*hash));
        }
        prop_assert_eq!(table.content(true), expected);
        for (key, (_, instant)) in table.rows.values().next_back().into_iter().flatten() {
            let key: u8 = key.parse().unwrap();
            let is_same = monthly && before.get(&key) == read.get(&key);
            let is_carried = !read.contains_key(&key) || is_same;
            prop_assert_eq!(*instant, at(if is_carried { 0 } else { 1_500 }), "{}", key);
        }
        prop_assert_eq!(table.commit(tomorrow), 0, "P4: it is read again");
    }

    /// P2, P10: of two readings of one range, the one requested later wins, in either order of
    /// committing, and another range of the same day is unaffected.
    #[test]
    fn of_two_readings_of_a_range_the_later_requested_wins(
        before in prop::collection::btree_set(0u8..6, 0..6),
        one in prop::collection::btree_map(0u8..6, 1u8..4, 0..6),
        other in prop::collection::btree_map(0u8..6, 1u8..4, 0..6),
    ) {
        let of_ranges = Rules {
            has_parent_column: true,
            keeps_first_day: true,
            ..rules(false, Granularity::Day)
        };
        let key = |range: &str, of: u8| format!("{range}{}{of}", crate::row::KEY_SEPARATOR);
        let read = |range: &str, content: &BTreeMap<u8, u8>, minute| {
            let facts = |(of, hash): (&u8, &u8)| RowFacts {
                key: key(range, *of).into(),
                parent: Some(range.into()),
                ..row(*of, *hash, TODAY, minute)
            };
            let keys = content.keys().map(|of| key(range, *of).into()).collect();
            let scope = Scope::Parent { id: range.into(), day: TODAY };
            Statements {
                rows: vec![content.iter().map(facts).collect()],
                listings: vec![Listing { scope, keys, requested_at: at(minute) }],
                ..Statements::default()
            }
        };
        let before: BTreeMap<u8, u8> = before.iter().map(|of| (*of, 1)).collect();
        let expected = |range: &str, content: &BTreeMap<u8, u8>| {
            let rows = content.iter().map(|(of, hash)| (key(range, *of).into(), u128::from(*hash)));
            rows.collect::<BTreeMap<Box<str>, u128>>()
        };
        let mut all = expected("a", &other);
        all.extend(expected("b", &before));
        for later_first in [false, true] {
            let mut table = Table::new(of_ranges);
            table.commit(read("a", &before, 0));
            table.commit(read("b", &before, 1));
            let mut both = [read("a", &one, 10), read("a", &other, 20)];
            if later_first {
                both.reverse();
            }
            for statements in both {
                table.commit(statements);
                table.assert_index();
            }
            prop_assert_eq!(&table.content(false), &all, "later first: {}", later_first);
        }
    }

    /// P1, P10: a parent's list that was read for one snapshot does not suppress what was read for
    /// another one, as by a run with `--to` in the past, in either order of committing.
    #[test]
    fn a_parents_list_for_another_snapshot_suppresses_nothing(
        before in prop::collection::btree_set(0u8..4, 0..4),
        of_yesterday in prop::collection::btree_set(0u8..4, 0..4),
        of_today in prop::collection::btree_set(0u8..4, 0..4),
        minutes in (2_000u16..2_010, 2_000u16..2_010),
        today_first in any::<bool>(),
    ) {
        let with_parent =
            Rules { is_child: true, has_parent_column: true, ..rules(true, Granularity::Day) };
        let key = |child: u8| format!("p{}{child}", crate::row::KEY_SEPARATOR);
        let read = |children: &BTreeSet<u8>, day, minute| {
            let attempt = Attempt { parent: ParentVersion::Content(1), ..Attempt::default() };
            let rows = children.iter().map(|child| RowFacts {
                key: key(*child).into(),
                parent: Some("p".into()),
                ..row(*child, 1, day, minute)
            });
            Statements {
                rows: vec![rows.collect()],
                listings: vec![Listing {
                    scope: Scope::Parent { id: "p".into(), day },
                    keys: children.iter().map(|child| key(*child).into()).collect(),
                    requested_at: at(minute),
                }],
                answers: vec![ParentAnswer { id: "p".into(), day, answered_at: at(minute), attempt }],
                ..Statements::default()
            }
        };
        let mut table = Table::new(with_parent);
        table.commit(read(&before, TODAY - 1, 0));
        table.commit(read(&before, TODAY, 1_500));
        let mut both = [
            read(&of_yesterday, TODAY - 1, minutes.0),
            read(&of_today, TODAY, minutes.1),
        ];
        if today_first {
            both.reverse();
        }
        for statements in both {
            table.commit(statements);
            table.assert_index();
        }
        for (day, expected) in [(TODAY - 1, &of_yesterday), (TODAY, &of_today)] {
            let rows = &table.rows[&with_parent.partition(Some(day))];
            let keys: BTreeSet<Box<str>> = rows.keys().cloned().collect();
            prop_assert_eq!(keys, expected.iter().map(|child| key(*child).into()).collect());
        }
        let answer = &table.parents["p"];
        prop_assert_eq!(answer.day, Some(TODAY), "the newest snapshot's answer is remembered");
    }

    /// P10: of "these parents, and no others" and the list of one parent, the one requested later
    /// wins, in either order of committing. A parent that exists, but has never answered, keeps what
    /// was read for it.
    #[test]
    fn of_all_parents_and_the_list_of_one_the_later_requested_wins(
        known in prop::collection::btree_set(0u8..4, 0..4),
        there in prop::collection::btree_set(0u8..4, 0..4),
        read in prop::collection::btree_set(0u8..4, 0..4),
        minutes in (10u16..20, 10u16..20),
        parents_first in any::<bool>(),
        monthly in any::<bool>(),
    ) {
        prop_assume!(minutes.0 != minutes.1);
        let granularity = if monthly { Granularity::Month } else { Granularity::Day };
        let with_parent =
            Rules { is_child: true, has_parent_column: true, ..rules(true, granularity) };
        let key = |parent: u8| format!("{parent}{}c", crate::row::KEY_SEPARATOR);
        let answers = |parents: &BTreeSet<u8>, minute| {
            let rows = parents.iter().map(|parent| RowFacts {
                key: key(*parent).into(),
                parent: Some(parent.to_string().into()),
                ..row(0, u8::try_from(minute).unwrap(), TODAY, minute)
            });
            let listings = parents.iter().map(|parent| Listing {
                scope: Scope::Parent { id: parent.to_string().into(), day: TODAY },
                keys: HashSet::from([key(*parent).into()]),
                requested_at: at(minute),
            });
            let answers = parents.iter().map(|parent| ParentAnswer {
                id: parent.to_string().into(),
                day: TODAY,
                answered_at: at(minute),
                attempt: Attempt { parent: ParentVersion::Content(1), ..Attempt::default() },
            });
            Statements {
                rows: vec![rows.collect()],
                listings: listings.collect(),
                answers: answers.collect(),
                ..Statements::default()
            }
        };
        let mut table = Table::new(with_parent);
        table.commit(answers(&known, 0));
        let all = Statements {
            listings: vec![listing(Scope::Parents(TODAY), &there, minutes.0)],
            ..Statements::default()
        };
        let mut both = [all, answers(&read, minutes.1)];
        if !parents_first {
            both.reverse();
        }
        for statements in both {
            table.commit(statements);
            table.assert_index();
        }
        let is_later = |parent: &&u8| read.contains(*parent) && minutes.1 > minutes.0;
        let exists = |parent: &&u8| there.contains(*parent) || is_later(parent);
        let expected: BTreeSet<Box<str>> =
            known.union(&read).filter(exists).map(|parent| key(*parent).into()).collect();
        prop_assert_eq!(table.content(true).into_keys().collect::<BTreeSet<_>>(), expected);
        for parent in read.iter().filter(|parent| !exists(parent)) {
            let answer = table.parents.get(parent.to_string().as_str());
            prop_assert!(answer.is_none_or(|it| it.attempt.is_none()), "{} is gone", parent);
        }
    }

    /// P10, P14: for children by parent, a parent's complete list replaces what that parent had,
    /// and no other parent's rows; children of a parent that is gone are removed.
    #[test]
    fn a_parents_list_speaks_for_its_own_children_alone(
        before in prop::collection::btree_set((0u8..3, 0u8..4), 0..10),
        after in prop::collection::btree_set((0u8..3, 0u8..4), 0..10),
        read in prop::collection::btree_set(0u8..3, 0..3),
        there in prop::collection::btree_set(0u8..3, 0..3),
    ) {
        let with_parent = Rules { is_child: true, has_parent_column: true, ..rules(true, Granularity::Day) };
        let mut table = Table::new(with_parent);
        let key = |(parent, child): &(u8, u8)| format!("{parent}{}{child}", crate::row::KEY_SEPARATOR);
        let child = |of: &(u8, u8), minute| RowFacts {
            key: key(of).into(),
            parent: Some(of.0.to_string().into()),
            ..row(of.1, 1, TODAY, minute)
        };
        let lists = |parents: &BTreeSet<u8>, children: &BTreeSet<(u8, u8)>, minute| {
            parents.iter().map(|parent| Listing {
                scope: Scope::Parent { id: parent.to_string().into(), day: TODAY },
                keys: children.iter().filter(|it| it.0 == *parent).map(|it| key(it).into()).collect(),
                requested_at: at(minute),
            }).collect::<Vec<_>>()
        };
        let all: BTreeSet<u8> = (0..3).collect();
        table.commit(Statements {
            rows: vec![before.iter().map(|it| child(it, 0)).collect()],
            listings: lists(&all, &before, 0),
            ..Statements::default()
        });
        let mut listings = lists(&read, &after, 10);
        listings.push(Listing {
            scope: Scope::Parents(TODAY),
            keys: there.iter().map(|parent| parent.to_string().into()).collect(),
            requested_at: at(9),
        });
        let seen = after.iter().filter(|it| read.contains(&it.0));
        table.commit(Statements {
            rows: vec![seen.map(|it| child(it, 10)).collect()],
            listings,
            ..Statements::default()
        });
        table.assert_index();
        let stays = before.iter().filter(|it| !read.contains(&it.0) && there.contains(&it.0));
        // Unchanged rows of the second list were requested before it was known which parents exist.
        let listed = after.iter().filter(|it| {
            read.contains(&it.0) && (there.contains(&it.0) || !before.contains(it))
        });
        let expected: BTreeSet<Box<str>> = stays.chain(listed).map(|it| key(it).into()).collect();
        prop_assert_eq!(table.content(false).into_keys().collect::<BTreeSet<_>>(), expected);
    }
}

/// P10: a row from a late reply does not undo a later delete mark, and a late mark does not delete
/// what was read since.
#[test]
fn delete_marks_win_by_their_instants() {
    let mut table = Table::new(rules(false, Granularity::Day));
    let content = |hash, minute| Statements {
        rows: vec![vec![row(1, hash, TODAY, minute)]],
        ..Statements::default()
    };
    let mark = |minute| Statements {
        marks: vec![Mark { key: "1".into(), day: Some(TODAY), deleted_at: Some(at(minute)) }],
        ..Statements::default()
    };
    table.commit(content(1, 0));
    assert_eq!(table.commit(mark(20)), 1);
    assert_eq!(table.commit(content(2, 10)), 0, "requested before it was found gone");
    assert_eq!(table.commit(content(2, 30)), 1, "back");
    assert_eq!(table.commit(mark(25)), 0, "found gone before it was back");
}

/// P4, P12: a table without `deleted_at` writes nothing when its parents' rows are marked, and counts
/// nothing as deleted.
#[test]
fn a_table_without_a_mark_to_set_ignores_that_a_record_is_gone() {
    let mut table = Table::new(Rules { has_marks: false, ..rules(false, Granularity::Day) });
    table.commit(Statements { rows: vec![vec![row(1, 1, TODAY, 0)]], ..Statements::default() });
    let marks = vec![Mark { key: "1".into(), day: Some(TODAY), deleted_at: Some(at(20)) }];
    assert_eq!(table.commit(Statements { marks, ..Statements::default() }), 0);
    let mut entries = table.index.values().flatten();
    assert!(entries.all(|(_, entry)| entry.deleted_at.is_none()));
}

/// A record whose own time cannot be read is dated once, by where it was found.
#[test]
fn a_row_without_a_time_of_its_own_keeps_the_day_on_which_it_was_found() {
    let mut table = Table::new(rules(false, Granularity::Day));
    let found = |hash, day, minute| {
        let facts = RowFacts { day: None, found_on: Some(day), ..row(1, hash, 0, minute) };
        Statements { rows: vec![vec![facts]], ..Statements::default() }
    };
    table.commit(found(1, TODAY, 0));
    table.commit(found(2, TODAY + 7, 10));
    assert_eq!(
        table.rows.keys().copied().collect::<Vec<_>>(),
        [Partition::of(Some(TODAY), Granularity::Day)]
    );
    let emptied = Statements {
        rows: vec![vec![RowFacts { day: Some(TODAY + 3), ..row(1, 3, 0, 20) }]],
        ..Statements::default()
    };
    table.commit(emptied);
    assert_eq!(table.content(false), BTreeMap::from([("1".into(), 3)]));
}

/// P1: what a run without private records covers may lack changes of private ones, so that the next
/// run that includes them has to list everything, also where the run intended nothing new.
#[test]
fn a_list_without_private_records_ends_what_was_known_of_them() {
    let rules = rules(false, Granularity::Day);
    let known = Manifest { private: true, ..Table::new(rules).manifest };
    let window = Window::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::days(1));
    let covers = Progress { coverage: vec![window], ..Progress::default() };
    let changes = Progress { watermark: Some(window.to), ..Progress::default() };
    for progress in [covers, changes] {
        assert!(!progress.applied(&known, &rules).private, "{progress:?}");
        let with_private = Progress { includes_private: true, ..progress };
        assert!(with_private.applied(&known, &rules).private, "{with_private:?}");
    }
    assert!(Progress::default().applied(&known, &rules).private, "nothing was listed");
}
