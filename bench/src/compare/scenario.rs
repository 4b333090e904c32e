//! What is measured of a proxy: each kind of load, and the figures that it yields.

use clap::ValueEnum;
use serde::Serialize;

use super::Settings;
use super::configs::Protocol;
use super::peers::{Kind, Peer};

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Small responses as fast as they come
    Closed,
    /// Small responses at a fixed offered rate
    Open,
    /// Bodies of 1 MiB
    Bodies,
    /// Memory of idle connections
    Idle,
    /// TLS 1.3 connections of one request each, no session taken up again
    TlsHandshakes,
    /// The same, each taking a session up again
    TlsResumptions,
    /// What keep-alive connections wait for while others shake hands
    TlsStorm,
    /// Small responses on keep-alive connections over TLS
    Tls,
    /// Bodies of 1 MiB over TLS
    TlsBodies,
    /// Memory of idle connections over TLS
    TlsIdle,
    /// HTTP/2 without TLS: one connection with 100 streams
    H2cOne,
    /// HTTP/2 without TLS: ten connections with 100 streams each
    H2cTen,
    /// HTTP/2 over TLS: one connection with 100 streams
    H2TlsOne,
    /// HTTP/2 over TLS: ten connections with 100 streams each
    H2TlsTen,
    /// Unary gRPC calls: ten connections with ten calls each
    Grpc,
    /// Bodies of 1 MiB through proxies that do not look at what they carry
    TcpBytes,
}

/// A figure of a scenario.
pub struct Metric {
    pub key: &'static str,
    pub heading: &'static str,
    pub decimals: usize,
}

/// The figures of one measurement, in the order of [`Scenario::metrics`].
pub struct Sample {
    pub values: Vec<f64>,
    /// Responses and connections that were not as they should be.
    pub faults: u64,
}

const fn metric(key: &'static str, heading: &'static str, decimals: usize) -> Metric {
    Metric {
        key,
        heading,
        decimals,
    }
}

impl Scenario {
    /// What the table is headed with.
    pub fn title(self, settings: &Settings) -> String {
        let Settings {
            connections,
            rate,
            idle_connections,
            ..
        } = settings;
        match self {
            Scenario::Closed => {
                format!("Closed loop, {connections} keep-alive connections, 100-byte responses")
            }
            Scenario::Open => format!(
                "Open loop, {rate} requests/s offered over {connections} connections, 100-byte responses"
            ),
            Scenario::Bodies => {
                format!("Closed loop, {BODY_CONNECTIONS} connections, 1 MiB responses")
            }
            Scenario::Idle => format!("{idle_connections} idle connections"),
            Scenario::TlsHandshakes => {
                format!("TLS 1.3 handshakes (P-256), {HANDSHAKES_AT_ONCE} at once, a request each")
            }
            Scenario::TlsResumptions => {
                format!(
                    "TLS 1.3 sessions taken up again, {HANDSHAKES_AT_ONCE} at once, a request each"
                )
            }
            Scenario::TlsStorm => format!(
                "TLS, requests at a fixed pace on keep-alive connections, without and with \
                 {HANDSHAKES_AT_ONCE} handshakes at once"
            ),
            Scenario::Tls => {
                format!("TLS, {connections} keep-alive connections, 100-byte responses")
            }
            Scenario::TlsBodies => {
                format!("TLS, {BODY_CONNECTIONS} connections, 1 MiB responses")
            }
            Scenario::TlsIdle => format!("{idle_connections} idle TLS connections"),
            Scenario::H2cOne => "HTTP/2 to HTTP/1, 1 connection × 100 streams".to_owned(),
            Scenario::H2cTen => "HTTP/2 to HTTP/1, 10 connections × 100 streams".to_owned(),
            Scenario::H2TlsOne => {
                "HTTP/2 over TLS to HTTP/1, 1 connection × 100 streams".to_owned()
            }
            Scenario::H2TlsTen => {
                "HTTP/2 over TLS to HTTP/1, 10 connections × 100 streams".to_owned()
            }
            Scenario::Grpc => {
                "gRPC unary, HTTP/2 on both sides, 10 connections × 10 calls".to_owned()
            }
            Scenario::TcpBytes => {
                format!("TCP, {BODY_CONNECTIONS} connections, 1 MiB responses")
            }
        }
    }

