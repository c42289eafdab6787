//! A record's shape: where its key, time and status are, and which columns it fills.
//!
//! Turns records on the tape into rows with their facts, records for quarantine, and, until the
//! table's schema is frozen, a wider schema. No JSON text is parsed here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field};
use arrow::json::reader::{Tape, TapeElement};

use super::columns::{ABSENT, ColumnBuilder};
use super::decoded::{Decoded, DecodedMany, Origin, Quarantined, SAME_KEY, Surprises, Undecodable};
use super::envelope::{self, Envelope};
use super::extra::ExtraWriter;
use super::forget::Forgetting;
use super::hash::{Content, Readings};
use super::path::Selections;
use super::rows::Rows;
use super::{fit, hash, infer, json, metadata, path};
use crate::endpoint::{Endpoint, RecordPath};
use crate::error::{Error, ErrorKind, Result};
use crate::forgotten::Forgotten;
use crate::page::{Page, PageEntry};
use crate::report::Noted;
use crate::row::{KEY_SEPARATOR, RowFacts};
use crate::schema::{Column, ColumnType, EXTRA_JSON, Schema, Written};

/// How many characters of a value are shown.
const MOST_SHOWN: usize = 40;

/// The known shape of an endpoint's records.
#[derive(Debug, Clone)]
pub(super) struct RecordShape {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) schema: Arc<Schema>,
    /// Whether the schema is frozen.
    pub(super) is_frozen: bool,
    /// What the columns' values count as.
    pub(super) readings: Arc<Readings>,
    /// The fields kept as [`RowFacts::selectors`].
    pub(super) selectors: Arc<[String]>,
    /// The subjects whose records and values are left out.
    pub(super) forgotten: Arc<Forgotten>,
}

/// A reply's records, changed for decoding, and how the reply continues.
#[derive(Debug)]
pub(super) struct Spliced {
    /// A JSON list.
    pub(super) text: String,
    /// For each record, whether it was complete as it came, whatever was removed from it.
    pub(super) complete: Vec<bool>,
    /// For each record that came, in order, what paging needs to know if it was removed whole.
    pub(super) taken_out: Vec<Option<PageEntry>>,
    /// What the reply says besides its records.
    pub(super) page: Page,
}

impl RecordShape {
    /// Decodes a reply; `None` when it may mention a forgotten subject, so that its records must be
    /// changed first.
    pub(super) fn reply(
        &mut self,
        tape: &Tape<'_>,
        root: u32,
        origin: &Origin,
        selections: &Selections,
    ) -> Result<Option<Decoded>, Undecodable> {
        let (records, page) = self.list(tape, root, selections, origin)?;
        let is_scattered = |at: &u32| metadata::beside(&self.endpoint, tape, root, *at).is_some();
        if self.forgetting().may_mention(tape, root, origin.parent.as_deref())
            || records.iter().any(is_scattered)
        {
            return Ok(None);
        }
        let mut decoded = self.records(tape, &records, &|_| origin, &[], Some(&|_| 0))?;
        decoded.rows.forgotten = self.forgotten.version;
        decoded.page = Page { entries: std::mem::take(&mut decoded.page.entries), ..page };
        Ok(Some(decoded))
    }

    /// The records of a reply as JSON text, each with the reply's metadata and without what the
    /// rules remove; the rest of the reply is no longer needed.
    pub(super) fn spliced(
        &self,
        tape: &Tape<'_>,
        root: u32,
        selections: &Selections,
        origin: &Origin,
    ) -> Result<Spliced, Undecodable> {
        let (mut records, page) = self.list(tape, root, selections, origin)?;
        let taken_out: Vec<_> =
            records.iter().map(|at| self.taken_out(tape, *at, origin)).collect();
        let mut is_left = taken_out.iter().map(Option::is_none);
        records.retain(|_| is_left.next() == Some(true));
        let forgetting = self.forgetting();
        let text = metadata::splice(tape, root, &records, &forgetting, selections)?;
        let is_complete = |at: &u32| {
            let beside = metadata::beside(&self.endpoint, tape, root, *at);
            let is_full = |(_, list)| json::items(tape, list).next().is_some();
            self.is_complete(tape, *at) || beside.is_some_and(is_full)
        };
        let complete = records.iter().map(is_complete).collect();
        Ok(Spliced { text, complete, taken_out, page })
    }

