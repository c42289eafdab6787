//! A sample: one small request, and what its reply shows before anything is saved.
//!
//! Requests an endpoint through a client and returns a [`Sample`]: the records, their columns,
//! other candidate record paths, and how the reply seems to be paged. Nothing is written.

mod address;
mod draft;
mod look;
mod pagination;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

pub use self::address::Address;
pub use self::draft::{columns as draft_columns, draft};
pub use self::look::{Place, places};
pub use self::pagination::recognise_paging;
use crate::decode::{NotJson, Origin, RecordDecoder, lines_as_list, refused, repair};
use crate::endpoint::{Catalogue, Endpoint, Parent, ParentField, ParentRef, ParentValues};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Asked, Client, FetchError, Reply, Request, Unreadable, first_page, request};
use crate::report::Noted;
use crate::schema::Column;
use crate::window::Window;

/// The most records that a sample requests, if the endpoint allows a limit.
pub const RECORDS: u32 = 10;

/// The result of one request.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The path that was requested.
    pub path: String,
    /// The whole URL, without secrets.
    pub url: String,
    /// The status of the reply.
    pub status: u16,
    /// How long it took, including all attempts.
    pub milliseconds: u128,
    /// The size of the reply.
    pub bytes: usize,
    /// Where the records were found; none if there are no records.
    pub records_at: Option<String>,
    /// The records.
    pub records: Vec<Value>,
    /// The columns they would have.
    pub columns: Vec<Column>,
    /// Why some records would be quarantined.
    pub quarantined: Vec<String>,
    /// Records whose own date cannot be read.
    #[serde(skip_serializing_if = "Noted::is_none")]
    pub undated: Noted,
    /// Records with the same key as another and different content.
    #[serde(skip_serializing_if = "Noted::is_none")]
    pub same_key: Noted,
    /// Columns of the key, of type string, for which numbers came.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub numbers_as_text: BTreeSet<String>,
    /// Every candidate record path, the likeliest first.
    pub places: Vec<Place>,
    /// How the reply seems to be paged, as the lines of a `[paging]` section.
    pub paging: Option<String>,
}

/// A reply, read as JSON.
struct Read {
    value: Value,
    body: Bytes,
    took: Duration,
    /// Whether its `Link` header has a link to the next page.
    has_next_link: bool,
    url: String,
}

/// How much of an endpoint is requested.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent<'a> {
    /// The parent, for a child endpoint.
    pub parent: Option<ParentRef<'a>>,
    /// The window, if not that of a usual first page.
    pub range: Option<Window>,
}

/// Requests a first, small page of an endpoint, of this extent.
///
/// # Errors
/// When there is no reply, or it is not JSON.
pub async fn sample(
    client: &Client,
    endpoint: &Endpoint,
    Extent { parent, range }: Extent<'_>,
    now: DateTime<Utc>,
) -> Result<Sample> {
    let paging = endpoint.paging.at_most(RECORDS);
    let asked = Asked { parent, ..first_page(endpoint, &paging, now, range) };
    let request = Request { shrinkable: false, ..request(endpoint, &asked) };
    let read = read(client, &request).await?;
    let day = asked.window.map_or(now, |window| window.from);
    let origin = Origin {
        fetched_at: now.timestamp_micros(),
        parent: parent.map(|parent| parent.id.into()).or_else(|| range_of(endpoint, &asked)),
        day: Some(crate::window::day_of(day.date_naive())),
        found_on: None,
    };
    Ok(understand(endpoint, &request, &read, &origin))
}

/// The name of the range that a request covers as a whole.
fn range_of(endpoint: &Endpoint, asked: &Asked<'_>) -> Option<Arc<str>> {
    let parameters = endpoint.window.as_ref().filter(|_| endpoint.is_of_ranges())?;
    Some(parameters.range_name(asked.window?).into())
}

/// Requests an address that no endpoint describes yet, and drafts an endpoint from the reply.
///
/// # Errors
/// When there is no reply, or it is not JSON, or holds nothing that could be a record; when the
/// chosen options do not make a valid endpoint.
pub async fn sample_url(
    client: &Client,
    name: &str,
    address: &Address,
    now: DateTime<Utc>,
) -> Result<(Sample, String)> {
    let request = address.request(now);
    let read = read(client, &request).await?;
    let drafted = draft(address, &read.value, read.has_next_link).ok_or_else(|| {
        let error = Error::new(ErrorKind::Data, "the reply contains no records");
        let hint = match &address.records {
            Some(path) => {
                format!("there is nothing at {path}; omit --records to see candidate paths")
            }
            None => "request a range that has some: other dates, another filter".to_owned(),
        };
        error.with_hint(hint).with_context(format!("GET {}", request.path))
    })?;
    let endpoint = Endpoint::from_toml(name, &drafted)?;
    let origin = Origin {
        fetched_at: now.timestamp_micros(),
        parent: None,
        day: Some(crate::window::day_of(now.date_naive())),
        found_on: None,
    };
    let sample = understand(&endpoint, &request, &read, &origin);
    let columns = draft::columns(&sample.columns)?;
    let text = draft::with_columns(&drafted, &columns);
    // Only an endpoint that an export accepts is saved.
    Catalogue::built_in()?.with_file(name, &text)?.check()?;
    Ok((sample, text))
}

