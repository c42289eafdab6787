//! One conditional write and its outcome: the version that it became, or that another version is
//! there. A lost reply is never mistaken for a lost race, and no loop is endless.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, PutResult, UpdateVersion,
};
use tokio::time::Instant;

use super::blocks::{Blocks, Gathering, Pool};
use super::failure::{is_ambiguous, is_busy, is_cut_short};
use super::object::{Version, plain};
use crate::config::Conditional;

/// How often a write is tried that is refused although its condition holds.
const TRIES: u32 = 6;

/// How long requests to a store that answers that it is busy are repeated. If a store does not
/// answer at all, the client's own retries give up within seconds.
const BUSY: Duration = Duration::from_secs(120);

/// How to express conditions to a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ConditionStyle {
    /// The store's guarantees.
    pub(super) conditional: Conditional,
    /// Whether it recognizes its own tags only without quotes.
    pub(super) bare_tags: bool,
}

/// The condition for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// There is no object.
    Absent,
    /// The object is this version.
    Is(Version),
    /// No condition.
    Any,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Put {
    /// Written, as this version.
    Done(Version),
    /// Something else is there.
    Refused,
}

impl Condition {
    fn holds(&self, present: Option<&Version>) -> bool {
        match (self, present) {
            (Self::Any, _) | (Self::Absent, None) => true,
            (Self::Is(expected), Some(present)) => expected.etag() == present.etag(),
            _ => false,
        }
    }

    pub(super) fn mode(&self, manner: ConditionStyle) -> PutMode {
        match self {
            Self::Any => PutMode::Overwrite,
            Self::Absent => PutMode::Create,
            Self::Is(version) => PutMode::Update(UpdateVersion {
                e_tag: version
                    .tag
                    .as_deref()
                    .map(|tag| if manner.bare_tags { plain(tag) } else { tag.to_owned() }),
                version: version.generation.clone(),
            }),
        }
    }

    /// Whether the store itself enforces it.
    fn is_guarded(&self, conditional: Conditional) -> bool {
        match (self, conditional) {
            (Self::Any, _) | (_, Conditional::Etag) => true,
            (Self::Absent, conditional) => conditional == Conditional::CreateOnly,
            (Self::Is(_), _) => false,
        }
    }
}

/// Writes `payload` to `path` if the condition holds. If the outcome is unclear because a reply was
/// lost, or because a repeated request conflicted with its own first write, it is resolved by
/// reading back: manifests, objects, and leases name the run that wrote them, so equal bytes are
/// one's own.
pub(super) async fn put(
    store: &dyn ObjectStore,
    path: &Path,
    payload: &PutPayload,
    condition: &Condition,
    manner: ConditionStyle,
) -> Result<Put, StoreError> {
    let (mut tries, begun) = (0, Instant::now());
    loop {
        tries += 1;
        let mode = if condition.is_guarded(manner.conditional) {
            condition.mode(manner)
        } else if condition.holds(head(store, path).await?.as_ref()) {
            PutMode::Overwrite
        } else {
            return Ok(Put::Refused);
        };
        let options = PutOptions::from(mode);
        let error = match store.put_opts(path, payload.clone(), options).await {
            Ok(result) => return put_version(store, path, result).await.map(Put::Done),
            Err(error) if is_ambiguous(&error) => error,
            Err(error) => return Err(error),
        };
        let (bytes, version) = get(store, path).await?.unzip();
        if bytes.is_some_and(|bytes| is_same(payload, &bytes)) {
            return Ok(Put::Done(version.unwrap_or_default()));
        }
        if !condition.holds(version.as_ref()) {
            return Ok(Put::Refused);
        }
        let is_given_time = is_busy(&error) && begun.elapsed() < BUSY;
        if tries >= TRIES && !is_given_time {
            return Err(error);
        }
        pause(tries).await;
    }
}

/// Sends an idempotent request, and again if the reply is cut short or the store is busy.
pub(super) async fn insist<T, F>(ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let (mut tries, begun) = (0, Instant::now());
    loop {
        tries += 1;
        match ask().await {
            Err(error) if is_cut_short(&error) && tries < TRIES => {}
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY => {}
            answer => return answer,
        }
        pause(tries).await;
    }
}

