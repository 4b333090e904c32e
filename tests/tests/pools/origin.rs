//! An origin under load: a thread a connection, counted, in a manner that the
//! test chooses.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// What an origin does with a request.
pub enum Reply {
    /// Answers 200.
    Ok,
    /// Answers 200 and closes the connection so much later, without a word.
    OkThenClose(Duration),
    /// Closes the connection instead of an answer.
    Close,
    /// Resets it instead of an answer.
    Reset,
    /// Says nothing until the other side closes.
    Silence,
    /// Answers half of what it announces and resets the connection.
    HalfThenReset,
    /// Answers when the test says so.
    Hold,
}

/// What a manner is asked about.
pub struct Asked<'a> {
    /// `GET /path`.
    pub line: &'a str,
    /// Requests that the connection has carried before.
    pub before: usize,
}

type Manner = dyn Fn(&Asked<'_>) -> Reply + Send + Sync;

/// What the origin has seen.
#[derive(Default)]
pub struct Seen {
    /// Connections accepted.
    pub connections: AtomicUsize,
    /// Requests whose heads have arrived.
    pub requests: AtomicUsize,
    /// Requests that wait for [`Origin::release`].
    pub held: AtomicUsize,
    peers: Mutex<Vec<IpAddr>>,
    streams: Mutex<Vec<Weak<TcpStream>>>,
    released: Mutex<bool>,
    release: Condvar,
    stopped: AtomicBool,
}

/// A running origin. Dropping it closes everything.
pub struct Origin {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    pub fn start(manner: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), manner)
    }

    pub fn at(
        address: SocketAddr,
        manner: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("the origin's address is free");
        Self::listen(listener, manner)
    }

    pub fn listen(
        listener: TcpListener,
        manner: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let (manner, all): (Arc<Manner>, _) = (Arc::new(manner), Arc::clone(&seen));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if all.stopped.load(SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                all.connections.fetch_add(1, SeqCst);
                let peer = stream.peer_addr().map(|peer| peer.ip());
                all.peers.lock().unwrap().extend(peer);
                let stream = Arc::new(stream);
                all.streams.lock().unwrap().push(Arc::downgrade(&stream));
                let (manner, seen) = (Arc::clone(&manner), Arc::clone(&all));
                std::thread::spawn(move || serve(&stream, &*manner, &seen));
            }
        });
        Self {
            address,
            seen,
            accepting: Some(accepting),
        }
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// Where the last connection came from.
    pub fn last_peer(&self) -> Option<IpAddr> {
        self.seen.peers.lock().unwrap().last().copied()
    }

    pub fn requests(&self) -> usize {
        self.seen.requests.load(SeqCst)
    }

    pub fn held(&self) -> usize {
        self.seen.held.load(SeqCst)
    }

    /// Answers what is held, and all that comes later.
    pub fn release(&self) {
        *self.seen.released.lock().unwrap() = true;
        self.seen.release.notify_all();
    }

    /// Holds again.
    pub fn hold(&self) {
        *self.seen.released.lock().unwrap() = false;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.seen.stopped.store(true, SeqCst);
        self.release();
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.seen.streams.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                close(&stream);
            }
        }
    }
}

fn serve(socket: &TcpStream, manner: &Manner, seen: &Seen) {
    let _ = socket.set_nodelay(true);
    let mut stream = socket;
    let mut received = Vec::new();
    let mut before = 0;
    while let Some(line) = next_head(&mut stream, &mut received) {
        seen.requests.fetch_add(1, SeqCst);
        let asked = Asked {
            line: &line,
            before,
        };
        before += 1;
        match manner(&asked) {
            Reply::Ok => {
                if stream.write_all(OK).is_err() {
                    return;
                }
            }
            Reply::OkThenClose(after) => {
                let _ = stream.write_all(OK);
                std::thread::sleep(after);
                return close(socket);
            }
            Reply::Close => return close(socket),
            Reply::Reset => return reset(socket),
            Reply::Silence => {
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                return close(socket);
            }
            Reply::HalfThenReset => {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf of it");
                // The half is to arrive before the reset.
                std::thread::sleep(Duration::from_millis(20));
                return reset(socket);
            }
            Reply::Hold => {
                seen.held.fetch_add(1, SeqCst);
                let mut released = seen.released.lock().unwrap();
                while !*released {
                    released = seen.release.wait(released).unwrap();
                }
                drop(released);
                seen.held.fetch_sub(1, SeqCst);
                if stream.write_all(OK).is_err() {
                    return;
                }
            }
        }
    }
    close(socket);
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The first line of the next request without a body.
fn next_head(stream: &mut &TcpStream, received: &mut Vec<u8>) -> Option<String> {
    loop {
        let end = received.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&received[..end]).into_owned();
            received.drain(..end + 4);
            return head.lines().next().map(str::to_owned);
        }
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(1..) if received.len() > 64 * 1024 => return None,
            Ok(0) | Err(_) => return None,
            Ok(n) => received.extend_from_slice(&part[..n]),
        }
    }
}

fn close(stream: &TcpStream) {
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// Resets the connection when the socket is dropped, which is next.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
