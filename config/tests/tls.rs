//! TLS contexts: what is asked for, and what is refused.

use ringway_config::auto_sni::AutoSni;
use ringway_config::bootstrap::{self, Snapshot};
use ringway_config::load::{Format, LoadOptions, load};
use ringway_config::tls::{
    CertificateValidation, CipherSuite, DownstreamTlsContext, Group, SanType, SessionTickets,
    SignatureScheme, TlsVersion, TransportSocket, UpstreamTlsContext,
};
use std::sync::Arc;

const CERT: &str = "{ certificate_chain: { filename: a.pem }, private_key: { filename: a.key } }";
const SECOND: &str = "{ certificate_chain: { filename: b.pem }, private_key: { filename: b.key } }";

/// The snapshot, or every error, and the warnings that there are.
fn lower(text: &str) -> (Result<Snapshot, Vec<String>>, Vec<String>) {
    let text = text.replace("CERT", CERT).replace("SECOND", SECOND);
    let say =
        |finding: &ringway_config::Diagnostic| format!("{}: {}", finding.path, finding.reason);
    let loaded = match load(&text, "f", Format::Yaml, &LoadOptions::default()) {
        Ok(loaded) => loaded,
        Err(found) => return (Err(found.errors().map(say).collect()), Vec::new()),
    };
    match bootstrap::lower(&loaded) {
        Ok(snapshot) => {
            let found = loaded.diagnostics.iter().chain(snapshot.diagnostics.iter());
            let warnings = found.filter(|finding| !finding.is_deprecation());
            let warnings = warnings.map(say).collect();
            (Ok(snapshot), warnings)
        }
        Err(found) => (Err(found.errors().map(say).collect()), Vec::new()),
    }
}

fn listener(context: &str, secrets: &str) -> String {
    format!(
        "static_resources:\n  secrets: [ {secrets} ]\n  listeners:\n  - address: {{ socket_address: \
         {{ address: 127.0.0.1, port_value: 0 }} }}\n    filter_chains:\n    - transport_socket: \
         {{ name: tls, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.\
         transport_sockets.tls.v3.DownstreamTlsContext, {context} }} }}\n"
    )
}

fn cluster(context: &str, secrets: &str) -> String {
    format!(
        "static_resources:\n  secrets: [ {secrets} ]\n  clusters:\n  - name: c\n    \
         transport_socket: {{ name: tls, typed_config: {{ \"@type\": type.googleapis.com/envoy.\
         extensions.transport_sockets.tls.v3.UpstreamTlsContext, {context} }} }}\n"
    )
}

const CHAIN: &str = "static_resources.listeners[0].filter_chains[0].transport_socket.typed_config";
const CLUSTER: &str = "static_resources.clusters[0].transport_socket.typed_config";

fn downstream(context: &str, secrets: &str) -> (Arc<DownstreamTlsContext>, Vec<String>) {
    let (snapshot, warnings) = lower(&listener(context, secrets));
    let snapshot = snapshot.unwrap_or_else(|found| panic!("{context}: {found:?}"));
    let chain = &snapshot.listeners[0].filter_chains[0];
    match &chain.transport_socket {
        TransportSocket::Tls(context) => (Arc::clone(context), warnings),
        TransportSocket::RawBuffer => panic!("{context}: no TLS"),
    }
}

fn upstream(context: &str) -> (Arc<UpstreamTlsContext>, Vec<String>) {
    let (snapshot, warnings) = lower(&cluster(context, ""));
    let snapshot = snapshot.unwrap_or_else(|found| panic!("{context}: {found:?}"));
    match &snapshot.clusters[0].transport_socket {
        TransportSocket::Tls(context) => (Arc::clone(context), warnings),
        TransportSocket::RawBuffer => panic!("{context}: no TLS"),
    }
}

fn validation(fields: &str) -> CertificateValidation {
    let context = format!("common_tls_context: {{ validation_context: {{ {fields} }} }}");
    let (context, _) = upstream(&context);
    Arc::into_inner(context)
        .and_then(|context| context.common.validation)
        .expect("a validation context that nobody else has")
}

/// What is refused in the context of a filter chain or a cluster.
fn refused(text: &str, at: &str) -> Vec<String> {
    match lower(text).0 {
        Ok(_) => panic!("accepted: {text}"),
        Err(found) => found
            .iter()
            .map(|line| match line.strip_prefix(at) {
                Some(line) => line.trim_start_matches('.').to_owned(),
                None => line.clone(),
            })
            .collect(),
    }
}

