//! The host of a connection: which one, how it is reached, and how often that is
//! tried.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_codecs::header::HeaderMap;
use ringway_config::discovery::Discovery;
use ringway_config::filter_state::{DISABLE_TUNNELING, Object, TCP_PROXY_CLUSTER};
use ringway_config::metadata::LB_NAMESPACE;
use ringway_config::route::{HashInput, SubsetCriteria};

use super::config::Config;
use super::tunnel::{self, Opened, Refused, Tunnel, TunnelConfig};
use super::{End, Session, propagated};
use crate::filters::http::router::{connect_error_text, join_aggregate};
use crate::http::exchange::write_destination;
use crate::reactor;
use crate::stats::tcp_proxy::TcpProxyStats;
use crate::stream_info::{ResponseFlag, StreamInfo, TimePoint};
use crate::transport_sockets::options::TransportSocketOptions;
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::{self, ActiveRequest, PoolFailure, PoolOf, Speaks};
use crate::upstream::host::Host;
use crate::upstream::load_balancer::LoadBalancerContext;
use crate::upstream::outlier_detection::Outcome;

/// The way of a connection to a host.
pub(super) struct Upstream<'c> {
    /// `None` when there is no such cluster.
    cluster: Option<Rc<Cluster>>,
    /// It goes through another proxy.
    tunnel: Option<&'c TunnelConfig>,
    /// What filters ask of the host's TLS.
    options: TransportSocketOptions,
    subset: Cow<'c, SubsetCriteria>,
    attempts: u32,
    /// How long is waited before the next attempt at most, where one is waited.
    wait_ms: Option<u64>,
}

/// One attempt, which may have to wait for its time first.
pub(super) struct Attempt {
    host: Rc<Host>,
    reaching: Pin<Box<dyn Future<Output = Result<Reached, Unreached>>>>,
}

/// A host that is reached.
pub(super) struct Reached {
    pub active: ActiveRequest,
    /// The way there, if it goes through another proxy.
    pub tunnel: Option<Tunnel>,
    /// What that one has said in its headers, if it is to be told.
    headers: Option<Object>,
}

/// Why a host is not.
pub(super) enum Unreached {
    Pool(PoolFailure),
    /// The other proxy does not want it, and what it has said in its headers.
    Tunnel(Refused, Option<Object>),
}

impl<'c> Upstream<'c> {
    /// Chooses the cluster of a connection: the one that a filter has named, or one
    /// of the configuration's.
    pub(super) fn new(config: &'c Config, session: &mut Session) -> Self {
        let clusters = &session.worker.clusters;
        let random = session.worker.rng.borrow_mut().u64(..);
        let destination = config.destinations.choose(random);
        let info = &mut session.info;
        let state = info.filter_state();
        let is_direct = state.get(DISABLE_TUNNELING) == Some(&Object::Bool(true));
        let tunnel = config.tunnel.as_ref().filter(|_| !is_direct);
        let mut options = TransportSocketOptions::default();
        options.read_said(state);
        let (cluster, of_config) = match state.get(TCP_PROXY_CLUSTER) {
            Some(Object::Cluster(name)) => (clusters.find(name), None),
            _ => (clusters.get(destination.cluster), Some(&destination.subset)),
        };
        let of_config = match of_config {
            Some(subset) => Cow::Borrowed(subset),
            None => Cow::default(),
        };
        let of_connection = info.metadata().get(LB_NAMESPACE);
        let subset = match (&cluster, of_connection) {
            (Some(cluster), Some(said)) if cluster.config.balancing.has_subsets() => {
                Cow::Owned(of_config.with(said))
            }
            _ => of_config,
        };
        info.cluster = cluster.as_ref().map(|cluster| Rc::clone(&cluster.info));
        Self {
            cluster,
            tunnel,
            options,
            subset,
            attempts: 0,
            wait_ms: config.back_off.map(|back_off| back_off.base_ms),
        }
    }

