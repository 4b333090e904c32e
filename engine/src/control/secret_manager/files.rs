//! What a secret has in files: reading it, and where to look for changes.

use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use ringway_config::context::Cx;

use crate::data_source;

/// The secret with the content of its files inside, so that all of a context is of
/// one moment. Keys of session tickets are read when a context is made of them.
pub(super) fn inlined(secret: &Secret, cx: &mut Cx<'_>) -> Option<Secret> {
    let mut secret = secret.clone();
    let mut complete = true;
    for (field, source) in sources_mut(&mut secret) {
        if matches!(source.specifier, Some(Specifier::Filename(_))) {
            match cx.field(field, |cx| data_source::read(source, cx)) {
                Some(bytes) => source.specifier = Some(Specifier::InlineBytes(bytes.into())),
                None => complete = false,
            }
        }
    }
    complete.then_some(secret)
}

/// The directories into which other files may be moved: the one that the secret
/// names, or that of each of its files.
pub(super) fn directories(secret: &Secret) -> Vec<PathBuf> {
    let watched = match &secret.r#type {
        Some(Type::TlsCertificate(certificate)) => certificate.watched_directory.as_ref(),
        Some(Type::ValidationContext(validation)) => validation.watched_directory.as_ref(),
        _ => None,
    };
    if let Some(watched) = watched {
        return vec![PathBuf::from(&watched.path)];
    }
    let mut secret = secret.clone();
    let sources = sources_mut(&mut secret).into_iter();
    sources
        .filter_map(|(_, source)| match &source.specifier {
            Some(Specifier::Filename(name)) => Some(directory(Path::new(name))),
            _ => None,
        })
        .collect()
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sources_mut(secret: &mut Secret) -> Vec<(&'static str, &mut DataSource)> {
    let (fields, sources) = match &mut secret.r#type {
        Some(Type::TlsCertificate(certificate)) => (
            [
                "tls_certificate.certificate_chain",
                "tls_certificate.private_key",
            ],
            [
                &mut certificate.certificate_chain,
                &mut certificate.private_key,
            ],
        ),
        Some(Type::ValidationContext(validation)) => (
            ["validation_context.trusted_ca", "validation_context.crl"],
            [&mut validation.trusted_ca, &mut validation.crl],
        ),
        _ => return Vec::new(),
    };
    let sources = fields.into_iter().zip(sources);
    sources
        .filter_map(|(field, source)| Some((field, source.as_mut()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::core::v3::WatchedDirectory;
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::TlsCertificate;
    use ringway_config::{Diagnostics, Marks, Names};

    fn file(name: &str) -> Option<DataSource> {
        Some(DataSource {
            specifier: Some(Specifier::Filename(name.into())),
            ..DataSource::default()
        })
    }

    fn certificate(chain: &str, key: &str) -> TlsCertificate {
        TlsCertificate {
            certificate_chain: file(chain),
            private_key: file(key),
            ..TlsCertificate::default()
        }
    }

    fn secret(certificate: TlsCertificate) -> Secret {
        Secret {
            name: "s".into(),
            r#type: Some(Type::TlsCertificate(certificate)),
        }
    }

    #[test]
    fn each_file_has_its_directory_unless_one_is_named() {
        let two = certificate("/a/b/chain", "key");
        let found = directories(&secret(two.clone()));
        assert_eq!(found, [PathBuf::from("/a/b"), PathBuf::from(".")]);
        let named = TlsCertificate {
            watched_directory: Some(WatchedDirectory {
                path: "/c".into(),
                ..WatchedDirectory::default()
            }),
            ..two
        };
        assert_eq!(directories(&secret(named)), [PathBuf::from("/c")]);
    }

    #[test]
    fn every_file_that_cannot_be_read_is_told_of() {
        let place = tempfile::tempdir().unwrap();
        let there = place.path().join("there");
        std::fs::write(&there, "text").unwrap();
        let there = there.to_str().unwrap();
        let names = Names::default();
        let read = |certificate| {
            let mut found = Diagnostics::new();
            let marks = Marks::new("f".into());
            let mut cx = Cx::new(&mut found, &marks, None, &names);
            let inlined = inlined(&secret(certificate), &mut cx);
            (inlined, found.errors().count())
        };
        let (inlined, errors) = read(certificate(there, there));
        assert_eq!(errors, 0);
        let Some(Type::TlsCertificate(inlined)) = inlined.unwrap().r#type else {
            panic!("a certificate");
        };
        let content = Some(Specifier::InlineBytes(b"text".into()));
        assert_eq!(inlined.private_key.unwrap().specifier, content);
        let (inlined, errors) = read(certificate("/nowhere/1", "/nowhere/2"));
        assert_eq!((inlined, errors), (None, 2));
    }
}
