//! Requests that are tried again: whatever breaks, a response is whole, comes
//! once and is logged once, and nothing is left behind.

use super::*;
use crate::reactor::Options;
use crate::reactor::fault::{Plan, Side};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const RETRYING: Setup = Setup {
    listener: "",
    manager: "",
    filters: "",
    routes: r#"{ match: { prefix: "/" }, route: { cluster: host, timeout: 10s, retry_policy: {
        retry_on: "5xx", num_retries: 5, per_try_timeout: 0.5s,
        retry_back_off: { base_interval: 0.001s, max_interval: 0.004s } } } },"#,
    cluster: "circuit_breakers: { thresholds: [ { max_retries: 100 } ] },",
    more_clusters: "",
    cluster_http: "",
};

/// An origin that closes, says nonsense, fails, or breaks off within its head
/// for the first three tries of every four, and echoes the body in the last.
fn unreliable() -> Origin {
    let tries = Arc::new(AtomicUsize::new(0));
    Origin::start(move |mut connection| {
        while let Some(request) = connection.request() {
            match tries.fetch_add(1, Ordering::SeqCst) % 4 {
                0 => return,
                1 => {
                    connection.send("HTTP/1.1 503 Broken\r\ncontent-length: 5\r\n\r\nwrong");
                }
                2 => {
                    connection.send("HTTP/1.1 200 OK\r\ncontent-");
                    return;
                }
                _ => connection.send(with_length(&request.body)),
            }
        }
    })
}

#[test]
fn a_response_is_whole_and_comes_once() {
    on_both_drivers(|driver| {
        for pieces in [None, Some(3)] {
            let origin = unreliable();
            let options = Options {
                driver,
                faults: pieces.map(|size| Plan {
                    seed: 7,
                    recv_max: Some(size),
                    send_max: Some(size * 5),
                    ..Plan::default()
                }),
                ..Options::default()
            };
            let mut proxy = Proxy::start_with(&options, &RETRYING, origin.address);
            let mut client = proxy.connect();
            for n in 0..20 {
                let body = format!("body {n} ").repeat(n * 7);
                let request = if n % 2 == 0 {
                    let length = body.len();
                    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}")
                } else {
                    format!(
                        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                         {:x}\r\n{body}\r\n0\r\n\r\n",
                        body.len()
                    )
                };
                client.send(request);
                let response = client.response();
                assert_eq!((response.status, response.text()), (200, &*body));
            }
            drop(client);
            proxy.check_balance();
            assert_eq!(proxy.http("downstream_rq_total"), 20);
            assert_eq!(proxy.cluster("upstream_rq_retry"), 60);
            assert_eq!(proxy.cluster("upstream_rq_retry_success"), 20);
            assert_eq!(proxy.cluster("circuit_breakers.default.rq_retry_open"), 0);
        }
    });
}

#[test]
fn resets_on_the_way_to_the_host_never_mix_responses_up() {
    on_both_drivers(|driver| {
        let origin = Origin::echo();
        let mut whole = 0;
        for seed in 0..60 {
            let position = seed * 9;
            let plan = Plan {
                seed,
                side: Side::Connected,
                recv_max: Some(1 + (seed * 7 % 97) as usize),
                reset_after: Some(position),
                ..Plan::default()
            };
            let options = Options {
                driver,
                faults: Some(plan),
                ..Options::default()
            };
            let mut proxy = Proxy::start_with(&options, &RETRYING, origin.address);
            let mut client = proxy.connect();
            let mut asked = 0;
            for n in 0..4 {
                let path = format!("/{seed}/{n}");
                asked += 1;
                client.send(format!(
                    "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody"
                ));
                match client.read_response(false) {
                    Ok(response) if response.status == 200 => {
                        assert_eq!(response.text(), format!("{path}body"), "seed {seed}");
                        whole += 1;
                    }
                    Ok(response) => {
                        assert!(
                            matches!(response.status, 502 | 503),
                            "seed {seed}: {response:?}"
                        );
                    }
                    Err(_) => break,
                }
            }
            drop(client);
            proxy.check_balance();
            assert_eq!(proxy.http("downstream_rq_total"), asked, "seed {seed}");
        }
        assert!(whole > 60, "only {whole} responses were whole");
    });
}

#[test]
fn every_request_is_logged_once_with_its_attempts() {
    on_both_drivers(|driver| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let manager = format!(
            r#"access_log: [ {{ name: envoy.access_loggers.file, typed_config: {{
                "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog,
                path: "{path}", log_format: {{ text_format_source: {{ inline_string:
                "%RESPONSE_CODE% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n" }} }} }} }} ],"#,
            path = file.path().display(),
        );
        let setup = Setup {
            // A few bytes for each test.
            manager: manager.leak(),
            ..RETRYING
        };
        let origin = unreliable();
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let mut client = proxy.connect();
        for _ in 0..10 {
            assert_eq!(client.ask("/").status, 200);
        }
        drop(client);
        proxy.check_balance();
        let read = || std::fs::read_to_string(file.path()).unwrap();
        wait_until("the log has its lines", || read().lines().count() >= 10);
        assert_eq!(read(), "200 4\n".repeat(10));
    });
}

