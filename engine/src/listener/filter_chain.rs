//! A filter chain: what a connection runs through once it is chosen. Filters
//! see the connection, its handshake is made, and the filter at the chain's end
//! serves it.

use std::rc::Rc;
use std::sync::Arc;

use ringway_config::listener::FilterChain as FilterChainConfig;

use super::Serving;
use crate::filters::WorkerContext;
use crate::filters::network::http_connection_manager::ConnectionManager;
use crate::filters::network::{
    Closed, NetworkFilters, NoHandshake, RawTerminal, Session, Terminal, await_data,
};
use crate::reactor::{self, Stream, Timer};
use crate::stats::Store;
use crate::stream_info::{ConnectionInfo, ResponseFlag, StreamInfo};
use crate::transport_sockets::TransportSocket;
use crate::transport_sockets::tls::{Notes, ServerContext, ServerSocketFactory, SharedContext};

/// A filter chain that is ready to run.
pub struct FilterChain {
    /// Its TLS side; `None` is plaintext.
    pub tls: Option<Arc<SharedContext<ServerContext>>>,
    /// What sees a connection before it is served.
    pub filters: NetworkFilters,
    /// The filter at its end, which serves the connection.
    pub terminal: Terminal,
}

/// A filter chain on one worker.
pub(super) struct WorkerChain {
    pub(super) config: Arc<FilterChainConfig>,
    chain: Arc<FilterChain>,
    terminal: WorkerTerminal,
    tls: Option<ServerSocketFactory>,
}

/// A terminal filter on one worker.
enum WorkerTerminal {
    Http(Rc<ConnectionManager>),
    Raw(Arc<RawTerminal>),
}

impl WorkerChain {
    pub(super) fn new(
        config: &Arc<FilterChainConfig>,
        chain: &Arc<FilterChain>,
        listener_prefix: &str,
        worker: &Rc<WorkerContext>,
        store: &Store,
    ) -> Self {
        Self {
            config: Arc::clone(config),
            terminal: match &chain.terminal {
                Terminal::HttpConnectionManager(manager) => {
                    let manager = ConnectionManager::new(Arc::clone(manager), Rc::clone(worker));
                    WorkerTerminal::Http(manager)
                }
                Terminal::Raw(terminal) => WorkerTerminal::Raw(Arc::clone(terminal)),
            },
            tls: (chain.tls.as_ref())
                .map(|context| ServerSocketFactory::new(context, store, listener_prefix)),
            chain: Arc::clone(chain),
        }
    }

    /// Handshakes that begin from now on are made with another context.
    pub(super) fn update_context(
        &self,
        of: &Arc<SharedContext<ServerContext>>,
        context: &Arc<ServerContext>,
    ) {
        if let Some(tls) = &self.tls {
            tls.update(of, context);
        }
    }

    /// Serves a connection until it is closed, and says what is known of it then, if its
    /// listener logs it.
    pub(super) async fn serve(
        &self,
        serving: &Serving,
        stream: Stream,
        info: Rc<ConnectionInfo>,
    ) -> Option<Box<StreamInfo>> {
        match &self.terminal {
            WorkerTerminal::Http(manager) => {
                let mut session = None;
                self.serve_http(manager, serving, stream, info, &mut session)
                    .await;
                session.map(|session| session.info)
            }
            WorkerTerminal::Raw(terminal) => {
                // In a box: connections of HTTP would have room for it.
                let served = Box::pin(self.serve_raw(terminal, serving, stream, info));
                Some(served.await.info)
            }
        }
    }

