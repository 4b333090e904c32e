//! What an authorization service is asked (`envoy.service.auth.v3.CheckRequest`).

use std::collections::HashMap;
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::data::core::v3::TlvsMetadata;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{Peer, TlsSession};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::google::protobuf;
use prost::{Message as _, Name as _};

use super::super::Connection;
use crate::stream_info::{CertificateFacts, ConnectionInfo, StreamInfo};

/// What of a connection is told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The certificate of the client.
    pub certificate: bool,
    /// The server that it has asked for.
    pub tls_session: bool,
    /// The field of the node's metadata with the labels of the destination.
    pub labels: Box<str>,
    /// Namespaces of metadata.
    pub namespaces: Box<[Box<str>]>,
    /// Namespaces of typed metadata.
    pub typed_namespaces: Box<[Box<str>]>,
}

impl Told {
    /// The question about a connection.
    pub(super) fn request(&self, connection: &Connection<'_>) -> CheckRequest {
        let info = &connection.info.connection;
        let tls = info.tls.as_deref();
        let client = tls.and_then(|tls| tls.peer.first());
        let server = tls.and_then(|tls| tls.local.as_deref());
        let certificate = match client {
            Some(client) if self.certificate => client.url_encoded_pem(),
            _ => String::new(),
        };
        let name = info.requested_server_name.as_deref().unwrap_or_default();
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer {
                    address: Some(socket_address(info.remote)),
                    principal: client.map(principal).unwrap_or_default(),
                    certificate,
                    ..Peer::default()
                }),
                destination: Some(Peer {
                    address: Some(destination(info)),
                    service: name.to_owned(),
                    labels: self.labels(connection.worker.node.metadata.as_ref()),
                    principal: server.map(principal).unwrap_or_default(),
                    certificate: String::new(),
                }),
                metadata_context: Some(self.metadata(connection.info)),
                tls_session: self.tls_session.then(|| {
                    let name = tls.and_then(|tls| tls.server_name.as_deref());
                    TlsSession {
                        sni: name.unwrap_or_default().to_owned(),
                    }
                }),
                ..AttributeContext::default()
            }),
        }
    }

    fn metadata(&self, info: &StreamInfo) -> core::Metadata {
        let said = info.metadata();
        let values = self.namespaces.iter().filter_map(|name| {
            let values = said.get(name)?.to_proto();
            Some((name.to_string(), values))
        });
        let typed = info.connection.typed_metadata.as_deref();
        let typed = typed.unwrap_or_default().iter();
        let messages = typed
            .filter(|(name, _)| self.typed_namespaces.contains(name))
            .map(|(name, message)| (name.to_string(), packed(message)));
        core::Metadata {
            filter_metadata: values.collect(),
            typed_filter_metadata: messages.collect(),
        }
    }

    fn labels(&self, metadata: Option<&protobuf::Struct>) -> HashMap<String, String> {
        use protobuf::value::Kind;
        let field = metadata.and_then(|metadata| metadata.fields.get(&*self.labels));
        let Some(Kind::StructValue(labels)) = field.and_then(|field| field.kind.as_ref()) else {
            return HashMap::new();
        };
        let text = |value: &protobuf::Value| match &value.kind {
            Some(Kind::StringValue(text)) => text.clone(),
            _ => String::new(),
        };
        let labels = labels.fields.iter();
        labels
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }
}

fn packed(message: &TlvsMetadata) -> protobuf::Any {
    protobuf::Any {
        type_url: TlvsMetadata::type_url(),
        value: message.encode_to_vec(),
    }
}

/// Whom a certificate is of: the first of its URIs, of its names, or its subject.
fn principal(certificate: &CertificateFacts) -> String {
    let uri = certificate.uri_sans.first();
    let name = uri.or_else(|| certificate.dns_sans.first());
    name.unwrap_or(&certificate.subject).clone()
}

fn destination(info: &ConnectionInfo) -> core::Address {
    match &info.pipe {
        None => socket_address(info.local),
        Some(path) => core::Address {
            address: Some(core::address::Address::Pipe(core::Pipe {
                path: path.to_string(),
                mode: 0,
            })),
        },
    }
}

fn socket_address(address: SocketAddr) -> core::Address {
    use core::socket_address::PortSpecifier;
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
            ..core::SocketAddress::default()
        })),
    }
}
