//! Network filters (`envoy.filters.network.*`): what looks at a connection once
//! its chain is chosen, and what serves it.
//!
//! The last filter of a chain is its [`Terminal`]: it owns the connection's
//! bytes. Those before it implement [`NetworkFilter`]: they see the connection
//! begin, and may see that its first bytes have arrived, and either let it pass,
//! close it or make it wait. What they say of it goes into its [`StreamInfo`],
//! which logs of the connection and requests on it are written from.
//!
//! The order is Envoy's: the terminal filter counts the connection, then each
//! filter sees it, all of that before its handshake. Whoever wants to know what
//! the handshake agreed on looks when the first bytes are there.

pub mod connection_limit;
pub mod direct_response;
pub mod echo;
pub mod ext_authz;
pub mod http_connection_manager;
pub mod local_ratelimit;
pub mod rbac;
pub mod set_filter_state;
pub mod sni_cluster;
pub mod sni_dynamic_forward_proxy;
pub mod tcp_proxy;

use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::filters::WorkerContext;
use crate::reactor::{self, Timer};
use crate::stats::Store;
use crate::stream_info::{ConnectionInfo, StreamInfo, TlsInfo};
use crate::transport_sockets::TransportSocket;
use crate::transport_sockets::tls::failure;
use crate::transport_sockets::tls::handshake::HandshakeError;
use direct_response::DirectResponse;
use tcp_proxy::TcpProxy;

/// The terminal filters that there are.
pub enum Terminal {
    /// `envoy.filters.network.http_connection_manager`
    HttpConnectionManager(Arc<http_connection_manager::Shared>),
    /// One that knows nothing of what the bytes mean.
    Raw(Arc<RawTerminal>),
}

/// The terminal filters that know nothing of what the bytes mean.
pub enum RawTerminal {
    /// `envoy.filters.network.echo`
    Echo,
    /// `envoy.filters.network.direct_response`
    DirectResponse(DirectResponse),
    /// `envoy.filters.network.tcp_proxy`
    TcpProxy(Box<TcpProxy>),
}

impl RawTerminal {
    /// Counts a connection, before any filter has seen it.
    pub fn begin(&self) {
        match self {
            Self::Echo | Self::DirectResponse(_) => {}
            Self::TcpProxy(proxy) => proxy.begin(),
        }
    }

    /// Logs a connection that is over, whatever has ended it.
    pub fn end(&self, session: &mut Session) {
        match self {
            Self::Echo | Self::DirectResponse(_) => {}
            Self::TcpProxy(proxy) => proxy.end(session),
        }
    }

    /// Serves a connection until it is closed. `handshake` is its own, which is over
    /// at once in plaintext.
    ///
    /// # Errors
    /// Its handshake fails, or a filter closes it.
    pub async fn serve(
        &self,
        session: &mut Session,
        filters: &NetworkFilters,
        handshake: impl Future<Output = Result<Secured, NoHandshake>>,
        buffer_limit: u32,
    ) -> Result<(), Closed> {
        if let Self::TcpProxy(proxy) = self {
            proxy.serve(session, filters, handshake, buffer_limit).await;
            return Ok(());
        }
        let (socket, info) = handshake.await.map_err(|_| Closed::ByClient)?;
        filters.on_secured(session, info);
        match self {
            Self::Echo => echo::serve(session, filters, socket, buffer_limit).await,
            Self::DirectResponse(response) => {
                response.serve(&socket, &mut session.info);
                Ok(())
            }
            Self::TcpProxy(_) => Ok(()),
        }
    }
}

/// A connection whose handshake is over, and what is known of it now.
pub type Secured = (TransportSocket, Rc<ConnectionInfo>);

/// Why there is no connection after a handshake, and what TLS knows of it.
#[derive(Debug)]
pub enum NoHandshake {
    /// It has failed.
    Failed(HandshakeError, Option<Arc<TlsInfo>>),
    /// It has taken too long.
    Timeout(Option<Arc<TlsInfo>>),
}

/// A network filter before the terminal one, shared by all workers.
pub trait NetworkFilter: Send + Sync {
    /// Registers its statistics.
    fn register(&mut self, _store: &Store) {}

    /// Sees a new connection, before its handshake.
    fn on_new_connection(&self, _connection: &mut Connection<'_>) -> Flow {
        Flow::Continue
    }