    /// What the proxy speaks with clients and origin.
    pub fn protocol(self) -> Protocol {
        match self {
            Scenario::Closed | Scenario::Open | Scenario::Bodies | Scenario::Idle => {
                Protocol::Http1
            }
            Scenario::TlsHandshakes
            | Scenario::TlsResumptions
            | Scenario::TlsStorm
            | Scenario::Tls
            | Scenario::TlsBodies
            | Scenario::TlsIdle
            | Scenario::H2TlsOne
            | Scenario::H2TlsTen => Protocol::Tls,
            Scenario::H2cOne | Scenario::H2cTen => Protocol::H2c,
            Scenario::Grpc => Protocol::Grpc,
            Scenario::TcpBytes => Protocol::Tcp,
        }
    }

    /// The figures; proxies are compared by the last one, of which less is better.
    pub fn metrics(self) -> &'static [Metric] {
        const CLOSED: &[Metric] = &[
            metric("requests_per_second", "requests/s", 0),
            metric("core_share", "core busy", 2),
            metric("user_share", "in user space", 2),
            metric(CPU_PER_REQUEST, "CPU µs/request", 2),
        ];
        const OPEN: &[Metric] = &[
            metric(P50, "p50 µs", 0),
            metric(P99, "p99 µs", 0),
            metric("p999_us", "p99.9 µs", 0),
            metric(CPU_PER_REQUEST, "CPU µs/request", 2),
        ];
        const BODIES: &[Metric] = &[
            metric("gb_per_second", "GB/s", 2),
            metric(CPU_PER_GB, "CPU s/GB", 3),
        ];
        const IDLE: &[Metric] = &[
            metric("start_mib", "RSS at start, MiB", 1),
            metric("idle_mib", "RSS then, MiB", 1),
            metric(BYTES_PER_CONNECTION, "bytes/connection", 0),
        ];
        const REQUESTS: &[Metric] = &[
            metric("requests_per_second", "requests/s", 0),
            metric("core_share", "core busy", 2),
            metric(CPU_PER_REQUEST, "CPU µs/request", 2),
        ];
        const HANDSHAKES: &[Metric] = &[
            metric("handshakes_per_second", "handshakes/s", 0),
            metric("core_share", "core busy", 2),
            metric(CPU_PER_HANDSHAKE, "CPU µs/handshake", 0),
        ];
        const STORM: &[Metric] = &[
            metric("calm_p50_us", "calm p50 µs", 0),
            metric("calm_p99_us", "p99", 0),
            metric("calm_p999_us", "p99.9", 0),
            metric("handshakes_per_second", "handshakes/s", 0),
            metric(P50, "storm p50 µs", 0),
            metric("p999_us", "p99.9", 0),
            metric(P99, "p99", 0),
        ];
        match self {
            Scenario::TlsStorm => STORM,
            Scenario::Closed => CLOSED,
            Scenario::Open => OPEN,
            Scenario::Bodies | Scenario::TlsBodies | Scenario::TcpBytes => BODIES,
            Scenario::Idle | Scenario::TlsIdle => IDLE,
            Scenario::TlsHandshakes | Scenario::TlsResumptions => HANDSHAKES,
            Scenario::Tls
            | Scenario::H2cOne
            | Scenario::H2cTen
            | Scenario::H2TlsOne
            | Scenario::H2TlsTen
            | Scenario::Grpc => REQUESTS,
        }
    }

    /// Whether the scenario says anything about such a proxy.
    pub fn applies_to(self, kind: Kind) -> bool {
        match (self.protocol(), kind) {
            // The floor opens an upstream connection for every idle client, which no proxy does.
            (Protocol::Http1, Kind::Floor) => self != Scenario::Idle,
            // Its package has no such module.
            (Protocol::Tcp, Kind::Peer(Peer::Nginx)) => false,
            (Protocol::Http1, _) | (Protocol::Tcp, Kind::Floor) => true,
            // There is nothing to splice.
            (Protocol::Tls | Protocol::H2c | Protocol::Grpc, Kind::Peer(Peer::HaproxySplice)) => {
                false
            }
            (_, Kind::Ringway | Kind::Peer(_)) => true,
            (_, Kind::Floor | Kind::Minimal(_)) => false,
        }
    }
}

/// Keys that goals refer to.
pub const CPU_PER_REQUEST: &str = "cpu_us_per_request";
pub const CPU_PER_HANDSHAKE: &str = "cpu_us_per_handshake";
pub const CPU_PER_GB: &str = "cpu_s_per_gb";
pub const BYTES_PER_CONNECTION: &str = "bytes_per_connection";
pub const P50: &str = "p50_us";
pub const P99: &str = "p99_us";

/// Connections that are being opened at any time.
pub const HANDSHAKES_AT_ONCE: usize = 8;

/// Enough to keep the proxy busy while each connection waits for its next body.
pub const BODY_CONNECTIONS: usize = 16;
