//! `/reopen_logs`: open the access logs anew, after a rotation.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::Action;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/reopen_logs",
    mutates: true,
    help: "reopen the access logs",
    params: &[],
    handle: |process: &Process, _: &Query| {
        process.view.act(Action::ReopenLogs);
        Reply::ok()
    },
};
