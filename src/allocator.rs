//! The process's allocator: how it handles freed memory.
//!
//! Its settings are changed once, by the process's `main`. There is no allocator of our own: the
//! ones measured (`docs/performance.md`) took about as much memory and time.

/// How much freed memory is kept rather than returned to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 32 << 20;
/// How many arenas the threads allocate from.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 2;

/// Makes glibc keep up to 32 MB of freed memory for later allocations, in two arenas for all
/// threads.
///
/// Parquet pages and row batches are allocated and freed by the megabyte. By default glibc returns
/// such memory at once and then requests it again, and the kernel clears it each time: a tenth of
/// the CPU time of an export. Keeping it uses no more memory. With an arena per thread, memory
/// that one thread has freed is of no use to another: a tenth of the peak with a million calls. Two
/// arenas cost 2 to 3% more CPU time; a single one would save as much memory again, for 14% more in
/// an export with details. With other allocators this does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "there is no safe way to glibc's settings")]
    // SAFETY: `mallopt` takes two numbers and changes the allocator's own settings under its own
    // lock; it may be called at any time. If it fails, the setting stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}