#[test]
fn what_a_plain_context_means() {
    let (context, warnings) = downstream("common_tls_context: { tls_certificates: [ CERT ] }", "");
    assert_eq!(warnings, [] as [&str; 0]);
    let common = &context.common;
    assert_eq!(common.parameters.version_min, TlsVersion::Tls12);
    assert_eq!(common.parameters.version_max, TlsVersion::Tls13);
    assert_eq!(common.parameters.cipher_suites, CipherSuite::ALL);
    assert_eq!(
        common.parameters.groups,
        [Group::X25519MlKem768, Group::X25519, Group::P256]
    );
    assert_eq!(common.parameters.signature_schemes, None);
    assert!(common.validation.is_none() && common.alpn.is_empty() && common.key_log.is_none());
    assert_eq!(
        common.certificates[0].key.path,
        format!("{CHAIN}.common_tls_context.tls_certificates[0].private_key")
    );
    assert_eq!(context.session_tickets, SessionTickets::Generated);
    assert!(context.session_cache && !context.require_client_certificate);
    assert_eq!(context.path, CHAIN);

    let (context, warnings) = upstream("sni: a.test");
    let unverified = "the host's certificate is not verified: there is no validation_context";
    assert_eq!(warnings, [format!("{CLUSTER}: {unverified}")]);
    assert_eq!(context.common.parameters.version_max, TlsVersion::Tls12);
    assert_eq!((&*context.sni, context.max_session_keys), ("a.test", 1));

    let plain = "static_resources: { clusters: [ { name: c, transport_socket: { name: raw, \
         typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.\
         raw_buffer.v3.RawBuffer } } } ] }";
    let (snapshot, _) = lower(plain);
    let snapshot = snapshot.unwrap_or_else(|found| panic!("{found:?}"));
    let socket = &snapshot.clusters[0].transport_socket;
    assert!(matches!(socket, TransportSocket::RawBuffer));
}

#[test]
fn every_field_arrives() {
    let (context, warnings) = downstream(
        "common_tls_context: { tls_certificates: [ CERT, SECOND ], alpn_protocols: \
         [ \"h2,http/1.1\", \"\", x ], key_log: { path: /k }, tls_params: { \
         tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, \
         cipher_suites: [ \"[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:\
         TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\" ], ecdh_curves: [ \"P-384:x25519\", \
         X25519MLKEM768 ], signature_algorithms: [ ed25519, RSA+SHA256 ] }, validation_context: { trusted_ca: { filename: ca.pem } } }, \
         session_ticket_keys: { keys: [ { filename: one }, { inline_string: two } ] }, \
         require_client_certificate: true, session_timeout: 2.5s, \
         disable_stateful_session_resumption: true, full_scan_certs_on_sni_mismatch: true, \
         prefer_client_ciphers: true",
        "",
    );
    assert_eq!(warnings, [] as [&str; 0]);
    let common = &context.common;
    let alpn: Vec<_> = common.alpn.iter().map(|name| &**name).collect();
    assert_eq!(alpn, [&b"h2"[..], b"http/1.1", b"x"]);
    let parameters = &common.parameters;
    assert_eq!(parameters.version_min, TlsVersion::Tls13);
    assert_eq!(
        parameters.cipher_suites,
        [
            CipherSuite::EcdheRsaAes128Gcm,
            CipherSuite::EcdheRsaChacha20,
            CipherSuite::EcdheRsaAes256Gcm
        ]
    );
    assert_eq!(
        parameters.groups,
        [Group::P384, Group::X25519, Group::X25519MlKem768]
    );
    assert_eq!(
        parameters.signature_schemes.as_deref(),
        Some(&[SignatureScheme::Ed25519, SignatureScheme::RsaPkcs1Sha256][..])
    );
    assert_eq!(common.certificates.len(), 2);
    assert!(common.key_log.as_ref().is_some_and(|log| log.file == "/k"));
    assert!(context.require_client_certificate && !context.session_cache);
    assert!(context.full_scan_certs_on_sni_mismatch && context.prefer_client_ciphers);
    assert_eq!(
        context.session_timeout.map(|timeout| timeout.as_millis()),
        Some(2000)
    );
    let SessionTickets::Keys(keys) = &context.session_tickets else {
        panic!("{:?}", context.session_tickets);
    };
    assert_eq!(keys[1].path, format!("{CHAIN}.session_ticket_keys.keys[1]"));

    let (context, _) = upstream(
        "auto_host_sni: true, auto_sni_san_validation: true, max_session_keys: 0, \
         common_tls_context: { tls_certificates: [ CERT ], validation_context: { trusted_ca: \
         { filename: ca.pem } } }",
    );
    assert!(context.auto_host_sni && context.auto_sni_san_validation);
    assert_eq!(context.max_session_keys, 0);
}

