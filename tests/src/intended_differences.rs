//! Where Ringway differs from Envoy 1.40 on purpose: the one table, by suite.
//!
//! - `requests.rs`, `admin.rs`, `routing.rs`, `upgrades.rs`, `codec.rs`,
//!   `grpc_filters.rs`, `http2.rs`, `http2_hosts.rs`, `listeners.rs`: its entries.
//! - `ledger.rs`: what makes sure that it is neither too short nor too long.

mod admin;
mod codec;
mod grpc_filters;
mod http2;
mod http2_hosts;
mod ledger;
mod listeners;
mod requests;
mod routing;
mod upgrades;

pub use self::ledger::Ledger;

/// One difference, or a family of them.
#[derive(Clone, Copy, Debug)]
pub struct Intended {
    /// The suite that sees it.
    pub suite: Suite,
    /// The case; `*` stands for any text.
    pub case: &'static str,
    /// What differs; `*` stands for any text.
    pub what: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The suites that compare with Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `differential/`
    Requests,
    /// `admin.rs`
    Admin,
    /// `discovery/`, by the name of its file.
    Discovery(&'static str),
    /// `listeners/`, by the name of its file.
    Listeners(&'static str),
    /// `routing/`, by the name of its file.
    Routing(&'static str),
}

/// Every intended difference.
fn table() -> impl Iterator<Item = &'static Intended> {
    [
        requests::TABLE,
        admin::TABLE,
        codec::TABLE,
        grpc_filters::TABLE,
        http2::TABLE,
        http2_hosts::TABLE,
        listeners::TABLE,
        routing::TABLE,
        upgrades::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// An entry of a suite in `routing/`.
const fn routing(
    suite: &'static str,
    case: &'static str,
    what: &'static str,
    reason: &'static str,
) -> Intended {
    Intended {
        suite: Suite::Routing(suite),
        case,
        what,
        reason,
    }
}

const READ_AHEAD: &str = "what was read beyond the request is not the request's; Envoy \
     counts it";

const DELAYED_CLOSE: &str = "our FIN comes at once and the client answers it; Envoy sends none \
     before delayed_close_timeout is over";

const NO_PATH: &str = "a CONNECT has no path that could be rewritten; Envoy gives it one, and \
     answers 503 because it has no :protocol then";
