//! Cleansing: checks rows of the lake against the list of the forgotten.
//!
//! Finds the rows to remove or blank among rows in the table's schema and quarantined records. Rows
//! that mention no forgotten subject stay unchanged.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::reader::Tape;

use super::redact::Changes;
use super::shape::{RecordShape, text_at};
use super::{Origin, RecordDecoder, Rows, hash, json, rows};
use crate::error::{Error, ErrorKind, Result};
use crate::forgotten::Forgotten;

/// The result of checking rows of the lake against the list of the forgotten.
#[derive(Debug)]
pub struct Cleansed {
    /// The positions of rows to remove.
    pub gone: Vec<usize>,
    /// The positions of rows with values to remove.
    pub changed: Vec<usize>,
    /// These rows without those values, in the decoder's schema.
    pub rows: Rows,
    /// How many values are removed.
    pub values: u64,
}

impl RecordDecoder {
    /// The list of the forgotten that records are checked against.
    #[must_use]
    pub fn forgotten(&self) -> &Arc<Forgotten> {
        &self.shape.forgotten
    }

    /// Checks records against this list from now on.
    pub fn set_forgotten(&mut self, forgotten: Arc<Forgotten>) {
        self.shape.forgotten = forgotten;
    }

    /// Checks rows against the list of the forgotten.
    ///
    /// # Errors
    /// `Corrupt` when this tool did not write the rows.
    pub fn cleanse(&mut self, batch: &RecordBatch, added: &[Origin]) -> Result<Cleansed> {
        let corrupt = |why: String| Error::new(ErrorKind::Corrupt, why);
        let text = rows::to_json(batch, &self.shape.schema, &mut self.reader)?;
        let (shape, origins) = (self.shape.clone(), added.to_vec());
        let visit = move |tape: &Tape<'_>, root| shape.cleanse(tape, root, &origins);
        let (found, text) = self.reader.read(text.as_bytes(), visit).map_err(corrupt)?;
        let origins: Vec<Origin> = found.changed.iter().map(|row| added[*row].clone()).collect();
        let mut shape = self.shape.clone();
        let visit = move |tape: &Tape<'_>, root| {
            let records: Vec<u32> = json::items(tape, root).collect();
            let decoded = shape.records(tape, &records, &|row| &origins[row], &[], None);
            (shape, decoded)
        };
        let (shape, decoded) = self.reader.read(text.as_bytes(), visit).map_err(corrupt)?;
        let decoded = decoded?;
        self.shape = shape;
        let rows = Rows { forgotten: self.shape.forgotten.version, ..decoded.rows };
        let Found { gone, changed, values } = found;
        Ok(Cleansed { gone, changed, rows, values })
    }

    /// Checks a record without a key, as JSON text, against the list of the forgotten: returns it
    /// unchanged when nothing must be removed, none when all of it must.
    ///
    /// # Errors
    /// `Corrupt` when the text is not JSON.
    pub fn cleanse_text(&mut self, record: &str) -> Result<Option<(String, u128)>> {
        let shape = self.shape.clone();
        let visit = move |tape: &Tape<'_>, root| shape.cleansed_text(tape, root);
        let text = self.reader.read(record.as_bytes(), visit);
        let text = text.map_err(|why| Error::new(ErrorKind::Corrupt, why))?;
        let Some(text) = text else { return Ok(None) };
        let visit = |tape: &Tape<'_>, root| hash::digest(tape, root);
        let hash = self.reader.read(text.as_bytes(), visit);
        Ok(Some((text, hash.map_err(|why| Error::new(ErrorKind::Corrupt, why))?)))
    }

    /// The ids and addresses of forgotten people, taken from their own records among these rows.
    ///
    /// # Errors
    /// `Corrupt` when this tool did not write the rows.
    pub fn people(&mut self, batch: &RecordBatch) -> Result<Vec<String>> {
        let text = rows::to_json(batch, &self.shape.schema, &mut self.reader)?;
        let shape = self.shape.clone();
        let visit = move |tape: &Tape<'_>, root| shape.people(tape, root);
        let people = self.reader.read(text.as_bytes(), visit);
        people.map_err(|why| Error::new(ErrorKind::Corrupt, why))
    }
}

/// The positions of rows that mention a forgotten subject.
#[derive(Debug, Default)]
struct Found {
    gone: Vec<usize>,
    changed: Vec<usize>,
    /// How many values are removed.
    values: u64,
}

impl RecordShape {
    /// Finds the records of a list that mention a forgotten subject, and returns what remains of
    /// them as JSON text.
    fn cleanse(&self, tape: &Tape<'_>, root: u32, origins: &[Origin]) -> (Found, String) {
        let forgetting = self.forgetting();
        let (mut found, mut out) = (Found::default(), String::from("["));
        for (row, at) in json::items(tape, root).enumerate() {
            let parent = origins[row].parent.as_deref();
            if !forgetting.may_mention(tape, at, parent) {
                continue;
            }
            if forgetting.is_gone(tape, at, parent) {
                found.gone.push(row);
                continue;
            }
            let mut changes = Changes::default();
            forgetting.blank(tape, at, &mut changes);
            if changes.len() > 0 {
                out.push_str(if found.changed.is_empty() { "" } else { "," });
                changes.write(tape, at, &mut out);
                found.changed.push(row);
                found.values += changes.len() as u64;
            }
        }
        (found, out + "]")
    }

    /// A record without a key, with forgotten subjects removed; none if the whole record is theirs.
    fn cleansed_text(&self, tape: &Tape<'_>, at: u32) -> Option<String> {
        let forgetting = self.forgetting();
        if forgetting.is_gone(tape, at, None) || forgetting.is_anywhere(tape, at) {
            return None;
        }
        let mut changes = Changes::default();
        forgetting.blank(tape, at, &mut changes);
        let mut out = String::new();
        changes.write(tape, at, &mut out);
        Some(out)
    }

    /// The ids and addresses of forgotten people, taken from their own records in a list.
    fn people(&self, tape: &Tape<'_>, root: u32) -> Vec<String> {
        let forgetting = self.forgetting();
        let gone = json::items(tape, root).filter(|at| forgetting.is_gone(tape, *at, None));
        let named = gone.flat_map(|at| {
            let fields = self.endpoint.about.person.iter();
            fields.filter_map(move |name| Some(text_at(tape, at, name)?.to_owned()))
        });
        named.collect()
    }
}
