//! The TCP proxy (`envoy.filters.network.tcp_proxy`): a connection of a client is
//! joined to one of a host, and bytes go both ways until both sides have ended.
//!
//! Read a connection from top to bottom here: [`TcpProxy::serve`] finds it a host
//! (`upstream.rs`), while its own handshake goes on, and then carries bytes
//! (`relay.rs`). What ends it is an [`End`], and `finish` does to both sides what
//! follows from that.
//!
//! - `config.rs`: the compiled configuration.
//! - `upstream.rs`: which host, how it is reached, how often that is tried.
//! - `relay.rs`: bytes in both directions, each ended by itself (`direction.rs`,
//!   between the two sides of `side.rs`).
//! - `tunnel.rs`: the way to a host through another proxy.
//! - `propagated.rs`: what logs can tell of that one's answer.
//! - `deadlines.rs`: how long all of that may take.

pub mod config;
mod deadlines;
mod direction;
mod propagated;
mod relay;
mod side;
mod tunnel;
mod upstream;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use self::config::Config;
use self::deadlines::Deadlines;
use self::relay::{Event, Relay};
use self::side::HostSide;
use self::upstream::{Reached, Upstream};
use super::{Closed, NetworkFilters, NoHandshake, Secured, Session, Telling};
use crate::formatter::{AccessLogType, Context as FormatContext};
use crate::reactor::{self, Timer};
use crate::stats::Store;
use crate::stats::tcp_proxy::{TcpProxyStats, prefix};
use crate::stream_info::{ResponseFlag, TimePoint};
use crate::transport_sockets::TransportSocket;
use crate::upstream::conn_pool::{self, ActiveRequest};

/// A TCP proxy, shared by all workers.
pub struct TcpProxy {
    /// The compiled configuration.
    pub config: Config,
    /// `tcp.<stat_prefix>.*`.
    pub stats: TcpProxyStats,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Both sides have said that they are done, the host as the last one or not.
    Both { host_last: bool },
    /// The client has broken it off, with a reset or not.
    Client { reset: bool },
    /// The host has.
    Host { reset: bool },
    /// The host has failed its checks.
    GivenUp,
    /// Nothing has moved for too long.
    Idle,
    /// It has taken too long.
    Duration,
    /// The worker drains.
    Drain,
    /// The worker ends.
    Stopped,
    /// A filter has closed it, or its handshake has failed.
    Closed,
    /// There is no host for it.
    NoUpstream,
}

/// What happens next to a connection that has a host.
enum Step {
    /// Bytes have come that filters wait for, or it is over.
    Event(Event),
    /// The filters have been told of them.
    Told(Result<(), Closed>),
}

impl TcpProxy {
    /// Registers the statistics of a proxy.
    #[must_use]
    pub fn new(config: Config, store: &Store) -> Self {
        Self {
            stats: TcpProxyStats::new(store, &prefix(&config.stat_prefix)),
            config,
        }
    }

    /// Counts a connection, before any filter has seen it.
    pub fn begin(&self) {
        self.stats.downstream_cx_total.inc();
    }

    /// Logs a connection that is over, whatever has ended it.
    pub fn end(&self, session: &mut Session) {
        self.log(AccessLogType::TcpConnectionEnd, session);
    }

