//! The first request of a run: it is sent alone, and its reply shows whether the clock is right.
//!
//! Nothing is planned or committed before it. If the clock is right, which is nearly always the
//! case, the reply is reused when that request is due, so that a run needs no extra request. If the
//! clock is wrong, the reply is discarded and the run is planned again from the right time.

use std::sync::Arc;

use chrono::DateTime;

use super::blocking::blocking;
use super::export::{Export, run_name};
use super::lists::parts;
use super::reading::first_request;
use super::scan::Scan;
use super::spending::spending;
use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Result};
use crate::fetch::{FetchError, Request};
use crate::lake::newest_manifest;
use crate::ledger::Ledger;
use crate::manifest::Manifest;
use crate::plan::{self, Task};
use crate::window::Window;

impl Export {
    /// Sends the first request of a run, if it is already known. Returns whether its reply shows
    /// that the clock is wrong. Any other problem with the reply is detected when the request is
    /// due.
    pub(super) async fn finds_clock_wrong(
        &self,
        endpoints: &[&Endpoint],
        is_new: bool,
    ) -> Result<bool> {
        let is_checked = is_new || endpoints.iter().all(|endpoint| endpoint.experimental);
        let request = if is_checked {
            self.credentials_request(endpoints)
        } else {
            self.first_of_lists(endpoints).await?
        };
        let Some(request) = request else { return Ok(false) };
        let before = self.clock.ahead();
        match self.client.send_ahead(&request).await {
            // An error that ends the run before anything was committed is returned. Every other
            // error is found again, and reported, when the request is due.
            Err(FetchError::Halted(error)) if is_checked || error.kind() == ErrorKind::Config => {
                Err(error)
            }
            _ => Ok(self.clock.ahead() != before),
        }
    }

    /// The export with the corrected time, under a run name with that time. It pays again for what
    /// has been sent so far.
    pub(super) async fn corrected(&self) -> Result<(Self, String)> {
        self.client.forget_ahead();
        let now = self.clock.now();
        let run = run_name(now);
        if let Some(limits) = self.limits {
            let ledger = Ledger::new(Arc::clone(&self.store), &run);
            self.client.allow_again(spending(ledger, limits, self.clock.clone())).await?;
        }
        Ok((Self { settings: self.settings.corrected(now), ..self.clone() }, run))
    }

    /// The request for the first page of the first list. A run that only reads children has none:
    /// it uses no windows, and the first of its replies corrects the clock.
    async fn first_of_lists(&self, endpoints: &[&Endpoint]) -> Result<Option<Request>> {
        let lists = endpoints.iter().filter(|it| it.parent.is_none() && !it.experimental);
        for endpoint in lists {
            let (store, name) = (Arc::clone(&self.store), endpoint.name.clone());
            let manifest = blocking(move || newest_manifest(&store, &name)).await?;
            if let Some(request) = self.first_of(endpoint, manifest.as_ref()) {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    /// The first request of an endpoint's lists.
    fn first_of(&self, endpoint: &Endpoint, manifest: Option<&Manifest>) -> Option<Request> {
        let settings = self.settings_for(endpoint, manifest);
        let planned = plan::tasks(endpoint, manifest, &settings).into_iter().next()?;
        let scan = Scan { purpose: planned.purpose, ..scan_of(endpoint, planned.task)? };
        first_request(self, endpoint, &scan)
    }
}

/// The first list of a task.
fn scan_of(endpoint: &Endpoint, task: Task) -> Option<Scan<'static>> {
    Some(match task {
        Task::List(window) | Task::Range(window) => {
            Scan { window: Some(window), ..Scan::default() }
        }
        Task::Modified { since, before } => {
            let window = Window::new(DateTime::UNIX_EPOCH, before);
            let window = endpoint.window.is_some().then_some(window);
            Scan { window, modified_since: Some(since), ..Scan::default() }
        }
        Task::All => Scan::default(),
        Task::Day { window, day } => {
            let window = parts(endpoint, window).into_iter().next()?;
            Scan { window: Some(window), day: Some(day), ..Scan::default() }
        }
        Task::Snapshot { day } => Scan { day: Some(day), ..Scan::default() },
    })
}
