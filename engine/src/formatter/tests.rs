//! Formats from the text to the line: errors, JSON, hostile values, and what
//! the recording of Envoy does not cover.

use super::golden::{Request, direct, forwarded, malformed, refused};
use super::*;
use crate::stream_info::ResponseFlag;
use ringway_codecs::header::HeaderId;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

fn error(format: &str) -> String {
    match Formatter::parse(format) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// Envoy's texts, with the position of the command behind them.
#[test]
fn bad_operators_are_refused_in_envoys_words() {
    for (format, expected) in [
        ("%NOPE%", "Not supported field in StreamInfo: NOPE"),
        ("%NOPE(x)%", "Not supported field in StreamInfo: NOPE"),
        ("%REQ()%", "REQ requires parameters"),
        ("%REQ%", "REQ requires parameters"),
        ("%RESPONSE_TRAILER%", "RESPONSE_TRAILER requires parameters"),
        ("%QUERY_PARAM%", "QUERY_PARAM requires parameters"),
        ("%ENVIRONMENT()%", "ENVIRONMENT requires parameters"),
        ("%COMMON_DURATION%", "COMMON_DURATION requires parameters"),
        (
            "%REQ(a?b?c)%",
            "More than 1 alternative header specified in token: a?b?c",
        ),
        (
            "%REQ(X Y)%",
            "Invalid header configuration. Format string contains invalid characters.",
        ),
        (
            "%REQ(:METHOD)):4%",
            "Invalid header configuration. Format string contains invalid characters.",
        ),
        (
            "%START_TIME(%n)%",
            "Invalid header configuration. Format string contains newline.",
        ),
        (
            "%EMIT_TIME(a%5nb)%",
            "Invalid header configuration. Format string contains newline.",
        ),
        (
            "%PROTOCOL(x)%",
            "PROTOCOL does not take any parameters or length",
        ),
        (
            "%PROTOCOL:5%",
            "PROTOCOL does not take any parameters or length",
        ),
        (
            "%RESPONSE_FLAGS():3%",
            "RESPONSE_FLAGS does not take any parameters or length",
        ),
        (
            "%DOWNSTREAM_PEER_SUBJECT(X)%",
            "DOWNSTREAM_PEER_SUBJECT does not take any parameters or length",
        ),
        (
            "%UPSTREAM_HOST(24)%",
            "UPSTREAM_HOST does not take any parameters or length",
        ),
        (
            "%START_TIME:5%",
            "START_TIME does not allow length to be specified.",
        ),
        (
            "%RESPONSE_CODE_DETAILS:3%",
            "RESPONSE_CODE_DETAILS does not allow length to be specified.",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(24):3%",
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT does not allow length to be specified.",
        ),
        (
            "%GRPC_STATUS(NUMBER):3%",
            "GRPC_STATUS does not allow length to be specified.",
        ),
        (
            "%COMMON_DURATION(a)%",
            "Invalid common duration configuration: a.",
        ),
        (
            "%COMMON_DURATION(a:b:ms:x)%",
            "Invalid common duration configuration: a:b:ms:x.",
        ),
        (
            "%COMMON_DURATION(a:b:s)%",
            "Invalid common duration precision: s.",
        ),
        (
            "%PATH(X)%",
            "Invalid PATH option: 'X', only 'WQ'/'NQ' are allowed",
        ),
        (
            "%PATH(WQ:X)%",
            "Invalid PATH option: 'X', only 'ORIG'/'PATH'/'ORIG_OR_PATH' are allowed",
        ),
        (
            "%QUERY_PARAMS(RAW)%",
            "Invalid QUERY_PARAMS option: 'RAW', only 'ORIG'/'DECODED' are allowed",
        ),
        (
            "%GRPC_STATUS(X)%",
            "GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: X",
        ),
        (
            "%REQUESTED_SERVER_NAME(X)%",
            "Invalid REQUESTED_SERVER_NAME option: 'X', only 'SNI_ONLY'/'SNI_FIRST'/'HOST_FIRST' \
             are allowed",
        ),
        ("%CEL%", "CEL(): expected an expression, found the end at 1"),
        (
            "%CEL(1 +)%",
            "CEL(1 +): expected an expression, found the end at 4",
        ),
        (
            "%UPSTREAM_HOSTS_ATTEMPTED(x)%",
            "UPSTREAM_HOSTS_ATTEMPTED does not take any parameters or length",
        ),
        (
            "%UPSTREAM_HOST_IDS_ATTEMPTED%",
            "Not supported field in StreamInfo: UPSTREAM_HOST_IDS_ATTEMPTED",
        ),
        ("%DYNAMIC_METADATA%", "DYNAMIC_METADATA requires parameters"),
        (
            "%CLUSTER_METADATA()%",
            "CLUSTER_METADATA requires parameters",
        ),
        ("%METADATA%", " is not supported type of metadata"),
        ("%METADATA(FOO:a)%", "FOO is not supported type of metadata"),
        (
            "%FILTER_STATE%",
            "Invalid filter state configuration, key cannot be empty.",
        ),
        (
            "%FILTER_STATE(k:X)%",
            "Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.",
        ),
        (
            "%FILTER_STATE(k:FIELD:)%",
            "Invalid filter state serialize type, FIELD should be used with the field name.",
        ),
        (
            "%FILTER_STATE(k:PLAIN:f)%",
            "Invalid filter state serialize type, FIELD should be used with the field name.",
        ),
        ("%COALESCE%", "COALESCE requires parameters"),
        (
            "%COALESCE({})%",
            "COALESCE: JSON configuration must contain 'operators' array",
        ),
        (
            "%COALESCE({\"operators\":[]})%",
            "COALESCE: 'operators' array must not be empty",
        ),
        (
            "%COALESCE({\"operators\":[\"REQ\"]})%",
            "COALESCE: failed to parse operator at index 0: REQ requires parameters",
        ),
        (
            "%COALESCE({\"operators\":[1]})%",
            "COALESCE: failed to parse operator at index 0: operator entry must be either a string (command name) or an object with 'command' field",
        ),
        (
            "%COALESCE({\"operators\":[{\"command\":\"PATH\",\"max_length\":0}]})%",
            "COALESCE: failed to parse operator at index 0: 'max_length' must be a positive integer",
        ),
    ] {
        assert_eq!(error(format), format!("{expected} at position 0"));
        let later = format!("é%PROTOCOL%{format}");
        assert_eq!(error(&later), format!("{expected} at position 12"));
    }
}

#[test]
fn odd_operators_are_accepted_as_by_envoy() {
    for format in [
        "%PROTOCOL()%",
        "%REQ(a?)%",
        "%REQ(?a)%",
        "%REQ(a?:b)%",
        "%REQ(a):4294967296%",
        "%QUERY_PARAM(a b)%",
        "%ENVIRONMENT(A=B)%",
        "%COMMON_DURATION(::ms)%",
        "%RESPONSE_CODE_DETAILS(X)%",
        "%PATH(:)%",
        "%PATH(NQ:ORIG:x)%",
        "%DOWNSTREAM_PEER_CERT_V_START(%s)%",
        "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(-1)%",
    ] {
        assert_eq!(error(format), "", "{format}");
    }
}

#[test]
fn a_peers_bytes_never_begin_a_line() {
    let mut request = direct();
    let evil = b"a\r\n[2026] \"GET / HTTP/1.1\" 200\x00\x1b[2J";
    for id in [HeaderId::UserAgent, HeaderId::Path, HeaderId::Authority] {
        request.request.set(id, evil);
    }
    request.request.set(HeaderId::XRequestId, evil);
    request
        .request
        .append_name(b"x-query", b"unused, but the map is not only known names");
    let format = "%REQ(user-agent)%|%PATH%|%PATH(NQ):9%|%REQ(host)%|%STREAM_ID%|\
                  %REQUESTED_SERVER_NAME(HOST_FIRST)%|%REQ(nope?user-agent):4%";
    let line = request.format(format);
    assert!(line.bytes().all(|b| b >= b' '), "{line:?}");
    assert!(line.starts_with("a\\x0d\\x0a[2026]"), "{line}");
    request.request.set(HeaderId::Path, b"/?q=x%0a%0D%00y");
    assert_eq!(
        request.format("%QUERY_PARAM(q)%|%QUERY_PARAM(q):3%"),
        "x\\x0a\\x0d\\x00y|x\\x0a\\x0d"
    );
}

#[test]
fn the_body_of_a_local_reply_keeps_its_lines() {
    let request = direct();
    let context = Context {
        local_reply_body: b"two\nlines\n",
        ..request.context()
    };
    let mut out = Vec::new();
    Formatter::parse("<%LOCAL_REPLY_BODY%>")
        .unwrap()
        .write(&context, &mut out);
    assert_eq!(out, b"<two\nlines\n>");
}

#[test]
fn omitted_values_leave_nothing() {
    let request = direct();
    let write = |omit: bool| {
        let formatter = Formatter::parse("[%REQ(nope)%] %PROTOCOL% %RESPONSE_FLAGS%")
            .unwrap()
            .omit_empty_values(omit);
        let mut out = Vec::new();
        formatter.write(&request.context(), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(write(false), "[-] HTTP/1.1 -");
    assert_eq!(write(true), "[] HTTP/1.1 -");
    assert!(Formatter::parse("a%%b").unwrap().is_constant());
    assert!(!Formatter::parse("%PROTOCOL%").unwrap().is_constant());
}

/// What does not stand in the recording because it differs at every run.
#[test]
fn values_of_this_process() {
    let request = forwarded();
    let id = request.format("%UNIQUE_ID%");
    assert_eq!(id.len(), 36);
    assert_eq!((&id[14..15], id.matches('-').count()), ("4", 4));
    assert!("89ab".contains(&id[19..20]), "{id}");
    assert_ne!(id, request.format("%UNIQUE_ID%"));
    let seconds: u64 = request.format("%EMIT_TIME(%s)%").parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(seconds.abs_diff(now.as_secs()) < 60);
    assert!(!request.format("%HOSTNAME%").is_empty());
    let home = std::env::var("PATH").unwrap();
    assert_eq!(request.format("%ENVIRONMENT(PATH)%"), home);
    assert_eq!(request.format("%ENVIRONMENT(PATH):3%"), home[..3]);
    assert_eq!(request.format("%ENVIRONMENT(RINGWAY_NOT_SET)%"), "-");
    assert_eq!(
        request.format("%REQUEST_HEADER(X-A):2%%RESP(X-MULTI)%"),
        "ab1"
    );
}

#[test]
fn addresses_of_every_family() {
    let mut request = forwarded();
    let format = "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% \
                  %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(20)% \
                  %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(200)% %DOWNSTREAM_REMOTE_PORT%";
    request.info.remote_address = Some("[2001:db8:1:2::3]:5".parse().unwrap());
    assert_eq!(
        request.format(format),
        "[2001:db8:1:2::3]:5 2001:db8:1:2::3 2001::/20 2001:db8:1:2::3/128 5"
    );
    request.info.remote_address = Some("10.1.255.3:5".parse().unwrap());
    assert_eq!(
        request.format(format),
        "10.1.255.3:5 10.1.255.3 10.1.240.0/20 10.1.255.3/32 5"
    );
    // A Unix listener: the client has no address.
    let mut connection = (*request.info.connection).clone();
    connection.pipe = Some("/run/ringway.sock".into());
    request.info.connection = Rc::new(connection);
    request.info.remote_address = None;
    assert_eq!(
        request.format(
            "%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_PORT%|%DOWNSTREAM_REMOTE_ADDRESS%|\
             %DOWNSTREAM_DIRECT_REMOTE_PORT%"
        ),
        "/run/ringway.sock|-||-"
    );
}

#[test]
fn reasons_are_one_word() {
    let mut request = direct();
    request.info.details.copy("a b\tc");
    request.info.upstream_transport_failure_reason.copy("d e");
    assert_eq!(
        request.format(
            "%RESPONSE_CODE_DETAILS% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)% \
             %UPSTREAM_TRANSPORT_FAILURE_REASON%"
        ),
        "a_b_c a b\tc d_e"
    );
}

#[test]
fn flags_are_listed_in_the_order_they_were_set() {
    let mut request = direct();
    request
        .info
        .flags
        .set(ResponseFlag::UpstreamRetryLimitExceeded);
    request.info.flags.set(ResponseFlag::UpstreamRequestTimeout);
    assert_eq!(
        request.format("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%"),
        "URX,UT UpstreamRetryLimitExceeded,UpstreamRequestTimeout"
    );
}

/// What Envoy wrote for requests with `content-type: application/grpc`.
#[test]
fn the_status_of_grpc_requests() {
    let format = "%GRPC_STATUS%|%GRPC_STATUS(SNAKE_STRING)%|%GRPC_STATUS_NUMBER%";
    for (content_type, status, code, expected) in [
        ("application/grpc", None, 200, "Unknown|UNKNOWN|2"),
        (
            "application/grpc+proto",
            None,
            404,
            "Unimplemented|UNIMPLEMENTED|12",
        ),
        ("application/grpc", None, 503, "Unavailable|UNAVAILABLE|14"),
        ("application/grpc", Some("0"), 200, "OK|OK|0"),
        ("application/grpc", Some("1"), 200, "Canceled|CANCELLED|1"),
        ("application/grpc", Some("5"), 200, "NotFound|NOT_FOUND|5"),
        ("application/grpc", Some("77"), 200, "77|77|77"),
        ("application/grpc", Some("-1"), 200, "-1|-1|-1"),
        ("application/grpc", Some("x"), 200, "-1|-1|-1"),
        ("application/grpc-web", Some("5"), 200, "-|-|-"),
        ("text/plain", Some("5"), 200, "-|-|-"),
    ] {
        let mut request = direct();
        request.info.response_code = code;
        request
            .request
            .set(HeaderId::ContentType, content_type.as_bytes());
        if let Some(status) = status {
            request.response.append(HeaderId::GrpcStatus, b"9");
            request
                .trailers
                .append(HeaderId::GrpcStatus, status.as_bytes());
        }
        assert_eq!(
            request.format(format),
            expected,
            "{content_type} {status:?}"
        );
    }
}

/// Splits every recorded format at every byte: what compiles writes, what does
/// not says where, and nothing panics.
#[test]
fn formats_cut_at_any_byte_are_accepted_or_refused() {
    let requests = [forwarded(), refused(), malformed(true)];
    let all = include_str!("golden/envoy-1.40.txt");
    let formats = all.lines().filter(|line| line.starts_with('%'));
    let mut written = 0;
    for format in formats {
        for cut in (0..=format.len()).filter(|cut| format.is_char_boundary(*cut)) {
            for part in [&format[..cut], &format[cut..]] {
                match Formatter::parse(part) {
                    Ok(formatter) => {
                        for request in &requests {
                            let mut out = Vec::new();
                            formatter.write(&request.context(), &mut out);
                            written += out.len();
                        }
                    }
                    Err(error) => assert!(error.position < part.len(), "{part}: {error}"),
                }
            }
        }
    }
    assert!(written > 0);
}

/// Random mixes of operators, arguments and text.
#[test]
fn random_formats_are_accepted_or_refused() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let parts = [
        "%",
        "REQ",
        "(",
        ")",
        ":",
        "x-q",
        "?",
        "3",
        "START_TIME",
        "%s",
        "%3f",
        "PATH",
        "NQ",
        "-",
        "QUERY_PARAM",
        "RESPONSE_CODE",
        "é",
        "\n",
        "COMMON_DURATION",
        "DS_RX_BEG",
        "DS_TX_END",
        "us",
        "%%",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "RESPONSE_FLAGS",
        "_",
    ];
    let request = forwarded();
    for _ in 0..30_000 {
        let format: String = (0..random.usize(..14))
            .map(|_| parts[random.usize(..parts.len())])
            .collect();
        if let Ok(formatter) = Formatter::parse(&format) {
            let mut out = Vec::new();
            formatter.write(&request.context(), &mut out);
        }
        let json = JsonFormatter::new(
            vec![("k".to_owned(), JsonValue::Format(format.clone()))],
            false,
        );
        if let Ok(formatter) = json {
            let mut out = Vec::new();
            formatter.write(&request.context(), &mut out);
            let parsed = serde_json::from_slice::<serde_json::Value>(&out);
            assert!(parsed.is_ok(), "seed {seed}: {format:?}: {out:?}");
        }
    }
}

fn json_value(value: &serde_json::Value) -> JsonValue {
    use serde_json::Value;
    match value {
        Value::Null => JsonValue::Null,
        Value::Bool(value) => JsonValue::Bool(*value),
        Value::Number(number) => JsonValue::Number(number.as_f64().unwrap()),
        Value::String(text) => JsonValue::Format(text.clone()),
        Value::Array(values) => JsonValue::List(values.iter().map(json_value).collect()),
        Value::Object(members) => JsonValue::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), json_value(value)))
                .collect(),
        ),
    }
}

