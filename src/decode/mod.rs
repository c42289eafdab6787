//! JSON in, columns out, nothing lost.
//!
//! Decodes the bytes of one reply into [`Rows`] in the table's schema, records for quarantine, the
//! [`Page`] for the paginator, and, until the table's schema is frozen, a wider schema. It never
//! drops a record.
//!
//! Each text is parsed once: arrow-json's parser makes a flat tape, which our own root decoder
//! walks.

mod cleanse;
mod columns;
mod decoded;
mod envelope;
mod extra;
mod fit;
mod forget;
mod formats;
mod gather;
mod hash;
mod infer;
pub(crate) mod instant;
mod json;
mod metadata;
mod number;
mod parent_ids;
mod path;
mod redact;
mod repair;
mod rows;
mod shape;
mod surrogates;
mod tape;

use std::sync::Arc;

use bytes::Bytes;

use arrow::array::RecordBatch;
use arrow::json::reader::Tape;

pub use self::cleanse::Cleansed;
pub use self::decoded::{
    Decoded, DecodedMany, Origin, Quarantined, SAME_KEY, Surprises, Undecodable,
};
pub use self::extra::MisfitCounts;
pub use self::formats::{NotJson, lines_as_list};
pub use self::gather::Gathered;
use self::hash::Readings;
pub use self::parent_ids::is_usable;
use self::path::Selections;
pub use self::repair::repair;
pub use self::rows::Rows;
use self::shape::{RecordShape, Spliced};
use self::tape::TapeReader;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::page::{Page, PageEntry};
use crate::row::RowFacts;
use crate::schema::Schema;

/// Whether a body looks like one whole JSON value: it ends with the bracket that matches its first.
/// A body that was cut off rarely does; decoding it, or [`is_json`], tells for sure.
#[must_use]
pub fn looks_whole(body: &[u8]) -> bool {
    let ends = match without_bom(body).trim_ascii() {
        [first, .., last] => (*first, *last),
        _ => (0, 0),
    };
    matches!(ends, (b'{', b'}') | (b'[', b']')) || is_json(body)
}

/// Whether a body is one whole JSON value that can be decoded.
#[must_use]
pub fn is_json(body: &[u8]) -> bool {
    let (body, _) = surrogates::replace_lone(without_bom(body));
    TapeReader::default().read(&body, |_, _| ()).is_ok()
}

