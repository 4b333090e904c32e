//! Requests to clusters of names: what a client sees, in Ringway and in Envoy.

use ringway_tests::bootstrap::Listener;
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::name_server::{NameServer, Reply};
use ringway_tests::observation::Ports;
use std::sync::LazyLock;

static NAMES: LazyLock<NameServer> = LazyLock::new(|| {
    let server = NameServer::start();
    server.set_addresses("origin.test", &["127.0.0.1"]);
    server.set_addresses("nowhere.test", &[]);
    server.set_addresses("dead.test", &["127.0.0.1"]);
    server.set("fails.test", Reply::Error(2));
    server
});

const LISTENERS: &[Listener] = &[Listener {
    name: "names",
    manager: "",
    hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/rewrite/" }
    route: { cluster: strict, auto_host_rewrite: true }
  - match: { prefix: "/rewrite-named/" }
    route: { cluster: named, auto_host_rewrite: true }
  - match: { prefix: "/rewrite-logical/" }
    route: { cluster: logical, auto_host_rewrite: true }
  - match: { prefix: "/rewrite-address/" }
    route: { cluster: address, auto_host_rewrite: true }
  - match: { prefix: "/strict/" }
    route: { cluster: strict }
  - match: { prefix: "/logical/" }
    route: { cluster: logical }
  - match: { prefix: "/typed/" }
    route: { cluster: typed }
  - match: { prefix: "/host/" }
    route: { cluster: strict }
    response_headers_to_add:
    - header: { key: x-host, value: "%UPSTREAM_HOST_NAME% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" }
  - match: { prefix: "/nowhere/" }
    route: { cluster: nowhere }
  - match: { prefix: "/nowhere-logical/" }
    route: { cluster: nowhere-logical }
  - match: { prefix: "/nowhere-retried/" }
    route: { cluster: nowhere, retry_policy: { retry_on: "5xx,reset,connect-failure", num_retries: 2, retry_back_off: { base_interval: 0.001s } } }
  - match: { prefix: "/fails/" }
    route: { cluster: fails }
  - match: { prefix: "/fails-logical/" }
    route: { cluster: fails-logical }
  - match: { prefix: "/dead/" }
    route: { cluster: dead }
  - match: { prefix: "/dead-retried/" }
    route: { cluster: dead, retry_policy: { retry_on: "connect-failure", num_retries: 2, retry_back_off: { base_interval: 0.001s } } }
  - match: { prefix: "/second/" }
    route: { cluster: second }
  - match: { prefix: "/no-names/" }
    route: { cluster: no-names }
  - match: { prefix: "/pipe/" }
    route: { cluster: pipe }
  - match: { prefix: "/abstract/" }
    route: { cluster: abstract }
"#,
}];

fn clusters(ports: Ports) -> String {
    let resolver = NAMES.resolver();
    let endpoint = |name: &str, port: u16, more: &str| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: \"{name}\", \
             port_value: {port} }} }} {more} }} }}"
        )
    };
    let cluster = |name: &str, kind: &str, endpoints: &str| {
        format!(
            "- {{ name: {name}, {kind}, load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {endpoints} ] }} }}\n"
        )
    };
    let strict = format!("type: STRICT_DNS, dns_refresh_rate: 600s, {resolver}");
    let logical = format!("type: LOGICAL_DNS, dns_refresh_rate: 600s, {resolver}");
    let typed = format!(
        "cluster_type: {{ name: envoy.clusters.dns, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, {resolver}, \
         dns_refresh_rate: 600s }} }}"
    );
    let one =
        |name: &str, port: u16| format!("{{ lb_endpoints: [ {} ] }}", endpoint(name, port, ""));
    let origin = ports.origin;
    [
        cluster("strict", &strict, &one("origin.test", origin)),
        cluster("logical", &logical, &one("origin.test", origin)),
        cluster("typed", &typed, &one("origin.test", origin)),
        cluster("address", &strict, &one("127.0.0.1", origin)),
        cluster(
            "named",
            &strict,
            &format!(
                "{{ lb_endpoints: [ {} ] }}",
                endpoint("origin.test", origin, ", hostname: other.name")
            ),
        ),
        cluster("nowhere", &strict, &one("nowhere.test", origin)),
        cluster("nowhere-logical", &logical, &one("nowhere.test", origin)),
        cluster("fails", &strict, &one("fails.test", origin)),
        cluster("fails-logical", &logical, &one("fails.test", origin)),
        cluster("dead", &strict, &one("dead.test", ports.refused)),
        cluster(
            "second",
            &strict,
            &format!(
                "{}, {{ priority: 1, lb_endpoints: [ {} ] }}",
                one("nowhere.test", origin),
                endpoint("origin.test", origin, "")
            ),
        ),
        cluster("no-names", &strict, ""),
        cluster(
            "pipe",
            "type: STATIC",
            "{ lb_endpoints: [ { endpoint: { address: { pipe: { path: nobody.sock } } } } ] }",
        ),
        cluster(
            "abstract",
            "type: STATIC",
            "{ lb_endpoints: [ { endpoint: { address: { pipe: { path: \"@ringway-nobody\" } } } } ] }",
        ),
    ]
    .concat()
}

fn get(name: &'static str, path: &str) -> Case {
    let request = format!("GET /{path}/ HTTP/1.1\r\nhost: client.name\r\n\r\n");
    case(name, "names", request)
}

fn cases() -> Vec<Case> {
    vec![
        get("strict", "strict"),
        get("logical", "logical"),
        get("typed", "typed"),
        get("address and name of the host", "host"),
        get("host rewritten to the name", "rewrite"),
        get("host rewritten to a hostname", "rewrite-named"),
        get("host rewritten, logical", "rewrite-logical"),
        get("host rewritten to an address", "rewrite-address"),
        get("no such name", "nowhere"),
        get("no such name, logical", "nowhere-logical"),
        get("no such name, retried", "nowhere-retried"),
        get("name server fails", "fails"),
        get("name server fails, logical", "fails-logical"),
        get("host is dead", "dead"),
        get("host is dead, retried", "dead-retried"),
        get("first priority has no hosts", "second"),
        get("no names", "no-names"),
        get("no unix socket", "pipe"),
        get("no abstract socket", "abstract"),
        get("reused", "strict")
            .then(Step::Await(1))
            .then_send("GET /strict/2 HTTP/1.1\r\nhost: b\r\n\r\n")
            .answers(2),
    ]
}

#[test]
fn requests_are_answered_as_by_envoy() {
    Comparison {
        suite: Suite::Discovery("requests"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("requests_are_answered_as_by_envoy");
}