fn json(format: &str, omit: bool) -> Result<JsonFormatter, (String, FormatError)> {
    let value = serde_json::from_str(format).expect("the test's own JSON");
    let JsonValue::Object(members) = json_value(&value) else {
        panic!("an object is needed");
    };
    JsonFormatter::new(members, omit)
}

fn json_line(format: &str, omit: bool, request: &Request) -> String {
    let mut out = Vec::new();
    json(format, omit)
        .expect("compiles")
        .write(&request.context(), &mut out);
    String::from_utf8(out).unwrap()
}

/// What Envoy 1.40 wrote for this format and this request.
#[test]
fn json_lines_are_envoys() {
    let format = r#"{"z":"%PROTOCOL%","a":"%RESPONSE_CODE%","m":{"y":"%DURATION%ms",
        "b":["%RESPONSE_CODE%",1,2.5,true,null,"s%%","%REQ(nope)%"]},"n":1,"frac":1.25,
        "t":"%REQ(x-q)%","tt":"<%REQ(x-t)%>","h":"%REQ(x-h)%","nope":"%REQ(nope)%",
        "nope2":"x%REQ(nope)%y","empty":"","é\"":"k","start":"%START_TIME%",
        "st":"%START_TIME(%s)%","flags":"%RESPONSE_FLAGS%","port":"%DOWNSTREAM_REMOTE_PORT%",
        "two":"%RESPONSE_CODE%%RESPONSE_CODE%","c":"%CONNECTION_ID%","e":{},"l":[],
        "lit":"a\n\u0001/<>&","A":"upper","env":"%ENVIRONMENT(RINGWAY_NOT_SET)%",
        "body":"%LOCAL_REPLY_BODY%","up":"%UPSTREAM_CONNECTION_ID%"}"#;
    assert_eq!(
        json_line(format, false, &forwarded()),
        concat!(
            r#"{"A":"upper","a":200,"body":"","c":1,"e":{},"empty":"","env":"-","flags":"-","#,
            r#""frac":1.25,"h":"\u00c3\u00a9\u00ff\u0080<>&'","l":[],"lit":"a\n\u0001/<>&","#,
            r#""m":{"b":[200,1,2.5,true,null,"s%",null],"y":"1ms"},"n":1,"nope":null,"#,
            r#""nope2":"x-y","port":0,"st":"1795438262","start":"2026-11-23T12:51:02.553Z","#,
            r#""t":"say \"hi\" \\ back","tt":"<a\tb>","two":"200200","up":2,"z":"HTTP/1.1","#,
            r#""é\"":"k"}"#,
            "\n"
        )
    );
}

