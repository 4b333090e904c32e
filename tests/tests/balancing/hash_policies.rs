//! `hash_policy`: what of a request decides its host, alone and together.

use crate::picks::{Expected, Route, Setup, compare, draws, keys};

const SEVEN: &str = "{ lb_endpoints: [ { HOST0 }, { HOST1 }, { HOST2 }, { HOST3 }, { HOST4 }, \
                     { HOST5 }, { HOST6 } ] }";

macro_rules! own {
    ($policies:literal) => {
        concat!(
            "load_balancing_policy: { policies: [ { typed_extension_config: { name: x, ",
            "typed_config: { \"@type\": type.googleapis.com/envoy.extensions.",
            "load_balancing_policies.ring_hash.v3.RingHash, consistent_hashing_lb_config: { ",
            "hash_policy: [ ",
            $policies,
            " ] } } } } ] },"
        )
    };
}

const CLUSTERS: &[(&str, &str, &str)] = &[
    ("ring", "lb_policy: RING_HASH,", SEVEN),
    // Of its own policies none may find anything: the route's are not asked.
    ("own", own!("{ header: { header_name: x-own } }"), SEVEN),
    // HOST7 is dead.
    (
        "mortal",
        "lb_policy: RING_HASH,",
        "{ lb_endpoints: [ { HOST0 }, { HOST1 }, { HOST7 } ] }",
    ),
    (
        "mortal-maglev",
        "lb_policy: MAGLEV,",
        "{ lb_endpoints: [ { HOST0 }, { HOST1 }, { HOST7 } ] }",
    ),
    ("first", "", "{ lb_endpoints: [ { HOST0 } ] }"),
    ("second", "", "{ lb_endpoints: [ { HOST1 } ] }"),
    ("third", "", "{ lb_endpoints: [ { HOST2 } ] }"),
    ("turns", "", SEVEN),
];

const MANAGER: &str = r#"
http_filters:
- name: state
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config
    on_request_headers:
    - object_key: hashable
      factory_key: envoy.hashable_string
      skip_if_empty: true
      format_string: { text_format_source: { inline_string: "%REQ(x-state)%" }, omit_empty_values: true }
    - object_key: plain
      factory_key: envoy.string
      skip_if_empty: true
      format_string: { text_format_source: { inline_string: "%REQ(x-state)%" }, omit_empty_values: true }
    - object_key: address
      factory_key: envoy.network.ip
      skip_if_empty: true
      format_string: { text_format_source: { inline_string: "%REQ(x-ip)%" }, omit_empty_values: true }
- name: router
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#;

macro_rules! to_ring {
    ($policies:literal) => {
        concat!("route: { cluster: ring, hash_policy: [ ", $policies, " ] }")
    };
}

macro_rules! weighted {
    ($more:literal) => {
        concat!(
            "route: { weighted_clusters: { use_hash_policy: true, clusters: [ ",
            "{ name: first, weight: 50 }, { name: second, weight: 30 }, ",
            "{ name: third, weight: 20 } ] }",
            $more,
            " }"
        )
    };
}

macro_rules! retrying {
    ($cluster:literal) => {
        concat!(
            "route: { cluster: ",
            $cluster,
            ", hash_policy: [ { header: { header_name: x-key } } ], retry_policy: { ",
            "retry_on: connect-failure, num_retries: 2, ",
            "retry_back_off: { base_interval: 0.001s }, host_selection_retry_max_attempts: 4, ",
            "retry_host_predicate: [ { name: p, typed_config: { \"@type\": type.googleapis.com/",
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } } ] } }"
        )
    };
}

/// Keys of a route.
const KEYS: usize = 100;

const fn route(
    path: &'static str,
    action: &'static str,
    requests: fn() -> Vec<(String, String)>,
) -> Route {
    Route {
        path,
        action,
        requests,
        expected: Expected::Envoys,
    }
}

