//! The forecast: what a run would request, what that costs of the quota, and how long it takes.
//!
//! Computed from a store, endpoints, a run's settings and limits, and the record counts of the API
//! where they were requested. It sends no requests and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use crate::endpoint::{Dated, Endpoint, Parent};
use crate::error::Result;
use crate::lake::{Children, Lake, Snapshot};
use crate::ledger::Ledger;
use crate::manifest::{Granularity, Manifest, Purpose};
use crate::partition::Partition;
use crate::plan::queue::{self, Due};
use crate::plan::{self, Planned, RunSettings, Suited, Task};
use crate::quota::{self, Block, Limits};
use crate::window::{Coverage, Window};

/// What a run would request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// The instant from which its windows count.
    pub now: DateTime<Utc>,
    /// Endpoint by endpoint.
    pub endpoints: Vec<EndpointForecast>,
    /// All requests.
    pub requests: u64,
    /// The part of them that the backfill's share pays for.
    pub requests_for_backfill: u64,
    /// How many more requests the week allows.
    pub week_left: u64,
    /// How many more requests backfills may send this week.
    pub week_left_for_backfill: u64,
    /// The whole week's quota.
    pub weekly_quota: u64,
    /// The part of it that backfills may use.
    pub weekly_quota_for_backfill: u64,
    /// How long the requests take at the rate, in seconds, ignoring quotas.
    pub seconds: u64,
    /// When everything would be in the lake, given what each week allows.
    pub complete_at: DateTime<Utc>,
    /// How many bytes the tables would gain, estimated from their present rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether the number of records in some window was estimated from others, or is unknown.
    pub is_guess: bool,
}

/// What a run would request from one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointForecast {
    /// Its name.
    pub endpoint: String,
    /// The windows that would be listed, newest first.
    pub windows: Vec<Window>,
    /// How many records they hold, counted or estimated; for child endpoints, how many are due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// How many requests that takes.
    pub requests: u64,
    /// The part of them that the backfill's share pays for.
    pub requests_for_backfill: u64,
    /// How many bytes its table would gain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether `records` is an estimate, or missing.
    pub is_guess: bool,
    /// How many records an average day has, if the table does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_day: Option<u64>,
    /// The partition length that suits the table, if it does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_by: Option<Granularity>,
}

impl EndpointForecast {
    /// How many records the table gets, and which partition length suits it, if it does not exist
    /// yet.
    #[must_use]
    pub fn suited(&self) -> Option<Suited> {
        let (records_per_day, granularity) = self.records_per_day.zip(self.partition_by)?;
        Some(Suited { records_per_day, granularity })
    }
}

/// How many records an endpoint's windows hold, according to the API.
pub type Counted = BTreeMap<String, u64>;

/// The fraction of a workspace's calls that has details, when the lake cannot tell.
const READY: f64 = 1.0;

/// What a run of these endpoints would request.
///
/// # Errors
/// `Newer` or `Corrupt` when a manifest cannot be read, or when the store fails.
pub fn forecast(
    lake: &Lake,
    endpoints: &[&Endpoint],
    settings: &RunSettings,
    limits: &Limits,
    counted: &Counted,
) -> Result<Forecast> {
    let mut forecasts: Vec<EndpointForecast> = Vec::new();
    for endpoint in endpoints {
        let snapshot = lake.table(&endpoint.name)?.snapshot()?;
        let forecast = match &endpoint.parent {
            Some(rule) if endpoint.dated != Dated::Run => {
                let parents = lake.table(&rule.endpoint)?.snapshot()?;
                looked_up(endpoint, rule, &parents, &snapshot, settings, &forecasts)?
            }
            _ if settings.backfill.is_some() && endpoint.dated == Dated::Run => continue,
            _ => listed(endpoint, snapshot.manifest(), settings, counted),
        };
        forecasts.push(forecast);
    }
    let last = Ledger::new(Arc::clone(lake.store()), "").last(limits, settings.now)?;
    Ok(total(forecasts, settings.now, limits, last.as_ref()))
}

