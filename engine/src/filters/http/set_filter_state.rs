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
    own: Objects,
    /// What routes, virtual hosts and route configurations say, by number.
    overrides: Vec<Override>,
}

/// What one place of the configuration says.
struct Objects {
    values: Box<[Value]>,
    clear_route_cache: bool,
}

struct Override {
    objects: Objects,
    /// What a wider level says, which comes first.
    outer: Option<u32>,
}

/// A compiled `envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue`.
struct Value {
    key: Box<str>,
    factory: Factory,
    format: Format,
    skip_if_empty: bool,
}

impl SetFilterState {
    /// Compiles `envoy.extensions.filters.http.set_filter_state.v3.Config`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        Some(Self {
            own: Objects::compile(any, cx)?,
            overrides: Vec::new(),
        })
    }

    /// As in Envoy the widest level comes first, and each has its say.
    fn set_overrides(&self, number: u32, stream: &mut StreamContext<'_>) {
        let one = &self.overrides[number as usize];
        if let Some(outer) = one.outer {
            self.set_overrides(outer, stream);
        }
        one.objects.set(stream);
    }
}

impl Objects {
    fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
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

    fn set(&self, stream: &mut StreamContext<'_>) {
        for value in &self.values {
            // Each may be made of those before it.
            if let Some(object) = value.create(stream) {
                let state = stream.exchange.info.filter_state_mut();
                state.set(&value.key, object);
            }
        }
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

    fn compile_override(&mut self, config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        let objects = Objects::compile(config, cx)?;
        if objects.clear_route_cache {
            cx.warn_at(
                "clear_route_cache",
                "has no effect: the filter's own configuration decides, in Envoy too",
            );
        }
        self.overrides.push(Override {
            objects,
            outer: None,
        });
        Some(self.overrides.len() as u32 - 1)
    }

    fn link_overrides(&mut self, inner: u32, outer: u32) {
        self.overrides[inner as usize].outer = Some(outer);
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        self.own.set(stream);
        if let Some(number) = stream.settings {
            self.set_overrides(number, stream);
        }
        if self.own.clear_route_cache {
            stream.clear_route_cache();
        }
        Flow::Continue
    }
}
