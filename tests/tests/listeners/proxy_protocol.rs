//! `envoy.filters.listener.proxy_protocol`, and what is told to hosts of what it
//! has read.

use crate::scene::{Act, Case, Comparison, Listener, REQUEST, case, listener};

const LISTENERS: &[Listener] = &[
    Listener {
        log: "all=%FILTER_STATE(envoy.network.proxy_protocol.tlv)%",
        ..listener(
            "needed",
            r#"
listener_filters:
- name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    rules: [ { tlv_type: 0xea, on_tlv_present: { key: a } } ]
    pass_through_tlvs: { match_type: INCLUDE, tlv_type: [ 1, 0xea, 0xeb, 0xec ] }
"#,
        )
    },
    Listener {
        log: "a=%FILTER_STATE(envoy.network.proxy_protocol.tlv:FIELD:a)% \
              b=%FILTER_STATE(envoy.network.proxy_protocol.tlv:FIELD:b):5% \
              none=%FILTER_STATE(envoy.network.proxy_protocol.tlv:FIELD:none)% \
              metadata=%DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol)%",
        ..listener(
            "kept",
            r#"
listener_filters:
- name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    allow_requests_without_proxy_protocol: true
    tlv_location: FILTER_STATE
    stat_prefix: kept
    rules:
    - { tlv_type: 0xea, on_tlv_present: { key: before } }
    - { tlv_type: 0xea, on_tlv_present: { key: a } }
    - { tlv_type: 0xeb, on_tlv_present: { key: b, value_string_encoding: BASE64 } }
    - { tlv_type: 0xec, on_tlv_present: { key: a, metadata_namespace: other } }
    - { tlv_type: 0xed }
    pass_through_tlvs: {}
"#,
        )
    },
    Listener {
        log: "all=%FILTER_STATE(envoy.network.proxy_protocol.tlv)% \
              typed=%FILTER_STATE(envoy.network.proxy_protocol.tlv:TYPED)% \
              plain=%FILTER_STATE(envoy.network.proxy_protocol.tlv:PLAIN):5% \
              object=%CEL(filter_state['envoy.network.proxy_protocol.tlv'])% \
              a=%CEL(filter_state['envoy.network.proxy_protocol.tlv'].a)%",
        ..listener(
            "no_v1",
            r#"
listener_filters:
- name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    disallowed_versions: [ V1 ]
    stat_prefix: no_v1
    tlv_location: FILTER_STATE
    rules: [ { tlv_type: 0xea, on_tlv_present: { key: a } } ]
"#,
        )
    },
    listener(
        "no_v2",
        r#"
listener_filters:
- name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    disallowed_versions: [ V2 ]
    allow_requests_without_proxy_protocol: true
    stat_prefix: no_v2
"#,
    ),
    Listener {
        chains: &[
            (
                "by_destination",
                "filter_chain_match: { destination_port: 10, \
                 prefix_ranges: [ { address_prefix: 5.6.7.8, prefix_len: 32 } ] }",
            ),
            (
                "by_source",
                "filter_chain_match: { \
                 source_prefix_ranges: [ { address_prefix: 1.2.3.4, prefix_len: 32 } ] }",
            ),
            (
                "by_peer",
                "filter_chain_match: { \
                 direct_source_prefix_ranges: [ { address_prefix: 127.0.0.3, prefix_len: 32 } ] }",
            ),
            (
                "near",
                "filter_chain_match: { source_type: SAME_IP_OR_LOOPBACK }",
            ),
            ("else", ""),
        ],
        ..listener(
            "chains",
            r#"
listener_filters:
- name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
- name: inspector
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
"#,
        )
    },
];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const IPV4: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 10];
const IPV6: &[u8] = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
    \0\0\0\0\0\0\0\0\0\0\xff\xff\x05\x06\x07\x08\0\x09\0\x0a";

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
}

fn of_client(tlvs: &[Vec<u8>]) -> Vec<u8> {
    binary(0x21, 0x11, &[IPV4, &tlvs.concat()].concat())
}

