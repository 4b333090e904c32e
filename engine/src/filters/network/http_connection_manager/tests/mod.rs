//! The connection manager with its router and pools on a real worker, between
//! clients and origins that misbehave. Each test runs on both drivers and ends
//! with everything that was opened counted as closed.

mod back_pressure;
mod bodies;
mod failures;
mod faults;
mod pipelining;
mod retries;
mod scarce_buffers;
mod timeouts;
mod tunnels;

use std::time::{Duration, Instant};

use crate::test_support::PATIENCE;
use crate::test_support::client::Broken;
use crate::test_support::on_both_drivers;
use crate::test_support::origin::{Origin, OriginConnection, with_length};
use crate::test_support::proxy::Proxy;
use crate::test_support::setup::Setup;
use crate::test_support::wait_until;

/// Runs `test` between an origin made by `origin` and a proxy in front of it,
/// on both drivers.
fn run(setup: &Setup, origin: impl Fn() -> Origin, test: impl Fn(&mut Proxy, &Origin)) {
    on_both_drivers(|driver| {
        let origin = origin();
        let mut proxy = Proxy::start(driver, setup, origin.address);
        test(&mut proxy, &origin);
        proxy.check_balance();
    });
}

/// An origin that reads requests and never answers; its connections end when
/// the proxy closes them.
fn silent() -> Origin {
    Origin::start(OriginConnection::wait_for_end)
}

/// Answers for `/direct` and redirects below `/r/`, the rest goes to the host.
const LOCAL_ROUTES: &str = r#"
    { match: { path: "/direct" }, direct_response: { status: 200, body: { inline_string: "direct" } } },
    { match: { prefix: "/r/" }, redirect: { prefix_rewrite: "/x/" } },
    { match: { prefix: "/" }, route: { cluster: host } },
"#;
