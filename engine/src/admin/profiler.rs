//! Profilers of CPU and heap. Envoy has them in builds with gperftools or
//! tcmalloc; this build has none and answers as Envoy does without: `perf`
//! profiles the process from outside.

use hyper::StatusCode;

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ALLOCPROFILER: Endpoint = Endpoint {
    path: "/allocprofiler",
    mutates: true,
    help: "start or stop the allocation profiler (if there is one)",
    params: ENABLE,
    handle: |_: &Process, query: &Query| match enable(query) {
        Some(_) => unsupported("allocation profiler"),
        None => usage(),
    },
};

pub(super) const CPUPROFILER: Endpoint = Endpoint {
    path: "/cpuprofiler",
    mutates: true,
    help: "start or stop the CPU profiler (if there is one)",
    params: ENABLE,
    handle: |_: &Process, query: &Query| match enable(query) {
        Some(true) => Reply::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failure to start the profiler",
        ),
        Some(false) => Reply::ok(),
        None => usage(),
    },
};

pub(super) const HEAPPROFILER: Endpoint = Endpoint {
    path: "/heapprofiler",
    mutates: true,
    help: "start or stop the heap profiler (if there is one)",
    params: ENABLE,
    handle: |_: &Process, _: &Query| unsupported("heap profiler"),
};

pub(super) const HEAP_DUMP: Endpoint = Endpoint {
    path: "/heap_dump",
    mutates: false,
    help: "dump the heap (if the allocator can)",
    params: &[],
    handle: |_: &Process, _: &Query| unsupported("heap dump"),
};

pub(super) const PEAK_HEAP_DUMP: Endpoint = Endpoint {
    path: "/peak_heap_dump",
    mutates: false,
    help: "dump the heap as it was at its largest (if the allocator can)",
    params: &[],
    handle: |_: &Process, _: &Query| unsupported("peak heap dump"),
};

const ENABLE: &[(&str, &str)] = &[("enable", "start or stop; One of (y, n)")];

fn enable(query: &Query) -> Option<bool> {
    match query.get("enable") {
        Some("y") => Some(true),
        Some("n") => Some(false),
        _ => None,
    }
}

fn usage() -> Reply {
    Reply::bad_request("?enable=<y|n>\n")
}

fn unsupported(what: &str) -> Reply {
    let body = format!("The current build does not support {what}");
    Reply::error(StatusCode::NOT_IMPLEMENTED, body)
}
