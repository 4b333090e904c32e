//! The admin server's thread: accepting, HTTP, its own statistics and log.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use std::{io, net, thread};

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::connection::Connection;
use super::endpoint::{Process, answer};
use super::reply::{PLAIN, Pieces, Reply};
use super::view::ServerView;
use crate::stats::http_connection_manager::{
    Http1CodecStats, HttpConnectionManagerStats, ListenerHttpStats,
};
use crate::stats::listener::ListenerWorkerStats;
use crate::stats::server::{AdminListenerStats, ServerStats};
use crate::stats::{Shard, Store};

/// Where the admin server listens.
#[derive(Debug)]
pub enum Socket {
    /// A TCP socket.
    Tcp(net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl From<net::TcpListener> for Socket {
    fn from(listener: net::TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<std::os::unix::net::UnixListener> for Socket {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// What is told of each request: for the admin server's access log.
#[derive(Clone, Debug)]
pub struct Access {
    /// When the request was read.
    pub start: SystemTime,
    /// The peer; none on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1`.
    pub protocol: &'static str,
    /// The `Host`, or empty.
    pub authority: String,
    /// The `User-Agent`, or empty.
    pub user_agent: String,
    /// The answer's status.
    pub response_code: u16,
    /// The size of the answer's body.
    pub bytes_sent: u64,
    /// From the request's head to the answer's being ready.
    pub duration: Duration,
}

/// Takes the lines of the admin server's access log; must not block.
pub type AccessSink = Box<dyn Fn(&Access) + Send>;

/// The running admin server. Dropping it stops the server without waiting.
#[derive(Debug)]
#[must_use = "dropping it stops the admin server"]
pub struct Handle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Stops the server, closes its connections and waits for its thread.
    pub fn stop(mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Starts the admin server on a thread of its own.
///
/// # Errors
/// If the thread, its runtime or the socket cannot be set up.
pub fn spawn(
    socket: impl Into<Socket>,
    view: Arc<dyn ServerView>,
    store: Store,
    access_log: Option<AccessSink>,
) -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let socket = {
        let _inside = runtime.enter();
        Listening::new(socket.into())?
    };
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new().name("admin".into()).spawn(move || {
        store.shard(None).install();
        let server = Rc::new(Server::new(view, store, access_log));
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            // Either a message or the handle's end stops the server.
            let mut stopped = pin!(stopped);
            tokio::select! {
                _ = &mut stopped => {}
                () = server.accept(&socket) => {}
                () = flush_statistics() => {}
            }
        });
    })?;
    Ok(Handle {
        stop: Some(stop),
        thread: Some(thread),
    })
}

/// Hands this thread's statistics over, for ever.
async fn flush_statistics() {
    loop {
        tokio::time::sleep(FLUSH_INTERVAL).await;
        Shard::flush();
    }
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    fn new(socket: Socket) -> io::Result<Self> {
        match socket {
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
            Socket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?))
            }
        }
    }
}

struct Server {
    process: Process,
    listener: AdminListenerStats,
    main_thread: ListenerWorkerStats,
    http: HttpConnectionManagerStats,
    listener_http: ListenerHttpStats,
    access_log: Option<AccessSink>,
    connections: std::cell::Cell<usize>,
}

impl Server {
    fn new(view: Arc<dyn ServerView>, store: Store, access_log: Option<AccessSink>) -> Self {
        let _ = Http1CodecStats::new(&store, "http1.");
        Self {
            listener: AdminListenerStats::new(&store, "listener.admin."),
            main_thread: ListenerWorkerStats::new(&store, "listener.admin.main_thread."),
            http: HttpConnectionManagerStats::new(&store, "http.admin."),
            listener_http: ListenerHttpStats::new(&store, "listener.admin.http.admin."),
            process: Process {
                stats: ServerStats::new(&store, "server."),
                view,
                store,
            },
            access_log,
            connections: std::cell::Cell::new(0),
        }
    }

