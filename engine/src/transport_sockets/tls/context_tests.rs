//! Contexts against each other, without sockets: who gets which certificate, who is
//! let in, what is taken up again. What is expected here is what Envoy 1.40 does with
//! the same contexts, unless a comment says more.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use ringway_config::bootstrap;
use ringway_config::context::Cx;
use ringway_config::diagnostics::Diagnostics;
use ringway_config::load::{Format, LoadOptions, load};
use ringway_config::tls::TransportSocket;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConnection, Error, HandshakeKind, ServerConnection};
use x509_parser::prelude::FromDer as _;

use super::{ClientContext, ServerContext, VerifyFailure, notes};

/// A certificate with its key, in PEM.
pub(super) struct Made {
    pem: String,
    der: Vec<u8>,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Made {
    pub(super) fn new(params: CertificateParams, by: Option<&Made>) -> Self {
        Self::with_key(params, by, KeyPair::generate().unwrap())
    }

    fn with_key(params: CertificateParams, by: Option<&Made>, key: KeyPair) -> Self {
        let certificate = match by {
            Some(by) => params.signed_by(&key, &by.issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            key: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The fields of a `TlsCertificate`, with others behind it in the chain.
    pub(super) fn certificate(&self, others: &[&Made]) -> String {
        let mut chain = self.pem.clone();
        chain.extend(others.iter().map(|other| &*other.pem));
        format!(
            "{{ certificate_chain: {{ inline_string: {chain:?} }}, private_key: {{ inline_string: \
             {:?} }} }}",
            self.key
        )
    }

    pub(super) fn trusted(&self) -> String {
        format!("trusted_ca: {{ inline_string: {:?} }}", self.pem)
    }
}

pub(super) fn named(common_name: &str, names: &[&str]) -> CertificateParams {
    let names = names.iter().map(|name| (*name).to_owned());
    let mut params = CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    (params.distinguished_name).push(DnType::CommonName, common_name);
    params
}

pub(super) fn authority(common_name: &str) -> CertificateParams {
    let mut params = named(common_name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Everything that is wrong with a context, or the context.
fn compile<T, C>(
    text: &str,
    find: impl FnOnce(&bootstrap::Snapshot) -> TransportSocket<T>,
    compile: impl FnOnce(&T, &mut Cx<'_>) -> Option<C>,
) -> Result<C, String> {
    let loaded = load(text, "f", Format::Yaml, &LoadOptions::default())
        .map_err(|found| found.to_string())?;
    let snapshot = bootstrap::lower(&loaded).map_err(|found| found.to_string())?;
    let TransportSocket::Tls(context) = find(&snapshot) else {
        panic!("no TLS: {text}");
    };
    let mut found = Diagnostics::new();
    let mut cx = Cx::new(
        &mut found,
        &loaded.marks,
        loaded.file.clone(),
        &snapshot.names,
    );
    let compiled = compile(&context, &mut cx);
    compiled.ok_or_else(|| found.to_string())
}

fn try_server(context: &str) -> Result<ServerContext, String> {
    let text = format!(
        "static_resources: {{ listeners: [ {{ address: {{ socket_address: {{ address: 127.0.0.1, \
         port_value: 0 }} }}, filter_chains: [ {{ transport_socket: {{ name: t, typed_config: {{ \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
         DownstreamTlsContext, {context} }} }} }} ] }} ] }}"
    );
    let chain = |snapshot: &bootstrap::Snapshot| {
        let chain = &snapshot.listeners[0].filter_chains[0];
        chain.transport_socket.clone()
    };
    compile(&text, chain, ServerContext::compile)
}

pub(super) fn server(context: &str) -> ServerContext {
    try_server(context).unwrap_or_else(|found| panic!("{context}: {found}"))
}

pub(super) fn client(context: &str) -> ClientContext {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: c, transport_socket: {{ name: t, typed_config: \
         {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
         UpstreamTlsContext, {context} }} }} }} ] }}"
    );
    let socket = |snapshot: &bootstrap::Snapshot| snapshot.clusters[0].transport_socket.clone();
    compile(&text, socket, ClientContext::compile)
        .unwrap_or_else(|found| panic!("{context}: {found}"))
}

