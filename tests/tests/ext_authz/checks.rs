//! One connection after the other: every answer that there is, and none.

use crate::client::Client::{
    self, Introduced, Leaves, Listens, Resets, ResetsAtOnce, Says, Secure, SecureBefore,
};
use crate::conversation::compare;
use crate::listener::Terminal::{Echo, Greeting, Http};
use crate::listener::{Listener, asks};

const HELLO: Client = Says("hello");

const GET: Client = Says("GET / HTTP/1.1\r\nhost: a\r\n\r\n");

/// What is in metadata of which there are none.
macro_rules! enabled {
    ($more:literal) => {
        concat!(
            "filter_enabled_metadata: { filter: nobody, path: [ { key: said } ], \
             value: { string_match: { exact: it } }",
            $more,
            " }"
        )
    };
}

const ALL: &str = "bootstrap_metadata_labels_key: labels, include_tls_session: true, include_peer_certificate: true, transport_api_version: V3";

const ALLOWS: &str = "failure_mode_allow: true";

const ALERTS: &str = "send_tls_alert_on_denial: true";

const SHADOW: &str = "shadow_mode: true";

/// Listeners, each with what its client does.
fn checks() -> Vec<(Listener, Client)> {
    vec![
        (asks("allowed", "ok"), HELLO),
        (asks("all_in_plaintext", "ok").with(ALL), HELLO),
        (asks("told", "told"), HELLO),
        (asks("denied", "deny"), HELLO),
        (asks("denied_and_told", "deny-told"), HELLO),
        (asks("empty", "empty"), HELLO),
        (asks("nonsense", "nonsense"), HELLO),
        (asks("unavailable", "UNAVAILABLE"), HELLO),
        (asks("permission_denied", "PERMISSION_DENIED"), HELLO),
        (
            asks("unavailable_allowed", "UNAVAILABLE").with(ALLOWS),
            HELLO,
        ),
        (asks("denied_in_failure_mode", "deny").with(ALLOWS), HELLO),
        (asks("failed", "fail-told"), HELLO),
        (asks("failed_allowed", "fail").with(ALLOWS), HELLO),
        (asks("allowed_requests", "ok-told"), HELLO),
        (asks("down", "ok").of("auth_down"), HELLO),
        (
            asks("down_allowed", "ok").of("auth_down").with(ALLOWS),
            HELLO,
        ),
        (asks("http1", "ok").of("auth_http1"), HELLO),
        (asks("no_cluster", "ok").of("nowhere"), HELLO),
        (asks("mute", "ok").of("auth_mute").soon(), HELLO),
        (
            asks("mute_allowed", "ok")
                .of("auth_mute")
                .soon()
                .with(ALLOWS),
            HELLO,
        ),
        (asks("disabled", "deny").with(enabled!("")), Resets("hello")),
        (
            asks("enabled", "told").with(enabled!(", invert: true")),
            HELLO,
        ),
        (asks("silent", "ok"), Leaves),
        (asks("gone", "slow"), ResetsAtOnce("hello")),
        (
            asks("greeted", "told").ends(Greeting),
            Listens("greeting", "hello"),
        ),
        (asks("echo", "told").ends(Echo), HELLO),
        (asks("echo_silent", "ok").ends(Echo), Leaves),
        (asks("echo_denied", "deny").ends(Echo), HELLO),
        (asks("echo_gone", "slow").ends(Echo), ResetsAtOnce("hello")),
        (asks("http", "ok").ends(Http), GET),
        (asks("http_denied", "deny-told").ends(Http), GET),
        (asks("http_silent", "ok").ends(Http), Leaves),
        (
            asks("http_gone", "slow").ends(Http),
            ResetsAtOnce("GET / HTTP/1.1\r\n"),
        ),
        (asks("tls", "ok").secure(), Secure("client")),
        (
            asks("tls_with_all", "told")
                .secure()
                .with("include_tls_session: true, include_peer_certificate: true"),
            Secure("client"),
        ),
        (
            asks("tls_uninspected", "ok")
                .secure()
                .uninspected()
                .with("include_tls_session: true"),
            Secure("client"),
        ),
        (
            asks("tls_bare", "deny")
                .secure()
                .with("include_peer_certificate: true"),
            Secure("bare"),
        ),
    ]
}

