//! The proxy that the requests of the next files go through.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs;

const LISTENERS: &[Listener] = &[
    // An address of this range in x-forwarded-for makes a request internal.
    Listener {
        name: "decisions",
        manager: "internal_address_config: { cidr_ranges: [ \
                  { address_prefix: 10.0.0.0, prefix_len: 8 } ] }\n\
                  upgrade_configs:\n\
                  - { upgrade_type: websocket }\n\
                  - { upgrade_type: closed, enabled: false }\n\
                  - { upgrade_type: CONNECT }\n",
        hosts: include_str!("decisions.yaml"),
    },
    Listener {
        name: "filtered",
        manager: include_str!("filters_manager.yaml"),
        hosts: include_str!("filters.yaml"),
    },
    Listener {
        name: "scoped",
        manager: concat!(
            include_str!("filters_manager.yaml"),
            include_str!("filters_scope.yaml")
        ),
        hosts: "",
    },
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, "connect_timeout: 3s"),
        cluster("other", ports.origin, ""),
        cluster("mirror", ports.mirror, ""),
        cluster("mirror2", ports.mirror, ""),
        cluster(
            "brief",
            ports.origin,
            "typed_extension_protocol_options: { \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             common_http_protocol_options: { max_stream_duration: 0.1s }, \
             explicit_http_config: { http_protocol_options: {} } } }",
        ),
        empty_cluster("empty"),
    ]
    .concat()
}

/// Runs with a scene for each driver.
pub(crate) fn on_each_driver(test: impl Fn(&Scene)) {
    for driver in programs::drivers() {
        test(&Scene::start(
            &Program::Ringway(driver),
            LISTENERS,
            clusters,
        ));
    }
}

/// A scene for what does not depend on the driver.
pub(crate) fn scene() -> Scene {
    Scene::start(
        &Program::Ringway(programs::drivers()[0]),
        LISTENERS,
        clusters,
    )
}

/// Makes a request internal.
pub(crate) const INTERNAL: (&str, &str) = ("x-forwarded-for", "10.1.1.1");
/// With `upgrade`, asks for another protocol.
pub(crate) const UPGRADE: (&str, &str) = ("connection", "upgrade");
