//! TLS contexts that are taken or refused when a file is loaded: by Envoy and by
//! Ringway alike, unless it is said why not.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ringway_tests::programs;

/// Who takes a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Both,
    Nobody,
    /// Envoy does, and Ringway says why it does not.
    Envoy,
}
use Takes::{Both, Envoy, Nobody};

/// A context of one side, and what Ringway says if it refuses it.
struct Context {
    text: String,
    takes: Takes,
    says: &'static str,
}

fn context(takes: Takes, says: &'static str, text: &str) -> Context {
    Context {
        text: text.to_owned(),
        takes,
        says,
    }
}

/// Files with certificates, and what is none.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Self { directory };
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = params(Some("ca"), &[]);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        files.write("ca.pem", ca.self_signed(&ca_key).expect("a CA").pem());
        let ca = Issuer::new(ca, ca_key);
        for (name, common_name, names) in [
            ("a", Some("a.test"), &["a.test"][..]),
            ("b", Some("b.test"), &["b.test"]),
            ("nobody", None, &[]),
        ] {
            let key = KeyPair::generate().expect("a key");
            let certificate = params(common_name, names).signed_by(&key, &ca);
            let certificate = certificate.expect("a certificate");
            files.write(&format!("{name}.pem"), certificate.pem());
            files.write(&format!("{name}.key"), key.serialize_pem());
        }
        files.write("rubbish", "rubbish");
        files.write("short", [7; 79]);
        files.write("ticket", [7; 80]);
        files
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn params(common_name: Option<&str>, names: &[&str]) -> CertificateParams {
    let names = names.iter().map(|name| (*name).to_owned());
    let mut params = CertificateParams::new(names.collect::<Vec<_>>()).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    match common_name {
        Some(name) => params.distinguished_name.push(DnType::CommonName, name),
        None => (params.distinguished_name).push(DnType::OrganizationName, "x"),
    }
    params
}

/// `A` is a certificate, `FILE(x)` a file.
fn expand(text: &str, files: &Files) -> String {
    let certificate = |name: &str| {
        format!(
            "{{ certificate_chain: {{ filename: DIR/{name}.pem }}, private_key: {{ filename: \
             DIR/{name}.key }} }}"
        )
    };
    let text = (text.replace("$A", &certificate("a"))).replace("$B", &certificate("b"));
    let text = text.replace("$NOBODY", &certificate("nobody"));
    let text = text.replace("$CA", "trusted_ca: { filename: DIR/ca.pem }");
    let directory = files.directory.path().to_string_lossy();
    text.replace("DIR", &directory)
}

/// Whether the program takes the file, and what it says.
fn validate(program: &Path, text: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(["--mode", "validate", "--config-yaml", text])
        .args(arguments)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

const SECRETS: &str = "{ name: s, tls_certificate: $A }, { name: v, validation_context: { $CA } }, \
     { name: k, session_ticket_keys: { keys: [ { filename: DIR/ticket } ] } }, \
     { name: unused, tls_certificate: { certificate_chain: { filename: /nowhere } } }";

fn listener(context: &str) -> String {
    format!(
        "static_resources: {{ secrets: [ {SECRETS} ], listeners: [ {{ name: l, address: {{ \
         socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}, filter_chains: [ {{ \
         transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
         {context} }} }}, filters: [ {{ name: h, typed_config: {{ \"@type\": type.googleapis.com/\
         envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
         stat_prefix: x, route_config: {{}}, http_filters: [ {{ name: r, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ] }} }} ] }} ] }} ] }}"
    )
}

fn cluster(context: &str) -> String {
    format!(
        "static_resources: {{ secrets: [ {SECRETS} ], clusters: [ {{ name: c, load_assignment: {{ \
         cluster_name: c, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ \
         socket_address: {{ address: 127.0.0.1, port_value: 1 }} }} }} }} ] }} ] }}, \
         transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
         {context} }} }} }} ] }}"
    )
}

