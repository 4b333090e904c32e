//! What the connection manager does to every request and response, in Envoy's
//! order.
//!
//! [`prepare_request`] is the whole way of a request head from the codec to
//! route matching: the checks that refuse it, path and host normalisation, and
//! [`mutate_request_headers`], which settles who the client is and what it may
//! say. [`mutate_response_headers`] is the way back.

use super::connection_header::{self, BadConnection};
use super::forward_client_cert::ForwardClientCert;
use super::forwarded_for::{self, write_address};
use super::host_utility::{StripPort, normalize_host};
use super::internal_address::InternalAddresses;
use super::path_utility::{self, BadPath, PathOutcome, PathRules};
use super::{append_to_list, header_utility, referer, request_id};
use crate::formatter::grpc::is_grpc;
use crate::stream_info::TlsInfo;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::StringMatcher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The parts of `HttpConnectionManager` that decide how headers change.
/// `Default` gives Envoy's defaults.
#[derive(Debug, Clone)]
pub struct Edge {
    /// `use_remote_address`: the peer is the client, so this proxy is the edge.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`: proxies before this one whose addresses in
    /// `X-Forwarded-For` are believed.
    pub xff_num_trusted_hops: u32,
    /// `skip_xff_append`.
    pub skip_xff_append: bool,
    /// `append_x_forwarded_port`.
    pub append_x_forwarded_port: bool,
    /// `internal_address_config`.
    pub internal_addresses: InternalAddresses,
    /// `ignore_http_11_upgrade`.
    pub ignored_upgrades: Arc<[StringMatcher]>,
    /// `scheme_header_transformation.scheme_to_overwrite`.
    pub scheme_to_overwrite: Option<Scheme>,
    /// `generate_request_id`.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`.
    pub preserve_external_request_id: bool,
    /// `pack_trace_reason`: ids tell whether the request is traced.
    pub pack_trace_reason: bool,
    /// `always_set_request_id_in_response`.
    pub always_set_request_id_in_response: bool,
    /// `via`; empty for none.
    pub via: Box<[u8]>,
    /// `add_user_agent`: the service cluster's name, which is empty when the
    /// node has none.
    pub user_agent: Option<Box<[u8]>>,
    /// The node's id, sent upstream with `add_user_agent`; empty for none.
    pub node_id: Box<[u8]>,
    /// What stands in `X-Forwarded-For` for a peer at 127.0.0.1 or ::1:
    /// Envoy takes the machine's first address that is not a loopback one.
    /// `None` leaves the peer's.
    pub local_address: Option<IpAddr>,
    /// `forward_client_cert_details`.
    pub client_cert: ForwardClientCert,
    /// Path rules.
    pub path: PathRules,
    /// `strip_trailing_host_dot`.
    pub strip_trailing_host_dot: bool,
    /// `strip_matching_host_port` and `strip_any_host_port`.
    pub strip_port: StripPort,
    /// `server_header_transformation`.
    pub server_header: ServerHeader,
    /// `server_name`.
    pub server_name: Box<[u8]>,
}

impl Default for Edge {
    fn default() -> Self {
        Edge {
            use_remote_address: false,
            xff_num_trusted_hops: 0,
            skip_xff_append: false,
            append_x_forwarded_port: false,
            internal_addresses: InternalAddresses::default(),
            ignored_upgrades: Arc::default(),
            scheme_to_overwrite: None,
            generate_request_id: true,
            preserve_external_request_id: false,
            pack_trace_reason: true,
            always_set_request_id_in_response: false,
            via: Box::default(),
            user_agent: None,
            node_id: Box::default(),
            local_address: None,
            client_cert: ForwardClientCert::default(),
            path: PathRules::default(),
            strip_trailing_host_dot: false,
            strip_port: StripPort::Never,
            server_header: ServerHeader::Overwrite,
            server_name: (*b"envoy").into(),
        }
    }
}