#[test]
fn whom_to_trust() {
    let found = validation(
        "trusted_ca: { filename: ca.pem }, crl: { filename: crl.pem }, max_verify_depth: 0, \
         allow_expired_certificate: true, trust_chain_verification: ACCEPT_UNTRUSTED, \
         only_verify_leaf_cert_crl: true, suppress_client_ca_list: true, \
         match_typed_subject_alt_names: [ { san_type: URI, matcher: { prefix: \"spiffe://\" } }, \
         { san_type: OTHER_NAME, oid: 1.2.3, matcher: { exact: x } } ]",
    );
    assert!(found.trusted_ca.is_some() && found.crl.is_some());
    assert!(found.allow_expired_certificate && found.accept_untrusted);
    assert!(found.only_verify_leaf_cert_crl && found.suppress_client_ca_list);
    assert_eq!(found.max_verify_depth, 0);
    let names = &found.subject_alt_names;
    assert_eq!(names[0].san_type, SanType::Uri);
    assert!(names[0].matcher.matches(b"spiffe://x"));
    assert_eq!(names[1].san_type, SanType::OtherName("1.2.3".into()));

    // Without a kind it is any of four.
    let found =
        validation("trusted_ca: { filename: ca.pem }, match_subject_alt_names: [ { exact: a } ]");
    let kinds: Vec<_> = (found.subject_alt_names.iter())
        .map(|name| &name.san_type)
        .collect();
    assert_eq!(
        kinds,
        [
            &SanType::Dns,
            &SanType::Uri,
            &SanType::Email,
            &SanType::IpAddress
        ]
    );

    let digits = "a0".repeat(32);
    let pairs = ["A0"; 32].join(":");
    let found = validation(&format!(
        "verify_certificate_hash: [ {digits}, \"{pairs}\" ], verify_certificate_spki: \
         [ \"NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=\" ]"
    ));
    assert_eq!(found.certificate_hashes, [[0xa0; 32]; 2]);
    assert_eq!(found.spki_hashes[0][..3], [0x36, 0xfa, 0x98]);
    assert!(found.verifies());
}

#[test]
fn secrets_stand_in_for_parts() {
    let secrets = "{ name: s, tls_certificate: CERT }, { name: s, validation_context: \
         { trusted_ca: { filename: ca.pem } } }, { name: k, session_ticket_keys: { keys: \
         [ { filename: one } ] } }, { name: unused, tls_certificate: {} }";
    let (context, _) = downstream(
        "common_tls_context: { tls_certificate_sds_secret_configs: [ { name: s } ], \
         validation_context_sds_secret_config: { name: s } }, \
         session_ticket_keys_sds_secret_config: { name: k }",
        secrets,
    );
    let secret = "static_resources.secrets[0].tls_certificate";
    let certificate = &context.common.certificates[0];
    assert_eq!(certificate.path, secret);
    assert_eq!(
        certificate.chain.path,
        format!("{secret}.certificate_chain")
    );
    let validation = context.common.validation.as_ref();
    assert!(validation.is_some_and(CertificateValidation::verifies));
    assert!(matches!(&context.session_tickets, SessionTickets::Keys(keys) if keys.len() == 1));
}

