//! Clients of listeners that ask.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS12;
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::files::Files;
use crate::listener::{Listener, Terminal};
use crate::scene::{PATIENCE, Scene, connect, read, reset};

/// What a client does.
#[derive(Clone, Copy)]
pub enum Client {
    /// Sends this, reads what comes back, and leaves.
    Says(&'static str),
    /// The same, but it breaks off.
    Resets(&'static str),
    /// Reads so much, and then does as the first one.
    Listens(&'static str, &'static str),
    /// Leaves without a word.
    Leaves,
    /// Sends this, and breaks off when somebody is asked about it.
    ResetsAtOnce(&'static str),
    /// While somebody is asked about one that sends this, a second one does as the first
    /// here; then the first breaks off.
    Follows(&'static str),
    /// Says hello over TLS, with this certificate.
    Secure(&'static str),
    /// The same over TLS 1.2.
    SecureBefore(&'static str),
    /// Says hello behind a header of PROXY protocol with these TLVs.
    Introduced(&'static [(u8, &'static [u8])]),
}

impl Client {
    /// How many connections it makes.
    pub fn connections(self) -> usize {
        match self {
            Self::Follows(_) => 2,
            _ => 1,
        }
    }

    pub fn act(self, listener: &Listener, scene: &Scene, files: &Files) -> String {
        let mut stream = connect(scene.process.listener(&listener.name));
        let count = |said: &str| match listener.terminal {
            Terminal::Http => 1,
            _ => said.len(),
        };
        match self {
            Self::Says(said) => {
                stream.write_all(said.as_bytes()).expect("it is sent");
                without_time(&read(&stream, count(said)))
            }
            Self::Resets(said) => {
                stream.write_all(said.as_bytes()).expect("it is sent");
                let seen = read(&stream, said.len());
                reset(stream);
                seen
            }
            Self::Listens(first, said) => {
                let mut seen = read(&stream, first.len());
                stream.write_all(said.as_bytes()).expect("it is sent");
                seen += &read(&stream, said.len());
                seen
            }
            Self::Leaves => String::from("left"),
            Self::ResetsAtOnce(said) => {
                stream.write_all(said.as_bytes()).expect("it is sent");
                await_asked(listener, scene);
                reset(stream);
                String::from("asked")
            }
            Self::Follows(said) => {
                stream.write_all(said.as_bytes()).expect("it is sent");
                await_asked(listener, scene);
                let seen = Self::Says(said).act(listener, scene, files);
                reset(stream);
                seen
            }
            Self::Secure(certificate) => {
                let client = secure(files, certificate, ALL_VERSIONS);
                say_hello(StreamOwned::new(client, stream))
            }
            Self::SecureBefore(certificate) => {
                let client = secure(files, certificate, &[&TLS12]);
                say_hello(StreamOwned::new(client, stream))
            }
            Self::Introduced(tlvs) => {
                stream.write_all(&header(tlvs)).expect("it is sent");
                say_hello(stream)
            }
        }
    }
}

/// Waits until somebody is asked about a connection.
fn await_asked(listener: &Listener, scene: &Scene) {
    let name = format!("ext_authz.{}.active", listener.name);
    let admin = scene.process.admin();
    let (_, asked) = admin.await_stats(PATIENCE, |stats| stats.get(&name) == Some(&1));
    assert!(asked, "{name}");
}

fn say_hello(mut stream: impl Read + Write) -> String {
    stream.write_all(b"hello").expect("it is sent");
    read(&mut stream, 5)
}

/// A header of version 2, for a connection of 127.0.0.9:9 to 127.0.0.8:8.
fn header(tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut rest = b"\x7f\0\0\x09\x7f\0\0\x08\0\x09\0\x08".to_vec();
    for (kind, value) in tlvs {
        let length = u16::try_from(value.len()).expect("a short value");
        rest.push(*kind);
        rest.extend(length.to_be_bytes());
        rest.extend_from_slice(value);
    }
    let length = u16::try_from(rest.len()).expect("a short header");
    let begin = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
    [&begin[..], &length.to_be_bytes(), &rest].concat()
}

/// What is read of a response, without what differs.
fn without_time(seen: &str) -> String {
    let (before, _) = seen.split_once("date: ").unwrap_or((seen, ""));
    before.to_owned()
}

fn secure(
    files: &Files,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConnection {
    let read = |name: &str| CertificateDer::from_pem_file(files.path(name)).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key"))).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![read(&format!("{name}.pem"))], key)
        .expect("a key of its certificate");
    let server = ServerName::try_from("a.test").expect("a name");
    ClientConnection::new(Arc::new(config), server).expect("a client")
}
