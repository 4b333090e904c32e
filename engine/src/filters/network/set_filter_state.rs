//! Objects that every connection leaves in its filter state
//! (`envoy.filters.network.set_filter_state`).

use envoy_types::pb::envoy::extensions::filters::network::set_filter_state::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::{Cx, unpack};

use super::{Connection, Flow, NetworkFilter};
use crate::filters::filter_state_value::FilterStateValue;
use crate::formatter::Context as FormatContext;

/// The compiled filter: objects by when they are made.
pub struct SetFilterState {
    on_new_connection: Box<[FilterStateValue]>,
    on_tls_handshake: Box<[FilterStateValue]>,
    on_data: Box<[FilterStateValue]>,
}

impl SetFilterState {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Config>(any, cx)?;
        let mut lower = |field, values| FilterStateValue::compile_all(values, field, cx);
        let at_start = lower("on_new_connection", &proto.on_new_connection);
        let at_handshake = lower(
            "on_downstream_tls_handshake",
            &proto.on_downstream_tls_handshake,
        );
        let at_data = lower("on_downstream_data", &proto.on_downstream_data);
        Some(Self {
            on_new_connection: at_start?,
            on_tls_handshake: at_handshake?,
            on_data: at_data?,
        })
    }
}

impl NetworkFilter for SetFilterState {
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Flow {
        set(&self.on_new_connection, connection);
        // Without TLS there is no handshake to wait for.
        if !connection.is_tls {
            set(&self.on_tls_handshake, connection);
        }
        Flow::Continue
    }

    fn on_tls_handshake(&self, connection: &mut Connection<'_>) {
        set(&self.on_tls_handshake, connection);
    }

    fn wants_data(&self) -> bool {
        !self.on_data.is_empty()
    }

    fn on_data(&self, connection: &mut Connection<'_>) -> Flow {
        set(&self.on_data, connection);
        Flow::Continue
    }
}

fn set(values: &[FilterStateValue], connection: &mut Connection<'_>) {
    for value in values {
        // Each may be made of those before it.
        let object = value.create(&FormatContext::of_connection(connection.info));
        if let Some(object) = object {
            connection.info.filter_state_mut().set(value.key(), object);
        }
    }
}