/// A scheme that this proxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// The lower-case name.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Scheme::Http => b"http",
            Scheme::Https => b"https",
        }
    }

    /// The scheme with this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            name if name.eq_ignore_ascii_case(b"http") => Some(Scheme::Http),
            name if name.eq_ignore_ascii_case(b"https") => Some(Scheme::Https),
            _ => None,
        }
    }
}

/// `server_header_transformation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// `Server` is ours.
    #[default]
    Overwrite,
    /// `Server` is ours unless the upstream sent one.
    AppendIfAbsent,
    /// `Server` is the upstream's, if it sent one.
    PassThrough,
}

/// The downstream connection, as far as headers depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The peer's address; `None` over a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The address that it connected to; `None` over a Unix socket.
    pub local: Option<SocketAddr>,
    /// What its handshake agreed on; `None` in plaintext.
    pub tls: Option<&'a TlsInfo>,
}

/// What the headers said about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// Who the client is, after `X-Forwarded-For`. The port is 0 when the
    /// address comes from the header. `None` for a Unix socket.
    pub remote: Option<SocketAddr>,
    /// Whether the client is inside the trusted network.
    pub internal: bool,
    /// Whether an upgrade is wanted. `Connection` and `Upgrade` are still
    /// there then.
    pub upgrade: bool,
    /// The port that was taken off the authority.
    pub stripped_port: Option<u32>,
}

/// A request that is answered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// The status.
    pub status: u16,
    /// The response code details.
    pub details: &'static str,
    /// How to answer.
    pub kind: RejectKind,
}

/// How a refused request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectKind {
    /// As for a message that the codec refuses: the status text as the body,
    /// flag DPE, and the connection closes.
    ProtocolError,
    /// Without a body; the connection closes.
    Close,
    /// Without a body; the connection stays.
    Reply,
    /// With `Location: ` the request's `:path`; the connection stays.
    RedirectToPath,
}

/// Takes a request head from the codec to route matching.
///
/// `internal_only` are lower-case names that external requests may not carry
/// (`RouteConfiguration.internal_only_headers`).
pub fn prepare_request(
    headers: &mut HeaderMap,
    edge: &Edge,
    peer: &Peer<'_>,
    internal_only: &[Box<[u8]>],
    rng: &mut fastrand::Rng,
) -> Result<Prepared, Reject> {
    connection_header::ignore_h2c_upgrade(headers);
    if !edge.ignored_upgrades.is_empty() {
        connection_header::ignore_upgrades(headers, &edge.ignored_upgrades);
    }
    connection_header::remove_nominated(headers).map_err(refused_connection)?;
    check_authority(headers)?;
    check_path_form(headers)?;
    let stripped_port = normalize(headers, edge, peer)?;
    let prepared = mutate_request_headers(headers, edge, peer, internal_only, rng);
    Ok(Prepared {
        stripped_port,
        ..prepared
    })
}

/// The same for a request that a redirect or a page has made of another one,
/// which has taken that way already: only where it goes is new.
pub fn prepare_redirected(
    headers: &mut HeaderMap,
    edge: &Edge,
    peer: &Peer<'_>,
) -> Result<(), Reject> {
    normalize(headers, edge, peer)?;
    set_scheme(headers, edge, peer);
    Ok(())
}

/// Brings path and authority into the form that is routed. Gives the port that
/// was taken off.
fn normalize(headers: &mut HeaderMap, edge: &Edge, peer: &Peer<'_>) -> Result<Option<u32>, Reject> {
    match path_utility::apply(headers, edge.path) {
        Ok(PathOutcome::Forward) => {}
        // gRPC clients do not follow redirects.
        Ok(PathOutcome::Redirect) if !is_grpc(headers) => {
            return Err(Reject {
                status: 307,
                details: "path_normalization_failed",
                kind: RejectKind::RedirectToPath,
            });
        }
        Ok(PathOutcome::Redirect) | Err(BadPath) => {
            return Err(Reject {
                status: 400,
                details: "path_normalization_failed",
                kind: RejectKind::Close,
            });
        }
    }
    Ok(normalize_host(
        headers,
        edge.strip_trailing_host_dot,
        edge.strip_port,
        peer.local.map(|local| local.port()),
    ))
}

