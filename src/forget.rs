//! Forgetting: calls and people are taken out of a lake, and kept out of it.
//!
//! Enters: ids of calls, e-mail addresses, a store and the catalogue. Leaves: a longer list of the
//! forgotten, tables without them, and what that took. Never here: a request, or a name kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::Clock;
use crate::endpoint::Catalogue;
use crate::error::Result;
use crate::forgotten::{Forgotten, Kind};
use crate::lake::{Cleared, Lake, Store, clear_forgotten, unique_name};
use crate::secret::Salt;

/// Who is to be forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Calls, by their ids.
    pub calls: Vec<String>,
    /// People, by their e-mail addresses.
    pub people: Vec<String>,
}

/// What became of a lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oblivion {
    /// Whether anybody was put on the list who was not on it.
    pub is_new: bool,
    /// The tables that were looked at.
    pub tables: Vec<Cleared>,
    /// Tables that no endpoint describes, which were not looked at.
    pub unknown: Vec<String>,
}

/// Puts calls and people on the list of the forgotten, and takes them out of every table. Where
/// columns are hashed, `salt` is what they are hashed with, so that hashes of addresses are found.
///
/// # Errors
/// `Config` when no lake is there, `Newer` or `Corrupt` when it cannot be read, or when the store
/// fails. What was done before stays so, and the next call or export goes on.
pub fn forget(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    subjects: &Subjects,
    salt: Option<&Salt>,
    clock: &Clock,
) -> Result<Oblivion> {
    store.check_lake(catalogue)?;
    let present = store.tables()?;
    let mut people = subjects.people.clone();
    people.extend(subjects.people.iter().filter_map(|address| Some(salt?.hash(address))));
    people.extend(ids_of(store, catalogue, &present, &people, clock)?);
    let lake = Lake::new(store, &Arc::new(catalogue.clone()), &unique_name("forget"));
    let mut is_new = false;
    for (kind, names) in [(Kind::Call, &subjects.calls), (Kind::Person, &people)] {
        is_new |= !names.is_empty() && store.forget(kind, names, clock.now())?;
    }
    let tables = clear_forgotten(&lake, clock.now())?;
    let is_unknown = |name: &String| catalogue.find(name).is_err();
    Ok(Oblivion { is_new, tables, unknown: present.into_iter().filter(is_unknown).collect() })
}

/// The ids of the users who have these addresses: other tables know them by those alone.
fn ids_of(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    present: &BTreeSet<String>,
    people: &[String],
    clock: &Clock,
) -> Result<BTreeSet<String>> {
    let list = Forgotten::default().with(Kind::Person, people, clock.now()).0;
    let mut ids = BTreeSet::new();
    let is_asked = |name: &str| !people.is_empty() && present.contains(name);
    let endpoints = catalogue.endpoints().iter().filter(|it| is_asked(&it.name));
    for endpoint in endpoints.filter(|endpoint| endpoint.about.person.len() > 1) {
        let snapshot = Lake::reader(store, catalogue).table(&endpoint.name)?.snapshot()?;
        ids.extend(snapshot.people(list.clone())?);
    }
    ids.retain(|id| !id.is_empty());
    Ok(ids)
}
