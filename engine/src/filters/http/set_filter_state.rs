//! Objects that every request leaves in its filter state
//! (`envoy.filters.http.set_filter_state`).

use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::{Cx, unpack};

use super::{Flow, HttpFilter, StreamContext};
use crate::filters::filter_state_value::FilterStateValue;

/// The compiled filter.
pub struct SetFilterState {
    own: Objects,
    /// What routes, virtual hosts and route configurations say, by number.
    overrides: Vec<Override>,
}

/// What one place of the configuration says.
struct Objects {
    values: Box<[FilterStateValue]>,
    clear_route_cache: bool,
}

struct Override {
    objects: Objects,
    /// What a wider level says, which comes first.
    outer: Option<u32>,
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
        let values = &proto.on_request_headers;
        Some(Self {
            values: FilterStateValue::compile_all(values, "on_request_headers", cx)?,
            clear_route_cache: proto.clear_route_cache,
        })
    }

    fn set(&self, stream: &mut StreamContext<'_>) {
        for value in &self.values {
            // Each may be made of those before it.
            if let Some(object) = value.create(&stream.exchange.format_context()) {
                let state = stream.exchange.info.filter_state_mut();
                state.set(value.key(), object);
            }
        }
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
