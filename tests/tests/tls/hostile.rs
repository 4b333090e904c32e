//! Clients that do not shake hands as they should: they get an alert or an end in
//! time, and others are served meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringway_tests::process::{Process, each_driver};

use super::files::Files;
use super::{PATIENCE, certificate, curl, listener, moved, server_tls, start};

const LIMIT: &str = "transport_socket_connect_timeout: 0.5s";

fn with_scene(test: impl Fn(&Files, &Process, SocketAddr)) {
    let files = Files::new();
    let tls = server_tls(&format!(
        "common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificate("server")
    ));
    let chain = format!("{tls}\n      {LIMIT}");
    each_driver(|program| {
        let process = start(program, &files, &listener("main", &chain, ""), "");
        test(&files, &process, process.listener("main"));
        // Whatever came before, others are answered.
        let answer = curl(&files, process.listener("main"), "a.test", &[]);
        assert_eq!(answer, "hello 200");
    });
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// What comes until the end.
fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("no end: {error}"),
    }
}

/// The ClientHello of openssl, as it was captured; it asks for `a.test` and the newest
/// version.
fn client_hello() -> Vec<u8> {
    client_hello_of("-tls1_3")
}

pub(super) fn client_hello_of(version: &str) -> Vec<u8> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let mut client = std::process::Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &address.to_string(),
            "-servername",
            "a.test",
            version,
        ])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl runs");
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut header = [0; 5];
    stream.read_exact(&mut header).expect("a record");
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut record).expect("a record");
    drop(stream);
    client.wait().expect("it ends");
    [&header[..], &record].concat()
}

#[test]
fn a_handshake_byte_by_byte_that_never_ends() {
    let hello = client_hello();
    with_scene(|files, process, address| {
        let mut streams: Vec<_> = (0..20).map(|_| connect(address)).collect();
        for (at, byte) in hello[..hello.len() - 1].iter().enumerate() {
            for stream in &mut streams {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            if at == 50 {
                assert_eq!(curl(files, address, "a.test", &[]), "hello 200");
            }
        }
        for stream in streams {
            assert_eq!(read_to_end(stream), b"");
        }
        let name = "listener.main.downstream_cx_transport_socket_connect_timeout";
        assert_eq!(process.admin().stat(name), 20);
        await_closed(process);
    });
}

#[test]
fn what_is_no_handshake() {
    let hello = client_hello();
    let mut broken = hello.clone();
    // The length of the cipher suites.
    broken[76] ^= 0x7f;
    let long = [
        &[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..],
        &[0; 0x3ffc],
    ]
    .concat();
    let large = [&[0x16, 3, 1, 0xff, 0xff][..], &vec![0; 0x1_0000]].concat();
    let cases: [(&str, &[u8]); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
        ("a broken hello", &broken),
        ("a message of 16 MB", &long),
        ("a record of 64 kB", &large),
        ("an alert", &[0x15, 3, 1, 0, 2, 2, 40]),
        ("data", &[0x17, 3, 3, 0, 1, 7]),
    ];
    with_scene(|_, process, address| {
        let errors = "listener.main.ssl.connection_error";
        for (name, bytes) in cases {
            let before = process.admin().stat(errors);
            let mut stream = connect(address);
            let _ = stream.write_all(bytes);
            let answer = read_to_end(stream);
            // An alert, whole, or nothing.
            assert!(
                answer.is_empty() || answer.len() == 7 && answer[0] == 0x15,
                "{name}: {answer:x?}"
            );
            let begun = Instant::now();
            while process.admin().stat(errors) == before {
                assert!(begun.elapsed() < PATIENCE, "{name} is not counted");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        await_closed(process);
    });
}

/// Messages of which only a part has come when another rule is broken: behind the first
/// one of a handshake, and within it.
#[test]
fn messages_that_stay_incomplete() {
    let old = client_hello_of("-tls1_2");
    let new = client_hello();
    let record = |kind: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("a record");
        [&[kind, 3, 3][..], &length.to_be_bytes(), bytes].concat()
    };
    // The header of a message and some of it; the same of one that is too large.
    let begun = record(0x16, &[0x10, 0, 0, 0x42, 0x41, 4, 4]);
    let large = record(0x16, &[0x0b, 1, 0, 0, 0, 0, 0]);
    let data = record(0x17, &[7]);
    let alert = record(0x15, &[2, 40]);
    let empty = record(0x16, &[]);
    let zeros = record(0x16, &[0; 16]);
    let half = |hello: &[u8]| record(0x16, &hello[5..60]);
    let cases: [(&str, Vec<Vec<u8>>); 12] = [
        ("messages of zeros", vec![zeros.clone()]),
        (
            "messages of zeros behind an old hello",
            vec![old.clone(), zeros.clone()],
        ),
        ("messages of zeros behind a hello", vec![new.clone(), zeros]),
        ("half a hello, data", vec![half(&new), data.clone()]),
        ("half a hello, an alert", vec![half(&new), alert.clone()]),
        (
            "half a hello, nothing",
            vec![half(&new), [&empty[..]; 40].concat()],
        ),
        (
            "begun, data",
            vec![old.clone(), begun.clone(), data.clone()],
        ),
        ("begun, alert", vec![old.clone(), begun.clone(), alert]),
        (
            "begun, nothing",
            vec![old.clone(), begun.clone(), [&empty[..]; 40].concat()],
        ),
        ("too large", vec![old.clone(), large]),
        ("begun in the clear", vec![new, begun.clone(), data.clone()]),
        ("begun, a hello", vec![old.clone(), begun, old]),
    ];
    with_scene(|files, process, address| {
        let errors = "listener.main.ssl.connection_error";
        for (name, records) in &cases {
            for at_once in [true, false] {
                let before = process.admin().stat(errors);
                let mut stream = connect(address);
                if at_once {
                    let _ = stream.write_all(&records.concat());
                } else {
                    for record in records {
                        let _ = stream.write_all(record);
                        // So that they are read one by one, as far as that can be had.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                read_to_end(stream);
                assert_eq!(curl(files, address, "a.test", &[]), "hello 200", "{name}");
                let begun = Instant::now();
                while process.admin().stat(errors) == before {
                    assert!(begun.elapsed() < PATIENCE, "{name} is not counted");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        await_closed(process);
    });
}

/// A client that says nothing at all has the same time, one that leaves has none.
#[test]
fn silence_and_leaving() {
    with_scene(|_, process, address| {
        let silent = connect(address);
        let mut leaving = connect(address);
        leaving.write_all(&[0x16, 3, 1]).expect("it is sent");
        drop(leaving);
        assert_eq!(read_to_end(silent), b"");
        await_closed(process);
        let name = "listener.main.downstream_cx_transport_socket_connect_timeout";
        assert_eq!(process.admin().stat(name), 1);
        // Nobody has broken a rule.
        assert!(!moved(process).contains_key("listener.main.ssl.connection_error"));
    });
}

fn await_closed(process: &Process) {
    let begun = Instant::now();
    while process.admin().stat("listener.main.downstream_cx_active") > 0
        || process.admin().stat("http.main.downstream_cx_ssl_active") > 0
    {
        assert!(begun.elapsed() < PATIENCE, "connections stay open");
        std::thread::sleep(Duration::from_millis(5));
    }
}
