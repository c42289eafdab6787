//! Verification: every promise that can be checked from the lake alone.
//!
//! Checks a store against the catalogue and yields a [`Verification`]. It sends no requests and
//! writes nothing, except the manifests that `rebuild` rebuilds.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::commit_plan::Progress;
use crate::endpoint::{Catalogue, Dated, Endpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Change, Children, Finding, Lake, Store, audit, clear_forgotten, unique_name};
use crate::ledger::Ledger;
use crate::manifest::{Granularity, LostPartition, Manifest};
use crate::plan::queue;

/// The result for a lake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Table by table.
    pub tables: Vec<VerifiedTable>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedTable {
    /// The table.
    pub endpoint: String,
    /// Its partitions.
    pub partitions: u64,
    /// Its rows.
    pub rows: u64,
    /// How many findings it has.
    pub findings: u64,
}

/// Checks a lake.
///
/// # Errors
/// `Newer` or `Corrupt` when a manifest cannot be read at all, or when the store fails.
pub fn verify(store: &Arc<Store>, catalogue: &Catalogue) -> Result<Verification> {
    let lake = Lake::reader(store, catalogue);
    let mut verification = Verification::default();
    let forgotten = store.read_forgotten()?.version;
    let present = store.tables()?;
    for left in store.leftovers()? {
        let message = "left behind by a killed run; the next export removes it".to_owned();
        verification.findings.push(Finding {
            endpoint: "_staging".to_owned(),
            subject: Some(left),
            message,
        });
    }
    for endpoint in catalogue.endpoints().iter().filter(|it| present.contains(&it.name)) {
        let (manifest, mut findings) = audit(&lake.table(&endpoint.name)?)?;
        if let Some(manifest) = &manifest {
            findings.extend(gaps(endpoint, manifest));
            findings.extend(lost(endpoint, manifest));
            findings.extend(uncleared(endpoint, manifest, forgotten));
        }
        // A torn index is a finding of its own.
        findings.extend(unread(&lake, endpoint).ok().flatten());
        verification.tables.push(VerifiedTable {
            endpoint: endpoint.name.clone(),
            partitions: manifest.as_ref().map_or(0, |it| it.partitions.len() as u64),
            rows: manifest.as_ref().map_or(0, Manifest::rows),
            findings: findings.len() as u64,
        });
        verification.findings.extend(findings);
    }
    let strange = present.iter().filter(|name| catalogue.find(name).is_err());
    verification.findings.extend(strange.map(|name| Finding {
        endpoint: name.clone(),
        subject: None,
        message: "no endpoint has this name".to_owned(),
    }));
    Ok(verification)
}

/// Rebuilds manifests that are lost or unreadable: existing objects, keys and details are found
/// again; coverage is empty, so that ranges are listed again.
///
/// # Errors
/// `Config` when there is no lake; when the store fails, or an object cannot be read.
pub fn rebuild(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    granularity: Granularity,
    now: DateTime<Utc>,
) -> Result<()> {
    store.check_lake(catalogue)?;
    let (present, run) = (store.tables()?, unique_name("rebuild"));
    let lake = Lake::new(store, &Arc::new(catalogue.clone()), &run).with_granularity(granularity);
    if store.committed()?.is_empty() && !present.is_empty() {
        Ledger::new(Arc::clone(store), &run).note_loss(now)?;
    }
    for endpoint in catalogue.endpoints().iter().filter(|it| present.contains(&it.name)) {
        lake.table(&endpoint.name)?.open(now)?;
    }
    clear_forgotten(&lake, now)?;
    note_comparisons(&lake, now)
}

/// Compares the children with their parents, and notes the parents' partitions where nothing is
/// left to request. Without this note, every `status` would compare them all, up to the next
/// export.
fn note_comparisons(lake: &Lake, now: DateTime<Utc>) -> Result<()> {
    for endpoint in lake.catalogue().endpoints() {
        let looked_up = endpoint.parent.as_ref().filter(|_| endpoint.dated != Dated::Run);
        let Some(rule) = looked_up else { continue };
        let table = lake.table(&endpoint.name)?;
        let (own, parents) = (table.snapshot()?, lake.table(&rule.endpoint)?.snapshot()?);
        if own.manifest().version == 0 {
            continue;
        }
        let children = Children { parents: &parents, own: &own, rule, latest: None };
        let at = now.timestamp_micros();
        let mut progress = Progress::default();
        for tally in children.tallies(&children.open(at), at) {
            let (partition, _, checked) = tally?;
            progress.checked.extend(checked.map(|it| (partition.to_string(), Some(it))));
        }
        if !progress.checked.is_empty() {
            table.commit(&own, &Change { progress, ..Change::default() }, now)?;
        }
    }
    Ok(())
}

