//! The process's allocator: how it handles freed memory.
//!
//! Its one setting is changed once, by the process's `main`. There is no allocator of our own: the
//! ones measured (`docs/performance.md`) took more memory and no less time.

/// How much freed memory is kept rather than returned to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 32 << 20;

/// Makes glibc keep up to 32 MB of freed memory for later allocations.
///
/// Parquet pages and row batches are allocated and freed by the megabyte. By default glibc returns
/// such memory at once and then requests it again, and the kernel clears it each time: a tenth of
/// the CPU time of an export. Keeping it uses no more memory. With other allocators this does
/// nothing.
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