    async fn serve_http(
        &self,
        manager: &Rc<ConnectionManager>,
        serving: &Serving,
        stream: Stream,
        mut info: Rc<ConnectionInfo>,
        session: &mut Option<Session>,
    ) {
        // Without its secret a connection is none of TLS.
        let over_tls = self.tls.as_ref().is_some_and(ServerSocketFactory::is_ready);
        let visit = manager.begin_connection(over_tls);
        let filters = &self.chain.filters;
        if !filters.is_empty() || serving.logs() {
            let worker = Rc::clone(&serving.worker);
            let begun = Session::new(Rc::clone(&info), self.tls.is_some(), worker, visit.timer());
            *session = Some(begun);
        }
        if let Some(session) = session
            && let Err(closed) = Box::pin(filters.on_new_connection(session)).await
        {
            turn_away(&stream);
            return manager.give_up_connection(&visit, closed);
        }
        // In a box: it is large, and over soon.
        let socket = match &self.tls {
            None => Ok(TransportSocket::RawBuffer(stream)),
            Some(tls) => Box::pin(self.shake_hands(serving, tls, stream, &mut info)).await,
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                if let Some(session) = session {
                    session.note_no_handshake(&error);
                }
                let closed = match error {
                    NoHandshake::Failed(..) => Closed::ByClient,
                    NoHandshake::Timeout(_) => Closed::ByUs,
                };
                return manager.give_up_connection(&visit, closed);
            }
        };
        if self.tls.is_some() {
            Rc::make_mut(&mut info).handshake_end = Some(reactor::now());
        }
        if let Some(session) = session {
            filters.on_secured(session, Rc::clone(&info));
            let passes = async {
                if filters.wants_data() {
                    let bytes = manager.await_data(&visit, await_data(&socket)).await?;
                    // Without bytes it is the end, and nothing is to be served.
                    if bytes > 0 {
                        filters.on_data(session, bytes, &socket).await?;
                    }
                }
                Ok::<(), Closed>(())
            };
            if let Err(closed) = Box::pin(passes).await {
                return manager.give_up_connection(&visit, closed);
            }
            let said = session.info.filter_state();
            if !said.is_empty() {
                Rc::make_mut(&mut info).filter_state = said.clone();
            }
        }
        let limit = serving.shared.config.buffer_limit;
        let carried = Rc::clone(manager).serve(visit, socket, info, limit).await;
        if let Some(session) = session {
            let info = &mut session.info;
            (info.bytes_received, info.bytes_sent) = (carried.received, carried.sent);
            info.protocol = carried.protocol;
            if carried.is_broken {
                info.flags.set(ResponseFlag::DownstreamProtocolError);
            }
        }
    }

    async fn serve_raw(
        &self,
        terminal: &RawTerminal,
        serving: &Serving,
        stream: Stream,
        mut info: Rc<ConnectionInfo>,
    ) -> Session {
        let worker = Rc::clone(&serving.worker);
        let registration = worker.register();
        let mut session = Session::new(
            Rc::clone(&info),
            self.tls.is_some(),
            worker,
            registration.timer(),
        );
        terminal.begin();
        let filters = &self.chain.filters;
        if filters.on_new_connection(&mut session).await.is_err() {
            turn_away(&stream);
            terminal.end(&mut session);
            return session;
        }
        let handshake = async {
            let socket = match &self.tls {
                None => Ok(TransportSocket::RawBuffer(stream)),
                Some(tls) => Box::pin(self.shake_hands(serving, tls, stream, &mut info)).await,
            };
            socket.map(|socket| (socket, info))
        };
        let limit = serving.shared.config.buffer_limit;
        let served = terminal.serve(&mut session, filters, handshake, limit);
        // Whoever closes a connection has told the client what there is to tell.
        let _closed = served.await;
        terminal.end(&mut session);
        session
    }

    /// The handshake of a TLS connection, as far as it takes no longer than it may. What
    /// it agrees on is noted.
    async fn shake_hands(
        &self,
        serving: &Serving,
        tls: &ServerSocketFactory,
        stream: Stream,
        info: &mut Rc<ConnectionInfo>,
    ) -> Result<TransportSocket, NoHandshake> {
        let limit = self.config.transport_socket_connect_timeout;
        let timer = Timer::new();
        timer.set(limit.map(|limit| reactor::now() + limit));
        let mut noted = Notes::default();
        match reactor::timeout(&timer, tls.accept(stream, &mut noted)).await {
            Ok(Ok(secured)) => {
                Rc::make_mut(info).tls = Some(secured.info);
                Ok(TransportSocket::Tls(secured.stream))
            }
            Ok(Err(error)) => {
                tracing::debug!(connection = info.id, ?error, "no TLS connection");
                Err(NoHandshake::Failed(error, tls.unfinished(&noted)))
            }
            Err(_elapsed) => {
                let stats = &serving.shared.stats;
                stats.downstream_cx_transport_socket_connect_timeout.inc();
                Err(NoHandshake::Timeout(tls.unfinished(&noted)))
            }
        }
    }
}

/// Closes a connection that filters do not let begin. What listener filters have looked
/// at is read by nobody, which a reset tells the client.
fn turn_away(stream: &Stream) {
    if stream.has_unread() {
        stream.reset();
    }
}
