//! A worker has few receive buffers. Clients that wait with bytes of theirs
//! already received, however many they are, leave them to those who can go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::reactor::Options;
use crate::test_support::client::Client;

/// Buffers of these workers.
const BUFFERS: u16 = 16;
const CLIENTS: usize = 100;

/// An origin whose answers are the request's path and body, and what is behind it
/// where the protocol changes; below `/held` only when it is told to.
fn holding(is_held: &Arc<AtomicBool>) -> Origin {
    let is_held = Arc::clone(is_held);
    Origin::start(move |mut connection| {
        while let Some(request) = connection.request() {
            if request.path().starts_with("/held") {
                wait_until("the origin may go on", || !is_held.load(Ordering::SeqCst));
            }
            if request.head.contains("upgrade: websocket") {
                connection.send(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\n\r\n",
                );
                let early = connection.exactly(5).expect("it comes now");
                connection.send(early);
                return connection.wait_for_end();
            }
            let body = [request.path().as_bytes(), &request.body].concat();
            connection.send(with_length(&body));
        }
    })
}

/// Has many clients send this, each in one piece, while the origin holds its
/// answers back; another one is answered meanwhile. Then all of them send the
/// rest, and each gets what it waits for.
fn starve(setup: &Setup, sent: &[u8], rest: &str, await_answer: impl Fn(&mut Client)) {
    on_both_drivers(|driver| {
        let is_held = Arc::new(AtomicBool::new(true));
        let origin = holding(&is_held);
        let options = Options {
            driver,
            buffer_count: BUFFERS,
            ..Options::default()
        };
        let mut proxy = Proxy::start_with(&options, setup, origin.address);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect()).collect();
        for client in &mut clients {
            client.send(sent);
        }
        for _ in 0..3 {
            assert_eq!(proxy.connect().ask("/direct").text(), "direct");
        }
        is_held.store(false, Ordering::SeqCst);
        for client in &mut clients {
            client.send(rest);
        }
        clients.iter_mut().for_each(&await_answer);
        assert_eq!(proxy.connect().ask("/beside").text(), "/beside");
        drop(clients);
        proxy.check_balance();
    });
}

fn local() -> Setup {
    Setup {
        routes: LOCAL_ROUTES,
        ..Setup::default()
    }
}

/// Besides a listener filter that looks at the first bytes.
fn inspected(listener: &'static str) -> Setup {
    Setup {
        listener,
        ..local()
    }
}

#[test]
fn requests_behind_requests() {
    let sent = b"GET /held HTTP/1.1\r\nhost: test\r\n\r\n\
                 POST /behind HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
    starve(&local(), sent, "", |client| {
        assert_eq!(client.response().text(), "/held");
        assert_eq!(client.response().text(), "/behindbody");
    });
}

#[test]
fn early_bytes_of_another_protocol() {
    let setup = Setup {
        manager: "upgrade_configs: [{ upgrade_type: websocket }],",
        ..local()
    };
    let sent = b"GET /held HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
                 upgrade: websocket\r\n\r\nearly";
    starve(&setup, sent, "", |client| {
        assert_eq!(client.response().status, 101);
        assert_eq!(client.exactly(5).as_deref(), Ok(&b"early"[..]));
    });
}

#[test]
fn bodies_that_wait_for_a_connection() {
    let setup = Setup {
        cluster: "circuit_breakers: { thresholds: [{ max_connections: 1 }] },",
        ..local()
    };
    let sent = b"POST /held HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
    starve(&setup, sent, "", |client| {
        assert_eq!(client.response().text(), "/heldbody");
    });
}

#[test]
fn bodies_that_are_kept_for_another_try() {
    let setup = Setup {
        cluster: "circuit_breakers: { thresholds: [{ max_connections: 1 }] },",
        routes: r#"
    { match: { path: "/direct" }, direct_response: { status: 200, body: { inline_string: "direct" } } },
    { match: { prefix: "/" }, route: { cluster: host, retry_policy: { retry_on: 5xx } } },
"#,
        ..Setup::default()
    };
    let sent =
        b"POST /held HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n";
    starve(&setup, sent, "0\r\n\r\n", |client| {
        assert_eq!(client.response().text(), "/heldbody");
    });
}

#[test]
fn halves_of_heads() {
    starve(
        &local(),
        b"GET /half HTTP/1.1\r\nho",
        "st: test\r\n\r\n",
        |client| {
            assert_eq!(client.response().text(), "/half");
        },
    );
}

#[test]
fn halves_of_first_lines() {
    let setup = inspected(
        r#"listener_filters: [{ name: envoy.filters.listener.http_inspector, typed_config: {
          "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector } }],"#,
    );
    starve(
        &setup,
        b"GET /half HT",
        "TP/1.1\r\nhost: test\r\n\r\n",
        |client| {
            assert_eq!(client.response().text(), "/half");
        },
    );
}

#[test]
fn halves_of_client_hellos() {
    let setup = inspected(
        r#"listener_filters: [{ name: envoy.filters.listener.tls_inspector, typed_config: {
          "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }],"#,
    );
    let record = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 100]].concat();
    starve(&setup, &record, "", |client| client.close_write());
}

#[test]
fn halves_of_proxy_headers() {
    let setup = inspected(
        r#"listener_filters: [{ name: envoy.filters.listener.proxy_protocol, typed_config: {
          "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol,
          allow_requests_without_proxy_protocol: true } }],"#,
    );
    starve(
        &setup,
        b"PROXY TCP4 192.0.2.1 192",
        ".0.2.2 5 6\r\nGET /half HTTP/1.1\r\nhost: test\r\n\r\n",
        |client| {
            assert_eq!(client.response().text(), "/half");
        },
    );
}

/// Answers that the clients of HTTP/2 leave no room for.
#[test]
fn responses_without_a_window() {
    let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    // GET, http, a path and an authority that are not in a table.
    let block = [&b"\x82\x86\x04\x07/window\x41\x04test"[..]].concat();
    let head = [0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1];
    let sent = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &settings,
        &head,
        &block,
    ]
    .concat();
    starve(&local(), &sent, "", |client| client.close_write());
}
