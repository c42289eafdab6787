//! Parents: reads another endpoint's table for the keys by which children are requested, and for
//! other fields of the parents' records that the requests need.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::decode::is_usable;
use crate::endpoint::{Endpoint, Parent, ParentField, ParentRef, ParentValues};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Children, Snapshot, unique_name, with_parents};
use crate::manifest::{Attempt, IndexEntry, Purpose};
use crate::partition::Partition;
use crate::pipeline::blocking::blocking;
use crate::pipeline::export::Export;
use crate::pipeline::table_run::TableRun;
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

/// A parent whose children are to be requested: its one record by look-up, or its list.
pub(super) struct DueParent {
    /// Distinguishes it from the others: [`Parent::key_of`]; for look-ups, its id.
    pub(super) key: Box<str>,
    pub(super) id: Box<str>,
    /// The fields that requests need from its record.
    pub(super) values: ParentValues,
    /// The content hash of its record, if that affects the request; `None` also if the lake has no
    /// such parent.
    pub(super) hash: Option<u128>,
    /// The day of its record, in days since 1970.
    pub(super) day: Option<i32>,
    /// The time of its record, microseconds since 1970.
    pub(super) time: Option<i64>,
    /// The outcome of the last request.
    pub(super) before: Option<Attempt>,
    pub(super) purpose: Purpose,
}

impl DueParent {
    /// A parent of which only the id is known.
    pub(super) fn of(id: Box<str>, purpose: Purpose) -> Self {
        let (key, values) = (id.clone(), ParentValues::default());
        Self { key, id, values, hash: None, day: None, time: None, before: None, purpose }
    }

    /// The same, with the version of its record that the lake has.
    pub(super) fn at(self, record: &IndexEntry) -> Self {
        Self { hash: Some(record.hash), day: record.day, time: record.time, ..self }
    }

    /// What its requests need.
    pub(super) fn parent(&self) -> ParentRef<'_> {
        ParentRef { key: &self.key, id: &self.id, values: &self.values }
    }
}

/// The parents of a child table, as this run found them.
#[derive(Clone)]
pub(super) struct Parents {
    snapshot: Arc<Snapshot>,
    rule: Arc<Parent>,
    /// Notes dated after this instant (microseconds since 1970) are not trusted.
    latest: i64,
}

impl Parents {
    /// The parents of a table, unless its endpoint has none.
    pub(super) async fn of(table: &TableRun<'_>) -> Result<Option<Self>> {
        let Some(rule) = &table.endpoint.parent else { return Ok(None) };
        let export = table.export();
        Ok(Some(Self {
            snapshot: Arc::new(open(export, &rule.endpoint).await?),
            rule: Arc::new(rule.clone()),
            latest: export.clock.server_now().timestamp_micros(),
        }))
    }

    /// The child table and the table of its parents.
    fn children<'s>(&'s self, parents: &'s Snapshot, own: &'s Snapshot) -> Children<'s> {
        Children { parents, own, rule: &self.rule, latest: Some(self.latest) }
    }
}

/// Reads from both tables, on a thread where it blocks no other task.
pub(super) async fn read<T: Send + 'static>(
    parents: &Parents,
    table: &TableRun<'_>,
    read: impl Fn(&Children<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (parents, now) = (parents.clone(), table.export().clock.server_now());
    let read = move |own: &Snapshot| {
        let parents_table = parents.snapshot.table().clone();
        let mut snapshot = Snapshot::clone(&parents.snapshot);
        // Either index may need to be repaired.
        parents_table
            .read(&mut snapshot, now, |of_parents| read(&parents.children(of_parents, own)))
    };
    table.read(read).await
}

/// Reads the fields of the parents' records that requests need, if there are any.
pub(super) async fn read_values(
    parents: &Parents,
    table: &TableRun<'_>,
    partition: Partition,
    due: &mut [DueParent],
) -> Result<()> {
    if due.is_empty() || table.endpoint.parent_fields().is_empty() {
        return Ok(());
    }
    let fields = fields_in(table, &parents.rule, parents.snapshot.schema())?;
    let ids: HashSet<Box<str>> = due.iter().map(|due| due.id.clone()).collect();
    let (shared, wanted) = (parents.clone(), fields.clone());
    let mut found =
        blocking(move || shared.snapshot.values_in(partition, &shared.rule, &wanted, &ids)).await?;
    are_there(table, &parents.rule, &fields, found.values()).await;
    for one in &mut *due {
        one.values = found.remove(&one.id).unwrap_or_default();
    }
    let lacking = due.iter().filter(|it| !has_values(table, &it.id, &it.values)).count();
    warn_without_values(table, lacking);
    Ok(())
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

/// Reports that the child of a specified parent does not exist. The id is not included, because
/// reports are kept and a call may later have to be forgotten.
pub(super) async fn report_missing(table: &TableRun<'_>, id: &str, reason: &str) {
    let endpoint = table.endpoint.name.clone();
    let ids = &table.export().settings.ids;
    let number = ids.iter().position(|it| it == id).map_or(0, |at| at + 1);
    let message = match ids.len() {
        1 => format!("the id: {reason}"),
        count => format!("id number {number} of {count}: {reason}"),
    };
    let problem = Problem { endpoint, window: None, message };
    table.owner.note(|state| state.push_problem(problem)).await;
}