#[test]
fn what_is_warned_of() {
    let unverified = "the host's certificate is not verified";
    let clients = "clients without a certificate are let in: a validation context alone does \
         not ask for one; set require_client_certificate";
    let (_, warnings) = upstream("common_tls_context: { validation_context: {} }");
    assert_eq!(
        warnings,
        [format!(
            "{CLUSTER}.common_tls_context: {unverified}: validation_context has no trusted_ca"
        )]
    );
    let context = "require_client_certificate: true, \
         common_tls_context: { tls_certificates: [ CERT ], validation_context: {} }";
    let (_, warnings) = downstream(context, "");
    let nobody = "everybody is let in: without a validation_context with a trusted_ca or a hash \
                  nobody is asked for a certificate, in Envoy neither";
    let field = "require_client_certificate";
    assert_eq!(warnings, [format!("{CHAIN}.{field}: {nobody}")]);
    let context = "common_tls_context: { tls_certificates: [ CERT ], validation_context: { \
         trusted_ca: { filename: ca.pem } } }";
    let (_, warnings) = downstream(context, "");
    assert_eq!(warnings, [format!("{CHAIN}: {clients}")]);
    for required in ["true", "false"] {
        let context = format!("{context}, require_client_certificate: {required}");
        assert_eq!(downstream(&context, "").1, [] as [&str; 0]);
    }
    let particular = context.replace(
        "ca.pem }",
        "ca.pem }, match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a } } ]",
    );
    let unsaid = "whether clients without a certificate are let in depends on what is asked of \
         certificates; set require_client_certificate";
    assert_eq!(
        downstream(&particular, "").1,
        [format!("{CHAIN}: {unsaid}")]
    );
    let (_, warnings) =
        upstream("common_tls_context: { validation_context: { system_root_certs: {} } }");
    let unread = "has no effect: nothing reads it, in Envoy neither: only a trusted_ca says who is \
         trusted";
    let field = "common_tls_context.validation_context.system_root_certs";
    assert!(
        warnings.contains(&format!("{CLUSTER}.{field}: {unread}")),
        "{warnings:?}"
    );
}

#[test]
fn what_a_chain_is_refused_for() {
    for (context, expected) in [
        (
            "",
            "common_tls_context.tls_certificates: a server needs a certificate",
        ),
        (
            "common_tls_context: { tls_certificates: [ {} ] }",
            "common_tls_context.tls_certificates[0].certificate_chain: a certificate needs its chain",
        ),
        (
            "common_tls_context: { tls_certificates: [ { certificate_chain: { inline_string: x }, \
             private_key: { inline_string: \"\" } } ] }",
            "common_tls_context.tls_certificates[0].private_key: a certificate needs its key",
        ),
        (
            "common_tls_context: { tls_certificate_sds_secret_configs: [ { name: x } ] }",
            "common_tls_context.tls_certificate_sds_secret_configs[0].name: there is no \
             tls_certificate \"x\" in static_resources.secrets",
        ),
        (
            "common_tls_context: { tls_certificates: [ CERT ], \
             validation_context_sds_secret_config: { name: x } }",
            "common_tls_context.validation_context_sds_secret_config.name: there is no \
             validation_context \"x\" in static_resources.secrets",
        ),
        (
            "common_tls_context: { tls_certificates: [ CERT ] }, \
             session_ticket_keys_sds_secret_config: { name: x }",
            "session_ticket_keys_sds_secret_config.name: there is no session_ticket_keys \"x\" in \
             static_resources.secrets",
        ),
        (
            "common_tls_context: { tls_certificate_sds_secret_configs: [ { name: x, sds_config: \
             { ads: {} } } ] }",
            "common_tls_context.tls_certificate_sds_secret_configs[0].sds_config.ads: not supported yet",
        ),
        (
            "common_tls_context: { tls_certificate_sds_secret_configs: [ { name: x, sds_config: \
             { path_config_source: { path: /dev/null } } } ] }",
            "common_tls_context.tls_certificate_sds_secret_configs[0].sds_config: needs node.id and \
             node.cluster, or --service-node and --service-cluster",
        ),
        (
            "common_tls_context: { tls_certificates: [ CERT ], tls_certificate_sds_secret_configs: \
             [ { name: x } ] }",
            "common_tls_context.tls_certificate_sds_secret_configs: a server has either these or \
             tls_certificates",
        ),
        (
            "common_tls_context: { tls_certificates: [ { certificate_chain: { filename: a }, \
             private_key: { filename: b }, ocsp_staple: { inline_string: x } } ] }",
            "common_tls_context.tls_certificates[0].ocsp_staple: is no text, so it cannot be an \
             inline_string",
        ),
        (
            "common_tls_context: { tls_certificates: [ CERT ], custom_handshaker: { name: x, \
             typed_config: { \"@type\": type.googleapis.com/google.protobuf.Empty } } }",
            "common_tls_context.custom_handshaker: not supported yet",
        ),
    ] {
        let found = refused(&listener(context, ""), CHAIN);
        assert_eq!(found, [expected], "{context}");
    }
    let long = "x".repeat(256);
    let context = format!(
        "common_tls_context: {{ tls_certificates: [ CERT ], alpn_protocols: [ h2, {long} ] }}"
    );
    let expected = "common_tls_context.alpn_protocols[1]: a protocol has 1 to 255 bytes, all \
         together at most 65535";
    assert_eq!(refused(&listener(&context, ""), CHAIN), [expected]);
}

