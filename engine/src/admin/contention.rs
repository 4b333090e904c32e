//! `/contention`: mutex contention, which is not traced here: workers have no
//! mutexes.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/contention",
    mutates: false,
    help: "print mutex contention (if it is traced)",
    params: &[],
    handle,
};

fn handle(_: &Process, _: &Query) -> Reply {
    Reply::text("Mutex contention tracing is not enabled: workers share no mutexes.")
}
