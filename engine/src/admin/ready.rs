//! `/ready`: whether traffic should be sent here.

use hyper::StatusCode;

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::ServerState;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/ready",
    mutates: false,
    help: "print the server's state; 200 if it is LIVE, 503 otherwise",
    params: &[],
    handle,
};

fn handle(process: &Process, _: &Query) -> Reply {
    let state = process.view.state();
    let status = match state {
        ServerState::Live => StatusCode::OK,
        ServerState::Draining | ServerState::PreInitializing | ServerState::Initializing => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    Reply::error(status, format!("{}\n", state.as_str()))
}
