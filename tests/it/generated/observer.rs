//! The observer: a reader that looks at the lake between any two writes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::kind::{Dated, Kind};
use super::oracle::key_of;
use super::wire::World;
use crate::support::{Row, rows_in};

/// Reads an object of the lake by its path; `None` when it is not there.
pub(super) type Read = Box<dyn Fn(&str) -> Option<Bytes> + Send>;

/// What a reader has seen so far.
pub(super) struct Observer {
    world: Arc<Mutex<World>>,
    read: Read,
    /// The keys of each object.
    objects: HashMap<String, BTreeSet<String>>,
    /// Of tables that are no snapshots: in which partitions each key is.
    places: HashMap<(usize, String), BTreeSet<String>>,
    /// What was wrong first.
    pub(super) wrong: Option<String>,
}

impl Observer {
    pub(super) fn new(world: Arc<Mutex<World>>, read: Read) -> Self {
        let (objects, places) = (HashMap::new(), HashMap::new());
        Self { world, read, objects, places, wrong: None }
    }

    /// Looks at an object that was just written.
    pub(super) fn look(&mut self, path: &str) {
        let Some((table, rest)) = path.split_once("/dt=") else { return };
        let Some((dt, _)) = rest.split_once('/') else { return };
        let world = Arc::clone(&self.world);
        let world = world.lock().unwrap();
        let Some(kind) = world.source.names.iter().position(|name| name == table) else { return };
        let of = &world.source.kinds[kind];
        let rows = self.rows(path, dt, of);
        let keys: BTreeSet<String> = rows.iter().map(|row| key_of(of, row)).collect();
        if keys.len() < rows.len() {
            self.found(format!("P2: {table} has a key twice in dt={dt}"));
        }
        let before = self.objects.insert(path.to_owned(), keys.clone()).unwrap_or_default();
        for key in keys.difference(&before) {
            let places = self.places.entry((kind, key.clone())).or_default();
            places.insert(dt.to_owned());
            let is_twice = places.len() > 1 && !of.is_snapshot();
            if is_twice && !world.source.may_move(kind, key) {
                let places = format!("P2: {table} has {key} in each of {places:?}");
                self.found(places);
            }
        }
        for key in before.difference(&keys) {
            let places = self.places.entry((kind, key.clone())).or_default();
            places.remove(dt);
            let is_elsewhere = !places.is_empty() && !of.is_snapshot();
            let may_go = world.source.gone[kind].contains(key)
                || world.oracle.may_go(kind, &world.source, key);
            if !is_elsewhere && !may_go {
                self.found(format!("P1: {table} had {key} in dt={dt}, and no record was removed"));
            }
        }
    }

    fn rows(&self, path: &str, dt: &str, of: &Kind) -> Vec<Row> {
        let bytes = (self.read)(path);
        let has_day = of.dated != Dated::Field;
        bytes.map(|bytes| rows_in(bytes, dt, of.parent_column(), has_day)).unwrap_or_default()
    }

    fn found(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }

    /// Takes an object as it is, which was lost or replaced from outside.
    pub(super) fn accept(&mut self, path: &str) {
        let Some((table, rest)) = path.split_once("/dt=") else { return };
        let dt = rest.split('/').next().unwrap_or_default();
        let world = Arc::clone(&self.world);
        let world = world.lock().unwrap();
        let Some(kind) = world.source.names.iter().position(|name| name == table) else { return };
        let of = &world.source.kinds[kind];
        let keys: BTreeSet<String> =
            self.rows(path, dt, of).iter().map(|row| key_of(of, row)).collect();
        for ((_, key), places) in self.places.iter_mut().filter(|((of, _), _)| *of == kind) {
            if !keys.contains(key) {
                places.remove(dt);
            }
        }
        for key in &keys {
            self.places.entry((kind, key.clone())).or_default().insert(dt.to_owned());
        }
        self.objects.insert(path.to_owned(), keys);
    }
}
