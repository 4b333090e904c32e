//! What must hold for any format and any values whatsoever: shared by the
//! fuzz target and the replay of its corpus. Not part of the API.
//!
//! A line is written for two requests in turn. The checks are that nothing
//! panics, that no value brings a control byte into a line, that JSON stays
//! JSON, and that a line depends on its request alone and not on the one
//! before (dates are cached between lines).

use super::cel::Expression;
use super::{AccessLogType, Context, Formatter, JsonFormatter, JsonValue};
use crate::stream_info::{
    ClusterInfo, ConnectionInfo, HostInfo, Protocol, ResponseFlag, StreamInfo, TimePoint,
    UpstreamConnectionInfo,
};
use ringway_codecs::header::HeaderMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Stands between the format and the values. No UTF-8 has it, so no format
/// misses it; values are left with the other bytes that are not UTF-8.
const SEPARATOR: u8 = 0xff;

/// The fuzz target: a byte of options, four of time, the format, and the
/// values that the peers chose.
pub fn access_log_format(data: &[u8]) {
    let Some((&[options, a, b, c, d], rest)) = data.split_first_chunk() else {
        return;
    };
    let mut parts = rest.split(|byte| *byte == SEPARATOR);
    let Ok(format) = std::str::from_utf8(parts.next().unwrap_or_default()) else {
        return;
    };
    let second = u32::from_le_bytes([a, b, c, d]);
    let values: Vec<&[u8]> = parts.collect();
    let first = Request::new(options, second, &values);
    let second = Request::new(!options, second / 2, &[]);
    check_text(format, options & 1 != 0, &first, &second);
    check_json(format, options & 1 != 0, &first, &second);
}

/// The fuzz target of expressions: the same, with an expression in the place of
/// the format. The checks are that nothing panics or overflows the stack, that
/// a value depends on its request alone, that it is no longer than what it is
/// made of, and that JSON is JSON. The fuzzer watches the time.
pub fn cel_expression(data: &[u8]) {
    let Some((&[options, a, b, c, d], rest)) = data.split_first_chunk() else {
        return;
    };
    let mut parts = rest.split(|byte| *byte == SEPARATOR);
    let Ok(text) = std::str::from_utf8(parts.next().unwrap_or_default()) else {
        return;
    };
    let second = u32::from_le_bytes([a, b, c, d]);
    let values: Vec<&[u8]> = parts.collect();
    let first = Request::new(options, second, &values);
    let second = Request::new(!options, second / 2, &[]);
    let Ok(expression) = Expression::compile(text) else {
        return;
    };
    let printed = [&first, &second, &first].map(|request| {
        let mut out = Vec::new();
        if let Some(value) = expression.evaluate(&request.context()) {
            value.write(&mut out);
            let mut json = Vec::new();
            if value.write_json(usize::MAX, &mut json) {
                let parsed = serde_json::from_slice::<serde_json::Value>(&json);
                assert!(parsed.is_ok(), "{text:?} became {}", json.escape_ascii());
            }
        }
        out
    });
    assert_eq!(printed[0], printed[2], "{text:?}");
    // What is not UTF-8 is three bytes long in the facts that are texts; an
    // address or a time is shorter than the rest.
    let length_max = 3 * data.len() + 100;
    assert!(
        printed.iter().all(|out| out.len() <= length_max),
        "{text:?}"
    );
}

fn check_text(format: &str, omit: bool, first: &Request, second: &Request) {
    let formatter = match Formatter::parse(format) {
        Ok(formatter) => formatter.omit_empty_values(omit),
        Err(error) => {
            assert!(format[error.position..].starts_with('%'), "{error}");
            return;
        }
    };
    let lines = [first, second, first].map(|request| {
        let mut out = b"before".to_vec();
        formatter.write(&request.context(), &mut out);
        assert!(out.starts_with(b"before"));
        out
    });
    for line in &lines {
        assert!(
            control_bytes(line) <= control_bytes(format.as_bytes()),
            "{format:?} became {}",
            line.escape_ascii()
        );
    }
    check_lines(format, &lines);
    if formatter.is_constant() {
        assert_eq!(lines[0], lines[1], "{format:?}");
    }
}

fn check_json(format: &str, omit: bool, first: &Request, second: &Request) {
    let value = || JsonValue::Format(format.to_owned());
    let members = vec![
        ("value".to_owned(), value()),
        (format.to_owned(), JsonValue::List(vec![value()])),
        (
            "object".to_owned(),
            JsonValue::Object(vec![("a".to_owned(), value())]),
        ),
    ];
    let compiled = JsonFormatter::new(members, omit);
    // The two kinds of formats have the same texts.
    assert_eq!(
        compiled.is_ok(),
        Formatter::parse(format).is_ok(),
        "{format:?}"
    );
    let Ok(formatter) = compiled else {
        return;
    };
    let lines = [first, second, first].map(|request| {
        let mut out = Vec::new();
        formatter.write(&request.context(), &mut out);
        out
    });
    for line in &lines {
        let parsed = serde_json::from_slice::<serde_json::Value>(line);
        assert!(
            parsed.is_ok_and(|value| value.is_object()) && line.ends_with(b"\n"),
            "{format:?} became {}",
            line.escape_ascii()
        );
        assert!(!line[..line.len() - 1].contains(&b'\n'), "{format:?}");
    }
    check_lines(format, &lines);
}

/// The first and the last line are those of the same request.
fn check_lines(format: &str, lines: &[Vec<u8>; 3]) {
    // What these stand for is another one each time.
    let varies = ["UNIQUE_ID", "EMIT_TIME"];
    if !varies.iter().any(|name| format.contains(name)) {
        assert_eq!(lines[0], lines[2], "{format:?}");
    }
}

