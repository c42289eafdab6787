//! Two indexes of all calls by time: with and without private ones. Ranges are found in logarithmic
//! time, so that `matched` and a page deep inside a large workspace cost next to nothing.

use super::slot::Slot;
use std::collections::HashMap;
use std::sync::Arc;

/// The position of a slot; stays the same for the lifetime of the workspace.
pub(super) type Place = usize;

/// The calls of a workspace. Deleted ones keep their position but are no longer found.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    places: HashMap<Arc<str>, Place>,
    everything: Vec<(i64, Place)>,
    public: Vec<(i64, Place)>,
}

impl Index {
    /// Sorts once, which is faster than a hundred thousand single inserts.
    pub(super) fn of(mut slots: Vec<Slot>) -> Self {
        slots.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let places = slots.iter().enumerate().map(|(place, slot)| (slot.id.clone(), place));
        let places = places.collect();
        let line =
            slots.iter().map(|slot| slot.time).enumerate().map(|(place, time)| (time, place));
        let everything: Vec<(i64, Place)> = line.collect();
        let public = everything.iter().copied();
        let public =
            public.filter(|(_, place)| slots.get(*place).is_some_and(|slot| !slot.private));
        let public = public.collect();
        Self { slots, places, everything, public }
    }

    /// Adds a call, or replaces the one with its id.
    pub(super) fn insert(&mut self, slot: Slot) {
        self.remove(&slot.id);
        let place = self.slots.len();
        self.places.insert(slot.id.clone(), place);
        self.slots.push(slot);
        self.link(place);
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(place) = self.places.remove(id) else { return false };
        self.unlink(place);
        true
    }

    /// Changes a call in place and moves it to the position of its new time.
    pub(super) fn change(&mut self, id: &str, edit: impl FnOnce(&mut Slot)) -> bool {
        let Some(place) = self.places.get(id).copied() else { return false };
        self.unlink(place);
        if let Some(slot) = self.slots.get_mut(place) {
            edit(slot);
        }
        self.link(place);
        true
    }

    pub(super) fn get(&self, id: &str) -> Option<&Slot> {
        self.slots.get(*self.places.get(id)?)
    }

    pub(super) fn at(&self, place: Place) -> Option<&Slot> {
        self.slots.get(place)
    }

    pub(super) fn len(&self) -> usize {
        self.everything.len()
    }

    /// The calls with `from <= time < to`, oldest first, ties by id.
    pub(super) fn range(&self, from: i64, to: i64, private: bool) -> &[(i64, Place)] {
        let line = if private { &self.everything } else { &self.public };
        let start = line.partition_point(|(time, _)| *time < from);
        let end = line.partition_point(|(time, _)| *time < to);
        line.get(start..end).unwrap_or_default()
    }

    fn link(&mut self, place: Place) {
        let Some(slot) = self.slots.get(place) else { return };
        insert_sorted(&mut self.everything, &self.slots, slot, place);
        if !slot.private {
            insert_sorted(&mut self.public, &self.slots, slot, place);
        }
    }

    fn unlink(&mut self, place: Place) {
        let Some(time) = self.slots.get(place).map(|slot| slot.time) else { return };
        for line in [&mut self.everything, &mut self.public] {
            let start = line.partition_point(|(other, _)| *other < time);
            let among = line.iter().skip(start).take_while(|(other, _)| *other == time);
            if let Some(offset) = among.into_iter().position(|(_, other)| *other == place) {
                line.remove(start + offset);
            }
        }
    }
}

fn insert_sorted(line: &mut Vec<(i64, Place)>, slots: &[Slot], slot: &Slot, place: Place) {
    let before = |(time, other): &(i64, Place)| {
        let id = slots.get(*other).map(|other| &other.id);
        (*time, id) < (slot.time, Some(&slot.id))
    };
    let at = line.partition_point(before);
    line.insert(at, (slot.time, place));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(id: &str, time: i64, private: bool) -> Slot {
        Slot {
            id: id.into(),
            birth: 0,
            time,
            modified: 0,
            ready: 0,
            seconds: 0,
            status: "PROCESSED".into(),
            kind: "ZOOM".into(),
            private,
            kept: None,
        }
    }

    fn ids(index: &Index, from: i64, to: i64, private: bool) -> Vec<&str> {
        let range = index.range(from, to, private);
        range.iter().filter_map(|(_, place)| Some(&*index.at(*place)?.id)).collect()
    }

    /// Calls with the same time always have the same order.
    #[test]
    fn ties_are_broken_by_id_however_the_calls_arrived() {
        let mut index = Index::of(vec![slot("c", 5, false), slot("a", 5, false)]);
        index.insert(slot("b", 5, false));
        assert_eq!(ids(&index, 0, 9, false), ["a", "b", "c"]);
    }

    /// An unlisted private call does not count in `matched`.
    #[test]
    fn private_calls_have_a_line_of_their_own() {
        let mut index = Index::of(vec![slot("a", 1, false), slot("b", 2, true)]);
        assert_eq!(ids(&index, 0, 9, false), ["a"]);
        assert_eq!(ids(&index, 0, 9, true), ["a", "b"]);
        assert!(index.change("a", |slot| slot.private = true));
        assert!(ids(&index, 0, 9, false).is_empty());
    }

    /// A rescheduled call is not found at both times.
    #[test]
    fn a_moved_call_is_at_its_new_time_only() {
        let mut index = Index::of(vec![slot("a", 1, false), slot("b", 2, false)]);
        assert!(index.change("a", |slot| slot.time = 7));
        assert_eq!(ids(&index, 0, 5, false), ["b"]);
        assert_eq!(ids(&index, 5, 9, false), ["a"]);
        assert!(index.remove("a") && !index.remove("a"));
        assert_eq!((index.len(), ids(&index, 0, 9, true)), (1, vec!["b"]));
    }
}
