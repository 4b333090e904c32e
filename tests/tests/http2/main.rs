//! HTTP/2 on the client's side of Ringway, on both drivers: hostile frames and
//! floods of them (`attacks.rs`), what becomes of connections and streams
//! under load, with slow clients and at their end (`connections.rs`), and beside
//! Envoy when floods and resets are too many (`floods.rs`, `resets.rs`), and how
//! many bytes of frames are logged (`wire_bytes.rs`), and what becomes of headers that do
//! not come to their end (`unfinished.rs`).

mod attacks;
mod connections;
mod floods;
mod resets;
mod unfinished;
mod wire_bytes;

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::client::{self, Expectation, Outcome, Step};
use ringway_tests::http2;
use ringway_tests::observation::Scene;
use ringway_tests::process::Program;
use ringway_tests::programs;
use std::net::SocketAddr;
use std::time::Duration;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/direct" }
    direct_response: { status: 200, body: { inline_string: "direct" } }
  - match: { prefix: "/good" }
    route: { cluster: good }
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
    listener("plain", ""),
    listener("flush", "stream_flush_timeout: 0.3s"),
    listener(
        "idle",
        "common_http_protocol_options: { idle_timeout: 1s }\ndrain_timeout: 0.2s",
    ),
    listener(
        "aged",
        "common_http_protocol_options: { max_connection_duration: 1s }\ndrain_timeout: 0.2s",
    ),
    listener(
        "pinged",
        "http2_protocol_options: { connection_keepalive: { interval: 0.2s, timeout: 3s } }",
    ),
    listener(
        "bearing",
        "http2_protocol_options: { max_inbound_priority_frames_per_stream: 3, \
         max_inbound_window_update_frames_per_data_frame_sent: 1, \
         max_consecutive_inbound_frames_with_empty_payload: 5 }",
    ),
    listener(
        "few",
        "http2_protocol_options: { max_concurrent_streams: 2 }",
    ),
];

/// How long a client may wait beside others.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` on every driver, and makes sure that nothing panicked.
fn on_every_driver(test: impl Fn(&Scene)) {
    for driver in programs::drivers() {
        programs::say(&format!("on {}", driver.name()));
        let mut scene = Scene::start(&Program::Ringway(driver), LISTENERS, |ports| {
            cluster("origin", ports.origin, "")
        });
        test(&scene);
        assert!(scene.process.is_running(), "{}", scene.process.stderr());
        assert!(
            !scene.process.stderr().contains("panicked"),
            "{}",
            scene.process.stderr()
        );
    }
}

/// Sends frames behind the preface and reads `answers`; 0 waits for the end.
fn ask(address: SocketAddr, frames: Vec<u8>, answers: usize) -> Outcome {
    let steps = [Step::Send(http2::preface()), Step::Send(frames)];
    client::converse(address, &steps, &self::answers(answers))
}

fn answers(count: usize) -> Expectation {
    Expectation {
        answers: count,
        http2: true,
        patience: PATIENCE,
        ..Expectation::default()
    }
}

/// Waits until no stream and no connection of HTTP/2 is left.
fn await_quiet(scene: &Scene) {
    let (stats, quiet) = scene.process.admin().await_stats(PATIENCE, |stats| {
        let is_zero = |name: &String| stats[name] == 0;
        let mut gauges = stats.keys().filter(|name| {
            name.as_str() == "http2.streams_active"
                || name.ends_with("downstream_cx_http2_active")
                || name.starts_with("http.")
                    && name.ends_with(".downstream_rq_active")
                    && !name.contains(".admin.")
        });
        gauges.all(is_zero)
    });
    assert!(quiet, "streams or connections are left: {stats:?}");
}
