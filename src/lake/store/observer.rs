//! Observers, for simulating readers that look at the lake between any two writes.

use std::fmt;
use std::sync::Arc;

/// Looks at the lake after every write, and receives the path of what was written, below the lake.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&str) + Send + Sync>);

impl Observer {
    /// An observer that calls `look` with the path of each completed write. Threads that write
    /// concurrently call it concurrently.
    pub fn new(look: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    pub(super) fn look(&self, path: &str) {
        (self.0)(path);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
