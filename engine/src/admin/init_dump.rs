//! `/init_dump`: what start-up still waits for, by component.

use serde_json::json;

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/init_dump",
    mutates: false,
    help: "print what the server still waits for before it is ready",
    params: &[("mask", "only this component, such as listener")],
    // A static configuration waits for nothing.
    handle: |_: &Process, _: &Query| Reply::json(&json!({})),
};