    /// Accepts for ever.
    async fn accept(self: &Rc<Self>, socket: &Listening) {
        loop {
            let accepted = match socket {
                Listening::Tcp(listener) => listener.accept().await.map(|(stream, remote)| {
                    // Answers are written whole; the kernel need not wait for more.
                    let _ = stream.set_nodelay(true);
                    self.start(stream, Some(remote));
                }),
                Listening::Unix(listener) => {
                    (listener.accept().await).map(|(stream, _)| self.start(stream, None))
                }
            };
            if let Err(error) = accepted {
                tracing::warn!(%error, "the admin server cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }

    fn start<S>(self: &Rc<Self>, stream: S, remote: Option<SocketAddr>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        self.listener.downstream_cx_total.inc();
        if self.connections.get() >= CONNECTIONS_MAX {
            self.listener.downstream_cx_overflow.inc();
            return;
        }
        let server = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let opened = server.on_open();
            let received = server.http.downstream_cx_rx_bytes_total;
            let sent = server.http.downstream_cx_tx_bytes_total;
            let io = TokioIo::new(Connection::new(stream, received, sent));
            let service = service_fn(async |mut request| {
                let form = form(&mut request).await;
                Ok::<_, Infallible>(server.respond(&request, form.as_deref(), remote))
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE_TIMEOUT)
                .max_header_size(HEAD_BYTES_MAX)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(io, service)
                .await;
            if let Err(error) = served {
                // The peer left, was too slow, or sent what is not HTTP.
                tracing::debug!(%error, "an admin connection failed");
                if error.is_parse() {
                    server.http.downstream_cx_protocol_error.inc();
                }
            }
            server.on_close(opened);
        });
    }

    fn on_open(&self) -> Instant {
        self.connections.set(self.connections.get() + 1);
        self.listener.downstream_cx_active.inc();
        self.listener
            .connections_accepted_per_socket_event
            .record(1);
        self.main_thread.downstream_cx_total.inc();
        self.main_thread.downstream_cx_active.inc();
        self.http.downstream_cx_total.inc();
        self.http.downstream_cx_active.inc();
        self.http.downstream_cx_http1_total.inc();
        self.http.downstream_cx_http1_active.inc();
        Instant::now()
    }

    fn on_close(&self, opened: Instant) {
        self.connections.set(self.connections.get() - 1);
        let length_ms = opened.elapsed().as_millis() as u64;
        self.listener.downstream_cx_active.dec();
        self.listener.downstream_cx_destroy.inc();
        self.listener.downstream_cx_length_ms.record(length_ms);
        self.main_thread.downstream_cx_active.dec();
        self.http.downstream_cx_active.dec();
        self.http.downstream_cx_http1_active.dec();
        self.http.downstream_cx_destroy.inc();
        self.http.downstream_cx_destroy_remote.inc();
        self.http.downstream_cx_length_ms.record(length_ms);
    }

    fn respond(
        &self,
        request: &Request<Incoming>,
        form: Option<&str>,
        remote: Option<SocketAddr>,
    ) -> Response<Pieces> {
        let (start, started) = (SystemTime::now(), Instant::now());
        self.http.downstream_rq_total.inc();
        self.http.downstream_rq_http1_total.inc();
        self.http.downstream_rq_active.inc();
        let (reply, close) = match refusal(request) {
            Some(reply) => (reply, true),
            None => {
                let uri = request.uri();
                let query = match uri.query().unwrap_or_default() {
                    "" => form.unwrap_or_default(),
                    query => query,
                };
                (
                    answer(&self.process, request.method(), uri.path(), query),
                    false,
                )
            }
        };
        let (code, bytes) = (reply.status.as_u16(), reply.body.len() as u64);
        self.http.downstream_rq_active.dec();
        self.http.completed(code);
        self.listener_http.completed(code);
        let duration = started.elapsed();
        self.http
            .downstream_rq_time
            .record(duration.as_millis() as u64);
        if let Some(log) = &self.access_log {
            log(&access(request, remote, start, duration, code, bytes));
        }
        response(reply, close)
    }
}

/// The parameters of a request that has them in its body, as a form: only
/// `/runtime_modify` takes them from there.
async fn form(request: &mut Request<Incoming>) -> Option<String> {
    let kind = request.headers().get(CONTENT_TYPE)?;
    if request.uri().path() != "/runtime_modify" || kind != FORM {
        return None;
    }
    let body = Limited::new(request.body_mut(), FORM_BYTES_MAX).collect();
    let body = tokio::time::timeout(IDLE_TIMEOUT, body).await.ok()?.ok()?;
    String::from_utf8(body.to_bytes().into()).ok()
}

const FORM: &str = "application/x-www-form-urlencoded";

/// What a query could hold, too.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// What is no request to an endpoint.
fn refusal(request: &Request<Incoming>) -> Option<Reply> {
    let refuse = |status: StatusCode| Reply {
        content_type: PLAIN,
        ..Reply::error(status, status.canonical_reason().unwrap_or_default())
    };
    if request.version() != Version::HTTP_11 {
        return Some(refuse(StatusCode::UPGRADE_REQUIRED));
    }
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::TRACE,
    ];
    let has_host = request.headers().contains_key(header::HOST);
    (!has_host || !known.contains(request.method())).then(|| refuse(StatusCode::BAD_REQUEST))
}

fn response(reply: Reply, close: bool) -> Response<Pieces> {
    let mut response = Response::new(Pieces::new(reply.body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(reply.content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::SERVER, HeaderValue::from_static("envoy"));
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn access(
    request: &Request<Incoming>,
    remote: Option<SocketAddr>,
    start: SystemTime,
    duration: Duration,
    response_code: u16,
    bytes_sent: u64,
) -> Access {
    let text = |name: header::HeaderName| {
        let value = request.headers().get(name).map(HeaderValue::as_bytes);
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    Access {
        start,
        remote,
        method: request.method().to_string(),
        path: request.uri().to_string(),
        protocol: match request.version() {
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        authority: text(header::HOST),
        user_agent: text(header::USER_AGENT),
        response_code,
        bytes_sent,
        duration,
    }
}

/// Enough for every scraper and operator; each connection may hold one answer.
const CONNECTIONS_MAX: usize = 256;
/// Envoy's default limit of a request's head.
const HEAD_BYTES_MAX: usize = 60 * 1024;
/// For a head to arrive, also on a connection kept open between two scrapes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often this thread hands its statistics over. What others removed is free
/// only then.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Between two tries when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