/// Whether a forgotten subject may still be in a table.
fn uncleared(endpoint: &Endpoint, manifest: &Manifest, forgotten: u64) -> Option<Finding> {
    let message = "it may still contain erased data; the next `forget` or export continues to \
                   remove it";
    (manifest.clearance.cleared < forgotten).then(|| Finding {
        endpoint: endpoint.name.clone(),
        subject: None,
        message: message.to_owned(),
    })
}

/// The partitions that are lost.
fn lost(endpoint: &Endpoint, manifest: &Manifest) -> Vec<Finding> {
    let finding = |(dt, lost): (&String, &LostPartition)| Finding {
        endpoint: endpoint.name.clone(),
        subject: Some(format!("dt={dt}")),
        message: format!(
            "its object with {} rows is lost; restore it, or accept the loss with `--accept-loss \
             {}/{dt}`",
            lost.rows, endpoint.name
        ),
    };
    manifest.lost.iter().map(finding).collect()
}

/// Accepts that a lost partition, given as `TABLE/dt`, does not come back.
///
/// # Errors
/// `Config` when nothing of that name is lost; when the store fails.
pub fn accept_loss(
    store: &Arc<Store>,
    catalogue: &Catalogue,
    place: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let lake = Lake::new(store, &Arc::new(catalogue.clone()), &unique_name("verify"));
    let (table, dt) = place.split_once('/').unwrap_or((place, ""));
    let dt = dt.strip_prefix("dt=").unwrap_or(dt);
    if lake.table(table)?.accept_loss(dt, now)? {
        return Ok(());
    }
    let hint = "`clari-lake verify LAKE` lists losses as TABLE/dt";
    Err(Error::new(ErrorKind::Config, format!("{place} is not lost")).with_hint(hint))
}

/// What was requested and is not complete.
fn gaps(endpoint: &Endpoint, manifest: &Manifest) -> Vec<Finding> {
    let goals = manifest.goal.windows().iter();
    goals
        .flat_map(|goal| manifest.coverage.gaps(*goal))
        .map(|gap| Finding {
            endpoint: endpoint.name.clone(),
            subject: Some(gap.to_string()),
            message: "it was requested and is not complete; the next export continues it"
                .to_owned(),
        })
        .collect()
}

/// Records that could have been requested but are missing from the lake.
fn unread(lake: &Lake, endpoint: &Endpoint) -> Result<Option<Finding>> {
    let Some(parent) = endpoint.parent.as_ref().filter(|parent| parent.completed_by.is_some())
    else {
        return Ok(None);
    };
    let parents = lake.table(&parent.endpoint)?.snapshot()?;
    let own = lake.table(&endpoint.name)?.snapshot()?;
    // The next run updates an index of an older format, and requests what is missing.
    if !own.manifest().flat_index.is_empty() || !parents.is_up_to_date() {
        return Ok(None);
    }
    let children = Children { parents: &parents, own: &own, rule: parent, latest: None };
    let mut unread = 0;
    for partition in parents.indexed() {
        let pairs = children.pairs(partition)?;
        let selected = pairs.iter().filter(|pair| children.selects(pair));
        let is_unread = selected.filter(|pair| {
            let has_given_up = pair
                .attempt()
                .is_some_and(|attempt| attempt.reason.is_some() && !queue::is_missing(attempt));
            !pair.own.as_ref().is_some_and(|own| own.in_lake) && !has_given_up
        });
        unread += is_unread.count();
    }
    Ok((unread > 0).then(|| Finding {
        endpoint: endpoint.name.clone(),
        subject: None,
        message: format!("{unread} records of {} are not exported yet", parent.endpoint),
    }))
}
