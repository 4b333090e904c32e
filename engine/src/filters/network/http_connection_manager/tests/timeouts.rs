//! Time limits, with values short enough to wait for.

use super::*;

/// The limit that most tests set, `0.1s` in the configuration.
const LIMIT: Duration = Duration::from_millis(100);

fn limits(manager: &'static str) -> Setup {
    Setup {
        manager,
        routes: LOCAL_ROUTES,
        ..Setup::default()
    }
}

/// Not at once, and before any limit that nobody has set: clocks that are read
/// once a turn, and a machine that is busy, allow for no more.
fn assert_in_time(begin: Instant) {
    let took = begin.elapsed();
    assert!(took >= LIMIT / 2, "after {took:?}, too early");
    assert!(took < PATIENCE, "after {took:?}, too late");
}

#[test]
fn a_head_must_arrive_in_time() {
    run(
        &limits("request_headers_timeout: 0.1s,"),
        Origin::echo,
        |proxy, _| {
            // Also behind empty lines, which belong to no request.
            for before in ["", "\r\n"] {
                let mut client = proxy.connect();
                let begin = Instant::now();
                if !before.is_empty() {
                    client.send(before);
                    std::thread::sleep(LIMIT * 2);
                }
                client.send("GET / HTTP/1.1\r\nho");
                let response = client.response();
                assert_in_time(begin);
                assert_eq!(
                    (response.status, response.text()),
                    (408, "request header timeout")
                );
                assert!(client.is_at_end());
            }
            assert_eq!(proxy.http("downstream_rq_header_timeout"), 2);
        },
    );
}

#[test]
fn a_head_that_is_not_whole_is_no_progress() {
    let setup = limits("stream_idle_timeout: 0.1s, request_timeout: 9s,");
    run(&setup, Origin::echo, |proxy, _| {
        for begun in ["GET / HT", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
            let mut client = proxy.connect();
            let begin = Instant::now();
            client.send(begun);
            let response = client.response();
            assert_in_time(begin);
            assert_eq!((response.status, response.text()), (408, "stream timeout"));
            assert!(client.is_at_end());
        }
        assert_eq!(proxy.http("downstream_rq_idle_timeout"), 2);
        assert_eq!(proxy.http("downstream_rq_timeout"), 0);
    });
}

#[test]
fn a_head_that_trickles_in_must_arrive_in_time_too() {
    run(
        &limits("request_headers_timeout: 0.1s,"),
        Origin::echo,
        |proxy, _| {
            let mut client = proxy.connect();
            let begin = Instant::now();
            for _ in 0..8 {
                client.send("G");
                std::thread::sleep(LIMIT / 5);
            }
            assert_eq!(client.response().status, 408);
            assert_in_time(begin);
        },
    );
}

#[test]
fn the_whole_request_must_arrive_in_time() {
    for manager in [
        "request_timeout: 0.1s,",
        "request_timeout: 0.1s, request_headers_timeout: 9s,",
    ] {
        run(&limits(manager), silent, |proxy, _| {
            for start in [
                "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nhalf",
                "POST /",
            ] {
                let mut client = proxy.connect();
                let begin = Instant::now();
                client.send(start);
                let response = client.response();
                assert_in_time(begin);
                assert_eq!((response.status, response.text()), (408, "request timeout"));
                client.close_write();
                assert!(client.is_at_end());
            }
            assert_eq!(proxy.http("downstream_rq_timeout"), 2);
        });
    }
}

#[test]
fn a_stream_without_progress_is_ended() {
    run(&limits("stream_idle_timeout: 0.1s,"), silent, |proxy, _| {
        let mut client = proxy.connect();
        let begin = Instant::now();
        let response = client.ask("/");
        assert_in_time(begin);
        assert_eq!((response.status, response.text()), (504, "stream timeout"));
        // The client is the one who is late.
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nhalf");
        assert_eq!(client.response().status, 408);
        assert_eq!(proxy.http("downstream_rq_idle_timeout"), 2);
        wait_until("the host's connections are closed", || {
            proxy.cluster("upstream_cx_active") == 0
        });
    });
}

#[test]
fn a_response_that_stops_is_cut_off_visibly() {
    let half = || {
        Origin::start(|mut connection| {
            connection.head();
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
            connection.wait_for_end();
        })
    };
    // The first half has to come within it, too.
    run(&limits("stream_idle_timeout: 0.5s,"), half, |proxy, _| {
        let mut client = proxy.connect();
        let begin = Instant::now();
        client.get("/");
        assert_eq!(client.read_response(false), Err(Broken::Truncated));
        assert_in_time(begin);
        assert_eq!(proxy.http("downstream_rq_tx_reset"), 1);
    });
}

