//! What the upstream of Envoy 1.40 saw for these requests, without what the
//! router adds.

use super::super::path_utility::EscapedSlashes;
use super::super::test_headers::{headers, text};
use super::*;
use ringway_config::cidr::CidrRange;

const ID: &str = "x-request-id";

fn peer(address: &str) -> Peer<'static> {
    Peer {
        remote: Some(SocketAddr::new(address.parse().unwrap(), 5000)),
        local: Some("127.0.0.1:8080".parse().unwrap()),
        tls: None,
    }
}

fn edge() -> Edge {
    Edge {
        use_remote_address: true,
        local_address: Some("192.0.2.2".parse().unwrap()),
        ..Edge::default()
    }
}

fn internal(ranges: &[(&str, u32)]) -> InternalAddresses {
    let ranges = ranges
        .iter()
        .map(|(address, bits)| CidrRange::new(address.parse().unwrap(), *bits).unwrap());
    InternalAddresses::new(ranges, false)
}

/// The request's fields after its way, `:authority` and `:path` apart, with
/// `NEW` for a generated id; and what was found.
fn prepared(edge: &Edge, peer: &Peer<'_>, fields: &str) -> (String, Prepared) {
    let mut map = headers(":authority: h\n:path: /");
    for line in fields
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (name, value) = line.split_once(':').unwrap();
        map.append_name(name.as_bytes(), value.trim().as_bytes());
    }
    let before = map.get(HeaderId::XRequestId).map(<[u8]>::to_vec);
    let mut rng = fastrand::Rng::with_seed(1);
    let found = prepare_request(&mut map, edge, peer, &[], &mut rng).unwrap();
    let id = map.get(HeaderId::XRequestId).map(<[u8]>::to_vec);
    if let Some(id) = id.filter(|id| Some(id) != before.as_ref()) {
        assert_eq!((id.len(), id[14]), (36, b'4'));
        map.set(HeaderId::XRequestId, b"NEW");
    }
    map.remove(HeaderId::Authority);
    map.remove(HeaderId::Path);
    (text(&map), found)
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn defaults() {
    let edge = Edge::default();
    for (fields, expected) in [
        (
            "",
            "x-forwarded-proto: http | :scheme: http | x-request-id: NEW",
        ),
        (
            "x-forwarded-for: 1.2.3.4, 10.0.0.1\nx-request-id: abc",
            "x-forwarded-for: 1.2.3.4, 10.0.0.1 | x-request-id: abc \
             | x-forwarded-proto: http | :scheme: http",
        ),
        (
            "x-forwarded-proto: HTTPS",
            "x-forwarded-proto: HTTPS | :scheme: https | x-request-id: NEW",
        ),
        (
            "x-forwarded-proto: ftp",
            "x-forwarded-proto: ftp | :scheme: http | x-request-id: NEW",
        ),
        (
            "connection: keep-alive, X-Foo\nx-foo: 1\nkeep-alive: timeout=5\n\
             proxy-connection: keep-alive\nte: trailers, gzip\ntrailer: x\n\
             proxy-authorization: p\nreferer: not a url\nx-forwarded-proto: https\n\
             x-forwarded-port: 77\nx-forwarded-host: fh\nexpect: foo",
            "te: trailers | trailer: x | proxy-authorization: p | x-forwarded-proto: https \
             | x-forwarded-port: 77 | x-forwarded-host: fh | expect: foo | :scheme: https \
             | x-request-id: NEW",
        ),
    ] {
        let (sent, found) = prepared(&edge, &peer("127.0.0.1"), fields);
        assert_eq!(sent, expected);
        assert!(!found.internal);
    }
}