/// The windows of an endpoint that a run would list, whose records the API can count.
///
/// # Errors
/// `Newer` or `Corrupt` when a manifest cannot be read, or when the store fails.
pub fn windows(lake: &Lake, endpoint: &Endpoint, settings: &RunSettings) -> Result<Vec<Window>> {
    let snapshot = lake.table(&endpoint.name)?.snapshot()?;
    let known = Some(&**snapshot.manifest()).filter(|it| it.version > 0);
    let planned = plan::tasks(endpoint, known, settings);
    Ok(planned.iter().filter_map(|planned| planned.task.covers()).collect())
}

/// What listing an endpoint costs.
fn listed(
    endpoint: &Endpoint,
    manifest: &Manifest,
    settings: &RunSettings,
    counted: &Counted,
) -> EndpointForecast {
    let known = Some(manifest).filter(|it| it.version > 0);
    let planned = plan::tasks(endpoint, known, settings);
    let windows: Vec<Window> = planned.iter().filter_map(|it| it.task.covers()).collect();
    let density = Density::of(manifest);
    let guessed = density.as_ref().map(|density| density.rows_in(&windows));
    let exact = counted.get(&endpoint.name).copied();
    let records = exact.or(guessed);
    let share = |planned: &Planned| {
        let rows = planned.task.covers().and_then(|window| {
            let whole = span(&windows).num_seconds().max(1);
            let part = (window.to - window.from).num_seconds();
            records.map(|records| scale(records, part, whole))
        });
        requests_of(endpoint, &planned.task, rows, manifest)
    };
    let requests_for = |purpose: Purpose| -> u64 {
        planned.iter().filter(|planned| planned.purpose == purpose).map(share).sum()
    };
    let backfill = requests_for(Purpose::Backfill);
    let suited = exact.filter(|_| known.is_none()).and_then(|it| plan::suited(it, &windows));
    EndpointForecast {
        endpoint: endpoint.name.clone(),
        requests: requests_for(Purpose::Incremental) + backfill,
        requests_for_backfill: backfill,
        bytes: bytes_of(manifest, records),
        is_guess: exact.is_none() && endpoint.time_field().is_some(),
        records_per_day: suited.map(|suited| suited.records_per_day),
        partition_by: suited.map(|suited| suited.granularity),
        windows,
        records: records.filter(|_| endpoint.time_field().is_some()),
    }
}

/// What one task costs if its window holds this many records.
fn requests_of(endpoint: &Endpoint, task: &Task, rows: Option<u64>, manifest: &Manifest) -> u64 {
    let Some(page_size) = endpoint.paging.page_size() else { return 1 };
    let rows = match task {
        Task::List(_) => rows.unwrap_or(0),
        Task::Modified { .. } | Task::Day { .. } | Task::Range(_) => 0,
        Task::All => manifest.rows(),
        Task::Snapshot { .. } => manifest.partitions.values().next_back().map_or(0, |it| it.rows),
    };
    // Pages overlap by one record.
    rows.div_ceil(u64::from(page_size.max(2) - 1)).max(1)
}

/// What look-ups cost: those due for the parents in the lake, and those for the parents that the
/// run would add.
fn looked_up(
    endpoint: &Endpoint,
    rule: &Parent,
    parents: &Snapshot,
    own: &Snapshot,
    settings: &RunSettings,
    before: &[EndpointForecast],
) -> Result<EndpointForecast> {
    let children = Children { parents, own, rule, latest: None };
    let rows = parents.manifest().rows();
    let (nightly, backfill) = pending(&children, settings.now.timestamp_micros())?;
    let known = own.manifest().rows() + nightly + backfill;
    let ready = if rows > 0 { ratio(known, rows).min(1.0) } else { READY };
    let (mut is_guess, mut is_known, mut expected) = (false, true, 0);
    if let Some(listed) = before.iter().find(|it| it.endpoint == rule.endpoint) {
        let new: i64 = new_seconds(&listed.windows, &parents.manifest().coverage);
        let all = span(&listed.windows).num_seconds().max(1);
        expected = scale(portion(listed.records.unwrap_or(0), ready), new, all);
        is_guess = listed.is_guess || rows == 0;
        is_known = listed.records.is_some() || new == 0;
    }
    let expected_for_backfill = if settings.backfill.is_some() { expected } else { 0 };
    let requests = nightly + backfill + expected;
    Ok(EndpointForecast {
        endpoint: endpoint.name.clone(),
        windows: Vec::new(),
        records: is_known.then_some(requests),
        requests,
        requests_for_backfill: backfill + expected_for_backfill,
        bytes: bytes_of(own.manifest(), Some(requests).filter(|_| is_known)),
        is_guess,
        records_per_day: None,
        partition_by: None,
    })
}