#[test]
fn connections_are_asked_about() {
    let Some(seen) = compare("connections_are_asked_about", &checks()) else {
        return;
    };
    // That both say the same may also mean that nothing works.
    let has = |line: &str| assert!(seen.iter().any(|one| one == line), "{line}: {seen:#?}");
    has("allowed reads \"hello\"");
    has("denied reads \"\", then the end");
    has("denied: ext_authz.denied.denied +1");
    has("failed: ext_authz.failed.error +1");
    has("http_denied: http.http_denied.downstream_cx_destroy_local +1");
    has("http_gone: http.http_gone.downstream_cx_destroy_remote +1");
    let calls = seen.iter().filter(|line| line.starts_with("call ")).count();
    assert_eq!(calls, 25, "{seen:#?}");
}

/// A filter that closes connections whose object has such a text.
macro_rules! policy {
    ($text:literal) => {
        concat!(
            "envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: behind, rules: { \
             action: DENY, policies: { p: { permissions: [ { any: true } ], principals: [ { \
             filter_state: { key: envoy.filters.network.ext_authz, string_match: { ",
            $text,
            " } } } ] } } }"
        )
    };
}

/// The same, of those whose object has such a field.
macro_rules! matcher {
    ($field:literal, $text:literal) => {
        concat!(
            "envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: behind, matcher: { \
             matcher_list: { matchers: [ { predicate: { single_predicate: { input: { name: input, \
             typed_config: { \"@type\": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput, \
             key: envoy.filters.network.ext_authz, field: ",
            $field,
            " } }, value_match: { exact: \"",
            $text,
            "\" } } }, on_match: { action: { name: action, typed_config: { \"@type\": \
             type.googleapis.com/envoy.config.rbac.v3.Action, name: denied, action: DENY } } } } ] }, \
             on_no_match: { action: { name: action, typed_config: { \"@type\": \
             type.googleapis.com/envoy.config.rbac.v3.Action, name: allowed, action: ALLOW } } } }"
        )
    };
}

/// Decisions that close nobody, those that an alert tells of, and both.
fn denials() -> Vec<(Listener, Client)> {
    let shadow = |name, decision| asks(name, decision).with(SHADOW);
    let alert = |name, decision| asks(name, decision).with(ALERTS).secure();
    vec![
        (shadow("allowed", "told"), HELLO),
        (shadow("denied", "deny"), HELLO),
        (shadow("denied_and_told", "deny-told"), HELLO),
        (shadow("denied_with_status", "deny-429"), HELLO),
        (shadow("failed", "fail"), HELLO),
        (shadow("failed_with_status", "fail-503"), HELLO),
        (shadow("allowed_with_status", "ok-429"), HELLO),
        (shadow("nonsense", "nonsense"), HELLO),
        (shadow("unavailable", "UNAVAILABLE"), HELLO),
        (
            asks("unavailable_allowed", "UNAVAILABLE")
                .with("shadow_mode: true, failure_mode_allow: true"),
            HELLO,
        ),
        (shadow("down", "ok").of("auth_down"), HELLO),
        (shadow("echo", "deny").ends(Echo), HELLO),
        (shadow("http", "deny-429").ends(Http), GET),
        (shadow("http_allowed", "ok").ends(Http), GET),
        (shadow("gone", "slow"), ResetsAtOnce("hello")),
        (
            shadow("policy", "deny").before(policy!("contains: DENIED")),
            HELLO,
        ),
        (
            shadow("other_policy", "ok").before(policy!("contains: DENIED")),
            HELLO,
        ),
        (
            shadow("matcher", "deny").before(matcher!("check_result", "DENIED")),
            HELLO,
        ),
        (
            shadow("other_matcher", "ok").before(matcher!("check_result", "DENIED")),
            HELLO,
        ),
        (
            shadow("status_matcher", "deny").before(matcher!("status_code", "403")),
            HELLO,
        ),
        (alert("alerted", "deny"), Secure("client")),
        (alert("alerted_before", "deny"), SecureBefore("client")),
        (alert("alerted_of_failure", "UNAVAILABLE"), Secure("client")),
        (alert("no_alert", "ok"), Secure("client")),
        (alert("alerted_echo", "deny").ends(Echo), Secure("client")),
        (alert("http_alerted", "deny").ends(Http), Secure("client")),
        (asks("no_tls", "deny").with(ALERTS), HELLO),
        (asks("unsaid", "deny").secure(), Secure("client")),
        (
            asks("shadow_alert", "deny")
                .secure()
                .with("send_tls_alert_on_denial: true, shadow_mode: true"),
            Secure("client"),
        ),
    ]
}

