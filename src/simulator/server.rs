//! The server: HTTP/1.1 with keep-alive on the loopback interface. It sends replies, whole or cut
//! off, without knowing their contents. It runs on threads of its own, so that blocking and async
//! tests can both use it.

use super::api::Api;
use super::faults::Fault;
use super::settings::Settings;
use super::workspace::Workspace;
use bytes::Bytes;
use http::Response;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running simulator: its [`Api`] at an address. Dropping it stops it.
pub struct Server {
    api: Api,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on 127.0.0.1 and serves a workspace.
    ///
    /// # Errors
    ///
    /// When the port is taken, or threads cannot be started.
    pub fn start(workspace: Workspace, settings: Settings) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", settings.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let api = Api::new(workspace, settings);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("simulator")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = api.clone();
        let serve = move || {
            runtime.block_on(accept(listener, shared, stopped));
            // Open connections and stalled replies end with the server.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("simulator".to_owned()).spawn(serve)?;
        Ok(Self { api, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Its base URL, without a trailing slash.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and closes every connection.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The thread may have ended already, and then there is no receiver.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Deref for Server {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(listener: std::net::TcpListener, api: Api, stopped: oneshot::Receiver<()>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let serve = async {
        loop {
            // A connection that failed before it began does not affect the others.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let api = api.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(api.clone(), request));
                let mut http = http1::Builder::new();
                // An error here means that the client disconnected, or that a fault was applied.
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

async fn answer(api: Api, request: hyper::Request<Incoming>) -> Result<Wire, Infallible> {
    let (reply, fault) = api.answer(&request);
    let pause = api.pause(fault);
    if pause > Duration::ZERO {
        tokio::time::sleep(pause).await;
    }
    Ok(reply.map(|body| match fault {
        Some(Fault::Reset) => Either::Right(Torn::of(&body)),
        _ => Either::Left(Full::new(body)),
    }))
}

/// Half a body, followed by the end of the connection.
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
            // Yields once so that hyper sends the half, which an error would discard.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
