//! Small filters before the one that ends a chain: limits of
//! connections.

use crate::acts::{exchange, whole};
use crate::scene::{Act, Case, Listener, Suite, Who, before_proxy, case, listener, proxied};

const LISTENERS: &[Listener] = &[
    listener(
        "rate",
        before_proxy!(
            "local_ratelimit.v3.LocalRateLimit",
            "stat_prefix: rate, token_bucket: { max_tokens: 1, fill_interval: 1000s }"
        ),
    ),
    listener(
        "rate_off",
        before_proxy!(
            "local_ratelimit.v3.LocalRateLimit",
            "stat_prefix: rate_off, token_bucket: { max_tokens: 0, fill_interval: 1s }, \
             runtime_enabled: { default_value: false, runtime_key: no.such }"
        ),
    ),
    listener(
        "limit",
        before_proxy!(
            "connection_limit.v3.ConnectionLimit",
            "stat_prefix: limit, max_connections: 1"
        ),
    ),
    listener(
        "slow_limit",
        before_proxy!(
            "connection_limit.v3.ConnectionLimit",
            "stat_prefix: slow_limit, max_connections: 1, delay: 1s"
        ),
    ),
];

const CLUSTERS: &str = r#"
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
"#;

fn cases() -> Vec<Case> {
    use Who::Client;
    let refused = [Act::ReadToEnd(Client)];
    // The connection before it stays open.
    let second = |then: &[Act]| {
        let mut acts = exchange(0, b"one");
        acts.push(Act::Connect);
        acts.extend_from_slice(then);
        acts
    };
    vec![
        case("the last token", "rate", &whole(0, b"one")),
        case("no token", "rate", &refused),
        case("still no token", "rate", &refused),
        case("no rate", "rate_off", &whole(0, b"one")),
        case("one at a time", "limit", &whole(0, b"one")),
        case("another at a time", "limit", &whole(0, b"one")),
        case("two at a time", "limit", &second(&refused)).log_lines(2),
        case("room again", "limit", &whole(0, b"one")),
        case("two at a time, slowly", "slow_limit", &second(&refused)).log_lines(2),
        case(
            "one that does not wait",
            "slow_limit",
            &second(&[
                Act::AwaitMore("connection_limit.slow_limit.limited_connections", 1),
                Act::Close(Client),
            ]),
        )
        .log_lines(2),
    ]
}

const SUITE: Suite = Suite {
    listeners: LISTENERS,
    clusters: CLUSTERS,
    behind: "",
    cases,
};

#[test]
fn small_filters_do_what_envoys_do() {
    SUITE.run("small_filters_do_what_envoys_do");
}
