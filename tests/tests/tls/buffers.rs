//! What waits on connections with TLS keeps no receive buffer from others: a worker has
//! 512 of them, and the answers that those wait for need some, too.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::patience;
use ringway_tests::process::Program;
use ringway_tests::programs;

use super::files::Files;
use super::rotation::anybody;
use super::{PATIENCE, certificate, cluster, listener, server_tls, start};

/// More than a worker has buffers, and fewer than a cluster may have connections.
const CLIENTS: usize = 700;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A client whose handshake is over.
fn connect(config: &Arc<ClientConfig>, to: SocketAddr) -> Client {
    let name = ServerName::try_from("a.test").expect("a name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    let socket = TcpStream::connect(to).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut client = StreamOwned::new(session, socket);
    while client.conn.is_handshaking() {
        let done = client.conn.complete_io(&mut client.sock);
        done.expect("a handshake");
    }
    client
}

/// Sends these in one piece, each in a record of its own.
fn send(client: &mut Client, records: &[&[u8]]) {
    for record in records {
        let room = client.conn.writer().write_all(record);
        room.expect("room for a record");
    }
    client.flush().expect("it is read");
}

/// The answers that come until there are so many.
fn answers(client: &mut Client, count: usize) -> usize {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let found = text.matches("HTTP/1.1 200 ").count();
        if found == count {
            return found;
        }
        match patience::read(&mut *client, &mut part) {
            Ok(length @ 1..) => bytes.extend_from_slice(&part[..length]),
            _ => return found,
        }
    }
}

#[test]
fn what_is_behind_requests_leaves_the_buffers_to_others() {
    let files = Files::new();
    let fleet = Fleet::start(1);
    // All of them wait at once.
    fleet.set(0, Manner::Slow(Duration::from_secs(1)));
    let context = format!(
        "common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificate("server")
    );
    let route = "              - { match: { prefix: / }, route: { cluster: host, timeout: 0s } }";
    let main = listener("main", &server_tls(&context), route);
    let host = cluster("host", fleet.address(0), "");
    let together = [REQUEST, REQUEST].concat();
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let process = start(&program, &files, &main, &host);
        let config = Arc::new(anybody());
        for records in [&[&*together][..], &[REQUEST, REQUEST]] {
            let to = process.listener("main");
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(&config, to)).collect();
            for client in &mut clients {
                send(client, records);
            }
            let mut beside = connect(&config, to);
            send(&mut beside, &[REQUEST]);
            assert_eq!(answers(&mut beside, 1), 1);
            for client in &mut clients {
                assert_eq!(answers(client, 2), 2);
            }
        }
    }
}