/// Why there is no connection, by who has refused it.
#[derive(Debug, PartialEq)]
enum Refusal {
    Server(Error, Option<VerifyFailure>),
    Client(Error, Option<VerifyFailure>),
}

struct Connection {
    server: ServerConnection,
    client: ClientConnection,
    /// What the server has found wrong with the client, and let pass.
    noted: Option<VerifyFailure>,
}

impl Connection {
    /// The name of the server's certificate.
    fn subject(&self) -> String {
        let certificates = self.client.peer_certificates().unwrap();
        let (_, own) = x509_parser::prelude::X509Certificate::from_der(&certificates[0]).unwrap();
        super::distinguished_name::rfc2253(own.subject())
    }
}

/// Connects, and sends a byte each way, so that tickets have arrived.
fn connect(server: &ServerContext, client: &ClientContext) -> Result<Connection, Refusal> {
    let name = client.server_name(None, "", None);
    connect_to(server, client, name)
}

fn connect_to(
    server: &ServerContext,
    client: &ClientContext,
    name: ServerName<'static>,
) -> Result<Connection, Refusal> {
    use std::io::{Read as _, Write as _};
    let mut server = ServerConnection::new(server.config.clone()).unwrap();
    let mut client = ClientConnection::new(client.config.clone(), name).unwrap();
    client.writer().write_all(b"a").unwrap();
    server.writer().write_all(b"b").unwrap();
    let mut noted = None;
    // A handshake has two rounds; the third is for what follows it.
    for _ in 0..3 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            let _ = notes::take();
            if let Err(error) = server.process_new_packets() {
                return Err(Refusal::Server(error, notes::take().failure));
            }
            noted = notes::take().failure.or(noted);
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            let _ = notes::take();
            if let Err(error) = client.process_new_packets() {
                return Err(Refusal::Client(error, notes::take().failure));
            }
        }
    }
    let mut byte = [0];
    server.reader().read_exact(&mut byte).unwrap();
    client.reader().read_exact(&mut byte).unwrap();
    Ok(Connection {
        server,
        client,
        noted,
    })
}

#[test]
fn which_certificate_a_client_gets() {
    let ca = Made::new(authority("ca"), None);
    let ec = Made::new(
        named("ec", &["a.test", "*.wild.test", "both.test"]),
        Some(&ca),
    );
    let rsa_key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let rsa = Made::with_key(named("rsa", &["b.test", "both.test"]), Some(&ca), rsa_key);
    // Without alternative names the common name is the name.
    let plain = Made::new(named("plain.test", &[]), Some(&ca));
    let certificates = [ec, rsa, plain].map(|made| made.certificate(&[]));
    let common = format!(
        "common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificates.join(", ")
    );
    let first = server(&common);
    let scan = server(&format!("{common}, full_scan_certs_on_sni_mismatch: true"));

    let any =
        client("common_tls_context: { tls_params: { tls_maximum_protocol_version: TLSv1_3 } }");
    let only_rsa = client(
        "common_tls_context: { tls_params: { tls_maximum_protocol_version: TLSv1_3, \
         signature_algorithms: [ rsa_pss_rsae_sha256 ] } }",
    );
    let rsa_of_tls12 = client(
        "common_tls_context: { tls_params: { cipher_suites: [ ECDHE-RSA-AES256-GCM-SHA384 ] } }",
    );
    for (context, client, name, expected) in [
        (&first, &any, "a.test", Some("CN=ec")),
        (&first, &any, "A.Test", Some("CN=ec")),
        (&first, &any, "x.wild.test", Some("CN=ec")),
        (&first, &any, "x.y.wild.test", Some("CN=ec")),
        (&first, &any, "b.test", Some("CN=rsa")),
        (&first, &any, "both.test", Some("CN=ec")),
        (&first, &any, "plain.test", Some("CN=plain.test")),
        (&first, &any, "nobody.test", Some("CN=ec")),
        (&first, &any, "", Some("CN=ec")),
        (&first, &only_rsa, "both.test", Some("CN=rsa")),
        (&first, &only_rsa, "b.test", Some("CN=rsa")),
        // It is the first, or the only one of that name, and cannot be used.
        (&first, &only_rsa, "a.test", None),
        (&first, &only_rsa, "nobody.test", None),
        (&first, &only_rsa, "", Some("CN=rsa")),
        (&scan, &only_rsa, "nobody.test", Some("CN=rsa")),
        (&scan, &only_rsa, "a.test", Some("CN=rsa")),
        (&first, &rsa_of_tls12, "both.test", Some("CN=rsa")),
        (&first, &rsa_of_tls12, "", Some("CN=rsa")),
    ] {
        let asked = match name {
            "" => client.server_name(None, "", None),
            name => ServerName::try_from(name.to_owned()).unwrap(),
        };
        let found = connect_to(context, client, asked).ok();
        let found = found.map(|connection| connection.subject());
        assert_eq!(found.as_deref(), expected, "{name}");
    }
}

