//! Tests of the reactor as a whole, each on both drivers.
//!
//! io_uring may be forbidden where the tests run; then its half is skipped aloud.

mod basics;
mod faults;
mod limits;
mod splices;
mod tasks;
mod traps;

use std::net::SocketAddr;

use super::*;

const CHOICES: [DriverChoice; 2] = [DriverChoice::IoUring, DriverChoice::Epoll];

fn on_both_drivers(test: impl Fn(&mut Reactor)) {
    on_both_drivers_with(&Options::default(), test);
}

fn on_both_drivers_with(options: &Options, test: impl Fn(&mut Reactor)) {
    on_both_drivers_owned_with(options, |mut reactor| test(&mut reactor));
}

fn on_both_drivers_owned(test: impl Fn(Reactor)) {
    on_both_drivers_owned_with(&Options::default(), test);
}

fn on_both_drivers_owned_with(options: &Options, test: impl Fn(Reactor)) {
    for driver in CHOICES {
        let options = Options {
            driver,
            ..options.clone()
        };
        match Reactor::new(&options) {
            Ok(reactor) => {
                eprintln!("on {driver}");
                test(reactor);
            }
            Err(error) if driver == DriverChoice::IoUring && is_refused(&error) => {
                eprintln!("SKIPPED on io_uring: {error}");
            }
            Err(error) => panic!("{driver}: {error}"),
        }
    }
}

/// The kernel is too old or does not allow io_uring.
fn is_refused(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | Unsupported)
}

fn listen() -> Listener {
    Listener::from_socket(raw_listener(4096)).unwrap()
}

fn raw_listener(backlog: i32) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any_port.into()).unwrap();
    socket.listen(backlog).unwrap();
    socket
}

/// Waits, a turn at a time, until `done`; fails when that takes too long.
async fn settled(done: impl Fn() -> bool) {
    let begin = now();
    while !done() {
        assert!(
            now() - begin < std::time::Duration::from_secs(20),
            "never settled"
        );
        yield_now().await;
    }
}

async fn connect(address: &socket2::SockAddr) -> std::io::Result<Stream> {
    Stream::connect(address, &ConnectOptions::default()).await
}

/// A connected client and its server side.
async fn pair() -> (Stream, Stream) {
    let listener = listen();
    let address = listener.local_addr().unwrap().into();
    let client = connect(&address).await.unwrap();
    (client, listener.accept().await.unwrap())
}

async fn read_to_end(stream: &Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.recv().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}
