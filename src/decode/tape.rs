//! The bridge into arrow-json's parser.
//!
//! Calls back with the tape of a JSON text. It knows nothing about records.
//!
//! arrow-json passes its tape only to root decoders, so the root decoder here just calls back. The
//! call happens within [`TapeReader::read`], on the same thread.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::{ArrayDecoder, Decoder, DecoderContext, DecoderFactory, Tape};

type Work = Box<dyn FnOnce(&Tape<'_>, u32) + Send>;

/// Parses JSON texts, one at a time, reusing its buffers.
#[derive(Default)]
pub(super) struct TapeReader {
    work: Arc<Mutex<Option<Work>>>,
    decoder: Option<Decoder>,
}

impl std::fmt::Debug for TapeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TapeReader")
    }
}

impl TapeReader {
    /// Parses `text` and returns the result of `visit` on its tape and the position of its root.
    /// `visit` must own its captures, since arrow-json accepts no borrowing decoder.
    ///
    /// # Errors
    /// The parser's message, when `text` is not one whole JSON value.
    pub(super) fn read<T: Send + 'static>(
        &mut self,
        text: &[u8],
        visit: impl FnOnce(&Tape<'_>, u32) -> T + Send + 'static,
    ) -> Result<T, String> {
        self.read_parts([text], visit)
    }

    /// The same for a text in several parts, which are not concatenated.
    pub(super) fn read_parts<'p, T: Send + 'static>(
        &mut self,
        parts: impl IntoIterator<Item = &'p [u8]>,
        visit: impl FnOnce(&Tape<'_>, u32) -> T + Send + 'static,
    ) -> Result<T, String> {
        let visited = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&visited);
        let work: Work = Box::new(move |tape, root| *lock(&slot) = Some(visit(tape, root)));
        *lock(&self.work) = Some(work);
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.build()?,
        };
        parse(&mut decoder, parts.into_iter())?;
        // A decoder that failed is not reused: it holds half a record.
        self.decoder = Some(decoder);
        let visited = lock(&visited).take();
        visited.ok_or_else(|| "it is empty".to_owned())
    }

    fn build(&self) -> Result<Decoder, String> {
        ReaderBuilder::new_with_field(Field::new("root", DataType::Boolean, true))
            .with_batch_size(1)
            .with_decoder_factory(Arc::new(RootFactory(Arc::clone(&self.work))))
            .build_decoder()
            .map_err(|error| error.to_string())
    }
}

fn parse<'p>(decoder: &mut Decoder, parts: impl Iterator<Item = &'p [u8]>) -> Result<(), String> {
    // A trailing space ends a number at the root.
    for part in parts.chain([b" ".as_slice()]) {
        let consumed = decoder.decode(part).map_err(|error| error.to_string())?;
        if part[consumed..].iter().any(|byte| !byte.is_ascii_whitespace()) {
            return Err("something follows the first value".to_owned());
        }
    }
    decoder.flush().map_err(|error| error.to_string())?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct RootFactory(Arc<Mutex<Option<Work>>>);

impl std::fmt::Debug for RootFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootFactory")
    }
}

impl DecoderFactory for RootFactory {
    fn make_default_decoder(
        &self,
        _: &DecoderContext,
        _: &FieldRef,
        _: bool,
    ) -> Result<Option<Box<dyn ArrayDecoder>>, ArrowError> {
        Ok(Some(Box::new(RootDecoder(Arc::clone(&self.0)))))
    }
}

struct RootDecoder(Arc<Mutex<Option<Work>>>);

impl ArrayDecoder for RootDecoder {
    fn decode(&mut self, tape: &Tape<'_>, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        if let (Some(work), Some(root)) = (lock(&self.0).take(), rows.first()) {
            work(tape, *root);
        }
        Ok(Arc::new(BooleanArray::from(vec![None; rows.len()])))
    }
}
