//! A blocking HTTP/1 client that believes nothing: it reads exactly one
//! response, as RFC 9112 §6.3 delimits it, and says how it ended.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// A client's connection.
pub(crate) struct Client {
    /// The socket.
    pub socket: TcpStream,
    unread: Vec<u8>,
}

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status.
    pub status: u16,
    /// The head as it came, without the empty line at its end.
    pub head: String,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }
}

/// How reading a response ended without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection ended where a response may begin.
    BeforeHead,
    /// It ended within the response.
    Truncated,
    /// It was reset.
    Reset,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("somebody listens");
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Self {
            socket,
            unread: Vec::new(),
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket
            .write_all(bytes.as_ref())
            .expect("the connection is open");
    }

    /// Sends a GET request.
    pub fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
    }

    /// Sends a GET request and reads the response.
    pub fn ask(&mut self, path: &str) -> Response {
        self.get(path);
        self.response()
    }

    /// Reads one response that must be complete.
    pub fn response(&mut self) -> Response {
        self.read_response(false).expect("a complete response")
    }

    /// Reads one response; `to_head`: the request was HEAD.
    pub fn read_response(&mut self, to_head: bool) -> Result<Response, Broken> {
        let head = self.head()?;
        let status = head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .expect("a status line");
        let bodiless = to_head || status < 200 || status == 204 || status == 304;
        let body = if bodiless {
            Vec::new()
        } else if header(&head, "transfer-encoding") == Some("chunked") {
            self.chunks()?
        } else if let Some(length) = header(&head, "content-length") {
            self.exactly(length.parse().expect("a length"))?
        } else {
            self.rest()?
        };
        Ok(Response { status, head, body })
    }

    /// Waits for the end of the connection and returns what came before it.
    pub fn rest(&mut self) -> Result<Vec<u8>, Broken> {
        let mut bytes = std::mem::take(&mut self.unread);
        match self.socket.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Whether the connection ended and nothing more came.
    pub fn is_at_end(&mut self) -> bool {
        matches!(self.rest(), Ok(rest) if rest.is_empty())
    }

    /// Sends FIN.
    pub fn close_write(&self) {
        self.socket
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    fn head(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).take(end).collect();
                return Ok(String::from_utf8(head).expect("a head in ASCII"));
            }
            if !self.fill()? {
                let within = !self.unread.is_empty();
                return Err(if within {
                    Broken::Truncated
                } else {
                    Broken::BeforeHead
                });
            }
        }
    }

    /// Takes what was read behind the last response.
    pub fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Reads this many bytes, whatever they are.
    pub fn exactly(&mut self, bytes: usize) -> Result<Vec<u8>, Broken> {
        while self.unread.len() < bytes {
            if !self.fill()? {
                return Err(Broken::Truncated);
            }
        }
        Ok(self.unread.drain(..bytes).collect())
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Broken> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            assert_eq!(self.line()?, "", "a chunk ends where it says");
        }
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8(line).expect("a line in ASCII"));
            }
            if !self.fill()? {
                return Err(Broken::Truncated);
            }
        }
    }

    /// Reads more; false at the end of the connection.
    fn fill(&mut self) -> Result<bool, Broken> {
        let mut buffer = [0; 16 * 1024];
        match read(&mut self.socket, &mut buffer) {
            Ok(bytes) => {
                self.unread.extend_from_slice(&buffer[..bytes]);
                Ok(bytes > 0)
            }
            Err(error) => Err(broken(&error)),
        }
    }
}

fn broken(error: &io::Error) -> Broken {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Broken::Reset,
        _ => panic!("the connection hangs: {error}"),
    }
}

/// Reads once. A ring that the thread has had may interrupt it.
pub(crate) fn read(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The value of a header in a head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
