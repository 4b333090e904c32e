//! What a route does with a request: which cluster it goes to, the answers
//! that the route itself holds, and how path and host are rewritten.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

/// The virtual hosts, and after them a field of the route configuration.
const CLUSTERS: &str = concat!(
    include_str!("actions/clusters.yaml"),
    r#"
cluster_specifier_plugins:
- is_optional: true
  extension: { name: nothing, typed_config: { "@type": type.googleapis.com/google.protobuf.Struct } }
"#
);
const ANSWERS: &str = concat!(
    include_str!("actions/answers.yaml"),
    r#"
  - name: file
    match: { path: "/file" }
    direct_response: { status: 200, body: { filename: ""#,
    env!("CARGO_MANIFEST_DIR"),
    r#"/tests/routing/actions/body.txt" } }
"#
);
const REDIRECTS: &str = include_str!("actions/redirects.yaml");
const REWRITES: &str = include_str!("actions/rewrites.yaml");

/// A router that keeps its `x-envoy-` headers to itself.
const QUIET: &str = r#"
http_filters:
- name: router
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
    suppress_envoy_headers: true
"#;

/// An access log that shows what the rewrites left behind.
macro_rules! seen {
    ($listener:literal) => {
        concat!(
            r#"
access_log:
- name: file
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: "{DIR}/"#,
            $listener,
            r#".log"
    log_format: { text_format_source: { inline_string: "%REQ(:path)% %REQ(:authority)% %REQ(x-envoy-original-path)% %REQ(x-envoy-original-host)% %RESP(location)% %UPSTREAM_CLUSTER% %RESPONSE_CODE%\n" } }
"#
        )
    };
}

const fn routed(name: &'static str, hosts: &'static str) -> Listener {
    Listener {
        name,
        manager: "",
        hosts,
    }
}

const LISTENERS: &[Listener] = &[
    routed("clusters", CLUSTERS),
    routed("answers", ANSWERS),
    Listener {
        name: "reworded",
        manager: "local_reply_config: { mappers: [{ filter: { status_code_filter: { comparison: { op: GE, value: { default_value: 500, runtime_key: none } } } }, headers_to_add: [{ header: { key: content-type, value: of/mapper }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }], body_format_override: { text_format_source: { inline_string: \"%LOCAL_REPLY_BODY%\" } } }], body_format: { text_format_source: { inline_string: \"[%LOCAL_REPLY_BODY%] %RESP(content-type)%\" } } }",
        hosts: ANSWERS,
    },
    routed("redirects", REDIRECTS),
    routed("rewrites", REWRITES),
    Listener {
        name: "seen_redirects",
        manager: seen!("seen_redirects"),
        hosts: REDIRECTS,
    },
    Listener {
        name: "seen_rewrites",
        manager: seen!("seen_rewrites"),
        hosts: REWRITES,
    },
    Listener {
        name: "quiet_redirects",
        manager: QUIET,
        hosts: REDIRECTS,
    },
    Listener {
        name: "quiet_rewrites",
        manager: QUIET,
        hosts: REWRITES,
    },
];

fn clusters(ports: Ports) -> String {
    let mut text = cluster("origin", ports.origin, "");
    text += &cluster("other", ports.origin, "");
    text += &named("named", "host.example", ports.origin);
    text += &named("refused", "refused.example", ports.refused);
    text += &empty_cluster("empty");
    text
}

/// A cluster whose endpoint has a name.
fn named(cluster: &str, hostname: &str, port: u16) -> String {
    format!(
        "- name: {cluster}\n  \
           type: STATIC\n  \
           load_assignment:\n    \
             cluster_name: {cluster}\n    \
             endpoints:\n    \
             - lb_endpoints:\n      \
               - endpoint: {{ hostname: {hostname}, address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}\n"
    )
}

fn request(method: &str, path: &str, headers: &str) -> String {
    let host = match headers.starts_with("host:") {
        true => "",
        false => "host: a.example:81\r\n",
    };
    format!("{method} {path} HTTP/1.1\r\n{host}{headers}\r\n")
}

fn get(path: &str) -> String {
    request("GET", path, "")
}

fn with(path: &str, headers: &str) -> String {
    request("GET", path, headers)
}

fn cases() -> Vec<Case> {
    let mut all = choices();
    all.extend(answers());
    all.extend(redirects());
    all.extend(path_rewrites());
    all.extend(host_rewrites());
    all
}

fn choices() -> Vec<Case> {
    let on = |name, path: &str, headers: &str| case(name, "clusters", with(path, headers));
    vec![
        on("cluster by header", "/by-header", "x-cluster: origin\r\n"),
        on("cluster by absent header", "/by-header", ""),
        on("cluster by empty header", "/by-header", "x-cluster:\r\n"),
        on(
            "cluster by header unknown",
            "/by-header",
            "x-cluster: nobody-knows\r\n",
        ),
        on(
            "cluster by header of odd bytes",
            "/by-header",
            "x-cluster: \u{e9}\u{ff}\r\n",
        ),
        on(
            "cluster by header in capitals",
            "/by-header",
            "x-cluster: ORIGIN\r\n",
        ),
        on(
            "cluster by header twice",
            "/by-header",
            "x-cluster: other\r\nx-cluster: origin\r\n",
        ),
        on(
            "cluster by header that no route names",
            "/by-header",
            "x-cluster: with-a-name-of-its-own\r\n",
        ),
        on("cluster by authority", "/by-authority", "host: origin\r\n"),
        on(
            "cluster by header 404",
            "/by-header-404",
            "x-cluster: nobody\r\n",
        ),
        on("cluster by absent header 404", "/by-header-404", ""),
        on("cluster unknown 500", "/unknown", ""),
        case(
            "cluster unknown to head",
            "clusters",
            request("HEAD", "/unknown", ""),
        )
        .to_head(),
        on("weight 0 is never picked", "/weight-0", ""),
        on("weighted cluster unknown", "/weighted-unknown", ""),
        on(
            "weighted cluster by header",
            "/weighted-by-header",
            "x-cluster: other\r\n",
        ),
        on(
            "weighted cluster by absent header",
            "/weighted-by-header",
            "",
        ),
        on("weighted by even number", "/halves", "x-random: 0\r\n"),
        on("weighted by odd number", "/halves", "x-random: 7\r\n"),
        on(
            "weighted by number with plus",
            "/halves",
            "x-random: +1\r\n",
        ),
        on("weighted by padded number", "/halves", "x-random:  1 \r\n"),
        on(
            "weighted by long number",
            "/halves",
            "x-random: 00000000000000000000000000001\r\n",
        ),
        on(
            "weighted by largest number",
            "/halves",
            "x-random: 18446744073709551615\r\n",
        ),
        on(
            "weighted by last of the first",
            "/thirds",
            "x-random: 49\r\n",
        ),
        on(
            "weighted by first of the second",
            "/thirds",
            "x-random: 50\r\n",
        ),
        on(
            "weighted by last of the second",
            "/thirds",
            "x-random: 79\r\n",
        ),
        on(
            "weighted by first of the third",
            "/thirds",
            "x-random: 80\r\n",
        ),
        on(
            "weighted by last of the third",
            "/thirds",
            "x-random: 199\r\n",
        ),
        on("weighted and host", "/weighted-host", ""),
        on(
            "weighted and host and literal",
            "/weighted-host-and-route",
            "",
        ),
        on("weighted and host and auto", "/weighted-host-and-auto", ""),
        on("plugin unknown and optional", "/plugin", ""),
        on("plugin unknown and inline", "/plugin-inline", ""),
        on("not forwarding", "/none", ""),
        case(
            "not forwarding with body",
            "clusters",
            request("POST", "/none", "content-length: 3\r\n") + "abc",
        ),
        on("high priority", "/high", ""),
    ]
}

fn answers() -> Vec<Case> {
    let on = |name, path: &str| case(name, "answers", get(path));
    let head = |name, path: &str| case(name, "answers", request("HEAD", path, "")).to_head();
    let reworded = |name, path: &str| case(name, "reworded", get(path));
    vec![
        on("answer of text", "/text"),
        on("answer of bytes", "/bytes"),
        on("answer of a file", "/file"),
        on("answer of the environment", "/environment"),
        on("answer of nothing", "/nothing"),
        on("answer 201", "/201"),
        on("answer 204 with text", "/204"),
        on("answer 300", "/300"),
        on("answer 302", "/302?a=b"),
        head("answer 302 to head", "/302"),
        on("answer 304 with text", "/304"),
        on("answer 399", "/399"),
        on("answer formatted", "/formatted?q"),
        case(
            "answer formatted with header",
            "answers",
            with("/formatted", "x-h: \u{e9}\"<\r\n"),
        ),
        head("answer formatted to head", "/formatted"),
        on("answer formatted alone", "/formatted-alone"),
        on("answer formatted to nothing", "/formatted-empty"),
        on("answer formatted with type", "/formatted-type"),
        on("answer typed and its type seen", "/typed-seen"),
        on("answer typed with a type replaced", "/typed-replaced"),
        on("answer typed with a type set", "/typed-set"),
        on("answer typed with a type added", "/typed-added"),
        on("answer typed with a type if there is none", "/typed-absent"),
        on("answer typed without its type", "/typed-removed"),
        on("answer json and its type seen", "/json-seen"),
        on("answer json with a type replaced", "/json-replaced"),
        on("answer json with a type set", "/json-set"),
        on("answer json with a type added", "/json-added"),
        on("answer json with a type if there is none", "/json-absent"),
        on("answer json without its type", "/json-removed"),
        on("answer plain and its type seen", "/plain-seen"),
        on("answer plain with a type replaced", "/plain-replaced"),
        on("answer plain with a type set", "/plain-set"),
        on("answer plain with a type added", "/plain-added"),
        on("answer plain with a type if there is none", "/plain-absent"),
        on("answer plain without its type", "/plain-removed"),
        reworded("answer reworded", "/plain-seen"),
        reworded("answer reworded with a type set", "/plain-set"),
        reworded("answer typed and reworded", "/typed-seen"),
        reworded("answer typed and reworded with a type set", "/typed-set"),
        reworded("answer json and reworded", "/json-seen"),
        reworded("answer json and mapped", "/json"),
        reworded("answer typed and mapped", "/formatted-type"),
        on("answer formatted of the environment", "/formatted-file"),
        case("answer in JSON", "answers", with("/json", "x-h: \"\\\r\n")),
        on("answer in JSON of nothing", "/json"),
        on("answer in JSON without what is not there", "/json-omit"),
        on("answer in JSON of another type", "/json-type"),
        head("answer in JSON to head", "/json"),
        case(
            "answer before the body",
            "answers",
            request("POST", "/json", "content-length: 3\r\n"),
        ),
    ]
}

fn redirects() -> Vec<Case> {
    let on = |name, path: &str| case(name, "redirects", get(path));
    let to = |name, path: &str, headers: &str| case(name, "redirects", with(path, headers));
    let seen = |name, path: &str| case(name, "seen_redirects", with(path, "x-h: v\r\n"));
    let quiet = |name, path: &str| case(name, "quiet_redirects", get(path));
    vec![
        on("redirect to no scheme", "/no-scheme?a"),
        on("redirect not to https", "/no-https"),
        on("redirect to ftp", "/ftp"),
        to("redirect to ftp from its port", "/ftp", "host: a:21\r\n"),
        to(
            "redirect to the same scheme",
            "/same-scheme",
            "host: a:80\r\n",
        ),
        to("redirect to https and port", "/https-443", "host: a:80\r\n"),
        to(
            "redirect to https and port of IPv6",
            "/https-443",
            "host: [::1]:80\r\n",
        ),
        to("redirect to https of IPv6", "/https", "host: [::1]:80\r\n"),
        to(
            "redirect to https of bare IPv6",
            "/https",
            "host: [::1]\r\n",
        ),
        to("redirect to https from 443", "/https", "host: a:443\r\n"),
        on("redirect to host and port", "/host-with-port"),
        on("redirect to bare path", "/path-bare?a=b"),
        on("redirect to path with query", "/path-query?z"),
        on("redirect to path without query", "/path-strip?z"),
        on("redirect to path with fragment", "/path-fragment?a=b"),
        on("redirect to empty path", "/path-empty/x?a=b"),
        on("redirect to bare prefix", "/prefix-bare/x?a=b"),
        on("redirect to prefix with query", "/prefix-query/x?a=b"),
        on("redirect to prefix without query", "/prefix-strip/x?a=b"),
        on("redirect to empty prefix", "/prefix-empty/x?a=b"),
        on("redirect by regex to nothing", "/regex-empty/x?a=b"),
        on(
            "redirect by regex without query",
            "/regex/one/two/three?a=b",
        ),
        on("redirect formatted", "/format?x=1"),
        to(
            "redirect formatted with header",
            "/format?x=1",
            "x-h: v\r\n",
        ),
        to(
            "redirect formatted with query",
            "/query-format?x=1",
            "x-h: v=1\r\n",
        ),
        on("redirect formatted to nothing", "/only-format?x=1"),
        to(
            "redirect formatted without query",
            "/only-format?x=1",
            "x-h: bare\r\n",
        ),
        on("redirect formatted with facts", "/long-format/x?y"),
        case(
            "redirect formatted to head",
            "redirects",
            request("HEAD", "/format", ""),
        )
        .to_head(),
        seen("redirect to prefix seen", "/prefix-query/x?a=b"),
        seen("redirect by regex seen", "/regex/one/two?a=b"),
        seen("redirect to path seen", "/path-strip?a=b"),
        seen("redirect formatted seen", "/format?a=b"),
        seen("redirect to nothing seen", "/regex-empty/x"),
        quiet("redirect to prefix quietly", "/prefix-query/x?a=b"),
    ]
}

fn path_rewrites() -> Vec<Case> {
    let on = |name, path: &str| case(name, "rewrites", get(path));
    let to = |name, path: &str, headers: &str| case(name, "rewrites", with(path, headers));
    vec![
        on("path to bare prefix", "/prefix-bare/x?a"),
        on("path exact in any case", "/exact?a=b"),
        on("path prefix in any case", "/aNy/x?a=b"),
        on("path of a regex", "/of-regex/x?a=b"),
        on("path separated", "/separated/x?a=b"),
        on("path separated itself", "/separated?a=b"),
        on("path to nothing", "/regex-empty/x"),
        on("path to nothing with query", "/regex-empty/x?a=b"),
        on("path formatted", "/path-format/x?q=1"),
        to(
            "path formatted with header",
            "/path-format?q=1",
            "x-h: /z\r\n",
        ),
        to(
            "path formatted with query",
            "/path-format?q=1",
            "x-h: ?y=2\r\n",
        ),
        on("path formatted to nothing", "/path-only-format?q=1"),
        to(
            "path formatted to something bare",
            "/path-only-format?q=1",
            "x-h: bare\r\n",
        ),
        to(
            "path formatted with spaces",
            "/path-space?q=1",
            "x-h: c\td HTTP/1.1\r\n",
        ),
        on("path formatted with facts", "/path-facts?q=1"),
        case("path seen", "seen_rewrites", get("/exact?a=b")),
        case("path of nobody seen", "seen_rewrites", get("/nobody?a=b")),
        case("path quietly", "quiet_rewrites", get("/exact?a=b")),
        on("path and host of an empty cluster", "/nobody"),
    ]
}

fn host_rewrites() -> Vec<Case> {
    let on = |name, path: &str| case(name, "rewrites", get(path));
    let to = |name, path: &str, headers: &str| case(name, "rewrites", with(path, headers));
    let seen = |name, path: &str| case(name, "seen_rewrites", with(path, "x-h: v\r\n"));
    let quiet = |name, path: &str| case(name, "quiet_rewrites", with(path, "x-h: v\r\n"));
    vec![
        on("host formatted of nothing", "/host-format"),
        to("host formatted", "/host-format", "x-h: new\r\n"),
        to("host of header", "/host-header", "x-h: new\r\n"),
        to(
            "host of header twice",
            "/host-header",
            "x-h: new\r\nx-h: newer\r\n",
        ),
        on("host of absent header", "/host-header"),
        to("host of empty header", "/host-header", "x-h:\r\n"),
        on("host of path header", "/host-of-path-header?a"),
        on("host by regex", "/host-regex/foo.com/x?y=z"),
        on("host by regex to nothing", "/host-regex"),
        on("host and path", "/path-and-host?a=b"),
        on("host the same", "/host-same"),
        to(
            "host forwarded already",
            "/host-same",
            "x-forwarded-host: a.example:81\r\n",
        ),
        to(
            "host forwarded last",
            "/host-same",
            "x-forwarded-host: b,a.example:81\r\n",
        ),
        to(
            "host forwarded last after space",
            "/host-same",
            "x-forwarded-host: b, a.example:81\r\n",
        ),
        to(
            "host forwarded first",
            "/host-same",
            "x-forwarded-host: a.example:81,b\r\n",
        ),
        to(
            "host forwarded comma",
            "/host-same",
            "x-forwarded-host: ,\r\n",
        ),
        to(
            "host forwarded last and comma",
            "/host-same",
            "x-forwarded-host: a.example:81,\r\n",
        ),
        to(
            "host forwarded twice",
            "/host-same",
            "x-forwarded-host: b\r\nx-forwarded-host: c\r\n",
        ),
        on("host stays", "/host-not"),
        on("host formatted from nothing", "/host-empty"),
        on("host of endpoint", "/auto-named/x?a"),
        to(
            "host of endpoint forwarded",
            "/auto-named",
            "x-forwarded-host: b\r\n",
        ),
        on("host of nameless endpoint", "/auto-nameless"),
        on("host of endpoint not wanted", "/auto-off"),
        on("host of refused endpoint", "/auto-refused"),
        seen("host of refused endpoint seen", "/auto-refused?a"),
        seen("host of endpoint seen", "/auto-named?a"),
        quiet("host of endpoint quietly", "/auto-named?a"),
        quiet("host of header quietly", "/host-header?a"),
        quiet("host and path quietly", "/path-and-host?a"),
    ]
}

#[test]
fn actions_are_envoys() {
    Comparison {
        suite: Suite::Routing("actions"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("actions_are_envoys");
}