/// Whether a text is strict JSON, of any depth.
#[must_use]
pub fn is_strict_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Why a body that holds no JSON cannot be decoded, and a retry would not help.
#[must_use]
pub fn refused(format: NotJson) -> Error {
    let hint = match format {
        NotJson::Html => {
            "this is a web page: check the base URL and the path, and whether a proxy or a login \
             page answers instead"
        }
        _ => {
            "clari-lake reads JSON and NDJSON; many servers send it if [headers] requests it: \
              accept = \"application/json\""
        }
    };
    Error::new(ErrorKind::Data, format!("{format} came instead of JSON")).with_hint(hint)
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Decodes the replies of one endpoint.
#[derive(Debug)]
pub struct RecordDecoder {
    reader: TapeReader,
    shape: RecordShape,
}

impl RecordDecoder {
    /// A decoder into `schema`, which grows by inference unless it `is_frozen`; `selectors` names
    /// the fields by which child endpoints select their parents among these records.
    #[must_use]
    pub fn new(
        endpoint: Arc<Endpoint>,
        schema: Arc<Schema>,
        is_frozen: bool,
        selectors: Arc<[String]>,
    ) -> Self {
        let readings = Arc::new(Readings::of(&schema.columns, &endpoint.key));
        let forgotten = Arc::default();
        let shape = RecordShape { endpoint, schema, is_frozen, readings, selectors, forgotten };
        Self { reader: TapeReader::default(), shape }
    }

    /// The schema, widened by the records seen so far.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.shape.schema
    }

    /// Another decoder into the same schema.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { reader: TapeReader::default(), shape: self.shape.clone() }
    }

    /// Adopts a schema that another writer has committed.
    pub fn set_schema(&mut self, schema: Arc<Schema>, is_frozen: bool) {
        // Inference adds neither instants nor keys.
        self.shape.readings = Arc::new(Readings::of(&schema.columns, &self.shape.endpoint.key));
        self.shape.schema = schema;
        self.shape.is_frozen = is_frozen;
    }

    /// Decodes one reply: a JSON value, or one JSON value per line.
    ///
    /// # Errors
    /// When the body is neither, or has no records where the endpoint says they are.
    pub fn decode(&mut self, body: &[u8], origin: &Origin) -> Result<Decoded, Undecodable> {
        match self.decode_value(body, origin) {
            Err(Undecodable::NotJson(why)) => match lines_as_list(body) {
                Some(list) => self.decode_value(&list, origin),
                None => Err(Undecodable::NotJson(why)),
            },
            decoded => decoded,
        }
    }

    fn decode_value(&mut self, body: &[u8], origin: &Origin) -> Result<Decoded, Undecodable> {
        let body = without_bom(body);
        let (body, lone_surrogates) = surrogates::replace_lone(body);
        let is_spliced = self.shape.is_spliced();
        let as_it_is = if is_spliced { None } else { self.decode_reply(&body, origin)? };
        let mut decoded = match as_it_is {
            Some(decoded) => decoded,
            None => self.decode_spliced(&body, origin)?,
        };
        decoded.surprises.lone_surrogates = lone_surrogates;
        Ok(decoded)
    }

    /// Decodes a reply unchanged; `None` when something must be removed from it.
    fn decode_reply(
        &mut self,
        body: &[u8],
        origin: &Origin,
    ) -> Result<Option<Decoded>, Undecodable> {
        let selections = self.select(body)?;
        let (mut shape, origin) = (self.shape.clone(), origin.clone());
        let visit = move |tape: &Tape<'_>, root| {
            let decoded = shape.reply(tape, root, &origin, &selections);
            (shape, decoded)
        };
        let (shape, decoded) = self.reader.read(body, visit).map_err(Undecodable::NotJson)?;
        let decoded = decoded?;
        self.shape = shape;
        Ok(decoded)
    }

    /// Decodes a reply whose records are changed first, which takes a second parse: its metadata is
    /// added to them, or something is removed from them.
    fn decode_spliced(&mut self, body: &[u8], origin: &Origin) -> Result<Decoded, Undecodable> {
        let Spliced { text, complete, taken_out, page } = self.splice(body, origin)?;
        let (mut shape, origin) = (self.shape.clone(), origin.clone());
        let visit = move |tape: &Tape<'_>, root| {
            let records: Vec<u32> = json::items(tape, root).collect();
            let decoded = shape.records(tape, &records, &|_| &origin, &complete, Some(&|_| 0));
            (shape, decoded)
        };
        let read = self.reader.read(text.as_bytes(), visit);
        let (shape, decoded) = read.map_err(Undecodable::NotJson)?;
        let mut decoded = decoded?;
        self.shape = shape;
        decoded.rows.forgotten = self.shape.forgotten.version;
        let left = std::mem::take(&mut decoded.page.entries).into_iter();
        decoded.page = Page { entries: whole_page(taken_out, left), ..page };
        Ok(decoded)
    }

    fn splice(&mut self, body: &[u8], origin: &Origin) -> Result<Spliced, Undecodable> {
        let selections = self.select(body)?;
        let (shape, origin) = (self.shape.clone(), origin.clone());
        let visit = move |tape: &Tape<'_>, root| shape.spliced(tape, root, &selections, &origin);
        self.reader.read(body, visit).map_err(Undecodable::NotJson)?
    }

    /// The targets of the paths that are not plain; nothing is parsed if all are plain.
    fn select(&self, body: &[u8]) -> Result<Selections, Undecodable> {
        Selections::of(body, self.shape.paths()).map_err(Undecodable::NotJson)
    }

    /// Decodes several replies at once, which is much cheaper than one by one when each holds a
    /// single record: the cost of one-row columns exceeds that of their values.
    ///
    /// # Errors
    /// When one of the bodies is not JSON. One that has no records counts as holding none.
    pub fn decode_many(&mut self, bodies: &[(Bytes, Origin)]) -> Result<DecodedMany, Undecodable> {
        let is_plain = self.shape.is_plain();
        let as_they_are = if is_plain { self.decode_joined(bodies, true)? } else { None };
        let decoded = match as_they_are {
            Some(decoded) => Some(decoded),
            None => self.decode_joined(bodies, false)?,
        };
        decoded.ok_or_else(|| Error::new(ErrorKind::Internal, "replies were not decoded").into())
    }

    /// Decodes several replies as one list, unchanged or changed first; `None` when they must be
    /// changed.
    fn decode_joined(
        &mut self,
        bodies: &[(Bytes, Origin)],
        is_plain: bool,
    ) -> Result<Option<DecodedMany>, Undecodable> {
        let mut texts = Vec::with_capacity(bodies.len());
        let mut lone_surrogates = 0;
        let mut complete = Vec::new();
        for (body, origin) in bodies {
            let body = without_bom(body);
            let (body, count) = surrogates::replace_lone(body);
            lone_surrogates += count;
            if is_plain {
                texts.push(body);
                continue;
            }
            match self.splice(&body, origin) {
                Ok(spliced) => {
                    texts.push(spliced.text.into_bytes().into());
                    complete.extend(spliced.complete);
                }
                Err(Undecodable::NoRecords(_) | Undecodable::IsError(_)) => {
                    texts.push(b"[]".into());
                }
                Err(error) => return Err(error),
            }
        }
        let origins: Vec<Origin> = bodies.iter().map(|(_, origin)| origin.clone()).collect();
        let mut shape = self.shape.clone();
        let visit = move |tape: &Tape<'_>, root| {
            let decoded = shape.replies(tape, root, &origins, is_plain, &complete);
            (shape, decoded)
        };
        let begin = [b"[".as_slice()].into_iter().chain(std::iter::repeat(b",".as_slice()));
        let parts = begin.zip(&texts).flat_map(|(begin, text)| [begin, &**text]);
        let end: &[u8] = if texts.is_empty() { b"[]" } else { b"]" };
        let read = self.reader.read_parts(parts.chain([end]), visit);
        let (shape, decoded) = read.map_err(Undecodable::NotJson)?;
        let decoded = decoded?;
        self.shape = shape;
        Ok(decoded.map(|mut decoded| {
            decoded.decoded.surprises.lone_surrogates = lone_surrogates;
            decoded
        }))
    }

    /// Converts rows that were decoded before the schema grew to the current schema.
    ///
    /// # Errors
    /// `Corrupt` when this tool did not make the rows.
    pub fn widen(&mut self, rows: Rows) -> Result<Rows> {
        if rows.schema == self.shape.schema {
            return Ok(rows);
        }
        let origin = |facts: &RowFacts| Origin {
            fetched_at: facts.fetched_at,
            parent: facts.parent.clone(),
            day: facts.day,
            found_on: facts.found_on,
        };
        let origins = rows.facts.iter().map(origin).collect();
        let widened = self.decode_rows(&rows.to_table()?, origins)?;
        Ok(Rows { facts: rows.facts, forgotten: rows.forgotten, ..widened })
    }

    /// Decodes rows of the lake again, into this decoder's schema: values from `extra_json` move
    /// into columns that now exist. Their facts follow from the rows, and `added` supplies what the
    /// record itself does not say.
    ///
    /// # Errors
    /// `Corrupt` when this tool did not write the rows.
    pub fn decode_rows(&mut self, batch: &RecordBatch, added: Vec<Origin>) -> Result<Rows> {
        let corrupt = |why: String| Error::new(ErrorKind::Corrupt, why);
        let text = rows::to_json(batch, &self.shape.schema, &mut self.reader)?;
        let mut shape = self.shape.clone();
        let visit = move |tape: &Tape<'_>, root| {
            let records: Vec<u32> = json::items(tape, root).collect();
            let decoded = shape.records(tape, &records, &|row| &added[row], &[], None);
            (shape, decoded)
        };
        let (shape, decoded) = self.reader.read(text.as_bytes(), visit).map_err(corrupt)?;
        let decoded = decoded?;
        self.shape = shape;
        if !decoded.quarantined.is_empty() {
            return Err(corrupt("a row without a key".to_owned()));
        }
        Ok(decoded.rows)
    }
}

/// All records of the reply, including those that were removed.
fn whole_page(
    taken_out: Vec<Option<PageEntry>>,
    mut left: impl Iterator<Item = PageEntry>,
) -> Vec<PageEntry> {
    taken_out.into_iter().filter_map(|entry| entry.or_else(|| left.next())).collect()
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
