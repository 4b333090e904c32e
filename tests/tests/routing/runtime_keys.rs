//! Runtime keys that the router obeys: clusters in maintenance, retries that
//! are not made, and how long the first of them waits.

use ringway_tests::bootstrap::{Listener, bootstrap, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::{Comparison, as_in_envoy};
use ringway_tests::fleet::Fleet;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use ringway_tests::process::{Process, Program};
use std::time::Duration;

const HOSTS: &str = "\
- name: all
  domains: [\"*\"]
  include_attempt_count_in_response: true
  response_headers_to_add: [ { header: { key: x-added, value: \"%RESPONSE_FLAGS%\" } } ]
  routes:
  - { match: { prefix: \"/retry/\" }, route: { cluster_header: cluster, timeout: 0s, retry_policy: { retry_on: \"5xx\", num_retries: 2 } } }
  - { match: { prefix: \"/slow/\" }, route: { cluster_header: cluster, timeout: 1s, retry_policy: { retry_on: \"5xx\" } } }
  - { match: { prefix: \"/own/\" }, route: { cluster_header: cluster, timeout: 0s, retry_policy: { retry_on: \"5xx\", retry_back_off: { base_interval: 0.001s } } } }
  - { match: { prefix: \"/hedged/\" }, route: { cluster_header: cluster, timeout: 0s, hedge_policy: { hedge_on_per_try_timeout: true }, retry_policy: { retry_on: \"5xx\", per_try_timeout: 0.1s } } }
  - { match: { prefix: \"/none-left/\" }, route: { cluster_header: cluster, timeout: 0s, retry_policy: { retry_on: \"5xx\", num_retries: 0 } } }
  - { match: { prefix: \"/mirrored/\" }, route: { cluster: open, request_mirror_policies: [ { cluster: closed } ] } }
  - { match: { prefix: \"/from-closed/\" }, route: { cluster: closed, request_mirror_policies: [ { cluster: open } ] } }
  - { match: { prefix: \"/redirected/\" }, route: { cluster: open, internal_redirect_policy: {} } }
  - { match: { prefix: \"/\" }, route: { cluster_header: cluster, timeout: 0s } }
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
                  suppress_envoy_headers: true, strict_check_headers: [ x-envoy-max-retries ] } } ]",
        hosts: HOSTS,
    },
];

fn clusters(ports: Ports) -> String {
    let no_retries = "circuit_breakers: { thresholds: [ { max_retries: 0 } ] }";
    // The helper has no place for an assignment's policy.
    let dropped = format!(
        "- name: closed_and_dropped\n  type: STATIC\n  load_assignment: {{ cluster_name: x, \
         endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: \
         127.0.0.1, port_value: {} }} }} }} }} ] }} ], policy: {{ drop_overloads: [ {{ category: \
         overload, drop_percentage: {{ numerator: 100 }} }} ] }} }}\n",
        ports.origin
    );
    [
        cluster("open", ports.origin, ""),
        cluster("closed", ports.origin, ""),
        cluster("with.dots", ports.origin, ""),
        cluster("renamed", ports.origin, "alt_stat_name: other"),
        cluster("fraction", ports.origin, ""),
        cluster("too_much", ports.origin, ""),
        cluster("text", ports.origin, ""),
        cluster("negative", ports.origin, ""),
        cluster("no_retries", ports.origin, no_retries),
        empty_cluster("closed_without_hosts"),
        dropped,
    ]
    .concat()
}

const MAINTENANCE: &str = "maintenance_mode: { closed: 100, with.dots: 100, renamed: 100, other: 0, fraction: 99.9, too_much: 4294967396, text: \"100%\", negative: -1, closed_without_hosts: 100, closed_and_dropped: 100, nobody: 100 }";

/// A runtime with these keys below `upstream`.
fn runtime(keys: &str) -> String {
    format!(
        "layered_runtime: {{ layers: [ {{ name: file, static_layer: {{ upstream: {{ {keys} }} }} }}, \
         {{ name: admin, admin_layer: {{}} }} ] }}\n"
    )
}

fn to(cluster: &str, path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\ncluster: {cluster}\r\n{headers}\r\n")
}

fn maintenance() -> Vec<Case> {
    let get = |name, cluster| case(name, "plain", to(cluster, "/", ""));
    vec![
        get("open", "open"),
        get("closed", "closed"),
        get("a name with dots", "with.dots"),
        get("the name counts, not that of its statistics", "renamed"),
        get("more than all", "too_much"),
        get("text", "text"),
        get("negative", "negative"),
        get("before hosts are looked for", "closed_without_hosts"),
        get("before what its assignment drops", "closed_and_dropped"),
        case("nothing is told", "quiet", to("closed", "/", "")),
        case(
            "behind strict headers",
            "quiet",
            to("closed", "/", "x-envoy-max-retries: x\r\n"),
        ),
        case("not retried", "plain", to("closed", "/retry/", "")),
        case(
            "not retried for the request's own headers",
            "plain",
            to("closed", "/", "x-envoy-retry-on: 5xx\r\n"),
        ),
        case(
            "grpc",
            "plain",
            "POST / HTTP/1.1\r\nhost: a\r\ncluster: closed\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n",
        ),
        case(
            "with a body",
            "plain",
            "POST / HTTP/1.1\r\nhost: a\r\ncluster: closed\r\ncontent-length: 3\r\n\r\nabc",
        ),
        case(
            "under a name of the request's",
            "plain",
            to("closed", "/", "x-envoy-upstream-alt-stat-name: asked\r\n"),
        ),
        case("a copy is refused", "plain", to("open", "/mirrored/", ""))
            .watch(Duration::from_millis(200)),
        case(
            "nothing is copied",
            "plain",
            to("closed", "/from-closed/", ""),
        )
        .watch(Duration::from_millis(200)),
        case(
            "after a redirect",
            "plain",
            to("closed", "/redirected/", ""),
        )
        .answer("HTTP/1.1 302 Found\r\nlocation: http://a/\r\ncontent-length: 0\r\n\r\n"),
        case("the connection goes on", "plain", to("closed", "/", ""))
            .then(Step::Await(1))
            .then_send(to("open", "/", ""))
            .answers(2),
    ]
}

const fn comparison(suite: &'static str, cases: fn() -> Vec<Case>) -> Comparison {
    Comparison {
        suite: Suite::Routing(suite),
        listeners: LISTENERS,
        clusters,
        cases,
    }
}

#[test]
fn clusters_in_maintenance_refuse_as_envoys_do() {
    let test = "clusters_in_maintenance_refuse_as_envoys_do";
    comparison("maintenance", maintenance).run_with(test, &runtime(MAINTENANCE));
}

/// What is set while the proxy runs counts for the next request.
#[test]
fn maintenance_begins_and_ends_while_the_proxy_runs() {
    let cases = || {
        vec![
            case("begun", "plain", to("open", "/", "")),
            case("ended", "plain", to("closed", "/", "")),
        ]
    };
    let change = "/runtime_modify?upstream.maintenance_mode.open=100\
                  &upstream.maintenance_mode.closed=0";
    let test = "maintenance_begins_and_ends_while_the_proxy_runs";
    comparison("maintenance_later", cases).run_after(test, &runtime(MAINTENANCE), &[change]);
}

const FAILS: &str = "HTTP/1.1 503 Bad\r\ncontent-length: 0\r\n\r\n";

/// The origin fails once, then it does not.
fn fails_once(case: Case) -> Case {
    let say = |bytes: &str| vec![Act::Send(bytes.into())];
    let ok = say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    case.origin(vec![Act::Read, Act::Turns(vec![say(FAILS), ok])])
}

fn retries() -> Vec<Case> {
    let get = |name, path, headers| fails_once(case(name, "plain", to("open", path, headers)));
    vec![
        get("by policy", "/retry/", ""),
        get("by the request", "/", "x-envoy-retry-on: 5xx\r\n"),
        get("none is left", "/none-left/", ""),
        fails_once(case("too many", "plain", to("no_retries", "/retry/", ""))),
        case("no response", "plain", to("open", "/retry/", "")).origin(vec![Act::Read, Act::Close]),
        case("hedged", "plain", to("open", "/hedged/", "")).origin(vec![
            Act::Read,
            Act::Wait(Duration::from_millis(400)),
            Act::Close,
        ]),
    ]
}

#[test]
fn no_retry_is_made_where_the_runtime_forbids_it() {
    let test = "no_retry_is_made_where_the_runtime_forbids_it";
    comparison("use_retry", retries).run_with(test, &runtime("use_retry: 0"));
}

#[test]
fn retries_end_and_begin_while_the_proxy_runs() {
    let test = "retries_end_and_begin_while_the_proxy_runs";
    let cases = || {
        let get = |name, path| fails_once(case(name, "plain", to("open", path, "")));
        vec![get("not made", "/retry/"), get("nor here", "/own/")]
    };
    let none = &["/runtime_modify?upstream.use_retry=0"];
    comparison("use_retry_later", cases).run_after(test, &runtime("use_retry: 100"), none);
    let all = &["/runtime_modify?upstream.use_retry=1000"];
    comparison("use_retry_later", retries).run_after(test, &runtime("use_retry: 0"), all);
}

/// A first wait that is drawn from hours is longer than any request.
#[test]
fn the_first_wait_of_retries_is_the_runtimes() {
    const OWN: (&str, &str) = ("the policy says something", "/own/");
    const LONG: (&str, &str) = ("the policy says nothing", "/slow/");
    const SHORT: (&str, &str) = ("the policy says nothing", "/retry/");
    fn get((name, path): (&'static str, &str)) -> Case {
        fails_once(case(name, "quiet", to("open", path, "")))
    }
    let test = "the_first_wait_of_retries_is_the_runtimes";
    let long = || [LONG, OWN].map(get).into();
    let short = || [SHORT, OWN].map(get).into();
    let hours = runtime("base_retry_backoff_ms: 1000000000");
    comparison("base_retry_backoff", long).run_with(test, &hours);
    let a_millisecond = &["/runtime_modify?upstream.base_retry_backoff_ms=1"];
    comparison("base_retry_backoff", short).run_after(test, &hours, a_millisecond);
}

/// As large a part of the requests is refused as is said.
#[test]
fn as_many_are_refused_as_the_runtime_says() {
    let shares = |program: &Program| {
        let fleet = Fleet::start(1);
        let port = fleet.ports()[0];
        let ports = Ports {
            origin: port,
            mirror: port,
            refused: port,
            stuck: port,
        };
        let text = bootstrap(LISTENERS, &clusters(ports));
        let text = text + &runtime("maintenance_mode: { open: 30 }");
        let process = Process::start(program, &text);
        let expected = Expectation {
            answers: REQUESTS,
            ..Expectation::default()
        };
        let one = |number| {
            let request = to("open", "/", "");
            [Step::Send(request.into()), Step::Await(number)]
        };
        let steps: Vec<_> = (1..=REQUESTS).flat_map(one).collect();
        let answered = converse(process.listener("plain"), &steps, &expected);
        let count = answered.finals().count();
        assert_eq!(count, REQUESTS, "{}: {:?}", program.name(), answered.end);
        let refused = answered.finals().filter(|answer| answer.status() == 503);
        let share = refused.count() as f64 / REQUESTS as f64;
        // Five standard deviations.
        assert!((share - 0.3).abs() < 0.115, "{}: {share}", program.name());
    };
    let _ = as_in_envoy("as_many_are_refused_as_the_runtime_says", shares);
}

const REQUESTS: usize = 400;