/// Control bytes that a line must not take from a value.
fn control_bytes(text: &[u8]) -> usize {
    text.iter()
        .filter(|byte| byte.is_ascii_control() && **byte != b'\t')
        .count()
}

/// The name of a header, and the number of the value that it has.
type Field = (&'static [u8], usize);

struct Request {
    info: StreamInfo,
    request: HeaderMap,
    response: HeaderMap,
    trailers: HeaderMap,
    kind: AccessLogType,
}

impl Request {
    /// A request whose facts are the bits of `options`, which began `second`
    /// after the epoch, and whose peers sent `values`.
    fn new(options: u8, second: u32, values: &[&[u8]]) -> Request {
        let bit = |n: u8| options & (1 << n) != 0;
        let value = |n: usize| values.get(n).copied().filter(|value| !value.is_empty());
        let text = |n: usize| value(n).map(|value| String::from_utf8_lossy(value).into_owned());
        let mut r = Request {
            info: info(bit(1), second, text(0).as_deref()),
            request: HeaderMap::new(),
            response: HeaderMap::new(),
            trailers: HeaderMap::new(),
            kind: AccessLogType::ALL[usize::from(options) % AccessLogType::ALL.len()],
        };
        let sent: [(&mut HeaderMap, &[Field]); 3] = [
            (
                &mut r.request,
                &[
                    (b":path", 1),
                    (b":authority", 2),
                    (b"x-request-id", 3),
                    (b"content-type", 4),
                    (b"x-envoy-original-path", 5),
                    (b"x-a", 6),
                ],
            ),
            (&mut r.response, &[(b"x-a", 7)]),
            (&mut r.trailers, &[(b"x-a", 7), (b"grpc-status", 8)]),
        ];
        for (map, names) in sent {
            for (name, number) in names {
                if let Some(value) = value(*number) {
                    map.append_name(name, value);
                }
            }
        }
        if bit(2) {
            upstream(&mut r.info, bit(3), &text(9).unwrap_or_default());
        }
        if bit(4) {
            for flag in ResponseFlag::ALL {
                r.info.flags.set(*flag);
            }
        }
        if bit(5) {
            r.info.details.copy(&text(0).unwrap_or_default());
            r.info.protocol = Some(Protocol::Http11);
            r.info.response_code = 200;
        }
        if bit(6) {
            r.info.remote_address = Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
        }
        r
    }

    fn context(&self) -> Context<'_> {
        Context {
            info: &self.info,
            request: &self.request,
            response: &self.response,
            trailers: &self.trailers,
            // It would be written as it is: see `Text::LocalReplyBody`.
            local_reply_body: b"",
            kind: self.kind,
        }
    }
}

/// The facts of a connection, and a request that has just begun.
fn info(pipe: bool, second: u32, name: Option<&str>) -> StreamInfo {
    let mut connection = ConnectionInfo::new(
        7,
        SocketAddr::from(([127, 0, 0, 1], 40_000)),
        SocketAddr::from(([127, 0, 0, 1], 80)),
    );
    if pipe {
        connection.pipe = Some(name.unwrap_or("/run/socket").into());
    }
    connection.requested_server_name = name.map(Into::into);
    let wall = UNIX_EPOCH + Duration::new(second.into(), second % 1_000_000_000);
    StreamInfo::new(Rc::new(connection), Instant::now(), wall)
}

/// Adds what is known when an upstream was tried.
fn upstream(info: &mut StreamInfo, connected: bool, name: &str) {
    let start = info.start;
    info.attempt_count = 1;
    info.route_name.copy(name);
    info.upstream_transport_failure_reason.copy(name);
    info.cluster = Some(Rc::new(ClusterInfo {
        name: name.into(),
        observability_name: name.into(),

        metadata: std::sync::Arc::default(),
    }));
    info.host = Some(Rc::new(HostInfo {
        address_text: name.into(),
        hostname: name.into(),

        metadata: std::sync::Arc::default(),
        is_canary: false,
    }));
    info.upstream_connection = Some(Rc::new(UpstreamConnectionInfo {
        id: 9,
        local: connected.then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, 9))),
        remote: connected.then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, 90))),
        // A pooled connection may be older than the request.
        connect_begin: start.checked_sub(Duration::from_micros(5)),
        connect_end: connected.then_some(start),
        handshake_end: None,
        tls: None,
    }));
    info.mark(
        TimePoint::UpstreamTxBegin,
        start + Duration::from_nanos(1_234_567),
    );
    info.mark(
        TimePoint::RequestComplete,
        start + Duration::from_micros(4_321),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replays the seeds and what the target has found.
    #[test]
    fn the_corpus_holds() {
        let pack = include_bytes!("../../fuzz/corpus/access_log_format.pack");
        let mut rest = &pack[..];
        let mut inputs = 0;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (input, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            access_log_format(input);
            rest = after;
            inputs += 1;
        }
        assert!(rest.is_empty() && inputs > 100, "{inputs}");
    }

    /// The checks would notice: a value with a line end is in the line.
    #[test]
    fn values_reach_the_line() {
        let values: [&[u8]; 7] = [b"", b"/p?q=1%0a", b"", b"", b"", b"", b"a\nb"];
        let request = Request::new(0, 0, &values);
        let mut line = Vec::new();
        Formatter::parse("%REQ(x-a)%|%QUERY_PARAM(q)%|%START_TIME(%s)%")
            .expect("compiles")
            .write(&request.context(), &mut line);
        assert_eq!(line, b"a\\x0ab|1\\x0a|0");
    }
}
