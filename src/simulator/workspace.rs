//! The data of one simulated workspace, behind a handle that threads can share. It is generated
//! from options and changed by calls. It knows nothing about HTTP and reads no clock: time advances
//! only when set.

use super::birth;
use super::catalogue::Catalogue;
use super::details::details;
use super::index::Index;
use super::options::Options;
use super::record::record;
use super::slot::Slot;
use super::tables::{Table, Tables};
use super::text::generator;
use super::{crm, people};
use chrono::{DateTime, Utc};
use fastrand::Rng;
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A generated workspace; clones are handles to the same one.
#[derive(Clone)]
pub struct Workspace {
    state: Arc<RwLock<State>>,
}

/// The data behind the handle.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) catalogue: Catalogue,
    pub(super) calls: Index,
    pub(super) tables: Tables,
    /// The workspace's clock, in milliseconds.
    pub(super) now: i64,
    /// Decides what happens while the API is read.
    pub(super) fate: Rng,
}

impl State {
    pub(super) fn record(&self, slot: &Slot) -> Value {
        Value::Object(record(&self.catalogue, slot))
    }
}

/// Everything besides calls.
fn tables(options: &Options, catalogue: &Catalogue, calls: &Index) -> Tables {
    let mut tables = Tables::default();
    people::fill(&mut tables, options, catalogue);
    people::scorecards(&mut tables, options, catalogue, calls);
    crm::fill(&mut tables, options, catalogue);
    crm::playlists(&mut tables, options, catalogue, calls);
    tables
}

impl Workspace {
    /// Generates a workspace; equal options produce equal ones.
    #[must_use]
    pub fn generate(options: &Options) -> Self {
        let catalogue = Catalogue::generate(options);
        let calls = Index::of(birth::slots(options));
        let tables = tables(options, &catalogue, &calls);
        let state = State {
            now: options.now.timestamp_millis(),
            fate: generator(options.seed, 40),
            options: options.clone(),
            catalogue,
            calls,
            tables,
        };
        Self { state: Arc::new(RwLock::new(state)) }
    }

    /// The workspace's own clock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.read().now).unwrap_or_default()
    }

    /// How many calls there are, scheduled and private ones included.
    #[must_use]
    pub fn call_count(&self) -> usize {
        self.read().calls.len()
    }

    /// The non-private calls that have begun, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Value> {
        self.calls_before(self.now(), false)
    }

    /// The calls held before an instant, oldest first.
    #[must_use]
    pub fn calls_before(&self, to: DateTime<Utc>, private: bool) -> Vec<Value> {
        let state = self.read();
        let range = state.calls.range(i64::MIN, to.timestamp_millis(), private);
        let slots = range.iter().filter_map(|(_, place)| state.calls.at(*place));
        slots.map(|slot| state.record(slot)).collect()
    }

    /// Only their ids, which costs next to nothing however many there are.
    #[must_use]
    pub fn ids_before(&self, to: DateTime<Utc>, private: bool) -> Vec<String> {
        let state = self.read();
        let range = state.calls.range(i64::MIN, to.timestamp_millis(), private);
        let slots = range.iter().filter_map(|(_, place)| state.calls.at(*place));
        slots.map(|slot| slot.id.to_string()).collect()
    }

    /// A call as it is listed, whether private or not.
    #[must_use]
    pub fn call(&self, id: &str) -> Option<Value> {
        let state = self.read();
        state.calls.get(id).map(|slot| state.record(slot))
    }

    /// A call with its details, or `None` if the API answers 404.
    #[must_use]
    pub fn details(&self, id: &str) -> Option<Value> {
        let state = self.read();
        let slot = state.calls.get(id)?;
        details(&state.catalogue, slot, state.now).map(Value::Object)
    }

    /// Every row of a table, as the API would return it.
    #[must_use]
    pub fn rows(&self, table: Table) -> Vec<Value> {
        self.read().tables.rows(table).iter().map(|row| row.value.clone()).collect()
    }

    // A poisoned lock means that a test thread panicked; its data is still intact.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