#[test]
fn who_the_client_is() {
    let trusting = |hops| Edge {
        xff_num_trusted_hops: hops,
        ..Edge::default()
    };
    let edge_trusting = |hops| Edge {
        xff_num_trusted_hops: hops,
        ..edge()
    };
    let three = "x-forwarded-for: 10.0.0.7, 10.0.0.8,10.0.0.9";
    let bad = "x-forwarded-for: 10.0.0.7, bad,10.0.0.9";
    for (edge, fields, expected) in [
        (trusting(0), "", "127.0.0.1:5000"),
        (trusting(0), three, "10.0.0.9:0"),
        (trusting(1), three, "10.0.0.8:0"),
        (trusting(1), bad, "127.0.0.1:5000"),
        (trusting(0), "x-forwarded-for: fd00::1", "[fd00::1]:0"),
        (trusting(0), "x-forwarded-for: 1.2.3.4:5", "127.0.0.1:5000"),
        (edge_trusting(0), three, "127.0.0.1:5000"),
        (edge_trusting(1), three, "10.0.0.9:0"),
        (edge_trusting(2), three, "10.0.0.8:0"),
        (edge_trusting(2), bad, "127.0.0.1:5000"),
        (edge_trusting(1), "x-forwarded-for: 10.0.0.9", "10.0.0.9:0"),
        (
            edge_trusting(2),
            "x-forwarded-for: 10.0.0.9",
            "127.0.0.1:5000",
        ),
    ] {
        let (_, found) = prepared(&edge, &peer("127.0.0.1"), fields);
        assert_eq!(found.remote, address(expected), "{fields} {edge:?}");
    }
}

#[test]
fn at_the_edge() {
    for (edge, from, fields, expected) in [
        (
            edge(),
            "127.0.0.1",
            "",
            "x-forwarded-for: 192.0.2.2 | x-forwarded-proto: http | :scheme: http \
             | x-envoy-external-address: 127.0.0.1 | x-request-id: NEW",
        ),
        (
            edge(),
            "127.0.0.2",
            "",
            "x-forwarded-for: 127.0.0.2 | x-forwarded-proto: http | :scheme: http \
             | x-envoy-external-address: 127.0.0.2 | x-request-id: NEW",
        ),
        (
            edge(),
            "127.0.0.1",
            "x-forwarded-for: 1.2.3.4, 10.0.0.1\nx-request-id: abc\n\
             x-forwarded-proto: https\nx-forwarded-port: 99",
            "x-forwarded-for: 1.2.3.4, 10.0.0.1,192.0.2.2 | x-request-id: NEW \
             | x-forwarded-proto: http | x-forwarded-port: 99 | :scheme: http \
             | x-envoy-external-address: 127.0.0.1",
        ),
        (
            Edge {
                xff_num_trusted_hops: 1,
                ..edge()
            },
            "127.0.0.1",
            "x-forwarded-for: 10.0.0.9\nx-forwarded-proto: https",
            "x-forwarded-for: 10.0.0.9,192.0.2.2 | x-forwarded-proto: https | :scheme: https \
             | x-envoy-external-address: 10.0.0.9 | x-request-id: NEW",
        ),
        (
            Edge {
                skip_xff_append: true,
                ..edge()
            },
            "127.0.0.1",
            "x-forwarded-for: 10.0.0.9",
            "x-forwarded-for: 10.0.0.9 | x-forwarded-proto: http | :scheme: http \
             | x-envoy-external-address: 127.0.0.1 | x-request-id: NEW",
        ),
        (
            Edge {
                preserve_external_request_id: true,
                append_x_forwarded_port: true,
                via: (*b"ringv").into(),
                user_agent: Some((*b"cluster").into()),
                node_id: (*b"node").into(),
                ..edge()
            },
            "127.0.0.1",
            "x-request-id: abc\nvia: 1.0 a\nuser-agent: zz",
            "x-request-id: abc | via: 1.0 a, ringv | user-agent: zz | x-forwarded-for: 192.0.2.2 \
             | x-forwarded-proto: http | x-forwarded-port: 8080 | :scheme: http \
             | x-envoy-downstream-service-cluster: cluster | x-envoy-downstream-service-node: node \
             | x-envoy-external-address: 127.0.0.1",
        ),
    ] {
        assert_eq!(prepared(&edge, &peer(from), fields).0, expected);
    }
}

