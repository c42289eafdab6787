//! The wire: HTTP/1.1 with keep-alive on the loopback interface. Connections
//! enter, replies leave, whole or cut off; what a reply says is not known here.
//! Runs on threads of its own, so that blocking and async tests use it alike.

use super::faults::Fault;
use super::gate::Gate;
use super::ledger::{Request, Violations};
use super::reply::Reply;
use super::settings::Settings;
use super::workspace::Workspace;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Below this, compression costs more than it saves.
const GZIP_FROM: usize = 1_024;

/// A running simulator; dropping it stops it.
pub struct Server {
    gate: Arc<Gate>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on 127.0.0.1 and serves a workspace.
    ///
    /// # Errors
    ///
    /// When the port is taken, or threads cannot be had.
    pub fn start(workspace: Workspace, settings: Settings) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", settings.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Gate::new(workspace, settings));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("simulator")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = gate.clone();
        let serve = move || {
            runtime.block_on(accept(listener, shared, stopped));
            // Open connections and stalled replies end with the server.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(serve)?;
        Ok(Self { gate, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The workspace it serves.
    #[must_use]
    pub fn workspace(&self) -> &Workspace {
        &self.gate.workspace
    }

    /// Every request received, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.gate.ledger.requests()
    }

    /// How many requests named exactly this path.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.gate.ledger.count(path)
    }

    /// The rules that clients broke.
    #[must_use]
    pub fn violations(&self) -> Violations {
        self.gate.ledger.violations()
    }

    /// Forgets requests and violations, but not what is left of the quota.
    pub fn clear(&self) {
        self.gate.ledger.clear();
    }

    /// Makes the next `times` requests for a path suffer a fault.
    pub fn fail_next(&self, path: &str, fault: Fault, times: u32) {
        self.gate.plan(path, fault, times);
    }

    /// Changes the workspace right before the `nth` successful request for a
    /// path from now on is answered; 1 is the next one.
    pub fn before(&self, path: &str, nth: u32, change: impl FnOnce(&Workspace) + Send + 'static) {
        self.gate.change(path, nth, Box::new(change));
    }

    /// Begins a new week: the whole quota is there again.
    pub fn refill_quota(&self) {
        self.gate.refill();
    }

    /// Stops listening and closes every connection.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The thread may have ended before us; then there is nobody to tell.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(listener: std::net::TcpListener, gate: Arc<Gate>, stopped: oneshot::Receiver<()>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let serve = async {
        loop {
            // A connection that failed before it began concerns nobody else.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let gate = gate.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(gate.clone(), request));
                let mut http = http1::Builder::new();
                // An error here is the client's going away, or a fault of ours.
                let _ = http
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    };
    tokio::select! {
        () = serve => {}
        _ = stopped => {}
    }
}

type Wire = Response<Either<Full<Bytes>, Torn>>;

async fn answer(gate: Arc<Gate>, request: hyper::Request<Incoming>) -> Result<Wire, Infallible> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let number = gate.ledger.receive(request.method().as_str(), path, query);
    let (reply, fault) = gate.reply(request.method(), request.headers(), path, query);
    wait(&gate.settings, fault).await;
    gate.ledger.answer(number, reply.status, fault);
    Ok(on_wire(&gate.settings, request.headers(), reply, fault))
}

#[allow(clippy::disallowed_methods, reason = "slowness towards a client needs the real clock")]
async fn wait(settings: &Settings, fault: Option<Fault>) {
    let mut pause = settings.latency + settings.jitter.mul_f64(fastrand::f64());
    if fault == Some(Fault::Stall) {
        pause += settings.faults.stall_for;
    }
    if pause > Duration::ZERO {
        tokio::time::sleep(pause).await;
    }
}

fn on_wire(settings: &Settings, asked: &HeaderMap, reply: Reply, fault: Option<Fault>) -> Wire {
    let accepts = asked.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepts = settings.gzip && accepts.is_some_and(|value| value.contains("gzip"));
    let packed =
        (accepts && reply.body.len() >= GZIP_FROM).then(|| compress(&reply.body)).flatten();
    let gzip = packed.is_some();
    let body = Bytes::from(packed.unwrap_or(reply.body));
    let length = body.len();
    let body = match fault {
        Some(Fault::Reset) => Either::Right(Torn::of(&body)),
        _ => Either::Left(Full::new(body)),
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let date = settings.date.map(|date| date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    if let Some(date) = date.and_then(|text| HeaderValue::try_from(text).ok()) {
        // hyper adds the real time where this is left out.
        headers.insert(header::DATE, date);
    }
    response
}

fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Half a body, then the end of the connection.
struct Torn {
    half: Option<Bytes>,
    flushed: bool,
}

impl Torn {
    fn of(body: &Bytes) -> Self {
        Self { half: Some(body.slice(..body.len() / 2)), flushed: false }
    }
}

impl Body for Torn {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.flushed {
            // One turn for hyper to send the half, which an error would discard.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