/// How many records are due, and who pays: incremental runs, backfills.
fn pending(children: &Children<'_>, now: i64) -> Result<(u64, u64)> {
    let mut due = (0, 0);
    for partition in children.open(now) {
        for pair in children.pairs(partition)? {
            let is_due = queue::due(pair.attempt(), pair.parent.hash, now) == Due::Now;
            if !is_due || !children.selects(&pair) {
                continue;
            }
            match children.purpose(&pair) {
                Purpose::Incremental => due.0 += 1,
                Purpose::Backfill => due.1 += 1,
            }
        }
    }
    Ok(due)
}

fn total(
    endpoints: Vec<EndpointForecast>,
    now: DateTime<Utc>,
    limits: &Limits,
    last: Option<&Block>,
) -> Forecast {
    let requests = endpoints.iter().map(|it| it.requests).sum();
    let for_backfill = endpoints.iter().map(|it| it.requests_for_backfill).sum();
    let week_left = limits.weekly.saturating_sub(last.map_or(0, |last| last.spent));
    let spent_on_backfill = last.map_or(0, |last| last.spent_on_backfill);
    let left_for_backfill = limits.backfill().saturating_sub(spent_on_backfill).min(week_left);
    let sizes: Option<Vec<u64>> = endpoints.iter().map(|it| it.bytes).collect();
    Forecast {
        now,
        is_guess: endpoints.iter().any(|it| it.is_guess),
        endpoints,
        requests,
        requests_for_backfill: for_backfill,
        week_left,
        week_left_for_backfill: left_for_backfill,
        weekly_quota: limits.weekly,
        weekly_quota_for_backfill: limits.backfill(),
        seconds: seconds(limits, requests),
        complete_at: complete_at(
            now,
            limits,
            (requests - for_backfill, week_left),
            (for_backfill, left_for_backfill),
        ),
        bytes: sizes.map(|sizes| sizes.iter().sum()),
    }
}

/// When all requests would be answered: what exceeds a week's quota waits for the next week.
fn complete_at(
    now: DateTime<Utc>,
    limits: &Limits,
    nightly: (u64, u64),
    backfill: (u64, u64),
) -> DateTime<Utc> {
    let weeks = |(wanted, left): (u64, u64), weekly: u64| match wanted.saturating_sub(left) {
        0 => Some((0, wanted)),
        later => weekly.checked_sub(1).map(|_| (later.div_ceil(weekly), later % weekly)),
    };
    let never = DateTime::<Utc>::MAX_UTC;
    let (Some(nightly), Some(backfill)) =
        (weeks(nightly, limits.weekly), weeks(backfill, limits.backfill()))
    else {
        return never;
    };
    let (weeks, last) = if nightly.0 == backfill.0 {
        (nightly.0, nightly.1 + backfill.1)
    } else {
        nightly.max(backfill)
    };
    let begin = match weeks {
        0 => now,
        weeks => {
            let later = i64::try_from(weeks - 1).unwrap_or(i64::MAX).saturating_mul(7);
            let later = TimeDelta::try_days(later).unwrap_or(TimeDelta::zero());
            quota::renewed_at(now).checked_add_signed(later).unwrap_or(never)
        }
    };
    let seconds = i64::try_from(seconds(limits, last)).unwrap_or(i64::MAX);
    let rest = TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::zero());
    begin.checked_add_signed(rest).unwrap_or(never)
}

/// How long this many requests take at the rate.
fn seconds(limits: &Limits, requests: u64) -> u64 {
    let spacing = limits.spacing().num_microseconds().unwrap_or_default();
    u64::try_from(spacing).unwrap_or_default().saturating_mul(requests) / 1_000_000
}

