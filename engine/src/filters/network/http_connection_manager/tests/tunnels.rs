//! Connections that change their protocol: nothing goes through before the
//! host has agreed, everything afterwards, and nothing is left behind.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faults::{broken, delayed, pieces};
use super::*;
use crate::reactor::Options;
use crate::test_support::client::{Client, read};
use crate::worker::Change;

/// Upgrades to WebSocket, CONNECT that ends here, and a local answer.
fn tunnels() -> Setup {
    Setup {
        manager: "upgrade_configs: [{ upgrade_type: websocket }],",
        routes: r#"
    { match: { path: "/direct" }, direct_response: { status: 200, body: { inline_string: "direct" } } },
    { match: { connect_matcher: {} }, route: { cluster: host,
      upgrade_configs: [{ upgrade_type: CONNECT, connect_config: {} }] } },
    { match: { prefix: "/" }, route: { cluster: host } },
"#,
        ..Setup::default()
    }
}

const ASK: &str = "GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\n\r\n";
const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\n\r\n";
const CONNECT: &str = "CONNECT far:443 HTTP/1.1\r\nhost: far:443\r\n\r\n";

/// What would be a request, if anybody took it for one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n";

/// Bytes on the way in one direction; the kernel's buffers may grow to some
/// megabytes a socket, the proxy's are below one.
const BUFFERS_MAX: usize = 64 * 1024 * 1024;

/// Grants what is asked for and sends back what comes until the end.
fn echo() -> Origin {
    Origin::start(|mut connection| {
        if connection.head().is_some() {
            connection.send(GRANT);
            echo_bytes(connection);
        }
    })
}

/// Sends back what comes until the end.
fn echo_bytes(mut connection: OriginConnection) {
    let early = connection.take_unread();
    connection.send(early);
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = read(&mut connection.socket, &mut buffer) {
        connection.send(&buffer[..count]);
    }
}

/// Asks for an upgrade, which must be granted.
fn upgraded(proxy: &Proxy) -> Client {
    let mut client = proxy.connect();
    client.send(ASK);
    assert_eq!(client.response().status, 101);
    client
}

#[test]
fn what_comes_early_waits_for_the_host() {
    let origin = || {
        Origin::start(|mut connection| {
            connection.head().expect("a request");
            let socket = &connection.socket;
            let patience = socket.read_timeout().expect("a socket");
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .expect("not zero");
            assert_eq!(connection.take_unread(), b"", "sent before the answer");
            let early = connection.socket.read(&mut [0; 16]);
            let kind = early.expect_err("nothing comes before the answer").kind();
            assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
            connection
                .socket
                .set_read_timeout(patience)
                .expect("not zero");
            connection.send(GRANT);
            echo_bytes(connection);
        })
    };
    run(&tunnels(), origin, |proxy, _| {
        let mut client = proxy.connect();
        client.send(ASK.to_owned() + SMUGGLED);
        assert_eq!(client.response().status, 101);
        client.send("more");
        let expected = SMUGGLED.to_owned() + "more";
        let through = client.exactly(expected.len()).expect("an echo");
        assert_eq!(String::from_utf8_lossy(&through), expected);
        drop(client);
        proxy.wait_until_quiet();
        assert_eq!(proxy.http("downstream_rq_total"), 1);
        assert_eq!(proxy.http("downstream_cx_upgrades_total"), 1);
        assert_eq!(proxy.http("downstream_cx_upgrades_active"), 0);
    });
}

