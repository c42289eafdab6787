//! The bars of a progress display, which share stderr with everything else.

use std::sync::OnceLock;

use indicatif::MultiProgress;

/// The bars of this process, for other code that writes to stderr.
pub(super) static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Writes to stderr above the bars, if there are any.
pub(super) fn beside_bars(write: impl FnOnce()) {
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}
