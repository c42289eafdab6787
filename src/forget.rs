//! Forgetting: removes calls and people from a lake, and keeps them out.
//!
//! Adds ids of calls and e-mail addresses to the list of the forgotten and removes them from every
//! table. It sends no requests and keeps no names.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::Clock;
use crate::endpoint::Catalogue;
use crate::error::Result;
use crate::forgotten::{Forgotten, Kind};
use crate::lake::{Cleared, Lake, Store, clear_forgotten, unique_name};
use crate::secret::Salt;

/// The subjects to forget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Calls, by their ids.
    pub calls: Vec<String>,
    /// People, by their e-mail addresses.
    pub people: Vec<String>,
}

/// The outcome for a lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgetReport {
    /// Whether the list gained a subject.
    pub is_new: bool,
    /// The tables that were searched.
    pub tables: Vec<Cleared>,
    /// The subjects that nothing in the lake matches.
    pub unmatched: Vec<String>,
    /// Tables that no endpoint describes, which were not searched.
    pub unknown: Vec<String>,
}

/// Adds calls and people to the list of the forgotten, and removes them from every table. Where
/// columns are hashed, `salt` is the salt of the hashes, so that hashed addresses are found.
///
/// # Errors
/// `Config` when there is no lake, `Newer` or `Corrupt` when it cannot be read, or when the store
/// fails. Work already done is kept, and the next call or export continues.
pub fn forget(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    subjects: &Subjects,
    salt: Option<&Salt>,
    clock: &Clock,
) -> Result<ForgetReport> {
    store.check_lake(catalogue)?;
    let present = store.tables()?;
    let is_one = subjects.calls.len() + subjects.people.len() == 1;
    let unmatched =
        if is_one { Vec::new() } else { unmatched(store, catalogue, subjects, salt, clock)? };
    let people = people(store, catalogue, &present, subjects, salt, clock)?;
    let lake = Lake::new(store, &Arc::new(catalogue.clone()), &unique_name("forget"));
    let mut is_new = false;
    for (kind, names) in [(Kind::Call, &subjects.calls), (Kind::Person, &people)] {
        is_new |= !names.is_empty() && store.forget(kind, names, clock.now())?;
    }
    // Before the tables, so that a `forget` that is killed here is still to be finished.
    store.clear_reports()?;
    let tables = clear_forgotten(&lake, clock.now())?;
    let unknown = unknown(catalogue, present);
    let unmatched = if is_one && is_new && !tables.iter().any(Cleared::is_any) {
        subjects.calls.iter().chain(&subjects.people).cloned().collect()
    } else {
        unmatched
    };
    Ok(ForgetReport { is_new, tables, unmatched, unknown })
}

/// What [`forget`] would remove from every table; nothing is written.
///
/// # Errors
/// As for [`forget`].
pub fn preview(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    subjects: &Subjects,
    salt: Option<&Salt>,
    clock: &Clock,
) -> Result<ForgetReport> {
    store.check_lake(catalogue)?;
    let present = store.tables()?;
    let people = people(store, catalogue, &present, subjects, salt, clock)?;
    let list = Forgotten::default().with(Kind::Call, &subjects.calls, clock.now()).0;
    let list = list.with(Kind::Person, &people, clock.now()).0;
    let mut tables = Vec::new();
    for endpoint in catalogue.endpoints().iter().filter(|it| present.contains(&it.name)) {
        let snapshot = Lake::reader(store, catalogue).table(&endpoint.name)?.snapshot()?;
        tables.push(snapshot.would_clear(&list)?);
    }
    tables.retain(Cleared::is_any);
    let unmatched = unmatched(store, catalogue, subjects, salt, clock)?;
    Ok(ForgetReport { is_new: true, tables, unmatched, unknown: unknown(catalogue, present) })
}

/// The subjects that nothing in the lake matches, each searched for separately.
fn unmatched(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    subjects: &Subjects,
    salt: Option<&Salt>,
    clock: &Clock,
) -> Result<Vec<String>> {
    let present = store.tables()?;
    let one_by_one = subjects.calls.iter().map(|call| (Kind::Call, call));
    let one_by_one = one_by_one.chain(subjects.people.iter().map(|it| (Kind::Person, it)));
    let mut lists = Vec::new();
    for (kind, name) in one_by_one {
        let names = match kind {
            Kind::Call => vec![name.clone()],
            Kind::Person => {
                let one = Subjects { calls: Vec::new(), people: vec![name.clone()] };
                people(store, catalogue, &present, &one, salt, clock)?
            }
        };
        let list = Forgotten::default().with(kind, &names, clock.now()).0;
        lists.push((name.clone(), list));
    }
    for endpoint in catalogue.endpoints().iter().filter(|it| present.contains(&it.name)) {
        let snapshot = Lake::reader(store, catalogue).table(&endpoint.name)?.snapshot()?;
        let mut left = Vec::new();
        for (name, list) in lists {
            if !snapshot.would_clear(&list)?.is_any() {
                left.push((name, list));
            }
        }
        lists = left;
    }
    Ok(lists.into_iter().map(|(name, _)| name).collect())
}

/// Every identifier of these people: their addresses, the hashes of these, and their ids.
fn people(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    present: &BTreeSet<String>,
    subjects: &Subjects,
    salt: Option<&Salt>,
    clock: &Clock,
) -> Result<Vec<String>> {
    let mut people = subjects.people.clone();
    people.extend(subjects.people.iter().filter_map(|address| Some(salt?.hash(address))));
    people.extend(ids_of(store, catalogue, present, &people, clock)?);
    Ok(people)
}

fn unknown(catalogue: &Catalogue, present: BTreeSet<String>) -> Vec<String> {
    present.into_iter().filter(|name| catalogue.find(name).is_err()).collect()
}

/// The ids of the users with these addresses: other tables identify them by id alone.
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
