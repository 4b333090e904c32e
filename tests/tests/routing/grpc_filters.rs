//! The filters of gRPC: statistics, gRPC-Web, and the bridges to and from HTTP/1.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::http2::origin::{Act, End, Script, data, head};
use ringway_tests::http2::{self, request};
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: "/direct.S/" }, direct_response: { status: 503, body: { inline_string: "no: 5%" } } }
  - { match: { prefix: "/empty.S/" }, route: { cluster: empty } }
  - { match: { prefix: "/old.S/" }, route: { cluster: old } }
  - { match: { prefix: "/retried.S/" }, route: { cluster: hosts, retry_policy: { retry_on: unavailable, num_retries: 2, retry_back_off: { base_interval: 0.001s } }, timeout: 0s } }
  - { match: { prefix: "/mirrored.S/" }, route: { cluster: hosts, request_mirror_policies: [ { cluster: mirror } ] } }
  - match: { prefix: "/off.S/" }
    route: { cluster: old }
    typed_per_filter_config:
      reverse: { "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute, disabled: true }
  - { match: { prefix: "/" }, route: { cluster: hosts } }
"#;

/// `router`, behind the filters that are named.
macro_rules! filters {
    ($($name:literal, $type:literal, $fields:literal;)*) => {
        concat!(
            "http_filters:\n",
            $("- { name: ", $name, ", typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.",
              $type, ", ", $fields, " } }\n",)*
            "- { name: router, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }\n",
        )
    };
}

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: HOSTS,
    }
}

/// Routes say something to the filter of this name, wherever there is one.
const LISTENERS: &[Listener] = &[
    listener(
        "stats",
        filters!["stats", "grpc_stats.v3.FilterConfig", "emit_filter_state: true";],
    ),
    listener(
        "all",
        filters!["stats", "grpc_stats.v3.FilterConfig", "stats_for_all_methods: true, enable_upstream_stats: true";],
    ),
    listener(
        "dots",
        filters!["stats", "grpc_stats.v3.FilterConfig", "stats_for_all_methods: true, replace_dots_in_grpc_service_name: true";],
    ),
    listener(
        "some",
        filters!["stats", "grpc_stats.v3.FilterConfig", "individual_method_stats_allowlist: { services: [ { name: l.S, method_names: [ M, List ] } ] }";],
    ),
    Listener {
        name: "told",
        manager: concat!(
            filters!["stats", "grpc_stats.v3.FilterConfig", "emit_filter_state: true";],
            "access_log: [{ name: file, typed_config: { \
             \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
             path: \"{DIR}/told.log\", log_format: { text_format_source: { inline_string: \
             \"%FILTER_STATE(envoy.filters.http.grpc_stats)% \
             %FILTER_STATE(envoy.filters.http.grpc_stats:PLAIN)% \
             %FILTER_STATE(envoy.filters.http.grpc_stats:FIELD:request_message_count)%\\n\" } } } }]\n",
        ),
        hosts: HOSTS,
    },
    listener("web", filters!["web", "grpc_web.v3.GrpcWeb", "";]),
    listener(
        "bridge",
        filters!["bridge", "grpc_http1_bridge.v3.Config", "";],
    ),
    listener(
        "upgrade",
        filters!["bridge", "grpc_http1_bridge.v3.Config", "upgrade_protobuf_to_grpc: true, ignore_query_parameters: true";],
    ),
    listener(
        "reverse",
        filters!["reverse", "grpc_http1_reverse_bridge.v3.FilterConfig", "content_type: application/x-own";],
    ),
    listener(
        "withheld",
        filters!["reverse", "grpc_http1_reverse_bridge.v3.FilterConfig", "content_type: application/x-own, withhold_grpc_frames: true";],
    ),
    listener(
        "sized",
        filters!["reverse", "grpc_http1_reverse_bridge.v3.FilterConfig", "content_type: application/x-own, withhold_grpc_frames: true, response_size_header: X-Size";],
    ),
    listener(
        "both",
        filters![
            "stats", "grpc_stats.v3.FilterConfig", "stats_for_all_methods: true";
            "web", "grpc_web.v3.GrpcWeb", "";
            "inner", "grpc_stats.v3.FilterConfig", "stats_for_all_methods: true";
        ],
    ),
];

