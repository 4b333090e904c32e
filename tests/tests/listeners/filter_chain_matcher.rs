//! `Listener.filter_chain_matcher`: chains by all that is known of a connection.

use crate::scene::{Case, Comparison, Listener, REQUEST, case};

/// A listener whose chains are found by a map of the values of an input.
macro_rules! map {
    ($name:literal, $filters:expr, $input:literal, [$($value:literal),*]) => {
        Listener {
            name: $name,
            chains: &[$(($value, "")),*, ("else", "")],
            log: "",
            more: concat!(
                $filters,
                "\nfilter_chain_matcher:\n",
                "  on_no_match: { action: { name: chain, typed_config: { \"@type\": \
                 type.googleapis.com/google.protobuf.StringValue, value: else } } }\n",
                "  matcher_tree:\n",
                "    input: { name: input, typed_config: { \"@type\": \
                 type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.",
                $input,
                " } }\n",
                "    exact_match_map:\n      map:\n",
                $("        \"", $value, "\": { action: { name: chain, typed_config: { \"@type\": \
                   type.googleapis.com/google.protobuf.StringValue, value: \"", $value, "\" } } }\n",)*
            ),
        }
    };
}

macro_rules! proxy {
    () => {
        r#"
listener_filters:
- name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    rules:
    - { tlv_type: 0xea, on_tlv_present: { key: a } }
    - { tlv_type: 0xeb, on_tlv_present: { key: b, metadata_namespace: other } }
"#
    };
}

macro_rules! kept {
    () => {
        r#"
listener_filters:
- name: proxy
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    tlv_location: FILTER_STATE
    rules: [ { tlv_type: 0xea, on_tlv_present: { key: a } } ]
- name: tls
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
- name: http
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector }
"#
    };
}

const LISTENERS: &[Listener] = &[
    map!(
        "destination",
        proxy!(),
        "DestinationIPInput",
        ["5.6.7.8", "2001:db8::2"]
    ),
    map!(
        "destination_port",
        proxy!(),
        "DestinationPortInput",
        ["10", "0"]
    ),
    map!(
        "source",
        proxy!(),
        "SourceIPInput",
        ["1.2.3.4", "2001:db8::1", "127.0.0.3"]
    ),
    map!("source_port", proxy!(), "SourcePortInput", ["9"]),
    map!(
        "direct_source",
        proxy!(),
        "DirectSourceIPInput",
        ["127.0.0.3"]
    ),
    map!("source_type", proxy!(), "SourceTypeInput", ["local"]),
    map!("server_name", proxy!(), "ServerNameInput", ["a.com"]),
    map!(
        "transport",
        proxy!(),
        "TransportProtocolInput",
        ["raw_buffer"]
    ),
    map!(
        "seen_transport",
        kept!(),
        "TransportProtocolInput",
        ["raw_buffer", "tls"]
    ),
    map!(
        "protocol",
        kept!(),
        "ApplicationProtocolInput",
        ["'http/1.1'", "'http/1.0'"]
    ),
    map!(
        "state",
        kept!(),
        "FilterStateInput, key: envoy.network.proxy_protocol.tlv",
        ["one", "{\\\"a\\\":\\\"one\\\"}"]
    ),
    map!(
        "field",
        kept!(),
        "FilterStateInput, key: envoy.network.proxy_protocol.tlv, field: a",
        ["one", "two"]
    ),
    Listener {
        name: "list",
        chains: &[("net", ""), ("port", ""), ("neither", ""), ("unused", "")],
        log: "",
        more: r#"
listener_filters:
- name: proxy
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol }
filter_chain_matcher:
  matcher_list:
    matchers:
    - predicate:
        and_matcher:
          predicate:
          - single_predicate:
              input: { name: ip, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput } }
              custom_match:
                name: range
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.matching.input_matchers.ip.v3.Ip
                  stat_prefix: range
                  cidr_ranges: [ { address_prefix: 1.2.3.0, prefix_len: 24 }, { address_prefix: "2001:db8::", prefix_len: 32 } ]
          - not_matcher:
              single_predicate:
                input: { name: port, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourcePortInput } }
                value_match: { prefix: "2" }
      on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: net } } }
    - predicate:
        single_predicate:
          input: { name: port, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput } }
          value_match: { exact: "10" }
      on_match:
        matcher:
          matcher_tree:
            input: { name: port, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourcePortInput } }
            prefix_match_map:
              map:
                "2": { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: port } } }
                "21": { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: neither } } }
