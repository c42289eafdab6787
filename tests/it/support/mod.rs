//! What the tests share: a simulated workspace behind a server, runs against it, a reader of the
//! lake, and the comparison of the two. Nothing here decodes or merges with the exporter's code.

mod bucket;
mod canned;
mod command;
mod json;
mod json_schema;
mod lake;
mod plain;
mod received;
mod run;
mod seeds;
mod site;

pub(crate) use bucket::{Bucket, Quirk};
pub(crate) use canned::{Canned, reply};
pub(crate) use command::{Assert, clari_lake, clari_lake_at};
pub(crate) use json::normal;
pub(crate) use json_schema::JsonSchema;
pub(crate) use lake::{Lake, Row, rows_in};
pub(crate) use plain::get;
pub(crate) use received::received;
pub(crate) use run::{Run, SALT};
pub(crate) use seeds::{Seeds, number};
pub(crate) use site::{
    Site, assert_calls, assert_same, assert_scorecards, assert_snapshot, at, now, small,
};