#[test]
fn progress_keeps_a_stream_alive() {
    let slow = || {
        Origin::start(|mut connection| {
            connection.head();
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
            for _ in 0..10 {
                std::thread::sleep(LIMIT * 2);
                connection.send("x");
            }
        })
    };
    run(&limits("stream_idle_timeout: 1.5s,"), slow, |proxy, _| {
        assert_eq!(proxy.connect().ask("/").text(), "xxxxxxxxxx");
    });
}

#[test]
fn the_route_limits_the_time_of_an_answer() {
    let setup = Setup {
        routes: r#"{ match: { prefix: "/" }, route: { cluster: host, timeout: 0.1s } },"#,
        ..Setup::default()
    };
    run(&setup, silent, |proxy, _| {
        let mut client = proxy.connect();
        // The request's own time does not count.
        client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n");
        std::thread::sleep(LIMIT * 2);
        let begin = Instant::now();
        client.send("body");
        let response = client.response();
        assert_in_time(begin);
        assert_eq!(
            (response.status, response.text()),
            (504, "upstream request timeout")
        );
        assert_eq!(proxy.cluster("upstream_rq_timeout"), 1);
        wait_until("the host's connection is closed", || {
            proxy.cluster("upstream_cx_active") == 0
        });
        // The client's connection is as good as before.
        assert_eq!(client.ask("/").status, 504);
    });
}

#[test]
fn streams_have_a_longest_life() {
    let setup = limits("common_http_protocol_options: { max_stream_duration: 0.1s },");
    run(&setup, silent, |proxy, _| {
        let begin = Instant::now();
        let response = proxy.connect().ask("/");
        assert_in_time(begin);
        assert_eq!(
            (response.status, response.text()),
            (504, "downstream duration timeout")
        );
        assert_eq!(proxy.http("downstream_rq_max_duration_reached"), 1);
    });
}

#[test]
fn idle_connections_are_drained_and_closed() {
    let setup =
        limits("common_http_protocol_options: { idle_timeout: 0.5s }, drain_timeout: 0.3s,");
    run(&setup, Origin::echo, |proxy, _| {
        let mut served = proxy.connect();
        assert_eq!(served.ask("/a").status, 200);
        let begin = Instant::now();
        assert!(served.is_at_end());
        // More than the longer one of the two.
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(700), "{took:?}");
        assert_eq!(proxy.http("downstream_cx_idle_timeout"), 1);
    });
    let setup = limits("common_http_protocol_options: { idle_timeout: 0.5s }, drain_timeout: 60s,");
    run(&setup, Origin::echo, |proxy, _| {
        // Nobody knows how to tell one that it is drained that has sent nothing.
        assert!(proxy.connect().is_at_end());
        assert_eq!(proxy.http("downstream_cx_idle_timeout"), 1);
    });
    run(&setup, Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        assert_eq!(client.ask("/a").header("connection"), None);
        wait_until("it is idle for too long", || {
            proxy.http("downstream_cx_idle_timeout") == 1
        });
        let last = client.ask("/b");
        assert_eq!(
            (last.text(), last.header("connection")),
            ("/b", Some("close"))
        );
        assert!(client.is_at_end());
        assert_eq!(proxy.http("downstream_cx_idle_timeout"), 1);
    });
}

#[test]
fn connections_have_a_longest_life() {
    let setup = limits(
        "common_http_protocol_options: { max_connection_duration: 2s }, drain_timeout: 0.1s,",
    );
    run(&setup, Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        assert_eq!(client.ask("/a").header("connection"), None);
        assert!(client.is_at_end());
        assert_eq!(proxy.http("downstream_cx_max_duration_reached"), 1);
    });
}

#[test]
fn a_client_that_never_closes_is_closed_in_time() {
    let setup = limits("delayed_close_timeout: 0.1s,");
    run(&setup, Origin::echo, |proxy, _| {
        let mut client = proxy.connect();
        client.send("POST /direct HTTP/1.1\r\nhost: test\r\ncontent-length: 99\r\n\r\n");
        assert_eq!(client.response().status, 200);
        assert!(client.is_at_end(), "the write side is closed at once");
        wait_until("the other side too", || {
            proxy.http("downstream_cx_delayed_close_timeout") == 1
        });
    });
}