fn compare(test: &str, wrap: fn(&str) -> String, contexts: &[Context]) {
    compare_with(test, wrap, contexts, &Files::new());
}

fn compare_with(test: &str, wrap: fn(&str) -> String, contexts: &[Context], files: &Files) {
    let envoy = programs::envoy(test);
    for context in contexts {
        let text = expand(&wrap(&context.text), files);
        let (taken, said) = validate(&programs::ringway(), &text, &[]);
        assert_eq!(
            taken,
            context.takes == Both,
            "Ringway, {}: {said}",
            context.text
        );
        assert!(said.contains(context.says), "{}: {said}", context.text);
        let Some(envoy) = &envoy else { continue };
        let (taken, said) = validate(envoy, &text, &["-l", "warn"]);
        assert_eq!(
            taken,
            context.takes != Nobody,
            "Envoy, {}: {said}",
            context.text
        );
    }
}

#[test]
fn contexts_of_listeners() {
    let common = |takes, says, fields: &str| {
        let text = format!("common_tls_context: {{ {fields} }}");
        context(takes, says, &text)
    };
    let mut contexts = vec![
        context(Nobody, "a server needs a certificate", ""),
        common(Nobody, "a server needs a certificate", ""),
        common(Both, "", "tls_certificates: [ $A ]"),
        common(Both, "", "tls_certificates: [ $A, $B, $A ]"),
        common(Nobody, "needs its chain", "tls_certificates: [ {} ]"),
        common(
            Nobody,
            "private_key: a certificate needs its key",
            "tls_certificates: [ { certificate_chain: { filename: DIR/a.pem } } ]",
        ),
        common(
            Nobody,
            "private_key: the key is not that of the certificate",
            "tls_certificates: [ { certificate_chain: { filename: DIR/a.pem }, private_key: { \
             filename: DIR/b.key } } ]",
        ),
        common(
            Nobody,
            "certificate_chain: there is no certificate in it",
            "tls_certificates: [ { certificate_chain: { filename: DIR/rubbish }, private_key: { \
             filename: DIR/a.key } } ]",
        ),
        common(
            Nobody,
            "private_key: there is no key in it",
            "tls_certificates: [ { certificate_chain: { filename: DIR/a.pem }, private_key: { \
             filename: DIR/rubbish } } ]",
        ),
        common(
            Nobody,
            "certificate_chain.filename: cannot read \"/nowhere\"",
            "tls_certificates: [ { certificate_chain: { filename: /nowhere }, private_key: { \
             filename: DIR/a.key } } ]",
        ),
        common(
            Nobody,
            "neither a common name nor alternative names",
            "tls_certificates: [ $NOBODY ]",
        ),
        common(
            Both,
            "",
            "tls_certificate_sds_secret_configs: [ { name: s } ]",
        ),
        common(
            Nobody,
            "there is no tls_certificate \"v\"",
            "tls_certificate_sds_secret_configs: [ { name: v } ]",
        ),
        common(
            Both,
            "",
            "tls_certificates: [ $A ], validation_context_sds_secret_config: { name: v }",
        ),
        common(
            Both,
            "clients without a certificate are let in",
            "tls_certificates: [ $A ], validation_context: { $CA }",
        ),
        common(
            Both,
            "whether clients without a certificate are let in depends on what is asked",
            "tls_certificates: [ $A ], validation_context: { $CA, match_typed_subject_alt_names: \
             [ { san_type: DNS, matcher: { exact: a } } ] }",
        ),
        common(
            Nobody,
            "there is no validation_context \"s\"",
            "tls_certificates: [ $A ], validation_context_sds_secret_config: { name: s }",
        ),
        common(
            Nobody,
            "cannot open \"/nowhere/log\"",
            "tls_certificates: [ $A ], key_log: { path: /nowhere/log }",
        ),
    ];
    let own = |takes, says, fields: &str| {
        let text = format!("common_tls_context: {{ tls_certificates: [ $A ] }}, {fields}");
        context(takes, says, &text)
    };
    contexts.extend([
        own(
            Both,
            "",
            "session_ticket_keys: { keys: [ { filename: DIR/ticket } ] }",
        ),
        own(
            Nobody,
            "session_ticket_keys.keys[1]: a key has 80 bytes, not 79",
            "session_ticket_keys: { keys: [ { filename: DIR/ticket }, { filename: DIR/short } ] }",
        ),
        own(
            Nobody,
            "session_ticket_keys.keys",
            "session_ticket_keys: { keys: [] }",
        ),
        own(
            Both,
            "",
            "session_ticket_keys_sds_secret_config: { name: k }",
        ),
        own(
            Nobody,
            "there is no session_ticket_keys \"s\"",
            "session_ticket_keys_sds_secret_config: { name: s }",
        ),
        own(
            Nobody,
            "ocsp_staple: is needed: the ocsp_staple_policy is MUST_STAPLE",
            "ocsp_staple_policy: MUST_STAPLE",
        ),
        own(Both, "", "ocsp_staple_policy: STRICT_STAPLING"),
        own(
            Both,
            "",
            "disable_stateless_session_resumption: true, session_timeout: 5s",
        ),
        own(
            Both,
            "nobody is asked for a certificate",
            "require_client_certificate: true",
        ),
        own(
            Both,
            "require_sni: has no effect: nothing reads it, in Envoy neither",
            "require_sni: true",
        ),
        own(
            Both,
            "nobody is asked for a certificate",
            "require_client_certificate: \"Yes\"",
        ),
        own(
            Nobody,
            "require_client_certificate: expected",
            "require_client_certificate: \"on\"",
        ),
    ]);
    compare("contexts_of_listeners", listener, &contexts);
}

