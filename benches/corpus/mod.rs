//! What the benchmarks read: pages of calls, and call details of three sizes.

#![allow(dead_code, reason = "each of the benchmarks needs a part of it")]

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef};
use bytes::Bytes;
use clari_lake::internals::decode::{Origin, RecordDecoder};
use clari_lake::internals::endpoint::{Catalogue, Endpoint};
use clari_lake::internals::schema::{ColumnType, Schema};
use clari_lake::internals::simulator::{Options, Workspace};
use serde_json::{Value, json};

/// What is measured: the endpoint, and how large its records are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    name: &'static str,
    pub(crate) endpoint: &'static str,
    calls: usize,
    turns: usize,
}

/// A page of calls has a hundred of them; what follows are details, one a reply.
pub(crate) const CASES: [Case; 4] = [
    Case { name: "calls", endpoint: "calls", calls: 2_000, turns: 36 },
    Case { name: "details of 5 KB", endpoint: "call_details", calls: 2_000, turns: 6 },
    Case { name: "details of 30 KB", endpoint: "call_details", calls: 400, turns: 110 },
    Case { name: "details of 1 MB", endpoint: "call_details", calls: 16, turns: 4_200 },
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Replies, and the same records one a line.
pub(crate) struct Corpus {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) replies: Vec<(Bytes, Origin)>,
    pub(crate) lines: Vec<u8>,
    pub(crate) records: usize,
    /// The schema that these records settle.
    pub(crate) schema: Schema,
}

impl Corpus {
    pub(crate) fn of(case: Case) -> Self {
        let catalogue = Catalogue::built_in().expect("the built-in endpoints are right");
        let endpoint = Arc::new(catalogue.find(case.endpoint).expect("it is built in").clone());
        let workspace = workspace(case.calls, case.turns);
        let calls = workspace.calls();
        let (records, replies): (Vec<Value>, Vec<Value>) = if endpoint.parent.is_some() {
            let ids = calls.iter().filter_map(|call| call["id"].as_str());
            let finished = ids.filter_map(|id| workspace.details(id));
            finished.map(|call| (call.clone(), json!({ "call": call }))).unzip()
        } else {
            let pages = calls.chunks(100).map(|page| json!({ "calls": page })).collect();
            (calls, pages)
        };
        let origin = || Origin { fetched_at: 1, ..Origin::default() };
        let replies: Vec<_> =
            replies.iter().map(|reply| (Bytes::from(text(reply)), origin())).collect();
        let schema = settled(&endpoint, &replies);
        let lines = records.iter().map(text).collect::<Vec<_>>().join(&b'\n');
        let records = records.len();
        Self { endpoint, replies, lines, records, schema }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.replies.iter().map(|(body, _)| body.len()).sum()
    }

    /// The replies in batches of at most about 2 MB, as an export decodes them.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &[(Bytes, Origin)]> {
        let mut rest = self.replies.as_slice();
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let full = rest.iter().position(|(body, _)| {
                bytes += body.len();
                bytes >= 2 << 20
            });
            let (batch, others) = rest.split_at(full.map_or(rest.len(), |last| last + 1));
            rest = others;
            (!batch.is_empty()).then_some(batch)
        })
    }

    pub(crate) fn decoder(&self, schema: Schema, settled: bool) -> RecordDecoder {
        RecordDecoder::new(Arc::clone(&self.endpoint), Arc::new(schema), settled, Arc::default())
    }

    /// The schema that knows nothing but the key and the time.
    pub(crate) fn bare_schema(&self) -> Schema {
        let mut schema = self.endpoint.schema();
        let time = self.endpoint.time_field();
        let keys = &self.endpoint.key;
        schema.columns.retain(|it| keys.contains(&it.name) || time == Some(&it.name));
        schema
    }

    /// The record's columns as arrow-json takes them: it knows no zone by name.
    pub(crate) fn arrow_schema(&self) -> SchemaRef {
        let field =
            |name: &str, of: &ColumnType| Field::new(name, without_zone(&of.data_type()), true);
        let columns = self.schema.columns.iter();
        let fields = columns.map(|column| field(&column.name, &column.column_type));
        Arc::new(ArrowSchema::new(fields.collect::<Fields>()))
    }
}

fn settled(endpoint: &Arc<Endpoint>, replies: &[(Bytes, Origin)]) -> Schema {
    let schema = Arc::new(endpoint.schema());
    let mut decoder = RecordDecoder::new(Arc::clone(endpoint), schema, false, Arc::default());
    decoder.decode_many(replies).expect("it is JSON");
    decoder.schema().as_ref().clone()
}

fn without_zone(data_type: &DataType) -> DataType {
    let plain = |field: &Field| Field::new(field.name(), without_zone(field.data_type()), true);
    match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        DataType::List(item) => DataType::List(Arc::new(plain(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|it| plain(it)).collect()),
        other => other.clone(),
    }
}

/// A workspace without surprising values: arrow-json would stop at them.
pub(crate) fn workspace(calls: usize, turns: usize) -> Workspace {
    let options = Options { calls, turns, days: 3, ..Options::default() };
    Workspace::generate(&Options { oddities: 0.0, lone_surrogates: 0.0, ..options })
}

fn text(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value is JSON")
}