    /// Begins the next attempt.
    pub(super) fn begin(
        &mut self,
        config: &Config,
        stats: &TcpProxyStats,
        session: &mut Session,
    ) -> Result<Attempt, End> {
        let info = &mut session.info;
        let Some(cluster) = &self.cluster else {
            stats.downstream_cx_no_route.inc();
            info.flags.set(ResponseFlag::NoClusterFound);
            return Err(End::NoUpstream);
        };
        info.mark(TimePoint::UpstreamPoolReady, reactor::now());
        // As in Envoy it is asked before a host is, whatever its pool has.
        if cluster.breakers[PRIORITY].connections.is_reached() {
            cluster.stats.upstream_cx_overflow.inc();
            info.flags.set(ResponseFlag::UpstreamOverflow);
            return Err(End::NoUpstream);
        }
        if self.attempts >= config.connect_attempts_max {
            cluster.stats.upstream_cx_connect_attempts_exceeded.inc();
            info.flags.set(ResponseFlag::UpstreamRetryLimitExceeded);
            return Err(End::NoUpstream);
        }
        let Some((cluster, host)) = self.pick(config, cluster, session) else {
            cluster.stats.upstream_cx_none_healthy.inc();
            let flags = &mut session.info.flags;
            flags.set(ResponseFlag::NoHealthyUpstream);
            return Err(End::NoUpstream);
        };
        let speaks = match self.tunnel {
            None => Speaks::Bytes,
            Some(_) => cluster.speaks(None),
        };
        let connection = &session.info.connection;
        let of = PoolOf::requests(&cluster, &host, speaks, connection, &self.options);
        let of = match self.tunnel {
            None => of.closing_excess(),
            Some(_) => of,
        };
        let request = self.tunnel.map(|tunnel| tunnel.request(session));
        self.attempts += 1;
        session.info.attempt_count = self.attempts;
        Ok(Attempt {
            reaching: Box::pin(reach(cluster, Rc::clone(&host), of, request)),
            host,
        })
    }

    /// Notes what became of an attempt: a connection, if it has one.
    pub(super) fn attempted(
        &mut self,
        attempt: Attempt,
        outcome: Result<Reached, Unreached>,
        session: &mut Session,
    ) -> Option<Reached> {
        let Attempt { host, .. } = attempt;
        let info = &mut session.info;
        info.mark(TimePoint::UpstreamPoolReady, reactor::now());
        match outcome {
            Ok(mut reached) => {
                note_headers(reached.headers.take(), info);
                info.host = Some(host.info());
                info.upstream_connection = Some(Rc::clone(&reached.active.lease().info));
                return Some(reached);
            }
            // No host was asked, and so it is not the host's failure.
            Err(Unreached::Pool(PoolFailure::Overflow | PoolFailure::NoPool)) => {}
            Err(Unreached::Pool(failure)) => {
                if let Some(cluster) = &self.cluster {
                    cluster.stats.upstream_rq_pending_failure_eject.inc();
                }
                note_failure(info, &host);
                // Our own failure says nothing of the host, and has no flag.
                if !matches!(failure, PoolFailure::Source(_)) {
                    host.note(Outcome::Failed);
                    info.flags.set(ResponseFlag::UpstreamConnectionFailure);
                }
                tell_why(&failure, info);
            }
            Err(Unreached::Tunnel(refused, headers)) => {
                note_headers(headers, info);
                note_failure(info, &host);
                info.flags.set(ResponseFlag::UpstreamConnectionFailure);
                if let Refused::Status(status) = refused {
                    let reason = &mut info.upstream_transport_failure_reason;
                    reason.compose(format_args!("tunnel_response:{status}"));
                }
            }
        }
        None
    }

    /// How long to wait before the next attempt, which picks its host then.
    pub(super) fn next_wait(&mut self, config: &Config, session: &Session) -> Option<Duration> {
        if self.attempts == 0 || self.attempts >= config.connect_attempts_max {
            return None;
        }
        let bound = self.wait_ms?;
        let max = config.back_off?.max_ms;
        self.wait_ms = Some(bound.saturating_mul(2).min(max));
        let wait = session.worker.rng.borrow_mut().u64(..bound);
        Some(Duration::from_millis(wait))
    }