/// What becomes of a client.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    In,
    /// Let in, though this is wrong.
    Despite(&'static str),
    Refused(&'static str),
    /// Something that is no failed verification.
    Broken,
}
use Outcome::{Broken, Despite, In, Refused};

fn outcome(server: &ServerContext, client: &ClientContext) -> (Outcome, Option<String>) {
    let said = |failure: &VerifyFailure| Some(failure.to_string());
    match connect(server, client) {
        Ok(connection) => match &connection.noted {
            None => (In, None),
            Some(failure) => (Despite(""), said(failure)),
        },
        Err(Refusal::Server(Error::NoCertificatesPresented, None)) => (Refused("none"), None),
        Err(Refusal::Server(_, Some(failure))) => (Refused(""), said(&failure)),
        Err(_) => (Broken, None),
    }
}

#[test]
fn which_clients_are_let_in() {
    let ca = Made::new(authority("ca"), None);
    let other_ca = Made::new(authority("ca"), None);
    let own = Made::new(named("server", &["s.test"]), None).certificate(&[]);

    let mut good = named("good", &["*.w.test"]);
    good.subject_alt_names.extend([
        SanType::URI("spiffe://a/b".try_into().unwrap()),
        SanType::IpAddress([10, 0, 0, 1].into()),
        SanType::Rfc822Name("a@b.test".try_into().unwrap()),
        SanType::OtherName((vec![1, 2, 3], "upn".into())),
    ]);
    let good = Made::new(good, Some(&ca));
    let own_signed = Made::new(named("self", &[]), None);
    let stranger = Made::new(named("stranger", &[]), Some(&other_ca));
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = named("x", &[]);
        change(&mut params);
        Made::new(params, Some(&ca))
    };
    let for_servers =
        with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let encrypts = with(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    let expired = with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let future = with(|params| params.not_before = rcgen::date_time_ymd(3000, 1, 1));
    let mut between = authority("between");
    between.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let between = Made::new(between, Some(&ca));
    let below = Made::new(named("below", &[]), Some(&between));
    let too_deep = Made::new(authority("too deep"), Some(&between));
    let deepest = Made::new(named("deepest", &[]), Some(&too_deep));
    let no_ca = Made::new(named("no CA", &[]), Some(&ca));
    let below_no_ca = Made::new(named("below no CA", &[]), Some(&no_ca));

    let version = "tls_params: { tls_maximum_protocol_version: TLSv1_3 }";
    let presenting = |made: &Made, others: &[&Made]| {
        client(&format!(
            "common_tls_context: {{ {version}, tls_certificates: [ {} ] }}",
            made.certificate(others)
        ))
    };
    let none = client(&format!("common_tls_context: {{ {version} }}"));
    let asking = |validation: &str, more: &str| {
        server(&format!(
            "common_tls_context: {{ tls_certificates: [ {own} ], validation_context: {{ \
             {validation} }} }}{more}"
        ))
    };
    let check = |validation: &str, more: &str, cases: &[(&ClientContext, Outcome)]| {
        let server = asking(validation, more);
        for (i, (client, expected)) in cases.iter().enumerate() {
            let (found, said) = outcome(&server, client);
            let said = said.unwrap_or_default();
            let matches = match (&found, expected) {
                (Despite(_), Despite(part)) => said.contains(part),
                (Refused(""), Refused(part)) => said.contains(part),
                (found, expected) => found == expected,
            };
            assert!(
                matches,
                "{more} case {i}: {found:?}, {said:?}, not {expected:?}"
            );
        }
    };

    let good_client = presenting(&good, &[]);
    let below_client = presenting(&below, &[&between]);
    let stranger_client = presenting(&stranger, &[]);
    let trusted = ca.trusted();
    check(
        &trusted,
        "",
        &[
            (&none, In),
            (&good_client, In),
            (&below_client, In),
            (&stranger_client, Refused("at depth 0: ")),
            (
                &presenting(&own_signed, &[]),
                Refused("at depth 0: self signed certificate"),
            ),
            (
                &presenting(&below, &[]),
                Refused("at depth 0: unable to get local issuer certificate"),
            ),
            (
                &presenting(&for_servers, &[]),
                Refused("at depth 0: unsupported certificate purpose"),
            ),
            (
                &presenting(&expired, &[]),
                Refused("at depth 0: certificate has expired"),
            ),
            (
                &presenting(&future, &[]),
                Refused("at depth 0: certificate is not yet valid"),
            ),
            (
                &presenting(&deepest, &[&too_deep, &between]),
                Refused("path length"),
            ),
            (
                &presenting(&below_no_ca, &[&no_ca]),
                Refused("at depth 1: invalid CA certificate"),
            ),
            // The key is not for signatures, whoever has signed the certificate.
            (&presenting(&encrypts, &[]), Broken),
        ],
    );
    check(
        &trusted,
        ", require_client_certificate: true",
        &[(&none, Refused("none")), (&good_client, In)],
    );
    check(
        &format!("{trusted}, allow_expired_certificate: true"),
        "",
        &[
            (&presenting(&expired, &[]), In),
            (&presenting(&future, &[]), In),
        ],
    );
    // Whoever is trusted, be it a root or not, ends a chain.
    check(
        &own_signed.trusted(),
        "",
        &[(&presenting(&own_signed, &[]), In)],
    );
    check(&good.trusted(), "", &[(&good_client, In)]);
    check(
        &between.trusted(),
        "",
        &[(&below_client, In), (&presenting(&below, &[]), In)],
    );
    // Certificates above the client's; one may always be there.
    for (depth, deep) in [(0, false), (1, false), (2, true)] {
        let below = match deep {
            true => In,
            false => Refused(""),
        };
        check(
            &format!("{trusted}, max_verify_depth: {depth}"),
            "",
            &[(&good_client, In), (&below_client, below)],
        );
    }
    for (names, expected) in [
        ("san_type: DNS, matcher: { exact: a.w.test }", In),
        ("san_type: DNS, matcher: { exact: A.W.TEST }", In),
        ("san_type: DNS, matcher: { prefix: a.w }", Refused("SAN")),
        (
            "san_type: DNS, matcher: { exact: spiffe://a/b }",
            Refused("SAN"),
        ),
        ("san_type: URI, matcher: { prefix: \"spiffe://\" }", In),
        ("san_type: IP_ADDRESS, matcher: { exact: 10.0.0.1 }", In),
        ("san_type: EMAIL, matcher: { suffix: \"@b.test\" }", In),
        (
            "san_type: OTHER_NAME, oid: 1.2.3, matcher: { exact: upn }",
            In,
        ),
        (
            "san_type: OTHER_NAME, oid: 1.2.4, matcher: { exact: upn }",
            Refused("SAN"),
        ),
    ] {
        check(
            &format!("{trusted}, match_typed_subject_alt_names: [ {{ {names} }} ]"),
            "",
            &[
                (&good_client, expected),
                (&below_client, Refused("SAN")),
                (&stranger_client, Refused("X509_verify_cert")),
                (&none, Refused("none")),
            ],
        );
    }
    let hash = {
        use std::fmt::Write as _;
        let hash = super::certificate_facts::sha256(&good.der);
        hash.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let pinned = format!("verify_certificate_hash: [ {hash} ]");
    check(
        &pinned,
        "",
        &[
            (&none, Refused("none")),
            (&good_client, In),
            (&stranger_client, Refused("cert hash and spki")),
        ],
    );
    check(
        &format!("{trusted}, {pinned}"),
        "",
        &[
            (&good_client, In),
            (&below_client, Refused("cert hash and spki")),
            (&stranger_client, Refused("X509_verify_cert")),
        ],
    );
    let anybody = format!("{trusted}, trust_chain_verification: ACCEPT_UNTRUSTED");
    check(
        &anybody,
        "",
        &[
            (&none, In),
            (&good_client, In),
            (&stranger_client, Despite("X509_verify_cert")),
        ],
    );
    check(
        &anybody,
        ", require_client_certificate: true",
        &[
            (&none, Refused("none")),
            (&stranger_client, Despite("X509_verify_cert")),
        ],
    );
    check(
        &format!(
            "{anybody}, match_typed_subject_alt_names: [ {{ san_type: DNS, matcher: {{ exact: x }} \
             }} ]"
        ),
        "",
        &[(&none, In), (&good_client, Despite("SAN"))],
    );
    // Nobody is asked, as nobody could fail.
    let server = asking("", "");
    let connection = connect(&server, &good_client).unwrap_or_else(|found| panic!("{found:?}"));
    assert_eq!(connection.server.peer_certificates(), None);
}

#[test]
fn revoked_clients() {
    let mut params = authority("ca");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = Made::new(params, None);
    let with_serial = |serial: u64| {
        let mut params = named("x", &[]);
        params.serial_number = Some(serial.into());
        let made = Made::new(params, Some(&ca));
        client(&format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            made.certificate(&[])
        ))
    };
    let (good, revoked) = (with_serial(1), with_serial(2));
    let mut between = authority("between");
    between.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let between = Made::new(between, Some(&ca));
    let below = Made::new(named("below", &[]), Some(&between));
    let below = client(&format!(
        "common_tls_context: {{ tls_certificates: [ {} ] }}",
        below.certificate(&[&between])
    ));
    let list = |by: &Made| {
        rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(3000, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: 2_u64.into(),
                revocation_time: rcgen::date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        }
        .signed_by(&by.issuer)
        .unwrap()
        .pem()
        .unwrap()
    };
    let own = Made::new(named("server", &["s.test"]), None).certificate(&[]);
    let (of_ca, of_between) = (list(&ca), list(&between));
    let both = format!("{of_ca}{of_between}");
    let in_bundle = format!("{}{of_ca}", ca.pem);
    for (validation, below_passes) in [
        (
            format!("{}, crl: {{ inline_string: {of_ca:?} }}", ca.trusted()),
            false,
        ),
        (
            format!("trusted_ca: {{ inline_string: {in_bundle:?} }}"),
            false,
        ),
        // Every certificate of a chain is asked about, or only the first.
        (
            format!("{}, crl: {{ inline_string: {both:?} }}", ca.trusted()),
            true,
        ),
        (
            format!(
                "{}, crl: {{ inline_string: {of_between:?} }}, only_verify_leaf_cert_crl: true",
                ca.trusted()
            ),
            true,
        ),
    ] {
        let server = server(&format!(
            "common_tls_context: {{ tls_certificates: [ {own} ], validation_context: {{ \
             {validation} }} }}"
        ));
        let (found, said) = outcome(&server, &below);
        let expected = if below_passes { In } else { Refused("") };
        assert_eq!(found, expected, "{said:?}");
        if validation.contains("only_verify_leaf_cert_crl") {
            continue;
        }
        assert_eq!(outcome(&server, &good), (In, None));
        let (found, said) = outcome(&server, &revoked);
        assert_eq!(found, Refused(""));
        assert!(said.is_some_and(|said| said.contains("certificate revoked")));
    }
}

#[test]
fn which_hosts_are_trusted() {
    let ca = Made::new(authority("ca"), None);
    let good = Made::new(named("host", &["a.test", "*.w.test"]), Some(&ca));
    let mut for_clients = named("client", &["a.test"]);
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let for_clients = Made::new(for_clients, Some(&ca));
    let stranger = Made::new(named("stranger", &["a.test"]), None);
    let [good, for_clients, stranger] = [good, for_clients, stranger].map(|made| {
        server(&format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            made.certificate(&[])
        ))
    });
    let trusting = |fields: &str| {
        client(&format!(
            "common_tls_context: {{ validation_context: {{ {} }} }}, {fields}",
            ca.trusted()
        ))
    };
    let refused = |server: &ServerContext, client: &ClientContext| match connect(server, client) {
        Ok(_) => String::new(),
        Err(Refusal::Client(_, Some(failure))) => failure.to_string(),
        Err(other) => panic!("{other:?}"),
    };
    // Without a validation context anybody will do, and no name is looked at.
    assert_eq!(refused(&stranger, &client("sni: b.test")), "");
    assert_eq!(refused(&good, &trusting("sni: b.test")), "");
    assert!(refused(&stranger, &trusting("sni: a.test")).contains("self signed certificate"));
    assert!(refused(&for_clients, &trusting("sni: a.test")).contains("purpose"));
    // The name that is asked for has to be there.
    let named = |sni: &str| trusting(&format!("sni: {sni}, auto_sni_san_validation: true"));
    assert_eq!(refused(&good, &named("a.test")), "");
    assert_eq!(refused(&good, &named("b.w.test")), "");
    assert!(refused(&good, &named("b.test")).contains("SAN"));
    // Nobody was asked for a name.
    assert_eq!(
        refused(&good, &trusting("auto_sni_san_validation: true")),
        ""
    );

    let named = client("sni: a.test, auto_host_sni: true");
    let address = Some([127, 0, 0, 1].into());
    for (hostname, expected) in [("b.test", "b.test"), ("", "a.test"), ("no name", "a.test")] {
        let found = named.server_name(None, hostname, address);
        assert_eq!(found, ServerName::try_from(expected).unwrap(), "{hostname}");
    }
    let nameless = client("").server_name(None, "b.test", address);
    assert_eq!(nameless, ServerName::try_from("127.0.0.1").unwrap());
}