#[test]
fn forwarded_ports() {
    let port = |use_remote_address, xff_num_trusted_hops| Edge {
        append_x_forwarded_port: true,
        use_remote_address,
        xff_num_trusted_hops,
        ..edge()
    };
    for (edge, fields, expected) in [
        (port(false, 0), "", "8080"),
        (port(false, 0), "x-forwarded-port: 7", "7"),
        (port(true, 0), "x-forwarded-port: 7", "8080"),
        (port(true, 1), "x-forwarded-port: 7", "7"),
        (port(true, 1), "", "8080"),
    ] {
        let (sent, _) = prepared(&edge, &peer("127.0.0.1"), fields);
        assert!(
            sent.contains(&format!("x-forwarded-port: {expected} ")),
            "{sent}"
        );
    }
}

#[test]
fn requests_from_inside() {
    let ranges = [("127.0.0.0", 8), ("10.0.0.0", 8)];
    let behind = Edge {
        internal_addresses: internal(&ranges),
        ..Edge::default()
    };
    let at_edge = Edge {
        internal_addresses: internal(&ranges),
        ..edge()
    };
    let behind_one = Edge {
        xff_num_trusted_hops: 1,
        ..behind.clone()
    };
    for (edge, fields, expected) in [
        (&at_edge, "", true),
        (&at_edge, "x-forwarded-for: 10.0.0.9", false),
        (&at_edge, "x-forwarded-for:", false),
        (&behind, "", false),
        (&behind, "x-forwarded-for: 10.0.0.9", true),
        (&behind, "x-forwarded-for: 11.0.0.9", false),
        (&behind, "x-forwarded-for: 10.0.0.8, 10.0.0.9", false),
        (&behind_one, "x-forwarded-for: 10.0.0.9", false),
        (&behind_one, "x-forwarded-for: 10.0.0.8,10.0.0.9", false),
    ] {
        let fields = format!("{fields}\nx-envoy-retry-on: a\nx-envoy-internal: false");
        let (sent, found) = prepared(edge, &peer("127.0.0.1"), &fields);
        assert_eq!(found.internal, expected, "{fields}");
        assert_eq!(sent.contains("x-envoy-internal: true"), expected, "{sent}");
        assert_eq!(sent.contains("x-envoy-retry-on"), expected, "{sent}");
        let external = edge.use_remote_address && !expected;
        assert_eq!(sent.contains("x-envoy-external-address"), external);
    }
}

#[test]
fn what_external_requests_may_not_say() {
    // Whether Envoy lets it through: behind a proxy, and at the edge.
    let fields = [
        ("x-envoy-internal", false, false),
        ("x-envoy-decorator-operation", true, false),
        ("x-envoy-downstream-service-cluster", true, false),
        ("x-envoy-downstream-service-node", true, false),
        ("x-envoy-original-path", true, false),
        ("x-envoy-original-host", true, false),
        ("x-envoy-original-url", false, false),
        ("x-envoy-original-dst-host", true, true),
        ("x-envoy-original-method", true, true),
        ("x-envoy-retry-on", false, false),
        ("x-envoy-retry-grpc-on", false, false),
        ("x-envoy-max-retries", false, false),
        ("x-envoy-retriable-status-codes", false, false),
        ("x-envoy-retriable-header-names", false, false),
        ("x-envoy-upstream-alt-stat-name", false, false),
        ("x-envoy-upstream-rq-timeout-ms", false, false),
        ("x-envoy-upstream-rq-per-try-timeout-ms", false, false),
        ("x-envoy-upstream-rq-per-try-idle-timeout-ms", true, true),
        ("x-envoy-upstream-rq-timeout-alt-response", false, false),
        ("x-envoy-expected-rq-timeout-ms", false, false),
        ("x-envoy-force-trace", false, false),
        ("x-envoy-ip-tags", false, false),
        ("x-envoy-hedge-on-per-try-timeout", false, false),
        ("x-envoy-upstream-stream-duration-ms", false, false),
        ("x-envoy-attempt-count", true, true),
        ("x-envoy-is-timeout-retry", true, true),
        ("x-envoy-overloaded", true, true),
        ("x-envoy-foo", true, true),
        ("x-client-trace-id", true, true),
        ("x-forwarded-client-cert", false, false),
    ];
    let all: String = fields
        .iter()
        .map(|(name, _, _)| format!("{name}: v\n"))
        .collect();
    let behind = prepared(&Edge::default(), &peer("127.0.0.1"), &all).0;
    let at_edge = prepared(&edge(), &peer("127.0.0.1"), &all).0;
    for (name, passes_behind, passes_edge) in fields {
        let field = format!("{name}: v");
        assert_eq!(behind.contains(&field), passes_behind, "{name}");
        assert_eq!(at_edge.contains(&field), passes_edge, "{name}");
    }
    // Behind a proxy the address may be the proxy's word.
    let spoofed = "x-envoy-external-address: 9.9.9.9";
    let behind = prepared(&Edge::default(), &peer("127.0.0.1"), spoofed).0;
    assert!(behind.contains("9.9.9.9"));
    let at_edge = prepared(&edge(), &peer("127.0.0.1"), spoofed).0;
    assert!(
        at_edge.contains("x-envoy-external-address: 127.0.0.1") && !at_edge.contains("9.9.9.9")
    );
}

