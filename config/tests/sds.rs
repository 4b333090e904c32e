//! Secrets that files hold: what a file says, and where it is wrong.

use ringway_config::Names;
use ringway_config::config_source::PathSource;
use ringway_config::load::Refused;
use ringway_config::tls::{SdsSecret, SecretKind, SecretResponse};

const SECRET: &str =
    "\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

fn read(kind: SecretKind, text: &str) -> Result<SecretResponse, Refused> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, text.replace("SECRET", SECRET)).expect("a file");
    let secret = SdsSecret {
        name: "s".into(),
        kind,
        source: PathSource {
            path,
            watched_directory: None,
        },
    };
    secret.read(&Names::default())
}

const GOOD: &str = "version_info: v\nresources:\n- { SECRET, name: s, tls_certificate: { \
     certificate_chain: { filename: c.pem }, private_key: { inline_string: key } } }\n";

#[test]
fn a_good_file_is_read() {
    let response = read(SecretKind::Certificate, GOOD).expect("a good file");
    assert_eq!(&*response.version, "v");
    assert!(response.warnings.is_empty(), "{}", response.warnings);
    let shown = response.secret.to_json();
    let certificate = &shown["tls_certificate"];
    assert_eq!(certificate["certificate_chain"]["filename"], "c.pem");
    assert_eq!(certificate["private_key"]["inline_string"], "[redacted]");
}

#[test]
fn what_is_wrong_is_told_of_with_its_place() {
    let content = |kind, text: &str, said: &str| match read(kind, text) {
        Err(Refused::Content(found)) => {
            assert!(found.to_string().contains(said), "{text}: {found}");
        }
        other => panic!("{text}: {other:?}"),
    };
    use SecretKind::{Certificate, TicketKeys, Validation};
    for (kind, text, said) in [
        (
            Certificate,
            "{}",
            "resources: 0 resources, one secret is expected",
        ),
        (
            Certificate,
            "resources:\n- { SECRET, name: s }\n- { SECRET, name: s }\n",
            "resources: 2 resources, one secret is expected",
        ),
        (
            Certificate,
            "resources:\n- { SECRET, name: x, tls_certificate: {} }\n",
            "s.yaml:2:",
        ),
        (
            Certificate,
            "resources:\n- { SECRET, name: x, tls_certificate: {} }\n",
            "resources[0].name: \"x\" is not \"s\"",
        ),
        (
            Certificate,
            "resources:\n- { SECRET, name: s }\n",
            "resources[0]: it has no tls_certificate",
        ),
        (
            Validation,
            "resources:\n- { SECRET, name: s, tls_certificate: {} }\n",
            "resources[0]: it has no validation_context",
        ),
        (
            TicketKeys,
            "resources:\n- { SECRET, name: s, validation_context: {} }\n",
            "resources[0]: it has no session_ticket_keys",
        ),
        (
            Certificate,
            "resources:\n- { \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: s }\n",
            "resources[0]: envoy.config.cluster.v3.Cluster is not a secret",
        ),
        (
            Certificate,
            "resources:\n- { \"@type\": type.googleapis.com/envoy.service.discovery.v3.Resource }\n",
            "resources[0].resource: a secret is expected",
        ),
        (
            Certificate,
            "resources:\n- { SECRET, name: s, generic_secret: {} }\n",
            "resources[0].generic_secret: not supported yet",
        ),
    ] {
        content(kind, text, said);
    }
    for text in ["", "{[", "resources: 7"] {
        let refused = read(SecretKind::Certificate, text);
        assert!(
            matches!(refused, Err(Refused::Text(_))),
            "{text}: {refused:?}"
        );
    }
}

/// Half a file is no secret, or the whole one.
#[test]
fn files_that_end_anywhere() {
    let text = GOOD.replace("SECRET", SECRET);
    for end in 0..text.len() {
        let Ok(response) = read(SecretKind::Certificate, &text[..end]) else {
            continue;
        };
        assert_eq!(text[end..].trim(), "", "{end} bytes");
        assert_eq!(&*response.version, "v");
    }
}