#[test]
fn contexts_of_clusters() {
    compare(
        "contexts_of_clusters",
        cluster,
        &[
            context(Both, "the host's certificate is not verified", ""),
            context(
                Nobody,
                "a client has one certificate at most",
                "common_tls_context: { tls_certificates: [ $A, $B ] }",
            ),
            context(
                Nobody,
                "a client has one certificate at most",
                "common_tls_context: { tls_certificates: [ $A ], \
                 tls_certificate_sds_secret_configs: [ { name: s } ] }",
            ),
            context(
                Both,
                "",
                "sni: a.test, common_tls_context: { tls_certificates: [ $NOBODY ] }",
            ),
            context(
                Both,
                "an address is no name and is not sent",
                "sni: 1.2.3.4",
            ),
            context(Nobody, "must not contain a NUL byte", "sni: \"a\\0b\""),
            // It could never be compared with a certificate.
            context(Envoy, "\"a b\" is not a name of DNS", "sni: a b"),
            context(
                Nobody,
                "needs a validation_context",
                "auto_sni_san_validation: true",
            ),
            context(
                Nobody,
                "needs a trusted_ca",
                "auto_sni_san_validation: true, common_tls_context: { validation_context: {} }",
            ),
            context(
                Both,
                "",
                "auto_sni_san_validation: true, common_tls_context: { validation_context: { $CA } }",
            ),
            // The library has none, for which there are reasons.
            context(
                Envoy,
                "allow_renegotiation: true is not supported yet",
                "allow_renegotiation: true",
            ),
        ],
    );
}

