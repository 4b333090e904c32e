//! Upstreams that are absent, full, or misbehave.

use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::origin::Act;

pub fn cases() -> Vec<Case> {
    let mut all = clusters();
    all.extend(broken_answers());
    all.extend(broken_connections());
    all.extend(pools());
    all
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

fn clusters() -> Vec<Case> {
    vec![
        case("cluster not found", "upstreams", get("/nowhere")),
        case("cluster not found as 404", "upstreams", get("/not-found")),
        case("no healthy upstream", "upstreams", get("/empty")),
        case(
            "no healthy upstream with body",
            "upstreams",
            "POST /empty HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case("connection refused", "upstreams", get("/refused")),
        case(
            "connection refused with body",
            "upstreams",
            "POST /refused HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case("connect timeout", "upstreams", get("/stuck")),
        case(
            "route timeout while connecting",
            "upstreams",
            get("/stuck-briefly"),
        ),
        case(
            "client leaves while connecting",
            "upstreams",
            get("/stuck-for-long"),
        )
        .then(Step::AwaitStat(
            "cluster.stuck_for_long.upstream_rq_pending_active".into(),
            1,
            None,
        ))
        .then(Step::Leave),
        case("requests overflow", "upstreams", get("/no-requests")),
        case("pending overflow", "upstreams", get("/no-pending")),
        case("alternative stat name", "upstreams", get("/renamed")),
    ]
}

fn send(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(bytes.as_ref().to_vec())
}

fn broken(name: &'static str, answer: impl AsRef<[u8]>) -> Case {
    case(name, "upstreams", get("/")).answer(answer)
}

fn broken_answers() -> Vec<Case> {
    let many: String = (0..101)
        .map(|number| format!("x-{number}: v\r\n"))
        .collect();
    vec![
        broken(
            "upstream length and chunked",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        broken(
            "upstream two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        ),
        broken(
            "upstream bad chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ),
        broken(
            "upstream bad later chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n",
        ),
        broken("upstream nonsense", "nonsense\r\n\r\n"),
        broken(
            "upstream short status",
            "HTTP/1.1 99 x\r\ncontent-length: 0\r\n\r\n",
        ),
        broken(
            "upstream unknown coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx",
        ),
        broken(
            "upstream head too large",
            format!(
                "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
                "v".repeat(81 * 1024)
            ),
        ),
        broken(
            "upstream head large",
            format!(
                "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
                "v".repeat(50 * 1024)
            ),
        ),
        broken(
            "upstream too many headers",
            format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        ),
        broken(
            "upstream long reason",
            format!(
                "HTTP/1.1 200 {}\r\ncontent-length: 0\r\n\r\n",
                "r".repeat(1000)
            ),
        ),
        broken(
            "upstream no content with body",
            "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nab",
        ),
        broken(
            "upstream bad header name",
            "HTTP/1.1 200 OK\r\na b: c\r\ncontent-length: 0\r\n\r\n",
        ),
        broken(
            "upstream NUL in a value",
            "HTTP/1.1 200 OK\r\na: b\0c\r\ncontent-length: 0\r\n\r\n",
        ),
        broken(
            "upstream bytes after the answer",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore",
        ),
    ]
}

fn broken_connections() -> Vec<Case> {
    let whole = |acts: Vec<Act>| [vec![Act::Read], acts].concat();
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    // What was sent is at the client before the connection ends.
    let ends = |name, first: &str, body: usize, end: Act| {
        case(name, "upstreams", get("/"))
            .origin(whole(vec![send(first), Act::AwaitRelease, end]))
            .then(Step::AwaitBody(body))
            .then(Step::Release)
    };
    vec![
        case("upstream closes before an answer", "upstreams", get("/"))
            .origin(whole(vec![Act::Close])),
        case("upstream resets before an answer", "upstreams", get("/"))
            .origin(whole(vec![Act::Reset])),
        case("upstream closes in its head", "upstreams", get("/"))
            .origin(whole(vec![send("HTTP/1.1 200 OK\r\nx: "), Act::Close])),
        ends("upstream closes in its body", half, 5, Act::Close),
        ends("upstream resets in its body", half, 5, Act::Reset),
        ends(
            "upstream closes in a chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
            2,
            Act::Close,
        ),
        ends(
            "upstream closes before the last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n",
            2,
            Act::Close,
        ),
        case(
            "upstream answers before the body",
            "upstreams",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc",
        )
        .origin(vec![
            Act::ReadHead,
            send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            Act::Drain,
        ]),
        case("upstream in small pieces", "upstreams", get("/")).origin(
            [
                vec![Act::Read],
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                    .iter()
                    .map(|byte| send([*byte]))
                    .collect(),
            ]
            .concat(),
        ),
    ]
}

fn pools() -> Vec<Case> {
    // The cluster has no connection any more.
    let closed =
        |cluster: &str| Step::AwaitStat(format!("cluster.{cluster}.upstream_cx_active"), 0, None);
    let two = |path: &str| {
        vec![
            Step::Send(get(path).into_bytes()),
            Step::Await(1),
            Step::Send(get(path).into_bytes()),
        ]
    };
    vec![
        case("connection reused", "upstreams", "")
            .steps(two("/"))
            .answers(2),
        case("connection used once", "upstreams", "")
            .steps(two("/once"))
            .answers(2),
        case("connection idle", "upstreams", "")
            .steps([two("/idle"), vec![Step::Await(2), closed("idle")]].concat())
            .answers(2),
        case("connection not reused after bytes", "upstreams", "")
            .steps(vec![
                Step::Send(get("/").into_bytes()),
                Step::Await(1),
                Step::Release,
                closed("origin"),
                Step::Send(get("/").into_bytes()),
            ])
            .answers(2)
            .origin(vec![
                Act::OnlyFirstConnection,
                Act::Read,
                send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
                Act::AwaitRelease,
                send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"),
            ]),
        case("connection not reused after its end", "upstreams", "")
            .steps(vec![
                Step::Send(get("/").into_bytes()),
                Step::Await(1),
                closed("origin"),
                Step::Send(get("/").into_bytes()),
            ])
            .answers(2)
            .origin(vec![
                Act::Read,
                send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
                Act::Close,
            ]),
    ]
}
