//! Streams against each other, and against rustls as it is: every cipher, every cut,
//! changed keys, changed records.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};

use super::TlsStream;
use super::handshake::{Agreed, HandshakeError, accept, connect};
use super::notes::Notes;
use crate::reactor::fault::Plan;
use crate::reactor::{ConnectOptions, Listener, Options, Reactor, Stream, spawn};
use crate::test_support::on_both_drivers;

/// Trusts everybody: who is who is the verifier's own test.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Both sides' configurations, for one cipher.
fn configs(suite: SupportedCipherSuite) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![suite],
        ..aws_lc_rs::default_provider()
    });
    let versions: &[&SupportedProtocolVersion] = match suite {
        SupportedCipherSuite::Tls13(_) => &[&rustls::version::TLS13],
        SupportedCipherSuite::Tls12(_) => &[&rustls::version::TLS12],
    };
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(server), Arc::new(client))
}

/// The ciphers that the self-signed key of P-256 can be used with.
fn suites() -> Vec<SupportedCipherSuite> {
    let all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
    all.filter(|suite| !format!("{suite:?}").contains("_RSA_"))
        .copied()
        .collect()
}

fn name() -> ServerName<'static> {
    ServerName::try_from("a.test").unwrap()
}

fn listen() -> (Listener, socket2::SockAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(16).unwrap();
    let address = socket.local_addr().unwrap();
    (Listener::from_socket(socket).unwrap(), address)
}

fn with_reactor(plan: Option<&Plan>, test: impl AsyncFn()) {
    on_both_drivers(|driver| {
        let options = Options {
            driver,
            faults: plan.cloned(),
            ..Options::default()
        };
        Reactor::new(&options).unwrap().block_on(test());
    });
}

/// Both ends of a connection of ours.
async fn pair(
    suite: SupportedCipherSuite,
) -> Result<((TlsStream, Agreed), (TlsStream, Agreed)), HandshakeError> {
    let (server_config, client_config) = configs(suite);
    let (listener, address) = listen();
    let socket = Stream::connect(&address, &ConnectOptions::default())
        .await
        .map_err(HandshakeError::Io)?;
    let accepted = listener.accept().await.map_err(HandshakeError::Io)?;
    let (sender, answered) = std::rc::Rc::new(std::cell::RefCell::new(None)).into_pair();
    drop(spawn(async move {
        let outcome = accept(accepted, |_| server_config, &mut Notes::default()).await;
        *sender.borrow_mut() = Some(outcome);
    }));
    let client = connect(socket, &client_config, name(), &[]).await;
    loop {
        if let Some(server) = answered.borrow_mut().take() {
            return Ok((client?, server?));
        }
        if client.is_err() {
            return client.map(|_| unreachable!("it failed"));
        }
        crate::reactor::yield_now().await;
    }
}

trait IntoPair: Sized {
    fn into_pair(self) -> (Self, Self);
}

impl<T> IntoPair for std::rc::Rc<T> {
    fn into_pair(self) -> (Self, Self) {
        (Self::clone(&self), self)
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 31 % 251) as u8).collect()
}

/// Reads until the end, or an error.
async fn read_all(stream: &TlsStream) -> (Vec<u8>, std::io::Result<()>) {
    let mut read = Vec::new();
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => return (read, Ok(())),
            Err(error) => return (read, Err(error)),
        }
    }
}

/// Writes in pieces of several sizes, gathered and not, while the other side reads.
fn write_slowly(stream: TlsStream, bytes: Vec<u8>) {
    drop(spawn(async move {
        for (n, piece) in bytes.chunks(1 + bytes.len() / 7).enumerate() {
            if n % 2 == 0 {
                stream.write(piece);
            } else {
                stream.write_chunk(&crate::reactor::Chunk::from(piece));
            }
            poll_fn(|cx| stream.poll_writable(cx, 64 * 1024))
                .await
                .unwrap();
        }
        assert!(stream.bytes_sent() + stream.queued() as u64 >= bytes.len() as u64);
        stream.shutdown_write();
        poll_fn(|cx| stream.poll_writable(cx, 1)).await.unwrap();
        // The other side ends, too.
        let (rest, end) = read_all(&stream).await;
        assert_eq!(rest, b"");
        end.unwrap();
    }));
}

