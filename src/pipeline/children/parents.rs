//! Parents: reads another endpoint's table for the keys by which children are requested, and for
//! other fields of the parents' records that the requests need.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::is_usable;
use crate::endpoint::{Endpoint, Parent, ParentField, ParentRef, ParentValues};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Snapshot, unique_name, with_parents};
use crate::pipeline::table_run::TableRun;
use crate::pipeline::{Export, blocking};
use crate::report::Problem;
use crate::schema::Schema;

/// The endpoints, plus any parents for which the lake has nothing yet to request children by.
pub(in crate::pipeline) async fn with_needed_parents<'e>(
    export: &'e Export,
    endpoints: &[&'e Endpoint],
) -> Result<Vec<&'e Endpoint>> {
    let (lake, catalogue) = (export.lake("reader"), Arc::clone(&export.catalogue));
    if !export.settings.ids.is_empty() {
        return Ok(endpoints.to_vec());
    }
    let today = export.settings.now.date_naive();
    let chosen: Vec<String> = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let with_parents = move || {
        let chosen = chosen.iter().map(|name| catalogue.find(name)).collect::<Result<Vec<_>>>()?;
        let all = with_parents(&lake, &catalogue, &chosen, today)?;
        Ok(all.into_iter().map(|endpoint| endpoint.name.clone()).collect::<Vec<_>>())
    };
    let all = blocking(with_parents).await?;
    let all = all.iter().map(|name| export.catalogue.find(name)).collect::<Result<Vec<_>>>()?;
    for parent in all.iter().filter(|it| endpoints.iter().all(|chosen| chosen.name != it.name)) {
        let is_driven =
            |it: &&&Endpoint| it.parent.as_ref().is_some_and(|rule| rule.endpoint == parent.name);
        let driven = all.iter().filter(is_driven).map(|it| it.name.as_str());
        let driven = driven.collect::<Vec<_>>().join(" and ");
        tracing::warn!("{driven} needs ids from {}, which is exported too", parent.name);
    }
    Ok(all)
}

/// Opens another endpoint's table for reading.
pub(super) async fn open(export: &Export, name: &str) -> Result<Snapshot> {
    let table = export.lake(&unique_name("reader")).table(name)?;
    let now = export.clock.server_now();
    blocking(move || table.open(now)).await
}

/// The parents whose lists are requested.
pub(super) struct ParentKeys {
    /// Each parent's id, and the fields that requests need from its record, by what distinguishes
    /// the parents.
    pub(super) keys: BTreeMap<String, (String, ParentValues)>,
    /// Whether the parents' table is complete: only then is a parent that is not among these gone.
    pub(super) is_whole: bool,
}

/// The keys by which lists are requested: those in the parents' newest snapshot, or in all rows,
/// with the fields that requests need from the records. `None` when the lake has no such parent, or
/// no record has the fields.
pub(super) async fn parent_keys(
    export: &Export,
    table: &TableRun<'_>,
    parent: &Parent,
    day: i32,
) -> Result<Option<ParentKeys>> {
    let parents = open(export, &parent.endpoint).await?;
    if parents.manifest().partitions.is_empty() {
        return Ok(None);
    }
    let manifest = parents.manifest();
    let mut goals = manifest.goal.windows().iter();
    // What was lost and has been requested again is there now, or the API no longer has it.
    let has_all = manifest.lost.values().all(|lost| lost.requested);
    let is_whole = has_all && goals.all(|goal| manifest.coverage.covers(*goal));
    let fields = fields_in(table, parent, parents.schema())?;
    let (rule, wanted) = (parent.clone(), fields.clone());
    let keys = blocking(move || parents.parent_keys(&rule, &wanted, day)).await?;
    let values = keys.values().map(|(_, values)| values);
    let are_there = are_there(table, parent, &fields, values).await;
    Ok(are_there.then_some(ParentKeys { keys, is_whole }))
}

/// The fields that the table's requests need from its parents' records, as named in the parents'
/// table.
pub(super) fn fields_in(
    table: &TableRun<'_>,
    parent: &Parent,
    schema: &Schema,
) -> Result<Vec<ParentField>> {
    let wrong = |message| {
        let message = format!("of {}, {message}", parent.endpoint);
        let context = format!("endpoint {}", table.endpoint.name);
        Error::new(ErrorKind::Config, message).with_context(context)
    };
    table.endpoint.parent_fields_in(schema).map_err(wrong)
}

/// Whether all fields are columns of the parents' table, or occur in any of these records; reports
/// the first one that is missing.
pub(super) async fn are_there<'a>(
    table: &TableRun<'_>,
    parent: &Parent,
    fields: &[ParentField],
    records: impl Iterator<Item = &'a ParentValues> + Clone,
) -> bool {
    let is_nowhere =
        |at: usize| records.clone().all(|values| values.get(at).is_none_or(Option::is_none));
    let mut unknown = fields.iter().enumerate().filter(|(_, field)| !field.is_known);
    let nowhere = unknown.find(|(at, _)| is_nowhere(*at)).map(|(_, field)| &field.name);
    let Some(field) = nowhere.filter(|_| records.clone().next().is_some()) else { return true };
    let message = format!("no record of {} has a field `{field}`", parent.endpoint);
    let endpoint = table.endpoint.name.clone();
    let problem = Problem { endpoint, window: None, message };
    table.owner.note(|state| state.push_problem(problem)).await;
    false
}

/// Reports how many are not requested because no request can contain the required values.
pub(super) fn warn_without_values(table: &TableRun<'_>, count: usize) {
    let Some(parent) = table.endpoint.parent.as_ref().filter(|_| count > 0) else { return };
    let fields = table.endpoint.parent_fields();
    let what: Vec<_> = fields.iter().map(|field| format!("{{parent.{field}}}")).collect();
    let why = if what.is_empty() {
        "which cannot be part of a URL".to_owned()
    } else {
        format!("whose records lack a value for {}", what.join(" or "))
    };
    tracing::warn!("no requests are sent for {count} ids of {}, {why}", parent.endpoint);
}

/// Whether a request can contain an id, and its record has all fields that requests need.
pub(super) fn has_values(table: &TableRun<'_>, id: &str, values: &ParentValues) -> bool {
    is_usable(id)
        && ParentRef { key: id, id, values }.lacks(&table.endpoint.parent_fields()).is_none()
}
