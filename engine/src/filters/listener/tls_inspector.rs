//! `envoy.filters.listener.tls_inspector`: whether a client begins with TLS,
//! and which server and protocols it asks for.

use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector as TlsInspectorPb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::client_hello::{CLIENT_HELLO_BYTES_MAX, ClientHelloReader, Progress};
use ringway_config::context::Cx;
use ringway_config::core;
use ringway_config::unpack;

use super::fingerprint::{hashed_ja3, hashed_ja4};
use super::{Inspected, Peeked, Refused};
use crate::reactor::Stream;
use crate::stats::Store;
use crate::stats_struct;
use crate::stream_info::Fingerprints;

stats_struct! {
    /// All connections that inspectors of the process have seen, under
    /// `tls_inspector.`.
    pub struct TlsInspectorStats {
        counters: [
            alpn_found,
            alpn_not_found,
            client_hello_too_large,
            sni_found,
            sni_not_found,
            tls_found,
            tls_not_found,
        ],
        histograms: [bytes_processed: Bytes],
    }
}

/// Its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// `max_client_hello_size`
    bytes_max: usize,
    /// `close_connection_on_client_hello_parsing_errors`
    closes_on_errors: bool,
    /// `enable_ja3_fingerprinting`
    ja3: bool,
    /// `enable_ja4_fingerprinting`
    ja4: bool,
}

/// An inspector that counts.
pub struct TlsInspector {
    config: Config,
    stats: TlsInspectorStats,
}

impl Config {
    /// Compiles an inspector.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<TlsInspectorPb>(any, cx)?;
        let default = CLIENT_HELLO_BYTES_MAX as u32;
        Some(Self {
            bytes_max: core::u32_or(proto.max_client_hello_size, default) as usize,
            closes_on_errors: proto.close_connection_on_client_hello_parsing_errors,
            ja3: core::bool_or(proto.enable_ja3_fingerprinting, false),
            ja4: core::bool_or(proto.enable_ja4_fingerprinting, false),
        })
    }
}

impl TlsInspector {
    /// Registers what it counts.
    #[must_use]
    pub fn new(config: Config, store: &Store) -> Self {
        Self {
            config,
            stats: TlsInspectorStats::new(store, "tls_inspector."),
        }
    }

    /// Reads as much as it takes to know.
    pub(super) async fn inspect(
        &self,
        stream: &Stream,
        inspected: &mut Inspected,
    ) -> Result<(), Refused> {
        let stats = &self.stats;
        let mut reader = ClientHelloReader::new(self.config.bytes_max);
        let mut peeked = Peeked::new(stream);
        let mut progress = Progress::Incomplete;
        while progress == Progress::Incomplete {
            progress = reader.read(peeked.more().await?);
        }
        stats.bytes_processed.record(reader.bytes() as u64);
        match progress {
            Progress::Incomplete | Progress::NotTls => {
                stats.tls_not_found.inc();
                if self.config.closes_on_errors {
                    return Err(Refused::ByFilter);
                }
            }
            Progress::TooLarge => {
                stats.client_hello_too_large.inc();
                return Err(Refused::ByFilter);
            }
            Progress::Complete(hello) => {
                stats.tls_found.inc();
                match hello.protocols.is_empty() {
                    true => stats.alpn_not_found.inc(),
                    false => stats.alpn_found.inc(),
                }
                match hello.server_name {
                    None => stats.sni_not_found.inc(),
                    Some(_) => stats.sni_found.inc(),
                }
                if self.config.ja3 || self.config.ja4 {
                    inspected.fingerprints = Some(self.fingerprints(reader.message()));
                }
                inspected.transport_protocol = Some("tls");
                inspected.application_protocols = hello.protocols;
                inspected.server_name = hello.server_name.map(|mut name| {
                    name.make_ascii_lowercase();
                    name
                });
            }
        }
        Ok(())
    }

    fn fingerprints(&self, message: &[u8]) -> Box<Fingerprints> {
        let wanted = |is_wanted: bool, of: fn(&[u8]) -> Option<Box<str>>| {
            is_wanted.then(|| of(message)).flatten()
        };
        Box::new(Fingerprints {
            ja3: wanted(self.config.ja3, hashed_ja3),
            ja4: wanted(self.config.ja4, hashed_ja4),
        })
    }
}