#[test]
fn what_is_agreed_on() {
    let own = Made::new(named("server", &["s.test"]), None).certificate(&[]);
    let serving = |fields: &str| {
        server(&format!(
            "common_tls_context: {{ tls_certificates: [ {own} ], {fields} }}"
        ))
    };
    let asking = |fields: &str| client(&format!("common_tls_context: {{ {fields} }}"));
    let only = |version: &str| {
        format!(
            "tls_params: {{ tls_minimum_protocol_version: {version}, \
             tls_maximum_protocol_version: {version} }}"
        )
    };
    let (tls12, tls13) = (only("TLSv1_2"), only("TLSv1_3"));
    for (server, client, expected) in [
        ("", "", Some("TLSv1_2")),
        ("", &*tls13, Some("TLSv1_3")),
        (&*tls12, &*tls12, Some("TLSv1_2")),
        (&*tls13, "", None),
        (&*tls12, &*tls13, None),
    ] {
        let found = connect(&serving(server), &asking(client)).ok();
        let found = found.and_then(|connection| connection.client.protocol_version());
        let found = found.map(|version| format!("{version:?}"));
        assert_eq!(found.as_deref(), expected, "{server} {client}");
    }
    for (server, client, expected) in [
        ("h2, http/1.1", "http/1.1", Ok(Some("http/1.1"))),
        ("x, http/1.1", "http/1.1, x", Ok(Some("x"))),
        ("h2, http/1.1", "h2, http/1.1", Ok(Some("h2"))),
        ("http/1.1, h2", "h2, http/1.1", Ok(Some("http/1.1"))),
        ("h2", "h2, http/1.1", Ok(Some("h2"))),
        ("", "h2", Ok(None)),
        ("x", "", Ok(None)),
        ("x", "z", Err(())),
    ] {
        let protocols = |names: &str| format!("alpn_protocols: [ {names} ]");
        let found = connect(&serving(&protocols(server)), &asking(&protocols(client)));
        let found = found.map(|connection| {
            let protocol = connection.client.alpn_protocol();
            protocol.map(|name| String::from_utf8_lossy(name).into_owned())
        });
        let found = found.map_err(|_| ());
        let found = found.as_ref().map(Option::as_deref).map_err(|error| *error);
        assert_eq!(found, expected, "{server} {client}");
    }
    // Where only TLS 1.2 is spoken, who prefers a cipher can be said.
    let ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305, ECDHE-ECDSA-AES128-GCM-SHA256";
    let serving = |more: &str| {
        server(&format!(
            "common_tls_context: {{ tls_certificates: [ {own} ], tls_params: {{ \
             tls_maximum_protocol_version: TLSv1_2, cipher_suites: [ {ciphers} ] }} }}{more}"
        ))
    };
    let asking = asking(
        "tls_params: { cipher_suites: [ ECDHE-ECDSA-AES128-GCM-SHA256, \
         ECDHE-ECDSA-CHACHA20-POLY1305 ] }",
    );
    for (more, expected) in [
        ("", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (
            ", prefer_client_ciphers: true",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
    ] {
        let connection = connect(&serving(more), &asking).unwrap_or_else(|e| panic!("{e:?}"));
        let suite = connection.client.negotiated_cipher_suite().unwrap();
        assert_eq!(super::names::cipher(suite.suite()), expected);
    }
}

#[test]
fn sessions_are_taken_up_again() {
    let made = Made::new(named("server", &["s.test"]), None);
    let own = made.certificate(&[]);
    let key = |byte: u8| {
        format!(
            "{{ inline_string: \"{}\" }}",
            char::from(byte).to_string().repeat(80)
        )
    };
    let serving = |common: &str, more: &str| {
        server(&format!(
            "common_tls_context: {{ tls_certificates: [ {own} ]{common} }}{more}"
        ))
    };
    let keyed = |common: &str, keys: &[u8]| {
        let keys: Vec<_> = keys.iter().map(|byte| key(*byte)).collect();
        serving(
            common,
            &format!(", session_ticket_keys: {{ keys: [ {} ] }}", keys.join(", ")),
        )
    };
    let kind = |server: &ServerContext, client: &ClientContext| {
        let connection = connect(server, client).unwrap_or_else(|found| panic!("{found:?}"));
        connection.client.handshake_kind().unwrap() == HandshakeKind::Resumed
    };
    let (one, both, other) = (keyed("", b"1"), keyed("", b"21"), keyed("", b"2"));
    let trusting = format!(", validation_context: {{ {} }}", made.trusted());
    let other_context = keyed(&trusting, b"1");
    let off = serving("", ", disable_stateless_session_resumption: true");
    let none = serving(
        "",
        ", disable_stateless_session_resumption: true, disable_stateful_session_resumption: true",
    );
    let generated = serving("", "");
    for version in ["TLSv1_2", "TLSv1_3"] {
        let fresh = |keys: u32| {
            client(&format!(
                "sni: s.test, max_session_keys: {keys}, common_tls_context: {{ tls_params: {{ \
                 tls_minimum_protocol_version: {version}, tls_maximum_protocol_version: {version} \
                 }} }}"
            ))
        };
        for (first, second, expected) in [
            (&one, &one, true),
            (&one, &both, true),
            (&one, &other, false),
            (&both, &other, true),
            (&generated, &generated, true),
            (&generated, &one, false),
            // A client that was never asked who it is has not passed who asks.
            (&one, &other_context, false),
            (&none, &none, false),
            // Sessions of TLS 1.2 may be remembered instead.
            (&off, &off, version == "TLSv1_2"),
        ] {
            let client = fresh(1);
            assert!(!kind(first, &client));
            assert_eq!(kind(second, &client), expected, "{version}");
        }
        let forgetful = fresh(0);
        assert!(!kind(&one, &forgetful));
        assert!(!kind(&one, &forgetful));
    }
}

#[test]
fn alerts_are_those_of_boringssl() {
    let ca = Made::new(authority("ca"), None);
    let own = Made::new(named("server", &["s.test"]), None).certificate(&[]);
    let mut expired = named("expired", &[]);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = Made::new(expired, Some(&ca));
    let mut for_servers = named("x", &[]);
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let for_servers = Made::new(for_servers, Some(&ca));
    let stranger = Made::new(named("stranger", &[]), None);
    let good = Made::new(named("good", &["a.test"]), Some(&ca));
    let server = server(&format!(
        "common_tls_context: {{ tls_certificates: [ {own} ], validation_context: {{ {}, \
         match_typed_subject_alt_names: [ {{ san_type: DNS, matcher: {{ exact: x }} }} ] }} }}",
        ca.trusted()
    ));
    for (made, expected) in [
        (&stranger, AlertDescription::UnknownCA),
        (&expired, AlertDescription::CertificateExpired),
        (&for_servers, AlertDescription::UnsupportedCertificate),
        (&good, AlertDescription::CertificateUnknown),
    ] {
        let client = client(&format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            made.certificate(&[])
        ));
        let Err(Refusal::Server(Error::InvalidCertificate(error), _)) = connect(&server, &client)
        else {
            panic!("{expected:?}: let in");
        };
        assert_eq!(AlertDescription::from(error), expected);
    }
}

#[test]
fn certificates_that_cannot_be_used() {
    let (one, other) = (
        Made::new(named("one", &[]), None),
        Made::new(named("other", &[]), None),
    );
    let broken = |chain: &str, key: &str| {
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {{ certificate_chain: {{ inline_string: \
             {chain:?} }}, private_key: {{ inline_string: {key:?} }} }} ] }}"
        );
        match try_server(&context) {
            Ok(_) => panic!("{context}: accepted"),
            Err(found) => found,
        }
    };
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let nobody = Made::new(params, None);
    let cut = one.pem.replacen("MII", "MIJ", 1);
    let no_end = one.pem.replace("-----END", "-----");
    for (chain, key, expected) in [
        (
            &one.pem,
            &other.key,
            "private_key: the key is not that of the certificate",
        ),
        (
            &one.key,
            &one.key,
            "certificate_chain: there is no certificate in it",
        ),
        (
            &no_end,
            &one.key,
            "certificate_chain: this is not PEM: the end of its \"CERTIFICATE\" is missing",
        ),
        (
            &cut,
            &one.key,
            "certificate_chain: the first certificate is malformed",
        ),
        (&one.pem, &one.pem, "private_key: there is no key in it"),
        (
            &nobody.pem,
            &nobody.key,
            "neither a common name nor alternative names",
        ),
    ] {
        let found = broken(chain, key);
        assert!(found.contains(expected), "{found}");
    }
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let found = broken(&one.pem, encrypted);
    assert!(found.contains("the key needs a password"), "{found}");
    let password = "private_key: {PEM}, password: { inline_string: \"x\\n\" }";
    let given = password.replace("{PEM}", &format!("{{ inline_string: {encrypted:?} }}"));
    let context = format!(
        "common_tls_context: {{ tls_certificates: [ {{ certificate_chain: {{ inline_string: {:?} \
         }}, {given} }} ] }}",
        one.pem
    );
    let found = try_server(&context).expect_err("no key");
    assert!(found.contains("ends in a line feed"), "{found}");
    let malformed: CertificateDer<'_> = one.der[..one.der.len() - 1].to_vec().into();
    assert_eq!(
        crate::stream_info::CertificateFacts::parse(&malformed),
        None
    );
}

