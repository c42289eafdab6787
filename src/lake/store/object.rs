//! Objects: one that is read in parts, one that is being written, and how a version is identified.
//! Their paths, and whether an object may be replaced, are decided elsewhere.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest, Sha256};

use super::blocks::{Blocks, Gathering, Pool};

/// What a store calls a version of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Version {
    /// The tag exactly as in the store's header, including quotes, for sending it back.
    pub(super) tag: Option<String>,
    /// The generation, if the store has them.
    pub(super) generation: Option<String>,
}

impl Version {
    /// The tag in the form common to all of a store's replies.
    pub(crate) fn etag(&self) -> String {
        plain(self.tag.as_deref().unwrap_or_default())
    }
}

/// An `ETag` without the quotes that only some replies have.
pub(super) fn plain(tag: &str) -> String {
    tag.trim_matches('"').to_owned()
}

/// One version of an object, opened for reading.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    version: Version,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    File(Arc<File>, u64),
    Blocks(Blocks),
}

impl Object {
    pub(super) fn of_file(file: File, length: u64, version: Version) -> Self {
        Self { version, body: Body::File(Arc::new(file), length) }
    }

    pub(super) fn of_blocks(blocks: Blocks, version: Version) -> Self {
        Self { version, body: Body::Blocks(blocks) }
    }

    /// An object with these bytes.
    #[cfg(test)]
    pub(in crate::lake) fn of_bytes(bytes: Bytes) -> Self {
        Self::of_blocks(bytes.into(), Version::default())
    }

    /// Releases what was read before this offset, if it is in memory; it is not read again.
    pub(crate) fn release(&self, before: u64) {
        if let Body::Blocks(blocks) = &self.body {
            blocks.release(place(before));
        }
    }

    /// Which version it is.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Its size and SHA-256. If it cannot be read, they differ from those in the manifest.
    pub(crate) fn digest(&self) -> (u64, String) {
        let mut hash = Hashing(Sha256::new());
        let read = self.get_read(0).map(|mut reader| io::copy(&mut reader, &mut hash));
        let bytes = read.ok().and_then(Result::ok).unwrap_or_default();
        (bytes, hexadecimal(hash.0))
    }
}

/// A writer that only computes the digest of what is copied into it.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Length for Object {
    fn len(&self) -> u64 {
        match &self.body {
            Body::File(_, length) => *length,
            Body::Blocks(blocks) => blocks.len() as u64,
        }
    }
}

impl ChunkReader for Object {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(match &self.body {
            Body::File(file, _) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(start))?;
                Box::new(BufReader::new(file))
            }
            Body::Blocks(blocks) => Box::new(blocks.reader(place(start))),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match &self.body {
            Body::File(file, _) => file.get_bytes(start, length),
            Body::Blocks(blocks) => Ok(blocks.get(place(start), length)?),
        }
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// A written object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) etag: String,
    pub(crate) sha256: String,
}

/// An object that is being written; dropping it leaves nothing.
pub(crate) struct Staged {
    sink: Sink,
    hash: Sha256,
    bytes: u64,
}

pub(super) enum Sink {
    File(PathBuf, BufWriter<File>),
    Memory(Gathering),
}

impl Staged {
    pub(super) fn in_file(path: PathBuf, file: File) -> Self {
        let file = BufWriter::with_capacity(256 << 10, file);
        Self { sink: Sink::File(path, file), hash: Sha256::new(), bytes: 0 }
    }

    pub(super) fn in_memory(pool: &Arc<Pool>) -> Self {
        let gathering = Gathering::of(pool, u64::MAX);
        Self { sink: Sink::Memory(gathering), hash: Sha256::new(), bytes: 0 }
    }

    /// The flushed file that it is staged in, and its description.
    pub(super) fn into_file(self) -> io::Result<(PathBuf, File, Written)> {
        let written =
            Written { bytes: self.bytes, etag: String::new(), sha256: hexadecimal(self.hash) };
        match self.sink {
            Sink::File(path, file) => Ok((path, file.into_inner()?, written)),
            Sink::Memory(_) => Err(io::Error::other("staged in memory")),
        }
    }

    /// The staged bytes, and their description.
    pub(super) fn into_payload(self) -> io::Result<(PutPayload, Written)> {
        let written =
            Written { bytes: self.bytes, etag: String::new(), sha256: hexadecimal(self.hash) };
        match self.sink {
            Sink::Memory(gathering) => Ok((gathering.into_payload(), written)),
            Sink::File(..) => Err(io::Error::other("staged in a file")),
        }
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({} bytes)", self.bytes)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.sink {
            Sink::File(_, file) => file.write(bytes)?,
            Sink::Memory(gathering) => {
                gathering.add(bytes);
                bytes.len()
            }
        };
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(_, file) => file.flush(),
            Sink::Memory(_) => Ok(()),
        }
    }
}

fn hexadecimal(hash: Sha256) -> String {
    let mut text = String::new();
    for byte in hash.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(content: &[u8]) -> [Object; 2] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let of_file = Object::of_file(file, content.len() as u64, Version::default());
        [of_file, Object::of_bytes(Bytes::copy_from_slice(content))]
    }

    #[test]
    fn ranges_and_digests_are_the_same_wherever_the_bytes_are() {
        for object in both(b"abcdef") {
            assert_eq!(object.len(), 6);
            assert_eq!(&object.get_bytes(2, 3).unwrap()[..], b"cde");
            assert!(object.get_bytes(4, 3).is_err(), "beyond the end");
            let mut rest = String::new();
            object.get_read(4).unwrap().read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "ef");
            assert_eq!(object.digest(), (6, hexadecimal(Sha256::new_with_prefix(b"abcdef"))));
        }
    }

    #[test]
    fn an_etag_is_the_same_with_and_without_quotes() {
        let version = Version { tag: Some("\"0x8DC\"".to_owned()), generation: None };
        assert_eq!(version.etag(), plain("0x8DC"));
    }
}
