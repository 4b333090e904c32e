//! `/hot_restart_version`: which versions can take over from each other.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/hot_restart_version",
    mutates: false,
    help: "print the hot restart compatibility version",
    params: &[],
    handle: |process: &Process, _: &Query| {
        Reply::text(process.view.server_info().hot_restart_version)
    },
};