"#,
    },
    Listener {
        name: "ip_destination",
        chains: &[("near", ""), ("wide", ""), ("equal", ""), ("else", "")],
        log: "",
        more: concat!(
            proxy!(),
            r#"
filter_chain_matcher: { matcher_tree: { input: { name: input, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput } }, custom_match: { name: ranges, typed_config: { "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher, range_matchers: [ { ranges: [ { address_prefix: "5.6.0.0", prefix_len: 16 }, { address_prefix: "2001:db8::", prefix_len: 32 } ], on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: wide } } } }, { ranges: [ { address_prefix: "5.6.7.8", prefix_len: 32 } ], on_match: { matcher: { matcher_tree: { input: { name: input, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput } }, custom_match: { name: ranges, typed_config: { "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher, range_matchers: [ { ranges: [ { address_prefix: 5.6.7.8, prefix_len: 32 } ], on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: near } } } } ] } } } } } } ] } } }, on_no_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: else } } } }
"#,
        ),
    },
    Listener {
        name: "ip_exclusive",
        chains: &[("near", ""), ("wide", ""), ("equal", ""), ("else", "")],
        log: "",
        more: concat!(
            proxy!(),
            r#"
filter_chain_matcher: { matcher_tree: { input: { name: input, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput } }, custom_match: { name: ranges, typed_config: { "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher, range_matchers: [ { ranges: [ { address_prefix: "0.0.0.0", prefix_len: 0 }, { address_prefix: "5.6.0.0", prefix_len: 16 }, { address_prefix: "::", prefix_len: 0 } ], exclusive: true, on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: wide } } } }, { ranges: [ { address_prefix: "5.6.7.8", prefix_len: 32 }, { address_prefix: "2001:db8::2", prefix_len: 128 } ], on_match: { matcher: { matcher_tree: { input: { name: input, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput } }, custom_match: { name: ranges, typed_config: { "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher, range_matchers: [ { ranges: [ { address_prefix: 5.6.7.8, prefix_len: 32 } ], on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: near } } } } ] } } } } } } ] } } }, on_no_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: else } } } }
"#,
        ),
    },
    Listener {
        name: "ip_source",
        chains: &[("near", ""), ("wide", ""), ("equal", ""), ("else", "")],
        log: "",
        more: concat!(
            proxy!(),
            r#"
filter_chain_matcher: { matcher_tree: { input: { name: input, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput } }, custom_match: { name: ranges, typed_config: { "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher, range_matchers: [ { ranges: [ { address_prefix: "1.2.3.4", prefix_len: 32 } ], on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: wide } } } }, { ranges: [ { address_prefix: "1.2.3.4", prefix_len: 64 }, { address_prefix: "1.2.0.0", prefix_len: 16 }, { address_prefix: "2001:db8::1", prefix_len: 128 } ], on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: near } } } }, { ranges: [ { address_prefix: "127.0.0.0", prefix_len: 29 }, { address_prefix: "1.2.4.4", prefix_len: 8 } ], on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: equal } } } } ] } } }, on_no_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: else } } } }
"#,
        ),
    },
    Listener {
        name: "ip_direct_source",
        chains: &[("near", ""), ("wide", ""), ("equal", ""), ("else", "")],
        log: "",
        more: concat!(
            proxy!(),
            r#"
filter_chain_matcher: { matcher_tree: { input: { name: input, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput } }, custom_match: { name: ranges, typed_config: { "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher, range_matchers: [ { ranges: [ { address_prefix: "127.0.0.3", prefix_len: 32 } ], exclusive: true, on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: near } } } }, { ranges: [ { address_prefix: "127.0.0.0", prefix_len: 8 } ], exclusive: true, on_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: wide } } } } ] } } }, on_no_match: { action: { name: chain, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: else } } } }
"#,
        ),
    },
    Listener {
        name: "nothing",
        chains: &[("one", ""), ("two", "")],
        log: "",
        more: "filter_chain_matcher: {}",
    },
];

fn told(text: &str) -> Vec<u8> {
    [format!("PROXY {text}\r\n").as_bytes(), REQUEST].concat()
}

fn tlvs(value: &str) -> Vec<u8> {
    let tlv = |kind: u8| [&[kind, 0, value.len() as u8], value.as_bytes()].concat();
    let body = [
        &[1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 10][..],
        &tlv(0xea),
        &tlv(0xeb),
    ]
    .concat();
    let head = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..], &[body.len() as u8]].concat();
    [&*head, &*body, REQUEST].concat()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let listeners = LISTENERS.iter().map(|listener| listener.name);
    for listener in listeners.filter(|name| *name != "nothing") {
        for (name, sent) in [
            ("IPv4", told("TCP4 1.2.3.4 5.6.7.8 9 10")),
            ("IPv6", told("TCP6 2001:db8::1 2001:db8::2 9 10")),
            ("near", told("TCP4 5.6.7.8 5.6.7.8 22 10")),
            ("nearly", told("TCP4 1.2.4.4 5.6.7.8 21 10")),
            ("unknown", told("UNKNOWN")),
            ("one", tlvs("one")),
            ("three", tlvs("three")),
        ] {
            cases.push(case(format!("{listener}: {name}"), listener, &sent));
        }
        let sent = told("UNKNOWN");
        cases.push(case(format!("{listener}: another"), listener, &sent).from([127, 0, 0, 3]));
    }
    cases.push(case("no matcher", "nothing", ""));
    cases
}

#[test]
fn chains_are_found_as_by_envoy() {
    let comparison = Comparison {
        suite: "filter_chain_matcher",
        listeners: LISTENERS,
        cluster: "",
        bootstrap: "",
        cases,
    };
    comparison.run("chains_are_found_as_by_envoy");
}