#[test]
fn every_cipher_carries_every_size_both_ways() {
    assert_eq!(suites().len(), 6);
    for suite in suites() {
        with_reactor(None, async || {
            for bytes in [1, 100, 2_047, 16_383, 16_384, 16_385, 400_000] {
                for to_client in [false, true] {
                    let ((client, agreed), (server, by_server)) = pair(suite).await.unwrap();
                    assert_eq!(agreed.suite, suite);
                    assert_eq!(agreed.alpn.as_deref(), Some(&b"http/1.1"[..]));
                    assert_eq!(by_server.version, agreed.version);
                    assert_eq!((agreed.peer_certificates.len(), agreed.resumed), (1, false));
                    let (from, to) = if to_client {
                        (server, client)
                    } else {
                        (client, server)
                    };
                    let sent = pattern(bytes);
                    write_slowly(from, sent.clone());
                    let (read, end) = read_all(&to).await;
                    assert!(read == sent, "{suite:?}: {bytes}");
                    end.unwrap();
                    assert!(to.is_closed() && !to.has_unread());
                    assert_eq!(to.bytes_received(), bytes as u64);
                }
            }
        });
    }
}

#[test]
fn nothing_depends_on_how_bytes_arrive() {
    for seed in 0..30 {
        let plan = Plan {
            seed,
            recv_max: Some(if seed % 3 == 0 {
                1
            } else {
                1 + 97 * seed as usize
            }),
            send_max: Some(1 + 331 * seed as usize),
            ..Plan::default()
        };
        let suite = suites()[seed as usize % 6];
        with_reactor(Some(&plan), async || {
            let ((client, _), (server, _)) = pair(suite).await.unwrap();
            let sent = pattern(20_000);
            write_slowly(client, sent.clone());
            let (read, end) = read_all(&server).await;
            assert!(read == sent, "seed {seed}");
            end.unwrap();
        });
    }
}

/// A reset at any byte is an error: of the handshake, or after a part of what was
/// sent. It is never an end, and nothing hangs.
#[test]
fn a_reset_at_any_byte_is_no_end() {
    let suite = suites()[0];
    for after in (0..2_000).step_by(13) {
        let plan = Plan {
            seed: after,
            reset_after: Some(after),
            ..Plan::default()
        };
        with_reactor(Some(&plan), async || {
            let Ok(((client, _), (server, _))) = pair(suite).await else {
                return;
            };
            let sent = pattern(4_000);
            client.write(&sent);
            let (read, end) = read_all(&server).await;
            assert!(sent.starts_with(&read) && end.is_err(), "after {after}");
            drop(client);
        });
    }
}

/// A peer in a thread of its own, by rustls alone.
fn rustls_client(
    suite: SupportedCipherSuite,
    serve: impl AsyncFn(TlsStream),
    talk: impl Fn(&mut ClientConnection, &mut TcpStream) + Send + Clone + 'static,
) {
    with_reactor(None, async || {
        let (server_config, client_config) = configs(suite);
        let (listener, address) = listen();
        let talk = talk.clone();
        let peer = std::thread::spawn(move || {
            let mut socket = TcpStream::connect(address.as_socket().unwrap()).unwrap();
            let mut client = ClientConnection::new(client_config, name()).unwrap();
            talk(&mut client, &mut socket);
        });
        let accepted = listener.accept().await.unwrap();
        let (stream, _) = accept(accepted, |_| server_config, &mut Notes::default())
            .await
            .unwrap();
        serve(stream).await;
        // What was written last leaves while this waits.
        while !peer.is_finished() {
            crate::reactor::sleep(Duration::from_millis(1)).await;
        }
        peer.join().unwrap();
    });
}

