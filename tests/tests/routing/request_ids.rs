//! `request_id_extension` and what the edge makes of ids that come with
//! requests; `path_normalization_options`, which Envoy does not implement.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

/// The fields of a connection manager that makes ids, with these more.
macro_rules! ids {
    ($more:literal, $extension:literal) => {
        concat!(
            "always_set_request_id_in_response: true\n",
            "internal_address_config: { cidr_ranges: [ { address_prefix: 10.0.0.0, prefix_len: 8 } ] }\n",
            $more,
            $extension
        )
    };
}

macro_rules! uuid {
    ($options:literal) => {
        concat!(
            "request_id_extension: { typed_config: { \"@type\": ",
            "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            $options,
            " } }\n"
        )
    };
}

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - match: { path: /normal }
    direct_response: { status: 201 }
  - match: { prefix: "/" }
    route: { cluster: origin }
"#;

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: HOSTS,
    }
}

const LISTENERS: &[Listener] = &[
    listener("inside", ids!("", "")),
    listener("edge", ids!("use_remote_address: true\n", "")),
    listener(
        "preserving",
        ids!(
            "use_remote_address: true\npreserve_external_request_id: true\n",
            ""
        ),
    ),
    listener(
        "packing",
        concat!(
            ids!(
                "use_remote_address: true\npreserve_external_request_id: true\n",
                ""
            ),
            uuid!(", pack_trace_reason: true, use_request_id_for_trace_sampling: false")
        ),
    ),
    listener(
        "not_packing",
        concat!(
            ids!(
                "use_remote_address: true\npreserve_external_request_id: true\n",
                ""
            ),
            uuid!(", pack_trace_reason: false")
        ),
    ),
    listener(
        "empty",
        ids!(
            "use_remote_address: true\npreserve_external_request_id: true\n",
            "request_id_extension: {}\n"
        ),
    ),
    listener(
        "no_ids",
        ids!(
            "use_remote_address: true\npreserve_external_request_id: true\ngenerate_request_id: false\n",
            ""
        ),
    ),
    listener(
        "forwarding",
        "path_normalization_options: { forwarding_transformation: { operations: \
         [ { normalize_path_rfc_3986: {} }, { merge_slashes: {} } ] } }",
    ),
    listener(
        "filtering",
        "normalize_path: true\npath_normalization_options: { http_filter_transformation: \
         { operations: [ { merge_slashes: {} } ] } }",
    ),
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

const TRACED: &str = "12345678-1234-9234-9234-123456789012";
const FORCED: &str = "12345678-1234-a234-9234-123456789012";

fn cases() -> Vec<Case> {
    let ask = |name, listener, id: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: {id}\r\n\r\n");
        case(name, listener, request)
    };
    let path = |name, listener, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        case(name, listener, request)
    };
    let mut all = vec![
        ask("inside, traced", "inside", TRACED),
        ask("inside, empty", "inside", ""),
        ask("edge, traced", "edge", TRACED),
        ask("edge, empty", "edge", ""),
        ask("preserving, traced", "preserving", TRACED),
        ask("preserving, forced", "preserving", FORCED),
        ask("preserving, no UUID", "preserving", "abc"),
        ask("preserving, too long", "preserving", &format!("{TRACED}9")),
        ask(
            "preserving, 36 bytes",
            "preserving",
            "abcdefghijklmnopqrstuvwxyzabcdefghij",
        ),
        ask("preserving, empty", "preserving", ""),
        ask("packing, traced", "packing", TRACED),
        ask("not packing, traced", "not_packing", TRACED),
        ask("not packing, empty", "not_packing", ""),
        ask("empty extension, traced", "empty", TRACED),
        ask("no ids, traced", "no_ids", TRACED),
        ask("no ids, empty", "no_ids", ""),
    ];
    for (name, listener) in [
        ("from inside, inside", "inside"),
        ("from inside, edge", "edge"),
        ("from inside, preserving", "preserving"),
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\nx-request-id: {TRACED}\r\n\r\n"
        );
        all.push(case(name, listener, request));
    }
    all.extend([
        path("dots are forwarded", "forwarding", "/a/../normal"),
        path("slashes are forwarded", "forwarding", "//normal"),
        path("dots are normalized", "filtering", "/a/../normal"),
        path("slashes stay", "filtering", "/a//b"),
    ]);
    all
}

#[test]
fn request_ids_are_envoys() {
    let suite = Comparison {
        suite: Suite::Routing("request_ids"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("request_ids_are_envoys");
}