    /// Serves a connection until it is closed. `handshake` is its own, which is over
    /// at once in plaintext.
    pub async fn serve(
        &self,
        session: &mut Session,
        filters: &NetworkFilters,
        handshake: impl Future<Output = Result<Secured, NoHandshake>>,
        buffer_limit: u32,
    ) {
        let jitter = session.worker.rng.borrow_mut().f64();
        let mut deadlines = Deadlines::new(&self.config, jitter);
        session.timer.set(deadlines.next());
        if self.config.log_flushes.on_start {
            self.log(AccessLogType::TcpConnectionStart, session);
        }
        let joined = self.join(session, filters, handshake, &mut deadlines).await;
        let id = session.info.connection.id;
        let (client, reached) = match joined {
            Ok(both) => both,
            Err((end, client)) => {
                conn_pool::own::release(id);
                return give_up(end, client);
            }
        };
        let Reached {
            active, mut tunnel, ..
        } = reached;
        if self.config.log_flushes.on_connected {
            self.log(AccessLogType::TcpUpstreamConnected, session);
        }
        deadlines.start_idle(session.info.filter_state(), reactor::now());
        session.timer.set(deadlines.next());
        let host = HostSide {
            lease: active.lease(),
            tunnel: tunnel.as_mut(),
        };
        let mut relay = Relay::new(&client, host, &self.stats, buffer_limit);
        if filters.wants_data() {
            relay.show_data(filters.wants_all_data());
        }
        let mut telling = None;
        let end = loop {
            let step = poll_fn(|cx| {
                if let Some(telling) = &mut telling
                    && let Poll::Ready(told) = filters.poll_data(telling, session, &client, cx)
                {
                    return Poll::Ready(Step::Told(told));
                }
                let event = self.poll_relay(&mut relay, &mut deadlines, session, cx);
                event.map(Step::Event)
            });
            match step.await {
                Step::Event(Event::Ended(end)) => break end,
                Step::Event(Event::Data(bytes)) => telling = Some(Telling::new(session, bytes)),
                Step::Told(Err(_)) => break End::Closed,
                Step::Told(Ok(())) => {
                    telling = None;
                    relay.let_data_pass();
                    session.timer.set(deadlines.next());
                }
            }
        };
        if let Some(telling) = telling {
            relay.count_refused(telling.bytes());
        }
        relay.finish(&mut session.info);
        let is_tunnel = tunnel.take().is_some();
        self.finish(end, is_tunnel, session, client, active);
        conn_pool::own::release(id);
    }

    /// Finds a host and waits for the client's handshake, whichever takes longer.
    /// Without both, the client's connection comes back if there is one.
    async fn join(
        &self,
        session: &mut Session,
        filters: &NetworkFilters,
        handshake: impl Future<Output = Result<Secured, NoHandshake>>,
        deadlines: &mut Deadlines,
    ) -> Result<(TransportSocket, Reached), (End, Option<TransportSocket>)> {
        let mut client = None;
        let mut handshake = pin!(handshake);
        let mut upstream = Upstream::new(&self.config, session);
        let reached = loop {
            if let Some(wait) = upstream.next_wait(&self.config, session) {
                let timer = Timer::new();
                timer.set(Some(reactor::now() + wait));
                let waited = poll_fn(|cx| {
                    if let Err(end) =
                        poll_handshake(handshake.as_mut(), &mut client, session, filters, cx)
                    {
                        return Poll::Ready(Err(end));
                    }
                    if timer.poll_expired(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    self.poll_deadline(deadlines, session, cx).map(Err)
                });
                if let Err(end) = waited.await {
                    return Err((end, client));
                }
            }
            let mut attempt = match upstream.begin(&self.config, &self.stats, session) {
                Ok(attempt) => attempt,
                Err(end) => {
                    // In plaintext the connection is there, and what the client has
                    // sent decides how it ends.
                    let begun = poll_fn(|cx| {
                        Poll::Ready(poll_handshake(
                            handshake.as_mut(),
                            &mut client,
                            session,
                            filters,
                            cx,
                        ))
                    });
                    // Whether it fails makes no difference any more.
                    let _ = begun.await;
                    return Err((end, client));
                }
            };
            let outcome = poll_fn(|cx| {
                if let Err(end) =
                    poll_handshake(handshake.as_mut(), &mut client, session, filters, cx)
                {
                    return Poll::Ready(Err(end));
                }
                if let Poll::Ready(outcome) = attempt.poll(cx) {
                    return Poll::Ready(Ok(outcome));
                }
                self.poll_deadline(deadlines, session, cx).map(Err)
            })
            .await;
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(end) => return Err((end, client)),
            };
            if let Some(reached) = upstream.attempted(attempt, outcome, session) {
                break reached;
            }
        };
        let waited = poll_fn(|cx| {
            if let Err(end) = poll_handshake(handshake.as_mut(), &mut client, session, filters, cx)
            {
                return Poll::Ready(Err(end));
            }
            match client.take() {
                Some(client) => Poll::Ready(Ok(client)),
                None => self.poll_deadline(deadlines, session, cx).map(Err),
            }
        });
        match waited.await {
            Ok(client) => Ok((client, reached)),
            Err(end) => {
                drop(reached.tunnel);
                reached.active.finish().end(false);
                Err((end, None))
            }
        }
    }

