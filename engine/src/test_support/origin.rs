//! An origin that does what a test says, byte by byte: one thread for each
//! connection.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::PATIENCE;
use super::client::{find, header, read};

/// An origin on loopback. It stops with the value; its connections end when
/// the proxy closes them.
pub(crate) struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The origin's side of a connection.
pub(crate) struct OriginConnection {
    /// The socket.
    pub socket: TcpStream,
    unread: Vec<u8>,
}

/// A request as the origin received it.
#[derive(Debug)]
pub(crate) struct Request {
    /// The head without the empty line at its end.
    pub head: String,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Request {
    /// The request target.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

impl Origin {
    /// Starts an origin that runs `serve` for every connection.
    pub fn start(serve: impl Fn(OriginConnection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (accepted, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, stopped, serve) = (Arc::clone(&accepted), Arc::clone(&stop), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(OriginConnection::new(socket)));
            }
        });
        Self {
            address,
            accepted,
            stop,
            thread: Some(thread),
        }
    }

    /// Starts an origin that answers every request with `answer`'s bytes.
    pub fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |mut connection| {
            while let Some(request) = connection.request() {
                if connection.socket.write_all(&answer(&request)).is_err() {
                    return;
                }
            }
        })
    }

    /// Starts an origin whose answers are the request's path and body.
    pub fn echo() -> Self {
        Self::answering(|request| {
            let mut body = request.path().as_bytes().to_vec();
            body.extend_from_slice(&request.body);
            with_length(&body)
        })
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread.
        drop(TcpStream::connect(self.address));
        let ended = self.thread.take().expect("it runs").join();
        if !std::thread::panicking() {
            ended.expect("the origin did not panic");
        }
    }
}

impl OriginConnection {
    fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self {
            socket,
            unread: Vec::new(),
        }
    }

    /// Reads one request; `None` when the connection ends before it does.
    pub fn request(&mut self) -> Option<Request> {
        let head = self.head()?;
        let body = if header(&head, "transfer-encoding") == Some("chunked") {
            self.chunks()?
        } else {
            let length = header(&head, "content-length").unwrap_or("0");
            self.exactly(length.parse().ok()?)?
        };
        Some(Request { head, body })
    }

    /// Reads a request's head only.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = self.unread.drain(..end + 4).take(end).collect();
                return String::from_utf8(head).ok();
            }
            self.fill()?;
        }
    }

    /// Takes what was read behind the last request.
    pub fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Sends bytes; a connection that is gone is no matter.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// Waits until the proxy closes the connection.
    pub fn wait_for_end(mut self) {
        while self.fill().is_some() {
            self.unread.clear();
        }
    }

    /// Reads this many bytes, whatever they are.
    pub fn exactly(&mut self, bytes: usize) -> Option<Vec<u8>> {
        while self.unread.len() < bytes {
            self.fill()?;
        }
        Some(self.unread.drain(..bytes).collect())
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).ok()?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Some(body);
            }
            body.extend(self.exactly(size)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = self.unread.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).ok();
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        let bytes = read(&mut self.socket, &mut buffer)
            .ok()
            .filter(|&bytes| bytes > 0)?;
        self.unread.extend_from_slice(&buffer[..bytes]);
        Some(())
    }
}

/// A 200 response with a known length.
pub(crate) fn with_length(body: &[u8]) -> Vec<u8> {
    let mut response =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    response.extend_from_slice(body);
    response
}

/// A 200 response in chunks of `chunk` bytes.
pub(crate) fn in_chunks(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(chunk) {
        response.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        response.extend_from_slice(part);
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"0\r\n\r\n");
    response
}