/// Our key wears out every eight records in tests, and rustls changes its own.
#[test]
fn keys_change_on_both_sides() {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let echo = async |stream: TlsStream| {
        while let Ok(Some(chunk)) = poll_fn(|cx| stream.poll_recv(cx)).await {
            stream.write_chunk(&chunk);
        }
    };
    rustls_client(suite, echo, |client, socket| {
        let mut tls = rustls::Stream::new(client, socket);
        for round in 0..40 {
            let sent = pattern(5_000 + round);
            tls.write_all(&sent).unwrap();
            let mut read = vec![0; sent.len()];
            tls.read_exact(&mut read).unwrap();
            assert!(read == sent, "round {round}");
            if round % 3 == 0 {
                tls.conn.refresh_traffic_keys().unwrap();
            }
        }
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        assert_eq!(tls.read(&mut [0]).unwrap(), 0);
    });
}

/// One changed bit anywhere in a record is found, told by an alert, and nothing of
/// the record is handed on.
#[test]
fn a_changed_record_is_refused() {
    for (suite, flipped) in suites().into_iter().zip([5, 6, 12, 13, 20, 26]) {
        let serve = async |stream: TlsStream| {
            let (read, end) = read_all(&stream).await;
            assert_eq!(read, b"first");
            let end = end.unwrap_err();
            assert_eq!(end.kind(), std::io::ErrorKind::InvalidData, "{end}");
        };
        rustls_client(suite, serve, move |client, socket| {
            let mut tls = rustls::Stream::new(client, socket);
            tls.write_all(b"first").unwrap();
            tls.flush().unwrap();
            let mut record = Vec::new();
            tls.conn.writer().write_all(b"second").unwrap();
            while tls.conn.wants_write() {
                tls.conn.write_tls(&mut record).unwrap();
            }
            record[flipped] ^= 4;
            tls.sock.write_all(&record).unwrap();
            let error = tls.read(&mut [0; 16]).unwrap_err();
            assert!(error.to_string().contains("BadRecordMac"), "{error}");
        });
    }
}

/// Records without content, however many, keep nobody busy.
#[test]
fn empty_records_end_the_connection() {
    let suite = suites()[0];
    let serve = async |stream: TlsStream| {
        let (read, end) = read_all(&stream).await;
        assert_eq!(read, b"");
        assert!(end.unwrap_err().to_string().contains("UNEXPECTED_MESSAGE"));
    };
    rustls_client(suite, serve, |client, socket| {
        let mut tls = rustls::Stream::new(client, socket);
        tls.flush().unwrap();
        for _ in 0..100 {
            // Each asks for an answer, and carries nothing.
            tls.conn.refresh_traffic_keys().unwrap();
            if tls.conn.write_tls(tls.sock).is_err() {
                break;
            }
        }
        let _ = tls.read(&mut [0; 16]).unwrap_err();
    });
}

/// What is no TLS at all gets an alert and an end, at once.
#[test]
fn plain_text_is_refused() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x00",
    ] {
        with_reactor(None, async || {
            let (server_config, _) = configs(suites()[0]);
            let (listener, address) = listen();
            let client = Stream::connect(&address, &ConnectOptions::default())
                .await
                .unwrap();
            client.write(bytes);
            client.shutdown_write();
            let accepted = listener.accept().await.unwrap();
            assert!(
                accept(accepted, |_| server_config, &mut Notes::default())
                    .await
                    .is_err()
            );
            let mut answer = Vec::new();
            while let Ok(Some(chunk)) = client.recv().await {
                answer.extend_from_slice(&chunk);
            }
            let is_alert = answer.first().is_none_or(|kind| *kind == 21);
            assert!(is_alert && answer.len() <= 7, "{answer:?}");
        });
    }
}