#[test]
fn internal_only_headers_are_removed() {
    let mut map = headers(":authority: h\n:path: /\nx-secret: 1\nx-open: 1");
    let names = [(*b"x-secret").into()];
    let mut rng = fastrand::Rng::with_seed(1);
    prepare_request(&mut map, &edge(), &peer("1.2.3.4"), &names, &mut rng).unwrap();
    assert_eq!(map.get_name(b"x-secret"), None);
    assert_eq!(map.get_name(b"x-open"), Some(&b"1"[..]));
}

#[test]
fn request_ids_can_be_left_alone() {
    let edge = Edge {
        generate_request_id: false,
        scheme_to_overwrite: Some(Scheme::Https),
        ..Edge::default()
    };
    let (sent, _) = prepared(&edge, &peer("127.0.0.1"), "");
    assert_eq!(sent, "x-forwarded-proto: https | :scheme: https");
    let (sent, _) = prepared(&edge, &peer("127.0.0.1"), &format!("{ID}: abc"));
    assert_eq!(
        sent,
        "x-request-id: abc | x-forwarded-proto: https | :scheme: https"
    );
}

#[test]
fn refused_requests() {
    use RejectKind::{Close, ProtocolError, RedirectToPath, Reply};
    let mut rules = edge();
    rules.path.escaped_slashes = EscapedSlashes::UnescapeAndRedirect;
    for (fields, status, details, kind) in [
        (":path: /", 400, "missing_host_header", Close),
        (
            ":authority: a b\n:path: /",
            400,
            "http.invalid_authority",
            ProtocolError,
        ),
        (
            ":authority: [::1\n:path: /",
            400,
            "http.invalid_authority",
            ProtocolError,
        ),
        (
            ":authority: h\n:path: *",
            404,
            "absolute_path_rejected",
            Reply,
        ),
        (
            ":authority: h\n:path: ?q",
            404,
            "absolute_path_rejected",
            Reply,
        ),
        (
            ":authority: h\n:path: /a#x",
            400,
            "path_normalization_failed",
            Close,
        ),
        (
            ":authority: h\n:path: /a%00",
            400,
            "path_normalization_failed",
            Close,
        ),
        (
            ":authority: h\n:path: /a%2fb",
            307,
            "path_normalization_failed",
            RedirectToPath,
        ),
        (
            ":authority: h\n:path: /a%2fb\ncontent-type: application/grpc",
            400,
            "path_normalization_failed",
            Close,
        ),
        (
            ":authority: h\n:path: /\nconnection: host",
            400,
            "missing_host_header",
            Close,
        ),
        (
            ":authority: h\n:path: /\nconnection: x-forwarded-for",
            400,
            "http1.connection_header_rejected",
            ProtocolError,
        ),
    ] {
        let mut map = headers(fields);
        let mut rng = fastrand::Rng::with_seed(1);
        let result = prepare_request(&mut map, &rules, &peer("1.2.3.4"), &[], &mut rng);
        let expected = Reject {
            status,
            details,
            kind,
        };
        assert_eq!(result, Err(expected), "{fields}");
        if kind == RedirectToPath {
            assert_eq!(map.get(HeaderId::Path), Some(&b"/a/b"[..]));
        }
    }
}