/// How many rows a day has.
struct Density<'m> {
    manifest: &'m Manifest,
    mean: f64,
}

impl<'m> Density<'m> {
    /// The row density of a table, from its dated partitions.
    fn of(manifest: &'m Manifest) -> Option<Self> {
        let days: i64 =
            manifest.coverage.windows().iter().map(|it| (it.to - it.from).num_days().max(1)).sum();
        let rows = manifest.rows();
        let is_known = days > 0 && rows > 0;
        is_known.then(|| Self { manifest, mean: ratio(rows, days.unsigned_abs()) })
    }

    /// How many rows windows hold: existing rows where there are any, else the average.
    fn rows_in(&self, windows: &[Window]) -> u64 {
        let mut rows = 0;
        for window in windows {
            rows += self.known_rows(*window);
            let unknown: i64 = self
                .manifest
                .coverage
                .gaps(*window)
                .iter()
                .map(|it| (it.to - it.from).num_seconds())
                .sum();
            rows += portion(scale(1_000_000, unknown, 86_400), self.mean / 1_000_000.0);
        }
        rows
    }

    fn known_rows(&self, window: Window) -> u64 {
        let inside = |name: &str| {
            let date = name.parse::<Partition>().ok().and_then(|partition| partition.date());
            let from = date.map(|date| date.and_time(NaiveTime::MIN).and_utc());
            from.is_some_and(|from| window.from <= from && from < window.to)
        };
        self.manifest.partitions.iter().filter(|(name, _)| inside(name)).map(|it| it.1.rows).sum()
    }
}

/// How much time of some windows is not covered.
fn new_seconds(windows: &[Window], coverage: &Coverage) -> i64 {
    let gaps = windows.iter().flat_map(|window| coverage.gaps(*window));
    gaps.map(|gap| (gap.to - gap.from).num_seconds()).sum()
}

fn span(windows: &[Window]) -> TimeDelta {
    windows.iter().map(|window| window.to - window.from).sum()
}

fn bytes_of(manifest: &Manifest, records: Option<u64>) -> Option<u64> {
    let rows = manifest.rows();
    let each = (rows > 0).then(|| ratio(manifest.bytes(), rows))?;
    Some(portion(records?, each))
}

/// `part / whole` of a number, rounded up.
fn scale(number: u64, part: i64, whole: i64) -> u64 {
    let scaled = i128::from(number) * i128::from(part.max(0)) / i128::from(whole.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn ratio(number: u64, of: u64) -> f64 {
    number as f64 / of.max(1) as f64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn portion(number: u64, part: f64) -> u64 {
    (number as f64 * part).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn of(requests: u64, for_backfill: u64) -> Forecast {
        let endpoint = EndpointForecast {
            endpoint: "calls".to_owned(),
            windows: Vec::new(),
            records: None,
            requests,
            requests_for_backfill: for_backfill,
            bytes: None,
            is_guess: false,
            records_per_day: None,
            partition_by: None,
        };
        total(vec![endpoint], at("2026-11-22T00:00:00Z"), &Limits::default(), None)
    }

    /// The vendor's limits, literally: 300,000 calls at the default share take four weeks and some
    /// hours of the fifth.
    #[test]
    fn a_history_of_years_takes_weeks() {
        let forecast = of(303_030, 303_030);
        assert_eq!(forecast.weekly_quota_for_backfill, 70_000);
        let days = (forecast.complete_at - forecast.now).num_days();
        assert!((28..32).contains(&days), "{days}");
    }

    #[test]
    fn a_night_takes_as_long_as_the_rate_says() {
        let forecast = of(970, 0);
        assert_eq!(forecast.seconds, 100);
        assert_eq!(forecast.complete_at, forecast.now + TimeDelta::seconds(100));
    }

    #[test]
    fn without_a_share_a_backfill_never_ends() {
        let limits = Limits { share: 0.0, ..Limits::default() };
        let end = complete_at(at("2026-11-22T00:00:00Z"), &limits, (0, 100), (5, 0));
        assert_eq!(end, DateTime::<Utc>::MAX_UTC);
    }
}