    /// Sees that its handshake is over, where it has one.
    fn on_tls_handshake(&self, _connection: &mut Connection<'_>) {}

    /// Whether [`NetworkFilter::on_data`] wants to be called.
    fn wants_data(&self) -> bool {
        false
    }

    /// Whether it wants to be called for all that arrives later, too.
    fn wants_all_data(&self) -> bool {
        false
    }

    /// Sees that the client's first bytes have arrived, or its end in front of a
    /// `tcp_proxy`, which goes on without its other direction. The handshake is over.
    fn on_data(&self, _connection: &mut Connection<'_>) -> Flow {
        Flow::Continue
    }

    /// Goes on after [`Flow::Wait`], which either of the above has answered.
    fn resume(&self, _connection: &mut Connection<'_>) -> Flow {
        Flow::Continue
    }
}

/// A connection as a filter sees it.
pub struct Connection<'a> {
    /// What is known of it: addresses, server name, TLS once there is some. Its
    /// metadata and filter state are the filter's to change; requests on the
    /// connection begin with the filter state.
    pub info: &'a mut StreamInfo,
    /// What has to live as long as the connection, and is dropped with it.
    pub held: &'a mut Vec<Box<dyn Any>>,
    /// The worker.
    pub worker: &'a Rc<WorkerContext>,
    /// Its chain speaks TLS, whether the handshake is over or not.
    pub is_tls: bool,
}

/// What becomes of a connection after a filter.
pub enum Flow {
    /// To the next filter.
    Continue,
    /// It is closed, at once.
    Close,
    /// The same; a client whose handshake is over is told by an alert of TLS that it is
    /// denied access.
    DenyAccess,
    /// Nowhere until the future is ready; then [`NetworkFilter::resume`] says
    /// where.
    Wait(Pin<Box<dyn Future<Output = ()>>>),
}

/// A connection goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// A filter has closed it, or the worker ends.
    ByUs,
    /// Its client is gone, or there is no handshake with it.
    ByClient,
}

/// The filters of a chain before the terminal one.
#[derive(Default)]
pub struct NetworkFilters {
    filters: Box<[Box<dyn NetworkFilter>]>,
    wants_data: bool,
    wants_all_data: bool,
}

