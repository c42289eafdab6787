//! The owner of a table during a run: the one task that holds what the run has read and not yet
//! committed, and the only one that commits.
//!
//! Readers neither share that state nor request it. They send the owner work through a
//! bounded channel, and it does one piece after the other, in the order in which they were sent.
//! Work that reads or writes the lake runs on a thread where it may block; meanwhile requests are
//! sent and answered. After each commit the owner publishes the new snapshot, and readers read from
//! that.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use super::blocking::blocking;
use crate::error::{Error, ErrorKind, Result};

/// How many pieces of work may wait, so that readers do not run far ahead of the commits.
const WAITING: usize = 16;

/// A state that a task owns, and what it publishes of it.
pub(super) trait Owned: Send + 'static {
    /// What readers see: cheap to copy, and never changed.
    type Published: Clone + Send + Sync + 'static;

    /// What readers see from now on.
    fn publish(&self) -> Self::Published;
}

type Change<S> = Box<dyn FnOnce(&mut S) + Send>;
type Step<S> = Box<dyn FnOnce(&mut S) -> Result<()> + Send>;

/// A piece of work.
enum Work<S> {
    /// Takes microseconds.
    Note(Change<S>),
    /// Reads or writes the lake. The sender, if any, learns that it is done.
    Store(Step<S>, Option<oneshot::Sender<()>>),
    /// Ends the task, and returns the state.
    End(oneshot::Sender<S>),
}

/// The way to a state that one task owns. Once a piece of work has failed, the task ends, and
/// nothing sent later is done.
pub(super) struct Owner<S: Owned> {
    work: mpsc::Sender<Work<S>>,
    published: watch::Receiver<S::Published>,
    /// The error that ended the task, for the first caller that meets it.
    failure: Arc<Mutex<Option<Error>>>,
}

impl<S: Owned> Owner<S> {
    /// Gives the state to a new task. The task ends with the returned value.
    pub(super) fn start(state: S) -> Self {
        let (work, waiting) = mpsc::channel(WAITING);
        let (publisher, published) = watch::channel(state.publish());
        let failure = Arc::new(Mutex::new(None));
        tokio::spawn(serve(Box::new(state), waiting, publisher, Arc::clone(&failure)));
        Self { work, published, failure }
    }

    /// What the owner published last.
    pub(super) fn published(&self) -> S::Published {
        self.published.borrow().clone()
    }

    /// Sends a quick change.
    pub(super) async fn note(&self, change: impl FnOnce(&mut S) + Send + 'static) {
        // If the owner has failed, the next work that is stored returns its error.
        drop(self.work.send(Work::Note(Box::new(change))).await);
    }

    /// Sends work that reads or writes the lake, and does not wait until it is done.
    ///
    /// # Errors
    /// The error of earlier work that failed.
    pub(super) async fn store(
        &self,
        work: impl FnOnce(&mut S) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.send(Work::Store(Box::new(work), None)).await
    }

    /// Does work that reads or writes the lake, and everything sent before it.
    ///
    /// # Errors
    /// Its own error, or that of earlier work.
    pub(super) async fn finish(
        &self,
        work: impl FnOnce(&mut S) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (sender, done) = oneshot::channel();
        self.send(Work::Store(Box::new(work), Some(sender))).await?;
        done.await.map_err(|_| self.failure())
    }

    /// Ends the task when everything sent before is done, and returns the state.
    ///
    /// # Errors
    /// The error of earlier work that failed.
    pub(super) async fn end(self) -> Result<S> {
        let (sender, state) = oneshot::channel();
        self.send(Work::End(sender)).await?;
        state.await.map_err(|_| self.failure())
    }

    async fn send(&self, work: Work<S>) -> Result<()> {
        self.work.send(work).await.map_err(|_| self.failure())
    }

    /// Why the task has ended.
    fn failure(&self) -> Error {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().unwrap_or_else(|| Error::new(ErrorKind::Internal, "a task was aborted"))
    }
}

/// Does the work until the owner ends it or is dropped, or something fails.
async fn serve<S: Owned>(
    mut state: Box<S>,
    mut waiting: mpsc::Receiver<Work<S>>,
    publisher: watch::Sender<S::Published>,
    failure: Arc<Mutex<Option<Error>>>,
) {
    while let Some(work) = waiting.recv().await {
        // What still waits belongs to a run that has been given up.
        if waiting.is_closed() {
            return;
        }
        match work {
            Work::Note(change) => change(&mut state),
            Work::Store(work, sender) => {
                // After a panic or an error there is no state to continue with.
                match blocking(move || work(&mut state).map(|()| state)).await {
                    Ok(stored) => state = stored,
                    Err(error) => {
                        // Set before the channel closes, so that callers find it when it does.
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                }
                // Published first, so that the caller that waited for a commit reads what it wrote.
                publisher.send_replace(state.publish());
                // The caller may have been dropped.
                sender.map(|sender| sender.send(()));
            }
            Work::End(sender) => {
                drop(sender.send(*state));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Owned for Vec<i32> {
        type Published = usize;

        fn publish(&self) -> usize {
            self.len()
        }
    }

    fn push(at: i32) -> impl FnOnce(&mut Vec<i32>) -> Result<()> {
        move |state| {
            state.push(at);
            Ok(())
        }
    }

    fn fail(_: &mut Vec<i32>) -> Result<()> {
        Err(Error::new(ErrorKind::Corrupt, "on purpose"))
    }

    #[tokio::test]
    async fn work_is_done_in_the_order_in_which_it_was_sent() {
        let owner = Owner::start(Vec::new());
        for at in 0..100 {
            match at % 3 {
                0 => owner.note(move |state| state.push(at)).await,
                1 => owner.store(push(at)).await.unwrap(),
                _ => {
                    owner.finish(push(at)).await.unwrap();
                    assert_eq!(owner.published(), usize::try_from(at).unwrap() + 1);
                }
            }
        }
        assert_eq!(owner.end().await.unwrap(), (0..100).collect::<Vec<_>>());
    }

    /// A reader goes on while the lake is written.
    #[tokio::test]
    async fn stored_work_is_not_waited_for() {
        let owner = Owner::start(Vec::new());
        let (release, held) = std::sync::mpsc::channel();
        let slow = move |state: &mut Vec<i32>| {
            held.recv().unwrap();
            push(1)(state)
        };
        owner.store(slow).await.unwrap();
        owner.store(push(2)).await.unwrap();
        owner.note(|state| state.push(3)).await;
        assert_eq!(owner.published(), 0, "what is not done is not published");
        release.send(()).unwrap();
        assert_eq!(owner.end().await.unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn an_error_ends_the_work_and_is_returned_by_the_next_call() {
        let owner = Owner::start(Vec::new());
        owner.store(fail).await.unwrap();
        owner.note(|state| state.push(1)).await;
        assert_eq!(owner.finish(push(2)).await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(owner.end().await.unwrap_err().kind(), ErrorKind::Internal, "only once");

        let owner = Owner::start(Vec::new());
        assert_eq!(owner.finish(fail).await.unwrap_err().kind(), ErrorKind::Corrupt);

        let owner = Owner::start(Vec::new());
        owner.store(fail).await.unwrap();
        assert_eq!(owner.end().await.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_calls_that_follow() {
        let owner = Owner::start(Vec::new());
        let broken = owner.finish(|_| panic!("on purpose")).await;
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::Internal);
        owner.note(|state| state.push(1)).await;
        assert_eq!(owner.end().await.unwrap_err().kind(), ErrorKind::Internal);
    }
}
