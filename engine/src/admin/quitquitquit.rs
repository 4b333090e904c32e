//! `/quitquitquit`: exit.

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::Action;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/quitquitquit",
    mutates: true,
    help: "exit the server",
    params: &[],
    handle: |process: &Process, _: &Query| {
        process.view.act(Action::Quit);
        Reply::ok()
    },
};
