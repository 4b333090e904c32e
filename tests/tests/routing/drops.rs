//! Requests that a cluster refuses because whoever assigns its hosts says so
//! (`drop_overloads`).

use ringway_tests::bootstrap::{Listener, bootstrap, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::{Comparison, as_in_envoy};
use ringway_tests::fleet::Fleet;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::process::{Process, Program};
use std::time::Duration;

const HOSTS: &str = "\
- name: all
  domains: [\"*\"]
  include_attempt_count_in_response: true
  response_headers_to_add: [ { header: { key: x-added, value: \"%RESPONSE_FLAGS%\" } } ]
  routes:
  - { match: { prefix: \"/retry/\" }, route: { cluster_header: cluster, retry_policy: { retry_on: \"5xx\", num_retries: 2 } } }
  - { match: { prefix: \"/mirrored/\" }, route: { cluster: plain, request_mirror_policies: [ { cluster: all } ] } }
  - { match: { prefix: \"/\" }, route: { cluster_header: cluster } }
";

const LISTENERS: &[Listener] = &[
    Listener {
        name: "plain",
        manager: "",
        hosts: HOSTS,
    },
    Listener {
        name: "quiet",
        manager: "http_filters: [ { name: router, typed_config: { \"@type\": \
                  type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, \
                  suppress_envoy_headers: true } } ]",
        hosts: HOSTS,
    },
];

fn clusters(ports: Ports) -> String {
    let mut all = cluster("plain", ports.origin, "");
    for (name, share) in [
        ("all", "{ numerator: 100 }"),
        (
            "all_of_millions",
            "{ numerator: 1000000, denominator: MILLION }",
        ),
        ("nearly_all", "{ numerator: 999999, denominator: MILLION }"),
        ("none", "{ numerator: 0, denominator: TEN_THOUSAND }"),
    ] {
        // The helper has no place for an assignment's policy.
        all += &format!(
            "- name: {name}\n  type: STATIC\n  load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ \
             address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ], policy: {{ drop_overloads: \
             [ {{ category: overload, drop_percentage: {share} }} ] }} }}\n",
            ports.origin
        );
    }
    all + "- name: no_hosts\n  type: STATIC\n  load_assignment: { cluster_name: no_hosts, policy: \
           { drop_overloads: [ { category: a, drop_percentage: { numerator: 100 } } ] } }\n"
}

fn to(cluster: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\ncluster: {cluster}\r\n\r\n")
}

fn cases() -> Vec<Case> {
    vec![
        case("all", "plain", to("all", "/")),
        case("all of a million", "plain", to("all_of_millions", "/")),
        case("nearly all", "plain", to("nearly_all", "/")),
        case("nearly all, quiet", "quiet", to("nearly_all", "/")),
        case("none", "plain", to("none", "/")),
        case("not said", "plain", to("plain", "/")),
        case("nothing is told", "quiet", to("all", "/")),
        case("before hosts are looked for", "plain", to("no_hosts", "/")),
        case("not retried", "plain", to("all", "/retry/")),
        case(
            "grpc",
            "plain",
            "POST / HTTP/1.1\r\nhost: a\r\ncluster: all\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n",
        ),
        case("copies too", "plain", to("none", "/mirrored/")).watch(Duration::from_millis(200)),
        case("the connection goes on", "plain", to("all", "/"))
            .then(Step::Await(1))
            .then_send(to("none", "/"))
            .answers(2),
    ]
}

#[test]
fn requests_are_refused_as_envoy_refuses_them() {
    let comparison = Comparison {
        suite: Suite::Routing("drops"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    comparison.run("requests_are_refused_as_envoy_refuses_them");
}

/// The runtime has the last word.
#[test]
fn no_more_are_refused_than_the_runtime_allows() {
    let comparison = Comparison {
        suite: Suite::Routing("drops"),
        listeners: LISTENERS,
        clusters,
        cases: || vec![case("limited", "plain", to("all", "/"))],
    };
    let runtime = "layered_runtime: { layers: [ { name: s, static_layer: { \
                   load_balancing_policy.drop_overload_limit: 0 } } ] }\n";
    comparison.run_with("no_more_are_refused_than_the_runtime_allows", runtime);
}

/// As large a part of them as is said.
#[test]
fn as_many_are_refused_as_is_said() {
    let test = "as_many_are_refused_as_is_said";
    let shares = |program: &Program| {
        let fleet = Fleet::start(1);
        let port = fleet.ports()[0];
        let half = "- name: half\n  type: STATIC\n  load_assignment: { cluster_name: half, \
                    endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { \
                    address: 127.0.0.1, port_value: PORT } } } } ] } ], policy: { drop_overloads: \
                    [ { category: a, drop_percentage: { numerator: 3000, denominator: TEN_THOUSAND \
                    } } ] } }\n";
        let half = half.replace("PORT", &port.to_string());
        let text = bootstrap(LISTENERS, &(cluster("plain", port, "") + &half));
        let text = text.replace("cluster: all", "cluster: plain");
        let process = Process::start(program, &text);
        let expected = Expectation {
            answers: REQUESTS,
            ..Expectation::default()
        };
        // One after the other: Envoy closes where a request is behind a refused one.
        let one = |number| [Step::Send(to("half", "/").into()), Step::Await(number)];
        let steps: Vec<_> = (1..=REQUESTS).flat_map(one).collect();
        let answered = converse(process.listener("plain"), &steps, &expected);
        let count = answered.finals().count();
        assert_eq!(count, REQUESTS, "{}: {:?}", program.name(), answered.end);
        let refused = answered.finals().filter(|answer| answer.status() == 503);
        let refused = refused.count() as f64;
        // Five standard deviations.
        let share = refused / REQUESTS as f64;
        assert!((share - 0.3).abs() < 0.115, "{}: {share}", program.name());
    };
    let _ = as_in_envoy(test, shares);
}

const REQUESTS: usize = 400;
