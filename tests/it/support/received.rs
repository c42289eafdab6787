//! A request of the exporter's, as a server gets it.

use bytes::Bytes;
use clari_lake::internals::fetch::Get;

/// What a server sees of a request.
pub(crate) fn received(get: Get) -> http::Request<Bytes> {
    let mut received = http::Request::new(Bytes::new());
    let target = match get.url.query() {
        Some(query) => format!("{}?{query}", get.url.path()),
        None => get.url.path().to_owned(),
    };
    *received.uri_mut() = target.parse().unwrap();
    *received.headers_mut() = get.headers;
    received
}