fn refused_connection(bad: BadConnection) -> Reject {
    match bad {
        BadConnection::Rejected => Reject {
            status: 400,
            details: "http1.connection_header_rejected",
            kind: RejectKind::ProtocolError,
        },
        BadConnection::HostNominated => MISSING_HOST,
    }
}

const MISSING_HOST: Reject = Reject {
    status: 400,
    details: "missing_host_header",
    kind: RejectKind::Close,
};

fn check_authority(headers: &HeaderMap) -> Result<(), Reject> {
    match headers.get(HeaderId::Authority) {
        None => Err(MISSING_HOST),
        Some(authority) if !header_utility::is_valid_authority(authority) => Err(Reject {
            status: 400,
            details: "http.invalid_authority",
            kind: RejectKind::ProtocolError,
        }),
        Some(_) => Ok(()),
    }
}

/// Only paths are routed: not `*`, not whole URLs.
fn check_path_form(headers: &HeaderMap) -> Result<(), Reject> {
    match headers.get(HeaderId::Path) {
        Some([first, ..]) if *first != b'/' => Err(Reject {
            status: 404,
            details: "absolute_path_rejected",
            kind: RejectKind::Reply,
        }),
        _ => Ok(()),
    }
}

/// Settles who the client is, removes what it may not say, and adds what the
/// upstream is to know.
pub fn mutate_request_headers(
    headers: &mut HeaderMap,
    edge: &Edge,
    peer: &Peer<'_>,
    internal_only: &[Box<[u8]>],
    rng: &mut fastrand::Rng,
) -> Prepared {
    let upgrade = connection_header::is_upgrade(headers);
    connection_header::remove_request_hop_by_hop(headers, upgrade);
    headers.remove(HeaderId::XEnvoyInternal);
    if let Some(value) = headers.get(HeaderId::Referer)
        && !referer::is_valid(value)
    {
        headers.remove(HeaderId::Referer);
    }

    let client = find_client(headers, edge, peer);
    if edge.use_remote_address {
        append_peer(headers, edge, peer);
    }
    if edge.append_x_forwarded_port {
        set_port(headers, edge, peer);
    }
    set_scheme(headers, edge, peer);

    let edge_request = !client.internal && edge.use_remote_address;
    if client.internal {
        headers.set(HeaderId::XEnvoyInternal, b"true");
    } else {
        remove_internal_headers(headers, edge_request, internal_only);
    }
    add_user_agent(headers, edge);
    append_via(headers, &edge.via);
    if edge_request && let Some(address) = client.remote {
        headers.set_with(HeaderId::XEnvoyExternalAddress, |out| {
            write_address(out, address.ip());
        });
    }
    if edge.generate_request_id {
        let replace = edge_request && !edge.preserve_external_request_id;
        let is_absent = || {
            let id = headers.get(HeaderId::XRequestId);
            id.is_none_or(<[u8]>::is_empty)
        };
        if replace || is_absent() {
            request_id::set_new(headers, rng);
        } else if edge_request && edge.pack_trace_reason {
            request_id::forget_trace_reason(headers);
        }
    }
    edge.client_cert.apply(headers, peer.tls);
    Prepared {
        remote: client.remote,
        internal: client.internal,
        upgrade,
        stripped_port: None,
    }
}

struct Client {
    remote: Option<SocketAddr>,
    internal: bool,
}

