//! `/drain_listeners`: stop accepting, let connections finish.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::Action;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/drain_listeners",
    mutates: true,
    help: "drain listeners",
    params: &[
        (
            "graceful",
            "let connections finish for --drain-time-s before listeners stop",
        ),
        (
            "skip_exit",
            "drain connections but never stop the listeners, with or without graceful",
        ),
        (
            "inboundonly",
            "drain only listeners whose traffic_direction is INBOUND",
        ),
    ],
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    process.view.act(Action::DrainListeners {
        graceful: query.has("graceful"),
        inbound_only: query.has("inboundonly"),
        skip_exit: query.has("skip_exit"),
    });
    Reply::ok()
}
