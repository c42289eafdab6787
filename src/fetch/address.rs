//! The address: where requests go, and the credentials for it.

use http::{HeaderMap, HeaderValue};
use reqwest::Url;

use crate::endpoint::names_secret;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Credentials;

/// The API's URL as published by the vendor.
pub const BASE_URL: &str = "https://rest-api.copilot.clari.com";

/// Reads a base URL.
pub(super) fn parse_base_url(text: &str) -> Result<Url> {
    let wrong = || {
        // Text that may be a password is not repeated.
        let message = if text.contains('@') {
            "a base URL must not contain a user name or password".to_owned()
        } else {
            format!("`{text}` is not a base URL")
        };
        Error::new(ErrorKind::Config, message).with_hint(format!("it looks like {BASE_URL}"))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.query().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        return Err(wrong());
    }
    Ok(url)
}

/// The address of a link, relative to the page that gave it.
pub(super) fn same_host(page: &Url, link: &str) -> Result<Url> {
    let wrong = |message: &str| Error::new(ErrorKind::Data, message);
    let url = page.join(link).map_err(|_| wrong("the link to the next page is not a URL"))?;
    let is_same = url.origin() == page.origin() && url.username().is_empty();
    if !is_same || url.password().is_some() {
        let message = "the link to the next page leads to another host, so it was not followed";
        return Err(wrong(message));
    }
    Ok(url)
}

/// A URL fit for display: without the query values that are secret.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    if url.query().is_some() {
        let masked = url.query_pairs().map(|(name, value)| {
            let value = if names_secret(&name) { "***".into() } else { value };
            (name.into_owned(), value.into_owned())
        });
        shown.query_pairs_mut().clear().extend_pairs(masked.collect::<Vec<_>>());
    }
    shown.into()
}

/// The headers that carry the credentials; their values are never printed.
pub(super) fn headers(credentials: &Credentials) -> Result<HeaderMap> {
    let sensitive = |text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                "the credentials contain a character that is not allowed in HTTP headers",
            )
        })?;
        value.set_sensitive(true);
        Ok::<_, Error>(value)
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", sensitive(credentials.key())?);
    headers.insert("x-api-password", sensitive(credentials.password())?);
    Ok(headers)
}
