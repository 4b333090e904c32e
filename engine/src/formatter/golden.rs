//! The lines of Envoy 1.40 for the same requests: see `golden/envoy-1.40.txt`
//! for how they were recorded.

use super::*;
use crate::stream_info::*;
use ringway_codecs::header::HeaderId;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

const RECORDED: &str = include_str!("golden/envoy-1.40.txt");

/// The request ids that Envoy generated.
const STREAM_IDS: [&str; 3] = [
    "212ede04-63c0-43f6-b9cc-1f467be4ea5a",
    "866877b4-10ba-468b-96b3-dba5c55b13ae",
    "76ec7b36-2183-4137-9534-59d192e5d2bf",
];

/// A request with everything that a format can ask for.
pub(crate) struct Request {
    pub info: StreamInfo,
    pub request: HeaderMap,
    pub response: HeaderMap,
    pub trailers: HeaderMap,
}

impl Request {
    pub fn context(&self) -> Context<'_> {
        Context {
            info: &self.info,
            request: &self.request,
            response: &self.response,
            trailers: &self.trailers,
            local_reply_body: b"",
            kind: AccessLogType::DownstreamEnd,
        }
    }

    pub fn format(&self, format: &str) -> String {
        let mut out = Vec::new();
        let formatter = Formatter::parse(format).expect("compiles");
        formatter.write(&self.context(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// A request of the recording that began `micros` after the epoch, on
/// connection `id` from port `port`.
fn recorded(micros: u64, id: u64, port: u16) -> Request {
    let mut connection = ConnectionInfo::new(
        id,
        ([127, 0, 0, 1], port).into(),
        ([127, 0, 0, 1], 19972 - 2).into(),
    );
    connection.filter_chain_name = "fc".into();
    let start_wall = UNIX_EPOCH + Duration::from_micros(micros);
    let mut info = StreamInfo::new(Rc::new(connection), Instant::now(), start_wall);
    info.protocol = Some(Protocol::Http11);
    Request {
        info,
        request: HeaderMap::default(),
        response: HeaderMap::default(),
        trailers: HeaderMap::default(),
    }
}

impl Request {
    fn mark(&mut self, point: TimePoint, nanos: u64) {
        let at = self.info.start + Duration::from_nanos(nanos);
        self.info.mark(point, at);
    }

    fn headers(&mut self, headers: &[(&str, &[u8])]) {
        for (name, value) in headers {
            self.request.append_name(name.as_bytes(), value);
        }
    }

    fn response(&mut self, code: u16, headers: &[(&str, &str)]) {
        self.info.response_code = code;
        self.response
            .append(HeaderId::Status, code.to_string().as_bytes());
        for (name, value) in headers {
            self.response.append_name(name.as_bytes(), value.as_bytes());
        }
    }
}

/// The first request: through the upstream, with awkward headers.
pub(crate) fn forwarded() -> Request {
    let mut r = recorded(1_795_438_262_553_839, 1, 36_850);
    r.headers(&[
        (":authority", b"a.b"),
        (":path", b"/u/x?q=abc%20d&e=&r=1"),
        (":method", b"GET"),
        (":scheme", b"http"),
        ("user-agent", b"ua"),
        ("x-a", b"abcdef"),
        ("x-q", b"say \"hi\" \\ back"),
        ("x-t", b"a\tb"),
        ("x-h", b"\xc3\xa9\xff\x80<>&'"),
        ("x-e", b""),
        ("x-m", b"1"),
        ("x-m", b"2"),
        ("x-forwarded-for", b"1.2.3.4"),
        ("x-forwarded-proto", b"http"),
        ("x-request-id", STREAM_IDS[0].as_bytes()),
        ("x-envoy-expected-rq-timeout-ms", b"15000"),
    ]);
    r.response(
        200,
        &[
            ("server", "envoy"),
            ("date", "Mon, 23 Nov 2026 12:51:02 GMT"),
            ("content-length", "3"),
            ("x-up", "a \"b\" \tc"),
            ("x-multi", "1"),
            ("x-multi", "2"),
            ("x-envoy-upstream-service-time", "1"),
        ],
    );
    let start = r.info.start;
    let info = &mut r.info;
    info.remote_address = Some(([1, 2, 3, 4], 0).into());
    info.upstream_protocol = Some(Protocol::Http11);
    info.details.set(details::VIA_UPSTREAM);
    info.bytes_sent = 3;
    info.attempt_count = 1;
    info.route_name.copy("up-route");
    info.virtual_cluster_name.copy("vc");
    info.cluster = Some(Rc::new(ClusterInfo {
        name: "c".into(),
        observability_name: "c_alt".into(),

        metadata: std::sync::Arc::default(),
    }));
    info.host = Some(Rc::new(HostInfo {
        address_text: "127.0.0.1:19972".into(),
        hostname: "h.c".into(),

        metadata: std::sync::Arc::default(),
        is_canary: false,
    }));
    info.upstream_connection = Some(Rc::new(UpstreamConnectionInfo {
        id: 2,
        local: Some(([127, 0, 0, 1], 53_910).into()),
        remote: Some(([127, 0, 0, 1], 19_972).into()),
        connect_begin: Some(start + Duration::from_nanos(100_000)),
        connect_end: Some(start + Duration::from_nanos(151_070)),
        handshake_end: None,
        tls: None,
    }));
    info.downstream_bytes = BytesMeter {
        wire_sent: 167,
        wire_received: 173,
        header_sent: 145,
        header_received: 126,
        ..BytesMeter::default()
    };
    info.upstream_bytes = BytesMeter {
        wire_sent: 290,
        wire_received: 154,
        header_sent: 252,
        header_received: 126,
        ..BytesMeter::default()
    };
    r.mark(TimePoint::DownstreamRxEnd, 74_000);
    r.mark(TimePoint::UpstreamPoolReady, 160_000);
    r.mark(TimePoint::UpstreamTxBegin, 200_000);
    r.mark(TimePoint::UpstreamTxEnd, 200_144);
    r.mark(TimePoint::UpstreamRxBegin, 1_200_000);
    r.mark(TimePoint::UpstreamRxBodyBegin, 1_320_129 - 6_573);
    r.mark(TimePoint::UpstreamRxEnd, 1_320_129);
    r.mark(TimePoint::DownstreamTxBegin, 1_300_000);
    r.mark(TimePoint::DownstreamTxEnd, 1_365_659);
    r.mark(TimePoint::RequestComplete, 1_400_000);
    r
}

pub(crate) fn refused() -> Request {
    let mut r = recorded(1_795_438_262_556_498, 3, 36_866);
    r.headers(&[
        (":authority", b"a"),
        (":path", b"/dead"),
        (":method", b"POST"),
        (":scheme", b"http"),
        ("content-length", b"5"),
        ("x-forwarded-proto", b"http"),
        ("x-request-id", STREAM_IDS[1].as_bytes()),
        ("x-envoy-expected-rq-timeout-ms", b"15000"),
    ]);
    r.response(
        503,
        &[
            ("content-length", "98"),
            ("content-type", "text/plain"),
            ("date", "Mon, 23 Nov 2026 12:51:02 GMT"),
            ("server", "envoy"),
        ],
    );
    let info = &mut r.info;
    info.flags.set(ResponseFlag::UpstreamConnectionFailure);
    info.details.compose(format_args!(
        "upstream_reset_before_response_started{{remote_connection_failure|delayed_connect_error: \
         Connection refused}}"
    ));
    info.upstream_transport_failure_reason
        .compose(format_args!("delayed_connect_error: Connection refused"));
    info.bytes_received = 5;
    info.bytes_sent = 98;
    info.attempt_count = 1;
    info.cluster = Some(Rc::new(ClusterInfo {
        name: "dead".into(),
        observability_name: "dead_alt".into(),

        metadata: std::sync::Arc::default(),
    }));
    info.host = Some(Rc::new(HostInfo {
        address_text: "127.0.0.1:1".into(),
        hostname: "h.dead".into(),

        metadata: std::sync::Arc::default(),
        is_canary: false,
    }));
    info.downstream_bytes = BytesMeter {
        wire_sent: 232,
        wire_received: 56,
        header_sent: 98,
        header_received: 26,
        ..BytesMeter::default()
    };
    r.mark(TimePoint::DownstreamRxEnd, 183_000);
    r.mark(TimePoint::UpstreamPoolReady, 200_000);
    r.mark(TimePoint::DownstreamTxBegin, 300_000);
    r.mark(TimePoint::DownstreamTxEnd, 305_470);
    r.mark(TimePoint::RequestComplete, 310_000);
    r
}

pub(crate) fn direct() -> Request {
    let mut r = recorded(1_795_438_264_059_084, 5, 36_874);
    r.headers(&[
        (":authority", b"a"),
        (":path", b"/d?q"),
        (":method", b"GET"),
        (":scheme", b"http"),
        ("x-forwarded-proto", b"http"),
        ("x-request-id", STREAM_IDS[2].as_bytes()),
    ]);
    r.response(
        200,
        &[
            ("content-length", "5"),
            ("content-type", "text/plain"),
            ("date", "Mon, 23 Nov 2026 12:51:04 GMT"),
            ("server", "envoy"),
        ],
    );
    let info = &mut r.info;
    info.details.set(details::DIRECT_RESPONSE);
    info.route_name.copy("direct");
    info.bytes_sent = 5;
    info.downstream_bytes = BytesMeter {
        wire_sent: 121,
        wire_received: 30,
        header_sent: 97,
        header_received: 8,
        ..BytesMeter::default()
    };
    r.mark(TimePoint::DownstreamRxEnd, 43_000);
    r.mark(TimePoint::DownstreamTxBegin, 100_000);
    r.mark(TimePoint::DownstreamTxEnd, 111_591);
    r.mark(TimePoint::RequestComplete, 120_000);
    r
}

/// The two requests whose heads were refused by the codec: there are no
/// request headers to log.
pub(crate) fn malformed(old_version: bool) -> Request {
    let mut r = if old_version {
        recorded(1_795_438_264_059_501, 6, 36_880)
    } else {
        recorded(1_795_438_265_054_675, 7, 36_896)
    };
    let (code, details, length) = if old_version {
        (426, details::LOW_VERSION, "16")
    } else {
        (400, "http1.codec_error", "11")
    };
    r.response(
        code,
        &[
            ("content-length", length),
            ("content-type", "text/plain"),
            ("date", "Mon, 23 Nov 2026 12:51:04 GMT"),
            ("server", "envoy"),
            ("connection", "close"),
        ],
    );
    let info = &mut r.info;
    info.flags.set(ResponseFlag::DownstreamProtocolError);
    info.details.set(details);
    info.bytes_sent = length.parse().unwrap();
    info.downstream_bytes = BytesMeter {
        wire_sent: if old_version { 166 } else { 156 },
        wire_received: if old_version { 30 } else { 23 },
        header_sent: 117,
        header_received: if old_version { 8 } else { 0 },
        ..BytesMeter::default()
    };
    let (begin, end) = if old_version {
        (20_000, 30_630)
    } else {
        (1_000_000, 1_015_106)
    };
    r.mark(TimePoint::DownstreamTxBegin, begin);
    r.mark(TimePoint::DownstreamTxEnd, end);
    r.mark(TimePoint::RequestComplete, end);
    r
}

#[test]
fn lines_are_envoys() {
    let requests = [
        forwarded(),
        refused(),
        direct(),
        malformed(true),
        malformed(false),
    ];
    let mut lines = RECORDED
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .peekable();
    let mut formats = 0;
    while let Some(format) = lines.next() {
        let formatter = Formatter::parse(format).unwrap_or_else(|e| panic!("{format}: {e}"));
        for request in &requests {
            let recorded = lines.next().and_then(|line| line.strip_prefix("    "));
            let mut out = Vec::new();
            formatter.write(&request.context(), &mut out);
            assert_eq!(Some(printable(&out).as_str()), recorded, "{format}");
        }
        formats += 1;
    }
    assert!(formats > 100, "{formats}");
}

fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'\\' => "\\x5c".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}
