//! Overrides: what a user changes of an endpoint without writing all of it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Endpoint, OneOrMany, Paging, RecordPath};
use crate::place::Mistake;
use crate::span::Span;

/// What is said of an endpoint by name; what is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// Whether it is asked for when no `--endpoint` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// The path below the base URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where the records are in a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<OneOrMany<RecordPath>>,
    /// How many records to ask for at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u32>,
    /// How far back records are listed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookback: Option<Span>,
    /// Query parameters: these beside or instead of the endpoint's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
}

impl Overrides {
    /// Changes `endpoint` as far as this says something.
    ///
    /// # Errors
    /// When what results is no endpoint; the mistake is at one of the keys here.
    pub fn apply(&self, endpoint: &mut Endpoint) -> Result<(), Mistake> {
        endpoint.on = self.on.unwrap_or(endpoint.on);
        if let Some(path) = &self.path {
            endpoint.path.clone_from(path);
        }
        if let Some(records) = &self.records {
            endpoint.records = records.clone();
        }
        if let Some(page_size) = self.page_size {
            let Paging::SkipLimit(paging) = &mut endpoint.paging else {
                let message = format!("`{}` has no pages, hence no page size", endpoint.name);
                return Err(Mistake::at(["page_size"], message));
            };
            paging.page_size = page_size;
        }
        endpoint.lookback = self.lookback.or(endpoint.lookback);
        endpoint.query.extend(self.query.clone());
        endpoint.check().map_err(|mistake| self.own(mistake))
    }

    /// A mistake of the endpoint's at the key here that brought it about.
    fn own(&self, mut mistake: Mistake) -> Mistake {
        if mistake.path == ["paging", "page_size"] && self.page_size.is_some() {
            mistake.path.remove(0);
        }
        mistake
    }
}
