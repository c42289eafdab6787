//! What befalls a run: it is killed, stopped, or asleep while others go on.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use clari_lake::internals::fetch::Stop;
use fastrand::Rng;

/// What befalls a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blow {
    /// Nothing.
    None,
    /// It is dropped after so many polls, whatever is under way then.
    Killed(u64),
    /// It is asked to stop after so long.
    Stopped(Duration),
    /// After so many polls the machine sleeps, and the process wakes so much later.
    Asleep(u64, Duration),
}

impl Blow {
    pub(super) fn random(rng: &mut Rng) -> Self {
        // Each order of magnitude as likely as the next.
        let polls = 1 << rng.u32(0..12);
        let polls = rng.u64(polls..polls * 2);
        match rng.u8(..8) {
            0..3 => Self::Killed(polls),
            3 => Self::Stopped(Duration::from_millis(rng.u64(..3_000))),
            4 => Self::Asleep(polls, Duration::from_secs(rng.u64(1..7_200))),
            _ => Self::None,
        }
    }

    /// Runs to its end, if it is let; `None` when it is killed.
    pub(crate) async fn befall<T>(self, stop: Stop, run: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::None => Some(run.await),
            Self::Stopped(after) => {
                let ask = async {
                    tokio::time::sleep(after).await;
                    stop.request();
                    std::future::pending().await
                };
                tokio::select! {
                    done = run => Some(done),
                    never = ask => never,
                }
            }
            Self::Killed(polls) => until(polls, &mut pin!(run)).await,
            Self::Asleep(polls, span) => {
                let mut run = pin!(run);
                match until(polls, &mut run).await {
                    None => {
                        tokio::time::sleep(span).await;
                        Some(run.await)
                    }
                    done => done,
                }
            }
        }
    }
}

/// Polls a future so often; `None` when it is not ready by then.
async fn until<F: Future + Unpin>(polls: u64, future: &mut F) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(|context| {
        left = left.saturating_sub(1);
        match std::pin::Pin::new(&mut *future).poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