#[test]
fn what_is_refused_is_never_sent_nor_taken_for_a_request() {
    let reached = Arc::new(AtomicUsize::new(0));
    let origin = || {
        let reached = Arc::clone(&reached);
        Origin::start(move |mut connection| {
            connection.head().expect("a request");
            connection.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
            let mut rest = connection.take_unread();
            // A reset is an end, too.
            let _ = connection.socket.read_to_end(&mut rest);
            reached.fetch_add(rest.len(), Ordering::SeqCst);
        })
    };
    run(&tunnels(), origin, |proxy, _| {
        for pieces in [false, true] {
            let before = proxy.http("downstream_rq_total");
            let mut client = proxy.connect();
            client.send(ASK);
            if !pieces {
                client.send(SMUGGLED);
            }
            let refused = client.response();
            assert_eq!((refused.status, refused.text()), (403, "no"));
            if pieces {
                // The proxy may have closed already.
                let _ = client.socket.write_all(SMUGGLED.as_bytes());
            }
            assert!(client.is_at_end(), "the connection ends with the answer");
            assert_eq!(proxy.http("downstream_rq_total"), before + 1);
        }
    });
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[test]
fn a_connect_is_answered_when_its_host_is_there() {
    let origin = || Origin::start(echo_bytes);
    run(&tunnels(), origin, |proxy, _| {
        let mut client = proxy.connect();
        client.send(CONNECT.to_owned() + "early");
        assert_eq!(client.read_response(true).expect("an answer").status, 200);
        client.send(SMUGGLED);
        let expected = "early".to_owned() + SMUGGLED;
        let through = client.exactly(expected.len()).expect("an echo");
        assert_eq!(String::from_utf8_lossy(&through), expected);
        drop(client);
        proxy.wait_until_quiet();
        // The connection is nobody else's afterwards.
        assert_eq!(proxy.cluster("upstream_cx_active"), 0);
        assert_eq!(proxy.cluster("upstream_cx_http1_total"), 0);
    });
}

/// However the bytes are cut, and whoever breaks off, what comes through is
/// the beginning of what was sent.
#[test]
fn bytes_are_neither_lost_nor_mixed_up() {
    const SEEDS: u64 = 100;
    const BYTES: usize = 4000;
    let sent: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    on_both_drivers(|driver| {
        let origin = echo();
        let mut whole = 0;
        for seed in 0..SEEDS {
            let position = seed / 5 * 230;
            let pieces = pieces(seed, 397, 389);
            let plan = match seed % 5 {
                0 => pieces,
                kind @ 1..=3 => broken(kind, position, pieces),
                _ => delayed(pieces),
            };
            let options = Options {
                driver,
                faults: Some(plan.clone()),
                ..Options::default()
            };
            let mut proxy = Proxy::start_with(&options, &tunnels(), origin.address);
            let mut client = proxy.connect();
            let asked = client.socket.write_all(ASK.as_bytes()).is_ok();
            if asked
                && let Ok(response) = client.read_response(false)
                && response.status == 101
                && client.socket.write_all(&sent).is_ok()
            {
                let mut through = client.take_unread();
                let mut buffer = [0; 1024];
                while through.len() < BYTES
                    && let Ok(count @ 1..) = read(&mut client.socket, &mut buffer)
                {
                    through.extend_from_slice(&buffer[..count]);
                }
                assert!(sent.starts_with(&through), "seed {seed}: {plan:?}");
                whole += usize::from(through.len() == BYTES);
                let must_be_whole = matches!(seed % 5, 0 | 4);
                assert!(
                    !must_be_whole || through.len() == BYTES,
                    "seed {seed}: {plan:?}"
                );
            }
            drop(client);
            proxy.check_balance();
        }
        assert!(whole >= SEEDS as usize / 5 * 2, "only {whole} were whole");
    });
}

#[test]
fn neither_side_is_read_while_the_other_takes_nothing() {
    on_both_drivers(|driver| {
        let from_host = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&from_host);
        let origin = Origin::start(move |mut connection| {
            connection.head();
            connection.send(GRANT);
            let part = [b'x'; 16 * 1024];
            while connection.socket.write_all(&part).is_ok() {
                count.fetch_add(part.len(), Ordering::SeqCst);
            }
        });
        let mut proxy = Proxy::start(driver, &tunnels(), origin.address);
        let mut client = upgraded(&proxy);
        // The host reads nothing either: both directions fill up.
        client
            .socket
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("not zero");
        let part = [b'y'; 16 * 1024];
        let mut from_client = 0;
        while client.socket.write_all(&part).is_ok() {
            from_client += part.len();
            assert!(from_client < BUFFERS_MAX, "{from_client} bytes for nobody");
        }
        let taken = from_host.load(Ordering::SeqCst);
        assert!(taken < BUFFERS_MAX, "{taken} bytes for nobody");
        // Another client is not disturbed.
        assert_eq!(proxy.connect().ask("/direct").text(), "direct");
        socket2::SockRef::from(&client.socket)
            .set_linger(Some(Duration::ZERO))
            .expect("a TCP socket");
        drop(client);
        proxy.check_balance();
    });
}

/// The host's last words reach a client that goes on sending: nothing resets
/// its connection before it could read them.
#[test]
fn the_last_bytes_of_the_host_arrive() {
    let origin = || {
        Origin::start(|mut connection| {
            connection.head();
            connection.send(GRANT);
            connection.send("bye");
            let _ = connection.socket.shutdown(Shutdown::Write);
            connection.wait_for_end();
        })
    };
    run(&tunnels(), origin, |proxy, _| {
        let mut client = upgraded(proxy);
        client.send("x".repeat(100_000));
        assert_eq!(client.rest(), Ok(b"bye".to_vec()));
        drop(client);
        proxy.wait_until_quiet();
        assert_eq!(proxy.http("downstream_rq_tx_reset"), 1);
    });
}

/// Tunnels own no receive buffer while nothing moves in them.
#[test]
fn idle_tunnels_leave_the_buffers_to_others() {
    on_both_drivers(|driver| {
        let origin = echo();
        let options = Options {
            driver,
            buffer_count: 16,
            ..Options::default()
        };
        let mut proxy = Proxy::start_with(&options, &tunnels(), origin.address);
        let mut open: Vec<_> = (0..200)
            .map(|_| {
                let mut client = upgraded(&proxy);
                client.send("ping");
                assert_eq!(client.exactly(4).expect("an echo"), b"ping");
                client
            })
            .collect();
        assert_eq!(proxy.http("downstream_cx_upgrades_active"), 200);
        assert_eq!(proxy.connect().ask("/direct").text(), "direct");
        for client in &mut open {
            client.send("pong");
            assert_eq!(client.exactly(4).expect("an echo"), b"pong");
        }
        drop(open);
        proxy.check_balance();
        assert_eq!(proxy.http("downstream_cx_upgrades_active"), 0);
    });
}

/// Draining leaves tunnels alone; the end of the worker cuts them off.
#[test]
fn tunnels_outlive_the_drain_and_not_the_worker() {
    on_both_drivers(|driver| {
        let origin = echo();
        let mut proxy = Proxy::start(driver, &tunnels(), origin.address);
        let mut client = upgraded(&proxy);
        proxy.apply(vec![Change::Drain]);
        client.send("still here");
        assert_eq!(client.exactly(10).expect("an echo"), b"still here");
        assert_eq!(proxy.http("downstream_cx_upgrades_active"), 1);
        let store = proxy.store.clone();
        drop(proxy);
        assert!(client.rest().is_ok_and(|rest| rest.is_empty()));
        let value = |name: &str| store.value(name).expect("a statistic");
        assert_eq!(value("http.test.downstream_cx_upgrades_active"), 0);
        assert_eq!(value("http.test.downstream_rq_active"), 0);
        assert_eq!(value("cluster.host.upstream_rq_active"), 0);
    });
}