    pub(super) fn forgetting(&self) -> Forgetting<'_> {
        Forgetting { forgotten: &self.forgotten, endpoint: &self.endpoint }
    }

    /// What paging needs to know of a record that is removed whole; none if it is not.
    fn taken_out(&self, tape: &Tape<'_>, at: u32, origin: &Origin) -> Option<PageEntry> {
        if !self.forgetting().is_gone(tape, at, origin.parent.as_deref()) {
            return None;
        }
        let entry = self.facts(tape, at, origin).map(|it| PageEntry { key: it.key, time: it.time });
        let unnamed = || format!("{:032x}", hash::digest(tape, at)).into();
        Some(entry.unwrap_or_else(|_| PageEntry { key: unnamed(), time: None }))
    }

    fn locate(
        &self,
        tape: &Tape<'_>,
        root: u32,
        selections: &Selections,
    ) -> Result<Vec<u32>, Undecodable> {
        let paths = self.endpoint.records.all();
        let found = paths.iter().find_map(|path| path::locate(tape, root, path, selections));
        found.ok_or_else(|| {
            let texts: Vec<_> = paths.iter().map(RecordPath::to_string).collect();
            Undecodable::NoRecords(texts.join(" or "))
        })
    }

    /// The records of a list's reply, and what it says besides them. An error is not a list, and
    /// null is not an empty one.
    fn list(
        &self,
        tape: &Tape<'_>,
        root: u32,
        selections: &Selections,
        origin: &Origin,
    ) -> Result<(Vec<u32>, Page), Undecodable> {
        let found = self.locate(tape, root, selections);
        let mut records = found.map_err(|error| match envelope::words(tape, root) {
            Some(words) => Undecodable::IsError(words),
            None => error,
        })?;
        let paths = self.endpoint.records.all();
        let is_null = paths.iter().any(|path| path::is_null(tape, root, path));
        let is_null = is_null && records.iter().all(|at| tape.get(*at) == TapeElement::Null);
        if is_null {
            records.clear();
        }
        if records == [root] {
            self.check_whole(tape, root, origin)?;
        }
        let envelope = Envelope::of(tape, root, &records);
        if let Some(words) = envelope.error {
            return Err(Undecodable::IsError(words));
        }
        let paging = &self.endpoint.paging;
        let has_more = match paging.has_more() {
            Some(path) => path::truth_at(tape, root, path, selections).or(envelope.has_more),
            None => envelope.has_more,
        };
        let total = match paging.total() {
            Some(path) => path::number_at(tape, root, path, selections).or(envelope.total),
            None => envelope.total,
        };
        let next = match paging.next() {
            Some(path) => path::next_page(tape, root, path, selections)
                .map_err(|what| Undecodable::Other(next_is_none(path, what)))?,
            None => None,
        };
        // If the endpoint says where the reference to the next page is, no other place counts.
        let hints_more = envelope.hints_more(records.len()) || envelope.has_pages();
        let pointer = envelope.pointer.filter(|_| paging.next().is_none());
        let said = Page { is_null, has_more, total, hints_more, next, pointer, ..Page::default() };
        let page = Page { count: envelope.count, ..said };
        Ok((records, page))
    }

    /// Whether a reply that should be a record as a whole is one: it has a usable key, and is no
    /// error.
    fn check_whole(&self, tape: &Tape<'_>, root: u32, origin: &Origin) -> Result<(), Undecodable> {
        let is_there = |field: &String| {
            json::member(tape, root, field).is_some_and(|at| tape.get(at) != TapeElement::Null)
        };
        let has_key = self.endpoint.key.iter().any(is_there);
        // A record may have a field called `error`. It is an error only beside no key of its own.
        if let Some(words) = Envelope::of(tape, root, &[]).error.filter(|_| !has_key) {
            return Err(Undecodable::IsError(words));
        }
        let no_key = |why| Undecodable::NoRecords(format!("$: {why}"));
        self.facts(tape, root, origin).map(drop).map_err(no_key)
    }

    /// Decodes the items of the list at `root`, each of which is one reply, or the list of its
    /// records if they were changed first. `None` when they must be.
    pub(super) fn replies(
        &mut self,
        tape: &Tape<'_>,
        root: u32,
        origins: &[Origin],
        is_plain: bool,
        complete: &[bool],
    ) -> Result<Option<DecodedMany>, Undecodable> {
        if is_plain && self.forgetting().may_mention(tape, root, None) {
            return Ok(None);
        }
        let mut records = Vec::new();
        let mut owners = Vec::new();
        let mut counts = Vec::new();
        for (reply, at) in json::items(tape, root).enumerate() {
            let mut found = if is_plain {
                self.locate(tape, at, &Selections::default()).unwrap_or_default()
            } else {
                json::items(tape, at).collect()
            };
            // Null instead of a record is not a record.
            found.retain(|record| tape.get(*record) != TapeElement::Null);
            let is_scattered = |it: &u32| metadata::beside(&self.endpoint, tape, at, *it).is_some();
            if is_plain && found.iter().any(is_scattered) {
                return Ok(None);
            }
            counts.push(found.len());
            owners.extend(std::iter::repeat_n(reply, found.len()));
            records.extend(found);
        }
        if counts.len() != origins.len() {
            return Err(Undecodable::NotJson("one of several replies is malformed".to_owned()));
        }
        let origin = |row: usize| &origins[owners[row]];
        let reply_of = |row: usize| owners[row];
        let mut decoded = self.records(tape, &records, &origin, complete, Some(&reply_of))?;
        decoded.rows.forgotten = self.forgotten.version;
        Ok(Some(DecodedMany { decoded, counts }))
    }

    /// Whether a reply can be decoded as it stands on the tape.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_spliced() && self.paths().all(|path| path.query().is_none())
    }

    /// Whether records are changed before they are decoded.
    pub(super) fn is_spliced(&self) -> bool {
        self.endpoint.metadata.is_some() || !self.endpoint.rules.is_empty()
    }

    /// The paths that are looked up in a reply.
    pub(super) fn paths(&self) -> impl Iterator<Item = &RecordPath> {
        let Endpoint { records, metadata, paging, .. } = &*self.endpoint;
        let paging = [paging.has_more(), paging.next(), paging.total()].into_iter().flatten();
        records.all().iter().chain(metadata).chain(paging)
    }

    /// Decodes records; `complete` says which are complete when the records no longer say so
    /// themselves. `reply_of` says which reply each belongs to; rows of the lake belong to none.
    pub(super) fn records<'o>(
        &mut self,
        tape: &Tape<'_>,
        records: &[u32],
        origin: &dyn Fn(usize) -> &'o Origin,
        complete: &[bool],
        reply_of: Option<&dyn Fn(usize) -> usize>,
    ) -> Result<Decoded> {
        let mut kept = Vec::with_capacity(records.len());
        let mut facts = Vec::with_capacity(records.len());
        let mut quarantined = Vec::new();
        let mut entries = Vec::with_capacity(records.len());
        let mut replies = Vec::with_capacity(records.len());
        let mut surprises = Surprises::default();
        for (row, at) in records.iter().enumerate() {
            match self.facts(tape, *at, origin(row)) {
                Ok(mut facts_of) => {
                    facts_of.is_complete =
                        complete.get(row).copied().unwrap_or(facts_of.is_complete);
                    entries.push(PageEntry { key: facts_of.key.clone(), time: facts_of.time });
                    if facts_of.time.is_none() && reply_of.is_some() {
                        self.note_undated(tape, *at, &mut surprises.undated);
                    }
                    kept.push(*at);
                    facts.push(facts_of);
                    replies.extend(reply_of.map(|reply_of| reply_of(row)));
                }
                Err(reason) => {
                    let record = self.quarantine(tape, *at, reason);
                    let key = format!("{:032x}", record.hash).into();
                    entries.push(PageEntry { key, time: None });
                    quarantined.push(record);
                }
            }
        }
        let superseded = superseded(&facts, &replies);
        for row in superseded.iter().rev() {
            surprises.same_key.note(|| self.endpoint.shown_key(&facts[*row].key));
            quarantined.push(self.quarantine(tape, kept.remove(*row), SAME_KEY.to_owned()));
            facts.remove(*row);
        }
        let batch = self.batch(tape, &kept, &mut surprises)?;
        let rows = Rows { schema: Arc::clone(&self.schema), batch, facts, forgotten: 0 };
        Ok(Decoded { rows, quarantined, page: Page { entries, ..Page::default() }, surprises })
    }

    /// Counts a record whose own date cannot be read. The value found there is described, not
    /// quoted: reports are kept for a long time.
    fn note_undated(&self, tape: &Tape<'_>, at: u32, undated: &mut Noted) {
        let Some(field) = self.endpoint.time_field() else { return };
        let value = json::member(tape, at, field).map(|at| json::element(tape, at));
        undated.note(|| match value {
            None => format!("`{field}` is absent"),
            Some(TapeElement::Null) => format!("`{field}` is null"),
            Some(TapeElement::Number(index)) => {
                let digits = tape.get_string(index).len();
                format!("`{field}` is a number of {digits} digits")
            }
            Some(TapeElement::String(index)) => {
                format!("`{field}` is a string like `{}`", outline(tape.get_string(index)))
            }
            Some(_) => format!("`{field}` is neither a string nor a number"),
        });
    }

    /// The record columns and `extra_json`, in a schema that holds everything that can be inferred.
    fn batch(
        &mut self,
        tape: &Tape<'_>,
        records: &[u32],
        surprises: &mut Surprises,
    ) -> Result<RecordBatch> {
        let endpoint = Arc::clone(&self.endpoint);
        let (mut arrays, mut builder) = self.arrays(tape, &endpoint.key, records)?;
        let has_misfits = !builder.misfits.is_empty();
        if !self.is_frozen && has_misfits && self.widen(tape, records, &builder.misfits) {
            (arrays, builder) = self.arrays(tape, &endpoint.key, records)?;
        }
        surprises.duplicate_members += builder.duplicates;
        surprises.numbers_as_text = builder.numbers_as_text;
        arrays.push(self.extra(tape, records, &builder.misfits, surprises));
        let mut fields: Vec<Field> = self.schema.columns.iter().map(Column::field).collect();
        fields.push(Field::new(EXTRA_JSON, DataType::Utf8, true));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        Ok(RecordBatch::try_new(schema, arrays)?)
    }

    fn arrays<'a, 't>(
        &self,
        tape: &'a Tape<'t>,
        key: &'a [String],
        records: &[u32],
    ) -> Result<(Vec<ArrayRef>, ColumnBuilder<'a, 't>)> {
        let mut builder = ColumnBuilder::new(tape, key);
        let arrays = builder.records(&self.schema.columns, records)?;
        builder.misfits.sort_unstable();
        Ok((arrays, builder))
    }

    fn widen(&mut self, tape: &Tape<'_>, records: &[u32], misfits: &[u32]) -> bool {
        let schema = Arc::make_mut(&mut self.schema);
        let added = Schema { columns: Vec::new(), added: schema.added.clone() };
        let declared = &self.endpoint.columns;
        let mut changed = false;
        for at in with_misfits(tape, records, misfits) {
            let refuse = |name: &str| added.collides(name);
            changed |= infer::widen(tape, at, &mut schema.columns, declared, &refuse);
        }
        changed
    }

    fn extra(
        &self,
        tape: &Tape<'_>,
        records: &[u32],
        misfits: &[u32],
        surprises: &mut Surprises,
    ) -> ArrayRef {
        if misfits.is_empty() {
            return new_null_array(&DataType::Utf8, records.len());
        }
        let mut writer = ExtraWriter::new(tape, &self.endpoint.key, &mut surprises.misfits);
        let extra = records.iter().map(|at| {
            let misfit = has_misfit(tape, *at, misfits);
            misfit.then(|| writer.record(&self.schema.columns, *at)).flatten()
        });
        let extra: StringArray = extra.collect();
        surprises.duplicate_members += writer.duplicates;
        Arc::new(extra)
    }

    fn facts(&self, tape: &Tape<'_>, at: u32, origin: &Origin) -> Result<RowFacts, String> {
        let endpoint = &self.endpoint;
        let content = self.content(tape, at);
        let key = self.key(tape, at, origin, &content)?;
        let time = endpoint.time_field().and_then(|field| self.instant(tape, at, field));
        let modified = endpoint.modified.as_ref();
        let modified = modified.and_then(|it| self.instant(tape, at, &it.field));
        let selector = |field: &String| text_at(tape, at, field).map(Into::into);
        Ok(RowFacts {
            key,
            parent: origin.parent.clone(),
            hash: content.hash,
            older_hashes: content.older,
            time,
            day: match endpoint.time_field() {
                Some(_) => time.and_then(day_of),
                None => origin.day,
            },
            modified,
            found_on: origin.found_on,
            selectors: self.selectors.iter().map(selector).collect(),
            is_complete: self.is_complete(tape, at) || self.is_complete_unseen(),
            fetched_at: origin.fetched_at,
            deleted_at: None,
        })
    }

    /// The instant in a field, in the format of the endpoint's column.
    fn instant(&self, tape: &Tape<'_>, at: u32, field: &str) -> Option<i64> {
        let at = json::member(tape, at, field)?;
        let column = self.endpoint.columns.iter().find(|column| column.name == field);
        let written = match column.map(|column| &column.column_type) {
            Some(ColumnType::Timestamp(written)) => *written,
            _ => Written::Iso,
        };
        fit::timestamp(tape, at, written, true).value()
    }

    fn is_complete(&self, tape: &Tape<'_>, at: u32) -> bool {
        let completed_by = self.endpoint.parent.as_ref().and_then(|it| it.completed_by.as_deref());
        completed_by.is_none_or(|field| {
            json::member(tape, at, field).is_some_and(|it| json::items(tape, it).next().is_some())
        })
    }

    /// Whether the field that completes a record never reaches the table, so that its rows count as
    /// complete.
    fn is_complete_unseen(&self) -> bool {
        let completed_by = self.endpoint.parent.as_ref().and_then(|it| it.completed_by.as_deref());
        completed_by.is_some_and(|field| {
            let has_column = self.schema.columns.iter().any(|column| column.name == field);
            !has_column || self.endpoint.rules.drops(field)
        })
    }

    fn key(
        &self,
        tape: &Tape<'_>,
        at: u32,
        origin: &Origin,
        content: &Content,
    ) -> Result<Box<str>, String> {
        let mut key = String::new();
        if self.schema.added.parent.is_some() {
            let parent = origin.parent.as_deref().ok_or("it has no parent")?;
            key.push_str(parent);
            key.push(KEY_SEPARATOR);
        }
        let is_object = matches!(tape.get(at), TapeElement::StartObject(_));
        let is_bare_key = self.endpoint.key.len() == 1 && self.endpoint.columns.len() == 1;
        if !is_object && !is_bare_key {
            return Err("it is not an object".to_owned());
        }
        if self.endpoint.has_content_key() {
            key.push_str(&format!("{:032x}", content.hash));
            return Ok(key.into());
        }
        for (index, field) in self.endpoint.key.iter().enumerate() {
            if index > 0 {
                key.push(KEY_SEPARATOR);
            }
            if self.endpoint.is_day(field) {
                key.push_str(&origin.day.ok_or("it has no day")?.to_string());
                continue;
            }
            let value = if is_object { json::member(tape, at, field) } else { Some(at) };
            key.push_str(&self.key_part(tape, value, field)?);
            if key.is_empty() || key.ends_with(KEY_SEPARATOR) {
                return Err(format!("its `{field}` is empty"));
            }
        }
        Ok(key.into())
    }

    /// One field of a key, as the row's column returns it.
    fn key_part<'t>(
        &self,
        tape: &'t Tape<'_>,
        at: Option<u32>,
        field: &str,
    ) -> Result<Cow<'t, str>, String> {
        let Some(at) = at.filter(|at| tape.get(*at) != TapeElement::Null) else {
            return Err(format!("it has no `{field}`"));
        };
        let is_number =
            |column: &Column| column.name == *field && column.column_type == ColumnType::Int64;
        if self.endpoint.columns.iter().any(is_number) {
            let number = fit::int64(tape, at, true).value();
            let number = number.ok_or_else(|| format!("its `{field}` is not a whole number"))?;
            return Ok(number.to_string().into());
        }
        match tape.get(at) {
            TapeElement::String(it) | TapeElement::Number(it) => Ok(tape.get_string(it).into()),
            _ => Err(format!("its `{field}` is neither a string nor a number")),
        }
    }

    /// The content hash, for which a bare value counts as its one-column record.
    fn content(&self, tape: &Tape<'_>, at: u32) -> Content {
        let columns = self.endpoint.columns.iter().filter(|column| column.never_stored);
        let mut leave_out: Vec<&str> = columns
            .map(|column| column.name.as_str())
            .filter(|name| json::member(tape, at, name).is_some_and(|it| json::has_link(tape, it)))
            .collect();
        // What the reply says besides its records is not a change to them.
        let metadata = &self.endpoint.metadata;
        leave_out.extend(metadata.as_ref().map(|_| self.endpoint.metadata_column.as_str()));
        match (tape.get(at), self.endpoint.bare_column()) {
            (TapeElement::StartObject(_), _) | (_, None) => {
                hash::content(tape, at, &leave_out, &self.readings)
            }
            (_, Some(name)) => hash::scalar(tape, at, name, &self.readings),
        }
    }

    fn quarantine(&self, tape: &Tape<'_>, at: u32, reason: String) -> Quarantined {
        let mut record = String::new();
        json::write(tape, at, &mut record);
        Quarantined { record, reason, hash: hash::digest(tape, at) }
    }
}

