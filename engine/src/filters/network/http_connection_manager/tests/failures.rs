//! Hosts that break, clients that leave, limits that are reached.

use super::*;

const ONE_REQUEST: &str =
    "circuit_breakers: { thresholds: [ { max_requests: 1, max_connections: 10 } ] },";
const ONE_CONNECTION: &str = "circuit_breakers: { thresholds: [ { max_connections: 1 } ] },";

/// An access log of flags and details, and where it is.
struct Log {
    file: tempfile::NamedTempFile,
    setup: Setup,
}

impl Log {
    fn new(setup: Setup) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let manager = format!(
            r#"{manager} access_log: [ {{ name: envoy.access_loggers.file, typed_config: {{
                "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog,
                path: "{path}", log_format: {{ text_format_source: {{
                    inline_string: "%RESPONSE_CODE% %RESPONSE_FLAGS%\n" }} }} }} }} ],"#,
            manager = setup.manager,
            path = file.path().display(),
        );
        let setup = Setup {
            // A few bytes for each test.
            manager: manager.leak(),
            ..setup
        };
        Self { file, setup }
    }

    /// Waits for `count` lines and returns the last one.
    fn line(&self, count: usize) -> String {
        let read = || std::fs::read_to_string(self.file.path()).unwrap();
        wait_until("the log has its lines", || read().lines().count() >= count);
        let text = read();
        assert_eq!(text.lines().count(), count, "{text}");
        text.lines().next_back().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_client_that_leaves_cancels_its_request() {
    on_both_drivers(|driver| {
        let origin = silent();
        let log = Log::new(Setup::default());
        let mut proxy = Proxy::start(driver, &log.setup, origin.address);
        let mut client = proxy.connect();
        client.get("/");
        wait_until("the host has it", || {
            proxy.cluster("upstream_rq_active") == 1
        });
        drop(client);
        wait_until("the host's connection is closed", || {
            proxy.cluster("upstream_cx_active") == 0
        });
        assert_eq!(log.line(1), "0 DC");
        for (name, count) in [
            ("upstream_cx_destroy_local_with_active_rq", 1),
            ("upstream_cx_destroy_remote", 0),
            ("upstream_rq_timeout", 0),
        ] {
            assert_eq!(proxy.cluster(name), count, "{name}");
        }
        proxy.wait_until_quiet();
        assert_eq!(proxy.http("downstream_cx_destroy_remote_active_rq"), 1);
        proxy.check_balance();
    });
}

#[test]
fn a_client_that_leaves_while_it_waits_for_a_connection_makes_room() {
    on_both_drivers(|driver| {
        let origin = silent();
        let log = Log::new(Setup {
            cluster: ONE_CONNECTION,
            ..Setup::default()
        });
        let mut proxy = Proxy::start(driver, &log.setup, origin.address);
        let mut first = proxy.connect();
        first.get("/");
        wait_until("the host has it", || {
            proxy.cluster("upstream_rq_active") == 1
        });
        let mut second = proxy.connect();
        second.get("/");
        wait_until("it waits", || {
            proxy.cluster("upstream_rq_pending_active") == 1
        });
        drop(second);
        wait_until("it waits no more", || {
            proxy.cluster("upstream_rq_pending_active") == 0
        });
        assert_eq!(log.line(1), "0 DC");
        assert_eq!(proxy.cluster("upstream_rq_cancelled"), 1);
        assert_eq!(
            proxy.cluster("upstream_rq_active"),
            1,
            "the first one is not concerned"
        );
        drop(first);
        assert_eq!(log.line(2), "0 DC");
        proxy.check_balance();
        assert_eq!(origin.accepted(), 1);
    });
}

#[test]
fn more_requests_than_allowed_are_refused_and_cost_no_connection() {
    on_both_drivers(|driver| {
        let origin = silent();
        let log = Log::new(Setup {
            cluster: ONE_REQUEST,
            ..Setup::default()
        });
        let mut proxy = Proxy::start(driver, &log.setup, origin.address);
        let mut first = proxy.connect();
        first.get("/");
        wait_until("the host has it", || {
            proxy.cluster("upstream_rq_active") == 1
        });
        assert_eq!(proxy.cluster("circuit_breakers.default.rq_open"), 1);
        let mut second = proxy.connect();
        for refused in 1..=3 {
            let response = second.ask("/");
            assert_eq!(response.status, 503);
            assert_eq!(response.header("x-envoy-overloaded"), Some("true"));
            assert!(response.text().ends_with("reset reason: overflow"));
            assert_eq!(log.line(refused), "503 UO");
        }
        assert_eq!(
            proxy.cluster("upstream_cx_active"),
            2,
            "one is unused and was kept"
        );
        assert_eq!(proxy.cluster("upstream_rq_total"), 1);
        drop((first, second));
        wait_until("the limit has room", || {
            proxy.cluster("circuit_breakers.default.rq_open") == 0
        });
        proxy.check_balance();
    });
}

#[test]
fn a_host_that_closes_before_it_answers_is_reported() {
    on_both_drivers(|driver| {
        let origin = Origin::start(|mut connection| {
            connection.head();
        });
        let log = Log::new(Setup::default());
        let mut proxy = Proxy::start(driver, &log.setup, origin.address);
        let mut client = proxy.connect();
        for line in 1..=3 {
            let response = client.ask("/");
            assert_eq!(response.status, 503);
            assert!(
                response
                    .text()
                    .ends_with("reset reason: connection termination")
            );
            assert_eq!(log.line(line), "503 UC");
        }
        drop(client);
        proxy.check_balance();
        assert_eq!(
            proxy.cluster("upstream_cx_destroy_remote_with_active_rq"),
            3
        );
    });
}

#[test]
fn a_host_that_talks_nonsense_is_reported() {
    let nonsense = || Origin::answering(|_| b"this is no response\r\n\r\n".to_vec());
    run(&Setup::default(), nonsense, |proxy, _| {
        let mut client = proxy.connect();
        for count in 1..=3 {
            let response = client.ask("/");
            assert_eq!(response.status, 502);
            assert!(response.text().ends_with("reset reason: protocol error"));
            assert_eq!(proxy.cluster("upstream_cx_protocol_error"), count);
        }
    });
}

#[test]
fn half_a_response_never_looks_whole() {
    let half = || {
        Origin::start(|mut connection| {
            let head = connection.head().unwrap_or_default();
            let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
            let counted = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
            connection.send(if head.contains("chunked") {
                chunked
            } else {
                counted
            });
        })
    };
    run(&Setup::default(), half, |proxy, _| {
        for path in ["/chunked", "/counted"] {
            let mut client = proxy.connect();
            client.get(path);
            assert!(client.read_response(false).is_err(), "{path}");
        }
        assert_eq!(proxy.http("downstream_rq_tx_reset"), 2);
    });
}

/// The end of the connection is the end of a response that has no length: only
/// a reset tells it from half of one.
#[test]
fn half_a_response_never_looks_whole_to_a_client_without_chunks() {
    let half = || {
        Origin::start(|mut connection| {
            let head = connection.head().unwrap_or_default();
            connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            std::thread::sleep(Duration::from_millis(20));
            if head.contains("/whole") {
                connection.send("0\r\n\r\n");
            }
        })
    };
    let setup = Setup {
        manager: "http_protocol_options: { accept_http_10: true },",
        ..Setup::default()
    };
    run(&setup, half, |proxy, _| {
        let mut client = proxy.connect();
        client.send("GET /whole HTTP/1.0\r\nhost: test\r\n\r\n");
        assert_eq!(client.response().text(), "half");
        // The host ends it, which the next request must not meet.
        wait_until("the host's connection is gone", || {
            proxy.cluster("upstream_cx_active") == 0
        });
        let mut client = proxy.connect();
        client.send("GET /cut HTTP/1.0\r\nhost: test\r\n\r\n");
        assert_eq!(client.read_response(false), Err(Broken::Reset));
    });
}

#[test]
fn a_host_that_is_not_there_is_reported() {
    on_both_drivers(|driver| {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        let log = Log::new(Setup::default());
        let mut proxy = Proxy::start(driver, &log.setup, address);
        let mut client = proxy.connect();
        for line in 1..=3 {
            assert_eq!(client.ask("/").status, 503);
            assert_eq!(log.line(line), "503 UF");
        }
        drop(client);
        proxy.check_balance();
        assert_eq!(proxy.cluster("upstream_cx_connect_fail"), 3);
        assert_eq!(proxy.cluster("upstream_rq_pending_failure_eject"), 3);
    });
}
