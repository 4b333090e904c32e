//! Connections, messages, headers, simple routes, upstreams and logs compared
//! with the real Envoy, see [`ringway_tests::comparison`].

mod listeners;
mod local_replies;
mod logs;
mod messages;
mod peer_headers;
mod routing;
mod timeouts;
mod upstreams;

use ringway_tests::case::Case;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;

fn cases() -> Vec<Case> {
    let mut all = messages::cases();
    all.extend(peer_headers::cases());
    all.extend(routing::cases());
    all.extend(local_replies::cases());
    all.extend(upstreams::cases());
    all.extend(timeouts::cases());
    all.extend(logs::cases());
    all
}

#[test]
fn ringway_answers_as_envoy_does() {
    Comparison {
        suite: Suite::Requests,
        listeners: listeners::LISTENERS,
        clusters: listeners::clusters,
        cases,
    }
    .run("ringway_answers_as_envoy_does");
}
