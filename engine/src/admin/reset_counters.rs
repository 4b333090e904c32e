//! `/reset_counters`: count from zero again. Gauges and histograms stay.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/reset_counters",
    mutates: true,
    help: "set all counters to zero",
    params: &[],
    handle: |process: &Process, _: &Query| {
        process.store.reset_counters();
        Reply::ok()
    },
};