#[test]
fn a_dead_host_of_two_costs_no_client_an_error() {
    on_both_drivers(|driver| {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = nobody.local_addr().unwrap().port();
        drop(nobody);
        let origin = Origin::echo();
        let more = format!(
            "- {{ name: two, type: STATIC, load_assignment: {{ cluster_name: two, endpoints: [ {{ \
             lb_endpoints: [ \
             {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {dead} }} }} }} }}, \
             {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} \
             ] }} ] }} }}",
            origin.address.port()
        );
        let setup = Setup {
            routes: r#"{ match: { prefix: "/" }, route: { cluster: two, timeout: 10s, retry_policy: {
                retry_on: connect-failure, num_retries: 1,
                retry_back_off: { base_interval: 0.001s },
                host_selection_retry_max_attempts: 3,
                retry_host_predicate: [ { name: envoy.retry_host_predicates.previous_hosts,
                  typed_config: { "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } } ] } } },"#,
            more_clusters: more.leak(),
            ..Setup::default()
        };
        let mut proxy = Proxy::start(driver, &setup, origin.address);
        let mut client = proxy.connect();
        for _ in 0..20 {
            assert_eq!(client.ask("/alive").status, 200);
        }
        drop(client);
        proxy.check_balance();
        assert!(proxy.value("cluster.two.upstream_rq_retry") >= 5);
    });
}

#[test]
fn a_log_tells_of_the_last_try_alone() {
    on_both_drivers(|driver| {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = nobody.local_addr().unwrap();
        drop(nobody);
        let failing = Origin::start(|mut connection| {
            while connection.request().is_some() {
                connection.send("HTTP/1.1 503 Broken\r\ncontent-length: 5\r\n\r\nwrong");
            }
        });
        let endpoint = |address: std::net::SocketAddr| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
                 port_value: {} }} }} }} }}",
                address.port()
            )
        };
        let more = format!(
            "- {{ name: two, type: STATIC, load_assignment: {{ cluster_name: two, endpoints: [ {{ \
             lb_endpoints: [ {}, {} ] }} ] }} }}",
            endpoint(dead),
            endpoint(failing.address)
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        let manager = format!(
            r#"access_log: [ {{ name: envoy.access_loggers.file, typed_config: {{
                "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog,
                path: "{path}", log_format: {{ text_format_source: {{ inline_string:
                "%UPSTREAM_HOST% %UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_PROTOCOL%\n" }} }} }} }} ],"#,
            path = file.path().display(),
        );
        let setup = Setup {
            manager: manager.leak(),
            routes: r#"{ match: { prefix: "/" }, route: { cluster: two, retry_policy: {
                retry_on: 5xx, num_retries: 2, retry_back_off: { base_interval: 0.001s } } } },"#,
            more_clusters: more.leak(),
            ..Setup::default()
        };
        let mut proxy = Proxy::start(driver, &setup, failing.address);
        let mut client = proxy.connect();
        for _ in 0..10 {
            assert_eq!(client.ask("/").status, 503);
        }
        drop(client);
        proxy.check_balance();
        let read = || std::fs::read_to_string(file.path()).unwrap();
        wait_until("the log has its lines", || read().lines().count() >= 10);
        // Three tries over two hosts in turn end at either.
        let of_dead = format!("{dead} - - -");
        let alive = failing.address;
        let of_alive = format!("{alive} {alive} {alive} HTTP/1.1");
        for line in read().lines() {
            assert!(line == of_dead || line == of_alive, "{line}");
        }
        assert!(read().contains(&of_dead) && read().contains(&of_alive));
    });
}

#[test]
fn a_body_beyond_the_limit_is_sent_once_and_whole() {
    let setup = Setup {
        listener: "per_connection_buffer_limit_bytes: 20000,",
        ..RETRYING
    };
    let failing = || {
        Origin::answering(|request| {
            let length = request.body.len();
            format!("HTTP/1.1 503 No\r\nx-length: {length}\r\ncontent-length: 0\r\n\r\n")
                .into_bytes()
        })
    };
    run(&setup, failing, |proxy, _| {
        let mut client = proxy.connect();
        let body = "x".repeat(300_000);
        let length = body.len();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        let response = client.response();
        assert_eq!(
            (response.status, response.header("x-length")),
            (503, Some("300000"))
        );
        assert_eq!(proxy.cluster("retry_or_shadow_abandoned"), 1);
        assert_eq!(proxy.cluster("upstream_rq_retry"), 0);
        assert_eq!(proxy.cluster("upstream_rq_total"), 1);
    });
}

#[test]
fn a_hedge_answers_once_and_leaves_nothing() {
    let setup = Setup {
        routes: r#"{ match: { prefix: "/" }, route: { cluster: host, timeout: 10s,
            hedge_policy: { hedge_on_per_try_timeout: true },
            retry_policy: { retry_on: "5xx", num_retries: 3, per_try_timeout: 0.02s,
            retry_back_off: { base_interval: 0.001s } } } },"#,
        ..Setup::default()
    };
    let slow = || {
        Origin::answering(|request| {
            std::thread::sleep(Duration::from_millis(200));
            with_length(request.path().as_bytes())
        })
    };
    run(&setup, slow, |proxy, _| {
        let mut client = proxy.connect();
        for n in 0..10 {
            let path = format!("/{n}");
            assert_eq!(client.ask(&path).text(), path);
        }
        assert_eq!(proxy.http("downstream_rq_total"), 10);
        assert!(
            proxy.cluster("upstream_rq_retry") >= 10,
            "every request was hedged"
        );
    });
}
