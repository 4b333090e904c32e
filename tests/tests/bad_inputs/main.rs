//! Hostile clients and broken upstreams against Ringway alone, on both drivers.
//!
//! Each input of the table is sent whole, byte by byte, and in between. What
//! is asserted: the status, that a counter moved, that the connection is closed
//! where that is the answer, that nothing after the input was taken for a
//! request, and that the proxy still serves the next client.

mod conversations;
mod requests;
mod responses;

use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, cluster};
use ringway_tests::observation::Scene;
use ringway_tests::process::Program;
use ringway_tests::programs;
use std::thread;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "strict",
        manager: "codec_type: HTTP1",
        hosts: EVERYTHING_TO_ORIGIN,
    },
    Listener {
        name: "trailers",
        manager: "http_protocol_options: { enable_trailers: true }",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/" }
    route: { cluster: with_trailers }
"#,
    },
    Listener {
        name: "edge",
        manager: "use_remote_address: true\nnormalize_path: true\nmerge_slashes: true\n\
                  path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT\n\
                  common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/admin" }
    direct_response: { status: 403 }
  - match: { prefix: "/" }
    route: { cluster: origin }
"#,
    },
    Listener {
        name: "direct",
        manager: "",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/" }
    direct_response: { status: 200, body: { inline_string: "direct" } }
"#,
    },
];

fn scene(driver: programs::Driver) -> Scene {
    Scene::start(&Program::Ringway(driver), LISTENERS, |ports| {
        let trailers = "typed_extension_protocol_options:\n  \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
             explicit_http_config: { http_protocol_options: { enable_trailers: true } }";
        [
            cluster("origin", ports.origin, ""),
            cluster("with_trailers", ports.origin, trailers),
        ]
        .concat()
    })
}

/// Runs `test` on every driver at once, collects what went wrong, and reports
/// it together.
fn on_every_driver(test: impl Fn(&Scene) -> Vec<String> + Sync) {
    let test = &test;
    let problems: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = programs::drivers()
            .into_iter()
            .map(|driver| {
                scope.spawn(move || {
                    let mut scene = scene(driver);
                    let mut problems = test(&scene);
                    if !scene.process.is_running() {
                        problems.push(format!("the proxy ended:\n{}", scene.process.stderr()));
                    }
                    if scene.process.stderr().contains("panicked") {
                        problems.push(format!("something panicked:\n{}", scene.process.stderr()));
                    }
                    let name = driver.name();
                    problems
                        .into_iter()
                        .map(move |problem| format!("{name}: {problem}"))
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|one| one.join().expect("the test of a driver ended"))
            .collect()
    });
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
