//! Mending: files of the index that cannot be read, and indexes of an older format.
//!
//! Enters: a manifest that names them. Leaves: an index that is whole, read anew from the objects
//! where it must be. Never here: a row changed.

use std::collections::HashMap;

use super::index::{self, Known};
use super::keys::{self, key_hash};
use super::piece::{self, Entries};
use super::table::Table;
use crate::endpoint::Dated;
use crate::error::{ErrorKind, Result};
use crate::manifest::{IndexFile, Manifest};
use crate::partition::Partition;
use crate::window::day_of;

impl Table {
    /// Acts, and again once the index was mended if a file of it cannot be read.
    pub(super) fn mend_if_needed<T>(&mut self, act: impl Fn(&mut Self) -> Result<T>) -> Result<T> {
        if self.manifest.flat_index.is_empty() || !self.mends {
            match act(self) {
                Err(error) if error.kind() == ErrorKind::Corrupt && self.mends => {}
                done => return done,
            }
        }
        self.in_turn(|table| {
            table.refresh()?;
            table.mend(&act)
        })
    }

    /// The same, for whoever holds the lock.
    pub(super) fn mend<T>(&mut self, act: impl Fn(&mut Self) -> Result<T>) -> Result<T> {
        if !self.manifest.flat_index.is_empty() {
            self.take_over_flat_index()?;
        }
        match act(self) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            done => return done,
        }
        self.forget_unreadable()?;
        self.adopt_all()?;
        act(self)
    }

    /// Makes strangers of the objects whose keys cannot be read any more: they are read themselves.
    fn forget_unreadable(&mut self) -> Result<()> {
        let (store, manifest) = (&self.store, &self.manifest);
        let is_readable = |file: &IndexFile| {
            let entries =
                index::read(store, file).and_then(|it| piece::read(it, &mut Entries::new()));
            entries.is_ok()
        };
        let torn = manifest.index.iter().filter(|(_, file)| !is_readable(file));
        let torn: Vec<String> = torn.map(|(name, _)| name.clone()).collect();
        let mut next = self.manifest.clone();
        for name in &torn {
            next.index.remove(name);
            next.partitions.remove(name);
        }
        next.checked.clear();
        self.manifest = next;
        let is_whole = |file: &IndexFile| keys::read_all(&self.store, &file.object).is_ok();
        if !self.manifest.keys.iter().all(is_whole) {
            self.manifest.keys = self.all_keys(&self.manifest.clone())?;
        }
        self.write_manifest(self.manifest.clone())
    }

    /// The key map, made anew from the pieces.
    fn all_keys(&mut self, manifest: &Manifest) -> Result<Vec<IndexFile>> {
        let mut places: HashMap<i64, Option<i32>> = HashMap::new();
        for partition in manifest.index.keys().filter_map(|name| name.parse::<Partition>().ok()) {
            let day = partition.date().map(day_of);
            places.extend(self.piece(partition)?.keys().map(|key| (key_hash(key), day)));
        }
        let (count, places) = (places.len(), places.into_iter().collect());
        Ok(vec![self.write_index_file("keys", &keys::write(places)?, count)?])
    }

    /// Takes over the index of a format 1 table, which was one for all partitions.
    fn take_over_flat_index(&mut self) -> Result<()> {
        let mut entries = Entries::new();
        let mut files = self.manifest.flat_index.iter();
        let read =
            files.try_for_each(|file| piece::read(index::read(&self.store, file)?, &mut entries));
        let mut next = self.manifest.clone();
        next.flat_index.clear();
        if read.is_ok() {
            let newest = entries.values().filter_map(|entry| entry.day).max();
            let by_run = self.endpoint.dated == Dated::Run;
            entries.retain(|_, entry| !by_run || entry.day == newest);
            let touched = entries.into_iter().collect();
            self.write_index(touched, &Known::new(), &mut next)?;
        } else {
            // Without an index every object is a stranger, and is read.
            next.partitions.clear();
        }
        self.write_manifest(next)?;
        self.adopt_all()
    }
}
