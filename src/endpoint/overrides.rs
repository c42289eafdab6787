//! Overrides: what a user changes about an endpoint without rewriting all of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    About, ColumnRules, DateFormat, Dated, Endpoint, Headers, ModifiedParameters, OneOrMany,
    Paging, Parent, RecordPath, Template, WindowParameters,
};
use crate::calendar::TimeUnit;
use crate::place::Mistake;
use crate::schema::Column;
use crate::span::Span;

/// The largest page of the vendor's lists, as their description says for some, and probably
/// everywhere else.
const LARGEST_PAGE: u32 = 100;

/// The overrides of one endpoint; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// The endpoint that this one is like, in a file that makes another one of it.
    pub like: Option<String>,
    /// What its records are, in such a file.
    pub description: Option<String>,
    /// Whether it is requested when no `--endpoint` names it.
    pub on: Option<bool>,
    /// The path below the base URL.
    pub path: Option<Template>,
    /// Where the records are in a reply.
    pub records: Option<OneOrMany<RecordPath>>,
    /// Where a reply has the metadata that is added to each of its records.
    pub metadata: Option<RecordPath>,
    /// How many records to request at once.
    pub page_size: Option<u32>,
    /// How far back records are listed again.
    pub lookback: Option<Span>,
    /// How the macro `{now}` is written.
    pub date_format: Option<DateFormat>,
    /// The unit in which `{now-1}` is counted.
    pub time_unit: Option<TimeUnit>,
    /// Query parameters: added to the endpoint's own, or replacing them.
    #[serde(default)]
    pub query: BTreeMap<String, OneOrMany<Template>>,
    /// Headers: added to the endpoint's own, or replacing them.
    #[serde(default)]
    pub headers: Headers,
    /// How a window of time is requested: these keys replace the endpoint's own.
    pub window: Option<WindowOverrides>,
    /// The fields that together identify a record.
    pub key: Option<Vec<String>>,
    /// The struct column that holds the metadata.
    pub metadata_column: Option<String>,
    /// Whether a workspace that answers 403 or 404 simply does not have it.
    pub experimental: Option<bool>,
    /// Whether its records can be deleted at the source.
    pub deletes: Option<bool>,
    /// Query parameters added by `--include-private`.
    pub private: Option<BTreeMap<String, String>>,
    /// What dates a row.
    pub dated: Option<Dated>,
    /// How changes are requested.
    pub modified: Option<ModifiedParameters>,
    /// How a reply is paged.
    pub paging: Option<Paging>,
    /// Its parent.
    pub parent: Option<Parent>,
    /// The columns, by path, that hold spoken words.
    pub verbatim: Option<Vec<String>>,
    /// The call or person that a record belongs to.
    pub about: Option<About>,
    /// The rules applied to columns before anything is stored: added to others, or replacing them.
    #[serde(default, rename = "columns")]
    pub rules: ColumnRules,
    /// Declared columns: each replaces the one of its name, or is added.
    #[serde(default, rename = "column")]
    pub columns: Vec<Column>,
}

/// The overrides of an endpoint's windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowOverrides {
    /// The query parameter of the window's start.
    pub from: Option<String>,
    /// The query parameter of its end.
    pub to: Option<String>,
    /// How an instant is written.
    pub format: Option<DateFormat>,
    /// Whether the end as written is inside the window.
    pub ends: Option<super::Ends>,
    /// How much time one window holds.
    pub step: Option<TimeUnit>,
    /// The column that names the range that one request covers.
    pub range_column: Option<String>,
}

impl Overrides {
    /// Applies these overrides to `endpoint`.
    ///
    /// # Errors
    /// When the result is not a valid endpoint; the mistake is at one of the keys here.
    pub fn apply(&self, endpoint: &mut Endpoint) -> Result<(), Mistake> {
        if self.like.is_some() {
            let message = "`like` is only allowed in an endpoint file";
            return Err(Mistake::at(["like"], message));
        }
        self.apply_parts(endpoint);
        endpoint.on = self.on.unwrap_or(endpoint.on);
        replace(&mut endpoint.path, self.path.as_ref());
        replace(&mut endpoint.records, self.records.as_ref());
        replace(&mut endpoint.date_format, self.date_format.as_ref());
        replace(&mut endpoint.time_unit, self.time_unit.as_ref());
        if self.metadata.is_some() {
            endpoint.metadata.clone_from(&self.metadata);
        }
        endpoint.lookback = self.lookback.or(endpoint.lookback);
        endpoint.query.extend(self.query.clone());
        endpoint.headers.extend(&self.headers);
        endpoint.rules.extend(&self.rules);
        if let Some(window) = &self.window {
            window.apply(endpoint.window.get_or_insert_default());
        }
        if let Some(page_size) = self.page_size {
            let is_one = endpoint.parent.as_ref().is_some_and(|parent| parent.column.is_none())
                && endpoint.paging == Paging::Whole;
            let is_whole = endpoint.paging == Paging::Whole;
            if is_one || !endpoint.paging.set_page_size(page_size) {
                let message = format!("`{}` has no pages, so it has no page size", endpoint.name);
                return Err(Mistake::at(["page_size"], message));
            }
            if let Paging::SkipLimit(paging) = &mut endpoint.paging
                && is_whole
                && endpoint.built_in
            {
                paging.max_page_size = Some(LARGEST_PAGE);
            }
        }
        endpoint.check().map_err(|mistake| self.own(mistake))
    }

    /// Applies the keys that replace a whole section.
    fn apply_parts(&self, endpoint: &mut Endpoint) {
        replace(&mut endpoint.description, self.description.as_ref());
        replace(&mut endpoint.key, self.key.as_ref());
        replace(&mut endpoint.metadata_column, self.metadata_column.as_ref());
        replace(&mut endpoint.experimental, self.experimental.as_ref());
        replace(&mut endpoint.deletes, self.deletes.as_ref());
        replace(&mut endpoint.private, self.private.as_ref());
        replace(&mut endpoint.dated, self.dated.as_ref());
        replace(&mut endpoint.paging, self.paging.as_ref());
        replace(&mut endpoint.verbatim, self.verbatim.as_ref());
        replace(&mut endpoint.about, self.about.as_ref());
        endpoint.modified = self.modified.clone().or(endpoint.modified.take());
        endpoint.parent = self.parent.clone().or(endpoint.parent.take());
        for column in &self.columns {
            match endpoint.columns.iter_mut().find(|it| it.name == column.name) {
                Some(known) => known.clone_from(column),
                None => endpoint.columns.push(column.clone()),
            }
        }
        endpoint.convert_keys();
    }

    /// Maps a mistake of the endpoint to the key here that caused it.
    fn own(&self, mut mistake: Mistake) -> Mistake {
        if mistake.path == ["paging", "page_size"] && self.page_size.is_some() {
            mistake.path.remove(0);
        }
        mistake
    }
}

impl WindowOverrides {
    fn apply(&self, window: &mut WindowParameters) {
        replace(&mut window.format, self.format.as_ref());
        let texts = [(&self.from, &mut window.from), (&self.to, &mut window.to)];
        for (ours, theirs) in texts.into_iter().filter(|(ours, _)| ours.is_some()) {
            theirs.clone_from(ours);
        }
        window.ends = self.ends.or(window.ends);
        window.step = self.step.or(window.step);
        window.range_column = self.range_column.clone().or(window.range_column.take());
    }
}

fn replace<T: Clone>(old: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        old.clone_from(new);
    }
}
