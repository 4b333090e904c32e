//! Active health checks (`envoy.config.core.v3.HealthCheck`): what hosts are
//! asked, how often, and what answers mean. Compiled types on top, lowering
//! below; `http.rs` is the part that is about HTTP, `grpc.rs` about gRPC.

mod grpc;
mod http;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::health_check::{
    CustomHealthCheck, HealthChecker, Payload, custom_health_check, payload,
};
use envoy_types::pb::envoy::extensions::filters::network::thrift_proxy::v3::{
    ProtocolType, TransportType,
};
use envoy_types::pb::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;
use envoy_types::pb::envoy::extensions::health_checkers::redis::v3::Redis;
use envoy_types::pb::envoy::extensions::health_checkers::thrift::v3::Thrift;
use envoy_types::pb::google::protobuf::UInt32Value;
use prost::Name as _;
use ringway_codecs::thrift;

use crate::cluster::HttpVersion;
use crate::context::{Cx, type_name, unpack};
use crate::core;
use crate::metadata::Struct;
use crate::proxy_protocol::{self, ProxyProtocol};
use crate::runtime::RuntimeKey;
use crate::tls;

pub use grpc::GrpcCheck;
pub use http::{HttpCheck, Protocol, StatusRange};

/// The health check of a cluster.
#[derive(Debug)]
pub struct HealthCheck {
    /// An answer that takes longer is a failure.
    pub timeout: Duration,
    /// Failures in a row that make a host unhealthy.
    pub unhealthy_threshold: u32,
    /// Successes in a row that make it healthy again.
    pub healthy_threshold: u32,
    /// Whether a connection serves more than one check.
    pub reuse_connection: bool,
    /// The time from a check to the next one.
    pub intervals: Intervals,
    /// Every failure is logged, not only one that changes something.
    pub always_log_failures: bool,
    /// Every success is logged.
    pub always_log_success: bool,
    /// Where events are logged.
    pub event_logs: Vec<EventLog>,
    /// The protocols that hosts are offered instead of those of the cluster's TLS
    /// context, if any are named.
    pub alpn: Vec<Box<[u8]>>,
    /// Labels that say which of the cluster's transport sockets checks have, whatever
    /// those of the host say.
    pub socket_labels: Option<Struct>,
    /// What is asked.
    pub checker: Checker,
}

/// A file that events are logged to.
#[derive(Clone, Debug)]
pub struct EventLog {
    /// Where it is.
    pub path: PathBuf,
    /// The path of the field that names it, for the engine's diagnostics.
    pub field: String,
}

/// Times between checks, by what the last one has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intervals {
    /// A host that is healthy.
    pub healthy: Duration,
    /// A host that is on the way to it.
    pub healthy_edge: Duration,
    /// A host that is unhealthy.
    pub unhealthy: Duration,
    /// A host that is on the way to it.
    pub unhealthy_edge: Duration,
    /// Any host, as long as its cluster has had no connection.
    pub no_traffic: Duration,
    /// A healthy host, as long as its cluster has had no connection.
    pub no_traffic_healthy: Duration,
    /// The first check comes after a random part of this.
    pub initial_jitter: Duration,
    /// A random part of this comes on top.
    pub jitter: Duration,
    /// And a random part of this many percent of the interval.
    pub jitter_percent: u32,
    /// `health_check.min_interval`, milliseconds.
    pub min_key: RuntimeKey,
    /// `health_check.max_interval`, milliseconds.
    pub max_key: RuntimeKey,
}

/// What hosts are asked.
#[derive(Debug)]
pub enum Checker {
    /// An HTTP/1 request.
    Http(Box<HttpCheck>),
    /// A call over HTTP/2.
    Grpc(Box<GrpcCheck>),
    /// A connection, and perhaps some bytes.
    Tcp(TcpCheck),
    /// `PING`, or `EXISTS` with this key.
    Redis(Box<[u8]>),
    /// A call without arguments.
    Thrift(ThriftCheck),
}

/// `envoy.extensions.health_checkers.thrift.v3.Thrift`.
#[derive(Clone, Debug)]
pub struct ThriftCheck {
    /// What is called.
    pub method: Box<[u8]>,
    /// How messages are told apart.
    pub transport: thrift::Transport,
    /// How values are written.
    pub protocol: thrift::Protocol,
}

/// `core.v3.HealthCheck.TcpHealthCheck`.
#[derive(Clone, Debug)]
pub struct TcpCheck {
    /// A header that goes before what is sent, at each check.
    pub header: Option<Box<ProxyProtocol>>,
    /// Sent when the connection is open.
    pub send: Box<[u8]>,
    /// What has to come, in this order, with anything in between. When nothing
    /// has to, an open connection is enough.
    pub receive: Vec<Box<[u8]>>,
}

