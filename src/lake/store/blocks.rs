//! The bytes of a bucket's objects in memory, in blocks that can each be released on their own.
//! Released ranges cannot be read again.
//!
//! The replacement of an object is assembled in memory as well. What has been read for the last
//! time is released while the next version grows, so that both together take as much memory as one.
//! An allocator would keep such memory for the thread that freed it, so blocks return to a pool of
//! their own.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use object_store::PutPayload;

/// The size of a block.
const BLOCK: usize = 1 << 20;
/// How many free blocks are kept for reuse.
const KEPT: usize = 32;

/// Unused blocks.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block in use; dropping it returns it to the pool.
struct Block {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Block {
    /// An empty block for this many bytes.
    fn of(pool: &Arc<Pool>, length: usize) -> Self {
        let known = if length >= BLOCK { pool.free().pop() } else { None };
        let bytes = known.unwrap_or_else(|| Vec::with_capacity(length.min(BLOCK)));
        Self { bytes, pool: Arc::clone(pool) }
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut free = self.pool.free();
        if self.bytes.capacity() >= BLOCK && free.len() < KEPT {
            self.bytes.clear();
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// An object in blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks {
    /// Released blocks are empty.
    blocks: Arc<Mutex<Vec<Bytes>>>,
    length: usize,
}

impl Blocks {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A range; copied if it spans blocks.
    pub(super) fn get(&self, start: usize, length: usize) -> io::Result<Bytes> {
        let first = self.block_from(start)?;
        if first.len() >= length {
            return Ok(first.slice(..length));
        }
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let block = self.block_from(start + bytes.len())?;
            if block.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&block[..block.len().min(length - bytes.len())]);
        }
        Ok(bytes.freeze())
    }

    /// The bytes from `start` to the end of its block; none at the end of the object.
    fn block_from(&self, start: usize) -> io::Result<Bytes> {
        if start == self.length {
            return Ok(Bytes::new());
        }
        let blocks = self.lock();
        match blocks.get(start / BLOCK) {
            Some(block) if start % BLOCK < block.len() => Ok(block.slice(start % BLOCK..)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads from `start` on.
    pub(super) fn reader(&self, start: usize) -> impl Read + Send + use<> {
        BlockReader { blocks: self.clone(), at: start.min(self.length) }
    }

    /// Releases the blocks before this offset, which are not read again.
    pub(super) fn release(&self, before: usize) {
        for block in self.lock().iter_mut().take(before / BLOCK) {
            *block = Bytes::new();
        }
    }
}

struct BlockReader {
    blocks: Blocks,
    at: usize,
}

impl Read for BlockReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block = self.blocks.block_from(self.at)?;
        let length = block.len().min(buffer.len());
        buffer[..length].copy_from_slice(&block[..length]);
        self.at += length;
        Ok(length)
    }
}

/// Assembles blocks from incoming bytes.
pub(super) struct Gathering {
    pool: Arc<Pool>,
    whole: Vec<Bytes>,
    open: Block,
    /// The maximum number of bytes still to come.
    left: usize,
}

impl Gathering {
    /// For at most this many bytes.
    pub(super) fn of(pool: &Arc<Pool>, length: u64) -> Self {
        let left = usize::try_from(length).unwrap_or(usize::MAX);
        Self { pool: Arc::clone(pool), whole: Vec::new(), open: Block::of(pool, left), left }
    }

    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK - self.open.bytes.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.open.bytes.extend_from_slice(now);
            self.left = self.left.saturating_sub(now.len());
            if self.open.bytes.len() == BLOCK {
                let next = Block::of(&self.pool, self.left);
                self.whole.push(Bytes::from_owner(std::mem::replace(&mut self.open, next)));
            }
            bytes = later;
        }
    }

    fn end(mut self) -> Vec<Bytes> {
        if !self.open.bytes.is_empty() {
            self.whole.push(Bytes::from_owner(self.open));
        }
        self.whole
    }

    pub(super) fn into_blocks(self) -> Blocks {
        let blocks = self.end();
        let length = blocks.iter().map(Bytes::len).sum();
        Blocks { blocks: Arc::new(Mutex::new(blocks)), length }
    }

    pub(super) fn into_payload(self) -> PutPayload {
        self.end().into_iter().collect()
    }
}

#[cfg(test)]
impl From<Bytes> for Blocks {
    fn from(bytes: Bytes) -> Self {
        let mut gathering = Gathering::of(&Arc::default(), bytes.len() as u64);
        gathering.add(&bytes);
        gathering.into_blocks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_right_within_and_across_blocks_until_they_are_given_back() {
        let content: Vec<u8> =
            (0..BLOCK * 5 / 2).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let blocks = Blocks::from(Bytes::from(content.clone()));
        assert_eq!(blocks.len(), content.len());
        for (start, length) in
            [(0, 10), (BLOCK - 3, 6), (BLOCK, BLOCK), (7, 2 * BLOCK), (content.len(), 0)]
        {
            assert_eq!(blocks.get(start, length).unwrap(), content[start..start + length]);
        }
        assert!(blocks.get(content.len() - 1, 2).is_err());
        let mut rest = Vec::new();
        blocks.reader(BLOCK + 5).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, content[BLOCK + 5..]);

        blocks.release(2 * BLOCK - 1);
        assert!(blocks.get(0, 1).is_err() && blocks.get(BLOCK - 1, 2).is_err());
        assert_eq!(blocks.get(BLOCK, 9).unwrap(), content[BLOCK..BLOCK + 9]);
    }

    /// P9: released blocks are reused for the next version.
    #[test]
    fn blocks_are_used_again() {
        let pool = Arc::default();
        let gathered = |blocks: u64| {
            let mut gathering = Gathering::of(&pool, u64::MAX);
            (0..blocks).for_each(|_| gathering.add(&vec![7; BLOCK]));
            gathering
        };
        let old = gathered(3).into_blocks();
        let in_pool = || pool.free().len();
        assert_eq!(in_pool(), 1, "one was begun and not used");
        old.release(2 * BLOCK);
        assert_eq!(in_pool(), 3);
        let new = gathered(2).into_payload();
        assert_eq!((in_pool(), new.content_length()), (1, 2 * BLOCK));
        drop((old, new));
        assert_eq!(in_pool(), 4);
    }
}