    /// The host of an attempt, with the cluster that has it.
    fn pick(
        &self,
        config: &Config,
        cluster: &Rc<Cluster>,
        session: &Session,
    ) -> Option<(Rc<Cluster>, Rc<Host>)> {
        let (info, worker) = (&session.info, &session.worker);
        let none = HeaderMap::default();
        let own = cluster.config.balancing.hash_policies.as_deref();
        let policies = own.or(config.hash_policies.as_ref());
        let mut hash = || {
            let input = HashInput {
                headers: &none,
                remote: info.remote().ip(),
                filter_state: info.filter_state(),
            };
            policies?.hash(input, |_| None)
        };
        let mut context = LoadBalancerContext::new(&worker.rng)
            .with_hash(&mut hash)
            .with_subset(self.subset.as_slice());
        let host = match &cluster.config.discovery {
            Discovery::Static | Discovery::Dns(_) | Discovery::Eds(_) => {
                cluster.pick_host(&mut context)?
            }
            Discovery::OriginalDst(config) => {
                let said = config.destination(
                    &none,
                    info.metadata(),
                    info.filter_state(),
                    info.connection.restored_local(),
                );
                cluster.host_at(said.address?)?
            }
            // A connection waits for no cluster.
            Discovery::SubClusters(_) => return None,
            // Nobody waits for a name: it is known, or there is no host.
            Discovery::DynamicForwardProxy(_) => {
                let named = info.connection.requested_server_name.as_deref();
                let named = named.unwrap_or_default().as_bytes();
                let mut name = Vec::new();
                let port = cluster.config.default_port();
                write_destination(named, info.filter_state(), port, &mut name);
                cluster.host_named(&String::from_utf8_lossy(&name))?
            }
            Discovery::Aggregate(_) => {
                let joined = join_aggregate(worker, cluster)?;
                let number = worker.rng.borrow_mut().u64(..);
                let (cluster, loads) = joined.choose(None, number)?;
                let host = cluster.pick_host(&mut context.with_loads(Some(loads)))?;
                return Some((Rc::clone(cluster), host));
            }
        };
        Some((Rc::clone(cluster), host))
    }
}

impl Attempt {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reached, Unreached>> {
        self.reaching.as_mut().poll(cx)
    }
}

/// Notes what another proxy has said in its headers.
fn note_headers(headers: Option<Object>, info: &mut StreamInfo) {
    if let Some(headers) = headers {
        info.filter_state_mut().set(propagated::HEADERS, headers);
    }
}

/// Notes a host that was not reached.
fn note_failure(info: &mut StreamInfo, host: &Host) {
    info.host = Some(host.info());
    info.upstream_transport_failure_reason.clear();
}

/// Notes why there is no connection to the host of a failure.
fn tell_why(failure: &PoolFailure, info: &mut StreamInfo) {
    let address = info.host.as_ref().map(|host| &*host.address_text);
    let reason = &mut info.upstream_transport_failure_reason;
    match failure {
        PoolFailure::Connect(error) => reason.copy(&connect_error_text(error, address)),
        PoolFailure::Source(why) | PoolFailure::Handshake(why) => reason.copy(why),
        PoolFailure::ConnectTimeout | PoolFailure::Overflow | PoolFailure::NoPool => {}
    }
}

/// A connection to a host, and what `request` asks for on it.
async fn reach(
    cluster: Rc<Cluster>,
    host: Rc<Host>,
    of: PoolOf,
    request: Option<tunnel::Request>,
) -> Result<Reached, Unreached> {
    let lease = conn_pool::acquire(&cluster, &host, PRIORITY, &of).await;
    let active = ActiveRequest::new(lease.map_err(Unreached::Pool)?);
    host.note(Outcome::Connected);
    let Some(request) = request else {
        return Ok(Reached {
            active,
            tunnel: None,
            headers: None,
        });
    };
    let Opened { tunnel, headers } = Tunnel::open(active.lease(), &request).await;
    match tunnel {
        Ok(tunnel) => Ok(Reached {
            active,
            tunnel: Some(tunnel),
            headers,
        }),
        Err(refused) => {
            if let Refused::Protocol = refused {
                cluster.stats.upstream_cx_protocol_error.inc();
            }
            active.finish().end(false);
            Err(Unreached::Tunnel(refused, headers))
        }
    }
}

/// The routing priority of connections that carry no requests.
const PRIORITY: usize = 0;