/// Who the client is, from the header as it came.
fn find_client(headers: &HeaderMap, edge: &Edge, peer: &Peer<'_>) -> Client {
    let hops = edge.xff_num_trusted_hops;
    let (believed, may_be_internal) = if edge.use_remote_address {
        let believed = hops
            .checked_sub(1)
            .and_then(|skip| forwarded_for::believed_address(headers, skip));
        (believed, !headers.contains(HeaderId::XForwardedFor))
    } else {
        let believed = forwarded_for::believed_address(headers, hops);
        (
            believed,
            believed.is_some_and(|found| found.alone && hops == 0),
        )
    };
    let remote = match believed {
        Some(found) => Some(SocketAddr::new(found.address, 0)),
        None => peer.remote,
    };
    let is_inside = match remote {
        Some(address) => edge.internal_addresses.contains(address.ip()),
        None => edge.internal_addresses.unix_sockets,
    };
    Client {
        remote,
        internal: may_be_internal && is_inside,
    }
}

/// Adds what this hop knows about its peer.
fn append_peer(headers: &mut HeaderMap, edge: &Edge, peer: &Peer<'_>) {
    if !edge.skip_xff_append
        && let Some(remote) = peer.remote
    {
        forwarded_for::append(headers, shown_address(remote.ip(), edge.local_address));
    }
    let trusted = edge.xff_num_trusted_hops > 0;
    if !trusted || !headers.contains(HeaderId::XForwardedProto) {
        headers.set(HeaderId::XForwardedProto, transport_scheme(peer).as_bytes());
    }
}

/// The port that the client connected to, unless a trusted proxy has said it.
fn set_port(headers: &mut HeaderMap, edge: &Edge, peer: &Peer<'_>) {
    let is_trusted = !edge.use_remote_address || edge.xff_num_trusted_hops > 0;
    if is_trusted && headers.contains(HeaderId::XForwardedPort) {
        return;
    }
    if let Some(local) = peer.local {
        headers.set_decimal(HeaderId::XForwardedPort, local.port());
    }
}

/// Envoy shows its own address for a peer that is the loopback address itself,
/// but not for others of the loopback network.
fn shown_address(remote: IpAddr, local: Option<IpAddr>) -> IpAddr {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let is_loopback = remote == IpAddr::V4(Ipv4Addr::LOCALHOST)
        || remote == IpAddr::V6(Ipv6Addr::LOCALHOST)
        || remote == IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    match local {
        Some(local) if is_loopback => local,
        _ => remote,
    }
}

fn transport_scheme(peer: &Peer<'_>) -> Scheme {
    match peer.tls.is_some() {
        true => Scheme::Https,
        false => Scheme::Http,
    }
}

/// `x-forwarded-proto` and `:scheme`, which routes and redirects use.
fn set_scheme(headers: &mut HeaderMap, edge: &Edge, peer: &Peer<'_>) {
    if let Some(scheme) = edge.scheme_to_overwrite {
        headers.set(HeaderId::XForwardedProto, scheme.as_bytes());
        headers.set(HeaderId::Scheme, scheme.as_bytes());
        return;
    }
    let transport = transport_scheme(peer);
    if !headers.contains(HeaderId::XForwardedProto) {
        headers.set(HeaderId::XForwardedProto, transport.as_bytes());
    }
    let sent = headers
        .get(HeaderId::Scheme)
        .or_else(|| headers.get(HeaderId::XForwardedProto));
    let scheme = sent.and_then(Scheme::from_name).unwrap_or(transport);
    if headers.get(HeaderId::Scheme) != Some(scheme.as_bytes()) {
        headers.set(HeaderId::Scheme, scheme.as_bytes());
    }
}

/// Removes what only the trusted network may say.
fn remove_internal_headers(
    headers: &mut HeaderMap,
    edge_request: bool,
    internal_only: &[Box<[u8]>],
) {
    if edge_request {
        for id in EDGE_ONLY_REMOVED {
            headers.remove(id);
        }
    }
    for id in EXTERNAL_REMOVED {
        headers.remove(id);
    }
    for name in internal_only {
        headers.remove_name(name);
    }
}