/// A route whose requests have nothing to be told apart by.
const fn chance(
    path: &'static str,
    action: &'static str,
    requests: fn() -> Vec<(String, String)>,
) -> Route {
    Route {
        expected: Expected::Chance,
        ..route(path, action, requests)
    }
}

/// Requests of which each line differs in more than one way.
fn lines(lines: &[&str]) -> Vec<(String, String)> {
    lines
        .iter()
        .map(|line| (String::new(), (*line).to_owned()))
        .collect()
}

fn targets(targets: &[&str]) -> Vec<(String, String)> {
    targets
        .iter()
        .map(|target| ((*target).to_owned(), String::new()))
        .collect()
}

const ROUTES: &[Route] = &[
    route(
        "/header/",
        to_ring!("{ header: { header_name: X-Key } }"),
        || keys(KEYS, "", "x-key: {key}\r\n"),
    ),
    route(
        "/header-values/",
        to_ring!("{ header: { header_name: x-key } }"),
        || {
            lines(&[
                "x-key: a\r\nx-key: b\r\n",
                "x-key: b\r\nx-key: a\r\n",
                "x-key: a, b\r\n",
                "x-key: a,b\r\n",
                "x-key: a\r\nx-key: a\r\n",
                "x-key: c\r\nx-key: b\r\nx-key: a\r\n",
                "x-key: 1\r\nx-key: 2\r\nx-key: 3\r\nx-key: 4\r\nx-key: 5\r\nx-key: 6\r\n\
                 x-key: 7\r\nx-key: 8\r\n",
                "x-key: 9\r\nx-key: 2\r\nx-key: 3\r\nx-key: 4\r\nx-key: 5\r\nx-key: 6\r\n\
                 x-key: 7\r\nx-key: 8\r\nx-key: 1\r\n",
                "x-key:\r\n",
                "x-key:\r\nx-key: a\r\n",
                "X-KEY: a\r\n",
                "x-key:   a  \r\n",
            ])
        },
    ),
    route(
        "/header-known/",
        to_ring!("{ header: { header_name: user-agent } }"),
        || keys(KEYS, "", "user-agent: {key}\r\n"),
    ),
    route(
        "/header-authority/",
        to_ring!("{ header: { header_name: \":authority\" } }"),
        || keys(KEYS, "", "host: {key}.example\r\n"),
    ),
    route(
        "/header-path/",
        to_ring!("{ header: { header_name: \":path\" } }"),
        || keys(KEYS, "{key}?a={key}", ""),
    ),
    route(
        "/header-rewritten/",
        to_ring!(
            "{ header: { header_name: x-key, regex_rewrite: { pattern: { regex: \"^key-(.)\" }, \
             substitution: '\\1\\1' } } }"
        ),
        || keys(KEYS, "", "x-key: {key}\r\n"),
    ),
    route(
        "/header-rewritten-values/",
        to_ring!(
            "{ header: { header_name: x-key, regex_rewrite: { pattern: { regex: \"[0-9]\" }, \
             substitution: \"\" } } }"
        ),
        || {
            lines(&[
                "x-key: a1\r\nx-key: b2\r\n",
                "x-key: b\r\nx-key: a\r\n",
                "x-key: 1b\r\nx-key: 2a\r\n",
                "x-key: 12\r\n",
                "x-key: 12\r\nx-key: c3\r\nx-key: 3\r\n",
            ])
        },
    ),
    // The request as it is sent is what counts.
    route(
        "/added/",
        "request_headers_to_add: [ { header: { key: x-key, value: \"%REQ(x-other)%\" } } ], route: \
         { cluster: ring, hash_policy: [ { header: { header_name: x-key } } ] }",
        || keys(KEYS, "", "x-other: {key}\r\n"),
    ),
    route(
        "/rewritten/",
        "route: { cluster: ring, prefix_rewrite: \"/to/\", hash_policy: [ { header: { header_name: \
         \":path\" } } ] }",
        || keys(KEYS, "{key}", ""),
    ),
    chance(
        "/header-absent/",
        to_ring!("{ header: { header_name: x-key } }"),
        || draws("", "x-other: 1\r\n"),
    ),
    chance("/nothing/", "route: { cluster: ring }", || {
        draws("", "x-key: 1\r\n")
    }),
    route("/cookie/", to_ring!("{ cookie: { name: c } }"), || {
        keys(KEYS, "", "cookie: a=1; c={key}; b=2\r\n")
    }),
    route(
        "/cookie-values/",
        to_ring!("{ cookie: { name: c } }"),
        || {
            lines(&[
                "cookie: c=\"quoted\"\r\n",
                "cookie: c=quoted\r\n",
                "cookie: a=1\r\ncookie: c=2\r\n",
                "cookie: c=1; c=2\r\n",
                "cookie: c=a=b\r\n",
                "cookie:    c=x\r\n",
            ])
        },
    ),
    chance(
        "/cookie-empty/",
        to_ring!("{ cookie: { name: c } }"),
        || draws("", "cookie: c=\r\n"),
    ),
    chance(
        "/cookie-absent/",
        to_ring!("{ cookie: { name: c } }"),
        || draws("", "cookie: C=1; d=c\r\n"),
    ),
    route(
        "/address/",
        to_ring!("{ connection_properties: { source_ip: true } }"),
        || {
            lines(&[
                "",
                "x-forwarded-for: 10.0.0.1\r\n",
                "x-forwarded-for: 10.0.0.2\r\n",
                "x-forwarded-for: 10.0.0.3\r\n",
                "x-forwarded-for: 10.0.0.4, 10.0.0.1\r\n",
                "x-forwarded-for: 203.0.113.255\r\n",
                "x-forwarded-for: 2001:db8::1\r\n",
                "x-forwarded-for: 2001:db8::2\r\n",
                "x-forwarded-for: 2001:DB8:0:0:1:0:0:1\r\n",
                "x-forwarded-for: ::1\r\n",
                "x-forwarded-for: ::ffff:10.0.0.1\r\n",
                "x-forwarded-for: fe80:1:2:3:4:5:6:7\r\n",
                "x-forwarded-for: nonsense\r\n",
            ])
        },
    ),
    chance(
        "/no-address/",
        to_ring!("{ connection_properties: { source_ip: false } }"),
        || draws("", ""),
    ),
    route(
        "/query/",
        to_ring!("{ query_parameter: { name: k } }"),
        || keys(KEYS, "?a=1&k={key}&b=2", ""),
    ),
    route(
        "/query-values/",
        to_ring!("{ query_parameter: { name: k } }"),
        || {
            targets(&[
                "?k=1&k=2", "?k=2&k=1", "?k", "?k=", "?k=%31", "?k=1%20", "?k=1+2", "?k=a=b",
                "?k=1?k=2", "?K=1&k=3",
            ])
        },
    ),
    chance(
        "/query-absent/",
        to_ring!("{ query_parameter: { name: k } }"),
        || draws("?%6b=1&K=2", ""),
    ),
    chance(
        "/query-none/",
        to_ring!("{ query_parameter: { name: k } }"),
        || draws("", ""),
    ),
    route(
        "/state/",
        to_ring!("{ filter_state: { key: hashable } }"),
        || keys(KEYS, "", "x-state: {key}\r\n"),
    ),
    chance(
        "/state-absent/",
        to_ring!("{ filter_state: { key: hashable } }"),
        || draws("", ""),
    ),
    chance(
        "/state-not-hashable/",
        to_ring!("{ filter_state: { key: plain } }, { filter_state: { key: address } }"),
        || draws("", "x-state: 1\r\nx-ip: 10.0.0.1\r\n"),
    ),
    route(
        "/both/",
        to_ring!("{ header: { header_name: x-key } }, { query_parameter: { name: k } }"),
        || keys(KEYS, "?k=1", "x-key: {key}\r\n"),
    ),
    route(
        "/three/",
        to_ring!(
            "{ header: { header_name: x-key } }, { header: { header_name: x-none } }, \
             { cookie: { name: c } }, { query_parameter: { name: k } }"
        ),
        || keys(KEYS, "?k={key}", "x-key: 1\r\ncookie: c=2\r\n"),
    ),
    // They do not cancel each other out.
    route(
        "/twice/",
        to_ring!("{ header: { header_name: x-key } }, { header: { header_name: x-key } }"),
        || keys(KEYS, "", "x-key: {key}\r\n"),
    ),
    route(
        "/terminal/",
        to_ring!(
            "{ header: { header_name: x-key }, terminal: true }, { query_parameter: { name: k } }"
        ),
        || keys(KEYS, "?k={key}", "x-key: 1\r\n"),
    ),
    route(
        "/terminal-absent/",
        to_ring!(
            "{ header: { header_name: x-key }, terminal: true }, { query_parameter: { name: k } }"
        ),
        || keys(KEYS, "?k={key}", ""),
    ),
    // Terminal though it is the one before that found something.
    route(
        "/terminal-second/",
        to_ring!(
            "{ header: { header_name: x-key } }, { header: { header_name: x-none }, terminal: true \
             }, { query_parameter: { name: k } }"
        ),
        || keys(KEYS, "?k={key}", "x-key: 1\r\n"),
    ),
    route("/own/", "route: { cluster: own }", || {
        keys(KEYS, "", "x-own: {key}\r\n")
    }),
    route(
        "/own-first/",
        "route: { cluster: own, hash_policy: [ { header: { header_name: x-key } } ] }",
        || keys(KEYS, "", "x-own: {key}\r\nx-key: 1\r\n"),
    ),
    chance(
        "/own-only/",
        "route: { cluster: own, hash_policy: [ { header: { header_name: x-key } } ] }",
        || draws("", "x-key: 1\r\n"),
    ),
    route(
        "/weighted/",
        weighted!(", hash_policy: [ { header: { header_name: x-key } } ]"),
        || keys(KEYS, "", "x-key: {key}\r\n"),
    ),
    chance(
        "/weighted-absent/",
        weighted!(", hash_policy: [ { header: { header_name: x-key } } ]"),
        || draws("", ""),
    ),
    chance("/weighted-none/", weighted!(""), || draws("", "")),
    // There is no response yet that a cookie could be set by.
    chance(
        "/weighted-cookie/",
        weighted!(", hash_policy: [ { cookie: { name: c, ttl: 1s } } ]"),
        || draws("", ""),
    ),
    route(
        "/weighted-has-cookie/",
        weighted!(", hash_policy: [ { cookie: { name: c, ttl: 1s } } ]"),
        || keys(KEYS, "", "cookie: c={key}\r\n"),
    ),
    // Before the route's changes.
    route(
        "/weighted-rewritten/",
        weighted!(
            ", prefix_rewrite: \"/to/\", hash_policy: [ { header: { header_name: \":path\" } } ]"
        ),
        || keys(KEYS, "{key}", ""),
    ),
    route("/retry/", retrying!("mortal"), || {
        keys(KEYS, "", "x-key: {key}\r\n")
    }),
    route("/retry-maglev/", retrying!("mortal-maglev"), || {
        keys(KEYS, "", "x-key: {key}\r\n")
    }),
    chance(
        "/turns/",
        "route: { cluster: turns, hash_policy: [ { header: { header_name: x-key } } ] }",
        || draws("", "x-key: 1\r\n"),
    ),
];

#[test]
fn requests_go_to_the_hosts_that_envoy_chooses() {
    compare(
        "requests_go_to_the_hosts_that_envoy_chooses",
        &Setup {
            manager: MANAGER,
            clusters: CLUSTERS,
            routes: ROUTES,
            dead: &[7],
        },
    );
}
