//! Just enough HTTP/1.1 to find out where messages end.
//!
//! It shares no code with the proxy on purpose: a framing mistake made twice would go unseen.

/// Header lines that a head may have; the tools send fewer than ten.
const HEADERS_MAX: usize = 64;

/// A message that cannot be followed. The connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The head of a request.
#[derive(Debug)]
pub struct Request<'a> {
    pub head_bytes: usize,
    pub path: &'a str,
    pub is_head: bool,
    pub close: bool,
    pub expects_continue: bool,
    pub body: Body,
}

/// The head of a response.
#[derive(Debug)]
pub struct Response {
    pub head_bytes: usize,
    pub status: u16,
    pub close: bool,
    pub body: Body,
}

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Done,
    Length(u64),
    Chunked(Chunk),
    UntilClose,
}

/// Where in the chunked coding (RFC 9112 section 7.1) the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    Size {
        bytes: u64,
        digits: u8,
    },
    Extension {
        bytes: u64,
    },
    Data(u64),
    DataEnd,
    /// `empty` as long as the line has shown no byte but its line end.
    Trailer {
        empty: bool,
    },
}

/// Reads a request head at the start of `input`; `None` when it is not complete yet.
pub fn request(input: &[u8]) -> Result<Option<Request<'_>>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(input).map_err(|_| Malformed)? else {
        return Ok(None);
    };
    let lines = Lines::of(head.headers, head.version)?;
    Ok(Some(Request {
        head_bytes,
        path: head.path.unwrap_or("/"),
        is_head: head.method == Some("HEAD"),
        close: lines.close,
        expects_continue: lines.expects_continue,
        body: match (lines.chunked, lines.length) {
            (true, _) => Body::chunked(),
            (false, Some(length)) => Body::length(length),
            (false, None) => Body::Done,
        },
    }))
}

/// Reads a response head at the start of `input`; `None` when it is not complete yet.
pub fn response(input: &[u8], request_was_head: bool) -> Result<Option<Response>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(input).map_err(|_| Malformed)? else {
        return Ok(None);
    };
    let status = head.code.ok_or(Malformed)?;
    let lines = Lines::of(head.headers, head.version)?;
    let body = match (lines.chunked, lines.length) {
        _ if request_was_head || status < 200 || status == 204 || status == 304 => Body::Done,
        (true, _) => Body::chunked(),
        (false, Some(length)) => Body::length(length),
        (false, None) => Body::UntilClose,
    };
    let close = lines.close || body == Body::UntilClose;
    Ok(Some(Response {
        head_bytes,
        status,
        close,
        body,
    }))
}

/// What the header lines say about framing.
#[derive(Default)]
struct Lines {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    expects_continue: bool,
}

impl Lines {
    fn of(headers: &[httparse::Header<'_>], version: Option<u8>) -> Result<Lines, Malformed> {
        let mut lines = Lines {
            close: version != Some(1),
            ..Lines::default()
        };
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let says = |word: &str| header.value.eq_ignore_ascii_case(word.as_bytes());
            // The length tells most lines apart without looking at their bytes.
            match header.name.len() {
                14 if is("content-length") => {
                    let text = std::str::from_utf8(header.value).map_err(|_| Malformed)?;
                    lines.length = Some(text.parse().map_err(|_| Malformed)?);
                }
                17 if is("transfer-encoding") => {
                    lines.chunked = says("chunked");
                    if !lines.chunked {
                        return Err(Malformed);
                    }
                }
                10 if is("connection") && says("close") => lines.close = true,
                10 if is("connection") && says("keep-alive") => lines.close = false,
                6 if is("expect") && says("100-continue") => lines.expects_continue = true,
                _ => {}
            }
        }
        Ok(lines)
    }
}

impl Body {
    /// A body of a known length, which may be none at all.
    pub fn length(bytes: u64) -> Body {
        if bytes == 0 {
            Body::Done
        } else {
            Body::Length(bytes)
        }
    }

    /// A chunked body at its beginning.
    pub fn chunked() -> Body {
        Body::Chunked(Chunk::Size {
            bytes: 0,
            digits: 0,
        })
    }

    /// Takes the body's part of `input`. Returns how many bytes of it were consumed and how many
    /// of those were payload.
    pub fn skip(&mut self, input: &[u8]) -> Result<(usize, u64), Malformed> {
        match self {
            Body::Done => Ok((0, 0)),
            Body::UntilClose => Ok((input.len(), input.len() as u64)),
            Body::Length(left) => {
                let taken = (input.len() as u64).min(*left);
                *self = Body::length(*left - taken);
                Ok((usize::try_from(taken).unwrap_or(input.len()), taken))
            }
            Body::Chunked(_) => self.skip_chunked(input),
        }
    }

