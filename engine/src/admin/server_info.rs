//! `/server_info`: build, state, uptime, command line, node.

use std::time::Duration;

use serde_json::json;

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/server_info",
    mutates: false,
    help: "print version, state, uptime, command line and node",
    params: &[],
    handle,
};

fn handle(process: &Process, _: &Query) -> Reply {
    let info = process.view.server_info();
    let seconds = |uptime: Duration| format!("{}s", uptime.as_secs());
    Reply::json(&json!({
        "version": info.version,
        "state": process.view.state().as_str(),
        "uptime_current_epoch": seconds(info.uptime_current_epoch),
        "uptime_all_epochs": seconds(info.uptime_all_epochs),
        "hot_restart_version": info.hot_restart_version,
        "hot_restart_initializing": false,
        "command_line_options": info.command_line_options,
        "node": info.node,
    }))
}
