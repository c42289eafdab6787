//! The exchange itself: sends a GET, and returns a reply or how it broke off.
//!
//! One attempt per call: retries, pauses and the meaning of a status are decided elsewhere.

use std::error::Error as StdError;
use std::fmt;
use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};

use crate::error::{Error, ErrorKind, Result};

/// The largest accepted reply (the API's own cap is 6 MB); anything longer is cut off here.
const MAX_BODY: usize = 16 << 20;
/// How much of a failed reply's body is read.
const MAX_FAILURE_BODY: usize = 4 << 10;

/// What is sent; always a GET.
#[derive(Debug, Clone)]
pub struct Get {
    /// The whole URL, query included.
    pub url: Url,
    /// The credentials, marked as sensitive.
    pub headers: HeaderMap,
}

/// A reply with its whole body, decompressed; if the status is not 200, only the body's beginning.
pub type Exchanged = http::Response<Bytes>;

/// Carries a request to a server. The network is one transport; any function that answers is
/// another, so that a test needs no socket and no real time.
///
/// A transport need not watch the time: the client drops its future on a timeout.
pub trait Transport: Send + Sync {
    /// Sends a request once, and returns the reply.
    fn get(&self, request: Get) -> BoxFuture<'_, Result<Exchanged, Severed>>;
}

impl<F, A> Transport for F
where
    F: Fn(Get) -> A + Send + Sync,
    A: Future<Output = Result<Exchanged, Severed>> + Send + 'static,
{
    fn get(&self, request: Get) -> BoxFuture<'_, Result<Exchanged, Severed>> {
        Box::pin(self(request))
    }
}

/// How an exchange broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The host's name does not resolve.
    NoSuchHost,
    /// The server's certificate does not verify.
    Untrusted,
    /// The server and this machine do not agree on TLS, or the server does not speak it.
    NoTls,
    /// The server could not be reached.
    NoConnection,
    /// No answer came in time.
    NoAnswer,
    /// The connection ended before the reply did.
    Torn,
    /// The reply does not end.
    Endless,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchHost => "the host name does not resolve",
            Self::Untrusted => "the server's certificate cannot be verified",
            Self::NoTls => "the TLS handshake failed",
            Self::NoConnection => "no connection",
            Self::NoAnswer => "no answer in time",
            Self::Torn => "the connection broke",
            Self::Endless => "the reply is larger than 16 MiB",
        })
    }
}

/// An exchange without a complete reply.
#[derive(Debug)]
pub struct Severed {
    /// How it broke off.
    pub at: Break,
    /// The underlying library's message, without the URL, which would contain ids.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl From<Break> for Severed {
    fn from(at: Break) -> Self {
        Self { at, source: None }
    }
}

impl From<reqwest::Error> for Severed {
    fn from(error: reqwest::Error) -> Self {
        let at = if error.is_timeout() {
            Break::NoAnswer
        } else if error.is_connect() {
            why_unconnected(&error)
        } else {
            Break::Torn
        };
        Self { at, source: Some(Box::new(error.without_url())) }
    }
}

/// What the TLS library says about a failed handshake: only its text tells that from the connection
/// below it.
const TLS: [&str; 5] =
    ["corrupt message", "fatal alert", "handshake eof", "peer is incompatible", "peer misbehaved"];

/// Why there is no connection, as far as the underlying libraries say, in words only.
fn why_unconnected(error: &reqwest::Error) -> Break {
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if text.contains("dns error") || text.contains("lookup address") {
            return Break::NoSuchHost;
        }
        if text.contains("certificate") {
            return Break::Untrusted;
        }
        if TLS.iter().any(|it| text.contains(it)) {
            return Break::NoTls;
        }
        cause = error.source();
    }
    Break::NoConnection
}

/// HTTP over the network.
#[derive(Debug)]
pub(super) struct Network(reqwest::Client);

impl Network {
    /// A transport without connections.
    pub(super) fn new() -> Result<Self> {
        // Fails only if a provider is already installed, which is fine too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("clari-lake/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            // Bodies are decompressed here: the library's decoder stops after the first of several
            // members, and knows only one spelling of the encoding.
            .no_gzip()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Config, "the HTTP client could not be set up")
                    .with_source(error)
            })?;
        Ok(Self(http))
    }
}

