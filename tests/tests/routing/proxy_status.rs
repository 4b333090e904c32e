//! `proxy_status_config`: what clients are told of errors.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const HOSTS: &str = include_str!("proxy_status/routes.yaml");

/// The fields of a connection manager with these of `proxy_status_config`.
macro_rules! told {
    ($config:literal) => {
        concat!(
            "proxy_status_config: {",
            $config,
            "}\nvia: me\nhttp_filters:\n- name: fault\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault\n",
            "- name: router\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
        )
    };
}

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: HOSTS,
    }
}

const LISTENERS: &[Listener] = &[
    listener("usual", told!("")),
    listener(
        "recommended",
        told!(" set_recommended_response_code: true "),
    ),
    listener(
        "literal",
        told!(" literal_proxy_name: 'a \"proxy\"', remove_details: true "),
    ),
    listener("empty", told!(" literal_proxy_name: '' ")),
    listener("node", told!(" use_node_id: true ")),
    listener("not_node", told!(" use_node_id: false ")),
    listener("no_flags", told!(" remove_response_flags: true ")),
    listener(
        "no_termination",
        told!(" remove_connection_termination_details: true "),
    ),
    Listener {
        name: "named",
        manager: "proxy_status_config: {}\nserver_name: srv\n\
                  local_reply_config: { mappers: [ { filter: { status_code_filter: { comparison: \
                  { op: EQ, value: { default_value: 404, runtime_key: none } } } }, status_code: 410, \
                  headers_to_add: [ { header: { key: proxy-status, value: mapped } } ] } ] }",
        hosts: HOSTS,
    },
];

fn clusters(ports: Ports) -> String {
    let limited =
        "circuit_breakers: { thresholds: [ { max_requests: 0, max_pending_requests: 0 } ] }";
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
        cluster("stuck", ports.stuck, "connect_timeout: 0.2s"),
        cluster("full", ports.origin, limited),
        empty_cluster("empty"),
    ]
    .concat()
}

fn get(name: &'static str, listener: &'static str, path: &str) -> Case {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    case(name, listener, request)
}

const NO_ANSWER: [Act; 2] = [Act::Read, Act::Drain];

fn cases() -> Vec<Case> {
    let mut all = errors();
    all.extend(settings());
    all.extend(no_errors());
    all
}

fn errors() -> Vec<Case> {
    let mut all = vec![];
    for (listener, names) in [
        (
            "usual",
            [
                "no route",
                "no cluster",
                "no hosts",
                "refused",
                "refused twice",
                "full",
                "fault",
                "connect timeout",
            ],
        ),
        (
            "recommended",
            [
                "recommended: no route",
                "recommended: no cluster",
                "recommended: no hosts",
                "recommended: refused",
                "recommended: refused twice",
                "recommended: full",
                "recommended: fault",
                "recommended: connect timeout",
            ],
        ),
    ] {
        let paths = [
            "/none",
            "/no-cluster",
            "/empty",
            "/refused",
            "/refused-twice",
            "/full",
            "/fault",
            "/stuck",
        ];
        for (name, path) in names.into_iter().zip(paths) {
            all.push(get(name, listener, path));
        }
    }
    all.extend([
        get("route timeout", "usual", "/timeout").origin(NO_ANSWER),
        get("try timeout", "usual", "/try-timeout").origin(NO_ANSWER),
        get("try idle timeout", "usual", "/try-idle").origin(NO_ANSWER),
        get("stream timeout", "usual", "/duration").origin(NO_ANSWER),
        get("idle timeout", "usual", "/idle").origin(NO_ANSWER),
        get("host closes", "usual", "/origin").origin(vec![Act::Read, Act::Close]),
        get("host closes, recommended", "recommended", "/origin")
            .origin(vec![Act::Read, Act::Close]),
        get("no HTTP", "usual", "/origin").answer("HTTP/9.9 abc\r\n\r\n"),
        get("no HTTP, recommended", "recommended", "/origin").answer("HTTP/9.9 abc\r\n\r\n"),
        get("retried in vain", "usual", "/retried").answer(
            "HTTP/1.1 503 No\r\nproxy-status: host; error=x\r\nproxy-status: other\r\ncontent-length: 0\r\n\r\n",
        ),
        get("retried in vain, recommended", "recommended", "/retried")
            .answer("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"),
        case(
            "of gRPC",
            "recommended",
            "POST /none HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n\r\n",
        ),
        case(
            "to HEAD",
            "recommended",
            "HEAD /none HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
    ]);
    all
}

fn settings() -> Vec<Case> {
    vec![
        get("literal name", "literal", "/none"),
        get("empty name", "empty", "/none"),
        get("name of the node", "node", "/none"),
        get("name of the node, not asked for", "not_node", "/none"),
        get("without flags", "no_flags", "/refused-twice"),
        get("without termination details", "no_termination", "/refused"),
        get("name of the server, mapped", "named", "/none"),
        get("name of the server", "named", "/empty"),
    ]
}

fn no_errors() -> Vec<Case> {
    vec![
        get("answered", "usual", "/origin"),
        get("answered by the proxy", "usual", "/direct"),
        get("delayed", "usual", "/delayed"),
        get("host says", "usual", "/origin")
            .answer("HTTP/1.1 502 Bad\r\nproxy-status: host; error=x\r\ncontent-length: 0\r\n\r\n"),
        case("bad host", "usual", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n"),
        case("no host", "usual", "GET / HTTP/1.1\r\n\r\n"),
        case(
            "upgrade",
            "usual",
            "GET /origin HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n",
        ),
        get("cut", "usual", "/origin")
            .origin(vec![
                Act::Read,
                Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab".to_vec()),
                Act::AwaitRelease,
                Act::Close,
            ])
            .then(Step::AwaitBody(2))
            .then(Step::Release),
    ]
}

#[test]
fn errors_are_told_as_envoy_does() {
    let suite = Comparison {
        suite: Suite::Routing("proxy_status"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("errors_are_told_as_envoy_does");
}
