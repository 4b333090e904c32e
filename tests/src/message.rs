//! A tolerant reader of HTTP/1 messages.
//!
//! It is not the codec under test: it takes whatever came, so that a wrong
//! answer can be reported as it was.

/// How a body was delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, by the rules of the message.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection closed.
    UntilClose,
}

/// One message, request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line, without its end.
    pub first_line: String,
    /// Names and values as received, bytes outside ASCII escaped.
    pub headers: Vec<(String, String)>,
    /// The body's bytes, without the framing.
    pub body: Vec<u8>,
    /// How the body was delimited.
    pub framing: Framing,
    /// Trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether the message ended as its framing promised.
    pub complete: bool,
}

impl Message {
    /// The status of a response; 0 when there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let mut words = self.first_line.split(' ');
        words.nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The first value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// The body as text, lossily.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the reader must know beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request: without a framing header it has no body.
    Request,
    /// A response to a request with this method being HEAD or not.
    Response {
        /// It has no body whatever its headers say.
        to_head: bool,
    },
}

/// Reads one message from the front of `bytes`. Returns it with the number of
/// bytes that it took; `None` when its head is not complete. `ended` says that
/// no more bytes will come.
#[must_use]
pub fn read(bytes: &[u8], kind: Kind, ended: bool) -> Option<(Message, usize)> {
    let head_end = find(bytes, b"\r\n\r\n").map(|at| at + 4)?;
    let mut lines = bytes[..head_end - 4].split(|&byte| byte == b'\n');
    let first_line = printable(lines.next().unwrap_or_default());
    let headers: Vec<_> = lines.map(header).collect();
    let mut message = Message {
        first_line,
        headers,
        body: Vec::new(),
        framing: Framing::None,
        trailers: Vec::new(),
        complete: true,
    };
    message.framing = framing(&message, kind);
    let rest = &bytes[head_end..];
    let body_bytes = match message.framing {
        Framing::None => 0,
        Framing::Length => {
            let length = message
                .header("content-length")
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(0);
            let taken = rest.len().min(length);
            message.body = rest[..taken].to_vec();
            message.complete = taken == length;
            taken
        }
        Framing::Chunked => read_chunks(rest, &mut message),
        Framing::UntilClose => {
            message.body = rest.to_vec();
            message.complete = ended;
            rest.len()
        }
    };
    Some((message, head_end + body_bytes))
}

fn framing(message: &Message, kind: Kind) -> Framing {
    let status = message.status();
    if let Kind::Response { to_head } = kind
        && (to_head || status / 100 == 1 || status == 204 || status == 304)
    {
        return Framing::None;
    }
    if message
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
    {
        return Framing::Chunked;
    }
    if message.header("content-length").is_some() {
        return Framing::Length;
    }
    match kind {
        Kind::Request => Framing::None,
        Kind::Response { .. } => Framing::UntilClose,
    }
}

/// Reads chunks into the message; returns the bytes taken.
fn read_chunks(bytes: &[u8], message: &mut Message) -> usize {
    let mut at = 0;
    message.complete = false;
    loop {
        let Some(line_end) = find(&bytes[at..], b"\r\n") else {
            return bytes.len();
        };
        let line = &bytes[at..at + line_end];
        let size_text = String::from_utf8_lossy(line);
        let size_text = size_text.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size_text, 16) else {
            return at;
        };
        at += line_end + 2;
        if size == 0 {
            break;
        }
        let taken = size.min(bytes.len() - at);
        message.body.extend_from_slice(&bytes[at..at + taken]);
        at += taken;
        if taken < size || bytes.len() < at + 2 {
            return bytes.len();
        }
        at += 2;
    }
    loop {
        let Some(line_end) = find(&bytes[at..], b"\r\n") else {
            return bytes.len();
        };
        let line = &bytes[at..at + line_end];
        at += line_end + 2;
        if line.is_empty() {
            message.complete = true;
            return at;
        }
        message.trailers.push(header(line));
    }
}

fn header(line: &[u8]) -> (String, String) {
    let line = printable(line);
    match line.split_once(':') {
        Some((name, value)) => (name.to_owned(), value.trim().to_owned()),
        None => (line, String::new()),
    }
}

/// Bytes as text in which nothing is lost and no control character remains.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    bytes
        .strip_suffix(b"\r")
        .unwrap_or(bytes)
        .escape_ascii()
        .to_string()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{Framing, Kind, read};

    #[test]
    fn reads_each_framing() {
        let table: [(&[u8], Framing, &str, bool, usize); 6] = [
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabX", Framing::Length, "ab", true, 1),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", Framing::Length, "ab", false, 0),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nt: v\r\n\r\nX",
                Framing::Chunked,
                "ab",
                true,
                1,
            ),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", Framing::Chunked, "ab", false, 0),
            (b"HTTP/1.1 204 No Content\r\n\r\nX", Framing::None, "", true, 1),
            (b"HTTP/1.1 200 OK\r\n\r\nab", Framing::UntilClose, "ab", true, 0),
        ];
        for (bytes, framing, body, complete, left) in table {
            let (message, taken) =
                read(bytes, Kind::Response { to_head: false }, true).expect("a head");
            assert_eq!(message.framing, framing, "{}", bytes.escape_ascii());
            assert_eq!(message.text(), body, "{}", bytes.escape_ascii());
            assert_eq!(message.complete, complete, "{}", bytes.escape_ascii());
            assert_eq!(bytes.len() - taken, left, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nX";
        let (message, taken) =
            read(bytes, Kind::Response { to_head: true }, false).expect("a head");
        assert!(message.complete && message.body.is_empty());
        assert_eq!(bytes.len() - taken, 1);
    }
}
