//! TLS as the measured proxies' clients speak it, and the certificate that the proxies show.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// The files of a certificate for `localhost` that signs itself, with a key on P-256: what most
/// sites have today.
pub struct Identity;

impl Identity {
    /// Writes the files into `dir`.
    pub fn create(dir: &Path) -> anyhow::Result<()> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate =
            rcgen::CertificateParams::new([SERVER_NAME.to_owned()])?.self_signed(&key)?;
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        fs::write(Self::combined(dir), format!("{certificate}{key}"))?;
        fs::write(Self::certificate(dir), certificate)?;
        fs::write(Self::key(dir), key)?;
        Ok(())
    }

    /// The certificate.
    pub fn certificate(dir: &Path) -> PathBuf {
        dir.join("certificate.pem")
    }

    /// Its key.
    pub fn key(dir: &Path) -> PathBuf {
        dir.join("key.pem")
    }

    /// Both in one file.
    pub fn combined(dir: &Path) -> PathBuf {
        dir.join("combined.pem")
    }
}

/// A client of TLS 1.3 that trusts the certificate in the file and takes sessions up again if
/// `resumes`.
pub fn client(certificate: &Path, resumes: bool) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(certificate)
        .with_context(|| format!("reading {}", certificate.display()))?;
    roots.add(trusted)?;
    // The groups that every server has: one that likes another of the client's better asks for
    // a second greeting, and would pay for two.
    let provider = CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The name that clients ask for.
pub fn server_name() -> anyhow::Result<ServerName<'static>> {
    Ok(ServerName::try_from(SERVER_NAME)?)
}

const SERVER_NAME: &str = "localhost";