#[test]
fn secrets_are_logged_for_those_who_ask() {
    let own = Made::new(named("server", &["s.test"]), None).certificate(&[]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let server = server(&format!(
        "common_tls_context: {{ tls_certificates: [ {own} ], key_log: {{ path: {path:?} }} }}"
    ));
    connect(&server, &client("")).unwrap_or_else(|found| panic!("{found:?}"));
    let log = std::fs::read_to_string(&path).unwrap();
    let words: Vec<_> = log.split_whitespace().collect();
    assert_eq!(words.len(), 3, "{log}");
    assert_eq!(words[0], "CLIENT_RANDOM");
    assert_eq!((words[1].len(), words[2].len()), (64, 96));
}

#[test]
fn no_change_of_a_certificate_breaks_anything() {
    let mut params = named("name", &["a.test"]);
    params.subject_alt_names.extend([
        SanType::URI("spiffe://a/b".try_into().unwrap()),
        SanType::IpAddress([10, 0, 0, 1].into()),
        SanType::OtherName((vec![1, 2, 3], "upn".into())),
    ]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let made = Made::new(params, None);
    super::fuzz::certificate(&made.der);
    for place in 0..made.der.len() {
        super::fuzz::certificate(&made.der[..place]);
        for byte in [0, b'\n', 0x7f, 0x80, 0xff] {
            let mut changed = made.der.clone();
            changed[place] = byte;
            super::fuzz::certificate(&changed);
        }
    }
}