    fn poll_relay(
        &self,
        relay: &mut Relay<'_>,
        deadlines: &mut Deadlines,
        session: &mut Session,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        let event = relay.poll(&mut session.info, cx);
        if relay.take_moved() {
            deadlines.moved(reactor::now());
            if self.config.closes_to_drain && session.worker.is_draining() {
                self.stats.downstream_cx_drain_close.inc();
                return Poll::Ready(Event::Ended(End::Drain));
            }
        }
        if event.is_ready() {
            return event;
        }
        self.poll_deadline(deadlines, session, cx).map(Event::Ended)
    }

    /// Does what is due, and says if that is the end.
    fn poll_deadline(
        &self,
        deadlines: &mut Deadlines,
        session: &mut Session,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        while session.timer.poll_expired(cx).is_ready() {
            if session.worker.is_stopping() {
                return Poll::Ready(End::Stopped);
            }
            let now = reactor::now();
            if deadlines.is_over(now) {
                self.stats.max_downstream_connection_duration.inc();
                session.info.flags.set(ResponseFlag::DurationTimeout);
                return Poll::Ready(End::Duration);
            }
            if deadlines.is_idle(now) {
                self.stats.idle_timeout.inc();
                return Poll::Ready(End::Idle);
            }
            if deadlines.take_log(now) {
                self.log(AccessLogType::TcpPeriodic, session);
            }
            session.timer.set(deadlines.next());
        }
        Poll::Pending
    }

    /// Does to both sides what follows from the end.
    fn finish(
        &self,
        end: End,
        is_tunnel: bool,
        session: &mut Session,
        client: TransportSocket,
        upstream: ActiveRequest,
    ) {
        match end {
            End::Both { host_last } => upstream.finish().end(host_last),
            End::Client { reset } => {
                // Of a tunnel, the other proxy's connection is not ours to break off.
                if reset && !is_tunnel {
                    upstream.lease().stream.reset();
                }
                upstream.finish().end(false);
            }
            End::Host { reset } => {
                upstream.finish().end(true);
                if reset {
                    // The client must not take what it has got for all there is.
                    session.info.flags.set(ResponseFlag::UpstreamRemoteReset);
                    client.abort();
                }
            }
            End::GivenUp
            | End::Idle
            | End::Duration
            | End::Drain
            | End::Stopped
            | End::Closed
            | End::NoUpstream => upstream.finish().end(false),
        }
    }

    fn log(&self, kind: AccessLogType, session: &mut Session) {
        let info = &mut session.info;
        info.mark(TimePoint::RequestComplete, reactor::now());
        if self.config.access_logs.is_empty() {
            return;
        }
        let context = FormatContext {
            kind,
            ..FormatContext::of_connection(info)
        };
        let runtime = session.worker.runtime.borrow();
        for log in &self.config.access_logs {
            log.log(&context, &runtime);
        }
    }
}

/// Goes on with the client's handshake unless it is over. What is known of the
/// connection then is noted.
fn poll_handshake(
    handshake: Pin<&mut impl Future<Output = Result<Secured, NoHandshake>>>,
    client: &mut Option<TransportSocket>,
    session: &mut Session,
    filters: &NetworkFilters,
    cx: &mut Context<'_>,
) -> Result<(), End> {
    if client.is_some() {
        return Ok(());
    }
    match handshake.poll(cx) {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok((socket, info))) => {
            *client = Some(socket);
            filters.on_secured(session, info);
            Ok(())
        }
        Poll::Ready(Err(error)) => {
            session.note_no_handshake(&error);
            Err(End::Closed)
        }
    }
}

/// Closes a client's connection that has no host's. What it has sent already goes
/// nowhere, which a reset tells it.
fn give_up(end: End, client: Option<TransportSocket>) {
    let Some(client) = client else {
        return;
    };
    if end == End::NoUpstream && client.has_unread() {
        client.abort();
    }
}
