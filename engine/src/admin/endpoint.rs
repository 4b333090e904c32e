//! The table of endpoints and how a request finds its own.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::reply::Reply;
use super::request::Query;
use super::view::ServerView;
use super::{
    certs, clusters, config_dump, contention, drain_listeners, explain, healthcheck, help,
    hot_restart_version, index, init_dump, listeners, logging, memory, outliers, profiler,
    quitquitquit, ready, recentlookups, reopen_logs, reset_counters, runtime, server_info, stats,
    stats_prometheus,
};
use crate::stats::Store;
use crate::stats::server::ServerStats;

/// What endpoints work with.
pub(super) struct Process {
    pub(super) view: Arc<dyn ServerView>,
    pub(super) store: Store,
    pub(super) stats: ServerStats,
}

/// One path.
pub(super) struct Endpoint {
    pub(super) path: &'static str,
    /// Whether it changes something: only `POST` may.
    pub(super) mutates: bool,
    /// What it does, for `/help`.
    pub(super) help: &'static str,
    /// Its parameters and what they mean, for `/help`.
    pub(super) params: &'static [(&'static str, &'static str)],
    pub(super) handle: fn(&Process, &Query) -> Reply,
}

/// All endpoints, sorted by path.
pub(super) const ENDPOINTS: &[&Endpoint] = &[
    &index::ENDPOINT,
    &profiler::ALLOCPROFILER,
    &certs::ENDPOINT,
    &clusters::ENDPOINT,
    &config_dump::ENDPOINT,
    &contention::ENDPOINT,
    &profiler::CPUPROFILER,
    &drain_listeners::ENDPOINT,
    &explain::ENDPOINT,
    &healthcheck::FAIL,
    &healthcheck::OK,
    &profiler::HEAP_DUMP,
    &profiler::HEAPPROFILER,
    &help::ENDPOINT,
    &hot_restart_version::ENDPOINT,
    &init_dump::ENDPOINT,
    &listeners::ENDPOINT,
    &logging::ENDPOINT,
    &memory::ENDPOINT,
    &memory::TCMALLOC,
    &outliers::ENDPOINT,
    &profiler::PEAK_HEAP_DUMP,
    &quitquitquit::ENDPOINT,
    &ready::ENDPOINT,
    &reopen_logs::ENDPOINT,
    &reset_counters::ENDPOINT,
    &runtime::RUNTIME,
    &runtime::RUNTIME_MODIFY,
    &server_info::ENDPOINT,
    &stats::ENDPOINT,
    &stats_prometheus::ENDPOINT,
    &recentlookups::SHOW,
    &recentlookups::CLEAR,
    &recentlookups::DISABLE,
    &recentlookups::ENABLE,
];

/// Answers a request.
pub(super) fn answer(process: &Process, method: &Method, path: &str, query: &str) -> Reply {
    let path = merge_slashes(path);
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == path) else {
        return help::unknown_path();
    };
    if endpoint.mutates && *method != Method::POST {
        let body = format!("Method {method} not allowed, POST required.");
        return Reply::error(StatusCode::METHOD_NOT_ALLOWED, body);
    }
    match Query::parse(query) {
        Ok(query) => (endpoint.handle)(process, &query),
        Err(_) => Reply::bad_request("the query is not valid percent-encoded UTF-8\n"),
    }
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}
