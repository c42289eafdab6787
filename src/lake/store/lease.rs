//! The lease: it decides which writer may write, so that no two writers do the same work twice.
//!
//! A lease is waited for, held, and renewed while it is held. The correctness of the lake does not
//! depend on it: each write has its own condition, which also stops a writer that was paused and
//! lost its lease.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutPayload};

use super::bridge::Bridge;
use super::object::Version;
use super::put::{self, Condition, ConditionStyle, Put};
use crate::config::Conditional;
use crate::error::Result;

pub(super) const LEASE: &str = "_manifest/lease";

/// How long a killed writer keeps others waiting.
pub(super) const LASTING: Duration = Duration::from_secs(30);
/// How long to wait for another writer.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A lease that is held and renewed in the background.
#[derive(Debug)]
pub(super) struct Lease {
    state: Arc<Mutex<State>>,
    lasting: Duration,
    renewal: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    version: Version,
    renewed: Instant,
    lost: bool,
}

/// What it takes to acquire a lease.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) manner: ConditionStyle,
    pub(super) lasting: Duration,
    /// Identifies the holder; different for every process and every acquisition.
    pub(super) holder: String,
}

/// Omits the client, which would show its keys and signatures.
impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl Terms {
    fn payload(&self, renewals: u64) -> PutPayload {
        let seconds = self.lasting.as_secs_f64();
        let text = serde_json::json!({
            "holder": self.holder, "seconds": seconds, "renewals": renewals,
        });
        format!("{text}\n").into_bytes().into()
    }

    async fn put(&self, renewals: u64, condition: &Condition) -> Result<Put, StoreError> {
        let (payload, path) = (self.payload(renewals), Path::from(LEASE));
        put::put(&*self.store, &path, &payload, condition, self.manner).await
    }

    /// Waits for the lease; `None` when another writer held it for too long.
    ///
    /// A lease has expired when its object has not changed for the lease's duration. The time is
    /// counted from the first read, so that differences between clocks do not matter.
    async fn acquire(&self) -> Result<Option<State>, StoreError> {
        let begun = Instant::now();
        let mut seen: Option<(Version, Instant)> = None;
        while begun.elapsed() < PATIENCE {
            let condition = match &seen {
                Some((version, since)) if since.elapsed() > self.lasting => {
                    Condition::Is(version.clone())
                }
                _ => Condition::Absent,
            };
            let renewed = Instant::now();
            if let Put::Done(version) = self.put(0, &condition).await? {
                return Ok(Some(State { version, renewed, lost: false }));
            }
            let Some(version) = self.look().await? else {
                // It was released: the first process to create it has it.
                seen = None;
                pause(self.lasting / 100).await;
                continue;
            };
            let is_news = seen.as_ref().is_none_or(|(known, _)| *known != version);
            if is_news {
                seen = Some((version, Instant::now()));
            }
            pause(self.lasting / 20).await;
        }
        Ok(None)
    }

    async fn look(&self) -> Result<Option<Version>, StoreError> {
        match self.store.head(&Path::from(LEASE)).await {
            Ok(meta) => Ok(Some(put::version_of(&meta))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease until it is lost. A failed renewal is retried at the next interval.
    async fn renew(self, state: Arc<Mutex<State>>) {
        for renewals in 1_u64.. {
            pause(self.lasting / 3).await;
            let begun = Instant::now();
            let version = lock(&state).version.clone();
            match self.put(renewals, &Condition::Is(version)).await {
                Ok(Put::Done(version)) => {
                    let mut state = lock(&state);
                    state.version = version;
                    state.renewed = begun;
                }
                Ok(Put::Refused) => {
                    lock(&state).lost = true;
                    return;
                }
                Err(_) => {}
            }
        }
    }
}

impl Lease {
    /// Waits for the lease and starts renewing it; `None` when another writer held it for too long.
    pub(super) fn take(bridge: &Bridge, terms: &Terms) -> Result<Result<Option<Self>, StoreError>> {
        let waiting = terms.clone();
        let acquired = bridge.wait(async move { waiting.acquire().await })?;
        let state = match acquired {
            Ok(Some(state)) => Arc::new(Mutex::new(state)),
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let renewal = bridge.spawn(terms.clone().renew(Arc::clone(&state)));
        Ok(Ok(Some(Self { state, lasting: terms.lasting, renewal })))
    }

    /// Whether the lease cannot have been acquired by another writer.
    pub(super) fn is_held(&self) -> bool {
        let state = lock(&self.state);
        !state.lost && state.renewed.elapsed() < self.lasting
    }

    pub(super) fn stop_renewing(&self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }

    /// As if the process had been suspended for longer than the lease lasts, and renewed it right
    /// after.
    #[cfg(test)]
    pub(super) fn oversleep(&self) {
        let mut state = lock(&self.state);
        state.renewed = state.renewed.checked_sub(self.lasting).unwrap_or(state.renewed);
    }

    /// Releases the lease. If that fails, the lease expires.
    pub(super) fn release(self, bridge: &Bridge, terms: &Terms) {
        self.stop_renewing();
        if self.is_held() {
            let store = Arc::clone(&terms.store);
            let _ = bridge.wait(async move { store.delete(&Path::from(LEASE)).await });
        }
    }
}

/// A lost lease is no longer renewed, or its former holder would wait for itself.
impl Drop for Lease {
    fn drop(&mut self) {
        self.stop_renewing();
    }
}

impl ConditionStyle {
    /// Whether the lease is the only thing that keeps two writers apart.
    pub(super) fn needs_lease(self) -> bool {
        self.conditional != Conditional::Etag
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