impl NetworkFilters {
    /// Filters in the order of the configuration.
    #[must_use]
    pub fn new(mut filters: Vec<Box<dyn NetworkFilter>>, store: &Store) -> Self {
        for filter in &mut filters {
            filter.register(store);
        }
        Self {
            wants_data: filters.iter().any(|filter| filter.wants_data()),
            wants_all_data: filters.iter().any(|filter| filter.wants_all_data()),
            filters: filters.into(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether any of them waits for the first bytes.
    #[must_use]
    pub fn wants_data(&self) -> bool {
        self.wants_data
    }

    /// Whether any of them wants to see all that the client sends.
    #[must_use]
    pub fn wants_all_data(&self) -> bool {
        self.wants_all_data
    }

    /// Shows the filters a new connection.
    ///
    /// # Errors
    /// One of them closes it.
    pub async fn on_new_connection(&self, session: &mut Session) -> Result<(), Closed> {
        for filter in &self.filters {
            let flow = filter.on_new_connection(&mut session.connection());
            session.follow(flow, &**filter).await?;
        }
        Ok(())
    }

    /// Notes what is known of a connection after its handshake, and tells the filters
    /// if it had one.
    pub fn on_secured(&self, session: &mut Session, info: Rc<ConnectionInfo>) {
        session.info.connection = info;
        if session.is_tls {
            for filter in &self.filters {
                filter.on_tls_handshake(&mut session.connection());
            }
        }
    }

    /// Tells the filters that something of the client has arrived, as many bytes as
    /// `bytes`, or its end. A client that is gone before they let it pass is closed.
    ///
    /// # Errors
    /// One of them closes it.
    pub async fn on_data(
        &self,
        session: &mut Session,
        bytes: usize,
        client: &TransportSocket,
    ) -> Result<(), Closed> {
        let mut telling = Telling::new(session, bytes);
        poll_fn(|cx| {
            let told = self.poll_data(&mut telling, session, client, cx);
            if told.is_ready() {
                return told;
            }
            // Nothing but the end of the worker sets the timer.
            if session.timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(Closed::ByUs));
            }
            client.poll_closed(cx).map(|()| Err(Closed::ByClient))
        })
        .await
    }

    /// Goes on telling the filters of what has arrived, until all of them let it pass.
    ///
    /// # Errors
    /// One of them closes it.
    pub fn poll_data(
        &self,
        telling: &mut Telling,
        session: &mut Session,
        client: &TransportSocket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        while let Some(filter) = self.filters.get(telling.next) {
            let flow = match &mut telling.waiting {
                None if telling.is_first || filter.wants_all_data() => {
                    filter.on_data(&mut session.connection())
                }
                None => Flow::Continue,
                Some(waiting) => {
                    ready!(waiting.as_mut().poll(cx));
                    filter.resume(&mut session.connection())
                }
            };
            telling.waiting = None;
            match flow {
                Flow::Continue => telling.next += 1,
                Flow::Close => return Poll::Ready(Err(Closed::ByUs)),
                Flow::DenyAccess => {
                    client.deny_access();
                    return Poll::Ready(Err(Closed::ByUs));
                }
                Flow::Wait(waiting) => telling.waiting = Some(waiting),
            }
        }
        session.info.bytes_received -= telling.bytes as u64;
        Poll::Ready(Ok(()))
    }
}

/// How far filters have been told of what has arrived: all of them the first time, and
/// later those that want to see all.
pub struct Telling {
    bytes: usize,
    is_first: bool,
    next: usize,
    /// What the next one waits for.
    waiting: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Telling {
    /// Begins to tell them of so many bytes, or of the client's end. The bytes are
    /// received for good if a filter closes the connection, and else are counted where
    /// they go.
    #[must_use]
    pub fn new(session: &mut Session, bytes: usize) -> Self {
        session.info.bytes_received += bytes as u64;
        Self {
            bytes,
            is_first: !std::mem::replace(&mut session.has_data, true),
            next: 0,
            waiting: None,
        }
    }

    /// How many bytes they are told of.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A connection on its way through its filters.
pub struct Session {
    /// What is known of it.
    pub info: Box<StreamInfo>,
    /// The worker.
    pub worker: Rc<WorkerContext>,
    /// Its timer, which the worker makes expire when it ends.
    pub timer: Rc<Timer>,
    is_tls: bool,
    /// Something of the client has arrived.
    has_data: bool,
    held: Vec<Box<dyn Any>>,
}

impl Session {
    /// A connection that begins, in a chain that speaks TLS or not.
    #[must_use]
    pub fn new(
        connection: Rc<ConnectionInfo>,
        is_tls: bool,
        worker: Rc<WorkerContext>,
        timer: Rc<Timer>,
    ) -> Self {
        let (now, wall) = (reactor::now(), reactor::wall_clock());
        let mut info = Box::new(StreamInfo::new(connection, now, wall));
        if !info.connection.metadata.is_empty() {
            *info.metadata_mut() = info.connection.metadata.clone();
        }
        Self {
            info,
            worker,
            timer,
            is_tls,
            has_data: false,
            held: Vec::new(),
        }
    }

    /// Notes for logs why the connection has ended before it began.
    pub fn note_no_handshake(&mut self, error: &NoHandshake) {
        let connection = Rc::make_mut(&mut self.info.connection);
        let (NoHandshake::Failed(_, tls) | NoHandshake::Timeout(tls)) = error;
        connection.tls.clone_from(tls);
        match error {
            NoHandshake::Failed(error, _) => {
                connection.transport_failure_reason = failure::reason(error).into();
            }
            NoHandshake::Timeout(_) => {
                let details = &mut self.info.connection_termination_details;
                details.set("transport socket timeout was reached");
            }
        }
    }

    fn connection(&mut self) -> Connection<'_> {
        Connection {
            info: &mut self.info,
            held: &mut self.held,
            worker: &self.worker,
            is_tls: self.is_tls,
        }
    }

    /// Does what a filter has said of the connection, until it lets it pass.
    async fn follow(&mut self, mut flow: Flow, filter: &dyn NetworkFilter) -> Result<(), Closed> {
        loop {
            match flow {
                Flow::Continue => return Ok(()),
                Flow::Close | Flow::DenyAccess => return Err(Closed::ByUs),
                Flow::Wait(waiting) => {
                    // Nothing but the end of the worker sets the timer.
                    if reactor::timeout(&self.timer, waiting).await.is_err() {
                        return Err(Closed::ByUs);
                    }
                    flow = filter.resume(&mut self.connection());
                }
            }
        }
    }
}

/// Waits until the client has sent something, or its end, and says how many bytes.
/// What it sent stays there to be read.
pub async fn await_data(socket: &TransportSocket) -> usize {
    let Ok(Some(chunk)) = socket.recv().await else {
        return 0;
    };
    let bytes = chunk.len();
    socket.unread(chunk);
    bytes
}