/// Members without a value go, with the objects that become empty; lists and
/// empty texts stay. So does Envoy.
#[test]
fn omitted_members_leave_valid_json() {
    let format = r#"{"z":"%PROTOCOL%","m":{"x":"%REQ(nope)%"},"k":["%REQ(nope)%","a"],
        "nope":"%REQ(nope)%","nope2":"x%REQ(nope)%y","s":"","nul":null,"l":[],"o":{},
        "l2":["%REQ(nope)%"],"o2":{"a":{"b":"%REQ(nope)%"}},"t":"%REQ(nope)%%REQ(nope)%"}"#;
    assert_eq!(
        json_line(format, true, &forwarded()),
        concat!(
            r#"{"k":["a"],"l":[],"l2":[],"nope2":"xy","s":"","t":"","z":"HTTP/1.1"}"#,
            "\n"
        )
    );
    assert_eq!(
        json_line(r#"{"a":"%REQ(nope)%"}"#, true, &forwarded()),
        "{}\n"
    );
    assert_eq!(json_line("{}", false, &forwarded()), "{}\n");
}

#[test]
fn json_numbers() {
    let format = r#"{"n":[1e21,1e-7,0.1,1e300,1234567.891,9007199254740992,-5,100000,0]}"#;
    let line = json_line(format, false, &direct());
    assert!(line.contains("9007199254740992,-5,100000,0]"), "{line}");
    let values: serde_json::Value = serde_json::from_str(&line).unwrap();
    let expected: serde_json::Value = serde_json::from_str(format).unwrap();
    for (value, expected) in std::iter::zip(
        values["n"].as_array().unwrap(),
        expected["n"].as_array().unwrap(),
    ) {
        assert_eq!(value.as_f64(), expected.as_f64());
    }
    let members = vec![("n".to_owned(), JsonValue::Number(f64::NAN))];
    let mut out = Vec::new();
    JsonFormatter::new(members, false)
        .unwrap()
        .write(&direct().context(), &mut out);
    assert_eq!(out, b"{\"n\":null}\n");
}

#[test]
fn json_errors_name_the_member() {
    let (path, error) = json(r#"{"a":{"b":["%PROTOCOL%","x %NOPE%"]}}"#, false).unwrap_err();
    assert_eq!(path, "a.b[1]");
    assert_eq!(
        error.to_string(),
        "Not supported field in StreamInfo: NOPE at position 2"
    );
}
