//! `/stats/recentlookups`: look-ups in Envoy's table of symbols, which has no
//! counterpart here: names are resolved once, when a configuration is lowered.
//! The endpoints answer as if none had happened.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const SHOW: Endpoint = Endpoint {
    path: "/stats/recentlookups",
    mutates: false,
    help: "print recent look-ups of statistics by name (there are none)",
    params: &[],
    handle: |_: &Process, _: &Query| {
        Reply::text(
            "Lookup tracking is not enabled. Use /stats/recentlookups/enable to enable.\n\n\
             total: 0\n",
        )
    },
};

pub(super) const CLEAR: Endpoint = Endpoint {
    path: "/stats/recentlookups/clear",
    mutates: true,
    help: "forget the look-ups",
    params: &[],
    handle: accept,
};

pub(super) const DISABLE: Endpoint = Endpoint {
    path: "/stats/recentlookups/disable",
    mutates: true,
    help: "stop recording look-ups",
    params: &[],
    handle: accept,
};

pub(super) const ENABLE: Endpoint = Endpoint {
    path: "/stats/recentlookups/enable",
    mutates: true,
    help: "record look-ups",
    params: &[],
    handle: accept,
};

fn accept(_: &Process, _: &Query) -> Reply {
    Reply::ok()
}
