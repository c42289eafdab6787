//! Findings: oddities in the records of a run. Each record counts once, however often it is read.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, StringArray};

use crate::decode::{Gathered, Quarantined, Rows, SAME_KEY, Surprises};
use crate::lake::key_hash;
use crate::report::{EndpointReport, Noted, Problem};
use crate::schema::{Column, EXTRA_JSON, Schema};

/// How many records may be quarantined because they share the key of another record. Beyond that,
/// the key itself is wrong.
const MOST_SAME_KEY: u64 = 100;

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Values that no column holds, in tables whose schema is frozen.
    gathered: Gathered,
    /// The keys of the records with gathered values.
    gathered_of: HashSet<i64>,
    /// The keys of the records without a date.
    undated: HashSet<i64>,
    /// The hashes of the quarantined records.
    quarantined: HashSet<u128>,
    /// The contents of records that shared a key, from several replies.
    contents: HashSet<(i64, u128)>,
    /// How many records shared a key within one reply, so that neither can have changed in between.
    of_one_reply: u64,
}

impl Findings {
    /// Counts the findings of a page, and drops quarantined records that need not be stored.
    pub(super) fn note(
        &mut self,
        report: &mut EndpointReport,
        rows: &Rows,
        quarantined: &mut Vec<Quarantined>,
        surprises: &Surprises,
    ) {
        report.duplicate_members += surprises.duplicate_members;
        report.lone_surrogates += surprises.lone_surrogates;
        report.numbers_as_text.extend(surprises.numbers_as_text.iter().cloned());
        if !surprises.undated.is_none() {
            let undated = rows.facts.iter().filter(|facts| facts.time.is_none());
            for key in undated.map(|facts| key_hash(&facts.key)) {
                if self.undated.insert(key) {
                    report.undated.note(|| surprises.undated.example.clone());
                }
            }
        }
        quarantined.retain(|record| {
            self.quarantined.insert(record.hash) && self.is_kept(record, report, surprises)
        });
        report.quarantined += quarantined.len() as u64;
    }

    /// Whether the second of these contents of one key was not known; lists are read several times.
    pub(super) fn is_other_content(&mut self, key: &str, [before, now]: [u128; 2]) -> bool {
        let key = key_hash(key);
        self.contents.insert((key, before));
        self.contents.insert((key, now))
    }

    fn is_kept(
        &mut self,
        record: &Quarantined,
        report: &mut EndpointReport,
        surprises: &Surprises,
    ) -> bool {
        if record.reason != SAME_KEY {
            return true;
        }
        report.same_key.note(|| surprises.same_key.example.clone());
        self.of_one_reply += 1;
        self.of_one_reply <= MOST_SAME_KEY
    }

    /// Gathers values that no column of a frozen schema holds.
    pub(super) fn gather(&mut self, rows: &Rows) {
        let extra = rows.batch.column_by_name(EXTRA_JSON).and_then(|it| it.as_string_opt::<i32>());
        let is_some = |extra: &&StringArray| extra.null_count() < extra.len();
        let Some(extra) = extra.filter(is_some) else { return };
        let texts = extra.iter().zip(&rows.facts).filter_map(|(text, facts)| {
            text.filter(|_| self.gathered_of.insert(key_hash(&facts.key)))
        });
        let texts: Vec<&str> = texts.collect();
        // This process wrote it, so it is valid JSON.
        drop(self.gathered.add(texts.into_iter()));
    }

    /// Reports which columns the gathered values would get, and how many values there are.
    pub(super) fn report_gathered(
        &self,
        report: &mut EndpointReport,
        schema: &Schema,
        declared: &[Column],
    ) {
        report.evolvable = schema.differences(&self.gathered.widened(schema, declared));
        report.misfits = self.gathered.counts(&schema.columns);
        report.too_wide = self.gathered.too_wide(schema);
    }

    /// The reason why the key does not distinguish records, if it does not.
    pub(super) fn same_key_problem(&self, endpoint: &str, same_key: &Noted) -> Option<Problem> {
        let message = format!(
            "{} records have the same key as a different record of the same list, for example {}: \
             name more fields in `key`, or write key = \"content\"",
            same_key.records, same_key.example
        );
        let problem = Problem { endpoint: endpoint.to_owned(), window: None, message };
        (self.of_one_reply > MOST_SAME_KEY).then_some(problem)
    }
}
