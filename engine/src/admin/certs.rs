//! `/certs`: the certificates in use.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/certs",
    mutates: false,
    help: "print the certificates in use",
    params: &[],
    handle,
};

fn handle(process: &Process, _: &Query) -> Reply {
    Reply::json(&process.view.certs())
}
