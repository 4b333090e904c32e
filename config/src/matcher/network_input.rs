//! What a matcher can look at of a connection
//! (`envoy.extensions.matching.common_inputs.network.v3`). Envoy has an input
//! for dynamic metadata as well, and knows it for HTTP only.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3 as proto;
use envoy_types::pb::google::protobuf::Any;

use crate::context::{Cx, type_name, unpack};
use crate::filter_state::Field;
use crate::listener::filter_chain_match::Arrival;
use crate::route::scratch;

/// A part of what is known of a connection.
#[derive(Debug)]
pub(super) enum NetworkInput {
    /// The address that the client connected to, without its port.
    DestinationIp,
    /// Its port.
    DestinationPort,
    /// The client's address, without its port.
    SourceIp,
    /// Its port.
    SourcePort,
    /// The peer's address, without its port.
    DirectSourceIp,
    /// `local` if the client is on this machine.
    SourceType,
    /// The server that was asked for.
    ServerName,
    /// What carries the bytes.
    TransportProtocol,
    /// The protocols above: `'h2','http/1.1'`.
    ApplicationProtocol,
    /// An object of the filter state, or a field of it.
    FilterState { key: Box<str>, field: Box<str> },
}

impl NetworkInput {
    /// What `f` makes of the value, if there is one.
    pub fn with<T>(&self, seen: &Arrival<'_>, f: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let text = |text: &str| (!text.is_empty()).then_some(());
        match self {
            Self::ServerName => text(seen.server_name).map(|()| f(seen.server_name.as_bytes())),
            Self::TransportProtocol => {
                text(seen.transport_protocol).map(|()| f(seen.transport_protocol.as_bytes()))
            }
            Self::SourceType => seen.is_local().then(|| f(b"local")),
            Self::FilterState { key, field } => match seen.filter_state.get(key)? {
                object if object.has_fields() && !field.is_empty() => match object.field(field)? {
                    Field::Text(text) => Some(f(&text)),
                    number @ Field::Number(_) => scratch::with(|out| {
                        number.write(out);
                        Some(f(out))
                    }),
                },
                object => scratch::with(|out| object.write(out).then(|| f(out))),
            },
            formatted => scratch::with(|out| formatted.write(seen, out).map(|()| f(out))),
        }
    }

    /// The address that is looked at, if one is and is known.
    pub fn address(&self, seen: &Arrival<'_>) -> Option<IpAddr> {
        self.socket_address(seen).map(|address| address.ip())
    }

    fn socket_address(&self, seen: &Arrival<'_>) -> Option<SocketAddr> {
        match self {
            Self::DestinationIp | Self::DestinationPort => seen.local,
            Self::DirectSourceIp => seen.direct_remote,
            Self::SourceIp | Self::SourcePort => seen.remote(),
            _ => None,
        }
    }

    fn write(&self, seen: &Arrival<'_>, out: &mut Vec<u8>) -> Option<()> {
        let address = self.socket_address(seen);
        let written = match self {
            Self::DestinationIp | Self::SourceIp | Self::DirectSourceIp => {
                write!(out, "{}", address?.ip())
            }
            Self::DestinationPort | Self::SourcePort => write!(out, "{}", address?.port()),
            Self::ApplicationProtocol => {
                let mut names = seen.application_protocols.iter();
                out.push(b'\'');
                out.extend_from_slice(names.next()?);
                for name in names {
                    out.extend_from_slice(b"','");
                    out.extend_from_slice(name);
                }
                out.push(b'\'');
                Ok(())
            }
            _ => return None,
        };
        written.ok()
    }

    /// Whether its values are addresses.
    pub fn is_address(&self) -> bool {
        matches!(
            self,
            Self::DestinationIp | Self::SourceIp | Self::DirectSourceIp
        )
    }

    /// Compiles an input, or reports why not.
    pub fn lower(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let given = type_name(&any.type_url);
        let name = given.strip_prefix("envoy.extensions.matching.common_inputs.network.v3.");
        Some(match name.unwrap_or_default() {
            "DestinationIPInput" => Self::DestinationIp,
            "DestinationPortInput" => Self::DestinationPort,
            "SourceIPInput" => Self::SourceIp,
            "SourcePortInput" => Self::SourcePort,
            "DirectSourceIPInput" => Self::DirectSourceIp,
            "SourceTypeInput" => Self::SourceType,
            "ServerNameInput" => Self::ServerName,
            "TransportProtocolInput" => Self::TransportProtocol,
            "ApplicationProtocolInput" => Self::ApplicationProtocol,
            "FilterStateInput" => {
                let input: proto::FilterStateInput = unpack(any, cx)?;
                Self::FilterState {
                    key: input.key.into(),
                    field: input.field.into(),
                }
            }
            _ => {
                cx.error(format!(
                    "only what is known of a connection can be looked at here \
                     (envoy.extensions.matching.common_inputs.network.v3), not {given}"
                ));
                return None;
            }
        })
    }

    /// Compiles an input of a decision on who may connect, or reports why not. As in
    /// Envoy it sees less than the choice of a filter chain.
    pub fn lower_access(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let input = Self::lower(any, cx)?;
        if let Self::SourceType | Self::TransportProtocol | Self::ApplicationProtocol = input {
            let given = type_name(&any.type_url);
            cx.error(format!("who may connect cannot depend on {given}"));
            return None;
        }
        Some(input)
    }
}
