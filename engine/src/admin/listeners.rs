//! `/listeners`: names and addresses of the active listeners.

use std::fmt::Write;

use serde_json::{Value, json};

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::{Address, ListenerStatus};

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/listeners",
    mutates: false,
    help: "print the listeners",
    params: &[("format", "layout; One of (text, json)")],
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    let listeners = process.view.listeners();
    match query.get("format") {
        Some("json") => Reply::json(&as_json(&listeners)),
        _ => Reply::text(as_text(&listeners)),
    }
}

fn as_text(listeners: &[ListenerStatus]) -> String {
    let mut text = String::new();
    for listener in listeners {
        let additional = &listener.additional_local_addresses;
        for address in std::iter::once(&listener.local_address).chain(additional) {
            let _ = writeln!(text, "{}::{address}", listener.name);
        }
    }
    text
}

fn as_json(listeners: &[ListenerStatus]) -> Value {
    if listeners.is_empty() {
        return json!({});
    }
    let statuses: Vec<Value> = (listeners.iter())
        .map(|listener| {
            let mut status = json!({
                "name": listener.name,
                "local_address": listener.local_address.to_json(),
            });
            let additional = &listener.additional_local_addresses;
            if !additional.is_empty() {
                let addresses = additional.iter().map(Address::to_json);
                status["additional_local_addresses"] = addresses.collect();
            }
            status
        })
        .collect();
    json!({ "listener_statuses": statuses })
}
