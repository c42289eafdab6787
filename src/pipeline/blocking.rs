//! Work that blocks: reading and writing the lake, and decoding.

use crate::error::{Error, ErrorKind, Result};

/// Runs blocking work where it does not block other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a task was aborted").with_source(error))
    })
}
