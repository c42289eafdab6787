//! Changes: which partitions changed since a run, an instant, or the last query.
//!
//! [`Changes`] is read from what the manifests record of each commit, so that runs that failed,
//! were killed or are still under way count too. It reads no rows and writes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Since, Store, TableChanges, partition_changes};
use crate::manifest::RowCounts;

/// How far the time in a run's name, taken from its machine's clock, may be from the server's time.
const NAMED_APART: TimeDelta = TimeDelta::minutes(1);

/// The point since which changes are requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// Since an instant.
    Time(DateTime<Utc>),
    /// Since a run, whose own changes are listed in its report.
    Run {
        /// Its name.
        name: String,
        /// When it began.
        began_at: DateTime<Utc>,
    },
    /// Since an earlier answer.
    Next(Next),
}

/// A point in the history of all tables: the number of each table's newest manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next(BTreeMap<String, u64>);

/// What changed in a lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The partitions that changed.
    pub changed: Vec<ChangedPartition>,
    /// The point to pass next time, so that no change is missed or repeated.
    pub next: Next,
}

/// A partition that changed. The counts add up all commits; they are absent if the counts of any
/// commit are unknown, such as for an object recovered after a kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedPartition {
    /// Its table.
    pub endpoint: String,
    /// Its value of `dt`.
    pub dt: String,
    /// Rows that are new.
    pub inserted: Option<u64>,
    /// Rows that were replaced.
    pub updated: Option<u64>,
    /// Rows that were removed or marked as deleted.
    pub deleted: Option<u64>,
}

/// What changed in a lake since a point, according to the manifests of all its tables.
///
/// # Errors
/// `Config` when the lake has no such run, or has not come that far; `Newer` when a newer version
/// wrote it; when the store fails.
pub fn changes(store: &Store, since: &Point) -> Result<Changes> {
    let mut next = Next::default();
    let mut changed = Vec::new();
    let mut knows_run = false;
    for endpoint in store.committed()? {
        let TableChanges { partitions, version, knows_run: of_run } =
            partition_changes(store, &endpoint, &since.of(&endpoint))?;
        knows_run |= of_run;
        next.0.insert(endpoint.clone(), version);
        changed.extend(partitions.into_iter().map(|(dt, counts)| {
            let of = |count: fn(RowCounts) -> u64| counts.map(count);
            ChangedPartition {
                endpoint: endpoint.clone(),
                dt,
                inserted: of(|it| it.inserted),
                updated: of(|it| it.updated),
                deleted: of(|it| it.deleted),
            }
        }));
    }
    if let Point::Next(point) = since {
        point.check(&next)?;
    }
    if let Point::Run { name, .. } = since
        && !knows_run
        && !store.has_report(name)?
    {
        let message = format!("there is no run `{name}` in the lake");
        let hint = "`clari-lake status LAKE --json` lists the last runs; you can also pass a time";
        return Err(Error::new(ErrorKind::Config, message).with_hint(hint));
    }
    Ok(Changes { changed, next })
}

impl Next {
    /// Refuses a point that this lake has not reached: nothing would be newer, whatever changes.
    fn check(&self, newest: &Self) -> Result<()> {
        let known = |endpoint: &String| newest.0.get(endpoint).copied().unwrap_or(0);
        let Some((endpoint, version)) = self.0.iter().find(|(it, version)| **version > known(it))
        else {
            return Ok(());
        };
        let message = match known(endpoint) {
            0 => format!("the lake has no table `{endpoint}`"),
            known => format!("the newest version of `{endpoint}` is {known}, not {version}"),
        };
        let hint = "pass a `next` that `changes` printed for this lake, a run or a time; after \
                    `verify --rebuild`, versions count from 1 again";
        Err(Error::new(ErrorKind::Config, message).with_hint(hint))
    }
}

impl Point {
    /// The same point for one table.
    fn of(&self, endpoint: &str) -> Since {
        match self {
            Self::Time(time) => Since::Time(*time),
            Self::Run { name, began_at } => {
                Since::Run { name: name.clone(), began_at: *began_at - NAMED_APART }
            }
            Self::Next(Next(versions)) => {
                Since::Version(versions.get(endpoint).copied().unwrap_or(0))
            }
        }
    }

    /// Finds a run by its name, which contains when it began.
    #[must_use]
    pub fn run(name: &str) -> Option<Self> {
        let began_at = NaiveDateTime::parse_from_str(name.get(..16)?, "%Y%m%dT%H%M%SZ").ok()?;
        let is_name = name[16..].bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        is_name.then(|| Self::Run { name: name.to_owned(), began_at: began_at.and_utc() })
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (endpoint, version)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{endpoint}={version}")?;
        }
        Ok(())
    }
}

impl FromStr for Next {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let (endpoint, version) = part.split_once('=')?;
            Some((endpoint.to_owned(), version.parse().ok()?))
        };
        let versions: Option<BTreeMap<_, _>> = text.split(',').map(one).collect();
        versions.map(Self).ok_or_else(|| "expected a `next` that `changes` printed".to_owned())
    }
}

impl Serialize for Next {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_is_read_back() {
        let next: Next = "call_details=7,calls=42".parse().unwrap();
        assert_eq!(next.to_string(), "call_details=7,calls=42");
        for wrong in ["", "calls", "calls=", "calls=-1", "calls=1,"] {
            assert!(wrong.parse::<Next>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_point_that_the_lake_has_not_reached_is_refused() {
        let newest: Next = "calls=42,users=3".parse().unwrap();
        let check = |text: &str| text.parse::<Next>().unwrap().check(&newest);
        for reached in ["calls=42", "calls=1,users=3", "calls=42,topics=0"] {
            assert!(check(reached).is_ok(), "{reached}");
        }
        for (beyond, why) in [
            ("calls=999999", "the newest version of `calls` is 42, not 999999"),
            ("calls=1,users=4", "the newest version of `users` is 3, not 4"),
            ("teams=1", "the lake has no table `teams`"),
        ] {
            assert_eq!(check(beyond).unwrap_err().message(), why);
        }
    }

    #[test]
    fn a_run_says_when_it_began() {
        let Some(Point::Run { began_at, .. }) = Point::run("20261130T021503Z-1a2b") else {
            panic!("a run");
        };
        assert_eq!(began_at.to_rfc3339(), "2026-11-30T02:15:03+00:00");
        for wrong in ["", "2026-11-30", "20261130T021503Z/../x", "20261330T021503Z-1a2b", "é"] {
            assert_eq!(Point::run(wrong), None, "{wrong}");
        }
    }
}