/// Waits a little longer each time, by a random amount.
async fn pause(tries: u32) {
    let longest = 50_u64 << tries.min(6);
    tokio::time::sleep(Duration::from_millis(fastrand::u64(longest / 2..=longest))).await;
}

/// Whether an object has these bytes.
pub(super) fn is_same(payload: &PutPayload, bytes: &Bytes) -> bool {
    let mut rest: &[u8] = bytes;
    let parts = payload.iter();
    let all = parts.into_iter().all(|part| match rest.split_at_checked(part.len()) {
        Some((first, others)) if first == &part[..] => {
            rest = others;
            true
        }
        _ => false,
    });
    all && rest.is_empty()
}

/// An object's bytes and version, or `None` when there is none.
pub(super) async fn get(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<(Bytes, Version)>, StoreError> {
    insist(async || {
        let Some(found) = opened(store, path).await? else { return Ok(None) };
        let version = version_of(&found.meta);
        Ok(Some((found.bytes().await?, version)))
    })
    .await
}

/// The same, in blocks.
pub(super) async fn get_blocks(
    store: &dyn ObjectStore,
    path: &Path,
    pool: &Arc<Pool>,
) -> Result<Option<(Blocks, Version)>, StoreError> {
    insist(async || {
        let Some(found) = opened(store, path).await? else { return Ok(None) };
        let version = version_of(&found.meta);
        let mut gathering = Gathering::of(pool, found.meta.size);
        let mut stream = found.into_stream();
        while let Some(bytes) = stream.try_next().await? {
            gathering.add(&bytes);
        }
        Ok(Some((gathering.into_blocks(), version)))
    })
    .await
}

async fn opened(store: &dyn ObjectStore, path: &Path) -> Result<Option<GetResult>, StoreError> {
    match store.get(path).await {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn head(store: &dyn ObjectStore, path: &Path) -> Result<Option<Version>, StoreError> {
    match store.head(path).await {
        Ok(meta) => Ok(Some(version_of(&meta))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The version that a write became; requested from the store if the reply does not include it.
async fn put_version(
    store: &dyn ObjectStore,
    path: &Path,
    result: PutResult,
) -> Result<Version, StoreError> {
    let version = Version { tag: result.e_tag, generation: result.version };
    if version.tag.is_some() {
        return Ok(version);
    }
    Ok(head(store, path).await?.unwrap_or(version))
}

pub(super) fn version_of(meta: &ObjectMeta) -> Version {
    let stamp = || format!("{}-{}", meta.last_modified.timestamp_micros(), meta.size);
    let tag = meta.e_tag.clone().unwrap_or_else(stamp);
    Version { tag: Some(tag), generation: meta.version.clone() }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_is_cut_short_is_asked_for_again_but_not_for_ever() {
        let asked = Cell::new(0);
        let ask = |well_at: u32, text: &'static str| {
            asked.set(0);
            let asked = &asked;
            move || async move {
                asked.set(asked.get() + 1);
                let error = StoreError::Generic { store: "S3", source: text.into() };
                if asked.get() < well_at { Err(error) } else { Ok(asked.get()) }
            }
        };
        let cut = "Error getting list response body: connection reset";
        assert_eq!(insist(ask(3, cut)).await.unwrap(), 3);
        assert!(insist(ask(99, cut)).await.is_err());
        assert_eq!(asked.get(), TRIES);
        assert!(insist(ask(2, "Error performing GET https://b/x")).await.is_err());
        assert_eq!(asked.get(), 1, "the client has tried that again itself");
        let busy = "Error performing GET https://b/x: Server returned non-2xx status code: 503: ";
        assert_eq!(insist(ask(20, busy)).await.unwrap(), 20);
        let begun = Instant::now();
        assert!(insist(ask(9_999, busy)).await.is_err());
        assert!((120..130).contains(&begun.elapsed().as_secs()), "the two minutes of the docs");
    }
}