fn clusters(ports: Ports) -> String {
    let http2 = "typed_extension_protocol_options:\n  \
           envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
             explicit_http_config: { http2_protocol_options: {} }\n";
    cluster("hosts", ports.origin, http2)
        + &cluster("mirror", ports.mirror, http2)
        + &cluster(
            "old",
            ports.origin,
            "http_protocol_options: { enable_trailers: true }",
        )
        + &ringway_tests::bootstrap::empty_cluster("empty")
}

/// A message in its frame.
fn message(bytes: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, bytes.len() as u8][..], bytes].concat()
}

fn http2_host(acts: impl Into<Vec<Act>>) -> Vec<origin::Act> {
    vec![origin::Act::Http2(Script {
        settings: Vec::new(),
        acts: acts.into(),
    })]
}

const HEAD: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

/// What a host of gRPC answers.
fn reply(messages: &[&[u8]], trailers: &[(&'static str, &str)]) -> Vec<origin::Act> {
    let mut acts = vec![head(HEAD, End::More)];
    acts.extend(messages.iter().map(|bytes| data(message(bytes), End::More)));
    acts.push(head(trailers, End::Last));
    http2_host(acts)
}

fn ok(messages: &[&[u8]]) -> Vec<origin::Act> {
    reply(messages, &[("grpc-status", "0")])
}

fn trailers_only(status: &str) -> Vec<origin::Act> {
    let fields = [HEAD, &[("grpc-status", status), ("grpc-message", "no%25")]].concat();
    http2_host([head(&fields, End::Last)])
}

/// A request of HTTP/1.
fn post(path: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn chunked(path: &str, more: &str, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out =
        format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}transfer-encoding: chunked\r\n\r\n")
            .into_bytes();
    for piece in pieces {
        out.extend(format!("{:x}\r\n", piece.len()).bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

const GRPC: &str = "content-type: application/grpc\r\nte: trailers\r\n";

/// A call of a client of gRPC.
fn call(name: &'static str, listener: &'static str, path: &str, messages: &[&[u8]]) -> Case {
    let more = "content-type: application/grpc\nte: trailers";
    let mut frames = request(1, "POST", path, more, messages.is_empty());
    for (place, bytes) in messages.iter().enumerate() {
        let is_last = place + 1 == messages.len();
        frames.extend(http2::data(1, &message(bytes), is_last));
    }
    case(name, listener, frames).http2()
}

fn statistics() -> Vec<Case> {
    let mut all = Vec::new();
    for (listener, names) in [
        (
            "stats",
            [
                "s ok",
                "s failed",
                "s only trailers",
                "s many",
                "s no host",
                "s not gRPC",
                "s path",
                "s web",
                "s no trailers",
                "s 503",
            ],
        ),
        (
            "all",
            [
                "a ok",
                "a failed",
                "a only trailers",
                "a many",
                "a no host",
                "a not gRPC",
                "a path",
                "a web",
                "a no trailers",
                "a 503",
            ],
        ),
        (
            "dots",
            [
                "d ok",
                "d failed",
                "d only trailers",
                "d many",
                "d no host",
                "d not gRPC",
                "d path",
                "d web",
                "d no trailers",
                "d 503",
            ],
        ),
        (
            "some",
            [
                "l ok",
                "l failed",
                "l only trailers",
                "l many",
                "l no host",
                "l not gRPC",
                "l path",
                "l web",
                "l no trailers",
                "l 503",
            ],
        ),
    ] {
        // Each its own: Envoy's names that come from requests are not those that
        // come from the configuration, even if they are the same.
        let service = match listener {
            "some" => "l.S",
            _ => "a.S",
        };
        all.extend([
            call(names[0], listener, &format!("/{service}/M"), &[b"x"]).origin(ok(&[b"y"])),
            call(
                names[1],
                listener,
                &format!("/{service}/Other?a=b/c"),
                &[b"x"],
            )
            .origin(reply(&[], &[("grpc-status", "7"), ("grpc-message", "no")])),
            call(names[2], listener, &format!("/{service}/List"), &[b"x"])
                .origin(trailers_only("5")),
            call(
                names[3],
                listener,
                &format!("/{service}/M"),
                &[b"x", b"", b"zz"],
            )
            .origin(ok(&[b"1", b"22", b""])),
            call(names[4], listener, "/empty.S/M", &[b"x"]),
            case(
                names[5],
                listener,
                post(&format!("/{service}/M"), "", b"hello"),
            )
            .origin(ok(&[b"y"])),
            call(names[6], listener, "/a/b/c", &[b"x"]).origin(ok(&[b"y"])),
            case(
                names[7],
                listener,
                post(
                    &format!("/{service}/M"),
                    "content-type: application/grpc-web\r\n",
                    b"hello",
                ),
            )
            .origin(ok(&[b"y"])),
            call(names[8], listener, &format!("/{service}/M"), &[b"x"]).origin(http2_host([
                head(HEAD, End::More),
                data(message(b"y"), End::Last),
            ])),
            call(names[9], listener, &format!("/{service}/M"), &[b"x"]).origin(http2_host([
                head(&[(":status", "503")], End::More),
                data(message(b"y"), End::Last),
            ])),
        ]);
    }
    all.extend([
        call("told", "told", "/a.S/M", &[b"x", b"y"]).origin(ok(&[b"1", b"2", b"3"])),
        call("told without messages", "told", "/a.S/M", &[]).origin(trailers_only("1")),
        call("stats of tries", "all", "/retried.S/M", &[b"x"]).origin(trailers_only("14")),
        call("stats of a direct response", "all", "/direct.S/M", &[b"x"]),
        call("stats of a status that is none", "all", "/a.S/M", &[b"x"])
            .origin(reply(&[], &[("grpc-status", "what")])),
    ]);
    all
}

fn web() -> Vec<Case> {
    let binary = |name, path: &str, body: &[u8]| {
        case(
            name,
            "web",
            post(
                path,
                "content-type: application/grpc-web\r\nx-own: 1\r\n",
                body,
            ),
        )
    };
    let text = |name, pieces: &[&[u8]]| {
        let more =
            "content-type: application/grpc-web-text\r\naccept: application/grpc-web-text\r\n";
        case(name, "web", chunked("/a.S/M", more, pieces))
    };
    let frame = message(b"hello");
    vec![
        binary("web", "/a.S/M", &frame).origin(ok(&[b"y", b"", b"zzz"])),
        binary("web failure", "/a.S/M", &frame)
            .origin(reply(&[b"y"], &[("grpc-status", "9"), ("grpc-message", "a%20b"), ("x-more", "1")])),
        binary("web with trailers only", "/a.S/M", &frame).origin(trailers_only("5")),
        binary("web without trailers", "/a.S/M", &frame)
            .origin(http2_host([head(HEAD, End::More), data(message(b"y"), End::Last)])),
        binary("web without a route to hosts", "/empty.S/M", &frame),
        binary("web answered directly", "/direct.S/M", &frame),
        binary("web and an error page", "/a.S/M", &frame)
            .origin(http2_host([head(&[(":status", "404"), ("content-type", "text/html"), ("content-length", "6")], End::More), data("a%\r\nbc", End::Last)])),
        binary("web and an empty error page", "/a.S/M", &frame)
            .origin(http2_host([head(&[(":status", "500")], End::Last)])),
        binary("web and an error with trailers", "/a.S/M", &frame)
            .origin(http2_host([head(&[(":status", "403")], End::More), data("abc", End::More), head(&[("x-t", "1")], End::Last)])),
        binary("web answered in web", "/a.S/M", &frame)
            .origin(http2_host([head(&[(":status", "200"), ("content-type", "application/grpc-web; x")], End::More), data("abc", End::Last)])),
        binary("web to an old host", "/old.S/M", &frame)
            .answer("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n6\r\n\0\0\0\0\x01y\r\n0\r\ngrpc-status: 0\r\n\r\n"),
        binary("web mirrored", "/mirrored.S/M", &frame).origin(ok(&[b"y"])).mirror(ok(&[b"z"])),
        binary("web tried again", "/retried.S/M", &frame).origin(trailers_only("14")),
        binary("web without a body", "/a.S/M", b"").origin(ok(&[])),
        case("web with proto", "web", post("/a.S/M", "content-type: application/grpc-web+proto\r\ngrpc-accept-encoding: gzip\r\naccept: application/grpc-web-text\r\n", &frame)).origin(ok(&[b"y"])),
        case("web of another type", "web", post("/a.S/M", "content-type: application/grpc-web+json\r\n", &frame)).origin(ok(&[b"y"])),
        case("no web", "web", post("/a.S/M", GRPC, &frame)).origin(ok(&[b"y"])),
        case("web over HTTP/2", "web", [
            request(1, "POST", "/a.S/M", "content-type: application/grpc-web", false),
            http2::data(1, &frame, true),
        ].concat()).http2().origin(ok(&[b"y"])),
        case("text over HTTP/2", "web", [
            request(1, "POST", "/a.S/M", "content-type: application/grpc-web-text+proto\naccept: application/grpc-web-text+proto", false),
            http2::data(1, b"AAAAAAV", false),
            http2::data(1, b"oZWxsbw==", true),
        ].concat()).http2().origin(ok(&[b"y", b"zzzz"])),
        text("text", &[b"AAAAAAVoZWxsbw=="]).origin(ok(&[b"y", b"zz"])),
        text("text in pieces", &[b"AA", b"AAA", b"AVoZ", b"Wxsbw=", b"="]).origin(ok(&[b"y"])),
        text("text failure", &[b"AAAAAAVoZWxsbw=="])
            .origin(reply(&[], &[("grpc-status", "3")])),
        text("text that is none", &[b"AAA!AAVoZWxsbw=="]).origin(ok(&[b"y"])),
        text("text that ends early", &[b"AAAAAAVoZWxsb"]).origin(ok(&[b"y"])),
        text("text without bytes", &[]).origin(ok(&[b"y"])),
        case("text in small pieces", "web", chunked("/a.S/M", "content-type: application/grpc-web-text\r\naccept: application/grpc-web-text\r\n", &[b"AAAAAAVoZWxsbw=="])).in_pieces(7).origin(ok(&[b"y"])),
        case("web between statistics", "both", post("/a.S/M", "content-type: application/grpc-web\r\n", &frame)).origin(ok(&[b"y"])),
    ]
}

fn bridge() -> Vec<Case> {
    let frame = message(b"hello");
    let protobuf = "content-type: application/x-protobuf\r\n";
    vec![
        case("bridge", "bridge", post("/a.S/M?q=1", GRPC, &frame)).origin(ok(&[b"y", b"z"])),
        case(
            "bridge without messages",
            "bridge",
            post("/a.S/M", GRPC, &frame),
        )
        .origin(ok(&[])),
        case("bridge failure", "bridge", post("/a.S/M", GRPC, &frame)).origin(reply(
            &[b"y"],
            &[
                ("grpc-status", "7"),
                ("grpc-message", "no"),
                ("x-more", "1"),
            ],
        )),
        case(
            "bridge with a status that is none",
            "bridge",
            post("/a.S/M", GRPC, &frame),
        )
        .origin(reply(&[b"y"], &[("grpc-status", "x")])),
        case(
            "bridge with trailers only",
            "bridge",
            post("/a.S/M", GRPC, &frame),
        )
        .origin(trailers_only("5")),
        case(
            "bridge without trailers",
            "bridge",
            post("/a.S/M", GRPC, &frame),
        )
        .origin(http2_host([
            head(HEAD, End::More),
            data(message(b"y"), End::Last),
        ])),
        case(
            "bridge without hosts",
            "bridge",
            post("/empty.S/M", GRPC, &frame),
        ),
        case(
            "bridge of other requests",
            "bridge",
            post("/a.S/M", "", &frame),
        )
        .origin(ok(&[b"y"])),
        case(
            "bridge of HTTP/1.0",
            "bridge",
            String::from_utf8_lossy(&post("/a.S/M", GRPC, &frame)).replace("HTTP/1.1", "HTTP/1.0"),
        )
        .answers(0),
        call("bridge of HTTP/2", "bridge", "/a.S/M", &[b"x"]).origin(ok(&[b"y"])),
        case("upgrade", "upgrade", post("/a.S/M?q=1", protobuf, b"hello")).origin(ok(&[b"y"])),
        case(
            "upgrade of chunks",
            "upgrade",
            chunked("/a.S/M", protobuf, &[b"hel", b"lo"]),
        )
        .origin(ok(&[b"yyyy"])),
        case(
            "upgrade without a body",
            "upgrade",
            post("/a.S/M", protobuf, b""),
        )
        .origin(ok(&[b""])),
        case(
            "upgrade failure",
            "upgrade",
            post("/a.S/M", protobuf, b"hello"),
        )
        .origin(reply(&[], &[("grpc-status", "7"), ("grpc-message", "no")])),
        case(
            "upgrade with trailers only",
            "upgrade",
            post("/a.S/M", protobuf, b"hello"),
        )
        .origin(trailers_only("5")),
        case(
            "upgrade without hosts",
            "upgrade",
            post("/empty.S/M", protobuf, b"hello"),
        ),
        case(
            "upgrade of gRPC",
            "upgrade",
            post("/a.S/M?q=1", GRPC, &frame),
        )
        .origin(ok(&[b"y"])),
        case(
            "upgrade tried again",
            "upgrade",
            post("/retried.S/M", protobuf, b"hello"),
        )
        .origin(trailers_only("14")),
        case(
            "upgrade of other requests",
            "upgrade",
            post("/a.S/M?q=1", "", b"hello"),
        )
        .origin(ok(&[b"y"])),
    ]
}

fn reverse() -> Vec<Case> {
    let own = "HTTP/1.1 200 OK\r\ncontent-type: application/x-own\r\n";
    let mut all = Vec::new();
    for (listener, names) in [
        (
            "reverse",
            [
                "r ok",
                "r chunked",
                "r empty",
                "r 404",
                "r type",
                "r no type",
                "r no host",
                "r no body",
                "r off",
                "r small",
                "r trailers",
                "r get",
            ],
        ),
        (
            "withheld",
            [
                "w ok",
                "w chunked",
                "w empty",
                "w 404",
                "w type",
                "w no type",
                "w no host",
                "w no body",
                "w off",
                "w small",
                "w trailers",
                "w get",
            ],
        ),
        (
            "sized",
            [
                "z ok",
                "z chunked",
                "z empty",
                "z 404",
                "z type",
                "z no type",
                "z no host",
                "z no body",
                "z off",
                "z small",
                "z trailers",
                "z get",
            ],
        ),
    ] {
        let one = |name, path: &str| call(name, listener, path, &[b"hello"]);
        all.extend([
            one(names[0], "/old.S/M").answer(format!("{own}x-size: 3\r\ncontent-length: 3\r\n\r\nabc")),
            one(names[1], "/old.S/M").answer(format!("{own}x-size: 5, 7\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")),
            one(names[2], "/old.S/M").answer(format!("{own}x-size: 0\r\ncontent-length: 0\r\n\r\n")),
            one(names[3], "/old.S/M").answer("HTTP/1.1 404 Not Found\r\ncontent-type: application/x-own\r\nx-size: 3\r\ncontent-length: 3\r\n\r\nabc"),
            one(names[4], "/old.S/M").answer("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nabc"),
            one(names[5], "/old.S/M").answer("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"),
            one(names[6], "/empty.S/M"),
            call(names[7], listener, "/old.S/M", &[]).answer(format!("{own}x-size: 3\r\ncontent-length: 3\r\n\r\nabc")),
            one(names[8], "/off.S/M").answer(format!("{own}content-length: 3\r\n\r\nabc")),
            case(names[9], listener, [
                request(1, "POST", "/old.S/M", "content-type: application/grpc\nte: trailers", false),
                http2::data(1, b"abcd", true),
            ].concat()).http2(),
            one(names[10], "/old.S/M").answer(format!("{own}x-size: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")),
            case(names[11], listener, "GET /old.S/M HTTP/1.1\r\nhost: a\r\n\r\n"),
        ]);
    }
    all.extend([
        call("z wrong size", "sized", "/old.S/M", &[b"hello"])
            .answer(format!("{own}x-size: 7\r\ncontent-length: 3\r\n\r\nabc")),
        case(
            "w of HTTP/1",
            "withheld",
            post("/old.S/M", GRPC, &message(b"hello")),
        )
        .answer(format!("{own}content-length: 3\r\n\r\nabc")),
    ]);
    all
}

/// More than may be kept of a body.
fn too_large() -> Vec<Case> {
    let body = vec![b'x'; (1 << 20) + (1 << 18)];
    let length = body.len();
    let answer = |head: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{head}content-length: {length}\r\n\r\n");
        [head.as_bytes(), &body].concat()
    };
    let protobuf = "content-type: application/x-protobuf\r\n";
    vec![
        case(
            "too large for a bridge",
            "bridge",
            post("/old.S/M", GRPC, b"x"),
        )
        .answer(answer("content-type: application/grpc\r\n")),
        case(
            "too large to be upgraded",
            "upgrade",
            post("/old.S/M", protobuf, &body),
        ),
    ]
}

fn cases() -> Vec<Case> {
    let mut all = statistics();
    all.extend(web());
    all.extend(bridge());
    all.extend(reverse());
    all.extend(too_large());
    all
}

#[test]
fn filters_of_grpc_are_as_in_envoy() {
    let comparison = Comparison {
        suite: Suite::Routing("grpc_filters"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    comparison.run("filters_of_grpc_are_as_in_envoy");
}