#[test]
fn parameters() {
    let parameters = |takes, says, fields: &str| {
        let text = format!("common_tls_context: {{ tls_params: {{ {fields} }} }}");
        context(takes, says, &text)
    };
    compare(
        "parameters",
        cluster,
        &[
            parameters(Both, "", "cipher_suites: [ \"\" ], ecdh_curves: [ \"\" ]"),
            parameters(
                Both,
                "",
                "cipher_suites: [ \"[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]\", \
                 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 ]",
            ),
            parameters(
                Nobody,
                "the cipher \"FOO\" is not supported",
                "cipher_suites: [ FOO ]",
            ),
            parameters(
                Nobody,
                "is a cipher of TLS 1.3",
                "cipher_suites: [ TLS_AES_128_GCM_SHA256 ]",
            ),
            // What the library does not do.
            parameters(
                Envoy,
                "the cipher \"ECDHE-RSA-AES128-SHA\" is not supported",
                "cipher_suites: [ ECDHE-RSA-AES128-SHA ]",
            ),
            parameters(
                Envoy,
                "rules such as \"-ALL\"",
                "cipher_suites: [ -ALL, AES128-SHA ]",
            ),
            parameters(
                Both,
                "",
                "ecdh_curves: [ X25519, P-256, secp384r1, X25519MLKEM768, MLKEM1024 ]",
            ),
            parameters(Both, "", "ecdh_curves: [ \"x25519:prime256v1\" ]"),
            parameters(
                Nobody,
                "the curve \"FOO\" is not supported",
                "ecdh_curves: [ FOO ]",
            ),
            parameters(
                Nobody,
                "X25519 is there twice",
                "ecdh_curves: [ X25519, X25519 ]",
            ),
            parameters(
                Envoy,
                "the curve \"P-521\" is not supported",
                "ecdh_curves: [ P-521 ]",
            ),
            parameters(
                Both,
                "",
                "signature_algorithms: [ rsa_pss_rsae_sha256, ecdsa_secp384r1_sha384, ed25519, \
                 RSA+SHA512, ECDSA+SHA256, PSS+SHA384 ]",
            ),
            parameters(Nobody, "algorithm \"foo\"", "signature_algorithms: [ foo ]"),
            parameters(
                Nobody,
                "ed25519 is there twice",
                "signature_algorithms: [ ed25519, ed25519 ]",
            ),
            parameters(
                Envoy,
                "algorithm \"rsa_pkcs1_sha1\"",
                "signature_algorithms: [ rsa_pkcs1_sha1 ]",
            ),
            parameters(
                Envoy,
                "TLS 1.0 is not supported",
                "tls_minimum_protocol_version: TLSv1_0",
            ),
            // No handshake could succeed.
            parameters(
                Envoy,
                "the maximum is TLS 1.2 unless tls_maximum_protocol_version says another",
                "tls_minimum_protocol_version: TLSv1_3",
            ),
            parameters(
                Envoy,
                "no version is left: the minimum is TLS 1.3, the maximum is TLS 1.2\n",
                "tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2",
            ),
        ],
    );
}