/// What a connection begins with. All but the last few are followed by a
/// request.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let line = |text: &str| format!("{text}\r\n").into_bytes();
    let padded = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        [&*line, b"\r\n"].concat()
    };
    vec![
        ("no header", Vec::new()),
        ("v1", line("PROXY TCP4 1.2.3.4 5.6.7.8 9 10")),
        ("v1, IPv6", line("PROXY TCP6 2001:db8::1 2001:db8::2 9 10")),
        (
            "v1, mapped",
            line("PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 9 10"),
        ),
        ("v1, unknown", line("PROXY UNKNOWN")),
        (
            "v1, unknown and more",
            line("PROXY UNKNOWN ffff::1 ffff::2 1 2"),
        ),
        ("v1, unknown word", line("PROXY UNKNOWNX")),
        ("v1, nothing else", line("PROXY")),
        ("v1, two spaces", line("PROXY  TCP4 1.2.3.4 5.6.7.8 9 10")),
        ("v1, a tab", line("PROXY\tTCP4 1.2.3.4 5.6.7.8 9 10")),
        (
            "v1, spaces behind",
            line("PROXY TCP4 1.2.3.4 5.6.7.8 9 10 \t "),
        ),
        (
            "v1, a part more",
            line("PROXY TCP4 1.2.3.4 5.6.7.8 9 10 11"),
        ),
        ("v1, a part less", line("PROXY TCP4 1.2.3.4 5.6.7.8 9")),
        ("v1, odd ports", line("PROXY TCP4 1.2.3.4 5.6.7.8 +9 00010")),
        ("v1, port 0", line("PROXY TCP4 1.2.3.4 5.6.7.8 0 10")),
        (
            "v1, a large port",
            line("PROXY TCP4 1.2.3.4 5.6.7.8 65536 10"),
        ),
        (
            "v1, a negative port",
            line("PROXY TCP4 1.2.3.4 5.6.7.8 -9 10"),
        ),
        ("v1, multicast", line("PROXY TCP4 224.0.0.1 5.6.7.8 9 10")),
        (
            "v1, broadcast",
            line("PROXY TCP4 1.2.3.4 255.255.255.255 9 10"),
        ),
        ("v1, any", line("PROXY TCP4 0.0.0.0 5.6.7.8 9 10")),
        ("v1, any IPv6", line("PROXY TCP6 :: 2001:db8::2 9 10")),
        ("v1, reserved", line("PROXY TCP4 240.0.0.1 5.6.7.8 9 10")),
        (
            "v1, wrong family",
            line("PROXY TCP4 2001:db8::1 2001:db8::2 9 10"),
        ),
        (
            "v1, other wrong family",
            line("PROXY TCP6 1.2.3.4 5.6.7.8 9 10"),
        ),
        ("v1, short address", line("PROXY TCP4 1.2.3 5.6.7.8 9 10")),
        (
            "v1, a scope",
            line("PROXY TCP6 fe80::1%lo 2001:db8::2 9 10"),
        ),
        ("v1, a zero byte", line("PROXY TCP4 1.2.3.4\0 5.6.7.8 9 10")),
        ("v1, UDP", line("PROXY UDP4 1.2.3.4 5.6.7.8 9 10")),
        ("v1, lower case", line("proxy TCP4 1.2.3.4 5.6.7.8 9 10")),
        ("v1, LF", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\n".to_vec()),
        ("v1, 108 bytes", padded(108)),
        ("v1, 109 bytes", padded(109)),
        ("v1, 400 bytes", padded(400)),
        ("v2", of_client(&[])),
        ("v2, IPv6", binary(0x21, 0x21, IPV6)),
        ("v2, UDP", binary(0x21, 0x12, IPV4)),
        ("v2, Unix", binary(0x21, 0x31, &[0; 216])),
        ("v2, no family", binary(0x21, 0, &[])),
        ("v2, no protocol", binary(0x21, 0x13, IPV4)),
        ("v2, local", binary(0x20, 0, &[])),
        ("v2, local with addresses", binary(0x20, 0x11, IPV4)),
        ("v2, local with anything", binary(0x20, 0x77, b"\xea\0")),
        ("v2, unknown command", binary(0x22, 0x11, IPV4)),
        ("v2, version 1", binary(0x11, 0x11, IPV4)),
        ("v2, version 3", binary(0x31, 0x11, IPV4)),
        ("v2, too short", binary(0x21, 0x11, &IPV4[..8])),
        ("v2, too short for IPv6", binary(0x21, 0x21, &IPV6[..20])),
        (
            "v2, any",
            binary(0x21, 0x11, &[&[0; 4], &IPV4[4..]].concat()),
        ),
        (
            "v2, multicast",
            binary(0x21, 0x11, &[&[0xe0, 0, 0, 1], &IPV4[4..]].concat()),
        ),
        (
            "v2, values",
            of_client(&[tlv(0xea, b"hello"), tlv(0xeb, b"\xff\0x"), tlv(5, b"five")]),
        ),
        (
            "v2, a value twice",
            of_client(&[tlv(0xea, b"o\"ne"), tlv(0xea, b"tw\"o")]),
        ),
        (
            "v2, values under one key",
            of_client(&[tlv(0xea, b"one"), tlv(0xec, b"two"), tlv(0xed, b"three")]),
        ),
        (
            "v2, a value that is no text",
            of_client(&[tlv(0xea, b"a\xff\xfe\xe2\x82b\xe2\x82\xac")]),
        ),
        (
            "v2, an empty value",
            of_client(&[tlv(0xea, b""), tlv(4, b"")]),
        ),
        ("v2, half a type", of_client(&[vec![0xea, 0]])),
        ("v2, half a value", of_client(&[vec![0xea, 0, 5, b'a']])),
        (
            "v2, large",
            of_client(&[tlv(5, &b"x".repeat(30_000)), tlv(0xec, &[b'y'; 2000])]),
        ),
        (
            "v2, another signature",
            b"\r\n\r\n\0\r\nQUITS\x21\x11\0\0".to_vec(),
        ),
        ("an empty line", b"\r\n\r\n".to_vec()),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for listener in ["needed", "kept"] {
        for (name, bytes) in beginnings() {
            let sent = [&*bytes, REQUEST].concat();
            cases.push(case(format!("{listener}: {name}"), listener, &sent));
        }
        for (name, acts) in [
            ("nothing", vec![]),
            ("the end", vec![Act::Finish]),
            ("half a line", vec![Act::Send(b"PROXY TCP4".to_vec())]),
            (
                "half a line and the end",
                vec![Act::Send(b"PROXY TCP4".to_vec()), Act::Finish],
            ),
            ("half a signature", vec![Act::Send(SIGNATURE[..9].to_vec())]),
            ("half a request", vec![Act::Send(b"GET / HT".to_vec())]),
            ("a short line", vec![Act::Send(b"x y\r\n".to_vec())]),
            (
                "a line that has no end",
                vec![Act::Send(b"PROXY ".repeat(20))],
            ),
            (
                "v1, byte by byte",
                vec![
                    Act::Drip(b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n".to_vec()),
                    Act::Drip(REQUEST.to_vec()),
                ],
            ),
            (
                "v2, byte by byte",
                vec![
                    Act::Drip(of_client(&[tlv(0xea, b"hello"), tlv(5, b"five")])),
                    Act::Drip(REQUEST.to_vec()),
                ],
            ),
        ] {
            cases.push(case(format!("{listener}: {name}"), listener, b"").acts(acts));
        }
    }
    for listener in ["no_v1", "no_v2"] {
        for (name, bytes) in [
            ("nothing", &b""[..]),
            ("v1", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"),
            ("broken v1", b"PROXY TCP4 nobody\r\n"),
            ("v2", &of_client(&[])),
            ("broken v2", &binary(0x22, 0x11, IPV4)),
            ("v2 with a value", &of_client(&[tlv(0xea, b"o\"ne")])),
        ] {
            let sent = [bytes, REQUEST].concat();
            cases.push(case(format!("{listener}: {name}"), listener, &sent));
        }
    }
    for (name, header) in [
        ("destination", "TCP4 9.9.9.9 5.6.7.8 9 10"),
        ("source", "TCP4 1.2.3.4 5.6.7.8 9 11"),
        ("loopback", "TCP4 127.0.0.1 5.6.7.8 9 11"),
        ("same address", "TCP4 8.8.8.8 8.8.8.8 9 11"),
        ("neither", "TCP4 9.9.9.9 8.8.8.8 9 11"),
        ("unknown", "UNKNOWN"),
    ] {
        let sent = [format!("PROXY {header}\r\n").as_bytes(), REQUEST].concat();
        for (peer, from) in [("one", [127, 0, 0, 1]), ("another", [127, 0, 0, 3])] {
            cases.push(case(format!("{name} of {peer}"), "chains", &sent).from(from));
        }
    }
    cases
}

const COMPARISON: Comparison = Comparison {
    suite: "proxy_protocol",
    listeners: LISTENERS,
    cluster: "",
    bootstrap: "",
    cases,
};

#[test]
fn headers_are_read_as_by_envoy() {
    COMPARISON.run("headers_are_read_as_by_envoy");
}

/// What is behind a header that names the client's ends.
fn told() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, header) in [
        ("a line", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n".to_vec()),
        ("IPv6", binary(0x21, 0x21, IPV6)),
        ("no values", of_client(&[])),
        (
            "values",
            of_client(&[
                tlv(1, b"h2"),
                tlv(0xea, b"client's"),
                tlv(0xeb, b"client's"),
                tlv(0xec, b"one"),
                tlv(0xec, b"two"),
                tlv(5, b"not passed on"),
            ]),
        ),
    ] {
        for listener in ["needed", "kept"] {
            let sent = [&*header, REQUEST].concat();
            cases.push(case(format!("{listener}: {name}"), listener, &sent));
        }
    }
    cases
}

const V1: &str = r#"
transport_socket:
  name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
    config: { version: V1 }
    transport_socket: { name: raw, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }
"#;

const V2: &str = r#"
transport_socket:
  name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
    config:
      version: V2
      pass_through_tlvs: { match_type: INCLUDE, tlv_type: [ 1, 0xea, 0xec ] }
      added_tlvs: [ { type: 0xea, value: "b3du" }, { type: 0xf0, value: "b3du" } ]
    transport_socket: { name: raw, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }
"#;

const V2_ALL: &str = r#"
transport_socket:
  name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
    config: { version: V2, pass_through_tlvs: {} }
    transport_socket: { name: raw, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }
"#;

/// Operators are about the connection to the host, of which little is known yet.
const FORMATTED: &str = r#"
transport_socket:
  name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
    config:
      version: V2
      pass_through_tlvs: {}
      added_tlvs:
      - { type: 0xea, format_string: { text_format_source: { inline_string: "100%% %PROTOCOL%" } } }
      - { type: 0xf0, value: "b3du" }
      - { type: 0xf1, format_string: { text_format_source: { inline_string: "%UPSTREAM_CLUSTER%" }, omit_empty_values: true } }
      - { type: 0xf2, format_string: { text_format_source: { inline_string: "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_HOST% %UPSTREAM_LOCAL_ADDRESS%" } } }
      - { type: 0xf3, format_string: { text_format_source: { inline_string: "%REQ(:authority)% %BYTES_RECEIVED% %RESPONSE_CODE% %RESPONSE_FLAGS% %FILTER_CHAIN_NAME% %ACCESS_LOG_TYPE% %UPSTREAM_CONNECTION_ID% %FILTER_STATE(envoy.network.proxy_protocol.tlv)%" } } }
      - { type: 0xf4, format_string: { json_format: { host: "%UPSTREAM_HOST%", code: "%RESPONSE_CODE%" } } }
    transport_socket: { name: raw, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }
"#;

#[test]
fn hosts_are_told_what_headers_have_told() {
    for cluster in [V1, V2, V2_ALL, FORMATTED] {
        let comparison = Comparison {
            suite: "told",
            cluster,
            cases: told,
            ..COMPARISON
        };
        comparison.run("hosts_are_told_what_headers_have_told");
    }
}
