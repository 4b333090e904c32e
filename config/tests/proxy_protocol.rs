//! Headers of PROXY protocol on connections to hosts: what they compile to and
//! what is refused.

use ringway_config::cluster::Cluster;
use ringway_config::proxy_protocol::{AddedTlv, AddedValue, Version};
use ringway_config::{Format, LoadOptions, bootstrap, load};
use std::sync::Arc;

const SOCKETS: &str = "type.googleapis.com/envoy.extensions.transport_sockets";

/// The cluster with this header, or all that is wrong with it.
fn lower(config: &str, inner: &str) -> Result<Arc<Cluster>, String> {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: a, transport_socket: {{ name: p, \
         typed_config: {{ \"@type\": {SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport, \
         config: {{ {config} }}, {inner} }} }} }} ] }}"
    );
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default());
    let loaded = loaded.map_err(|found| found.to_string())?;
    let snapshot = bootstrap::lower(&loaded).map_err(|found| found.to_string())?;
    Ok(Arc::clone(&snapshot.clusters[0]))
}

fn raw() -> String {
    format!(
        "transport_socket: {{ name: r, typed_config: {{ \"@type\": \
         {SOCKETS}.raw_buffer.v3.RawBuffer }} }}"
    )
}

#[test]
fn versions_and_values_are_kept() {
    let of = |config: &str| {
        let cluster = lower(config, &raw()).expect("a good cluster");
        *cluster.proxy_protocol.clone().expect("a header")
    };
    assert_eq!(of("").version, Version::V1);
    let header =
        of("version: V2, added_tlvs: [ { type: 0, value: aA== }, { type: 255, value: aGk= } ]");
    assert_eq!(header.version, Version::V2);
    let tlv = |kind, value: &[u8]| AddedTlv {
        kind,
        value: AddedValue::Fixed(value.into()),
    };
    assert_eq!(*header.added, [tlv(0, b"h"), tlv(255, b"hi")]);
}

#[test]
fn what_no_header_can_say_is_refused() {
    let both = "value: aA==, format_string: { text_format_source: { inline_string: x } }";
    let added = |tlv: &str| format!("version: V2, added_tlvs: [ {tlv} ]");
    let place = "transport_socket.typed_config";
    for (config, inner, path, reason) in [
        (
            added("{ type: 256, value: aA== }"),
            raw(),
            ".config.added_tlvs[0].type",
            "must be less than 256",
        ),
        (
            added("{ type: 1, value: aA== }, { type: 1 }"),
            raw(),
            ".config.added_tlvs[1]",
            "a value is needed here",
        ),
        (
            added(&format!("{{ type: 1, {both} }}")),
            raw(),
            ".config.added_tlvs[0].format_string",
            "only one of them may be",
        ),
        (
            String::new(),
            String::new(),
            ".transport_socket",
            "must be given",
        ),
        (
            String::new(),
            "transport_socket: { name: r }".into(),
            ".transport_socket",
            "needs a typed_config",
        ),
    ] {
        let said = lower(&config, &inner).expect_err("it is refused");
        let mut lines = said.lines();
        let path = format!("{place}{path}: ");
        assert!(
            lines.any(|line| line.contains(&path) && line.contains(reason)),
            "{config} {inner}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
