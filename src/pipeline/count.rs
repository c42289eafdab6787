//! Counting: how many records the API reports, before any are read.

use super::export::{Export, run_name};
use crate::endpoint::{Endpoint, Paging, RecordPath, SkipLimit, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{Asked, FetchError, Reply, Unreadable, request};
use crate::paginate::{Get, Order, Slice};
use crate::window::{Coverage, Window};

/// How many ranges are counted individually.
const MOST_RANGES: usize = 8;

impl Export {
    /// How many records the API counts in these windows, with one request for a single record per
    /// contiguous range, or one for everything if there are many ranges; `None` when there is no
    /// window, or the endpoint's list cannot be counted.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn count(&self, endpoint: &Endpoint, windows: &[Window]) -> Result<Option<u64>> {
        let Paging::SkipLimit(paging) = &endpoint.paging else { return Ok(None) };
        let Some(matched) = &paging.matched else { return Ok(None) };
        let ranges: Coverage = windows.iter().copied().collect();
        let ranges = match ranges.windows() {
            [first, .., last] if ranges.windows().len() > MOST_RANGES => {
                vec![Window::new(first.from, last.to)]
            }
            ranges => ranges.to_vec(),
        };
        if ranges.is_empty() {
            return Ok(None);
        }
        self.pay_from_ledger(&run_name(self.clock.now()));
        let mut counted = Ok(Some(0));
        for range in ranges {
            let number = self.count_range(endpoint, paging, matched, range).await;
            counted = match (counted, number) {
                (Ok(Some(sum)), Ok(Some(number))) => Ok(Some(sum + number)),
                (Ok(_), number) => number.map(|_| None),
                (failed, _) => failed,
            };
        }
        self.client.give_back().await?;
        counted
    }

    async fn count_range(
        &self,
        endpoint: &Endpoint,
        paging: &SkipLimit,
        matched: &RecordPath,
        range: Window,
    ) -> Result<Option<u64>> {
        let get = Get::Slice(Slice { skip: 0, limit: 1, order: Order::OldestFirst, counts: true });
        let private = self.include_private;
        let get = Some((get, &endpoint.paging));
        let asked = Asked { window: Some(range), get, private, ..Asked::at(self.settings.now) };
        let mut request = request(endpoint, &asked);
        request.query.retain(|(name, _)| !paging.count.contains_key(name));
        request.query.extend(paging.count.clone());
        let read = |reply: &Reply| number_in(reply, matched);
        let counted = self.client.get(&request, &mut 0, read).await;
        match counted {
            Ok(number) => Ok(number),
            Err(FetchError::Failed(_, error) | FetchError::Halted(error)) => Err(error),
        }
    }
}

/// The number at a path in a reply, which is small.
fn number_in(reply: &Reply, path: &RecordPath) -> Result<Option<u64>, Unreadable> {
    let value: serde_json::Value = serde_json::from_slice(&reply.body)
        .map_err(|error| Unreadable::NotJson(format!("the reply is not JSON: {error}")))?;
    let mut at = &value;
    for step in path.steps() {
        let Step::Member(name) = step else {
            let message = format!("`{path}` names no single number");
            return Err(Unreadable::Final(Error::new(ErrorKind::Config, message)));
        };
        at = &at[name];
    }
    Ok(at.as_u64())
}
