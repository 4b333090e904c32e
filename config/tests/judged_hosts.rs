//! Which responses are errors for outlier detection, and how hosts that speak Thrift
//! are asked: what is refused, and where.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::cluster::Cluster;
use ringway_config::{Format, LoadOptions, bootstrap, load};
use std::sync::Arc;

fn lower(fields: &str) -> Result<Arc<Cluster>, String> {
    let text = format!("static_resources: {{ clusters: [ {{ name: a, {fields} }} ] }}");
    let loaded = load(&text, "f", Format::Yaml, &LoadOptions::default());
    let loaded = loaded.map_err(|found| found.to_string())?;
    let snapshot = bootstrap::lower(&loaded).map_err(|found| found.to_string())?;
    Ok(Arc::clone(&snapshot.clusters[0]))
}

fn matching(matcher: &str) -> Result<Arc<Cluster>, String> {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    lower(&format!(
        "typed_extension_protocol_options: {{ {options}: {{ \"@type\": type.googleapis.com/{options}, \
         explicit_http_config: {{ http_protocol_options: {{}} }}, \
         outlier_detection: {{ error_matcher: {matcher} }} }} }}"
    ))
}

fn checking(thrift: &str) -> Result<Arc<Cluster>, String> {
    lower(&format!(
        "health_checks: [ {{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, \
         healthy_threshold: 1, custom_health_check: {{ name: t, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.health_checkers.thrift.v3.Thrift, {thrift} }} }} }} ]"
    ))
}

#[test]
fn errors_keep_their_status_and_others_get_one() {
    let matcher =
        "{ http_response_headers_match: { headers: [ { name: x-bad, present_match: true } ] } }";
    let cluster = matching(matcher).expect("a good cluster");
    let matcher = cluster.error_matcher.as_ref().expect("a matcher");
    let mut response = HeaderMap::new();
    response.append(HeaderId::Server, b"some");
    assert_eq!(matcher.status_of(503, &response), 200);
    response.append_name(b"x-bad", b"");
    for (status, seen) in [(200, 500), (404, 500), (500, 500), (503, 503)] {
        assert_eq!(matcher.status_of(status, &response), seen);
    }
}

#[test]
fn what_is_wrong_is_told_by_its_path() {
    let deep = format!(
        "{}{{ any_match: true }}{}",
        "{ not_match: ".repeat(33),
        " }".repeat(33)
    );
    let bad_regex = "{ http_response_headers_match: { headers: [ { name: a, string_match: { \
                     safe_regex: { regex: '(' } } } ] } }";
    for (found, path, reason) in [
        (
            matching(&deep),
            "error_matcher.not_match",
            "nested deeper than 32",
        ),
        (
            matching("{}"),
            "error_matcher",
            "one of these must be given",
        ),
        (
            matching(bad_regex),
            "error_matcher.http_response_headers_match.headers[0].string_match.safe_regex",
            "",
        ),
        (
            checking("method_name: ping, transport: HEADER, protocol: LAX_BINARY"),
            "typed_config.protocol",
            "no number for LAX_BINARY",
        ),
        (
            checking("method_name: ping, transport: FRAMED, protocol: TWITTER"),
            "typed_config.protocol",
            "",
        ),
        (
            checking("method_name: ping, protocol: BINARY"),
            "typed_config",
            "",
        ),
        (
            checking("transport: FRAMED, protocol: BINARY"),
            "typed_config.method_name",
            "",
        ),
    ] {
        let found = found.err().unwrap_or_else(|| panic!("{path} is taken"));
        assert!(
            found.contains(path) && found.contains(reason),
            "{path}: {found}"
        );
    }
}
