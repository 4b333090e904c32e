//! `/help`, and the answer to an unknown path: the endpoints in a list.

use std::fmt::Write;

use hyper::StatusCode;

use super::endpoint::{ENDPOINTS, Endpoint, Process};
use super::reply::Reply;
use super::request::Query;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/help",
    mutates: false,
    help: "print this list",
    params: &[],
    handle: |_: &Process, _: &Query| Reply::text(list()),
};

/// 404, with the paths that exist.
pub(super) fn unknown_path() -> Reply {
    Reply::error(StatusCode::NOT_FOUND, format!("invalid path. {}", list()))
}

fn list() -> String {
    let mut text = String::from("admin commands are:\n");
    for endpoint in ENDPOINTS {
        let post = if endpoint.mutates { " (POST)" } else { "" };
        let _ = writeln!(text, "  {}{post}: {}", endpoint.path, endpoint.help);
        for (name, meaning) in endpoint.params {
            let _ = writeln!(text, "      {name}: {meaning}");
        }
    }
    text
}
