//! What another proxy has said in its answer to a tunnel, as objects of the filter
//! state (`propagate_response_headers`, `propagate_response_trailers`).

use ringway_codecs::header::HeaderMap;
use ringway_config::filter_state::Object;
use ringway_config::metadata::{Struct, Value};

use crate::formatter::write_struct;

/// The object of the headers.
pub(super) const HEADERS: &str = "envoy.tcp_proxy.propagate_response_headers";

/// The object of the trailers.
pub(super) const TRAILERS: &str = "envoy.tcp_proxy.propagate_response_trailers";

/// What is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Propagated {
    pub headers: bool,
    pub trailers: bool,
}

/// An object of headers or trailers (`envoy.config.core.v3.HeaderMap`).
pub(super) fn object(fields: &HeaderMap) -> Object {
    let fields = fields
        .iter()
        .map(|(name, value)| field(name.as_bytes(), value));
    let mut message = Struct::default();
    message.set("headers", Value::List(fields.collect()));
    let mut json = Vec::new();
    write_struct(&message, &mut json);
    Object::Message(json.into())
}

/// One of them (`envoy.config.core.v3.HeaderValue`).
fn field(name: &[u8], value: &[u8]) -> Value {
    let mut field = Struct::default();
    field.set("key", Value::text(name));
    field.set("value", Value::text(value));
    Value::Struct(field)
}
