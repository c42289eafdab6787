//! The probe: finds out what a store actually guarantees for conditional writes, using objects of
//! its own, which it removes. Documentation is not trusted.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutOptions, PutPayload};

use super::failure::{Action, is_ambiguous};
use super::object::Version;
use super::put::{self, Condition, ConditionStyle, Put};
use super::token::token;
use crate::config::Conditional;

/// The name prefix of a probe's objects.
pub(super) const NAME: &str = "probe-";

/// How many writers race for one object, and how often.
pub(super) const RACERS: u32 = 8;
const RACES: u32 = 4;

/// The observed behavior of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guarantees {
    /// It refuses to create an object that exists.
    pub(super) refuses_present: bool,
    /// In which form it accepts the tag of the version to replace.
    pub(super) replaces: Option<Tags>,
    /// It refuses to replace another version.
    pub(super) refuses_stale: bool,
    /// It reports which version a write became, as buckets that keep old versions do.
    pub(super) keeps_versions: bool,
}

/// The form in which a store accepts its own tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// As the store returns them.
    Quoted,
    /// Without the quotes that it puts around them.
    Bare,
}

impl Guarantees {
    /// The strongest guarantee that can be relied on.
    pub(super) fn conditional(self) -> Conditional {
        match (self.refuses_present, self.replaces.is_some() && self.refuses_stale) {
            (true, true) => Conditional::Etag,
            (true, false) => Conditional::CreateOnly,
            (false, _) => Conditional::None,
        }
    }
}

/// How often a write with an unclear outcome is tried.
const TRIES: u32 = 4;

/// Writes an object of its own under every condition, and removes it. A fault must show twice,
/// because a busy store may refuse what it accepts a moment later.
pub(super) async fn probe(store: Arc<dyn ObjectStore>) -> Result<Guarantees, (Action, StoreError)> {
    let first = try_out(&*store).await?;
    if first.conditional() == Conditional::Etag {
        return Ok(first);
    }
    let second = try_out(&*store).await?;
    Ok(Guarantees {
        refuses_present: first.refuses_present && second.refuses_present,
        replaces: first.replaces.or(second.replaces),
        refuses_stale: first.refuses_stale && second.refuses_stale,
        keeps_versions: first.keeps_versions,
    })
}

async fn try_out(store: &dyn ObjectStore) -> Result<Guarantees, (Action, StoreError)> {
    let path = Path::from(own_path());
    let found = look(store, &path).await;
    let deleted = put::insist(|| store.delete(&path)).await;
    let found = found.map_err(|error| (Action::Write, error))?;
    match deleted {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(found),
        Err(error) => Err((Action::Delete, error)),
    }
}

async fn look(store: &dyn ObjectStore, path: &Path) -> Result<Guarantees, StoreError> {
    let manner = ConditionStyle::default();
    let first = match put::put(store, path, &text(1), &Condition::Absent, manner).await? {
        Put::Done(version) => version,
        Put::Refused => Version::default(),
    };
    let keeps_versions = first.generation.is_some();
    let refuses_present = !accepts(store, path, 2, (&Condition::Absent, false), manner).await?;
    // If the second write succeeded, that version is now there.
    let fresh = match put::get(store, path).await? {
        Some((_, version)) if !refuses_present => version,
        _ => first,
    };
    let is_fresh = Condition::Is(fresh);
    let bare = ConditionStyle { bare_tags: true, ..manner };
    let replaces = if accepts(store, path, 3, (&is_fresh, true), manner).await? {
        Some((Tags::Quoted, manner))
    } else if accepts(store, path, 3, (&is_fresh, true), bare).await? {
        Some((Tags::Bare, bare))
    } else {
        None
    };
    let refuses_stale = match replaces {
        Some((_, manner)) => !accepts(store, path, 4, (&is_fresh, false), manner).await?,
        None => true,
    };
    Ok(Guarantees {
        refuses_present,
        replaces: replaces.map(|it| it.0),
        refuses_stale,
        keeps_versions,
    })
}

/// Whether the store accepts a conditional write; `holds` is whether the condition is true. The
/// object is read only if no reply comes, or if the store refuses a write that it should accept.
async fn accepts(
    store: &dyn ObjectStore,
    path: &Path,
    number: u32,
    (condition, holds): (&Condition, bool),
    manner: ConditionStyle,
) -> Result<bool, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let options = PutOptions::from(condition.mode(manner));
        let error = match store.put_opts(path, text(number), options).await {
            Ok(_) => return Ok(true),
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
                return Ok(false);
            }
            Err(
                StoreError::AlreadyExists { .. }
                | StoreError::Precondition { .. }
                | StoreError::NotModified { .. },
            ) => {
                // The client repeats a write whose reply was lost, and then conflicts with its own
                // write.
                let present = if holds { put::get(store, path).await? } else { None };
                return Ok(present.is_some_and(|(bytes, _)| put::is_same(&text(number), &bytes)));
            }
            Err(error) => error,
        };
        if tries == TRIES || !is_ambiguous(&error) {
            return Err(error);
        }
        let present = put::get(store, path).await?;
        if present.is_some_and(|(bytes, _)| put::is_same(&text(number), &bytes)) {
            return Ok(true);
        }
    }
}

/// Has several writers create one object at once, more than once. Returns the highest number of
/// winners.
pub(super) async fn race(store: Arc<dyn ObjectStore>) -> Result<u32, StoreError> {
    let mut most = 0;
    for _ in 0..RACES {
        let path = Path::from(own_path());
        let racers: FuturesUnordered<_> = (0..RACERS)
            .map(|racer| {
                let (store, path) = (&store, &path);
                async move {
                    let create = (&Condition::Absent, true);
                    accepts(&**store, path, racer, create, ConditionStyle::default()).await
                }
            })
            .collect();
        let ran: Vec<_> = racers.collect().await;
        put::insist(|| store.delete(&path)).await?;
        let mut winners = 0;
        for won in ran {
            winners += u32::from(won?);
        }
        most = most.max(winners);
    }
    Ok(most)
}

fn text(number: u32) -> PutPayload {
    format!("{{\"probe\":{number}}}\n").into_bytes().into()
}

/// A path that no other probe uses.
pub(super) fn own_path() -> String {
    format!("_manifest/{NAME}{:016x}", token())
}