impl Transport for Network {
    fn get(&self, request: Get) -> BoxFuture<'_, Result<Exchanged, Severed>> {
        Box::pin(async move {
            let sent = self.0.get(request.url).headers(request.headers);
            let mut response = sent.header(ACCEPT_ENCODING, "gzip").send().await?;
            let body = match response.status().as_u16() {
                200 => read_whole(&mut response).await?,
                _ => read_start(&mut response).await,
            };
            let mut exchanged = Exchanged::new(body);
            *exchanged.status_mut() = response.status();
            std::mem::swap(exchanged.headers_mut(), response.headers_mut());
            unpacked(exchanged)
        })
    }
}

async fn read_whole(response: &mut Response) -> Result<Bytes, Severed> {
    let length = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(length.unwrap_or(64 << 10).min(MAX_BODY));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Break::Endless.into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// A reply with its body decompressed if necessary, in one member or several.
fn unpacked(mut exchanged: Exchanged) -> Result<Exchanged, Severed> {
    let encodings = exchanged.headers().get_all(CONTENT_ENCODING).iter();
    let encodings = encodings.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
    let is_packing =
        |it: &&str| ["gzip", "x-gzip"].iter().any(|name| it.eq_ignore_ascii_case(name));
    let times = encodings.map(str::trim).filter(is_packing).count();
    let is_whole = exchanged.status().as_u16() == 200;
    for _ in 0..times {
        let unpacked = unpack(exchanged.body(), is_whole)?;
        *exchanged.body_mut() = unpacked;
    }
    if is_whole {
        let body = std::mem::take(exchanged.body_mut());
        *exchanged.body_mut() = without_mark(body);
    }
    Ok(exchanged)
}

/// The contents of a compressed body; if it was cut off, as much as there is.
fn unpack(body: &[u8], is_whole: bool) -> Result<Bytes, Severed> {
    let mut unpacked = Vec::new();
    let mut reader = MultiGzDecoder::new(body).take(MAX_BODY as u64 + 1);
    match reader.read_to_end(&mut unpacked) {
        Err(error) if is_whole => Err(Severed { at: Break::Torn, source: Some(Box::new(error)) }),
        _ if unpacked.len() > MAX_BODY => Err(Break::Endless.into()),
        _ => Ok(unpacked.into()),
    }
}

/// A text without the byte order mark, which some servers put before JSON.
fn without_mark(body: Bytes) -> Bytes {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if body.starts_with(MARK) { body.slice(MARK.len()..) } else { body }
}

/// The beginning of a body, as much as arrives.
async fn read_start(response: &mut Response) -> Bytes {
    let mut start = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        start.extend_from_slice(&chunk[..chunk.len().min(MAX_FAILURE_BODY)]);
        if start.len() >= MAX_FAILURE_BODY {
            break;
        }
    }
    start.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C7: gzip with several members, in any spelling.
    #[test]
    fn a_packed_body_is_unpacked_in_any_spelling() {
        use std::io::Write as _;
        let pack = |text: &str| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(text.as_bytes()).unwrap();
            packer.finish().unwrap()
        };
        let body = [pack("{\"a\":"), pack("1}")].concat();
        for encoding in ["gzip", "x-gzip", "GZIP", "X-GZip", "identity, gzip"] {
            let mut exchanged = Exchanged::new(body.clone().into());
            exchanged.headers_mut().insert(CONTENT_ENCODING, encoding.parse().unwrap());
            assert_eq!(unpacked(exchanged).unwrap().body(), &b"{\"a\":1}"[..], "{encoding}");
        }
        let mut torn = Exchanged::new(body[..body.len() - 9].to_vec().into());
        torn.headers_mut().insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(unpacked(torn).unwrap_err().at, Break::Torn);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_a_reply() {
        for (body, left) in
            [(&b"\xef\xbb\xbf{}"[..], &b"{}"[..]), (b"{}", b"{}"), (b"\xef", b"\xef")]
        {
            assert_eq!(without_mark(Bytes::from_static(body)), left);
        }
    }
}
