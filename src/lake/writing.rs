//! Writing: what is to become of partitions becomes their objects.
//!
//! Enters: the work, partition by partition. Leaves: the objects, each replaced whole, and their
//! manifest entries. Never here: a row in none of its partitions while it moves, or a manifest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::change::{PartitionChange, PartitionWork, Work};
use super::layout::Contents;
use super::merge::{self, Merge};
use super::object;
use super::store::{Object, Store, Written};
use super::table::{Table, lost};
use crate::decode::RecordDecoder;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Manifest, PartitionEntry};
use crate::partition::Partition;

impl Table {
    /// Writes every partition that changes, so that a row that moves is never in none.
    pub(super) fn write_partitions(
        &self,
        work: Work,
        next: &mut Manifest,
        changed: &mut Vec<PartitionChange>,
    ) -> Result<()> {
        for group in in_order(work) {
            let known = &next.partitions;
            let (store, endpoint, run) = (&*self.store, &*self.endpoint, self.run.as_str());
            let is_frozen = next.settled;
            let writing = Writing { store, endpoint, run, is_frozen, known };
            let decoders = group.iter().take(store.writers()).map(|_| self.decoder.another());
            for (entry, news) in writing.write_all(decoders.collect(), group)? {
                let partition = news.partition;
                next.partitions.insert(partition.to_string(), entry);
                match changed.iter_mut().find(|change| change.partition == partition) {
                    Some(change) => change.add(&news),
                    None => changed.push(news),
                }
            }
        }
        Ok(())
    }
}

/// What every thread that writes partitions knows.
#[derive(Clone, Copy)]
struct Writing<'a> {
    store: &'a Store,
    endpoint: &'a Endpoint,
    run: &'a str,
    is_frozen: bool,
    known: &'a BTreeMap<String, PartitionEntry>,
}

/// A partition that is written: its entry, and what has changed in it.
type Done = (PartitionEntry, PartitionChange);

impl Writing<'_> {
    /// Writes partitions in any order, as many at a time as there are decoders. After one that
    /// fails no other is begun.
    fn write_all(
        self,
        mut decoders: Vec<RecordDecoder>,
        group: Vec<(Partition, PartitionWork)>,
    ) -> Result<Vec<Done>> {
        let queue = Mutex::new(group.into_iter());
        let failed = AtomicBool::new(false);
        let (queue, failed) = (&queue, &failed);
        let work = move |mut decoder: RecordDecoder| {
            let mut done = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((partition, work)) = next else { break };
                let written = self.write(partition, work, &mut decoder);
                done.push(written.inspect_err(|_| failed.store(true, Ordering::Relaxed))?);
            }
            Ok(done)
        };
        thread::scope(|scope| {
            let own = decoders.pop();
            let others: Vec<_> =
                decoders.into_iter().map(|decoder| scope.spawn(move || work(decoder))).collect();
            let own = own.map(work);
            let joined = others.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(died())));
            let done: Result<Vec<Vec<Done>>> = own.into_iter().chain(joined).collect();
            Ok(done?.into_iter().flatten().collect())
        })
    }

    fn write(
        self,
        partition: Partition,
        work: PartitionWork,
        decoder: &mut RecordDecoder,
    ) -> Result<Done> {
        let Self { store, endpoint, is_frozen, .. } = self;
        let name = partition.to_string();
        let path = format!("{}/dt={name}/part-0.parquet", endpoint.name);
        let existing = self.known.get(&name).map(|known| self.current(known)).transpose()?;
        let version = existing.as_ref().map(Object::version).cloned();
        let PartitionWork { inserted, updated, deleted, upserts, drop, marks } = work;
        let schema = Arc::clone(decoder.schema());
        let existing = existing.map(|object| merge::open(object, decoder)).transpose()?;
        let mut contents = Contents::default();
        for share in &upserts {
            contents.add_batch(&share.batch, share.rows.len());
        }
        if let Some(existing) = &existing {
            existing.add_to(&mut contents);
        }
        let mut staged = store.stage()?;
        let mut writer =
            object::writer(&mut staged, endpoint, &schema, self.run, is_frozen, &contents)?;
        let rows =
            Merge { endpoint, decoder, upserts, drop, marks }.write(existing, &mut writer)?;
        writer.close()?;
        let replaced = store.replace(staged, &path, version.as_ref())?;
        let Written { bytes, etag, sha256 } = replaced.ok_or_else(|| lost(&path))?;
        let schema = schema.fingerprint();
        let entry = PartitionEntry { object: path, rows, bytes, etag, sha256, schema };
        Ok((entry, PartitionChange { partition, inserted, updated, deleted }))
    }

    /// A partition's object, if it is the one that is known.
    fn current(self, known: &PartitionEntry) -> Result<Object> {
        let object = self.store.object(&known.object)?;
        let is_known = |object: &Object| object.version().etag() == known.etag;
        object.filter(is_known).ok_or_else(|| lost(&known.object))
    }
}

