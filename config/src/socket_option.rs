//! Options of sockets (`envoy.config.core.v3.SocketOption`). Compiled types on
//! top, lowering below.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::socket_option::{
    SocketIpVersion, SocketState, Value,
};

use crate::context::Cx;

/// An option, as `setsockopt` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOption {
    /// As `setsockopt` takes it.
    pub level: i32,
    /// As `setsockopt` takes it.
    pub name: i32,
    /// The value's bytes.
    pub value: Box<[u8]>,
    /// When it is set.
    pub stage: Stage,
    /// For sockets of this family only: true is IPv6.
    pub only_ipv6: Option<bool>,
}

/// What has become of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was made.
    BeforeBind,
    /// It has an address.
    Bound,
    /// It takes connections.
    Listening,
}

/// What sockets are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// They connect.
    Connect,
    /// They listen.
    Listen,
}

/// Lowers the options of the field `socket_options` of the message that `cx` is
/// at.
pub(crate) fn options(
    protos: &[pb::SocketOption],
    of: Use,
    cx: &mut Cx<'_>,
) -> Arc<[SocketOption]> {
    let mut lowered = Vec::new();
    for (i, proto) in protos.iter().enumerate() {
        lowered.extend(cx.index("socket_options", i, |cx| option(proto, of, cx)));
    }
    lowered.into()
}

fn option(proto: &pb::SocketOption, of: Use, cx: &mut Cx<'_>) -> Option<SocketOption> {
    let number = |value: i64, field: &str, cx: &mut Cx<'_>| {
        let number = i32::try_from(value).ok();
        if number.is_none() {
            cx.error_at(field, format!("{value} is no number of an option"));
        }
        number
    };
    let level = number(proto.level, "level", cx);
    let name = number(proto.name, "name", cx);
    let value: Option<Box<[u8]>> = match &proto.value {
        Some(Value::IntValue(value)) => match i32::try_from(*value) {
            Ok(value) => Some(value.to_ne_bytes().into()),
            Err(_) => {
                cx.error_at("int_value", format!("{value} is no 32-bit number"));
                None
            }
        },
        Some(Value::BufValue(bytes)) => Some(bytes.as_slice().into()),
        None => {
            cx.error("an int_value or a buf_value is needed here");
            None
        }
    };
    if proto.state() == SocketState::StateListening && of == Use::Connect {
        cx.warn_at(
            "state",
            "an upstream socket does not listen: the option is never set, in Envoy neither",
        );
        return None;
    }
    if let Some(kind) = &proto.r#type
        && kind.stream.is_none()
        && kind.datagram.is_some()
    {
        cx.warn_at("type", "none of these sockets is a datagram socket");
        return None;
    }
    Some(SocketOption {
        level: level?,
        name: name?,
        value: value?,
        stage: match proto.state() {
            SocketState::StatePrebind => Stage::BeforeBind,
            SocketState::StateBound => Stage::Bound,
            SocketState::StateListening => Stage::Listening,
        },
        only_ipv6: match proto.ip_version() {
            SocketIpVersion::Unspecified => None,
            version => Some(version == SocketIpVersion::Ipv6),
        },
    })
}