#[test]
fn denials_are_told_or_only_noted() {
    let Some(seen) = compare("denials_are_told_or_only_noted", &denials()) else {
        return;
    };
    let has = |line: &str| assert!(seen.iter().any(|one| one == line), "{line}: {seen:#?}");
    has("denied reads \"hello\"");
    has("denied: ext_authz.denied.denied +1");
    has("alerted reads \"\", then received fatal alert: AccessDenied");
    has("unsaid reads \"\", then the end");
    has("policy reads \"\", then the end");
    has("matcher reads \"\", then the end");
    has("other_matcher reads \"hello\"");
}

/// What is kept of headers.
const RULES: &str = "rules: [ { tlv_type: 1, on_tlv_present: { key: one } }, \
     { tlv_type: 2, on_tlv_present: { key: two, value_string_encoding: BASE64 } }, \
     { tlv_type: 3, on_tlv_present: { key: one, metadata_namespace: x } }, \
     { tlv_type: 5, on_tlv_present: { key: one } } ]";

const TLVS: &[(u8, &[u8])] = &[
    (1, b"abc"),
    (2, b"\xff\0z"),
    (3, b"xx\xfe"),
    (4, b"nobody"),
    (1, b"again"),
    (5, b"five"),
];

/// Namespaces of metadata, and of typed metadata.
macro_rules! namespaces {
    ($untyped:literal, $typed:literal) => {
        concat!(
            "metadata_context_namespaces: [ ",
            $untyped,
            " ], typed_metadata_context_namespaces: [ ",
            $typed,
            " ]"
        )
    };
}

const BOTH: &str = namespaces!(
    "envoy.filters.listener.proxy_protocol, x, none, x",
    "envoy.filters.listener.proxy_protocol, x, none"
);

fn contexts() -> Vec<(Listener, Client)> {
    let with = |name, fields| asks(name, "ok").introduced(RULES).with(fields);
    vec![
        (with("no_context", ""), Introduced(TLVS)),
        (
            with(
                "untyped",
                namespaces!("envoy.filters.listener.proxy_protocol", ""),
            ),
            Introduced(TLVS),
        ),
        (
            with(
                "typed",
                namespaces!("", "envoy.filters.listener.proxy_protocol"),
            ),
            Introduced(TLVS),
        ),
        (with("both", BOTH), Introduced(TLVS)),
        (with("without_tlvs", BOTH), Introduced(&[])),
        (with("with_others", BOTH), Introduced(&[(4, b"nobody")])),
        (
            with(
                "with_nothing",
                namespaces!("envoy.filters.listener.proxy_protocol", ""),
            ),
            Introduced(&[(1, b"")]),
        ),
        (
            asks("in_filter_state", "ok")
                .introduced(concat!(
                    "rules: [ { tlv_type: 1, on_tlv_present: { key: one } } ], ",
                    "tlv_location: FILTER_STATE"
                ))
                .with(BOTH),
            Introduced(TLVS),
        ),
        // The first check tells of the connection what the second one passes on.
        (
            asks("of_a_filter", "deny-told").with(SHADOW).before(
                "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz, stat_prefix: second, \
                 grpc_service: { envoy_grpc: { cluster_name: auth }, timeout: 20s }, \
                 metadata_context_namespaces: [ envoy.filters.network.ext_authz ]",
            ),
            HELLO,
        ),
    ]
}

#[test]
fn metadata_are_passed_on() {
    let Some(seen) = compare("metadata_are_passed_on", &contexts()) else {
        return;
    };
    let calls: Vec<_> = (seen.iter())
        .filter(|line| line.starts_with("call "))
        .collect();
    assert_eq!(calls.len(), 10, "{seen:#?}");
    let count = |what: &str| calls.iter().filter(|call| call.contains(what)).count();
    assert_eq!(count("TlvsMetadata"), 2, "{seen:#?}");
    assert_eq!(count("/wB6"), 2, "{seen:#?}");
    assert_eq!(count("not you"), 1, "{seen:#?}");
}
