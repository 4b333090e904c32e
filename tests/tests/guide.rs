//! The third chapter of the guide that the project implements, as a user would
//! do it: a proxy on one port, an upstream on another, curl.

use ringway_tests::client::{self, Expectation, Step};
use ringway_tests::message::Message;
use ringway_tests::origin::{Act, Origin};
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The file of section 3.2. The guide's text has lost two slashes to a copying
/// mistake; `prefix` and `log` are what stands there. The ports are free ones.
fn guide_file(prefix: &str, log: &str, upstream: u16) -> String {
    format!(
        r#"# Static bootstrap configuration for Envoy
static_resources:
  listeners:
  - name: listener_0 # A unique name for the listener
    address:
      socket_address:
        protocol: TCP
        address: 0.0.0.0 # Listen on all network interfaces
        port_value: 0
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress_http
          codec_type: AUTO
          route_config:
            name: local_route
            virtual_hosts:
            - name: backend
              domains: ["*"]
              routes:
              - match: {{ prefix: "{prefix}" }}
                route:
                  cluster: service1_cluster
                  timeout: 5s
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: service1_cluster
    connect_timeout: 0.5s
    lb_policy: ROUND_ROBIN
    type: STATIC
    load_assignment:
      cluster_name: service1_cluster
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: 127.0.0.1
                port_value: {upstream}
admin:
  access_log_path: "{log}"
  address:
    socket_address:
      protocol: TCP
      address: 127.0.0.1
      port_value: 0
"#
    )
}

/// GET with curl where there is one, as the guide says, else by ourselves.
fn fetch(curl: Option<&Path>, port: u16, path: &str) -> String {
    if let Some(curl) = curl {
        let output = Command::new(curl)
            .args(["-s", "--max-time", "10", &format!("localhost:{port}{path}")])
            .stdin(Stdio::null())
            .output()
            .expect("curl can be run");
        assert!(output.status.success(), "curl: {output:?}");
        return String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
    let outcome = client::converse(
        address,
        &[Step::Send(request.into_bytes())],
        &Expectation::default(),
    );
    outcome
        .finals()
        .next()
        .map_or_else(String::new, Message::text)
}

#[test]
fn the_guides_walk_through_works_as_printed() {
    let curl = programs::optional("the guide's walk-through under curl", "curl");
    on_every_driver(|program| {
        let upstream = Origin::start();
        // The guide's upstream answers like Python's simple server: HTTP/1.0,
        // until the connection closes.
        upstream.play(vec![
            Act::Read,
            Act::Send(
                b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6 Python/3.12\r\n\
                  Content-type: text/html\r\n\r\nHello from Upstream Service!"
                    .to_vec(),
            ),
            Act::Close,
        ]);
        let file = guide_file("/", "/dev/stdout", upstream.address().port());
        let process = Process::start(program, &file);
        let port = process.listener("listener_0").port();
        let body = fetch(curl.as_deref(), port, "/test_path");
        assert_eq!(body, "Hello from Upstream Service!");
        assert_eq!(
            upstream.seen()[0].request.first_line,
            "GET /test_path HTTP/1.1"
        );
        let stats = fetch(curl.as_deref(), process.admin().address().port(), "/stats");
        let found: Vec<_> = stats
            .lines()
            .filter(|line| line.contains("ingress_http.downstream_rq_total"))
            .collect();
        assert_eq!(found, ["http.ingress_http.downstream_rq_total: 1"]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !process.stdout().contains("/stats") {
            assert!(
                Instant::now() < deadline,
                "no line of the admin server's log"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(
            process.stderr().contains("access_log_path"),
            "a deprecated field is warned of"
        );
    });
}

#[test]
fn the_guides_file_as_it_stands_gives_404() {
    on_every_driver(|program| {
        let upstream = Origin::start();
        let file = guide_file("/techblog/en/", "/dev/stdout", upstream.address().port());
        let process = Process::start(program, &file);
        let address = SocketAddr::from(([127, 0, 0, 1], process.listener("listener_0").port()));
        let outcome = client::converse(
            address,
            &[Step::Send(
                b"GET /test_path HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            )],
            &Expectation::default(),
        );
        assert_eq!(outcome.finals().next().map(Message::status), Some(404));
        assert!(upstream.seen().is_empty());
        assert_eq!(process.admin().stat("http.ingress_http.no_route"), 1);
    });
}

fn on_every_driver(test: impl Fn(&Program)) {
    for driver in programs::drivers() {
        println!("on {}", driver.name());
        test(&Program::Ringway(driver));
    }
}