/// The rows, in order, whose content is not that of the last one with the same key in the same
/// reply.
fn superseded(facts: &[RowFacts], replies: &[usize]) -> Vec<usize> {
    let key = |row: usize| (replies[row], &*facts[row].key);
    let last: HashMap<(usize, &str), u128> =
        (0..replies.len()).map(|row| (key(row), facts[row].hash)).collect();
    (0..replies.len()).filter(|row| last[&key(*row)] != facts[*row].hash).collect()
}

/// The outline of a text: its letters and digits are hidden.
fn outline(text: &str) -> String {
    let outlined = text.chars().take(MOST_SHOWN).map(|letter| match letter {
        letter if letter.is_ascii_digit() => '9',
        letter if letter.is_alphanumeric() => 'a',
        letter => letter,
    });
    outlined.collect()
}

/// The error for a value at the next-page path that cannot be one.
fn next_is_none(path: &RecordPath, what: &str) -> Error {
    let message = format!("{path} should lead to the next page, but is {what}");
    Error::new(ErrorKind::Data, message).with_hint(
        "`next` in [paging] must name a string, a number or an object that contains a link",
    )
}

pub(super) fn text_at<'t>(tape: &'t Tape<'_>, at: u32, field: &str) -> Option<&'t str> {
    match json::element(tape, json::member(tape, at, field)?) {
        TapeElement::String(index) => Some(tape.get_string(index)),
        _ => None,
    }
}

/// The UTC day of an instant, days since 1970.
fn day_of(micros: i64) -> Option<i32> {
    i32::try_from(micros.div_euclid(86_400_000_000)).ok()
}

/// Whether one of the `misfits`, which are sorted, is within the record at `at`.
fn has_misfit(tape: &Tape<'_>, at: u32, misfits: &[u32]) -> bool {
    let first = misfits.partition_point(|misfit| *misfit < at);
    misfits.get(first).is_some_and(|misfit| *misfit < json::next(tape, at) && *misfit != ABSENT)
}

fn with_misfits<'a>(
    tape: &'a Tape<'_>,
    records: &'a [u32],
    misfits: &'a [u32],
) -> impl Iterator<Item = u32> + 'a {
    records.iter().copied().filter(|at| has_misfit(tape, *at, misfits))
}
