//! The index: what a table knows of its keys, one piece for each partition, read when it is asked
//! for.
//!
//! Enters: keys, with the partition where each is likely to be. Leaves: what is known of them, and
//! where they really are. Never here: more pieces in memory than were asked for lately, or a piece
//! that the newest manifest does not name.

use std::collections::{BTreeMap, HashMap};

use super::change::Touched;
use super::keys::{Keys, Place, key_hash};
use super::piece::{self, Entries};
use super::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{IndexEntry, IndexFile, Manifest};
use crate::partition::Partition;
use crate::window::day_of;

/// How many entries are kept in memory; one takes some 200 bytes.
const KEPT: usize = 30_000;

/// What is known of some keys, and in which partition's piece it stands.
pub type Known = HashMap<Box<str>, (Partition, IndexEntry)>;

/// The pieces of a table's index that are in memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    pieces: HashMap<Partition, Piece>,
    keys: Keys,
    uses: u64,
}

#[derive(Debug)]
struct Piece {
    object: String,
    entries: Entries,
    used: u64,
}

/// What becomes of one piece: entries to put in, or keys to take out.
pub(super) type PieceChange = BTreeMap<Box<str>, Option<IndexEntry>>;

impl Index {
    /// What is known of one partition's keys.
    pub(super) fn piece(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        partition: Partition,
    ) -> Result<&Entries> {
        self.uses += 1;
        let file = manifest.index.get(&partition.to_string());
        let object = file.map_or("", |file| file.object.as_str());
        let is_current = self.pieces.get(&partition).is_some_and(|piece| piece.object == object);
        if !is_current {
            self.make_room(file.map_or(0, |file| file.entries));
            let mut entries = Entries::new();
            if let Some(file) = file {
                piece::read(read(store, file)?, &mut entries)?;
            }
            self.pieces
                .insert(partition, Piece { object: object.to_owned(), entries, used: self.uses });
        }
        let missing = || Error::new(ErrorKind::Internal, "a piece was read and is not there");
        let piece = self.pieces.get_mut(&partition).ok_or_else(missing)?;
        piece.used = self.uses;
        Ok(&piece.entries)
    }

    /// What is known of these keys, each given with the partition in which it is likely to be.
    /// With `everywhere`, those that are not there are sought in all others.
    pub(super) fn find<'k>(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        wanted: impl IntoIterator<Item = (&'k str, Partition)>,
        everywhere: bool,
    ) -> Result<Known> {
        let mut known = Known::new();
        let elsewhere = self.find_in(store, manifest, wanted, &mut known)?;
        if !everywhere || elsewhere.is_empty() || manifest.keys.is_empty() {
            return Ok(known);
        }
        let hashes = elsewhere.iter().map(|key| key_hash(key)).collect();
        let days = self.keys.locate(store, &manifest.keys, hashes)?;
        let placed = elsewhere.into_iter().filter_map(|key| {
            let day = days.get(&key_hash(key))?;
            Some((key, Partition::of(*day, manifest.granularity)))
        });
        self.find_in(store, manifest, placed.collect::<Vec<_>>(), &mut known)?;
        Ok(known)
    }

    /// Adds what the pieces say of these keys; the keys that are not in theirs.
    fn find_in<'k>(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        wanted: impl IntoIterator<Item = (&'k str, Partition)>,
        known: &mut Known,
    ) -> Result<Vec<&'k str>> {
        let mut by_partition: BTreeMap<Partition, Vec<&str>> = BTreeMap::new();
        for (key, partition) in wanted {
            by_partition.entry(partition).or_default().push(key);
        }
        let mut elsewhere = Vec::new();
        for (partition, keys) in by_partition {
            let entries = self.piece(store, manifest, partition)?;
            for key in keys {
                match entries.get(key) {
                    Some(entry) => {
                        known.insert(key.into(), (partition, entry.clone()));
                    }
                    None => elsewhere.push(key),
                }
            }
        }
        Ok(elsewhere)
    }

    /// The piece of a partition with these changes.
    pub(super) fn changed(
        &mut self,
        store: &Store,
        manifest: &Manifest,
        partition: Partition,
        change: PieceChange,
    ) -> Result<Entries> {
        let mut entries = self.piece(store, manifest, partition)?.clone();
        for (key, entry) in change {
            match entry {
                Some(entry) => entries.insert(key, entry),
                None => entries.remove(&key),
            };
        }
        Ok(entries)
    }

    /// Keeps a piece that was just written.
    pub(super) fn keep(&mut self, partition: Partition, object: String, entries: Entries) {
        self.make_room(entries.len() as u64);
        self.pieces.insert(partition, Piece { object, entries, used: self.uses });
    }

    /// Lets go of the pieces that were not used for the longest time.
    fn make_room(&mut self, entries: u64) {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let mut total: usize = self.pieces.values().map(|piece| piece.entries.len()).sum();
        while total.saturating_add(entries) > KEPT {
            let oldest = self.pieces.iter().min_by_key(|(_, piece)| piece.used);
            let Some(oldest) = oldest.map(|(partition, _)| *partition) else { return };
            total -= self.pieces.remove(&oldest).map_or(0, |piece| piece.entries.len());
        }
    }
}

/// The bytes of a file of the index.
pub(super) fn read(store: &Store, file: &IndexFile) -> Result<Vec<u8>> {
    let missing = || Error::new(ErrorKind::Corrupt, format!("{} is missing", file.object));
    store.read(&file.object)?.ok_or_else(missing)
}

/// What a change makes of each piece, and which keys are in another partition than before.
pub(super) fn distribute(
    touched: Touched,
    known: &Known,
    place: impl Fn(&IndexEntry) -> Partition,
) -> (BTreeMap<Partition, PieceChange>, Vec<Place>) {
    let mut pieces: BTreeMap<Partition, PieceChange> = BTreeMap::new();
    let mut moved = Vec::new();
    for (key, entry) in touched {
        let is_gone = !entry.in_lake && !entry.is_removed() && entry.attempt.is_none();
        let (before, now) = (known.get(&key).map(|known| known.0), place(&entry));
        if let Some(before) = before.filter(|before| is_gone || *before != now) {
            pieces.entry(before).or_default().insert(key.clone(), None);
        }
        if is_gone {
            continue;
        }
        if before != Some(now) {
            moved.push((key_hash(&key), now.date().map(day_of)));
        }
        pieces.entry(now).or_default().insert(key, Some(entry));
    }
    (pieces, moved)
}
