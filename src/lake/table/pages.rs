//! The encoded pages of a row group, compressed and kept until the row group is written.
//!
//! The Parquet library can compress pages itself, but it creates a compressor and a decompressor
//! for each column chunk, which costs more than to compress a small one, and it keeps each
//! compressed page in a buffer of the page's full size. So its own compression is off. Here, one
//! compressor serves all columns of an object, and a chunk is compressed only if that makes it
//! smaller.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::page_store::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use crate::error::{Error, ErrorKind, Result};

/// How strongly pages are compressed.
const LEVEL: i32 = 3;
/// So few bytes are not compressed: most chunks of this size would grow.
const TOO_FEW_TO_COMPRESS: usize = 256;
/// A chunk up to this size is compressed only if that makes it smaller; its pages are kept as they
/// are until it is complete.
const SMALL: usize = 4096;
/// The page type of a dictionary, in a page header.
const DICTIONARY: u64 = 2;
/// The thrift tag of a 32-bit number in the field after the previous one.
const NEXT_I32: u8 = 0x15;

/// The pages of one row group at a time.
#[derive(Clone)]
pub(super) struct Pages(Arc<Mutex<Shared>>);

struct Shared {
    compressor: Compressor<'static>,
    /// Where pages are compressed.
    buffer: Vec<u8>,
    /// By column.
    chunks: Vec<Chunk>,
}

/// The pages of one column chunk.
#[derive(Default)]
struct Chunk {
    pages: Vec<Page>,
    is_compressed: bool,
    /// The header of the page that comes next.
    header: Option<Bytes>,
    /// The size of its pages before they are compressed, with their headers.
    plain_bytes: usize,
    /// The size of its pages as they are kept.
    kept_bytes: usize,
}

/// A page, or a dictionary.
struct Page {
    header: Bytes,
    body: Bytes,
    is_dictionary: bool,
}

impl Page {
    fn bytes(&self) -> usize {
        self.header.len() + self.body.len()
    }
}

/// A complete column chunk, and what the file says about it.
pub(super) struct EncodedChunk {
    pages: Vec<Page>,
    pub(super) close: ColumnCloseResult,
}

impl Pages {
    pub(super) fn new() -> Result<Self> {
        let compressor = Compressor::new(LEVEL).map_err(|error| {
            Error::new(ErrorKind::Internal, "a compressor cannot be created").with_source(error)
        })?;
        let (buffer, chunks) = (Vec::new(), Vec::new());
        Ok(Self(Arc::new(Mutex::new(Shared { compressor, buffer, chunks }))))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes compression has saved in the current row group.
    pub(super) fn saved(&self) -> usize {
        let saved = |chunk: &Chunk| chunk.plain_bytes.saturating_sub(chunk.kept_bytes);
        self.shared().chunks.iter().map(saved).sum()
    }

    /// Ends the row group: returns its chunks, of which the Parquet library says this.
    pub(super) fn end<'c>(
        &self,
        closes: impl Iterator<Item = &'c ColumnCloseResult>,
    ) -> Result<Vec<EncodedChunk>> {
        let mut shared = self.shared();
        let chunks = std::mem::take(&mut shared.chunks);
        let ended = chunks.into_iter().zip(closes);
        Ok(ended.map(|(chunk, close)| shared.end(chunk, close)).collect::<Result<_, _>>()?)
    }
}

impl Shared {
    /// Adds what comes next of a column: a page's header or its body.
    fn put(&mut self, column: usize, value: Bytes) -> Result<(), ParquetError> {
        let Self { compressor, buffer, chunks } = self;
        let chunk = chunks.get_mut(column).ok_or_else(unexpected)?;
        let Some(header) = chunk.header.take() else {
            chunk.header = Some(value);
            return Ok(());
        };
        let is_dictionary = PageHeader::read(&header)?.page_type == DICTIONARY;
        let mut page = Page { header, body: value, is_dictionary };
        chunk.plain_bytes += page.bytes();
        if !chunk.is_compressed && chunk.plain_bytes > SMALL {
            chunk.is_compressed = true;
            for page in &mut chunk.pages {
                *page = compressed(compressor, buffer, page)?;
            }
            chunk.kept_bytes = chunk.pages.iter().map(Page::bytes).sum();
        }
        if chunk.is_compressed {
            page = compressed(compressor, buffer, &page)?;
        }
        chunk.kept_bytes += page.bytes();
        chunk.pages.push(page);
        Ok(())
    }

    fn end(
        &mut self,
        mut chunk: Chunk,
        close: &ColumnCloseResult,
    ) -> Result<EncodedChunk, ParquetError> {
        if !chunk.is_compressed && chunk.plain_bytes > TOO_FEW_TO_COMPRESS {
            let Self { compressor, buffer, .. } = self;
            let pages = chunk.pages.iter().map(|page| compressed(compressor, buffer, page));
            let pages: Vec<Page> = pages.collect::<Result<_, _>>()?;
            chunk.is_compressed = pages.iter().map(Page::bytes).sum::<usize>() < chunk.kept_bytes;
            if chunk.is_compressed {
                chunk.pages = pages;
            }
        }
        // A dictionary is completed last, and read first.
        chunk.pages.sort_by_key(|page| !page.is_dictionary);
        EncodedChunk::new(chunk.pages, chunk.is_compressed, close.clone())
    }
}

