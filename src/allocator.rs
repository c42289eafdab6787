//! The allocator of the process: how it deals with memory that was freed.
//!
//! Enters: nothing. Leaves: nothing; a setting of the process is changed, once, by its `main`.
//! Never here: an allocator of our own. Others were measured (`docs/performance.md`), and took more
//! memory and no less time.

/// How much freed memory is kept at hand rather than given back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 32 << 20;

/// Has glibc keep up to 32 MB that were freed for what is allocated next.
///
/// Pages of Parquet and batches of rows come and go by the megabyte. Left to itself, glibc gives
/// such memory back at once and asks for it again, and the kernel clears it each time: a tenth of
/// what an export computes. It uses no more memory for it. With other allocators nothing happens.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "there is no safe way to glibc's settings")]
    // SAFETY: `mallopt` takes two numbers and changes the allocator's own settings under its own
    // lock; it may be called at any time. If it fails, the setting stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}