fn died() -> Error {
    Error::new(ErrorKind::Internal, "a thread that wrote a partition died")
}

/// The writes in such an order that a row that moves is written where it goes before it is taken
/// from where it was: group by group, each when the one before is whole. Where partitions exchange
/// rows, one is written twice: it gains, then loses.
fn in_order(mut work: Work) -> Vec<Vec<(Partition, PartitionWork)>> {
    let goes = destinations(&work);
    let (mut ordered, mut last) = (Vec::new(), Vec::new());
    while !work.is_empty() {
        let is_to_come = |key: &str, at: &Partition| {
            goes.get(key).is_some_and(|to| to != at && work.contains_key(to))
        };
        let waits =
            |at: &Partition, it: &PartitionWork| it.drop.iter().any(|key| is_to_come(key, at));
        let mut free: Vec<_> =
            work.iter().filter(|(at, it)| !waits(at, it)).map(|(at, _)| *at).collect();
        if free.is_empty() {
            let gaining = work.iter_mut().find(|(_, it)| !it.upserts.is_empty());
            free.extend(gaining.map(|(at, it)| {
                let drop = std::mem::take(&mut it.drop);
                last.push((*at, PartitionWork { drop, ..PartitionWork::default() }));
                *at
            }));
        }
        ordered.push(free.into_iter().filter_map(|at| work.remove_entry(&at)).collect());
    }
    ordered.push(last);
    ordered
}

/// Where the rows go that are taken from one partition and put into another.
fn destinations(work: &Work) -> HashMap<Box<str>, Partition> {
    let dropped: HashSet<&str> = work.values().flat_map(|it| &it.drop).map(|key| &**key).collect();
    let gained = work.iter().flat_map(|(at, it)| {
        it.upserts.iter().flat_map(|share| &share.rows).map(move |(row, _)| (&*row.key, *at))
    });
    let moved = gained.filter(|(key, _)| dropped.contains(key));
    moved.map(|(key, at)| (key.into(), at)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use proptest::prelude::*;

    use super::super::change::Share;
    use super::super::object::RowOrder;
    use super::*;
    use crate::manifest::Granularity;

    fn partition(day: i32) -> Partition {
        Partition::of(Some(day), Granularity::Day)
    }

    /// The row of a key, as it is put into a partition.
    fn share(key: &str) -> Share {
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Share { batch, rows: vec![(RowOrder { time: None, key: key.to_owned() }, 0)] }
    }

    proptest! {
        /// P1: whichever way rows move between partitions, and however many are written at once,
        /// a row is taken from where it was only when a group before has put it where it goes.
        #[test]
        fn a_row_that_moves_is_there_before_it_is_gone(
            moves in prop::collection::vec((0i32..5, 0i32..5), 0..12),
        ) {
            let mut work = Work::new();
            for (number, (from, to)) in moves.iter().enumerate() {
                let key = number.to_string();
                work.entry(partition(*to)).or_default().upserts.push(share(&key));
                work.entry(partition(*from)).or_default().drop.insert(key.into());
            }
            let ordered = in_order(work);
            let groups_where = |is_so: &dyn Fn(&Partition, &PartitionWork) -> bool| {
                let groups = ordered.iter().enumerate();
                let found = groups.filter(|(_, group)| group.iter().any(|(at, it)| is_so(at, it)));
                found.map(|(number, _)| number).collect::<Vec<_>>()
            };
            for (number, (from, to)) in moves.iter().enumerate() {
                let key = number.to_string();
                let gains = |it: &PartitionWork| {
                    it.upserts.iter().flat_map(|share| &share.rows).any(|(row, _)| row.key == key)
                };
                let gained = groups_where(&|at, it| *at == partition(*to) && gains(it));
                let lost = groups_where(&|at, it| {
                    *at == partition(*from) && it.drop.contains(key.as_str())
                });
                prop_assert_eq!((gained.len(), lost.len()), (1, 1));
                prop_assert!(from == to || gained[0] < lost[0], "{} {:?}", key, moves);
            }
            let partitions = |group: &Vec<(Partition, PartitionWork)>| {
                let names: HashSet<Partition> = group.iter().map(|(at, _)| *at).collect();
                names.len() == group.len()
            };
            prop_assert!(ordered.iter().all(partitions), "no two threads write one partition");
        }
    }
}
