//! `/runtime` and `/runtime_modify`: runtime values, of which there are none
//! until layers are supported.

use hyper::StatusCode;
use serde_json::json;

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const RUNTIME: Endpoint = Endpoint {
    path: "/runtime",
    mutates: false,
    help: "print runtime values",
    params: &[],
    handle: |_: &Process, _: &Query| Reply::json(&json!({ "entries": {}, "layers": [] })),
};

pub(super) const RUNTIME_MODIFY: Endpoint = Endpoint {
    path: "/runtime_modify",
    mutates: true,
    help: "set runtime values, ?key1=value1&key2=value2; an empty value takes an earlier one back",
    params: &[],
    handle: |_: &Process, query: &Query| match query.pairs() {
        [] => Reply::bad_request(
            "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n\
             use an empty value to remove a previously added override",
        ),
        _ => Reply::error(StatusCode::SERVICE_UNAVAILABLE, "No admin layer specified"),
    },
};
