//! Methods, versions, framing and the life of a connection.

use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::origin::Act;

const POST_5: &str = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &str = "POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut all = methods();
    all.extend(bodies());
    all.extend(responses());
    all.extend(versions());
    all.extend(connections());
    all.extend(targets());
    all
}

fn methods() -> Vec<Case> {
    vec![
        case(
            "get",
            "plain",
            "GET /path?q=1 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n",
        ),
        case(
            "get byte by byte",
            "plain",
            "GET /path HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .in_pieces(1),
        case(
            "line ends before a request",
            "plain",
            "\n\r\n\r\r\n\nGET /one HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "line ends before a request byte by byte",
            "plain",
            "\r\rGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .in_pieces(1),
        case("head", "plain", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
            .to_head()
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        case(
            "head chunked",
            "plain",
            "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head()
        .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        case(
            "head without framing",
            "plain",
            "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head()
        .answer("HTTP/1.1 200 OK\r\n\r\n"),
        case(
            "options star",
            "plain",
            "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "put",
            "plain",
            "PUT /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case(
            "patch",
            "plain",
            "PATCH /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case("delete", "plain", "DELETE /x HTTP/1.1\r\nhost: a\r\n\r\n"),
        case(
            "delete with body",
            "plain",
            "DELETE /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case(
            "get with body",
            "plain",
            "GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case("trace", "plain", "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("purge", "plain", "PURGE / HTTP/1.1\r\nhost: a\r\n\r\n"),
        case(
            "unknown method",
            "plain",
            "FOO / HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "lower-case method",
            "plain",
            "get / HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "connect",
            "plain",
            "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let large = format!(
        "POST /l HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n{}",
        "x".repeat(300_000)
    );
    vec![
        case("post", "plain", POST_5),
        case("post byte by byte", "plain", POST_5).in_pieces(1),
        case("post without length", "plain", "POST /x HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("post of nothing", "plain", "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
        case("post large", "plain", large),
        case("chunked request", "plain", CHUNKED),
        case("chunked request byte by byte", "plain", CHUNKED).in_pieces(1),
        case("chunked request of nothing", "plain", "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        case("chunk extensions", "plain", "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n"),
        case("chunked in capitals", "plain", "POST /x HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
        case("request trailers dropped", "plain", "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-trailer: v\r\n\r\n"),
        case("request trailers", "trailers", "POST /x HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: v\r\nx-more: w\r\n\r\n"),
        case("response trailers", "trailers", GET)
            .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n1\r\na\r\n0\r\nx-t: v\r\n\r\n"),
        case("response trailers dropped", "plain", GET)
            .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: v\r\n\r\n"),
        case("expect 100-continue", "plain", "POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
            .then(Step::Await(1))
            .then_send("hello"),
        case("expect 100-continue with body at once", "plain", "POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello"),
        case("expect 100-continue proxied", "proxy_100", "POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
            .then(Step::Await(1))
            .then_send("hello")
            .origin(vec![
                Act::ReadHead,
                Act::Send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
                Act::Read,
                Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
            ]),
        case("expect something else", "plain", "POST /x HTTP/1.1\r\nhost: a\r\nexpect: foo\r\ncontent-length: 5\r\n\r\nhello"),
    ]
}

fn responses() -> Vec<Case> {
    vec![
        case("no content", "plain", GET).answer("HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n"),
        case("no content of length 0", "plain", GET)
            .answer("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nx-a: b\r\n\r\n"),
        case("not modified", "plain", GET).answer("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n"),
        case("not modified with length", "plain", GET)
            .answer("HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"),
        case("chunked response", "plain", GET)
            .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        case("response until close", "plain", GET).origin(vec![
            Act::Read,
            Act::Send(b"HTTP/1.1 200 OK\r\nx-a: b\r\n\r\nhello".to_vec()),
            Act::Close,
        ]),
        case("empty response", "plain", GET).answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        case("large response", "plain", GET).answer(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n{}",
            "y".repeat(500_000)
        )),
        case("odd status", "plain", GET).answer("HTTP/1.1 299 Odd Reason\r\ncontent-length: 0\r\n\r\n"),
        case("status without reason", "plain", GET).answer("HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n"),
        case("status 500", "plain", GET).answer("HTTP/1.1 500 Oops\r\ncontent-length: 1\r\n\r\nx"),
        case("status 503", "plain", GET).answer("HTTP/1.1 503 Oops\r\ncontent-length: 1\r\n\r\nx"),
        case("interim 103", "plain", GET).origin(vec![
            Act::Read,
            Act::Send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec()),
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ]),
        case("interim 100 unasked", "plain", GET)
            .answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        case("interim 102", "plain", GET)
            .answer("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        case("response HTTP/1.0", "plain", GET).origin(vec![
            Act::Read,
            Act::Send(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
        ]),
        case("response HTTP/1.0 until close", "plain", GET).origin(vec![
            Act::Read,
            Act::Send(b"HTTP/1.0 200 OK\r\n\r\nok".to_vec()),
            Act::Close,
        ]),
        case("response headers", "plain", GET).answer(
            "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
             X-Mixed-Case: V\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-empty:\r\n\
             keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\n\
             content-length: 0\r\n\r\n",
        ),
        case("response connection header", "plain", GET).answer(
            "HTTP/1.1 200 OK\r\nconnection: x-private, keep-alive\r\nx-private: v\r\ncontent-length: 0\r\n\r\n",
        ),
    ]
}

fn versions() -> Vec<Case> {
    vec![
        case(
            "HTTP/1.0 refused",
            "plain",
            "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        ),
        case("HTTP/1.0", "http10", "GET / HTTP/1.0\r\nhost: a\r\n\r\n"),
        case("HTTP/1.0 default host", "http10", "GET / HTTP/1.0\r\n\r\n"),
        case(
            "HTTP/1.0 without host",
            "http10_no_host",
            "GET / HTTP/1.0\r\n\r\n",
        ),
        case(
            "HTTP/1.0 keep-alive",
            "http10",
            "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
        )
        .then(Step::Await(1))
        .then_send("GET /second HTTP/1.0\r\nhost: a\r\n\r\n")
        .answers(2),
        case(
            "HTTP/1.0 chunked answer",
            "http10",
            "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        )
        .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        case(
            "HTTP/1.0 post",
            "http10",
            "POST / HTTP/1.0\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case("HTTP/1.1 without host", "plain", "GET / HTTP/1.1\r\n\r\n"),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        case("two requests", "plain", GET).then(Step::Await(1)).then_send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n").answers(2),
        case("pipelined", "plain", "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nabGET /3 HTTP/1.1\r\nhost: a\r\n\r\n").answers(3),
        case("pipelined local replies", "routes", "GET /direct HTTP/1.1\r\nhost: a\r\n\r\nGET /none HTTP/1.1\r\nhost: a\r\n\r\n").answers(2),
        case("connection close", "plain", "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        case("connection close pipelined", "plain", "GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("connection keep-alive", "plain", "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\nkeep-alive: timeout=9\r\n\r\n"),
        case("upstream closes", "plain", GET)
            .then(Step::Await(1))
            .then_send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
            .answers(2)
            .answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        case("empty lines before", "plain", "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("many empty lines before", "plain", format!("{}{GET}", "\r\n".repeat(40_000))),
        case("empty lines that come one by one", "plain", "\r\n".repeat(20).as_str())
            .then_send("\n\n\r".repeat(20).as_str())
            .then_send(GET)
            .then(Step::Await(1))
            .then_send(format!("{}{GET}", "\n".repeat(50)))
            .answers(2),
        case("client leaves at once", "plain", "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .then(Step::AwaitRequest(0))
            .then(Step::Leave)
            .origin(vec![Act::Read, Act::Drain]),
        case("client leaves in its head", "plain", "GET / HTTP/1.1\r\nho")
            .then(Step::AwaitStat("http.plain.downstream_cx_active".into(), 1, None))
            .then(Step::Leave),
        case("client leaves in its body", "plain", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc")
            .then(Step::AwaitRequest(3))
            .then(Step::Leave),
        case("two requests a connection", "max_requests", GET).then(Step::Await(1)).then_send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n").answers(2),
        case("upgrade refused", "plain", "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n"),
        case("upgrade websocket refused", "plain", "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n"),
        case("upgrade h2c", "plain", "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n\r\n"),
        case("upgrade without connection", "plain", "GET / HTTP/1.1\r\nhost: a\r\nupgrade: foo\r\n\r\n"),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        case(
            "absolute form",
            "plain",
            "GET http://other.example/p?q HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "absolute form with port",
            "plain",
            "GET http://other.example:81/p HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "absolute form https",
            "plain",
            "GET https://other.example/p HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "absolute form without path",
            "plain",
            "GET http://other.example HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "absolute form query only",
            "plain",
            "GET http://other.example?q=1 HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "absolute form odd scheme",
            "plain",
            "GET ftp://other.example/p HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "host with port",
            "plain",
            "GET / HTTP/1.1\r\nhost: a.example:8080\r\n\r\n",
        ),
        case(
            "host in capitals",
            "plain",
            "GET / HTTP/1.1\r\nHOST: A.Example\r\n\r\n",
        ),
        case(
            "host of IPv6",
            "plain",
            "GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n",
        ),
        case(
            "host with a space",
            "plain",
            "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        ),
        case(
            "host with user",
            "plain",
            "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n",
        ),
        case("fragment", "plain", "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n"),
        case(
            "path with odd bytes",
            "plain",
            "GET /a|b^c{d}\"<>`\\e HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "path with high bytes",
            "plain",
            b"GET /\xc3\xa4 HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "path without slash",
            "plain",
            "GET path HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]
}
