//! Objects that every request leaves in its filter state
//! (`envoy.filters.http.set_filter_state`).

use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3 as common;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::{Cx, unpack};
use ringway_config::filter_state::{Factory, Object};

use super::{Flow, HttpFilter, StreamContext};
use crate::formatter::Format;

/// The compiled filter.
pub struct SetFilterState {
    values: Box<[Value]>,
    clear_route_cache: bool,
}

/// A compiled `envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue`.
struct Value {
    key: Box<str>,
    factory: Factory,
    format: Format,
    read_only: bool,
    skip_if_empty: bool,
}

impl SetFilterState {
    /// Compiles `envoy.extensions.filters.http.set_filter_state.v3.Config`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Config>(any, cx)?;
        let values: Vec<_> = proto
            .on_request_headers
            .iter()
            .enumerate()
            .map(|(i, value)| cx.index("on_request_headers", i, |cx| Value::compile(value, cx)))
            .collect();
        let values: Option<_> = values.into_iter().collect();
        Some(Self {
            values: values?,
            clear_route_cache: proto.clear_route_cache,
        })
    }
}

impl Value {
    fn compile(proto: &common::FilterStateValue, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(common::filter_state_value::Key::ObjectKey(key)) = &proto.key else {
            cx.error_at("object_key", "is required");
            return None;
        };
        let Some(common::filter_state_value::Value::FormatString(format)) = &proto.value else {
            cx.error_at("format_string", "is required");
            return None;
        };
        // Without a factory of its own an object is made by the one that has
        // its key as a name.
        let (field, name) = match proto.factory_key.as_str() {
            "" => ("object_key", key.as_str()),
            name => ("factory_key", name),
        };
        let factory = Factory::find(name);
        if factory.is_none() {
            cx.error_at(
                field,
                format!(
                    "there is no factory {name:?}; use factory_key with envoy.string, \
                     envoy.hashable_string or envoy.network.ip"
                ),
            );
        }
        let format = cx.field("format_string", |cx| Format::compile(format, cx));
        Some(Self {
            key: key.as_str().into(),
            factory: factory?,
            format: format?,
            #[expect(deprecated, reason = "Envoy still accepts it")]
            read_only: proto.read_only,
            skip_if_empty: proto.skip_if_empty,
        })
    }

    fn create(&self, stream: &StreamContext<'_>) -> Option<Object> {
        let mut text = Vec::new();
        self.format
            .write(&stream.exchange.format_context(), &mut text);
        if text.is_empty() && self.skip_if_empty {
            return None;
        }
        self.factory.create(&text)
    }
}

impl HttpFilter for SetFilterState {
    fn name(&self) -> &'static str {
        "envoy.filters.http.set_filter_state"
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        for value in &self.values {
            // Each may be made of those before it.
            if let Some(object) = value.create(stream) {
                let state = stream.exchange.info.filter_state_mut();
                state.set(&value.key, object, value.read_only);
            }
        }
        if self.clear_route_cache {
            stream.clear_route_cache();
        }
        Flow::Continue
    }
}
