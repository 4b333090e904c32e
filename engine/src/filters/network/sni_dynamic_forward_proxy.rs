//! `envoy.filters.network.sni_dynamic_forward_proxy`: looks up the server that a client
//! asks for before a TCP proxy takes the connection there. What has no address has no
//! host there; a connection for which too much is looked up already is closed.

use envoy_types::pb::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use pb::filter_config::PortSpecifier;
use ringway_config::context::{Cx, unpack};
use ringway_config::dns_cache::{self, DnsCacheId};
use ringway_config::filter_state::{DYNAMIC_HOST, DYNAMIC_PORT, Object};

use super::{Connection, Flow, NetworkFilter};
use crate::http::exchange::write_destination;
use crate::upstream::dns_cache::Found;

/// The compiled filter.
pub struct SniDynamicForwardProxy {
    cache: DnsCacheId,
    port: u16,
}

impl SniDynamicForwardProxy {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::FilterConfig>(any, cx)?;
        let Some(config) = &proto.dns_cache_config else {
            cx.error_at("dns_cache_config", "is required");
            return None;
        };
        let cache = cx.field("dns_cache_config", |cx| dns_cache::lower(config, cx));
        let port = match proto.port_specifier {
            None => 0,
            // The rules of the API know no higher ones.
            Some(PortSpecifier::PortValue(port)) => u16::try_from(port).unwrap_or_default(),
        };
        Some(Self {
            cache: cache?,
            port,
        })
    }
}

impl NetworkFilter for SniDynamicForwardProxy {
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Flow {
        let info = &mut *connection.info;
        let said = info.filter_state();
        let named = info.connection.requested_server_name.as_deref();
        let named = named.unwrap_or_default().as_bytes();
        if (said.get(DYNAMIC_HOST).and_then(Object::text))
            .unwrap_or(named)
            .is_empty()
        {
            return Flow::Continue;
        }
        let cache = connection.worker.dns_caches.get(self.cache);
        if !cache.may_ask() {
            return Flow::Close;
        }
        let mut name = Vec::new();
        write_destination(named, said, self.port, &mut name);
        // The cluster looks for the same.
        if !matches!(said.get(DYNAMIC_PORT), Some(Object::U32(1..=65535))) {
            let port = Object::U32(self.port.into());
            info.filter_state_mut().set(DYNAMIC_PORT, port);
        }
        match cache.ask(&String::from_utf8_lossy(&name)) {
            Some(Found::Known(_)) => Flow::Continue,
            Some(Found::Waiting(waiting)) => Flow::Wait(Box::pin(waiting)),
            Some(Found::Overflow) | None => Flow::Close,
        }
    }
}
