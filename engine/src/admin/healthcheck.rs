//! `/healthcheck/fail` and `/healthcheck/ok`: take this process out of its
//! balancers' rotation, and back.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::Action;

pub(super) const FAIL: Endpoint = Endpoint {
    path: "/healthcheck/fail",
    mutates: true,
    help: "fail health checks from now on",
    params: &[],
    handle: |process: &Process, _: &Query| {
        process.view.act(Action::HealthcheckFail);
        Reply::ok()
    },
};

pub(super) const OK: Endpoint = Endpoint {
    path: "/healthcheck/ok",
    mutates: true,
    help: "pass health checks again",
    params: &[],
    handle: |process: &Process, _: &Query| {
        process.view.act(Action::HealthcheckOk);
        Reply::ok()
    },
};