#[test]
fn whom_to_trust() {
    let validation = |takes, says, fields: &str| {
        let text = format!("common_tls_context: {{ validation_context: {{ {fields} }} }}");
        context(takes, says, &text)
    };
    let digits = "a".repeat(64);
    let names = "match_typed_subject_alt_names: [ { san_type: OTHER_NAME, matcher: { exact: a }";
    compare(
        "whom_to_trust",
        cluster,
        &[
            validation(Both, "", "$CA"),
            validation(
                Both,
                "",
                "$CA, max_verify_depth: 0, suppress_client_ca_list: true",
            ),
            validation(
                Nobody,
                "cannot read \"/nowhere\"",
                "trusted_ca: { filename: /nowhere }",
            ),
            validation(
                Nobody,
                "trusted_ca: there is no certificate in it",
                "trusted_ca: { filename: DIR/rubbish }",
            ),
            validation(
                Nobody,
                "trusted_ca: there is nothing in it",
                "trusted_ca: { inline_string: \"\" }",
            ),
            validation(Both, "", &format!("verify_certificate_hash: [ {digits} ]")),
            validation(
                Nobody,
                "is not a SHA-256",
                &format!("verify_certificate_hash: [ {}z ]", &digits[1..]),
            ),
            validation(
                Nobody,
                "is not a SHA-256",
                "verify_certificate_spki: [ \"NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9==\" ]",
            ),
            validation(
                Nobody,
                "match_typed_subject_alt_names: names without a trusted_ca",
                "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a } } ]",
            ),
            validation(
                Nobody,
                "oid: OTHER_NAME needs an object identifier",
                &format!("$CA, {names} }} ]"),
            ),
            validation(Both, "", &format!("$CA, {names}, oid: 1.2.3 }} ]")),
            validation(
                Nobody,
                "without a trusted_ca the time never matters",
                "allow_expired_certificate: true",
            ),
            validation(
                Nobody,
                "crl: a revocation list needs a trusted_ca",
                "crl: { filename: DIR/ca.pem }",
            ),
            // Nobody can be verified: lists are asked for, and there are none.
            validation(
                Both,
                "crl: there is no revocation list in it: nobody is trusted, in Envoy neither",
                "$CA, crl: { filename: DIR/ca.pem }",
            ),
            validation(
                Both,
                "there is no revocation list in it",
                "$CA, crl: { filename: DIR/rubbish }",
            ),
            validation(
                Nobody,
                "crl: this is not PEM",
                "$CA, crl: { inline_string: \"-----BEGIN X509 CRL-----\\n*\\n-----END X509 CRL-----\\n\" }",
            ),
            validation(
                Both,
                "system_root_certs: has no effect: nothing reads it",
                "system_root_certs: {}",
            ),
            validation(
                Nobody,
                "names without a trusted_ca",
                "system_root_certs: {}, match_typed_subject_alt_names: [ { san_type: DNS, \
                 matcher: { exact: a } } ]",
            ),
            // Envoy says itself that it does not do this, and takes it.
            validation(
                Envoy,
                "require_signed_certificate_timestamp: true is not supported yet",
                "$CA, require_signed_certificate_timestamp: true",
            ),
        ],
    );
}

/// Keys with a password, as openssl makes them.
#[test]
fn passwords() {
    let test = "passwords";
    let Some(openssl) = programs::optional(test, "openssl") else {
        return;
    };
    let files = Files::new();
    for (name, arguments) in [
        ("pbes2", &["pkcs8", "-topk8", "-v2", "aes-256-cbc"][..]),
        ("pbes1", &["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"]),
        ("of-old", &["ec", "-aes128"]),
    ] {
        let output = Command::new(&openssl)
            .args(arguments)
            .args(["-passout", "pass:secret", "-in"])
            .arg(files.path("a.key"))
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{output:?}");
        files.write(&format!("{name}.key"), output.stdout);
    }
    files.write("password", "secret");
    files.write("line", "secret\n");
    let key = |takes, says, name: &str, password: &str| {
        let text = format!(
            "common_tls_context: {{ tls_certificates: [ {{ certificate_chain: {{ filename: \
             DIR/a.pem }}, private_key: {{ filename: DIR/{name}.key }}{password} }} ] }}"
        );
        context(takes, says, &text)
    };
    let inline = ", password: { inline_string: secret }";
    let wrong = "private_key: there is no key in it that the password opens";
    compare_with(
        test,
        listener,
        &[
            key(Both, "", "pbes2", inline),
            key(Both, "", "pbes1", inline),
            key(Both, "", "of-old", inline),
            key(Both, "", "pbes2", ", password: { filename: DIR/password }"),
            // What needs none takes any.
            key(Both, "", "a", inline),
            key(Nobody, wrong, "pbes2", ", password: { filename: DIR/line }"),
            key(
                Nobody,
                wrong,
                "pbes1",
                ", password: { inline_string: Secret }",
            ),
            key(
                Nobody,
                wrong,
                "of-old",
                ", password: { inline_string: Secret }",
            ),
            key(Nobody, "the key needs a password", "pbes2", ""),
            key(
                Nobody,
                "the key needs a password",
                "of-old",
                ", password: { inline_string: \"\" }",
            ),
            key(
                Nobody,
                "the key is not that of the certificate",
                "b",
                inline,
            ),
            // It may be read in vain where it is not needed.
            key(
                Envoy,
                "password.filename: cannot read \"/nowhere\"",
                "a",
                ", password: { filename: /nowhere }",
            ),
        ],
        &files,
    );
}
