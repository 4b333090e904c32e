//! What tests of several modules are made of: a configuration text that goes
//! the whole way through the real pipeline ([`setup`]), a worker on its own
//! thread ([`proxy`]), and blocking clients and origins on loopback
//! ([`client`], [`origin`]).
//!
//! Clients and origins are plain sockets on threads and not streams of the
//! reactor, so that faults which a plan injects hit the proxy only.

pub(crate) mod client;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod setup;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::reactor::{ConnectOptions, DriverChoice, Listener, Options, Reactor, Stream};

/// What is waited for on loopback takes milliseconds; a test that waits this
/// long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test once with each driver. A host without io_uring is said aloud.
pub(crate) fn on_both_drivers(test: impl Fn(DriverChoice)) {
    for driver in [DriverChoice::IoUring, DriverChoice::Epoll] {
        let options = Options {
            driver,
            ..Options::default()
        };
        match Reactor::new(&options) {
            Ok(reactor) => {
                drop(reactor);
                eprintln!("on {driver}");
                test(driver);
            }
            Err(error) if driver == DriverChoice::IoUring && is_refused(&error) => {
                eprintln!("SKIPPED on io_uring: {error}");
            }
            Err(error) => panic!("{driver}: {error}"),
        }
    }
}

/// Two streams of the current reactor that are connected, the accepted one last.
pub(crate) async fn connected_pair() -> (Stream, Stream) {
    let domain = socket2::Domain::IPV4;
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener::from_socket(socket).unwrap();
    let options = ConnectOptions::default();
    let client = Stream::connect(&address, &options).await.unwrap();
    (client, listener.accept().await.unwrap())
}

/// The kernel is too old for io_uring, or does not allow it.
fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | Unsupported)
}

/// Waits until `done`; `what` says what did not come when it takes too long.
pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
