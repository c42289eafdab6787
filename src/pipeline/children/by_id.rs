//! Children of parents that the user specifies: `export --endpoint call_details --id ID`.
//!
//! Only these parents are requested, due or not, and only their rows change. The lake does not have
//! to know the parents, unless the requests need more of their records than the key. A child that
//! does not exist is reported, since the user requested it.

use std::collections::BTreeMap;
use std::slice;

use super::look_up::look_up;
use super::parents::{
    self, DueParent, ParentKeys, Parents, parent_keys, read_values, report_missing,
};
use crate::decode::is_usable;
use crate::endpoint::{Endpoint, Parent, ParentValues};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Purpose;
use crate::pipeline::export::Export;
use crate::pipeline::table_run::TableRun;

impl Export {
    /// Checks that the ids in the settings can be used to request these endpoints.
    pub(in crate::pipeline) fn check_ids(&self, endpoints: &[&Endpoint]) -> Result<()> {
        let ids = &self.settings.ids;
        if ids.is_empty() {
            return Ok(());
        }
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        if let Some(id) = ids.iter().find(|id| !is_usable(id)) {
            return wrong(format!("`{id}` cannot be part of a request"));
        }
        match endpoints {
            [endpoint] if endpoint.parent.as_ref().is_some_and(|parent| parent.of_call) => {
                // What has been forgotten is not even requested.
                let forgotten = self.store.read_forgotten()?;
                let is_forgotten = ids.iter().any(|id| forgotten.is_call(id));
                if is_forgotten { wrong("the call has been forgotten".to_owned()) } else { Ok(()) }
            }
            [endpoint] if endpoint.parent.is_some() => Ok(()),
            [endpoint] => {
                let all = self.catalogue.endpoints().iter();
                let by_id: Vec<_> =
                    all.filter(|it| it.parent.is_some()).map(|it| it.name.as_str()).collect();
                let message = format!("{} is not requested by id", endpoint.name);
                let hint = format!("these endpoints are: {}", by_id.join(", "));
                Err(Error::new(ErrorKind::Config, message).with_hint(hint))
            }
            _ => wrong("--id needs exactly one --endpoint".to_owned()),
        }
    }
}

/// Looks up the children of the specified parents, one request each.
pub(in crate::pipeline) async fn run(export: &Export, table: &TableRun<'_>) -> Result<()> {
    let Some(parents) = Parents::of(table).await? else { return Ok(()) };
    let mut ids = export.settings.ids.clone();
    ids.sort();
    ids.dedup();
    let names_more = !table.endpoint.parent_fields().is_empty();
    let find = move |children: &crate::lake::Children<'_>| {
        let wanted: Vec<_> = ids.iter().map(|id| (id.as_str(), None)).collect();
        let (known, own) = (children.parents.find(&wanted)?, children.own.find(&wanted)?);
        let due = ids.iter().map(|id| {
            let parent = known.get(id.as_str()).filter(|(_, entry)| entry.in_lake);
            let before = own.get(id.as_str()).and_then(|(_, entry)| entry.attempt.clone());
            let due = DueParent::of(id.as_str().into(), Purpose::Incremental);
            let due = match parent {
                Some((_, record)) => due.at(record),
                None => due,
            };
            (DueParent { before, ..due }, parent.map(|(partition, _)| *partition))
        });
        Ok(due.collect::<Vec<_>>())
    };
    let found = parents::read(&parents, table, find).await?;
    export.progress.update(&table.endpoint.name, |live| live.planned += found.len() as u64);
    let mut due = Vec::new();
    for (mut one, partition) in found {
        if let Some(partition) = partition.filter(|_| names_more) {
            read_values(&parents, table, partition, slice::from_mut(&mut one)).await?;
        }
        due.push(Ok(one));
    }
    look_up(export, table, futures::stream::iter(due)).await?;
    table.commit(|_| {}).await
}

/// The specified parents whose lists are read. They are not all parents, so no other parent is
/// treated as gone.
pub(super) async fn named_parents(
    export: &Export,
    table: &TableRun<'_>,
    parent: &Parent,
    day: i32,
) -> Result<Option<ParentKeys>> {
    let ids = &export.settings.ids;
    let alone = |id: &String| (id.clone(), (id.clone(), ParentValues::default()));
    let mut keys: BTreeMap<String, (String, ParentValues)> = ids.iter().map(alone).collect();
    if !table.endpoint.parent_fields().is_empty() {
        let known = parent_keys(export, table, parent, day).await?;
        keys = known.map(|known| known.keys).unwrap_or_default();
        keys.retain(|_, (id, _)| ids.contains(id));
        for id in ids.iter().filter(|id| keys.values().all(|(known, _)| known != *id)) {
            report_missing(table, id, "the lake has no such parent").await;
        }
    }
    Ok(Some(ParentKeys { keys, is_whole: false }))
}