fn compressed(
    compressor: &mut Compressor<'static>,
    buffer: &mut Vec<u8>,
    page: &Page,
) -> Result<Page, ParquetError> {
    buffer.clear();
    buffer.reserve(compress_bound(page.body.len()));
    compressor.compress_to_buffer(&page.body, buffer)?;
    let header = PageHeader::read(&page.header)?.with_size(buffer.len());
    let body = Bytes::copy_from_slice(buffer);
    Ok(Page { header, body, is_dictionary: page.is_dictionary })
}

impl EncodedChunk {
    /// Changes what the Parquet library says about the pages to what they have become.
    fn new(
        pages: Vec<Page>,
        is_compressed: bool,
        mut close: ColumnCloseResult,
    ) -> Result<Self, ParquetError> {
        if close.metadata.compression() != Compression::UNCOMPRESSED {
            return Err(unexpected());
        }
        let length = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        let bytes: usize = pages.iter().map(Page::bytes).sum();
        let dictionary = pages.first().filter(|page| page.is_dictionary).map(Page::bytes);
        let codec = if is_compressed {
            Compression::ZSTD(ZstdLevel::try_new(LEVEL)?)
        } else {
            Compression::UNCOMPRESSED
        };
        close.bytes_written = bytes as u64;
        close.metadata = close
            .metadata
            .into_builder()
            .set_compression(codec)
            .set_total_compressed_size(length(bytes))
            .set_dictionary_page_offset(dictionary.map(|_| 0))
            .set_data_page_offset(length(dictionary.unwrap_or_default()))
            .build()?;
        let mut at = length(dictionary.unwrap_or_default());
        let locations = close.offset_index.iter_mut().flat_map(|index| &mut index.page_locations);
        for (location, page) in locations.zip(pages.iter().filter(|page| !page.is_dictionary)) {
            location.offset = at;
            location.compressed_page_size = i32::try_from(page.bytes()).unwrap_or(i32::MAX);
            at += length(page.bytes());
        }
        Ok(Self { pages, close })
    }

    /// The bytes of the chunk, and what the file says about it.
    pub(super) fn into_bytes(self) -> (Bytes, ColumnCloseResult) {
        let mut bytes = Vec::with_capacity(self.pages.iter().map(Page::bytes).sum());
        for Page { header, body, .. } in self.pages {
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(&body);
        }
        (bytes.into(), self.close)
    }
}

/// The beginning of a page's header, in thrift's compact protocol.
struct PageHeader<'h> {
    page_type: u64,
    /// The bytes before the size of the page in the file.
    before: &'h [u8],
    /// The bytes after it.
    after: &'h [u8],
}

impl<'h> PageHeader<'h> {
    /// Reads the first three fields: type, uncompressed and compressed size.
    fn read(header: &'h [u8]) -> Result<Self, ParquetError> {
        let number = |rest: &'h [u8]| {
            let rest = rest.strip_prefix(&[NEXT_I32]).ok_or_else(unexpected)?;
            let length = rest.iter().position(|byte| *byte < 0x80).ok_or_else(unexpected)? + 1;
            let digits = rest[..length].iter().rev();
            let zigzag = digits.fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
            Ok::<_, ParquetError>((zigzag >> 1, &rest[length..]))
        };
        let (page_type, rest) = number(header)?;
        let (_, rest) = number(rest)?;
        let before = &header[..header.len() - rest.len()];
        let (_, after) = number(rest)?;
        Ok(Self { page_type, before, after })
    }

    /// The header of the same page with another size in the file.
    fn with_size(&self, size: usize) -> Bytes {
        let mut header = Vec::with_capacity(self.before.len() + self.after.len() + 6);
        header.extend_from_slice(self.before);
        header.push(NEXT_I32);
        let mut zigzag = size << 1;
        while zigzag >= 0x80 {
            header.push(zigzag.to_le_bytes()[0] | 0x80);
            zigzag >>= 7;
        }
        header.push(zigzag.to_le_bytes()[0]);
        header.extend_from_slice(self.after);
        header.into()
    }
}

fn unexpected() -> ParquetError {
    ParquetError::General("a page came in an unexpected form".to_owned())
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, args: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>, ParquetError> {
        let column = args.column_index();
        self.shared().chunks.resize_with(column + 1, Chunk::default);
        Ok(Box::new(ColumnPages { pages: self.clone(), column }))
    }
}

/// Where the Parquet library puts the pages of one column.
struct ColumnPages {
    pages: Pages,
    column: usize,
}

impl PageStore for ColumnPages {
    fn put(&mut self, value: Bytes) -> Result<PageKey, ParquetError> {
        self.pages.shared().put(self.column, value)?;
        Ok(PageKey::new(0))
    }

    fn take(&mut self, _: PageKey) -> Result<Bytes, ParquetError> {
        Err(unexpected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P1: a page's header keeps all that it says, except its size in the file.
    #[test]
    fn only_the_size_in_a_header_changes() {
        let header =
            |size: &[u8]| [&[0x15, 4, 0x15, 0xb0, 0x09][..], size, &[0x4c, 0x15, 6, 0]].concat();
        let plain = header(&[0x15, 0xb0, 0x09]);
        let read = PageHeader::read(&plain).unwrap();
        assert_eq!(read.page_type, DICTIONARY);
        assert_eq!(read.with_size(5), header(&[0x15, 10]));
        assert_eq!(read.with_size(600), header(&[0x15, 0xb0, 0x09]));
        assert_eq!(read.with_size(1 << 20), header(&[0x15, 0x80, 0x80, 0x80, 0x01]));
        for cut in 0..8 {
            assert!(PageHeader::read(&plain[..cut]).is_err(), "{cut}");
        }
    }
}