/// The first id that the parent's rule finds in a sample's records, with these fields of its
/// record; from a record that has all of them, if there is one.
#[must_use]
pub fn first_parent(
    sample: &Sample,
    rule: &Parent,
    fields: &[ParentField],
) -> Option<(String, ParentValues)> {
    let query = serde_json_path::JsonPath::parse(rule.id.as_str()).ok()?;
    let id = |record: &Value| {
        query.query(record).all().into_iter().find_map(|value| match value {
            Value::Array(items) => items.iter().find_map(text),
            other => text(other),
        })
    };
    let values = |record: &Value| fields.iter().map(|field| value_of(record, field)).collect();
    let parents = sample.records.iter().filter_map(|it| Some((id(it)?, values(it))));
    let mut parents: Vec<(String, ParentValues)> = parents.collect();
    let whole = parents.iter().position(|(_, values)| values.iter().all(Option::is_some));
    (!parents.is_empty()).then(|| parents.swap_remove(whole.unwrap_or(0)))
}

/// A field of a record as written in a request.
fn value_of(record: &Value, field: &ParentField) -> Option<Box<str>> {
    let value = field.names().try_fold(record, |value, name| value.get(name))?;
    let text = value.as_bool().map(|it| it.to_string()).or_else(|| text(value))?;
    let instant = DateTime::parse_from_rfc3339(&text).ok().map(|it| it.with_timezone(&Utc));
    let written = field.format.as_ref().zip(instant).map(|(format, it)| format.format(it));
    Some(written.unwrap_or(text).into())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

async fn read(client: &Client, request: &Request) -> Result<Read> {
    let begun = Instant::now();
    let read = |reply: &Reply| {
        if client.repeats_secret(request, reply) {
            let message = "the reply contains the credentials, so it is not shown";
            return Err(Unreadable::Final(Error::new(ErrorKind::Data, message)));
        }
        let (value, body) = parse(&reply.body)?;
        Ok((value, body, reply.next.is_some()))
    };
    match client.get(request, &mut 0, read).await {
        Ok((value, body, has_next_link)) => {
            let url = client.last_seen().map(|seen| seen.url).unwrap_or_default();
            Ok(Read { value, body, took: begun.elapsed(), has_next_link, url })
        }
        Err(FetchError::Failed(_, error) | FetchError::Halted(error)) => Err(error),
    }
}

/// A body as JSON: as it came, as a list of its lines, or repaired. The user is waiting and can
/// retry, so anything that is not JSON is refused at once.
fn parse(body: &Bytes) -> Result<(Value, Bytes), Unreadable> {
    let error = match serde_json::from_slice(body) {
        Ok(value) => return Ok((value, body.clone())),
        Err(error) => error,
    };
    if let Some(format) = NotJson::of(body) {
        return Err(Unreadable::Final(refused(format)));
    }
    let texts = [lines_as_list(body), repair(body)].into_iter().flatten();
    let mut read =
        texts.filter_map(|text| Some((serde_json::from_slice(&text).ok()?, text.into())));
    let not_json = || Unreadable::NotJson(format!("the reply is not JSON: {error}"));
    read.next().ok_or_else(not_json)
}

/// What a reply says, as the endpoint reads it.
fn understand(endpoint: &Endpoint, request: &Request, read: &Read, origin: &Origin) -> Sample {
    let schema = Arc::new(endpoint.schema());
    let mut decoder = RecordDecoder::new(Arc::new(endpoint.clone()), schema, false, Arc::default());
    let decoded = decoder.decode(&read.body, origin).ok();
    let surprises = decoded.as_ref().map(|it| it.surprises.clone()).unwrap_or_default();
    let quarantined = decoded.iter().flat_map(|decoded| &decoded.quarantined);
    let (records_at, records) = match look::records(&read.value, endpoint.records.all()) {
        Some((path, records)) => (Some(path), records),
        None => (None, Vec::new()),
    };
    let count = records.len();
    Sample {
        path: request.path.clone(),
        url: read.url.clone(),
        status: 200,
        milliseconds: read.took.as_millis(),
        bytes: read.body.len(),
        records_at: records_at.filter(|_| decoded.is_some()),
        records: records.into_iter().cloned().collect(),
        columns: decoder.schema().columns.clone(),
        quarantined: quarantined.map(|record| record.reason.clone()).collect(),
        undated: surprises.undated,
        same_key: surprises.same_key,
        numbers_as_text: surprises.numbers_as_text,
        places: places(&read.value),
        paging: recognise_paging(&read.value, &request.query, count, read.has_next_link),
    }
}
