//! The heads that the minimal proxy understands, and the request head that it sends on.

use crate::wire::Malformed;

/// Header lines that a head may have.
const HEADERS_MAX: usize = 64;

/// What a request's head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub head_bytes: usize,
    pub body_bytes: u64,
    pub keep_alive: bool,
    pub is_head: bool,
}

/// What a response's head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub head_bytes: usize,
    pub body_bytes: u64,
    pub keep_alive: bool,
}

/// Reads a request head and appends the one to send on to `out`: without the lines that concern
/// one connection only, and with the client in `x-forwarded-for`.
pub fn request(
    input: &[u8],
    client: &str,
    out: &mut Vec<u8>,
) -> Result<Option<Request>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(input).map_err(|_| Malformed)? else {
        return Ok(None);
    };
    let (method, path) = (head.method.ok_or(Malformed)?, head.path.ok_or(Malformed)?);
    let mut request = Request {
        head_bytes,
        body_bytes: 0,
        keep_alive: head.version == Some(1),
        is_head: method == "HEAD",
    };
    for part in [method, " ", path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let mut forwarded_for = None;
    for header in head.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            10 if is("connection") => {
                request.keep_alive &= !header.value.eq_ignore_ascii_case(b"close");
                continue;
            }
            10 if is("keep-alive") => continue,
            17 if is("transfer-encoding") => return Err(Malformed),
            14 if is("content-length") => request.body_bytes = length(header.value)?,
            15 if is("x-forwarded-for") => {
                forwarded_for = Some(header.value);
                continue;
            }
            _ => {}
        }
        out.extend_from_slice(header.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"x-forwarded-for: ");
    if let Some(earlier) = forwarded_for {
        out.extend_from_slice(earlier);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(client.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    Ok(Some(request))
}

/// Reads a response head, which is sent on as it is.
pub fn response(input: &[u8], request_was_head: bool) -> Result<Option<Response>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(input).map_err(|_| Malformed)? else {
        return Ok(None);
    };
    let mut keep_alive = head.version == Some(1);
    let mut body_bytes = None;
    for header in head.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            10 if is("connection") => keep_alive &= !header.value.eq_ignore_ascii_case(b"close"),
            17 if is("transfer-encoding") => return Err(Malformed),
            14 if is("content-length") => body_bytes = Some(length(header.value)?),
            _ => {}
        }
    }
    let body_bytes = match (head.code, body_bytes) {
        (Some(100..=199), _) => return Err(Malformed),
        (Some(204 | 304), _) => 0,
        _ if request_was_head => 0,
        (_, known) => known.ok_or(Malformed)?,
    };
    Ok(Some(Response {
        head_bytes,
        body_bytes,
        keep_alive,
    }))
}

fn length(value: &[u8]) -> Result<u64, Malformed> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_sent_on_without_connection_lines_and_with_the_client() {
        let text = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 1.1.1.1\r\nContent-Length: 2\r\n\r\nab";
        let mut out = Vec::new();
        let head = request(text, "2.2.2.2", &mut out)
            .expect("valid")
            .expect("complete");
        let expected = Request {
            head_bytes: text.len() - 2,
            body_bytes: 2,
            keep_alive: false,
            is_head: false,
        };
        assert_eq!(head, expected);
        assert_eq!(
            out,
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nx-forwarded-for: 1.1.1.1, 2.2.2.2\r\n\r\n"
        );
    }

    #[test]
    fn responses_without_a_known_length_are_refused() {
        let known = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n";
        let head = response(known, false).expect("valid").expect("complete");
        assert_eq!(
            head,
            Response {
                head_bytes: known.len(),
                body_bytes: 7,
                keep_alive: true
            }
        );
        assert_eq!(response(b"HTTP/1.1 200 OK\r\n\r\n", false), Err(Malformed));
        assert_eq!(
            response(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                false
            ),
            Err(Malformed)
        );
        assert!(response(b"HTTP/1.1 200 OK\r\n\r\n", true).is_ok());
    }
}