#[test]
fn connect_without_a_path_and_upgrades_pass() {
    let mut map = headers(":authority: h:80");
    let mut rng = fastrand::Rng::with_seed(1);
    assert!(prepare_request(&mut map, &edge(), &peer("1.2.3.4"), &[], &mut rng).is_ok());
    let (sent, found) = prepared(
        &Edge::default(),
        &peer("1.2.3.4"),
        "connection: Upgrade\nupgrade: websocket",
    );
    assert!(found.upgrade);
    assert!(sent.starts_with("connection: Upgrade | upgrade: websocket | "));
    let (sent, found) = prepared(
        &Edge::default(),
        &peer("1.2.3.4"),
        "connection: Upgrade, HTTP2-Settings\nupgrade: h2c\nhttp2-settings: AAA",
    );
    assert!(!found.upgrade);
    assert!(sent.starts_with("x-forwarded-proto"), "{sent}");
}

#[test]
fn unix_socket_clients() {
    let peer = Peer {
        remote: None,
        local: None,
        tls: None,
    };
    let (sent, found) = prepared(&edge(), &peer, "");
    assert_eq!((found.remote, found.internal), (None, false));
    assert_eq!(
        sent,
        "x-forwarded-proto: http | :scheme: http | x-request-id: NEW"
    );
    let trusting = Edge {
        internal_addresses: InternalAddresses::new([], true),
        ..edge()
    };
    assert!(prepared(&trusting, &peer, "").1.internal);
}

#[test]
fn responses() {
    let upstream = "via: up\nserver: s\nkeep-alive: x\nupgrade: h3\nproxy-connection: q\n\
        trailer: t\nconnection: foo\nfoo: 1\nte: trailers\ntransfer-encoding: chunked\n\
        x-request-id: fromup";
    let always = Edge {
        always_set_request_id_in_response: true,
        via: (*b"ringv").into(),
        ..Edge::default()
    };
    for (edge, request, response, expected) in [
        (
            &always,
            "x-request-id: abc",
            upstream,
            "via: up, ringv | server: envoy | trailer: t | foo: 1 | te: trailers \
             | x-request-id: abc",
        ),
        (&always, "a: b", "", "server: envoy | via: ringv"),
        (
            &Edge::default(),
            "x-request-id: abc",
            "x-request-id: up",
            "x-request-id: up | server: envoy",
        ),
        (
            &Edge::default(),
            "x-request-id: abc\nx-envoy-force-trace: 1",
            "",
            "server: envoy | x-request-id: abc",
        ),
        (
            &Edge::default(),
            "connection: upgrade\nupgrade: websocket",
            ":status: 101\nconnection: upgrade\nupgrade: websocket",
            ":status: 101 | connection: upgrade | upgrade: websocket | server: envoy",
        ),
        (
            &Edge::default(),
            "connection: upgrade\nupgrade: websocket",
            ":status: 426\nconnection: upgrade\nupgrade: websocket",
            ":status: 426 | server: envoy",
        ),
        (
            &Edge::default(),
            "a: b",
            ":status: 101\nconnection: upgrade\nupgrade: websocket",
            ":status: 101 | server: envoy",
        ),
    ] {
        let mut map = headers(response);
        mutate_response_headers(&mut map, &headers(request), edge);
        assert_eq!(text(&map), expected);
    }
}

#[test]
fn the_server_header() {
    use ServerHeader::{AppendIfAbsent, Overwrite, PassThrough};
    for (rule, upstream, expected) in [
        (Overwrite, "a: b", "a: b | server: rw"),
        (Overwrite, "server: up", "server: rw"),
        (AppendIfAbsent, "a: b", "a: b | server: rw"),
        (AppendIfAbsent, "server: up", "server: up"),
        (PassThrough, "a: b", "a: b"),
        (PassThrough, "server: up", "server: up"),
    ] {
        let edge = Edge {
            server_header: rule,
            server_name: (*b"rw").into(),
            ..Edge::default()
        };
        let mut map = headers(upstream);
        mutate_response_headers(&mut map, &HeaderMap::new(), &edge);
        assert_eq!(text(&map), expected, "{rule:?}");
    }
}
