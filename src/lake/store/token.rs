//! Tokens: they make a name unique, within this process and across processes.
//!
//! They use the operating system's randomness, not a process id, which is 1 in every container, nor
//! a clock, which may not advance.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A number that no other call returns, in any process or container.
///
/// `fastrand` is not suitable: it seeds itself from the clock and the thread's number, which are
/// equal in two processes that start under a frozen clock. The keys of a `RandomState` come from
/// the operating system.
pub fn token() -> u64 {
    RandomState::new().hash_one(())
}

/// A name with this prefix that no other process uses.
pub fn unique_name(begin: &str) -> String {
    format!("{begin}-{:016x}", token())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_of_many_threads_differ() {
        let tokens: Vec<u64> = std::thread::scope(|scope| {
            let threads =
                [(); 8].map(|()| scope.spawn(|| (0..1_000).map(|_| token()).collect::<Vec<_>>()));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len());
    }
}