/// Lowers the field `health_checks` of a cluster, at which `cx` is.
/// `version` is what the cluster speaks with its hosts.
pub(crate) fn lower(
    protos: &[pb::HealthCheck],
    version: HttpVersion,
    cx: &mut Cx<'_>,
) -> Option<Arc<HealthCheck>> {
    if protos.len() > 1 {
        cx.index("health_checks", 1, |cx| {
            cx.error("a cluster may have one health check, in Envoy too");
        });
    }
    let proto = protos.first()?;
    cx.index("health_checks", 0, |cx| {
        lower_one(proto, version, cx).map(Arc::new)
    })
}

#[expect(deprecated, reason = "Envoy still accepts event_log_path")]
fn lower_one(
    proto: &pb::HealthCheck,
    version: HttpVersion,
    cx: &mut Cx<'_>,
) -> Option<HealthCheck> {
    let checker = match &proto.health_checker {
        Some(HealthChecker::HttpHealthCheck(http)) => cx
            .field("http_health_check", |cx| http::lower(http, cx))
            .map(|check| Checker::Http(Box::new(check))),
        Some(HealthChecker::TcpHealthCheck(tcp)) => cx.field("tcp_health_check", |cx| {
            Some(Checker::Tcp(TcpCheck {
                header: tcp.proxy_protocol_config.as_ref().map(|config| {
                    cx.field("proxy_protocol_config", |cx| {
                        Box::new(proxy_protocol::header(config, cx))
                    })
                }),
                send: match &tcp.send {
                    Some(send) => cx.field("send", |cx| payload(send, cx))?,
                    None => Box::default(),
                },
                receive: payloads("receive", &tcp.receive, cx)?,
            }))
        }),
        Some(HealthChecker::GrpcHealthCheck(grpc)) => cx.field("grpc_health_check", |cx| {
            if !version.has_http2() {
                cx.error("gRPC needs HTTP/2, which hosts of this cluster are not spoken to with");
            }
            grpc::lower(grpc, cx).map(|check| Checker::Grpc(Box::new(check)))
        }),
        Some(HealthChecker::CustomHealthCheck(custom)) => {
            cx.field("custom_health_check", |cx| lower_custom(custom, cx))
        }
        None => {
            cx.error("what hosts are asked is needed here: http_health_check or another");
            None
        }
    };
    let mut event_logs = Vec::new();
    if !proto.event_log_path.is_empty() {
        cx.field("event_log_path", |cx| {
            event_logs.push(event_log(&proto.event_log_path, cx));
        });
    }
    for (i, sink) in proto.event_logger.iter().enumerate() {
        let sink = cx.index("event_logger", i, |cx| {
            cx.field("typed_config", |cx| {
                let sink: HealthCheckEventFileSink = unpack(sink.typed_config.as_ref()?, cx)?;
                cx.field("event_log_path", |cx| {
                    Some(event_log(&sink.event_log_path, cx))
                })
            })
        });
        event_logs.extend(sink);
    }
    Some(HealthCheck {
        timeout: core::duration(proto.timeout, "timeout", cx)?,
        unhealthy_threshold: threshold(proto.unhealthy_threshold, "unhealthy_threshold", cx)?,
        healthy_threshold: threshold(proto.healthy_threshold, "healthy_threshold", cx)?,
        reuse_connection: core::bool_or(proto.reuse_connection, true),
        intervals: intervals(proto, cx)?,
        always_log_failures: proto.always_log_health_check_failures,
        always_log_success: proto.always_log_health_check_success,
        event_logs,
        socket_labels: (proto.transport_socket_match_criteria.as_ref()).map(Struct::from_proto),
        alpn: match &proto.tls_options {
            Some(options) => cx.field("tls_options", |cx| {
                tls::protocols(&options.alpn_protocols, cx)
            })?,
            None => Vec::new(),
        },
        checker: checker?,
    })
}

fn lower_custom(proto: &CustomHealthCheck, cx: &mut Cx<'_>) -> Option<Checker> {
    let Some(custom_health_check::ConfigType::TypedConfig(any)) = &proto.config_type else {
        cx.error("a typed_config is needed here: its type selects the checker");
        return None;
    };
    cx.field("typed_config", |cx| {
        if type_name(&any.type_url) == Thrift::full_name() {
            let thrift: Thrift = unpack(any, cx)?;
            return lower_thrift(&thrift, cx).map(Checker::Thrift);
        }
        let redis: Redis = unpack(any, cx)?;
        Some(Checker::Redis(redis.key.as_bytes().into()))
    })
}

