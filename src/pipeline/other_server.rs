//! Another server: replies that are not the API's are noticed before anything is concluded from
//! them.
//!
//! A sign-in page, a proxy, or a wrong base URL answers every request alike: with HTML, 404, or a
//! redirect. As long as no reply has been read in a run, such an answer is checked once by a
//! request that every workspace answers. If that fails too, the run ends: nothing else would be
//! answered, and a 404 says nothing about a record.

use super::export::Export;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::fetch::FetchError;
use crate::manifest::Purpose;

impl Export {
    /// The error of a request, or the one that ended the run because the server is not the API.
    pub(super) async fn doubt(&self, endpoint: &Endpoint, error: FetchError) -> FetchError {
        let is_strange = match &error {
            FetchError::Failed(failure, _) => failure.may_be_another_servers(),
            FetchError::Halted(_) => false,
        };
        // Of the user's own endpoints, none is known to exist.
        if !is_strange || !endpoint.built_in || self.client.has_read() {
            return error;
        }
        let check = async || {
            if let Err(error) = self.check_credentials(&[endpoint]).await
                && matches!(error.kind(), ErrorKind::Config | ErrorKind::Denied)
            {
                self.client.halt(error);
            }
        };
        self.checked.get_or_init(check).await;
        self.client.closed(Purpose::Incremental).unwrap_or(error)
    }

    /// Whether the error that ended a run must be fixed before another run: the credentials were
    /// refused, or nothing was ever read.
    pub(super) fn must_be_fixed(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Denied => true,
            ErrorKind::Config => !self.client.has_read(),
            _ => false,
        }
    }
}
