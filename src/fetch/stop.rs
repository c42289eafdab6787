//! Being asked to stop.

use std::sync::Arc;

use tokio::sync::watch;

/// A wish to stop, shared by all that should notice it.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks everyone to finish what is at hand, and stop.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether that was asked.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until that is asked.
    pub async fn requested(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives as long as `self`, so this only ends when the wish is there.
        let _ = receiver.wait_for(|requested| *requested).await;
    }
}