#[test]
fn what_secrets_are_refused_for() {
    let context = "common_tls_context: { tls_certificates: [ CERT ] }";
    for (secrets, expected) in [
        (
            "{ name: s, tls_certificate: CERT }, { name: s, tls_certificate: SECOND }",
            "static_resources.secrets[1].name: duplicate tls_certificate \"s\", the first is \
             static_resources.secrets[0].tls_certificate",
        ),
        (
            "{ name: s }",
            "static_resources.secrets[0]: one of tls_certificate, validation_context, \
             session_ticket_keys is needed",
        ),
        (
            "{ name: s, generic_secret: { secret: { inline_string: x } } }",
            "static_resources.secrets[0].generic_secret: not supported yet",
        ),
    ] {
        assert_eq!(
            refused(&listener(context, secrets), CHAIN),
            [expected],
            "{secrets}"
        );
    }
}

#[test]
fn what_a_cluster_is_refused_for() {
    for (context, expected) in [
        (
            "common_tls_context: { tls_certificates: [ CERT, SECOND ] }",
            "common_tls_context: a client has one certificate at most",
        ),
        ("sni: \"a\\0b\"", "sni: a name must not contain a NUL byte"),
        (
            "allow_renegotiation: true",
            "allow_renegotiation: true is not supported yet (only false)",
        ),
        (
            "auto_sni_san_validation: true",
            "auto_sni_san_validation: needs a validation_context: a name alone proves nothing",
        ),
        (
            "auto_sni_san_validation: true, common_tls_context: { validation_context: {} }",
            "auto_sni_san_validation: needs a trusted_ca: a name alone proves nothing",
        ),
    ] {
        let found = refused(&cluster(context, ""), CLUSTER);
        assert_eq!(found, [expected], "{context}");
    }
}

#[test]
fn what_parameters_are_refused_for() {
    let ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-ECDSA-CHACHA20-POLY1305, \
         ECDHE-RSA-AES128-GCM-SHA256, ECDHE-RSA-CHACHA20-POLY1305, ECDHE-ECDSA-AES256-GCM-SHA384, \
         ECDHE-RSA-AES256-GCM-SHA384";
    for (fields, expected) in [
        (
            "tls_minimum_protocol_version: TLSv1_0",
            "tls_minimum_protocol_version: TLS 1.0 is not supported: RFC 8996 forbids it; TLS 1.2 \
             and 1.3 are",
        ),
        (
            "tls_maximum_protocol_version: TLSv1_1",
            "tls_maximum_protocol_version: TLS 1.1 is not supported: RFC 8996 forbids it; TLS 1.2 \
             and 1.3 are",
        ),
        (
            "tls_minimum_protocol_version: TLSv1_3",
            ": no version is left: the minimum is TLS 1.3, the maximum is TLS 1.2 unless \
             tls_maximum_protocol_version says another",
        ),
        (
            "cipher_suites: [ ECDHE-RSA-AES128-GCM-SHA256, AES128-SHA ]",
            &format!(
                "cipher_suites[1]: the cipher \"AES128-SHA\" is not supported; these are: {ciphers}"
            ),
        ),
        (
            "cipher_suites: [ \"!RC4\" ]",
            "cipher_suites[0]: rules such as \"!RC4\" are not supported: name the ciphers",
        ),
        (
            "cipher_suites: [ TLS_AES_128_GCM_SHA256 ]",
            "cipher_suites[0]: \"TLS_AES_128_GCM_SHA256\" is a cipher of TLS 1.3, whose ciphers \
             cannot be chosen",
        ),
        (
            "ecdh_curves: [ P-521 ]",
            "ecdh_curves[0]: the curve \"P-521\" is not supported; these are: X25519, P-256, \
             P-384, X25519MLKEM768, MLKEM1024",
        ),
        (
            "ecdh_curves: [ P-256, prime256v1 ]",
            "ecdh_curves: P-256 is there twice",
        ),
        (
            "signature_algorithms: [ ed25519, ed25519 ]",
            "signature_algorithms: ed25519 is there twice",
        ),
        (
            "compliance_policies: [ FIPS_202205 ]",
            "compliance_policies: not supported yet",
        ),
    ] {
        let context = format!("common_tls_context: {{ tls_params: {{ {fields} }} }}");
        let found = refused(&cluster(&context, ""), CLUSTER);
        let path = match expected.strip_prefix(':') {
            Some(_) => format!("common_tls_context.tls_params{expected}"),
            None => format!("common_tls_context.tls_params.{expected}"),
        };
        assert_eq!(found, [path], "{fields}");
    }
}

