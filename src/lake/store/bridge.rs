//! The bridge from blocking callers to an asynchronous client.
//!
//! The modules above call from threads that may block. The client has a thread of its own, so that
//! a caller never waits for a thread that it occupies itself, however few there are.

use std::future::Future;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// A dedicated runtime for a store's client.
#[derive(Debug)]
pub(super) struct Bridge(Option<Runtime>);

impl Bridge {
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "no thread for the store's client")
                    .with_source(error)
            })?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `work` and waits for it, from any thread.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.spawn(async move {
            // The caller is waiting, so the receiver still exists.
            let _ = sender.send(work.await);
        });
        receiver
            .recv()
            .map_err(|_| Error::new(ErrorKind::Internal, "the store's client ended abruptly"))
    }

    /// Runs `work` in the background, until it ends or is aborted.
    pub(super) fn spawn(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Option<tokio::task::JoinHandle<()>> {
        self.0.as_ref().map(|runtime| runtime.spawn(work))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // A runtime must not wait for its threads when it is dropped within another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_can_be_waited_for_and_dropped_within_another_runtime() {
        let bridge = Bridge::new().unwrap();
        assert_eq!(bridge.wait(async { 6 * 7 }).unwrap(), 42);
        drop(bridge);
    }
}
