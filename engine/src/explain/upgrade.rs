//! Whether a request may ask for another protocol, and who says so.

use ringway_config::route::RouteMatch;

use super::context::Context;
use super::fact::{Fact, Place};
use crate::filters::network::http_connection_manager::upgrade::{Outcome, SaidBy};
use crate::http::exchange::Exchange;

/// Decides as the connection manager does; true when the request is refused.
pub(super) fn explain(
    found: &RouteMatch<'_>,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> (bool, Fact) {
    let ruling = cx.manager.rule_on_upgrade(exchange, found);
    let outcome = ruling.outcome;
    let (who, place) = match ruling.said_by {
        SaidBy::Route(upgrade) => ("the route", cx.place(&upgrade.source.path)),
        SaidBy::Manager(place) => (
            "the connection manager",
            cx.of_manager(&format!("upgrade_configs[{place}]")),
        ),
        SaidBy::Nobody => (
            "neither route nor connection manager knows it",
            Place::Default,
        ),
        SaidBy::Request => (
            "the request asks for two protocols at once",
            Place::Header("upgrade"),
        ),
    };
    let note = match outcome {
        Outcome::Allowed { .. } => format!("allowed: {who}"),
        Outcome::Refused => format!("refused: {who}"),
        Outcome::NotFound => format!("not allowed, but what is not found comes first: {who}"),
    };
    let fact = Fact::new("upgrade")
        .value(String::from_utf8_lossy(ruling.kind))
        .note(note)
        .place(place);
    if let Outcome::Allowed { tunnel, place } = outcome {
        exchange.tunnel = tunnel;
        exchange.upgrade = place;
    }
    let is_allowed = matches!(outcome, Outcome::Allowed { .. });
    let fact = fact.parts(vec![Fact::new("allowed").value(is_allowed)]);
    (outcome == Outcome::Refused, fact)
}
