//! `/runtime` and `/runtime_modify`: runtime values, by layer.

use hyper::StatusCode;
use ringway_config::runtime::RuntimeLayer;
use serde_json::{Map, Value, json};

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const RUNTIME: Endpoint = Endpoint {
    path: "/runtime",
    mutates: false,
    help: "print runtime values",
    params: &[],
    handle: print,
};

pub(super) const RUNTIME_MODIFY: Endpoint = Endpoint {
    path: "/runtime_modify",
    mutates: true,
    help: "set runtime values, ?key1=value1&key2=value2; an empty value takes an earlier one back",
    params: &[],
    handle: modify,
};

/// Every key with its text in each layer. The final one is that of the highest
/// layer whose text is not empty, as in Envoy, sorted by key, as not in Envoy.
fn print(process: &Process, _: &Query) -> Reply {
    let layers = process.view.runtime();
    let entries: Map<String, Value> = layers
        .entries()
        .into_iter()
        .map(|(key, texts)| {
            let highest = texts.iter().rfind(|text| !text.is_empty());
            let entry = json!({
                "layer_values": texts,
                "final_value": highest.copied().unwrap_or_default(),
            });
            (key.to_owned(), entry)
        })
        .collect();
    let names: Vec<_> = layers.layers().iter().map(RuntimeLayer::name).collect();
    Reply::json(&json!({ "entries": entries, "layers": names }))
}

fn modify(process: &Process, query: &Query) -> Reply {
    if query.pairs().is_empty() {
        return Reply::bad_request(
            "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n       \
             or send the parameters as form values\n\
             use an empty value to remove a previously added override",
        );
    }
    match process.view.modify_runtime(query.pairs()) {
        Ok(()) => Reply::ok(),
        Err(error) => Reply::error(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