fn lower_thrift(proto: &Thrift, cx: &mut Cx<'_>) -> Option<ThriftCheck> {
    let transport = match proto.transport() {
        TransportType::Framed => thrift::Transport::Framed,
        TransportType::Unframed => thrift::Transport::Unframed,
        TransportType::Header => thrift::Transport::Header,
        TransportType::AutoTransport => {
            cx.error_at("transport", "FRAMED, UNFRAMED or HEADER is needed here");
            return None;
        }
    };
    #[expect(deprecated, reason = "it has to be refused")]
    let protocol = match proto.protocol() {
        ProtocolType::Binary => thrift::Protocol::Binary,
        ProtocolType::LaxBinary => thrift::Protocol::LaxBinary,
        ProtocolType::Compact => thrift::Protocol::Compact,
        ProtocolType::AutoProtocol | ProtocolType::Twitter => {
            cx.error_at("protocol", "BINARY, LAX_BINARY or COMPACT is needed here");
            return None;
        }
    };
    if transport == thrift::Transport::Header && protocol == thrift::Protocol::LaxBinary {
        cx.error_at(
            "protocol",
            "the HEADER transport has no number for LAX_BINARY",
        );
        return None;
    }
    Some(ThriftCheck {
        method: proto.method_name.as_bytes().into(),
        transport,
        protocol,
    })
}

fn event_log(path: &str, cx: &Cx<'_>) -> EventLog {
    EventLog {
        path: path.into(),
        field: cx.path().to_owned(),
    }
}

/// Envoy counts up to the threshold and acts when it is met: with 0 it never
/// does.
fn threshold(proto: Option<UInt32Value>, name: &str, cx: &mut Cx<'_>) -> Option<u32> {
    let threshold = proto.map(|value| value.value);
    if threshold == Some(0) {
        cx.warn_at(
            name,
            "no number of checks ever is 0: this changes no host's health",
        );
    }
    threshold
}

fn intervals(proto: &pb::HealthCheck, cx: &mut Cx<'_>) -> Option<Intervals> {
    let healthy = core::duration(proto.interval, "interval", cx)?;
    let mut or =
        |given, name: &str, default: Duration| core::duration(given, name, cx).unwrap_or(default);
    let unhealthy = or(proto.unhealthy_interval, "unhealthy_interval", healthy);
    let no_traffic = or(proto.no_traffic_interval, "no_traffic_interval", NO_TRAFFIC);
    let none = Duration::ZERO;
    Some(Intervals {
        healthy,
        healthy_edge: or(
            proto.healthy_edge_interval,
            "healthy_edge_interval",
            healthy,
        ),
        unhealthy,
        unhealthy_edge: or(
            proto.unhealthy_edge_interval,
            "unhealthy_edge_interval",
            unhealthy,
        ),
        no_traffic,
        no_traffic_healthy: or(
            proto.no_traffic_healthy_interval,
            "no_traffic_healthy_interval",
            no_traffic,
        ),
        initial_jitter: or(proto.initial_jitter, "initial_jitter", none),
        jitter: or(proto.interval_jitter, "interval_jitter", none),
        jitter_percent: proto.interval_jitter_percent,
        min_key: cx.runtime_keys.id("health_check.min_interval"),
        max_key: cx.runtime_keys.id("health_check.max_interval"),
    })
}

const NO_TRAFFIC: Duration = Duration::from_secs(60);

/// The payloads of the list `name`.
fn payloads(name: &str, protos: &[Payload], cx: &mut Cx<'_>) -> Option<Vec<Box<[u8]>>> {
    let all: Vec<_> = protos
        .iter()
        .enumerate()
        .map(|(i, proto)| cx.index(name, i, |cx| payload(proto, cx)))
        .collect();
    all.into_iter().collect()
}

/// Bytes, or a text of hexadecimal digits.
fn payload(proto: &Payload, cx: &mut Cx<'_>) -> Option<Box<[u8]>> {
    let bytes = match &proto.payload {
        Some(payload::Payload::Text(text)) => hexadecimal(text),
        Some(payload::Payload::Binary(bytes)) => Some(bytes.clone()),
        None => None,
    };
    let bytes = bytes.filter(|bytes| !bytes.is_empty());
    if bytes.is_none() {
        cx.error_at("text", "pairs of hexadecimal digits are needed here");
    }
    bytes.map(Into::into)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let bytes = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8);
    Some(bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::hexadecimal;

    #[test]
    fn hexadecimal_texts() {
        for (text, bytes) in [
            ("00ff", Some(vec![0, 255])),
            ("aBCd", Some(vec![0xab, 0xcd])),
            ("", Some(vec![])),
            ("0", None),
            ("0g", None),
            ("+1", None),
            ("é", None),
        ] {
            assert_eq!(hexadecimal(text), bytes, "{text}");
        }
    }
}