/// Removed where this proxy is the edge: otherwise a proxy before this one may
/// have set them.
const EDGE_ONLY_REMOVED: [HeaderId; 5] = [
    HeaderId::XEnvoyDecoratorOperation,
    HeaderId::XEnvoyDownstreamServiceCluster,
    HeaderId::XEnvoyDownstreamServiceNode,
    HeaderId::XEnvoyOriginalPath,
    HeaderId::XEnvoyOriginalHost,
];

/// Removed from every external request: they steer the router.
const EXTERNAL_REMOVED: [HeaderId; 15] = [
    HeaderId::XEnvoyRetriableStatusCodes,
    HeaderId::XEnvoyRetriableHeaderNames,
    HeaderId::XEnvoyRetryOn,
    HeaderId::XEnvoyRetryGrpcOn,
    HeaderId::XEnvoyMaxRetries,
    HeaderId::XEnvoyUpstreamAltStatName,
    HeaderId::XEnvoyUpstreamRqTimeoutMs,
    HeaderId::XEnvoyUpstreamRqPerTryTimeoutMs,
    HeaderId::XEnvoyUpstreamRqTimeoutAltResponse,
    HeaderId::XEnvoyUpstreamStreamDurationMs,
    HeaderId::XEnvoyExpectedRqTimeoutMs,
    HeaderId::XEnvoyHedgeOnPerTryTimeout,
    HeaderId::XEnvoyForceTrace,
    HeaderId::XEnvoyIpTags,
    HeaderId::XEnvoyOriginalUrl,
];

fn add_user_agent(headers: &mut HeaderMap, edge: &Edge) {
    let Some(cluster) = &edge.user_agent else {
        return;
    };
    headers.set(HeaderId::XEnvoyDownstreamServiceCluster, cluster);
    if headers
        .get(HeaderId::UserAgent)
        .is_none_or(<[u8]>::is_empty)
    {
        headers.set(HeaderId::UserAgent, cluster);
    }
    if !edge.node_id.is_empty() {
        headers.set(HeaderId::XEnvoyDownstreamServiceNode, &edge.node_id);
    }
}

fn append_via(headers: &mut HeaderMap, via: &[u8]) {
    if !via.is_empty() {
        append_to_list(headers, HeaderId::Via, b", ", |out| {
            out.extend_from_slice(via);
        });
    }
}

/// Prepares an interim response for the client: what is added to responses is
/// added to the one that follows.
pub fn mutate_interim_headers(headers: &mut HeaderMap, request: &HeaderMap, edge: &Edge) {
    connection_header::remove_response_hop_by_hop(headers, false);
    headers.remove(HeaderId::ContentLength);
    tell_request_id(headers, request, edge);
}

/// Prepares a response for the client: hop-by-hop headers go, `Server`,
/// `X-Request-Id` and `Via` come. Local replies take the same way. `Date` is
/// [`DateCache::set`](super::date::DateCache::set)'s.
///
/// `request` is the request as [`prepare_request`] left it.
pub fn mutate_response_headers(headers: &mut HeaderMap, request: &HeaderMap, edge: &Edge) {
    let overwrite = match edge.server_header {
        ServerHeader::Overwrite => true,
        ServerHeader::AppendIfAbsent => !headers.contains(HeaderId::Server),
        ServerHeader::PassThrough => false,
    };
    if overwrite {
        headers.set(HeaderId::Server, &edge.server_name);
    }
    let upgraded = headers.get(HeaderId::Status) == Some(b"101")
        && connection_header::is_upgrade(request)
        && connection_header::is_upgrade(headers);
    connection_header::remove_response_hop_by_hop(headers, upgraded);
    tell_request_id(headers, request, edge);
    append_via(headers, &edge.via);
}

fn tell_request_id(headers: &mut HeaderMap, request: &HeaderMap, edge: &Edge) {
    if edge.always_set_request_id_in_response || request.contains(HeaderId::XEnvoyForceTrace) {
        request_id::copy_to_response(request, headers);
    }
}

#[cfg(test)]
mod tests;
