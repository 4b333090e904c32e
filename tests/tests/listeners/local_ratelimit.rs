//! `envoy.filters.listener.local_ratelimit`: how many connections are taken.

use crate::scene::{Case, Comparison, Listener, REQUEST, case, listener};

const LISTENERS: &[Listener] = &[
    listener(
        "three",
        r#"
listener_filters:
- name: limit
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit
    stat_prefix: three
    token_bucket: { max_tokens: 3, fill_interval: 10000s }
"#,
    ),
    listener(
        "none",
        r#"
listener_filters:
- name: limit
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit
    stat_prefix: none
    token_bucket: { max_tokens: 0, tokens_per_fill: 5, fill_interval: 0.05s }
    runtime_enabled: { default_value: false, runtime_key: is.on }
"#,
    ),
    listener(
        "turned",
        r#"
listener_filters:
- name: limit
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit
    stat_prefix: turned
    token_bucket: { max_tokens: 0, fill_interval: 1s }
    runtime_enabled: { default_value: true, runtime_key: is.off }
"#,
    ),
    listener(
        "half",
        r#"
listener_filters:
- name: limit
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit
    stat_prefix: half
    token_bucket: { max_tokens: 0, fill_interval: 1s }
    runtime_enabled: { default_value: true, runtime_key: is.half }
"#,
    ),
    listener(
        "number",
        r#"
listener_filters:
- name: limit
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit
    stat_prefix: number
    token_bucket: { max_tokens: 0, fill_interval: 1s }
    runtime_enabled: { default_value: true, runtime_key: is.number }
"#,
    ),
];

const RUNTIME: &str = "layered_runtime: { layers: [ { name: static, static_layer: { \
    is.on: true, is.off: false, is.number: 0, is.half: 0.5 } } ] }\n";

fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = (0..3)
        .map(|number| case(format!("connection {number}"), "three", REQUEST))
        .collect();
    // What a client has sent meanwhile decides how its connection ends.
    for number in 3..5 {
        cases.push(case(format!("connection {number}"), "three", ""));
    }
    for listener in ["none", "half"] {
        cases.push(case(listener, listener, ""));
    }
    cases.push(case("turned off", "turned", REQUEST));
    cases.push(case("turned off by a number", "number", REQUEST));
    cases
}

#[test]
fn connections_are_limited_as_in_envoy() {
    let comparison = Comparison {
        suite: "local_ratelimit",
        listeners: LISTENERS,
        cluster: "",
        bootstrap: RUNTIME,
        cases,
    };
    comparison.run("connections_are_limited_as_in_envoy");
}