    fn skip_chunked(&mut self, input: &[u8]) -> Result<(usize, u64), Malformed> {
        let (mut at, mut payload) = (0, 0);
        while let (Body::Chunked(state), Some(&byte)) = (*self, input.get(at)) {
            if let Chunk::Data(left) = state {
                let taken = ((input.len() - at) as u64).min(left);
                at += usize::try_from(taken).unwrap_or(0);
                payload += taken;
                let next = if taken == left {
                    Chunk::DataEnd
                } else {
                    Chunk::Data(left - taken)
                };
                *self = Body::Chunked(next);
                continue;
            }
            at += 1;
            *self = match state.next(byte)? {
                Some(next) => Body::Chunked(next),
                None => Body::Done,
            };
        }
        Ok((at, payload))
    }
}

impl Chunk {
    /// The state after a byte that is not payload; `None` after the last one of the body.
    fn next(self, byte: u8) -> Result<Option<Chunk>, Malformed> {
        let next = match (self, byte) {
            (Chunk::Size { bytes, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == 15 {
                    return Err(Malformed);
                }
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                Chunk::Size {
                    bytes: bytes * 16 + u64::from(digit),
                    digits: digits + 1,
                }
            }
            (Chunk::Size { digits: 0, .. }, _) => return Err(Malformed),
            (Chunk::Size { bytes, .. } | Chunk::Extension { bytes }, b'\n') => match bytes {
                0 => Chunk::Trailer { empty: true },
                _ => Chunk::Data(bytes),
            },
            (Chunk::Size { bytes, .. }, b'\r' | b';') => Chunk::Extension { bytes },
            (Chunk::Extension { bytes }, _) => Chunk::Extension { bytes },
            (Chunk::DataEnd, b'\r') => Chunk::DataEnd,
            (Chunk::DataEnd, b'\n') => Chunk::Size {
                bytes: 0,
                digits: 0,
            },
            (Chunk::Trailer { empty: true }, b'\n') => return Ok(None),
            (Chunk::Trailer { empty }, b'\r') => Chunk::Trailer { empty },
            (Chunk::Trailer { .. }, b'\n') => Chunk::Trailer { empty: true },
            (Chunk::Trailer { .. }, _) => Chunk::Trailer { empty: false },
            (Chunk::Size { .. } | Chunk::DataEnd | Chunk::Data(_), _) => return Err(Malformed),
        };
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_of_responses() {
        let cases: &[(&str, bool, u16, bool, Body)] = &[
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                false,
                200,
                false,
                Body::Length(5),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                true,
                200,
                false,
                Body::Done,
            ),
            (
                "HTTP/1.1 204 No Content\r\n\r\n",
                false,
                204,
                false,
                Body::Done,
            ),
            (
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
                false,
                304,
                false,
                Body::Done,
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                false,
                200,
                true,
                Body::UntilClose,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                false,
                200,
                false,
                Body::chunked(),
            ),
            (
                "HTTP/1.1 503 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                false,
                503,
                true,
                Body::Done,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n",
                false,
                200,
                true,
                Body::Length(1),
            ),
        ];
        for (text, to_head, status, close, body) in cases {
            let head = response(text.as_bytes(), *to_head)
                .expect(text)
                .expect(text);
            assert_eq!(
                (head.head_bytes, head.status, head.close, head.body),
                (text.len(), *status, *close, *body),
                "{text}"
            );
            for cut in 0..text.len() {
                assert!(
                    matches!(response(&text.as_bytes()[..cut], *to_head), Ok(None)),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn framing_of_requests() {
        let text =
            b"POST /bytes/7 HTTP/1.1\r\nexpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
        let head = request(text).expect("valid").expect("complete");
        assert_eq!(
            (head.path, head.body, head.expects_continue),
            ("/bytes/7", Body::Length(3), true)
        );
        assert_eq!(&text[head.head_bytes..], b"abc");
        assert!(request(b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(request(b"GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n").is_err());
    }

    #[test]
    fn chunked_bodies_end_at_the_same_byte_however_they_are_cut() {
        let text = b"5;name=value\r\nhello\r\nA\r\n0123456789\r\n0\r\nsum: 1\r\n\r\nGET";
        for cut in 0..text.len() {
            let mut body = Body::chunked();
            let (first, paid) = body.skip(&text[..cut]).expect("valid");
            let (second, paid_later) = body.skip(&text[first..]).expect("valid");
            assert_eq!(
                (first + second, paid + paid_later),
                (text.len() - 3, 15),
                "cut at {cut}"
            );
            assert_eq!(body, Body::Done);
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for text in ["\r\n", "g\r\n", "1\r\nab\r\n", "fffffffffffffffff\r\n"] {
            assert_eq!(
                Body::chunked().skip(text.as_bytes()),
                Err(Malformed),
                "{text:?}"
            );
        }
    }
}