#[test]
fn what_validation_is_refused_for() {
    let digits = "z".repeat(64);
    let odd = "aaa:".repeat(16);
    let made_up = "names without a trusted_ca are easily made up";
    for (fields, expected) in [
        (
            "trusted_ca: { inline_string: \"\" }",
            "trusted_ca: there is nothing in it".to_owned(),
        ),
        (
            &*format!("verify_certificate_hash: [ \"{digits}\" ]"),
            format!(
                "verify_certificate_hash[0]: \"{digits}\" is not a SHA-256 in hexadecimal digits"
            ),
        ),
        (
            &*format!("verify_certificate_hash: [ \"{odd}\" ]"),
            format!("verify_certificate_hash[0]: \"{odd}\" is not a SHA-256 in hexadecimal digits"),
        ),
        (
            "verify_certificate_spki: [ \"!vqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=\" ]",
            "verify_certificate_spki[0]: \"!vqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=\" is not \
             a SHA-256 in base64"
                .to_owned(),
        ),
        (
            "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a } } ]",
            format!("match_typed_subject_alt_names: {made_up}"),
        ),
        (
            "match_subject_alt_names: [ { exact: a } ]",
            format!("match_subject_alt_names: {made_up}"),
        ),
        (
            "allow_expired_certificate: true",
            "allow_expired_certificate: without a trusted_ca the time never matters".to_owned(),
        ),
        (
            "crl: { filename: x }",
            "crl: a revocation list needs a trusted_ca".to_owned(),
        ),
        (
            "trusted_ca: { filename: x }, match_typed_subject_alt_names: [ { san_type: OTHER_NAME, \
             oid: 1.x, matcher: { exact: a } } ]",
            "match_typed_subject_alt_names[0].oid: OTHER_NAME needs an object identifier such as \
             1.3.6.1.4.1.311.20.2.3, not \"1.x\""
                .to_owned(),
        ),
    ] {
        let context = format!("common_tls_context: {{ validation_context: {{ {fields} }} }}");
        let found = refused(&cluster(&context, ""), CLUSTER);
        let expected = format!("common_tls_context.validation_context.{expected}");
        assert_eq!(found, [expected], "{fields}");
    }
}

#[test]
fn what_requests_say_of_the_name() {
    let of = |more: &str| {
        let text = cluster("", "").replace("- name: c\n", &format!("- name: c\n    {more}\n"));
        let snapshot = lower(&text).0.expect("it is valid");
        snapshot.clusters[0].auto_sni.as_deref().cloned()
    };
    assert_eq!(of("upstream_http_protocol_options: {}"), None);
    let header = "upstream_http_protocol_options: { override_auto_sni_header: x-a }";
    assert_eq!(of(header), None);
    let own = "upstream_http_protocol_options: { auto_sni: true, override_auto_sni_header: X-A }";
    let expected = AutoSni {
        sni: true,
        san_validation: false,
        header: Some(b"x-a"[..].into()),
    };
    assert_eq!(of(own), Some(expected));
    let modern = "upstream_http_protocol_options: { auto_sni: true }\n    \
                  typed_extension_protocol_options: { \
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": \
                  t/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
                  explicit_http_config: { http_protocol_options: {} }, \
                  upstream_http_protocol_options: { auto_san_validation: true } } }";
    let expected = AutoSni {
        sni: false,
        san_validation: true,
        header: None,
    };
    assert_eq!(of(modern), Some(expected));
}
