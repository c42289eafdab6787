//! The owner of a table during a run: the one task that holds what the run knows about it.
//!
//! Readers do not share that state. They send the owner work through a bounded channel, and it does
//! one piece after the other, in the order in which they were sent. Work that reads or writes the
//! lake runs on a thread where it may block; meanwhile requests are sent and answered, and a reader
//! that has more to store waits.

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::blocking;
use crate::error::{Error, ErrorKind, Result};

/// How many pieces of work may wait, so that readers do not run far ahead of the commits.
const WAITING: usize = 16;

/// A piece of work.
enum Work<S> {
    /// Takes microseconds.
    Quick(Box<dyn FnOnce(&mut S) + Send>),
    /// Reads or writes the lake.
    Blocking(Box<dyn FnOnce(&mut S) + Send>),
}

/// The way to a state that one task owns.
pub(super) struct Owner<S> {
    work: mpsc::Sender<Work<S>>,
    task: JoinHandle<()>,
}

impl<S: Send + 'static> Owner<S> {
    /// Gives the state to a new task, which ends with the returned value.
    pub(super) fn start(state: S) -> Self {
        let (work, waiting) = mpsc::channel(WAITING);
        Self { work, task: tokio::spawn(serve(Box::new(state), waiting)) }
    }

    /// Sends a change whose result the caller does not need.
    pub(super) async fn tell(&self, change: impl FnOnce(&mut S) + Send + 'static) {
        // If the owner is gone, its panic is the error of the next call that needs a result.
        drop(self.work.send(Work::Quick(Box::new(change))).await);
    }

    /// Runs quick work, and returns its result.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, result) = oneshot::channel();
        // A caller that no longer waits needs no result.
        let work = move |state: &mut S| drop(sender.send(read(state)));
        self.work.send(Work::Quick(Box::new(work))).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }

    /// Runs work that reads or writes the lake, and returns its result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, result) = oneshot::channel();
        let work = move |state: &mut S| drop(sender.send(work(state)));
        self.work.send(Work::Blocking(Box::new(work))).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

impl<S> Drop for Owner<S> {
    // What still waits belongs to a run that has been given up.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Does the work, until all senders are gone.
async fn serve<S: Send + 'static>(mut state: Box<S>, mut waiting: mpsc::Receiver<Work<S>>) {
    while let Some(work) = waiting.recv().await {
        match work {
            Work::Quick(work) => work(&mut state),
            Work::Blocking(work) => {
                let done = blocking(move || {
                    work(&mut state);
                    Ok(state)
                });
                // After a panic there is no state to continue with.
                let Ok(unchanged) = done.await else { return };
                state = unchanged;
            }
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "a task was aborted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_in_the_order_in_which_it_was_sent() {
        let owner = Owner::start(Vec::new());
        for at in 0..100 {
            match at % 3 {
                0 => owner.tell(move |state: &mut Vec<i32>| state.push(at)).await,
                1 => owner.ask(move |state| state.push(at)).await.unwrap(),
                _ => {
                    let push = move |state: &mut Vec<i32>| {
                        state.push(at);
                        Ok(())
                    };
                    owner.run(push).await.unwrap();
                }
            }
        }
        let done = owner.ask(|state| state.clone()).await.unwrap();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_calls_that_follow() {
        let owner = Owner::start(0);
        let broken = owner.run(|_| -> Result<()> { panic!("on purpose") }).await;
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::Internal);
        owner.tell(|state| *state = 1).await;
        assert_eq!(owner.ask(|state| *state).await.unwrap_err().kind(), ErrorKind::Internal);
    }
}
